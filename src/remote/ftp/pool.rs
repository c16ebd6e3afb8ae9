//! Which connection does what: operations that wait, ordered by class, and a seat for each
//! connection's thread. Must not know FTP. Its lock is never held while a sink or source is called.
//!
//! A connection carries one transfer at a time. One whose data connection still stands in the middle
//! of a file keeps it for who reads on; others go to another connection, if there is one. Uploads never
//! take the last connection, where there are several: a listing would wait for the end of a file.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::job::{Job, PATIENCE_MIN};
use crate::remote::{Class, Op, OpId, RemotePath};

/// A reader that skips no more than so many bytes goes on in the stream that it has.
pub const SKIP_BYTES_MAX: u64 = 256 << 10;
/// An open stream that nobody has read from for so long is closed before a further connection is made.
const FRESH_TIME: Duration = Duration::from_millis(500);
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
/// The same, when somebody else has waited so long for a connection.
const GIVING_WAY_TIME: Duration = Duration::from_millis(200);

/// What a seat's thread does next.
pub enum Task {
    /// An operation, which runs from now on.
    Run(Job),
    /// Nobody reads on: the stream is to be closed.
    CloseStream,
    /// A sign of life.
    StayAlive,
    /// The connection is not needed any more.
    Leave,
    /// The thread ends.
    End,
}

/// A place in a file at which a data connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The file.
    pub path: RemotePath,
    /// The next byte that comes.
    pub at: u64,
}

/// The operations that wait, and what each connection does.
pub struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    /// For waits that no running operation has a limit for.
    op_timeout: Duration,
}

struct State {
    waiting: Vec<Job>,
    seats: Vec<SeatState>,
    up: bool,
    closing: bool,
    /// Threads that have not ended.
    threads: usize,
}

struct SeatState {
    is_busy: bool,
    is_connected: bool,
    running: Option<Running>,
    stream: Option<Standing>,
    /// Since when it has nothing to do.
    idle_since: Instant,
    /// When the server last heard of it.
    heard: Instant,
    barred_until: Option<Instant>,
}

struct Running {
    id: OpId,
    patience: Duration,
    is_upload: bool,
    /// Where a read will stand when it is done.
    end: Option<Standing>,
    cancelled: bool,
    more: bool,
    /// A second handle of the data connection; shutting it down wakes who reads or writes the first.
    data: Option<TcpStream>,
}

impl Running {
    fn of(job: &Job) -> Running {
        let end = match &job.op {
            Op::Read { path, offset, length, .. } => {
                Some(Standing { path: path.clone(), at: offset.saturating_add(*length) })
            }
            _ => None,
        };
        let (id, patience, is_upload) = (job.id, job.patience, job.is_upload());
        Running { id, patience, is_upload, end, cancelled: false, more: false, data: None }
    }

    fn cancel(&mut self) {
        self.cancelled = true;
        if let Some(data) = &self.data {
            // Fails only when the far side was quicker.
            let _ = data.shutdown(Shutdown::Both);
        }
    }
}

/// Whether a read goes on from a place, and how many bytes it skips.
fn skips(standing: &Standing, op: &Op) -> Option<u64> {
    match op {
        Op::Read { path, offset, .. } if *path == standing.path => {
            offset.checked_sub(standing.at).filter(|skipped| *skipped <= SKIP_BYTES_MAX)
        }
        _ => None,
    }
}

/// The side of the callers.
impl Pool {
    /// One seat for each connection, the first of which is connected.
    pub fn new(connections: usize, op_timeout: Duration) -> Arc<Pool> {
        let seats = (0..connections.max(1)).map(|at| SeatState::new(at == 0)).collect::<Vec<_>>();
        let threads = seats.len();
        let state = State { waiting: Vec::new(), seats, up: true, closing: false, threads };
        let op_timeout = op_timeout.max(PATIENCE_MIN);
        Arc::new(Pool { state: Mutex::new(state), changed: Condvar::new(), op_timeout })
    }

    pub fn push(&self, job: Job) {
        self.state.lock().waiting.push(job);
        self.changed.notify_all();
    }

    pub fn raise(&self, id: OpId, class: Class) {
        if let Some(job) = self.state.lock().waiting.iter_mut().find(|job| job.id == id) {
            job.class = class;
        }
    }

