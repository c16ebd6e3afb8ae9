//! `--write-back async`: files that were closed with the promise to be sent. They stay staged, and
//! shown, until the vehicle has them; then, when it is there, disarmed, the same, and holds what they
//! were made from, they are sent. What cannot be kept of a promise becomes a failure, and is said.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use event_listener::Event;
use parking_lot::Mutex;

use super::inodes::Place;
use super::keeping::Extent;
use super::staged::Staged;
use super::staging::StagedBytes;
use super::{Fs, FsError, WriteBack};
use crate::journal::{Before, Durability, Meta, State};
use crate::remote::{Error, Kind, RemotePath};

/// Between two looks at whether a vehicle that could not be sent to takes files again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Tells the sender that there is something to send.
#[derive(Default)]
pub(super) struct Promises {
    made: Event,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// The promise is kept, or was broken for good.
    Over,
    /// The vehicle does not take it now.
    Later,
}

impl Fs {
    /// Takes over what an earlier mount of this vehicle promised, and begins to send.
    pub async fn begin_sending(self: &Arc<Fs>) {
        match self.store.take_pending(self.far_side()).await {
            Ok(taken) => taken.into_iter().for_each(|bytes| self.adopt(bytes)),
            Err(error) => tracing::warn!(%error, "what was promised earlier cannot be read"),
        }
        if self.options.write_back == WriteBack::Async || !self.promised().is_empty() {
            self.in_background(|fs| async move { fs.send_promised().await });
        }
    }

    /// A file is closed: sent now, or promised to be.
    pub(super) async fn save_or_promise(&self, staged: &Staged) -> Result<(), FsError> {
        if self.options.write_back == WriteBack::Async && self.promise(staged).await? {
            return Ok(());
        }
        self.save_if_dirty(staged).await
    }

    /// Whether a file waits to be sent as it is now.
    pub(super) fn is_promised(&self, staged: &Staged) -> bool {
        staged.is_kept() && staged.is_dirty() && staged.bytes().noted().state == State::Pending
    }

    /// Sends a file that was promised, if the vehicle takes it; the last chance before an unmount.
    pub(super) async fn try_promise(&self, staged: &Arc<Staged>) {
        self.attempt(staged).await;
    }

    /// Brings a file to where a power cut does not reach it; false when it is not all here, so that it
    /// must be sent now.
    async fn promise(&self, staged: &Staged) -> Result<bool, FsError> {
        let turn = staged.take_turn().await;
        let Ok(place) = self.place(staged.ino) else { return Ok(true) };
        if !staged.is_dirty() || self.is_promised(staged) {
            return Ok(true);
        }
        self.check_same_vehicle(staged, &place)?;
        let extent = Extent::of(staged);
        if !extent.whole {
            return Ok(false);
        }
        let (generation, now) = (staged.generation(), self.now());
        let (path, vehicle) = (self.far_path(&place), self.vehicle(place.volume));
        let mut promise = |meta: &mut Meta| {
            meta.path = path.clone();
            meta.learn_identity(&vehicle);
            extent.note(meta);
            (meta.state, meta.when) = (State::Pending, now);
            meta.reason.clear();
        };
        staged.bytes().note(Durability::Power, &mut promise).await?;
        staged.note_kept(generation);
        drop(turn);
        self.promises.made.notify(usize::MAX);
        Ok(true)
    }

    /// A file as an earlier mount left it.
    fn adopt(&self, bytes: Arc<dyn StagedBytes>) {
        let meta = bytes.noted();
        let root = self.far_root();
        let path = RemotePath::parse(&meta.path.0).ok();
        // Elsewhere on the vehicle: another mount's, or nobody's yet.
        let Some(path) = path.and_then(|path| path.rebase(&root.path, &RemotePath::root())) else {
            return;
        };
        let place = root.at(path);
        let mut state = self.state.lock();
        if state.staged_at(&place).is_some() {
            return;
        }
        let ino = state.inodes.assign(&place, Kind::File);
        let is_on_vehicle = meta.before != Before::Nothing;
        let staged = Staged::restored(ino, bytes, (meta.length, meta.mtime), is_on_vehicle);
        state.inodes.use_once(ino);
        state.staged.insert(ino, Arc::new(staged));
        state.name_changed(&place);
    }

    /// Sends what is promised, for as long as the mount lasts.
    async fn send_promised(&self) {
        loop {
            let made = self.promises.made.listen();
            let due = self.promised();
            if due.is_empty() {
                made.await;
                continue;
            }
            if self.send_all(due).await == Attempt::Later {
                self.background.pause(RETRY_PAUSE).await;
            }
        }
    }

