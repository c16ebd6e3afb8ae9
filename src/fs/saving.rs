//! Between a staged copy and the vehicle: fetching what is still missing, sending what is dirty,
//! and keeping what could not be sent.

use std::future::Future;
use std::sync::Arc;

use futures_lite::future;

use super::inodes::{FarTime, OwnTime, Place};
use super::staged::{Base, Sending, Staged};
use super::turn::Holding;
use super::upload::{Fed, Upload};
use super::{Append, Fs, FsError, Ino};
use crate::cache::Saving;
use crate::remote::{Error, OpId, RemotePath, Reply, Sink};

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
        if staged.is_local() {
            return Ok(());
        }
        self.note_failed_stream(staged);
        if let Some(error) = staged.take_failure() {
            self.note_failure(staged, &error);
            return Err(error);
        }
        let Some(sending) = staged.begin_sending(&turn) else { return Ok(()) };
        let saved = self.send(staged, &turn, &place, sending).await;
        match &saved {
            Ok(()) => {
                self.send_later_time(staged, &place, sending).await;
                self.settle(staged, &place, sending.length).await;
            }
            Err(error) => {
                tracing::warn!(path = %place.path, %error, "could not save");
                staged.doubt();
                self.note_failure(staged, error);
            }
        }
        saved
    }

    /// A program set a time while the bytes were on their way.
    async fn send_later_time(&self, staged: &Staged, place: &Place, sent: Sending) {
        let mtime = staged.mtime();
        if mtime != sent.mtime && !staged.is_dirty() {
            // The file is saved; it is shown so while mounted.
            if let Err(error) = self.send_time(staged.ino, place, mtime).await {
                tracing::debug!(path = %place.path, %error, "a time is not sent");
            }
        }
    }

    /// Sends what the vehicle lacks in the cheapest way that there is.
    async fn send(
        &self,
        staged: &Staged,
        turn: &Holding,
        place: &Place,
        sending: Sending,
    ) -> Result<(), FsError> {
        if let Err(error) = self.check_same_vehicle(staged, place) {
            self.stop_streaming(staged);
            return Err(error);
        }
        if let Some(streamed) = self.finish_stream(staged, turn, sending).await {
            self.note_saved(staged, turn, place, streamed?, None);
            return Ok(());
        }
        if let Some(appended) = self.append_tail(staged, turn, place, sending).await {
            return appended;
        }
        self.send_whole(staged, turn, place, sending).await
    }

    /// Sends a file whole, to this place.
    pub(super) async fn send_whole(
        &self,
        staged: &Staged,
        turn: &Holding,
        place: &Place,
        sending: Sending,
    ) -> Result<(), FsError> {
        if staged.is_base_outdated() {
            tracing::warn!(path = %place.path, "changed on the vehicle since it was opened here");
        }
        self.check_same_vehicle(staged, place)?;
        self.save(staged, turn, place, sending).await?;
        self.note_saved(staged, turn, place, sending, None);
        Ok(())
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
        self.stop_streaming(staged);
        let place = self.place(staged.ino).ok();
        if place.is_some() && self.is_promised(staged) {
            // Nobody may look at it until it is sent, and its number must stay until then.
            self.state.lock().inodes.use_once(staged.ino);
            return;
        }
        if staged.is_local() {
            if place.is_none() {
                self.let_go(staged);
            }
            return;
        }
        let is_lost = unsent == Unsent::Keep && staged.is_dirty() && !staged.has_writers();
        if let Some(place) = place.filter(|_| is_lost) {
            self.keep_unsent(staged, &place).await;
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
        if self.cache.writes_in_place(place.volume, &place.path) {
            self.secure(staged).await?;
        }
        let upload = Upload::new(staged.bytes().clone(), sending.length);
        upload.fill().await?;
        let started = |operation, far: &RemotePath| {
            self.note_temporary(staged.bytes(), far);
            upload.set_operation(operation);
        };
        let saving = self.cache.save(place.volume, &place.path, saving(&upload, sending), &started);
        feeding(&upload, saving, |operation| self.cache.more(place.volume, operation)).await
    }

    /// Sends only the bytes that were added at the end. `None`: they are to be sent with the rest.
    async fn append_tail(
        &self,
        staged: &Staged,
        turn: &Holding,
        place: &Place,
        sending: Sending,
    ) -> Option<Result<(), FsError>> {
        let (start, is_appending) = staged.tail()?;
        let is_same = is_appending || !staged.is_base_outdated();
        if self.options.append != Append::Tail || !is_same || !staged.is_on_vehicle() {
            return None;
        }
        // What we have added before a link was cut may be there.
        let found = start..=if is_appending { sending.length } else { start };
        let upload = Upload::of_tail(staged.bytes().clone(), start, sending.length);
        // If this is cut, the vehicle has half of it and a power cut may follow.
        if let Err(error) = self.secure(staged).await {
            return Some(Err(error));
        }
        if let Err(error) = upload.fill().await {
            return Some(Err(error));
        }
        let begun = || staged.begin_appending(turn);
        let started = |operation| {
            begun();
            upload.set_operation(operation);
        };
        let saving = saving(&upload, sending);
        let saving = self.cache.append(place.volume, &place.path, saving, found, &started);
        let more = |operation| self.cache.more(place.volume, operation);
        match feeding(&upload, saving, more).await {
            Ok(()) => {}
            Err(FsError::Far(Error::Unsupported)) => return None,
            Err(error) => return Some(Err(error)),
        }
        let base = match staged.has_base() {
            true => match self.base_at(place).await {
                Ok(base) => Some(base),
                Err(error) => return Some(Err(error)),
            },
            false => None,
        };
        self.note_saved(staged, turn, place, sending, base);
        Some(Ok(()))
    }

    /// Asks what stands on the vehicle under a file's name, where a failed save has left that open. The
    /// caller has its turn.
    pub(super) async fn end_doubt(&self, staged: &Staged, place: &Place) -> Result<(), FsError> {
        if staged.is_in_doubt() {
            staged.set_on_vehicle(self.cache.is_there(place.volume, &place.path).await?);
        }
        Ok(())
    }

    /// The vehicle's version of a file as it is now.
    pub(super) async fn base_at(&self, place: &Place) -> Result<Base, FsError> {
        let entry = self.cache.entry(place.volume, &place.path).await?;
        Ok(Base::new(self.cache.open(place.volume, &place.path, &entry), entry.size))
    }

    fn note_saved(
        &self,
        staged: &Staged,
        turn: &Holding,
        place: &Place,
        sending: Sending,
        base: Option<Base>,
    ) {
        staged.sent(turn, sending, base);
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
        state.drop_copy(staged);
        if state.forget_name_without_file(staged) {
            self.tell_kernel();
        }
    }
}

