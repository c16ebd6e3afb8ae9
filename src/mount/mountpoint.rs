//! The directory to mount on: whether it can be used, and what is mounted there already.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Error, device};
use crate::fuse::SUBTYPE;

const MOUNTS: &str = "/proc/self/mountinfo";
/// Dead mounts of ours on one directory are cleaned away up to this many, one on the other.
const STALE_MAX: usize = 8;

/// Checks a mount point, cleans away a dead mount of ours, and returns its absolute path.
pub(super) fn prepare(path: &Path, nonempty: bool) -> Result<PathBuf, Error> {
    let unusable = |error| Error::Unusable { path: path.to_owned(), error };
    remove_stale(&place(path))?;
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => {}
        Ok(_) => return Err(Error::NotADirectory { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Missing { path: path.to_owned() });
        }
        Err(error) => return Err(unusable(error)),
    }
    let real = fs::canonicalize(path).map_err(unusable)?;
    remove_stale(&real)?;
    if !nonempty && fs::read_dir(&real).map_err(unusable)?.next().is_some() {
        return Err(Error::NotEmpty { path: path.to_owned() });
    }
    // The helper would say so, but only once the vehicle has been found.
    if !device::is_root() && !is_writable(&real).map_err(unusable)? {
        return Err(Error::NotWritable { path: path.to_owned() });
    }
    Ok(real)
}

/// Whether `fusermount3` takes a directory for a user's: one the user may write to, and owns if
/// it is one like /tmp where everybody may.
fn is_writable(place: &Path) -> io::Result<bool> {
    let path = c_path(place)?;
    let there = fs::metadata(place)?;
    // SAFETY: getuid takes nothing and cannot fail; access keeps no pointer, and the path ends
    // with NUL.
    let (user, may_write) =
        unsafe { (libc::getuid(), libc::access(path.as_ptr(), libc::W_OK) == 0) };
    Ok(may_write && (there.mode() & libc::S_ISVTX == 0 || there.uid() == user))
}

/// Asks for the mount's statistics, which only its own process can answer.
pub(super) fn ask_statistics(mountpoint: &Path) -> io::Result<()> {
    let path = c_path(mountpoint)?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with NUL and the buffer has the type that statvfs fills.
    match unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes a mount away from the directory tree, also a busy one, which ends when its last file is
/// closed. Not being mounted is fine.
pub(super) fn detach(mountpoint: &Path) -> io::Result<()> {
    let path = c_path(mountpoint)?;
    // SAFETY: the path ends with NUL; umount2 keeps no pointer.
    if unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOENT) => Ok(()),
        Some(libc::EPERM) => detach_as_user(mountpoint),
        _ => Err(error),
    }
}

fn detach_as_user(mountpoint: &Path) -> io::Result<()> {
    let helper = device::helper().ok_or(io::ErrorKind::NotFound)?;
    let ended = Command::new(helper)
        .args(["-u", "-z", "--"])
        .arg(mountpoint)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    match ended.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("fusermount3 -u: {ended}"))),
    }
}

/// The directory's own place, found without touching what is mounted there: a dead mount answers
/// nothing.
fn place(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent().and_then(|parent| fs::canonicalize(parent).ok()), absolute.file_name())
    {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

/// Detaches dead mounts of ours; any other mount there is an error.
fn remove_stale(place: &Path) -> Result<(), Error> {
    for _ in 0..STALE_MAX {
        let Some(mount) = mounted_on(place) else { return Ok(()) };
        let taken = Error::AlreadyMounted { what: mount.describe(), path: place.to_owned() };
        if mount.kind != format!("fuse.{SUBTYPE}") || !is_dead(place, &mount) {
            return Err(taken);
        }
        tracing::info!(place = %place.display(), "cleaning away a mount whose process is gone");
        detach(place).map_err(|error| Error::Stale { path: place.to_owned(), error })?;
    }
    Ok(())
}

/// Whether the process of a mount of ours is gone. The kernel tells it only to those whom the mount
/// lets in, root not among them, so root asks as the one who mounted.
fn is_dead(place: &Path, mount: &Mount) -> bool {
    let is_gone = |answer: io::Result<()>| {
        answer.is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
    };
    let owner = mount.owner.filter(|_| device::is_root());
    let ask = || {
        if let Some((user, group)) = owner {
            become_of_this_thread(user, group);
        }
        // Attributes would come from the kernel's memory, for a moment, though nobody is there.
        is_gone(ask_statistics(place))
    };
    // A thread of its own: what it becomes, it stays.
    std::thread::scope(|scope| scope.spawn(ask).join().unwrap_or(false))
}

/// Makes the calling thread another user's. Only root can; where it fails nothing has changed.
fn become_of_this_thread(user: libc::uid_t, group: libc::gid_t) {
    // SAFETY: both calls take numbers only. Unlike libc's wrappers they change this thread alone.
    unsafe {
        libc::syscall(libc::SYS_setresgid, group, group, group);
        libc::syscall(libc::SYS_setresuid, user, user, user);
    }
}

/// A line of the kernel's list of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    place: PathBuf,
    kind: String,
    source: String,
    /// Who mounted, user and group, where the kind of mount says so.
    owner: Option<(libc::uid_t, libc::gid_t)>,
}

