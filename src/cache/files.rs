//! Every file's record, found by its id or by its path. Knows no blocks, no listings and no remote.

use std::collections::BTreeMap;
use std::time::Duration;

use lru::LruCache;

use super::VolumeId;
use super::record::{Record, Seen};
use crate::remote::{Entry, Kind, RemotePath};

/// Most files remembered; those not open go first, the least recently used before others.
const RECORDS_MAX: usize = 65_536;
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
    const SEEN: Seen = Seen { size: 1, mtime: Some(1) };

    #[test]
    fn too_many_files_push_out_those_that_are_not_open() {
        let mut files = Files { records_max: 2, ..Files::new() };
        let add = |files: &mut Files, text: &str| {
            let path = RemotePath::parse(text.as_bytes()).unwrap();
            files.at_or_insert(VolumeId(0), &path, SEEN, NOW)
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
        let inside = files.at_or_insert(volume, &path("/a/x/y"), SEEN, NOW);
        let beside = files.at_or_insert(volume, &path("/a-b"), SEEN, NOW);
        files.rename(volume, &path("/a"), &path("/c"));
        assert_eq!(files.at(volume, &path("/c/x/y")), Some(inside));
        assert_eq!(files.at(volume, &path("/a-b")), Some(beside));
        assert_eq!(files.get(inside).unwrap().path, Some(path("/c/x/y")));
    }
}
