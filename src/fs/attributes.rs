//! What files look like: lookup counts, attributes and their changes, the size of the whole.

use super::handles::Handle;
use super::inodes::{FarTime, Ino, OwnTime, Place, Standing};
use super::staged::Staged;
use super::{Found, Fs, FsError, State};
use crate::remote::{Entry, Kind, Name};

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
}

/// Attributes to change. Modes and owners are not here: changing them succeeds and is ignored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// The new length in bytes.
    pub size: Option<u64>,
    /// The new modification time, seconds since 1970 UTC; kept while mounted.
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
    /// What `name` in a directory is. Counts one lookup on success.
    pub async fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        let name = Name::parse(name)?;
        if self.is_dropping(&name) {
            return Err(FsError::NotFound);
        }
        loop {
            let asked = self.state.lock().child(parent, &name)?;
            let (mut place, mut found) = (asked.clone(), self.find(&asked).await?);
            // Where nobody can be asked, the listing is believed.
            if found.is_none()
                && let Ok(Some(other)) = self.other_spelling(&asked).await
            {
                found = self.find(&other).await?;
                place = other;
            }
            let known = self.state.lock().inodes.find(&place);
            if let Some(ino) = known {
                self.part_from_old_readers(ino);
            }
            let mut state = self.state.lock();
            // The directory may have been renamed while its listing came.
            if state.child(parent, &name)? != asked {
                continue;
            }
            let attr = self.attr_of_found(&mut state, &place, &found.ok_or(FsError::NotFound)?);
            state.inodes.use_once(attr.ino);
            return Ok(attr);
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

    /// An inode's attributes. A staged copy answers at once.
    pub async fn getattr(&self, ino: Ino, _handle: Option<Handle>) -> Result<Attr, FsError> {
        let place = {
            let mut state = self.state.lock();
            if let Some(staged) = state.staged.get(&ino).cloned() {
                return Ok(self.attr_of_staged(&state, &staged));
            }
            match state.inodes.standing(ino).cloned() {
                Some(Standing::At(place)) => place,
                Some(Standing::Orphaned { last: Some(entry), .. })
                    if state.handles.has_file(ino) =>
                {
                    return Ok(self.attr_of_entry(&mut state, ino, &entry));
                }
                Some(Standing::Orphaned { .. }) | None => return Err(FsError::Stale),
            }
        };
        let entry = self.cache.entry(place.volume, &place.path).await?;
        let mut state = self.state.lock();
        if state.inodes.kind(ino) != Some(entry.kind) {
            return Err(FsError::Stale);
        }
        Ok(self.attr_of_entry(&mut state, ino, &entry))
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
        Statfs {
            block_size: BLOCK_BYTES,
            blocks: BLOCKS,
            blocks_free: BLOCKS,
            files: FILES,
            files_free: FILES,
            name_bytes_max: crate::remote::NAME_BYTES_MAX as u32,
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
        Attr { ino, kind, size, mtime, mode, uid: self.options.uid, gid: self.options.gid, nlink }
    }

    async fn set_mtime(&self, ino: Ino, mtime: i64) -> Result<(), FsError> {
        let staged = self.state.lock().staged.get(&ino).cloned();
        if let Some(staged) = &staged {
            staged.set_mtime(mtime);
            if !staged.is_on_vehicle() || self.place(ino).is_err() {
                return Ok(());
            }
        }
        let place = self.place(ino)?;
        let entry = self.cache.entry(place.volume, &place.path).await?;
        let mut state = self.state.lock();
        // A time that still waits for its first listing goes on waiting.
        state.inodes.shown_time(ino, &entry);
        let far = match state.inodes.own_time(ino) {
            Some(own) => own.far,
            None => FarTime::Listed(entry.mtime),
        };
        state.inodes.set_own_time(ino, OwnTime { mtime, size: entry.size, far });
        Ok(())
    }
}
