//! Uploads on one connection: STOR, fed by a source that may be a program that is still writing.

use std::io::{self, Write};
use std::time::Duration;

use super::job::Job;
use super::pool::Seat;
use super::session::Session;
use crate::remote::{Error, Pull, RemotePath, Reply, Source};

/// Bytes moved between a source and a socket at once.
const PIECE_BYTES: usize = 64 << 10;
/// Before the server's word is heard, a source without bytes is given so long.
const PAUSE_TIME: Duration = Duration::from_millis(10);

impl Session {
    /// Stores what a source yields. [`Error::Busy`] when its program is idle and others need the
    /// connection.
    pub(super) fn write(
        &mut self,
        job: &Job,
        path: &RemotePath,
        source: &dyn Source,
    ) -> Result<Reply, Error> {
        let mut data = self.command(job, path, |ftp, path| ftp.put_with_stream(path))?;
        self.take_up(&data)?;
        let mut at = 0;
        let sent = send(&mut data, (job, &self.seat), source, (&mut at, Until::End));
        let moved = sent.map(|_| at);
        let gives_way = |error: &io::Error| error.kind() == io::ErrorKind::ResourceBusy;
        if moved.as_ref().is_err_and(gives_way) {
            // The server takes what it has for the whole file; its name is a temporary one, or was never
            // promised to be anything else.
            self.stop(data);
            return Err(Error::Busy);
        }
        let word = self.finish(data, &moved);
        self.judge(job, moved, word).map(Reply::Size)
    }
}

/// How far is sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To the end of the source.
    End,
    /// Until there is something to wait for, but for a moment: no more than a socket's buffer takes.
    Waiting,
}

/// Bytes from the source to the data connection, from `at`, which they move; whether that is all.
pub fn send(
    data: &mut impl Write,
    (job, seat): (&Job, &Seat),
    source: &dyn Source,
    (at, until): (&mut u64, Until),
) -> io::Result<bool> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        if until == Until::Waiting && *at >= PIECE_BYTES as u64 {
            return Ok(false);
        }
        seat.expect_more();
        match source.pull(*at, &mut buffer) {
            Pull::Bytes(count) => {
                data.write_all(buffer.get(..count).unwrap_or_default())?;
                *at += count as u64;
                job.acknowledged(*at);
                seat.overdue().into_iter().for_each(|late| late.done(Err(Error::Busy)));
            }
            // A program that has written a small file closes it in a moment, and then it goes whole.
            Pull::Pending | Pull::Idle if until == Until::Waiting => {
                if !seat.has_more_within(PAUSE_TIME)? {
                    return Ok(false);
                }
            }
            Pull::Pending => seat.wait_for_more(false)?,
            Pull::Idle => seat.wait_for_more(true)?,
            // What was cancelled is not whole, whatever its source says.
            Pull::End if seat.is_cancelled() => {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Pull::End => {
                data.flush()?;
                return Ok(true);
            }
        }
    }
}
