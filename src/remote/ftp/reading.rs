//! Downloads on one connection: RETR streams that are kept open for who reads on.
//!
//! What a stream carries is never mixed with another state of the file: its size is asked when it is
//! opened, or, of a small file that is read whole, seen at its end; and one that ends early is an error.

use std::io::{self, Read};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::job::Job;
use super::login::Data;
use super::pool::{SKIP_BYTES_MAX, Standing};
use super::session::{Session, is_timeout, set_timeouts};
use crate::remote::{Error, Op, RemotePath, Reply};

/// Bytes moved between a socket and a sink at once.
const PIECE_BYTES: usize = 64 << 10;
/// A file up to this size that is wanted whole is not asked for its size first: where it ends shows.
const WHOLE_BYTES_MAX: u64 = 256 << 10;
/// A size that was asked for holds so long for further reads of the same file.
const SIZE_TIME: Duration = Duration::from_secs(1);

/// What a connection reads.
#[derive(Default)]
pub struct Reading {
    stream: Option<Stream>,
    /// The size of the file that was asked last.
    size: Option<(RemotePath, u64, Instant)>,
    /// How many changes we had made then.
    changes: u64,
    /// Where a stream was closed that had one reader only. The next one like it is not kept open.
    lone: Option<Standing>,
}

/// An open RETR.
struct Stream {
    data: Data,
    standing: Standing,
    /// The file's size when it was opened.
    size: u64,
    /// How many operations read from it.
    readers: u32,
}

/// How reading from a stream ended.
enum Moved {
    /// Everything is there.
    Done,
    /// The stream is over: what the server says of it, and how far it came.
    Over(io::Result<u64>),
}

