//! The kernel's requests, turned into calls of [`Fs`] and its answers into replies. The only place
//! that names `fuser`; thin, so that `fs` runs in tests without a kernel. Must not know `cache`,
//! `remote` and `link`.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use fuser::{BackgroundSession, Config, MountOption, SessionACL};

use crate::fs::Fs;

mod callers;
mod filesystem;
mod notices;
mod parking;
mod replies;
mod translate;

use filesystem::Requests;

/// What `findmnt` and `df -T` show as the type, after `fuse.`.
pub const SUBTYPE: &str = "mavftp";

/// How the kernel is asked to mount and to send its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What `findmnt` and `df` show as the source.
    pub source_name: String,
    /// Whether the kernel refuses every change by itself.
    pub read_only: bool,
    /// Who may look inside.
    pub access: Access,
    /// Longest write request in bytes. A program stuck in a write can be killed only between
    /// requests, so a slow link wants a small one.
    pub write_bytes_max: u32,
    /// How far the kernel reads ahead, in bytes. It waits for the whole request.
    pub read_ahead_bytes_max: u32,
    /// How long the kernel may keep an entry and its attributes without asking again.
    pub attribute_time: Duration,
    /// How long the kernel may remember that a name does not exist; zero: not at all.
    pub negative_time: Duration,
}

/// Who may look inside a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only the user who mounted; not even root.
    Owner,
    /// That user and root.
    OwnerAndRoot,
    /// Everybody, as the permission bits allow.
    Everyone,
}

/// Mounts `fs` on a directory and begins to answer.
///
/// # Errors
/// What mount(2) or `fusermount3` says.
pub fn mount(fs: Arc<Fs>, mountpoint: &Path, options: &Options) -> io::Result<Mounted> {
    let (alive, ended) = crossbeam_channel::bounded(0);
    let (requests, teller) = Requests::start(fs.clone(), options, alive)?;
    let device = requests.device.clone();
    let session = fuser::spawn_mount(requests, mountpoint, &session_config(options))?;
    // The root needs no wire. Without its number every close is for good.
    if let Ok(root) = std::fs::metadata(mountpoint) {
        device.get_or_init(|| callers::Device::of(root.dev()));
    }
    // Without it the mount is right, if later: what the kernel knows expires.
    if let Err(error) = teller.start(fs, session.notifier()) {
        tracing::warn!(%error, "the kernel will not be told of changes");
    }
    Ok(Mounted { session, ended })
}

/// A mount that answers.
pub struct Mounted {
    session: BackgroundSession,
    ended: Receiver<Infallible>,
}

impl Mounted {
    /// A channel that never carries anything and is closed when the kernel has let go of the mount.
    pub fn ended(&self) -> &Receiver<Infallible> {
        &self.ended
    }

    /// Waits for the end of the mount, which somebody else must bring about.
    ///
    /// # Errors
    /// Why the kernel's device could not be read any more.
    pub fn join(self) -> io::Result<()> {
        self.session.join()
    }

    /// Lets the mount's threads run until the process ends. For a mount that is detached but still
    /// held open by a program: fuser's own drop would unmount whatever is mounted there now.
    pub fn abandon(self) {
        std::mem::forget(self.session);
    }
}

fn session_config(options: &Options) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source_name.clone()),
        // fuser forgets `Subtype` when it calls mount(2) itself.
        MountOption::CUSTOM(format!("subtype={SUBTYPE}")),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
        if options.read_only { MountOption::RO } else { MountOption::RW },
    ];
    config.acl = match options.access {
        Access::Owner => SessionACL::Owner,
        Access::OwnerAndRoot => SessionACL::RootAndOwner,
        Access::Everyone => SessionACL::All,
    };
    config
}
