//! Where callers and the connection's thread meet: operations that wait, ordered by class, and the
//! one that runs. Must not know FTP. Its lock is never held while a sink or source is called.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::remote::{Class, Entry, Error, Op, OpId, Reply, Sink};

/// The shortest timeout a socket is given; it takes none of zero.
const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// One submitted operation. Its sink gets exactly one `done`, at the latest when this is dropped.
pub struct Job {
    pub id: OpId,
    pub op: Op,
    pub patience: Duration,
    pub submitted: Instant,
    class: Class,
    sink: Arc<dyn Sink>,
    /// Whether the sink has had anything: then the operation is not begun a second time.
    delivered: Cell<bool>,
    done: bool,
}

impl Job {
    pub fn new(id: OpId, op: Op, class: Class, patience: Duration, sink: Arc<dyn Sink>) -> Job {
        let patience = patience.max(PATIENCE_MIN);
        let submitted = Instant::now();
        let delivered = Cell::new(false);
        Job { id, op, patience, submitted, class, sink, delivered, done: false }
    }

    pub fn opened(&self, size: u64) {
        self.delivered.set(true);
        self.sink.opened(size);
    }

    pub fn data(&self, offset: u64, bytes: &[u8]) {
        self.delivered.set(true);
        self.sink.data(offset, bytes);
    }

    pub fn page(&self, entries: Vec<Entry>) {
        self.delivered.set(true);
        self.sink.page(entries);
    }

    pub fn acknowledged(&self, offset: u64) {
        self.delivered.set(true);
        self.sink.acknowledged(offset);
    }

    pub fn done(mut self, result: Result<Reply, Error>) {
        self.done = true;
        self.sink.done(result);
    }

    /// Whether asking twice is as good as asking once, and nothing has come of it yet.
    pub fn may_be_repeated(&self) -> bool {
        let idempotent = match self.op {
            Op::List { .. }
            | Op::Read { .. }
            | Op::Size { .. }
            | Op::Write { .. }
            | Op::SetTime { .. } => true,
            Op::Remove { .. }
            | Op::MakeDirectory { .. }
            | Op::RemoveDirectory { .. }
            | Op::Rename { .. }
            | Op::Truncate { .. }
            | Op::Checksum { .. } => false,
        };
        idempotent && !self.delivered.get()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.done {
            self.sink.done(Err(Error::Failed("the connection's thread ended".into())));
        }
    }
}

/// The queue, and what may be done to the running operation from outside.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Vec<Job>,
    running: Option<Running>,
    /// For data connections that no running job asks for.
    op_timeout: Duration,
    up: bool,
    closing: bool,
    ended: bool,
}

struct Running {
    id: OpId,
    patience: Duration,
    cancelled: bool,
    more: bool,
    /// A second handle of the data connection; shutting it down wakes who reads or writes the first.
    data: Option<TcpStream>,
}

impl Running {
    fn cancel(&mut self) {
        self.cancelled = true;
        if let Some(data) = &self.data {
            // Fails only when the far side was quicker.
            let _ = data.shutdown(Shutdown::Both);
        }
    }
}

/// The side of the callers.
impl Queue {
    pub fn new(op_timeout: Duration) -> Queue {
        let state = State {
            waiting: Vec::new(),
            running: None,
            op_timeout: op_timeout.max(PATIENCE_MIN),
            up: true,
            closing: false,
            ended: false,
        };
        Queue { state: Mutex::new(state), changed: Condvar::new() }
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
        if let Some(running) = self.state.lock().running.as_mut().filter(|job| job.id == id) {
            running.more = true;
        }
        self.changed.notify_all();
    }

    /// A waiting job is handed out, to be ended by the caller; a running one is told to stop.
    pub fn cancel(&self, id: OpId) -> Option<Job> {
        let mut state = self.state.lock();
        if let Some(running) = state.running.as_mut().filter(|job| job.id == id) {
            running.cancel();
        }
        self.changed.notify_all();
        let at = state.waiting.iter().position(|job| job.id == id)?;
        Some(state.waiting.remove(at))
    }

    pub fn is_up(&self) -> bool {
        self.state.lock().up
    }

    /// Ends the running job, and then the thread.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        if let Some(running) = state.running.as_mut() {
            running.cancel();
        }
        self.changed.notify_all();
    }

    pub fn wait_for_end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        while !state.ended && !self.changed.wait_until(&mut state, deadline).timed_out() {}
    }
}

