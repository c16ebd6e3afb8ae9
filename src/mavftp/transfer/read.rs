//! One ranged read (protocol section "Read engine"): which of its bytes are still to be asked for.
//!
//! What a lost session or a lost request leaves behind is wanted again; what a burst brings is not
//! asked for. Nothing is asked beyond the size that the Open answer gave: one server's session does
//! not survive a read past the end.

use std::ops::Range;

use super::Ranges;
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
    /// What is wanted and not on its way by a request of its own.
    missing: Ranges,
    /// Requests on their way.
    asked: usize,
    reopenings: u32,
    known: Known,
    /// The file must be opened anew before this begins.
    anew: bool,
    /// Bytes of it have come.
    begun: bool,
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
    /// These bytes of the answer's data belong to the range.
    Data(Range<usize>),
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
        let end = start.saturating_add(length);
        ReadJob {
            made_up: is_made_up(&path),
            path,
            start,
            end,
            size: None,
            missing: Ranges::one(start, end),
            asked: 0,
            reopenings: 0,
            known: Known::Nothing,
            anew: false,
            begun: false,
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
            // What was made for an earlier opening is old.
            Known::Nothing => self.made_up,
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
            // It was made anew for this opening.
            Some(_) if self.made_up && self.begun => return Err(Error::Changed),
            Some(_) => {}
            None => {
                self.size = Some(size);
                self.end = self.end.min(size);
                self.missing.remove(self.end, u32::MAX);
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
        self.size.is_some() && self.missing.is_empty() && self.asked == 0
    }

    /// Whether nothing of it is on its way.
    pub fn is_idle(&self) -> bool {
        self.asked == 0
    }

    /// Whether there is a block to ask for.
    pub fn wants(&self) -> bool {
        self.size.is_none() || !self.missing.is_empty()
    }

    /// Whether the file's size is worth nothing, so that it has to be read to its end.
    pub fn is_made_up(&self) -> bool {
        self.made_up
    }

    /// What is wanted from `offset` on, as far as it goes in one piece.
    pub fn missing_from(&self, offset: u32) -> Option<Range<u32>> {
        self.missing.first_from(offset).map(|(start, end)| start..end)
    }

    /// Bytes wanted in a range.
    pub fn missing_within(&self, range: &Range<u32>) -> u64 {
        self.missing.bytes_from(range.start) - self.missing.bytes_from(range.end)
    }

    /// The next block to ask for, of at most `block` bytes and before `limit`: offset and size.
    pub fn ask(&mut self, block: u8, limit: u32) -> Option<(u32, u8)> {
        let block = if self.made_up { DATA_BYTES_MAX as u8 } else { block };
        let (offset, end) = self.missing.take_first(u32::from(block), limit)?;
        self.asked += 1;
        // All blocks of a made-up file have one size, also the last.
        Some((offset, if self.made_up { block } else { (end - offset) as u8 }))
    }

    /// Takes in the answer to the block of `size` bytes asked at `offset`.
    pub fn answered(
        &mut self,
        (offset, size): (u32, u8),
        result: Result<(), Nak>,
        answer: &Payload,
    ) -> ReadStep {
        self.asked = self.asked.saturating_sub(1);
        match result {
            Ok(()) => self.received(offset, size, answer.data().len()),
            Err(Nak::Eof) if self.made_up => {
                self.ends_at(offset);
                ReadStep::Nothing
            }
            // Within a trusted size, the end of the file means another file or a lost session, and
            // so does every other refusal: servers say it with 1, 4, 8 or 10.
            Err(nak) => self.refused(offset, size, nak),
        }
    }

    /// Takes in `count` bytes of a burst; answers which of them were missing.
    pub fn streamed(&mut self, offset: u32, count: usize) -> Option<Range<usize>> {
        let end = offset.saturating_add(count as u32);
        let (first, _) = self.missing.first_from(offset).filter(|(first, _)| *first < end)?;
        self.missing.remove(offset, end);
        self.reopenings = 0;
        let last = end.min(self.end);
        Some((first - offset) as usize..(last - offset) as usize)
    }

    /// The request for the block of `size` bytes at `offset` is gone without an answer.
    pub fn forgotten(&mut self, offset: u32, size: u8) {
        self.asked = self.asked.saturating_sub(1);
        self.want(offset, offset.saturating_add(u32::from(size)));
    }

    fn want(&mut self, start: u32, end: u32) {
        self.missing.insert(start, end.min(self.end));
    }

    fn received(&mut self, offset: u32, size: u8, count: usize) -> ReadStep {
        if count == 0 {
            return self.refused(offset, size, Nak::Eof);
        }
        (self.reopenings, self.begun) = (0, true);
        let end = offset.saturating_add(count as u32);
        let asked = offset.saturating_add(u32::from(size));
        match end < asked {
            true if self.made_up => self.ends_at(end),
            true => self.want(end, asked),
            // A server that sends more than it was asked for spares a question.
            false => self.missing.remove(offset, end),
        }
        ReadStep::Data(0..count.min(self.end.saturating_sub(offset) as usize))
    }

    fn ends_at(&mut self, offset: u32) {
        self.end = self.end.min(offset.max(self.start));
        self.size = Some(self.end);
        self.missing.remove(self.end, u32::MAX);
    }

    fn refused(&mut self, offset: u32, size: u8, nak: Nak) -> ReadStep {
        self.want(offset, offset.saturating_add(u32::from(size)));
        self.reopenings += 1;
        match self.reopenings > REOPENINGS_MAX {
            false => ReadStep::SessionLost,
            true if nak == Nak::Eof => ReadStep::Failed(Error::Changed),
            true => ReadStep::Failed(Error::Refused(nak)),
        }
    }
}

