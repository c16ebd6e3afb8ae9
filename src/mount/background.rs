//! The thread that does what no request waits for. Must not know what the work is.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use async_executor::Executor;
use blocking::unblock;
use event_listener::Event;
use futures_lite::FutureExt;
use futures_lite::future::block_on;

use crate::fs::{Background, Work};

/// The thread, until it is dropped; what it has not done by then is dropped, too.
pub(super) struct BackgroundThread {
    executor: Option<Arc<Executor<'static>>>,
    stop: Arc<Event>,
    thread: Option<JoinHandle<()>>,
}

/// Gives the thread work. Does not keep it: the work keeps the filesystem, which keeps this.
struct Spawner(Weak<Executor<'static>>);

impl BackgroundThread {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<BackgroundThread> {
        let executor = Arc::new(Executor::new());
        let stop = Arc::new(Event::new());
        let stopped = stop.listen();
        let runner = executor.clone();
        let thread = std::thread::Builder::new()
            .name("background".into())
            .spawn(move || block_on(runner.run(stopped)))?;
        Ok(BackgroundThread { executor: Some(executor), stop, thread: Some(thread) })
    }

    /// What gives it work.
    pub(super) fn spawner(&self) -> Arc<dyn Background> {
        let executor = self.executor.as_ref().map(Arc::downgrade);
        Arc::new(Spawner(executor.unwrap_or_default()))
    }
}

impl Background for Spawner {
    fn spawn(&self, work: Work) {
        let Some(executor) = self.0.upgrade() else { return };
        let guarded = async {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!("work in the background failed by a bug of ours");
            }
        };
        executor.spawn(guarded).detach();
    }

    fn pause(&self, time: Duration) -> Work {
        Box::pin(unblock(move || std::thread::sleep(time)))
    }
}

impl Drop for BackgroundThread {
    fn drop(&mut self) {
        self.stop.notify(usize::MAX);
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked: all work is guarded.
            let _ = thread.join();
        }
        // With it goes what is not done, and what that kept.
        self.executor = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use futures_lite::future::{pending, yield_now};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn work_is_done_even_after_other_work_has_panicked() {
        let thread = BackgroundThread::start().unwrap();
        let spawner = thread.spawner();
        let (sender, done) = channel();
        spawner.spawn(Box::pin(async { panic!("on purpose") }));
        spawner.spawn(Box::pin(async move {
            yield_now().await;
            sender.send(()).unwrap();
        }));
        assert_eq!(done.recv_timeout(SOON), Ok(()));
    }

    #[test]
    fn what_is_not_done_is_dropped_with_the_thread() {
        let thread = BackgroundThread::start().unwrap();
        let spawner = thread.spawner();
        let kept = Arc::new(());
        let (work, again) = (kept.clone(), kept.clone());
        spawner.spawn(Box::pin(async move {
            pending::<()>().await;
            drop(work);
        }));
        drop(thread);
        spawner.spawn(Box::pin(async move { drop(again) }));
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
