//! What a server serves. Knows the wire's error codes and nothing of disks: `mavftp::directory`
//! serves a folder of the disk, [`MemoryFiles`](super::MemoryFiles) a tree in memory.

use super::path::ServedPath;
use crate::mavftp::wire::{Nak, WireEntry};

/// Most entries of one directory that are served; clients stop asking there.
pub const LISTING_ENTRIES_MAX: usize = 65_536;

// Linux error numbers, as they stand in the second byte of a NAK.
pub(in crate::mavftp) const EPERM: u8 = 1;
pub(in crate::mavftp) const ENOENT: u8 = 2;
pub(in crate::mavftp) const EBADF: u8 = 9;
pub(in crate::mavftp) const EACCES: u8 = 13;
pub(in crate::mavftp) const EBUSY: u8 = 16;
pub(in crate::mavftp) const EEXIST: u8 = 17;
pub(in crate::mavftp) const ENOTDIR: u8 = 20;
pub(in crate::mavftp) const EISDIR: u8 = 21;
pub(in crate::mavftp) const EINVAL: u8 = 22;
pub(in crate::mavftp) const EFBIG: u8 = 27;
pub(in crate::mavftp) const ENOSPC: u8 = 28;
pub(in crate::mavftp) const EROFS: u8 = 30;
pub(in crate::mavftp) const ENAMETOOLONG: u8 = 36;
pub(in crate::mavftp) const ENOTEMPTY: u8 = 39;

/// Whether opening for writing keeps what a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It stays.
    Keep,
    /// The file begins empty.
    Empty,
}

/// A tree of files and directories. All calls answer at once; whoever implements it keeps paths,
/// links included, within its own root. Every error is the NAK that the client gets.
pub trait Files {
    /// An open file; dropping it closes it.
    type File: ServedFile;

    /// Opens a file for reading. A directory is `FailErrno` EISDIR.
    fn open_to_read(&self, path: &ServedPath) -> Result<Self::File, Nak>;
    /// Opens a file for writing and makes it where it does not exist.
    fn open_to_write(&self, path: &ServedPath, content: Content) -> Result<Self::File, Nak>;
    /// Files and directories in a directory, in any order, without `.` and `..`; whatever is
    /// neither is left out. At most [`LISTING_ENTRIES_MAX`].
    fn list(&self, path: &ServedPath) -> Result<Vec<WireEntry>, Nak>;
    /// Removes a file, not a directory.
    fn remove_file(&self, path: &ServedPath) -> Result<(), Nak>;
    /// Removes an empty directory, not a file.
    fn remove_directory(&self, path: &ServedPath) -> Result<(), Nak>;
    /// Makes a directory in one that exists.
    fn make_directory(&self, path: &ServedPath) -> Result<(), Nak>;
    /// Renames a file or directory. A file in the way is replaced, a directory is `FileExists`.
    fn rename(&self, old: &ServedPath, new: &ServedPath) -> Result<(), Nak>;
    /// Sets the length of an existing file, in bytes.
    fn truncate(&self, path: &ServedPath, length: u64) -> Result<(), Nak>;
}

/// An open file. Offsets are given with each call: there is no position that two requests share.
pub trait ServedFile {
    /// The file's length now, in bytes.
    fn size(&self) -> Result<u64, Nak>;
    /// Fills `buffer` from `offset` on; fewer bytes only where the file ends.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Nak>;
    /// Stores all of `data`, or fails. Bytes between the old end and `offset` become zeros.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Nak>;
}

/// The NAK that says what a Linux error number says.
pub fn nak_of_errno(errno: i32) -> Nak {
    match u8::try_from(errno) {
        Ok(ENOENT) => Nak::FileNotFound,
        Ok(EEXIST) => Nak::FileExists,
        Ok(EACCES | EPERM | EROFS) => Nak::FileProtected,
        Ok(0) | Err(_) => Nak::Fail,
        Ok(other) => Nak::FailErrno(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_that_have_a_code_of_their_own_get_it() {
        assert_eq!(nak_of_errno(2), Nak::FileNotFound);
        assert_eq!(nak_of_errno(17), Nak::FileExists);
        for errno in [1, 13, 30] {
            assert_eq!(nak_of_errno(errno), Nak::FileProtected);
        }
        assert_eq!(nak_of_errno(39), Nak::FailErrno(ENOTEMPTY));
        assert_eq!(nak_of_errno(-1), Nak::Fail);
        assert_eq!(nak_of_errno(523), Nak::Fail);
    }
}
