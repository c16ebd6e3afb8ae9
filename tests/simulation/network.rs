//! A network in virtual time that loses, repeats, swaps and delays, from a seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What goes wrong on the way, each direction alike.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Share of frames lost, 0 to 1.
    pub loss: f64,
    /// Share of frames that arrive twice.
    pub duplicate: f64,
    /// Share of frames that are held back and overtaken.
    pub reorder: f64,
    /// One way.
    pub delay: Duration,
    /// Added to the delay at random, up to this.
    pub jitter: Duration,
    /// Bytes per second; `None`: no limit.
    pub rate: Option<u32>,
    /// Bytes that wait for the line; what comes above is lost.
    pub queue_bytes: u32,
}

impl Faults {
    /// A fast and faultless link.
    pub const NONE: Faults = Faults {
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        delay: Duration::from_micros(50),
        jitter: Duration::ZERO,
        rate: None,
        queue_bytes: u32::MAX,
    };

    /// Wi-Fi at its edge, and everything else that can happen to a datagram.
    pub const BAD: Faults = Faults {
        loss: 0.05,
        duplicate: 0.03,
        reorder: 0.05,
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(5),
        rate: Some(2_000_000),
        queue_bytes: 200_000,
    };

    /// A 57600-baud telemetry radio.
    pub const RADIO: Faults = Faults {
        loss: 0.02,
        duplicate: 0.0,
        reorder: 0.0,
        delay: Duration::from_millis(200),
        jitter: Duration::from_millis(40),
        rate: Some(5_760),
        queue_bytes: 20_000,
    };
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To the vehicle.
    Up,
    /// From the vehicle.
    Down,
}

/// Random numbers from a seed (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound.max(1)
    }

    pub fn chance(&mut self, share: f64) -> bool {
        (self.next() >> 11) as f64 / ((1u64 << 53) as f64) < share
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Frames on their way.
#[derive(Debug)]
pub struct Network<T> {
    pub faults: Faults,
    /// Nothing gets through.
    pub silent: bool,
    random: Random,
    flying: BTreeMap<(Instant, u64), (Way, T)>,
    count: u64,
    free_at: BTreeMap<Way, Instant>,
}

impl<T: Clone> Network<T> {
    pub fn new(faults: Faults, seed: u64) -> Network<T> {
        Network {
            faults,
            silent: false,
            random: Random::new(seed),
            flying: BTreeMap::new(),
            count: 0,
            free_at: BTreeMap::new(),
        }
    }

    pub fn send(&mut self, now: Instant, way: Way, bytes: u32, frame: T) {
        let Some(leaves) = self.leave(now, way, bytes) else { return };
        if self.silent || self.random.chance(self.faults.loss) {
            return;
        }
        let copies = 1 + usize::from(self.random.chance(self.faults.duplicate));
        for _ in 0..copies {
            let jitter = self.faults.jitter.mul_f64(self.random.below(1000) as f64 / 1000.0);
            let mut arrives = leaves + self.faults.delay + jitter;
            if self.random.chance(self.faults.reorder) {
                arrives += self.faults.delay + Duration::from_millis(1);
            }
            self.count += 1;
            self.flying.insert((arrives, self.count), (way, frame.clone()));
        }
    }

    /// The next frame that has arrived by `now`.
    pub fn arrived(&mut self, now: Instant) -> Option<(Way, T)> {
        let (key, _) = self.flying.first_key_value().filter(|((at, _), _)| *at <= now)?;
        let key = *key;
        self.flying.remove(&key)
    }

    pub fn next_arrival(&self) -> Option<Instant> {
        self.flying.first_key_value().map(|((at, _), _)| *at)
    }

    /// When the last byte of a frame leaves, or `None` when the line's queue is full.
    fn leave(&mut self, now: Instant, way: Way, bytes: u32) -> Option<Instant> {
        let Some(rate) = self.faults.rate else { return Some(now) };
        let free = self.free_at.get(&way).copied().unwrap_or(now).max(now);
        let waiting = (free - now).as_secs_f64() * f64::from(rate);
        if waiting + f64::from(bytes) > f64::from(self.faults.queue_bytes) {
            return None;
        }
        let leaves = free + Duration::from_secs_f64(f64::from(bytes) / f64::from(rate));
        self.free_at.insert(way, leaves);
        Some(leaves)
    }
}
