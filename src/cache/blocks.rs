//! Blocks of file content: how one is put together from pieces, and the least recently used ones
//! that fit in so many bytes. Knows neither files nor remotes.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use lru::LruCache;

use super::files::FileId;

/// Bytes of a block: the kernel's page, so that one page needs one block.
pub(super) const BLOCK_BYTES: u64 = 4096;

/// A complete block; shorter than [`BLOCK_BYTES`] only at the end of the file.
pub(super) type Block = Arc<[u8]>;

/// Which block of which content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlockKey {
    pub file: FileId,
    pub generation: u32,
    pub index: u64,
}

/// The blocks at hand, bounded in bytes; the least recently used go first.
pub(super) struct Blocks {
    blocks: LruCache<BlockKey, Block>,
    of_file: HashMap<FileId, BTreeSet<BlockKey>>,
    bytes: usize,
    bytes_max: usize,
}

impl Blocks {
    pub fn new(bytes_max: usize) -> Blocks {
        Blocks { blocks: LruCache::unbounded(), of_file: HashMap::new(), bytes: 0, bytes_max }
    }

    /// A block, which becomes the most recently used.
    pub fn get(&mut self, key: &BlockKey) -> Option<Block> {
        self.blocks.get(key).cloned()
    }

    pub fn contains(&self, key: &BlockKey) -> bool {
        self.blocks.contains(key)
    }

    pub fn insert(&mut self, key: BlockKey, block: Block) {
        self.bytes += block.len();
        if let Some(old) = self.blocks.put(key, block) {
            self.bytes -= old.len();
        }
        self.of_file.entry(key.file).or_default().insert(key);
        while self.bytes > self.bytes_max {
            let Some((oldest, block)) = self.blocks.pop_lru() else { break };
            self.unlink(&oldest, &block);
        }
    }

    pub fn remove(&mut self, key: &BlockKey) {
        if let Some(block) = self.blocks.pop(key) {
            self.unlink(key, &block);
        }
    }

    /// Drops every block of a file, of any generation.
    pub fn forget(&mut self, file: FileId) {
        for key in self.of_file.remove(&file).unwrap_or_default() {
            if let Some(block) = self.blocks.pop(&key) {
                self.bytes -= block.len();
            }
        }
    }

    /// Drops a block and those behind it.
    pub fn forget_from(&mut self, first: &BlockKey) {
        let of_file = self.of_file.get(&first.file);
        let keys: Vec<_> = of_file.iter().flat_map(|keys| keys.range(*first..)).copied().collect();
        keys.iter().for_each(|key| self.remove(key));
    }

    /// Bytes held now.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn unlink(&mut self, key: &BlockKey, block: &Block) {
        self.bytes -= block.len();
        if let Some(keys) = self.of_file.get_mut(&key.file) {
            keys.remove(key);
            if keys.is_empty() {
                self.of_file.remove(&key.file);
            }
        }
    }
}

/// One block on its way: filled by pieces in any order, repeated or overlapping.
pub(super) struct Assembly {
    bytes: Box<[u8]>,
    /// What has come: sorted, disjoint, not touching.
    filled: Vec<Range<usize>>,
}

impl Assembly {
    pub fn new() -> Assembly {
        Assembly { bytes: vec![0; BLOCK_BYTES as usize].into(), filled: Vec::new() }
    }

    /// Takes a piece that begins at `at` within the block; what does not fit is left out.
    pub fn fill(&mut self, at: usize, piece: &[u8]) {
        let end = at.saturating_add(piece.len()).min(self.bytes.len());
        if at >= end {
            return;
        }
        self.bytes[at..end].copy_from_slice(&piece[..end - at]);
        let first = self.filled.partition_point(|range| range.end < at);
        let last = self.filled.partition_point(|range| range.start <= end);
        let merged = self.filled[first..last]
            .iter()
            .fold(at..end, |all, range| all.start.min(range.start)..all.end.max(range.end));
        self.filled.splice(first..last, [merged]);
    }

