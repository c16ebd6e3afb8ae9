//! The promises of `fs`, one sentence each, over a remote in memory and the real cache.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::staging::{MemoryStore, Store};
use super::{Background, Closing, Fs, FsError, FsOptions, Handle, Ino, Work};
use crate::cache::{Cache, Clock, Options};
use crate::remote::memory::{Bytes, MemoryRemote};
use crate::remote::{
    Class, Error, Op, OpId, Pull, Remote, RemotePath, Sink, Source, Status, WriteMode,
};

mod consistency;
mod crowd;
mod directories;
mod doubt;
mod journal;
mod names;
mod reading;
mod recovery;
mod scratch;
mod spelling;
mod streaming;
mod tails;
mod times;
mod virtual_files;
mod writing;
mod xattr;

pub const RDONLY: i32 = libc::O_RDONLY;
pub const WRONLY: i32 = libc::O_WRONLY;
pub const RDWR: i32 = libc::O_RDWR;
/// Shown where nobody knows better.
pub const MOUNT_TIME: i64 = 1_600_000_000;

/// A filesystem with all that is below it.
pub struct World {
    pub remote: Arc<MemoryRemote>,
    pub store: Arc<MemoryStore>,
    pub fs: Arc<Fs>,
    background: Arc<Tasks>,
    wire: Arc<Wire>,
    time: Arc<AtomicI64>,
    disk_waits: AtomicU32,
}

/// How many milliseconds a world waits for a disk, in all.
const DISK_WAITS_MAX: u32 = 3000;

impl World {
    pub fn with<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> World {
        World::with_options(files, FsOptions { mount_time: MOUNT_TIME, ..FsOptions::default() })
    }

