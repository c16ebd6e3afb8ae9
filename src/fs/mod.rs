//! The filesystem: inodes, handles and staged copies over the cache, as plain async functions.
//!
//! Must not know the kernel's side (`fuse`), so that all of it runs in tests without a kernel. No
//! lock is held across `.await`; who changes a staged copy waits for its turn.

mod attributes;
mod background;
mod directories;
mod errno;
mod files;
mod handles;
mod holdings;
mod inodes;
mod intervals;
mod keeping;
mod made_up;
mod moving;
mod names;
mod notices;
mod pace;
mod promises;
mod rename;
mod resize;
mod saving;
mod scratch;
mod spelling;
mod staged;
mod staging;
mod streaming;
mod turn;
mod upload;
mod xattr;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use event_listener::Event;
use parking_lot::Mutex;

use crate::cache::{Cache, Fresh, VolumeId};
use crate::remote::{Entry, Kind, Name, Nature, RemotePath};

pub use attributes::{Attr, SetAttr, Statfs};
pub use background::{Background, Work};
pub use directories::DirectoryEntry;
pub use errno::FsError;
pub use files::{Closing, Opened};
pub use handles::{Access, Handle};
#[doc(hidden)]
pub use holdings::Holdings;
pub use inodes::Ino;
pub use notices::Notice;
pub use staging::{Change, DiskStore, Later, StagedBytes, Store};
pub use xattr::{CHECKSUM_BYTES_MAX, CHECKSUM_DIGITS, CHECKSUM_NAME};

use handles::Handles;
use inodes::{Inodes, Place, Standing};
use moving::Moves;
use promises::Promises;
use staged::Staged;

/// The default of [`FsOptions::max_edit_bytes`].
pub const MAX_EDIT_BYTES: u64 = 32 << 20;

/// How the files look and how they are changed.
#[derive(Debug, Clone)]
pub struct FsOptions {
    /// Owner of every file.
    pub uid: u32,
    /// Group of every file.
    pub gid: u32,
    /// Permission bits of files.
    pub file_mode: u16,
    /// Permission bits of directories.
    pub directory_mode: u16,
    /// Every change is refused.
    pub read_only: bool,
    /// Shown where nobody knows a modification time; seconds since 1970 UTC.
    pub mount_time: i64,
    /// The vehicle or server as the user wrote it.
    pub source: String,
    /// Tells this mount from every other.
    pub session: String,
    /// When changes must be on the vehicle.
    pub write_back: WriteBack,
    /// How bytes are added to a file.
    pub append: Append,
    /// The largest file that is fetched because a program changes a part of it, in bytes.
    pub max_edit_bytes: u64,
    /// Editors' scratch files stay here.
    pub scratch_guard: bool,
    /// File managers' droppings are answered here.
    pub trash_guard: bool,
}

/// When changes must be on the vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum WriteBack {
    /// When a file is closed: close and fsync return what became of the upload.
    #[default]
    Close,
    /// Some time after it was closed; what could not be sent yet is kept, and sent later.
    Async,
}

/// How bytes are added to a file that the vehicle has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Append {
    /// Only they are sent, where the server keeps the rest; a cut link can leave a part of them.
    #[default]
    Tail,
    /// The whole file is sent anew.
    Rewrite,
}

impl Default for FsOptions {
    fn default() -> FsOptions {
        FsOptions {
            uid: 0,
            gid: 0,
            file_mode: 0o644,
            directory_mode: 0o755,
            read_only: false,
            mount_time: 0,
            source: String::new(),
            session: String::new(),
            write_back: WriteBack::default(),
            append: Append::default(),
            max_edit_bytes: MAX_EDIT_BYTES,
            scratch_guard: true,
            trash_guard: true,
        }
    }
}

/// Tells the time of day: seconds since 1970 UTC.
pub type WallClock = Box<dyn Fn() -> i64 + Send + Sync>;

/// A mounted filesystem.
pub struct Fs {
    cache: Arc<Cache>,
    volume: VolumeId,
    store: Arc<dyn Store>,
    background: Arc<dyn Background>,
    promises: Promises,
    options: FsOptions,
    wall_clock: WallClock,
    state: Mutex<State>,
    /// Names have been changed that uploads may wait for.
    rested: Event,
    /// For the contents of virtual files.
    made_up: made_up::Budget,
    /// There is something that the kernel must be told.
    noticed: Arc<Event>,
}

struct State {
    inodes: Inodes,
    handles: Handles,
    staged: BTreeMap<Ino, Arc<Staged>>,
    moves: Moves,
    /// The far side that all of this is about.
    epoch: u64,
    notices: Vec<Notice>,
    /// Names of which the kernel was told lately that they are not there.
    absent: VecDeque<(Ino, Name)>,
}

/// What stands at a place.
enum Found {
    /// A file with a staged copy.
    Staged(Arc<Staged>),
    /// A file or directory of the vehicle.
    Entry(Entry),
}

