//! Requests and their answers: sequence numbers, what is outstanding, what must be sent again
//! (protocol sections "Sequence numbers" and "Timeouts"). Must not know why a request is made.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::mavftp::timers::RoundTrip;
use crate::mavftp::transfer::{Departure, Window};
use crate::mavftp::wire::{Nak, Opcode, Payload};

use super::RequestId;

/// Answers to later requests after which one counts as lost, once it is late as well: servers answer
/// in order, but networks swap what is close together.
const OVERTAKEN_MAX: u8 = 3;

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A job, with a mark of its own: a byte offset for blocks.
    Job(RequestId, u32),
    /// The opening of the file that holds the session.
    Open,
    /// The closing of that file.
    Close,
}

/// A request on its way.
#[derive(Debug, Clone)]
pub struct Outstanding {
    /// Whom its answer is for.
    pub owner: Owner,
    /// How often it has been sent.
    pub tries: u32,
    /// What was sent.
    pub payload: Payload,
    /// Whether it moves a block and so counts in the window.
    pub block: bool,
    floor: Duration,
    deadline: Instant,
    sent: Instant,
    departure: Departure,
    order: u64,
    overtaken: u8,
}

/// An answer that matched.
#[derive(Debug)]
pub struct Answer {
    /// The request it answers.
    pub request: Outstanding,
    /// ACK, or the NAK's code.
    pub result: Result<(), Nak>,
    /// The answer itself.
    pub payload: Payload,
}

/// All requests towards one server.
#[derive(Debug)]
pub struct Exchange {
    next: u16,
    order: u64,
    outstanding: BTreeMap<u16, Outstanding>,
    round_trip: RoundTrip,
    window: Window,
    cap: usize,
    unmatched: u64,
}

impl Exchange {
    /// `first` is the first sequence number; random, for a server may remember an earlier run's.
    /// `cap`: how many requests the server takes at once; more would be lost silently.
    pub fn new(first: u16, cap: usize) -> Exchange {
        Exchange {
            next: first,
            order: 0,
            outstanding: BTreeMap::new(),
            round_trip: RoundTrip::default(),
            // One place stays free for a listing or the like.
            window: Window::new(cap.saturating_sub(1)),
            cap,
            unmatched: 0,
        }
    }

    /// Registers a request and returns it, numbered, to be sent.
    pub fn send(
        &mut self,
        now: Instant,
        owner: Owner,
        mut payload: Payload,
        floor: Duration,
    ) -> Payload {
        payload.sequence = self.number();
        let block = is_block(&payload);
        let request = Outstanding {
            owner,
            tries: 1,
            payload,
            block,
            floor,
            deadline: now + self.round_trip.timeout(1, floor),
            sent: now,
            departure: self.window.depart(now),
            order: self.order,
            overtaken: 0,
        };
        self.order += 1;
        self.outstanding.insert(payload.sequence, request);
        payload
    }

    /// Takes in a frame from the server. `None`: it answers nothing that is outstanding.
    pub fn receive(&mut self, now: Instant, payload: &Payload) -> Option<Answer> {
        let result = payload.answer()?;
        let number = payload.sequence.wrapping_sub(1);
        let Some(request) = self.outstanding.get(&number) else {
            self.unmatched += 1;
            return None;
        };
        if !answers(&request.payload, payload, result) {
            // A server's cached answer to another request with this number (another station, an
            // earlier run): ask again under a number it has not seen.
            self.unmatched += 1;
            self.renumber(number);
            return None;
        }
        let request = self.outstanding.remove(&number)?;
        if request.tries == 1 {
            self.round_trip.sample(now.saturating_duration_since(request.sent));
            self.overtake(request.order);
        }
        if request.block {
            self.window.arrive(now, request.departure, request.tries > 1);
        }
        Some(Answer { request, result, payload: *payload })
    }

    /// The next request to send again because its answer is late or lost. Same number: a server
    /// that did execute it answers from its cache.
    pub fn resend(&mut self, now: Instant) -> Option<Payload> {
        let grace = self.grace();
        let request = self.outstanding.values_mut().find(|request| request.due(grace) <= now)?;
        request.tries += 1;
        request.overtaken = 0;
        request.sent = now;
        request.order = self.order;
        request.deadline = now + self.round_trip.timeout(request.tries, request.floor);
        self.order += 1;
        if request.block {
            self.window.lose();
        }
        Some(request.payload)
    }

