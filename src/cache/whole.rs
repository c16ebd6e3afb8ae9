//! A file read whole and past the cache, for files that are made when they are opened: nothing of one
//! opening may be given to another.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Cache, VolumeId};
use crate::remote::ask::ask_with;
use crate::remote::{Class, Error, Nature, Op, RemotePath, Reply, Sink};

/// A file whose session was lost on the way is read anew so often.
const TRIES: u32 = 3;

impl Cache {
    /// What kind of place this is on the far side.
    pub fn nature(&self, volume: VolumeId, path: &RemotePath) -> Nature {
        match self.volume(volume) {
            Ok(volume) => volume.remote.status().nature(&path.below(&volume.root)),
            Err(_) => Nature::Ordinary,
        }
    }

    /// All bytes of one opening of a file, to the end that reading finds; [`Error::TooLarge`] when there
    /// are more than `bytes_max`.
    pub async fn read_whole(
        &self,
        volume: VolumeId,
        path: &RemotePath,
        bytes_max: usize,
    ) -> Result<Vec<u8>, Error> {
        for _ in 0..TRIES {
            let (far, _) = self.meet(volume)?;
            let pieces = Arc::new(Pieces::default());
            let length = bytes_max as u64 + 1;
            let path = path.below(&far.root);
            let op = Op::Read { path, offset: 0, length, expected: None };
            let patience = self.options.patience;
            let read = ask_with(&far.remote, op, Class::Demand, patience, pieces.clone());
            match read.await {
                Ok(_) => return pieces.join(bytes_max),
                Err(Error::Changed) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Changed)
    }
}

/// What has come, by its offset.
#[derive(Default)]
struct Pieces(Mutex<BTreeMap<u64, Vec<u8>>>);

impl Pieces {
    fn join(&self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut joined = Vec::new();
        for (offset, piece) in std::mem::take(&mut *self.0.lock()) {
            let known = (joined.len() as u64).checked_sub(offset);
            let known = known.ok_or_else(|| Error::Failed("a file came with a hole".into()))?;
            joined.extend_from_slice(piece.get(known as usize..).unwrap_or_default());
        }
        if joined.len() > bytes_max { Err(Error::TooLarge) } else { Ok(joined) }
    }
}

impl Sink for Pieces {
    fn data(&self, offset: u64, bytes: &[u8]) {
        let mut pieces = self.0.lock();
        // Told twice, a byte is the same.
        if pieces.get(&offset).is_none_or(|piece| piece.len() < bytes.len()) {
            pieces.insert(offset, bytes.to_vec());
        }
    }
    fn done(&self, _: Result<Reply, Error>) {}
}
