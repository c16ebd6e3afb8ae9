//! One upload by windowed WriteFile requests (protocol section "Writes").
//!
//! The caller supplies bytes in order when asked; blocks are kept until acknowledged, and
//! acknowledged in any order, by sequence number and never by offset (one server echoes none).

use super::Ranges;
use crate::mavftp::client::Error;
use crate::mavftp::wire::{DATA_BYTES_MAX, Nak, Payload};

/// One full block.
const BLOCK: u32 = DATA_BYTES_MAX as u32;
/// Bytes asked of the source ahead of what is acknowledged.
const AHEAD_BYTES: u32 = 1024 * 1024;
/// Acknowledged bytes are let go in lumps of this, so that what is kept moves rarely.
const LUMP_BYTES: usize = 64 * 1024;
/// Reopened so often in a row without a byte gained, an upload is given up.
const REOPENINGS_MAX: u32 = 4;
/// POSIX' "bad file number".
const EBADF: u8 = 9;

/// An upload under way.
#[derive(Debug)]
pub struct WriteJob {
    /// The file, as the server knows it.
    pub path: Vec<u8>,
    /// The offset the file is written from; what stands before is kept.
    base: u32,
    /// What the source yielded, from `kept_from` on.
    kept: Vec<u8>,
    kept_from: u32,
    /// Where the next supplied byte goes.
    supplied: u32,
    /// What is not on its way.
    waiting: Ranges,
    /// What is not acknowledged.
    open: Ranges,
    length: Option<u32>,
    /// The end of the last byte in the file that was acknowledged.
    high: u32,
    want_outstanding: bool,
    reopenings: u32,
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
            kept: Vec::new(),
            kept_from: base,
            supplied: base,
            waiting: Ranges::default(),
            open: Ranges::default(),
            length: None,
            high: base,
            want_outstanding: false,
            reopenings: 0,
        }
    }

    /// What the source should yield next: offset and number of bytes. Asked once until supplied.
    pub fn want(&mut self) -> Option<(u32, u32)> {
        let ahead = self.supplied - self.acknowledged();
        let room = AHEAD_BYTES.saturating_sub(ahead);
        let more = self.length.is_none() && !self.want_outstanding && room >= LUMP_BYTES as u32;
        more.then(|| {
            self.want_outstanding = true;
            (self.supplied, room)
        })
    }

    /// Takes in bytes from the source. Bytes for another place than wanted (the upload began anew
    /// meanwhile) are left out. False when the protocol has no offset for what comes after them.
    pub fn supply(&mut self, offset: u32, bytes: &[u8]) -> bool {
        self.want_outstanding = false;
        if offset != self.supplied || self.length.is_some() {
            return true;
        }
        let end = u64::from(self.supplied) + bytes.len() as u64;
        let Ok(end) = u32::try_from(end) else { return false };
        self.kept.extend_from_slice(bytes);
        self.waiting.insert(self.supplied, end);
        self.open.insert(self.supplied, end);
        self.supplied = end;
        true
    }

    /// The source has nothing now; it is asked again after [`WriteJob::more`].
    pub fn starve(&mut self) {
        self.want_outstanding = true;
    }

    /// Whether all that the source has yielded is stored, and it has not yielded more.
    pub fn is_starved(&self) -> bool {
        self.want_outstanding && self.length.is_none() && !self.wants() && self.is_stored()
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
        true
    }

    /// Whether a block waits to be sent.
    pub fn wants(&self) -> bool {
        match self.waiting.first() {
            None => false,
            // A last block that the source may still fill waits for that.
            Some(first) => self.length.is_some() || self.supplied - first >= BLOCK,
        }
    }

    /// The next block to send, of at most `size` bytes: its offset and bytes.
    pub fn ask(&mut self, size: u8) -> Option<(u32, &[u8])> {
        if !self.wants() {
            return None;
        }
        let (start, end) = self.waiting.take_first(u32::from(size), u32::MAX)?;
        let at = (start - self.kept_from) as usize;
        Some((start, self.kept.get(at..at + (end - start) as usize)?))
    }

    /// Takes in the answer to the block of `size` bytes at `offset`.
    pub fn answered(
        &mut self,
        (offset, size): (u32, u8),
        result: Result<(), Nak>,
        answer: &Payload,
    ) -> WriteStep {
        match result {
            Ok(()) => self.stored(offset, size, answer.data_u32()),
            // A file number that is none, or a refusal without its reason: PX4 without our file.
            Err(nak @ Nak::FailErrno(0 | EBADF)) => self.refused(offset, size, nak),
            Err(Nak::FailErrno(errno)) => {
                self.forgotten(offset, size);
                WriteStep::Failed(Error::Refused(Nak::FailErrno(errno)))
            }
            // A lost session shows as 4 or 10, and on one board as 9 when its path buffer is gone.
            Err(nak) => self.refused(offset, size, nak),
        }
    }

    /// The request for the block of `size` bytes at `offset` is gone without an answer.
    pub fn forgotten(&mut self, offset: u32, size: u8) {
        self.waiting.insert(offset, offset.saturating_add(u32::from(size)));
    }

    /// Every byte before this offset is stored.
    pub fn acknowledged(&self) -> u32 {
        self.open.first().unwrap_or(self.supplied)
    }

    /// Whether a file of so many bytes lacks some that were acknowledged.
    pub fn is_cut(&self, size: u32) -> bool {
        size < self.high
    }

    /// Whether everything the source yielded is stored; its length then.
    pub fn is_complete(&self) -> Option<u32> {
        self.length.filter(|_| self.open.is_empty())
    }

    /// Begins anew at the first byte: the server empties what it opens for writing.
    pub fn restart(&mut self) {
        *self = WriteJob {
            reopenings: self.reopenings,
            ..WriteJob::new(std::mem::take(&mut self.path), self.base)
        };
    }

    /// Whether all that can be sent now is stored.
    fn is_stored(&self) -> bool {
        self.supplied - self.acknowledged() < BLOCK
    }

    fn stored(&mut self, offset: u32, size: u8, reported: Option<u32>) -> WriteStep {
        let end = offset.saturating_add(u32::from(size));
        self.waiting.remove(offset, end);
        self.open.remove(offset, end);
        self.reopenings = 0;
        self.high = self.high.max(end);
        let acknowledged = self.acknowledged();
        let done = (acknowledged - self.kept_from) as usize;
        if done >= LUMP_BYTES {
            self.kept.drain(..done);
            self.kept_from = acknowledged;
        }
        // PX4 tells how many bytes it stored; a full disk shows here.
        match reported {
            Some(count) if count != u32::from(size) => WriteStep::Failed(Error::ShortWrite),
            Some(_) | None => WriteStep::Acknowledged(acknowledged),
        }
    }

    fn refused(&mut self, offset: u32, size: u8, nak: Nak) -> WriteStep {
        self.forgotten(offset, size);
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
        assert!(job.supply(0, bytes));
        assert!(job.finish(bytes.len() as u32));
        job
    }

    #[test]
    fn bytes_leave_in_blocks_and_are_acknowledged_in_any_order() {
        let mut job = supplied(&[7; 500]);
        let blocks: Vec<(u32, usize)> =
            std::iter::from_fn(|| job.ask(239).map(|(at, bytes)| (at, bytes.len()))).collect();
        assert_eq!(blocks, [(0, 239), (239, 239), (478, 22)]);
        assert_eq!(job.answered((239, 239), Ok(()), &ack()), WriteStep::Acknowledged(0));
        assert_eq!(job.answered((0, 239), Ok(()), &ack()), WriteStep::Acknowledged(478));
        assert_eq!(job.is_complete(), None);
        assert_eq!(job.answered((478, 22), Ok(()), &ack()), WriteStep::Acknowledged(500));
        assert_eq!(job.is_complete(), Some(500));
    }

    #[test]
    fn the_source_is_asked_once_and_only_so_far_ahead() {
        let mut job = WriteJob::new(b"/a".to_vec(), 0);
        let (offset, count) = job.want().unwrap();
        assert_eq!((offset, count), (0, AHEAD_BYTES));
        assert_eq!(job.want(), None);
        job.supply(0, &vec![1; count as usize]);
        assert_eq!(job.want(), None, "nothing is acknowledged yet");
        let mut stored = 0;
        while stored < LUMP_BYTES as u32 {
            let (at, size) = job.ask(239).map(|(at, bytes)| (at, bytes.len())).unwrap();
            job.answered((at, size as u8), Ok(()), &ack());
            stored += size as u32;
        }
        assert_eq!(job.want(), Some((count, stored)));
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
    fn a_file_beyond_the_last_offset_is_refused() {
        let mut job = WriteJob::new(b"/a".to_vec(), u32::MAX - 100);
        assert!(job.supply(u32::MAX - 100, &[7; 100]));
        assert!(!job.supply(u32::MAX, &[7; 1]));
    }

    #[test]
    fn a_full_disk_is_seen_in_the_acknowledgement() {
        let mut job = supplied(&[7; 239]);
        job.ask(239);
        let short = ack().with_data(&100u32.to_le_bytes());
        assert_eq!(job.answered((0, 239), Ok(()), &short), WriteStep::Failed(Error::ShortWrite));
    }

    #[test]
    fn a_file_that_lacks_what_was_acknowledged_is_cut_even_behind_a_hole() {
        let mut job = supplied(&[7; 500]);
        while job.ask(239).is_some() {}
        job.answered((239, 239), Ok(()), &ack());
        assert!(job.is_cut(477));
        assert!(!job.is_cut(478));
        job.restart();
        assert!(!job.is_cut(0));
    }

    #[test]
    fn a_file_that_cannot_be_counted_is_refused() {
        let mut job = WriteJob::new(b"/a".to_vec(), u32::MAX - 300);
        assert!(job.supply(u32::MAX - 300, &[1; 239]));
        assert!(!job.supply(u32::MAX - 61, &[1; 239]));
        assert!(job.supply(u32::MAX - 61, &[1; 61]) && job.finish(u32::MAX));
    }

    #[test]
    fn an_upload_that_begins_anew_wants_its_first_byte_again() {
        let mut job = supplied(&[7; 500]);
        job.ask(239);
        job.restart();
        assert_eq!(job.want().unwrap().0, 0);
        job.supply(239, &[1; 10]);
        assert_eq!(job.acknowledged(), 0, "bytes wanted before the restart are left out");
    }
}
