//! What is known of each file: its version, and the evidence that makes a new one.
//! Knows no blocks, no listings and no remote.

use std::collections::BTreeMap;
use std::time::Duration;

use lru::LruCache;

use super::VolumeId;
use crate::remote::{Entry, Kind, RemotePath, Version};

/// Most files remembered; those not open go first, the least recently used before others.
const RECORDS_MAX: usize = 65_536;
/// No file is larger: what the kernel can say. A far side that claims more is not believed.
const SIZE_MAX: u64 = i64::MAX as u64;
/// How many open files are passed over in search of one to forget.
const FORGET_TRIES: usize = 64;

/// One file, whatever it is called: a rename keeps it, a newcomer under the same path has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileId(u64);

impl FileId {
    #[cfg(test)]
    pub fn of(number: u64) -> FileId {
        FileId(number)
    }
}

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
    /// It is another content: a new generation has begun.
    Changed,
}

/// A file's record. **Versions**: blocks belong to a generation of a file. It grows
///
/// * when a listing tells another size or mtime than the listing before (same size with another
///   mtime, or smaller), or opening tells a smaller size: handles of the old generation get
///   `Error::Changed`;
/// * when we saved or truncated the file ourselves, or cannot tell whether we did.
///
/// A file that only grew is taken for appended to, as logs are: while it is open, its generation,
/// handles and whole blocks stay. With no handle to keep, a larger size in a listing begins a new
/// generation as well, because a longer file may also be another one.
///
/// A listing that repeats what the one before said is no evidence, though opening told another size
/// since: some servers list a growing file late, and some list a size that is no size.
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
}

impl Record {
    fn new(volume: VolumeId, path: &RemotePath, seen: Seen, now: Duration) -> Record {
        Record {
            volume,
            path: Some(path.clone()),
            version: Version { size: seen.size, mtime: seen.mtime, generation: 0 },
            listed: Some(seen),
            mtime_is_ours: false,
            confirmed: false,
            opens: 0,
            born: now,
        }
    }

