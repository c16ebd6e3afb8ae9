//! Requests and their answers: sequence numbers, what is outstanding, what must be sent again
//! (protocol sections "Sequence numbers" and "Timeouts"). Must not know why a request is made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::mavftp::timers::RoundTrip;
use crate::mavftp::transfer::{Flow, Traffic};
use crate::mavftp::wire::{Opcode, Payload};

use super::RequestId;
use super::outstanding::answers;
pub use super::outstanding::{Answer, Outstanding, Owner};
use super::recovery::Recovery;

/// An answer that a later one overtook is late after a round trip and this part of one.
const OVERTAKEN_DIVISOR: u32 = 2;

/// Longer than any patience.
const NEVER: Duration = Duration::from_secs(3600);
/// Blocks on their way at once while the radio's buffer is nearly full.
const CROWDED_BLOCKS: usize = 2;

/// All requests towards one server.
#[derive(Debug)]
pub struct Exchange {
    next: u16,
    outstanding: BTreeMap<u16, Outstanding>,
    /// The outstanding requests that move no block; few.
    others: BTreeSet<u16>,
    /// How many are outstanding for each job.
    of_job: BTreeMap<RequestId, usize>,
    recovery: Recovery,
    block_trips: RoundTrip,
    other_trips: RoundTrip,
    reading: Flow,
    writing: Flow,
    cap: usize,
    /// No block leaves before this: the user's limit.
    held: Option<Instant>,
    /// The radio has no room for many blocks.
    crowded: bool,
    /// As many blocks were on their way as may be, and not few enough have been since.
    full: bool,
    unmatched: u64,
}

impl Exchange {
    /// `first` is the first sequence number; random, for a server may remember an earlier run's.
    /// `cap`: how many requests the server takes at once; more would be lost silently.
    pub fn new(first: u16, cap: usize) -> Exchange {
        Exchange {
            next: first,
            outstanding: BTreeMap::new(),
            others: BTreeSet::new(),
            of_job: BTreeMap::new(),
            recovery: Recovery::default(),
            block_trips: RoundTrip::default(),
            other_trips: RoundTrip::default(),
            reading: Flow::new(cap),
            writing: Flow::new(cap),
            cap,
            held: None,
            crowded: false,
            full: false,
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
        let number = self.number();
        payload.sequence = number;
        let block = payload.moves_block();
        let place = match block {
            true => {
                let flow = self.flow(payload.opcode);
                flow.depart(now);
                let limit = flow.limit();
                let place = self.recovery.depart(now, number);
                self.full |= self.recovery.len() >= limit;
                place
            }
            false => {
                self.others.insert(number);
                self.give_place(now);
                0
            }
        };
        if let Owner::Job(id, _) = owner {
            *self.of_job.entry(id).or_default() += 1;
        }
        let deadline = now + self.timeout(1, floor);
        let request = Outstanding {
            owner,
            tries: 1,
            payload,
            block,
            floor,
            timed: true,
            deadline,
            sent: now,
            place,
        };
        self.outstanding.insert(number, request);
        payload
    }

    /// Takes in a frame from the server. `None`: it answers nothing that is outstanding.
    pub fn receive(&mut self, now: Instant, payload: &Payload) -> Option<Answer> {
        let result = payload.answer()?;
        let number = payload.sequence.wrapping_sub(1);
        let Some(request) = self.outstanding.get(&number) else {
            self.unmatched += 1;
            if self.recovery.unmatched(number) {
                self.flow(payload.req_opcode).lose_less();
            }
            return None;
        };
        if !answers(&request.payload, payload, result) {
            // A server's cached answer to another request with this number (another station, an
            // earlier run): ask again under a number it has not seen.
            self.unmatched += 1;
            self.renumber(now, number);
            return None;
        }
        let (place, tries, sent) = (request.place, request.tries, request.sent);
        let trip = (tries == 1 && request.timed).then_some(now.saturating_duration_since(sent));
        if request.block {
            if let Some(trip) = trip {
                self.block_trips.sample(trip);
            }
            self.recovery.answered(now, place, tries, sent, &self.block_trips);
        }
        let request = self.take(number)?;
        if request.block {
            let flow = self.flow(request.payload.opcode);
            flow.arrive(now, trip);
            let low_mark = flow.low_mark();
            self.full &= self.recovery.len() >= low_mark;
            self.rest_if_idle();
        } else if let Some(trip) = trip {
            self.other_trips.sample(trip);
            self.hasten_overtaken(&request, trip);
        }
        Some(Answer { request, result, payload: *payload })
    }

    /// The next request to send again because its answer is late or lost. Same number: a server
    /// that did execute it answers from its cache.
    pub fn resend(&mut self, now: Instant) -> Option<Payload> {
        let late = |number: &&u16| {
            self.outstanding.get(number).is_some_and(|request| request.deadline <= now)
        };
        if let Some(number) = self.others.iter().find(late).copied() {
            let tries = self.outstanding.get(&number).map_or(1, |request| request.tries + 1);
            let floor = self.outstanding.get(&number).map_or(Duration::ZERO, |late| late.floor);
            let deadline = now + self.timeout(tries, floor);
            self.give_place(now);
            let request = self.outstanding.get_mut(&number)?;
            (request.tries, request.sent, request.deadline) = (tries, now, deadline);
            return Some(request.payload);
        }
        self.resend_block(now)
    }

    /// When [`Exchange::resend`] will have something, if nothing arrives.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let others = self.others.iter().filter_map(|number| self.outstanding.get(number));
        let others = others.map(|request| request.deadline).min();
        let block = self.recovery.due(&self.block_trips).map(|due| {
            let paced = [self.reading.next_at(now), self.writing.next_at(now), self.held];
            paced.into_iter().flatten().fold(due, Instant::max)
        });
        [others, block].into_iter().flatten().min()
    }

