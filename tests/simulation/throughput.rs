//! How much of what a link can carry a transfer gets, for each link and each kind of vehicle, kept as
//! a table of text: an engine that became slower shows as a difference.
//!
//! `MAVFTP_WRITE=1 cargo test --test simulation throughput -- --include-ignored` writes it anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use mavftp_mount::mavftp::client::Reply;

use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::personalities::mavsdk::Release;
use crate::personalities::px4::Firmware;
use crate::vehicles::Kind;
use crate::world::World;

/// Data bytes of a full block, its frame, and the smallest frame that goes the other way for it.
const BLOCK: f64 = 239.0;
const FRAME: f64 = 266.0;
const SMALL: f64 = 25.0;
/// The loss of the second half of the table.
const MUCH: f64 = 0.2;
/// A share may differ by so many points from the table: chance is in it, though the seed is fixed.
const POINTS: f64 = 1.5;
/// Every link and vehicle move so many bytes …
const BYTES_MAX: f64 = 8_388_608.0;
/// … or for so long, in seconds.
const SECONDS_MAX: f64 = 600.0;

/// What the figures say a link must carry, in percent: reading, writing, and both with much lost.
const READ_LEAST: f64 = 95.0;
const WRITE_LEAST: f64 = 90.0;
const LOSSY_LEAST: f64 = 80.0;

/// The kinds of vehicles in the table. Those that are left out move bytes as one that is there.
fn kinds() -> Vec<(&'static str, Option<Kind>)> {
    let uart = |sessions| Some(Kind::ArduPilotUart(sessions, 5760));
    vec![
        ("ours", None),
        ("MAVSDK before 4", Some(Kind::Mavsdk(Release::Old))),
        ("MAVSDK 4", Some(Kind::Mavsdk(Release::Four))),
        ("PX4 1.16", Some(Kind::Px4(Firmware::Release))),
        ("PX4 main", Some(Kind::Px4(Firmware::Main))),
        ("PX4 board", Some(Kind::Px4(Firmware::Board))),
        ("PX4 serial", Some(Kind::Px4(Firmware::Serial))),
        ("ArduPilot, one file", Some(Kind::ArduPilot(Sessions::One))),
        ("ArduPilot, five files", Some(Kind::ArduPilot(Sessions::Five))),
        ("ArduPilot, no flow control", uart(Sessions::Five)),
    ]
}

/// Bytes per second of file data that a link can carry. A block that is written takes its time on
/// the line once more when its acknowledgement is lost.
fn bound(faults: &Faults, up: bool) -> f64 {
    let rate = f64::from(faults.rate.unwrap_or(u32::MAX));
    let line = if faults.half_duplex { FRAME + SMALL } else { FRAME };
    let arrives = 1.0 - faults.loss;
    rate * BLOCK / line * if up { arrives * arrives } else { arrives }
}

/// Bytes per second that a server delivers at most over such a link, by its own rules.
fn pace(kind: Option<Kind>, faults: &Faults, up: bool) -> f64 {
    let Some(kind) = kind else { return f64::INFINITY };
    match kind {
        // Five answers each tick of 10 ms.
        Kind::Px4(Firmware::Board) => 5.0 * BLOCK / 0.010,
        Kind::ArduPilot(sessions) => ardupilot_pace(sessions, None, faults, up),
        Kind::ArduPilotUart(sessions, rate) => ardupilot_pace(sessions, Some(rate), faults, up),
        Kind::Px4(_) | Kind::Mavsdk(_) | Kind::ArduPilotOnCard(_) => f64::INFINITY,
    }
}

/// Five requests in flight, a look at them each tick; or bursts, of which nothing is asked again but
/// four packets between two, or in a second burst, or by reads afterwards.
fn ardupilot_pace(sessions: Sessions, uart: Option<u32>, faults: &Faults, up: bool) -> f64 {
    const TICK: f64 = 0.0085;
    let rate = f64::from(faults.rate.unwrap_or(u32::MAX));
    let trip = 2.0 * faults.delay.as_secs_f64() + faults.jitter.as_secs_f64();
    let arrives = 1.0 - faults.loss;
    let five = (trip + TICK / 2.0 + (FRAME + SMALL) / rate).max(5.0 * FRAME / rate);
    // One that is lost keeps its place until a later one is answered, and a quarter longer.
    let answered = arrives * arrives;
    let reads = 5.0 * BLOCK / (five * (answered + (1.0 - answered) * 1.25)) * answered;
    if up {
        return reads;
    }
    let (own, limit) = match sessions {
        Sessions::Five => (0.0006, 2000.0),
        Sessions::One | Sessions::Old => (0.0056, 500.0),
    };
    let share = uart.map_or(0.0, |uart| 3.0 * FRAME / f64::from(uart));
    let packet = f64::max(own, share).max(FRAME / rate);
    // Of one burst: what is lost is asked for, four blocks in the same flight as the next burst.
    let holes = (limit * faults.loss - 4.0).max(0.0);
    let afterwards = (holes * BLOCK / reads).min(limit * packet / arrives);
    let bursts = limit * BLOCK / (limit * packet + afterwards);
    reads.max(bursts)
}

