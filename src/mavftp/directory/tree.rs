//! Everything below a folder, one after the other. No link is followed. Knows system calls only.

use std::io;
use std::os::fd::OwnedFd;

use super::system::{self, Kind, Stat};
use super::walk::joined;

/// Deepest nesting that is looked through; one folder of each level is open meanwhile.
const DEPTH_MAX: usize = 200;

/// Shows each thing below `folder`: the path of the folder that holds it, from `at` on, its name and
/// what it is. What goes away meanwhile and folders that we may not read are left out.
pub(super) fn visit(
    folder: &OwnedFd,
    at: &[u8],
    mut see: impl FnMut(&[u8], &[u8], &Stat),
) -> io::Result<()> {
    let Some(top) = Level::open(folder, b".", at.to_vec())? else { return Ok(()) };
    let mut levels = vec![top];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.pop() else {
            levels.pop();
            continue;
        };
        let Ok(stat) = system::stat_at(&level.folder, &name) else { continue };
        see(&level.at, &name, &stat);
        if stat.kind != Kind::Directory {
            continue;
        }
        let below = Level::open(&level.folder, &name, joined(&level.at, &name))?;
        if levels.len() >= DEPTH_MAX {
            return Err(io::Error::other(format!("folders lie more than {DEPTH_MAX} deep in it")));
        }
        levels.extend(below);
    }
    Ok(())
}

struct Level {
    folder: OwnedFd,
    at: Vec<u8>,
    /// Not looked at yet.
    names: Vec<Vec<u8>>,
}

impl Level {
    fn open(above: &OwnedFd, name: &[u8], at: Vec<u8>) -> io::Result<Option<Level>> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let opened = system::open_at(above, name, flags, 0).and_then(|folder| {
            let names = system::names(&folder, usize::MAX)?;
            Ok(Level { folder, at, names })
        });
        match opened {
            Ok(level) => Ok(Some(level)),
            Err(error) => match error.raw_os_error() {
                // It may not be read, is gone, or has become something else.
                Some(libc::EACCES | libc::EPERM | libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => {
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    }
}
