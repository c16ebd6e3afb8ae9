//! Changes we make on the far side, and what becomes of what was known: on success it is edited in
//! place, so that nothing is listed again; in doubt it is believed no more.

use super::blocks::{BLOCK_BYTES, BlockKey};
use super::known::Known;
use super::listings::{Entries, Listing, directory_entry};
use super::news::News;
use super::record::{Evidence, Seen};
use super::{Cache, VolumeId};
use crate::remote::ask::ask;
use crate::remote::{Class, Entry, Error, Kind, Op, OpId, RemotePath, respell, save};

impl Cache {
    /// Creates a directory where, as the caller knows, nothing stands.
    pub async fn make_directory(&self, volume: VolumeId, path: &RemotePath) -> Result<(), Error> {
        let change = Change::begin(self, volume, &[path], Aftermath::Untouched);
        let mut result = self.ask(volume, |far| Op::MakeDirectory { path: far(path) }).await;
        // Some servers refuse the second copy of a request that the network repeated.
        if result == Err(Error::Exists) && self.is_new_directory(volume, path).await {
            result = Ok(());
        }
        change.settle(result, |known| known.directory_made(volume, path))
    }

    /// Removes a file; [`Error::IsADirectory`] for a directory, said before anything is sent,
    /// because some servers would remove it.
    pub async fn remove(&self, volume: VolumeId, path: &RemotePath) -> Result<(), Error> {
        match self.entry(volume, path).await?.kind {
            Kind::Directory => return Err(Error::IsADirectory),
            Kind::File => {}
        }
        let change = Change::begin(self, volume, &[path], Aftermath::Untouched).gated();
        let result = self.ask(volume, |far| Op::Remove { path: far(path) }).await;
        change.settle(result, |known| known.removed(volume, path))
    }

    /// Removes an empty directory; [`Error::NotADirectory`] and [`Error::NotEmpty`] are said before
    /// anything is sent, because servers differ.
    pub async fn remove_directory(&self, volume: VolumeId, path: &RemotePath) -> Result<(), Error> {
        if path.is_root() {
            return Err(Error::Busy);
        }
        match self.entry(volume, path).await?.kind {
            Kind::File => return Err(Error::NotADirectory),
            Kind::Directory => {}
        }
        let listing = self.listing(volume, path);
        if !listing.is_empty().await? {
            if listing.at(0).await?.is_none() {
                tracing::warn!(%path, "not empty: unfinished uploads are in it, which are not shown");
            }
            return Err(Error::NotEmpty);
        }
        let change = Change::begin(self, volume, &[path], Aftermath::Untouched);
        let result = self.ask(volume, |far| Op::RemoveDirectory { path: far(path) }).await;
        change.settle(result, |known| known.removed(volume, path))
    }