/// The part of its bound that a transfer reaches, in percent.
fn share(faults: Faults, kind: Option<Kind>, up: bool) -> f64 {
    let mut world = match kind {
        Some(kind) => kind.world(1, faults),
        None => World::new(1, faults),
    };
    let best = bound(&faults, up).min(pace(kind, &faults, up));
    let bytes = ((best * SECONDS_MAX).min(BYTES_MAX)) as usize;
    let content = Random::new(7).bytes(bytes);
    let start = world.elapsed();
    let id = match up {
        true => world.upload("/log", &content),
        false => {
            world.files.insert("/log", &content);
            world.read("/log", 0, u32::MAX)
        }
    };
    assert_eq!(world.finish(id), Ok(Reply::Size(bytes as u32)), "{kind:?} {faults:?} up {up}");
    let took = (world.elapsed() - start).as_secs_f64();
    bytes as f64 / took / best * 100.0
}

/// Reading, writing, and both with much lost.
fn row(faults: Faults, kind: Option<Kind>) -> [f64; 4] {
    let lossy = faults.with_loss(MUCH);
    [(faults, false), (faults, true), (lossy, false), (lossy, true)]
        .map(|(faults, up)| share(faults, kind, up))
}

struct Table(Vec<(String, [f64; 4])>);

impl Table {
    fn measured() -> Table {
        let mut rows = Vec::new();
        for (link, faults) in Faults::NAMED {
            for (name, kind) in kinds() {
                if name == "PX4 serial" && !faults.ordered {
                    continue; // A serial line is none of these.
                }
                rows.push((format!("{link:12} {name:27}"), row(faults, kind)));
            }
        }
        Table(rows)
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "Share in percent of what the link can carry, or of the server's own pace where that is less\n\
             (virtual time, seed 1): 8 MiB, or what takes 10 minutes.\n\
             link         vehicle                       read  write | 20 % lost: read  write\n",
        );
        for (name, [read, write, lossy_read, lossy_write]) in &self.0 {
            let _ = writeln!(
                text,
                "{name} {read:6.1} {write:6.1} | {lossy_read:15.1} {lossy_write:6.1}"
            );
        }
        text
    }
}

fn kept() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/throughput.txt")
}

/// The figures of a line of the table.
fn figures(line: &str) -> Vec<f64> {
    line.split_whitespace().filter_map(|word| word.parse().ok()).rev().take(4).collect()
}

#[test]
#[ignore = "a minute of every link and vehicle: scripts/test --full"]
fn the_table_of_throughput_is_as_it_was_kept() {
    let text = Table::measured().text();
    if std::env::var_os("MAVFTP_WRITE").is_some() {
        std::fs::write(kept(), &text).unwrap();
    }
    let before = std::fs::read_to_string(kept()).unwrap();
    println!("{text}");
    let differs = |(old, new): &(&str, &str)| {
        let (old, new) = (figures(old), figures(new));
        old.len() != new.len() || old.iter().zip(&new).any(|(a, b)| (a - b).abs() > POINTS)
    };
    let lines: Vec<_> = before.lines().zip(text.lines()).skip(3).filter(differs).collect();
    assert!(lines.is_empty() && before.lines().count() == text.lines().count(), "{lines:#?}");
}

#[test]
fn links_are_filled_by_reads_and_writes() {
    for (link, faults) in Faults::NAMED {
        for (name, kind) in [kinds()[0], kinds()[2], kinds()[4]] {
            let [read, write, lossy_read, lossy_write] = row(faults, kind);
            let figures = format!("{link} {name}: {read} {write} {lossy_read} {lossy_write}");
            assert!(read > READ_LEAST && write > WRITE_LEAST, "{figures}");
            assert!(lossy_read > LOSSY_LEAST && lossy_write > LOSSY_LEAST, "{figures}");
        }
    }
}
