//! One logged-in control connection and the commands for each operation. Blocks; owned by the thread in
//! `worker`. Must not know who asks, nor when to connect anew.
//!
//! Whether the connection still answers what it is asked is kept in `in_step`: after a timeout a
//! late reply would be taken for the next command's, so such a connection is never used again.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use suppaftp::{FtpError, FtpResult};

use super::ahead::Ahead;
use super::control::Control;
use super::data::Passive;
use super::job::Job;
use super::login::{Data, Features, Ftp, LoggedIn, Unconnected, log_in};
use super::pool::Seat;
use super::reading::Reading;
use super::tls::Connector;
use super::{Options, data, replies, times};
use crate::remote::{Error, Op, RemotePath, Reply, WriteMode};
use directory::Habits;

mod directory;

/// How a server ends a transfer that we stopped: aborted, local error, no data connection.
const AFTER_OUR_STOP: [u32; 3] = [426, 451, 425];

/// What is known of a server's listings, for all its connections: they tell the same times.
pub type SharedHabits = Arc<Mutex<Habits>>;

/// A logged-in connection.
pub struct Session {
    pub(super) ftp: Ftp,
    pub(super) seat: Arc<Seat>,
    pub(super) reading: Reading,
    features: Features,
    /// Whether the server connects to us for data.
    active: bool,
    /// How saves ask for data connections; nothing where the server connects to us.
    pub(super) passive: Option<Passive>,
    /// Past the library.
    pub(super) control: Control,
    /// What protects data connections.
    pub(super) connector: Option<Connector>,
    /// The data connection of the next save.
    pub(super) ahead: Option<Ahead>,
    /// When the last save was done.
    pub(super) saved: Option<Instant>,
    pub(super) habits: SharedHabits,
    pub(super) in_step: bool,
    used: Instant,
}

impl Session {
    /// Connects and logs in; no single wait is longer than `patience`.
    pub fn connect(
        options: &Options,
        patience: Duration,
        seat: &Arc<Seat>,
        habits: &SharedHabits,
    ) -> Result<Session, Unconnected> {
        let LoggedIn { ftp, features, passive, control, connector } =
            log_in(options, patience, seat)?;
        let (seat, reading, used) = (seat.clone(), Reading::default(), Instant::now());
        let (active, habits) = (options.active, habits.clone());
        Ok(Session {
            ftp,
            seat,
            reading,
            features,
            active,
            passive,
            control,
            connector,
            ahead: None,
            saved: None,
            habits,
            in_step: true,
            used,
        })
    }

    /// What the server can do.
    pub fn features(&self) -> Features {
        self.features
    }

    /// What protects the connection, if anything: a version of TLS and a cipher suite.
    pub fn protection(&self) -> Option<(String, String)> {
        self.control.protection()
    }

    /// Whether the connection may be used again.
    pub fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// Time since the last operation.
    pub fn idle_for(&self) -> Duration {
        self.used.elapsed()
    }

    /// Asks the server for a sign of life.
    pub fn answers(&mut self, patience: Duration) -> bool {
        self.set_timeouts(patience).is_ok() && self.ftp.noop().is_ok()
    }

    /// The same while nobody waits; a server that refuses NOOP has answered.
    pub fn stay_alive(&mut self) {
        // No save has needed it for long.
        self.ahead = None;
        let answer = self.set_timeouts(self.seat.patience()).and_then(|()| self.ftp.noop());
        self.in_step &= match answer {
            Ok(()) => true,
            Err(FtpError::UnexpectedResponse(reply)) => replies::code(&reply) >= 500,
            Err(_) => false,
        };
    }

    /// Says goodbye, and does not insist on an answer.
    pub fn quit(mut self, patience: Duration) {
        if self.set_timeouts(patience).is_err() {
            return;
        }
        self.close_stream_within(patience);
        if let Some(error) = self.in_step.then(|| self.ftp.quit().err()).flatten() {
            tracing::debug!(%error, "the server did not answer the goodbye");
        }
    }

    /// Runs one operation to its end.
    pub fn perform(&mut self, job: &Job) -> Result<Reply, Error> {
        if wants_data(&job.op) {
            // The server closes its side of the one from before.
            self.ahead = None;
        }
        let done = |()| Reply::Done;
        let result = match &job.op {
            Op::List { path } => self.list(job, path),
            Op::Read { path, offset, length, expected } => {
                self.read(job, path, *offset..offset.saturating_add(*length), *expected)
            }
            Op::Size { path } => self.size(job, path).map(Reply::Size),
            Op::Write { path, mode: WriteMode::Replace, source } => {
                self.write(job, path, &**source)
            }
            Op::Write { path, mode: WriteMode::Save { target, length }, source } => {
                self.save(job, path, (target, *length), &**source)
            }
            Op::Remove { path } => self.command(job, path, |ftp, path| ftp.rm(path)).map(done),
            Op::MakeDirectory { path } => {
                self.command(job, path, |ftp, path| ftp.mkdir(path)).map(done)
            }
            Op::RemoveDirectory { path } => {
                self.command(job, path, |ftp, path| ftp.rmdir(path)).map(done)
            }
            Op::Rename { from, to } => {
                let to = self.features.charset.command_text(to)?;
                self.command(job, from, |ftp, from| ftp.rename(from, &to)).map(done)
            }
            Op::SetTime { path, mtime } if self.features.mfmt => {
                self.command(job, path, |ftp, path| times::set(ftp, path, *mtime)).map(done)
            }
            Op::Write { mode: WriteMode::Append { .. }, .. }
            | Op::Truncate { .. }
            | Op::SetTime { .. }
            | Op::Checksum { .. } => Err(Error::Unsupported),
        };
        self.used = Instant::now();
        result
    }

