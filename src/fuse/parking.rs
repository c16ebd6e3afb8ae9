//! Where requests wait: each is tried once on the thread that read it, and only one that must wait
//! for the wire is parked, at the cost of some memory and no thread.

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use async_executor::Executor;
use event_listener::Event;
use fuser::Errno;
use futures_lite::future::{FutureExt, block_on};

use crate::fs::FsError;

/// More requests than this do not wait; they get EBUSY.
pub(super) const PARKED_MAX: usize = 4096;

/// The requests that wait, and the one thread that goes on with those that were woken.
pub(super) struct Parking {
    executor: Arc<Executor<'static>>,
    parked: Arc<AtomicUsize>,
    stop: Arc<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Parking {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Parking> {
        let executor = Arc::new(Executor::new());
        let stop = Arc::new(Event::new());
        let stopped = stop.listen();
        let runner = executor.clone();
        let thread = std::thread::Builder::new()
            .name("requests".into())
            .spawn(move || block_on(runner.run(stopped)))?;
        Ok(Parking { executor, parked: Arc::default(), stop, thread: Some(thread) })
    }

    /// Does `work` and hands its result to `reply`: here and now when the work need not wait, else
    /// later on the other thread. Work that panics is that request's EIO and nobody else's.
    pub(super) fn answer<T, W, R>(&self, operation: &'static str, work: W, reply: R)
    where
        T: Send + 'static,
        W: Future<Output = Result<T, FsError>> + Send + 'static,
        R: FnOnce(Result<T, Errno>) + Send + 'static,
    {
        self.answer_within(PARKED_MAX, operation, work, reply);
    }

    /// The same for work that must be done however many wait: what a closed file leaves behind
    /// would be kept for ever. There is one such request for each open file.
    pub(super) fn answer_always<T, W, R>(&self, operation: &'static str, work: W, reply: R)
    where
        T: Send + 'static,
        W: Future<Output = Result<T, FsError>> + Send + 'static,
        R: FnOnce(Result<T, Errno>) + Send + 'static,
    {
        self.answer_within(usize::MAX, operation, work, reply);
    }

    fn answer_within<T, W, R>(&self, limit: usize, operation: &'static str, work: W, reply: R)
    where
        T: Send + 'static,
        W: Future<Output = Result<T, FsError>> + Send + 'static,
        R: FnOnce(Result<T, Errno>) + Send + 'static,
    {
        let mut work = Box::pin(AssertUnwindSafe(work).catch_unwind());
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => settle(operation, outcome, reply),
            Poll::Pending if self.parked.fetch_add(1, Ordering::Relaxed) >= limit => {
                self.parked.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(operation, "{limit} requests wait already; this one gets EBUSY");
                reply(Err(Errno::EBUSY));
            }
            Poll::Pending => {
                let parked = self.parked.clone();
                let task = async move {
                    let outcome = work.await;
                    parked.fetch_sub(1, Ordering::Relaxed);
                    settle(operation, outcome, reply);
                };
                self.executor.spawn(task).detach();
            }
        }
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.stop.notify(usize::MAX);
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked: every poll and every reply is guarded.
            let _ = thread.join();
        }
    }
}

/// Runs what needs no waiting at all; a panic is logged and ends there.
pub(super) fn guarded(operation: &'static str, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        log_panic(operation, &*panic);
    }
}

fn settle<T>(
    operation: &'static str,
    outcome: Result<Result<T, FsError>, Box<dyn Any + Send>>,
    reply: impl FnOnce(Result<T, Errno>),
) {
    let result = match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::debug!(operation, %error, "failed");
            Err(Errno::from_i32(error.errno()))
        }
        Err(panic) => {
            log_panic(operation, &*panic);
            Err(Errno::EIO)
        }
    };
    // A reply dropped by a panic is answered EIO by its own drop.
    guarded(operation, || reply(result));
}

