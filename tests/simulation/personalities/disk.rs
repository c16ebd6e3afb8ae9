//! A directory as a vehicle's own system reads it: in its own order, with `.` and `..`, and with
//! symbolic links. Must not know what a server makes of any of these.

use std::collections::BTreeSet;
use std::ops::Deref;

use mavftp_mount::mavftp::server::{Files, MemoryFiles, ServedPath};
use mavftp_mount::mavftp::wire::{Nak, WireEntry};

/// The tree, and what a tree in memory has not.
#[derive(Clone, Default)]
pub struct Disk {
    files: MemoryFiles,
    /// Paths without a leading `/`, those of a directory in the order in which it is read; what is not
    /// named comes behind.
    pub order: Vec<Vec<u8>>,
    /// Paths without a leading `/` of files that are there by way of a symbolic link.
    pub links: BTreeSet<Vec<u8>>,
}

/// What is read from a directory.
pub enum Found {
    Itself,
    Parent,
    /// A symbolic link, and what it leads to.
    Link(WireEntry),
    Node(WireEntry),
}

impl Disk {
    /// All of a directory.
    pub fn read(&self, path: &ServedPath) -> Result<Vec<Found>, Nak> {
        let mut found = vec![Found::Itself, Found::Parent];
        let whole = |name: &[u8]| match path.is_root() {
            true => name.to_vec(),
            false => [path.as_bytes(), b"/", name].concat(),
        };
        found.extend(self.files.list(path)?.into_iter().map(|entry| {
            let link = self.links.contains(&whole(&entry.name));
            if link { Found::Link(entry) } else { Found::Node(entry) }
        }));
        found.sort_by_key(|found| {
            let name = whole(found.name());
            let place = self.order.iter().position(|path| *path == name);
            let first = matches!(found, Found::Itself | Found::Parent);
            place.map_or(if first { 0 } else { self.order.len() + 1 }, |place| place + 1)
        });
        Ok(found)
    }
}

impl Found {
    fn name(&self) -> &[u8] {
        match self {
            Found::Itself => b".",
            Found::Parent => b"..",
            Found::Link(entry) | Found::Node(entry) => &entry.name,
        }
    }
}

impl From<MemoryFiles> for Disk {
    fn from(files: MemoryFiles) -> Disk {
        Disk { files, ..Disk::default() }
    }
}

impl Deref for Disk {
    type Target = MemoryFiles;

    fn deref(&self) -> &MemoryFiles {
        &self.files
    }
}
