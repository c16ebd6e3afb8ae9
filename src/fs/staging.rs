//! Where staged bytes lie: the trait [`Store`], and the journal on the local disk. What touches the
//! disk does so on the pool of `blocking`, never on the caller's thread. Must not know what the bytes
//! are for.

use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use blocking::unblock;
use parking_lot::Mutex;

use crate::journal::{Durability, Entry, Journal, Meta, PathBytes, State, Vehicle, read_at};

#[cfg(test)]
mod memory;

#[cfg(test)]
pub use memory::MemoryStore;

/// An answer of the disk that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A change of what is noted about staged bytes.
pub type Change<'a> = &'a mut (dyn FnMut(&mut Meta) + Send);

/// A place for staged copies.
pub trait Store: Send + Sync {
    /// A new, empty file. It disappears when it is dropped, unless it was noted that something
    /// would be lost by that.
    fn create(&self) -> Later<'_, Arc<dyn StagedBytes>>;
    /// Drops what was left unsent of a file that has been saved now; what may lie on the vehicle
    /// because of that.
    fn settle(&self, vehicle: Vehicle, path: PathBytes) -> Later<'_, Vec<PathBytes>>;
    /// Takes over what an earlier mount of this vehicle promised to send and did not.
    fn take_pending(&self, vehicle: Vehicle) -> Later<'_, Vec<Arc<dyn StagedBytes>>>;
}

/// The bytes of one staged copy, and what is noted about them.
pub trait StagedBytes: Send + Sync {
    /// The bytes from `offset`: `length` of them, fewer at the end.
    fn read(&self, offset: u64, length: usize) -> Later<'_, Vec<u8>>;
    /// Writes at `offset`; a gap before it reads as zeros.
    fn write(&self, offset: u64, data: Vec<u8>) -> Later<'_, ()>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_length(&self, length: u64) -> Later<'_, ()>;
    /// What was noted last.
    fn noted(&self) -> Meta;
    /// Changes what is noted; a change that changes nothing costs nothing, except that bytes and
    /// notes survive a power cut afterwards if that is wanted.
    fn note(&self, durability: Durability, change: Change<'_>) -> Later<'_, ()>;
    /// Changes what is to be noted, and leaves the writing to the next [`StagedBytes::note`].
    fn describe(&self, change: Change<'_>);
    /// Changes what is noted, and waits for nothing.
    fn note_soon(&self, change: Change<'_>);
    /// Where a person finds the bytes.
    fn place(&self) -> PathBuf;
}

/// Staged copies as entries of the journal.
#[derive(Debug, Clone)]
pub struct DiskStore {
    journal: Journal,
}

impl DiskStore {
    /// Stages in a journal.
    pub fn new(journal: Journal) -> DiskStore {
        DiskStore { journal }
    }
}

impl Store for DiskStore {
    fn create(&self) -> Later<'_, Arc<dyn StagedBytes>> {
        let journal = self.journal.clone();
        Box::pin(unblock(move || {
            let entry = journal.create(Meta::blank())?;
            Ok(DiskBytes::over(entry))
        }))
    }

    fn settle(&self, vehicle: Vehicle, path: PathBytes) -> Later<'_, Vec<PathBytes>> {
        let journal = self.journal.clone();
        Box::pin(unblock(move || {
            let older = |meta: &Meta| meta.path == path && meta.vehicle.is(&vehicle);
            let mut leftovers = Vec::new();
            for entry in journal.take_all(older)? {
                let meta = entry.meta();
                tracing::info!(id = meta.id, %path, "a newer content was saved; dropping this one");
                leftovers.extend(meta.leftovers);
                entry.remove()?;
            }
            Ok(leftovers)
        }))
    }

    fn take_pending(&self, vehicle: Vehicle) -> Later<'_, Vec<Arc<dyn StagedBytes>>> {
        let journal = self.journal.clone();
        Box::pin(unblock(move || {
            let promised = |meta: &Meta| meta.state == State::Pending && meta.vehicle.is(&vehicle);
            let taken = journal.take_all(promised)?;
            Ok(taken.into_iter().map(DiskBytes::over).collect())
        }))
    }
}

/// An entry, and what is noted about it.
struct DiskBytes {
    held: Arc<Held>,
    noting: Arc<Noting>,
}

/// An entry, which is let go of with the last user of its bytes.
struct Held(Option<Entry>);

/// What is to be noted. Apart from the entry, whose own notes are locked while the disk writes.
struct Noting {
    wanted: Mutex<Meta>,
    written: Mutex<Meta>,
}

impl DiskBytes {
    fn over(entry: Entry) -> Arc<dyn StagedBytes> {
        let (wanted, written) = (Mutex::new(entry.meta()), Mutex::new(entry.meta()));
        let noting = Arc::new(Noting { wanted, written });
        Arc::new(DiskBytes { held: Arc::new(Held(Some(entry))), noting })
    }

