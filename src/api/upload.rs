//! Storing a local file on the far side.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use crossbeam_channel::Sender;
use futures_lite::future::block_on;

use super::{Error, Interrupt, Progress};
use crate::remote::{self, Pull, Remote, RemotePath, Reply, Sink, Source, save};

/// Uploads a file's content as it is now, through [`save::save`], with its modification time where the
/// far side takes one; returns the size.
///
/// The upload runs on a thread of its own, so that `progress` may draw and block as it likes.
pub(super) fn store(
    remote: &Arc<dyn Remote>,
    patience: Duration,
    interrupt: &Interrupt,
    (path, policy): (&RemotePath, save::Policy),
    local: File,
    progress: Progress<'_>,
) -> Result<u64, Error> {
    let metadata = local.metadata().map_err(Error::Input)?;
    let (length, mtime) = (metadata.len(), seconds(&metadata));
    let (interrupt, failure) = (interrupt.clone(), Mutex::new(None));
    let source = Arc::new(LocalFile { file: local, length, mtime, interrupt, failure });
    let (sender, acknowledged) = crossbeam_channel::unbounded();
    let pulled: Arc<dyn Source> = source.clone();
    let work = move || {
        let observer = Arc::new(Acknowledged(sender));
        block_on(save::save(
            remote,
            (path, policy),
            Some(length),
            pulled,
            patience,
            observer,
            &|_, _| {},
        ))
    };
    let result = thread::scope(|scope| {
        let upload = thread::Builder::new().name("upload".into()).spawn_scoped(scope, work)?;
        // Ends when the upload is over and its observer dropped.
        acknowledged.iter().for_each(|bytes| progress(bytes, Some(length)));
        Ok(upload.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    if let Some(error) = source.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    match result.map_err(Error::Input)? {
        Ok(stored) => Ok(stored),
        Err(error) => Err(Error::remote(path, error)),
    }
}

/// A local file as a source. It is called on the link's thread, where nothing may block: its reads
/// are a few hundred bytes from the page cache, in order, so that the kernel's read-ahead stays in
/// front of them. (A local disk that hangs would hold up the link; no other operation of this
/// process uses it then.)
struct LocalFile {
    file: File,
    length: u64,
    mtime: Option<i64>,
    interrupt: Interrupt,
    failure: Mutex<Option<Error>>,
}

impl Source for LocalFile {
    fn pull(&self, offset: u64, buffer: &mut [u8]) -> Pull {
        // What is appended meanwhile is not part of this upload.
        let rest = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = rest.min(buffer.len());
        if wanted == 0 {
            return Pull::End;
        }
        if self.interrupt.is_raised() {
            return self.fail(Error::Interrupted);
        }
        match self.file.read_at(&mut buffer[..wanted], offset) {
            Ok(0) => {
                let shorter = io::Error::other("it became shorter meanwhile");
                self.fail(Error::Input(shorter))
            }
            Ok(count) => Pull::Bytes(count),
            Err(error) => self.fail(Error::Input(error)),
        }
    }

    fn mtime(&self) -> Option<i64> {
        self.mtime
    }
}

/// Seconds since 1970 UTC; `None` for what is older, which no far side could say either.
fn seconds(metadata: &Metadata) -> Option<i64> {
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

impl LocalFile {
    /// Ends the upload early, which its size check notices: nothing is renamed then, and what was
    /// sent is removed again.
    fn fail(&self, error: Error) -> Pull {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Pull::End
    }
}

struct Acknowledged(Sender<u64>);

impl Sink for Acknowledged {
    fn acknowledged(&self, offset: u64) {
        let _ = self.0.send(offset);
    }
    fn done(&self, _: Result<Reply, remote::Error>) {}
}
