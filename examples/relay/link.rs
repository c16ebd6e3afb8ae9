//! A link that damages what it carries, in virtual time: which datagrams get through, and when. Must
//! not know sockets, clocks or threads: times are nanoseconds since a start that the caller chose.
//!
//! A way is a queue, then a line of some rate, then a distance. What is lost is lost behind the line,
//! where it has had its time, as on a radio.

use std::collections::VecDeque;

/// A datagram held back, or the second copy of one, is late by the time of so many others.
const HELD_BACK_MAX: u64 = 4;
/// The time of one datagram where no rate is set.
const UNLIMITED_DATAGRAM_NS: u64 = 1_000_000;
/// Where no queue is set, a link holds what it carries in a second, and at least this.
const QUEUE_BYTES_MIN: f64 = 4096.0;
const NS_PER_MS: f64 = 1e6;
const NS_PER_S: f64 = 1e9;

/// Where a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the server.
    Up,
    /// To the server.
    Down,
}

impl Direction {
    /// Both, as they are named in options and statistics.
    pub const BOTH: [(Direction, &str); 2] = [(Direction::Up, "up"), (Direction::Down, "down")];
}

/// When the copies of a datagram come out: one, two, or none.
pub type Arrivals = [Option<u64>; 2];

/// Both ways.
pub struct Link {
    up: Way,
    down: Way,
    /// Both ways share one line.
    half_duplex: bool,
    silent_until: u64,
}

impl Link {
    /// A link without damage; the same seed draws the same chances, datagram by datagram.
    pub fn new(seed: u64) -> Link {
        let way = |seed| Way { chance: Chance(seed), ..Way::default() };
        let (up, down) = (way(seed.wrapping_mul(2)), way(seed.wrapping_mul(2).wrapping_add(1)));
        Link { up, down, half_duplex: false, silent_until: 0 }
    }

    /// A datagram of `size` bytes enters at `now`.
    pub fn enter(&mut self, direction: Direction, now: u64, size: usize) -> Arrivals {
        let silent = now < self.silent_until;
        let (way, other) = match direction {
            Direction::Up => (&mut self.up, &mut self.down),
            Direction::Down => (&mut self.down, &mut self.up),
        };
        if self.half_duplex {
            way.free_at = way.free_at.max(other.free_at);
        }
        way.enter(now, size as u64, silent)
    }

    /// Nothing passes until then.
    pub fn silence(&mut self, until: u64) {
        self.silent_until = until;
    }

    /// Changes the damage both ways, or that of one way where `name` begins with `up-` or `down-`;
    /// whether there is damage of that name.
    pub fn set(&mut self, name: &str, value: f64) -> bool {
        if name == "half-duplex" {
            self.half_duplex = value != 0.0;
            return true;
        }
        match name.split_once('-') {
            Some(("up", name)) => self.up.damage.set(name, value),
            Some(("down", name)) => self.down.damage.set(name, value),
            Some(_) | None => self.up.damage.set(name, value) && self.down.damage.set(name, value),
        }
    }

    /// What one way does to datagrams.
    pub fn damage(&self, direction: Direction) -> &Damage {
        match direction {
            Direction::Up => &self.up.damage,
            Direction::Down => &self.down.damage,
        }
    }

    /// What one way has done so far.
    pub fn counts(&self, direction: Direction) -> &Counts {
        match direction {
            Direction::Up => &self.up.counts,
            Direction::Down => &self.down.counts,
        }
    }
}

/// What one way does to datagrams.
#[derive(Debug, Clone, Default)]
pub struct Damage {
    /// Share that is lost.
    pub loss: f64,
    /// Mean number of datagrams lost in a row; 0: each for itself.
    pub run: f64,
    /// Share that comes twice.
    pub duplicate: f64,
    /// Share that later ones overtake.
    pub reorder: f64,
    /// Milliseconds.
    pub delay: f64,
    /// Milliseconds more at most, at random, in order.
    pub jitter: f64,
    /// Bytes a second; 0: any.
    pub rate: f64,
    /// Bytes that wait for the line at most, what is on it included; 0: a second's.
    pub queue: f64,
    /// Not 0: nothing passes.
    pub cut: f64,
}

