//! The few system calls the standard library has no words for, each as a safe function. Knows
//! nothing of ours. File descriptors opened here are closed on exec.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Link,
    /// A pipe, socket or device.
    Other,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub(super) kind: Kind,
    /// Length in bytes.
    pub(super) size: u64,
    /// Seconds since 1970 UTC.
    pub(super) mtime: i64,
    /// Which file this is, whatever its names are.
    pub(super) id: FileId,
    /// How many names it has; none, when it is removed and still open.
    pub(super) names: u64,
}

/// A file's device and its number there.
pub(super) type FileId = (u64, u64);

/// `openat2(2)`, beneath `folder` and not through the links of `/proc`.
pub(super) fn open_beneath(folder: &OwnedFd, path: &[u8], flags: i32) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: open_how is three plain integers; all zeros is a value of it.
    let mut how: libc::open_how = unsafe { MaybeUninit::zeroed().assume_init() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path ends in NUL and `how` has the size that is given; both outlive the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            folder.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    owned(i32::try_from(fd).unwrap_or(-1))
}

/// `openat(2)`.
pub(super) fn open_at(folder: &OwnedFd, name: &[u8], flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let name = c_string(name)?;
    // SAFETY: the name ends in NUL and outlives the call.
    owned(unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags | libc::O_CLOEXEC, mode) })
}

/// Opens what is open already, whatever its names have become meanwhile.
pub(super) fn open_again(file: &OwnedFd, flags: i32) -> io::Result<OwnedFd> {
    let name = c_string(format!("/proc/self/fd/{}", file.as_raw_fd()).as_bytes())?;
    // SAFETY: the name ends in NUL and outlives the call.
    owned(unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC) })
}

/// Where an opened link leads, as it is written in it.
pub(super) fn read_link(link: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut target = vec![0; libc::PATH_MAX as usize];
    // SAFETY: the name ends in NUL, and the kernel writes no more than the length it is given.
    let count = unsafe {
        libc::readlinkat(link.as_raw_fd(), c"".as_ptr(), target.as_mut_ptr().cast(), target.len())
    };
    match usize::try_from(count) {
        Ok(count) => target.truncate(count),
        Err(_) => return Err(io::Error::last_os_error()),
    }
    Ok(target)
}

/// What an open file is.
pub(super) fn stat(file: &impl AsFd) -> io::Result<Stat> {
    stat_with(file.as_fd(), c"", libc::AT_EMPTY_PATH)
}

/// What a name in a folder is; a link is not followed.
pub(super) fn stat_at(folder: &OwnedFd, name: &[u8]) -> io::Result<Stat> {
    stat_with(folder.as_fd(), &c_string(name)?, libc::AT_SYMLINK_NOFOLLOW)
}

fn stat_with(folder: BorrowedFd<'_>, name: &CStr, flags: i32) -> io::Result<Stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the name ends in NUL, and the kernel writes no more than a stat to where it is told.
    check(unsafe { libc::fstatat(folder.as_raw_fd(), name.as_ptr(), stat.as_mut_ptr(), flags) })?;
    // SAFETY: the call succeeded, so all of it was written.
    let stat = unsafe { stat.assume_init() };
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => Kind::File,
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFLNK => Kind::Link,
        _ => Kind::Other,
    };
    Ok(Stat {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: stat.st_mtime,
        id: (stat.st_dev, stat.st_ino),
        // The type of the count is the machine's.
        #[allow(clippy::useless_conversion)]
        names: stat.st_nlink.into(),
    })
}

/// `unlinkat(2)` of anything but a folder.
pub(super) fn remove_file(folder: &OwnedFd, name: &[u8]) -> io::Result<()> {
    unlink(folder, name, 0)
}

/// `unlinkat(2)` of an empty folder.
pub(super) fn remove_directory(folder: &OwnedFd, name: &[u8]) -> io::Result<()> {
    unlink(folder, name, libc::AT_REMOVEDIR)
}

fn unlink(folder: &OwnedFd, name: &[u8], flags: i32) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name ends in NUL and outlives the call.
    check(unsafe { libc::unlinkat(folder.as_raw_fd(), name.as_ptr(), flags) })
}

/// `mkdirat(2)`.
pub(super) fn make_directory(folder: &OwnedFd, name: &[u8], mode: u32) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name ends in NUL and outlives the call.
    check(unsafe { libc::mkdirat(folder.as_raw_fd(), name.as_ptr(), mode) })
}

/// `renameat(2)`, from folder and name to folder and name.
pub(super) fn rename(old: (&OwnedFd, &[u8]), new: (&OwnedFd, &[u8])) -> io::Result<()> {
    let (old_name, new_name) = (c_string(old.1)?, c_string(new.1)?);
    let (old_fd, new_fd) = (old.0.as_raw_fd(), new.0.as_raw_fd());
    // SAFETY: both names end in NUL and outlive the call.
    check(unsafe { libc::renameat(old_fd, old_name.as_ptr(), new_fd, new_name.as_ptr()) })
}

/// The names in an opened folder without `.` and `..`, at most `max`.
pub(super) fn names(folder: &OwnedFd, max: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut stream = Stream::open(folder)?;
    let mut names = Vec::new();
    while names.len() < max
        && let Some(name) = stream.next()?
    {
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether a folder names a thing in exactly these bytes. Opening by name can succeed for other
/// spellings as well: without regard to case, or by the short names of a FAT.
pub(super) fn is_listed(folder: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    let readable = open_at(folder, b".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut stream = Stream::open(&readable)?;
    while let Some(listed) = stream.next()? {
        if listed == name {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A folder being read.
struct Stream(NonNull<libc::DIR>);

impl Stream {
    fn open(folder: &OwnedFd) -> io::Result<Stream> {
        let fd = folder.try_clone()?.into_raw_fd();
        // SAFETY: the descriptor is open and nobody else's; the stream owns it from now on.
        match NonNull::new(unsafe { libc::fdopendir(fd) }) {
            Some(stream) => Ok(Stream(stream)),
            None => {
                let error = io::Error::last_os_error();
                // SAFETY: fdopendir failed, so the descriptor is still ours, and open.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
                Err(error)
            }
        }
    }

    /// The next name; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        // SAFETY: errno is this thread's own; readdir tells an error from the end by it alone.
        unsafe { *libc::__errno_location() = 0 };
        // SAFETY: the stream is open, and used by nobody else meanwhile.
        let entry = unsafe { libc::readdir(self.0.as_ptr()) };
        if entry.is_null() {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(0) { Ok(None) } else { Err(error) };
        }
        // SAFETY: the entry's name ends in NUL and stays until the stream is used again.
        let name = unsafe { CStr::from_ptr((*entry).d_name.as_ptr()) };
        Ok(Some(name.to_bytes().to_vec()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the stream is open and never used again.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}

fn c_string(name: &[u8]) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn owned(fd: i32) -> io::Result<OwnedFd> {
    check(fd)?;
    // SAFETY: the kernel has just opened it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
