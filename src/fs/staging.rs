//! Where staged bytes lie: the trait [`Store`], and the local disk. The only file of `fs` that
//! touches the disk, and it does so on the pool of `blocking`, never on the caller's thread. Must not
//! know what the bytes are for.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use blocking::unblock;

/// An answer of the disk that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A place for staged copies.
pub trait Store: Send + Sync {
    /// A new, empty file that disappears when it is dropped.
    fn create(&self) -> Later<'_, Arc<dyn StagedBytes>>;
}

/// How much of a staged copy is copied at once.
const COPIED_BYTES: usize = 64 << 10;

/// The bytes of one staged copy.
pub trait StagedBytes: Send + Sync {
    /// The bytes from `offset`: `length` of them, fewer at the end.
    fn read(&self, offset: u64, length: usize) -> Later<'_, Vec<u8>>;
    /// Writes at `offset`; a gap before it reads as zeros.
    fn write(&self, offset: u64, data: Vec<u8>) -> Later<'_, ()>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_length(&self, length: u64) -> Later<'_, ()>;
    /// Copies the bytes to where a person finds them, under `name` or one like it; says where.
    fn keep(&self, name: &[u8]) -> Later<'_, PathBuf>;
}

/// Staged copies as unnamed files on the local disk.
#[derive(Debug, Clone)]
pub struct DiskStore {
    staging: PathBuf,
    unsent: Option<PathBuf>,
}

impl DiskStore {
    /// Stages in the directory `staging`. What could not be sent is kept in the directory `unsent`,
    /// which is made when it is needed; without it, in a fresh private one beside the staged files.
    pub fn new(staging: PathBuf, unsent: Option<PathBuf>) -> DiskStore {
        DiskStore { staging, unsent }
    }

    /// Stages in `$TMPDIR` or `/var/tmp`; keeps in `$XDG_STATE_HOME/mavftp-mount/unsent`, or
    /// `~/.local/state/mavftp-mount/unsent`.
    pub fn from_environment() -> DiskStore {
        let absolute = |variable: &str| {
            std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        DiskStore {
            staging: absolute("TMPDIR").unwrap_or_else(|| PathBuf::from("/var/tmp")),
            unsent: state.map(|state| state.join("mavftp-mount/unsent")),
        }
    }
}

impl Store for DiskStore {
    fn create(&self) -> Later<'_, Arc<dyn StagedBytes>> {
        let store = self.clone();
        Box::pin(unblock(move || {
            let file = Arc::new(tempfile::tempfile_in(&store.staging)?);
            Ok(Arc::new(DiskBytes { file, store }) as Arc<dyn StagedBytes>)
        }))
    }
}

struct DiskBytes {
    file: Arc<File>,
    store: DiskStore,
}

impl StagedBytes for DiskBytes {
    fn read(&self, offset: u64, length: usize) -> Later<'_, Vec<u8>> {
        let file = self.file.clone();
        Box::pin(unblock(move || read_at(&file, offset, length)))
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Later<'_, ()> {
        let file = self.file.clone();
        Box::pin(unblock(move || file.write_all_at(&data, offset)))
    }

    fn set_length(&self, length: u64) -> Later<'_, ()> {
        let file = self.file.clone();
        Box::pin(unblock(move || file.set_len(length)))
    }

    fn keep(&self, name: &[u8]) -> Later<'_, PathBuf> {
        let (file, store, name) = (self.file.clone(), self.store.clone(), name.to_vec());
        Box::pin(unblock(move || {
            let directory = keeping_place(&store)?;
            let (kept, path) = create_beside(&directory, &name)?;
            copy_with_holes(&file, &kept)?;
            kept.sync_all()?;
            Ok(path)
        }))
    }
}

fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Copies a file to an empty one and leaves out what is zeros: what a vehicle says of a size costs no
/// room on the local disk.
fn copy_with_holes(from: &File, to: &File) -> io::Result<()> {
    let mut offset = 0;
    loop {
        let piece = read_at(from, offset, COPIED_BYTES)?;
        if piece.is_empty() {
            return to.set_len(offset);
        }
        if piece.iter().any(|byte| *byte != 0) {
            to.write_all_at(&piece, offset)?;
        }
        offset += piece.len() as u64;
    }
}

/// The recovery directory; readable by nobody else, for the bytes may be a vehicle's secrets.
fn keeping_place(store: &DiskStore) -> io::Result<PathBuf> {
    match &store.unsent {
        Some(directory) => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            Ok(directory.clone())
        }
        None => {
            let fresh = tempfile::Builder::new()
                .prefix("mavftp-mount-unsent-")
                .tempdir_in(&store.staging)?;
            Ok(fresh.keep())
        }
    }
}

