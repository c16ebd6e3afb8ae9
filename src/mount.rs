//! A mount from beginning to end: joins link, remote, cache, filesystem and kernel, and stays until
//! it is told to go or is unmounted. One of the few places where layers are joined.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_lite::future::block_on;

use crate::api::{self, Found, Vehicle};
use crate::cache::{self, Cache, Clock};
use crate::fs::{Append, DiskStore, Fs, FsOptions, WriteBack};
use crate::fuse::{self, Access, Mounted};
use crate::journal::{self, Journal, Places};
use crate::link::address::{Address, FtpAddress};
use crate::remote::{self, Remote, RemotePath, save};

mod background;
mod daemon;
mod device;
mod end;
mod error;
mod helper;
mod mountpoint;
mod notify;
pub mod syslog;
mod unsent;

use background::BackgroundThread;
use notify::Notifier;

pub use error::Error;
pub use helper::Helper;

/// Longest write request on a MAVLink mount, in bytes. Any of them may be a radio, even one behind
/// a UDP port, and a program that writes can be stopped only between two requests.
const MAVLINK_WRITE_BYTES: u32 = 4 << 10;
/// The kernel's read-ahead on a MAVLink mount, in bytes; the speed comes from our own.
const MAVLINK_READ_AHEAD_BYTES: u32 = 16 << 10;
/// Both, for FTP servers.
const FTP_REQUEST_BYTES: u32 = 128 << 10;
/// How far our own read-ahead goes, in bytes.
const READ_AHEAD_BYTES: u64 = 256 << 10;

/// What to mount, where and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The vehicle or server.
    pub address: Address,
    /// The directory there that becomes the mount's root.
    pub path: RemotePath,
    /// The local directory.
    pub mountpoint: PathBuf,
    /// Where mount(8) asks.
    pub helper: Option<Helper>,
    /// Ids, target, time limits, login.
    pub connection: api::Options,
    /// Stay in the foreground.
    pub foreground: bool,
    /// Say nothing but errors.
    pub quiet: bool,
    /// Where a background mount's last words on stderr go; else nowhere, as its log goes to the
    /// system's.
    pub log_file: Option<PathBuf>,
    /// Refuse every change.
    pub read_only: bool,
    /// Who may look inside.
    pub access: Access,
    /// Mount over a directory that is not empty.
    pub nonempty: bool,
    /// Owner of every file; else who mounts.
    pub uid: Option<u32>,
    /// Group of every file; else that of who mounts.
    pub gid: Option<u32>,
    /// Permission bits that no file has.
    pub umask: u16,
    /// Most bytes of file content kept in memory.
    pub cache_bytes: usize,
    /// How long a listing is believed.
    pub directory_time: Duration,
    /// How long the kernel may keep attributes without asking again.
    pub attribute_time: Duration,
    /// How long the kernel may remember that a name does not exist.
    pub negative_time: Duration,
    /// When changes must be on the vehicle.
    pub write_back: WriteBack,
    /// How bytes are added to a file.
    pub append: Append,
    /// How files are saved.
    pub saving: save::Policy,
    /// The largest file that is fetched because a program changes a part of it, in bytes.
    pub max_edit_bytes: u64,
    /// Editors' scratch files stay here.
    pub scratch_guard: bool,
    /// File managers' droppings are answered here.
    pub trash_guard: bool,
}

/// Mounts, and stays. In the background form the calling process returns once the mount answers,
/// with the exit code, and another one stays; must be called before the process has threads.
///
/// # Errors
/// Why nothing was mounted, in words that say what to do.
pub fn run(options: &Options) -> Result<u8, Error> {
    if let Some(helper) = &options.helper {
        helper.enter_namespace().map_err(Error::Daemon)?;
    }
    let mountpoint = mountpoint::prepare(&options.mountpoint, options.nonempty)?;
    device::check(options.access)?;
    if options.helper.as_ref().is_some_and(|helper| helper.fake) {
        return Ok(0);
    }
    if options.foreground {
        return mount(options, &mountpoint, &Notifier::from_environment(), || Ok(()));
    }
    let log = daemon::open_log(options.log_file.as_deref())?;
    match daemon::fork().map_err(Error::Daemon)? {
        daemon::Side::Parent(child) => child.wait().map_err(Error::Daemon),
        // The service that has us mount in passing is not ready by that.
        daemon::Side::Child(parent) => {
            mount(options, &mountpoint, &Notifier::none(), || parent.detach(log))
        }
    }
}

