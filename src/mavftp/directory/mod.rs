//! A folder of the disk as [`Files`] of a server. Must not know links or clients.
//!
//! Confined to its root: paths are resolved beneath the opened root, what changes the tree acts on an
//! opened parent folder, and a file is opened only once it is known to be one. Only files and folders
//! are served; a pipe, socket or device is as good as absent and is never opened, and so is what is
//! hidden.

mod beneath;
mod hide;
mod opened;
mod quota;
mod system;
mod tree;
mod walk;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

pub use hide::{Pattern, PatternError};
pub use opened::OpenFile;

use beneath::{PATIENT_FLAGS, Reached, Root};
use hide::Hidden;
use quota::Quota;
use system::{Kind, Stat};

use crate::mavftp::server::files::{EINVAL, EISDIR, ENOSPC, ENOTDIR};
use crate::mavftp::server::{Content, Files, LISTING_ENTRIES_MAX, ServedPath, nak_of_errno};
use crate::mavftp::wire::{Nak, WireEntry};

/// New files are readable and writable for whom the umask lets.
const NEW_FILE_MODE: u32 = 0o666;
const NEW_DIRECTORY_MODE: u32 = 0o777;

/// What clients may do and see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether they may change anything.
    pub writable: bool,
    /// What is as good as absent.
    pub hide: Vec<Pattern>,
    /// Most bytes of all files together, hidden ones included.
    pub max_bytes: Option<u64>,
}

impl fmt::Display for Options {
    /// For people: `writable, at most 1024 bytes, without *.key`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.writable { "writable" } else { "read-only" })?;
        if let Some(max) = self.max_bytes {
            write!(out, ", at most {max} bytes")?;
        }
        for (at, pattern) in self.hide.iter().enumerate() {
            write!(out, "{}{pattern}", if at == 0 { ", without " } else { " " })?;
        }
        Ok(())
    }
}

/// A folder that is served. Clones are the same folder, with one quota for all.
#[derive(Clone)]
pub struct Directory {
    shared: Arc<Shared>,
}

struct Shared {
    root: Root,
    writable: bool,
    quota: Option<Arc<Quota>>,
}

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is nothing under this name.
    #[error("it does not exist")]
    DoesNotExist,
    /// It is something else.
    #[error("it is not a directory")]
    NotADirectory,
    /// It cannot be read.
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for RootError {
    fn from(error: io::Error) -> RootError {
        match error.kind() {
            io::ErrorKind::NotFound => RootError::DoesNotExist,
            io::ErrorKind::NotADirectory => RootError::NotADirectory,
            _ => RootError::Io(error),
        }
    }
}

impl Directory {
    /// Opens a folder to serve it; links in `path` itself are followed. With a quota, what is there
    /// is counted first. What the error means to a user: [`RootError::from`].
    pub fn open(path: &Path, options: &Options) -> io::Result<Directory> {
        let root = Root::open(path, Hidden::new(&options.hide))?;
        Directory::over(root, options)
    }

    fn over(root: Root, options: &Options) -> io::Result<Directory> {
        let quota = match options.max_bytes {
            Some(max) => Some(Arc::new(Quota::new(root.folder(), max)?)),
            None => None,
        };
        let writable = options.writable;
        Ok(Directory { shared: Arc::new(Shared { root, writable, quota }) })
    }

    fn hidden(&self) -> &Hidden {
        &self.shared.root.hidden
    }

    fn check_writable(&self) -> Result<(), Nak> {
        if self.shared.writable { Ok(()) } else { Err(Nak::FileProtected) }
    }

    fn reach(&self, path: &ServedPath) -> Result<Reached, Nak> {
        self.shared.root.reach(path).map_err(nak)
    }

    fn open_existing(&self, path: &ServedPath, flags: i32) -> Result<OpenFile, Nak> {
        let reached = self.reach(path)?;
        check_regular(&reached.stat)?;
        let file = self.shared.root.open_reached(&reached, flags).map_err(nak)?;
        self.opened(file)
    }

    fn opened(&self, file: OwnedFd) -> Result<OpenFile, Nak> {
        OpenFile::new(File::from(file), self.shared.quota.as_ref()).map_err(nak)
    }

