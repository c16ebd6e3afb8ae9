//! One client's open files. Knows open files, bursts and the time it is given, not the wire's
//! requests. A session belongs to its client: another client's session of the same number is
//! another one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::burst::Burst;
use super::order::Mark;
use super::written::Written;

/// A session unused for so long may be taken by who needs one. Burst packets are use.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(30);

/// What a session was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    Write,
}

/// An open file.
pub(super) struct Session<H> {
    pub(super) file: H,
    pub(super) mode: Mode,
    /// When it was opened, and by which request.
    pub(super) opened: Mark,
    pub(super) used: Instant,
    /// A request named it: its client has got the answer to the opening.
    pub(super) touched: bool,
    pub(super) burst: Option<Burst>,
    pub(super) written: Written,
}

impl<H> Session<H> {
    /// A file just opened.
    pub(super) fn new(file: H, mode: Mode, now: Instant, opened: Mark) -> Session<H> {
        let written = Written::default();
        Session { file, mode, opened, used: now, touched: false, burst: None, written }
    }
}

/// The sessions of one client.
pub(super) struct Sessions<H> {
    open: BTreeMap<u8, Session<H>>,
    /// The session of a client that asks with number 0, which stands for "any".
    unnumbered: Option<u8>,
    last_given: u8,
    last_burst: u8,
}

impl<H> Sessions<H> {
    /// No sessions; numbers given out begin after `first`.
    pub(super) fn new(first: u8) -> Sessions<H> {
        Sessions { open: BTreeMap::new(), unnumbered: None, last_given: first, last_burst: 0 }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The number that a request means: 0 stands for the session opened with 0.
    pub(super) fn resolve(&self, asked: u8) -> u8 {
        if asked == 0 { self.unnumbered.unwrap_or(0) } else { asked }
    }

    /// An open session by its resolved number.
    pub(super) fn get_mut(&mut self, number: u8) -> Option<&mut Session<H>> {
        self.open.get_mut(&number)
    }

    /// An open session by its resolved number, to look at.
    pub(super) fn get(&self, number: u8) -> Option<&Session<H>> {
        self.open.get(&number)
    }

    /// Whether a file is open there.
    pub(super) fn is_open(&self, number: u8) -> bool {
        self.open.contains_key(&number)
    }

    /// Whether a file is open there by the request of this number, and none has named it since.
    pub(super) fn is_unused(&self, number: u8, sequence: u16) -> bool {
        let session = self.open.get(&number);
        session.is_some_and(|open| !open.touched && open.opened.sequence() == sequence)
    }

    /// From now on 0 stands for this session, if it stands for none.
    pub(super) fn name_by_0(&mut self, number: u8) {
        self.unnumbered.get_or_insert(number);
    }

    /// Opens a session: under the number the client asked for, or under one given to it, which
    /// differs from the last so that late packets of the old file are not taken for the new one's.
    /// Whatever was open there must have been closed.
    pub(super) fn insert(&mut self, asked: u8, session: Session<H>) -> u8 {
        let number = if asked == 0 { self.give() } else { asked };
        if asked == 0 {
            self.unnumbered = Some(number);
        }
        self.open.insert(number, session);
        number
    }

    fn give(&mut self) -> u8 {
        let after = (1..=u8::MAX).map(|step| self.last_given.wrapping_add(step));
        let free = after.into_iter().find(|number| *number != 0 && !self.open.contains_key(number));
        self.last_given = free.unwrap_or(1);
        self.last_given
    }

    /// Closes a session; what was open.
    pub(super) fn close(&mut self, number: u8) -> Option<Session<H>> {
        if self.unnumbered == Some(number) {
            self.unnumbered = None;
        }
        self.open.remove(&number)
    }

    /// Numbers of sessions of which that is true.
    pub(super) fn numbers(&self, which: impl Fn(&Session<H>) -> bool) -> Vec<u8> {
        self.open.iter().filter(|(_, session)| which(session)).map(|(number, _)| *number).collect()
    }

    /// The session unused for longest, when it is idle.
    pub(super) fn most_idle(&self, now: Instant) -> Option<(Instant, u8)> {
        self.open
            .iter()
            .map(|(number, session)| (session.used, *number))
            .min()
            .filter(|(used, _)| now.saturating_duration_since(*used) > IDLE_TIME)
    }

    /// Whether any session is in use.
    pub(super) fn any_busy(&self, now: Instant) -> bool {
        self.open.values().any(|session| now.saturating_duration_since(session.used) <= IDLE_TIME)
    }

    /// Whether any session sends a burst.
    pub(super) fn any_burst(&self) -> bool {
        self.open.values().any(|session| session.burst.is_some())
    }

    /// The session whose burst is next, in turns.
    pub(super) fn next_burst(&mut self) -> Option<&mut Session<H>> {
        let bursting = |(_, session): &(&u8, &Session<H>)| session.burst.is_some();
        let later = self.open.range(self.last_burst..).skip_while(|(n, _)| **n == self.last_burst);
        let number = *later.chain(self.open.iter()).find(bursting)?.0;
        self.last_burst = number;
        self.open.get_mut(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::Counting;
    use super::*;

    fn session() -> Session<()> {
        let now = Instant::now();
        Session::new((), Mode::Read, now, Counting::default().mark(now, 0))
    }

    #[test]
    fn a_clients_own_number_is_kept() {
        let mut sessions = Sessions::new(0);
        assert_eq!(sessions.insert(77, session()), 77);
        assert_eq!(sessions.resolve(0), 0, "77 was not opened with 0");
    }

    #[test]
    fn who_asks_with_0_is_given_a_fresh_number_each_time() {
        let mut sessions = Sessions::new(254);
        let first = sessions.insert(0, session());
        assert_eq!((first, sessions.resolve(0)), (255, 255));
        assert!(sessions.close(first).is_some());
        assert_eq!(sessions.insert(0, session()), 1);
    }

    #[test]
    fn a_taken_number_is_not_given() {
        let mut sessions = Sessions::new(4);
        sessions.insert(5, session());
        assert_eq!(sessions.insert(0, session()), 6);
    }

    #[test]
    fn bursts_take_turns() {
        let mut sessions = Sessions::new(0);
        for number in [3, 7, 9] {
            sessions.insert(number, session());
        }
        for number in [3, 9] {
            let request =
                crate::mavftp::wire::Payload::request(crate::mavftp::wire::Opcode::BurstReadFile);
            let (now, mark) = (Instant::now(), session().opened);
            sessions.get_mut(number).unwrap().burst = Some(Burst::new(now, request, mark));
        }
        let turns: Vec<u8> = (0..4)
            .map(|_| {
                sessions.next_burst().unwrap();
                sessions.last_burst
            })
            .collect();
        assert_eq!(turns, [3, 9, 3, 9]);
    }
}
