//! Open directories: the vehicle's entries as they arrive, then those that are only staged.

use std::collections::HashSet;
use std::sync::Arc;

use futures_lite::future;

use super::attributes::Attr;
use super::handles::{DirectoryHandle, Handle, Listed};
use super::inodes::{Ino, Place};
use super::{Fs, FsError, State};
use crate::cache::{Fresh, Listing};
use crate::remote::{Entry, Error, Kind, Name};

/// Most entries that one [`Fs::readdir`] answers.
const ENTRIES_MAX: usize = 128;
/// Cookies of the vehicle's entries begin here, after `.` and `..`.
const FIRST_COOKIE: u64 = 2;
/// Cookies of staged entries begin here: more than a listing ever has.
const STAGED_COOKIE: u64 = 1 << 40;

/// One line of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its number.
    pub ino: Ino,
    /// Its name.
    pub name: Vec<u8>,
    /// Where to go on after it.
    pub cookie: u64,
    /// Its attributes.
    pub attr: Attr,
}

/// A directory that is being read.
struct OpenDirectory<'a> {
    handle: Handle,
    place: &'a Place,
    listing: &'a Arc<Listing>,
}

impl Fs {
    /// Opens a directory; its listing is fetched if it is not known.
    pub async fn opendir(&self, ino: Ino) -> Result<Handle, FsError> {
        let place = self.place(ino)?;
        if self.state.lock().inodes.kind(ino) != Some(Kind::Directory) {
            return Err(FsError::NotADirectory);
        }
        let listing = self.cache.listing(place.volume, &place.path);
        let mut state = self.state.lock();
        let staged = state.staged_names(&place);
        state.inodes.use_once(ino);
        let changed = HashSet::new();
        let listed = Listed::Here;
        let open = DirectoryHandle { ino, listing, staged, changed, listed };
        Ok(state.handles.add_directory(open))
    }

    /// Entries from `cookie` on (0 at the beginning), `.` and `..` first: what is there now, at
    /// most 128, and at least one unless there are no more.
    pub async fn readdir(
        &self,
        handle: Handle,
        cookie: u64,
    ) -> Result<Vec<DirectoryEntry>, FsError> {
        let (ino, mut listing, staged, listed) = {
            let state = self.synced();
            let open = state.handles.directory(handle).ok_or(FsError::BadHandle)?;
            (open.ino, open.listing.clone(), open.staged.clone(), open.listed)
        };
        // A directory that was removed while it was open has no entries, as on a local disk.
        let Ok(place) = self.place(ino) else { return Ok(Vec::new()) };
        match listed {
            Listed::Here => {}
            Listed::InDoubt => listing = self.list_anew(handle, &place, &listing, cookie).await?,
            Listed::Gone => return Err(FsError::Stale),
        }
        let directory = OpenDirectory { handle, place: &place, listing: &listing };
        let mut entries = Vec::new();
        let mut next = cookie;
        if next < FIRST_COOKIE {
            entries = self.dots(ino, &place, next);
            next = FIRST_COOKIE;
        }
        while next < STAGED_COOKIE && entries.len() < ENTRIES_MAX {
            let index = usize::try_from(next - FIRST_COOKIE).unwrap_or(usize::MAX);
            let Some(entry) = arrived(&listing, index, !entries.is_empty()).await? else {
                return Ok(entries);
            };
            next = if entry.is_some() { next + 1 } else { STAGED_COOKIE };
            if let Some(entry) = entry {
                entries.extend(self.listed(&directory, entry, next).await?);
            }
        }
        while next >= STAGED_COOKIE && entries.len() < ENTRIES_MAX {
            let index = usize::try_from(next - STAGED_COOKIE).unwrap_or(usize::MAX);
            let Some(name) = staged.get(index) else { break };
            next += 1;
            if listing.find(name).await?.is_none() {
                entries.extend(self.present(&place, name, next).await?);
            }
        }
        Ok(entries)
    }

    /// Closes a directory.
    pub fn releasedir(&self, handle: Handle) {
        let mut state = self.state.lock();
        if let Some(open) = state.handles.remove_directory(handle) {
            state.inodes.forget(open.ino, 1);
        }
    }

