//! Cutting and lengthening files, through their staged copies.

use std::ops::Range;
use std::sync::Arc;

use super::handles::Handle;
use super::inodes::{FarTime, Ino, OwnTime};
use super::saving::Unsent;
use super::staged::{Base, FILE_BYTES_MAX, Staged};
use super::turn::Holding;
use super::{Append, Fs, FsError};
use crate::remote::Error;

/// From this size on it is tried to cut a file where it lies; smaller ones are sent again.
const CUT_IN_PLACE_BYTES: u64 = 4 << 10;

impl Fs {
    /// Sets a file's length. Without a handle it is on the vehicle when this returns; with one, it
    /// is sent with the rest, and who has the file open learns of an error.
    pub(super) async fn resize(
        &self,
        ino: Ino,
        handle: Option<Handle>,
        size: u64,
    ) -> Result<(), FsError> {
        if size > FILE_BYTES_MAX {
            return Err(FsError::TooLarge);
        }
        let staged = self.stage(ino).await?;
        if handle.is_some() {
            let turn = staged.take_turn().await;
            let result = self.set_length(&staged, &turn, size).await;
            drop(turn);
            self.end_writing(&staged, Unsent::Keep).await;
            return result;
        }
        let turn = self.take_turn_at_rest(&staged).await;
        let was_clean = !staged.is_dirty();
        let result = match self.cut_in_place(&staged, &turn, size).await {
            Ok(true) => Ok(()),
            Ok(false) => self.set_length(&staged, &turn, size).await,
            Err(error) => Err(error),
        };
        let ours = staged.generation();
        drop(turn);
        let result = match result {
            Ok(()) => self.save_or_promise(&staged).await,
            Err(error) => Err(error),
        };
        // On an error the vehicle still has the whole file and the caller is told: nothing to keep,
        // unless another has written meanwhile.
        let is_ours = was_clean && staged.generation() == ours;
        self.end_writing(&staged, if is_ours { Unsent::Discard } else { Unsent::Keep }).await;
        result
    }

    /// Fails when a change would make it necessary to fetch more of the vehicle's file than is allowed.
    pub(super) fn check_edit(&self, staged: &Staged, range: Range<u64>) -> Result<(), FsError> {
        let place = self.state.lock().inodes.last_place(staged.ino).cloned();
        let tail = self.options.append == Append::Tail;
        let appends = tail && place.is_some_and(|place| self.cache.can_append(place.volume));
        match staged.would_need(range, appends) <= self.options.max_edit_bytes {
            true => Ok(()),
            false => Err(FsError::TooLarge),
        }
    }

    async fn set_length(&self, staged: &Staged, turn: &Holding, size: u64) -> Result<(), FsError> {
        if staged.length() == size {
            return Ok(());
        }
        self.check_edit(staged, size..size)?;
        self.stop_streaming(staged);
        staged.set_length(turn, size, self.now()).await?;
        self.write_down(staged).await
    }

    /// Cuts a large, clean file where it lies; false where the server cannot.
    async fn cut_in_place(
        &self,
        staged: &Arc<Staged>,
        turn: &Holding,
        size: u64,
    ) -> Result<bool, FsError> {
        let length = staged.length();
        let is_same = staged.is_on_vehicle() && !staged.is_dirty();
        // Emptying is cheap for any server, and not every server that cuts can also lengthen.
        if !is_same || size == 0 || size >= length || length < CUT_IN_PLACE_BYTES {
            return Ok(false);
        }
        let place = self.place(staged.ino)?;
        self.check_same_vehicle(staged, &place)?;
        match self.cache.truncate(place.volume, &place.path, size).await {
            Ok(()) => {}
            Err(Error::Unsupported) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let entry = self.cache.entry(place.volume, &place.path).await?;
        let base = Base::new(self.cache.open(place.volume, &place.path, &entry), entry.size);
        let mtime = self.now();
        staged.cut_to(turn, base, mtime).await?;
        let own = OwnTime { mtime, size: entry.size, far: FarTime::Told(mtime) };
        let mut state = self.state.lock();
        state.inodes.content_changed(staged.ino);
        state.inodes.set_own_time(staged.ino, own);
        state.name_changed(&place);
        Ok(true)
    }
}
