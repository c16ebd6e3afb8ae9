//! Reaching paths beneath a root, and never outside it. Knows system calls, parsed paths and what is
//! hidden; what is found there is judged by the caller.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::hide::Hidden;
use super::system::{self, Kind, Stat};
use super::walk;
use crate::mavftp::server::ServedPath;

/// How often a resolution that a rename elsewhere disturbed is begun again.
const DISTURBED_MAX: u32 = 8;
/// A file that waits for nobody: opening a pipe or a line could block, or make it the terminal.
pub(super) const PATIENT_FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// An opened folder, and how to stay beneath it.
pub(super) struct Root {
    folder: OwnedFd,
    pub(super) hidden: Hidden,
    pub(super) way: Way,
    /// Whether what is open can be opened again by its descriptor.
    pub(super) again: bool,
}

/// How paths are kept beneath the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The kernel resolves them (Linux 5.6).
    Kernel,
    /// Name by name; so, too, whenever something is hidden, since each name is judged then.
    NameByName,
}

/// What a path leads to. Only its place is open: nothing of it can be read or written yet, and no
/// pipe or device has noticed.
pub(super) struct Reached {
    pub(super) place: OwnedFd,
    pub(super) stat: Stat,
    /// Its path without links, as far as somebody judges it.
    pub(super) at: Vec<u8>,
}

impl Root {
    /// Opens the root, and finds out which ways this system knows.
    pub(super) fn open(path: &Path, hidden: Hidden) -> io::Result<Root> {
        let mut options = OpenOptions::new();
        let folder = options.read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
        let folder: OwnedFd = folder.into();
        let again = system::open_again(&folder, libc::O_PATH | libc::O_DIRECTORY).is_ok();
        let mut root = Root { folder, hidden, way: Way::Kernel, again };
        // A sandbox may answer EPERM where an old kernel says ENOSYS; both mean: not here.
        if root.by_kernel(b".", libc::O_PATH).is_err() {
            root.way = Way::NameByName;
        }
        Ok(root)
    }

    /// The root itself.
    pub(super) fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Goes where `path` leads, along links that stay beneath. A path that leads out is EXDEV or
    /// ELOOP; what is hidden is ENOENT.
    pub(super) fn reach(&self, path: &ServedPath) -> io::Result<Reached> {
        if self.way == Way::NameByName || !self.hidden.is_empty() {
            return walk::reach(&self.folder, &self.hidden, path);
        }
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        let place = self.by_kernel(name, libc::O_PATH)?;
        let stat = system::stat(&place)?;
        Ok(Reached { place, stat, at: path.as_bytes().to_vec() })
    }

    /// Opens a regular file or folder that was reached, and nothing that took its place since.
    pub(super) fn open_reached(&self, reached: &Reached, flags: i32) -> io::Result<OwnedFd> {
        let flags = flags | PATIENT_FLAGS;
        match reached.stat.kind {
            Kind::Directory => system::open_at(&reached.place, b".", flags, 0),
            Kind::File if self.again => system::open_again(&reached.place, flags),
            Kind::File => {
                let opened = if self.way == Way::Kernel && self.hidden.is_empty() {
                    self.by_kernel(&reached.at, flags)?
                } else {
                    walk::open_along(&self.folder, &reached.at, flags)?
                };
                if system::stat(&opened)?.id == reached.stat.id {
                    return Ok(opened);
                }
                Err(io::Error::from_raw_os_error(libc::ESTALE))
            }
            Kind::Link | Kind::Other => Err(io::Error::from_raw_os_error(libc::EACCES)),
        }
    }

    fn by_kernel(&self, name: &[u8], flags: i32) -> io::Result<OwnedFd> {
        let mut disturbed = 0;
        loop {
            match system::open_beneath(&self.folder, name, flags) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && disturbed < DISTURBED_MAX =>
                {
                    disturbed += 1;
                }
                opened => return opened,
            }
        }
    }
}