    /// Asks a file for its size.
    pub(super) fn size(&mut self, job: &Job, path: &RemotePath) -> Result<u64, Error> {
        self.command(job, path, |ftp, path| ftp.size(path)).map(|size| size as u64)
    }

    /// Begins what takes a path, and turns its failure into ours.
    pub(super) fn command<T>(
        &mut self,
        job: &Job,
        path: &RemotePath,
        ask: impl FnOnce(&mut Ftp, &str) -> FtpResult<T>,
    ) -> Result<T, Error> {
        let path = self.features.charset.command_text(path)?;
        let answer = self.set_timeouts(job.patience).and_then(|()| ask(&mut self.ftp, &path));
        answer.map_err(|error| self.failure(job, error))
    }

    /// A data connection is open.
    pub(super) fn take_up(&mut self, data: &Data) -> Result<(), Error> {
        data::take_up(data, self.active, &self.seat).map_err(|error| {
            tracing::debug!(%error, "a data connection could not be bounded");
            self.in_step = false;
            Error::Cancelled
        })
    }

    /// Closes the data connection and hears what the server says of the transfer.
    pub(super) fn finish(&mut self, data: Data, moved: &io::Result<u64>) -> FtpResult<()> {
        self.seat.let_go();
        if moved.as_ref().is_err_and(is_timeout) {
            // Patience is used up: do not wait for a last word as well.
            self.in_step = false;
            let _ = self.ftp.get_ref().shutdown(Shutdown::Both);
        }
        data.finish()
    }

    /// Ends a transfer that nobody wants any more.
    pub(super) fn stop(&mut self, data: Data) {
        self.seat.let_go();
        self.in_step &= match data.finish() {
            Ok(()) => true,
            Err(FtpError::UnexpectedResponse(reply)) => {
                AFTER_OUR_STOP.contains(&replies::code(&reply))
            }
            Err(_) => false,
        };
    }

    /// How a transfer ended: our timeout, else the server's word, else the socket's error.
    pub(super) fn judge(
        &mut self,
        job: &Job,
        moved: io::Result<u64>,
        word: FtpResult<()>,
    ) -> Result<u64, Error> {
        match (moved, word) {
            (Err(error), _) if is_timeout(&error) => Err(Error::TimedOut),
            (_, Err(error)) => Err(self.failure(job, error)),
            (Err(error), Ok(())) => Err(Error::Failed(format!("the transfer broke off: {error}"))),
            (Ok(count), Ok(())) => Ok(count),
        }
    }

    pub(super) fn failure(&mut self, job: &Job, error: FtpError) -> Error {
        let refused = matches!(&error, FtpError::UnexpectedResponse(reply)
            if replies::is_refusal(reply));
        self.in_step &= refused;
        match error {
            FtpError::UnexpectedResponse(reply) if refused => replies::refusal(&job.op, &reply),
            FtpError::ConnectionError(error) if is_timeout(&error) => Error::TimedOut,
            error => {
                tracing::debug!(%error, op = ?job.op, "the connection is lost");
                Error::LinkDown
            }
        }
    }

    pub(super) fn set_timeouts(&mut self, patience: Duration) -> FtpResult<()> {
        set_timeouts(&self.ftp.get_ref(), patience).map_err(FtpError::ConnectionError)
    }
}

/// Whether the library opens a data connection for it.
fn wants_data(op: &Op) -> bool {
    match op {
        Op::List { .. } | Op::Read { .. } => true,
        Op::Write { mode, .. } => match mode {
            WriteMode::Replace | WriteMode::Append { .. } => true,
            WriteMode::Save { .. } => false,
        },
        Op::Size { .. }
        | Op::Remove { .. }
        | Op::MakeDirectory { .. }
        | Op::RemoveDirectory { .. }
        | Op::Rename { .. }
        | Op::Truncate { .. }
        | Op::SetTime { .. }
        | Op::Checksum { .. } => false,
    }
}

pub(super) fn set_timeouts(socket: &TcpStream, patience: Duration) -> io::Result<()> {
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    // A socket's timeout shows as either.
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
