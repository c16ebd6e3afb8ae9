//! One ranged read by pipelined ReadFile requests (protocol section "Read engine").
//!
//! The range is cut into blocks of 239 bytes from its start. A block is wanted, asked or done; what
//! a lost session or a lost request leaves behind is wanted again. Nothing is asked beyond the size
//! that the Open answer gave: one server's session does not survive a read past the end.

use std::collections::BTreeSet;

use crate::mavftp::client::Error;
use crate::mavftp::wire::{DATA_BYTES_MAX, Nak, Payload};

/// Reopened so often in a row without a byte gained, a file is given up.
const REOPENINGS_MAX: u32 = 4;

/// A read under way.
#[derive(Debug)]
pub struct ReadJob {
    /// The file, as the server knows it.
    pub path: Vec<u8>,
    start: u32,
    end: u32,
    /// The size the Open answer gave, once there was one.
    size: Option<u32>,
    /// Whether that size is worth nothing and all blocks must have one size (ArduPilot's `@` files).
    made_up: bool,
    next: u32,
    wanted_again: BTreeSet<u32>,
    asked: BTreeSet<u32>,
    reopenings: u32,
    known: Known,
    /// The file must be opened anew before this begins.
    anew: bool,
}

/// What the caller knows of the file's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing, and any state of the file will do.
    Nothing,
    /// This many bytes; a file open with another size is in an older state.
    Size(u32),
    /// Nothing; it is what this asks.
    Asked,
}

/// What an answer to a block request means.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// So many bytes of the answer's data belong to the range.
    Data(usize),
    /// Nothing to deliver.
    Nothing,
    /// The session is gone: open again.
    SessionLost,
    /// The read cannot go on.
    Failed(Error),
}

impl ReadJob {
    /// A read of `length` bytes from `start`.
    pub fn new(path: Vec<u8>, start: u32, length: u32) -> ReadJob {
        ReadJob {
            made_up: path.starts_with(b"@"),
            path,
            start,
            end: start.saturating_add(length),
            size: None,
            next: start,
            wanted_again: BTreeSet::new(),
            asked: BTreeSet::new(),
            reopenings: 0,
            known: Known::Nothing,
            anew: false,
        }
    }

    /// The question for a file's size: a read of nothing, of a file opened for it.
    pub fn of_size(path: Vec<u8>) -> ReadJob {
        ReadJob { known: Known::Asked, ..ReadJob::new(path, 0, 0) }
    }

    /// The same, with the size that the caller knows.
    pub fn expecting(mut self, size: Option<u32>) -> ReadJob {
        self.known = size.map_or(Known::Nothing, Known::Size);
        self
    }

    /// The file was open when this arrived, and `size` bytes long: whether it may be used as it is.
    /// A file that grew since is not; what was opened then knows nothing of the new bytes.
    pub fn accepts(&mut self, size: u32) -> bool {
        self.anew = match self.known {
            Known::Nothing => false,
            Known::Size(known) => known != size && !self.made_up,
            Known::Asked => true,
        };
        !self.anew
    }

    /// Whether the file must be opened anew before this begins.
    pub fn wants_anew(&self) -> bool {
        self.anew
    }

    /// The file is about to be opened anew.
    pub fn awaits_opening(&mut self) {
        self.anew = false;
    }

    /// The file is open and `size` bytes long. An error when it is not the file that was being read.
    pub fn opened(&mut self, size: u32) -> Result<(), Error> {
        let size = if self.made_up { u32::MAX } else { size };
        match self.size {
            Some(before) if before != size && !self.made_up => return Err(Error::Changed),
            Some(_) => {}
            None => {
                self.size = Some(size);
                self.end = self.end.min(size);
            }
        }
        Ok(())
    }

    /// Whether the file has been open for this read.
    pub fn is_begun(&self) -> bool {
        self.size.is_some()
    }

    /// The size the Open answer gave, or for an `@` file the end that was found.
    pub fn size(&self) -> u32 {
        self.size.unwrap_or(0)
    }

    /// Whether every byte of the range is there.
    pub fn is_complete(&self) -> bool {
        let begun = self.size.is_some();
        begun && self.next >= self.end && self.wanted_again.is_empty() && self.asked.is_empty()
    }

    /// Whether there is a block to ask for.
    pub fn wants(&self) -> bool {
        self.size.is_none() || !self.wanted_again.is_empty() || self.next < self.end
    }

    /// The next block to ask for: offset and size.
    pub fn ask(&mut self) -> Option<(u32, u8)> {
        let offset = match self.wanted_again.pop_first() {
            Some(offset) => offset,
            None if self.next < self.end => {
                let offset = self.next;
                self.next = offset.saturating_add(DATA_BYTES_MAX as u32).min(self.end);
                offset
            }
            None => return None,
        };
        self.asked.insert(offset);
        Some((offset, self.block_size(offset)))
    }

