//! Sinks, sources and bounded waiting for tests over the trait `Remote`. Must not know which remote
//! it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use mavftp_mount::remote::{Error, Pull, RemotePath, Reply, Sink, Source};

/// No test waits longer for an operation, however slow the machine.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A far path.
pub fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

/// Waits for a future, and fails the test rather than hang.
pub fn end<T: Send + 'static>(future: impl Future<Output = T> + Send) -> T {
    let timer = async {
        blocking::unblock(|| std::thread::sleep(LIMIT)).await;
        panic!("the operation did not end")
    };
    futures_lite::future::block_on(futures_lite::future::or(future, timer))
}

/// Bytes without a short period.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Keeps a read's pieces and says nothing.
#[derive(Default)]
pub struct Data(Mutex<Vec<(u64, Vec<u8>)>>);

impl Data {
    /// All bytes, which must have come in order, without a gap, from `offset`.
    pub fn from(&self, offset: u64) -> Vec<u8> {
        let mut all = Vec::new();
        for (at, bytes) in self.0.lock().unwrap().iter() {
            assert_eq!(*at, offset + all.len() as u64);
            all.extend(bytes);
        }
        all
    }
}

impl Sink for Data {
    fn data(&self, offset: u64, bytes: &[u8]) {
        self.0.lock().unwrap().push((offset, bytes.to_vec()));
    }
    fn done(&self, _: Result<Reply, Error>) {}
}

/// Tells every end, so that a second would show.
pub struct Ends(Sender<Result<Reply, Error>>);

impl Ends {
    /// The sink, and where its ends come out.
    pub fn new() -> (Arc<Ends>, Receiver<Result<Reply, Error>>) {
        let (sender, receiver) = channel();
        (Arc::new(Ends(sender)), receiver)
    }
}

impl Sink for Ends {
    fn done(&self, result: Result<Reply, Error>) {
        let _ = self.0.send(result);
    }
}

/// Has all its bytes.
pub struct Whole(pub Vec<u8>);

impl Source for Whole {
    fn pull(&self, offset: u64, buffer: &mut [u8]) -> Pull {
        let rest = &self.0[offset as usize..];
        match rest.len().min(buffer.len()) {
            0 => Pull::End,
            count => {
                buffer[..count].copy_from_slice(&rest[..count]);
                Pull::Bytes(count)
            }
        }
    }
}

/// Has its first bytes at once, and the others after it has been opened.
pub struct Gate(AtomicBool, Whole);

impl Gate {
    /// Not open yet.
    pub fn shut(bytes: Vec<u8>) -> Arc<Gate> {
        Arc::new(Gate(AtomicBool::new(false), Whole(bytes)))
    }

    /// From now on it has all its bytes; does not say so to the remote.
    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Source for Gate {
    fn pull(&self, offset: u64, buffer: &mut [u8]) -> Pull {
        if offset > 0 && !self.0.load(Ordering::SeqCst) {
            return Pull::Pending;
        }
        let count = buffer.len().min(10_000);
        self.1.pull(offset, &mut buffer[..count])
    }
}

/// Does something once, at the first bytes of a read; tells the end as [`Ends`] does.
pub struct AtFirstBytes<F> {
    act: F,
    once: Once,
    ends: Arc<Ends>,
}

impl<F: Fn() + Send + Sync> AtFirstBytes<F> {
    /// The sink, and where its end comes out.
    pub fn new(act: F) -> (Arc<AtFirstBytes<F>>, Receiver<Result<Reply, Error>>) {
        let (ends, receiver) = Ends::new();
        (Arc::new(AtFirstBytes { act, once: Once::new(), ends }), receiver)
    }
}

impl<F: Fn() + Send + Sync> Sink for AtFirstBytes<F> {
    fn data(&self, _: u64, _: &[u8]) {
        self.once.call_once(&self.act);
    }
    fn done(&self, result: Result<Reply, Error>) {
        self.ends.done(result);
    }
}
