//! How much of what a link can carry a transfer gets, for each link and each kind of vehicle.

use mavftp_mount::mavftp::client::Reply;

use crate::network::{Faults, Random};
use crate::vehicles::{ALL, Kind};
use crate::world::World;

/// Data bytes of a full block, its frame, and the smallest frame that goes the other way for it.
const BLOCK: f64 = 239.0;
const FRAME: f64 = 266.0;
const SMALL: f64 = 25.0;

/// Bytes per second of file data that a link can carry.
/// A block that is written takes another time on the line when its acknowledgement is lost.
fn bound(faults: &Faults, up: bool) -> f64 {
    let rate = f64::from(faults.rate.unwrap_or(u32::MAX));
    let line = if faults.half_duplex { FRAME + SMALL } else { FRAME };
    let arrives = 1.0 - faults.loss;
    rate * BLOCK / line * if up { arrives * arrives } else { arrives }
}

fn share(faults: Faults, kind: Option<Kind>, up: bool) -> f64 {
    let mut world = match kind {
        Some(kind) => kind.world(1, faults),
        None => World::new(1, faults),
    };
    let bytes = (bound(&faults, up) * 300.0).min(f64::from(8 << 20)) as usize;
    let content = Random::new(7).bytes(bytes);
    let start = world.elapsed();
    let id = match up {
        true => world.upload("/log", &content),
        false => {
            world.files.insert("/log", &content);
            world.read("/log", 0, u32::MAX)
        }
    };
    let result = world.finish(id);
    if result.is_err() {
        eprintln!("up {up} loss {} at {:?}: {}", faults.loss, world.elapsed(), world.hub.debug());
    }
    assert_eq!(result, Ok(Reply::Size(bytes as u32)));
    let took = (world.elapsed() - start).as_secs_f64();
    if std::env::var("KIND").is_ok() {
        eprintln!(
            "  sent {:.2} a block; {}",
            world.sent as f64 / (bytes as f64 / 239.0),
            world.hub.debug()
        );
    }
    bytes as f64 / took / bound(&faults, up)
}

#[test]
fn table() {
    let kinds: Vec<Option<Kind>> = std::iter::once(None).chain(ALL.into_iter().map(Some)).collect();
    let only = std::env::var("KIND").unwrap_or_default();
    for (name, faults) in Faults::NAMED {
        for kind in &kinds {
            let label = kind.map_or("Ours".into(), |kind| format!("{kind:?}"));
            if !label.contains(&only) {
                continue;
            }
            let row = [
                (false, faults),
                (true, faults),
                (false, faults.with_loss(0.2)),
                (true, faults.with_loss(0.2)),
            ]
            .map(|(up, faults)| format!("{:6.1}", share(faults, *kind, up) * 100.0));
            println!("{name:14} {label:20} {}", row.join(" "));
        }
    }
}
