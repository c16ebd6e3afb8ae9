//! Our own timestamp: one for the whole process, so that no two frames of it have the same. It
//! follows the computer's clock and whoever is ahead of it, and never goes back. Must not know frames.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A timestamp counts units of 10 µs since the beginning of 2015, UTC.
const UNITS_PER_SECOND: u64 = 100_000;
const MICROSECONDS_PER_UNIT: u128 = 10;
/// The beginning of 2015 in seconds since 1970.
const EPOCH_SECONDS: u64 = 1_420_070_400;
/// The largest: a timestamp has 48 bits, enough for 89 years.
pub(super) const TIMESTAMP_MAX: u64 = (1 << 48) - 1;

/// So many units.
pub(super) const fn seconds(count: u64) -> u64 {
    count * UNITS_PER_SECOND
}

/// Makes timestamps, each larger than the one before.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// What the computer's clock says.
    wall: fn() -> u64,
    times: Mutex<Times>,
}

impl Clock {
    /// By the computer's clock.
    pub(super) const fn new(started: Instant) -> Clock {
        Clock::by(started, wall)
    }

    pub(super) const fn by(started: Instant, wall: fn() -> u64) -> Clock {
        Clock { started, wall, times: Mutex::new(Times { ahead: 0, last: 0 }) }
    }

    /// The next timestamp for a frame of ours; `None` when all are used up.
    pub(super) fn next(&self) -> Option<u64> {
        let (wall, up) = ((self.wall)(), self.up());
        self.times().next(wall, up)
    }

    /// Our own timestamp.
    pub(super) fn now(&self) -> u64 {
        let (wall, up) = ((self.wall)(), self.up());
        self.times().now(wall, up)
    }

    /// Goes on from here, if this is later: from what was accepted, or from what was used before.
    pub(super) fn advance(&self, to: u64) {
        let up = self.up();
        self.times().advance(to, up);
    }

    /// The largest that was used or accepted.
    pub(super) fn last(&self) -> u64 {
        self.times().last
    }

    /// Units since the clock was made, by a clock that nobody sets.
    fn up(&self) -> u64 {
        units(self.started.elapsed().as_micros())
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Times {
    /// How far we are ahead of the clock that nobody sets; only grows.
    ahead: u64,
    /// The largest that was used or accepted.
    last: u64,
}

impl Times {
    fn now(&mut self, wall: u64, up: u64) -> u64 {
        self.ahead = self.ahead.max(wall.saturating_sub(up));
        self.ahead.saturating_add(up).max(self.last)
    }

    fn next(&mut self, wall: u64, up: u64) -> Option<u64> {
        let next = self.now(wall, up).max(self.last + 1);
        (next <= TIMESTAMP_MAX).then(|| {
            self.last = next;
            next
        })
    }

    fn advance(&mut self, to: u64, up: u64) {
        self.last = self.last.max(to.min(TIMESTAMP_MAX));
        self.ahead = self.ahead.max(self.last.saturating_sub(up));
    }
}

/// What the computer's clock says; 0 before 2015.
fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    units(since.as_micros()).saturating_sub(seconds(EPOCH_SECONDS))
}

fn units(microseconds: u128) -> u64 {
    u64::try_from(microseconds / MICROSECONDS_PER_UNIT).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times() -> Times {
        Times { ahead: 0, last: 0 }
    }

    #[test]
    fn timestamps_follow_the_clock_and_differ_within_a_unit() {
        let mut times = times();
        assert_eq!(times.next(1000, 0), Some(1000));
        assert_eq!(times.next(1000, 0), Some(1001));
        assert_eq!(times.next(1500, 500), Some(1500));
    }

    #[test]
    fn a_clock_that_went_back_takes_no_timestamp_back() {
        let mut times = times();
        assert_eq!(times.next(1000, 0), Some(1000));
        assert_eq!(times.next(10, 200), Some(1200), "time goes on as if it had not");
        assert_eq!(times.next(5000, 300), Some(5000), "and a jump ahead is followed");
    }

    #[test]
    fn whoever_is_ahead_is_followed_and_time_goes_on_from_there() {
        let mut times = times();
        assert_eq!(times.next(1000, 0), Some(1000));
        times.advance(9000, 10);
        times.advance(8000, 10);
        assert_eq!(times.next(1010, 10), Some(9001));
        assert_eq!(times.next(1110, 110), Some(9100));
    }

    #[test]
    fn no_timestamp_is_larger_than_forty_eight_bits() {
        let mut times = times();
        times.advance(u64::MAX, 0);
        assert_eq!(times.next(5, 5), None);
        assert!(times.now(5, 5) >= TIMESTAMP_MAX);
    }

    #[test]
    fn the_computers_clock_counts_from_2015() {
        let year = seconds(365 * 24 * 60 * 60);
        assert!((10 * year..60 * year).contains(&wall()), "{}", wall());
        let clock = Clock::new(Instant::now());
        let (first, second) = (clock.next().unwrap(), clock.next().unwrap());
        assert!(first < second && second - first < seconds(60) && clock.last() == second);
    }

    proptest! {
        #[test]
        fn timestamps_only_grow(
            steps in proptest::collection::vec((any::<bool>(), 0u64..1 << 40, 0u64..1000), 1..100),
        ) {
            let (mut times, mut up, mut last) = (times(), 0, 0);
            for (accepts, clock, passed) in steps {
                up += passed;
                if accepts {
                    times.advance(clock, up);
                }
                let next = times.next(clock, up).unwrap();
                prop_assert!(next > last && (!accepts || next > clock));
                last = next;
            }
        }
    }
}