fn log_panic(operation: &'static str, panic: &(dyn Any + Send)) {
    let what = panic
        .downcast_ref::<&str>()
        .map(|text| text.to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    tracing::error!(operation, what, "a request failed by a bug of ours; it gets EIO");
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{pending, poll_fn, yield_now};
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn work_that_need_not_wait_is_answered_on_the_calling_thread() {
        let parking = Parking::start().unwrap();
        let (sender, answers) = channel();
        parking.answer("test", async { Ok(1) }, move |result| {
            sender.send((result.ok(), thread::current().id())).unwrap();
        });
        assert_eq!(answers.try_recv(), Ok((Some(1), thread::current().id())));
    }

    #[test]
    fn work_that_waits_is_answered_on_the_other_thread() {
        let parking = Parking::start().unwrap();
        let (sender, answers) = channel();
        let work = async {
            yield_now().await;
            Ok(2)
        };
        parking.answer("test", work, move |result| {
            sender.send((result.ok(), thread::current().id())).unwrap();
        });
        let (value, thread) = answers.recv_timeout(SOON).unwrap();
        assert_eq!(value, Some(2));
        assert_ne!(thread, thread::current().id());
        assert_eq!(parking.parked.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_panic_is_its_own_requests_eio_and_the_next_one_is_answered() {
        let parking = Parking::start().unwrap();
        let (sender, answers) = channel();
        for waits in [false, true] {
            let sender = sender.clone();
            let work = async move {
                if waits {
                    yield_now().await;
                }
                if sender_is_ours() { panic!("on purpose") } else { Ok(()) }
            };
            parking.answer("test", work, move |result| sender.send(result).unwrap());
        }
        for _ in 0..2 {
            assert_eq!(answers.recv_timeout(SOON).unwrap().unwrap_err(), Errno::EIO);
        }
        let work = async {
            yield_now().await;
            Ok(())
        };
        parking.answer("test", work, move |result| sender.send(result).unwrap());
        assert!(answers.recv_timeout(SOON).unwrap().is_ok());
    }

    fn sender_is_ours() -> bool {
        true
    }

    #[test]
    fn a_panicking_reply_does_not_end_the_thread() {
        let parking = Parking::start().unwrap();
        let (sender, answers) = channel();
        let wait = || async {
            yield_now().await;
            Ok(())
        };
        parking.answer("test", wait(), |_: Result<(), Errno>| panic!("on purpose"));
        parking.answer("test", wait(), move |_| sender.send(()).unwrap());
        assert!(answers.recv_timeout(SOON).is_ok());
    }

    #[test]
    fn one_request_too_many_gets_ebusy() {
        let parking = Parking::start().unwrap();
        let (sender, answers) = channel();
        for _ in 0..PARKED_MAX {
            parking.answer("test", pending::<Result<(), FsError>>(), |_| {});
        }
        parking.answer("test", pending::<Result<(), FsError>>(), move |result| {
            sender.send(result).unwrap();
        });
        assert_eq!(answers.try_recv().unwrap().unwrap_err(), Errno::EBUSY);
    }

    #[test]
    fn a_release_is_done_however_many_wait() {
        let parking = Parking::start().unwrap();
        let (sender, answers) = channel();
        for _ in 0..PARKED_MAX {
            parking.answer("test", pending::<Result<(), FsError>>(), |_| {});
        }
        let work = async {
            yield_now().await;
            Ok(())
        };
        parking.answer_always("release", work, move |result| sender.send(result).unwrap());
        assert!(answers.recv_timeout(SOON).unwrap().is_ok());
    }

    #[test]
    fn a_wake_between_the_first_try_and_the_parking_is_not_lost() {
        let parking = Parking::start().unwrap();
        let (sender, answers) = channel();
        let mut polls = 0;
        // Woken through the first waker, which nobody listens to; must be polled again anyway.
        let work = poll_fn(move |context| {
            polls += 1;
            context.waker().wake_by_ref();
            if polls == 2 { Poll::Ready(Ok(())) } else { Poll::Pending }
        });
        parking.answer("test", work, move |result| sender.send(result.is_ok()).unwrap());
        assert_eq!(answers.recv_timeout(SOON), Ok(true));
    }
}
