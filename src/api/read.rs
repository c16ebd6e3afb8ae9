//! Reading whole files: one operation, whose pieces the calling thread takes from an inbox, so
//! that the link's thread never touches a disk or a pipe.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};
use parking_lot::Mutex;

use super::intervals::Intervals;
use super::{Error, Interrupt, Progress};
use crate::remote::{self, Class, Op, OpId, Remote, RemotePath, Reply, Sink};

/// How much is asked for at once when the bytes must leave in order: what waits in memory for a
/// slow reader of our output. One round trip is lost after each.
const ORDERED_BYTES: u64 = 4 << 20;
/// The same when each piece goes to its own place: what waits in memory for a slow disk.
const PLACED_BYTES: u64 = 32 << 20;
/// How long pieces gather before they are placed together.
const GATHERING_TIME: Duration = Duration::from_millis(2);
/// Most bytes that are placed together.
const JOINED_BYTES_MAX: usize = 1 << 20;
/// Progress is told this often, in bytes.
const PROGRESS_STEP: u64 = 64 << 10;

/// What is read, and how long.
pub(super) struct Reading<'a> {
    pub(super) remote: &'a Arc<dyn Remote>,
    pub(super) patience: Duration,
    pub(super) interrupt: &'a Interrupt,
    pub(super) path: &'a RemotePath,
}

/// Why a copy ended before its end, and what of it can be gone on from.
#[derive(Debug)]
pub struct Broken {
    /// What happened.
    pub error: Error,
    /// So many bytes from the beginning of the local file are right.
    pub kept: u64,
}

/// Copies a file from `start` on into a local one at each piece's own offset; returns the size.
pub(super) fn whole(
    reading: &Reading<'_>,
    local: &File,
    start: u64,
    progress: Progress<'_>,
) -> Result<u64, Broken> {
    let mut told = start;
    let mut at = start;
    let mut size_at_first = None;
    loop {
        let mut arrived = Intervals::default();
        let read = reading.range((at, PLACED_BYTES), &mut arrived, &mut |step| {
            let Step { offset, bytes, arrived, size } = step;
            let arrived = at + arrived;
            if arrived >= told + PROGRESS_STEP || Some(arrived) == size {
                told = arrived;
                progress(arrived, size);
            }
            local.write_all_at(bytes, offset).map_err(Error::Output)
        });
        let size = read.map_err(|error| match error {
            // What of the last pieces is on the disk is not known.
            Error::Output(_) => Broken { error, kept: at },
            Error::Remote { error: remote::Error::Changed, .. } => Broken { error, kept: 0 },
            error => Broken { error, kept: arrived.end_from(at) },
        })?;
        // A log may grow meanwhile; we promised what there was.
        let whole = *size_at_first.get_or_insert(size);
        if size < whole || size < start {
            // What was read is of another state of the file.
            return Err(Broken { error: reading.failed(remote::Error::Changed), kept: 0 });
        }
        at = at.saturating_add(PLACED_BYTES);
        if at >= whole {
            return Ok(at.min(size));
        }
    }
}

/// Writes a file's bytes to `out` in order; returns how many.
pub(super) fn in_order(
    reading: &Reading<'_>,
    out: &mut dyn Write,
    progress: Progress<'_>,
) -> Result<u64, Error> {
    let mut written = 0;
    let mut size_before = None;
    loop {
        let start = written;
        let mut waiting = Ordered::starting_at(start);
        let mut arrived = Intervals::default();
        let size = reading.range((start, ORDERED_BYTES), &mut arrived, &mut |step| {
            waiting.put(step.offset, step.bytes);
            let ready = waiting.take();
            if !ready.is_empty() {
                out.write_all(ready).map_err(Error::Output)?;
                written += ready.len() as u64;
                progress(written, step.size);
            }
            Ok(())
        })?;
        if size_before.is_some_and(|before| before != size) {
            return Err(reading.failed(remote::Error::Changed));
        }
        size_before = Some(size);
        if written >= size {
            out.flush().map_err(Error::Output)?;
            return Ok(written);
        }
        if written == start {
            return Err(reading.failed(short(written, size)));
        }
    }
}

/// Reads `length` bytes from `offset` on, fewer where the file ends.
pub(super) fn piece(reading: &Reading<'_>, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length];
    let mut arrived = Intervals::default();
    let size = reading.range((offset, length as u64), &mut arrived, &mut |step| {
        let at = step.offset.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
        let place = at.and_then(|at| bytes.get_mut(at..at.checked_add(step.bytes.len())?));
        if let Some(place) = place {
            place.copy_from_slice(step.bytes);
        }
        Ok(())
    })?;
    let there = size.saturating_sub(offset).min(length as u64);
    bytes.truncate(usize::try_from(there).unwrap_or(length));
    Ok(bytes)
}

/// One piece of a file, and how far the operation is.
struct Step<'a> {
    offset: u64,
    bytes: &'a [u8],
    /// Bytes of this operation so far, this piece included.
    arrived: u64,
    /// The file's size, once it is open.
    size: Option<u64>,
}

