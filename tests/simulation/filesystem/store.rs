//! Staged copies in memory that count how many there are, and remember what was kept.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mavftp_mount::fs::{Change, Later, StagedBytes, Store};
use mavftp_mount::journal::{Durability, Meta, PathBytes, State, Vehicle};

/// Where staged copies are, and what became of those that could not be sent.
#[derive(Clone, Default)]
pub struct CountingStore {
    alive: Arc<AtomicUsize>,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl CountingStore {
    /// How many staged copies there are.
    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Whether these bytes were kept for recovery.
    pub fn has_kept(&self, bytes: &[u8]) -> bool {
        self.kept.lock().unwrap().iter().any(|kept| kept == bytes)
    }
}

impl Store for CountingStore {
    fn create(&self) -> Later<'_, Arc<dyn StagedBytes>> {
        self.alive.fetch_add(1, Ordering::Relaxed);
        let meta = Mutex::new(Meta::blank());
        let copy = Copy { bytes: Mutex::default(), meta, store: self.clone() };
        now(Arc::new(copy) as Arc<dyn StagedBytes>)
    }

    fn settle(&self, _: Vehicle, _: PathBytes) -> Later<'_, Vec<PathBytes>> {
        now(Vec::new())
    }

    fn take_pending(&self, _: Vehicle) -> Later<'_, Vec<Arc<dyn StagedBytes>>> {
        now(Vec::new())
    }
}

struct Copy {
    bytes: Mutex<Vec<u8>>,
    meta: Mutex<Meta>,
    store: CountingStore,
}

impl Copy {
    fn change(&self, change: Change<'_>) {
        let mut meta = self.meta.lock().unwrap();
        change(&mut meta);
        if !matches!(meta.state, State::Clean | State::Dirty) {
            self.store.kept.lock().unwrap().push(self.bytes.lock().unwrap().clone());
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.store.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl StagedBytes for Copy {
    fn read(&self, offset: u64, length: usize) -> Later<'_, Vec<u8>> {
        let bytes = self.bytes.lock().unwrap();
        let start = (offset as usize).min(bytes.len());
        let end = (start + length).min(bytes.len());
        now(bytes[start..end].to_vec())
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Later<'_, ()> {
        let mut bytes = self.bytes.lock().unwrap();
        let end = offset as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(&data);
        now(())
    }

    fn set_length(&self, length: u64) -> Later<'_, ()> {
        self.bytes.lock().unwrap().resize(length as usize, 0);
        now(())
    }

    fn noted(&self) -> Meta {
        self.meta.lock().unwrap().clone()
    }

    fn note(&self, _: Durability, change: Change<'_>) -> Later<'_, ()> {
        self.change(change);
        now(())
    }

    fn describe(&self, change: Change<'_>) {
        self.change(change);
    }

    fn note_soon(&self, change: Change<'_>) {
        self.change(change);
    }

    fn place(&self) -> PathBuf {
        PathBuf::from("memory")
    }
}

fn now<'a, T: Send + 'a>(value: T) -> Later<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}
