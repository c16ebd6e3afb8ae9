//! Requests that wait to be done: clients take turns, so that a flood of one makes nobody else wait.
//! Knows the wire only.

use std::collections::{BTreeMap, VecDeque};

use crate::mavftp::wire::{Opcode, Payload};

/// Most requests of one client that wait; further ones are dropped, as a full queue drops them.
pub(super) const CLIENT_REQUESTS_MAX: usize = 1024;
/// With so many waiting, a client has no more than its share.
const REQUESTS_MAX: usize = 2048;
const SHARE: usize = 32;
/// What looking a folder through costs beside reading a block …
const LISTING_COST: u32 = 64;
/// … and changing the disk.
const CHANGE_COST: u32 = 8;

/// All requests that wait.
pub(super) struct Inbox<C> {
    waiting: BTreeMap<C, VecDeque<Payload>>,
    /// Clients with requests, whose turn is next first.
    turns: VecDeque<C>,
    count: usize,
}

impl<C: Copy + Ord> Inbox<C> {
    /// Nothing yet.
    pub(super) fn new() -> Inbox<C> {
        Inbox { waiting: BTreeMap::new(), turns: VecDeque::new(), count: 0 }
    }

    /// Puts a request where it waits, or drops it.
    pub(super) fn put(&mut self, from: C, request: &Payload) {
        let full = self.count >= REQUESTS_MAX;
        let own = self.waiting.entry(from).or_default();
        if own.len() >= if full { SHARE } else { CLIENT_REQUESTS_MAX } {
            return;
        }
        if own.is_empty() {
            self.turns.push_back(from);
        }
        own.push_back(*request);
        self.count += 1;
    }

    /// The next request.
    pub(super) fn take(&mut self) -> Option<(C, Payload)> {
        loop {
            let from = self.turns.pop_front()?;
            let Some(own) = self.waiting.get_mut(&from) else { continue };
            let Some(request) = own.pop_front() else { continue };
            self.count -= 1;
            if own.is_empty() {
                self.waiting.remove(&from);
            } else {
                self.turns.push_back(from);
            }
            return Some((from, request));
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Drops a client's.
    pub(super) fn forget(&mut self, client: C) {
        if let Some(own) = self.waiting.remove(&client) {
            self.count -= own.len();
            self.turns.retain(|turn| *turn != client);
        }
    }
}

/// What a request costs, as many blocks read.
pub(super) fn cost(request: &Payload) -> u32 {
    let Some(opcode) = request.command() else { return 1 };
    match opcode {
        Opcode::ListDirectory | Opcode::ListDirectoryWithTime if request.offset == 0 => {
            LISTING_COST
        }
        Opcode::OpenFileRo
        | Opcode::OpenFileWo
        | Opcode::CreateFile
        | Opcode::RemoveFile
        | Opcode::CreateDirectory
        | Opcode::RemoveDirectory
        | Opcode::TruncateFile
        | Opcode::Rename
        | Opcode::CalcFileCrc32 => CHANGE_COST,
        Opcode::None
        | Opcode::TerminateSession
        | Opcode::ResetSessions
        | Opcode::ListDirectory
        | Opcode::ListDirectoryWithTime
        | Opcode::ReadFile
        | Opcode::WriteFile
        | Opcode::BurstReadFile
        | Opcode::Ack
        | Opcode::Nak => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sequence: u16) -> Payload {
        Payload { sequence, ..Payload::request(Opcode::None) }
    }

    #[test]
    fn clients_take_turns_and_each_keeps_its_order() {
        let mut inbox = Inbox::new();
        for sequence in 0..3 {
            inbox.put(1, &request(sequence));
        }
        inbox.put(2, &request(0));
        let order: Vec<(u8, u16)> = std::iter::from_fn(|| inbox.take())
            .map(|(from, request)| (from, request.sequence))
            .collect();
        assert_eq!(order, [(1, 0), (2, 0), (1, 1), (1, 2)]);
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_crowd_that_fills_it_leaves_everybody_a_share() {
        let mut inbox = Inbox::new();
        for from in 0..4 {
            (0..5000).for_each(|sequence| inbox.put(from, &request(sequence)));
        }
        assert!(inbox.count <= REQUESTS_MAX + 4 * SHARE);
        (0..5000).for_each(|sequence| inbox.put(9, &request(sequence)));
        assert_eq!(inbox.waiting[&9].len(), SHARE);
        inbox.forget(0);
        assert_eq!(std::iter::from_fn(|| inbox.take()).count(), 1024 + 3 * 32);
    }
}