    /// Servers answer in order: a page of a listing that a later one overtook is late soon.
    fn hasten_overtaken(&mut self, answered: &Outstanding, trip: Duration) {
        if !is_page(&answered.payload) {
            return;
        }
        let lateness = trip + trip / OVERTAKEN_DIVISOR;
        for number in &self.others {
            let Some(request) = self.outstanding.get_mut(number) else { continue };
            let before = answered.payload.sequence.wrapping_sub(*number) <= u16::MAX / 2;
            let overtaken =
                request.sent < answered.sent || (request.sent == answered.sent && before);
            if overtaken && is_page(&request.payload) {
                request.deadline = request.deadline.min(request.sent + lateness);
            }
        }
    }

    /// What was sent for a job is not sent again; its answer still counts.
    pub fn let_be(&mut self, id: RequestId) {
        for request in self.outstanding.values_mut() {
            if matches!(request.owner, Owner::Job(owner, _) if owner == id) {
                request.deadline += NEVER;
            }
        }
    }

    /// Forgets requests; their answers, if they still come, match nothing.
    pub fn forget(&mut self, mut which: impl FnMut(&Outstanding) -> bool) -> Vec<Outstanding> {
        let gone: Vec<u16> = self
            .outstanding
            .iter()
            .filter(|(_, request)| which(request))
            .map(|(n, _)| *n)
            .collect();
        let gone = gone.iter().filter_map(|number| self.take(*number)).collect();
        self.rest_if_idle();
        gone
    }

    /// Forgets requests that move no block.
    pub fn forget_others(&mut self, which: impl Fn(&Outstanding) -> bool) -> Vec<Outstanding> {
        let fits = |number: &&u16| self.outstanding.get(number).is_some_and(&which);
        let gone: Vec<u16> = self.others.iter().filter(fits).copied().collect();
        gone.iter().filter_map(|number| self.take(*number)).collect()
    }

    /// Whether a request like this is outstanding that moves no block.
    pub fn any_other(&self, which: impl Fn(&Outstanding) -> bool) -> bool {
        self.others.iter().filter_map(|number| self.outstanding.get(number)).any(which)
    }

