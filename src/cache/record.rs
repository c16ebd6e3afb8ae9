//! One file's record: its version, and the evidence that makes a new one. Knows nothing else.

use std::time::Duration;

use super::VolumeId;
use super::blocks::{BLOCK_BYTES, Block};
use crate::remote::{Entry, RemotePath, SIZE_MAX, Version};

/// What the far side said of a file in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub size: u64,
    pub mtime: Option<i64>,
}

impl Seen {
    pub fn of(entry: &Entry) -> Seen {
        Seen { size: entry.size.min(SIZE_MAX), mtime: entry.mtime }
    }
}

/// What evidence says about the blocks at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// They are good.
    Same,
    /// The file was appended to; it had `from` bytes. Whole blocks are good, a partial last is not.
    Grew {
        /// The size before.
        from: u64,
    },
    /// Nobody can tell; the next fetch will. Blocks are not good, handles are.
    Doubtful,
    /// It is another content: a new generation has begun.
    Changed,
}

/// The end of a file before it grew: all that tells appending from another content.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// The size before.
    pub from: u64,
    /// The last block, which was not full.
    pub last: Block,
}

/// A file's record. **Versions**: blocks belong to a generation of a file. It grows
///
/// * when a listing tells another size or mtime than the listing before (same size with another
///   mtime, or smaller), or opening tells a smaller size: handles of the old generation get
///   `Error::Changed`;
/// * when we saved or truncated the file ourselves, or cannot tell whether we did.
///
/// A file that only grew is taken for appended to, as logs are: while it is open, its generation,
/// handles and whole blocks stay. Where the last block before was known and not full, it is fetched
/// anew before anything else is, and must begin as it did: else it is another content. With no handle to keep, a larger size in a listing begins a new
/// generation as well, because a longer file may also be another one.
///
/// A listing that repeats what the one before said is no evidence, though opening told another size
/// since: some servers list a growing file late, and some list a size that is no size. One that
/// tells a size between the two while the file is open costs the blocks, not the handles.
#[derive(Debug)]
pub(super) struct Record {
    pub volume: VolumeId,
    /// Where it is now; `None` once it was removed or replaced.
    pub path: Option<RemotePath>,
    pub version: Version,
    /// What the last listing said; `None` before the first one after our own change.
    listed: Option<Seen>,
    /// The mtime shown is the one given to our save.
    mtime_is_ours: bool,
    /// Whether the far side itself told the size, beyond the listing.
    pub confirmed: bool,
    /// Handles on it.
    pub opens: u32,
    /// When this generation began.
    born: Duration,
    /// When the far side last told the size, or could not when it was asked.
    pub checked: Duration,
    /// When anything last showed that this content is still the one under this name.
    pub vouched: Duration,
    /// What the far side still holds open of an older content, it must open anew before it is read.
    pub must_reopen: bool,
    /// It grew, and nothing has shown yet that it still begins as it did.
    pub ending: Option<Ending>,
    /// The far side may be another one since: the next listing shows whether this is the same file.
    pub in_doubt: bool,
}

impl Record {
    pub fn new(volume: VolumeId, path: &RemotePath, seen: Seen, now: Duration) -> Record {
        Record {
            volume,
            path: Some(path.clone()),
            version: Version { size: seen.size, mtime: seen.mtime, generation: 0 },
            listed: Some(seen),
            mtime_is_ours: false,
            confirmed: false,
            opens: 0,
            born: now,
            checked: now,
            vouched: now,
            must_reopen: false,
            ending: None,
            in_doubt: false,
        }
    }

    /// Takes what a listing says.
    pub fn observe(&mut self, seen: Seen, now: Duration) -> Evidence {
        let evidence = self.weigh(seen, now);
        self.vouched = now;
        // One that lags behind what opening told says nothing of how large the file is now.
        if seen.size == self.version.size {
            self.checked = now;
        }
        evidence
    }