    /// Takes in the answer to the block asked at `offset`.
    pub fn answered(&mut self, offset: u32, result: Result<(), Nak>, answer: &Payload) -> ReadStep {
        self.asked.remove(&offset);
        match result {
            Ok(()) => self.received(offset, answer.data().len()),
            Err(Nak::Eof) if self.made_up => {
                self.ends_at(offset);
                ReadStep::Nothing
            }
            // Within a trusted size, the end of the file means another file or a lost session, and
            // so does every other refusal: servers say it with 1, 4, 8 or 10.
            Err(nak) => self.refused(offset, nak),
        }
    }

    /// The request for the block at `offset` is gone without an answer.
    pub fn forgotten(&mut self, offset: u32) {
        if self.asked.remove(&offset) {
            self.wanted_again.insert(offset);
        }
    }

    fn block_size(&self, offset: u32) -> u8 {
        let rest = if self.made_up { u32::MAX } else { self.end.saturating_sub(offset) };
        rest.min(DATA_BYTES_MAX as u32) as u8
    }

    fn received(&mut self, offset: u32, count: usize) -> ReadStep {
        let wanted = usize::from(self.block_size(offset));
        if count == 0 {
            return self.refused(offset, Nak::Eof);
        }
        self.reopenings = 0;
        if count < wanted {
            let rest = offset.saturating_add(count as u32);
            if self.made_up {
                self.ends_at(rest);
            } else {
                // Cut into blocks anew from here; the part asked next may be larger than the hole
                // and is then delivered twice, which the receiver allows.
                self.wanted_again.insert(rest);
            }
        }
        let room = self.end.saturating_sub(offset) as usize;
        ReadStep::Data(count.min(wanted).min(room))
    }

    fn ends_at(&mut self, offset: u32) {
        self.end = self.end.min(offset.max(self.start));
        self.size = Some(self.end);
        let end = self.end;
        self.wanted_again.retain(|&wanted| wanted < end);
        self.next = self.next.min(end);
    }

    fn refused(&mut self, offset: u32, nak: Nak) -> ReadStep {
        self.wanted_again.insert(offset);
        self.reopenings += 1;
        match self.reopenings > REOPENINGS_MAX {
            false => ReadStep::SessionLost,
            true if nak == Nak::Eof => ReadStep::Failed(Error::Changed),
            true => ReadStep::Failed(Error::Refused(nak)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mavftp::wire::Opcode;

    fn data(count: usize) -> Payload {
        Payload::request(Opcode::Ack).with_data(&vec![1; count])
    }

    fn opened(start: u32, length: u32, size: u32) -> ReadJob {
        let mut job = ReadJob::new(b"/a".to_vec(), start, length);
        job.opened(size).unwrap();
        job
    }

    #[test]
    fn a_range_is_cut_into_blocks_and_at_the_end_of_the_file() {
        let mut job = opened(100, 1000, 600);
        assert_eq!(job.ask(), Some((100, 239)));
        assert_eq!(job.ask(), Some((339, 239)));
        assert_eq!(job.ask(), Some((578, 22)));
        assert_eq!(job.ask(), None);
        assert!(!job.is_complete());
        for (offset, count) in [(578, 22), (100, 239), (339, 239)] {
            assert_eq!(job.answered(offset, Ok(()), &data(count)), ReadStep::Data(count));
        }
        assert!(job.is_complete());
    }

    #[test]
    fn a_short_answer_before_the_end_is_asked_on_from_there() {
        let mut job = opened(0, 239, 1000);
        assert_eq!(job.ask(), Some((0, 239)));
        assert_eq!(job.answered(0, Ok(()), &data(100)), ReadStep::Data(100));
        assert_eq!(job.ask(), Some((100, 139)));
    }

    #[test]
    fn an_empty_file_or_a_range_behind_the_end_needs_no_request() {
        assert!(opened(0, 100, 0).is_complete());
        assert!(opened(500, 100, 400).is_complete());
    }

    #[test]
    fn a_lost_session_asks_again_and_gives_up_when_nothing_comes() {
        let mut job = opened(0, 239, 239);
        for _ in 0..REOPENINGS_MAX {
            assert_eq!(job.ask(), Some((0, 239)));
            assert_eq!(job.answered(0, Err(Nak::InvalidSession), &data(0)), ReadStep::SessionLost);
            job.opened(239).unwrap();
        }
        job.ask();
        let step = job.answered(0, Err(Nak::FileNotFound), &data(0));
        assert_eq!(step, ReadStep::Failed(Error::Refused(Nak::FileNotFound)));
    }

    #[test]
    fn another_size_after_reopening_is_another_file() {
        let mut job = opened(0, 1000, 1000);
        assert_eq!(job.opened(999), Err(Error::Changed));
    }

    #[test]
    fn a_virtual_file_is_read_to_its_end_with_one_block_size() {
        let mut job = ReadJob::new(b"@SYS/threads.txt".to_vec(), 0, 100_000);
        job.opened(100_000).unwrap();
        assert_eq!(job.ask(), Some((0, 239)));
        assert_eq!(job.ask(), Some((239, 239)));
        assert_eq!(job.answered(239, Ok(()), &data(11)), ReadStep::Data(11));
        assert_eq!(job.answered(0, Ok(()), &data(239)), ReadStep::Data(239));
        assert!(job.is_complete());
        assert_eq!(job.size(), 250);
    }
}
