//! Reading through the cache: open files, and the passes of a read.

use std::sync::Arc;

use parking_lot::Mutex;

use super::fetch::Flight;
use super::files::FileId;
use super::known::Shared;
use super::read_ahead::ReadAhead;
use super::reading::{Failed, Plan, Reading, Then};
use super::record::Seen;
use super::{Cache, Volume, VolumeId};
use crate::remote::{Class, Entry, Error, Op, Remote, RemotePath, Version};

/// How often a read begins again because the file grew, moved or was being changed under it.
const PASSES_MAX: usize = 16;

/// A file opened for reading. It stays on the content it was opened on, whatever happens to the
/// path: removed or replaced, it gives the blocks that are cached, else [`Error::Changed`].
/// Dropping it ends the fetches ahead of it that nobody waits for.
pub struct OpenFile {
    pub(super) volume: VolumeId,
    pub(super) id: FileId,
    pub(super) generation: u32,
    pub(super) shared: Arc<Shared>,
    remote: Option<Arc<dyn Remote>>,
    pub(super) ahead: Mutex<Ahead>,
}

/// What is fetched ahead of a handle.
pub(super) struct Ahead {
    pub policy: ReadAhead,
    pub flights: Vec<Arc<Flight>>,
}

impl OpenFile {
    /// The version this handle reads now: its size grows when the file does.
    /// [`Error::Changed`] when the file has another content than was opened.
    pub fn version(&self) -> Result<Version, Error> {
        self.shared.with(|known| match known.files.get(self.id) {
            Some(record) if record.version.generation == self.generation => Ok(record.version),
            Some(_) | None => Err(Error::Changed),
        })
    }

    /// Whether the file has another content by now than was opened, or its name is gone or another
    /// file's.
    pub fn is_outdated(&self) -> bool {
        self.shared.with(|known| {
            known.files.get(self.id).is_none_or(|record| {
                record.version.generation != self.generation || record.path.is_none()
            })
        })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let flights = std::mem::take(&mut self.ahead.get_mut().flights);
        if let Some(remote) = &self.remote {
            flights.iter().filter(|flight| flight.is_idle()).for_each(|f| remote.cancel(f.id));
        }
        self.shared.with(|known| {
            if known.files.close(self.id) {
                known.blocks.forget(self.id);
            }
        });
    }
}

impl Cache {
    /// Opens a file for reading; sends nothing. `entry` is what [`Cache::entry`] or a listing said.
    pub fn open(&self, volume: VolumeId, path: &RemotePath, entry: &Entry) -> Arc<OpenFile> {
        let far = self.meet(volume);
        // What is known of one that is not to be asked, or not heard, is all there is.
        let up = far.as_ref().is_ok_and(|(_, status)| status.up && !status.armed);
        let time = self.options.directory_time;
        let (id, generation) = self.with(|known| {
            let now = known.now;
            let told =
                path.parent().and_then(|parent| known.listings.told_at(&(volume, parent), now));
            let told = told.unwrap_or(now.saturating_sub(time));
            let id = known.files.at_or_insert(volume, path, Seen::of(entry), told);
            let mut evidence = None;
            let generation = known.files.get(id).map_or(0, |record| {
                // Nothing would show that another station has written the file since.
                if record.opens == 0 && up && record.is_doubtful(now, time) {
                    evidence = Some(record.begin_generation(now));
                }
                record.opens += 1;
                record.version.generation
            });
            if let Some(evidence) = evidence {
                known.apply(id, evidence);
            }
            known.trim_files();
            (id, generation)
        });
        let quarter = self.options.bytes_max as u64 / 4;
        let policy = ReadAhead::new(self.options.read_ahead_bytes.min(quarter));
        Arc::new(OpenFile {
            volume,
            id,
            generation,
            shared: self.shared.clone(),
            remote: far.ok().map(|(volume, _)| volume.remote),
            ahead: Mutex::new(Ahead { policy, flights: Vec::new() }),
        })
    }

