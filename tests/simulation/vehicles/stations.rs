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

/// Begins a download and lets another station take the session in the middle of it: resets, and
/// opens a file as large as ours so many microseconds later.
fn taken_in_the_middle(seed: u64, faults: Faults, shared: bool, gap: u64) -> (World, Vec<u8>) {
    let mut world = Kind::Px4(Firmware::Release).world(seed, faults);
    world.shared = shared;
    let ours = Random::new(seed).bytes(SIZE);
    world.files.insert("/ours", &ours);
    world.files.insert("/theirs", &Random::new(seed + 1000).bytes(SIZE));
    let id = world.read("/ours", 0, u32::MAX);
    world.run_until(|world| world.outcomes[&id].bytes.len() as u64 > 20 + seed * 5 % 100);
    world.intrude(OTHER, &other(100, Opcode::ResetSessions, ""));
    world.run_for(Duration::from_micros(gap));
    world.intrude(OTHER, &other(102, Opcode::OpenFileRo, "/theirs"));
    for n in 0..3 {
        world.run_for(Duration::from_secs(1));
        world.intrude(OTHER, &other(200 + n, Opcode::None, ""));
    }
    world.intrude(OTHER, &other(300, Opcode::TerminateSession, ""));
    assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
    (world, ours)
}

#[test]
fn a_station_that_takes_the_session_on_a_shared_link_never_costs_a_byte() {
    for gap in [0, 1, 300, 5_000] {
        for_seeds(0..30, |seed| {
            let slow = Faults { delay: Duration::from_millis(10), ..Faults::NONE };
            for faults in [Faults::NONE, slow] {
                let (mut world, ours) = taken_in_the_middle(seed, faults, true, gap);
                let id = *world.outcomes.first_key_value().unwrap().0;
                assert_eq!(world.outcomes[&id].joined(0), ours);
                world.check_quiet();
            }
        });
    }
}
