//! The local copy of a file being written: which of its bytes are here, which still lie in the
//! vehicle's version, and what has been sent. Fetching and sending are for those above; this knows
//! neither the wire nor paths.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cache::OpenFile;
use crate::fs::errno::FsError;
use crate::fs::inodes::Ino;
use crate::fs::intervals::Intervals;
use crate::fs::staging::StagedBytes;
use crate::fs::streaming::Streaming;
use crate::fs::turn::{Holding, Turn};

/// The longest file that MAVLink FTP can say: offsets are 32 bits wide.
pub const FILE_BYTES_MAX: u64 = u32::MAX as u64;

/// One file's staged copy, shared by all its handles.
pub struct Staged {
    /// Whose content this is.
    pub ino: Ino,
    bytes: Arc<dyn StagedBytes>,
    turn: Arc<Turn>,
    /// The upload that runs while the file is written.
    stream: Mutex<Option<Arc<Streaming>>>,
    content: Mutex<Content>,
}

struct Content {
    length: u64,
    /// Bytes that are here. All others before `length` are still in the base.
    here: Intervals,
    base: Option<Base>,
    mtime: i64,
    /// Grows with every change.
    generation: u64,
    /// The generation that the vehicle has.
    saved: u64,
    /// The generation that was last tried to send.
    tried: u64,
    /// The generation that is kept on the local disk because it could not be sent.
    kept: Option<u64>,
    /// The generation that its program was killed over.
    partial: Option<u64>,
    /// Written in order, beginning with nothing, and not saved yet.
    is_ordered: bool,
    /// The vehicle's file has so many bytes, and none of them has changed here.
    unchanged: Option<u64>,
    /// Bytes were added to the vehicle's file, perhaps not all.
    is_appending: bool,
    /// What ended the upload while the file was written, and has not been told at a close.
    failure: Option<FsError>,
    /// A write got that error, so that bytes are missing which its program has: nobody sends it.
    is_torn: bool,
    /// An editor's scratch file, which never leaves this computer.
    is_local: bool,
    on_vehicle: bool,
    /// Nobody knows what of it arrived when it was sent last.
    is_in_doubt: bool,
    writers: usize,
}

/// The vehicle's version that a staged copy began with.
#[derive(Clone)]
pub struct Base {
    /// To read it.
    pub file: Arc<OpenFile>,
    /// Its length in bytes.
    pub size: u64,
    /// How many of its first bytes are still part of the file.
    length: u64,
}

impl Base {
    /// All of a version.
    pub fn new(file: Arc<OpenFile>, size: u64) -> Base {
        Base { file, size, length: size }
    }
}

/// What an upload sends.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    /// The state that is sent.
    pub generation: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Its modification time, seconds since 1970 UTC.
    pub mtime: i64,
}

/// What of a range is not here: where it lies in the base.
pub struct Missing {
    /// The vehicle's version.
    pub base: Base,
    /// The first missing part.
    pub range: Range<u64>,
}

impl Staged {
    /// A file that does not exist on the vehicle yet, with one writer.
    pub fn new(ino: Ino, bytes: Arc<dyn StagedBytes>, now: i64) -> Staged {
        Staged::with(ino, bytes, Content::new(None, now))
    }

    /// A file of the vehicle, unchanged so far, with one writer. `mtime` is what is shown of it.
    pub fn over(ino: Ino, bytes: Arc<dyn StagedBytes>, base: Base, mtime: i64) -> Staged {
        Staged::with(ino, bytes, Content::new(Some(base), mtime))
    }

    /// A whole file of this length and modification time that an earlier mount did not send, with
    /// no writer.
    pub fn restored(
        ino: Ino,
        bytes: Arc<dyn StagedBytes>,
        (length, mtime): (u64, i64),
        on_vehicle: bool,
    ) -> Staged {
        let mut content = Content::new(None, mtime);
        content.here.insert(0..length);
        (content.length, content.on_vehicle, content.writers) = (length, on_vehicle, 0);
        content.tried = content.generation;
        content.kept = Some(content.generation);
        Staged::with(ino, bytes, content)
    }

