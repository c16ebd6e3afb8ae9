//! A path walked name by name. No name is `..` for the kernel and no link is followed by it, so that
//! nothing outside of the root can be met; a link's text is walked like the path itself. Knows system
//! calls and what is hidden: each name is judged by where it really stands.

use std::io;
use std::os::fd::OwnedFd;

use super::beneath::Reached;
use super::hide::Hidden;
use super::system::{self, Kind, Stat};
use crate::mavftp::server::ServedPath;

/// Most links on the way, as for the kernel.
const LINKS_MAX: u32 = 40;
/// Most folders above what is reached. Each is open meanwhile; clients' paths have at most 119 names.
const DEPTH_MAX: usize = 256;

/// Goes where a path leads.
pub(super) fn reach(root: &OwnedFd, hidden: &Hidden, path: &ServedPath) -> io::Result<Reached> {
    let mut walk = Walk { root, hidden, passed: Vec::new(), left: Vec::new(), links: 0 };
    walk.push(path.as_bytes());
    while let Some(name) = walk.left.pop() {
        walk.step(&name)?;
    }
    walk.end()
}

/// Opens what lies at a path on which no link is.
pub(super) fn open_along(root: &OwnedFd, path: &[u8], flags: i32) -> io::Result<OwnedFd> {
    let flags = flags | libc::O_NOFOLLOW;
    let through = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let mut names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).peekable();
    let mut folder = None;
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() { through } else { flags };
        folder = Some(system::open_at(folder.as_ref().unwrap_or(root), name, flags, 0)?);
    }
    folder.map_or_else(|| system::open_at(root, b".", flags, 0), Ok)
}

/// A walk under way.
struct Walk<'a> {
    root: &'a OwnedFd,
    hidden: &'a Hidden,
    /// What lies between the root and here; none of it is a link.
    passed: Vec<Passed>,
    /// Names still to go, the next one last.
    left: Vec<Vec<u8>>,
    links: u32,
}

struct Passed {
    place: OwnedFd,
    stat: Stat,
    /// Its path.
    at: Vec<u8>,
}

impl Walk<'_> {
    fn push(&mut self, path: &[u8]) {
        self.left.extend(path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
    }

    fn step(&mut self, name: &[u8]) -> io::Result<()> {
        let here = self.passed.last();
        if here.is_some_and(|here| here.stat.kind != Kind::Directory) {
            return Err(error(libc::ENOTDIR));
        }
        match name {
            b"" | b"." => return Ok(()),
            b".." => return self.passed.pop().map(drop).ok_or(error(libc::EXDEV)),
            _ => {}
        }
        let above = here.map_or(self.root, |here| &here.place);
        let folder = here.map_or(&[][..], |here| &here.at);
        if !self.hidden.shows(above, folder, name)? {
            return Err(error(libc::ENOENT));
        }
        let place = system::open_at(above, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        let stat = system::stat(&place)?;
        if stat.kind == Kind::Link {
            return self.follow(&place);
        }
        if self.passed.len() >= DEPTH_MAX {
            return Err(error(libc::ELOOP));
        }
        let at = joined(folder, name);
        self.passed.push(Passed { place, stat, at });
        Ok(())
    }

    fn follow(&mut self, link: &OwnedFd) -> io::Result<()> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(error(libc::ELOOP));
        }
        let target = system::read_link(link)?;
        match target.first() {
            None => return Err(error(libc::ENOENT)),
            Some(b'/') => return Err(error(libc::EXDEV)),
            Some(_) => self.push(&target),
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<Reached> {
        if let Some(Passed { place, stat, at }) = self.passed.pop() {
            return Ok(Reached { place, stat, at });
        }
        let place = self.root.try_clone()?;
        let stat = system::stat(&place)?;
        Ok(Reached { place, stat, at: Vec::new() })
    }
}

/// A folder's path and a name in it.
pub(super) fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = folder.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
