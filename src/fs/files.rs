//! Open files: reading from the cache or the staged copy, writing to the staged copy.

use std::sync::Arc;

use super::attributes::Attr;
use super::handles::{Access, FileHandle, Handle, VersionRead};
use super::inodes::{Ino, Place};
use super::saving::Unsent;
use super::staged::{Base, Staged};
use super::{Found, Fs, FsError, is_virtual};
use crate::remote::{Entry, Error, Kind, Name};

/// An opened file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// To read, write and release it.
    pub handle: Handle,
    /// The kernel must not cache it, nor believe its size: it is made while it is read.
    pub direct_io: bool,
    /// What the kernel holds of it is still right.
    pub keep_cache: bool,
}

impl Fs {
    /// Opens a file with `open(2)`'s flags. Fetches nothing, whatever it is opened for; `O_TRUNC`
    /// empties the staged copy.
    pub async fn open(&self, ino: Ino, flags: i32) -> Result<Opened, FsError> {
        let access = Access::parse(flags);
        let place = self.place(ino)?;
        if access.changes() {
            self.check_writable(&place)?;
            let staged = self.stage(ino).await?;
            if access.truncate {
                let turn = staged.take_turn().await;
                if let Err(error) = staged.set_length(&turn, 0, self.now()).await {
                    drop(turn);
                    self.end_writing(&staged, Unsent::Keep).await;
                    return Err(error);
                }
            }
            return Ok(self.opened(FileHandle { ino, access, file: None }, &place));
        }
        let is_staged = self.state.lock().staged.contains_key(&ino);
        let file = if is_staged { None } else { Some(self.version_to_read(ino, &place).await?) };
        if self.part_from_old_readers(ino) {
            return Err(FsError::Stale);
        }
        Ok(self.opened(FileHandle { ino, access, file }, &place))
    }

    /// Creates a file and opens it. Sends nothing: the first flush does. Counts one lookup.
    pub async fn create(
        &self,
        parent: Ino,
        name: &[u8],
        flags: i32,
    ) -> Result<(Attr, Opened), FsError> {
        let name = Name::parse(name)?;
        let access = Access::parse(flags);
        let place = self.state.lock().child(parent, &name)?;
        self.check_creatable(&place, &name)?;
        if let Some(found) = self.find(&place).await? {
            return self.open_found(&place, found, flags).await;
        }
        let bytes = self.store.create().await?;
        let mut state = self.state.lock();
        if state.staged_at(&place).is_some() {
            return Err(FsError::Exists);
        }
        // Another station may have removed what stood here before: this is another file.
        state.inodes.orphan(&place, None);
        let ino = state.inodes.assign(&place, Kind::File);
        let staged = Arc::new(Staged::new(ino, bytes, self.now()));
        state.staged.insert(ino, staged.clone());
        state.name_changed(&place);
        let attr = self.attr_of_staged(&state, &staged);
        state.inodes.use_once(ino);
        drop(state);
        // `create` is `open` for writing in the protocol, whatever the flags say.
        let access = Access { write: true, ..access };
        Ok((attr, self.opened(FileHandle { ino, access, file: None }, &place)))
    }

    /// The bytes from `offset`: `size` of them, fewer at the end of the file.
    pub async fn read(&self, handle: Handle, offset: u64, size: usize) -> Result<Vec<u8>, FsError> {
        let (open, staged) = self.open_file(handle)?;
        if !open.access.read {
            return Err(FsError::BadHandle);
        }
        if let Some(staged) = staged {
            return self.read_staged(&staged, offset, size).await;
        }
        self.read_vehicles(handle, open, offset, size).await
    }

    /// Writes to the staged copy, and says how many bytes. Waits while the file is being sent.
    pub async fn write(&self, handle: Handle, offset: u64, data: Vec<u8>) -> Result<u32, FsError> {
        let (open, staged) = self.open_file(handle)?;
        if !open.access.write {
            return Err(FsError::BadHandle);
        }
        let staged = staged.ok_or(FsError::Stale)?;
        let length = u32::try_from(data.len()).map_err(|_| FsError::TooLarge)?;
        let offset = if open.access.append { None } else { Some(offset) };
        let turn = staged.take_turn().await;
        staged.write(&turn, offset, data, self.now()).await?;
        Ok(length)
    }

