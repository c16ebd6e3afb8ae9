//! A network in virtual time that loses, repeats, swaps and delays, from a seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// What a link is like, and what goes wrong on it.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Share of frames lost, 0 to 1.
    pub loss: f64,
    /// Mean number of frames that are lost in one run, each way; at most 1: each by itself.
    pub loss_run: f64,
    /// Frames with more bytes than this never arrive, as on some radios.
    pub largest_frame: Option<u32>,
    /// Share of frames that arrive twice.
    pub duplicate: f64,
    /// Share of frames that are held back and overtaken.
    pub reorder: f64,
    /// One way.
    pub delay: Duration,
    /// Added to the delay at random, up to this.
    pub jitter: Duration,
    /// Frames do not overtake one another by jitter: what comes out of a wire keeps its order.
    pub ordered: bool,
    /// Bytes per second from the vehicle; `None`: no limit.
    pub rate: Option<u32>,
    /// Bytes per second to the vehicle; `None`: as from it.
    pub rate_up: Option<u32>,
    /// Bytes that wait for the line from the vehicle; what comes above is lost.
    pub queue_bytes: u32,
    /// The same to the vehicle; `None`: as many.
    pub queue_bytes_up: Option<u32>,
    /// One line for both ways, each frame for itself; what waits is counted together.
    pub half_duplex: bool,
}

impl Faults {
    /// A fast and faultless link.
    pub const NONE: Faults = Faults {
        loss: 0.0,
        loss_run: 1.0,
        largest_frame: None,
        duplicate: 0.0,
        reorder: 0.0,
        delay: Duration::from_micros(50),
        jitter: Duration::ZERO,
        ordered: false,
        rate: None,
        rate_up: None,
        queue_bytes: u32::MAX,
        queue_bytes_up: None,
        half_duplex: false,
    };

    /// Wi-Fi at its edge, and everything else that can happen to a datagram.
    pub const BAD: Faults = Faults {
        loss: 0.05,
        duplicate: 0.03,
        reorder: 0.05,
        jitter: Duration::from_millis(5),
        ..Faults::line(2_000_000, 10, 200_000)
    };

    /// A 57600-baud telemetry radio.
    pub const RADIO: Faults = Faults {
        loss: 0.02,
        jitter: Duration::from_millis(40),
        ordered: true,
        ..Faults::line(5_760, 200, 20_000)
    };

    /// The same radio farther off.
    pub const UART57600: Faults = Faults::RADIO.with_loss(0.05);

    /// A better radio, or a long wire.
    pub const UART115200: Faults =
        Faults { loss: 0.01, ordered: true, ..Faults::line(11_520, 50, 20_000) };

    /// A radio whose one channel carries requests, answers and all else in turn.
    pub const HALF_DUPLEX: Faults =
        Faults { loss: 0.02, ordered: true, half_duplex: true, ..Faults::line(2_000, 200, 8_000) };

    /// Wi-Fi some way off.
    pub const WIFI: Faults = Faults { loss: 0.01, ..Faults::line(2_000_000, 10, 200_000) };

    /// A mobile network.
    pub const LTE: Faults = Faults { loss: 0.005, ..Faults::line(500_000, 40, 250_000) };

    /// A satellite far up.
    pub const SATELLITE: Faults = Faults { loss: 0.001, ..Faults::line(100_000, 300, 100_000) };

