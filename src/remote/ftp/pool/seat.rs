//! A connection's thread at the pool: what it does next, and what may be done to it from outside.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    CONNECTING_AFTER, FRESH_TIME, GIVING_WAY_TIME, Pool, Running, SeatState, Standing, Task, skips,
};
use crate::remote::Class;
use crate::remote::ftp::job::Job;

/// A stream that nobody reads from any more is closed after this.
const KEEPING_TIME: Duration = Duration::from_secs(5);
/// An idle connection says so often that it is still there: servers close idle ones.
const ALIVE_TIME: Duration = Duration::from_secs(30);
/// A connection beside the first is given back to the server when it was idle for so long.
const SPARE_TIME: Duration = Duration::from_secs(60);
/// After a server took no further connection, none is tried for so long.
const BARRED_TIME: Duration = Duration::from_secs(120);
/// After a further connection failed otherwise.
const FAILED_TIME: Duration = Duration::from_secs(5);
/// An upload whose program gives nothing for so long gives its connection up.
const IDLE_UPLOAD_TIME: Duration = Duration::from_secs(20);

/// The side of a seat's thread.
pub struct Seat {
    pub(super) pool: Arc<Pool>,
    pub(super) number: usize,
}

impl Seat {
    /// What to do next.
    pub fn next(&self) -> Task {
        let mut state = self.pool.state.lock();
        loop {
            if state.closing {
                return Task::End;
            }
            let now = Instant::now();
            if let Some(at) = state.next_for(self.number, now) {
                let job = state.waiting.remove(at);
                let seat = &mut state.seats[self.number];
                let running = Running::of(&job);
                let changes = running.changes.clone();
                (seat.is_busy, seat.running) = (true, Some(running));
                state.forget(&changes);
                // What waits behind it may be another seat's now.
                self.pool.ring(&state);
                return Task::Run(job);
            }
            let seat = &mut state.seats[self.number];
            let is_connected = seat.is_connected;
            let (deadline, task) = self.chore(seat);
            if deadline.is_some_and(|deadline| deadline <= now) {
                seat.is_busy = true;
                return task;
            }
            // A job can be left to a seat whose stream is fresh, or to one that is barred.
            let look_again = now + if is_connected { FRESH_TIME } else { CONNECTING_AFTER };
            let deadline = match state.waiting.is_empty() {
                true => deadline,
                false => Some(deadline.map_or(look_again, |deadline| deadline.min(look_again))),
            };
            match deadline {
                Some(deadline) => {
                    self.pool.bells[self.number].wait_until(&mut state, deadline);
                }
                None => self.pool.bells[self.number].wait(&mut state),
            }
        }
    }

    /// What an idle seat does by itself, and when.
    fn chore(&self, seat: &SeatState) -> (Option<Instant>, Task) {
        if seat.is_stale {
            return (Some(seat.heard), Task::CloseStream);
        }
        if seat.stream.is_some() {
            return (Some(seat.idle_since + KEEPING_TIME), Task::CloseStream);
        }
        match (seat.is_connected, self.number) {
            (false, _) => (None, Task::Leave),
            (true, 0) => (Some(seat.heard + ALIVE_TIME), Task::StayAlive),
            (true, _) if seat.idle_since + SPARE_TIME < seat.heard + ALIVE_TIME => {
                (Some(seat.idle_since + SPARE_TIME), Task::Leave)
            }
            (true, _) => (Some(seat.heard + ALIVE_TIME), Task::StayAlive),
        }
    }

    /// Whether another connection is there, so that this one may do without.
    pub fn is_spare(&self) -> bool {
        let state = self.pool.state.lock();
        let others = state.seats.iter().enumerate().filter(|(at, _)| *at != self.number);
        others.into_iter().any(|(_, seat)| seat.is_connected)
    }

    /// A further connection was refused, or not to be had: the job waits for another one, and none is
    /// tried for a while. Handed back where it is cancelled, which is said, or no other is connected.
    pub fn give_back(&self, job: Job, refused: bool) -> Option<(Job, bool)> {
        let mut state = self.pool.state.lock();
        let seat = &mut state.seats[self.number];
        let time = if refused { BARRED_TIME } else { FAILED_TIME };
        seat.barred_until = Some(Instant::now() + time);
        let cancelled = seat.running.take().is_some_and(|running| running.cancelled);
        (seat.is_busy, seat.is_connected) = (false, false);
        let handed_back = match cancelled || !state.seats.iter().any(|seat| seat.is_connected) {
            true => Some((job, cancelled)),
            false => {
                state.waiting.insert(0, job);
                None
            }
        };
        self.pool.ring(&state);
        handed_back
    }

    /// The job is over, and its end can be told; whether it had been cancelled.
    pub fn release(&self) -> bool {
        let mut state = self.pool.state.lock();
        let Some(running) = state.seats[self.number].running.take() else { return false };
        state.forget(&running.changes);
        state.seats[self.number].changes = state.changes;
        running.cancelled
    }

    /// The seat has nothing to do; where its data connection stands, and whether it has a control
    /// connection.
    pub fn rest(&self, stream: Option<Standing>, is_connected: bool) {
        let mut state = self.pool.state.lock();
        let now = Instant::now();
        let changes = state.changes;
        let seat = &mut state.seats[self.number];
        // Whatever was changed since the operation ended may have been this file.
        seat.is_stale |= stream.is_some() && seat.changes != changes;
        let stream = stream.filter(|_| !seat.is_stale);
        (seat.is_busy, seat.is_connected, seat.stream) = (false, is_connected, stream);
        (seat.idle_since, seat.heard) = (now, now);
        self.pool.ring(&state);
    }