    /// The block when its first `length` bytes have come.
    pub fn complete(&self, length: usize) -> Option<Block> {
        match self.filled.first() {
            Some(range) if range.start == 0 && range.end >= length && length > 0 => {
                Some(self.bytes[..length].into())
            }
            Some(_) | None => None,
        }
    }
}

/// The blocks that hold these bytes.
pub(super) fn covering(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / BLOCK_BYTES..bytes.end.div_ceil(BLOCK_BYTES)
}

/// How many bytes of block `index` a file of `size` bytes has.
pub(super) fn length_within(index: u64, size: u64) -> usize {
    size.saturating_sub(index.saturating_mul(BLOCK_BYTES)).min(BLOCK_BYTES) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u64) -> BlockKey {
        BlockKey { file: FileId::of(1), generation: 0, index }
    }

    fn block(length: usize) -> Block {
        vec![7; length].into()
    }

    #[test]
    fn the_least_recently_used_blocks_make_room() {
        let mut blocks = Blocks::new(10_000);
        blocks.insert(key(0), block(4096));
        blocks.insert(key(1), block(4096));
        blocks.get(&key(0));
        blocks.insert(key(2), block(4096));
        assert!(blocks.contains(&key(0)) && !blocks.contains(&key(1)) && blocks.contains(&key(2)));
        assert_eq!(blocks.bytes(), 8192);
    }

    #[test]
    fn a_block_stored_twice_counts_once() {
        let mut blocks = Blocks::new(10_000);
        blocks.insert(key(0), block(4096));
        blocks.insert(key(0), block(100));
        assert_eq!(blocks.bytes(), 100);
        blocks.remove(&key(0));
        assert_eq!(blocks.bytes(), 0);
    }

    #[test]
    fn a_forgotten_file_leaves_no_bytes() {
        let mut blocks = Blocks::new(100_000);
        blocks.insert(key(0), block(4096));
        blocks.insert(BlockKey { generation: 1, ..key(5) }, block(10));
        blocks.insert(BlockKey { file: FileId::of(2), ..key(0) }, block(20));
        blocks.forget(FileId::of(1));
        assert_eq!(blocks.bytes(), 20);
    }

    #[test]
    fn the_blocks_before_those_that_are_forgotten_stay() {
        let mut blocks = Blocks::new(100_000);
        (0..4).for_each(|index| blocks.insert(key(index), block(10)));
        blocks.forget_from(&key(2));
        assert!(blocks.contains(&key(1)) && !blocks.contains(&key(2)) && !blocks.contains(&key(3)));
        assert_eq!(blocks.bytes(), 20);
    }

    #[test]
    fn a_block_is_complete_once_every_byte_has_come_in_any_order() {
        let whole: Vec<u8> = (0..4096).map(|n| n as u8).collect();
        let mut assembly = Assembly::new();
        let mut starts: Vec<usize> = (0..4096).step_by(239).collect();
        starts.reverse();
        starts.insert(3, starts[0]);
        for start in starts {
            assert!(assembly.complete(4096).is_none());
            // Each piece overlaps its neighbour by ten bytes.
            assembly.fill(start, &whole[start..(start + 249).min(4096)]);
        }
        assert_eq!(assembly.complete(4096).unwrap()[..], whole[..]);
    }

    #[test]
    fn a_block_at_the_end_is_complete_up_to_the_end() {
        let mut assembly = Assembly::new();
        assembly.fill(239, &[2; 61]);
        assert!(assembly.complete(300).is_none());
        assembly.fill(0, &[1; 239]);
        assert_eq!(assembly.complete(300).unwrap().len(), 300);
        assert!(assembly.complete(301).is_none());
        assert!(assembly.complete(0).is_none());
    }

    #[test]
    fn bytes_are_covered_by_whole_blocks() {
        assert_eq!(covering(&(0..1)), 0..1);
        assert_eq!(covering(&(4095..4097)), 0..2);
        assert_eq!(covering(&(4096..8192)), 1..2);
        assert_eq!(length_within(1, 5000), 904);
        assert_eq!(length_within(2, 5000), 0);
        assert_eq!(length_within(u64::MAX, u64::MAX), 0);
    }
}
