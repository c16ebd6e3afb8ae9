//! One listing, page by page (protocol section "Directory entries"). Ends on NAK EOF; tolerates
//! empty pages, repeated entries, and servers that do not know the opcode with times.

use std::collections::HashSet;

use crate::mavftp::client::Error;
use crate::mavftp::wire::{Nak, Opcode, Payload, WireEntry, parse_entries};

/// More entries than any vehicle holds; a server that never ends its listing is stopped here.
const ENTRIES_MAX: u32 = 65_536;
/// Entries that cannot be sent (PX4 answers an empty page for a name that does not fit) are stepped
/// over; so many in a row mean that the server never says EOF.
const EMPTY_PAGES_MAX: u32 = 8;

/// A listing under way.
#[derive(Debug)]
pub struct ListJob {
    /// The directory, as the server knows it.
    pub path: Vec<u8>,
    with_time: bool,
    offset: u32,
    empty_pages: u32,
    asked: bool,
    seen: HashSet<Vec<u8>>,
    unreadable: u32,
}

/// What an answer to a page request means.
#[derive(Debug, PartialEq, Eq)]
pub enum ListStep {
    /// New entries, and more may follow.
    Page(Vec<WireEntry>),
    /// The end.
    Done,
    /// The server refused the opcode with times; the job goes on with the plain one.
    WithoutTime,
    /// The listing cannot go on.
    Failed(Error),
}

impl ListJob {
    /// A listing; `with_time` asks for modification times.
    pub fn new(path: Vec<u8>, with_time: bool) -> ListJob {
        ListJob {
            path,
            with_time,
            offset: 0,
            empty_pages: 0,
            asked: false,
            seen: HashSet::new(),
            unreadable: 0,
        }
    }

    /// The next page's request, when none is on its way.
    pub fn ask(&mut self) -> Option<Payload> {
        if self.asked {
            return None;
        }
        self.asked = true;
        let opcode =
            if self.with_time { Opcode::ListDirectoryWithTime } else { Opcode::ListDirectory };
        Some(Payload { offset: self.offset, ..Payload::request(opcode).with_data(&self.path) })
    }

    /// Whether the pages carry times.
    pub fn has_time(&self) -> bool {
        self.with_time
    }

    /// Entries that could not be read or shown.
    pub fn unreadable(&self) -> u32 {
        self.unreadable
    }

    /// The request on its way is void; it will be asked for again.
    pub fn unask(&mut self) {
        self.asked = false;
    }

    /// Whether the first page is asked for with the opcode that some servers pass over in silence.
    pub fn may_be_unheard(&self) -> bool {
        self.with_time && self.asked && self.offset == 0
    }

    /// Goes on with the plain opcode from the beginning.
    pub fn fall_back(&mut self) {
        self.with_time = false;
        self.asked = false;
        self.offset = 0;
    }

    /// Takes in the answer to the page request.
    pub fn answered(&mut self, result: Result<(), Nak>, answer: &Payload) -> ListStep {
        self.asked = false;
        match result {
            Ok(()) => self.page(answer.data()),
            Err(Nak::Eof) => ListStep::Done,
            // ArduPilot answers an unknown opcode with Fail; so does any server to what is really
            // wrong, and then the plain opcode says so. PX4 may name an old error instead.
            Err(Nak::UnknownCommand | Nak::Fail | Nak::FileExists)
                if self.with_time && self.offset == 0 =>
            {
                self.fall_back();
                ListStep::WithoutTime
            }
            // PX4 names an old error until something else goes wrong; a listing that is refused because
            // of its directory does, so that this is its end.
            Err(Nak::FileExists) => ListStep::Done,
            Err(nak) => ListStep::Failed(Error::Refused(nak)),
        }
    }

    fn page(&mut self, data: &[u8]) -> ListStep {
        let mut listed = parse_entries(data, self.with_time);
        self.unreadable += listed.unreadable;
        if listed.count == 0 {
            self.empty_pages += 1;
            self.offset += 1;
            let over = self.empty_pages >= EMPTY_PAGES_MAX;
            return if over { ListStep::Done } else { ListStep::Page(Vec::new()) };
        }
        self.empty_pages = 0;
        self.offset += listed.count;
        if self.offset > ENTRIES_MAX {
            return ListStep::Failed(Error::Endless);
        }
        // Pages overlap where a server counts entries it does not send, or the directory changed.
        listed.entries.retain(|entry| self.seen.insert(entry.name.clone()));
        ListStep::Page(listed.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &[u8]) -> Payload {
        Payload::request(Opcode::Ack).with_data(text)
    }

    fn names(step: ListStep) -> Vec<String> {
        match step {
            ListStep::Page(entries) => entries
                .into_iter()
                .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_follow_one_another_and_repeats_are_left_out() {
        let mut job = ListJob::new(b"/".to_vec(), false);
        assert_eq!(job.ask().unwrap().offset, 0);
        assert_eq!(job.ask(), None, "one page at a time");
        assert_eq!(names(job.answered(Ok(()), &page(b"Fa\t1\0S\0Fb\t2\0"))), ["a", "b"]);
        assert_eq!(job.ask().unwrap().offset, 3);
        assert_eq!(names(job.answered(Ok(()), &page(b"Fb\t2\0Fc\t3\0"))), ["c"]);
        assert_eq!(job.answered(Err(Nak::Eof), &page(b"")), ListStep::Done);
    }

    #[test]
    fn a_server_without_times_is_asked_without() {
        for nak in [Nak::UnknownCommand, Nak::Fail] {
            let mut job = ListJob::new(b"/".to_vec(), true);
            job.ask();
            assert_eq!(job.answered(Err(nak), &page(b"")), ListStep::WithoutTime);
            assert_eq!(job.ask().unwrap().opcode, Opcode::ListDirectory as u8);
            let failed = job.answered(Err(nak), &page(b""));
            assert_eq!(failed, ListStep::Failed(Error::Refused(nak)));
        }
    }

    #[test]
    fn an_entry_that_cannot_be_sent_is_stepped_over() {
        let mut job = ListJob::new(b"/".to_vec(), false);
        job.ask();
        assert!(names(job.answered(Ok(()), &page(b""))).is_empty());
        assert_eq!(job.ask().unwrap().offset, 1);
        assert_eq!(names(job.answered(Ok(()), &page(b"Fa\t1\0"))), ["a"]);
        for _ in 1..EMPTY_PAGES_MAX {
            job.ask();
            assert!(names(job.answered(Ok(()), &page(b""))).is_empty());
        }
        job.ask();
        assert_eq!(job.answered(Ok(()), &page(b"")), ListStep::Done, "so many mean the end");
    }

    #[test]
    fn a_listing_without_end_is_stopped() {
        let mut job = ListJob::new(b"/".to_vec(), false);
        let full = b"Fa\t1\0".repeat(40);
        let last = std::iter::from_fn(|| {
            job.ask()?;
            Some(job.answered(Ok(()), &page(&full)))
        })
        .find(|step| !matches!(step, ListStep::Page(_)));
        assert_eq!(last, Some(ListStep::Failed(Error::Endless)));
    }
}
