//! A link that is lost for a while: what is waited for, and for how long.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::client::{Class, Error, Op, Reply, RequestId, Restraint};
use mavftp_mount::mavftp::wire::{Opcode, Payload};

use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::vehicles::{ALL, Kind};
use crate::world::{PATIENCE, TARGET, World};

const LENGTH: usize = 300_000;
const WAIT: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(20);

fn patient(kind: Kind, faults: Faults, seed: u64) -> World {
    let mut world = kind.world(seed, faults);
    world.files.set_time(Some(1_000_000));
    world.files.insert("/d/log", &Random::new(seed).bytes(LENGTH));
    world.set_rules(Restraint::Limited, WAIT);
    world
}

fn fall_silent(world: &mut World, reboots: bool) {
    world.network.silent = true;
    world.run_for(SILENCE / 2);
    if reboots {
        world.reboot();
    }
    world.run_for(SILENCE / 2);
    world.network.silent = false;
}

/// Begins an upload to a vehicle that says who it is.
fn upload_to_known(world: &mut World, content: &[u8]) -> RequestId {
    world.uid = Some(1);
    let id = world.upload("/d/new", content);
    world.run_until(|world| {
        let known = world.hub.look(world.now, TARGET).is_some_and(|known| known.identity.is_some());
        known && world.outcomes[&id].acknowledged > 10_000
    });
    id
}

/// What was sent since `since` that writes.
fn writes_since(world: &World, since: Instant) -> usize {
    let writes = |(at, sent): &&(Instant, Payload)| {
        let command = sent.command();
        *at >= since
            && matches!(command, Some(Opcode::WriteFile | Opcode::CreateFile | Opcode::OpenFileWo))
    };
    world.diary.iter().flatten().filter(writes).count()
}

/// > `--on-link-loss wait=60s` waits so long instead, and goes on where it was; `get` and `put` do
/// > so by default.
#[test]
fn a_read_lives_through_a_silence_and_a_reboot() {
    for kind in ALL {
        for_seeds(0..4, |seed| {
            let mut world = patient(kind, Faults::BAD, seed);
            world.uid = (seed < 2).then_some(seed);
            let id = world.read("/d/log", 0, LENGTH as u32);
            world.run_until(|world| world.outcomes[&id].bytes.len() > 100);
            fall_silent(&mut world, seed % 2 == 0);
            assert_eq!(world.finish(id), Ok(Reply::Size(LENGTH as u32)), "{kind:?}");
            assert_eq!(world.outcomes[&id].joined(0), Random::new(seed).bytes(LENGTH));
            world.check_quiet();
        });
    }
}

#[test]
fn an_upload_lives_through_a_silence_and_a_reboot() {
    for kind in ALL {
        for_seeds(0..4, |seed| {
            let mut world = patient(kind, Faults::BAD, seed);
            let content = Random::new(seed).bytes(100_000);
            let id = upload_to_known(&mut world, &content);
            fall_silent(&mut world, seed % 2 == 0);
            assert_eq!(world.finish(id), Ok(Reply::Size(100_000)), "{kind:?}");
            assert_eq!(world.files.content("/d/new"), Some(content), "{kind:?}");
            world.check_quiet();
        });
    }
}

#[test]
fn what_is_asked_of_a_silent_vehicle_waits_for_it() {
    for kind in ALL {
        let mut world = patient(kind, Faults::BAD, 1);
        world.network.silent = true;
        world.run_for(Duration::from_secs(7));
        let listing = world.ask(Op::List { path: b"/d".to_vec() }, Class::Metadata);
        let reading = world.read("/d/log", 0, 1000);
        world.run_for(SILENCE);
        world.network.silent = false;
        assert_eq!(world.finish(listing), Ok(Reply::Done), "{kind:?}");
        assert_eq!(world.finish(reading), Ok(Reply::Size(LENGTH as u32)), "{kind:?}");
        let timed = kind.lists_times();
        let told = world.outcomes[&listing].entries.iter().any(|entry| entry.mtime.is_some());
        assert_eq!(told, timed, "{kind:?}: a silence says nothing of what a server can do");
        world.check_quiet();
    }
}

