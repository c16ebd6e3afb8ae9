//! How far a program may write ahead of the vehicle: what a link carries in about two seconds. Must
//! not know whose writes wait for that.

use std::time::Duration;

/// A program is so far ahead of the vehicle, measured in time …
const AHEAD: Duration = Duration::from_secs(2);
/// … or in bytes, whichever is more: a link is not found out by less than it carries in a round trip.
const AHEAD_BYTES_MIN: u64 = 16 << 10;
/// The rate is measured over so long.
const SAMPLE: Duration = Duration::from_millis(250);

/// The pace at which a vehicle takes an upload.
#[derive(Debug, Default)]
pub struct Pace {
    acknowledged: u64,
    /// When the present sample began, and with how many bytes.
    since: Option<(Duration, u64)>,
    /// Bytes per second.
    rate: f64,
}

impl Pace {
    /// Every byte before `offset` is stored, `now` since an arbitrary start.
    pub fn acknowledged(&mut self, now: Duration, offset: u64) {
        self.acknowledged = offset;
        // An upload that began anew is measured anew.
        let since = self.since.filter(|(_, from)| *from <= offset);
        let (start, from) = *self.since.insert(since.unwrap_or((now, offset)));
        let elapsed = now.saturating_sub(start);
        if elapsed >= SAMPLE {
            let rate = (offset - from) as f64 / elapsed.as_secs_f64();
            // A pause of the program, not of the link, ends as fast as it began.
            self.rate = if rate > self.rate { rate } else { (self.rate + rate) / 2.0 };
            self.since = Some((now, offset));
        }
    }

    /// A write that ends here or before need not wait.
    pub fn room(&self) -> u64 {
        let ahead = (self.rate * AHEAD.as_secs_f64()) as u64;
        self.acknowledged.saturating_add(ahead.max(AHEAD_BYTES_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The room after so many seconds on a link of so many bytes per second.
    fn room_after(seconds: u64, rate: u64) -> u64 {
        let mut pace = Pace::default();
        for tick in 0..=seconds * 20 {
            pace.acknowledged(Duration::from_millis(tick * 50), tick * rate / 20);
        }
        pace.room() - seconds * rate
    }

    #[test]
    fn a_program_is_two_seconds_ahead_of_the_link() {
        let ahead = room_after(5, 100_000);
        assert!((190_000..=210_000).contains(&ahead), "{ahead}");
        assert_eq!(room_after(5, 1_000), AHEAD_BYTES_MIN);
    }

    #[test]
    fn nothing_is_measured_backwards_when_an_upload_begins_anew() {
        let mut pace = Pace::default();
        pace.acknowledged(Duration::ZERO, 100_000);
        pace.acknowledged(Duration::from_secs(1), 0);
        assert_eq!(pace.room(), AHEAD_BYTES_MIN);
    }
}
