//! Uploads that run while their files are written, so that a program goes at the link's pace. They
//! take only what is written in order, from nothing; any other change stops them, and the file is
//! sent whole when it is closed.

use std::pin::pin;
use std::sync::Arc;

use event_listener::Event;
use futures_lite::future;
use parking_lot::Mutex;

use super::inodes::Place;
use super::pace::Pace;
use super::staged::{Sending, Staged};
use super::staging::StagedBytes;
use super::turn::Holding;
use super::upload::{Fed, Upload};
use super::{Fs, FsError, WriteBack};
use crate::cache::{Clock, Saving};
use crate::remote::{Error, RemotePath, Reply, Sink};

/// Nothing is sent of a file before so much of it is written, or it is closed: some 17 blocks.
const FIRST_BYTES: u64 = 4 << 10;

/// An upload that runs while its file is written.
pub struct Streaming {
    upload: Arc<Upload>,
    /// The time that is shown of what is saved, seconds since 1970 UTC.
    mtime: i64,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Something of the state has changed.
    changed: Event,
}

#[derive(Default)]
struct State {
    pace: Pace,
    phase: Phase,
    end: Option<Result<u64, FsError>>,
}

/// What becomes of the upload.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It follows the program.
    #[default]
    Following,
    /// The file is closed: what is left is sent, compared and renamed.
    Finishing,
    /// Nobody wants it.
    Stopped,
}

impl Streaming {
    fn new(upload: Arc<Upload>, mtime: i64, clock: Arc<dyn Clock>) -> Arc<Streaming> {
        let (state, changed) = (Mutex::default(), Event::new());
        Arc::new(Streaming { upload, mtime, clock, state, changed })
    }

    /// So much is written by now.
    pub fn grow(&self, length: u64) {
        self.upload.grow(length);
    }

    /// Nobody wants it any more: what has been sent is removed. Not when it is being finished.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Following {
            state.phase = Phase::Stopped;
            self.upload.stop();
        }
        drop(state);
        self.changed.notify(usize::MAX);
    }

    /// Whether it takes more bytes.
    pub fn is_following(&self) -> bool {
        let state = self.state.lock();
        state.phase == Phase::Following && state.end.is_none()
    }

    /// Waits until the vehicle is no more than about two seconds behind `offset`, or the upload is
    /// over.
    pub async fn room_for(&self, offset: u64) {
        self.until(|state| {
            let waits = state.phase == Phase::Following && state.end.is_none();
            (!waits || offset <= state.pace.room()).then_some(())
        })
        .await;
    }

    /// Waits for the end; how many bytes the vehicle has then.
    pub async fn ended(&self) -> Result<u64, FsError> {
        self.until(|state| match state.end.as_ref()? {
            Ok(length) => Some(Ok(*length)),
            Err(error) => Some(Err(error.again())),
        })
        .await
    }

    /// Why it failed, if it did so by itself.
    fn failure(&self) -> Option<FsError> {
        let state = self.state.lock();
        let end = state.end.as_ref().filter(|_| state.phase == Phase::Following)?;
        end.as_ref().err().map(FsError::again)
    }

    /// The file is closed.
    fn finish(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Following {
            state.phase = Phase::Finishing;
            self.upload.finish();
        }
        drop(state);
        self.changed.notify(usize::MAX);
    }

    fn end(&self, result: Result<u64, FsError>) {
        self.state.lock().end = Some(result);
        self.changed.notify(usize::MAX);
    }

    async fn until<T>(&self, mut reached: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.listen();
            if let Some(value) = reached(&self.state.lock()) {
                return value;
            }
            changed.await;
        }
    }
}

/// An upload that runs. However its work ends, who waits for its end sees one.
struct Running(Arc<Streaming>);

impl Drop for Running {
    fn drop(&mut self) {
        let is_over = self.0.state.lock().end.is_some();
        if !is_over {
            self.0.end(Err(Error::Cancelled.into()));
        }
    }
}

impl Sink for Streaming {
    fn acknowledged(&self, offset: u64) {
        let now = self.clock.now();
        self.state.lock().pace.acknowledged(now, offset);
        self.changed.notify(usize::MAX);
    }
    fn done(&self, _: Result<Reply, Error>) {}
}

