//! The clients a server knows: who has which sessions and answers, who may have one more session,
//! and whose burst is next. Knows nothing of what requests ask for.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

use super::order::{LATE_TIME, is_before};
use super::replies::Replies;
use super::sessions::{Mode, Session, Sessions};
use super::written::Written;
use crate::mavftp::wire::{Opcode, Payload};

/// Most clients known at once; a further one takes the place of the one not heard for longest, unless
/// all have a session in use.
pub(super) const CLIENTS_MAX: usize = 64;
/// Most open files of all clients besides the first of each, which nobody can take away.
const FURTHER_SESSIONS_MAX: usize = 128;
/// Most open files of all clients.
#[cfg(test)]
pub(super) const SESSIONS_MAX: usize = CLIENTS_MAX + FURTHER_SESSIONS_MAX;
/// Most open files of one client, so that one cannot take them all.
pub(super) const CLIENT_SESSIONS_MAX: usize = 16;

/// What is kept of one client.
pub(super) struct Client<H> {
    pub(super) sessions: Sessions<H>,
    pub(super) replies: Replies,
    heard: Instant,
    closed: Option<Closed>,
}

/// The session closed last of those that were written to.
struct Closed {
    number: u8,
    /// The number of the request that opened it.
    opened: u16,
    at: Instant,
    written: Written,
}

impl<H> Client<H> {
    /// Closes a session, for a request of this number, and remembers for a moment what was written.
    pub(super) fn terminate(&mut self, now: Instant, number: u8, sequence: u16) {
        let Some(session) = self.sessions.get(number) else { return };
        if !self.replies.counting.is_late(now, sequence, &session.opened) {
            self.close(now, number);
        }
    }

    /// Closes all sessions but those opened after this ResetSessions was sent, which comes late.
    pub(super) fn reset(&mut self, now: Instant, sequence: u16) {
        let counting = self.replies.counting;
        for number in self.sessions.numbers(|it| !counting.is_late(now, sequence, &it.opened)) {
            self.close(now, number);
        }
        self.replies.reset(now, sequence, self.sessions.len() == 0);
    }

    /// Closes a session and remembers for a moment what was written; whether it was open.
    fn close(&mut self, now: Instant, number: u8) -> bool {
        let Some(session) = self.sessions.close(number) else { return false };
        if session.mode == Mode::Write {
            let (opened, written) = (session.opened.sequence(), session.written);
            self.closed = Some(Closed { number, opened, at: now, written });
        }
        true
    }

    /// Whether this very write was done to a session of this number that was closed just now.
    pub(super) fn wrote(&self, now: Instant, request: &Payload) -> bool {
        let closed = self.closed.as_ref().filter(|closed| closed.number == request.session);
        closed.is_some_and(|closed| {
            now.saturating_duration_since(closed.at) <= LATE_TIME && closed.written.knows(request)
        })
    }

    /// The opening that was taken for a copy, if this request shows that it was none: it reads what
    /// is not open, or writes there what was not written before.
    pub(super) fn take_doubted(&mut self, request: &Payload) -> Option<(u8, Payload)> {
        let (number, open) = self.replies.doubted()?;
        // A copy from an earlier file under the same number has a smaller one.
        let meant = (request.session == number || request.session == open.session)
            && is_before(open.sequence, request.sequence);
        let new = match request.command() {
            Some(Opcode::ReadFile | Opcode::BurstReadFile) => {
                open.opcode == Opcode::OpenFileRo as u8
            }
            Some(Opcode::WriteFile) => self.closed.as_ref().is_some_and(|closed| {
                (closed.number, closed.opened) == (number, open.sequence)
                    && !closed.written.knows(request)
            }),
            _ => false,
        };
        if !new || !meant || self.sessions.is_open(self.sessions.resolve(request.session)) {
            return None;
        }
        self.replies.doubt_no_more();
        Some((number, open))
    }
}

/// Whether there is place for one more client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<C> {
    /// It is known, or not all places are taken.
    Free,
    /// This one had to go.
    Of(C),
    /// All places are in use.
    None,
}

/// All clients, by the key that tells them apart.
pub(super) struct Clients<C, H> {
    all: BTreeMap<C, Client<H>>,
    seed: u64,
    last_burst: Option<C>,
}

impl<C: Copy + Ord, H> Clients<C, H> {
    /// None yet. The seed decides which session numbers are given out first.
    pub(super) fn new(seed: u64) -> Clients<C, H> {
        Clients { all: BTreeMap::new(), seed, last_burst: None }
    }

    /// Makes place for a client that is not known. One without open files goes first, one with a
    /// session in use never: a crowd must not end the transfers of others.
    pub(super) fn make_place(&mut self, now: Instant, from: C) -> Place<C> {
        if self.all.contains_key(&from) || self.all.len() < CLIENTS_MAX {
            return Place::Free;
        }
        let idle = self.all.iter().filter(|(_, client)| !client.sessions.any_busy(now));
        let gone = idle.min_by_key(|(_, client)| (client.sessions.len() > 0, client.heard));
        match gone.map(|(key, _)| *key) {
            Some(gone) => {
                self.all.remove(&gone);
                Place::Of(gone)
            }
            None => Place::None,
        }
    }

    /// The client, who was just heard.
    pub(super) fn hear(&mut self, now: Instant, from: C) -> &mut Client<H> {
        let seed = &mut self.seed;
        let client = self.all.entry(from).or_insert_with(|| Client {
            sessions: Sessions::new(next_random(seed)),
            replies: Replies::default(),
            heard: now,
            closed: None,
        });
        client.heard = now;
        client
    }

