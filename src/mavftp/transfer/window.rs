//! How many block requests to keep in flight: what the link delivers, times its shortest round
//! trip, with room to find out whether more would bring more. Loss on a radio is not congestion, so
//! a lost frame shrinks nothing; only a stretch in which much is lost does (a server's queue or
//! transmit buffer that overflows).

use std::time::{Duration, Instant};

/// Requests in flight before anything is known.
const START: usize = 4;
/// Never fewer in flight: below this a link is in lock-step.
const LEAST: usize = 4;
/// Enough in flight to keep a server on the same machine busy, whatever the arithmetic says.
const LEAST_EASY: usize = 16;
/// Blocks over which delivery and loss are judged.
const STRETCH: u32 = 32;
/// Share of a stretch that may be lost before it counts as overflow, in percent.
const LOSS_PERCENT_MAX: u32 = 25;
/// How much more than the measured product is kept in flight.
const GAIN: f64 = 2.0;

/// A window over block requests.
#[derive(Debug)]
pub struct Window {
    cap: usize,
    least: usize,
    limit: usize,
    delivered: u64,
    rate: f64,
    shortest: Option<Duration>,
    stretch_delivered: u32,
    stretch_lost: u32,
}

/// What a request remembers, to measure delivery by when its answer comes.
#[derive(Debug, Clone, Copy)]
pub struct Departure {
    at: Instant,
    delivered: u64,
}

impl Window {
    /// A window that never exceeds `cap`, the number of requests the server takes at once.
    pub fn new(cap: usize) -> Window {
        Window {
            cap: cap.max(1),
            least: LEAST_EASY.min(cap),
            limit: START.min(cap.max(1)),
            delivered: 0,
            rate: 0.0,
            shortest: None,
            stretch_delivered: 0,
            stretch_lost: 0,
        }
    }

    /// Requests that may be in flight now.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Notes that a block request leaves.
    pub fn depart(&self, now: Instant) -> Departure {
        Departure { at: now, delivered: self.delivered }
    }

    /// Notes its answer. `retried` answers tell nothing about time.
    pub fn arrive(&mut self, now: Instant, departure: Departure, retried: bool) {
        self.delivered += 1;
        self.stretch_delivered += 1;
        if !retried {
            let took = now.saturating_duration_since(departure.at).max(Duration::from_micros(1));
            self.shortest = Some(self.shortest.map_or(took, |shortest| shortest.min(took)));
            let blocks = self.delivered - departure.delivered;
            // The best delivery seen, slowly forgotten, so that a slower link is believed in time.
            self.rate = (self.rate * 0.998).max(blocks as f64 / took.as_secs_f64());
            self.resize();
        }
        self.judge();
    }

    /// Notes a block request that went unanswered.
    pub fn lose(&mut self) {
        self.stretch_lost += 1;
        self.judge();
    }

    fn resize(&mut self) {
        let product = self.rate * self.shortest.unwrap_or_default().as_secs_f64();
        let wanted = (product * GAIN) as usize + LEAST;
        // One more per answer at most: the first answers of a server say little.
        self.limit = wanted.max(self.least).min(self.limit + 1).min(self.cap);
    }

    fn judge(&mut self) {
        if self.stretch_delivered + self.stretch_lost < STRETCH {
            return;
        }
        let percent = self.stretch_lost * 100 / (self.stretch_delivered + self.stretch_lost);
        if percent > LOSS_PERCENT_MAX {
            self.least = LEAST.min(self.cap);
            self.limit = (self.limit / 2).max(self.least);
            self.rate /= 2.0;
        }
        self.stretch_delivered = 0;
        self.stretch_lost = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a link that delivers one block each `gap` after `trip`, and returns the window.
    fn run(cap: usize, gap: Duration, trip: Duration, lose_each: usize) -> Window {
        let mut window = Window::new(cap);
        let start = Instant::now();
        let (mut now, mut free) = (start, start);
        let mut flying = std::collections::VecDeque::new();
        for count in 1..5000 {
            while flying.len() < window.limit() {
                free = free.max(now) + gap;
                flying.push_back((window.depart(now), free + trip));
            }
            let Some((departure, arrival)) = flying.pop_front() else { break };
            now = now.max(arrival);
            match lose_each {
                0 => window.arrive(now, departure, false),
                each if count % each == 0 => window.lose(),
                _ => window.arrive(now, departure, false),
            }
        }
        window
    }

    #[test]
    fn the_window_covers_rate_times_round_trip() {
        let window = run(256, Duration::from_micros(133), Duration::from_millis(20), 0);
        assert!((150..=256).contains(&window.limit()), "{window:?}");
    }

    #[test]
    fn one_lost_frame_in_a_hundred_does_not_shrink_it() {
        let window = run(256, Duration::from_micros(133), Duration::from_millis(20), 100);
        assert!(window.limit() >= 150, "{window:?}");
    }

    #[test]
    fn a_server_that_takes_five_gets_five() {
        let window = run(5, Duration::from_micros(133), Duration::from_millis(20), 0);
        assert_eq!(window.limit(), 5);
    }

    #[test]
    fn an_overflowing_server_is_spared() {
        let window = run(128, Duration::from_millis(2), Duration::from_millis(2), 2);
        assert!(window.limit() <= 8, "{window:?}");
    }
}
