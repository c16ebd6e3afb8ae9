//! Saving files under the cache's eyes: what it knew of them is replaced by what was saved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::changes::{Aftermath, Change};
use super::known::Shared;
use super::{Cache, Clock, VolumeId};
use crate::remote::ask::{ask, ask_as};
use crate::remote::save::{UploadMode, Verify};
use crate::remote::{
    Class, Error, Op, OpId, RemotePath, Reply, Sink, Source, Status, WriteMode, save,
};

/// More than the name that [`save::save`] gives to an upload has.
const TEMPORARY_NAME_BYTES_MAX: usize = 32;

/// What is saved.
pub struct Saving {
    /// How many bytes; `None`: as many as the source turns out to have.
    pub length: Option<u64>,
    /// The modification time that is shown from then on, seconds since 1970 UTC.
    pub mtime: i64,
    /// The bytes.
    pub source: Arc<dyn Source>,
    /// Sees the acknowledgements.
    pub observer: Arc<dyn Sink>,
}

impl Cache {
    /// [`save::save`] under the cache's eyes: on success what it knew of `path` is replaced by the
    /// new length and time. Returns the length.
    pub async fn save(
        &self,
        volume: VolumeId,
        path: &RemotePath,
        saving: Saving,
        started: &(dyn Fn(OpId, &RemotePath) + Sync),
    ) -> Result<u64, Error> {
        let (far, status) = self.meet(volume)?;
        if self.with(|known| known.is_directory(volume, path)) {
            return Err(Error::IsADirectory);
        }
        let Saving { length, mtime, source, observer } = saving;
        let there = path.below(&far.root);
        let policy = self.options.saving;
        let in_place = length == Some(0) || self.is_written_in_place(&there, &status);
        let change = match in_place {
            true => Change::begin(self, volume, &[path], Aftermath::Doubtful).gated(),
            false => Change::begin(self, volume, &[path], Aftermath::Outdated),
        };
        let gate = Gate { shared: self.shared.clone(), id: change.id, volume, path: path.clone() };
        let observer = Arc::new(Uploading { observer, gate, is_through: AtomicBool::new(false) });
        let (target, patience) = ((&there, policy), self.options.patience);
        let watched = observer.clone();
        let result =
            save::save(&far.remote, target, length, source, patience, watched, started).await;
        let is_begun = in_place || observer.is_through();
        if !is_begun && result.as_ref().is_err_and(says_nothing_of_the_target) {
            // Only a temporary name was touched.
            change.forget();
            return result;
        }
        let length = result.clone().unwrap_or_default();
        change.settle(result, |known| known.saved(volume, path, length, mtime))
    }

    /// Adds what `source` has from `from` on to a file of so many bytes, up to `length` in all.
    /// [`Error::Unsupported`], before anything is changed, where the server cannot, or the file has
    /// not a length in `found`: the whole file is to be saved. `started` is told when that is not so.
    pub async fn append(
        &self,
        volume: VolumeId,
        path: &RemotePath,
        saving: Saving,
        found: std::ops::RangeInclusive<u64>,
        started: &(dyn Fn(OpId) + Sync),
    ) -> Result<u64, Error> {
        let (far, status) = self.meet(volume)?;
        let Saving { length, mtime, source, observer } = saving;
        let (offset, length) = (*found.start(), length.unwrap_or_default());
        // A checksum would need the bytes that are not here.
        if !status.appends || self.options.saving.verify == Verify::Crc {
            return Err(Error::Unsupported);
        }
        let (there, patience) = (path.below(&far.root), self.options.patience);
        let size = || ask(&far.remote, Op::Size { path: there.clone() }, Class::Metadata, patience);
        match size().await? {
            Reply::Size(size) if found.contains(&size) => {}
            Reply::Size(_) | Reply::Saved(_) | Reply::Done | Reply::Checksum(_) => {
                return Err(Error::Unsupported);
            }
        }
        let change = Change::begin(self, volume, &[path], Aftermath::Doubtful).appending(offset);
        let change = change.gated();
        let op = Op::Write { path: there.clone(), mode: WriteMode::Append { offset }, source };
        let id = OpId::fresh();
        started(id);
        let written = ask_as(&far.remote, id, op, Class::Write, patience, observer).await;
        let stored = match written {
            Ok(_) if self.options.saving.verify != Verify::None => size().await,
            written => written,
        };
        let result = match stored {
            Ok(_) if far.remote.status().epoch != status.epoch => Err(Error::Changed),
            Ok(Reply::Size(size)) if size == length => Ok(length),
            Ok(_) => Err(Error::Failed("another length was stored than was sent".into())),
            Err(error) => Err(error),
        };
        change.settle(result, |known| known.saved(volume, path, length, mtime))
    }