    /// Exactly `length` bytes from `offset`, or fewer only at the end of the file.
    ///
    /// [`Error::Changed`] when the file has another content than was opened; else the error with
    /// which the remote failed. `path` names the file in the log; the cache follows renames itself.
    pub async fn read(
        &self,
        file: &OpenFile,
        path: &RemotePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, Error> {
        self.volume(file.volume)?;
        let result = self.read_in_passes(file, offset, length).await;
        if let Err(error) = &result {
            // Also cancels the fetches that the error made useless.
            self.with(|_| file.ahead.lock().policy.stop());
            tracing::debug!(%path, offset, length, %error, "a read failed");
        }
        // It was there when it was opened.
        result.map_err(|error| if error == Error::NotFound { Error::Changed } else { error })
    }

    async fn read_in_passes(
        &self,
        file: &OpenFile,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, Error> {
        let asked = offset..offset.saturating_add(length as u64);
        let mut reading = Reading::new(file, asked);
        let mut retried = false;
        for pass in 0..PASSES_MAX {
            let (volume, status) = self.meet(file.volume)?;
            let time = self.options.directory_time;
            let plan = self.with(|known| reading.plan(known, &status, time))?;
            self.send(&volume, &plan);
            if pass == 0 && offset == 0 {
                self.fetch_neighbours(file, &volume, &status);
            }
            match plan.then {
                Then::Answer(bytes) => return Ok(bytes),
                Then::AskSize => self.ask_size(&volume, file).await?,
                Then::ClearDoubt => self.clear_doubt(file).await?,
                Then::LookAgain(path) => self.look_again(file.volume, &path).await,
                Then::AwaitChange(listener) => listener.await,
                Then::Collect(waits) => match reading.collect(waits).await {
                    Ok(()) => {}
                    // Ended because the far side may be another one: it is asked again, or fails there.
                    Err(Failed { error: Error::Cancelled, .. }) => {}
                    Err(failed) if !retried && self.deserves_retry(&failed) => retried = true,
                    Err(failed) => return Err(failed.error),
                },
            }
        }
        tracing::debug!("a file kept changing while it was read");
        Err(Error::Changed)
    }

    /// Looks whether a file that grew while others had it open is still the same, if what is known of its
    /// end can tell. Sends nothing for any other file.
    ///
    /// [`Error::Changed`] when it is another; else the error with which the remote failed.
    pub async fn confirm(&self, file: &OpenFile, path: &RemotePath) -> Result<(), Error> {
        let ending = self.with(|known| Some(known.files.get(file.id)?.ending.as_ref()?.from));
        match ending {
            Some(from) => self.read(file, path, from, 1).await.map(drop),
            None => Ok(()),
        }
    }

    fn send(&self, volume: &Volume, plan: &Plan) {
        plan.submit.iter().for_each(|flight| self.send_flight(volume, flight));
        for id in &plan.raise {
            volume.remote.raise(*id, Class::Demand);
        }
    }

    pub(super) fn send_flight(&self, volume: &Volume, flight: &Arc<Flight>) {
        let (offset, length) = flight.range();
        let path = flight.path.below(&volume.root);
        let op = Op::Read { path, offset, length, expected: Some(flight.size()) };
        let class = flight.class();
        volume.remote.submit(flight.id, op, class, self.options.patience, flight.clone());
        if flight.submitted_as(class) {
            volume.remote.raise(flight.id, Class::Demand);
        }
        if flight.end().is_some() {
            // Abandoned before the remote knew of it.
            volume.remote.cancel(flight.id);
        }
    }

    /// Has the directory of a file listed, which tells whether the file is still the same. Whatever
    /// becomes of that, the read itself meets as well.
    async fn look_again(&self, volume: VolumeId, path: &RemotePath) {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return };
        if let Err(error) = self.listing(volume, &parent).find(&name).await {
            tracing::debug!(%path, %error, "could not see whether a file is still the same");
        }
    }

    /// Whether a reader tries by itself once more: it had joined a read-ahead, or the file was
    /// renamed under the fetch.
    fn deserves_retry(&self, failed: &Failed) -> bool {
        let Failed { flight, error } = failed;
        let moved = || {
            let path = self.with(|known| known.files.get(flight.file)?.path.clone());
            *error == Error::NotFound && path.is_some_and(|path| path != flight.path)
        };
        *error != Error::Changed && (flight.ahead || moved())
    }
}