/// Whether a file is made when it is opened, so that its size is worth nothing: ArduPilot's virtual
/// places, but for its logs, which have two names.
pub fn is_made_up(path: &[u8]) -> bool {
    path.starts_with(b"@") && !path.starts_with(b"@MAV_LOG")
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

    fn ask(job: &mut ReadJob) -> Option<(u32, u8)> {
        job.ask(239, u32::MAX)
    }

    #[test]
    fn a_range_is_cut_into_blocks_and_at_the_end_of_the_file() {
        let mut job = opened(100, 1000, 600);
        assert_eq!(ask(&mut job), Some((100, 239)));
        assert_eq!(ask(&mut job), Some((339, 239)));
        assert_eq!(ask(&mut job), Some((578, 22)));
        assert_eq!(ask(&mut job), None);
        assert!(!job.is_complete());
        for (offset, count) in [(578, 22), (100, 239), (339, 239)] {
            let step = job.answered((offset, count), Ok(()), &data(count.into()));
            assert_eq!(step, ReadStep::Data(0..count.into()));
        }
        assert!(job.is_complete());
    }

    #[test]
    fn a_short_answer_before_the_end_is_asked_on_from_there() {
        let mut job = opened(0, 239, 1000);
        assert_eq!(ask(&mut job), Some((0, 239)));
        assert_eq!(job.answered((0, 239), Ok(()), &data(100)), ReadStep::Data(0..100));
        assert_eq!(ask(&mut job), Some((100, 139)));
    }

    #[test]
    fn a_server_that_ignores_the_size_asked_for_spares_questions() {
        let mut job = opened(0, 300, 1000);
        assert_eq!(job.ask(80, u32::MAX), Some((0, 80)));
        assert_eq!(job.answered((0, 80), Ok(()), &data(239)), ReadStep::Data(0..239));
        assert_eq!(job.ask(80, u32::MAX), Some((239, 61)));
    }

    #[test]
    fn what_a_burst_brings_is_not_asked_for_and_what_it_leaves_out_is() {
        let mut job = opened(100, 1000, 5000);
        assert_eq!(job.streamed(0, 239), Some(100..239));
        assert_eq!(job.streamed(478, 239), Some(0..239));
        assert_eq!(job.streamed(478, 239), None, "it is there already");
        assert_eq!(job.streamed(956, 239), Some(0..144), "the range ends before");
        assert_eq!(job.ask(239, 717), Some((239, 239)));
        assert_eq!(job.ask(239, 717), None, "the rest is behind the limit");
        assert_eq!(ask(&mut job), Some((717, 239)));
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
            assert_eq!(ask(&mut job), Some((0, 239)));
            let step = job.answered((0, 239), Err(Nak::InvalidSession), &data(0));
            assert_eq!(step, ReadStep::SessionLost);
            job.opened(239).unwrap();
        }
        ask(&mut job);
        let step = job.answered((0, 239), Err(Nak::FileNotFound), &data(0));
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
        assert_eq!(job.ask(80, u32::MAX), Some((0, 239)));
        assert_eq!(ask(&mut job), Some((239, 239)));
        assert_eq!(job.answered((239, 239), Ok(()), &data(11)), ReadStep::Data(0..11));
        assert_eq!(job.answered((0, 239), Ok(()), &data(239)), ReadStep::Data(0..239));
        assert!(job.is_complete());
        assert_eq!(job.size(), 250);
    }

    #[test]
    fn a_virtual_file_is_never_put_together_from_two_openings() {
        let mut job = ReadJob::new(b"@SYS/tasks.txt".to_vec(), 0, 100_000);
        assert!(!job.accepts(100_000), "what is open was made earlier");
        job.opened(100_000).unwrap();
        job.opened(100_000).unwrap();
        ask(&mut job);
        job.answered((0, 239), Ok(()), &data(239));
        assert_eq!(job.opened(100_000), Err(Error::Changed));
    }
}
