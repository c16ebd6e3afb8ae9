//! Bursts where they are the better choice, and what they must not do to others.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Op, Reply};

use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::vehicles::Kind;
use crate::world::World;

const SIZE: usize = 1 << 20;
/// Bytes per second that five reads at a time bring over this link at most.
const READS: f64 = 5.0 * 239.0 / 0.084;

fn world(seed: u64, faults: Faults) -> (World, Vec<u8>) {
    let world = Kind::ArduPilot(Sessions::Five).world(seed, faults);
    let content = Random::new(seed).bytes(SIZE);
    world.files.insert("/log", &content);
    (world, content)
}

#[test]
fn a_long_file_comes_faster_than_five_reads_at_a_time_bring_it() {
    let (mut world, content) = world(1, Faults::LTE);
    let start = world.elapsed();
    let id = world.read("/log", 0, u32::MAX);
    assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
    assert!(world.outcomes[&id].joined(0) == content);
    let rate = SIZE as f64 / (world.elapsed() - start).as_secs_f64();
    assert!(rate > 8.0 * READS, "{rate}");
    world.check_quiet();
}

#[test]
fn a_vehicle_that_reboots_in_a_burst_is_read_on() {
    for_seeds(0..10, |seed| {
        let (mut world, content) = world(seed, Faults::LTE);
        let id = world.read("/log", 0, u32::MAX);
        world.run_until(|world| world.outcomes[&id].bytes.len() > 1000);
        world.reboot();
        assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
        assert!(world.outcomes[&id].joined(0) == content);
        world.check_quiet();
    });
}

/// A mount asks for a file piece by piece, so nobody knows that it will want all of a burst.
#[test]
fn a_file_read_in_pieces_over_a_radio_keeps_others_waiting_for_half_of_their_patience_at_most() {
    let (mut world, content) = world(2, Faults::RADIO.with_loss(0.0));
    let piece = 65_536;
    let mut pieces = Vec::new();
    for n in 0..3u32 {
        let op =
            Op::Read { path: b"/log".to_vec(), offset: n * piece, length: piece, expected: None };
        pieces.push(world.ask(op, Class::ReadAhead));
    }
    let mut longest = Duration::ZERO;
    for n in 0..8 {
        world.run_for(Duration::from_secs(4));
        let start = world.elapsed();
        let made = world.perform(Op::MakeDirectory { path: format!("/d{n}").into() });
        assert_eq!(made, Ok(Reply::Done));
        longest = longest.max(world.elapsed() - start);
    }
    assert!(longest < Duration::from_secs(6), "{longest:?}");
    for (n, id) in pieces.into_iter().enumerate() {
        assert!(world.finish(id).is_ok());
        let from = n * piece as usize;
        assert!(world.outcomes[&id].joined(from as u32) == content[from..from + piece as usize]);
    }
    world.check_quiet();
}
