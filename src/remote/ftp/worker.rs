//! The thread of one connection: keeps it, and takes job after job. Must not know the commands.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::job::Job;
use super::login::Unconnected;
use super::pool::{Seat, Task};
use super::session::{Session, SharedHabits};
use super::{Options, QUIT_TIME};
use crate::remote::{Error, Reply};

/// After a failed connect, operations fail at once for so long before the next attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// That pause doubles up to this.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// A connection unused for so long is tried with NOOP first: servers close idle ones.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// How often a job is begun again on a new connection.
const REPEATS_MAX: u32 = 2;

/// What all connections know of the server: since when it is not reached.
pub type Reach = Arc<Mutex<Option<Down>>>;

/// The last attempt to connect failed.
pub struct Down {
    until: Instant,
    pause: Duration,
    error: Error,
}

/// Whether the server may be there: what is asked now is tried.
pub fn may_be_reached(reach: &Reach) -> bool {
    reach.lock().as_ref().is_none_or(|down| Instant::now() >= down.until)
}

/// One connection's thread.
pub struct Worker {
    pub options: Options,
    pub seat: Arc<Seat>,
    pub session: Option<Session>,
    pub reach: Reach,
    pub habits: SharedHabits,
}

/// Why a job was not done.
enum Undone {
    /// This is its result.
    Failed(Error),
    /// There is no further connection; another one will do it.
    Refused(Error),
}

impl Worker {
    /// Works until the pool is closed.
    pub fn run(mut self) {
        loop {
            match self.seat.next() {
                Task::Run(job) => self.work(job),
                Task::CloseStream => self.chore(|session| session.close_stream()),
                Task::StayAlive => self.chore(Session::stay_alive),
                Task::Leave => {
                    self.quit();
                    self.seat.rest_from_chore(false);
                }
                Task::End => break,
            }
        }
        self.quit();
        for job in self.seat.end() {
            job.done(Err(Error::Cancelled));
        }
    }

    fn quit(&mut self) {
        if let Some(session) = self.session.take() {
            session.quit(QUIT_TIME);
        }
    }

    fn chore(&mut self, chore: impl FnOnce(&mut Session)) {
        if let Some(session) = self.session.as_mut() {
            chore(session);
        }
        self.session.take_if(|session| !session.is_in_step());
        self.seat.rest_from_chore(self.session.is_some());
    }

    fn work(&mut self, job: Job) {
        // A foreign library reads what a foreign server wrote; should it panic, one operation fails and
        // not all that come after it.
        let result = catch_unwind(AssertUnwindSafe(|| self.perform(&job)));
        let result = match result {
            Ok(Err(Undone::Refused(error))) => {
                // Nobody else is left to do it, or nobody wants it any more.
                if let Some((job, cancelled)) = self.seat.give_back(job, error == Error::Busy) {
                    job.done(Err(if cancelled { Error::Cancelled } else { error }));
                }
                return;
            }
            Ok(Err(Undone::Failed(error))) => Err(error),
            Ok(Ok(reply)) => Ok(reply),
            Err(_) => {
                self.session = None;
                Err(Error::Failed("the FTP library failed".into()))
            }
        };
        let cancelled = self.seat.release();
        job.done(match result {
            Err(_) if cancelled => Err(Error::Cancelled),
            result => result,
        });
        // Nobody waits for the server's last word.
        let tidied = catch_unwind(AssertUnwindSafe(|| {
            if let Some(session) = self.session.as_mut() {
                session.tidy();
            }
        }));
        self.session.take_if(|session| tidied.is_err() || !session.is_in_step());
        let standing = self.session.as_ref().and_then(Session::standing);
        self.seat.rest(standing, self.session.is_some());
    }

    /// Runs one job. What the server lost with the connection is asked once more, if that is harmless,
    /// and it was not the new connection that failed.
    fn perform(&mut self, job: &Job) -> Result<Reply, Undone> {
        let mut repeats = 0;
        loop {
            let reused = self.session.is_some();
            let mut session = self.connected(job)?;
            let before = job.reached();
            let result = session.perform(job);
            let in_step = session.is_in_step();
            // Whether the server lives when it is not, the next connect will tell.
            if in_step {
                self.seat.set_up(true);
                self.session = Some(session);
            }
            // Who asks next does not wait as long again. An upload's silence may be its program's.
            if result == Err(Error::TimedOut) && !job.is_upload() && !self.seat.is_cancelled() {
                self.note_down(&Error::TimedOut);
            }
            let has_moved = job.reached() > before;
            let again = (reused || has_moved) && !in_step && result == Err(Error::LinkDown);
            let may = again && job.may_be_repeated() && repeats < REPEATS_MAX;
            if !may || self.seat.is_cancelled() {
                return result.map_err(Undone::Failed);
            }
            repeats += 1;
            tracing::debug!(op = ?job.op, "the connection was lost; asking again on a new one");
        }
    }

    fn connected(&mut self, job: &Job) -> Result<Session, Undone> {
        if let Some(mut session) = self.session.take() {
            session.make_ready(job);
            let is_fresh = session.idle_for() < IDLE_TIME;
            if session.is_in_step() && (is_fresh || session.answers(job.patience)) {
                return Ok(session);
            }
        }
        let now = Instant::now();
        if let Some(down) = self.reach.lock().as_ref().filter(|down| now < down.until) {
            return Err(Undone::Failed(down.error.clone()));
        }
        match Session::connect(&self.options, job.patience, &self.seat, &self.habits) {
            Ok(session) => {
                self.seat.set_up(true);
                *self.reach.lock() = None;
                Ok(session)
            }
            Err(Unconnected { error, reason }) if self.seat.is_spare() => {
                tracing::info!(reason, "no further connection to the server");
                Err(Undone::Refused(error))
            }
            Err(Unconnected { error, reason }) => {
                let Options { host, port, .. } = &self.options;
                tracing::warn!("FTP server {host}:{port}: {reason}");
                self.note_down(&error);
                Err(Undone::Failed(error))
            }
        }
    }

    fn note_down(&self, error: &Error) {
        self.seat.set_up(false);
        let mut reach = self.reach.lock();
        *reach = Some(Down::after(reach.take(), error));
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
