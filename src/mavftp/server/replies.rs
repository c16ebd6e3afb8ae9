//! Requests that a client was answered, in case they arrive again. Knows the wire, which sessions
//! are open, and the time it is given; what a request does is not its concern.
//!
//! **The rule.** A request may come twice: its client asks again because the answer was lost, or the
//! network delivers a copy, up to [`LATE_TIME`] later and after requests that were sent later. Byte
//! for byte the same is also what a client program sends that was started anew and counts from the
//! start again. So:
//!
//! * A change or an opening that is heard again, the whole of it and not its number alone, gets the
//!   old answer and is not done again: within `LATE_TIME` of when it was heard last, and within
//!   [`RETRY_TIME`] while its client may still be waiting; an opening is not waited for any more
//!   once its session was used. A refusal for want of room is tried again if nothing came after it.
//! * A write is not done again while its session is open (see `written`).
//! * What was sent before a session was opened does not concern that session (see `order`): late
//!   reads, writes and closes under its number are another file's, and a late ResetSessions closes
//!   nothing that was opened after it.
//! * A client program started anew is known by the same request after those times; by one of the
//!   first numbers after a silence; by ResetSessions under one of the very first numbers while
//!   nothing is open. What was heard under later numbers is forgotten then.
//! * If the program comes back sooner and without ResetSessions, its first requests are taken for
//!   copies. An opening answered so is done after all as soon as its session is read, or written
//!   with something new: no copy asks for that.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::order::{Counting, LATE_TIME, Mark, is_before};
use super::sessions::Sessions;
use crate::mavftp::wire::{Nak, Opcode, Payload};

/// Most answers kept.
const REPLIES_MAX: usize = 256;
/// How long a client asks again for an answer that was lost. Longer, and a client program started
/// anew that counts from the same number would be told of the last one's success.
const RETRY_TIME: Duration = Duration::from_secs(20);
/// A client program started anew begins to change things below this number.
const RESTART_NUMBERS: u16 = 16;
/// One that begins with ResetSessions does so under a number up to this.
const RESET_NUMBER_MAX: u16 = 1;

/// One client's latest answers.
#[derive(Default)]
pub(super) struct Replies {
    kept: VecDeque<Kept>,
    /// The number heard last of those that were done, and when.
    newest: Option<(u16, Instant)>,
    /// An opening that was answered as a copy though its session is closed, and that session.
    doubted: Option<(u8, Payload)>,
    /// How the client counts.
    pub(super) counting: Counting,
}

/// An answer without what its request tells; a request is told by its fingerprint.
struct Kept {
    request: u64,
    sequence: u16,
    first: Instant,
    last: Instant,
    session: u8,
    result: Result<Option<u32>, Nak>,
    /// The client has gone on: it does not wait for this any more.
    over: bool,
}

/// How a request's answer is kept.
#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Change,
    Open,
    Not,
}

impl Replies {
    /// The answer to the very same request, if it must not be done again.
    pub(super) fn again<H>(
        &mut self,
        now: Instant,
        request: &Payload,
        sessions: &Sessions<H>,
    ) -> Option<Payload> {
        let sort = sort(request);
        if sort == Sort::Not {
            return None;
        }
        let wanted = fingerprint(request);
        let at = self.kept.iter().rposition(|kept| kept.request == wanted)?;
        let newest = self.newest.is_some_and(|(newest, _)| newest == request.sequence);
        let kept = self.kept.get_mut(at)?;
        if kept.result == Err(Nak::NoSessionsAvailable) && newest {
            self.kept.remove(at);
            return None;
        }
        let awaited = match sort {
            Sort::Open => sessions.is_unused(kept.session, request.sequence),
            Sort::Change | Sort::Not => !kept.over,
        };
        if !kept.is_fresh(now, awaited) {
            self.restart(now, request.sequence);
            return None;
        }
        // Who was refused may still ask again, and that may come twice as well.
        if awaited || kept.result.is_err() {
            kept.last = now;
        }
        let answer = kept.answer(request);
        if sort == Sort::Open && kept.result.is_ok() && !sessions.is_open(kept.session) {
            self.doubted = Some((kept.session, *request));
        }
        Some(answer)
    }

    /// Takes notice of a request that is done now.
    pub(super) fn note(&mut self, now: Instant, request: &Payload) {
        let silent = |heard: Instant| now.saturating_duration_since(heard) > LATE_TIME;
        let restarted = sort(request) != Sort::Not
            && request.sequence < RESTART_NUMBERS
            && self.newest.is_some_and(|(newest, heard)| {
                silent(heard) && is_before(request.sequence, newest)
            });
        if restarted {
            self.restart(now, request.sequence);
        }
        let newest = self.newest.map_or(request.sequence, |(newest, heard)| {
            let forward = silent(heard) || !is_before(request.sequence, newest);
            if forward { request.sequence } else { newest }
        });
        self.newest = Some((newest, now));
    }