    /// The same after a chore, which is no use of it.
    pub fn rest_from_chore(&self, is_connected: bool) {
        let mut state = self.pool.state.lock();
        let seat = &mut state.seats[self.number];
        (seat.is_busy, seat.is_connected, seat.stream) = (false, is_connected, None);
        seat.is_stale = false;
        seat.heard = Instant::now();
        self.pool.ring(&state);
    }

    /// Whether the open stream is of a file that we have changed since, asked once; and how many changes
    /// there have been.
    pub fn take_staleness(&self) -> (bool, u64) {
        let mut state = self.pool.state.lock();
        let changes = state.changes;
        (std::mem::take(&mut state.seats[self.number].is_stale), changes)
    }

    /// Whether a job that waits reads on from here.
    pub fn is_continued(&self, standing: &Standing) -> bool {
        self.pool.state.lock().waiting.iter().any(|job| skips(standing, &job.op).is_some())
    }

    /// Jobs that have waited for their patience while this connection was busy, and whose callers should
    /// learn that.
    pub fn overdue(&self) -> Vec<Job> {
        let now = Instant::now();
        let mut state = self.pool.state.lock();
        let waiting = std::mem::take(&mut state.waiting);
        let is_overdue = |job: &Job| {
            let is_late = now.duration_since(job.submitted) >= job.patience;
            job.class <= Class::Demand && is_late && state.best_seat(job, now).is_none()
        };
        let (overdue, waiting) = waiting.into_iter().partition(is_overdue);
        state.waiting = waiting;
        overdue
    }

    /// The thread ends; the last one takes what nobody does any more.
    pub fn end(&self) -> Vec<Job> {
        let mut state = self.pool.state.lock();
        state.threads -= 1;
        let left = if state.threads == 0 { std::mem::take(&mut state.waiting) } else { Vec::new() };
        drop(state);
        self.pool.changed.notify_all();
        left
    }

    pub fn set_up(&self, up: bool) {
        self.pool.state.lock().up = up;
    }

    pub fn is_cancelled(&self) -> bool {
        let state = self.pool.state.lock();
        state.seats[self.number].running.as_ref().is_some_and(|running| running.cancelled)
    }

    /// Whether what runs is an upload.
    pub fn is_uploading(&self) -> bool {
        let state = self.pool.state.lock();
        state.seats[self.number].running.as_ref().is_some_and(|running| running.is_upload)
    }

    /// Longest wait for an answer now.
    pub fn patience(&self) -> Duration {
        let state = self.pool.state.lock();
        let running = state.seats[self.number].running.as_ref();
        running.map_or(self.pool.op_timeout, |running| running.patience)
    }

    /// From now on cancelling the running job shuts `data` down.
    ///
    /// # Errors
    /// `ConnectionAborted` when it is cancelled already.
    pub fn adopt(&self, data: TcpStream) -> io::Result<()> {
        match self.pool.state.lock().seats[self.number].running.as_mut() {
            Some(running) if running.cancelled => Err(io::ErrorKind::ConnectionAborted.into()),
            Some(running) => {
                running.data = Some(data);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Gives the second handle up: while it is open, closing the first does not end the stream.
    pub fn let_go(&self) {
        if let Some(running) = self.pool.state.lock().seats[self.number].running.as_mut() {
            running.data = None;
        }
    }

    /// To be called before a source is asked, so that a `more` that comes meanwhile counts.
    pub fn expect_more(&self) {
        if let Some(running) = self.pool.state.lock().seats[self.number].running.as_mut() {
            running.more = false;
        }
    }

    /// Waits for a source that will soon have more, or has been idle for a moment only; whether it has.
    ///
    /// # Errors
    /// `ConnectionAborted` when the job is cancelled.
    pub fn has_more_within(&self, limit: Duration) -> io::Result<bool> {
        let mut state = self.pool.state.lock();
        let until = Instant::now() + limit;
        loop {
            match state.seats[self.number].running.as_ref() {
                Some(running) if running.cancelled => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Some(running) if !running.more => {}
                Some(_) | None => return Ok(true),
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            self.pool.changed.wait_until(&mut state, until);
        }
    }

    /// Waits for [`Pool::more`] of the running job since [`Seat::expect_more`]; `idle`: for a program,
    /// which may take any time, so that others come first.
    ///
    /// # Errors
    /// `TimedOut` after the job's patience, `ConnectionAborted` when it is cancelled, `ResourceBusy`
    /// when a program that is idle keeps others waiting, or is so for too long.
    pub fn wait_for_more(&self, idle: bool) -> io::Result<()> {
        let mut state = self.pool.state.lock();
        let began = Instant::now();
        loop {
            let Some(running) = state.seats[self.number].running.as_ref() else { return Ok(()) };
            if running.cancelled {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if running.more {
                return Ok(());
            }
            let now = Instant::now();
            let limit = if idle { IDLE_UPLOAD_TIME } else { running.patience };
            if now >= began + limit {
                let kind = if idle { io::ErrorKind::ResourceBusy } else { io::ErrorKind::TimedOut };
                return Err(kind.into());
            }
            if idle && state.is_starved(now) {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            let look_again = if idle { now + GIVING_WAY_TIME } else { began + limit };
            self.pool.changed.wait_until(&mut state, look_again.min(began + limit));
        }
    }
}
