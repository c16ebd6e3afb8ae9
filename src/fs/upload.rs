//! The bytes of an upload, as the far side pulls them: a few pieces of the staged copy, kept in
//! memory because a pull must not wait for the disk. Must not know paths or inodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use event_listener::Event;
use parking_lot::Mutex;

use crate::fs::errno::FsError;
use crate::fs::staging::StagedBytes;
use crate::remote::{OpId, Pull, Source};

/// How many bytes are read from the staged copy at once.
const PIECE_BYTES: u64 = 32 << 10;
/// How many pieces are read ahead of the last pull.
const PIECES_AHEAD: u64 = 4;
/// How many pieces are kept: those ahead, and as many for bytes that are asked for again.
const PIECES_MAX: usize = 8;

/// A [`Source`] over the first `length` bytes of a staged copy, which must not change meanwhile.
/// Somebody must poll [`Upload::feed`] for as long as it is pulled.
pub struct Upload {
    bytes: Arc<dyn StagedBytes>,
    length: u64,
    window: Mutex<Window>,
    pulled: Event,
}

#[derive(Default)]
struct Window {
    pieces: BTreeMap<u64, Piece>,
    /// The piece that was pulled last.
    current: u64,
    /// Somebody was told to wait for the current piece.
    starved: bool,
    operation: Option<OpId>,
    uses: u64,
}

struct Piece {
    bytes: Vec<u8>,
    last_use: u64,
}

impl Upload {
    /// An upload of so many bytes.
    pub fn new(bytes: Arc<dyn StagedBytes>, length: u64) -> Arc<Upload> {
        Arc::new(Upload { bytes, length, window: Mutex::default(), pulled: Event::new() })
    }

    /// Tells which operation pulls, so that it can be told of more.
    pub fn set_operation(&self, operation: OpId) {
        self.window.lock().operation = Some(operation);
    }

    /// Reads the beginning, so that a small file never keeps the far side waiting.
    pub async fn fill(&self) -> Result<(), FsError> {
        while let Some(index) = self.next_missing() {
            self.read_piece(index).await?;
        }
        Ok(())
    }

    /// Reads ahead of what is pulled, and calls `more` when bytes that were missed are there.
    /// Returns only when the staged copy cannot be read.
    pub async fn feed(&self, more: impl Fn(OpId)) -> FsError {
        loop {
            let pulled = self.pulled.listen();
            if let Err(error) = self.fill().await {
                return error;
            }
            if let Some(operation) = self.no_longer_starved() {
                more(operation);
            }
            pulled.await;
        }
    }

    fn next_missing(&self) -> Option<u64> {
        let window = self.window.lock();
        let pieces = self.length.div_ceil(PIECE_BYTES);
        let end = (window.current + PIECES_AHEAD).min(pieces);
        (window.current..end).find(|index| !window.pieces.contains_key(index))
    }

    async fn read_piece(&self, index: u64) -> Result<(), FsError> {
        let offset = index * PIECE_BYTES;
        let expected = PIECE_BYTES.min(self.length.saturating_sub(offset)) as usize;
        let bytes = self.bytes.read(offset, expected).await?;
        if bytes.len() != expected {
            let short = "the staged copy is shorter than the file";
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, short).into());
        }
        let mut window = self.window.lock();
        window.uses += 1;
        let last_use = window.uses;
        window.pieces.insert(index, Piece { bytes, last_use });
        while window.pieces.len() > PIECES_MAX {
            let oldest = window.pieces.iter().min_by_key(|(_, piece)| piece.last_use);
            let Some(oldest) = oldest.map(|(index, _)| *index) else { break };
            window.pieces.remove(&oldest);
        }
        Ok(())
    }

    fn no_longer_starved(&self) -> Option<OpId> {
        let mut window = self.window.lock();
        let ready = window.starved && window.pieces.contains_key(&window.current);
        if ready {
            window.starved = false;
        }
        window.operation.filter(|_| ready)
    }
}

impl Source for Upload {
    fn pull(&self, offset: u64, buffer: &mut [u8]) -> Pull {
        if offset >= self.length {
            return Pull::End;
        }
        let index = offset / PIECE_BYTES;
        let mut window = self.window.lock();
        let moved = window.current != index;
        window.current = index;
        window.uses += 1;
        let last_use = window.uses;
        let answer = match window.pieces.get_mut(&index) {
            Some(piece) => {
                piece.last_use = last_use;
                let rest = &piece.bytes[(offset % PIECE_BYTES) as usize..];
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Pull::Bytes(count)
            }
            None => Pull::Pending,
        };
        window.starved = answer == Pull::Pending;
        let must_read = moved || window.starved;
        drop(window);
        if must_read {
            self.pulled.notify(usize::MAX);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::fs::staging::{MemoryStore, Store};

    const LENGTH: usize = 20 * PIECE_BYTES as usize + 7;

    fn pattern() -> Vec<u8> {
        (0..LENGTH).map(|at| (at / 251) as u8 ^ at as u8).collect()
    }

    fn upload() -> Arc<Upload> {
        let bytes = block_on(MemoryStore::default().create()).unwrap();
        block_on(bytes.write(0, pattern())).unwrap();
        let upload = Upload::new(bytes, LENGTH as u64);
        upload.set_operation(OpId(1));
        block_on(upload.fill()).unwrap();
        upload
    }

    /// Pulls from `offset` to the end, feeding when there is nothing.
    fn drain(upload: &Upload, mut offset: u64) -> Vec<u8> {
        let mut all = Vec::new();
        let told = Cell::new(0);
        let mut feed = pin!(upload.feed(|_| told.set(told.get() + 1)));
        let mut buffer = [0; 239];
        loop {
            match upload.pull(offset, &mut buffer) {
                Pull::Bytes(count) => {
                    all.extend_from_slice(&buffer[..count]);
                    offset += count as u64;
                }
                Pull::Pending | Pull::Idle => {
                    let before = told.get();
                    assert!(block_on(poll_once(&mut feed)).is_none());
                    assert!(told.get() > before, "the operation is told that there is more");
                }
                Pull::End => return all,
            }
        }
    }

    #[test]
    fn an_upload_yields_the_staged_bytes_in_order() {
        assert_eq!(drain(&upload(), 0), pattern());
    }

    #[test]
    fn an_upload_that_the_far_side_dropped_begins_again() {
        let upload = upload();
        drain(&upload, 0);
        assert_eq!(drain(&upload, 0), pattern());
        assert_eq!(drain(&upload, 40_000), pattern()[40_000..]);
    }

    #[test]
    fn no_more_than_a_window_is_held_in_memory() {
        let upload = upload();
        drain(&upload, 0);
        assert!(upload.window.lock().pieces.len() <= PIECES_MAX);
    }

    #[test]
    fn a_staged_copy_that_got_shorter_ends_the_upload() {
        let bytes = block_on(MemoryStore::default().create()).unwrap();
        let upload = Upload::new(bytes, 5);
        assert!(matches!(block_on(upload.feed(|_| {})), FsError::Disk(_)));
    }
}
