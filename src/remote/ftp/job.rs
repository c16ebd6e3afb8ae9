//! One submitted operation, as the connections' threads see it. Must not know FTP.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::remote::{Class, Entry, Error, Op, OpId, RemotePath, Reply, Sink, WriteMode};

/// The shortest timeout a socket is given; it takes none of zero.
pub const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// One submitted operation. Its sink gets exactly one `done`, at the latest when this is dropped.
pub struct Job {
    pub id: OpId,
    pub op: Op,
    pub class: Class,
    pub patience: Duration,
    pub submitted: Instant,
    sink: Arc<dyn Sink>,
    /// What the sink has had that cannot be said twice: entries of a listing.
    paged: Cell<bool>,
    /// The size that a read was told, and how far its bytes go.
    read: Cell<Option<(u64, u64)>>,
    /// A save has gone so far that its target may be replaced.
    replaced: Cell<bool>,
    done: bool,
}

impl Job {
    pub fn new(id: OpId, op: Op, class: Class, patience: Duration, sink: Arc<dyn Sink>) -> Job {
        let patience = patience.max(PATIENCE_MIN);
        let submitted = Instant::now();
        let (paged, read) = (Cell::new(false), Cell::new(None));
        let replaced = Cell::new(false);
        Job { id, op, class, patience, submitted, sink, paged, read, replaced, done: false }
    }

    /// The file of a read has so many bytes. Fails when it had another size before the connection was
    /// lost: what came then is of another state.
    pub fn opened(&self, size: u64) -> Result<(), Error> {
        match self.read.get() {
            Some((before, at)) if at > 0 && before != size => Err(Error::Changed),
            Some((_, at)) => {
                self.read.set(Some((size, at)));
                Ok(())
            }
            None => {
                self.read.set(Some((size, 0)));
                self.sink.opened(size);
                Ok(())
            }
        }
    }

    pub fn data(&self, offset: u64, bytes: &[u8]) {
        let size = self.read.get().map_or(0, |(size, _)| size);
        self.read.set(Some((size, offset + bytes.len() as u64)));
        self.sink.data(offset, bytes);
    }

    /// The offset after the last byte that a read was given; nothing before the first.
    pub fn reached(&self) -> Option<u64> {
        self.read.get().map(|(_, at)| at).filter(|at| *at > 0)
    }

    pub fn page(&self, entries: Vec<Entry>) {
        self.paged.set(true);
        self.sink.page(entries);
    }

    pub fn acknowledged(&self, offset: u64) {
        self.sink.acknowledged(offset);
    }

    /// The target of a save is about to be replaced, or may be from now on.
    pub fn replaces(&self) {
        self.replaced.set(true);
        self.sink.replaces();
    }

    pub fn done(mut self, result: Result<Reply, Error>) {
        self.done = true;
        self.sink.done(result);
    }

    /// Whether asking twice is as good as asking once. A read goes on where it was; an upload begins
    /// again, unless it may have replaced its target.
    pub fn may_be_repeated(&self) -> bool {
        match &self.op {
            Op::List { .. } => !self.paged.get(),
            Op::Read { .. } | Op::Size { .. } | Op::SetTime { .. } => true,
            Op::Write { mode: WriteMode::Append { .. }, .. } => false,
            Op::Write { .. } => !self.replaced.get(),
            Op::Remove { .. }
            | Op::MakeDirectory { .. }
            | Op::RemoveDirectory { .. }
            | Op::Rename { .. }
            | Op::Truncate { .. }
            | Op::Checksum { .. } => false,
        }
    }

    /// The names of which nothing stays what it was, or may not: who asks for a size doubts what is
    /// open.
    pub fn changes(&self) -> impl Iterator<Item = &RemotePath> {
        let (one, other) = match &self.op {
            Op::Write { path, mode: WriteMode::Save { target, .. }, .. } => {
                (Some(path), Some(target))
            }
            Op::Write { path, .. }
            | Op::Remove { path }
            | Op::RemoveDirectory { path }
            | Op::Size { path }
            | Op::Truncate { path, .. } => (Some(path), None),
            Op::Rename { from, to } => (Some(from), Some(to)),
            Op::List { .. }
            | Op::Read { .. }
            | Op::MakeDirectory { .. }
            | Op::SetTime { .. }
            | Op::Checksum { .. } => (None, None),
        };
        one.into_iter().chain(other)
    }

    pub fn is_upload(&self) -> bool {
        matches!(self.op, Op::Write { .. })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.done {
            self.sink.done(Err(Error::Failed("the connection's thread ended".into())));
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::remote::RemotePath;

    #[derive(Default)]
    struct Ends(Mutex<Vec<Result<Reply, Error>>>);

    impl Sink for Ends {
        fn done(&self, result: Result<Reply, Error>) {
            self.0.lock().push(result);
        }
    }

    fn job(sink: &Arc<Ends>) -> Job {
        let op = Op::Size { path: RemotePath::root() };
        Job::new(OpId(1), op, Class::Demand, PATIENCE_MIN, sink.clone())
    }

    #[test]
    fn a_job_that_is_lost_ends_with_an_error() {
        let sink = Arc::default();
        drop(job(&sink));
        job(&sink).done(Ok(Reply::Done));
        let ends = sink.0.lock().clone();
        assert!(matches!(&ends[..], [Err(Error::Failed(_)), Ok(Reply::Done)]), "{ends:?}");
    }

    #[test]
    fn a_read_goes_on_only_in_a_file_of_the_same_size() {
        let job = job(&Arc::default());
        assert_eq!(job.opened(10), Ok(()));
        assert_eq!(job.opened(11), Ok(()), "nothing has come of it yet");
        job.data(0, b"abc");
        assert_eq!((job.reached(), job.opened(11)), (Some(3), Ok(())));
        assert_eq!(job.opened(12), Err(Error::Changed));
    }
}
