//! Another ground station at the same server, in the middle of what we do.

use std::time::Duration;

use mavftp_mount::mavftp::client::Reply;
use mavftp_mount::mavftp::wire::{Opcode, Payload};

use super::Kind;
use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::OTHER;
use crate::personalities::px4::Firmware;
use crate::world::World;

const SIZE: usize = 60_000;

fn other(sequence: u16, opcode: Opcode, path: &str) -> Payload {
    Payload { sequence, ..Payload::request(opcode).with_data(path.as_bytes()) }
}

/// Begins a download and lets another station take the session in the middle of it: it resets, and
/// so much later opens a file as large as ours. Every byte that came must be ours, and its file stay open.
fn taken_in_the_middle(seed: u64, faults: Faults, shared: bool, gap: Duration) -> World {
    let mut world = Kind::Px4(Firmware::Release).world(seed, faults);
    world.shared = shared;
    let ours = Random::new(seed).bytes(SIZE);
    world.files.insert("/ours", &ours);
    world.files.insert("/theirs", &Random::new(seed + 1000).bytes(SIZE));
    let id = world.read("/ours", 0, u32::MAX);
    world.run_until(|world| world.outcomes[&id].bytes.len() as u64 > 20 + seed * 5 % 100);
    world.intrude(OTHER, &other(100, Opcode::ResetSessions, ""));
    world.run_for(gap);
    world.intrude(OTHER, &other(102, Opcode::OpenFileRo, "/theirs"));
    for n in 0..3 {
        world.run_for(Duration::from_secs(1));
        world.intrude(OTHER, &other(200 + n, Opcode::None, ""));
        // It may have come too late, when we had opened ours again. What we do not hear of we may
        // close: ours, when it has been idle, has the number that theirs has now.
        let theirs = |answer: &Payload| {
            answer.req_opcode == Opcode::OpenFileRo as u8 && answer.answer() == Some(Ok(()))
        };
        if shared && world.overheard.iter().any(theirs) {
            assert_eq!(world.open_files(), 1, "their file stays open");
        }
    }
    world.intrude(OTHER, &other(300, Opcode::TerminateSession, ""));
    assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
    assert_eq!(world.outcomes[&id].joined(0), ours);
    world
}

/// A link without loss or disorder, so slow.
fn link(delay: Duration) -> Faults {
    Faults { delay, ..Faults::NONE }
}

#[test]
fn a_station_that_takes_the_session_on_a_shared_link_never_costs_a_byte() {
    for gap in [0, 1, 300, 5_000].map(Duration::from_micros) {
        for delay in [50, 10_000].map(Duration::from_micros) {
            for_seeds(0..30, |seed| {
                taken_in_the_middle(seed, link(delay), true, gap).check_quiet();
            });
        }
    }
}

/// Where we hear nothing of the other station, only a refusal tells. There is one if any request of
/// ours arrives between its reset and its opening; if none does, its bytes are taken for ours.
#[test]
fn a_station_that_is_not_heard_costs_no_byte_when_one_of_our_requests_meets_no_session() {
    for (delay, gap) in [(50, 300), (10_000, 50_000)] {
        let (delay, gap) = (Duration::from_micros(delay), Duration::from_micros(gap));
        for_seeds(0..30, |seed| {
            taken_in_the_middle(seed, link(delay), false, gap).check_quiet();
        });
    }
}

#[test]
fn what_comes_in_one_go_after_a_silence_is_not_believed() {
    for_seeds(0..20, |seed| {
        let mut world = Kind::Px4(Firmware::Release).world(seed, Faults::NONE);
        let ours = Random::new(seed).bytes(SIZE);
        world.files.insert("/ours", &ours);
        world.files.insert("/theirs", &Random::new(seed + 1000).bytes(SIZE));
        let id = world.read("/ours", 0, u32::MAX);
        world.run_until(|world| world.outcomes[&id].bytes.len() > 100);
        world.deaf = true;
        world.run_for(Duration::from_secs(4));
        world.intrude(OTHER, &other(100, Opcode::ResetSessions, ""));
        world.intrude(OTHER, &other(102, Opcode::OpenFileRo, "/theirs"));
        world.run_for(Duration::from_millis(2_500));
        world.deaf = false;
        assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
        assert_eq!(world.outcomes[&id].joined(0), ours);
        world.check_quiet();
    });
}
