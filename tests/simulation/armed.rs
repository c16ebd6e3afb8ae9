//! What an armed vehicle is spared, from the moment on at which its heartbeat says so.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::client::{Class, Error, Op, Reply, RequestId, Restraint};
use mavftp_mount::mavftp::wire::{Opcode, Payload};

use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::vehicles::{ALL, Kind};
use crate::world::{PATIENCE, World};

const SMALL: usize = 64 << 10;
const LARGE: usize = 1 << 20;
/// A bad link, and slow enough for something to happen meanwhile.
const SLOW: Faults = Faults { rate: Some(50_000), ..Faults::BAD };
/// Until the next event of a world at the latest.
const AT_ONCE: Duration = Duration::from_secs(1);

fn path(text: &str) -> Vec<u8> {
    text.into()
}

/// A world with a small and a large file, in which an autopilot can be armed.
fn world(kind: Kind, faults: Faults, seed: u64) -> World {
    let mut world = kind.world(seed, faults);
    world.files.insert("/d/small", &Random::new(seed).bytes(SMALL));
    world.files.insert("/d/large", &Random::new(seed).bytes(LARGE));
    world.diary = Some(Vec::new());
    world
}

/// What was asked for after `since`.
fn asked(world: &World, since: Instant, opcode: Opcode) -> usize {
    let diary = world.diary.iter().flatten();
    let fits = |(at, sent): &&(Instant, Payload)| *at > since && sent.command() == Some(opcode);
    diary.filter(fits).count()
}

fn begin_reading(world: &mut World, class: Class) -> RequestId {
    let (path, length) = (path("/d/large"), LARGE as u32);
    let id = world.ask(Op::Read { path, offset: 0, length, expected: None }, class);
    world.run_until(|world| world.outcomes[&id].bytes.len() > 40);
    id
}

fn ended(world: &World, id: RequestId) -> Option<Result<Reply, Error>> {
    world.outcomes[&id].results.first().copied()
}

/// > Of an armed autopilot (`--when-armed limit`) listings and files of up to 64 KiB are read;
/// > larger files, checksums and every change are EBUSY, changes before anything is sent.
#[test]
fn listings_and_small_files_are_read_of_an_armed_vehicle_and_nothing_else_is_done() {
    for kind in ALL {
        let mut world = world(kind, Faults::WIFI, 1);
        world.arm(true);
        assert_eq!(world.perform(Op::List { path: path("/d") }), Ok(Reply::Done));
        let small = world.read("/d/small", 0, LARGE as u32);
        assert_eq!(world.finish(small), Ok(Reply::Size(SMALL as u32)), "{kind:?}");
        assert_eq!(world.outcomes[&small].joined(0), Random::new(1).bytes(SMALL));
        let size = world.perform(Op::Size { path: path("/d/large") });
        assert_eq!(size, Ok(Reply::Size(LARGE as u32)), "{kind:?}");
        let refused = [
            Op::Checksum { path: path("/d/small") },
            Op::Remove { path: path("/d/small") },
            Op::MakeDirectory { path: path("/new") },
            Op::RemoveDirectory { path: path("/d") },
            Op::Rename { from: path("/d/small"), to: path("/d/other") },
            Op::Truncate { path: path("/d/small"), length: 1 },
        ];
        let before = world.sent;
        for op in refused {
            assert_eq!(world.perform(op.clone()), Err(Error::Armed), "{op:?}");
        }
        let upload = world.upload("/new", b"x");
        assert_eq!(world.finish(upload), Err(Error::Armed));
        let ahead = Op::Read { path: path("/d/small"), offset: 0, length: 9, expected: None };
        let ahead = world.ask(ahead, Class::ReadAhead);
        assert_eq!(world.finish(ahead), Err(Error::Armed));
        assert_eq!(world.sent, before, "{kind:?} was asked");
        world.check_quiet();
    }
}

/// > Of an armed autopilot (`--when-armed limit`) listings and files of up to 64 KiB are read;
/// > larger files, checksums and every change are EBUSY, changes before anything is sent.
#[test]
fn a_large_file_is_refused_as_soon_as_its_size_is_known_and_closed() {
    for kind in ALL {
        let mut world = world(kind, Faults::WIFI, 2);
        world.arm(true);
        let since = world.now;
        let id = world.read("/d/large", 0, 4096);
        assert_eq!(world.finish(id), Err(Error::Armed), "{kind:?}");
        world.run_for(Duration::from_millis(300));
        assert_eq!(asked(&world, since, Opcode::ReadFile), 0);
        assert_eq!(asked(&world, since, Opcode::BurstReadFile), 0);
        assert!(!world.hub.holds_sessions(), "{kind:?} has it open");
        world.check_quiet();
    }
}

