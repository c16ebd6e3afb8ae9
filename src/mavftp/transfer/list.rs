//! One listing, page by page (protocol section "Directory entries"). Ends on NAK EOF; tolerates
//! empty pages, repeated entries, and servers that do not know the opcode with times. Pages are asked
//! for ahead where the ones before are guessed to end; entries are handed on in their order.
//!
//! Servers count entries anew for each page. While a directory changes, nothing is named twice; what
//! a removal moves to a page that was read before is missed, as it is one page at a time; and what a
//! newcomer moves is missed too, if the page behind was read before the one in front, because a
//! request was lost. The next listing shows it.

use std::collections::{BTreeMap, HashSet};

use crate::mavftp::client::Error;
use crate::mavftp::wire::{Listed, Nak, Opcode, Payload, WireEntry, parse_entries};

use super::ahead::{Ahead, Traffic};

/// More entries than any vehicle holds; a server that never ends its listing is stopped here.
const ENTRIES_MAX: u32 = 65_536;
/// Entries that cannot be sent (PX4 answers an empty page for a name that does not fit) are stepped
/// over; so many in a row mean that the server never says EOF.
const EMPTY_PAGES_MAX: u32 = 8;
/// Pages on their way, and pages that wait for one that is missing, at most.
const PAGES_KEPT_MAX: usize = 64;

/// A listing under way.
#[derive(Debug)]
pub struct ListJob {
    /// The directory, as the server knows it.
    pub path: Vec<u8>,
    with_time: bool,
    /// The entries before this one have been handed on.
    next: u32,
    /// Pages on their way by their first entry: the one behind their last, by guess.
    asked: BTreeMap<u32, u32>,
    /// Pages that came before those in front of them.
    early: BTreeMap<u32, Listed>,
    /// The least entry that was said to be behind the end. Believed when all before it is known.
    end: Option<u32>,
    /// The least entry whose page was refused ahead of its turn; it is asked for again in its turn.
    refused: Option<u32>,
    ahead: Ahead,
    empty_pages: u32,
    seen: HashSet<Vec<u8>>,
    unreadable: u32,
}

