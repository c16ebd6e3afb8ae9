//! What is known of the far side: blocks, listings and file versions, fetched once for whoever asks.
//!
//! Plain async functions over [`Remote`]'s completions; no runtime, no clock of its own. Must not
//! know which remote it speaks to, nor `fs` and `fuse`.
//!
//! ```text
//! read.rs, changes.rs   what is asked for        → submit to the Remote, with no lock held
//! known.rs              all that is known        one lock; evidence about one thing, applied to all
//! fresh.rs              how long it may be believed
//! doubt.rs              what is left of it when another far side answers, or may
//! blocks.rs files.rs record.rs listings.rs news.rs read_ahead.rs   its parts
//! neighbours.rs         files that are likely to be read next
//! fetch.rs, listings.rs the sinks                ← called by the Remote's thread
//! ```

mod blocks;
mod changes;
mod doubt;
mod fetch;
mod files;
mod fresh;
mod known;
mod leftovers;
mod listings;
mod neighbours;
mod news;
mod read;
mod read_ahead;
mod reading;
mod record;
mod saving;
mod spelling;
#[cfg(test)]
mod tests;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::remote::{Class, Entry, Error, Kind, Name, Op, OpId, Remote, RemotePath, Status, save};
use known::{Known, Shared};
use neighbours::Trails;

pub use doubt::FarSide;
pub use fresh::Fresh;
pub use listings::Listing;
pub use news::News;
pub use read::OpenFile;
pub use saving::Saving;

/// What [`Cache::entry`] calls the root, which has no name.
const ROOT_NAME: &[u8] = b"root";

/// Monotonic time since an arbitrary start; the real one lives where the layers are joined.
pub trait Clock: Send + Sync {
    /// Time since the start.
    fn now(&self) -> Duration;
}

/// How much is kept, for how long, and how patient requests are.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most bytes of file content kept.
    pub bytes_max: usize,
    /// How long a listing is believed.
    pub directory_time: Duration,
    /// Longest time without progress of any operation.
    pub patience: Duration,
    /// Most bytes fetched ahead of a sequential reader.
    pub read_ahead_bytes: u64,
    /// How files are saved.
    pub saving: save::Policy,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            bytes_max: 256 << 20,
            directory_time: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            read_ahead_bytes: 256 << 10,
            saving: save::Policy::default(),
        }
    }
}

/// Names one volume of a cache: a remote and a root on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub u32);

/// The cache of every volume of a mount. Dropping it cancels what it has under way.
pub struct Cache {
    options: Options,
    volumes: RwLock<Vec<Volume>>,
    shared: Arc<Shared>,
    trails: Trails,
}

/// A far side, and the place on it that our root stands for.
#[derive(Clone)]
struct Volume {
    remote: Arc<dyn Remote>,
    root: RemotePath,
}

impl Cache {
    /// An empty cache.
    pub fn new(clock: Arc<dyn Clock>, options: Options) -> Arc<Cache> {
        let shared = Shared::new(clock, options.bytes_max);
        let (volumes, trails) = (RwLock::default(), Trails::default());
        Arc::new(Cache { options, volumes, shared, trails })
    }

    /// Adds a remote. Every path given to the cache for this volume lies below `root` there.
    pub fn add_volume(&self, remote: Arc<dyn Remote>, root: RemotePath) -> VolumeId {
        let mut volumes = self.volumes.write();
        volumes.push(Volume { remote, root });
        VolumeId(volumes.len() as u32 - 1)
    }

    /// What is known of a volume's far side now. Never waits.
    pub fn status(&self, volume: VolumeId) -> Status {
        match self.volume(volume) {
            Ok(volume) => volume.remote.status(),
            Err(_) => Status {
                up: false,
                epoch: 0,
                last_other: 0,
                path_bytes_max: 0,
                appends: false,
                streams: false,
                label: "no such volume".into(),
                identity: None,
                armed: false,
                has_virtual: false,
                sets_times: false,
                has_room: false,
                saves: false,
                uploads: 1,
            },
        }
    }

    /// Longest path that a volume takes, in bytes.
    pub fn path_bytes_max(&self, volume: VolumeId) -> usize {
        let Ok(far) = self.volume(volume) else { return 0 };
        let above = if far.root.is_root() { 0 } else { far.root.as_bytes().len() };
        far.remote.status().path_bytes_max.saturating_sub(above)
    }

