//! Open files and directories by number. A table: knows neither the wire nor the disk.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::cache::{Listing, OpenFile};
use crate::fs::inodes::Ino;
use crate::fs::made_up::MadeUp;
use crate::remote::Name;

/// An open file or directory. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// What a program may do through a file handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Opened for reading.
    pub read: bool,
    /// Opened for writing.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// The file is emptied when it is opened.
    pub truncate: bool,
    /// Opening a file that exists fails.
    pub exclusive: bool,
}

impl Access {
    /// Reads `open(2)`'s flags.
    pub fn parse(flags: i32) -> Access {
        let mode = flags & libc::O_ACCMODE;
        Access {
            read: mode != libc::O_WRONLY,
            write: mode != libc::O_RDONLY,
            append: flags & libc::O_APPEND != 0,
            truncate: flags & libc::O_TRUNC != 0,
            exclusive: flags & libc::O_EXCL != 0,
        }
    }

    /// Whether the file needs a staged copy.
    pub fn changes(self) -> bool {
        self.write || self.truncate
    }
}

/// An open file.
#[derive(Clone)]
pub struct FileHandle {
    /// The file.
    pub ino: Ino,
    /// What may be done.
    pub access: Access,
    /// The vehicle's version that is read.
    pub file: Option<VersionRead>,
    /// The content of a file that is made when it is opened.
    pub made_up: Option<Arc<MadeUp>>,
}

/// The version of a file that a handle reads.
#[derive(Clone)]
pub struct VersionRead {
    /// The cache's side of it.
    pub file: Arc<OpenFile>,
    /// How many contents of ours the file had had when it was opened.
    pub contents: u64,
}

/// An open directory.
pub struct DirectoryHandle {
    /// The directory.
    pub ino: Ino,
    /// Its entries on the vehicle as they were when it was opened.
    pub listing: Arc<Listing>,
    /// Files in it that were staged only, when it was opened.
    pub staged: Arc<[Name]>,
    /// Names in it that this mount has changed since: what the listing says of them is old.
    pub changed: HashSet<Name>,
    /// Whether that listing is still to be shown.
    pub listed: Listed,
}

/// Whose listing an open directory shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The far side's that answers now.
    Here,
    /// One's that may be the same.
    InDoubt,
    /// Another's.
    Gone,
}

/// Everything that is open.
#[derive(Default)]
pub struct Handles {
    files: HashMap<Handle, FileHandle>,
    directories: HashMap<Handle, DirectoryHandle>,
    last: u64,
}

impl Handles {
    /// Opens a file.
    pub fn add_file(&mut self, file: FileHandle) -> Handle {
        let handle = self.fresh();
        self.files.insert(handle, file);
        handle
    }

    /// An open file.
    pub fn file(&self, handle: Handle) -> Option<&FileHandle> {
        self.files.get(&handle)
    }

    /// An open file, to change it.
    pub fn file_mut(&mut self, handle: Handle) -> Option<&mut FileHandle> {
        self.files.get_mut(&handle)
    }

    /// Closes a file.
    pub fn remove_file(&mut self, handle: Handle) -> Option<FileHandle> {
        self.files.remove(&handle)
    }

    /// Whether a file is open.
    pub fn has_file(&self, ino: Ino) -> bool {
        self.files.values().any(|file| file.ino == ino)
    }

    /// The versions that the handles of a file read.
    pub fn versions_read(&self, ino: Ino) -> Vec<VersionRead> {
        let handles = self.files.values().filter(|file| file.ino == ino);
        handles.filter_map(|file| file.file.clone()).collect()
    }

    /// Opens a directory.
    pub fn add_directory(&mut self, directory: DirectoryHandle) -> Handle {
        let handle = self.fresh();
        self.directories.insert(handle, directory);
        handle
    }

    /// An open directory.
    pub fn directory(&self, handle: Handle) -> Option<&DirectoryHandle> {
        self.directories.get(&handle)
    }

    /// Closes a directory.
    pub fn remove_directory(&mut self, handle: Handle) -> Option<DirectoryHandle> {
        self.directories.remove(&handle)
    }

    /// This mount changed `name` in a directory: open listings of it are old there.
    pub fn name_changed(&mut self, directory: Ino, name: &Name) {
        for open in self.directories.values_mut().filter(|open| open.ino == directory) {
            open.changed.insert(name.clone());
        }
    }

    /// How many files and directories are open.
    pub fn count(&self) -> usize {
        self.files.len() + self.directories.len()
    }

    /// An open directory, to change it.
    pub fn directory_mut(&mut self, handle: Handle) -> Option<&mut DirectoryHandle> {
        self.directories.get_mut(&handle)
    }

    /// Whose listings all open directories show.
    pub fn directories_are(&mut self, listed: Listed) {
        let still_shown = |open: &&mut DirectoryHandle| open.listed != Listed::Gone;
        self.directories.values_mut().filter(still_shown).for_each(|open| open.listed = listed);
    }

    /// The files with a handle whose content is another by now, or that would look for one anew:
    /// it could not tell another's. `contents`: how many contents of ours a file has had.
    pub fn that_cannot_go_on(&self, contents: impl Fn(Ino) -> u64) -> HashSet<Ino> {
        let goes_on = |open: &FileHandle| {
            let contents = contents(open.ino);
            let is_current = |read: &VersionRead| read.contents == contents;
            open.file.as_ref().is_some_and(|read| is_current(read) && !read.file.is_outdated())
        };
        self.files.values().filter(|open| !goes_on(open)).map(|open| open.ino).collect()
    }

    fn fresh(&mut self) -> Handle {
        self.last += 1;
        Handle(self.last)
    }
}
