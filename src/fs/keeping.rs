//! What is written down about staged copies, so that a crash, a power cut or a dead link loses
//! nothing: whose they are, what the vehicle lacks of them, why it was not sent.

use std::sync::Arc;

use super::inodes::{Ino, Place};
use super::staged::Staged;
use super::staging::StagedBytes;
use super::{Found, Fs, FsError};
use crate::cache::{Cache, VolumeId};
use crate::journal::{Before, Durability, Meta, PathBytes, State, Vehicle};
use crate::remote::save::is_temporary;
use crate::remote::{Entry, RemotePath};

impl Fs {
    /// Sends every staged copy that the vehicle lacks; for the unmount. What could not be sent, or is
    /// still being written, is kept on the local disk, and returned with the reason; what was promised
    /// to be sent stays so.
    pub async fn finish(&self) -> Vec<(RemotePath, FsError)> {
        let staged: Vec<_> = self.state.lock().staged.values().cloned().collect();
        let mut failed = Vec::new();
        for staged in staged {
            if staged.is_local() {
                tracing::debug!(ino = staged.ino.0, "an editor's scratch file is dropped");
                continue;
            }
            if self.is_promised(&staged) {
                self.try_promise(&staged).await;
                continue;
            }
            if let Some(path) = self.keep_half_written(&staged).await {
                failed.push((path, FsError::Unsent));
                continue;
            }
            let Err(error) = self.save_if_dirty(&staged).await else { continue };
            let Ok(place) = self.place(staged.ino) else { continue };
            self.keep_unsent(&staged, &place).await;
            failed.push((place.path, error));
        }
        failed
    }

    /// What is uploaded while it is written was never closed by its program: nobody knows whether it is
    /// whole. It is kept as what a killed program leaves, and nothing of it stays on the vehicle.
    async fn keep_half_written(&self, staged: &Staged) -> Option<RemotePath> {
        let is_being_written = || staged.has_writers() && staged.stream().is_some();
        if !is_being_written() {
            return None;
        }
        let turn = staged.take_turn().await;
        // It may have been closed while we waited.
        let place = self.place(staged.ino).ok().filter(|_| is_being_written())?;
        let stream = self.stop_streaming(staged);
        staged.give_up();
        self.keep_unsent(staged, &place).await;
        drop(turn);
        if let Some(stream) = stream {
            // However it ended, it is over.
            let _ = stream.ended().await;
        }
        Some(place.path)
    }

    /// Keeps on the local disk what the vehicle lacks of every file, without waiting for anything that
    /// is being sent; for an end in a hurry. How many files that were.
    pub async fn keep_all_unsent(&self) -> usize {
        let staged: Vec<_> = self.state.lock().staged.values().cloned().collect();
        let mut kept = 0;
        for staged in staged.iter().filter(|staged| staged.is_dirty() && !staged.is_local()) {
            let Ok(place) = self.place(staged.ino) else { continue };
            self.keep_unsent(staged, &place).await;
            kept += 1;
        }
        kept
    }

    /// An empty place for the bytes of a file of the vehicle that is there now.
    pub(super) async fn new_bytes(
        &self,
        place: &Place,
        before: Before,
    ) -> Result<Arc<dyn StagedBytes>, FsError> {
        let vehicle = self.vehicle(place.volume);
        let bytes = self.store.create().await?;
        // Written down with the first change; until then there is nothing to lose.
        let mut name = |meta: &mut Meta| {
            meta.vehicle = vehicle.clone();
            meta.before = before;
        };
        bytes.describe(&mut name);
        Ok(bytes)
    }

    /// Writes down what a crash must not lose of a staged copy: after every change of its bytes, its
    /// name or what is there of it. Costs nothing when it is known already.
    pub(super) async fn write_down(&self, staged: &Staged) -> Result<(), FsError> {
        let place = self.place(staged.ino).ok();
        let (now, kept, dirty) =
            (self.now(), staged.is_kept(), staged.is_dirty() && !staged.is_local());
        let extent = Extent::of(staged);
        let place = place.map(|place| (self.far_path(&place), self.vehicle(place.volume)));
        let mut change = |meta: &mut Meta| {
            // Without a name it has nowhere to go: nobody misses it.
            let Some((path, vehicle)) = place.as_ref().filter(|_| dirty) else {
                meta.state = State::Clean;
                return;
            };
            meta.path = path.clone();
            meta.learn_identity(vehicle);
            extent.note(meta);
            if meta.state == State::Clean || (meta.state != State::Dirty && !kept) {
                meta.state = State::Dirty;
                meta.when = now;
            }
        };
        Ok(staged.bytes().note(Durability::Process, &mut change).await?)
    }

