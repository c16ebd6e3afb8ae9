//! What files look like: lookup counts, attributes and their changes, the size of the whole.

use std::sync::Arc;
use std::time::Duration;

use super::handles::Handle;
use super::inodes::{FarTime, Ino, OwnTime, Place, Standing};
use super::staged::Staged;
use super::{Found, Fs, FsError, FsOptions, State};
use crate::cache::{Fresh, OpenFile};
use crate::remote::{Entry, Error, Kind, NAME_BYTES_MAX, Name};

/// Size of a block in [`Statfs`], and what programs should read at once.
const BLOCK_BYTES: u32 = 4096;
/// 1 TiB: large enough that no file manager refuses to copy. The protocol cannot tell the truth.
const BLOCKS: u64 = 1 << 28;
const FILES: u64 = 1 << 20;

/// A file's or directory's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// Bytes; 0 for a directory.
    pub size: u64,
    /// Last change, seconds since 1970 UTC.
    pub mtime: i64,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Links: 1 for a file, 2 for a directory, 0 for a file that was removed while it was open.
    pub nlink: u32,
    /// For so long nobody needs to ask again.
    pub valid: Duration,
}

/// Attributes to change. Modes and owners are not here: changing them succeeds and is ignored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// The new length in bytes.
    pub size: Option<u64>,
    /// The new modification time, seconds since 1970 UTC; kept while mounted, and sent where the
    /// server takes it.
    pub mtime: Option<i64>,
}

/// The size of the filesystem. Constants: the protocol has no such question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statfs {
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Files in all.
    pub files: u64,
    /// Files that can still be made.
    pub files_free: u64,
    /// Longest name in bytes.
    pub name_bytes_max: u32,
}