    /// Says that the source of a running [`Cache::save`] has more.
    pub fn more(&self, volume: VolumeId, id: OpId) {
        if let Ok(volume) = self.volume(volume) {
            volume.remote.more(id);
        }
    }

    /// Ends a running [`Cache::save`], which fails with [`Error::Cancelled`].
    pub fn stop(&self, volume: VolumeId, id: OpId) {
        if let Ok(volume) = self.volume(volume) {
            volume.remote.cancel(id);
        }
    }

    /// Whether a file can be uploaded while it is written: nobody else waits for that, and until its
    /// end only a temporary name is touched.
    pub fn can_stream(&self, volume: VolumeId, path: &RemotePath) -> bool {
        let Ok((far, status)) = self.meet(volume) else { return false };
        let there = path.below(&far.root);
        status.up && status.streams && !self.is_written_in_place(&there, &status)
    }

    /// Whether a file is written under its real name, so that a cut leaves half of it there.
    pub fn writes_in_place(&self, volume: VolumeId, path: &RemotePath) -> bool {
        let Ok((far, status)) = self.meet(volume) else { return false };
        self.is_written_in_place(&path.below(&far.root), &status)
    }

    /// Whether bytes can be added to a file without sending the rest.
    pub fn can_append(&self, volume: VolumeId) -> bool {
        self.status(volume).appends && self.options.saving.verify != Verify::Crc
    }

    /// The clock that the cache goes by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.shared.clock.clone()
    }

    /// Whether [`save::save`] writes under the real name, with nothing to rename afterwards.
    fn is_written_in_place(&self, path: &RemotePath, status: &Status) -> bool {
        let both_names = 2 * path.as_bytes().len() + TEMPORARY_NAME_BYTES_MAX;
        self.options.saving.mode == UploadMode::Direct || both_names > status.path_bytes_max
    }
}

/// Whether an upload under a temporary name that ended so can leave all that is known as it is.
fn says_nothing_of_the_target(error: &Error) -> bool {
    match error {
        Error::Cancelled
        | Error::LinkDown
        | Error::TimedOut
        | Error::Busy
        | Error::Armed
        | Error::Failed(_) => true,
        Error::NotFound
        | Error::Exists
        | Error::NotADirectory
        | Error::IsADirectory
        | Error::NotEmpty
        | Error::Denied
        | Error::ReadOnly
        | Error::NoSpace
        | Error::TooLarge
        | Error::PathTooLong
        | Error::Invalid
        | Error::Unsupported
        | Error::Changed
        | Error::Login(_) => false,
    }
}

/// Tells when the upload is through and the renaming begins.
struct Uploading {
    observer: Arc<dyn Sink>,
    gate: Gate,
    is_through: AtomicBool,
}

struct Gate {
    shared: Arc<Shared>,
    id: OpId,
    volume: VolumeId,
    path: RemotePath,
}

impl Uploading {
    fn is_through(&self) -> bool {
        self.is_through.load(Ordering::Acquire)
    }

    fn go_through(&self) {
        if !self.is_through.swap(true, Ordering::AcqRel) {
            let Gate { shared, id, volume, path } = &self.gate;
            shared.with(|known| known.begin_change(*id, *volume, path));
        }
    }
}

impl Sink for Uploading {
    fn acknowledged(&self, offset: u64) {
        self.observer.acknowledged(offset);
    }
    fn replaces(&self) {
        self.go_through();
    }
    fn done(&self, result: Result<Reply, Error>) {
        if result.is_ok() {
            self.go_through();
        }
        self.observer.done(result);
    }
}