impl Session {
    /// The bytes of a range, up to the end of the file.
    pub(super) fn read(
        &mut self,
        job: &Job,
        path: &RemotePath,
        range: Range<u64>,
        expected: Option<u64>,
    ) -> Result<Reply, Error> {
        let from = job.reached().unwrap_or(range.start);
        let is_same = |stream: &Stream| expected.is_none_or(|size| size == stream.size);
        if self.goes_on(path, from) && self.reading.stream.as_ref().is_some_and(is_same) {
            let size = self.reading.stream.as_ref().map_or(0, |stream| stream.size);
            job.opened(size)?;
            match self.read_on(job, from..range.end.min(size)) {
                // A server closes a stream that stood still; nothing has come of this read yet.
                Err(Error::LinkDown | Error::Changed)
                    if self.in_step && job.reached().is_none() => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Reply::Size(size)),
            }
        }
        self.close_stream();
        if !self.in_step {
            return Err(Error::LinkDown);
        }
        let whole = expected
            .filter(|size| from == 0 && (1..=WHOLE_BYTES_MAX).contains(size) && range.end >= *size);
        if let Some(size) = whole
            && let Some(reply) = self.read_whole(job, path, size)?
        {
            return Ok(reply);
        }
        let size = self.current_size(job, path, expected)?;
        job.opened(size)?;
        let range = from..range.end.min(size);
        if !range.is_empty() {
            self.open_stream(job, path, from, size)?;
            self.read_on(job, range)?;
        }
        Ok(Reply::Size(size))
    }

    /// Closes a stream that a job does not go on with.
    pub fn make_ready(&mut self, job: &Job) {
        let (is_stale, changes) = self.seat.take_staleness();
        if self.reading.changes != changes {
            (self.reading.changes, self.reading.size) = (changes, None);
        }
        if is_stale {
            self.close_stream();
        }
        let goes_on = match &job.op {
            Op::Read { path, offset, .. } => self.goes_on(path, job.reached().unwrap_or(*offset)),
            _ => false,
        };
        if !goes_on {
            self.close_stream();
        }
    }

    /// Whether the open stream can go on from an offset of a file.
    pub fn goes_on(&self, path: &RemotePath, from: u64) -> bool {
        self.reading.stream.as_ref().is_some_and(|Stream { standing, .. }| {
            let skipped = from.checked_sub(standing.at);
            standing.path == *path && skipped.is_some_and(|skipped| skipped <= SKIP_BYTES_MAX)
        })
    }

    /// Where the open stream stands.
    pub fn standing(&self) -> Option<Standing> {
        self.reading.stream.as_ref().map(|stream| stream.standing.clone())
    }

    /// Closes a stream that is at its end, or of which it is not likely that somebody reads on. After
    /// the end of an operation is told.
    pub fn tidy(&mut self) {
        let Some(stream) = &self.reading.stream else { return };
        let Stream { standing, size, readers, .. } = stream;
        let is_lone = |before: &Standing| before.path == standing.path && before.at != standing.at;
        let is_random = *readers == 1 && self.reading.lone.as_ref().is_some_and(is_lone);
        if standing.at >= *size || (is_random && !self.seat.is_continued(standing)) {
            self.close_stream();
        }
    }

    /// Closes the open stream, if there is one.
    pub fn close_stream(&mut self) {
        self.close_stream_within(self.seat.patience());
    }

    pub(super) fn close_stream_within(&mut self, patience: Duration) {
        let Some(stream) = self.reading.stream.take() else { return };
        let is_lone = stream.readers == 1 && stream.standing.at < stream.size;
        self.reading.lone = is_lone.then_some(stream.standing);
        self.in_step &= self.set_timeouts(patience).is_ok();
        self.stop(stream.data);
    }

    /// A small file as a whole. Nothing: it has another size than was thought, which is to be asked.
    fn read_whole(
        &mut self,
        job: &Job,
        path: &RemotePath,
        size: u64,
    ) -> Result<Option<Reply>, Error> {
        let mut data = self.command(job, path, |ftp, path| ftp.retr_as_stream(path))?;
        self.take_up(&data)?;
        let mut bytes = Vec::with_capacity(size as usize + 1);
        let moved = data.by_ref().take(size + 1).read_to_end(&mut bytes).map(|count| count as u64);
        match moved {
            Ok(count) if count == size => {
                job.opened(size)?;
                job.data(0, &bytes);
                let standing = Standing { path: path.clone(), at: size };
                self.reading.stream = Some(Stream { data, standing, size, readers: 1 });
                Ok(Some(Reply::Size(size)))
            }
            Ok(count) if count > size => {
                self.stop(data);
                Ok(None)
            }
            moved => {
                let word = self.finish(data, &moved);
                self.judge(job, moved, word).map(|_| None)
            }
        }
    }

    /// The size of a file, asked at most once in a while.
    fn current_size(
        &mut self,
        job: &Job,
        path: &RemotePath,
        expected: Option<u64>,
    ) -> Result<u64, Error> {
        if let Some((known, size, when)) = &self.reading.size
            && known == path
            && expected.is_none_or(|expected| expected == *size)
            && when.elapsed() < SIZE_TIME
        {
            return Ok(*size);
        }
        let size = self.size(job, path)?;
        self.reading.size = Some((path.clone(), size, Instant::now()));
        Ok(size)
    }

    fn open_stream(
        &mut self,
        job: &Job,
        path: &RemotePath,
        from: u64,
        size: u64,
    ) -> Result<(), Error> {
        // A server that does not say so might send the beginning all the same.
        let from = if self.features().restarts { from } else { 0 };
        let start = usize::try_from(from).map_err(|_| Error::TooLarge)?;
        let data = self.command(job, path, |ftp, path| {
            if start > 0 {
                ftp.resume_transfer(start)?;
            }
            ftp.retr_as_stream(path)
        })?;
        self.take_up(&data)?;
        let standing = Standing { path: path.clone(), at: from };
        self.reading.stream = Some(Stream { data, standing, size, readers: 0 });
        Ok(())
    }

    /// Reads a range from the open stream, which stands at its start or a little before it.
    fn read_on(&mut self, job: &Job, range: Range<u64>) -> Result<(), Error> {
        let Some(mut stream) = self.reading.stream.take() else { return Err(Error::LinkDown) };
        stream.readers += 1;
        let socket = stream.data.get_ref().get_ref();
        let ready = set_timeouts(socket, job.patience).and_then(|()| socket.try_clone());
        let moved = match ready.and_then(|twin| self.seat.adopt(twin)) {
            Ok(()) => stream.receive(job, range),
            Err(error) => Moved::Over(Err(error)),
        };
        match moved {
            Moved::Done => {
                self.seat.let_go();
                self.reading.stream = Some(stream);
                Ok(())
            }
            Moved::Over(moved) => {
                self.reading.size = None;
                let is_late = moved.as_ref().is_err_and(is_timeout);
                let word = self.finish(stream.data, &moved);
                match (moved, word) {
                    (Ok(_), Ok(())) => Err(Error::Changed),
                    // What was sent until then is no file; whether there is more, a new stream shows.
                    (moved, word) if !is_late && self.seat.is_cancelled() => {
                        self.judge(job, moved, word).map(drop)
                    }
                    (moved, word) => self.judge(job, moved, word).and(Err(Error::Changed)),
                }
            }
        }
    }
}

impl Stream {
    /// Bytes from the data connection to the sink; what comes before the range is passed over.
    fn receive(&mut self, job: &Job, range: Range<u64>) -> Moved {
        let mut buffer = vec![0; PIECE_BYTES];
        while self.standing.at < range.end {
            let at = self.standing.at;
            let next = if at < range.start { range.start } else { range.end };
            let want = usize::try_from(next - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            match self.data.read(&mut buffer[..want]) {
                Ok(0) => return Moved::Over(Ok(at)),
                Ok(count) => {
                    if at >= range.start {
                        job.data(at, &buffer[..count]);
                    }
                    self.standing.at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Moved::Over(Err(error)),
            }
        }
        Moved::Done
    }
}
