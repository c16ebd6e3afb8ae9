//! One upload by windowed WriteFile requests (protocol section "Writes").
//!
//! The caller supplies bytes in order when asked; blocks are kept until acknowledged, and
//! acknowledged in any order, by sequence number and never by offset (one server echoes none).

use std::collections::BTreeMap;

use crate::mavftp::client::Error;
use crate::mavftp::wire::{DATA_BYTES_MAX, Nak, Payload};

/// One full block.
const BLOCK: u32 = DATA_BYTES_MAX as u32;
/// Bytes asked of the source ahead of what is acknowledged.
const AHEAD_BYTES: u32 = 256 * 1024;
/// Reopened so often in a row without a byte gained, an upload is given up.
const REOPENINGS_MAX: u32 = 4;

/// An upload under way.
#[derive(Debug)]
pub struct WriteJob {
    /// The file, as the server knows it.
    pub path: Vec<u8>,
    /// The offset the file is written from; what stands before is kept.
    base: u32,
    blocks: BTreeMap<u32, Block>,
    /// Where the next supplied byte goes.
    supplied: u32,
    /// Supplied bytes that do not fill a block yet.
    tail: Vec<u8>,
    length: Option<u32>,
    want_outstanding: bool,
    reopenings: u32,
}

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    asked: bool,
}

/// What an answer to a block means.
#[derive(Debug, PartialEq, Eq)]
pub enum WriteStep {
    /// Stored; every byte before this offset is.
    Acknowledged(u32),
    /// The session is gone: open again, and go on from [`WriteJob::acknowledged`] or the beginning.
    SessionLost,
    /// The upload cannot go on.
    Failed(Error),
}

impl WriteJob {
    /// An upload whose first byte goes to offset `base`.
    pub fn new(path: Vec<u8>, base: u32) -> WriteJob {
        WriteJob {
            path,
            base,
            blocks: BTreeMap::new(),
            supplied: base,
            tail: Vec::new(),
            length: None,
            want_outstanding: false,
            reopenings: 0,
        }
    }

    /// What the source should yield next: offset and number of bytes. Asked once until supplied.
    pub fn want(&mut self) -> Option<(u32, u32)> {
        let ahead = self.supplied - self.acknowledged();
        let room = (AHEAD_BYTES.saturating_sub(ahead) / BLOCK) * BLOCK;
        let more = self.length.is_none() && !self.want_outstanding && room > 0;
        more.then(|| {
            self.want_outstanding = true;
            (self.supplied, room - self.tail.len() as u32 % BLOCK)
        })
    }

    /// Takes in bytes from the source. Bytes for another place than wanted (the upload began anew
    /// meanwhile) are left out.
    pub fn supply(&mut self, offset: u32, bytes: &[u8]) {
        self.want_outstanding = false;
        if offset != self.supplied || self.length.is_some() {
            return;
        }
        self.supplied = self.supplied.saturating_add(bytes.len() as u32);
        self.tail.extend_from_slice(bytes);
        let whole = self.tail.len() - self.tail.len() % DATA_BYTES_MAX;
        let tail = self.tail.split_off(whole);
        let full = std::mem::replace(&mut self.tail, tail);
        let mut at = self.supplied - self.tail.len() as u32 - full.len() as u32;
        for bytes in full.chunks(DATA_BYTES_MAX) {
            self.blocks.insert(at, Block { bytes: bytes.to_vec(), asked: false });
            at += bytes.len() as u32;
        }
    }

    /// The source has nothing now; it is asked again after [`WriteJob::more`].
    pub fn starve(&mut self) {
        self.want_outstanding = true;
    }

    /// The source has more.
    pub fn more(&mut self) {
        self.want_outstanding = false;
    }

