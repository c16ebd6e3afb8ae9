//! How many pages of a listing are asked for ahead, and how far apart: from how many entries the
//! pages held so far, and from how the link carries them. Must not know entries or requests.

use crate::mavftp::wire::DATA_BYTES_MAX;

/// Pages on their way at once, at most.
pub const PAGES_MAX: usize = 16;
/// A page with room for so many more entries of its own is probably the last.
const ROOM_ENTRIES: usize = 2;
/// After the first page, this part of its entries is how much others may differ.
const DEVIATION_DIVISOR: f32 = 8.0;
/// Pages of one length are guessed right though their mean comes from below.
const ROUNDING: f32 = 0.25;

/// How a link carried a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// At once.
    Free,
    /// It stood in line.
    Crowded,
    /// It was asked for twice.
    Lossy,
}

/// How far a listing goes ahead.
#[derive(Debug, Default)]
pub struct Ahead {
    pages: usize,
    /// Pages since the last step.
    calm: usize,
    /// Something was lost: steps are slow from then on.
    careful: bool,
    /// So many pages may have been lost with the last one, for the same reason.
    blamed: usize,
    /// Entries in a full page, and how much that varies.
    mean: f32,
    deviation: f32,
}

impl Ahead {
    /// Pages that may be on their way beside the one that is needed next.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Entries that the next page has at least, probably. A low guess repeats an entry or two; a high
    /// one leaves a hole, which costs a page.
    pub fn stride(&self) -> u32 {
        (self.mean - self.deviation + ROUNDING).max(1.0) as u32
    }

    /// Takes in a page of so many entries in so many bytes. What is not full tells nothing of others,
    /// and most directories end with it: they get no request that they do not need.
    pub fn page(&mut self, entries: u32, bytes: usize, traffic: Traffic) {
        let count = entries as usize;
        if count == 0 || bytes + ROOM_ENTRIES * (bytes / count) <= DATA_BYTES_MAX {
            return;
        }
        self.measure(entries as f32);
        match traffic {
            Traffic::Free => self.widen(),
            Traffic::Crowded => self.pages = (self.pages - self.pages.min(1)).max(1),
            Traffic::Lossy if self.blamed > 0 => {}
            Traffic::Lossy => {
                self.blamed = self.pages + 1;
                self.pages = (self.pages / 2).max(1);
                (self.careful, self.calm) = (true, 0);
            }
        }
        self.blamed = self.blamed.saturating_sub(1);
    }

    /// The last page held nothing new: a server that repeats itself is not asked for more at once.
    pub fn stop(&mut self) {
        (self.pages, self.calm) = (0, 0);
    }

    fn widen(&mut self) {
        self.calm += 1;
        if !self.careful || self.calm > self.pages {
            self.calm = 0;
            self.pages = (self.pages + 1).min(PAGES_MAX - 1);
        }
    }

    fn measure(&mut self, entries: f32) {
        if self.mean == 0.0 {
            (self.mean, self.deviation) = (entries, (entries / DEVIATION_DIVISOR).max(1.0));
            return;
        }
        self.deviation += ((self.mean - entries).abs() - self.deviation) / 4.0;
        self.mean += (entries - self.mean) / 8.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pages: usize, traffic: Traffic) -> Ahead {
        let mut ahead = Ahead::default();
        (0..pages).for_each(|_| ahead.page(14, 230, traffic));
        ahead
    }

    #[test]
    fn a_page_that_is_not_full_is_probably_the_last() {
        let mut ahead = Ahead::default();
        ahead.page(12, 192, Traffic::Free);
        assert_eq!(ahead.pages(), 0);
        ahead.page(14, 230, Traffic::Free);
        assert_eq!(ahead.pages(), 1);
    }

    #[test]
    fn each_page_allows_one_more_up_to_a_limit() {
        assert_eq!(after(3, Traffic::Free).pages(), 3);
        assert_eq!(after(99, Traffic::Free).pages(), PAGES_MAX - 1);
    }

    #[test]
    fn pages_lost_together_count_once() {
        let mut ahead = after(12, Traffic::Free);
        (0..13).for_each(|_| ahead.page(14, 230, Traffic::Lossy));
        assert_eq!(ahead.pages(), 6);
        ahead.page(14, 230, Traffic::Lossy);
        assert_eq!(ahead.pages(), 3);
    }

    #[test]
    fn loss_and_waiting_lines_narrow_what_is_ahead() {
        let mut ahead = after(12, Traffic::Free);
        ahead.page(14, 230, Traffic::Crowded);
        assert_eq!(ahead.pages(), 11);
        ahead.page(14, 230, Traffic::Lossy);
        assert_eq!(ahead.pages(), 5);
        (0..5).for_each(|_| ahead.page(14, 230, Traffic::Free));
        assert_eq!(ahead.pages(), 5, "slowly from then on");
        ahead.page(14, 230, Traffic::Free);
        assert_eq!(ahead.pages(), 6);
        ahead.stop();
        assert_eq!(ahead.pages(), 0);
    }

    #[test]
    fn pages_of_one_length_are_guessed_and_others_guessed_low() {
        assert_eq!(after(0, Traffic::Free).stride(), 1);
        assert_eq!(after(1, Traffic::Free).stride(), 12);
        assert_eq!(after(20, Traffic::Free).stride(), 14);
        let mut ahead = Ahead::default();
        (0..40).for_each(|n| ahead.page(10 + n % 5, 230, Traffic::Free));
        assert!((9..=11).contains(&ahead.stride()), "{}", ahead.stride());
    }
}