    /// Sends these, as many beside one another as the vehicle takes. Files whose names are about to
    /// change, or that have another version, are safe in their own turns. Later: for all of them.
    async fn send_all(&self, due: Vec<Arc<Staged>>) -> Attempt {
        let lanes = due.iter().filter_map(|staged| self.place(staged.ino).ok());
        let lanes = lanes.map(|place| self.cache.status(place.volume).uploads).max().unwrap_or(1);
        let (due, is_stuck) = (Mutex::new(VecDeque::from(due)), AtomicBool::new(true));
        let next = || due.lock().pop_front();
        let lane = || async {
            while let Some(staged) = next() {
                if self.attempt(&staged).await == Attempt::Over {
                    is_stuck.store(false, Ordering::Relaxed);
                }
            }
        };
        all((0..lanes.max(1)).map(|_| Box::pin(lane())).collect()).await;
        if is_stuck.into_inner() { Attempt::Later } else { Attempt::Over }
    }

    fn promised(&self) -> Vec<Arc<Staged>> {
        let all: Vec<_> = self.state.lock().staged.values().cloned().collect();
        all.into_iter().filter(|staged| self.is_promised(staged)).collect()
    }

    async fn attempt(&self, staged: &Arc<Staged>) -> Attempt {
        let Ok(place) = self.place(staged.ino) else {
            // It has nowhere to go, and is not promised any more, whatever the disk says to that.
            if let Err(error) = self.write_down(staged).await {
                tracing::warn!(ino = staged.ino.0, %error, "the journal has what is gone");
            }
            self.end_promise(staged);
            return Attempt::Over;
        };
        let status = self.cache.status(place.volume);
        if !status.up || status.armed || self.check_same_vehicle(staged, &place).is_err() {
            return Attempt::Later;
        }
        let sent = match self.check_target(staged, &place).await {
            Ok(()) if self.is_promised(staged) => self.save_if_dirty(staged).await,
            Ok(()) => return Attempt::Over,
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => self.end_promise(staged),
            Err(error) if is_passing(&error) => return Attempt::Later,
            Err(error) => self.break_promise(staged, &place, &error).await,
        }
        Attempt::Over
    }

    /// Fails unless the vehicle holds what a file was made from.
    async fn check_target(&self, staged: &Staged, place: &Place) -> Result<(), FsError> {
        let there = match self.cache.entry(place.volume, &place.path).await {
            Ok(entry) if entry.kind == Kind::Directory => return Err(FsError::IsADirectory),
            Ok(entry) => Some((entry.size, entry.mtime)),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
        match staged.bytes().noted().before.is_still(there) {
            true => Ok(()),
            false => Err(FsError::Far(Error::Changed)),
        }
    }

    /// It will not be sent by itself any more: a person must decide.
    async fn break_promise(&self, staged: &Arc<Staged>, place: &Place, error: &FsError) {
        let turn = staged.take_turn().await;
        if !self.is_promised(staged) {
            return;
        }
        let (now, reason) = (self.now(), error.to_string());
        let mut fail = |meta: &mut Meta| {
            (meta.state, meta.when) = (State::Failed, now);
            meta.reason.clone_from(&reason);
        };
        if let Err(error) = staged.bytes().note(Durability::Power, &mut fail).await {
            tracing::error!(path = %place.path, %error, "the journal could not be written");
        }
        let id = staged.bytes().noted().id;
        tracing::error!(
            path = %place.path, id, %error,
            "closed without an error, but it cannot be sent; see: mavftp-mount unsent"
        );
        self.end_promise(staged);
        drop(turn);
    }

    /// The staged copy goes, unless it was opened again.
    fn end_promise(&self, staged: &Arc<Staged>) {
        if staged.has_writers() {
            return;
        }
        self.drop_staged(staged);
        self.forget(staged.ino, 1);
    }

    /// Where the mount's root lies on the far side.
    fn far_root(&self) -> Place {
        let root = self.root();
        let path = self.cache.far_path(root.volume, &root.path);
        root.at(path)
    }
}

/// Waits for the end of all of these, which go on beside one another.
async fn all<F: Future<Output = ()>>(mut running: Vec<Pin<Box<F>>>) {
    poll_fn(|context| {
        running.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Whether the vehicle may take later what it does not take now.
fn is_passing(error: &FsError) -> bool {
    match error {
        FsError::AnotherVehicle
        | FsError::Far(
            Error::LinkDown | Error::TimedOut | Error::Armed | Error::Busy | Error::Cancelled,
        ) => true,
        FsError::NotFound
        | FsError::Absent { .. }
        | FsError::Exists
        | FsError::NotADirectory
        | FsError::IsADirectory
        | FsError::NotEmpty
        | FsError::Dropping
        | FsError::ReadOnly
        | FsError::TooLarge
        | FsError::NameTooLong
        | FsError::Invalid
        | FsError::Stale
        | FsError::BadHandle
        | FsError::NoAttribute
        | FsError::Unsent
        | FsError::Disk(_)
        | FsError::Far(
            Error::NotFound
            | Error::Exists
            | Error::NotADirectory
            | Error::IsADirectory
            | Error::NotEmpty
            | Error::Denied
            | Error::ReadOnly
            | Error::NoSpace
            | Error::TooLarge
            | Error::PathTooLong
            | Error::Invalid
            | Error::Unsupported
            | Error::Changed
            | Error::Login(_)
            | Error::Failed(_),
        ) => false,
    }
}
