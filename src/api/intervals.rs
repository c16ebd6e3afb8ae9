//! Which bytes have arrived.

use std::collections::BTreeMap;

/// A set of byte ranges.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    /// Start → end, neither touching nor overlapping.
    ranges: BTreeMap<u64, u64>,
}

impl Intervals {
    /// Adds `start .. end`.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        // Every range that begins at or before our end and ends at or after our start joins us.
        while let Some((&from, &to)) = self.ranges.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.ranges.remove(&from);
            start = start.min(from);
            end = end.max(to);
        }
        self.ranges.insert(start, end);
    }

    /// The end of the range that holds `start`; `start` itself when none does.
    pub(super) fn end_from(&self, start: u64) -> u64 {
        match self.ranges.range(..=start).next_back() {
            Some((_, &end)) => end.max(start),
            None => start,
        }
    }

    /// Whether all of `start .. end` is there.
    pub(super) fn covers(&self, start: u64, end: u64) -> bool {
        start >= end || self.end_from(start) >= end
    }

    /// How many bytes are there.
    pub(super) fn total(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_agree_with_a_plain_bitmap(
            pieces in prop::collection::vec((0_u64..64, 0_u64..16), 0..24),
            start in 0_u64..80,
            length in 0_u64..80,
        ) {
            let mut intervals = Intervals::default();
            let mut bitmap = [false; 256];
            for (from, count) in pieces {
                intervals.add(from, from + count);
                bitmap[from as usize..(from + count) as usize].fill(true);
            }
            let end = start + length;
            let wanted = &bitmap[start as usize..end as usize];
            prop_assert_eq!(intervals.covers(start, end), wanted.iter().all(|&there| there));
            let total = bitmap.iter().filter(|&&there| there).count();
            prop_assert_eq!(intervals.total(), total as u64);
        }
    }
}