    fn with(ino: Ino, bytes: Arc<dyn StagedBytes>, content: Content) -> Staged {
        let (turn, stream) = (Arc::default(), Mutex::default());
        Staged { ino, bytes, turn, stream, content: Mutex::new(content) }
    }

    /// Waits until nobody else changes, fetches for or sends this copy.
    pub async fn take_turn(&self) -> Holding {
        self.turn.take().await
    }

    /// Where the bytes lie.
    pub fn bytes(&self) -> &Arc<dyn StagedBytes> {
        &self.bytes
    }

    /// The file's length in bytes.
    pub fn length(&self) -> u64 {
        self.content.lock().length
    }

    /// The file's modification time, seconds since 1970 UTC.
    pub fn mtime(&self) -> i64 {
        self.content.lock().mtime
    }

    /// A program set the modification time.
    pub fn set_mtime(&self, mtime: i64) {
        self.content.lock().mtime = mtime;
    }

    /// Whether a file stands on the vehicle under this file's name: an older content, or a file
    /// that this one replaced there without being sent yet.
    pub fn is_on_vehicle(&self) -> bool {
        self.content.lock().on_vehicle
    }

    /// This file's name became that of a file which stands on the vehicle, or of none.
    pub fn set_on_vehicle(&self, on_vehicle: bool) {
        let mut content = self.content.lock();
        (content.on_vehicle, content.is_in_doubt) = (on_vehicle, false);
    }

    /// Whether it is unknown what stands on the vehicle under this file's name.
    pub fn is_in_doubt(&self) -> bool {
        self.content.lock().is_in_doubt
    }

    /// It could not be sent, but may have arrived.
    pub fn doubt(&self) {
        self.content.lock().is_in_doubt = true;
    }

    /// Whether the vehicle lacks changes.
    pub fn is_dirty(&self) -> bool {
        let content = self.content.lock();
        content.generation != content.saved
    }

    /// A number that grows with every change.
    pub fn generation(&self) -> u64 {
        self.content.lock().generation
    }

    /// Whether there are changes which nobody has tried to send.
    pub fn is_untried(&self) -> bool {
        let content = self.content.lock();
        content.generation != content.tried
    }

    /// Whether this very state is kept on the local disk.
    pub fn is_kept(&self) -> bool {
        let content = self.content.lock();
        content.kept == Some(content.generation)
    }

    /// A state is kept on the local disk.
    pub fn note_kept(&self, generation: u64) {
        self.content.lock().kept = Some(generation);
    }

    /// The program that wrote this state was killed: nobody sends it by himself.
    pub fn give_up(&self) {
        let mut content = self.content.lock();
        content.tried = content.generation;
        content.partial = Some(content.generation);
    }

    /// Whether this very state is what a killed program left, or one whose write failed.
    pub fn is_partial(&self) -> bool {
        let content = self.content.lock();
        content.is_torn || content.partial == Some(content.generation)
    }

    /// Whether this is an editor's scratch file, which never leaves this computer.
    pub fn is_local(&self) -> bool {
        self.content.lock().is_local
    }

    /// From now on this is an editor's scratch file, or none any more.
    pub fn set_local(&self, is_local: bool) {
        self.content.lock().is_local = is_local;
    }

    /// The upload that runs while the file is written.
    pub fn stream(&self) -> Option<Arc<Streaming>> {
        self.stream.lock().clone()
    }

    /// An upload runs from now on while the file is written.
    pub fn set_stream(&self, stream: Arc<Streaming>) {
        *self.stream.lock() = Some(stream);
    }

    /// No upload runs any more while the file is written, and none will before it is emptied.
    pub fn take_stream(&self) -> Option<Arc<Streaming>> {
        self.content.lock().is_ordered = false;
        self.stream.lock().take()
    }

    /// Whether all of it was written in order, beginning with nothing.
    pub fn is_ordered(&self) -> bool {
        self.content.lock().is_ordered
    }

