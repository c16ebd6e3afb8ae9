//! What is known of the far side: blocks, listings and file versions, fetched once for whoever asks.
//!
//! Plain async functions over [`Remote`]'s completions; no runtime, no clock of its own. Must not
//! know which remote it speaks to, nor `fs` and `fuse`.

use std::sync::Arc;
use std::time::Duration;

use event_listener::Event;
use parking_lot::{Mutex, RwLock};

use crate::remote::ask::{ask, ask_with};
use crate::remote::{
    Class, Entry, Error, Kind, Name, Op, OpId, Remote, RemotePath, Reply, Sink, Source, Status,
    Version, save,
};

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
}

impl Default for Options {
    fn default() -> Options {
        Options {
            bytes_max: 256 << 20,
            directory_time: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            read_ahead_bytes: 256 << 10,
        }
    }
}

/// Names one volume of a cache: a remote and a root on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub u32);

/// The cache of every volume of a mount.
pub struct Cache {
    options: Options,
    #[allow(dead_code)]
    clock: Arc<dyn Clock>,
    volumes: RwLock<Vec<(Arc<dyn Remote>, RemotePath)>>,
}

impl Cache {
    /// An empty cache.
    pub fn new(clock: Arc<dyn Clock>, options: Options) -> Arc<Cache> {
        Arc::new(Cache { options, clock, volumes: RwLock::new(Vec::new()) })
    }

    /// Adds a remote. Every path given to the cache for this volume lies below `root` there.
    pub fn add_volume(&self, remote: Arc<dyn Remote>, root: RemotePath) -> VolumeId {
        let mut volumes = self.volumes.write();
        volumes.push((remote, root));
        VolumeId(volumes.len() as u32 - 1)
    }

    /// What is known of a volume's far side now. Never waits.
    pub fn status(&self, volume: VolumeId) -> Status {
        match self.far(volume) {
            Ok((remote, _)) => remote.status(),
            Err(_) => Status {
                up: false,
                epoch: 0,
                path_bytes_max: 0,
                appends: false,
                label: "no such volume".into(),
            },
        }
    }

    /// A directory's listing, cached or being fetched. Never waits. The caller must know that
    /// `path` is a directory.
    pub fn listing(&self, volume: VolumeId, path: &RemotePath) -> Arc<Listing> {
        let listing = Arc::new(Listing::default());
        if let Ok((remote, root)) = self.far(volume) {
            let op = Op::List { path: path.below(&root) };
            let patience = self.options.patience;
            remote.submit(OpId::fresh(), op, Class::Metadata, patience, listing.clone());
        }
        listing
    }

    /// What a path is, from its parent's listing; answers as soon as the page with the name has
    /// come. [`Error::NotFound`] only when the listing is complete. The root is a directory.
    pub async fn entry(&self, volume: VolumeId, path: &RemotePath) -> Result<Entry, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            let name = Name::parse(b"root").map_err(|error| Error::Failed(error.to_string()))?;
            return Ok(Entry { name, kind: Kind::Directory, size: 0, mtime: None });
        };
        self.listing(volume, &parent).find(&name).await?.ok_or(Error::NotFound)
    }

    /// Opens a file for reading; sends nothing. `entry` is what [`Cache::entry`] or a listing said.
    pub fn open(&self, volume: VolumeId, path: &RemotePath, entry: &Entry) -> Arc<OpenFile> {
        let _ = path;
        let version = Version { size: entry.size, mtime: entry.mtime, generation: 0 };
        Arc::new(OpenFile { volume, version })
    }

    /// Exactly `length` bytes from `offset`, or fewer only at the end of the file. `path` is the
    /// file's path now. [`Error::Changed`] when the file is another one than was opened.
    pub async fn read(
        &self,
        file: &OpenFile,
        path: &RemotePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, Error> {
        let (remote, root) = self.far(file.volume)?;
        let bytes = Arc::new(Collected { start: offset, bytes: Mutex::default() });
        let op = Op::Read { path: path.below(&root), offset, length: length as u64 };
        ask_with(&remote, op, Class::Demand, self.options.patience, bytes.clone()).await?;
        let mut bytes = bytes.bytes.lock();
        Ok(std::mem::take(&mut *bytes))
    }

    /// Creates a directory.
    pub async fn make_directory(&self, volume: VolumeId, path: &RemotePath) -> Result<(), Error> {
        self.ask(volume, |far| Op::MakeDirectory { path: far(path) }).await
    }

    /// Removes a file; [`Error::IsADirectory`] for a directory.
    pub async fn remove(&self, volume: VolumeId, path: &RemotePath) -> Result<(), Error> {
        self.ask(volume, |far| Op::Remove { path: far(path) }).await
    }

    /// Removes an empty directory; [`Error::NotADirectory`], [`Error::NotEmpty`].
    pub async fn remove_directory(&self, volume: VolumeId, path: &RemotePath) -> Result<(), Error> {
        self.ask(volume, |far| Op::RemoveDirectory { path: far(path) }).await
    }

    /// Renames a file, replacing a file at `to`, or a directory, replacing an empty one.
    pub async fn rename(
        &self,
        volume: VolumeId,
        from: &RemotePath,
        to: &RemotePath,
    ) -> Result<(), Error> {
        self.ask(volume, |far| Op::Rename { from: far(from), to: far(to) }).await
    }

    /// [`save::save`] under the cache's eyes: on success what it knew of `path` is replaced by
    /// `length` and `mtime` (seconds since 1970 UTC).
    #[allow(clippy::too_many_arguments)]
    pub async fn save(
        &self,
        volume: VolumeId,
        path: &RemotePath,
        length: u64,
        mtime: i64,
        source: Arc<dyn Source>,
        observer: Arc<dyn Sink>,
        started: &(dyn Fn(OpId) + Sync),
    ) -> Result<(), Error> {
        let _ = mtime;
        let (remote, root) = self.far(volume)?;
        let path = path.below(&root);
        let patience = self.options.patience;
        save::save(&remote, &path, length, source, patience, observer, started).await
    }

    /// Says that the source of a running [`Cache::save`] has more.
    pub fn more(&self, volume: VolumeId, id: OpId) {
        if let Ok((remote, _)) = self.far(volume) {
            remote.more(id);
        }
    }

    /// Sets a file's length on the far side; [`Error::Unsupported`] where the server cannot.
    pub async fn truncate(
        &self,
        volume: VolumeId,
        path: &RemotePath,
        length: u64,
    ) -> Result<(), Error> {
        self.ask(volume, |far| Op::Truncate { path: far(path), length }).await
    }

    fn far(&self, volume: VolumeId) -> Result<(Arc<dyn Remote>, RemotePath), Error> {
        self.volumes.read().get(volume.0 as usize).cloned().ok_or(Error::NotFound)
    }

    async fn ask(
        &self,
        volume: VolumeId,
        op: impl FnOnce(&dyn Fn(&RemotePath) -> RemotePath) -> Op,
    ) -> Result<(), Error> {
        let (remote, root) = self.far(volume)?;
        let op = op(&|path| path.below(&root));
        ask(&remote, op, Class::Metadata, self.options.patience).await.map(drop)
    }
}

