//! A set of byte ranges: which bytes of a staged copy are valid. Knows nothing else.

use std::ops::Range;

/// Disjoint byte ranges in order, never touching each other, none empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals(Vec<Range<u64>>);

impl Intervals {
    /// Adds a range; it may overlap what is there.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|held| held.end < range.start);
        let last = self.0.partition_point(|held| held.start <= range.end);
        let start = self.0.get(first).map_or(range.start, |held| held.start.min(range.start));
        let end = match last.checked_sub(1).and_then(|at| self.0.get(at)) {
            Some(held) if last > first => held.end.max(range.end),
            _ => range.end,
        };
        self.0.splice(first..last, [if last > first { start..end } else { range }]);
    }

    /// Drops everything from `length` on.
    pub fn clip(&mut self, length: u64) {
        self.0.retain_mut(|held| {
            held.end = held.end.min(length);
            !held.is_empty()
        });
    }

    /// The first part of `range` that is not in the set.
    pub fn first_missing(&self, range: Range<u64>) -> Option<Range<u64>> {
        let mut start = range.start;
        for held in &self.0 {
            if held.end <= start {
                continue;
            }
            if held.start > start {
                return (start < range.end).then(|| start..held.start.min(range.end));
            }
            start = held.end;
        }
        (start < range.end).then_some(start..range.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_set_holds_what_a_bitmap_holds(
            steps in prop::collection::vec((0u64..64, 0u64..20, any::<bool>()), 0..40),
        ) {
            let mut set = Intervals::default();
            let mut bitmap = [false; 128];
            for (start, length, clip) in steps {
                if clip {
                    set.clip(start + 20);
                    bitmap[start as usize + 20..].fill(false);
                } else {
                    set.insert(start..start + length);
                    bitmap[start as usize..(start + length) as usize].fill(true);
                }
                let mut at = 0;
                while let Some(missing) = set.first_missing(at..128) {
                    prop_assert!(!missing.is_empty());
                    prop_assert!(bitmap[at as usize..missing.start as usize].iter().all(|&b| b));
                    prop_assert!(
                        bitmap[missing.start as usize..missing.end as usize].iter().all(|&b| !b)
                    );
                    at = missing.end;
                }
                prop_assert!(bitmap[at as usize..].iter().all(|&b| b));
                prop_assert!(set.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
