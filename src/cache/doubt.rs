//! What becomes of what is known when another far side answers than before, or one of which nobody can
//! tell. Must not know how that is found out.

use super::files::FileId;
use super::known::Known;
use super::read::OpenFile;
use super::{Cache, VolumeId};
use crate::remote::{Error, RemotePath, Status};

/// A listing that a change of ours overtook shows nothing, and is fetched again so often.
const LOOKS_MAX: usize = 4;

/// Which far side answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FarSide {
    /// Grows with every one that is another, or may be.
    pub epoch: u64,
    /// The last epoch that is certainly another far side's than the one before.
    pub last_other: u64,
}

impl Cache {
    /// Notices whether a volume's far side is another one than before, and forgets what was known
    /// then. Where it may be the same, files that are open stay as they were until they are listed.
    pub fn far_side(&self, volume: VolumeId) -> FarSide {
        self.meet(volume).map_or(FarSide::default(), |(_, status)| FarSide {
            epoch: status.epoch,
            last_other: status.last_other,
        })
    }

    /// Sees whether an open file is still the same where the far side may be another one: by size and
    /// time in a new listing of its directory. [`Error::Changed`] when it is not; else the error with
    /// which the listing failed, and the doubt stays.
    pub(super) async fn clear_doubt(&self, file: &OpenFile) -> Result<(), Error> {
        for _ in 0..LOOKS_MAX {
            let Some(path) = self.with(|known| known.doubted(file.id)) else { return Ok(()) };
            match self.entry(file.volume, &path).await {
                Ok(_) | Err(Error::NotFound | Error::NotADirectory) => {}
                Err(error) => return Err(error),
            }
        }
        // Nothing lists it: what it was in is gone.
        self.with(|known| {
            if let Some(path) = known.doubted(file.id) {
                known.orphan(file.volume, &path);
            }
        });
        Err(Error::Changed)
    }
}

impl Known {
    /// Forgets a volume whose far side is another one than before; of one that may be the same, all
    /// but the records of files that are open, if a listing can show that they are the same.
    pub fn meet(&mut self, volume: VolumeId, status: &Status) {
        let last = self.epochs.entry(volume).or_insert(status.epoch);
        if status.epoch <= *last {
            return;
        }
        let is_other = status.last_other > *last;
        *last = status.epoch;
        self.folds.remove(&volume);
        let epoch = status.epoch;
        tracing::info!(volume = volume.0, epoch, is_other, "forgetting what was cached");
        self.listings.forget_within(volume, &RemotePath::root());
        for (path, id) in self.files.within(volume, &RemotePath::root()) {
            self.blocks.forget(id);
            if is_other || !self.begin_doubt(id) {
                self.orphan(volume, &path);
            }
        }
    }

    fn begin_doubt(&mut self, id: FileId) -> bool {
        let is_kept = self.files.get(id).is_some_and(|record| record.begin_doubt());
        if is_kept {
            // What is on its way may be another's; who waits for it asks again when that is known.
            self.abandon_flights(id, Error::Cancelled);
        }
        is_kept
    }

    /// Where a file stands that may be another one's by now.
    fn doubted(&mut self, id: FileId) -> Option<RemotePath> {
        let record = self.files.get(id)?;
        record.path.clone().filter(|_| record.in_doubt)
    }
}