    /// Renames a file, replacing a file at `to`, or a directory, replacing an empty one. What does
    /// not fit is refused before anything is sent, because servers differ.
    pub async fn rename(
        &self,
        volume: VolumeId,
        from: &RemotePath,
        to: &RemotePath,
    ) -> Result<(), Error> {
        let Some(name) = to.name().filter(|_| !from.is_root()) else { return Err(Error::Busy) };
        let source = self.entry(volume, from).await?;
        if from == to {
            return Ok(());
        }
        if source.kind == Kind::Directory && to.is_within(from) {
            return Err(Error::Invalid);
        }
        let target = match self.entry(volume, to).await {
            Ok(entry) => Some(entry.kind),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error),
        };
        match (source.kind, target) {
            (Kind::File, Some(Kind::Directory)) => return Err(Error::IsADirectory),
            (Kind::Directory, Some(Kind::File)) => return Err(Error::NotADirectory),
            // NuttX would move the source into the target.
            (Kind::Directory, Some(Kind::Directory)) => self.remove_directory(volume, to).await?,
            (Kind::File | Kind::Directory, None) | (Kind::File, Some(Kind::File)) => {}
        }
        let replaces = (source.kind, target) == (Kind::File, Some(Kind::File));
        let floor = if replaces { Aftermath::Outdated } else { Aftermath::Untouched };
        let change = Change::begin(self, volume, &[from, to], floor).gated();
        let result = self.rename_there(volume, from, to, replaces).await;
        let entry = Entry { name, ..source };
        change.settle(result, |known| known.renamed(volume, from, to, entry))
    }

    /// Gives a file or directory another spelling, where case does not tell names apart.
    pub async fn respell(
        &self,
        volume: VolumeId,
        from: &RemotePath,
        to: &RemotePath,
    ) -> Result<(), Error> {
        let Some(name) = to.name() else { return Err(Error::Busy) };
        let source = self.entry(volume, from).await?;
        let (far, _) = self.meet(volume)?;
        let change = Change::begin(self, volume, &[from, to], Aftermath::Outdated).gated();
        let (there, then) = (from.below(&far.root), to.below(&far.root));
        let result = respell::respell(&far.remote, &there, &then, self.options.patience).await;
        change.settle(result, |known| known.renamed(volume, from, to, Entry { name, ..source }))
    }

    /// Sets a file's length on the far side; [`Error::Unsupported`] where the server cannot.
    pub async fn truncate(
        &self,
        volume: VolumeId,
        path: &RemotePath,
        length: u64,
    ) -> Result<(), Error> {
        let change = Change::begin(self, volume, &[path], Aftermath::Untouched).gated();
        let result = self.ask(volume, |far| Op::Truncate { path: far(path), length }).await;
        change.settle(result, |known| known.truncated(volume, path, length))
    }

    /// Sets a file's modification time on the far side, seconds since 1970 UTC; its content stays the
    /// one that is known. [`Error::Unsupported`] where the server cannot.
    pub async fn set_time(
        &self,
        volume: VolumeId,
        path: &RemotePath,
        mtime: i64,
    ) -> Result<(), Error> {
        let change = Change::begin(self, volume, &[path], Aftermath::Untouched);
        let result = self.ask(volume, |far| Op::SetTime { path: far(path), mtime }).await;
        if result.is_err() {
            // Whatever became of the time, the content is the same.
            change.forget();
            return result;
        }
        change.settle(result, |known| known.time_set(volume, path, mtime))
    }

    /// Whether a file stands at `path` now, asked of the far side and never answered from memory.
    pub async fn is_there(&self, volume: VolumeId, path: &RemotePath) -> Result<bool, Error> {
        match self.ask(volume, |far| Op::Size { path: far(path) }).await {
            Ok(()) => Ok(true),
            Err(Error::NotFound) => Ok(false),
            // An FTP server without sizes can list it.
            Err(Error::Unsupported) => match self.entry(volume, path).await {
                Ok(_) => Ok(true),
                Err(Error::NotFound) => Ok(false),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether an empty directory stands at `path`, asked anew.
    async fn is_new_directory(&self, volume: VolumeId, path: &RemotePath) -> bool {
        let Some(parent) = path.parent() else { return false };
        self.with(|known| {
            known.listings.expire(&(volume, parent));
            known.listings.forget_within(volume, path);
        });
        let found = self.entry(volume, path).await.map(|entry| entry.kind);
        found == Ok(Kind::Directory) && self.listing(volume, path).is_empty().await == Ok(true)
    }

    async fn rename_there(
        &self,
        volume: VolumeId,
        from: &RemotePath,
        to: &RemotePath,
        replaces: bool,
    ) -> Result<(), Error> {
        if !replaces {
            return self.ask(volume, |far| Op::Rename { from: far(from), to: far(to) }).await;
        }
        let (far, _) = self.meet(volume)?;
        let (from, to) = (from.below(&far.root), to.below(&far.root));
        save::replace(&far.remote, &from, &to, self.options.patience).await
    }

    async fn ask(
        &self,
        volume: VolumeId,
        op: impl FnOnce(&dyn Fn(&RemotePath) -> RemotePath) -> Op,
    ) -> Result<(), Error> {
        let (far, _) = self.meet(volume)?;
        let op = op(&|path| path.below(&far.root));
        ask(&far.remote, op, Class::Metadata, self.options.patience).await.map(drop)
    }
}

/// How much to believe after a change failed; the greater, the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aftermath {
    /// Nothing has changed there.
    Untouched,
    /// The directory is not as we thought.
    Outdated,
    /// The change may have been made or not.
    Doubtful,
}

/// A change under way. Dropped before it is settled, it leaves doubt.
pub(super) struct Change<'a> {
    cache: &'a Cache,
    pub(super) id: OpId,
    volume: VolumeId,
    paths: Vec<RemotePath>,
    /// The least aftermath of a failure.
    floor: Aftermath,
    /// How many of the first bytes stay as they are, whatever becomes of it.
    untouched: Option<u64>,
    settled: bool,
}

