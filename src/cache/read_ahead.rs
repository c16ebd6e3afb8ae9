//! When to fetch ahead of a reader, and how far. Pure policy: knows no blocks and no remote.

use std::ops::Range;

use super::blocks::{BLOCK_BYTES, covering};

/// Most bytes of one fetch ahead.
const CHUNK_BYTES: u64 = 64 << 10;
/// Bytes of the first. The kernel joins what is fetched ahead when it reads ahead itself, for a program
/// that may be gone by then: what nobody asked for must be a fetch of its own, which can be cancelled.
const FIRST_CHUNK_BYTES: u64 = 16 << 10;
/// A first read from offset 0 at least this long is taken for the begin of a copy: what the kernel
/// asks at once for a program that reads whole files.
const WHOLE_FILE_READ_BYTES: u64 = 16 << 10;

/// One reader's habit. Sequential from the second adjacent read on, or from a long one at offset 0;
/// then the window ahead of it grows from one chunk to the limit.
#[derive(Debug)]
pub(super) struct ReadAhead {
    limit: u64,
    chunk_max: u64,
    /// Where fetching ahead began.
    begin: u64,
    /// Where an adjacent read would begin.
    adjacent: Option<u64>,
    /// Bytes to keep under way or cached ahead of the reader; 0: not sequential.
    window: u64,
    /// Everything before this offset has been asked for.
    issued: u64,
}

impl ReadAhead {
    /// Never asks for more than `limit` bytes beyond a read.
    pub fn new(limit: u64) -> ReadAhead {
        let whole_blocks = |bytes: u64| bytes / BLOCK_BYTES * BLOCK_BYTES;
        let limit = whole_blocks(limit);
        let chunk_max = whole_blocks(limit / 2).clamp(BLOCK_BYTES, CHUNK_BYTES);
        ReadAhead { limit, chunk_max, begin: 0, adjacent: None, window: 0, issued: 0 }
    }

    /// Notes a read of these bytes of a file of `size` bytes, and says which blocks to fetch ahead
    /// now, a range for each fetch.
    pub fn advance(&mut self, read: &Range<u64>, size: u64) -> Vec<Range<u64>> {
        let long_start = read.start == 0 && read.end >= WHOLE_FILE_READ_BYTES;
        let sequential = self.adjacent == Some(read.start) || long_start;
        self.adjacent = Some(read.end);
        if !sequential {
            self.window = 0;
            return Vec::new();
        }
        let begins = self.window == 0;
        self.window = match self.window {
            0 => CHUNK_BYTES.min(self.limit),
            window => (window * 2).min(self.limit),
        };
        let position = read.end / BLOCK_BYTES * BLOCK_BYTES;
        if !(position..=position + self.limit).contains(&self.issued) {
            self.issued = position;
        }
        if begins {
            self.begin = self.issued;
        }
        let end = size.div_ceil(BLOCK_BYTES) * BLOCK_BYTES;
        let wanted = (read.end + self.window) / BLOCK_BYTES * BLOCK_BYTES;
        self.chunks(wanted.min(end), end)
    }

    /// After an error: begins again once two more reads are adjacent.
    pub fn stop(&mut self) {
        self.adjacent = None;
        self.window = 0;
        self.issued = 0;
    }

    fn chunks(&mut self, wanted: u64, end: u64) -> Vec<Range<u64>> {
        let mut chunks = Vec::new();
        while self.issued < wanted {
            // As much as has been asked for so far: 16, 16, 32 and then 64 KiB.
            let sofar = self.issued.saturating_sub(self.begin);
            let chunk = sofar.clamp(FIRST_CHUNK_BYTES.min(self.chunk_max), self.chunk_max);
            let next = (self.issued + chunk).min(wanted);
            // Small fetches cost a request each; a chunk waits until it is whole, but for the last.
            if next - self.issued < chunk && next != end {
                break;
            }
            chunks.push(covering(&(self.issued..next)));
            self.issued = next;
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const LARGE: u64 = 1 << 30;

    fn one(blocks: Range<u64>) -> Vec<Range<u64>> {
        Vec::from([blocks])
    }

    fn reads(policy: &mut ReadAhead, from: u64, count: u64) -> Vec<Range<u64>> {
        (0..count)
            .flat_map(|n| policy.advance(&(from + n * 16 * KIB..from + (n + 1) * 16 * KIB), LARGE))
            .collect()
    }

    #[test]
    fn a_long_read_from_the_start_begins_at_once() {
        let mut policy = ReadAhead::new(256 * KIB);
        assert_eq!(policy.advance(&(0..16 * KIB), LARGE), [4..8, 8..12, 12..20]);
    }

    #[test]
    fn what_the_kernel_reads_ahead_joins_no_more_than_it_asks_for() {
        let mut policy = ReadAhead::new(256 * KIB);
        let first = policy.advance(&(0..16 * KIB), LARGE);
        let joined: Vec<_> = first.into_iter().filter(|chunk| chunk.start < 8).collect();
        assert_eq!(joined, one(4..8), "the second 16 KiB, and nothing beyond");
    }

    #[test]
    fn the_second_adjacent_read_begins() {
        let mut policy = ReadAhead::new(256 * KIB);
        assert!(policy.advance(&(100_000..104_096), LARGE).is_empty());
        assert!(!policy.advance(&(104_096..108_192), LARGE).is_empty());
    }

    #[test]
    fn a_random_reader_gets_nothing_ahead() {
        let mut policy = ReadAhead::new(256 * KIB);
        for offset in [500_000, 20_000, 0, 900_000, 8192] {
            assert!(policy.advance(&(offset..offset + 4096), LARGE).is_empty());
        }
    }

    #[test]
    fn a_copy_always_has_data_under_way_and_never_more_than_the_limit() {
        let mut policy = ReadAhead::new(256 * KIB);
        let mut issued = 4;
        for n in 0..200 {
            let read = n * 16 * KIB..(n + 1) * 16 * KIB;
            for chunk in policy.advance(&read, LARGE) {
                assert_eq!(chunk.start, issued, "no gap and nothing twice");
                assert!(n == 0 || chunk.end - chunk.start == 16);
                issued = chunk.end;
            }
            let ahead = issued * BLOCK_BYTES - read.end;
            assert!((48 * KIB..=256 * KIB).contains(&ahead), "{ahead} after {n} reads");
            assert!(n < 3 || ahead >= 192 * KIB, "{ahead} after {n} reads");
        }
    }

    #[test]
    fn the_end_of_the_file_ends_it() {
        let mut policy = ReadAhead::new(256 * KIB);
        assert_eq!(policy.advance(&(0..16 * KIB), 18_000), one(4..5));
        assert!(policy.advance(&(16 * KIB..18_000), 18_000).is_empty());
    }

    #[test]
    fn after_an_error_two_adjacent_reads_are_needed_again() {
        let mut policy = ReadAhead::new(256 * KIB);
        reads(&mut policy, 0, 3);
        policy.stop();
        assert!(reads(&mut policy, 48 * KIB, 1).is_empty());
        assert!(!reads(&mut policy, 64 * KIB, 1).is_empty());
    }

    #[test]
    fn a_small_limit_is_kept_and_a_tiny_one_ends_it() {
        let mut small = ReadAhead::new(20_000);
        assert_eq!(small.advance(&(0..16 * KIB), LARGE), [4..6, 6..8]);
        let mut tiny = ReadAhead::new(4095);
        assert!(reads(&mut tiny, 0, 4).is_empty());
    }
}
