//! Opening paths beneath a root, and never outside it. Knows system calls and parsed paths; what is
//! found there is judged by the caller.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::system;
use crate::mavftp::server::ServedPath;

/// How often a resolution that a rename elsewhere disturbed is begun again.
const DISTURBED_MAX: u32 = 8;

/// An opened folder, and how to stay beneath it.
pub(super) struct Root {
    folder: OwnedFd,
    pub(super) way: Way,
}

/// How paths are kept beneath the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The kernel resolves them (Linux 5.6), and follows links that stay beneath.
    Kernel,
    /// Name by name, and no link is followed.
    NameByName,
}

impl Root {
    /// Opens the root, and finds out which way this system knows.
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        let mut options = OpenOptions::new();
        let folder = options.read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
        let mut root = Root { folder: folder.into(), way: Way::Kernel };
        // A sandbox may answer EPERM where an old kernel says ENOSYS; both mean: not here.
        if root.open_beneath(&ServedPath::root(), libc::O_PATH, 0).is_err() {
            root.way = Way::NameByName;
        }
        Ok(root)
    }

    /// Opens what lies at `path`. `mode` counts when `flags` create a file. A path that leads out
    /// is EXDEV or ELOOP.
    pub(super) fn open_beneath(
        &self,
        path: &ServedPath,
        flags: i32,
        mode: u32,
    ) -> io::Result<OwnedFd> {
        match self.way {
            Way::Kernel => self.open_by_kernel(path, flags, mode),
            Way::NameByName => self.open_name_by_name(path, flags, mode),
        }
    }

    fn open_by_kernel(&self, path: &ServedPath, flags: i32, mode: u32) -> io::Result<OwnedFd> {
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        let mut disturbed = 0;
        loop {
            match system::open_beneath(&self.folder, name, flags, mode) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && disturbed < DISTURBED_MAX =>
                {
                    disturbed += 1;
                }
                opened => return opened,
            }
        }
    }

    fn open_name_by_name(&self, path: &ServedPath, flags: i32, mode: u32) -> io::Result<OwnedFd> {
        let flags = flags | libc::O_NOFOLLOW;
        let Some((parent, name)) = path.split() else {
            return system::open_at(&self.folder, b".", flags, mode);
        };
        let mut folder = None;
        for step in parent.names() {
            let above = folder.as_ref().unwrap_or(&self.folder);
            let through = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
            folder = Some(system::open_at(above, step, through, 0)?);
        }
        system::open_at(folder.as_ref().unwrap_or(&self.folder), name, flags, mode)
    }
}
