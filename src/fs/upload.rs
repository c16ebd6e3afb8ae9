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

/// A [`Source`] over the beginning of a staged copy, which must not change meanwhile, except that
/// bytes may be added. Somebody must poll [`Upload::feed`] for as long as it is pulled.
pub struct Upload {
    bytes: Arc<dyn StagedBytes>,
    window: Mutex<Window>,
    pulled: Event,
}

#[derive(Default)]
struct Window {
    /// How many bytes there are so far.
    length: u64,
    /// There will be no more.
    is_whole: bool,
    /// Nobody wants the upload any more.
    is_stopped: bool,
    pieces: BTreeMap<u64, Piece>,
    /// The piece that was pulled last.
    current: u64,
    /// Somebody was told to wait for the byte at this offset.
    starved: Option<u64>,
    operation: Option<OpId>,
    /// The modification time that the file is to have.
    mtime: Option<i64>,
    uses: u64,
}

struct Piece {
    bytes: Vec<u8>,
    last_use: u64,
}

impl Upload {
    /// An upload of so many bytes.
    pub fn new(bytes: Arc<dyn StagedBytes>, length: u64) -> Arc<Upload> {
        Upload::with(bytes, Window { length, is_whole: true, ..Window::default() })
    }

    /// An upload of what stands between two offsets.
    pub fn of_tail(bytes: Arc<dyn StagedBytes>, from: u64, length: u64) -> Arc<Upload> {
        let current = from / PIECE_BYTES;
        Upload::with(bytes, Window { length, is_whole: true, current, ..Window::default() })
    }

    /// An upload of so many bytes and of what [`Upload::grow`] adds, up to [`Upload::finish`].
    pub fn growing(bytes: Arc<dyn StagedBytes>, length: u64) -> Arc<Upload> {
        Upload::with(bytes, Window { length, ..Window::default() })
    }

    fn with(bytes: Arc<dyn StagedBytes>, window: Window) -> Arc<Upload> {
        Arc::new(Upload { bytes, window: Mutex::new(window), pulled: Event::new() })
    }

    /// There are so many bytes by now.
    pub fn grow(&self, length: u64) {
        self.window.lock().length = length;
        self.pulled.notify(usize::MAX);
    }

    /// There will be no more.
    pub fn finish(&self) {
        self.window.lock().is_whole = true;
        self.pulled.notify(usize::MAX);
    }

    /// Nobody wants the upload any more: [`Upload::feed`] returns.
    pub fn stop(&self) {
        self.window.lock().is_stopped = true;
        self.pulled.notify(usize::MAX);
    }

    /// The modification time that the file is to have, seconds since 1970 UTC.
    pub fn set_mtime(&self, mtime: i64) {
        self.window.lock().mtime = Some(mtime);
    }

    /// The operation that pulls, once known.
    pub fn operation(&self) -> Option<OpId> {
        self.window.lock().operation
    }

    /// Tells which operation pulls, so that it can be told of more.
    pub fn set_operation(&self, operation: OpId) {
        self.window.lock().operation = Some(operation);
    }

    /// Reads the beginning, so that a small file never keeps the far side waiting.
    pub async fn fill(&self) -> Result<(), FsError> {
        while let Some((index, have)) = self.next_missing() {
            self.read_piece(index, have).await?;
        }
        Ok(())
    }

    /// Reads ahead of what is pulled, and calls `more` when bytes that were missed are there.
    /// Returns only when the staged copy cannot be read, or the upload is stopped.
    pub async fn feed(&self, more: impl Fn(OpId)) -> Fed {
        loop {
            let pulled = self.pulled.listen();
            if self.window.lock().is_stopped {
                return Fed::Stopped;
            }
            if let Err(error) = self.fill().await {
                // What is not wanted may have been cut.
                let is_stopped = self.window.lock().is_stopped;
                return if is_stopped { Fed::Stopped } else { Fed::Failed(error) };
            }
            if let Some(operation) = self.no_longer_starved() {
                more(operation);
            }
            pulled.await;
        }
    }

    /// The next piece of which bytes are missing, and how many of it are here.
    fn next_missing(&self) -> Option<(u64, usize)> {
        let window = self.window.lock();
        let end = (window.current + PIECES_AHEAD).min(window.length.div_ceil(PIECE_BYTES));
        let have = |index| window.pieces.get(&index).map_or(0, |piece| piece.bytes.len());
        let all = (window.current..end).map(|index| (index, have(index)));
        all.into_iter().find(|(index, have)| *have < window.bytes_of(*index))
    }