/// > On arming, reads of larger files, reading ahead and uploads under way end at once with EBUSY,
/// > and sessions are closed.
///
/// > Once disarmed everything works again.
#[test]
fn arming_ends_a_large_read_at_once_and_disarming_frees_it() {
    for kind in ALL {
        for_seeds(0..3, |seed| {
            let mut world = world(kind, SLOW, seed);
            let id = begin_reading(&mut world, Class::Demand);
            world.arm(true);
            let since = world.now;
            assert_eq!(world.finish(id), Err(Error::Armed), "{kind:?}");
            assert!(world.now - since <= AT_ONCE);
            world.run_for(Duration::from_secs(5));
            assert_eq!(asked(&world, since, Opcode::ReadFile), 0, "{kind:?}");
            assert_eq!(asked(&world, since, Opcode::BurstReadFile), 0, "{kind:?}");
            world.arm(false);
            let id = world.read("/d/large", 0, 50_000);
            assert_eq!(world.finish(id), Ok(Reply::Size(LARGE as u32)), "{kind:?}");
            world.check_quiet();
        });
    }
}

/// > On arming, reads of larger files, reading ahead and uploads under way end at once with EBUSY,
/// > and sessions are closed.
#[test]
fn arming_stops_a_read_ahead_and_leaves_a_small_read() {
    for kind in ALL {
        let mut world = world(kind, Faults::RADIO, 3);
        let op = Op::Read { path: path("/d/small"), offset: 0, length: 20_000, expected: None };
        let demand = world.ask(op.clone(), Class::Demand);
        let ahead = world.ask(op, Class::ReadAhead);
        world.run_for(Duration::from_secs(2));
        assert_eq!(ended(&world, demand), None, "{kind:?}: it takes longer");
        world.arm(true);
        assert_eq!(world.finish(ahead), Err(Error::Armed));
        assert_eq!(world.finish(demand), Ok(Reply::Size(SMALL as u32)), "{kind:?}");
        world.check_quiet();
    }
}

/// > On arming, reads of larger files, reading ahead and uploads under way end at once with EBUSY,
/// > and sessions are closed.
#[test]
fn arming_stops_an_upload_closes_its_file_and_removes_nothing() {
    for kind in ALL {
        for_seeds(0..3, |seed| {
            let mut world = world(kind, SLOW, seed);
            let id = world.upload("/d/new", &[7; LARGE]);
            world.run_until(|world| world.outcomes[&id].acknowledged > 10_000);
            world.arm(true);
            let since = world.now;
            assert_eq!(world.finish(id), Err(Error::Armed), "{kind:?}");
            assert!(world.now - since <= AT_ONCE);
            // ArduPilot on a wire without flow control takes its time.
            world.run_for(Duration::from_secs(8));
            for opcode in [Opcode::WriteFile, Opcode::CreateFile, Opcode::OpenFileWo] {
                assert_eq!(asked(&world, since, opcode), 0, "{kind:?}: {opcode:?}");
            }
            assert!(!world.hub.holds_sessions(), "{kind:?} has it open");
            assert!(world.files.content("/d/new").is_some(), "what is there stays there");
            world.arm(false);
            let id = world.upload("/d/new", &[8; 3000]);
            assert_eq!(world.finish(id), Ok(Reply::Size(3000)), "{kind:?}");
            world.check_quiet();
        });
    }
}

#[test]
fn an_upload_whose_opening_was_not_answered_when_it_was_armed_is_not_begun_again() {
    for kind in ALL {
        let mut world = world(kind, Faults::NONE, 4);
        world.deaf = true;
        let id = world.upload("/d/new", &[7; 3000]);
        world.run_for(Duration::from_millis(300));
        world.arm(true);
        let since = world.now;
        assert_eq!(world.finish(id), Err(Error::Armed));
        world.deaf = false;
        world.run_for(Duration::from_secs(5));
        assert_eq!(asked(&world, since, Opcode::CreateFile), 0, "{kind:?}");
        assert_eq!(world.files.content("/d/new"), None);
        world.check_quiet();
    }
}

