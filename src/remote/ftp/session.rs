//! One logged-in control connection and the commands for each operation. Blocks; owned by the
//! thread in `remote::ftp`. Must not know who asks, nor when to connect anew.
//!
//! Whether the connection still answers what it is asked is kept in `in_step`: after a timeout a
//! late reply would be taken for the next command's, so such a connection is never used again.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use suppaftp::{FtpError, FtpResult, TlsStream, TransferStream};

use super::login::{Features, Ftp, LoggedIn, Unconnected, log_in};
use super::queue::{Job, Queue};
use super::{Options, data, replies, times};
use crate::remote::{Error, Op, Pull, RemotePath, Reply, Source, WriteMode};
use directory::Habits;

mod directory;

/// Bytes moved between a socket and a sink or source at once.
const PIECE_BYTES: usize = 64 << 10;
/// How a server ends a transfer that we stopped: aborted, local error, no data connection.
const AFTER_OUR_STOP: [u32; 3] = [426, 451, 425];

/// A logged-in connection.
pub struct Session {
    ftp: Ftp,
    queue: Arc<Queue>,
    features: Features,
    /// Whether the server connects to us for data.
    active: bool,
    /// What is known of its listings.
    habits: Habits,
    in_step: bool,
    used: Instant,
}

impl Session {
    /// Connects and logs in; no single wait is longer than `patience`.
    pub fn connect(
        options: &Options,
        patience: Duration,
        queue: &Arc<Queue>,
    ) -> Result<Session, Unconnected> {
        let LoggedIn { ftp, features } = log_in(options, patience, queue)?;
        let (queue, used) = (queue.clone(), Instant::now());
        let (active, habits) = (options.active, Habits::default());
        Ok(Session { ftp, queue, features, active, habits, in_step: true, used })
    }

    /// What the server can do.
    pub fn features(&self) -> Features {
        self.features
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

    /// Says goodbye, and does not insist on an answer.
    pub fn quit(mut self, patience: Duration) {
        if let Err(error) = self.set_timeouts(patience).and_then(|()| self.ftp.quit()) {
            tracing::debug!(%error, "the server did not answer the goodbye");
        }
    }

    /// Runs one operation to its end.
    pub fn perform(&mut self, job: &Job) -> Result<Reply, Error> {
        let done = |()| Reply::Done;
        let result = match &job.op {
            Op::List { path } => self.list(job, path),
            Op::Read { path, offset, length, .. } => self.read(job, path, *offset, *length),
            Op::Size { path } => self.size(job, path).map(Reply::Size),
            Op::Write { path, mode: WriteMode::Replace, source } => {
                self.write(job, path, &**source)
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

    fn read(
        &mut self,
        job: &Job,
        path: &RemotePath,
        from: u64,
        length: u64,
    ) -> Result<Reply, Error> {
        let size = self.size(job, path)?;
        job.opened(size);
        let end = from.saturating_add(length).min(size);
        if from >= end {
            return Ok(Reply::Size(size));
        }
        let start = usize::try_from(from).map_err(|_| Error::TooLarge)?;
        let mut data = self.command(job, path, |ftp, path| {
            ftp.resume_transfer(start)?;
            ftp.retr_as_stream(path)
        })?;
        self.take_up(&data)?;
        let moved = receive(&mut data, job, from, end);
        let word = self.finish(data, &moved);
        match (moved, word) {
            (Ok(at), Ok(())) if at == end => Ok(Reply::Size(size)),
            (Ok(at), Err(error)) if at == end => {
                // All that was asked for is here; only the connection's future is in question.
                self.in_step &= is_after_our_stop(&error);
                Ok(Reply::Size(size))
            }
            (Ok(_), Ok(())) => Err(Error::Changed),
            (moved, word) => self.judge(job, moved, word).map(Reply::Size),
        }
    }

    fn size(&mut self, job: &Job, path: &RemotePath) -> Result<u64, Error> {
        self.command(job, path, |ftp, path| ftp.size(path)).map(|size| size as u64)
    }

    fn write(&mut self, job: &Job, path: &RemotePath, source: &dyn Source) -> Result<Reply, Error> {
        let mut data = self.command(job, path, |ftp, path| ftp.put_with_stream(path))?;
        self.take_up(&data)?;
        let moved = send(&mut data, job, &self.queue, source);
        let word = self.finish(data, &moved);
        self.judge(job, moved, word).map(Reply::Size)
    }

    /// Begins what takes a path, and turns its failure into ours.
    fn command<T>(
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
    fn take_up<T: TlsStream>(&mut self, data: &TransferStream<T>) -> Result<(), Error> {
        data::take_up(data, self.active, &self.queue).map_err(|error| {
            tracing::debug!(%error, "a data connection could not be bounded");
            self.in_step = false;
            Error::Cancelled
        })
    }

    /// Closes the data connection and hears what the server says of the transfer.
    fn finish<T: TlsStream>(
        &mut self,
        data: TransferStream<T>,
        moved: &io::Result<u64>,
    ) -> FtpResult<()> {
        self.queue.let_go();
        if moved.as_ref().is_err_and(is_timeout) {
            // Patience is used up: do not wait for a last word as well.
            self.in_step = false;
            let _ = self.ftp.get_ref().shutdown(Shutdown::Both);
        }
        data.finish()
    }

    /// How a transfer ended: our timeout, else the server's word, else the socket's error.
    fn judge(
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

    fn failure(&mut self, job: &Job, error: FtpError) -> Error {
        let refused = matches!(&error, FtpError::UnexpectedResponse(reply)
            if replies::code(reply) >= 400 && replies::code(reply) != 421);
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

    fn set_timeouts(&mut self, patience: Duration) -> FtpResult<()> {
        set_timeouts(&self.ftp.get_ref(), patience).map_err(FtpError::ConnectionError)
    }
}

/// Bytes from the data connection to the sink; returns where it stopped, short of `end` only when
/// the stream ended.
fn receive(data: &mut impl Read, job: &Job, start: u64, end: u64) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = start;
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        match data.read(&mut buffer[..want]) {
            Ok(0) => break,
            Ok(count) => {
                job.data(at, &buffer[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

/// Bytes from the source to the data connection; returns how many there were.
fn send(data: &mut impl Write, job: &Job, queue: &Queue, source: &dyn Source) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        queue.expect_more();
        match source.pull(at, &mut buffer) {
            Pull::Bytes(count) => {
                data.write_all(buffer.get(..count).unwrap_or_default())?;
                at += count as u64;
                job.acknowledged(at);
            }
            Pull::Pending | Pull::Idle => queue.wait_for_more()?,
            // What was cancelled is not whole, whatever its source says.
            Pull::End if queue.is_cancelled() => {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Pull::End => return Ok(at),
        }
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

fn is_after_our_stop(error: &FtpError) -> bool {
    matches!(error, FtpError::UnexpectedResponse(reply)
        if AFTER_OUR_STOP.contains(&replies::code(reply)))
}
