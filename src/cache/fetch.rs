//! Fetches under way: one for each block, whoever waits. A [`Flight`] is the sink of one
//! `Op::Read`; it puts pieces together to blocks and wakes those who wait for them.
//! Does not submit anything itself.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Weak};

use event_listener::Event;
use parking_lot::Mutex;

use super::blocks::{Assembly, BLOCK_BYTES, Block, BlockKey, covering, length_within};
use super::files::FileId;
use super::known::Shared;
use crate::remote::{Class, Error, OpId, RemotePath, Reply, Sink};

/// One fetch of contiguous blocks of one generation of a file.
pub(super) struct Flight {
    pub id: OpId,
    pub file: FileId,
    pub generation: u32,
    /// Where the file was when this was submitted.
    pub path: RemotePath,
    /// Whether it began as a read-ahead.
    pub ahead: bool,
    blocks: Range<u64>,
    shared: Weak<Shared>,
    state: Mutex<State>,
    event: Event,
}

struct State {
    /// The file's size as this flight knows it.
    size: u64,
    /// What the far side told this flight last.
    told: Option<u64>,
    slots: Vec<Slot>,
    end: Option<Result<(), Error>>,
    /// Somebody waits for it.
    wanted: bool,
    submitted: bool,
}

enum Slot {
    Empty,
    Filling(Assembly),
    Complete(Block),
}

impl Flight {
    pub fn new(
        shared: &Arc<Shared>,
        (file, generation, size): (FileId, u32, u64),
        path: &RemotePath,
        blocks: Range<u64>,
        ahead: bool,
    ) -> Arc<Flight> {
        let slots = blocks.clone().map(|_| Slot::Empty).collect();
        let state = State { size, told: None, slots, end: None, wanted: !ahead, submitted: false };
        Arc::new(Flight {
            id: OpId::fresh(),
            file,
            generation,
            path: path.clone(),
            ahead,
            blocks,
            shared: Arc::downgrade(shared),
            state: Mutex::new(state),
            event: Event::new(),
        })
    }

    /// The file's size as this flight knows it.
    pub fn size(&self) -> u64 {
        self.state.lock().size
    }

    /// The first byte asked for, and how many.
    pub fn range(&self) -> (u64, u64) {
        (self.blocks.start * BLOCK_BYTES, (self.blocks.end - self.blocks.start) * BLOCK_BYTES)
    }

    /// What to submit it as now.
    pub fn class(&self) -> Class {
        if self.state.lock().wanted { Class::Demand } else { Class::ReadAhead }
    }

    /// Says that somebody waits for it; true when the remote has to be told.
    pub fn want(&self) -> bool {
        let mut state = self.state.lock();
        !std::mem::replace(&mut state.wanted, true) && state.submitted
    }

    /// Says that it was submitted as `class`; true when it is wanted more urgently by now.
    pub fn submitted_as(&self, class: Class) -> bool {
        let mut state = self.state.lock();
        state.submitted = true;
        state.wanted && class == Class::ReadAhead
    }

    /// Whether it is under way and nobody waits for it.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        !state.wanted && state.end.is_none()
    }

    /// How it ended, if it did.
    pub fn end(&self) -> Option<Result<(), Error>> {
        self.state.lock().end.clone()
    }

    /// Ends it here and now for those who wait; what still comes is not taken. They are woken by
    /// [`Flight::wake`].
    pub fn end_with(&self, end: Result<(), Error>) {
        self.state.lock().end.get_or_insert(end);
    }

    /// Wakes those who wait.
    pub fn wake(&self) {
        self.event.notify(usize::MAX);
    }

    /// One of its blocks as soon as it is complete; `None` when it lies beyond the end of the file.
    pub async fn block(&self, index: u64) -> Result<Option<Block>, Error> {
        loop {
            let listener = self.event.listen();
            let seen = {
                let state = self.state.lock();
                let slot = index.checked_sub(self.blocks.start).map(|at| at as usize);
                match slot.and_then(|at| state.slots.get(at)) {
                    Some(Slot::Complete(block)) => Some(Ok(Some(block.clone()))),
                    Some(Slot::Empty | Slot::Filling(_)) | None => {
                        state.end.clone().map(|end| end.map(|()| None))
                    }
                }
            };
            match seen {
                Some(answer) => return answer,
                None => listener.await,
            }
        }
    }

    fn learn_size(&self, size: u64) {
        // Told again, it is no news: the file may have grown since it was opened for this.
        if self.state.lock().told.replace(size) == Some(size) {
            return;
        }
        let Some(shared) = self.shared.upgrade() else { return };
        let size = shared.with(|known| known.file_opened(self, size));
        if let Some(size) = size {
            self.state.lock().size = size;
        }
    }

    /// How a fetch that the remote calls done ended: with every byte below the end, or not.
    fn check_complete(&self) -> Result<(), Error> {
        let state = self.state.lock();
        let missing = self.blocks.clone().zip(&state.slots).find(|(index, slot)| match slot {
            Slot::Complete(_) => false,
            Slot::Empty | Slot::Filling(_) => length_within(*index, state.size) > 0,
        });
        match missing {
            None => Ok(()),
            Some((index, _)) => Err(Error::Failed(format!(
                "the vehicle ended a read without every byte of the block at {}",
                index * BLOCK_BYTES
            ))),
        }
    }
}

