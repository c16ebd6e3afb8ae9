//! The limit that a user sets to what the link carries, over all vehicles behind it. Knows bytes and
//! times only.

use std::time::{Duration, Instant};

/// What was not used for so long is not made up for.
const CREDIT: Duration = Duration::from_millis(100);

/// A limit to file data per second.
#[derive(Debug)]
pub(super) struct RateLimit {
    rate: Option<u32>,
    next_at: Option<Instant>,
}

impl RateLimit {
    /// At most `rate` bytes per second; `None`: no limit.
    pub(super) fn new(rate: Option<u32>) -> RateLimit {
        RateLimit { rate, next_at: None }
    }

    /// When the next block may leave, if there is a limit; it may have been before now.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        self.rate.map(|_| self.next_at.unwrap_or(now))
    }

    /// Notes that a block of so many bytes is sent or asked for.
    pub(super) fn charge(&mut self, now: Instant, bytes: u8) {
        let Some(rate) = self.rate else { return };
        let from = self.next_at.map_or(now, |at| at.max(now.checked_sub(CREDIT).unwrap_or(now)));
        let time = Duration::from_secs_f64(f64::from(bytes) / f64::from(rate.max(1)));
        self.next_at = Some(from + time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_bytes_leave_in_a_second_and_no_more_after_a_rest() {
        let (mut limit, start) = (RateLimit::new(Some(10_000)), Instant::now());
        let mut sent = |from: Duration, until: Duration| {
            let (mut now, mut bytes) = (start + from, 0u32);
            while now < start + until {
                now = now.max(limit.next_at(now).unwrap());
                limit.charge(now, 100);
                bytes += 100;
            }
            bytes
        };
        assert!((9_900..=10_200).contains(&sent(Duration::ZERO, Duration::from_secs(1))));
        let later = sent(Duration::from_secs(60), Duration::from_secs(61));
        assert!((10_000..=11_200).contains(&later), "{later}");
        assert_eq!(RateLimit::new(None).next_at(start), None);
    }
}
