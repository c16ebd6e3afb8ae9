//! Giving up on purpose: whoever pressed Ctrl-C wants what is open on the vehicle closed.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use event_listener::Event;
use futures_lite::future::{block_on, or};
use parking_lot::Mutex;

use super::Error;

/// Ends the calls of a [`super::Vehicle`], from any thread. Once raised it stays so.
#[derive(Clone)]
pub struct Interrupt(Arc<State>);

struct State {
    /// Taken when the interrupt is raised, which closes `raised`.
    quiet: Mutex<Option<Sender<Infallible>>>,
    raised: Receiver<Infallible>,
    event: Event,
}

impl Default for Interrupt {
    fn default() -> Interrupt {
        let (sender, raised) = crossbeam_channel::bounded(0);
        let state = State { quiet: Mutex::new(Some(sender)), raised, event: Event::new() };
        Interrupt(Arc::new(state))
    }
}

impl Interrupt {
    /// Makes every call under way, and every later one, end with [`Error::Interrupted`].
    pub fn raise(&self) {
        self.0.quiet.lock().take();
        self.0.event.notify(usize::MAX);
    }

    /// Whether it has been raised.
    pub(super) fn is_raised(&self) -> bool {
        self.0.quiet.lock().is_none()
    }

    /// A channel that never carries anything and closes when the interrupt is raised.
    pub(super) fn channel(&self) -> &Receiver<Infallible> {
        &self.0.raised
    }

    /// Blocks until the work is done, or drops it when the interrupt is raised.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let done = async { Ok(work.await) };
        let raised = async {
            self.raised().await;
            Err(Error::Interrupted)
        };
        block_on(or(done, raised))
    }

    async fn raised(&self) {
        loop {
            let told = self.0.event.listen();
            if self.is_raised() {
                return;
            }
            told.await;
        }
    }
}
