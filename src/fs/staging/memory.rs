//! Staged copies in memory, that answer at once: for tests.

use std::future::ready;

use super::*;
use crate::journal::Before;

/// Names and bytes.
type Kept = Vec<(Vec<u8>, Vec<u8>)>;

/// Staged copies in memory.
#[derive(Default)]
pub struct MemoryStore {
    entries: Mutex<Vec<Arc<Held>>>,
}

/// One entry. It is in use for as long as a [`MemoryBytes`] holds it.
pub struct Held {
    bytes: Mutex<Vec<u8>>,
    meta: Mutex<Meta>,
}

impl MemoryStore {
    /// The names and bytes of what could not be sent, or not yet.
    pub fn kept(&self) -> Kept {
        let name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().unwrap().to_vec();
        let kept = |held: &Arc<Held>| (name(&held.meta.lock().path.0), held.bytes.lock().clone());
        self.metas_of_kept().iter().map(|(held, _)| kept(held)).collect()
    }

    /// What is noted of them.
    pub fn notes(&self) -> Vec<Meta> {
        self.metas_of_kept().into_iter().map(|(_, meta)| meta).collect()
    }

    /// A copy that an earlier mount left.
    pub fn leave(&self, meta: Meta, bytes: &[u8]) {
        let held = Held { bytes: Mutex::new(bytes.to_vec()), meta: Mutex::new(meta) };
        self.entries.lock().push(Arc::new(held));
    }

    fn metas_of_kept(&self) -> Vec<(Arc<Held>, Meta)> {
        let entries = self.entries.lock();
        let with_meta = entries.iter().map(|held| (held.clone(), held.meta.lock().clone()));
        with_meta.filter(|(_, meta)| !matches!(meta.state, State::Clean | State::Dirty)).collect()
    }

    fn take(&self, wanted: impl Fn(&Meta) -> bool) -> Vec<Arc<Held>> {
        let entries = self.entries.lock();
        let free = entries.iter().filter(|held| Arc::strong_count(held) == 1);
        free.filter(|held| wanted(&held.meta.lock())).cloned().collect()
    }
}

impl Store for MemoryStore {
    fn create(&self) -> Later<'_, Arc<dyn StagedBytes>> {
        let meta = Meta { before: Before::Unknown, ..Meta::blank() };
        let held = Arc::new(Held { bytes: Mutex::default(), meta: Mutex::new(meta) });
        self.entries.lock().push(held.clone());
        Box::pin(ready(Ok(Arc::new(MemoryBytes(held)) as Arc<dyn StagedBytes>)))
    }

    fn settle(&self, vehicle: Vehicle, path: PathBytes) -> Later<'_, Vec<PathBytes>> {
        let older = self.take(|meta| meta.path == path && meta.vehicle.is(&vehicle));
        let is_older = |held: &Arc<Held>| older.iter().any(|older| Arc::ptr_eq(older, held));
        self.entries.lock().retain(|held| !is_older(held));
        let leftovers = older.iter().flat_map(|held| held.meta.lock().leftovers.clone());
        Box::pin(ready(Ok(leftovers.collect())))
    }

    fn take_pending(&self, vehicle: Vehicle) -> Later<'_, Vec<Arc<dyn StagedBytes>>> {
        let promised = |meta: &Meta| meta.state == State::Pending && meta.vehicle.is(&vehicle);
        let taken = self.take(promised).into_iter();
        let taken = taken.map(|held| Arc::new(MemoryBytes(held)) as Arc<dyn StagedBytes>);
        Box::pin(ready(Ok(taken.collect())))
    }
}

struct MemoryBytes(Arc<Held>);

impl StagedBytes for MemoryBytes {
    fn read(&self, offset: u64, length: usize) -> Later<'_, Vec<u8>> {
        let bytes = self.0.bytes.lock();
        let start = (offset as usize).min(bytes.len());
        let end = (start + length).min(bytes.len());
        Box::pin(ready(Ok(bytes[start..end].to_vec())))
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Later<'_, ()> {
        let mut bytes = self.0.bytes.lock();
        let end = offset as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(&data);
        Box::pin(ready(Ok(())))
    }

    fn set_length(&self, length: u64) -> Later<'_, ()> {
        self.0.bytes.lock().resize(length as usize, 0);
        Box::pin(ready(Ok(())))
    }

    fn noted(&self) -> Meta {
        self.0.meta.lock().clone()
    }

    fn note(&self, _: Durability, change: Change<'_>) -> Later<'_, ()> {
        change(&mut self.0.meta.lock());
        Box::pin(ready(Ok(())))
    }

    fn describe(&self, change: Change<'_>) {
        change(&mut self.0.meta.lock());
    }

    fn note_soon(&self, change: Change<'_>) {
        change(&mut self.0.meta.lock());
    }

    fn place(&self) -> PathBuf {
        PathBuf::from("memory")
    }
}
