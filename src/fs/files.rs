//! Open files: reading from the cache or the staged copy, writing to the staged copy.

use std::sync::Arc;

use super::attributes::Attr;
use super::handles::{Access, FileHandle, Handle, VersionRead};
use super::inodes::{Ino, Place};
use super::keeping::before_of_entry;
use super::made_up::MadeUp;
use super::saving::Unsent;
use super::staged::{Base, Staged};
use super::staging::StagedBytes;
use super::{Found, Fs, FsError};
use crate::journal::Before;
use crate::remote::{Entry, Error, Kind, Name, Nature};

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

/// Why a descriptor is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Its program wants it so, and learns what becomes of the file.
    Ordinary,
    /// Its program was killed, and nobody learns anything.
    Killed,
    /// Its program has another descriptor that may write the file.
    Duplicate,
    /// Its program was started by one that has it, and has neither opened it nor written to it.
    Inherited,
}

impl Fs {
    /// Opens a file with `open(2)`'s flags. Fetches nothing, whatever it is opened for, but the end of
    /// a file that others have open and that grew since; `O_TRUNC` empties the staged copy.
    pub async fn open(&self, ino: Ino, flags: i32) -> Result<Opened, FsError> {
        let access = Access::parse(flags);
        let place = self.place(ino)?;
        if access.changes() {
            self.check_writable(&place)?;
            let staged = self.stage(ino).await?;
            if access.truncate {
                let turn = staged.take_turn().await;
                self.stop_streaming(&staged);
                let emptied = match staged.set_length(&turn, 0, self.now()).await {
                    Ok(()) => self.write_down(&staged).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = emptied {
                    drop(turn);
                    self.end_writing(&staged, Unsent::Keep).await;
                    return Err(error);
                }
            }
            return Ok(self.opened(FileHandle { ino, access, file: None, made_up: None }));
        }
        if self.is_made_up(&place) {
            self.file_entry(&place).await?;
            let made_up = Some(Arc::new(MadeUp::default()));
            return Ok(self.opened(FileHandle { ino, access, file: None, made_up }));
        }
        let is_staged = self.state.lock().staged.contains_key(&ino);
        let file = if is_staged { None } else { Some(self.version_to_read(ino).await?) };
        if let Some(version) = &file
            && let Err(error) = self.cache.confirm(&version.file, &place.path).await
        {
            tracing::debug!(path = %place.path, %error, "a file that grew may be another one");
        }
        if self.part_from_old_readers(ino) {
            return Err(FsError::Stale);
        }
        Ok(self.opened(FileHandle { ino, access, file, made_up: None }))
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
        let (place, found) = self.find_spelled(place).await?;
        if let Some(found) = found {
            return self.open_found(&place, found, flags).await;
        }
        let bytes = self.new_bytes(&place, Before::Nothing).await?;
        let (staged, attr) = self.stage_new(&place, bytes)?;
        if let Err(error) = self.write_down(&staged).await {
            self.end_writing(&staged, Unsent::Discard).await;
            self.forget(staged.ino, 1);
            return Err(error);
        }
        let ino = staged.ino;
        // `create` is `open` for writing in the protocol, whatever the flags say.
        let access = Access { write: true, ..access };
        Ok((attr, self.opened(FileHandle { ino, access, file: None, made_up: None })))
    }

    /// A staged copy of a file that is new at a place. Counts one lookup.
    fn stage_new(
        &self,
        place: &Place,
        bytes: Arc<dyn StagedBytes>,
    ) -> Result<(Arc<Staged>, Attr), FsError> {
        let mut state = self.state.lock();
        if state.staged_at(place).is_some() {
            return Err(FsError::Exists);
        }
        // Another station may have removed what stood here before: this is another file.
        state.inodes.orphan(place, None);
        let ino = state.inodes.assign(place, Kind::File);
        let staged = Arc::new(Staged::new(ino, bytes, self.now()));
        state.staged.insert(ino, staged.clone());
        if place.path.name().is_some_and(|name| self.stays_here(&name)) {
            self.keep_here(&mut state, &staged);
        }
        state.name_changed(place);
        state.inodes.use_once(ino);
        let attr = self.attr_of_staged(&state, &staged);
        Ok((staged, attr))
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
        if let Some(made_up) = &open.made_up {
            return self.read_made_up(made_up, open.ino, offset, size).await;
        }
        self.read_vehicles(handle, open, offset, size).await
    }

    /// Writes to the staged copy, and says how many bytes. Waits while the file is being sent.
    ///
    /// A file that is written in order is uploaded meanwhile, and the program held to about what the
    /// vehicle has stored; what makes the upload fail is the error of this write or of the next.
    pub async fn write(
        self: &Arc<Fs>,
        handle: Handle,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<u32, FsError> {
        let (open, staged) = self.open_file(handle)?;
        if !open.access.write {
            return Err(FsError::BadHandle);
        }
        let staged = staged.ok_or(FsError::Stale)?;
        let length = u32::try_from(data.len()).map_err(|_| FsError::TooLarge)?;
        let turn = staged.take_turn().await;
        if let Some(error) = self.note_failed_stream(&staged) {
            staged.tear(error.again());
            return Err(error);
        }
        let offset = if open.access.append { staged.length() } else { offset };
        self.check_edit(&staged, offset..offset.saturating_add(u64::from(length)))?;
        let written = staged.write(&turn, Some(offset), data, self.now()).await;
        if let Err(error @ FsError::Disk(_)) = &written {
            staged.tear(error.again());
        }
        written?;
        self.write_down(&staged).await?;
        let stream = self.stream(&staged, &turn);
        drop(turn);
        if let Some(stream) = stream {
            stream.room_for(offset + u64::from(length)).await;
            // Its end may be an error of this write, if it is still the file's.
            if let Some(error) = self.note_failed_stream(&staged) {
                staged.tear(error.again());
                return Err(error);
            }
        }
        Ok(length)
    }

    /// Whether closing a handle may have something to send.
    pub fn has_changes(&self, handle: Handle) -> bool {
        let open = self.open_file(handle);
        open.is_ok_and(|(open, staged)| {
            open.access.changes() && staged.is_some_and(|staged| staged.is_dirty())
        })
    }

    /// A descriptor was closed: sends what the vehicle lacks, and returns the real error. What a
    /// killed program leaves is not sent: nobody knows whether it is whole.
    pub async fn flush(&self, handle: Handle, closing: Closing) -> Result<(), FsError> {
        let (open, staged) = self.open_file(handle)?;
        let Some(staged) = staged.filter(|_| open.access.changes()) else { return Ok(()) };
        match closing {
            // A shell opens what it redirects to, duplicates the descriptor and closes the first, before
            // anything is written. Sent then, the file would be empty on the vehicle for a while.
            Closing::Duplicate if staged.length() == 0 => Ok(()),
            // Every program that another starts while it writes closes what it inherited, and the file
            // is half by then. If nobody else closes it, the end of the handle sends it.
            Closing::Inherited => Ok(()),
            Closing::Ordinary | Closing::Duplicate => self.save_or_promise(&staged).await,
            Closing::Killed => {
                // Others who write the file send it when they close it. Nobody else does: a handle that
                // was closed already is counted until the kernel has let go of it.
                if staged.writers() == 1 {
                    self.stop_streaming(&staged);
                }
                staged.give_up();
                Ok(())
            }
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
        let bytes = self.new_bytes(&place, before_of_entry(&entry)).await?;
        // Another may have been faster.
        if let Some(staged) = self.join_writers(ino) {
            return Ok(staged);
        }
        // What its place holds by now may be another file.
        if self.place(ino)? != place {
            return Err(FsError::Stale);
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
                    let version = self.version_to_read(open.ino).await?;
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

    pub(super) fn is_made_up(&self, place: &Place) -> bool {
        self.cache.nature(place.volume, &place.path) == Nature::MadeUp
    }

    fn opened(&self, file: FileHandle) -> Opened {
        let direct_io = file.made_up.is_some();
        let mut state = self.state.lock();
        state.inodes.use_once(file.ino);
        let handle = state.handles.add_file(file);
        // Another station may have changed the file since: its pages are not kept across an open.
        Opened { handle, direct_io, keep_cache: false }
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

    async fn version_to_read(&self, ino: Ino) -> Result<VersionRead, FsError> {
        loop {
            let place = self.place(ino)?;
            let contents = self.state.lock().inodes.contents(ino);
            let entry = self.file_entry(&place).await;
            // Moved meanwhile: what its place holds by now may be another file.
            if self.place(ino)? == place {
                let file = self.cache.open(place.volume, &place.path, &entry?);
                return Ok(VersionRead { file, contents });
            }
        }
    }
}
