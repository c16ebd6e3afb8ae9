//! In which order a client sent its requests, by their numbers. Knows the wire and the time it is
//! given.
//!
//! Numbers go up by one, modulo 65,536, or modulo 256 in old clients; a burst uses up as many as it
//! has packets. So two numbers can be compared only while few requests lie between them.

use std::time::{Duration, Instant};

use super::burst::BURST_PACKETS_MAX;
use crate::mavftp::wire::{Opcode, Payload};

/// A network delivers a request once more, or late, within this time.
pub(super) const LATE_TIME: Duration = Duration::from_secs(2);
/// Requests after which numbers tell no order any more: a quarter of all numbers …
const COMPARABLE: u64 = 1 << 14;
/// … and of those of a client that counts modulo 256.
const COMPARABLE_NARROW: u64 = 1 << 6;
/// Numbers that a client may reserve for the packets of a burst.
const BURST_NUMBERS: u64 = BURST_PACKETS_MAX as u64 + 1000;

/// How a client counts.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counting {
    /// It was heard with a number above 255.
    wide: bool,
    /// Numbers used so far, or more.
    used: u64,
}

/// A moment in a client's counting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    at: Instant,
    sequence: u16,
    used: u64,
}

impl Mark {
    /// The number that was heard then.
    pub(super) fn sequence(&self) -> u16 {
        self.sequence
    }
}

impl Counting {
    /// Takes notice of a request.
    pub(super) fn hear(&mut self, request: &Payload) {
        self.wide |= request.sequence > u16::from(u8::MAX);
        let burst = request.opcode == Opcode::BurstReadFile as u8;
        self.used += if burst { BURST_NUMBERS } else { 1 };
    }

    /// The request of this number is being done now.
    pub(super) fn mark(&self, now: Instant, sequence: u16) -> Mark {
        Mark { at: now, sequence, used: self.used }
    }

    /// Whether a request heard now was sent before that moment: it was held up on its way, or is a
    /// copy of one that was.
    pub(super) fn is_late(&self, now: Instant, sequence: u16, mark: &Mark) -> bool {
        let between = self.used - mark.used;
        now.saturating_duration_since(mark.at) <= LATE_TIME
            && between <= if self.wide { COMPARABLE } else { COMPARABLE_NARROW }
            && is_before(sequence, mark.sequence)
            && (self.wide || is_before_narrow(sequence as u8, mark.sequence as u8))
    }
}

/// Whether a number comes before another, of two that are not far apart.
pub(super) fn is_before(sequence: u16, other: u16) -> bool {
    (1..=u16::MAX / 2).contains(&other.wrapping_sub(sequence))
}

fn is_before_narrow(sequence: u8, other: u8) -> bool {
    (1..=u8::MAX / 2).contains(&other.wrapping_sub(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(sequences: &[u16]) -> Counting {
        let mut counting = Counting::default();
        for sequence in sequences {
            let request = Payload { sequence: *sequence, ..Payload::request(Opcode::None) };
            counting.hear(&request);
        }
        counting
    }

    #[test]
    fn a_smaller_number_is_late_for_a_moment() {
        let now = Instant::now();
        let counting = heard(&[300]);
        let mark = counting.mark(now, 300);
        assert!(counting.is_late(now + LATE_TIME, 299, &mark));
        assert!(!counting.is_late(now + LATE_TIME, 300, &mark));
        assert!(!counting.is_late(now + LATE_TIME, 301, &mark));
        let later = now + LATE_TIME + Duration::from_millis(1);
        assert!(!counting.is_late(later, 299, &mark));
    }

    #[test]
    fn numbers_wrap_at_either_width() {
        let now = Instant::now();
        let wide = heard(&[65_535]);
        let mark = wide.mark(now, 65_535);
        assert!(!wide.is_late(now, 3, &mark));
        assert!(wide.is_late(now, 65_530, &mark));
        let narrow = heard(&[250]);
        let mark = narrow.mark(now, 250);
        assert!(!narrow.is_late(now, 3, &mark), "3 comes after 255");
        assert!(narrow.is_late(now, 240, &mark));
    }

    #[test]
    fn after_many_requests_a_number_tells_nothing() {
        let now = Instant::now();
        let mut counting = heard(&[40_000]);
        let mark = counting.mark(now, 40_000);
        for sequence in 0..=COMPARABLE {
            let sequence = sequence as u16;
            counting.hear(&Payload { sequence, ..Payload::request(Opcode::None) });
        }
        assert!(!counting.is_late(now, 39_999, &mark));
    }
}