/// A new file whose name begins with `name`. Never an existing one.
fn create_beside(directory: &Path, name: &[u8]) -> io::Result<(File, PathBuf)> {
    /// Leaves room for a number within the 255 bytes of a name.
    const NAME_BYTES: usize = 200;
    const ATTEMPTS: u32 = 10_000;
    let stem = &name[..name.len().min(NAME_BYTES)];
    for attempt in 0..ATTEMPTS {
        let mut candidate = stem.to_vec();
        if attempt > 0 {
            candidate.extend_from_slice(format!(".{attempt}").as_bytes());
        }
        let path = directory.join(OsString::from_vec(candidate));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match opened {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "the recovery folder is full of this name"))
}

/// Names and bytes.
#[cfg(test)]
type Kept = Vec<(Vec<u8>, Vec<u8>)>;

/// Staged copies in memory, that answer at once.
#[cfg(test)]
#[derive(Default)]
pub struct MemoryStore {
    kept: Arc<parking_lot::Mutex<Kept>>,
}

#[cfg(test)]
impl MemoryStore {
    /// What was kept for recovery.
    pub fn kept(&self) -> Kept {
        self.kept.lock().clone()
    }
}

#[cfg(test)]
impl Store for MemoryStore {
    fn create(&self) -> Later<'_, Arc<dyn StagedBytes>> {
        let bytes = MemoryBytes { bytes: Default::default(), kept: self.kept.clone() };
        Box::pin(std::future::ready(Ok(Arc::new(bytes) as Arc<dyn StagedBytes>)))
    }
}

#[cfg(test)]
struct MemoryBytes {
    bytes: parking_lot::Mutex<Vec<u8>>,
    kept: Arc<parking_lot::Mutex<Kept>>,
}

#[cfg(test)]
impl StagedBytes for MemoryBytes {
    fn read(&self, offset: u64, length: usize) -> Later<'_, Vec<u8>> {
        let bytes = self.bytes.lock();
        let start = (offset as usize).min(bytes.len());
        let end = (start + length).min(bytes.len());
        Box::pin(std::future::ready(Ok(bytes[start..end].to_vec())))
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Later<'_, ()> {
        let mut bytes = self.bytes.lock();
        let end = offset as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(&data);
        Box::pin(std::future::ready(Ok(())))
    }

    fn set_length(&self, length: u64) -> Later<'_, ()> {
        self.bytes.lock().resize(length as usize, 0);
        Box::pin(std::future::ready(Ok(())))
    }

    fn keep(&self, name: &[u8]) -> Later<'_, PathBuf> {
        self.kept.lock().push((name.to_vec(), self.bytes.lock().clone()));
        Box::pin(std::future::ready(Ok(PathBuf::from("memory"))))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn the_disk_gives_back_what_was_written_with_zeros_between() {
        let place = tempfile::tempdir().unwrap();
        let store = DiskStore::new(place.path().to_owned(), None);
        let bytes = block_on(store.create()).unwrap();
        block_on(bytes.write(3, b"abc".to_vec())).unwrap();
        block_on(bytes.set_length(8)).unwrap();
        assert_eq!(block_on(bytes.read(0, 100)).unwrap(), b"\0\0\0abc\0\0");
        assert_eq!(block_on(bytes.read(9, 1)).unwrap(), b"");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn kept_bytes_never_replace_older_ones() {
        let place = tempfile::tempdir().unwrap();
        let unsent = place.path().join("state/unsent");
        let store = DiskStore::new(place.path().to_owned(), Some(unsent.clone()));
        for content in [b"one", b"two"] {
            let bytes = block_on(store.create()).unwrap();
            block_on(bytes.write(0, content.to_vec())).unwrap();
            block_on(bytes.keep(b"params.txt")).unwrap();
        }
        assert_eq!(std::fs::read(unsent.join("params.txt")).unwrap(), b"one");
        assert_eq!(std::fs::read(unsent.join("params.txt.1")).unwrap(), b"two");
    }

    #[test]
    fn kept_holes_take_no_room() {
        let place = tempfile::tempdir().unwrap();
        let store = DiskStore::new(place.path().to_owned(), None);
        let bytes = block_on(store.create()).unwrap();
        let length = 64 << 20;
        block_on(bytes.write(length - 1, b"x".to_vec())).unwrap();
        let kept = block_on(bytes.keep(b"a")).unwrap().metadata().unwrap();
        assert_eq!(kept.len(), length);
        assert!(kept.blocks() < 1024, "{} blocks", kept.blocks());
    }

    #[test]
    fn without_a_recovery_folder_a_private_one_is_made() {
        let place = tempfile::tempdir().unwrap();
        let store = DiskStore::new(place.path().to_owned(), None);
        let bytes = block_on(store.create()).unwrap();
        block_on(bytes.write(0, b"x".to_vec())).unwrap();
        let kept = block_on(bytes.keep(b"a")).unwrap();
        assert!(kept.starts_with(place.path()));
        assert_eq!(std::fs::read(kept).unwrap(), b"x");
    }
}
