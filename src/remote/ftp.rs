//! Plain FTP behind the trait [`Remote`]: one control connection, owned by one thread that takes
//! operations from a queue ordered by class. Must not know who asks (`cache`, `fs`, `fuse`).
//!
//! `queue` is where callers and the thread meet; `login` connects; `session` speaks FTP; `listing` and `replies` turn
//! a server's text into entries and errors; this file keeps the connection alive.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::{Class, Error, Op, OpId, Remote, Reply, Sink, Status};
use login::Unconnected;
use queue::{Job, Queue};
use session::Session;

mod fingerprint;
mod listing;
mod login;
mod queue;
mod replies;
mod session;
mod tls;

pub use fingerprint::{Fingerprint, NoFingerprint};

/// Longest path that is sent, in bytes: Linux's `PATH_MAX`; FTP itself sets no limit.
const PATH_BYTES_MAX: usize = 4096;
/// After a failed connect, operations fail at once for so long before the next attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// That pause doubles up to this.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// A connection unused for so long is tried with NOOP first: servers close idle ones.
const IDLE_TIME: Duration = Duration::from_secs(15);
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
    let queue = Arc::new(Queue::new(options.op_timeout));
    let session = Session::connect(options, options.op_timeout, &queue).map_err(|failed| {
        match failed.error {
            // Worded for a link that was up; of this server nothing has been heard yet.
            Error::LinkDown => Error::Failed(format!(
                "cannot be reached ({}); check its name, its port and the network",
                failed.reason
            )),
            error => error,
        }
    })?;
    let keeper = Keeper {
        options: options.clone(),
        queue: queue.clone(),
        session: Some(session),
        down: None,
    };
    let thread = thread::Builder::new()
        .name("ftp".into())
        .spawn(move || keeper.run())
        .map_err(|error| Error::Failed(format!("no thread for the connection: {error}")))?;
    let label = format!("FTP server, user {}", options.user);
    let identity = format!("ftp:{}@{}:{}", options.user, options.host, options.port);
    Ok(Arc::new(FtpRemote { queue, label, identity, thread: thread.thread().id() }))
}

struct FtpRemote {
    queue: Arc<Queue>,
    label: String,
    identity: String,
    thread: ThreadId,
}

impl Remote for FtpRemote {
    fn submit(&self, id: OpId, op: Op, class: Class, patience: Duration, sink: Arc<dyn Sink>) {
        self.queue.push(Job::new(id, op, class, patience, sink));
    }

    fn raise(&self, id: OpId, class: Class) {
        self.queue.raise(id, class);
    }

    fn more(&self, id: OpId) {
        self.queue.more(id);
    }

    fn cancel(&self, id: OpId) {
        if let Some(job) = self.queue.cancel(id) {
            job.done(Err(Error::Cancelled));
        }
    }

    fn status(&self) -> Status {
        Status {
            up: self.queue.is_up(),
            // A server behind a host, port and user is taken to stay the same one.
            epoch: 0,
            last_other: 0,
            path_bytes_max: PATH_BYTES_MAX,
            appends: false,
            // One connection carries one file at a time.
            streams: false,
            label: self.label.clone(),
            identity: Some(self.identity.clone()),
            armed: false,
            has_virtual: false,
            sets_times: false,
        }
    }
}

impl Drop for FtpRemote {
    fn drop(&mut self) {
        self.queue.close();
        // A sink may have held the last reference: then this is the thread that would be waited for.
        if thread::current().id() != self.thread {
            self.queue.wait_for_end(QUIT_TIME);
        }
    }
}

/// The thread: keeps a connection, and takes job after job.
struct Keeper {
    options: Options,
    queue: Arc<Queue>,
    session: Option<Session>,
    down: Option<Down>,
}

/// The last attempt to connect failed.
struct Down {
    until: Instant,
    pause: Duration,
    error: Error,
}

impl Keeper {
    fn run(mut self) {
        while let Some(job) = self.queue.take() {
            // A foreign library reads what a foreign server wrote; should it panic, one operation
            // fails and not all that come after it.
            let result = catch_unwind(AssertUnwindSafe(|| self.perform(&job)));
            let cancelled = self.queue.release();
            job.done(match result {
                Ok(Err(_)) if cancelled => Err(Error::Cancelled),
                Ok(result) => result,
                Err(_) => Err(Error::Failed("the FTP library failed".into())),
            });
        }
        for job in self.queue.drain() {
            job.done(Err(Error::Cancelled));
        }
        if let Some(session) = self.session.take() {
            session.quit(QUIT_TIME);
        }
        self.queue.end();
    }

    /// Runs one job. What the server lost with the connection is asked once more, if that is
    /// harmless, nothing was handed out, and it was not the new connection that failed.
    fn perform(&mut self, job: &Job) -> Result<Reply, Error> {
        loop {
            let reused = self.session.is_some();
            let mut session = self.connected(job)?;
            let result = session.perform(job);
            let in_step = session.is_in_step();
            // A timeout may be the source's; whether the server lives, the next connect will tell.
            self.queue.set_up(result != Err(Error::LinkDown));
            if in_step {
                self.session = Some(session);
            }
            let again = reused && !in_step && result == Err(Error::LinkDown);
            if !again || !job.may_be_repeated() || self.queue.is_cancelled() {
                return result;
            }
            tracing::debug!(op = ?job.op, "the connection was lost; asking again on a new one");
        }
    }

    fn connected(&mut self, job: &Job) -> Result<Session, Error> {
        if let Some(mut session) = self.session.take()
            && (session.idle_for() < IDLE_TIME || session.answers(job.patience))
        {
            return Ok(session);
        }
        let now = Instant::now();
        if let Some(down) = self.down.as_ref().filter(|down| now < down.until) {
            return Err(down.error.clone());
        }
        let left = job.patience.saturating_sub(now.duration_since(job.submitted));
        if left.is_zero() {
            return Err(Error::TimedOut);
        }
        let session = Session::connect(&self.options, left, &self.queue);
        self.queue.set_up(session.is_ok());
        match session {
            Ok(session) => {
                self.down = None;
                Ok(session)
            }
            Err(Unconnected { error, reason }) => {
                let Options { host, port, .. } = &self.options;
                tracing::warn!("FTP server {host}:{port}: {reason}");
                self.down = Some(Down::after(self.down.take(), &error));
                Err(error)
            }
        }
    }
}

impl Down {
    fn after(last: Option<Down>, error: &Error) -> Down {
        let pause = last.map_or(PAUSE_FIRST, |last| (last.pause * 2).min(PAUSE_MAX));
        // Who asks during the pause has not waited for an answer.
        let error = if *error == Error::TimedOut { Error::LinkDown } else { error.clone() };
        Down { until: Instant::now() + pause, pause, error }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        write!(f, "ftp://{}@{}:{}", self.user, self.host, self.port)
    }
}
