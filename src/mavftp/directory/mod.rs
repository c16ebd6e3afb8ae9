//! A folder of the disk as [`Files`] of a server. Must not know links or clients.
//!
//! Confined to its root by the kernel: paths are resolved beneath the opened root, and what changes
//! the tree acts on an opened parent folder. Only files and folders are served; a pipe, socket or
//! device is as good as absent and is never opened.

mod beneath;
mod system;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use beneath::Root;
use system::{Kind, Stat};

use crate::mavftp::server::files::{EINVAL, EISDIR, ENOSPC, ENOTDIR};
use crate::mavftp::server::{
    Content, Files, LISTING_ENTRIES_MAX, ServedFile, ServedPath, nak_of_errno,
};
use crate::mavftp::wire::{Nak, WireEntry};

/// A file that waits for nobody: opening a pipe or a line could block, or make it the terminal.
const OPEN_FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;
/// New files are readable and writable for whom the umask lets.
const NEW_FILE_MODE: u32 = 0o666;
const NEW_DIRECTORY_MODE: u32 = 0o777;

/// A folder that is served. Clones serve the same one.
#[derive(Clone)]
pub struct Directory {
    root: Arc<Root>,
    writable: bool,
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
    /// Opens a folder to serve it; links in `path` itself are followed. Unless `writable`, whatever
    /// would change something is refused. What the error means to a user: [`RootError::from`].
    pub fn open(path: &Path, writable: bool) -> io::Result<Directory> {
        let root = Arc::new(Root::open(path)?);
        Ok(Directory { root, writable })
    }

    fn check_writable(&self) -> Result<(), Nak> {
        if self.writable { Ok(()) } else { Err(Nak::FileProtected) }
    }

    /// What a path is, links beneath the root followed.
    fn stat(&self, path: &ServedPath) -> io::Result<Stat> {
        system::stat(&self.root.open_beneath(path, libc::O_PATH, 0)?)
    }

    fn open_file(&self, path: &ServedPath, flags: i32) -> Result<File, Nak> {
        let file = self.root.open_beneath(path, flags | OPEN_FLAGS, NEW_FILE_MODE).map_err(nak)?;
        // Looked at again: between the first look and the opening it may have become another.
        check_regular(&system::stat(&file).map_err(nak)?)?;
        Ok(File::from(file))
    }

    fn open_existing(&self, path: &ServedPath, flags: i32) -> Result<File, Nak> {
        check_regular(&self.stat(path).map_err(nak)?)?;
        self.open_file(path, flags)
    }

    /// The folder that holds `path`, and the name in it. The root itself cannot be changed.
    fn open_parent<'a>(&self, path: &'a ServedPath) -> Result<(OwnedFd, &'a [u8]), Nak> {
        let (parent, name) = path.split().ok_or(Nak::FileProtected)?;
        let parent = self.root.open_beneath(&parent, libc::O_PATH | libc::O_DIRECTORY, 0);
        Ok((parent.map_err(nak)?, name))
    }

    /// An entry as it is served; `None` for what is neither file nor folder, or a link that leads
    /// out or nowhere.
    fn entry(&self, folder: &OwnedFd, path: &ServedPath, name: Vec<u8>) -> Option<WireEntry> {
        let seen = system::stat_at(folder, &name).ok()?;
        let stat = match seen.kind {
            Kind::Link => self.stat(&path.join(&name)).ok()?,
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

impl Files for Directory {
    type File = File;

    fn open_to_read(&self, path: &ServedPath) -> Result<File, Nak> {
        self.open_existing(path, libc::O_RDONLY)
    }

    fn open_to_write(&self, path: &ServedPath, content: Content) -> Result<File, Nak> {
        self.check_writable()?;
        let file = match self.open_existing(path, libc::O_WRONLY) {
            Err(Nak::FileNotFound) => self.open_file(path, libc::O_WRONLY | libc::O_CREAT),
            opened => opened,
        }?;
        // Not by O_TRUNC: only what is known to be a file is emptied.
        match content {
            Content::Empty => file.set_len(0).map_err(nak)?,
            Content::Keep => {}
        }
        Ok(file)
    }

    fn list(&self, path: &ServedPath) -> Result<Vec<WireEntry>, Nak> {
        match self.stat(path).map_err(nak)?.kind {
            Kind::Directory => {}
            Kind::File => return Err(Nak::FailErrno(ENOTDIR)),
            Kind::Link | Kind::Other => return Err(Nak::FileProtected),
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | OPEN_FLAGS;
        let folder = self.root.open_beneath(path, flags, 0).map_err(nak)?;
        let names = system::names(&folder, LISTING_ENTRIES_MAX).map_err(nak)?;
        Ok(names.into_iter().filter_map(|name| self.entry(&folder, path, name)).collect())
    }

    fn remove_file(&self, path: &ServedPath) -> Result<(), Nak> {
        self.check_writable()?;
        let (parent, name) = self.open_parent(path)?;
        match system::stat_at(&parent, name).map_err(nak)?.kind {
            Kind::File | Kind::Link => system::remove_file(&parent, name).map_err(nak),
            Kind::Directory => Err(Nak::FailErrno(EISDIR)),
            Kind::Other => Err(Nak::FileProtected),
        }
    }

    fn remove_directory(&self, path: &ServedPath) -> Result<(), Nak> {
        self.check_writable()?;
        let (parent, name) = self.open_parent(path)?;
        system::remove_directory(&parent, name).map_err(nak)
    }

    fn make_directory(&self, path: &ServedPath) -> Result<(), Nak> {
        self.check_writable()?;
        if path.is_root() {
            return Err(Nak::FileExists);
        }
        let (parent, name) = self.open_parent(path)?;
        system::make_directory(&parent, name, NEW_DIRECTORY_MODE).map_err(nak)
    }

    fn rename(&self, old: &ServedPath, new: &ServedPath) -> Result<(), Nak> {
        self.check_writable()?;
        let (old_parent, old_name) = self.open_parent(old)?;
        let (new_parent, new_name) = self.open_parent(new)?;
        match system::stat_at(&old_parent, old_name).map_err(nak)?.kind {
            Kind::File | Kind::Directory | Kind::Link => {}
            Kind::Other => return Err(Nak::FileProtected),
        }
        match system::stat_at(&new_parent, new_name).map(|stat| stat.kind) {
            Ok(Kind::Directory) if old != new => return Err(Nak::FileExists),
            Ok(Kind::Other) => return Err(Nak::FileProtected),
            Ok(Kind::File | Kind::Link | Kind::Directory) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(nak(error)),
        }
        system::rename((&old_parent, old_name), (&new_parent, new_name)).map_err(nak)
    }

    fn truncate(&self, path: &ServedPath, length: u64) -> Result<(), Nak> {
        self.check_writable()?;
        self.open_existing(path, libc::O_WRONLY)?.set_len(length).map_err(nak)
    }
}

impl ServedFile for File {
    fn size(&self) -> Result<u64, Nak> {
        Ok(self.metadata().map_err(nak)?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Nak> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(nak(error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Nak> {
        self.write_all_at(data, offset).map_err(nak)
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