    fn weigh(&mut self, seen: Seen, now: Duration) -> Evidence {
        if self.in_doubt {
            return self.settle_doubt(seen, now);
        }
        let size = self.version.size;
        match self.listed.replace(seen) {
            Some(before) if before == seen => return Evidence::Same,
            // The listing comes to what opening had told before.
            Some(before) if before.size != size && seen.size == size && self.opens > 0 => {
                self.version.mtime = seen.mtime;
                return Evidence::Same;
            }
            // It is on its way there, or the file was written anew.
            Some(before) if (before.size..size).contains(&seen.size) && self.opens > 0 => {
                self.version.mtime = seen.mtime;
                return Evidence::Doubtful;
            }
            Some(before) if seen.size == size => {
                if before.mtime.is_none() || seen.mtime.is_none() {
                    self.version.mtime = seen.mtime.or(self.version.mtime);
                    return Evidence::Same;
                }
            }
            None if seen.size == size => {
                if !self.mtime_is_ours {
                    self.version.mtime = seen.mtime.or(self.version.mtime);
                }
                return Evidence::Same;
            }
            Some(_) | None => {}
        }
        self.version.mtime = seen.mtime;
        self.mtime_is_ours = false;
        if seen.size > size && self.opens > 0 {
            return self.grow(seen.size);
        }
        self.version.size = seen.size;
        self.begin_generation(now)
    }

    /// The far side may be another one. Answers whether the next listing can show that a file that is
    /// open is still the same.
    pub fn begin_doubt(&mut self) -> bool {
        let is_known = self
            .listed
            .is_some_and(|listed| listed.mtime.is_some() && listed.size == self.version.size);
        let can_show = self.opens > 0 && is_known;
        self.in_doubt = can_show;
        self.must_reopen = true;
        self.confirmed = false;
        can_show
    }

    /// The same size and time, as both were known before: the same file. Whatever else is seen now,
    /// also what would pass for grown, is another's.
    fn settle_doubt(&mut self, seen: Seen, now: Duration) -> Evidence {
        self.in_doubt = false;
        let before = self.listed.replace(seen);
        if before == Some(seen) && seen.mtime.is_some() && seen.size == self.version.size {
            return Evidence::Same;
        }
        self.version.size = seen.size;
        self.version.mtime = seen.mtime;
        self.mtime_is_ours = false;
        self.begin_generation(now)
    }

    /// Takes the size that the far side told when it opened the file.
    pub fn opened(&mut self, size: u64, now: Duration) -> Evidence {
        let size = size.min(SIZE_MAX);
        self.confirmed = true;
        self.must_reopen = false;
        self.checked = now;
        match size.cmp(&self.version.size) {
            std::cmp::Ordering::Equal => Evidence::Same,
            std::cmp::Ordering::Greater => {
                // What is appended to has not been replaced; its time could only confirm that.
                self.vouched = now;
                self.grow(size)
            }
            std::cmp::Ordering::Less => {
                self.version.size = size;
                self.begin_generation(now);
                self.confirmed = true;
                self.must_reopen = false;
                Evidence::Changed
            }
        }
    }

    /// After our own save: `mtime` is shown until a listing differs.
    pub fn saved(&mut self, size: u64, mtime: i64, now: Duration) {
        self.version.size = size;
        self.version.mtime = Some(mtime);
        self.mtime_is_ours = true;
        self.listed = None;
        self.begin_generation(now);
        self.must_reopen = false;
    }

    /// After we set its time: that is shown until a listing differs, and the content is the same.
    pub fn time_set(&mut self, mtime: i64) {
        self.version.mtime = Some(mtime);
        self.mtime_is_ours = true;
        self.listed = None;
    }

    /// After our own truncation: the next listing tells the mtime.
    pub fn truncated(&mut self, size: u64, now: Duration) {
        self.version.size = size;
        self.mtime_is_ours = false;
        self.listed = None;
        self.begin_generation(now);
        self.must_reopen = false;
    }