    fn on_the_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Entry) -> io::Result<T> + Send + 'static,
    ) -> Later<'_, T> {
        let held = self.held.clone();
        Box::pin(unblock(move || match &held.0 {
            Some(entry) => work(entry),
            None => Err(io::ErrorKind::NotFound.into()),
        }))
    }
}

impl StagedBytes for DiskBytes {
    fn read(&self, offset: u64, length: usize) -> Later<'_, Vec<u8>> {
        self.on_the_disk(move |entry| read_at(entry.data(), offset, length))
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Later<'_, ()> {
        self.on_the_disk(move |entry| entry.data().write_all_at(&data, offset))
    }

    fn set_length(&self, length: u64) -> Later<'_, ()> {
        self.on_the_disk(move |entry| entry.data().set_len(length))
    }

    fn noted(&self) -> Meta {
        self.noting.wanted.lock().clone()
    }

    fn note(&self, durability: Durability, change: Change<'_>) -> Later<'_, ()> {
        self.describe(change);
        if durability == Durability::Process && self.noting.is_written() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let noting = self.noting.clone();
        self.on_the_disk(move |entry| noting.write(entry, durability))
    }

    fn describe(&self, change: Change<'_>) {
        change(&mut self.noting.wanted.lock());
    }

    fn note_soon(&self, change: Change<'_>) {
        self.describe(change);
        let (held, noting) = (self.held.clone(), self.noting.clone());
        let writing = move || {
            let written = held.0.as_ref().map(|entry| noting.write(entry, Durability::Process));
            if let Some(Err(error)) = written {
                tracing::warn!(%error, "the journal could not be written");
            }
        };
        unblock(writing).detach();
    }

    fn place(&self) -> PathBuf {
        self.held.0.as_ref().map(Entry::place).unwrap_or_default()
    }
}

impl Noting {
    fn is_written(&self) -> bool {
        *self.wanted.lock() == *self.written.lock()
    }

    fn write(&self, entry: &Entry, durability: Durability) -> io::Result<()> {
        // What is wanted by now: of two notes on their way the newer must win.
        entry.note(durability, |meta| *meta = self.wanted.lock().clone())?;
        *self.written.lock() = entry.meta();
        Ok(())
    }
}

impl Drop for Held {
    /// An entry that stays is unlocked at once, so that a later save of the same file finds it.
    fn drop(&mut self) {
        let Some(entry) = self.0.take() else { return };
        match entry.state() {
            State::Failed | State::Partial | State::Interrupted | State::Pending => drop(entry),
            State::Clean | State::Dirty => {
                let closing = move || {
                    if let Err(error) = entry.close() {
                        tracing::warn!(%error, "a staged copy could not be removed");
                    }
                };
                unblock(closing).detach();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    fn journal() -> (tempfile::TempDir, Journal) {
        let place = tempfile::tempdir().unwrap();
        let journal = Journal::open(&place.path().join("unsent")).unwrap();
        (place, journal)
    }

    fn eventually(what: &str, happened: impl Fn() -> bool) {
        for _ in 0..500 {
            if happened() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{what}");
    }

    #[test]
    fn the_disk_gives_back_what_was_written_with_zeros_between() {
        let (_place, journal) = journal();
        let store = DiskStore::new(journal);
        let bytes = block_on(store.create()).unwrap();
        block_on(bytes.write(3, b"abc".to_vec())).unwrap();
        block_on(bytes.set_length(8)).unwrap();
        assert_eq!(block_on(bytes.read(0, 100)).unwrap(), b"\0\0\0abc\0\0");
        assert_eq!(block_on(bytes.read(9, 1)).unwrap(), b"");
    }

    #[test]
    fn a_copy_that_nobody_lacks_disappears_with_its_last_user() {
        let (_place, journal) = journal();
        let store = DiskStore::new(journal.clone());
        let bytes = block_on(store.create()).unwrap();
        let file = bytes.place();
        assert!(file.exists());
        drop(bytes);
        eventually("the entry is gone", || !file.parent().unwrap().exists());
    }

    #[test]
    fn a_copy_that_could_not_be_sent_stays() {
        let (_place, journal) = journal();
        let store = DiskStore::new(journal.clone());
        let bytes = block_on(store.create()).unwrap();
        block_on(bytes.write(0, b"precious".to_vec())).unwrap();
        let mut fail = |meta: &mut Meta| meta.state = State::Failed;
        block_on(bytes.note(Durability::Power, &mut fail)).unwrap();
        let file = bytes.place();
        drop(bytes);
        assert_eq!(std::fs::read(file).unwrap(), b"precious");
        assert_eq!(journal.list().unwrap().len(), 1);
    }
}