/// > A change that was sent before arming and not answered is not sent again; it ends with
/// > ETIMEDOUT where no answer comes.
#[test]
fn a_change_that_was_sent_before_arming_is_not_sent_again_and_is_not_called_refused() {
    for kind in ALL {
        let mut world = world(kind, Faults::NONE, 5);
        world.deaf = true;
        let id = world.ask(Op::Remove { path: path("/d/small") }, Class::Metadata);
        world.run_for(Duration::from_millis(300));
        world.arm(true);
        let since = world.now;
        world.deaf = false;
        assert_eq!(world.finish(id), Err(Error::TimedOut), "nobody knows what came of it");
        assert_eq!(asked(&world, since, Opcode::RemoveFile), 0, "{kind:?}");
        assert!(world.files.content("/d/small").is_some());
        world.check_quiet();
    }
}

#[test]
fn a_vehicle_that_is_armed_and_disarmed_all_the_time_harms_nothing() {
    for kind in ALL {
        for_seeds(0..3, |seed| {
            let mut world = world(kind, SLOW, seed);
            let mut random = Random::new(seed);
            let mut ids = Vec::new();
            for round in 0..20 {
                ids.push(world.read("/d/large", 0, 200_000));
                ids.push(world.read("/d/small", 1000, 5_000));
                ids.push(world.upload(&format!("/d/up{round}"), &[7; 20_000]));
                ids.push(world.ask(Op::List { path: path("/d") }, Class::Metadata));
                world.run_for(Duration::from_millis(random.below(1500)));
                world.armed = !world.armed;
            }
            world.arm(false);
            for id in ids {
                let result = world.finish(id);
                assert!(result.is_ok() || result == Err(Error::Armed), "{kind:?}: {result:?}");
            }
            let id = world.read("/d/large", 0, 10_000);
            assert_eq!(world.finish(id), Ok(Reply::Size(LARGE as u32)), "{kind:?}");
            assert_eq!(world.outcomes[&id].joined(0), Random::new(seed).bytes(LARGE)[..10_000]);
            world.check_quiet();
        });
    }
}

/// > `--when-armed allow` limits nothing, and `deny` asks an armed vehicle for no listing and no
/// > file; what is cached is served.
#[test]
fn the_rule_allow_spares_an_armed_vehicle_nothing() {
    let mut world = world(Kind::ArduPilot(Sessions::Five), Faults::WIFI, 6);
    world.set_rules(Restraint::Free, Duration::ZERO);
    world.arm(true);
    let id = world.upload("/d/new", &[7; 3000]);
    assert_eq!(world.finish(id), Ok(Reply::Size(3000)));
    let id = world.read("/d/large", 0, LARGE as u32);
    assert_eq!(world.finish(id), Ok(Reply::Size(LARGE as u32)));
    assert_eq!(world.perform(Op::Remove { path: path("/d/new") }), Ok(Reply::Done));
    world.check_quiet();
}

/// > `--when-armed allow` limits nothing, and `deny` asks an armed vehicle for no listing and no
/// > file; what is cached is served.
#[test]
fn the_rule_deny_asks_an_armed_vehicle_nothing_and_ends_what_runs() {
    for kind in ALL {
        let mut world = world(kind, Faults::RADIO, 7);
        world.set_rules(Restraint::Silent, Duration::ZERO);
        let reading = world.read("/d/small", 0, SMALL as u32);
        let listing = world.ask(Op::List { path: path("/d") }, Class::Metadata);
        world.run_until(|world| !world.outcomes[&reading].bytes.is_empty());
        world.arm(true);
        assert_eq!(world.finish(reading), Err(Error::Armed), "{kind:?}");
        assert!([Ok(Reply::Done), Err(Error::Armed)].contains(&world.finish(listing)));
        world.run_for(PATIENCE * 2);
        let since = world.now;
        assert_eq!(world.perform(Op::List { path: path("/") }), Err(Error::Armed));
        assert_eq!(world.perform(Op::Size { path: path("/d/small") }), Err(Error::Armed));
        world.run_for(PATIENCE);
        let diary = world.diary.iter().flatten();
        assert_eq!(diary.filter(|(at, _)| *at >= since).count(), 0, "{kind:?}");
        world.check_quiet();
    }
}

#[test]
fn a_virtual_file_is_read_of_an_armed_vehicle_whatever_size_it_is_said_to_have() {
    for sessions in [Sessions::Old, Sessions::One, Sessions::Five] {
        let mut world = world(Kind::ArduPilot(sessions), Faults::BAD, 8);
        world.arm(true);
        for (path, size) in [("@MISSION/mission.dat", 48), ("@SYS/uarts.txt", 735)] {
            let id = world.read(path, 0, 8 << 20);
            assert_eq!(world.finish(id), Ok(Reply::Size(size)), "{sessions:?}: {path}");
            assert_eq!(world.outcomes[&id].joined(0).len() as u32, size);
        }
        world.check_quiet();
    }
}