    /// Nothing read before is good any more.
    pub fn begin_generation(&mut self, now: Duration) -> Evidence {
        self.version.generation = self.version.generation.wrapping_add(1);
        self.confirmed = false;
        self.in_doubt = false;
        self.must_reopen = true;
        self.ending = None;
        self.born = now;
        self.checked = now;
        self.vouched = now;
        Evidence::Changed
    }

    /// Remembers how the file ended before it grew; an older ending that was not compared says more.
    pub fn note_ending(&mut self, from: u64, last: Block) {
        if last.len() as u64 == from % BLOCK_BYTES {
            self.ending.get_or_insert(Ending { from, last });
        }
    }

    /// Takes a block that was fetched: one that differs from what the file ended with is another
    /// content's.
    pub fn compare(&mut self, index: u64, block: &Block, now: Duration) -> Evidence {
        let is_new =
            |old: &mut Ending| old.from / BLOCK_BYTES == index && block.len() > old.last.len();
        match self.ending.take_if(is_new) {
            Some(old) if !block.starts_with(&old.last) => self.begin_generation(now),
            Some(_) | None => Evidence::Same,
        }
    }

    /// Whether its blocks are older than `time` with no mtime that would show a change.
    pub fn is_doubtful(&self, now: Duration, time: Duration) -> bool {
        self.version.mtime.is_none() && now.saturating_sub(self.born) > time
    }

    /// Whether nothing has shown for longer than `time` that a file with a known time is still the
    /// one that its handles were opened on.
    pub fn needs_vouching(&self, now: Duration, time: Duration) -> bool {
        self.version.mtime.is_some() && now.saturating_sub(self.vouched) > time
    }