    /// Makes a file where nothing is, not even a link.
    fn create(&self, path: &ServedPath) -> Result<OpenFile, Nak> {
        let spot = self.spot(path)?;
        self.check_free_to_name(&spot)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let flags = flags | PATIENT_FLAGS;
        let file = system::open_at(&spot.folder, spot.name, flags, NEW_FILE_MODE).map_err(nak)?;
        self.opened(file)
    }

    /// The folder that holds `path`, and the name in it. The root itself cannot be changed.
    fn spot<'a>(&self, path: &'a ServedPath) -> Result<Spot<'a>, Nak> {
        let (parent, name) = path.split().ok_or(Nak::FileProtected)?;
        let parent = self.reach(&parent)?;
        match parent.stat.kind {
            Kind::Directory => Ok(Spot { folder: parent.place, at: parent.at, name }),
            Kind::File | Kind::Link | Kind::Other => Err(Nak::FailErrno(ENOTDIR)),
        }
    }

    /// What stands at a name; a link is not followed.
    fn look(&self, spot: &Spot) -> Result<Stat, Nak> {
        if !self.hidden().shows(&spot.folder, &spot.at, spot.name).map_err(nak)? {
            return Err(Nak::FileNotFound);
        }
        system::stat_at(&spot.folder, spot.name).map_err(nak)
    }

    /// Refuses to give something a hidden name, whether or not anything has that name.
    fn check_free_to_name(&self, spot: &Spot) -> Result<(), Nak> {
        if self.hidden().hides(&spot.at, spot.name) { Err(Nak::FileProtected) } else { Ok(()) }
    }

    /// Whether a rename may replace what is at the new name.
    fn check_replaceable(&self, spot: &Spot) -> Result<(), Nak> {
        self.check_free_to_name(spot)?;
        match system::stat_at(&spot.folder, spot.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(nak(error)),
            // Another spelling of a name that may be hidden.
            Ok(_) if self.look(spot).is_err() => Err(Nak::FileProtected),
            Ok(stat) => match stat.kind {
                Kind::File | Kind::Link => Ok(()),
                Kind::Directory => Err(Nak::FileExists),
                Kind::Other => Err(Nak::FileProtected),
            },
        }
    }

    /// Refuses to move a folder where that would show what is hidden in it, or hide what is not.
    fn check_moves_alike(&self, old: &Spot, new: &Spot) -> Result<(), Nak> {
        if !self.hidden().depends_on_paths() {
            return Ok(());
        }
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let folder = system::open_at(&old.folder, old.name, flags, 0).map_err(nak)?;
        let (from, to) = (walk::joined(&old.at, old.name), walk::joined(&new.at, new.name));
        let mut alike = true;
        let seen = tree::visit(&folder, &from, |at, name, _| {
            let moved = [&to[..], &at[from.len()..]].concat();
            alike &= self.hidden().hides(at, name) == self.hidden().hides(&moved, name);
        });
        if seen.is_ok() && alike { Ok(()) } else { Err(Nak::FileProtected) }
    }

    /// Does what takes a name from what stands at it.
    fn release(&self, spot: &Spot, change: impl FnOnce() -> io::Result<()>) -> Result<(), Nak> {
        match &self.shared.quota {
            Some(quota) => quota.release(&spot.folder, spot.name, || change().map_err(nak)),
            None => change().map_err(nak),
        }
    }

    /// An entry as it is served; `None` for what is neither file nor folder, or a link that leads
    /// out or nowhere.
    fn entry(&self, folder: &Reached, path: &ServedPath, name: Vec<u8>) -> Option<WireEntry> {
        if self.hidden().hides(&folder.at, &name) {
            return None;
        }
        let seen = system::stat_at(&folder.place, &name).ok()?;
        let stat = match seen.kind {
            Kind::Link => self.reach(&path.join(&name)).ok()?.stat,
            Kind::File | Kind::Directory | Kind::Other => seen,
        };
        let directory = match stat.kind {
            Kind::File => false,
            Kind::Directory => true,
            Kind::Link | Kind::Other => return None,
        };
        let size = if directory { 0 } else { stat.size };
        Some(WireEntry { name, directory, size, mtime: Some(stat.mtime) })
    }
}

/// A name in an opened folder; nothing need have it.
struct Spot<'a> {
    folder: OwnedFd,
    /// The folder's path.
    at: Vec<u8>,
    name: &'a [u8],
}