impl<'a> Change<'a> {
    pub(super) fn begin(
        cache: &'a Cache,
        volume: VolumeId,
        paths: &[&RemotePath],
        floor: Aftermath,
    ) -> Change<'a> {
        let paths = paths.iter().map(|path| (*path).clone()).collect();
        Change { cache, id: OpId::fresh(), volume, paths, floor, untouched: None, settled: false }
    }

    /// From now on what is read of these files may be the old content or the new: no read that had
    /// to fetch is answered before the change is settled.
    pub(super) fn gated(self) -> Change<'a> {
        self.cache.with(|known| {
            for path in &self.paths {
                known.begin_change(self.id, self.volume, path);
            }
        });
        self
    }

    /// It only adds bytes, behind so many.
    pub(super) fn appending(mut self, start: u64) -> Change<'a> {
        self.untouched = Some(start);
        self
    }

    pub(super) fn settle<T>(
        mut self,
        result: Result<T, Error>,
        succeeded: impl FnOnce(&mut Known),
    ) -> Result<T, Error> {
        self.settled = true;
        self.end(|known, change| match &result {
            Ok(_) => succeeded(known),
            Err(error) => known.change_failed(change, aftermath(error).max(change.floor)),
        });
        result
    }

    /// Nothing came of it.
    pub(super) fn forget(mut self) {
        self.settled = true;
        self.end(|_, _| {});
    }

    fn end(&self, conclude: impl FnOnce(&mut Known, &Change)) {
        self.cache.with(|known| {
            known.end_change(self.id);
            conclude(known, self);
        });
        self.cache.shared.change_ended.notify(usize::MAX);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.end(|known, change| known.change_failed(change, Aftermath::Doubtful));
        }
    }
}

impl Known {
    fn directory_made(&mut self, volume: VolumeId, path: &RemotePath) {
        self.orphan_within(volume, path);
        if let Some(name) = path.name() {
            self.edit_parent(volume, path, |entries| entries.put(directory_entry(name.clone())));
        }
        let empty = Listing::complete(Entries::default());
        self.listings.keep((volume, path.clone()), empty, self.now);
    }

    fn removed(&mut self, volume: VolumeId, path: &RemotePath) {
        self.orphan_within(volume, path);
        if let Some(name) = path.name() {
            self.edit_parent(volume, path, |entries| entries.remove(&name));
        }
    }

    fn renamed(&mut self, volume: VolumeId, from: &RemotePath, to: &RemotePath, entry: Entry) {
        self.orphan_within(volume, to);
        self.files.rename(volume, from, to);
        self.listings.rename(volume, from, to);
        if let Some(name) = from.name() {
            self.edit_parent(volume, from, |entries| entries.remove(&name));
        }
        self.edit_parent(volume, to, |entries| entries.put(entry.clone()));
        if let Some(id) = self.files.at(volume, to) {
            self.show(id);
        }
    }

    pub(super) fn saved(&mut self, volume: VolumeId, path: &RemotePath, size: u64, mtime: i64) {
        let now = self.now;
        let seen = Seen { size, mtime: Some(mtime) };
        let id = self.files.at_or_insert(volume, path, seen, now);
        if let Some(record) = self.files.get(id) {
            record.saved(size, mtime, now);
        }
        self.apply(id, Evidence::Changed);
        self.trim_files();
        if let Some(name) = path.name() {
            let entry = Entry { name, kind: Kind::File, size, mtime: Some(mtime) };
            self.edit_parent(volume, path, |entries| entries.put(entry.clone()));
        }
    }