    fn grow(&mut self, size: u64) -> Evidence {
        let from = std::mem::replace(&mut self.version.size, size);
        Evidence::Grew { from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn seen(size: u64, mtime: i64) -> Seen {
        Seen { size, mtime: Some(mtime) }
    }

    fn record(size: u64, mtime: i64) -> Record {
        let path = RemotePath::parse(b"/a").unwrap();
        Record { opens: 1, ..Record::new(VolumeId(0), &path, seen(size, mtime), NOW) }
    }

    #[test]
    fn a_listing_that_repeats_itself_is_no_evidence() {
        let mut record = record(100, 1);
        assert_eq!(record.observe(seen(100, 1), NOW), Evidence::Same);
        assert_eq!(record.opened(150, NOW), Evidence::Grew { from: 100 });
        assert_eq!(record.observe(seen(100, 1), NOW), Evidence::Same);
        assert_eq!(record.version.size, 150);
    }

    #[test]
    fn a_listing_that_comes_to_what_opening_told_leaves_the_handles() {
        let mut grown = record(100, 1);
        grown.opened(150, NOW);
        assert_eq!(grown.observe(seen(120, 2), NOW), Evidence::Doubtful);
        assert_eq!(grown.version.size, 150);
        assert_eq!(grown.observe(seen(150, 3), NOW), Evidence::Same);
        let mut shrunk = record(100, 1);
        assert_eq!(shrunk.opened(50, NOW), Evidence::Changed);
        assert_eq!(shrunk.observe(seen(50, 2), NOW), Evidence::Same);
        assert_eq!(shrunk.version.mtime, Some(2));
    }

    #[test]
    fn with_no_handle_to_keep_a_listing_is_believed_against_what_opening_told() {
        let mut closed = Record { opens: 0, ..record(100, 1) };
        closed.opened(150, NOW);
        assert_eq!(closed.observe(seen(120, 2), NOW), Evidence::Changed);
        assert_eq!(closed.version.size, 120);
    }

    #[test]
    fn the_same_size_with_another_mtime_is_another_content() {
        let mut record = record(100, 1);
        assert_eq!(record.observe(seen(100, 2), NOW), Evidence::Changed);
        assert_eq!(record.version, Version { size: 100, mtime: Some(2), generation: 1 });
    }

    #[test]
    fn an_mtime_that_appears_or_vanishes_is_no_evidence() {
        let mut record = record(100, 1);
        assert_eq!(record.observe(Seen { size: 100, mtime: None }, NOW), Evidence::Same);
        assert_eq!(record.observe(seen(100, 1), NOW), Evidence::Same);
        assert_eq!(record.version.mtime, Some(1));
    }

    #[test]
    fn a_larger_file_is_appended_to_while_it_is_open_and_another_one_else() {
        let mut open = record(100, 1);
        assert_eq!(open.observe(seen(200, 2), NOW), Evidence::Grew { from: 100 });
        assert_eq!(open.version, Version { size: 200, mtime: Some(2), generation: 0 });
        let mut closed = Record { opens: 0, ..record(100, 1) };
        assert_eq!(closed.observe(seen(200, 2), NOW), Evidence::Changed);
    }

    #[test]
    fn a_smaller_file_is_another_content() {
        assert_eq!(record(100, 1).observe(seen(99, 2), NOW), Evidence::Changed);
        assert_eq!(record(100, 1).opened(99, NOW), Evidence::Changed);
    }

    #[test]
    fn the_mtime_of_our_save_stays_until_a_listing_differs_from_the_first_after_it() {
        let mut record = record(100, 1);
        record.saved(100, 5000, NOW);
        assert_eq!(record.observe(seen(100, 42), NOW), Evidence::Same);
        assert_eq!(record.observe(seen(100, 42), NOW), Evidence::Same);
        assert_eq!(record.version.mtime, Some(5000));
        assert_eq!(record.observe(seen(100, 43), NOW), Evidence::Changed);
        assert_eq!(record.version.mtime, Some(43));
    }

    #[test]
    fn a_time_that_we_set_is_no_other_content_however_the_server_rounds_it() {
        let mut record = record(100, 1);
        record.time_set(7);
        assert_eq!(record.version, Version { size: 100, mtime: Some(7), generation: 0 });
        assert_eq!(record.observe(seen(100, 6), NOW), Evidence::Same);
        assert_eq!(record.version.mtime, Some(7));
        assert_eq!(record.observe(seen(100, 9), NOW), Evidence::Changed);
    }

    #[test]
    fn in_doubt_only_the_same_size_and_time_are_the_same_file() {
        let without = Seen { size: 100, mtime: None };
        let others = [seen(100, 2), seen(99, 1), seen(101, 1), seen(200, 2), without];
        for (other, evidence) in others.map(|other| (other, Evidence::Changed)) {
            let mut record = record(100, 1);
            assert!(record.begin_doubt());
            assert_eq!(record.observe(other, NOW), evidence, "{other:?}");
            assert!(!record.in_doubt);
        }
        let mut same = record(100, 1);
        assert!(same.begin_doubt());
        assert_eq!(same.observe(seen(100, 1), NOW), Evidence::Same);
        assert_eq!((same.in_doubt, same.version.generation), (false, 0));
    }

    #[test]
    fn nothing_can_settle_a_doubt_about_a_file_without_a_known_time_or_a_handle() {
        let timeless = Seen { size: 100, mtime: None };
        let path = RemotePath::parse(b"/a").unwrap();
        let mut timeless = Record { opens: 1, ..Record::new(VolumeId(0), &path, timeless, NOW) };
        assert!(!timeless.begin_doubt());
        assert!(!Record { opens: 0, ..record(100, 1) }.begin_doubt());
        let mut ours = record(100, 1);
        ours.saved(100, 5000, NOW);
        assert!(!ours.begin_doubt(), "the vehicle's own time has not been seen");
        let mut grown = record(100, 1);
        grown.opened(150, NOW);
        assert!(!grown.begin_doubt(), "what its time was at this size is not known");
    }

    #[test]
    fn a_size_no_kernel_can_say_is_not_believed() {
        let mut record = record(100, 1);
        record.opened(u64::MAX, NOW);
        assert_eq!(record.version.size, SIZE_MAX);
    }
}