    /// The links that one meets, with their names.
    pub const NAMED: [(&'static str, Faults); 6] = [
        ("uart57600", Faults::UART57600),
        ("uart115200", Faults::UART115200),
        ("half-duplex", Faults::HALF_DUPLEX),
        ("wifi", Faults::WIFI),
        ("lte", Faults::LTE),
        ("satellite", Faults::SATELLITE),
    ];

    /// A faultless line of so many bytes per second, milliseconds one way, and bytes that wait.
    pub const fn line(rate: u32, delay_ms: u64, queue_bytes: u32) -> Faults {
        let delay = Duration::from_millis(delay_ms);
        Faults { delay, rate: Some(rate), queue_bytes, ..Faults::NONE }
    }

    /// The same link with another share of frames lost.
    pub const fn with_loss(self, loss: f64) -> Faults {
        Faults { loss, ..self }
    }

    /// The rate and the queue of one way.
    fn of(&self, way: Way) -> (Option<u32>, u32) {
        match way {
            Way::Down => (self.rate, self.queue_bytes),
            Way::Up => {
                (self.rate_up.or(self.rate), self.queue_bytes_up.unwrap_or(self.queue_bytes))
            }
        }
    }

    /// The line that a way's frames leave by.
    fn line_of(&self, way: Way) -> Way {
        if self.half_duplex { Way::Down } else { way }
    }
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
    /// When the last frame in a line's queue has left.
    free_at: BTreeMap<Way, Instant>,
    /// What has not left yet, each way: when its last byte will have, and its bytes.
    leaving: BTreeMap<Way, VecDeque<(Instant, u32)>>,
    /// Ways that are losing a run of frames.
    losing: BTreeSet<Way>,
    last_arrival: BTreeMap<Way, Instant>,
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
            leaving: BTreeMap::new(),
            losing: BTreeSet::new(),
            last_arrival: BTreeMap::new(),
        }
    }

    pub fn send(&mut self, now: Instant, way: Way, bytes: u32, frame: T) {
        let Some(leaves) = self.leave(now, way, bytes) else { return };
        let too_large = self.faults.largest_frame.is_some_and(|most| bytes > most);
        if self.silent || self.loses(way) || too_large {
            return;
        }
        let copies = 1 + usize::from(self.random.chance(self.faults.duplicate));
        for _ in 0..copies {
            let jitter = self.faults.jitter.mul_f64(self.random.below(1000) as f64 / 1000.0);
            let mut arrives = leaves + self.faults.delay + jitter;
            if self.faults.ordered {
                let last = self.last_arrival.entry(way).or_insert(arrives);
                arrives = arrives.max(*last);
                *last = arrives;
            }
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

    /// Bytes sent this way that have not left yet. Where one line serves both ways, what goes the
    /// other way is in no buffer of this one.
    pub fn waiting_bytes(&self, now: Instant, way: Way) -> u32 {
        let (Some(rate), _) = self.faults.of(way) else { return 0 };
        let left = |(leaves, bytes): &(Instant, u32)| {
            let rest = leaves.saturating_duration_since(now).as_secs_f64() * f64::from(rate);
            f64::from(*bytes).min(rest)
        };
        let waiting: f64 = self.leaving.get(&way).into_iter().flatten().map(left).sum();
        waiting.ceil() as u32
    }

    /// Bytes that wait for the line that this way's frames leave by.
    fn line_bytes(&self, now: Instant, way: Way) -> u32 {
        match self.faults.half_duplex {
            true => self.waiting_bytes(now, Way::Up) + self.waiting_bytes(now, Way::Down),
            false => self.waiting_bytes(now, way),
        }
    }

    /// When the last byte of a frame leaves, or `None` when the line's queue is full.
    fn leave(&mut self, now: Instant, way: Way, bytes: u32) -> Option<Instant> {
        let (rate, queue_bytes) = self.faults.of(way);
        let Some(rate) = rate else { return Some(now) };
        let leaving = self.leaving.entry(way).or_default();
        while leaving.front().is_some_and(|(leaves, _)| *leaves <= now) {
            leaving.pop_front();
        }
        if u64::from(self.line_bytes(now, way)) + u64::from(bytes) > u64::from(queue_bytes) {
            return None;
        }
        let line = self.faults.line_of(way);
        let free = self.free_at.get(&line).copied().unwrap_or(now).max(now);
        let leaves = free + Duration::from_secs_f64(f64::from(bytes) / f64::from(rate));
        self.free_at.insert(line, leaves);
        self.leaving.entry(way).or_default().push_back((leaves, bytes));
        Some(leaves)
    }

    /// Whether the next frame is lost. Runs begin and end so that the share of all frames holds.
    fn loses(&mut self, way: Way) -> bool {
        let Faults { loss, loss_run, .. } = self.faults;
        let share = match (loss_run > 1.0, self.losing.contains(&way)) {
            (false, _) => loss,
            (true, true) => 1.0 - 1.0 / loss_run,
            (true, false) => loss / (loss_run * (1.0 - loss)),
        };
        let lost = self.random.chance(share);
        match lost {
            true => self.losing.insert(way),
            false => self.losing.remove(&way),
        };
        lost
    }
}

mod tests {
    use super::{Faults, Network, Way};
    use std::time::{Duration, Instant};

    const FRAME: u32 = 266;

    /// Sends `count` frames at once, or one each `pause`, and says which arrive when.
    fn arrivals(faults: Faults, way: Way, count: u32, pause: Duration) -> Vec<(Duration, u32)> {
        let start = Instant::now();
        let mut network = Network::new(faults, 3);
        (0..count).for_each(|n| network.send(start + pause * n, way, FRAME, n));
        let mut seen = Vec::new();
        while let Some(at) = network.next_arrival() {
            let (_, frame) = network.arrived(at).expect("it has arrived");
            seen.push((at - start, frame));
        }
        seen
    }

    #[test]
    fn a_line_carries_its_rate_and_no_more_than_its_queue_waits() {
        let radio = Faults { jitter: Duration::ZERO, ..Faults::RADIO.with_loss(0.0) };
        let seen = arrivals(radio, Way::Down, 100, Duration::ZERO);
        assert_eq!(seen.len() as u32, radio.queue_bytes / FRAME);
        let took = (seen[seen.len() - 1].0 - radio.delay).as_secs_f64();
        let expected = f64::from(FRAME) * seen.len() as f64 / 5_760.0;
        assert!((took - expected).abs() < 0.001, "{took} s, not {expected} s");
    }

    #[test]
    fn each_way_has_its_own_line_unless_there_is_one_for_both() {
        let two = Faults { rate_up: Some(1_000), ..Faults::line(2_000, 0, 20_000) };
        for (faults, up) in [(two, 266), (Faults { half_duplex: true, ..two }, 399)] {
            let start = Instant::now();
            let mut network = Network::new(faults, 1);
            network.send(start, Way::Down, FRAME, "down");
            network.send(start, Way::Up, FRAME, "up");
            let mut last = start;
            while let Some(at) = network.next_arrival() {
                network.arrived(at);
                last = at;
            }
            assert_eq!((last - start).as_millis(), up);
        }
    }

    #[test]
    fn what_goes_the_other_way_on_a_shared_line_waits_in_no_buffer_of_this_one() {
        let start = Instant::now();
        let mut network = Network::new(Faults::HALF_DUPLEX, 1);
        (0..3).for_each(|n| network.send(start, Way::Up, FRAME, n));
        network.send(start, Way::Down, FRAME, 3);
        assert_eq!(network.waiting_bytes(start, Way::Up), 3 * FRAME);
        assert_eq!(network.waiting_bytes(start, Way::Down), FRAME);
        let half = start + Duration::from_millis(3 * 133 + 66);
        assert_eq!(network.waiting_bytes(half, Way::Up), 0);
        assert_eq!(network.waiting_bytes(half, Way::Down), FRAME / 2 + 1);
    }

    #[test]
    fn a_share_of_frames_is_lost_one_by_one_or_in_runs() {
        let count = 200_000;
        for (loss_run, expected) in [(1.0, 1.0 / 0.95), (8.0, 8.0)] {
            let faults = Faults { loss_run, ..Faults::NONE.with_loss(0.05) };
            let seen = arrivals(faults, Way::Up, count, Duration::ZERO);
            let lost = f64::from(count) - seen.len() as f64;
            assert!((lost / f64::from(count) - 0.05).abs() < 0.005, "{lost} lost");
            let runs = seen.windows(2).filter(|pair| pair[1].1 > pair[0].1 + 1).count();
            let mean = lost / runs as f64;
            assert!((mean / expected - 1.0).abs() < 0.1, "runs of {mean}");
        }
    }

    #[test]
    fn a_frame_that_is_too_large_never_arrives() {
        let small = Faults { largest_frame: Some(255), ..Faults::NONE };
        assert_eq!(arrivals(small, Way::Down, 10, Duration::ZERO), []);
    }

    #[test]
    fn jitter_swaps_no_frames_of_a_wire() {
        let pause = Duration::from_millis(50);
        for ordered in [true, false] {
            let jitter = Duration::from_millis(200);
            let faults = Faults { ordered, jitter, ..Faults::RADIO };
            let seen = arrivals(faults, Way::Down, 1_000, pause);
            assert_eq!(seen.is_sorted_by_key(|(_, frame)| *frame), ordered);
        }
    }
}