    /// [`Fs::write_down`] for every staged copy at and below a place, and the one that stood there
    /// before: their names have changed.
    pub(super) async fn write_names_down(
        &self,
        place: &Place,
        orphans: impl IntoIterator<Item = Arc<Staged>>,
    ) {
        let within = self.state.lock().staged_within(place);
        for staged in within.into_iter().chain(orphans) {
            if let Err(error) = self.write_down(&staged).await {
                tracing::warn!(path = %place.path, %error, "the journal has the old name");
            }
            self.drop_nameless(&staged);
        }
    }

    /// Drops a copy that has neither a name nor somebody who writes it: one that waited to be sent.
    pub(super) fn drop_nameless(&self, staged: &Arc<Staged>) {
        if self.place(staged.ino).is_err() && !staged.has_writers() {
            self.state.lock().drop_copy(staged);
        }
    }

    /// Brings bytes and notes to where a power cut does not reach them: before something is sent
    /// that leaves the vehicle with half a file if it is cut.
    pub(super) async fn secure(&self, staged: &Staged) -> Result<(), FsError> {
        self.write_down(staged).await?;
        Ok(staged.bytes().note(Durability::Power, &mut |_| {}).await?)
    }

    /// Fails when another vehicle answers than the one a copy was made for.
    pub(super) fn check_same_vehicle(&self, staged: &Staged, place: &Place) -> Result<(), FsError> {
        let meant = staged.bytes().noted().vehicle;
        match self.vehicle(place.volume).continues(&meant) {
            true => Ok(()),
            false => Err(FsError::AnotherVehicle),
        }
    }

    /// Remembers why a copy could not be sent, for when it is kept.
    pub(super) fn note_failure(&self, staged: &Staged, error: &FsError) {
        let reason = error.to_string();
        staged.bytes().describe(&mut |meta| {
            meta.reason.clone_from(&reason);
            meta.current = None;
        });
    }

    /// Remembers a name on the vehicle that is to be removed should this process die. Does not wait
    /// for the disk: the vehicle hears of the name later than the disk does.
    pub(super) fn note_temporary(&self, bytes: &Arc<dyn StagedBytes>, far: &RemotePath) {
        if !far.name().is_some_and(|name| is_temporary(&name)) {
            return;
        }
        let name = PathBytes(far.as_bytes().to_owned());
        let mut add = |meta: &mut Meta| {
            if !meta.leftovers.contains(&name) {
                meta.leftovers.push(name.clone());
            }
            meta.current = Some(name.clone());
        };
        bytes.note_soon(&mut add);
    }

    /// The vehicle has all of a file: what was left of it before is dropped, here and there.
    pub(super) async fn settle(&self, staged: &Staged, place: &Place, length: u64) {
        let path = self.far_path(place);
        let mut saved = |meta: &mut Meta| {
            meta.before = Before::File { size: length, mtime: None };
            meta.reason.clear();
            let file = meta.current.take();
            meta.leftovers.retain(|left| Some(left) != file.as_ref());
        };
        staged.bytes().describe(&mut saved);
        if let Err(error) = self.write_down(staged).await {
            tracing::warn!(%path, %error, "saved, but the journal does not know it");
        }
        match self.store.settle(self.vehicle(place.volume), path.clone()).await {
            Ok(older) => staged.bytes().describe(&mut |meta| meta.leftovers.extend(older.clone())),
            Err(error) => tracing::warn!(%path, %error, "older unsent contents are still there"),
        }
        // Named now: the next upload adds a name that is still needed.
        let names = staged.bytes().noted().leftovers;
        if !names.is_empty() {
            let (cache, bytes) = (self.cache.clone(), staged.bytes().clone());
            let work = remove_leftovers(cache, place.volume, bytes, names);
            self.background.spawn(Box::pin(work));
        }
    }