    pub fn more(&self, id: OpId) {
        if let Some(running) = self.state.lock().running(id) {
            running.more = true;
        }
        self.changed.notify_all();
    }

    /// A waiting job is handed out, to be ended by the caller; a running one is told to stop.
    pub fn cancel(&self, id: OpId) -> Option<Job> {
        let mut state = self.state.lock();
        if let Some(running) = state.running(id) {
            running.cancel();
        }
        let at = state.waiting.iter().position(|job| job.id == id);
        let job = at.map(|at| state.waiting.remove(at));
        drop(state);
        self.changed.notify_all();
        job
    }

    pub fn is_up(&self) -> bool {
        self.state.lock().up
    }

    /// Whether an upload leaves a connection to others.
    pub fn has_several(&self) -> bool {
        self.state.lock().usable(Instant::now()) > 1
    }

    /// Ends what runs, and then the threads.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        state.seats.iter_mut().filter_map(|seat| seat.running.as_mut()).for_each(Running::cancel);
        drop(state);
        self.changed.notify_all();
    }

    pub fn wait_for_end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        while state.threads > 0 && !self.changed.wait_until(&mut state, deadline).timed_out() {}
    }

    /// A seat's own side.
    pub fn seat(self: &Arc<Pool>, number: usize) -> Seat {
        Seat { pool: self.clone(), number }
    }
}

impl SeatState {
    fn new(is_connected: bool) -> SeatState {
        let now = Instant::now();
        SeatState {
            is_busy: false,
            is_connected,
            running: None,
            stream: None,
            idle_since: now,
            heard: now,
            barred_until: None,
        }
    }

    fn is_usable(&self, now: Instant) -> bool {
        self.is_connected || self.barred_until.is_none_or(|until| until <= now)
    }

    /// How little is lost when a free seat takes a job that does not go on in its stream.
    fn cost(&self, now: Instant) -> u8 {
        let is_fresh = now.duration_since(self.idle_since) < FRESH_TIME;
        match (self.is_connected, &self.stream) {
            (true, None) => 0,
            (true, Some(_)) if !is_fresh => 1,
            (false, _) => 2,
            (true, Some(_)) => 3,
        }
    }
}

impl State {
    fn running(&mut self, id: OpId) -> Option<&mut Running> {
        let running = self.seats.iter_mut().filter_map(|seat| seat.running.as_mut());
        running.into_iter().find(|running| running.id == id)
    }

    fn usable(&self, now: Instant) -> usize {
        self.seats.iter().filter(|seat| seat.is_usable(now)).count()
    }

    /// Whether a job may run beside those that do.
    fn may_run(&self, job: &Job, now: Instant) -> bool {
        let uploads = self.seats.iter().filter_map(|seat| seat.running.as_ref());
        let uploads = uploads.filter(|running| running.is_upload).count();
        !job.is_upload() || uploads < self.usable(now).saturating_sub(1).max(1)
    }

    /// Which seat should do a job: the one whose stream it goes on with, also if that is still busy;
    /// else the free one that loses least by it.
    fn best_seat(&self, job: &Job, now: Instant) -> Option<usize> {
        let goes_on = |seat: &SeatState| {
            let end = seat.running.as_ref().and_then(|running| running.end.as_ref());
            let standing = if seat.is_busy { end } else { seat.stream.as_ref() };
            standing.and_then(|standing| skips(standing, &job.op))
        };
        let seats = || self.seats.iter().enumerate();
        let goes_on = seats().filter_map(|(at, seat)| Some((goes_on(seat)?, at))).min();
        if let Some((_, at)) = goes_on {
            return Some(at);
        }
        let free = seats().filter(|(_, seat)| !seat.is_busy && seat.is_usable(now));
        free.min_by_key(|(at, seat)| (seat.cost(now), *at)).map(|(at, _)| at)
    }

    /// The job that a free seat does next.
    fn next_for(&self, number: usize, now: Instant) -> Option<usize> {
        let mut order: Vec<usize> = (0..self.waiting.len()).collect();
        order.sort_by_key(|at| self.waiting[*at].class);
        let is_mine = |at: &usize| {
            let job = &self.waiting[*at];
            self.may_run(job, now) && self.best_seat(job, now) == Some(number)
        };
        let first = order.iter().copied().find(is_mine)?;
        // Of several that go on in the stream, the nearest first: it does not turn back.
        let stream = self.seats.get(number)?.stream.as_ref();
        let skipped = |at: usize| skips(stream?, &self.waiting[at].op);
        match skipped(first) {
            Some(_) => order
                .iter()
                .copied()
                .filter(|at| skipped(*at).is_some())
                .min_by_key(|at| skipped(*at)),
            None => Some(first),
        }
    }

