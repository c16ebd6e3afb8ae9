//! What is asked for and what goes wrong, from a seed, and which failures that explains. Must not know how
//! it is run.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Error};

use crate::network::{Faults, Random};
use crate::vehicles::{ALL, Kind};

/// As large as a file is, and as what the slowest link carries in so many seconds.
const FILE_BYTES_MAX: u64 = 60_000;
const SECONDS_MAX: u64 = 12;

/// Something that goes wrong in the middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mishap {
    Silence(Duration),
    Reboot,
    /// Another station resets all sessions.
    Reset,
    /// Another station opens a file, and closes it three seconds later.
    Open,
    /// The vehicle is armed for three seconds.
    Armed,
    /// The request with this index is cancelled.
    Cancel(usize),
}

impl Mishap {
    pub fn lasts(self) -> Option<Duration> {
        match self {
            Mishap::Silence(lasts) => Some(lasts),
            Mishap::Open | Mishap::Armed => Some(Duration::from_secs(3)),
            Mishap::Reboot | Mishap::Reset | Mishap::Cancel(_) => None,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    Read { file: usize, offset: u32, length: u32, class: Class },
    Upload { bytes: usize },
}

#[derive(Debug)]
pub struct Scenario {
    pub seed: u64,
    pub kind: Option<Kind>,
    pub link: &'static str,
    pub faults: Faults,
    pub sizes: Vec<usize>,
    pub wishes: Vec<(Duration, Wish)>,
    pub mishaps: Vec<(Duration, Mishap)>,
}

impl Drop for Scenario {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed over {}: {self:?}", self.link);
        }
    }
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}

fn millis(random: &mut Random, least: u64, most: u64) -> Duration {
    Duration::from_millis(least + random.below(most - least + 1))
}

fn any_link(random: &mut Random) -> (&'static str, Faults) {
    if random.chance(0.5) {
        return pick(random, &Faults::NAMED);
    }
    let rate = match random.chance(0.2) {
        true => None,
        // Slow ones and fast ones alike.
        false => Some((2_000.0 * 1_000f64.powf(random.below(1_000) as f64 / 1_000.0)) as u32),
    };
    let faults = Faults {
        loss: pick(random, &[0.0, 0.01, 0.05, 0.1, 0.2]),
        loss_run: pick(random, &[1.0, 1.0, 3.0, 8.0]),
        largest_frame: if random.chance(0.1) { Some(pick(random, &[110, 140])) } else { None },
        duplicate: pick(random, &[0.0, 0.0, 0.02, 0.1]),
        reorder: pick(random, &[0.0, 0.0, 0.05, 0.1]),
        delay: millis(random, 0, 300) + Duration::from_micros(50),
        jitter: millis(random, 0, 60),
        ordered: random.chance(0.5),
        rate,
        queue_bytes: pick(random, &[3_000, 8_000, 20_000, 200_000]),
        half_duplex: rate.is_some() && random.chance(0.2),
        ..Faults::NONE
    };
    ("random", faults)
}

fn any_size(random: &mut Random, most: u64) -> usize {
    let odd = [0, 1, 238, 239, 240, 477, 478, 479];
    match random.chance(0.3) {
        true => pick(random, &odd),
        false => random.below(most.max(1_000)) as usize,
    }
}

