//! Links that carry small frames only: transfers are whole, and use what such frames can carry.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Error, Reply};

use crate::network::{Faults, Random};
use crate::personalities::px4::{Firmware, Px4};
use crate::vehicles::{ALL, Kind};
use crate::world::World;

/// Bytes of a frame around its data, and the smallest frame that goes the other way for it.
const AROUND: f64 = 27.0;
const SIZE: usize = 60_000;

/// A radio without loss, on which no larger frame arrives.
fn radio(largest: u32) -> Faults {
    Faults { largest_frame: Some(largest), ..Faults::RADIO.with_loss(0.0) }
}

/// The largest frame that arrives, and the data bytes of the largest block in one.
const LINKS: [(u32, f64); 2] = [(140, 110.0), (110, 80.0)];

/// So many bytes per second blocks of this size carry. ArduPilot takes five requests at once, and so
/// serves five blocks a round trip.
fn carried(kind: Kind, block: f64) -> f64 {
    let Faults { rate, delay, jitter, .. } = Faults::RADIO;
    let rate = f64::from(rate.unwrap_or(0));
    let line = rate * block / (block + AROUND);
    let trip = (delay * 2 + jitter).as_secs_f64() + (block + 2.0 * AROUND) / rate;
    match kind {
        Kind::ArduPilot(_) | Kind::ArduPilotUart(..) | Kind::ArduPilotOnCard(_) => {
            line.min(5.0 * block / trip)
        }
        Kind::Mavsdk(_) | Kind::Px4(_) => line,
    }
}

/// Those that are not asked for bursts first.
fn obedient() -> impl Iterator<Item = Kind> + Clone {
    ALL.into_iter().filter(|kind| matches!(kind, Kind::Mavsdk(_)))
}

#[test]
fn a_download_by_small_frames_is_whole_and_uses_the_link() {
    check_downloads(&LINKS[..1], obedient());
}

#[test]
fn a_download_from_a_server_with_bursts_of_large_packets_only_is_whole_too() {
    check_downloads(&LINKS, ALL.into_iter());
}

fn check_downloads(links: &[(u32, f64)], kinds: impl Iterator<Item = Kind> + Clone) {
    for &(largest, block) in links {
        for kind in kinds.clone() {
            let mut world = kind.world(1, radio(largest));
            let content = Random::new(1).bytes(SIZE);
            world.files.insert("/log", &content);
            let start = world.elapsed();
            let id = world.read("/log", 0, u32::MAX);
            assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)), "{kind:?} {largest}");
            assert!(world.outcomes[&id].joined(0) == content);
            let share =
                SIZE as f64 / (world.elapsed() - start).as_secs_f64() / carried(kind, block);
            assert!(share > 0.5, "{kind:?} {largest}: {share}");
            world.check_quiet();
        }
    }
}

#[test]
fn an_upload_by_small_frames_is_whole_and_uses_the_link() {
    for (largest, block) in LINKS {
        // What a board's small buffer drops costs it some of that; `fairness` has more of it.
        let drops = [Kind::Px4(Firmware::Board), Kind::Px4(Firmware::Serial)];
        let least = |kind| if drops.contains(&kind) { 0.4 } else { 0.5 };
        for kind in ALL {
            let mut world = kind.world(1, radio(largest));
            let content = Random::new(1).bytes(SIZE);
            let start = world.elapsed();
            let id = world.upload("/new", &content);
            assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)), "{kind:?} {largest}");
            assert!(world.files.content("/new") == Some(content));
            let share =
                SIZE as f64 / (world.elapsed() - start).as_secs_f64() / carried(kind, block);
            assert!(share > least(kind), "{kind:?} {largest}: {share}");
            world.check_quiet();
        }
    }
}

#[test]
fn transfers_by_small_frames_are_whole_over_every_link_that_one_meets() {
    for (link, faults) in Faults::NAMED {
        for (largest, _) in LINKS {
            for kind in ALL {
                let mut world = kind.world(1, Faults { largest_frame: Some(largest), ..faults });
                let content = Random::new(1).bytes(12_000);
                world.files.insert("/log", &content);
                let (down, up) = (world.read("/log", 0, u32::MAX), world.upload("/new", &content));
                for id in [down, up] {
                    let result = world.finish(id);
                    assert_eq!(result, Ok(Reply::Size(12_000)), "{kind:?} {link} {largest}");
                }
                assert!(world.outcomes[&down].joined(0) == content);
                assert!(world.files.content("/new") == Some(content));
                world.check_quiet();
            }
        }
    }
}

/// Up to 1.15, PX4 fills each block whatever was asked for: no byte of it can arrive.
#[test]
fn a_server_that_knows_only_large_blocks_is_given_up_and_written_to() {
    let mut world = World::with(1, radio(140), Kind::Px4(Firmware::Release).autopilot(), |files| {
        let mut far = Px4::new(files, Firmware::Release, 1);
        far.older = true;
        Box::new(far)
    });
    world.files.insert("/log", &[7; 2_000]);
    let start = world.elapsed();
    let id = world.read("/log", 0, u32::MAX);
    assert_eq!(world.finish(id), Err(Error::TimedOut));
    assert!(world.elapsed() - start < Duration::from_secs(25));
    let id = world.upload("/new", &[7; 2_000]);
    assert_eq!(world.finish(id), Ok(Reply::Size(2_000)));
    world.check_quiet();
}