    /// Whether somebody has waited for long for what only an upload holds.
    fn is_starved(&self, now: Instant) -> bool {
        let has_free = self.seats.iter().any(|seat| !seat.is_busy && seat.is_usable(now));
        self.waiting.iter().any(|job| {
            let waits = now.duration_since(job.submitted) >= GIVING_WAY_TIME;
            waits && (!has_free || !self.may_run(job, now))
        })
    }
}

/// The side of a seat's thread.
pub struct Seat {
    pool: Arc<Pool>,
    number: usize,
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
                (seat.is_busy, seat.running) = (true, Some(Running::of(&job)));
                drop(state);
                // What waits behind it may be another seat's now.
                self.pool.changed.notify_all();
                return Task::Run(job);
            }
            let seat = &mut state.seats[self.number];
            let (deadline, task) = self.chore(seat);
            if deadline.is_some_and(|deadline| deadline <= now) {
                seat.is_busy = true;
                return task;
            }
            // A job can be left to a seat whose stream is fresh, or to one that is barred.
            let look_again = now + FRESH_TIME;
            let deadline = match state.waiting.is_empty() {
                true => deadline,
                false => Some(deadline.map_or(look_again, |deadline| deadline.min(look_again))),
            };
            match deadline {
                Some(deadline) => drop(self.pool.changed.wait_until(&mut state, deadline)),
                None => self.pool.changed.wait(&mut state),
            }
        }
    }

    /// What an idle seat does by itself, and when.
    fn chore(&self, seat: &SeatState) -> (Option<Instant>, Task) {
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
    /// tried for a while.
    pub fn give_back(&self, job: Job, refused: bool) {
        let mut state = self.pool.state.lock();
        let seat = &mut state.seats[self.number];
        let time = if refused { BARRED_TIME } else { FAILED_TIME };
        seat.barred_until = Some(Instant::now() + time);
        (seat.is_busy, seat.is_connected, seat.running) = (false, false, None);
        state.waiting.insert(0, job);
        drop(state);
        self.pool.changed.notify_all();
    }

    /// The job is over, and its end can be told; whether it had been cancelled.
    pub fn release(&self) -> bool {
        let running = self.pool.state.lock().seats[self.number].running.take();
        running.is_some_and(|running| running.cancelled)
    }

    /// The seat has nothing to do; where its data connection stands, and whether it has a control
    /// connection.
    pub fn rest(&self, stream: Option<Standing>, is_connected: bool) {
        let mut state = self.pool.state.lock();
        let now = Instant::now();
        let seat = &mut state.seats[self.number];
        (seat.is_busy, seat.is_connected, seat.stream) = (false, is_connected, stream);
        (seat.idle_since, seat.heard) = (now, now);
        drop(state);
        self.pool.changed.notify_all();
    }

    /// The same after a chore, which is no use of it.
    pub fn rest_from_chore(&self, is_connected: bool) {
        let mut state = self.pool.state.lock();
        let seat = &mut state.seats[self.number];
        (seat.is_busy, seat.is_connected, seat.stream) = (false, is_connected, None);
        seat.heard = Instant::now();
        drop(state);
        self.pool.changed.notify_all();
    }

    /// Whether a job that waits reads on from here.
    pub fn is_continued(&self, standing: &Standing) -> bool {
        self.pool.state.lock().waiting.iter().any(|job| skips(standing, &job.op).is_some())
    }

    /// Jobs that have waited for their patience while this connection was busy, and whose callers should
    /// learn that.
    pub fn overdue(&self) -> Vec<Job> {
        let now = Instant::now();
        let is_overdue = |job: &mut Job| {
            job.class <= Class::Demand && now.duration_since(job.submitted) >= job.patience
        };
        self.pool.state.lock().waiting.extract_if(.., is_overdue).collect()
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

#[cfg(test)]
mod tests;
