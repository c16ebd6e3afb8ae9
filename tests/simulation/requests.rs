//! Listings and one-exchange operations, and any mixture of all.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Error, Op, Reply, RequestId};
use mavftp_mount::mavftp::wire::{Checksum, Nak};

use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::world::World;

fn path(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn list(world: &mut World, directory: &str) -> (Result<Reply, Error>, Vec<String>) {
    let id = world.ask(Op::List { path: path(directory) }, Class::Metadata);
    let result = world.finish(id);
    let entries = &world.outcomes[&id].entries;
    let mut names: Vec<String> =
        entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect();
    names.sort();
    (result, names)
}

#[test]
fn a_long_listing_is_complete_and_names_nothing_twice() {
    for_seeds(0..10, |seed| {
        let mut world = World::new(seed, Faults::BAD);
        let mut expected: Vec<String> = (0..300).map(|n| format!("log_{n:04}.bin")).collect();
        expected.sort();
        for name in &expected {
            world.files.insert(&format!("/logs/{name}"), b"x");
        }
        assert_eq!(list(&mut world, "/logs"), (Ok(Reply::Done), expected));
        world.check_quiet();
    });
}

#[test]
fn an_empty_directory_and_a_missing_one_are_told_apart() {
    let mut world = World::new(1, Faults::NONE);
    world.files.insert_directory("/empty");
    assert_eq!(list(&mut world, "/empty"), (Ok(Reply::Done), Vec::new()));
    let (missing, _) = list(&mut world, "/missing");
    assert_eq!(missing, Err(Error::Refused(Nak::FileNotFound)));
}

#[test]
fn every_change_happens_once_through_loss_and_repetition() {
    for_seeds(0..60, |seed| {
        let faults = Faults { loss: 0.12, ..Faults::BAD };
        let mut world = World::new(seed, faults);
        world.files.insert("/a", b"content");
        assert_eq!(world.perform(Op::MakeDirectory { path: path("/d") }), Ok(Reply::Done));
        let rename = Op::Rename { from: path("/a"), to: path("/d/b") };
        assert_eq!(world.perform(rename), Ok(Reply::Done));
        assert_eq!(world.files.content("/d/b"), Some(b"content".to_vec()));
        let truncate = Op::Truncate { path: path("/d/b"), length: 3 };
        // Unheard so often, a truncation counts as one of the opcodes that a server passes over.
        if world.perform(truncate) == Err(Error::Unsupported) {
            world.files.insert("/d/b", b"con");
        }
        let sum = world.perform(Op::Checksum { path: path("/d/b") });
        assert_eq!(sum, Ok(Reply::Checksum(Checksum::of(b"con"))));
        assert_eq!(world.perform(Op::Size { path: path("/d/b") }), Ok(Reply::Size(3)));
        assert_eq!(world.perform(Op::Remove { path: path("/d/b") }), Ok(Reply::Done));
        assert_eq!(world.perform(Op::RemoveDirectory { path: path("/d") }), Ok(Reply::Done));
        assert!(world.files.paths().is_empty());
        world.check_quiet();
    });
}

#[test]
fn a_real_refusal_is_reported_through_loss() {
    for_seeds(0..40, |seed| {
        let mut world = World::new(seed, Faults { loss: 0.2, ..Faults::BAD });
        world.files.insert("/taken", b"x");
        let missing = world.perform(Op::Remove { path: path("/d/missing") });
        assert!(matches!(missing, Err(Error::Refused(_))), "{missing:?}");
        let taken = world.perform(Op::MakeDirectory { path: path("/taken") });
        assert_eq!(taken, Err(Error::Refused(Nak::FileExists)));
        world.check_quiet();
    });
}

#[test]
fn a_truncation_that_met_a_silence_is_tried_again_later() {
    let mut world = World::new(1, Faults::NONE);
    world.files.insert("/f", b"content");
    let truncate = Op::Truncate { path: path("/f"), length: 3 };
    world.deaf = true;
    assert_eq!(world.perform(truncate.clone()), Err(Error::Unsupported));
    world.deaf = false;
    assert_eq!(world.perform(truncate), Ok(Reply::Done));
    assert_eq!(world.files.content("/f"), Some(b"con".to_vec()));
}

#[test]
fn a_path_that_does_not_fit_sends_nothing() {
    let mut world = World::new(1, Faults::NONE);
    let long = vec![b'x'; 239];
    assert_eq!(world.perform(Op::Remove { path: long }), Err(Error::PathTooLong));
    let rename = Op::Rename { from: vec![b'a'; 120], to: vec![b'b'; 120] };
    assert_eq!(world.perform(rename), Err(Error::PathTooLong));
    assert_eq!(world.sent, 0);
}

#[test]
fn an_armed_autopilot_gets_no_write_at_all() {
    let mut world = World::new(1, Faults::NONE);
    world.armed = true;
    world.run_for(Duration::from_secs(2));
    let id = world.upload("/new", b"x");
    assert_eq!(world.finish(id), Err(Error::Armed));
    assert_eq!(world.sent, 0);
}

#[test]
fn any_mixture_of_requests_ends_each_once_and_leaves_nothing_open() {
    for_seeds(0..40, |seed| {
        let mut world = World::new(seed, Faults::BAD);
        let mut random = Random::new(seed);
        for n in 0..5 {
            world.files.insert(&format!("/f{n}"), &Random::new(n).bytes(20_000));
        }
        let mut ids: Vec<RequestId> = Vec::new();
        for _ in 0..60 {
            let file = format!("/f{}", random.below(6));
            let id = match random.below(8) {
                0 => world.ask(Op::List { path: path("/") }, Class::Metadata),
                1 => world.upload(&file, &[1; 3000]),
                2 => world.ask(Op::Remove { path: path(&file) }, Class::Metadata),
                3 => {
                    let to = path(&format!("/f{}", random.below(6)));
                    world.ask(Op::Rename { from: path(&file), to }, Class::Metadata)
                }
                4 => world.ask(Op::Size { path: path(&file) }, Class::Metadata),
                _ => world.read(&file, random.below(20_000) as u32, random.below(9_000) as u32),
            };
            ids.push(id);
            if random.chance(0.2) {
                let id = ids[random.below(ids.len() as u64) as usize];
                if let Some(client) = world.hub.client(id) {
                    client.cancel(id);
                }
            }
            if random.chance(0.05) {
                world.reboot();
            }
            world.run_for(Duration::from_millis(random.below(60)));
        }
        for id in ids {
            let _ = world.finish(id);
        }
        world.check_quiet();
    });
}