    fn truncated(&mut self, volume: VolumeId, path: &RemotePath, size: u64) {
        let now = self.now;
        if let Some(id) = self.files.at(volume, path) {
            if let Some(record) = self.files.get(id) {
                record.truncated(size, now);
            }
            self.apply(id, Evidence::Changed);
        }
        let Some(name) = path.name() else { return };
        self.edit_parent(volume, path, |entries| {
            if let Some(entry) = entries.find(&name).cloned() {
                entries.put(Entry { size, ..entry });
            }
        });
    }

    fn time_set(&mut self, volume: VolumeId, path: &RemotePath, mtime: i64) {
        if let Some(id) = self.files.at(volume, path)
            && let Some(record) = self.files.get(id)
        {
            record.time_set(mtime);
        }
        let Some(name) = path.name() else { return };
        self.edit_parent(volume, path, |entries| {
            if let Some(entry) = entries.find(&name).cloned() {
                entries.put(Entry { mtime: Some(mtime), ..entry });
            }
        });
    }

    fn change_failed(&mut self, change: &Change, aftermath: Aftermath) {
        for path in &change.paths {
            if let (Some(parent), true) = (path.parent(), aftermath > Aftermath::Untouched) {
                self.listings.expire(&(change.volume, parent));
            }
            if aftermath == Aftermath::Doubtful {
                self.listings.forget_within(change.volume, path);
                match change.untouched {
                    Some(start) => self.distrust_tail(change.volume, path, start),
                    None => self.distrust_within(change.volume, path),
                }
            }
        }
    }

    /// Nobody knows what a file has behind its first `start` bytes. They are as they were: who has it
    /// open goes on with them, as where it grew.
    fn distrust_tail(&mut self, volume: VolumeId, path: &RemotePath, start: u64) {
        let Some(id) = self.files.at(volume, path) else { return };
        let Some(record) = self.files.get(id) else { return };
        if record.opens == 0 || record.version.size < start {
            return self.distrust_within(volume, path);
        }
        let (generation, index) = (record.version.generation, start / BLOCK_BYTES);
        let key = BlockKey { file: id, generation, index };
        let older = record.ending.take_if(|ending| ending.from > start);
        let older = older.filter(|ending| ending.from / BLOCK_BYTES == index);
        let last = older.map(|ending| ending.last).or_else(|| self.blocks.get(&key));
        let within = (start % BLOCK_BYTES) as usize;
        if let Some(begin) = last.as_ref().and_then(|last| last.get(..within))
            && within > 0
        {
            record.note_ending(start, begin.into());
        }
        record.version.size = start;
        (record.confirmed, record.must_reopen) = (false, true);
        self.blocks.forget_from(&key);
        // Who waits for them asks again.
        self.abandon_flights(id, Error::Cancelled);
        self.news.push(News::Content { volume, path: path.clone(), from: start });
        self.show(id);
    }

    fn edit_parent(&mut self, volume: VolumeId, path: &RemotePath, change: impl Fn(&mut Entries)) {
        if let Some(parent) = path.parent() {
            self.listings.edit(&(volume, parent), change);
        }
    }
}

fn aftermath(error: &Error) -> Aftermath {
    match error {
        Error::Denied
        | Error::ReadOnly
        | Error::NoSpace
        | Error::TooLarge
        | Error::PathTooLong
        | Error::Invalid
        | Error::Unsupported
        | Error::Busy
        | Error::Armed
        | Error::Login(_) => Aftermath::Untouched,
        Error::NotFound
        | Error::Exists
        | Error::NotADirectory
        | Error::IsADirectory
        | Error::NotEmpty
        | Error::Changed => Aftermath::Outdated,
        Error::LinkDown | Error::TimedOut | Error::Cancelled | Error::Failed(_) => {
            Aftermath::Doubtful
        }
    }
}
