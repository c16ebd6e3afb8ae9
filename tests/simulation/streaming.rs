//! Uploads that wait for the program which writes their bytes: they never time out on a link that is
//! fine, and are in nobody's way.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Error, Reply, RequestId};

use crate::network::{Faults, Random};
use crate::vehicles::{ALL, Kind};
use crate::world::World;

/// What a program copies at once.
const PIECE: usize = 4096;
const BYTES: usize = 40_000;

fn keeps_content(kind: Kind) -> bool {
    !matches!(kind, Kind::Mavsdk(_))
}

/// A world in which an upload waits for its program behind the first piece.
fn waiting(kind: Kind) -> (World, RequestId, Vec<u8>) {
    let mut world = kind.world(1, Faults::WIFI);
    world.files.insert("/a", &Random::new(1).bytes(BYTES));
    let bytes = Random::new(2).bytes(BYTES);
    let id = world.upload_while_written("/new", &bytes);
    world.provide(id, PIECE);
    world.run_until(|world| world.outcomes[&id].acknowledged as usize + 239 > PIECE);
    (world, id, bytes)
}

#[test]
fn an_upload_waits_for_its_program_without_holding_the_session_and_goes_on() {
    for kind in ALL.into_iter().filter(|kind| keeps_content(*kind)) {
        let (mut world, id, bytes) = waiting(kind);
        world.run_for(Duration::from_secs(100));
        assert!(world.outcomes[&id].results.is_empty(), "{kind:?}: it timed out");
        assert_eq!(world.open_files(), 0, "{kind:?}: others cannot have the session");
        world.provide(id, BYTES);
        assert_eq!(world.finish(id), Ok(Reply::Size(BYTES as u32)), "{kind:?}");
        assert!(world.files.content("/new").unwrap() == bytes, "{kind:?}");
        world.check_quiet();
    }
}

#[test]
fn a_reader_gets_the_session_at_once_from_an_upload_that_waits() {
    for kind in ALL {
        let (mut world, id, bytes) = waiting(kind);
        let start = world.elapsed();
        let read = world.read("/a", 0, PIECE as u32);
        assert!(world.finish(read).is_ok(), "{kind:?}");
        let took = world.elapsed() - start;
        assert!(took < Duration::from_secs(1), "{kind:?}: {took:?}");
        world.provide(id, BYTES);
        match keeps_content(kind) {
            true => {
                assert_eq!(world.finish(id), Ok(Reply::Size(BYTES as u32)), "{kind:?}");
                assert!(world.files.content("/new").unwrap() == bytes, "{kind:?}");
            }
            false => assert_eq!(world.finish(id), Err(Error::Busy), "{kind:?}"),
        }
        world.check_quiet();
    }
}

#[test]
fn where_a_file_would_be_emptied_an_upload_that_waits_keeps_it_for_some_seconds() {
    for kind in ALL.into_iter().filter(|kind| !keeps_content(*kind)) {
        let (mut world, id, bytes) = waiting(kind);
        world.run_for(Duration::from_secs(3));
        world.provide(id, BYTES);
        assert_eq!(world.finish(id), Ok(Reply::Size(BYTES as u32)), "{kind:?}");
        assert!(world.files.content("/new").unwrap() == bytes, "{kind:?}");
        let slow = world.upload_while_written("/slow", &bytes);
        world.provide(slow, PIECE);
        world.run_for(Duration::from_secs(20));
        assert_eq!(world.outcomes[&slow].results, [Err(Error::Busy)], "{kind:?}");
        world.check_quiet();
    }
}

/// What `cp` does within a mount: a piece is read, then written, and the write waits for the upload.
///
/// > `cp` from the mount into the mount works, also where the server has one session.
#[test]
fn a_copy_within_a_vehicle_goes_on_and_sends_little_twice() {
    for kind in ALL.into_iter().filter(|kind| keeps_content(*kind)) {
        for faults in [Faults::WIFI, Faults::RADIO.with_loss(0.0)] {
            let mut world = kind.world(1, faults);
            let bytes = Random::new(1).bytes(BYTES);
            world.files.insert("/a", &bytes);
            let id = world.upload_while_written("/b", &bytes);
            for at in (0..BYTES).step_by(PIECE) {
                let read = world.read("/a", at as u32, PIECE as u32);
                assert!(world.finish(read).is_ok(), "{kind:?}");
                world.provide(id, (at + PIECE).min(BYTES));
            }
            assert_eq!(world.finish(id), Ok(Reply::Size(BYTES as u32)), "{kind:?}");
            assert!(world.files.content("/b").unwrap() == bytes, "{kind:?}");
            // Each block once read and once written, and some for the changes of turns.
            let blocks = 2 * BYTES as u64 / 239;
            assert!(world.sent < 3 * blocks, "{kind:?}: {} for {blocks}", world.sent);
            world.check_quiet();
        }
    }
}

#[test]
fn an_upload_that_waits_while_the_vehicle_reboots_goes_on_from_what_is_there() {
    for kind in ALL.into_iter().filter(|kind| keeps_content(*kind)) {
        let (mut world, id, bytes) = waiting(kind);
        world.reboot();
        world.run_for(Duration::from_secs(3));
        world.provide(id, BYTES);
        assert_eq!(world.finish(id), Ok(Reply::Size(BYTES as u32)), "{kind:?}");
        assert!(world.files.content("/new").unwrap() == bytes, "{kind:?}");
        world.check_quiet();
    }
}