impl Scenario {
    pub fn new(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x7400);
        // Seeds that are near one another begin alike.
        (0..8).for_each(|_| _ = random.next());
        let random = &mut random;
        let at = random.below(ALL.len() as u64 + 1) as usize;
        let kind = ALL.get(at).copied();
        let (link, mut faults) = any_link(random);
        let mut rate = u64::from(faults.rate.unwrap_or(u32::MAX));
        if let Some(Kind::ArduPilotUart(_, uart)) = kind {
            rate = rate.min(u64::from(uart));
        }
        let most = (rate * SECONDS_MAX / 2).min(FILE_BYTES_MAX);
        let sizes: Vec<usize> = (0..1 + random.below(3)).map(|_| any_size(random, most)).collect();
        let bytes = sizes.iter().sum::<usize>() as u64;
        let span = (bytes * 1_000 / rate.min(200_000)) + faults.delay.as_millis() as u64 * 4 + 10;
        let mut wishes = vec![(Duration::ZERO, any_read(random, &sizes))];
        for _ in 0..random.below(4) {
            wishes.push((millis(random, 0, span), any_read(random, &sizes)));
        }
        if random.chance(0.2) {
            let upload = Wish::Upload { bytes: any_size(random, most) };
            wishes.push((millis(random, 0, span), upload));
            if matches!(kind, Some(Kind::Mavsdk(_))) {
                // A server without a memory does what the network repeats, and no client can tell.
                faults.duplicate = 0.0;
            }
        }
        let mishaps = any_mishaps(random, kind, span, wishes.len());
        Scenario { seed, kind, link, faults, sizes, wishes, mishaps }
    }

    pub fn has(&self, which: impl Fn(&Mishap) -> bool) -> bool {
        self.mishaps.iter().any(|(_, mishap)| which(mishap))
    }

    /// Whether what happened explains that a request failed so.
    pub fn justifies(&self, index: usize, error: Error) -> bool {
        // All files here are small enough to be read of an armed vehicle.
        let spared = match self.wishes[index].1 {
            Wish::Upload { .. } => true,
            Wish::Read { class, .. } => class == Class::ReadAhead,
        };
        match error {
            Error::Cancelled => self.has(|mishap| *mishap == Mishap::Cancel(index)),
            // Who asks in a silence, or when five heartbeats were lost, hears of it at once.
            Error::LinkDown => self.may_time_out(),
            Error::Armed => spared && self.has(|mishap| *mishap == Mishap::Armed),
            // The only session may be theirs at the moment, or ours without our knowledge.
            Error::Busy => {
                self.has(|mishap| *mishap == Mishap::Open)
                    || self.may_forget_an_opening()
                    || self.may_time_out()
            }
            Error::TimedOut => self.may_time_out(),
            // These vehicles do not say who they are: after a silence they may be others.
            Error::Changed => {
                matches!(self.wishes[index].1, Wish::Upload { .. }) && self.may_time_out()
            }
            Error::Refused(_)
            | Error::Endless
            | Error::ShortWrite
            | Error::Malformed
            | Error::Unsupported
            | Error::TooLarge
            | Error::PathTooLong => false,
        }
    }

    /// What leaves too little of ten seconds for an answer: a silence of some seconds, for requests
    /// are repeated two seconds apart by then; anything that takes a second where the size of blocks
    /// is still to be found; or so much loss that it takes, now and then, each of a few repetitions, or
    /// all that a slow line carries in ten seconds in one run.
    pub fn may_time_out(&self) -> bool {
        let Faults { loss, loss_run, largest_frame, .. } = self.faults;
        let small = largest_frame.is_some();
        let least = Duration::from_secs(if small { 1 } else { 3 });
        let long = |mishap: &Mishap| match mishap {
            Mishap::Silence(lasts) => *lasts >= least,
            Mishap::Open | Mishap::Reboot | Mishap::Reset => small,
            Mishap::Armed | Mishap::Cancel(_) => false,
        };
        self.has(long) || loss >= 0.05 || loss_run >= 3.0
    }

    /// Whether PX4 may have forgotten how it answered an opening: a size that begins with a five is
    /// not remembered, and of all others only the last answer.
    fn may_forget_an_opening(&self) -> bool {
        let five = self.sizes.iter().any(|size| size % 256 == 5);
        let answers_else = self.faults.duplicate > 0.0 || self.has(|m| *m == Mishap::Reset);
        matches!(self.kind, Some(Kind::Px4(_))) && (five || answers_else)
    }

    pub fn content(&self, index: usize, bytes: usize) -> Vec<u8> {
        Random::new(self.seed ^ (index as u64 + 1) << 20).bytes(bytes)
    }
}

fn any_read(random: &mut Random, sizes: &[usize]) -> Wish {
    let file = random.below(sizes.len() as u64) as usize;
    let (offset, length) = match random.chance(0.5) {
        true => (0, u32::MAX),
        false => {
            let size = sizes[file] as u64;
            (random.below(size + 300) as u32, random.below(size + 300) as u32)
        }
    };
    let class = pick(random, &[Class::Demand, Class::Demand, Class::ReadAhead]);
    Wish::Read { file, offset, length, class }
}

fn any_mishaps(
    random: &mut Random,
    kind: Option<Kind>,
    span: u64,
    wishes: usize,
) -> Vec<(Duration, Mishap)> {
    let mut mishaps = Vec::new();
    for _ in 0..random.below(3) {
        let mishap = match random.below(6) {
            0 => Mishap::Silence(millis(random, 1_000, 8_000)),
            1 => Mishap::Reboot,
            2 => Mishap::Reset,
            // Where whoever opens takes the file from under us, bytes cannot be told apart.
            3 if !matches!(kind, Some(Kind::Mavsdk(_))) => Mishap::Open,
            4 => Mishap::Armed,
            _ => Mishap::Cancel(random.below(wishes as u64) as usize),
        };
        mishaps.push((millis(random, 0, span), mishap));
    }
    // On a vehicle with one session for all, what another station opens after ours was lost is
    // taken for ours where we hear neither of it nor of the loss; `stations` has what can be done.
    let one = matches!(kind, Some(Kind::Px4(_)));
    if one && mishaps.iter().any(|(_, mishap)| *mishap == Mishap::Open) {
        mishaps.retain(|(_, mishap)| !matches!(mishap, Mishap::Reset | Mishap::Reboot));
    }
    mishaps
}