impl Fs {
    /// A filesystem whose root is the root of `volume`.
    pub fn new(
        cache: Arc<Cache>,
        volume: VolumeId,
        store: Arc<dyn Store>,
        background: Arc<dyn Background>,
        options: FsOptions,
        wall_clock: WallClock,
    ) -> Arc<Fs> {
        let root = Place { volume, path: RemotePath::root() };
        let state = State {
            inodes: Inodes::new(root),
            handles: Handles::default(),
            staged: BTreeMap::new(),
            moves: Moves::default(),
            epoch: cache.far_side(volume).epoch,
            notices: Vec::new(),
            absent: VecDeque::new(),
        };
        Arc::new(Fs {
            noticed: cache.news_event(),
            cache,
            volume,
            store,
            background,
            promises: Promises::default(),
            options,
            wall_clock,
            state: Mutex::new(state),
            rested: Event::new(),
            made_up: made_up::Budget::default(),
        })
    }

    fn now(&self) -> i64 {
        (self.wall_clock)()
    }

    /// Where an inode stands. [`FsError::Stale`] when its name was removed or given to another.
    fn place(&self, ino: Ino) -> Result<Place, FsError> {
        self.synced().inodes.place(ino).cloned().ok_or(FsError::Stale)
    }

    /// What stands at a place; `None` when nothing does.
    async fn find(&self, place: &Place) -> Result<Option<Found>, FsError> {
        Ok(self.look(place).await?.value)
    }

    /// [`Fs::find`], with how long that holds.
    async fn look(&self, place: &Place) -> Result<Fresh<Option<Found>>, FsError> {
        if let Some(staged) = self.state.lock().staged_at(place) {
            let valid = self.cache.directory_time();
            return Ok(Fresh { value: Some(Found::Staged(staged)), valid });
        }
        let Fresh { value, valid } = self.cache.look(place.volume, &place.path).await?;
        Ok(Fresh { value: value.map(Found::Entry), valid })
    }

    /// Fails unless this place may be changed.
    fn check_writable(&self, place: &Place) -> Result<(), FsError> {
        let writable = match self.cache.nature(place.volume, &place.path) {
            Nature::Ordinary => !self.options.read_only,
            Nature::ReadOnly | Nature::MadeUp => false,
        };
        if writable { Ok(()) } else { Err(FsError::ReadOnly) }
    }

    /// Fails unless something new may stand at this place.
    fn check_creatable(&self, place: &Place, name: &Name) -> Result<(), FsError> {
        self.check_writable(place)?;
        if self.is_dropping(name) {
            return Err(FsError::Dropping);
        }
        self.check_name(place, name)?;
        if place.path.as_bytes().len() > self.cache.path_bytes_max(place.volume) {
            return Err(FsError::NameTooLong);
        }
        Ok(())
    }
}

impl Fs {
    /// Whether a name is kept off the vehicle.
    fn is_dropping(&self, name: &Name) -> bool {
        self.options.trash_guard && is_dropping(name)
    }
}

impl State {
    /// The place of a name in a directory.
    fn child(&self, parent: Ino, name: &Name) -> Result<Place, FsError> {
        let Some(Standing::At(directory)) = self.inodes.standing(parent) else {
            return Err(FsError::Stale);
        };
        match self.inodes.kind(parent) {
            Some(Kind::Directory) => Ok(directory.at(directory.path.join(name))),
            Some(Kind::File) => Err(FsError::NotADirectory),
            None => Err(FsError::Stale),
        }
    }

    fn staged_at(&self, place: &Place) -> Option<Arc<Staged>> {
        self.staged.get(&self.inodes.find(place)?).cloned()
    }

    /// The staged copies of files at and below a place.
    fn staged_within(&self, place: &Place) -> Vec<Arc<Staged>> {
        let is_within = |staged: &&Arc<Staged>| {
            self.inodes
                .place(staged.ino)
                .is_some_and(|at| at.volume == place.volume && at.path.is_within(&place.path))
        };
        self.staged.values().filter(is_within).cloned().collect()
    }

    /// This mount changed what stands at a place: listings that are open are old there.
    fn name_changed(&mut self, place: &Place) {
        let (Some(parent), Some(name)) = (place.path.parent(), place.path.name()) else { return };
        if let Some(directory) = self.inodes.find(&place.at(parent)) {
            self.handles.name_changed(directory, &name);
        }
    }
}

/// Whether a name is one that file managers look for and leave in every directory. They are
/// answered here: nothing is asked of the vehicle, and nothing is left on it.
fn is_dropping(name: &Name) -> bool {
    const NAMES: [&[u8]; 5] =
        [b".DS_Store", b"desktop.ini", b"autorun.inf", b".xdg-volume-info", b".hidden"];
    const BEGINNINGS: [&[u8]; 2] = [b".Trash", b"._"];
    let name = name.as_bytes();
    NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}
