//! Between a staged copy and the vehicle: fetching what is still missing, sending what is dirty,
//! and keeping what could not be sent.

use std::sync::Arc;

use futures_lite::future;

use super::inodes::{FarTime, OwnTime, Place};
use super::staged::{Sending, Staged};
use super::turn::Holding;
use super::upload::Upload;
use super::{Fs, FsError, Ino};
use crate::journal::State;
use crate::remote::{Error, RemotePath, Reply, Sink};

/// How much of the vehicle's version is fetched at once into a staged copy.
const FETCH_BYTES: u64 = 128 << 10;

/// What becomes of changes that could not be sent when the last writer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// They are kept where a person finds them.
    Keep,
    /// They are dropped: their maker was told, and the vehicle has the old state.
    Discard,
}

impl Fs {
    /// Reads from a staged copy; what is not here yet comes from the vehicle's version.
    pub(super) async fn read_staged(
        &self,
        staged: &Staged,
        offset: u64,
        size: usize,
    ) -> Result<Vec<u8>, FsError> {
        let range = staged.clamp(offset, size);
        if staged.first_missing(range.clone()).is_some() {
            let turn = staged.take_turn().await;
            self.fetch(staged, &turn, range).await?;
        }
        // The file may have become shorter in the meantime.
        let range = staged.clamp(offset, size);
        let length = range.end.saturating_sub(range.start) as usize;
        Ok(staged.bytes().read(range.start, length).await?)
    }

    /// Sends a file if the vehicle lacks something of it. Two at once send once. A file whose name
    /// was removed has nowhere to go, and no error.
    pub(super) async fn save_if_dirty(&self, staged: &Staged) -> Result<(), FsError> {
        let turn = self.take_turn_at_rest(staged).await;
        let Ok(place) = self.place(staged.ino) else { return Ok(()) };
        let Some(sending) = staged.begin_sending(&turn) else { return Ok(()) };
        if staged.is_base_outdated() {
            tracing::warn!(path = %place.path, "changed on the vehicle since it was opened here");
        }
        let saved = match self.check_same_vehicle(staged, &place) {
            Ok(()) => self.save(staged, &turn, &place, sending).await,
            Err(error) => Err(error),
        };
        match &saved {
            Ok(()) => {
                self.note_saved(staged, &turn, &place, sending);
                self.settle(staged, &place, sending.length).await;
            }
            Err(error) => {
                tracing::warn!(path = %place.path, %error, "could not save");
                self.note_failure(staged, error);
            }
        }
        saved
    }

    /// A writer is gone. With the last one the staged copy goes, too.
    pub(super) async fn end_writing(&self, staged: &Arc<Staged>, unsent: Unsent) {
        if staged.remove_writer() > 0 {
            return;
        }
        // A page of a shared mapping can be written back after the last flush.
        if unsent == Unsent::Keep && staged.is_untried() && !self.is_promised(staged) {
            // The error is logged, and what it means for the bytes follows.
            let _ = self.save_if_dirty(staged).await;
        }
        let turn = staged.take_turn().await;
        let place = self.place(staged.ino).ok();
        if place.is_some() && self.is_promised(staged) {
            // Nobody may look at it until it is sent, and its number must stay until then.
            self.state.lock().inodes.use_once(staged.ino);
            return;
        }
        let is_lost = unsent == Unsent::Keep && staged.is_dirty() && !staged.has_writers();
        if let Some(place) = place.filter(|_| is_lost) {
            self.keep_unsent(staged, &place, State::Failed).await;
        } else if !staged.has_writers() {
            self.note_dropped(staged).await;
        }
        self.drop_staged(staged);
        drop(turn);
    }

    async fn fetch(
        &self,
        staged: &Staged,
        turn: &Holding,
        range: std::ops::Range<u64>,
    ) -> Result<(), FsError> {
        while let Some(missing) = staged.first_missing(range.clone()) {
            let place = self.state.lock().inodes.last_place(staged.ino).cloned();
            let place = place.ok_or(FsError::Stale)?;
            let start = missing.range.start;
            let length = FETCH_BYTES.min(missing.range.end - start) as usize;
            let data = self.cache.read(&missing.base.file, &place.path, start, length).await?;
            if data.len() < length {
                // The base ends earlier than was listed: not the file that was opened.
                return Err(Error::Changed.into());
            }
            staged.fetched(turn, start, data).await?;
        }
        Ok(())
    }

    async fn save(
        &self,
        staged: &Staged,
        turn: &Holding,
        place: &Place,
        sending: Sending,
    ) -> Result<(), FsError> {
        self.fetch(staged, turn, 0..sending.length).await?;
        let upload = Upload::new(staged.bytes().clone(), sending.length);
        upload.fill().await?;
        let started = |operation, far: &RemotePath| {
            self.note_temporary(staged, far);
            upload.set_operation(operation);
        };
        let saving = self.cache.save(
            place.volume,
            &place.path,
            sending.length,
            sending.mtime,
            upload.clone(),
            Arc::new(NobodyWatches),
            &started,
        );
        let saving = async { saving.await.map_err(FsError::from) };
        let feeding =
            async { Err(upload.feed(|operation| self.cache.more(place.volume, operation)).await) };
        future::or(saving, feeding).await
    }

    fn note_saved(&self, staged: &Staged, turn: &Holding, place: &Place, sending: Sending) {
        staged.sent(turn, sending);
        // A program may have set a time while the bytes were on their way.
        let mtime = staged.mtime();
        let far = FarTime::Told(sending.mtime);
        let mut state = self.state.lock();
        state.inodes.set_own_time(staged.ino, OwnTime { mtime, size: sending.length, far });
        state.inodes.content_changed(staged.ino);
        state.name_changed(place);
    }

    pub(super) fn drop_staged(&self, staged: &Arc<Staged>) {
        let mut state = self.state.lock();
        let is_this = |held: &Arc<Staged>| Arc::ptr_eq(held, staged);
        // It may have been opened again in the meantime.
        if staged.has_writers() || !state.staged.get(&staged.ino).is_some_and(is_this) {
            return;
        }
        state.staged.remove(&staged.ino);
        state.forget_name_without_file(staged);
    }
}

impl super::State {
    /// A file that never reached the vehicle is no more when its staged copy is dropped.
    fn forget_name_without_file(&mut self, staged: &Staged) {
        let Some(place) = self.place_of(staged.ino) else { return };
        if !staged.is_on_vehicle() {
            self.inodes.orphan(&place, None);
            self.name_changed(&place);
        }
    }

    fn place_of(&self, ino: Ino) -> Option<Place> {
        self.inodes.place(ino).cloned()
    }
}

struct NobodyWatches;

impl Sink for NobodyWatches {
    fn done(&self, _: Result<Reply, Error>) {}
}