/// The side of the thread.
impl Queue {
    /// The next job, which runs from now on; `None` when the thread shall end.
    pub fn take(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.closing {
                return None;
            }
            let first = state.waiting.iter().enumerate().min_by_key(|(_, job)| job.class);
            if let Some(at) = first.map(|(at, _)| at) {
                let job = state.waiting.remove(at);
                let (id, patience) = (job.id, job.patience);
                let running = Running { id, patience, cancelled: false, more: false, data: None };
                state.running = Some(running);
                return Some(job);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Nothing runs any more; whether what ran had been cancelled.
    pub fn release(&self) -> bool {
        self.state.lock().running.take().is_some_and(|running| running.cancelled)
    }

    pub fn drain(&self) -> Vec<Job> {
        std::mem::take(&mut self.state.lock().waiting)
    }

    pub fn end(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }

    pub fn set_up(&self, up: bool) {
        self.state.lock().up = up;
    }

    pub fn is_cancelled(&self) -> bool {
        self.state.lock().running.as_ref().is_some_and(|running| running.cancelled)
    }

    pub fn patience(&self) -> Duration {
        let state = self.state.lock();
        state.running.as_ref().map_or(state.op_timeout, |running| running.patience)
    }

    /// From now on cancelling the running job shuts `data` down.
    pub fn adopt(&self, data: TcpStream) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.running.as_mut() {
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
        if let Some(running) = self.state.lock().running.as_mut() {
            running.data = None;
        }
    }

    /// To be called before a source is asked, so that a `more` that comes meanwhile counts.
    pub fn expect_more(&self) {
        if let Some(running) = self.state.lock().running.as_mut() {
            running.more = false;
        }
    }

    /// Waits for [`Queue::more`] of the running job since [`Queue::expect_more`].
    ///
    /// # Errors
    /// `TimedOut` after the job's patience, `ConnectionAborted` when it is cancelled.
    pub fn wait_for_more(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let deadline = state.running.as_ref().map(|running| Instant::now() + running.patience);
        while let (Some(running), Some(deadline)) = (&state.running, deadline) {
            if running.cancelled {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if running.more {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.changed.wait_until(&mut state, deadline);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::RemotePath;

    #[derive(Default)]
    struct Ends(Mutex<Vec<Result<Reply, Error>>>);

    impl Sink for Ends {
        fn done(&self, result: Result<Reply, Error>) {
            self.0.lock().push(result);
        }
    }

    fn job(id: u64, class: Class, sink: &Arc<Ends>) -> Job {
        let op = Op::Size { path: RemotePath::root() };
        Job::new(OpId(id), op, class, Duration::from_millis(20), sink.clone())
    }

    #[test]
    fn the_lesser_class_goes_first_and_the_older_within_it() {
        let (queue, sink) = (Queue::new(Duration::ZERO), Arc::default());
        for (id, class) in [(1, Class::ReadAhead), (2, Class::Demand), (3, Class::Demand)] {
            queue.push(job(id, class, &sink));
        }
        queue.raise(OpId(1), Class::Metadata);
        let order: Vec<u64> = (0..3).filter_map(|_| queue.take()).map(|job| job.id.0).collect();
        assert_eq!(order, [1, 2, 3]);
    }

    #[test]
    fn a_job_that_is_lost_ends_with_an_error() {
        let sink = Arc::default();
        drop(job(1, Class::Demand, &sink));
        job(2, Class::Demand, &sink).done(Ok(Reply::Done));
        let ends = sink.0.lock().clone();
        assert!(matches!(&ends[..], [Err(Error::Failed(_)), Ok(Reply::Done)]), "{ends:?}");
    }

    #[test]
    fn more_that_comes_while_the_source_is_asked_is_not_lost() {
        let (queue, sink) = (Queue::new(Duration::ZERO), Arc::default());
        queue.push(job(1, Class::Write, &sink));
        let _running = queue.take();
        queue.expect_more();
        queue.more(OpId(1));
        assert!(queue.wait_for_more().is_ok());
        queue.expect_more();
        assert_eq!(queue.wait_for_more().map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
        assert!(queue.cancel(OpId(1)).is_none());
        let aborted = Err(io::ErrorKind::ConnectionAborted);
        assert_eq!(queue.wait_for_more().map_err(|e| e.kind()), aborted);
    }
}