    /// The upload failed while the file was written.
    pub fn fail(&self, error: FsError) {
        let mut content = self.content.lock();
        content.tried = content.generation;
        content.failure = Some(error);
    }

    /// What ended the upload while the file was written; told again until [`Staged::take_failure`].
    pub fn failure(&self) -> Option<FsError> {
        self.content.lock().failure.as_ref().map(FsError::again)
    }

    /// The same, told for the last time; of a torn file again and again.
    pub fn take_failure(&self) -> Option<FsError> {
        let mut content = self.content.lock();
        match content.is_torn {
            true => content.failure.as_ref().map(FsError::again),
            false => content.failure.take(),
        }
    }

    /// A write failed: what is here is not what its program means, until the file is emptied.
    pub fn tear(&self, error: FsError) {
        self.fail(error);
        self.content.lock().is_torn = true;
    }

    /// How many bytes of the vehicle's version a change would make necessary: a write to `range`, or
    /// with nothing in it a cut at its start. `appends`: what is added at the end needs none.
    pub fn would_need(&self, range: Range<u64>, appends: bool) -> u64 {
        let content = self.content.lock();
        let Some(base) = &content.base else { return 0 };
        let kept = if range.is_empty() { base.length.min(range.start) } else { base.length };
        let is_tail = content.unchanged.is_some_and(|unchanged| range.start >= unchanged);
        if kept == 0 || (appends && is_tail) {
            return 0;
        }
        let mut here = content.here.clone();
        here.insert(range);
        here.first_missing(0..kept).map_or(0, |_| kept)
    }

    /// Where the bytes begin that can be added to the vehicle's file without changing the rest, and
    /// whether some may have been added already.
    pub fn tail(&self) -> Option<(u64, bool)> {
        let content = self.content.lock();
        let tail = content.unchanged.filter(|start| (1..content.length).contains(start));
        tail.map(|start| (start, content.is_appending))
    }

    /// Bytes are being added to the vehicle's file.
    pub fn begin_appending(&self, _turn: &Holding) {
        self.content.lock().is_appending = true;
    }

    /// Whether bytes of the file lie on the vehicle only.
    pub fn has_base(&self) -> bool {
        self.content.lock().base.is_some()
    }

    /// One more handle that may write.
    pub fn add_writer(&self) {
        self.content.lock().writers += 1;
    }

    /// One less; how many are left.
    pub fn remove_writer(&self) -> usize {
        let mut content = self.content.lock();
        content.writers = content.writers.saturating_sub(1);
        content.writers
    }

    /// How many handles may write.
    pub fn writers(&self) -> usize {
        self.content.lock().writers
    }

    /// Whether a handle may write.
    pub fn has_writers(&self) -> bool {
        self.content.lock().writers > 0
    }

    /// The part of a range that is in the file.
    pub fn clamp(&self, offset: u64, size: usize) -> Range<u64> {
        let length = self.length();
        offset.min(length)..offset.saturating_add(size as u64).min(length)
    }

    /// The first bytes of a range that must be fetched before they can be read here.
    pub fn first_missing(&self, range: Range<u64>) -> Option<Missing> {
        let content = self.content.lock();
        let base = content.base.clone()?;
        let range = content.here.first_missing(range.start..range.end.min(base.length))?;
        Some(Missing { base, range })
    }

    /// Whether the vehicle's version that this copy began with is known to be another by now.
    pub fn is_base_outdated(&self) -> bool {
        let base = self.content.lock().base.clone();
        base.is_some_and(|base| base.file.version().map(|version| version.size) != Ok(base.size))
    }

