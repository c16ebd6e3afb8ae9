//! What is wrong with real servers beyond their rules: answers that wait for a link which is gone,
//! and packets that come when nobody asks for them any more.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Error, Reply};
use mavftp_mount::mavftp::wire::{Opcode, Payload};

use super::Kind;
use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::personalities::{OTHER, US};
use crate::world::World;

const ONE: Kind = Kind::ArduPilot(Sessions::One);
const FIVE: Kind = Kind::ArduPilot(Sessions::Five);
/// A whole burst, and more.
const SIZE: usize = 600_000;

/// Lets a station open `/theirs` and ask for a burst of it.
fn begin_burst(world: &mut World, station: u8, sequence: u16, session: u8) {
    world.files.insert("/theirs", &Random::new(77).bytes(SIZE));
    let open = Payload { sequence, session, ..Payload::request(Opcode::OpenFileRo) };
    world.intrude(station, &open.with_data(b"/theirs"));
    world.run_for(Duration::from_millis(50));
    let (sequence, size) = (sequence.wrapping_add(1), 239);
    let burst = Payload { sequence, session, size, ..Payload::request(Opcode::BurstReadFile) };
    world.intrude(station, &burst);
    world.run_for(Duration::from_millis(50));
}

#[test]
fn a_station_that_goes_in_the_middle_of_its_burst_leaves_a_mute_server_behind() {
    for_seeds(0..10, |seed| {
        let mut world = FIVE.world(seed, Faults::NONE);
        world.files.insert("/ours", b"content");
        begin_burst(&mut world, OTHER, 100, 9);
        world.link(OTHER, false);
        let id = world.read("/ours", 0, 100);
        assert_eq!(world.finish(id), Err(Error::TimedOut), "though heartbeats go on");
        world.link(OTHER, true);
        let before = world.overheard.len();
        world.run_for(Duration::from_secs(3));
        assert!(world.overheard.len() - before > 1_500, "the rest of the old burst");
        let id = world.read("/ours", 0, 100);
        assert_eq!(world.finish(id), Ok(Reply::Size(7)));
        world.check_quiet();
    });
}

#[test]
fn the_server_with_one_file_is_mute_for_all_without_the_link_that_asked_first() {
    for kind in [ONE, FIVE] {
        let mut world = kind.world(1, Faults::NONE);
        world.files.insert("/ours", b"content");
        world.intrude(OTHER, &Payload { sequence: 5, ..Payload::request(Opcode::None) });
        world.run_for(Duration::from_secs(5));
        world.link(OTHER, false);
        let id = world.read("/ours", 0, 100);
        let expected = if kind == ONE { Err(Error::TimedOut) } else { Ok(Reply::Size(7)) };
        assert_eq!(world.finish(id), expected, "{kind:?}");
        world.link(OTHER, true);
        world.run_for(Duration::from_secs(5));
        let id = world.read("/ours", 0, 100);
        assert_eq!(world.finish(id), Ok(Reply::Size(7)));
        world.check_quiet();
    }
}

#[test]
fn packets_of_an_old_burst_are_nobodys_bytes_whatever_their_numbers() {
    for kind in [ONE, FIVE] {
        for_seeds(0..20, |seed| {
            let mut world = kind.world(seed, Faults::NONE);
            let ours = Random::new(seed).bytes(60_000);
            world.files.insert("/ours", &ours);
            let first = world.read("/ours", 0, 1_000);
            assert_eq!(world.finish(first), Ok(Reply::Size(60_000)));
            world.run_for(Duration::from_millis(1_500));
            let last = world.last_sent.expect("the closing");
            // Whoever had our address before us counted as we do, and left in the middle.
            let session = last.session.wrapping_add(1 + seed as u8 % 2);
            begin_burst(&mut world, US, last.sequence.wrapping_add(seed as u16), session);
            world.link(US, false);
            world.run_for(Duration::from_secs(2));
            let id = world.read("/ours", 0, u32::MAX);
            world.run_for(Duration::from_millis(300));
            world.link(US, true);
            let before = world.heard;
            // On a server with one file the other is open until it has been left alone.
            let result = world.finish(id);
            match result {
                Ok(_) => assert_eq!(world.outcomes[&id].joined(0), ours),
                Err(error) => assert_eq!((kind, error), (ONE, Error::Busy)),
            }
            world.run_for(Duration::from_secs(4));
            assert!(world.heard - before > 450, "the old burst came");
            let id = world.read("/ours", 0, u32::MAX);
            assert_eq!(world.finish(id), Ok(Reply::Size(60_000)));
            assert_eq!(world.outcomes[&id].joined(0), ours);
        });
    }
}
