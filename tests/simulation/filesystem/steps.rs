//! What programs do, which vehicle they do it to, and what goes wrong meanwhile, from a seed. Must
//! not know how it is carried out.

use std::time::Duration;

use super::flight::Mishap;
use super::posix::Path;
use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::personalities::mavsdk::Release;
use crate::personalities::px4::Firmware;
use crate::vehicles::Kind;

/// What a program does. Paths are lists of one or two names.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Create {
        path: Path,
        flags: i32,
    },
    Open {
        path: Path,
        flags: i32,
    },
    Write {
        open: usize,
        offset: u64,
        length: usize,
        seed: u8,
    },
    Read {
        open: usize,
        offset: u64,
        size: usize,
    },
    SetLength {
        open: usize,
        length: u64,
    },
    Truncate {
        path: Path,
        length: u64,
    },
    SetTime {
        path: Path,
        time: i64,
    },
    Flush {
        open: usize,
    },
    Sync {
        open: usize,
    },
    Close {
        open: usize,
    },
    Rename {
        from: Path,
        to: Path,
        no_replace: bool,
    },
    Unlink {
        path: Path,
    },
    MakeDirectory {
        path: Path,
    },
    RemoveDirectory {
        path: Path,
    },
    List {
        path: Path,
    },
    ListWhileChanging {
        path: Path,
        name: &'static str,
    },
    Stat {
        path: Path,
    },
    /// Reads all of a file that another station replaces, in pieces.
    Watch {
        pieces: usize,
    },
    Wait {
        millis: u64,
    },
}

/// Everything a run is made of.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub kind: Kind,
    pub faults: Faults,
    pub programs: Vec<Vec<Step>>,
    pub mishaps: Vec<(Duration, Mishap)>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const KINDS: [Kind; 11] = [
    Kind::Px4(Firmware::Release),
    Kind::Px4(Firmware::Main),
    Kind::Px4(Firmware::Board),
    Kind::Px4(Firmware::Serial),
    Kind::ArduPilotUart(Sessions::Five, 5_760),
    Kind::ArduPilot(Sessions::Old),
    Kind::ArduPilot(Sessions::One),
    Kind::ArduPilot(Sessions::Five),
    Kind::ArduPilotOnCard(Sessions::Five),
    Kind::Mavsdk(Release::Four),
    Kind::Mavsdk(Release::Old),
];
/// What programs do takes about so long in all, without trouble.
const SPAN_MILLIS: u64 = 60_000;

impl Scenario {
    pub fn new(seed: u64, steps: usize) -> Scenario {
        let mut random = Random::new(seed ^ 0xF5_0000);
        // Seeds that are near one another begin alike.
        (0..8).for_each(|_| _ = random.next());
        let random = &mut random;
        let kind = pick(random, &KINDS);
        let faults = any_faults(random, kind);
        let programs = 1 + random.below(3) as usize;
        let program = |random: &mut Random| (0..steps / programs).map(|_| step(random)).collect();
        let programs = (0..programs).map(|_| program(random)).collect();
        let calm = random.chance(0.25);
        let count = if calm { 0 } else { 1 + random.below(4) };
        let mishaps = (0..count)
            .map(|_| (Duration::from_millis(random.below(SPAN_MILLIS)), mishap(random)))
            .collect();
        Scenario { seed, kind, faults, programs, mishaps }
    }
}

pub fn pick<T: Clone>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize].clone()
}

fn any_faults(random: &mut Random, kind: Kind) -> Faults {
    let mut faults = pick(
        random,
        &[Faults::NONE, Faults::WIFI, Faults::LTE, Faults::BAD, Faults::UART115200, Faults::RADIO],
    );
    if matches!(kind, Kind::Mavsdk(_)) {
        // A server without a memory does what the network repeats, and no client can tell.
        faults.duplicate = 0.0;
    }
    faults
}

fn mishap(random: &mut Random) -> Mishap {
    let lasts = Duration::from_millis(500 + random.below(14_000));
    match random.below(7) {
        0 | 1 => Mishap::Silence(lasts),
        2 => Mishap::Reboot(lasts),
        3 => Mishap::Move(lasts.max(Duration::from_secs(6))),
        4 => Mishap::Reset,
        5 => Mishap::Armed(lasts),
        _ => Mishap::Full(lasts),
    }
}

fn path(random: &mut Random) -> Path {
    let first = pick(random, &NAMES);
    match random.chance(0.5) {
        true => vec![first],
        false => vec![first, pick(random, &NAMES)],
    }
}

fn flags(random: &mut Random) -> i32 {
    let access = pick(random, &[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR]);
    let more = pick(random, &[0, 0, 0, libc::O_APPEND, libc::O_TRUNC, libc::O_EXCL]);
    // What O_TRUNC does without leave to write is not defined.
    if access == libc::O_RDONLY && more == libc::O_TRUNC { access } else { access | more }
}

fn offset(random: &mut Random) -> u64 {
    let most = if random.chance(0.5) { 30 } else { 9_000 };
    random.below(most)
}

fn length(random: &mut Random) -> usize {
    let most = pick(random, &[30, 6_000, 6_000, 20_000, 80_000]);
    1 + random.below(most) as usize
}

fn step(random: &mut Random) -> Step {
    let open = random.below(5) as usize;
    match random.below(48) {
        0..=4 => Step::Create { path: path(random), flags: flags(random) },
        5..=7 => Step::Open { path: path(random), flags: flags(random) },
        8..=13 => {
            let (offset, length) = (offset(random), length(random));
            Step::Write { open, offset, length, seed: random.next() as u8 }
        }
        14..=18 => Step::Read { open, offset: offset(random), size: length(random) },
        19 => Step::SetLength { open, length: offset(random) },
        20..=21 => Step::Truncate { path: path(random), length: offset(random) },
        22 => {
            Step::SetTime { path: path(random), time: 1_000_000 + random.below(1_000_000) as i64 }
        }
        23..=24 => Step::Flush { open },
        25 => Step::Sync { open },
        26..=29 => Step::Close { open },
        30..=33 => {
            let no_replace = random.chance(0.2);
            Step::Rename { from: path(random), to: path(random), no_replace }
        }
        34..=35 => Step::Unlink { path: path(random) },
        36..=38 => Step::MakeDirectory { path: path(random) },
        39 => Step::RemoveDirectory { path: path(random) },
        40..=41 => Step::List { path: if random.chance(0.5) { path(random) } else { vec![] } },
        42 => Step::ListWhileChanging { path: vec![], name: pick(random, &NAMES) },
        43..=44 => Step::Stat { path: path(random) },
        45 => Step::Watch { pieces: 1 + random.below(6) as usize },
        _ => Step::Wait { millis: 10 + random.below(6_000) },
    }
}