    /// Pages of listings outstanding.
    pub fn pages(&self) -> usize {
        let others = self.others.iter().filter_map(|number| self.outstanding.get(number));
        others.filter(|request| is_page(&request.payload)).count()
    }

    /// How the link carried the answer to a request that moves no block.
    pub fn traffic(&self, request: &Outstanding) -> Traffic {
        match request.tries {
            1 if self.other_trips.is_queueing() => Traffic::Crowded,
            1 => Traffic::Free,
            _ => Traffic::Lossy,
        }
    }

    /// Requests outstanding.
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Block requests outstanding.
    pub fn blocks(&self) -> usize {
        self.recovery.len()
    }

    /// Requests outstanding for a job.
    pub fn of_job(&self, id: RequestId) -> usize {
        self.of_job.get(&id).copied().unwrap_or(0)
    }

    /// Whether another request may leave now that moves no block.
    pub fn has_room(&self) -> bool {
        self.outstanding.len() < self.cap
    }

    /// Whether another block may be on its way: how many are is not counted against the others.
    pub fn has_room_for_block(&self, writes: bool) -> bool {
        let flow = if writes { &self.writing } else { &self.reading };
        let limit = if self.crowded { flow.limit().min(CROWDED_BLOCKS) } else { flow.limit() };
        let limit = if self.full { limit.min(flow.low_mark()) } else { limit };
        self.recovery.len() < limit && self.outstanding.len() < self.cap
    }

    /// Until when the next block has to wait so that they leave evenly.
    pub fn block_waits(&self, now: Instant, writes: bool) -> Option<Instant> {
        let flow = if writes { &self.writing } else { &self.reading };
        flow.next_at(now).max(self.held.filter(|until| *until > now))
    }

    /// Bounds from outside: when the next block may leave, and whether few may be on their way.
    pub fn set_bounds(&mut self, held: Option<Instant>, crowded: bool) {
        (self.held, self.crowded) = (held, crowded);
    }

    /// What is on its way has to wait for something else than the link.
    pub fn stop_timing(&mut self) {
        self.outstanding.values_mut().for_each(|request| request.timed = false);
    }

    /// Whether the rate of reading or writing is known.
    pub fn is_steady(&self) -> bool {
        self.reading.is_steady() || self.writing.is_steady()
    }

    /// Blocks have come that were not asked for one by one: the silence is no silence.
    pub fn note_heard(&mut self) {
        self.recovery.note_heard();
    }

    /// Blocks sent again in a row with nothing heard.
    pub fn unheard(&self) -> u32 {
        self.recovery.unheard()
    }

    /// Blocks have another size from now on: so many times as many make the same bytes.
    pub fn rescale(&mut self, factor: f64) {
        self.reading.rescale(factor);
        self.writing.rescale(factor);
    }

    /// Notes that there is no block to ask for; where there is room for one, that tells of no link.
    pub fn note_starving(&mut self) {
        let blocks = self.recovery.len();
        for flow in [&mut self.reading, &mut self.writing] {
            if blocks < flow.limit() {
                flow.starve();
            }
        }
    }

    /// Keeps `count` numbers from being used, as if they had been.
    pub fn reserve(&mut self, count: u16) -> u16 {
        let first = self.number();
        self.next = self.next.wrapping_add(count);
        first
    }

    /// Notes a frame that belongs to nothing.
    pub fn note_unmatched(&mut self) {
        self.unmatched += 1;
    }

    /// Frames from the server that answered nothing outstanding: late, repeated or not for us.
    pub fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// The round trip as measured so far.
    pub fn round_trip(&self) -> &RoundTrip {
        match self.block_trips.smoothed() {
            Some(_) => &self.block_trips,
            None => &self.other_trips,
        }
    }

    /// What is known of reading.
    pub fn reading(&mut self) -> &mut Flow {
        &mut self.reading
    }

    fn flow(&mut self, opcode: u8) -> &mut Flow {
        match opcode == Opcode::WriteFile as u8 {
            true => &mut self.writing,
            false => &mut self.reading,
        }
    }