    pub fn with_options<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        options: FsOptions,
    ) -> World {
        let store = Arc::new(MemoryStore::default());
        World { store: store.clone(), ..World::over(files, options, store) }
    }

    /// A world that stages elsewhere than in memory.
    pub fn over<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        options: FsOptions,
        store: Arc<dyn Store>,
    ) -> World {
        let remote = MemoryRemote::with(files);
        let wire = Arc::new(Wire::over(remote.clone()));
        let time = Arc::new(AtomicI64::new(2_000_000_000));
        let clock = Arc::new(SameTime(time.clone()));
        let cache = Cache::new(clock, Options::default());
        let volume = cache.add_volume(wire.clone(), RemotePath::root());
        let disk_waits = AtomicU32::new(0);
        let wall = time.clone();
        let wall = Box::new(move || wall.load(Ordering::Relaxed));
        let background = Arc::new(Tasks { work: Mutex::default(), time: time.clone() });
        let fs = Fs::new(cache, volume, store, background.clone(), options, wall);
        World { remote, store: Arc::default(), fs, background, wire, time, disk_waits }
    }

    /// Seconds since 1970 as the filesystem sees them.
    pub fn now(&self) -> i64 {
        self.time.load(Ordering::Relaxed)
    }

    pub fn wait(&self, seconds: i64) {
        self.time.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Whether the vehicle has no space for uploads that end from now on.
    pub fn refuse_uploads(&self, refuse: bool) {
        self.wire.full.store(refuse, Ordering::Relaxed);
    }

    /// How many bytes have been pulled of the uploads under way.
    pub fn uploading(&self) -> usize {
        self.wire.uploads.lock().iter().map(|pulling| pulling.bytes.len()).sum()
    }

    /// All uploads under way fail.
    pub fn break_uploads(&self, error: Error) {
        let broken = std::mem::take(&mut *self.wire.uploads.lock());
        broken.into_iter().for_each(|pulling| pulling.sink.done(Err(error.clone())));
    }

    /// Work in the background is dropped, as by an executor that ends.
    pub fn forget_background(&self) {
        self.background.work.lock().clear();
    }

    /// Drives a future to its end. Also holds it to what an executor thread needs.
    pub fn run<T>(&self, future: impl Future<Output = T> + Send) -> T {
        let mut future = pin!(future);
        loop {
            if let Some(value) = poll(&mut future) {
                return value;
            }
            if !self.step() {
                self.wait_for_the_disk();
            }
        }
    }

    /// Only a store on the disk answers later than at once.
    fn wait_for_the_disk(&self) {
        let others = self.disk_waits.fetch_add(1, Ordering::Relaxed);
        assert!(others < DISK_WAITS_MAX, "the future waits for something that is not the remote");
        std::thread::sleep(Duration::from_millis(1));
    }

    /// Work in the background goes on, and the remote answers once.
    pub fn step(&self) -> bool {
        let ended = self.background.step();
        self.wire.step() || self.remote.step() || ended
    }

    pub fn ino(&self, path: &str) -> Ino {
        self.try_ino(path).unwrap()
    }

    pub fn try_ino(&self, path: &str) -> Result<Ino, FsError> {
        let mut ino = Ino::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            ino = self.run(self.fs.lookup(ino, name.as_bytes()))?.ino;
        }
        Ok(ino)
    }

    pub fn exists(&self, path: &str) -> bool {
        self.try_ino(path).is_ok()
    }

    pub fn size(&self, path: &str) -> u64 {
        self.run(self.fs.getattr(self.ino(path), None)).unwrap().size
    }

    pub fn open(&self, path: &str, flags: i32) -> Handle {
        let ino = self.ino(path);
        self.run(self.fs.open(ino, flags)).unwrap().handle
    }

    pub fn create(&self, path: &str) -> Handle {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = self.ino(parent);
        self.run(self.fs.create(parent, name.as_bytes(), RDWR)).unwrap().1.handle
    }

    pub fn write(&self, handle: Handle, offset: u64, bytes: &[u8]) {
        let written = self.run(self.fs.write(handle, offset, bytes.to_vec())).unwrap();
        assert_eq!(written as usize, bytes.len());
    }

    pub fn read(&self, handle: Handle) -> Vec<u8> {
        self.run(self.fs.read(handle, 0, 1 << 20)).unwrap()
    }

    pub fn flush(&self, handle: Handle) -> Result<(), FsError> {
        self.run(self.fs.flush(handle, Closing::Ordinary))
    }

    pub fn release(&self, handle: Handle) {
        self.run(self.fs.release(handle)).unwrap();
    }

    /// What `close(2)` does to the only descriptor.
    pub fn close(&self, handle: Handle) {
        self.flush(handle).unwrap();
        self.release(handle);
    }

    pub fn content(&self, path: &str) -> Vec<u8> {
        let handle = self.open(path, RDONLY);
        let bytes = self.read(handle);
        self.release(handle);
        bytes
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let ((parent, name), (new_parent, new_name)) =
            (from.rsplit_once('/').unwrap(), to.rsplit_once('/').unwrap());
        let (parent, new_parent) = (self.ino(parent), self.ino(new_parent));
        let (name, new_name) = (name.as_bytes(), new_name.as_bytes());
        self.run(self.fs.rename(parent, name, new_parent, new_name, false))
    }

    pub fn unlink(&self, path: &str) -> Result<(), FsError> {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = self.ino(parent);
        self.run(self.fs.unlink(parent, name.as_bytes()))
    }

    /// The names in a directory, without the dots.
    pub fn names(&self, path: &str) -> Vec<String> {
        let ino = self.ino(path);
        let handle = self.run(self.fs.opendir(ino)).unwrap();
        let names = self.rest(handle, 2);
        self.fs.releasedir(handle);
        names
    }

    /// The names in an open directory from a cookie on.
    pub fn rest(&self, handle: Handle, mut cookie: u64) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let entries = self.run(self.fs.readdir(handle, cookie)).unwrap();
            let Some(last) = entries.last() else { return names };
            cookie = last.cookie;
            let named = entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into());
            names.extend(named);
        }
    }
}

/// Polls once.
pub fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The errno of what failed.
pub fn errno<T: std::fmt::Debug>(result: Result<T, FsError>) -> i32 {
    result.expect_err("it should have failed").errno()
}

/// Work in the background, polled when the world is stepped.
struct Tasks {
    work: Mutex<Vec<Work>>,
    time: Arc<AtomicI64>,
}

impl Tasks {
    /// Lets all of it go on; true when some of it ended.
    fn step(&self) -> bool {
        // Work may begin more work.
        let mut all = std::mem::take(&mut *self.work.lock());
        let before = all.len();
        all.retain_mut(|work| poll(work).is_none());
        let ended = all.len() < before;
        self.work.lock().append(&mut all);
        ended
    }
}