impl Mount {
    fn describe(&self) -> String {
        format!("{} ({})", self.source, self.kind)
    }
}

/// The topmost mount on a directory.
fn mounted_on(place: &Path) -> Option<Mount> {
    let lines = fs::read(MOUNTS).ok()?;
    lines.rsplit(|&byte| byte == b'\n').filter_map(parse).find(|mount| mount.place == place)
}

/// One line of proc(5)'s mountinfo: `36 35 98:0 /root /place options [optional…] - type source …`.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let place = unescape(fields.nth(4)?);
    let mut rest = fields.skip_while(|&field| field != b"-").skip(1);
    let kind = unescape(rest.next()?);
    let source = unescape(rest.next()?);
    let options = rest.next().unwrap_or_default();
    let owner = number(options, b"user_id=").zip(number(options, b"group_id="));
    Some(Mount {
        place: OsString::from_vec(place).into(),
        kind: String::from_utf8_lossy(&kind).into_owned(),
        source: String::from_utf8_lossy(&source).into_owned(),
        owner,
    })
}

/// The value of an option that is a number.
fn number(options: &[u8], name: &[u8]) -> Option<u32> {
    let mut options = options.split(|&byte| byte == b',');
    let value = options.find_map(|option| option.strip_prefix(name))?;
    std::str::from_utf8(value).ok()?.trim_end().parse().ok()
}

/// Space, tab, newline and backslash are written as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read_with_its_escapes() {
        let line = b"36 35 0:98 / /mnt/a\\040b rw,noatime shared:1 - fuse.mavftp mavlink:udp:1 rw";
        let mount = parse(line).unwrap();
        assert_eq!(mount.place, Path::new("/mnt/a b"));
        assert_eq!((mount.describe().as_str(), mount.owner), ("mavlink:udp:1 (fuse.mavftp)", None));
        let line = b"36 35 0:98 / /m rw - fuse.mavftp a rw,user_id=1000,group_id=100,allow_other";
        assert_eq!(parse(line).unwrap().owner, Some((1000, 100)));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"36 35 0:98 / /mnt rw shared:1"), None);
    }

    #[test]
    fn a_backslash_without_digits_stays() {
        assert_eq!(unescape(b"a\\"), b"a\\");
        assert_eq!(unescape(b"a\\9zz\\134"), b"a\\9zz\\");
    }

    #[test]
    fn only_an_empty_directory_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        assert!(matches!(prepare(&empty, false), Err(Error::Missing { .. })));
        fs::create_dir(&empty).unwrap();
        assert_eq!(prepare(&empty, false).unwrap(), fs::canonicalize(&empty).unwrap());
        assert!(matches!(prepare(folder.path(), false), Err(Error::NotEmpty { .. })));
        assert!(prepare(folder.path(), true).is_ok());
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(prepare(&file, false), Err(Error::NotADirectory { .. })));
    }

    #[test]
    fn a_place_that_is_mounted_on_is_refused_even_with_nonempty() {
        assert!(matches!(prepare(Path::new("/proc"), true), Err(Error::AlreadyMounted { .. })));
    }
}
