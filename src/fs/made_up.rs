//! Files that the vehicle makes when they are opened, as one handle reads them: whole, at its first
//! read, so that all its reads are of one content. Must not know which files these are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::turn::Turn;
use super::{Fs, FsError, Ino};
use crate::remote::Error;

/// The largest such file, in bytes: more than an autopilot's whole flash.
const BYTES_MAX: usize = 8 << 20;
/// Most bytes of them in memory, over all handles.
const ALL_BYTES_MAX: usize = 64 << 20;

/// What one handle has of such a file.
#[derive(Default)]
pub struct MadeUp {
    turn: Arc<Turn>,
    content: Mutex<Option<Arc<Content>>>,
}

struct Content {
    bytes: Vec<u8>,
    _share: Share,
}

/// The bytes of all of them.
#[derive(Default)]
pub struct Budget(Arc<AtomicUsize>);

/// A part of the budget, until it is dropped.
struct Share {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Fs {
    /// The bytes from `offset`: `size` of them, fewer at the end of the file.
    pub(super) async fn read_made_up(
        &self,
        made_up: &MadeUp,
        ino: Ino,
        offset: u64,
        size: usize,
    ) -> Result<Vec<u8>, FsError> {
        let content = match made_up.content() {
            Some(content) => content,
            None => self.make_up(made_up, ino).await?,
        };
        let all = content.bytes.len();
        let start = usize::try_from(offset).unwrap_or(all).min(all);
        Ok(content.bytes[start..start.saturating_add(size).min(all)].to_vec())
    }

    async fn make_up(&self, made_up: &MadeUp, ino: Ino) -> Result<Arc<Content>, FsError> {
        let _turn = made_up.turn.take().await;
        if let Some(content) = made_up.content() {
            return Ok(content);
        }
        let place = self.place(ino)?;
        let Some(share) = self.made_up.take(BYTES_MAX) else {
            tracing::warn!(path = %place.path, "too many virtual files are open at once");
            return Err(Error::Busy.into());
        };
        let bytes = self.cache.read_whole(place.volume, &place.path, BYTES_MAX).await?;
        let _share = share.cut(bytes.len());
        let content = Arc::new(Content { bytes, _share });
        *made_up.content.lock() = Some(content.clone());
        Ok(content)
    }
}

impl MadeUp {
    fn content(&self) -> Option<Arc<Content>> {
        self.content.lock().clone()
    }
}

impl Budget {
    fn take(&self, bytes: usize) -> Option<Share> {
        let all = self.0.clone();
        let fits = |taken: usize| Some(taken + bytes).filter(|sum| *sum <= ALL_BYTES_MAX);
        all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Share { all, bytes })
    }
}

impl Share {
    fn cut(mut self, bytes: usize) -> Share {
        let spare = self.bytes.saturating_sub(bytes);
        self.all.fetch_sub(spare, Ordering::Relaxed);
        self.bytes -= spare;
        self
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_given_back() {
        let budget = Budget::default();
        let shares: Vec<_> = (0..8).filter_map(|_| budget.take(BYTES_MAX)).collect();
        assert_eq!(shares.len(), 8);
        assert!(budget.take(1).is_none());
        let shares: Vec<_> = shares.into_iter().map(|share| share.cut(10)).collect();
        assert!(budget.take(BYTES_MAX).is_some());
        drop(shares);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