impl Fs {
    /// What `name` in a directory is. Counts one lookup on success. [`FsError::Absent`] when there is
    /// no such name.
    pub async fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        let name = Name::parse(name)?;
        if self.is_dropping(&name) {
            return Err(FsError::Absent { valid: self.cache.directory_time() });
        }
        loop {
            let asked = self.synced().child(parent, &name)?;
            let (mut place, mut seen) = (asked.clone(), self.look(&asked).await?);
            // Where nobody can be asked, the listing is believed.
            if seen.value.is_none()
                && let Ok(Some(other)) = self.other_spelling(&asked).await
            {
                seen = self.look(&other).await?;
                place = other;
            }
            let Fresh { value: found, valid } = seen;
            let mut state = self.synced();
            // The directory may have been renamed while its listing came.
            if state.child(parent, &name)? != asked {
                continue;
            }
            let known = state.inodes.find(&place);
            let Some(found) = found else {
                // It is not so when we changed the directory meanwhile.
                if let (Some(ino), false) = (known, valid.is_zero())
                    && state.staged_within(&place).is_empty()
                {
                    state.give_up_name(&place, ino);
                }
                state.note_absent(parent, name);
                return Err(FsError::Absent { valid });
            };
            if let Some(ino) = known {
                state.part_from_old_readers(ino);
            }
            let attr = self.attr_of_found(&mut state, &place, &found);
            state.inodes.use_once(attr.ino);
            return Ok(Attr { valid, ..attr });
        }
    }

    /// The kernel dropped so many lookups of an inode.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.state.lock().inodes.forget(ino, count);
    }

    /// The kernel was handed this entry of a directory, which counts as one lookup.
    pub fn looked_up(&self, ino: Ino) {
        self.state.lock().inodes.use_once(ino);
    }

    /// An inode's attributes. A staged copy answers at once. What is open for reading is asked for its
    /// size itself, when that is old, and its directory is not listed.
    pub async fn getattr(&self, ino: Ino, _handle: Option<Handle>) -> Result<Attr, FsError> {
        loop {
            let (place, file) = {
                let mut state = self.synced();
                if let Some(staged) = state.staged.get(&ino).cloned() {
                    return Ok(self.attr_of_staged(&state, &staged));
                }
                state.part_from_old_readers(ino);
                match state.inodes.standing(ino).cloned() {
                    Some(Standing::At(place)) => (place, state.version_read(ino)),
                    Some(Standing::Orphaned { last, .. }) => {
                        return self.attr_of_orphan(&mut state, ino, last);
                    }
                    None => return Err(FsError::Stale),
                }
            };
            let fresh = match file {
                Some(file) => self.open_entry(&place, &file).await,
                None => self.cache.look(place.volume, &place.path).await,
            };
            let Fresh { value: entry, valid } = match fresh {
                // Replaced, by us or by another.
                Err(Error::Changed) => continue,
                fresh => fresh?,
            };
            let mut state = self.synced();
            if state.staged.contains_key(&ino) || state.part_from_old_readers(ino) {
                continue;
            }
            let entry = entry.ok_or(FsError::NotFound)?;
            if state.inodes.kind(ino) != Some(entry.kind) {
                return Err(FsError::Stale);
            }
            return Ok(Attr { valid, ..self.attr_of_entry(&mut state, ino, &entry) });
        }
    }

    /// Changes attributes. A new length without a handle is on the vehicle when this returns.
    pub async fn setattr(
        &self,
        ino: Ino,
        handle: Option<Handle>,
        change: SetAttr,
    ) -> Result<Attr, FsError> {
        match self.place(ino) {
            Ok(place) => self.check_writable(&place)?,
            Err(error) if !self.state.lock().staged.contains_key(&ino) => return Err(error),
            Err(_) => {}
        }
        if let Some(size) = change.size {
            self.resize(ino, handle, size).await?;
        }
        if let Some(mtime) = change.mtime {
            self.set_mtime(ino, mtime).await?;
        }
        self.getattr(ino, handle).await
    }

    /// The size of the filesystem. Asks nothing.
    pub fn statfs(&self) -> Statfs {
        let root = self.root();
        // A name in the root is a path with a slash before it.
        let name_bytes_max = self.cache.path_bytes_max(root.volume).saturating_sub(1);
        Statfs {
            block_size: BLOCK_BYTES,
            blocks: BLOCKS,
            blocks_free: BLOCKS,
            files: FILES,
            files_free: FILES,
            name_bytes_max: name_bytes_max.min(NAME_BYTES_MAX) as u32,
        }
    }

    pub(super) fn attr_of_found(&self, state: &mut State, place: &Place, found: &Found) -> Attr {
        match found {
            Found::Staged(staged) => self.attr_of_staged(state, staged),
            Found::Entry(entry) => {
                let ino = state.inodes.assign(place, entry.kind);
                self.attr_of_entry(state, ino, entry)
            }
        }
    }

    pub(super) fn attr_of_entry(&self, state: &mut State, ino: Ino, entry: &Entry) -> Attr {
        let mtime = state.inodes.shown_time(ino, entry).unwrap_or(self.options.mount_time);
        let nlink = u32::from(state.inodes.place(ino).is_some());
        match entry.kind {
            Kind::File => self.attr(ino, Kind::File, entry.size, mtime, nlink),
            Kind::Directory => self.attr(ino, Kind::Directory, 0, mtime, 2 * nlink),
        }
    }

    pub(super) fn attr_of_staged(&self, state: &State, staged: &Staged) -> Attr {
        let nlink = u32::from(state.inodes.place(staged.ino).is_some());
        self.attr(staged.ino, Kind::File, staged.length(), staged.mtime(), nlink)
    }

    /// What is known of a file whose name is gone; only who has it open may ask.
    fn attr_of_orphan(
        &self,
        state: &mut State,
        ino: Ino,
        last: Option<Entry>,
    ) -> Result<Attr, FsError> {
        match last.filter(|_| state.handles.has_file(ino)) {
            Some(entry) => Ok(self.attr_of_entry(state, ino, &entry)),
            None => Err(FsError::Stale),
        }
    }

    /// The line that a listing would have for a file that is open for reading.
    async fn open_entry(
        &self,
        place: &Place,
        file: &OpenFile,
    ) -> Result<Fresh<Option<Entry>>, Error> {
        let Fresh { value: version, valid } = self.cache.refresh(file).await?;
        let entry =
            |name| Entry { name, kind: Kind::File, size: version.size, mtime: version.mtime };
        Ok(Fresh { value: place.path.name().map(entry), valid })
    }

    /// Attributes of a directory of which nothing but its being there is known.
    pub(super) fn attr_of_directory(&self, state: &State, ino: Ino) -> Attr {
        let own = state.inodes.own_time(ino).map(|own| own.mtime);
        self.attr(ino, Kind::Directory, 0, own.unwrap_or(self.options.mount_time), 2)
    }

    fn attr(&self, ino: Ino, kind: Kind, size: u64, mtime: i64, nlink: u32) -> Attr {
        let mode = match kind {
            Kind::File => self.options.file_mode,
            Kind::Directory => self.options.directory_mode,
        };
        let FsOptions { uid, gid, .. } = self.options;
        let valid = self.cache.directory_time();
        Attr { ino, kind, size, mtime, mode, uid, gid, nlink, valid }
    }

    async fn set_mtime(&self, ino: Ino, mtime: i64) -> Result<(), FsError> {
        let staged = self.state.lock().staged.get(&ino).cloned();
        if let Some(staged) = &staged {
            staged.set_mtime(mtime);
            let is_known = staged.is_on_vehicle() && !staged.is_in_doubt();
            if !is_known || self.place(ino).is_err() {
                return Ok(());
            }
        }
        let place = self.place(ino)?;
        let entry = self.cache.entry(place.volume, &place.path).await?;
        // What is to be sent takes its time along.
        let is_clean = staged.is_none_or(|staged| !staged.is_dirty());
        if entry.kind == Kind::File && is_clean && self.send_time(ino, &place, mtime).await? {
            let (size, far) = (entry.size, FarTime::Told(mtime));
            self.state.lock().inodes.set_own_time(ino, OwnTime { mtime, size, far });
            return Ok(());
        }
        let mut state = self.state.lock();
        // A time that still waits for its first listing goes on waiting.
        state.inodes.shown_time(ino, &entry);
        let far = match state.inodes.own_time(ino) {
            Some(own) if entry.kind == Kind::File => own.far,
            Some(_) | None => FarTime::Listed(entry.mtime),
        };
        state.inodes.set_own_time(ino, OwnTime { mtime, size: entry.size, far });
        Ok(())
    }

    /// Sets the time of the vehicle's file. Answers whether it has it: a server that refuses is
    /// spared the question, and what it says is no failure, for the time is shown while mounted.
    pub(super) async fn send_time(
        &self,
        ino: Ino,
        place: &Place,
        mtime: i64,
    ) -> Result<bool, FsError> {
        if !self.cache.status(place.volume).sets_times {
            return Ok(false);
        }
        match self.cache.set_time(place.volume, &place.path, mtime).await {
            Ok(()) => Ok(true),
            Err(error) if is_of_the_link(&error) => Err(error.into()),
            Err(error) => {
                tracing::debug!(?ino, path = %place.path, %error, "a time is shown here only");
                Ok(false)
            }
        }
    }
}

/// Whether an error says nothing of what was asked.
fn is_of_the_link(error: &Error) -> bool {
    matches!(error, Error::LinkDown | Error::TimedOut | Error::Cancelled | Error::Busy)
}

impl State {
    /// The version of a file that a handle reads now, when there is one.
    fn version_read(&self, ino: Ino) -> Option<Arc<OpenFile>> {
        let contents = self.inodes.contents(ino);
        let reads = self.handles.versions_read(ino);
        reads.into_iter().find(|read| read.contents == contents).map(|read| read.file)
    }
}