    /// A descriptor was closed: sends what the vehicle lacks, and returns the real error.
    pub async fn flush(&self, handle: Handle) -> Result<(), FsError> {
        let (open, staged) = self.open_file(handle)?;
        match staged {
            Some(staged) if open.access.changes() => self.save_if_dirty(&staged).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Sends what the vehicle lacks, and returns the real error.
    pub async fn fsync(&self, handle: Handle) -> Result<(), FsError> {
        match self.open_file(handle)?.1 {
            Some(staged) => self.save_if_dirty(&staged).await,
            None => Ok(()),
        }
    }

    /// The last descriptor of a handle is gone. What could not be sent is kept on the local disk.
    pub async fn release(&self, handle: Handle) -> Result<(), FsError> {
        let (open, staged) = {
            let mut state = self.state.lock();
            let open = state.handles.remove_file(handle).ok_or(FsError::BadHandle)?;
            (open.clone(), state.staged.get(&open.ino).cloned())
        };
        if let Some(staged) = staged.filter(|_| open.access.changes()) {
            self.end_writing(&staged, Unsent::Keep).await;
        }
        self.state.lock().inodes.forget(open.ino, 1);
        Ok(())
    }

    /// The staged copy of a file, made if there is none, with one writer more.
    pub(super) async fn stage(&self, ino: Ino) -> Result<Arc<Staged>, FsError> {
        if let Some(staged) = self.join_writers(ino) {
            return Ok(staged);
        }
        let place = self.place(ino)?;
        let entry = self.file_entry(&place).await?;
        if self.part_from_old_readers(ino) {
            return Err(FsError::Stale);
        }
        let bytes = self.store.create().await?;
        // Another may have been faster.
        if let Some(staged) = self.join_writers(ino) {
            return Ok(staged);
        }
        let file = self.cache.open(place.volume, &place.path, &entry);
        let base = Base::new(file, entry.size);
        let mut state = self.state.lock();
        let mtime = self.attr_of_entry(&mut state, ino, &entry).mtime;
        let staged = Arc::new(Staged::over(ino, bytes, base, mtime));
        state.staged.insert(ino, staged.clone());
        Ok(staged)
    }

    fn join_writers(&self, ino: Ino) -> Option<Arc<Staged>> {
        let state = self.state.lock();
        let staged = state.staged.get(&ino)?;
        staged.add_writer();
        Some(staged.clone())
    }

    /// Reads the vehicle's version; a newer one when it is we who saved that.
    async fn read_vehicles(
        &self,
        handle: Handle,
        mut open: FileHandle,
        offset: u64,
        size: usize,
    ) -> Result<Vec<u8>, FsError> {
        loop {
            let (place, contents) = self.last_state(open.ino)?;
            let version = match open.file.take() {
                Some(version) if version.contents == contents => version,
                Some(_) | None => {
                    let version = self.version_to_read(open.ino, &self.place(open.ino)?).await?;
                    if let Some(open) = self.state.lock().handles.file_mut(handle) {
                        open.file = Some(version.clone());
                    }
                    version
                }
            };
            match self.cache.read(&version.file, &place.path, offset, size).await {
                Err(Error::Changed) if self.last_state(open.ino)?.1 != version.contents => {}
                read => return Ok(read?),
            }
        }
    }

    /// Where a file stands or stood last, and how many contents of ours it has had.
    fn last_state(&self, ino: Ino) -> Result<(Place, u64), FsError> {
        let state = self.state.lock();
        let place = state.inodes.last_place(ino).cloned().ok_or(FsError::Stale)?;
        Ok((place, state.inodes.contents(ino)))
    }

    async fn open_found(
        &self,
        place: &Place,
        found: Found,
        flags: i32,
    ) -> Result<(Attr, Opened), FsError> {
        if Access::parse(flags).exclusive {
            return Err(FsError::Exists);
        }
        let attr = self.attr_of_found(&mut self.state.lock(), place, &found);
        if attr.kind == Kind::Directory {
            return Err(FsError::IsADirectory);
        }
        let opened = self.open(attr.ino, flags).await?;
        self.state.lock().inodes.use_once(attr.ino);
        Ok((self.getattr(attr.ino, None).await.unwrap_or(attr), opened))
    }

    fn opened(&self, file: FileHandle, place: &Place) -> Opened {
        let mut state = self.state.lock();
        state.inodes.use_once(file.ino);
        let handle = state.handles.add_file(file);
        // Another station may have changed the file since: its pages are not kept across an open.
        Opened { handle, direct_io: is_virtual(&place.path), keep_cache: false }
    }

    fn open_file(&self, handle: Handle) -> Result<(FileHandle, Option<Arc<Staged>>), FsError> {
        let state = self.state.lock();
        let open = state.handles.file(handle).cloned().ok_or(FsError::BadHandle)?;
        let staged = state.staged.get(&open.ino).cloned();
        Ok((open, staged))
    }

    async fn file_entry(&self, place: &Place) -> Result<Entry, FsError> {
        let entry = self.cache.entry(place.volume, &place.path).await?;
        match entry.kind {
            Kind::File => Ok(entry),
            Kind::Directory => Err(FsError::IsADirectory),
        }
    }

    async fn version_to_read(&self, ino: Ino, place: &Place) -> Result<VersionRead, FsError> {
        let contents = self.state.lock().inodes.contents(ino);
        let entry = self.file_entry(place).await?;
        Ok(VersionRead { file: self.cache.open(place.volume, &place.path, &entry), contents })
    }
}