    /// Where a path of ours lies on the far side, whatever part of it is mounted.
    pub fn far_path(&self, volume: VolumeId, path: &RemotePath) -> RemotePath {
        self.volume(volume).map_or_else(|_| path.clone(), |far| path.below(&far.root))
    }

    /// A directory's listing: cached while it is fresh, or while the link is lost; else being
    /// fetched, once for all who ask. Never waits. The caller must know that `path` is a directory:
    /// one server ends when a file is listed.
    pub fn listing(&self, volume: VolumeId, path: &RemotePath) -> Arc<Listing> {
        let (far, status) = match self.meet(volume) {
            Ok(far) => far,
            Err(error) => return Listing::failed(error),
        };
        let age_max = if status.up { self.options.directory_time } else { Duration::MAX };
        let key = (volume, path.clone());
        let op = OpId::fresh();
        let (listing, begun) =
            self.with(|known| match known.listings.current(&key, known.now, age_max) {
                Some(listing) => (listing, false),
                None => {
                    let listing = Listing::under_way(&self.shared, key.clone(), op);
                    known.listings.begin(key, op, listing.clone());
                    known.running.insert(op, volume);
                    (listing, true)
                }
            });
        if begun {
            let list = Op::List { path: path.below(&far.root) };
            let patience = self.options.patience;
            far.remote.submit(op, list, Class::Metadata, patience, listing.clone());
        }
        listing
    }

    /// What a path is, from its parent's listing; answers as soon as the page with the name has
    /// come. [`Error::NotFound`] only when the listing is complete, [`Error::NotADirectory`] when a
    /// file stands in the way. The root is a directory.
    pub async fn entry(&self, volume: VolumeId, path: &RemotePath) -> Result<Entry, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            let name = Name::parse(ROOT_NAME).map_err(|error| Error::Failed(error.to_string()))?;
            return Ok(listings::directory_entry(name));
        };
        self.expect_directory(volume, &parent).await?;
        self.listing(volume, &parent).find(&name).await?.ok_or(Error::NotFound)
    }

    /// Makes sure that a directory may be listed, from what is known or by listing what is above.
    async fn expect_directory(&self, volume: VolumeId, path: &RemotePath) -> Result<(), Error> {
        let lineage: Vec<RemotePath> =
            std::iter::successors(Some(path.clone()), RemotePath::parent).collect();
        let unknown = self.with(|known| {
            lineage.iter().take_while(|path| !known.is_directory(volume, path)).count()
        });
        for path in lineage[..unknown].iter().rev() {
            let (Some(parent), Some(name)) = (path.parent(), path.name()) else { continue };
            match self.listing(volume, &parent).find(&name).await?.map(|entry| entry.kind) {
                Some(Kind::Directory) => {}
                Some(Kind::File) => return Err(Error::NotADirectory),
                None => return Err(Error::NotFound),
            }
        }
        Ok(())
    }

    fn volume(&self, volume: VolumeId) -> Result<Volume, Error> {
        self.volumes.read().get(volume.0 as usize).cloned().ok_or(Error::NotFound)
    }

    /// A volume and its state now; forgets what was known when it is another far side.
    fn meet(&self, volume: VolumeId) -> Result<(Volume, Status), Error> {
        let far = self.volume(volume)?;
        let status = far.remote.status();
        self.with(|known| known.meet(volume, &status));
        Ok((far, status))
    }

    /// Works on what is known, then tells the remotes what nobody waits for any more.
    fn with<R>(&self, work: impl FnOnce(&mut Known) -> R) -> R {
        let (result, abandoned) = self.shared.with(|known| {
            let result = work(known);
            (result, known.take_abandoned())
        });
        for (volume, id) in abandoned {
            if let Ok(volume) = self.volume(volume) {
                volume.remote.cancel(id);
            }
        }
        result
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let running: Vec<_> = self.shared.with(|known| known.running.drain().collect());
        for (id, volume) in running {
            if let Ok(volume) = self.volume(volume) {
                volume.remote.cancel(id);
            }
        }
    }
}