    /// Takes what a listing says.
    pub fn observe(&mut self, seen: Seen, now: Duration) -> Evidence {
        let size = self.version.size;
        match self.listed.replace(seen) {
            Some(before) if before == seen => return Evidence::Same,
            // The listing comes to what opening had told before.
            Some(before)
                if before.size != size
                    && (seen.size == size || (before.size..size).contains(&seen.size)) =>
            {
                self.version.mtime = seen.mtime;
                return Evidence::Same;
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

    /// Takes the size that the far side told when it opened the file.
    pub fn opened(&mut self, size: u64, now: Duration) -> Evidence {
        let size = size.min(SIZE_MAX);
        self.confirmed = true;
        match size.cmp(&self.version.size) {
            std::cmp::Ordering::Equal => Evidence::Same,
            std::cmp::Ordering::Greater => self.grow(size),
            std::cmp::Ordering::Less => {
                self.version.size = size;
                self.begin_generation(now);
                self.confirmed = true;
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
    }

    /// After our own truncation: the next listing tells the mtime.
    pub fn truncated(&mut self, size: u64, now: Duration) {
        self.version.size = size;
        self.mtime_is_ours = false;
        self.listed = None;
        self.begin_generation(now);
    }

    /// Nothing read before is good any more.
    pub fn begin_generation(&mut self, now: Duration) -> Evidence {
        self.version.generation = self.version.generation.wrapping_add(1);
        self.confirmed = false;
        self.born = now;
        Evidence::Changed
    }

    /// Whether its blocks are older than `time` with no mtime that would show a change.
    pub fn is_doubtful(&self, now: Duration, time: Duration) -> bool {
        self.version.mtime.is_none() && now.saturating_sub(self.born) > time
    }

    fn grow(&mut self, size: u64) -> Evidence {
        let from = std::mem::replace(&mut self.version.size, size);
        Evidence::Grew { from }
    }
}

/// Every record, by id and by path.
pub(super) struct Files {
    records: LruCache<FileId, Record>,
    paths: BTreeMap<(VolumeId, RemotePath), FileId>,
    next: u64,
    records_max: usize,
}

impl Files {
    pub fn new() -> Files {
        Files {
            records: LruCache::unbounded(),
            paths: BTreeMap::new(),
            next: 1,
            records_max: RECORDS_MAX,
        }
    }

    pub fn get(&mut self, id: FileId) -> Option<&mut Record> {
        self.records.get_mut(&id)
    }

    pub fn at(&self, volume: VolumeId, path: &RemotePath) -> Option<FileId> {
        self.paths.get(&(volume, path.clone())).copied()
    }

    /// The file at a path, made known from what was seen of it if it is not yet.
    pub fn at_or_insert(
        &mut self,
        volume: VolumeId,
        path: &RemotePath,
        seen: Seen,
        now: Duration,
    ) -> FileId {
        if let Some(id) = self.at(volume, path) {
            return id;
        }
        let id = FileId(self.next);
        self.next += 1;
        self.records.put(id, Record::new(volume, path, seen, now));
        self.paths.insert((volume, path.clone()), id);
        id
    }

    /// What an entry of a listing shows, where a record knows better.
    pub fn overlay(&mut self, id: FileId, entry: &mut Entry) {
        if let (Some(record), Kind::File) = (self.records.peek(&id), entry.kind) {
            entry.size = record.version.size;
            entry.mtime = record.version.mtime;
        }
    }

    /// The files at `path` and below it.
    pub fn within(&self, volume: VolumeId, path: &RemotePath) -> Vec<(RemotePath, FileId)> {
        self.below(volume, path).map(|(found, id)| (found.clone(), id)).collect()
    }

    /// The files directly in a directory.
    pub fn children(&self, volume: VolumeId, path: &RemotePath) -> Vec<(RemotePath, FileId)> {
        let head = if path.is_root() { 1 } else { path.as_bytes().len() + 1 };
        self.below(volume, path)
            .filter(|(found, _)| {
                found.as_bytes().get(head..).is_some_and(|rest| !rest.contains(&b'/'))
            })
            .map(|(found, id)| (found.clone(), id))
            .collect()
    }

    /// Takes the path from the file there; the record stays while a handle is on it. Answers the
    /// file, and whether its record is gone.
    pub fn orphan(&mut self, volume: VolumeId, path: &RemotePath) -> Option<(FileId, bool)> {
        let id = self.paths.remove(&(volume, path.clone()))?;
        if let Some(record) = self.records.get_mut(&id) {
            record.path = None;
        }
        Some((id, self.forget_if_unused_orphan(id)))
    }

    /// Every file at or below `from` is at or below `to` now.
    pub fn rename(&mut self, volume: VolumeId, from: &RemotePath, to: &RemotePath) {
        for (path, id) in self.within(volume, from) {
            let Some(new) = path.rebase(from, to) else { continue };
            self.paths.remove(&(volume, path));
            self.paths.insert((volume, new.clone()), id);
            if let Some(record) = self.records.get_mut(&id) {
                record.path = Some(new);
            }
        }
    }

    /// One handle fewer. Answers whether the record is gone.
    pub fn close(&mut self, id: FileId) -> bool {
        if let Some(record) = self.records.get_mut(&id) {
            record.opens = record.opens.saturating_sub(1);
        }
        self.forget_if_unused_orphan(id)
    }

    /// Forgets a file when there are too many.
    pub fn trim(&mut self) -> Option<FileId> {
        if self.records.len() <= self.records_max {
            return None;
        }
        for _ in 0..FORGET_TRIES {
            let (id, record) = self.records.pop_lru()?;
            if record.opens == 0 {
                if let Some(path) = record.path {
                    self.paths.remove(&(record.volume, path));
                }
                return Some(id);
            }
            self.records.put(id, record);
        }
        None
    }

    fn below<'a>(
        &'a self,
        volume: VolumeId,
        path: &'a RemotePath,
    ) -> impl Iterator<Item = (&'a RemotePath, FileId)> {
        self.paths
            .range((volume, path.clone())..)
            .map(|((at, found), id)| (*at, found, *id))
            .take_while(move |(at, found, _)| {
                *at == volume && found.as_bytes().starts_with(path.as_bytes())
            })
            .filter(|(_, found, _)| found.is_within(path))
            .map(|(_, found, id)| (found, id))
    }

    fn forget_if_unused_orphan(&mut self, id: FileId) -> bool {
        let unused = |record: &Record| record.path.is_none() && record.opens == 0;
        let gone = self.records.peek(&id).is_none_or(unused);
        if gone {
            self.records.pop(&id);
        }
        gone
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
    fn a_listing_that_comes_to_what_opening_told_is_no_evidence() {
        let mut grown = record(100, 1);
        grown.opened(150, NOW);
        assert_eq!(grown.observe(seen(120, 2), NOW), Evidence::Same);
        assert_eq!(grown.version.size, 150);
        assert_eq!(grown.observe(seen(150, 3), NOW), Evidence::Same);
        let mut shrunk = record(100, 1);
        assert_eq!(shrunk.opened(50, NOW), Evidence::Changed);
        assert_eq!(shrunk.observe(seen(50, 2), NOW), Evidence::Same);
        assert_eq!(shrunk.version.mtime, Some(2));
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
    fn a_size_no_kernel_can_say_is_not_believed() {
        let mut record = record(100, 1);
        record.opened(u64::MAX, NOW);
        assert_eq!(record.version.size, SIZE_MAX);
    }

    #[test]
    fn too_many_files_push_out_those_that_are_not_open() {
        let mut files = Files { records_max: 2, ..Files::new() };
        let add = |files: &mut Files, text: &str| {
            let path = RemotePath::parse(text.as_bytes()).unwrap();
            files.at_or_insert(VolumeId(0), &path, seen(1, 1), NOW)
        };
        let first = add(&mut files, "/1");
        files.get(first).unwrap().opens = 1;
        let second = add(&mut files, "/2");
        let third = add(&mut files, "/3");
        files.get(third);
        assert_eq!(files.trim(), Some(second));
        assert_eq!(files.trim(), None);
        assert!(files.get(first).is_some() && files.get(third).is_some());
    }

    #[test]
    fn a_renamed_directory_takes_its_files_along() {
        let mut files = Files::new();
        let path = |text: &str| RemotePath::parse(text.as_bytes()).unwrap();
        let volume = VolumeId(0);
        let inside = files.at_or_insert(volume, &path("/a/x/y"), seen(1, 1), NOW);
        let beside = files.at_or_insert(volume, &path("/a-b"), seen(1, 1), NOW);
        files.rename(volume, &path("/a"), &path("/c"));
        assert_eq!(files.at(volume, &path("/c/x/y")), Some(inside));
        assert_eq!(files.at(volume, &path("/a-b")), Some(beside));
        assert_eq!(files.get(inside).unwrap().path, Some(path("/c/x/y")));
    }
}
