//! Which connection does what: operations that wait, ordered by class, and a seat for each
//! connection's thread. Must not know FTP. Its lock is never held while a sink or source is called.
//!
//! A connection carries one transfer at a time. One whose data connection still stands in the middle
//! of a file keeps it for who reads on; others go to another connection, if there is one. Uploads never
//! take the last connection, where there are several: a listing would wait for the end of a file.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::job::{Job, PATIENCE_MIN};
use crate::remote::{Class, Op, OpId, RemotePath};

/// A reader that skips no more than so many bytes goes on in the stream that it has.
pub const SKIP_BYTES_MAX: u64 = 256 << 10;
/// A further connection is made for a job that has waited so long: another may be free in a moment.
const CONNECTING_AFTER: Duration = Duration::from_millis(20);
/// An open stream that nobody has read from for so long is closed before a further connection is made.
const FRESH_TIME: Duration = Duration::from_millis(500);
/// An upload whose program is idle gives its connection up when somebody has waited so long for one.
const GIVING_WAY_TIME: Duration = Duration::from_millis(200);

mod seat;

pub use seat::Seat;

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
    /// One for each seat: what waits is for one of them, and the others sleep on.
    bells: Vec<Condvar>,
    /// For who waits for a source, and for the end.
    changed: Condvar,
    /// For waits that no running operation has a limit for.
    op_timeout: Duration,
}

struct State {
    waiting: Vec<Job>,
    seats: Vec<SeatState>,
    up: bool,
    /// Grows with every change that we make.
    changes: u64,
    closing: bool,
    /// Threads that have not ended.
    threads: usize,
}

struct SeatState {
    is_busy: bool,
    is_connected: bool,
    running: Option<Running>,
    stream: Option<Standing>,
    /// The file that its stream reads was changed by us: what still comes is of the old one.
    is_stale: bool,
    /// How many changes there had been when its last operation ended.
    changes: u64,
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
    /// What it changes.
    changes: Vec<RemotePath>,
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
        let changes = job.changes().cloned().collect();
        Running { id, patience, is_upload, end, changes, cancelled: false, more: false, data: None }
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

/// Whether what is fetched ahead will be reached by a stream in time, and how many bytes before it come
/// first: a second stream in the same file would carry what the first does.
fn leads(standing: &Standing, job: &Job) -> Option<u64> {
    match &job.op {
        Op::Read { path, offset, .. }
            if job.class == Class::ReadAhead && *path == standing.path =>
        {
            offset.checked_sub(standing.at)
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
        let bells = seats.iter().map(|_| Condvar::new()).collect();
        let state =
            State { waiting: Vec::new(), seats, up: true, changes: 0, closing: false, threads };
        let op_timeout = op_timeout.max(PATIENCE_MIN);
        Arc::new(Pool { state: Mutex::new(state), bells, changed: Condvar::new(), op_timeout })
    }

    pub fn push(&self, job: Job) {
        let mut state = self.state.lock();
        state.waiting.push(job);
        self.ring(&state);
    }

    /// Wakes the free seats that have something to do.
    fn ring(&self, state: &State) {
        let now = Instant::now();
        let is_free = |at: usize| state.seats.get(at).is_some_and(|seat| !seat.is_busy);
        for job in &state.waiting {
            match state.best_seat(job, now) {
                Some(at) if is_free(at) => {
                    self.bells[at].notify_one();
                }
                Some(_) => {}
                // One of them may connect for it in a while.
                None => {
                    for at in (0..self.bells.len()).filter(|at| is_free(*at)) {
                        self.bells[at].notify_one();
                    }
                }
            }
        }
    }

    pub fn raise(&self, id: OpId, class: Class) {
        let mut state = self.state.lock();
        if let Some(job) = state.waiting.iter_mut().find(|job| job.id == id) {
            job.class = class;
            self.ring(&state);
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

    /// How many uploads run beside one another.
    pub fn uploads(&self) -> usize {
        self.state.lock().uploads(Instant::now())
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
        for bell in &self.bells {
            bell.notify_all();
        }
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
            is_stale: false,
            changes: 0,
            idle_since: now,
            heard: now,
            barred_until: None,
        }
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
        self.seats.iter().filter(|seat| self.is_usable(seat, now)).count()
    }

    /// One connection is left to others, where there are several.
    fn uploads(&self, now: Instant) -> usize {
        self.usable(now).saturating_sub(1).max(1)
    }

    /// Whether a seat has a connection, or may make one: where there is none at all, in any case.
    fn is_usable(&self, seat: &SeatState, now: Instant) -> bool {
        let is_barred = seat.barred_until.is_some_and(|until| until > now);
        seat.is_connected || !is_barred || !self.seats.iter().any(|seat| seat.is_connected)
    }

    /// What is at and below these paths is about to be another, or is by now: no stream from before goes
    /// on.
    fn forget(&mut self, paths: &[RemotePath]) {
        self.changes += paths.len() as u64;
        for seat in &mut self.seats {
            let running = seat.running.as_ref().and_then(|running| running.end.as_ref());
            let read = [seat.stream.as_ref(), running].into_iter().flatten();
            let is_changed = |read: &Standing| paths.iter().any(|path| read.path.is_within(path));
            if read.into_iter().any(is_changed) {
                (seat.is_stale, seat.stream) = (true, None);
            }
        }
    }

    /// Whether a job may run beside those that do.
    fn may_run(&self, job: &Job, now: Instant) -> bool {
        let uploads = self.seats.iter().filter_map(|seat| seat.running.as_ref());
        let uploads = uploads.filter(|running| running.is_upload).count();
        !job.is_upload() || uploads < self.uploads(now)
    }

    /// Which seat should do a job: the one whose stream it goes on with, also if that is still busy;
    /// else the free one that loses least by it.
    fn best_seat(&self, job: &Job, now: Instant) -> Option<usize> {
        let goes_on = |seat: &SeatState| {
            let end = seat.running.as_ref().and_then(|running| running.end.as_ref());
            let standing = if seat.is_busy { end } else { seat.stream.as_ref() };
            standing.and_then(|standing| skips(standing, &job.op).or_else(|| leads(standing, job)))
        };
        let seats = || self.seats.iter().enumerate();
        let goes_on = seats().filter_map(|(at, seat)| Some((goes_on(seat)?, at))).min();
        if let Some((_, at)) = goes_on {
            return Some(at);
        }
        // Some servers change no file that they still have open.
        let is_in_the_way = |seat: &SeatState| {
            let stream = seat.stream.as_ref().filter(|_| !seat.is_busy);
            stream.is_some_and(|stream| job.changes().any(|path| stream.path.is_within(path)))
        };
        if let Some((at, _)) = seats().find(|(_, seat)| is_in_the_way(seat)) {
            return Some(at);
        }
        let free = seats().filter(|(_, seat)| !seat.is_busy && self.is_usable(seat, now));
        let (at, seat) = free.min_by_key(|(at, seat)| (seat.cost(now), *at))?;
        let may_connect = now.duration_since(job.submitted) >= CONNECTING_AFTER
            || !self.seats.iter().any(|seat| seat.is_connected);
        (seat.is_connected || may_connect).then_some(at)
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
        let has_free = self.seats.iter().any(|seat| !seat.is_busy && self.is_usable(seat, now));
        self.waiting.iter().any(|job| {
            let waits = now.duration_since(job.submitted) >= GIVING_WAY_TIME;
            waits && (!has_free || !self.may_run(job, now))
        })
    }
}

#[cfg(test)]
mod tests;