    /// The listing of a directory that was opened when another far side may have answered. Who has
    /// read a part of it goes on if the same names come first.
    async fn list_anew(
        &self,
        handle: Handle,
        place: &Place,
        old: &Arc<Listing>,
        cookie: u64,
    ) -> Result<Arc<Listing>, FsError> {
        // A server may end when it is asked to list a file.
        match self.cache.entry(place.volume, &place.path).await {
            Ok(entry) if entry.kind == Kind::Directory => {}
            Ok(_) | Err(Error::NotFound | Error::NotADirectory) => return Err(FsError::Stale),
            Err(error) => return Err(error.into()),
        }
        let new = self.cache.listing(place.volume, &place.path);
        let name_of = |entry: Option<Entry>| entry.map(|entry| entry.name);
        // After the last of them only staged copies are shown.
        let read = if cookie < STAGED_COOKIE { cookie.saturating_sub(FIRST_COOKIE) } else { 0 };
        for index in 0..usize::try_from(read).unwrap_or(usize::MAX) {
            let shown = future::poll_once(old.at(index)).await.and_then(Result::ok).flatten();
            if shown.is_none() || name_of(new.at(index).await?) != name_of(shown) {
                return Err(FsError::Stale);
            }
        }
        if let Some(open) = self.state.lock().handles.directory_mut(handle)
            && open.listed == Listed::InDoubt
            && Arc::ptr_eq(&open.listing, old)
        {
            open.listing = new.clone();
            open.listed = Listed::Here;
        }
        Ok(new)
    }

    fn dots(&self, ino: Ino, place: &Place, from: u64) -> Vec<DirectoryEntry> {
        let mut state = self.state.lock();
        let parent = match place.path.parent() {
            Some(parent) => state.inodes.assign(&place.at(parent), Kind::Directory),
            None => ino,
        };
        [(ino, &b"."[..], 1), (parent, b"..", 2)]
            .into_iter()
            .filter(|(_, _, cookie)| *cookie > from)
            .map(|(ino, name, cookie)| {
                let attr = self.attr_of_directory(&state, ino);
                DirectoryEntry { ino, name: name.to_vec(), cookie, attr }
            })
            .collect()
    }

    /// A line of the listing as it is now: a name that this mount has changed since is asked for
    /// again, which the cache answers.
    async fn listed(
        &self,
        open: &OpenDirectory<'_>,
        entry: Entry,
        cookie: u64,
    ) -> Result<Option<DirectoryEntry>, FsError> {
        // What a lookup would deny is not shown either.
        if self.is_dropping(&entry.name) {
            return Ok(None);
        }
        let directory = open.place;
        let place = directory.at(directory.path.join(&entry.name));
        let Fresh { value: entry, valid } =
            self.cache.refreshed(place.volume, &directory.path, open.listing, entry);
        {
            let mut state = self.state.lock();
            let handle = state.handles.directory(open.handle).ok_or(FsError::BadHandle)?;
            let is_old = handle.changed.contains(&entry.name) || state.staged_at(&place).is_some();
            if !is_old {
                if let Some(known) = state.inodes.find(&place) {
                    state.part_from_old_readers(known);
                }
                let ino = state.inodes.assign(&place, entry.kind);
                let attr = Attr { valid, ..self.attr_of_entry(&mut state, ino, &entry) };
                return Ok(Some(line(&entry.name, cookie, attr)));
            }
        }
        self.present(directory, &entry.name, cookie).await
    }

    async fn present(
        &self,
        directory: &Place,
        name: &Name,
        cookie: u64,
    ) -> Result<Option<DirectoryEntry>, FsError> {
        let place = directory.at(directory.path.join(name));
        let Fresh { value, valid } = self.look(&place).await?;
        let Some(found) = value else { return Ok(None) };
        let attr = self.attr_of_found(&mut self.state.lock(), &place, &found);
        Ok(Some(line(name, cookie, Attr { valid, ..attr })))
    }
}

impl State {
    /// Names in a directory that staged copies stand for, whether the vehicle has them or not.
    pub(super) fn staged_names(&self, directory: &Place) -> Arc<[Name]> {
        let name_here = |ino: &Ino| {
            let place = self.inodes.place(*ino)?;
            let is_here = place.volume == directory.volume
                && place.path.parent().as_ref() == Some(&directory.path);
            place.path.name().filter(|_| is_here)
        };
        self.staged.keys().filter_map(name_here).collect()
    }
}

/// The entry at an index of the listing, or its end (`Some(None)`). `None`: not there yet, and the
/// caller has something to answer meanwhile.
async fn arrived(
    listing: &Listing,
    index: usize,
    has_some: bool,
) -> Result<Option<Option<Entry>>, FsError> {
    if !has_some {
        return Ok(Some(listing.at(index).await?));
    }
    match future::poll_once(listing.at(index)).await {
        Some(Ok(entry)) => Ok(Some(entry)),
        // What has come is answered first; the next call meets the error again.
        Some(Err(_)) | None => Ok(None),
    }
}

fn line(name: &Name, cookie: u64, attr: Attr) -> DirectoryEntry {
    DirectoryEntry { ino: attr.ino, name: name.as_bytes().to_vec(), cookie, attr }
}