    async fn read_piece(&self, index: u64, have: usize) -> Result<(), FsError> {
        let expected = self.window.lock().bytes_of(index).saturating_sub(have);
        let bytes = self.bytes.read(index * PIECE_BYTES + have as u64, expected).await?;
        if bytes.len() != expected {
            let short = "the staged copy is shorter than the file";
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, short).into());
        }
        let mut window = self.window.lock();
        window.uses += 1;
        let last_use = window.uses;
        let piece = window.pieces.entry(index).or_insert(Piece { bytes: Vec::new(), last_use });
        piece.last_use = last_use;
        // It may have been given up meanwhile.
        if piece.bytes.len() == have {
            piece.bytes.extend(bytes);
        }
        while window.pieces.len() > PIECES_MAX {
            let oldest = window.pieces.iter().min_by_key(|(_, piece)| piece.last_use);
            let Some(oldest) = oldest.map(|(index, _)| *index) else { break };
            window.pieces.remove(&oldest);
        }
        Ok(())
    }

    fn no_longer_starved(&self) -> Option<OpId> {
        let mut window = self.window.lock();
        let at = window.starved?;
        let ready = window.has(at) || (at >= window.length && window.is_whole);
        window.starved.take_if(|_| ready)?;
        window.operation
    }
}

/// Why an upload is not fed any more.
pub enum Fed {
    /// Nobody wants it.
    Stopped,
    /// The staged copy cannot be read.
    Failed(FsError),
}

impl Window {
    /// How many bytes a piece has so far.
    fn bytes_of(&self, index: u64) -> usize {
        PIECE_BYTES.min(self.length.saturating_sub(index * PIECE_BYTES)) as usize
    }

    /// Whether the byte at this offset is here.
    fn has(&self, offset: u64) -> bool {
        let piece = self.pieces.get(&(offset / PIECE_BYTES));
        piece.is_some_and(|piece| piece.bytes.len() as u64 > offset % PIECE_BYTES)
    }
}

impl Source for Upload {
    fn pull(&self, offset: u64, buffer: &mut [u8]) -> Pull {
        let index = offset / PIECE_BYTES;
        let mut window = self.window.lock();
        if offset >= window.length {
            if window.is_whole {
                return Pull::End;
            }
            (window.current, window.starved) = (index, Some(offset));
            return Pull::Idle;
        }
        let moved = window.current != index;
        window.current = index;
        window.uses += 1;
        let last_use = window.uses;
        let at = (offset % PIECE_BYTES) as usize;
        let piece = window.pieces.get_mut(&index).filter(|piece| piece.bytes.len() > at);
        let answer = match piece {
            Some(piece) => {
                piece.last_use = last_use;
                let rest = &piece.bytes[at..];
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Pull::Bytes(count)
            }
            None => Pull::Pending,
        };
        window.starved = (answer == Pull::Pending).then_some(offset);
        let must_read = moved || window.starved.is_some();
        drop(window);
        if must_read {
            self.pulled.notify(usize::MAX);
        }
        answer
    }

    fn mtime(&self) -> Option<i64> {
        self.window.lock().mtime
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
        assert!(matches!(block_on(upload.feed(|_| {})), Fed::Failed(FsError::Disk(_))));
        upload.stop();
        assert!(matches!(block_on(upload.feed(|_| {})), Fed::Stopped));
    }

    #[test]
    fn an_upload_that_grows_waits_for_its_program_and_ends_when_it_is_told() {
        let bytes = block_on(MemoryStore::default().create()).unwrap();
        block_on(bytes.write(0, pattern())).unwrap();
        let upload = Upload::growing(bytes, 100);
        upload.set_operation(OpId(1));
        let told = Cell::new(0);
        let mut feed = pin!(upload.feed(|_| told.set(told.get() + 1)));
        let (mut all, mut buffer, mut length) = (Vec::new(), [0; 239], 100);
        loop {
            match upload.pull(all.len() as u64, &mut buffer) {
                Pull::Bytes(count) => all.extend_from_slice(&buffer[..count]),
                Pull::Pending => assert!(block_on(poll_once(&mut feed)).is_none()),
                Pull::Idle => {
                    assert_eq!(all.len(), length);
                    let before = told.get();
                    assert!(block_on(poll_once(&mut feed)).is_none());
                    assert_eq!(told.get(), before, "there is no more yet");
                    match length == LENGTH {
                        true => upload.finish(),
                        false => length = (length + 20_000).min(LENGTH),
                    }
                    upload.grow(length as u64);
                    assert!(block_on(poll_once(&mut feed)).is_none());
                    assert!(told.get() > before);
                }
                Pull::End => break,
            }
        }
        assert!(all == pattern());
    }
}