impl Files for Directory {
    type File = OpenFile;

    fn open_to_read(&self, path: &ServedPath) -> Result<OpenFile, Nak> {
        self.open_existing(path, libc::O_RDONLY)
    }

    fn open_to_write(&self, path: &ServedPath, content: Content) -> Result<OpenFile, Nak> {
        self.check_writable()?;
        let file = match self.open_existing(path, libc::O_WRONLY) {
            Err(Nak::FileNotFound) => self.create(path),
            opened => opened,
        }?;
        // Not by O_TRUNC: only what is known to be a file is emptied.
        match content {
            Content::Empty => file.resize(0)?,
            Content::Keep => {}
        }
        Ok(file)
    }

    fn list(&self, path: &ServedPath) -> Result<Vec<WireEntry>, Nak> {
        let folder = self.reach(path)?;
        match folder.stat.kind {
            Kind::Directory => {}
            Kind::File => return Err(Nak::FailErrno(ENOTDIR)),
            Kind::Link | Kind::Other => return Err(Nak::FileProtected),
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let readable = self.shared.root.open_reached(&folder, flags).map_err(nak)?;
        let names = system::names(&readable, LISTING_ENTRIES_MAX).map_err(nak)?;
        Ok(names.into_iter().filter_map(|name| self.entry(&folder, path, name)).collect())
    }

    fn remove_file(&self, path: &ServedPath) -> Result<(), Nak> {
        self.check_writable()?;
        let spot = self.spot(path)?;
        match self.look(&spot)?.kind {
            Kind::File | Kind::Link => {
                self.release(&spot, || system::remove_file(&spot.folder, spot.name))
            }
            Kind::Directory => Err(Nak::FailErrno(EISDIR)),
            Kind::Other => Err(Nak::FileProtected),
        }
    }

    fn remove_directory(&self, path: &ServedPath) -> Result<(), Nak> {
        self.check_writable()?;
        let spot = self.spot(path)?;
        self.look(&spot)?;
        system::remove_directory(&spot.folder, spot.name).map_err(nak)
    }

    fn make_directory(&self, path: &ServedPath) -> Result<(), Nak> {
        self.check_writable()?;
        if path.is_root() {
            return Err(Nak::FileExists);
        }
        let spot = self.spot(path)?;
        self.check_free_to_name(&spot)?;
        system::make_directory(&spot.folder, spot.name, NEW_DIRECTORY_MODE).map_err(nak)
    }

    fn rename(&self, old: &ServedPath, new: &ServedPath) -> Result<(), Nak> {
        self.check_writable()?;
        let (from, to) = (self.spot(old)?, self.spot(new)?);
        let kind = self.look(&from)?.kind;
        if old != new {
            self.check_replaceable(&to)?;
        }
        match kind {
            Kind::File | Kind::Link => {}
            Kind::Directory => self.check_moves_alike(&from, &to)?,
            Kind::Other => return Err(Nak::FileProtected),
        }
        self.release(&to, || system::rename((&from.folder, from.name), (&to.folder, to.name)))
    }

    fn truncate(&self, path: &ServedPath, length: u64) -> Result<(), Nak> {
        self.check_writable()?;
        self.open_existing(path, libc::O_WRONLY)?.resize(length)
    }
}

fn check_regular(stat: &Stat) -> Result<(), Nak> {
    match stat.kind {
        Kind::File => Ok(()),
        Kind::Directory => Err(Nak::FailErrno(EISDIR)),
        Kind::Link | Kind::Other => Err(Nak::FileProtected),
    }
}

/// The NAK for an error of the system.
fn nak(error: io::Error) -> Nak {
    match (error.raw_os_error(), error.kind()) {
        // A path that would leave the root, and a link where none may be followed.
        (Some(libc::EXDEV | libc::ELOOP), _) => Nak::FileProtected,
        (Some(errno), _) => nak_of_errno(errno),
        (None, io::ErrorKind::WriteZero) => Nak::FailErrno(ENOSPC),
        (None, io::ErrorKind::InvalidInput) => Nak::FailErrno(EINVAL),
        (None, _) => Nak::Fail,
    }
}

#[cfg(test)]
mod tests;
