//! The cache over a remote in memory: no threads, a clock that stands until it is moved.

mod changes;
mod doubt;
mod fetching;
mod freshness;
mod listings;
mod model;
mod neighbours;
mod reading;
mod versions;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Cache, Clock, OpenFile, Options, Saving, VolumeId};
use crate::remote::memory::{Asked, Bytes, MemoryRemote, run};
use crate::remote::{Entry, Error, Name, RemotePath, Reply, Sink};

#[derive(Default)]
struct StandingClock(Mutex<Duration>);

impl Clock for StandingClock {
    fn now(&self) -> Duration {
        *self.0.lock()
    }
}

struct World {
    remote: Arc<MemoryRemote>,
    clock: Arc<StandingClock>,
    cache: Arc<Cache>,
    volume: VolumeId,
}

impl World {
    fn new(files: &[(&str, &[u8])]) -> World {
        World::with(files, Options::default())
    }

    fn with(files: &[(&str, &[u8])], options: Options) -> World {
        World::below("/", files, options)
    }

    fn below(root: &str, files: &[(&str, &[u8])], options: Options) -> World {
        let remote = MemoryRemote::with(files.iter().copied());
        let clock = Arc::new(StandingClock::default());
        let cache = Cache::new(clock.clone(), options);
        let volume = cache.add_volume(remote.clone(), path(root));
        World { remote, clock, cache, volume }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        run(&self.remote, future)
    }

    fn wait(&self, seconds: u64) {
        *self.clock.0.lock() += Duration::from_secs(seconds);
    }

    fn entry(&self, at: &str) -> Result<Entry, Error> {
        self.run(self.cache.entry(self.volume, &path(at)))
    }

    fn open(&self, at: &str) -> Arc<OpenFile> {
        let entry = self.entry(at).unwrap();
        self.cache.open(self.volume, &path(at), &entry)
    }

    fn read(&self, file: &OpenFile, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        self.run(self.cache.read(file, &path("/unused"), offset, length))
    }

    /// A read that is polled by hand.
    fn begin_read<'a>(&'a self, file: &'a OpenFile, offset: u64, length: usize) -> ByHand<'a> {
        let nowhere = path("/unused");
        let read = async move { self.cache.read(file, &nowhere, offset, length).await };
        ByHand(Box::pin(read))
    }

    fn names(&self, at: &str) -> Vec<String> {
        let listing = self.cache.listing(self.volume, &path(at));
        let mut names = Vec::new();
        while let Some(entry) = self.run(listing.at(names.len())).unwrap() {
            names.push(entry.name.to_string());
        }
        names
    }

    fn save(&self, at: &str, bytes: &[u8], mtime: i64) -> Result<(), Error> {
        let saving = saving(bytes, mtime);
        self.run(self.cache.save(self.volume, &path(at), saving, &|_, _| {})).map(drop)
    }

    /// What was asked since the last time.
    fn asked(&self) -> Vec<String> {
        let log = self.remote.log();
        self.remote.clear_log();
        log
    }

    fn take(&self) -> Asked {
        self.remote.take().expect("something was asked")
    }

    fn settle(&self) {
        while self.remote.step() {}
    }
}

/// A future that the test polls.
struct ByHand<'a>(Pin<Box<dyn Future<Output = Result<Vec<u8>, Error>> + Send + 'a>>);

impl ByHand<'_> {
    fn poll(&mut self) -> Option<Result<Vec<u8>, Error>> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

struct Nobody;

impl Sink for Nobody {
    fn done(&self, _: Result<Reply, Error>) {}
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

/// Bytes of which no two blocks are alike.
fn content(length: usize, seed: u64) -> Vec<u8> {
    (0..length as u64)
        .map(|n| ((n ^ seed << 7).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as u8)
        .collect()
}

/// Delivers a part of a file to a read that was taken.
fn deliver(asked: &Asked, all: &[u8], from: usize, to: usize) {
    for start in (from..to).step_by(239) {
        asked.sink.data(start as u64, &all[start..(start + 239).min(to)]);
    }
}

fn small() -> Options {
    Options { read_ahead_bytes: 0, ..Options::default() }
}

/// All of `bytes`, with nobody who watches.
fn saving(bytes: &[u8], mtime: i64) -> Saving {
    let (length, source) = (Some(bytes.len() as u64), Arc::new(Bytes(bytes.to_vec())));
    Saving { length, mtime, source, observer: Arc::new(Nobody) }
}
