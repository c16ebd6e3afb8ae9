//! FTP behind the trait [`Remote`]: a few control connections, each owned by one thread. Must not know
//! who asks (`cache`, `fs`, `fuse`).
//!
//! `pool` says which connection does what; `worker` is a connection's thread; `login` connects; `data`
//! opens what bytes go through; `session` speaks FTP, with `reading`, `writing` and `storing` for transfers, `control` and
//! `ahead` for what goes past the library; `lines`,
//! `listing`, `charset`, `times` and `replies` turn a server's text into entries, names, times and
//! errors.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::{Class, Error, Op, OpId, Remote, Sink, Status};
use job::Job;
use login::Unconnected;
use pool::Pool;
use session::{Session, SharedHabits};
use worker::{Reach, Worker, may_be_reached};

mod ahead;
mod calendar;
mod charset;
mod control;
mod data;
mod fingerprint;
mod job;
mod lines;
mod listing;
mod login;
mod pool;
mod reading;
mod replies;
mod session;
mod storing;
pub mod survey;
mod times;
mod tls;
mod worker;
mod writing;

pub use fingerprint::{Fingerprint, NoFingerprint};

/// Longest path that is sent, in bytes: Linux's `PATH_MAX`; FTP itself sets no limit.
const PATH_BYTES_MAX: usize = 4096;
/// Who logs in where nobody is named.
pub const ANONYMOUS: &str = "anonymous";
/// The default of [`Options::connections`].
pub const CONNECTIONS: usize = 2;
/// The default of [`Options::op_timeout`].
const OP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long dropping the remote waits for its goodbye.
const QUIT_TIME: Duration = Duration::from_secs(1);

/// Where to log in, and how long to wait.
#[derive(Clone)]
pub struct Options {
    /// Host name, or an address without brackets.
    pub host: String,
    /// Port of the control connection, usually 21.
    pub port: u16,
    /// Login name.
    pub user: String,
    /// Password; sent in the clear without TLS.
    pub password: String,
    /// Said, with the server's words, when it refuses the login: where the password came from.
    pub login_advice: String,
    /// Whether and when TLS begins.
    pub protection: Protection,
    /// Whose certificate is believed.
    pub trust: Trust,
    /// Most control connections at a time, at least one.
    pub connections: usize,
    /// The server connects to us for data, and not we to it.
    pub active: bool,
    /// The charset of names on the server; `None`: UTF-8 where it offers that, else its bytes as they
    /// are.
    pub encoding: Option<NameEncoding>,
    /// Longest wait for one answer of the server outside of an operation with its own patience.
    pub op_timeout: Duration,
}

impl Options {
    /// A plain connection of an anonymous user to a host, with the defaults of the command line.
    pub fn new(host: impl Into<String>, port: u16) -> Options {
        Options {
            host: host.into(),
            port,
            user: ANONYMOUS.into(),
            password: String::new(),
            login_advice: "check the user and the password".into(),
            protection: Protection::Plain,
            trust: Trust::System,
            connections: CONNECTIONS,
            active: false,
            encoding: None,
            op_timeout: OP_TIMEOUT,
        }
    }
}

/// How an FTP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// Not at all.
    #[default]
    Plain,
    /// TLS from the first byte.
    Implicit,
    /// TLS after AUTH TLS (RFC 4217).
    Explicit,
}

/// Whose certificate is believed, where there is TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Those that this system's authorities have signed.
    #[default]
    System,
    /// Those that the authorities in this file (PEM) have signed.
    CaFile(PathBuf),
    /// The one with this SHA-256 sum, whatever its name and dates.
    Fingerprint(Fingerprint),
    /// Any: whoever is in between reads and changes everything.
    Anything,
}

/// A charset of names on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameEncoding {
    /// UTF-8.
    Utf8,
    /// ISO 8859-1: one byte is one character.
    Latin1,
}

/// Logs in, and leaves a thread that owns the connection until the last `Arc` is dropped.
///
/// # Errors
/// [`Error::Login`] when the server refuses the user, [`Error::Busy`] when it takes no more
/// connections, [`Error::TimedOut`] when it does not answer, [`Error::Failed`] with the reason when it
/// is not reached.
pub fn connect(options: &Options) -> Result<Arc<dyn Remote>, Error> {
    let pool = Pool::new(options.connections, options.op_timeout);
    let first = Arc::new(pool.seat(0));
    let habits = SharedHabits::default();
    let session = Session::connect(options, options.op_timeout, &first, &habits);
    let session = session.map_err(unreached)?;
    let sets_times = session.features().mfmt;
    let (mut session, reach, mut threads) = (Some(session), Reach::default(), Vec::new());
    for number in 0..options.connections.max(1) {
        let (seat, reach) = (Arc::new(pool.seat(number)), reach.clone());
        let seat = if number == 0 { first.clone() } else { seat };
        let (options, habits, session) = (options.clone(), habits.clone(), session.take());
        let worker = Worker { options, seat, session, reach, habits };
        let thread = thread::Builder::new().name(format!("ftp {number}"));
        let thread = thread.spawn(move || worker.run()).map_err(|error| {
            pool.close();
            Error::Failed(format!("no thread for the connection: {error}"))
        })?;
        threads.push(thread.thread().id());
    }
    let label = format!("FTP server, user {}", options.user);
    let identity = format!("ftp:{}@{}:{}", options.user, options.host, options.port);
    Ok(Arc::new(FtpRemote { pool, label, identity, sets_times, reach, threads }))
}

/// Why the first connection to a server failed.
fn unreached(failed: Unconnected) -> Error {
    match failed.error {
        // Worded for a link that was up; of this server nothing has been heard yet.
        Error::LinkDown => Error::Failed(format!(
            "cannot be reached ({}); check its name, its port and the network",
            failed.reason
        )),
        error => error,
    }
}

struct FtpRemote {
    pool: Arc<Pool>,
    label: String,
    identity: String,
    sets_times: bool,
    reach: Reach,
    threads: Vec<ThreadId>,
}

impl Remote for FtpRemote {
    fn submit(&self, id: OpId, op: Op, class: Class, patience: Duration, sink: Arc<dyn Sink>) {
        self.pool.push(Job::new(id, op, class, patience, sink));
    }

    fn raise(&self, id: OpId, class: Class) {
        self.pool.raise(id, class);
    }

    fn more(&self, id: OpId) {
        self.pool.more(id);
    }

    fn cancel(&self, id: OpId) {
        if let Some(job) = self.pool.cancel(id) {
            job.done(Err(Error::Cancelled));
        }
    }

    fn status(&self) -> Status {
        Status {
            up: self.pool.is_up() || may_be_reached(&self.reach),
            // A server behind a host, port and user is taken to stay the same one.
            epoch: 0,
            last_other: 0,
            path_bytes_max: PATH_BYTES_MAX,
            appends: false,
            saves: true,
            uploads: self.pool.uploads(),
            streams: self.pool.has_several(),
            label: self.label.clone(),
            identity: Some(self.identity.clone()),
            armed: false,
            has_virtual: false,
            sets_times: self.sets_times,
            has_room: self.pool.has_several(),
        }
    }
}

impl Drop for FtpRemote {
    fn drop(&mut self) {
        self.pool.close();
        // A sink may have held the last reference: then this is one of the threads to wait for.
        if !self.threads.contains(&thread::current().id()) {
            self.pool.wait_for_end(QUIT_TIME);
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        write!(f, "ftp://{}@{}:{}", self.user, self.host, self.port)
    }
}