/// What an answer to a page request means.
#[derive(Debug, PartialEq, Eq)]
pub enum ListStep {
    /// New entries, or none where they repeat, and more may follow.
    Page(Vec<WireEntry>),
    /// A page that has to wait for those before it.
    Early,
    /// The end, and the entries before it.
    Done(Vec<WireEntry>),
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
            next: 0,
            asked: BTreeMap::new(),
            early: BTreeMap::new(),
            end: None,
            refused: None,
            ahead: Ahead::default(),
            empty_pages: 0,
            seen: HashSet::new(),
            unreadable: 0,
        }
    }

    /// The next page's first entry and request, when one may leave.
    pub fn ask(&mut self) -> Option<(u32, Payload)> {
        if self.asked.len() > self.ahead.pages() {
            return None;
        }
        let offset = self.first_missing()?;
        if offset > self.next && self.asked.len() + self.early.len() >= PAGES_KEPT_MAX {
            return None;
        }
        self.asked.insert(offset, offset.saturating_add(self.ahead.stride()));
        let opcode =
            if self.with_time { Opcode::ListDirectoryWithTime } else { Opcode::ListDirectory };
        Some((offset, Payload { offset, ..Payload::request(opcode).with_data(&self.path) }))
    }

    /// Whether the pages carry times.
    pub fn has_time(&self) -> bool {
        self.with_time
    }

    /// Entries that could not be read or shown.
    pub fn unreadable(&self) -> u32 {
        self.unreadable
    }

    /// The request for the page at `offset` is void; it will be asked for again.
    pub fn unask(&mut self, offset: u32) {
        self.asked.remove(&offset);
    }

    /// Whether nothing but the first page has been asked for, with the opcode that some servers pass
    /// over in silence.
    pub fn may_be_unheard(&self) -> bool {
        self.with_time && self.next == 0
    }

    /// Begins again with times, if nothing has come yet; whether it does.
    pub fn begin_anew(&mut self) -> bool {
        let untouched = self.next == 0 && self.early.is_empty();
        if untouched {
            self.with_time = true;
            self.asked.clear();
        }
        untouched
    }

    /// Goes on with the plain opcode from the beginning.
    pub fn fall_back(&mut self) {
        self.with_time = false;
        self.asked.clear();
    }

    /// Takes in the answer to the request for the page at `offset`.
    pub fn answered(
        &mut self,
        offset: u32,
        result: Result<(), Nak>,
        answer: &Payload,
        traffic: Traffic,
    ) -> ListStep {
        self.asked.remove(&offset);
        match result {
            Ok(()) => self.page(offset, answer.data(), traffic),
            // ArduPilot answers an unknown opcode with Fail; so does any server to what is really
            // wrong, and then the plain opcode says so. PX4 may name an old error instead.
            Err(Nak::UnknownCommand | Nak::Fail | Nak::FileExists) if self.may_be_unheard() => {
                self.fall_back();
                ListStep::WithoutTime
            }
            // PX4 names an old error until something else goes wrong; a listing that is refused because
            // of its directory does, so that this is its end.
            Err(Nak::Eof | Nak::FileExists) => {
                self.end = Some(self.end.map_or(offset, |end| end.min(offset)));
                self.step(Vec::new())
            }
            Err(nak) if offset == self.next => ListStep::Failed(Error::Refused(nak)),
            Err(_) => {
                self.refused = Some(self.refused.map_or(offset, |refused| refused.min(offset)));
                self.ahead.stop();
                self.step(Vec::new())
            }
        }
    }

    /// The first entry that is neither known nor expected in a page on its way.
    fn first_missing(&self) -> Option<u32> {
        let mut at = self.next;
        loop {
            let known = self.early.range(..=at).map(|(from, page)| page_end(*from, page));
            let expected = self.asked.range(..=at).map(|(_, to)| *to);
            match known.chain(expected).max() {
                Some(to) if to > at => at = to,
                Some(_) | None => break,
            }
        }
        let limit = [self.end, self.refused.filter(|_| at > self.next), Some(ENTRIES_MAX + 1)];
        limit.into_iter().flatten().all(|limit| at < limit).then_some(at)
    }

    fn page(&mut self, offset: u32, data: &[u8], traffic: Traffic) -> ListStep {
        let listed = parse_entries(data, self.with_time);
        self.ahead.page(listed.count, data.len(), traffic);
        self.early.insert(offset, listed);
        if offset > self.next {
            return ListStep::Early;
        }
        let mut entries = Vec::new();
        while let Some(first) = self.early.first_entry()
            && *first.key() <= self.next
            && self.end.is_none_or(|end| self.next < end)
        {
            let (from, listed) = first.remove_entry();
            self.take(from, listed, &mut entries);
        }
        self.step(entries)
    }

    /// Takes the entries of a page whose turn has come.
    fn take(&mut self, from: u32, mut listed: Listed, entries: &mut Vec<WireEntry>) {
        let gained = page_end(from, &listed).saturating_sub(self.next);
        self.next += gained;
        if listed.count == 0 {
            self.empty_pages += gained;
            if self.empty_pages >= EMPTY_PAGES_MAX {
                self.end = Some(self.next);
            }
            return;
        }
        if gained > 0 {
            self.empty_pages = 0;
        }
        self.unreadable += listed.unreadable.min(gained);
        // Pages overlap where a guess was low, a server counts entries it does not send, or the
        // directory changed.
        listed.entries.retain(|entry| self.seen.insert(entry.name.clone()));
        if gained > 0 && listed.entries.is_empty() {
            self.ahead.stop();
        }
        entries.append(&mut listed.entries);
    }

    fn step(&mut self, entries: Vec<WireEntry>) -> ListStep {
        self.refused = self.refused.filter(|refused| *refused > self.next);
        if self.end.is_some_and(|end| self.next >= end) {
            ListStep::Done(entries)
        } else if self.next > ENTRIES_MAX {
            ListStep::Failed(Error::Endless)
        } else {
            ListStep::Page(entries)
        }
    }
}

/// The entry behind a page's last. A page without any stands for one that cannot be sent.
fn page_end(from: u32, page: &Listed) -> u32 {
    from.saturating_add(page.count.max(1))
}

#[cfg(test)]
mod tests;
