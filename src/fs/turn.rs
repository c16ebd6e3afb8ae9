//! Taking turns without a thread: who wants to change a staged copy waits until the one before is
//! done. A guard may be held across `.await`, which a mutex's must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::Event;

/// Something that one future at a time may have.
#[derive(Default)]
pub struct Turn {
    taken: AtomicBool,
    free: Event,
}

/// The turn, until it is dropped.
#[must_use]
pub struct Holding(Arc<Turn>);

impl Turn {
    /// Waits until nobody has the turn, and takes it.
    pub async fn take(self: &Arc<Turn>) -> Holding {
        loop {
            if let Some(holding) = self.try_take() {
                return holding;
            }
            let freed = self.free.listen();
            // It may have been freed before the listener stood.
            if let Some(holding) = self.try_take() {
                return holding;
            }
            freed.await;
        }
    }

    fn try_take(self: &Arc<Turn>) -> Option<Holding> {
        let was_free = !self.taken.swap(true, Ordering::AcqRel);
        was_free.then(|| Holding(self.clone()))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
        self.0.free.notify(1);
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn the_second_waits_until_the_first_is_done() {
        let turn = Arc::new(Turn::default());
        let first = block_on(turn.take());
        let mut second = Box::pin(turn.take());
        assert!(block_on(poll_once(&mut second)).is_none());
        drop(first);
        assert!(block_on(poll_once(&mut second)).is_some());
    }

    #[test]
    fn a_waiter_that_gives_up_passes_its_turn_on() {
        let turn = Arc::new(Turn::default());
        let first = block_on(turn.take());
        let mut second = Box::pin(turn.take());
        let mut third = Box::pin(turn.take());
        assert!(block_on(poll_once(&mut second)).is_none());
        assert!(block_on(poll_once(&mut third)).is_none());
        drop(first);
        drop(second);
        assert!(block_on(poll_once(&mut third)).is_some());
    }
}