    /// Writes, at the end when there is no offset. The caller has the turn.
    pub async fn write(
        &self,
        _turn: &Holding,
        offset: Option<u64>,
        data: Vec<u8>,
        now: i64,
    ) -> Result<(), FsError> {
        let offset = offset.unwrap_or_else(|| self.length());
        let end = offset.checked_add(data.len() as u64).ok_or(FsError::TooLarge)?;
        if end > FILE_BYTES_MAX {
            return Err(FsError::TooLarge);
        }
        if let Err(error) = self.bytes.write(offset, data).await {
            // What came behind the end must not show up in a gap later.
            self.bytes.set_length(self.length()).await?;
            return Err(error.into());
        }
        let mut content = self.content.lock();
        // A gap after the old end reads as zeros, here as on the disk.
        let start = offset.min(content.length);
        content.here.insert(start..end);
        content.is_ordered &= offset == content.length;
        content.unchanged.take_if(|unchanged| offset < *unchanged);
        content.length = content.length.max(end);
        content.changed(now);
        Ok(())
    }

    /// Cuts the file, or lengthens it with zeros. The caller has the turn.
    pub async fn set_length(&self, _turn: &Holding, length: u64, now: i64) -> Result<(), FsError> {
        if length > FILE_BYTES_MAX {
            return Err(FsError::TooLarge);
        }
        self.bytes.set_length(length).await?;
        let mut content = self.content.lock();
        let old = content.length;
        content.here.clip(length);
        content.here.insert(old..length);
        content.length = length;
        content.unchanged.take_if(|unchanged| length < *unchanged);
        content.is_ordered = length == 0;
        if length == 0 {
            // Nothing is left of what could not be sent.
            (content.failure, content.is_torn) = (None, false);
        }
        if let Some(base) = &mut content.base {
            base.length = base.length.min(length);
        }
        content.changed(now);
        Ok(())
    }

    /// The vehicle cut its file, of which this is a copy without changes: `base` is what it has
    /// now. The caller has the turn.
    pub async fn cut_to(&self, _turn: &Holding, base: Base, mtime: i64) -> Result<(), FsError> {
        self.bytes.set_length(base.size).await?;
        let mut content = self.content.lock();
        content.here.clip(base.size);
        content.length = base.size;
        content.mtime = mtime;
        content.unchanged = Some(base.size);
        content.base = Some(base);
        Ok(())
    }

    /// Stores bytes that were fetched from the base; nothing changes by that. The caller has the
    /// turn.
    pub async fn fetched(
        &self,
        _turn: &Holding,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<(), FsError> {
        let range = offset..offset + data.len() as u64;
        self.bytes.write(offset, data).await?;
        self.content.lock().here.insert(range);
        Ok(())
    }

    /// What must be sent now; `None` when the vehicle has everything. The caller has the turn, and
    /// keeps it until the end of the upload.
    pub fn begin_sending(&self, _turn: &Holding) -> Option<Sending> {
        let mut content = self.content.lock();
        if content.generation == content.saved {
            return None;
        }
        content.tried = content.generation;
        let Content { generation, length, mtime, .. } = *content;
        Some(Sending { generation, length, mtime })
    }

    /// The vehicle has what was sent. What is not here lies in `base` from now on.
    pub fn sent(&self, _turn: &Holding, sending: Sending, base: Option<Base>) {
        let mut content = self.content.lock();
        content.saved = sending.generation;
        (content.on_vehicle, content.is_in_doubt) = (true, false);
        content.base = base;
        content.unchanged = Some(sending.length);
        (content.is_ordered, content.is_appending) = (false, false);
    }
}

impl Content {
    fn new(base: Option<Base>, mtime: i64) -> Content {
        let on_vehicle = base.is_some();
        // A new file has something to send: its existence.
        let generation = u64::from(!on_vehicle);
        Content {
            length: base.as_ref().map_or(0, |base| base.length),
            unchanged: base.as_ref().map(|base| base.size),
            is_ordered: !on_vehicle,
            is_appending: false,
            partial: None,
            failure: None,
            is_torn: false,
            is_local: false,
            here: Intervals::default(),
            base,
            mtime,
            generation,
            saved: 0,
            tried: 0,
            kept: None,
            on_vehicle,
            is_in_doubt: false,
            writers: 1,
        }
    }

    fn changed(&mut self, now: i64) {
        self.generation += 1;
        self.mtime = now;
    }
}
