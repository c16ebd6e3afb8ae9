//! Telling the kernel what it must not believe any longer, from threads of their own that owe nobody
//! an answer and hold no lock: the kernel takes the lock of a directory or a page for it, which the
//! maker of a request that waits for us may hold.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
// Unlike crossbeam's it drops what nobody will receive any more.
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use event_listener::{Event, Listener};
use fuser::{INodeNo, Notifier};

use crate::fs::{Fs, Ino, Notice};

/// Another vehicle is noticed after this at the latest, though nobody asks for anything.
const GLANCE: Duration = Duration::from_secs(1);
/// More files than this do not wait for the kernel to hear that they have grown.
const GROWN_MAX: usize = 1024;
/// As an offset: the attributes only, and none of the bytes.
const ATTRIBUTES_ONLY: i64 = -1;
/// As a length: all from the offset on.
const TO_THE_END: i64 = 0;

/// Where requests leave word for the kernel. With the last of its clones the threads that carry it
/// end.
#[derive(Clone)]
pub(super) struct Notices {
    _ending: Arc<Ending>,
    grown: SyncSender<Grown>,
}

struct Stop {
    stopped: AtomicBool,
    event: Arc<Event>,
}

struct Ending(Arc<Stop>);

/// A file that has grown, and who waits until the kernel knows.
struct Grown {
    ino: Ino,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    done: AtomicBool,
    event: Event,
}

/// The other end of [`Notices`].
pub(super) struct Teller {
    stop: Arc<Stop>,
    to_tell: Receiver<Grown>,
}

impl Notices {
    /// Nothing is told before [`Teller::start`]. `event` is notified when there are notices.
    pub(super) fn new(event: Arc<Event>) -> (Notices, Teller) {
        let (grown, to_tell) = sync_channel(GROWN_MAX);
        let stop = Arc::new(Stop { stopped: AtomicBool::new(false), event });
        let notices = Notices { _ending: Arc::new(Ending(stop.clone())), grown };
        (notices, Teller { stop, to_tell })
    }

    /// Has the kernel ask for a file's attributes before it uses them again; done when this returns.
    /// A reader that got as far as the end that the kernel knew then learns of more.
    pub(super) fn has_grown(&self, ino: Ino) -> impl Future<Output = ()> + Send + 'static {
        let told = Arc::new(Told::default());
        let waiting = told.clone();
        match self.grown.try_send(Grown { ino, told }) {
            // Then nobody waits: dropped, it counts as told.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
        async move {
            loop {
                let listener = waiting.event.listen();
                if waiting.done.load(Ordering::Acquire) {
                    return;
                }
                listener.await;
            }
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.event.notify(usize::MAX);
    }
}

impl Drop for Grown {
    fn drop(&mut self) {
        self.told.done.store(true, Ordering::Release);
        self.told.event.notify(usize::MAX);
    }
}

impl Teller {
    /// Starts the two threads: one may wait for locks in the kernel, the other never does, because
    /// forgetting attributes takes none that a request is answered under.
    pub(super) fn start(self, fs: Arc<Fs>, notifier: Notifier) -> io::Result<()> {
        let (stop, to_tell, attributes) = (self.stop, self.to_tell, notifier.clone());
        std::thread::Builder::new().name("notices".into()).spawn(move || {
            while !stop.stopped.load(Ordering::Acquire) {
                let listener = stop.event.listen();
                fs.take_notices().iter().for_each(|notice| tell(&notifier, notice));
                if !stop.stopped.load(Ordering::Acquire) {
                    listener.wait_timeout(GLANCE);
                }
            }
        })?;
        std::thread::Builder::new().name("sizes".into()).spawn(move || {
            for grown in to_tell {
                log(attributes.inval_inode(INodeNo(grown.ino.0), ATTRIBUTES_ONLY, TO_THE_END));
            }
        })?;
        Ok(())
    }
}

fn tell(notifier: &Notifier, notice: &Notice) {
    log(match notice {
        Notice::Content { ino, from } => {
            let from = i64::try_from(*from).unwrap_or(i64::MAX);
            notifier.inval_inode(INodeNo(ino.0), from, TO_THE_END)
        }
        Notice::Name { parent, name } => {
            notifier.inval_entry(INodeNo(parent.0), OsStr::from_bytes(name))
        }
    });
}

/// The kernel may have forgotten by itself, or the mount be gone.
fn log(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "the kernel did not take a notice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn a_reader_does_not_wait_for_a_kernel_that_nobody_tells() {
        let (notices, teller) = Notices::new(Arc::default());
        let waiting = notices.has_grown(Ino::ROOT);
        drop(teller);
        block_on(waiting);
        block_on(notices.has_grown(Ino::ROOT));
    }

    #[test]
    fn a_reader_waits_until_the_kernel_is_told_and_no_longer() {
        let (notices, teller) = Notices::new(Arc::default());
        let mut waiting = Box::pin(notices.has_grown(Ino::ROOT));
        assert!(block_on(poll_once(&mut waiting)).is_none());
        drop(teller.to_tell.recv());
        block_on(waiting);
    }

    #[test]
    fn too_much_to_tell_holds_nobody_up() {
        let (notices, _teller) = Notices::new(Arc::default());
        let waiting: Vec<_> = (0..GROWN_MAX).map(|_| notices.has_grown(Ino::ROOT)).collect();
        block_on(notices.has_grown(Ino::ROOT));
        drop(waiting);
    }

    #[test]
    fn the_threads_end_with_the_last_who_could_leave_word() {
        let event = Arc::<Event>::default();
        let (notices, teller) = Notices::new(event.clone());
        let other = notices.clone();
        drop(notices);
        assert!(!teller.stop.stopped.load(Ordering::Acquire));
        let listener = event.listen();
        drop(other);
        assert!(teller.stop.stopped.load(Ordering::Acquire) && teller.to_tell.recv().is_err());
        assert!(listener.wait_timeout(GLANCE).is_some(), "a thread that sleeps is woken");
    }
}