/// Takes the pieces as they come.
type Place<'a> = &'a mut dyn FnMut(Step<'_>) -> Result<(), Error>;

impl Reading<'_> {
    /// Reads `offset .. offset + length`, or up to the end of the file; returns the file's size.
    /// Ends well only when every byte was placed.
    /// What has been placed is noted in `arrived`.
    fn range(
        &self,
        (offset, length): (u64, u64),
        arrived: &mut Intervals,
        place: Place<'_>,
    ) -> Result<u64, Error> {
        let (pieces, inbox) = inbox();
        let op = Op::Read { path: self.path.clone(), offset, length, expected: None };
        let id = OpId::fresh();
        self.remote.submit(id, op, Class::Demand, self.patience, Arc::new(pieces));
        // Cancels what still runs when `place` fails; after the end that does nothing.
        let _running = Running { remote: self.remote, id };
        let size = self.take(&inbox, arrived, place)?;
        let end = offset.saturating_add(length).min(size);
        if arrived.covers(offset, end) {
            Ok(size)
        } else {
            Err(self.failed(short(arrived.total(), end.saturating_sub(offset))))
        }
    }

    /// Places what comes until the end; returns the file's size.
    fn take(&self, inbox: &Inbox, arrived: &mut Intervals, place: Place<'_>) -> Result<u64, Error> {
        let mut size = None;
        loop {
            match self.next(inbox)? {
                Event::Opened(bytes) => size = Some(bytes),
                Event::Data(offset, bytes) => {
                    arrived.add(offset, offset.saturating_add(bytes.len() as u64));
                    place(Step { offset, bytes: &bytes, arrived: arrived.total(), size })?;
                }
                Event::Done(Ok(Reply::Size(size))) => return Ok(size),
                Event::Done(Err(error)) => return Err(self.failed(error)),
                Event::Done(Ok(Reply::Done | Reply::Saved(_) | Reply::Checksum(_))) => {
                    return Err(self.unanswered());
                }
            }
        }
    }

    fn next(&self, inbox: &Inbox) -> Result<Event, Error> {
        loop {
            if self.interrupt.is_raised() {
                return Err(Error::Interrupted);
            }
            if let Some(event) = inbox.take() {
                return Ok(event);
            }
            select! {
                recv(inbox.bell) -> rung => match rung {
                    Ok(()) => inbox.let_gather(),
                    // Nothing comes any more, but the last may have come since we looked.
                    Err(_) => return inbox.take().ok_or_else(|| self.unanswered()),
                },
                recv(self.interrupt.channel()) -> _ => {}
            }
        }
    }

    fn unanswered(&self) -> Error {
        self.failed(remote::Error::Failed("the read ended without an answer".into()))
    }

    fn failed(&self, error: remote::Error) -> Error {
        Error::remote(self.path, error)
    }
}

fn short(arrived: u64, wanted: u64) -> remote::Error {
    remote::Error::Failed(format!("only {arrived} of {wanted} bytes arrived"))
}

enum Event {
    Opened(u64),
    Data(u64, Vec<u8>),
    Done(Result<Reply, remote::Error>),
}

/// What has come and was not taken yet. Pieces that follow one another are joined as they come, so
/// that the disk sees kilobytes instead of packets and the link's thread makes no copy to keep.
type Events = Arc<Mutex<VecDeque<Event>>>;

/// Puts what comes into the inbox.
struct Pieces {
    events: Events,
    bell: Sender<()>,
}

/// The receiving end. The bell rings when something comes into an empty inbox.
struct Inbox {
    events: Events,
    bell: Receiver<()>,
}

fn inbox() -> (Pieces, Inbox) {
    let events = Events::default();
    let (ring, bell) = crossbeam_channel::bounded(1);
    (Pieces { events: events.clone(), bell: ring }, Inbox { events, bell })
}

impl Inbox {
    fn take(&self) -> Option<Event> {
        self.events.lock().pop_front()
    }

    /// A short nap when a piece is there: a reader woken by every packet would take the processor
    /// from the link.
    fn let_gather(&self) {
        let begun = matches!(self.events.lock().front(), Some(Event::Data(..)));
        if begun {
            thread::sleep(GATHERING_TIME);
        }
    }
}

impl Pieces {
    fn put(&self, event: Event) {
        let mut events = self.events.lock();
        events.push_back(event);
        if events.len() == 1 {
            // Full: it rings already. Closed: nobody wants anything any more.
            let _ = self.bell.try_send(());
        }
    }
}

impl Sink for Pieces {
    fn opened(&self, size: u64) {
        self.put(Event::Opened(size));
    }
    fn data(&self, offset: u64, bytes: &[u8]) {
        if let Some(Event::Data(start, joined)) = self.events.lock().back_mut()
            && start.saturating_add(joined.len() as u64) == offset
            && joined.len() + bytes.len() <= JOINED_BYTES_MAX
        {
            return joined.extend_from_slice(bytes);
        }
        self.put(Event::Data(offset, bytes.to_vec()));
    }
    fn done(&self, result: Result<Reply, remote::Error>) {
        self.put(Event::Done(result));
    }
}

struct Running<'a> {
    remote: &'a Arc<dyn Remote>,
    id: OpId,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.remote.cancel(self.id);
    }
}

/// Pieces that came early wait here for those before them.
struct Ordered {
    start: u64,
    bytes: Vec<u8>,
    arrived: Intervals,
    taken: u64,
}

impl Ordered {
    fn starting_at(start: u64) -> Ordered {
        Ordered { start, bytes: Vec::new(), arrived: Intervals::default(), taken: start }
    }

    /// Keeps a piece; what lies outside of the wanted range is dropped.
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let Some(at) = offset.checked_sub(self.start).filter(|&at| at < ORDERED_BYTES) else {
            return;
        };
        let bytes = &bytes[..bytes.len().min((ORDERED_BYTES - at) as usize)];
        let (from, to) = (at as usize, at as usize + bytes.len());
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        self.bytes[from..to].copy_from_slice(bytes);
        self.arrived.add(offset, offset + bytes.len() as u64);
    }

    /// What is complete from where it was taken last.
    fn take(&mut self) -> &[u8] {
        let end = self.arrived.end_from(self.taken);
        let range = (self.taken - self.start) as usize..(end - self.start) as usize;
        self.taken = end;
        &self.bytes[range]
    }
}