    /// Makes room for one more session, under the number asked for: what the client had open there
    /// is closed (it begins anew), and an idle session where all are taken. Whether there is room.
    pub(super) fn make_room(&mut self, now: Instant, from: C, asked: u8) -> bool {
        let Some(client) = self.all.get_mut(&from) else { return false };
        client.close(now, client.sessions.resolve(asked));
        if client.sessions.len() >= CLIENT_SESSIONS_MAX {
            match client.sessions.most_idle(now) {
                Some((_, number)) => client.close(now, number),
                None => return false,
            };
        }
        let first = client.sessions.len() == 0;
        first || self.further_sessions() < FURTHER_SESSIONS_MAX || self.close_most_idle(now)
    }

    fn further_sessions(&self) -> usize {
        self.all.values().map(|client| client.sessions.len().saturating_sub(1)).sum()
    }

    fn close_most_idle(&mut self, now: Instant) -> bool {
        let idle = self.all.values_mut().filter_map(|client| {
            let further = client.sessions.len() > 1;
            let (used, number) = client.sessions.most_idle(now).filter(|_| further)?;
            Some((used, number, client))
        });
        match idle.min_by_key(|(used, number, _)| (*used, *number)) {
            Some((_, number, client)) => client.close(now, number),
            None => false,
        }
    }

    /// Open sessions of all clients.
    pub(super) fn sessions(&self) -> usize {
        self.all.values().map(|client| client.sessions.len()).sum()
    }

    /// Whether any client's session is in use.
    pub(super) fn any_busy(&self, now: Instant) -> bool {
        self.all.values().any(|client| client.sessions.any_busy(now))
    }

    /// Whether any session sends a burst.
    pub(super) fn any_burst(&self) -> bool {
        self.all.values().any(|client| client.sessions.any_burst())
    }

    /// The session whose burst is next: clients take turns, and so do the sessions of each.
    pub(super) fn next_burst(&mut self) -> Option<(C, &mut Session<H>)> {
        let after = match self.last_burst {
            Some(last) => (Bound::Excluded(last), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let key = *self
            .all
            .range(after)
            .chain(self.all.iter())
            .find(|(_, client)| client.sessions.any_burst())?
            .0;
        self.last_burst = Some(key);
        let session = self.all.get_mut(&key)?.sessions.next_burst()?;
        Some((key, session))
    }

    /// Forgets all clients.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }
}

fn next_random(seed: &mut u64) -> u8 {
    // Knuth's MMIX generator; the high bits are the good ones.
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mavftp::server::sessions::IDLE_TIME;
    use std::time::Duration;

    fn open(clients: &mut Clients<u8, ()>, now: Instant, from: u8, number: u8) -> bool {
        clients.hear(now, from);
        let room = clients.make_room(now, from, number);
        if room {
            let client = clients.hear(now, from);
            let opened = client.replies.mark(now, 0);
            client.sessions.insert(number, Session::new((), Mode::Read, now, opened));
        }
        room
    }

    #[test]
    fn one_client_cannot_take_all_sessions() {
        let now = Instant::now();
        let mut clients = Clients::new(0);
        let opened = (1..=100).filter(|number| open(&mut clients, now, 1, *number)).count();
        assert_eq!(opened, CLIENT_SESSIONS_MAX);
        assert!(open(&mut clients, now, 2, 1));
    }

    #[test]
    fn an_idle_session_gives_way_only_when_all_are_taken() {
        let start = Instant::now();
        let mut clients = Clients::new(0);
        let greedy = 8;
        for from in 0..greedy {
            for number in 1..=CLIENT_SESSIONS_MAX as u8 {
                assert!(open(&mut clients, start, from, number));
            }
        }
        for number in 1..=9 {
            assert!(open(&mut clients, start, greedy, number));
        }
        assert_eq!(clients.further_sessions(), FURTHER_SESSIONS_MAX);
        assert!(!open(&mut clients, start + IDLE_TIME, greedy, 10));
        let before = clients.sessions();
        assert!(open(&mut clients, start + IDLE_TIME + Duration::from_millis(1), greedy, 10));
        assert_eq!(clients.sessions(), before);
    }

    #[test]
    fn every_client_has_one_session_whatever_the_others_took() {
        let now = Instant::now();
        let mut clients = Clients::new(0);
        for from in 0..CLIENTS_MAX as u8 {
            for number in 1..=CLIENT_SESSIONS_MAX as u8 {
                let opened = open(&mut clients, now, from, number);
                assert!(opened || number > 1, "client {from}");
            }
        }
        assert_eq!(clients.sessions(), SESSIONS_MAX);
    }

    #[test]
    fn a_further_client_takes_the_place_of_the_longest_silent_one() {
        let start = Instant::now();
        let mut clients: Clients<u8, ()> = Clients::new(0);
        assert!(open(&mut clients, start, 0, 1));
        for from in 1..CLIENTS_MAX as u8 {
            clients.hear(start + Duration::from_secs(u64::from(from)), from);
        }
        let now = start + Duration::from_secs(60);
        assert_eq!(clients.make_place(now, 5), Place::Free, "who is known needs no place");
        assert_eq!(
            clients.make_place(now, 200),
            Place::Of(1),
            "0 was silent for longer, but has a file open"
        );
    }

    #[test]
    fn a_crowd_does_not_push_out_a_client_whose_session_is_in_use() {
        let start = Instant::now();
        let mut clients: Clients<u8, ()> = Clients::new(0);
        for from in 0..CLIENTS_MAX as u8 {
            assert!(open(&mut clients, start, from, 1));
        }
        assert_eq!(clients.make_place(start + IDLE_TIME, 200), Place::None);
        let later = start + IDLE_TIME + Duration::from_millis(1);
        assert_eq!(clients.make_place(later, 200), Place::Of(0));
    }
}
