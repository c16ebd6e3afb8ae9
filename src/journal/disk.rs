//! What the journal needs of a disk: files that survive a power cut, locks, holes that stay holes.
//! Must not know what an entry means.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::meta::Durability;

/// How much is copied at once, in bytes.
const COPIED_BYTES: usize = 64 << 10;

/// Who may lock beside us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// Others who only look.
    Shared,
    /// Nobody.
    Exclusive,
}

/// Locks a file for as long as it is open; false when another holds it.
pub(super) fn lock(file: &File, lock: Lock) -> io::Result<bool> {
    let operation = match lock {
        Lock::Shared => libc::LOCK_SH,
        Lock::Exclusive => libc::LOCK_EX,
    };
    loop {
        // SAFETY: the descriptor is open for as long as `file` is borrowed.
        let result = unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) };
        if result == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(false),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
    }
}

/// Replaces a file's content so that there is always the old or the new one. `before` survives what the
/// new one survives: written to the disk together, they cost about as much as one.
pub(super) fn replace(
    path: &Path,
    content: &[u8],
    durability: Durability,
    before: &File,
) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    if durability == Durability::Power {
        before.sync_all()?;
        file.sync_all()?;
    }
    fs::rename(&fresh, path)
}

/// Makes sure that the names in a directory survive a power cut.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The bytes from `offset`: `length` of them, fewer at the end.
///
/// # Errors
/// What the disk said.
pub fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Copies a file to an empty one and leaves out what is zeros: what a vehicle says of a size costs no
/// room on the local disk.
///
/// # Errors
/// What the disk said.
pub fn copy_with_holes(from: &File, to: &File) -> io::Result<()> {
    let mut offset = 0;
    loop {
        let piece = read_at(from, offset, COPIED_BYTES)?;
        if piece.is_empty() {
            return to.set_len(offset);
        }
        if piece.iter().any(|byte| *byte != 0) {
            to.write_all_at(&piece, offset)?;
        }
        offset += piece.len() as u64;
    }
}

/// A new file whose name begins with `name`, for its owner alone. Never an existing one.
///
/// # Errors
/// What the disk said.
pub fn create_beside(directory: &Path, name: &[u8]) -> io::Result<(File, PathBuf)> {
    /// Leaves room for a number within the 255 bytes of a name.
    const NAME_BYTES: usize = 200;
    const ATTEMPTS: u32 = 10_000;
    let stem = &name[..name.len().min(NAME_BYTES)];
    for attempt in 0..ATTEMPTS {
        let mut candidate = stem.to_vec();
        if attempt > 0 {
            candidate.extend_from_slice(format!(".{attempt}").as_bytes());
        }
        let path = directory.join(OsString::from_vec(candidate));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "the folder is full of this name"))
}