    /// The source ends at `length`; false when that is not what it yielded.
    pub fn finish(&mut self, length: u32) -> bool {
        if length != self.supplied {
            return false;
        }
        self.length = Some(length);
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            self.blocks.insert(length - tail.len() as u32, Block { bytes: tail, asked: false });
        }
        true
    }

    /// Whether a block waits to be sent.
    pub fn wants(&self) -> bool {
        self.blocks.values().any(|block| !block.asked)
    }

    /// The next block to send: its offset and bytes.
    pub fn ask(&mut self) -> Option<(u32, &[u8])> {
        let (offset, block) = self.blocks.iter_mut().find(|(_, block)| !block.asked)?;
        block.asked = true;
        Some((*offset, &block.bytes))
    }

    /// Takes in the answer to the block at `offset`.
    pub fn answered(
        &mut self,
        offset: u32,
        result: Result<(), Nak>,
        answer: &Payload,
    ) -> WriteStep {
        match result {
            Ok(()) => self.stored(offset, answer.data_u32()),
            Err(Nak::FailErrno(errno)) => {
                self.forgotten(offset);
                WriteStep::Failed(Error::Refused(Nak::FailErrno(errno)))
            }
            // A lost session shows as 4 or 10, and on one board as 9 when its path buffer is gone.
            Err(nak) => self.refused(offset, nak),
        }
    }

    /// The request for the block at `offset` is gone without an answer.
    pub fn forgotten(&mut self, offset: u32) {
        if let Some(block) = self.blocks.get_mut(&offset) {
            block.asked = false;
        }
    }

    /// Every byte before this offset is stored.
    pub fn acknowledged(&self) -> u32 {
        let first = self.blocks.first_key_value().map(|(offset, _)| *offset);
        first.unwrap_or(self.supplied - self.tail.len() as u32)
    }

    /// Whether everything the source yielded is stored; its length then.
    pub fn is_complete(&self) -> Option<u32> {
        self.length.filter(|_| self.blocks.is_empty())
    }

    /// Begins anew at the first byte: the server empties what it opens for writing.
    pub fn restart(&mut self) {
        *self = WriteJob {
            reopenings: self.reopenings,
            ..WriteJob::new(std::mem::take(&mut self.path), self.base)
        };
    }

    fn stored(&mut self, offset: u32, reported: Option<u32>) -> WriteStep {
        let Some(block) = self.blocks.remove(&offset) else {
            return WriteStep::Acknowledged(self.acknowledged());
        };
        self.reopenings = 0;
        // PX4 tells how many bytes it stored; a full disk shows here.
        match reported {
            Some(count) if count as usize != block.bytes.len() => {
                WriteStep::Failed(Error::ShortWrite)
            }
            Some(_) | None => WriteStep::Acknowledged(self.acknowledged()),
        }
    }

    fn refused(&mut self, offset: u32, nak: Nak) -> WriteStep {
        self.forgotten(offset);
        self.reopenings += 1;
        match self.reopenings > REOPENINGS_MAX {
            false => WriteStep::SessionLost,
            true => WriteStep::Failed(Error::Refused(nak)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mavftp::wire::Opcode;

    fn ack() -> Payload {
        Payload::request(Opcode::Ack)
    }

    fn supplied(bytes: &[u8]) -> WriteJob {
        let mut job = WriteJob::new(b"/a".to_vec(), 0);
        job.supply(0, bytes);
        assert!(job.finish(bytes.len() as u32));
        job
    }

    #[test]
    fn bytes_leave_in_blocks_and_are_acknowledged_in_any_order() {
        let mut job = supplied(&[7; 500]);
        let blocks: Vec<(u32, usize)> =
            std::iter::from_fn(|| job.ask().map(|(at, bytes)| (at, bytes.len()))).collect();
        assert_eq!(blocks, [(0, 239), (239, 239), (478, 22)]);
        assert_eq!(job.answered(239, Ok(()), &ack()), WriteStep::Acknowledged(0));
        assert_eq!(job.answered(0, Ok(()), &ack()), WriteStep::Acknowledged(478));
        assert_eq!(job.is_complete(), None);
        assert_eq!(job.answered(478, Ok(()), &ack()), WriteStep::Acknowledged(500));
        assert_eq!(job.is_complete(), Some(500));
    }

    #[test]
    fn the_source_is_asked_once_and_only_so_far_ahead() {
        let mut job = WriteJob::new(b"/a".to_vec(), 0);
        let (offset, count) = job.want().unwrap();
        assert_eq!((offset, count % BLOCK), (0, 0));
        assert_eq!(job.want(), None);
        job.supply(0, &vec![1; count as usize]);
        assert_eq!(job.want(), None, "nothing is acknowledged yet");
        job.ask();
        job.answered(0, Ok(()), &ack());
        assert_eq!(job.want(), Some((count, BLOCK)));
    }

    #[test]
    fn a_starved_source_is_asked_again_when_it_has_more() {
        let mut job = WriteJob::new(b"/a".to_vec(), 0);
        job.want().unwrap();
        job.starve();
        assert_eq!(job.want(), None);
        job.more();
        assert!(job.want().is_some());
    }

    #[test]
    fn a_full_disk_is_seen_in_the_acknowledgement() {
        let mut job = supplied(&[7; 239]);
        job.ask();
        let short = ack().with_data(&100u32.to_le_bytes());
        assert_eq!(job.answered(0, Ok(()), &short), WriteStep::Failed(Error::ShortWrite));
    }

    #[test]
    fn an_upload_that_begins_anew_wants_its_first_byte_again() {
        let mut job = supplied(&[7; 500]);
        job.ask();
        job.restart();
        assert_eq!(job.want().unwrap().0, 0);
        job.supply(239, &[1; 10]);
        assert_eq!(job.acknowledged(), 0, "bytes wanted before the restart are left out");
    }
}
