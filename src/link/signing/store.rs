//! What signing must know after a restart: the last timestamp of each link id, a file each. Who has a
//! link id holds its file locked, so that two programs never sign in one stream. Must not know keys and
//! frames.
//!
//! Link ids are given out from 0 and taken again: a vehicle has room for few streams (16 in the C
//! library), and forgets none before it is restarted.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock;

/// Below the state directory.
const SIGNING: &str = "mavftp-mount/signing";
/// Files that say more than a line of ours are none of ours.
const LINE_BYTES_MAX: usize = 128;
/// What is written is so far ahead of what is used, so that few frames cost a write: a killed program
/// goes on at most so far ahead of its clock.
const AHEAD: u64 = clock::seconds(5);
/// What the kernel may not have brought to the disk when power went.
const LOST_AT_POWER_CUT: u64 = clock::seconds(60);
/// Names the running system.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Where that cannot be read. Two of them are not the same.
const BOOT_UNKNOWN: &str = "-";
/// Permission bits of group and others.
const FOREIGN_BITS: u32 = 0o077;

/// The link ids of this process, and where their timestamps are kept.
#[derive(Debug)]
pub(super) struct Store {
    /// `None`: nothing is kept.
    directory: Option<PathBuf>,
    boot: String,
    taken: Mutex<BTreeSet<u8>>,
}

impl Store {
    /// In `$XDG_STATE_HOME` or `~/.local/state`; else in a folder of ours in `$TMPDIR` or `/var/tmp`.
    pub(super) fn of_environment() -> Arc<Store> {
        let mut refusal = None;
        let directory = places().into_iter().find(|place| match prepare(place) {
            Ok(()) => true,
            Err(error) => {
                refusal.get_or_insert_with(|| format!("{}: {error}", place.display()));
                false
            }
        });
        match (&directory, refusal) {
            (None, Some(why)) => tracing::warn!(
                "the time of signed frames cannot be kept ({why}): should the clock go back before \
                 the next start, our frames would be ignored; set XDG_STATE_HOME to a folder that \
                 can be written"
            ),
            (Some(place), Some(why)) => {
                tracing::info!("the time of signed frames is kept in {} ({why})", place.display());
            }
            (Some(_) | None, None) => {}
        }
        Store::at(directory)
    }

    /// In this directory, which is there.
    pub(super) fn at(directory: Option<PathBuf>) -> Arc<Store> {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_else(|_| BOOT_UNKNOWN.into());
        let boot = boot.trim().to_owned();
        Arc::new(Store { directory, boot, taken: Mutex::default() })
    }

    /// The lowest link id that nobody has.
    ///
    /// # Errors
    /// All are taken.
    pub(super) fn lease(self: &Arc<Store>) -> io::Result<Lease> {
        let mut taken = self.taken();
        let free: Vec<u8> = (0..=u8::MAX).filter(|id| !taken.contains(id)).collect();
        let kept = free.iter().find_map(|id| Some((*id, Some(self.lock(*id)?))));
        let found = kept.or_else(|| Some((*free.first()?, None)));
        let (id, file) = found.ok_or_else(|| {
            io::Error::other("all 256 link ids for signing are in use; close other signed links")
        })?;
        taken.insert(id);
        Ok(Lease { store: self.clone(), id, file, written: 0, complained: false })
    }

    /// The file of a link id, unless another program has it, or none can be made.
    fn lock(&self, id: u8) -> Option<File> {
        let file = open(&file_of(self.directory.as_deref()?, id)).ok()?;
        // SAFETY: the descriptor is open for as long as `file` is.
        let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0;
        locked.then_some(file)
    }

    /// The largest timestamp that other link ids have certainly used.
    fn of_others(&self, own: u8) -> u64 {
        let Some(directory) = &self.directory else { return 0 };
        let others = (0..=u8::MAX).filter(|id| *id != own);
        let read = others.filter_map(|id| File::open(file_of(directory, id)).ok());
        let used = read.filter_map(|file| self.read(&file));
        used.map(|(timestamp, _)| timestamp.saturating_sub(AHEAD)).max().unwrap_or(0)
    }

    /// What a file says, and whether it was written since the system started.
    fn read(&self, file: &File) -> Option<(u64, bool)> {
        let mut line = [0; LINE_BYTES_MAX];
        let length = file.read_at(&mut line, 0).ok()?;
        let text = std::str::from_utf8(&line[..length]).ok()?;
        let mut words = text.lines().next()?.split(' ');
        let timestamp = words.next()?.parse().ok().filter(|read| *read <= clock::TIMESTAMP_MAX)?;
        let boot = words.next()?;
        Some((timestamp, boot == self.boot && boot != BOOT_UNKNOWN))
    }

    fn taken(&self) -> MutexGuard<'_, BTreeSet<u8>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A link id that nobody else signs with, for as long as this lives.
#[derive(Debug)]
pub(super) struct Lease {
    store: Arc<Store>,
    id: u8,
    file: Option<File>,
    /// What stands in the file.
    written: u64,
    complained: bool,
}

impl Lease {
    pub(super) fn id(&self) -> u8 {
        self.id
    }

    /// No timestamp up to this may be used: it may have been, before a restart.
    pub(super) fn used(&self) -> u64 {
        let own = self.file.as_ref().and_then(|file| self.store.read(file));
        let own = own.map_or(0, |(timestamp, this_boot): (u64, bool)| match this_boot {
            true => timestamp,
            false => timestamp.saturating_add(LOST_AT_POWER_CUT),
        });
        own.max(self.store.of_others(self.id))
    }

