//! Answers a client may ask for again because they were lost. Knows the wire and the time it is
//! given; what a request does is not its concern.
//!
//! Only answers to requests that must not be done twice are kept: reads, listings and the closing
//! of sessions can be. A sequence number alone proves nothing (clients restart at 0, some count
//! modulo 256), so the whole request must be the same.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::mavftp::wire::{Nak, Opcode, Payload};

/// Most answers kept of each sort.
const REPLIES_MAX: usize = 64;
/// How long an answer can be asked for again. Longer, and a client program started anew that
/// counts from the same number would be told of the last one's success.
const REPLY_TIME: Duration = Duration::from_secs(20);

/// One client's latest answers.
#[derive(Default)]
pub(super) struct Replies {
    changes: VecDeque<Kept>,
    // Apart, so that an upload's answers do not push out the one to a rename.
    writes: VecDeque<Kept>,
}

struct Kept {
    request: u64,
    since: Instant,
    /// The answer's session, when the answer means nothing once that is closed.
    session: Option<u8>,
    answer: Payload,
}

/// How a request's answer is kept.
#[derive(PartialEq)]
enum Sort {
    Change,
    Open,
    Write,
    Not,
}

impl Replies {
    /// The answer to the very same request, if it was given a short while ago.
    pub(super) fn again(&self, now: Instant, request: &Payload) -> Option<Payload> {
        let ring = match sort(request) {
            Sort::Change | Sort::Open => &self.changes,
            Sort::Write => &self.writes,
            Sort::Not => return None,
        };
        let wanted = fingerprint(request);
        ring.iter()
            .rev()
            .find(|kept| kept.request == wanted && kept.is_fresh(now))
            .map(|kept| kept.answer)
    }

    /// Keeps an answer, if its request must not be done twice.
    pub(super) fn keep(&mut self, now: Instant, request: &Payload, answer: &Payload) {
        let sort = sort(request);
        let ring = match sort {
            Sort::Change | Sort::Open => &mut self.changes,
            Sort::Write => &mut self.writes,
            Sort::Not => return,
        };
        // A session may be free by the time the client asks again.
        if answer.answer() == Some(Err(Nak::NoSessionsAvailable)) {
            return;
        }
        // Counting backwards is what a client program started anew does.
        let restarted =
            ring.back().is_some_and(|last| !is_newer(answer.sequence, last.answer.sequence));
        if restarted && sort != Sort::Write {
            ring.clear();
        }
        if ring.len() == REPLIES_MAX {
            ring.pop_front();
        }
        let session = (sort != Sort::Change).then_some(answer.session);
        ring.push_back(Kept {
            request: fingerprint(request),
            since: now,
            session,
            answer: *answer,
        });
    }

    /// Forgets what was answered about a session that is closed: the same request again means
    /// another file.
    pub(super) fn forget_session(&mut self, session: u8) {
        for ring in [&mut self.changes, &mut self.writes] {
            ring.retain(|kept| kept.session != Some(session));
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Replies::default();
    }
}

impl Kept {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) <= REPLY_TIME
    }
}

fn sort(request: &Payload) -> Sort {
    let Some(opcode) = request.command() else { return Sort::Not };
    match opcode {
        Opcode::OpenFileRo | Opcode::OpenFileWo | Opcode::CreateFile => Sort::Open,
        Opcode::WriteFile => Sort::Write,
        Opcode::RemoveFile
        | Opcode::CreateDirectory
        | Opcode::RemoveDirectory
        | Opcode::TruncateFile
        | Opcode::Rename => Sort::Change,
        Opcode::None
        | Opcode::TerminateSession
        | Opcode::ResetSessions
        | Opcode::ListDirectory
        | Opcode::ListDirectoryWithTime
        | Opcode::ReadFile
        | Opcode::BurstReadFile
        | Opcode::CalcFileCrc32
        | Opcode::Ack
        | Opcode::Nak => Sort::Not,
    }
}

fn is_newer(sequence: u16, than: u16) -> bool {
    (1..=u16::MAX / 2).contains(&sequence.wrapping_sub(than))
}

fn fingerprint(request: &Payload) -> u64 {
    let mut hasher = DefaultHasher::new();
    (request.sequence, request.opcode, request.session).hash(&mut hasher);
    (request.offset, request.size, request.data()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal(sequence: u16, path: &[u8]) -> Payload {
        Payload { sequence, ..Payload::request(Opcode::RemoveFile) }.with_data(path)
    }

    #[test]
    fn only_the_same_request_gets_the_same_answer() {
        let now = Instant::now();
        let mut replies = Replies::default();
        let request = removal(7, b"/a");
        replies.keep(now, &request, &Payload::ack(&request));
        assert_eq!(replies.again(now, &request), Some(Payload::ack(&request)));
        assert_eq!(replies.again(now, &removal(7, b"/b")), None);
        assert_eq!(replies.again(now, &removal(8, b"/a")), None);
        let later = now + REPLY_TIME + Duration::from_millis(1);
        assert_eq!(replies.again(later, &request), None);
    }

    #[test]
    fn no_more_than_the_last_answers_are_kept() {
        let now = Instant::now();
        let mut replies = Replies::default();
        for sequence in 0..1000 {
            let request = removal(sequence, b"/a");
            replies.keep(now, &request, &Payload::ack(&request));
        }
        assert_eq!(replies.changes.len(), REPLIES_MAX);
        assert!(replies.again(now, &removal(999, b"/a")).is_some());
        assert!(replies.again(now, &removal(1, b"/a")).is_none());
    }

    #[test]
    fn a_client_that_counts_from_the_start_again_is_a_new_one() {
        let now = Instant::now();
        let mut replies = Replies::default();
        for sequence in [1, 2, 3] {
            let request = removal(sequence, &sequence.to_le_bytes());
            replies.keep(now, &request, &Payload::ack(&request));
        }
        let request = removal(1, b"/other");
        replies.keep(now, &request, &Payload::ack(&request));
        assert_eq!(replies.again(now, &removal(3, &3u16.to_le_bytes())), None);
    }

    #[test]
    fn the_sequence_number_wraps() {
        assert!(is_newer(0, u16::MAX));
        assert!(is_newer(5, 4));
        assert!(!is_newer(4, 4));
        assert!(!is_newer(3, 4));
    }

    #[test]
    fn a_write_is_forgotten_with_its_session() {
        let now = Instant::now();
        let mut replies = Replies::default();
        let request = Payload { session: 9, ..Payload::request(Opcode::WriteFile) }.with_data(b"x");
        replies.keep(now, &request, &Payload::ack(&request));
        replies.forget_session(8);
        assert!(replies.again(now, &request).is_some());
        replies.forget_session(9);
        assert!(replies.again(now, &request).is_none());
    }
}