impl super::State {
    /// A staged copy goes. Where its file has no name any more, nobody can read what was in it; what
    /// the vehicle had before is not what readers have seen.
    pub(super) fn drop_copy(&mut self, staged: &Staged) {
        self.staged.remove(&staged.ino);
        if staged.is_dirty() && self.inodes.place(staged.ino).is_none() {
            self.inodes.content_changed(staged.ino);
        }
    }

    /// A file that never reached the vehicle is no more when its staged copy is dropped. Answers
    /// whether it is one, of which the kernel must be told: it was shown the name.
    fn forget_name_without_file(&mut self, staged: &Staged) -> bool {
        let Some(place) = self.place_of(staged.ino).filter(|_| !staged.is_on_vehicle()) else {
            return false;
        };
        self.note_name(&place);
        self.inodes.orphan(&place, None);
        self.name_changed(&place);
        true
    }

    fn place_of(&self, ino: Ino) -> Option<Place> {
        self.inodes.place(ino).cloned()
    }
}

/// All of what is sent, with nobody who watches.
fn saving(upload: &Arc<Upload>, sending: Sending) -> Saving {
    let Sending { length, mtime, .. } = sending;
    let (source, observer) = (upload.clone(), Arc::new(NobodyWatches));
    upload.set_mtime(mtime);
    Saving { length: Some(length), mtime, source, observer }
}

/// Saves and feeds the upload meanwhile; `more` tells its operation that there is more.
async fn feeding(
    upload: &Upload,
    saving: impl Future<Output = Result<u64, Error>>,
    more: impl Fn(OpId),
) -> Result<(), FsError> {
    let saving = async { saving.await.map(drop).map_err(FsError::from) };
    let feeding = async {
        match upload.feed(more).await {
            Fed::Failed(error) => Err(error),
            Fed::Stopped => Err(Error::Cancelled.into()),
        }
    };
    future::or(saving, feeding).await
}

struct NobodyWatches;

impl Sink for NobodyWatches {
    fn done(&self, _: Result<Reply, Error>) {}
}
