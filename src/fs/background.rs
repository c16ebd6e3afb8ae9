//! Work that no request waits for. Must not know which thread does it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Fs;

/// Work without a result.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does work beside the requests.
pub trait Background: Send + Sync {
    /// Begins `work`. Returns at once, and never polls it from inside. Work that is not done when
    /// the mount ends is dropped.
    fn spawn(&self, work: Work);

    /// Ends after so long.
    fn pause(&self, time: Duration) -> Work;
}

impl Fs {
    /// Does work beside the requests, on a filesystem that stays as long as the work.
    pub(super) fn in_background<W>(self: &Arc<Fs>, work: impl FnOnce(Arc<Fs>) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        self.background.spawn(Box::pin(work(self.clone())));
    }
}