    /// Must be called before a timestamp is used.
    pub(super) fn cover(&mut self, timestamp: u64) {
        if timestamp > self.written {
            self.write(timestamp.saturating_add(AHEAD));
        }
    }

    /// The last that was used, at the end.
    pub(super) fn settle(&mut self, last: u64) {
        if self.written != 0 {
            self.write(last);
        }
    }

    fn write(&mut self, timestamp: u64) {
        self.written = timestamp;
        let Some(file) = &self.file else { return };
        // Always as long, so that nothing of the last line stays behind it.
        let line = format!("{timestamp:020} {}\n", self.store.boot);
        if let Err(error) = file.write_all_at(line.as_bytes(), 0)
            && !std::mem::replace(&mut self.complained, true)
        {
            tracing::warn!("the time of signed frames cannot be kept: {error}");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.store.taken().remove(&self.id);
    }
}

fn file_of(directory: &Path, id: u8) -> PathBuf {
    directory.join(format!("link-{id}"))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

/// The folders that may do, the best first.
fn places() -> Vec<PathBuf> {
    let absolute = |variable: &str| {
        std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    let state = absolute("XDG_STATE_HOME").or_else(home);
    let temporary = absolute("TMPDIR").unwrap_or_else(|| PathBuf::from("/var/tmp"));
    // SAFETY: takes nothing, cannot fail and touches no memory of ours.
    let user = unsafe { libc::geteuid() };
    let temporary = temporary.join(format!("mavftp-mount-{user}"));
    state.into_iter().chain([temporary]).map(|place| place.join(SIGNING)).collect()
}

/// Makes the folder where it is missing; whether files can be made in it, and by us alone.
fn prepare(place: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(place)?;
    // Everybody may make a folder of our name where temporary files lie.
    // SAFETY: takes nothing, cannot fail and touches no memory of ours.
    let user = unsafe { libc::geteuid() };
    let ours = |path: &Path| {
        fs::symlink_metadata(path).is_ok_and(|found| {
            found.is_dir() && found.uid() == user && found.permissions().mode() & FOREIGN_BITS == 0
        })
    };
    if !ours(place) {
        let reason = "the folder belongs to somebody else, or is open to others";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    open(&file_of(place, 0)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(directory: &tempfile::TempDir) -> Arc<Store> {
        Store::at(Some(directory.path().to_owned()))
    }

    #[test]
    fn what_was_used_is_known_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut lease = store(&directory).lease().unwrap();
        assert_eq!((lease.id(), lease.used()), (0, 0));
        lease.cover(1000);
        lease.settle(1234);
        drop(lease);
        assert_eq!(store(&directory).lease().unwrap().used(), 1234);
    }

    #[test]
    fn a_killed_program_leaves_more_than_it_used_and_writes_seldom() {
        let directory = tempfile::tempdir().unwrap();
        let mut lease = store(&directory).lease().unwrap();
        let file = file_of(directory.path(), 0);
        lease.cover(1);
        let first = fs::read(&file).unwrap();
        lease.cover(1 + AHEAD);
        assert_eq!(fs::read(&file).unwrap(), first);
        lease.cover(2 + AHEAD);
        assert_ne!(fs::read(&file).unwrap(), first);
        drop(lease);
        assert_eq!(store(&directory).lease().unwrap().used(), 2 + 2 * AHEAD);
    }

    #[test]
    fn after_a_power_cut_more_may_have_been_used_than_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let line = format!("{:020} another-boot\n", 5000);
        fs::write(file_of(directory.path(), 0), line).unwrap();
        assert_eq!(store(&directory).lease().unwrap().used(), 5000 + LOST_AT_POWER_CUT);
    }

    #[test]
    fn no_two_links_of_this_or_another_program_have_one_id() {
        let directory = tempfile::tempdir().unwrap();
        let (here, there) = (store(&directory), store(&directory));
        let (first, second, third) =
            (here.lease().unwrap(), there.lease().unwrap(), here.lease().unwrap());
        assert_eq!([first.id(), second.id(), third.id()], [0, 1, 2]);
        drop(first);
        assert_eq!(there.lease().unwrap().id(), 0, "the lowest one is taken again");
    }

    #[test]
    fn nobody_begins_behind_what_another_link_used() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        let (mut first, second) = (store.lease().unwrap(), store.lease().unwrap());
        first.cover(AHEAD * 7);
        assert_eq!(second.used(), AHEAD * 7);
    }

    #[test]
    fn damaged_files_say_nothing() {
        let directory = tempfile::tempdir().unwrap();
        for content in
            [&b""[..], b"\0\0\0\0", b"soon", b"-5 x\n", b"12", b"999999999999999 x\n", &[0xFF; 500]]
        {
            fs::write(file_of(directory.path(), 0), content).unwrap();
            assert_eq!(store(&directory).lease().unwrap().used(), 0);
        }
    }

    #[test]
    fn without_a_folder_link_ids_differ_all_the_same() {
        let store = Store::at(None);
        let leases: Vec<Lease> = (0..=u8::MAX).map(|_| store.lease().unwrap()).collect();
        assert!(leases.iter().zip(0..=u8::MAX).all(|(lease, id)| lease.id() == id));
        assert!(store.lease().unwrap_err().to_string().contains("link ids"));
        drop(leases);
        assert_eq!(store.lease().unwrap().id(), 0);
    }

    #[test]
    fn a_folder_that_is_open_to_others_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("a/b");
        prepare(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(prepare(&place).is_err());
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(prepare(&file.join("c")).is_err());
    }
}