/// Joins the layers, mounts, says so by `ready`, and stays.
fn mount(
    options: &Options,
    mountpoint: &Path,
    manager: &Notifier,
    ready: impl FnOnce() -> io::Result<()>,
) -> Result<u8, Error> {
    let remote = api::connect(&options.address, &options.connection, &mut |missing| {
        manager.status(missing);
        if !options.quiet {
            let _ = writeln!(io::stderr(), "{missing}");
        }
    })?;
    check_root(&remote, options)?;
    let label = remote.status().label;
    let background = BackgroundThread::start().map_err(Error::Daemon)?;
    let journal = Places::from_environment().open().map_err(Error::Journal)?;
    let fs = filesystem(remote.clone(), options, journal.clone(), &background);
    unsent::welcome(&journal, &fs, &remote, options.connection.mavlink.op_timeout, options.quiet);
    drop(remote);
    block_on(fs.begin_sending());
    // From here on a signal unmounts instead of killing.
    let signals = end::watch_signals().map_err(Error::Daemon)?;
    let mounted = fuse::mount(fs.clone(), mountpoint, &fuse_options(options))
        .map_err(|error| Error::mount(mountpoint, error))?;
    let line = format!("{} ({label}) mounted on {}", source_name(options), mountpoint.display());
    let announced = announce(options, mountpoint, &line).and_then(|()| ready());
    if let Err(error) = announced {
        end::unmount(mounted, mountpoint, &signals);
        return Err(Error::NoAnswer(error));
    }
    manager.ready(&line);
    let ending = || manager.stopping();
    Ok(stay(mounted, fs, &journal, mountpoint, &signals, &ending))
}

fn stay(
    mounted: Mounted,
    fs: Arc<Fs>,
    journal: &Journal,
    mountpoint: &Path,
    signals: &end::Signals,
    ending: &dyn Fn(),
) -> u8 {
    tracing::info!(mountpoint = %mountpoint.display(), "mounted");
    let code = end::wait(mounted, &fs, journal, mountpoint, signals, ending);
    tracing::info!(mountpoint = %mountpoint.display(), "unmounted");
    code
}

/// A root other than `/` must be there, or every later error would be a riddle.
fn check_root(remote: &Arc<dyn Remote>, options: &Options) -> Result<(), Error> {
    if options.path.is_root() {
        return Ok(());
    }
    let vehicle = Vehicle::over(remote.clone(), options.connection.mavlink.op_timeout);
    match vehicle.find(&options.path)? {
        Found::Directory => Ok(()),
        Found::File(_) => {
            Err(api::Error::remote(&options.path, remote::Error::NotADirectory).into())
        }
    }
}

fn filesystem(
    remote: Arc<dyn Remote>,
    options: &Options,
    journal: Journal,
    background: &BackgroundThread,
) -> Arc<Fs> {
    let cache_options = cache::Options {
        bytes_max: options.cache_bytes,
        directory_time: options.directory_time,
        patience: options.connection.mavlink.op_timeout,
        read_ahead_bytes: READ_AHEAD_BYTES,
        saving: options.saving,
    };
    let cache = Cache::new(Arc::new(MonotonicClock(Instant::now())), cache_options);
    let volume = cache.add_volume(remote, options.path.clone());
    // SAFETY: these calls take nothing, cannot fail and touch no memory of ours.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let fs_options = FsOptions {
        uid: options.uid.unwrap_or(uid),
        gid: options.gid.unwrap_or(gid),
        file_mode: 0o666 & !options.umask,
        directory_mode: 0o777 & !options.umask,
        read_only: options.read_only,
        mount_time: wall_seconds(),
        source: source_of(options),
        session: journal::fresh_session(),
        write_back: options.write_back,
        append: options.append,
        max_edit_bytes: options.max_edit_bytes,
        scratch_guard: options.scratch_guard,
        trash_guard: options.trash_guard,
    };
    let store = Arc::new(DiskStore::new(journal));
    Fs::new(cache, volume, store, background.spawner(), fs_options, Box::new(wall_seconds))
}

fn fuse_options(options: &Options) -> fuse::Options {
    let (write_bytes_max, read_ahead_bytes_max) = match options.address {
        Address::Ftp(_) => (FTP_REQUEST_BYTES, FTP_REQUEST_BYTES),
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Serial { .. } => (MAVLINK_WRITE_BYTES, MAVLINK_READ_AHEAD_BYTES),
    };
    fuse::Options {
        source_name: source_name(options),
        read_only: options.read_only,
        access: options.access,
        write_bytes_max,
        read_ahead_bytes_max,
        attribute_time: options.attribute_time,
        negative_time: options.negative_time,
    }
}

/// What stands for the source in the success line and in `findmnt`; never a user's name, unless it
/// stands in /etc/fstab, where everybody can read it.
fn source_name(options: &Options) -> String {
    // fusermount3 would take what follows a comma for another option.
    let written = options.helper.as_ref().map(|helper| &helper.source);
    if let Some(source) = written.filter(|source| device::is_root() || !source.contains(',')) {
        return source.clone();
    }
    let name = match &options.address {
        Address::Ftp(_) => source_of(options),
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Serial { .. } => format!("mavlink:{}", source_of(options)),
    };
    if options.path.is_root() { name } else { format!("{name}#{}", options.path) }
}

/// The vehicle or server, never with a user's name.
fn source_of(options: &Options) -> String {
    match &options.address {
        Address::Ftp(server) => {
            Address::Ftp(FtpAddress { user: None, ..server.clone() }).to_string()
        }
        link @ (Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Serial { .. }) => link.to_string(),
    }
}

/// Asks the mount through the kernel, as any program would, and says that it is there.
fn announce(options: &Options, mountpoint: &Path, line: &str) -> io::Result<()> {
    mountpoint::ask_statistics(mountpoint)?;
    if !options.quiet {
        // Somebody who does not listen to the line may still want the mount.
        let _ = writeln!(io::stdout(), "{line}");
    }
    Ok(())
}

/// Seconds since 1970 UTC.
fn wall_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

struct MonotonicClock(Instant);

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