    /// What moves no block takes the place of one that does: its answer finds room then.
    fn give_place(&mut self, now: Instant) {
        if self.recovery.len() > 0 {
            self.reading.depart(now);
            self.writing.depart(now);
        }
    }

    /// The wait for a request that moves no block: it stands in line behind those that do.
    fn timeout(&self, tries: u32, floor: Duration) -> Duration {
        let alone = match self.other_trips.smoothed() {
            Some(_) => self.other_trips.timeout(tries, floor),
            None => self.block_trips.timeout(tries, floor),
        };
        match self.recovery.len() {
            0 => alone,
            _ => alone.max(self.block_trips.timeout(tries, floor)),
        }
    }

    fn resend_block(&mut self, now: Instant) -> Option<Payload> {
        let (place, number) = self.recovery.lost(now, &self.block_trips)?;
        let payload = self.outstanding.get(&number)?.payload;
        if self.block_waits(now, payload.opcode == Opcode::WriteFile as u8).is_some() {
            return None;
        }
        let place = self.recovery.repeat(now, place);
        let request = self.outstanding.get_mut(&number)?;
        request.tries += 1;
        (request.sent, request.place) = (now, place);
        let flow = self.flow(payload.opcode);
        flow.lose();
        flow.depart(now);
        Some(payload)
    }

    fn take(&mut self, number: u16) -> Option<Outstanding> {
        let request = self.outstanding.remove(&number)?;
        match request.block {
            true => self.recovery.forget(request.place),
            false => drop(self.others.remove(&number)),
        }
        if let Owner::Job(id, _) = request.owner
            && let Some(count) = self.of_job.get_mut(&id)
        {
            *count -= 1;
            if *count == 0 {
                self.of_job.remove(&id);
            }
        }
        Some(request)
    }

    fn rest_if_idle(&mut self) {
        if self.recovery.len() == 0 {
            self.reading.rest();
            self.writing.rest();
        }
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

    fn renumber(&mut self, now: Instant, old: u16) {
        let number = self.number();
        let Some(mut request) = self.outstanding.remove(&old) else { return };
        request.payload.sequence = number;
        request.deadline = now;
        match request.block {
            true => request.place = self.recovery.renumber(request.place, number),
            false => {
                self.others.remove(&old);
                self.others.insert(number);
            }
        }
        self.outstanding.insert(number, request);
    }
}

fn is_page(payload: &Payload) -> bool {
    match payload.command() {
        Some(Opcode::ListDirectory | Opcode::ListDirectoryWithTime) => true,
        Some(_) | None => false,
    }
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
        let later = exchange.next_deadline(now).unwrap();
        assert_eq!(exchange.resend(later), Some(sent));
        assert!(exchange.next_deadline(later).unwrap() > later);
    }

    #[test]
    fn an_overtaken_block_is_sent_again_when_it_is_late() {
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
        assert_eq!(exchange.next_deadline(now), Some(late));
        assert_eq!(exchange.resend(late), Some(sent[0]));
    }

    #[test]
    fn a_page_that_a_later_one_overtook_is_asked_for_again_soon() {
        let start = Instant::now();
        let mut exchange = Exchange::new(7, CAP);
        let floor = Duration::from_millis(500);
        let page = |offset| Payload { offset, ..Payload::request(Opcode::ListDirectory) };
        let mut ask = |mark| exchange.send(start, owner(mark), page(mark), floor);
        let (first, second, third) = (ask(0), ask(14), ask(28));
        assert_eq!(exchange.pages(), 3);
        let now = start + Duration::from_millis(20);
        exchange.receive(now, &Payload::ack(&second).with_data(b"x")).unwrap();
        assert_eq!(exchange.resend(now), None, "it may still be on its way");
        let late = start + Duration::from_millis(30);
        assert_eq!(exchange.next_deadline(now), Some(late));
        assert_eq!(exchange.resend(late), Some(first));
        assert_eq!(exchange.resend(late), None, "the last was overtaken by none");
        exchange.receive(late, &Payload::ack(&third).with_data(b"x")).unwrap();
        assert_eq!(exchange.resend(late), None, "what left later was not overtaken");
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