/// A file opened for reading.
pub struct OpenFile {
    volume: VolumeId,
    version: Version,
}

impl OpenFile {
    /// The version this handle reads now: its size grows when the file does.
    /// [`Error::Changed`] when the file is another one than was opened.
    pub fn version(&self) -> Result<Version, Error> {
        Ok(self.version)
    }
}

/// A directory's entries as they arrive; an index, once answered, keeps its entry.
#[derive(Default)]
pub struct Listing {
    state: Mutex<(Vec<Entry>, Option<Result<(), Error>>)>,
    event: Event,
}

impl Listing {
    /// The entry at `index` as soon as it is there; `None` past the end.
    pub async fn at(&self, index: usize) -> Result<Option<Entry>, Error> {
        self.wait(|entries| entries.get(index).cloned()).await
    }

    /// The entry called `name` as soon as it is there; `None` when the directory has none.
    pub async fn find(&self, name: &Name) -> Result<Option<Entry>, Error> {
        self.wait(|entries| entries.iter().find(|entry| entry.name == *name).cloned()).await
    }

    /// Whether every entry is there.
    pub fn is_complete(&self) -> bool {
        matches!(self.state.lock().1, Some(Ok(())))
    }

    async fn wait(&self, pick: impl Fn(&[Entry]) -> Option<Entry>) -> Result<Option<Entry>, Error> {
        loop {
            let listener = self.event.listen();
            let seen = {
                let state = self.state.lock();
                (pick(&state.0), state.1.clone())
            };
            match seen {
                (Some(entry), _) => return Ok(Some(entry)),
                (None, Some(Ok(()))) => return Ok(None),
                (None, Some(Err(error))) => return Err(error),
                (None, None) => listener.await,
            }
        }
    }
}

impl Sink for Listing {
    fn page(&self, mut entries: Vec<Entry>) {
        entries.retain(|entry| !save::is_temporary(&entry.name));
        self.state.lock().0.append(&mut entries);
        self.event.notify(usize::MAX);
    }
    fn done(&self, result: Result<Reply, Error>) {
        self.state.lock().1 = Some(result.map(drop));
        self.event.notify(usize::MAX);
    }
}

struct Collected {
    start: u64,
    bytes: Mutex<Vec<u8>>,
}

impl Sink for Collected {
    fn data(&self, offset: u64, bytes: &[u8]) {
        let mut all = self.bytes.lock();
        let at = offset.saturating_sub(self.start) as usize;
        let end = at + bytes.len();
        if all.len() < end {
            all.resize(end, 0);
        }
        all[at..end].copy_from_slice(bytes);
    }
    fn done(&self, _: Result<Reply, Error>) {}
}
