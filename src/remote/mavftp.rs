//! MAVLink FTP as a [`Remote`]: one thread owns the link and steps the hub; commands reach it over a
//! channel. Must not know cache, fs or fuse.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::{Class, Error, Op, OpId, Remote, Sink, Status};
use crate::link::Waker;
use crate::link::signing::SigningKey;
use desk::Command;

mod connect;
#[doc(hidden)]
pub mod desk;
mod places;
pub mod survey;
mod thread;
mod translate;

pub use connect::{ConnectError, connect};

/// Who we are on the link, whom we want, and how long we wait.
#[derive(Debug, Clone)]
pub struct Options {
    /// Our system id.
    pub own_system: u8,
    /// Our component id.
    pub own_component: u8,
    /// The wanted system, and its component; `None`: the first autopilot heard, else the first
    /// component that answers FTP.
    pub target: Option<(u8, Option<u8>)>,
    /// A vehicle not heard for so long is down.
    pub link_timeout: Duration,
    /// How long to look for a vehicle.
    pub mount_timeout: Duration,
    /// The longest time an operation waits without progress.
    pub op_timeout: Duration,
    /// Bytes per second of file data both ways together; `None`: as fast as the link allows.
    pub rate_limit: Option<u32>,
    /// What an armed autopilot is asked.
    pub when_armed: WhenArmed,
    /// How long operations wait for a vehicle that is not heard; zero: they fail at once.
    pub loss_patience: Duration,
    /// Frames are signed with this key, and only those signed with it are believed; `None`: nothing is
    /// signed, and no signature is looked at.
    pub sign_key: Option<SigningKey>,
}

/// What an armed autopilot is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum WhenArmed {
    /// Listings one at a time and files up to 64 KiB; nothing is changed.
    #[default]
    Limit,
    /// Everything.
    Allow,
    /// Nothing.
    Deny,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            own_system: 245,
            own_component: 191,
            target: None,
            link_timeout: Duration::from_secs(5),
            mount_timeout: Duration::from_secs(20),
            op_timeout: Duration::from_secs(10),
            rate_limit: None,
            when_armed: WhenArmed::default(),
            loss_patience: Duration::ZERO,
            sign_key: None,
        }
    }
}

/// One vehicle's files. Dropped, it closes what is open on the vehicle and ends its thread.
struct MavftpRemote {
    commands: Sender<Command>,
    waker: Waker,
    status: Arc<Mutex<Status>>,
    thread: Option<JoinHandle<()>>,
}

impl MavftpRemote {
    fn send(&self, command: Command) {
        match self.commands.send(command) {
            Ok(()) => self.waker.wake(),
            Err(unsent) => refuse(unsent.into_inner()),
        }
    }

    fn thread_id(&self) -> Option<ThreadId> {
        self.thread.as_ref().map(|thread| thread.thread().id())
    }
}

/// The thread is gone, which is a fault of ours; whoever waits must not wait for ever. From a
/// thread of its own, because a sink is never called from inside `submit`.
fn refuse(command: Command) {
    if let Command::Submit { sink, .. } = command {
        let gone = || Error::Failed("the link's thread has ended; unmount and mount again".into());
        std::thread::spawn(move || sink.done(Err(gone())));
    }
}

impl Remote for MavftpRemote {
    fn submit(&self, id: OpId, op: Op, class: Class, patience: Duration, sink: Arc<dyn Sink>) {
        self.send(Command::Submit { id, op, class, patience, sink });
    }

    fn raise(&self, id: OpId, class: Class) {
        self.send(Command::Raise(id, class));
    }

    fn more(&self, id: OpId) {
        self.send(Command::More(id));
    }

    fn cancel(&self, id: OpId) {
        self.send(Command::Cancel(id));
    }

    fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MavftpRemote {
    fn drop(&mut self) {
        self.send(Command::Stop);
        // The last owner may be a sink, on that very thread.
        if self.thread_id() == Some(std::thread::current().id()) {
            return;
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the link's thread panicked");
        }
    }
}