impl Sink for Flight {
    fn opened(&self, size: u64) {
        self.learn_size(size);
    }

    fn data(&self, offset: u64, bytes: &[u8]) {
        let completed = self.state.lock().take(self.blocks.clone(), offset, bytes);
        if completed.is_empty() {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.with(|known| known.publish(self, completed));
        }
        self.wake();
    }

    fn done(&self, result: Result<Reply, Error>) {
        let end = match result {
            Ok(reply) => {
                if let Reply::Size(size) = reply {
                    self.learn_size(size);
                }
                self.check_complete()
            }
            Err(error) => Err(error),
        };
        match self.shared.upgrade() {
            // Under one lock, so that nobody joins a flight that has ended.
            Some(shared) => shared.with(|known| {
                known.flight_ended(self);
                self.end_with(end);
            }),
            None => self.end_with(end),
        }
        self.wake();
    }
}

impl State {
    /// Takes a piece of the file; answers the blocks that became complete.
    fn take(&mut self, blocks: Range<u64>, offset: u64, piece: &[u8]) -> Vec<(u64, Block)> {
        let mut completed = Vec::new();
        let end = offset.saturating_add(piece.len() as u64);
        if self.end.is_some() || offset >= end {
            return completed;
        }
        let touched = covering(&(offset..end));
        for index in touched.start.max(blocks.start)..touched.end.min(blocks.end) {
            let length = length_within(index, self.size);
            let Some(slot) = self.slots.get_mut((index - blocks.start) as usize) else { break };
            let start = index * BLOCK_BYTES;
            // A block may begin before the piece, and the piece before the block.
            let at = offset.saturating_sub(start) as usize;
            let from = start.saturating_sub(offset) as usize;
            if let Some(block) = slot.fill(at, &piece[from..], length) {
                completed.push((index, block));
            }
        }
        completed
    }
}

impl Slot {
    fn fill(&mut self, at: usize, piece: &[u8], length: usize) -> Option<Block> {
        if let Slot::Empty = self {
            *self = Slot::Filling(Assembly::new());
        }
        let Slot::Filling(assembly) = self else { return None };
        assembly.fill(at, piece);
        let block = assembly.complete(length)?;
        *self = Slot::Complete(block.clone());
        Some(block)
    }
}

/// Which flight brings which block.
#[derive(Default)]
pub(super) struct Flights {
    of_block: HashMap<BlockKey, Arc<Flight>>,
}

impl Flights {
    pub fn get(&self, key: &BlockKey) -> Option<Arc<Flight>> {
        self.of_block.get(key).cloned()
    }

    pub fn insert(&mut self, flight: &Arc<Flight>) {
        for key in flight.keys() {
            self.of_block.insert(key, flight.clone());
        }
    }

    pub fn remove(&mut self, flight: &Flight) {
        for key in flight.keys() {
            if self.of_block.get(&key).is_some_and(|current| current.id == flight.id) {
                self.of_block.remove(&key);
            }
        }
    }

    /// Every flight for a file.
    pub fn of_file(&self, file: FileId) -> Vec<Arc<Flight>> {
        let mut flights: Vec<Arc<Flight>> =
            self.of_block.values().filter(|flight| flight.file == file).cloned().collect();
        flights.sort_by_key(|flight| flight.id);
        flights.dedup_by_key(|flight| flight.id);
        flights
    }
}

impl Flight {
    /// The key of one of its blocks.
    pub fn key(&self, index: u64) -> BlockKey {
        BlockKey { file: self.file, generation: self.generation, index }
    }

    fn keys(&self) -> impl Iterator<Item = BlockKey> {
        self.blocks.clone().map(|index| self.key(index))
    }
}
