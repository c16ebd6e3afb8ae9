//! Futures over a [`Remote`]'s completions: `ask(..).await` instead of a sink.
//!
//! Plain std futures; whoever polls them decides on which thread. Dropping one cancels its operation.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Class, Entry, Error, Kind, Op, OpId, Remote, RemotePath, Reply, Sink};

/// Submits an operation whose data nobody needs, and waits for its end.
pub fn ask(remote: &Arc<dyn Remote>, op: Op, class: Class, patience: Duration) -> Ask {
    ask_with(remote, op, class, patience, Arc::new(Ignore))
}

/// Submits an operation, hands its data, pages and acknowledgements to `observer`, and waits for
/// its end. The observer's own `done` is called as well.
pub fn ask_with(
    remote: &Arc<dyn Remote>,
    op: Op,
    class: Class,
    patience: Duration,
    observer: Arc<dyn Sink>,
) -> Ask {
    ask_as(remote, OpId::fresh(), op, class, patience, observer)
}

/// The same under an id that the caller knows before anything is sent.
pub fn ask_as(
    remote: &Arc<dyn Remote>,
    id: OpId,
    op: Op,
    class: Class,
    patience: Duration,
    observer: Arc<dyn Sink>,
) -> Ask {
    let end = Arc::new(End { observer, state: Mutex::new(State::default()) });
    remote.submit(id, op, class, patience, end.clone());
    Ask { remote: remote.clone(), id, end }
}

/// All entries of a directory.
pub async fn list(
    remote: &Arc<dyn Remote>,
    path: &RemotePath,
    patience: Duration,
) -> Result<Vec<Entry>, Error> {
    let pages = Arc::new(Pages::default());
    let op = Op::List { path: path.clone() };
    ask_with(remote, op, Class::Metadata, patience, pages.clone()).await?;
    let mut entries = pages.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut entries))
}

/// One entry, found in its parent's listing: the protocols have no stat, and asking a server to
/// list a file can end it. The root is a directory and has no entry: `Ok(None)`.
pub async fn find(
    remote: &Arc<dyn Remote>,
    path: &RemotePath,
    patience: Duration,
) -> Result<Option<Entry>, Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(None) };
    // Each ancestor must be seen to be a directory before it is listed.
    let mut ancestors: Vec<RemotePath> =
        std::iter::successors(Some(parent.clone()), RemotePath::parent).collect();
    ancestors.reverse();
    for pair in ancestors.windows(2) {
        let step = pair[1].name().ok_or(Error::NotFound)?;
        let entries = list(remote, &pair[0], patience).await?;
        match entries.iter().find(|entry| entry.name == step).map(|entry| entry.kind) {
            Some(Kind::Directory) => {}
            Some(Kind::File) => return Err(Error::NotADirectory),
            // Some servers serve places that no listing shows (`@SYS`, PX4's links).
            None if pair[0].is_root() => {}
            None => return Err(Error::NotFound),
        }
    }
    let entries = list(remote, &parent, patience).await?;
    entries.into_iter().find(|entry| entry.name == name).map(Some).ok_or(Error::NotFound)
}

/// An operation under way. Resolves once; dropped before that, it cancels the operation.
pub struct Ask {
    remote: Arc<dyn Remote>,
    id: OpId,
    end: Arc<End>,
}

impl Ask {
    /// The operation's id, for [`Remote::raise`] and [`Remote::more`].
    pub fn id(&self) -> OpId {
        self.id
    }
}

impl Future for Ask {
    type Output = Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.end.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.result.clone() {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        let finished =
            self.end.state.lock().unwrap_or_else(PoisonError::into_inner).result.is_some();
        if !finished {
            self.remote.cancel(self.id);
        }
    }
}

#[derive(Default)]
struct State {
    result: Option<Result<Reply, Error>>,
    waker: Option<Waker>,
}

struct End {
    observer: Arc<dyn Sink>,
    state: Mutex<State>,
}

impl Sink for End {
    fn opened(&self, size: u64) {
        self.observer.opened(size);
    }
    fn data(&self, offset: u64, bytes: &[u8]) {
        self.observer.data(offset, bytes);
    }
    fn page(&self, entries: Vec<Entry>) {
        self.observer.page(entries);
    }
    fn acknowledged(&self, offset: u64) {
        self.observer.acknowledged(offset);
    }
    fn replaces(&self) {
        self.observer.replaces();
    }
    fn done(&self, result: Result<Reply, Error>) {
        self.observer.done(result.clone());
        let waker = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.result = Some(result);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Ignore;

impl Sink for Ignore {
    fn done(&self, _: Result<Reply, Error>) {}
}

#[derive(Default)]
struct Pages(Mutex<Vec<Entry>>);

impl Sink for Pages {
    fn page(&self, mut entries: Vec<Entry>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut entries);
    }
    fn done(&self, _: Result<Reply, Error>) {}
}