    /// Keeps what could not be sent; a state that is kept already is not kept twice.
    pub(super) async fn keep_unsent(&self, staged: &Staged, place: &Place) {
        if staged.is_kept() {
            return;
        }
        let generation = staged.generation();
        let state = if staged.is_partial() { State::Partial } else { State::Failed };
        let (now, path, extent) = (self.now(), self.far_path(place), Extent::of(staged));
        let vehicle = self.vehicle(place.volume);
        let mut keep = |meta: &mut Meta| {
            meta.path = path.clone();
            meta.learn_identity(&vehicle);
            extent.note(meta);
            (meta.state, meta.when) = (state, now);
        };
        match staged.bytes().note(Durability::Power, &mut keep).await {
            Ok(()) => {
                staged.note_kept(generation);
                let id = staged.bytes().noted().id;
                tracing::error!(
                    path = %place.path, id, whole = extent.whole,
                    kept = %staged.bytes().place().display(),
                    "not saved on the vehicle; kept here, see: mavftp-mount unsent"
                );
            }
            Err(error) => tracing::error!(
                path = %place.path, %error,
                "not saved on the vehicle, and the bytes may not survive a power cut"
            ),
        }
    }

    /// Nobody misses a copy any more: the next start shall not take it for lost.
    pub(super) async fn note_dropped(&self, staged: &Staged) {
        if staged.is_kept() && self.place(staged.ino).is_ok() {
            return;
        }
        let forget = |meta: &mut Meta| meta.state = State::Clean;
        if let Err(error) = staged.bytes().note(Durability::Process, &mut { forget }).await {
            tracing::warn!(%error, "the journal could not be written");
        }
    }

    /// Which vehicle or server the mount's root is on now.
    pub fn far_side(&self) -> Vehicle {
        self.vehicle(self.root().volume)
    }

    pub(super) fn root(&self) -> Place {
        let root = self.state.lock().inodes.place(Ino::ROOT).cloned();
        root.unwrap_or(Place { volume: VolumeId(0), path: RemotePath::root() })
    }

    /// Which vehicle answers now.
    pub(super) fn vehicle(&self, volume: VolumeId) -> Vehicle {
        let status = self.cache.status(volume);
        Vehicle {
            identity: status.identity,
            session: format!("{}.{}.{}", self.options.session, volume.0, status.epoch),
            source: self.options.source.clone(),
        }
    }

    pub(super) fn far_path(&self, place: &Place) -> PathBytes {
        PathBytes(self.cache.far_path(place.volume, &place.path).as_bytes().to_owned())
    }
}

/// Removes unfinished uploads from the vehicle, and forgets each that is gone. What remains is
/// removed at the next mount.
async fn remove_leftovers(
    cache: Arc<Cache>,
    volume: VolumeId,
    bytes: Arc<dyn StagedBytes>,
    names: Vec<PathBytes>,
) {
    for name in names {
        if cache.status(volume).armed {
            return;
        }
        let removed = match RemotePath::parse(&name.0) {
            Ok(path) => cache.remove_temporary(volume, &path).await,
            Err(_) => Ok(()),
        };
        if let Err(error) = removed {
            tracing::debug!(path = %name, %error, "an unfinished upload is still there");
            return;
        }
        bytes.note_soon(&mut |meta| meta.leftovers.retain(|left| *left != name));
    }
}

/// How much of a file is staged.
pub(super) struct Extent {
    length: u64,
    mtime: i64,
    /// All of it.
    pub(super) whole: bool,
    tail: Option<u64>,
}

impl Extent {
    pub(super) fn of(staged: &Staged) -> Extent {
        let (length, mtime) = (staged.length(), staged.mtime());
        let missing = staged.first_missing(0..length).map(|missing| missing.range);
        let tail = missing
            .clone()
            .filter(|first| first.start == 0 && staged.first_missing(first.end..length).is_none());
        Extent { length, mtime, whole: missing.is_none(), tail: tail.map(|first| first.end) }
    }

    /// The length and time of whole bytes are the disk's: they change with every write.
    pub(super) fn note(&self, meta: &mut Meta) {
        (meta.whole, meta.tail) = (self.whole, self.tail);
        if !self.whole || meta.state != State::Dirty {
            (meta.length, meta.mtime) = (self.length, self.mtime);
        }
    }
}

/// What stood under a name that a file gets.
pub(super) fn before_of(target: Option<&Found>) -> Before {
    match target {
        None => Before::Nothing,
        Some(Found::Entry(entry)) => before_of_entry(entry),
        Some(Found::Staged(staged)) => staged.bytes().noted().before,
    }
}

/// A file as its directory lists it.
pub(super) fn before_of_entry(entry: &Entry) -> Before {
    Before::File { size: entry.size, mtime: entry.mtime }
}
