//! What was learned of the far side that contradicts what callers may have told others: told once,
//! to whoever asks. Knows nothing else of the cache.

use std::collections::VecDeque;

use super::VolumeId;
use crate::remote::RemotePath;

/// More than this does not wait to be taken; what does not fit is learned by those it concerns when
/// what they were told expires.
const NEWS_MAX: usize = 4096;

/// Something that another station changed, or that an older answer of ours had wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A file's size, time or bytes are others than were told.
    Content {
        /// On which far side.
        volume: VolumeId,
        /// Which file.
        path: RemotePath,
        /// Bytes before this offset are as they were.
        from: u64,
    },
    /// A name appeared, vanished, or stands for another kind of thing.
    Name {
        /// On which far side.
        volume: VolumeId,
        /// Which name.
        path: RemotePath,
    },
}

/// The news that nobody has taken yet.
#[derive(Default)]
pub(super) struct NewsQueue {
    waiting: VecDeque<News>,
}

impl NewsQueue {
    /// Adds one, unless it is the last one already or too many wait.
    pub fn push(&mut self, news: News) {
        if self.waiting.len() < NEWS_MAX && self.waiting.back() != Some(&news) {
            self.waiting.push_back(news);
        }
    }

    /// Takes all.
    pub fn take(&mut self) -> Vec<News> {
        self.waiting.drain(..).collect()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_takes_is_bounded() {
        let mut queue = NewsQueue::default();
        let path = RemotePath::root();
        for from in 0..2 * NEWS_MAX as u64 {
            queue.push(News::Content { volume: VolumeId(0), path: path.clone(), from });
        }
        assert_eq!(queue.take().len(), NEWS_MAX);
        assert!(queue.is_empty());
    }
}