impl Damage {
    fn set(&mut self, name: &str, value: f64) -> bool {
        let field = match name {
            "loss" => &mut self.loss,
            "run" => &mut self.run,
            "duplicate" => &mut self.duplicate,
            "reorder" => &mut self.reorder,
            "delay" => &mut self.delay,
            "jitter" => &mut self.jitter,
            "rate" => &mut self.rate,
            "queue" => &mut self.queue,
            "cut" => &mut self.cut,
            _ => return false,
        };
        *field = value;
        true
    }

    fn queue_bytes(&self) -> u64 {
        let bytes = if self.queue > 0.0 { self.queue } else { self.rate.max(QUEUE_BYTES_MIN) };
        bytes as u64
    }

    fn on_line(&self, size: u64) -> u64 {
        if self.rate > 0.0 { (size as f64 / self.rate * NS_PER_S) as u64 } else { 0 }
    }
}

/// What one way has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that came out, each once.
    pub passed: u64,
    /// Datagrams lost by chance, a cut or a silence.
    pub lost: u64,
    /// Datagrams for which there was no room in the queue.
    pub overflowed: u64,
    /// Bytes the line carried, those lost behind it included.
    pub bytes: u64,
    /// Nanoseconds during which the line carried them.
    pub busy: u64,
    /// When the first came onto the line and the last left it.
    pub span: Option<(u64, u64)>,
}

/// One direction.
#[derive(Default)]
struct Way {
    damage: Damage,
    chance: Chance,
    in_run: bool,
    free_at: u64,
    last_arrival: u64,
    /// When each datagram leaves the line, and its size.
    waiting: VecDeque<(u64, u64)>,
    waiting_bytes: u64,
    counts: Counts,
}

impl Way {
    fn enter(&mut self, now: u64, size: u64, silent: bool) -> Arrivals {
        // Always the same number of draws, so that a run can be compared with another.
        let [lost, twice, late, jitter] = [(); 4].map(|()| self.chance.share());
        let [held, apart] = [(); 2].map(|()| self.chance.up_to(HELD_BACK_MAX));
        let lost = self.loses(lost);
        if silent || self.damage.cut != 0.0 {
            self.counts.lost += 1;
            return [None, None];
        }
        let Some(left) = self.leaves(now, size) else {
            self.counts.overflowed += 1;
            return [None, None];
        };
        if lost {
            self.counts.lost += 1;
            return [None, None];
        }
        self.counts.passed += 1;
        let damage = &self.damage;
        let distance = (damage.delay + jitter * damage.jitter) * NS_PER_MS;
        let mut arrival = (left + distance as u64).max(self.last_arrival);
        self.last_arrival = arrival;
        let datagram = match damage.on_line(size) {
            0 => UNLIMITED_DATAGRAM_NS,
            time => time,
        };
        if late < damage.reorder {
            arrival += held * datagram;
        }
        let copy = (twice < damage.duplicate).then_some(arrival + apart * datagram);
        [Some(arrival), copy]
    }

    /// When a datagram that enters now has left the line; `None` when the queue is full.
    fn leaves(&mut self, now: u64, size: u64) -> Option<u64> {
        while let Some(&(left, bytes)) = self.waiting.front()
            && left <= now
        {
            self.waiting.pop_front();
            self.waiting_bytes -= bytes;
        }
        let on_line = self.damage.on_line(size);
        if on_line > 0 && self.waiting_bytes + size > self.damage.queue_bytes() {
            return None;
        }
        let begins = self.free_at.max(now);
        self.free_at = begins + on_line;
        if on_line > 0 {
            self.waiting.push_back((self.free_at, size));
            self.waiting_bytes += size;
        }
        self.counts.bytes += size;
        self.counts.busy += on_line;
        let first = self.counts.span.map_or(begins, |(first, _)| first);
        self.counts.span = Some((first, self.free_at));
        Some(self.free_at)
    }

    /// Whether the next datagram is lost. In runs: a chain of two states, of which one loses all.
    fn loses(&mut self, draw: f64) -> bool {
        let Damage { loss, run, .. } = self.damage;
        if run <= 0.0 || loss >= 1.0 {
            return draw < loss;
        }
        let ends = 1.0 / run.max(1.0);
        let begins = (loss / (1.0 - loss) * ends).min(1.0);
        self.in_run = if self.in_run { draw >= ends } else { draw < begins };
        self.in_run
    }
}

/// Draws from a seed. (SplitMix64, Steele et al. 2014.)
#[derive(Default)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to 1, 1 excluded.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 1 to `most`.
    fn up_to(&mut self, most: u64) -> u64 {
        1 + self.next() % most
    }
}