impl Background for Tasks {
    fn spawn(&self, work: Work) {
        self.work.lock().push(work);
    }

    fn pause(&self, time: Duration) -> Work {
        let (clock, end) =
            (self.time.clone(), self.time.load(Ordering::Relaxed) + time.as_secs() as i64);
        Box::pin(std::future::poll_fn(move |_| match clock.load(Ordering::Relaxed) >= end {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }))
    }
}

struct SameTime(Arc<AtomicI64>);

impl Clock for SameTime {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed) as u64)
    }
}

/// The remote in memory with uploads that take their time: a few hundred bytes at each step, and
/// none while their source has nothing. One of three begins again in the middle, as after a far
/// side that dropped the file.
struct Wire {
    inner: Arc<MemoryRemote>,
    uploads: Mutex<VecDeque<Pulling>>,
    full: AtomicBool,
}

struct Pulling {
    id: OpId,
    op: Op,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    from: usize,
    bytes: Vec<u8>,
    hungry: bool,
    begins_again_at: usize,
}

impl Wire {
    fn over(inner: Arc<MemoryRemote>) -> Wire {
        Wire { inner, uploads: Mutex::default(), full: AtomicBool::new(false) }
    }

    fn step(&self) -> bool {
        let Some(mut pulling) = self.uploads.lock().pop_front() else { return false };
        let mut buffer = [0; 700];
        match pulling.source.pull(pulling.bytes.len() as u64, &mut buffer) {
            Pull::Bytes(count) => pulling.bytes.extend_from_slice(&buffer[..count]),
            Pull::Pending | Pull::Idle => {
                let told = !std::mem::replace(&mut pulling.hungry, true);
                self.uploads.lock().push_back(pulling);
                return told;
            }
            Pull::End => {
                self.finish(pulling);
                return true;
            }
        }
        pulling.sink.acknowledged(pulling.bytes.len() as u64);
        if pulling.bytes.len() >= pulling.begins_again_at {
            pulling.begins_again_at = usize::MAX;
            pulling.bytes.truncate(pulling.from);
        }
        self.uploads.lock().push_back(pulling);
        true
    }

    fn finish(&self, pulling: Pulling) {
        let Op::Write { path, mode, .. } = pulling.op else { return };
        if self.full.load(Ordering::Relaxed) {
            return pulling.sink.done(Err(Error::NoSpace));
        }
        let source = Arc::new(Bytes(pulling.bytes));
        let op = Op::Write { path, mode, source };
        self.inner.submit(pulling.id, op, Class::Write, Duration::ZERO, pulling.sink);
    }
}

impl Remote for Wire {
    fn submit(&self, id: OpId, op: Op, class: Class, patience: Duration, sink: Arc<dyn Sink>) {
        let Op::Write { source, mode, .. } = &op else {
            return self.inner.submit(id, op, class, patience, sink);
        };
        // Only the place counts of what is there already.
        let from = match mode {
            WriteMode::Replace | WriteMode::Save { .. } => 0,
            WriteMode::Append { offset } => *offset as usize,
        };
        let source = source.clone();
        let begins_again_at = if id.0.is_multiple_of(3) { 1500 } else { usize::MAX };
        let pulling = Pulling {
            id,
            op,
            source,
            sink,
            from,
            bytes: vec![0; from],
            hungry: false,
            begins_again_at,
        };
        self.uploads.lock().push_back(pulling);
    }
    fn raise(&self, id: OpId, class: Class) {
        self.inner.raise(id, class);
    }
    fn more(&self, id: OpId) {
        for pulling in self.uploads.lock().iter_mut().filter(|pulling| pulling.id == id) {
            pulling.hungry = false;
        }
    }
    fn cancel(&self, id: OpId) {
        let mut uploads = self.uploads.lock();
        let at = uploads.iter().position(|pulling| pulling.id == id);
        let cancelled = at.and_then(|at| uploads.remove(at));
        drop(uploads);
        match cancelled {
            Some(pulling) => pulling.sink.done(Err(Error::Cancelled)),
            None => self.inner.cancel(id),
        }
    }
    fn status(&self) -> Status {
        self.inner.status()
    }
}
