//! Sets of byte ranges: what of a file is still to be asked for. Knows no request.

use std::collections::BTreeMap;

/// Byte ranges that neither touch nor overlap.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// Begin and end of each.
    ranges: BTreeMap<u32, u32>,
}

impl Ranges {
    /// One range.
    pub fn one(start: u32, end: u32) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.insert(start, end);
        ranges
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Where the first range begins.
    pub fn first(&self) -> Option<u32> {
        self.ranges.first_key_value().map(|(start, _)| *start)
    }

    /// The first range that ends behind `offset`, without what lies before it.
    pub fn first_from(&self, offset: u32) -> Option<(u32, u32)> {
        let around = self.ranges.range(..=offset).next_back().filter(|(_, end)| **end > offset);
        let (start, end) = around.or_else(|| self.ranges.range(offset..).next())?;
        Some(((*start).max(offset), *end))
    }

    /// Bytes in it, from `offset` on.
    pub fn bytes_from(&self, offset: u32) -> u64 {
        self.ranges
            .iter()
            .map(|(start, end)| u64::from(end.saturating_sub(*start.max(&offset))))
            .sum()
    }

    /// Adds a range.
    pub fn insert(&mut self, mut start: u32, mut end: u32) {
        if start >= end {
            return;
        }
        while let Some((&known, &known_end)) = self.ranges.range(..=end).next_back() {
            if known_end < start {
                break;
            }
            self.ranges.remove(&known);
            start = start.min(known);
            end = end.max(known_end);
        }
        self.ranges.insert(start, end);
    }

    /// Takes a range out.
    pub fn remove(&mut self, start: u32, end: u32) {
        if start >= end {
            return;
        }
        while let Some((&known, &known_end)) = self.ranges.range(..end).next_back() {
            if known_end <= start {
                break;
            }
            self.ranges.remove(&known);
            if known_end > end {
                self.ranges.insert(end, known_end);
            }
            if known < start {
                self.ranges.insert(known, start);
            }
        }
    }

    /// Takes out up to `count` bytes of the first range that begins before `limit`; at most up to it.
    pub fn take_first(&mut self, count: u32, limit: u32) -> Option<(u32, u32)> {
        let (&start, &end) = self.ranges.first_key_value().filter(|(start, _)| **start < limit)?;
        let taken = end.min(limit).min(start.saturating_add(count));
        self.ranges.remove(&start);
        if taken < end {
            self.ranges.insert(taken, end);
        }
        Some((start, taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut ranges = Ranges::one(0, 10);
        ranges.insert(20, 30);
        ranges.insert(10, 20);
        assert_eq!(ranges, Ranges::one(0, 30));
        assert_eq!(ranges.take_first(239, 25), Some((0, 25)));
        assert_eq!(ranges.take_first(3, u32::MAX), Some((25, 28)));
        assert_eq!(ranges.first(), Some(28));
        assert_eq!(ranges.take_first(3, 28), None);
    }

    proptest! {
        #[test]
        fn they_hold_what_a_set_of_bytes_holds(
            steps in proptest::collection::vec((any::<bool>(), 0u32..60, 0u32..20), 0..40),
            from in 0u32..80,
        ) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (adds, start, length) in steps {
                let bytes = start..start + length;
                if adds {
                    ranges.insert(start, start + length);
                    model.extend(bytes);
                } else {
                    ranges.remove(start, start + length);
                    model.retain(|byte| !bytes.contains(byte));
                }
                let held: BTreeSet<u32> =
                    ranges.ranges.iter().flat_map(|(start, end)| *start..*end).collect();
                prop_assert_eq!(&held, &model);
            }
            prop_assert_eq!(ranges.first_from(from).map(|(start, _)| start), model.range(from..).next().copied());
            prop_assert_eq!(ranges.bytes_from(from), model.range(from..).count() as u64);
        }
    }
}