impl Fs {
    /// After a write in order: the upload goes on, or begins when there is enough. The caller has the
    /// turn, and waits for [`Streaming::room_for`] when it has given that up.
    pub(super) fn stream(
        self: &Arc<Fs>,
        staged: &Arc<Staged>,
        _turn: &Holding,
    ) -> Option<Arc<Streaming>> {
        if let Some(stream) = staged.stream() {
            if staged.is_ordered() && stream.is_following() {
                stream.grow(staged.length());
                return Some(stream);
            }
            self.stop_streaming(staged);
            return None;
        }
        let place = self.place(staged.ino).ok().filter(|place| self.may_stream(staged, place))?;
        let upload = Upload::growing(staged.bytes().clone(), staged.length());
        let stream = Streaming::new(upload, staged.mtime(), self.cache.clock());
        staged.set_stream(stream.clone());
        let running = Running(stream.clone());
        let bytes = staged.bytes().clone();
        self.in_background(|fs| async move { fs.run_stream(&running.0, &bytes, &place).await });
        Some(stream)
    }

    /// Stops the upload that runs while the file is written, if one does.
    pub(super) fn stop_streaming(&self, staged: &Staged) -> Option<Arc<Streaming>> {
        let stream = staged.stream()?;
        stream.stop();
        staged.take_stream()
    }

    /// The same, and waits until nothing of it is left on the vehicle.
    pub(super) async fn end_streaming(&self, staged: &Staged) {
        if let Some(stream) = self.stop_streaming(staged) {
            // However it ended, it is over.
            let _ = stream.ended().await;
        }
    }

    /// What made the upload fail while the file was written, if that was so. Where it only was in
    /// others' way, or nobody works on it any more, the file is sent whole when it is closed, and
    /// nothing has failed.
    pub(super) fn note_failed_stream(&self, staged: &Staged) -> Option<FsError> {
        let error = staged.stream().and_then(|stream| stream.failure());
        match error {
            Some(FsError::Far(Error::Busy | Error::Cancelled)) => drop(staged.take_stream()),
            Some(error) => {
                drop(staged.take_stream());
                tracing::warn!(%error, "the upload of a file that is being written failed");
                staged.fail(error);
            }
            None => {}
        }
        staged.failure()
    }

    /// Sends what is left of a file that was uploaded while it was written. `None`: it was not, and is
    /// to be sent whole. The caller has the turn.
    pub(super) async fn finish_stream(
        &self,
        staged: &Staged,
        _turn: &Holding,
        sending: Sending,
    ) -> Option<Result<Sending, FsError>> {
        if !staged.is_ordered() {
            self.stop_streaming(staged);
            return None;
        }
        let stream = staged.stream()?;
        stream.upload.set_mtime(sending.mtime);
        stream.finish();
        let ended = stream.ended().await;
        drop(staged.take_stream());
        match ended {
            Ok(length) if length == sending.length => {
                Some(Ok(Sending { mtime: stream.mtime, ..sending }))
            }
            Ok(_) | Err(FsError::Far(Error::Busy | Error::Cancelled)) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn may_stream(&self, staged: &Staged, place: &Place) -> bool {
        self.options.write_back == WriteBack::Close
            && staged.is_ordered()
            && staged.length() >= FIRST_BYTES
            && !staged.is_local()
            && self.check_same_vehicle(staged, place).is_ok()
            && !self.state.lock().is_moving(staged.ino)
            && self.cache.can_stream(place.volume, &place.path)
    }

    async fn run_stream(
        &self,
        stream: &Arc<Streaming>,
        bytes: &Arc<dyn StagedBytes>,
        place: &Place,
    ) {
        let upload = &stream.upload;
        let started = |operation, far: &RemotePath| {
            self.note_temporary(bytes, far);
            upload.set_operation(operation);
        };
        let saving = Saving {
            length: None,
            mtime: stream.mtime,
            source: upload.clone(),
            observer: stream.clone(),
        };
        let mut saved = pin!(self.cache.save(place.volume, &place.path, saving, &started));
        let feeding = upload.feed(|operation| self.cache.more(place.volume, operation));
        let first = future::or(async { Ok(saved.as_mut().await) }, async { Err(feeding.await) });
        let result = match first.await {
            Ok(saved) => saved.map_err(FsError::from),
            Err(fed) => {
                if let Some(operation) = upload.operation() {
                    self.cache.stop(place.volume, operation);
                }
                // It removes what it has sent.
                let saved = saved.await.map_err(FsError::from);
                match fed {
                    Fed::Stopped => saved,
                    Fed::Failed(error) => Err(error),
                }
            }
        };
        stream.end(result);
    }
}
