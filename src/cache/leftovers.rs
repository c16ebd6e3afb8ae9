//! Unfinished uploads of ours on the far side, which no listing of ours shows.

use super::{Cache, VolumeId};
use crate::remote::{Error, RemotePath, save};

impl Cache {
    /// Removes an unfinished upload, named by its path on the far side, if it is there. The caller
    /// must know that it is one of ours.
    pub async fn remove_temporary(&self, volume: VolumeId, far: &RemotePath) -> Result<(), Error> {
        let (there, _) = self.meet(volume)?;
        save::remove_temporary(&there.remote, far, self.options.patience).await
    }
}