    /// Keeps an answer, if its request must not be done twice.
    pub(super) fn keep(&mut self, now: Instant, request: &Payload, answer: &Payload) {
        let result = match answer.answer() {
            Some(Ok(())) => Ok((answer.size > 0).then(|| answer.data_u32()).flatten()),
            Some(Err(nak)) => Err(nak),
            None => return,
        };
        if sort(request) == Sort::Not {
            return;
        }
        if self.kept.len() == REPLIES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept {
            request: fingerprint(request),
            sequence: request.sequence,
            first: now,
            last: now,
            session: answer.session,
            result,
            over: false,
        });
    }

    /// The client resets its sessions; `idle`: none is open any more. It waits for nothing that it
    /// asked for before.
    pub(super) fn reset(&mut self, now: Instant, sequence: u16, idle: bool) {
        let earlier = self.kept.iter_mut().filter(|kept| is_before(kept.sequence, sequence));
        earlier.for_each(|kept| kept.over = true);
        let back = self.newest.is_some_and(|(newest, _)| !is_before(newest, sequence));
        if idle && back && sequence <= RESET_NUMBER_MAX {
            self.restart(now, sequence);
        }
    }

    /// The client program was started anew and is at this number.
    fn restart(&mut self, now: Instant, sequence: u16) {
        self.kept.retain(|kept| is_before(kept.sequence, sequence));
        self.doubted = None;
        self.newest = Some((sequence, now));
    }

    /// The opening that was taken for a copy, and the session it was answered with.
    pub(super) fn doubted(&self) -> Option<(u8, Payload)> {
        self.doubted
    }

    /// What was taken for a copy was one, or was done after all.
    pub(super) fn doubt_no_more(&mut self) {
        self.doubted = None;
    }

    /// This request's place in the client's counting.
    pub(super) fn mark(&self, now: Instant, sequence: u16) -> Mark {
        self.counting.mark(now, sequence)
    }
}

impl Kept {
    fn is_fresh(&self, now: Instant, awaited: bool) -> bool {
        let age = now.saturating_duration_since(self.first);
        let rest = now.saturating_duration_since(self.last);
        (rest <= LATE_TIME && age <= RETRY_TIME + LATE_TIME) || (awaited && age <= RETRY_TIME)
    }

    fn answer(&self, request: &Payload) -> Payload {
        let request = Payload { session: self.session, ..*request };
        match self.result {
            Ok(Some(length)) => Payload::ack(&request).with_data(&length.to_le_bytes()),
            Ok(None) => Payload::ack(&request),
            Err(nak) => Payload::nak(&request, nak),
        }
    }
}

fn sort(request: &Payload) -> Sort {
    let Some(opcode) = request.command() else { return Sort::Not };
    match opcode {
        Opcode::OpenFileRo | Opcode::OpenFileWo | Opcode::CreateFile => Sort::Open,
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
        | Opcode::WriteFile
        | Opcode::BurstReadFile
        | Opcode::CalcFileCrc32
        | Opcode::Ack
        | Opcode::Nak => Sort::Not,
    }
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

    /// A client without sessions.
    #[derive(Default)]
    struct Asked(Replies);

    impl Asked {
        fn again(&mut self, now: Instant, request: &Payload) -> Option<Payload> {
            self.0.again(now, request, &Sessions::<()>::new(0))
        }

        fn keep(&mut self, now: Instant, request: &Payload) {
            self.0.note(now, request);
            self.0.keep(now, request, &Payload::ack(request));
        }
    }

    fn removal(sequence: u16, path: &[u8]) -> Payload {
        Payload { sequence, ..Payload::request(Opcode::RemoveFile) }.with_data(path)
    }

    #[test]
    fn only_the_same_request_gets_the_same_answer() {
        let now = Instant::now();
        let mut asked = Asked::default();
        let request = removal(7, b"/a");
        asked.keep(now, &request);
        assert_eq!(asked.again(now, &request), Some(Payload::ack(&request)));
        assert_eq!(asked.again(now, &removal(7, b"/b")), None);
        assert_eq!(asked.again(now, &removal(8, b"/a")), None);
        let later = now + RETRY_TIME + Duration::from_millis(1);
        assert_eq!(asked.again(later, &request), None);
    }

    #[test]
    fn no_more_than_the_last_answers_are_kept() {
        let now = Instant::now();
        let mut asked = Asked::default();
        for sequence in 0..1000 {
            asked.keep(now, &removal(sequence, b"/a"));
        }
        assert_eq!(asked.0.kept.len(), REPLIES_MAX);
        assert!(asked.again(now, &removal(999, b"/a")).is_some());
        assert!(asked.again(now, &removal(1, b"/a")).is_none());
    }

    #[test]
    fn a_client_that_counts_from_the_start_after_a_silence_is_a_new_one() {
        let now = Instant::now();
        for (silence, known) in [(Duration::ZERO, true), (LATE_TIME * 2, false)] {
            let mut asked = Asked::default();
            for sequence in [1, 2, 3] {
                asked.keep(now, &removal(sequence, &sequence.to_le_bytes()));
            }
            asked.keep(now + silence, &removal(1, b"/other"));
            let third = removal(3, &3u16.to_le_bytes());
            assert_eq!(asked.again(now + silence, &third).is_some(), known, "{silence:?}");
        }
    }

    #[test]
    fn a_request_overtaken_by_others_makes_nothing_forgotten() {
        let now = Instant::now();
        let mut asked = Asked::default();
        asked.keep(now, &removal(900, b"/a"));
        asked.keep(now + LATE_TIME * 2, &removal(899, b"/b"));
        assert!(asked.again(now + LATE_TIME * 2, &removal(900, b"/a")).is_some());
    }
}
