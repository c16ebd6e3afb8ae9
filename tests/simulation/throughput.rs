//! How much of what a link can carry a transfer gets, for each link and each kind of vehicle.

use std::time::Duration;

use mavftp_mount::mavftp::client::Reply;

use crate::network::{Faults, Random};
use crate::vehicles::{ALL, Kind};
use crate::world::World;

struct Line {
    name: &'static str,
    faults: Faults,
    bytes: usize,
}

fn links() -> Vec<Line> {
    let link = |name, rate: u32, delay, loss, queue_bytes| {
        let bytes = (rate as usize * 300).min(8 << 20);
        let faults = Faults {
            loss,
            rate: Some(rate),
            delay: Duration::from_millis(delay),
            queue_bytes,
            ..Faults::NONE
        };
        Line { name, faults, bytes }
    };
    vec![
        link("57600 baud", 5760, 200, 0.05, 20_000),
        link("115200 baud", 11520, 50, 0.01, 20_000),
        link("Wi-Fi", 2_000_000, 10, 0.01, 200_000),
        link("LTE", 500_000, 40, 0.005, 250_000),
        link("satellite", 100_000, 300, 0.001, 100_000),
    ]
}

fn share(line: &Line, loss: f64, kind: Option<Kind>, up: bool) -> f64 {
    let faults = Faults { loss, ..line.faults };
    let mut world = match kind {
        Some(kind) => kind.world(1, faults),
        None => World::new(1, faults),
    };
    let content = Random::new(7).bytes(line.bytes);
    let start = world.elapsed();
    let id = match up {
        true => world.upload("/log", &content),
        false => {
            world.files.insert("/log", &content);
            world.read("/log", 0, u32::MAX)
        }
    };
    assert_eq!(world.finish(id), Ok(Reply::Size(line.bytes as u32)));
    let took = (world.elapsed() - start).as_secs_f64();
    let bound = f64::from(faults.rate.unwrap()) * 239.0 / 266.0 * (1.0 - loss);
    line.bytes as f64 / took / bound
}

#[test]
fn table() {
    for line in links() {
        let kinds = std::iter::once(None).chain(ALL.into_iter().map(Some));
        for kind in kinds {
            for up in [false, true] {
                let usual = share(&line, line.faults.loss, kind, up);
                let bad = share(&line, 0.2, kind, up);
                println!(
                    "{:12} {:24} {} {:5.1} {:5.1}",
                    line.name,
                    kind.map_or("ours".into(), |k| format!("{k:?}")),
                    if up { "up  " } else { "down" },
                    usual * 100.0,
                    bad * 100.0
                );
            }
        }
    }
}