/// > `--on-link-loss wait=60s` waits so long instead, and goes on where it was; `get` and `put` do
/// > so by default.
#[test]
fn patience_ends_with_a_vehicle_that_stays_away() {
    let mut world = patient(ALL[0], Faults::NONE, 1);
    world.network.silent = true;
    world.run_for(Duration::from_secs(7));
    let began = world.now;
    assert_eq!(world.perform(Op::List { path: b"/d".to_vec() }), Err(Error::TimedOut));
    assert!(world.now - began >= WAIT && world.now - began < WAIT + PATIENCE);
}

/// > A vehicle not heard for `--link-timeout` (5 s) makes new operations fail at once with
/// > EHOSTDOWN.
#[test]
fn without_patience_a_silent_vehicle_fails_requests_at_once() {
    let mut world = ALL[0].world(1, Faults::NONE);
    world.network.silent = true;
    world.run_for(Duration::from_secs(7));
    let began = world.now;
    assert_eq!(world.perform(Op::List { path: b"/d".to_vec() }), Err(Error::LinkDown));
    assert!(world.now - began <= Duration::from_secs(1));
}

#[test]
fn a_vehicle_that_lives_and_answers_nothing_is_not_waited_for_longer() {
    let mut world = patient(ALL[2], Faults::NONE, 1);
    world.deaf = true;
    let began = world.now;
    assert_eq!(world.perform(Op::List { path: b"/d".to_vec() }), Err(Error::TimedOut));
    let took = world.now - began;
    assert!(took >= PATIENCE && took <= PATIENCE + Duration::from_secs(2), "{took:?}");
}

#[test]
fn nothing_is_written_into_the_file_of_another_vehicle_that_answers_under_the_same_ids() {
    for kind in ALL {
        for newcomer in [Some(2), Some(0), None] {
            let mut world = patient(kind, Faults::NONE, 1);
            let content = Random::new(1).bytes(100_000);
            let id = upload_to_known(&mut world, &content);
            world.network.silent = true;
            world.run_for(SILENCE);
            world.reboot();
            world.files.insert("/d/new", b"theirs");
            world.uid = newcomer;
            (world.diary, world.network.silent) = (Some(Vec::new()), false);
            let back = world.now;
            world
                .run_until(|world| world.hub.look(world.now, TARGET).is_some_and(|known| known.up));
            let heard = world.now;
            assert_eq!(world.finish(id), Err(Error::Changed), "{kind:?} {newcomer:?}");
            assert!(world.now - back <= Duration::from_secs(8), "{:?}", world.now - back);
            assert_eq!(writes_since(&world, heard), 0, "{kind:?} {newcomer:?}");
            world.check_quiet();
            assert_eq!(world.files.content("/d/new").as_deref(), Some(&b"theirs"[..]), "{kind:?}");
        }
    }
}

#[test]
fn an_upload_to_a_vehicle_that_never_said_who_it_is_ends_when_it_is_back() {
    for kind in ALL {
        let mut world = patient(kind, Faults::NONE, 1);
        let content = Random::new(1).bytes(100_000);
        let id = world.upload("/d/new", &content);
        world.run_until(|world| world.outcomes[&id].acknowledged > 10_000);
        world.network.silent = true;
        world.run_for(SILENCE);
        (world.diary, world.network.silent) = (Some(Vec::new()), false);
        world.run_until(|world| world.hub.look(world.now, TARGET).is_some_and(|known| known.up));
        let heard = world.now;
        assert_eq!(world.finish(id), Err(Error::Changed), "{kind:?}");
        world.check_quiet();
        assert_eq!(writes_since(&world, heard), 0, "{kind:?}");
    }
}

/// A board that loses its power forgets what it had not written out.
#[test]
fn an_upload_is_whole_though_a_reboot_has_cut_what_was_stored() {
    for kind in ALL {
        for_seeds(0..4, |seed| {
            let mut world = patient(kind, Faults::BAD, seed);
            let content = Random::new(seed).bytes(100_000);
            let id = upload_to_known(&mut world, &content);
            world.network.silent = true;
            world.run_for(SILENCE);
            world.reboot();
            world.files.insert("/d/new", &content[..4096]);
            world.network.silent = false;
            assert_eq!(world.finish(id), Ok(Reply::Size(100_000)), "{kind:?}");
            assert_eq!(world.files.content("/d/new"), Some(content), "{kind:?}");
            world.check_quiet();
        });
    }
}