    /// When [`Exchange::resend`] will have something, if nothing arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        let grace = self.grace();
        self.outstanding.values().map(|request| request.due(grace)).min()
    }

    /// Forgets requests; their answers, if they still come, match nothing.
    pub fn forget(&mut self, mut which: impl FnMut(&Outstanding) -> bool) -> Vec<Outstanding> {
        let gone: Vec<u16> = self
            .outstanding
            .iter()
            .filter(|(_, request)| which(request))
            .map(|(n, _)| *n)
            .collect();
        gone.iter().filter_map(|number| self.outstanding.remove(number)).collect()
    }

    /// Whether a request like this is outstanding.
    pub fn any(&self, which: impl FnMut(&Outstanding) -> bool) -> bool {
        self.outstanding.values().any(which)
    }

    /// Whether another request may leave now that moves no block.
    pub fn has_room(&self) -> bool {
        self.outstanding.len() < self.cap
    }

    /// Whether another block request may leave now.
    pub fn has_room_for_block(&self) -> bool {
        self.outstanding.len() < self.window.limit()
    }

    /// Frames from the server that answered nothing outstanding: late, repeated or not for us.
    pub fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// The round trip as measured so far.
    pub fn round_trip(&self) -> &RoundTrip {
        &self.round_trip
    }

    /// How long a request that was overtaken may still only be late.
    fn grace(&self) -> Duration {
        let smoothed = self.round_trip.smoothed().unwrap_or_default();
        smoothed + smoothed / 4
    }

    fn number(&mut self) -> u16 {
        // PX4 never recognises a repeated 65535, so that number is left out.
        while self.next == u16::MAX || self.outstanding.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number
    }

    fn renumber(&mut self, old: u16) {
        let number = self.number();
        if let Some(mut request) = self.outstanding.remove(&old) {
            request.payload.sequence = number;
            request.deadline = request.sent;
            self.outstanding.insert(number, request);
        }
    }

    fn overtake(&mut self, order: u64) {
        let earlier = |request: &&mut Outstanding| request.block && request.order < order;
        for request in self.outstanding.values_mut().filter(earlier) {
            request.overtaken = request.overtaken.saturating_add(1);
        }
    }
}

impl Outstanding {
    /// When it is to be sent again.
    fn due(&self, grace: Duration) -> Instant {
        match self.overtaken >= OVERTAKEN_MAX {
            true => self.deadline.min(self.sent + grace),
            false => self.deadline,
        }
    }
}

fn is_block(payload: &Payload) -> bool {
    match payload.command() {
        Some(Opcode::ReadFile | Opcode::WriteFile) => true,
        Some(_) | None => false,
    }
}

/// Whether `payload` can be the answer to `request`. The offset is compared where all servers echo
/// it (reads, not writes), and never in a NAK.
fn answers(request: &Payload, payload: &Payload, result: Result<(), Nak>) -> bool {
    let read = request.opcode == Opcode::ReadFile as u8;
    payload.req_opcode == request.opcode
        && (!read || result.is_err() || payload.offset == request.offset)
        && (!read || result.is_err() || payload.session == request.session)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: usize = 16;

    fn read(offset: u32) -> Payload {
        Payload { offset, size: 239, ..Payload::request(Opcode::ReadFile) }
    }

    fn owner(mark: u32) -> Owner {
        Owner::Job(RequestId(1), mark)
    }

    #[test]
    fn an_answer_finds_its_request_once() {
        let now = Instant::now();
        let mut exchange = Exchange::new(7, CAP);
        let sent = exchange.send(now, owner(0), read(0), Duration::ZERO);
        let answer = Payload::ack(&sent).with_data(b"x");
        assert!(exchange.receive(now, &answer).is_some());
        assert!(exchange.receive(now, &answer).is_none(), "a duplicate answers nothing");
    }

    #[test]
    fn a_lost_request_is_sent_again_with_its_number() {
        let now = Instant::now();
        let mut exchange = Exchange::new(7, CAP);
        let sent = exchange.send(now, owner(0), read(0), Duration::ZERO);
        assert!(exchange.resend(now).is_none());
        let later = exchange.next_deadline().unwrap();
        assert_eq!(exchange.resend(later), Some(sent));
        assert!(exchange.next_deadline().unwrap() > later);
    }

    #[test]
    fn a_request_that_three_later_ones_overtook_is_sent_again_when_it_is_late() {
        let start = Instant::now();
        let mut exchange = Exchange::new(7, CAP);
        let sent: Vec<Payload> =
            (0..4).map(|n| exchange.send(start, owner(n), read(n * 239), Duration::ZERO)).collect();
        let now = start + Duration::from_millis(20);
        for request in &sent[1..] {
            assert!(exchange.resend(now).is_none());
            exchange.receive(now, &Payload::ack(request).with_data(b"x")).unwrap();
        }
        assert_eq!(exchange.resend(now), None, "it may still be on its way");
        let late = start + Duration::from_millis(25);
        assert_eq!(exchange.next_deadline(), Some(late));
        assert_eq!(exchange.resend(late), Some(sent[0]));
    }

    #[test]
    fn a_stale_cached_answer_makes_the_request_change_its_number() {
        let now = Instant::now();
        let mut exchange = Exchange::new(7, CAP);
        let sent = exchange.send(now, owner(0), read(0), Duration::ZERO);
        let stale = Payload { req_opcode: Opcode::CreateDirectory as u8, ..Payload::ack(&sent) };
        assert!(exchange.receive(now, &stale).is_none());
        let again = exchange.resend(now).unwrap();
        assert_ne!(again.sequence, sent.sequence);
        assert_eq!(again.offset, sent.offset);
    }

    #[test]
    fn numbers_wrap_and_leave_out_the_last() {
        let now = Instant::now();
        let mut exchange = Exchange::new(u16::MAX - 1, CAP);
        let mut number = || exchange.send(now, owner(0), read(0), Duration::ZERO).sequence;
        assert_eq!([number(), number(), number()], [u16::MAX - 1, 0, 1]);
    }
}
