//! How long to wait for an answer: the round-trip estimator of RFC 6298, with Karn's rule left to
//! the caller (no sample from a request that was sent twice).

use std::time::Duration;

/// Before the first sample: enough for a radio, so that nothing is sent twice needlessly.
const TIMEOUT_FIRST: Duration = Duration::from_secs(1);
/// Servers answer on ticks and radios in lumps; a shorter wait repeats what is already on its way.
const TIMEOUT_MIN: Duration = Duration::from_millis(200);
/// The same for blocks, of which one is asked twice at little cost.
const BLOCK_TIMEOUT_MIN: Duration = Duration::from_millis(30);
/// Doubling goes on to here, or to twice the round trip where that is more: a link that lost much
/// is asked again while the operation's patience lasts.
const TIMEOUT_MAX: Duration = Duration::from_secs(2);
/// A round trip of so many of the shortest, and so much more, has stood in a line.
const QUEUEING_FACTOR: u32 = 2;
const QUEUEING_LEAST: Duration = Duration::from_millis(50);
/// Waits of one length before they double: a link that loses much is not one that is overrun.
const WAITS_ALIKE: u32 = 4;
/// Waits of one length where one block in all is asked for again.
const BLOCK_WAITS_ALIKE: u32 = 4;
/// Doublings after which the wait grows no more.
const DOUBLINGS_MAX: u32 = 5;

/// Smoothed round trip and its variation.
#[derive(Debug, Default, Clone)]
pub struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    least: Option<Duration>,
    latest: Duration,
}

impl RoundTrip {
    /// Takes in one measured round trip.
    pub fn sample(&mut self, sample: Duration) {
        self.latest = sample;
        self.least = Some(self.least.map_or(sample, |least| least.min(sample)));
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                let deviation = smoothed.abs_diff(sample);
                self.variation = (self.variation * 3 + deviation) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
    }

    /// The wait for the answer to a request sent `tries` times, at least `floor` (servers take
    /// their time over some requests).
    pub fn timeout(&self, tries: u32, floor: Duration) -> Duration {
        self.doubled(tries.saturating_sub(WAITS_ALIKE), TIMEOUT_MIN).max(floor)
    }

    /// The wait for the answer to one of many block requests, the `tries`th in silence. `latest`: the
    /// last round trip seen; where queues have run empty since, it is shorter than those before.
    pub fn block_timeout(&self, tries: u32, latest: Option<Duration>) -> Duration {
        let times = tries.saturating_sub(BLOCK_WAITS_ALIKE);
        let usual = self.doubled(times, BLOCK_TIMEOUT_MIN);
        match latest {
            Some(latest) => {
                usual.min((latest * 2).max(BLOCK_TIMEOUT_MIN) * (1 << times.min(DOUBLINGS_MAX)))
            }
            None => usual,
        }
    }

    fn doubled(&self, times: u32, least: Duration) -> Duration {
        let base = match self.smoothed {
            None => TIMEOUT_FIRST,
            // Round trips that vary much are those of a queue; a longer wait is no surer then.
            Some(smoothed) => {
                (smoothed + self.variation * 4).min(TIMEOUT_MAX.max(smoothed + smoothed / 4))
            }
        };
        let doubled = base.max(least) * (1 << times.min(DOUBLINGS_MAX));
        doubled.min(TIMEOUT_MAX.max(base * 2))
    }

    /// The smoothed round trip, once there is a sample.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Whether the last round trip was so long that it went by mostly in waiting lines.
    pub fn is_queueing(&self) -> bool {
        self.least.is_some_and(|least| self.latest > least * QUEUEING_FACTOR + QUEUEING_LEAST)
    }

    /// The shortest round trip seen.
    pub fn least(&self) -> Option<Duration> {
        self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_round_trip_and_doubles() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.timeout(1, Duration::ZERO), TIMEOUT_FIRST);
        for _ in 0..50 {
            round_trip.sample(Duration::from_millis(480));
        }
        let first = round_trip.timeout(1, Duration::ZERO);
        assert!((480..600).contains(&first.as_millis()), "{first:?}");
        assert_eq!(round_trip.timeout(2, Duration::ZERO), first);
        assert_eq!(round_trip.timeout(WAITS_ALIKE + 1, Duration::ZERO), first * 2);
        assert_eq!(round_trip.timeout(99, Duration::ZERO), TIMEOUT_MAX);
    }

    #[test]
    fn a_round_trip_much_longer_than_the_shortest_stood_in_a_line() {
        let mut round_trip = RoundTrip::default();
        assert!(!round_trip.is_queueing());
        for (trip, queueing) in [(100, false), (240, false), (260, true), (110, false)] {
            round_trip.sample(Duration::from_millis(trip));
            assert_eq!(round_trip.is_queueing(), queueing, "{trip} ms");
        }
    }

    #[test]
    fn a_fast_link_keeps_the_least_wait_and_slow_requests_their_floor() {
        let mut round_trip = RoundTrip::default();
        round_trip.sample(Duration::from_micros(100));
        assert_eq!(round_trip.timeout(1, Duration::ZERO), TIMEOUT_MIN);
        let floor = Duration::from_secs(10);
        assert_eq!(round_trip.timeout(1, floor), floor);
    }
}
