//! What is sent next, and when to look again. Who gets the one open file is decided in `turns`, how
//! long things may take in `patience`.

use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::mavftp::transfer::PAGES_MAX;
use crate::mavftp::wire::{Opcode, Payload};

use super::exchange::Owner;
use super::job::{Job, Kind};
use super::proof::Proof;
use super::simple::SimpleOp;
use super::slot::Slot;
use super::{Class, Client, RequestId, Restraint};

/// Servers read on while they list; the next page takes its time on a full card.
const LIST_FLOOR: Duration = Duration::from_millis(300);

/// A job's place in the line.
pub type Place = (Class, u64, RequestId);

impl Client {
    /// The next frame to send, if the window and the sessions allow one.
    pub(super) fn fill(&mut self, now: Instant) -> Option<Payload> {
        if self.proof != Proof::Given || self.hold_until.is_some_and(|until| now < until) {
            return None;
        }
        self.hold_until = None;
        self.paced_until = None;
        self.settle_doubt();
        self.adopt_readers(now);
        self.follow_burst(now);
        if self.stream.holds_others() {
            // What is asked now is not even looked at, and repeats fill the server's queue.
            return self.next_repair(now).or_else(|| self.next_burst(now));
        }
        if let Some(payload) = self.resend(now) {
            return Some(payload);
        }
        if let Slot::MustClose { session, finishing } = self.slot {
            self.slot = Slot::Closing { finishing };
            return Some(self.close(now, session));
        }
        if self.keeps_quiet(now) {
            return None;
        }
        let mut last = None;
        while let Some(place) = self.next_in_line(last) {
            if let Some(payload) = self.next_of(now, place.2) {
                return Some(payload);
            }
            last = Some(place);
        }
        if let Some(payload) = self.next_burst(now) {
            return Some(payload);
        }
        self.note_starving();
        self.turn_slot(now)
    }

    /// When to look again if nothing arrives.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let expiry = self.next_expiry();
        match self.proof {
            Proof::Given => {}
            Proof::Awaited => return None,
            Proof::Missed => return expiry,
        }
        let sending = match self.hold_until {
            Some(until) => [Some(until), None],
            None if self.stream.holds_others() => [None, None],
            None => [self.exchange.next_deadline(now), self.paced_until],
        };
        // A turn that is over ends when its last block is answered, not at a time.
        let slot = self.slot_wakes().filter(|due| *due > now);
        [expiry, slot, self.stream_wakes()].into_iter().chain(sending).flatten().min()
    }

    /// A lost packet of a burst, asked for in the same flight as the next burst.
    fn next_repair(&mut self, now: Instant) -> Option<Payload> {
        if !self.stream.is_renewing() {
            return None;
        }
        let mut last = None;
        while let Some(place) = self.next_in_line(last) {
            if matches!(self.jobs.get(&place.2), Some(Job { kind: Kind::Read(_), .. }))
                && let Some(payload) = self.next_block(now, place.2, false)
            {
                return Some(payload);
            }
            last = Some(place);
        }
        None
    }

    /// A request whose answer is late or lost. When large blocks do not come through, all that are
    /// on their way are asked for again, smaller.
    fn resend(&mut self, now: Instant) -> Option<Payload> {
        let payload = self.exchange.resend(now)?;
        let block = payload.moves_block();
        // What waits behind a burst is late, not lost.
        if block
            && !self.stream.is_used()
            && self.block_size.splits(payload.size)
            && self.block_lost(now, self.exchange.unheard())
        {
            self.forget_blocks();
            return None;
        }
        Some(payload)
    }

    /// Notes a lost block; true when blocks have another size for that.
    pub(super) fn block_lost(&mut self, now: Instant, unheard: u32) -> bool {
        // What is lost while the link is being found out says little of the size of frames.
        if !self.exchange.is_steady() && unheard == 0 {
            return false;
        }
        let Some(factor) = self.block_size.lose(now, unheard) else { return false };
        self.exchange.rescale(factor);
        tracing::debug!(bytes = self.block_size.bytes(), "blocks have another size now");
        true
    }

    fn next_in_line(&self, last: Option<Place>) -> Option<Place> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.line.range((from, Bound::Unbounded)).next().copied()
    }

    fn next_of(&mut self, now: Instant, id: RequestId) -> Option<Payload> {
        match &self.jobs.get(&id)?.kind {
            Kind::Simple(op, false) => {
                let op = op.clone();
                self.next_simple(now, id, &op)
            }
            Kind::Simple(_, true) => None,
            Kind::List(_) | Kind::Confirm(_) => self.next_page(now, id),
            Kind::Read(_) => self.next_block(now, id, false),
            Kind::Write(_) => self.next_block(now, id, true),
        }
    }

    fn next_simple(&mut self, now: Instant, id: RequestId, op: &SimpleOp) -> Option<Payload> {
        if !self.exchange.has_room() {
            return None;
        }
        // A file that is open is not renamed or removed under its own session, unless in use.
        if let Some(holding) = self.slot.open()
            && op.affects(&holding.file.path)
            && !self.has_users(&holding.file)
        {
            return Some(self.start_close(now, None));
        }
        if let Slot::Closing { .. } = self.slot {
            return None;
        }
        if let Some(Job { kind: Kind::Simple(_, asked), .. }) = self.jobs.get_mut(&id) {
            *asked = true;
        }
        Some(self.send(now, Owner::Job(id, 0), op.request(), op.floor()))
    }

    fn next_page(&mut self, now: Instant, id: RequestId) -> Option<Payload> {
        if !self.exchange.has_room() || self.exchange.pages() >= self.pages_at_once() {
            return None;
        }
        let (offset, request) = match &mut self.jobs.get_mut(&id)?.kind {
            Kind::List(list) => list.ask()?,
            Kind::Confirm(confirm) => confirm.list.ask()?,
            Kind::Simple(..) | Kind::Read(_) | Kind::Write(_) => return None,
        };
        // Listings take turns: a long one may have all places that there are.
        self.go_behind(vec![id]);
        Some(self.send(now, Owner::Job(id, offset), request, LIST_FLOOR))
    }

    /// Pages that may be on their way in all. A short queue keeps places for others; a vehicle that
    /// has more to do than list gets one after another.
    fn pages_at_once(&self) -> usize {
        match self.restraint {
            Restraint::Limited | Restraint::Silent => 1,
            Restraint::Free => (self.traits.queue / 2).clamp(1, PAGES_MAX),
        }
    }

    fn next_block(&mut self, now: Instant, id: RequestId, writes: bool) -> Option<Payload> {
        let holding = self.slot.open()?;
        let job = self.jobs.get(&id)?;
        if !job.kind.uses(id, &holding.file)
            || !self.exchange.has_room_for_block(writes)
            || self.stream.is_crowded(self.exchange.blocks())
            || self.turn_over(now, holding)
        {
            return None;
        }
        if let Some(until) = self.exchange.block_waits(now, writes) {
            if job.kind.wants() {
                self.paced_until = Some(until);
            }
            return None;
        }
        let session = holding.session;
        let first = job.kind.first_missing().unwrap_or(0);
        let hurried = job.class <= Class::Demand && self.line.last().is_some_and(is_ahead);
        let before = self.stream.reads_before(first, hurried).min(self.reads_before_limit());
        let block = self.block_size.bytes();
        let (waited, progress) = (self.exchange.of_job(id) == 0, self.progress);
        let job = self.jobs.get_mut(&id)?;
        let (offset, request) = match &mut job.kind {
            Kind::Read(read) => {
                let (offset, size) = read.ask(block, before)?;
                (offset, Payload { size, ..Payload::request(Opcode::ReadFile) })
            }
            Kind::Write(upload) => {
                let (offset, bytes) = upload.job.ask(block)?;
                (offset, Payload::request(Opcode::WriteFile).with_data(bytes))
            }
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) => return None,
        };
        if waited {
            // Its turn has come; the time it waited, while others moved, does not count.
            job.progress = job.progress.max(progress);
        }
        if self.stream.is_used() {
            // What is asked for beside bursts tells nothing of what reads alone would bring.
            self.exchange.reading().starve();
        }
        let request = Payload { offset, session, ..request };
        Some(self.exchange.send(now, Owner::Job(id, offset), request, Duration::ZERO))
    }

    /// A link that is not asked for all it can carry shows nothing of what it can.
    fn note_starving(&mut self) {
        let streams = self.stream.is_running();
        if self.paced_until.is_none() && !streams && self.slot.open().is_some() {
            self.exchange.note_starving();
        }
    }

    /// Sends a request that needs no session of its own. It carries the open file's, because a
    /// server with one session for all refuses every other, or else the one we propose.
    pub(super) fn send(
        &mut self,
        now: Instant,
        owner: Owner,
        request: Payload,
        floor: Duration,
    ) -> Payload {
        let session = self.slot.open().map_or(self.own_session, |holding| holding.session);
        self.exchange.send(now, owner, Payload { session, ..request }, floor)
    }
}

fn is_ahead((class, _, _): &Place) -> bool {
    *class == Class::ReadAhead
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mavftp::client::{Bursts, Error, Event, Op, Output, Traits};

    const TRAITS: Traits =
        Traits { queue: 8, keeps_content: true, one_session: false, bursts: Bursts::Unused };

    fn next_frame(client: &mut Client, now: Instant) -> Payload {
        loop {
            match client.poll(now) {
                Output::Send(frame) => return frame,
                Output::Event(_) => {}
                Output::Wait(_) => panic!("nothing to send"),
            }
        }
    }

    #[test]
    fn each_opening_proposes_another_session_so_that_late_copies_reach_no_other_file() {
        let mut now = Instant::now();
        let mut client = Client::new(now, TRAITS, 1);
        let mut proposed = Vec::new();
        for id in 1..=3 {
            let (op, patience) = (Op::Size { path: b"/a".to_vec() }, Duration::from_secs(10));
            client.request(now, RequestId(id), op, Class::Metadata, patience);
            let opening = next_frame(&mut client, now);
            assert_eq!(opening.command(), Some(Opcode::OpenFileRo));
            proposed.push(opening.session);
            client.receive(now, &Payload::ack(&opening).with_data(&7u32.to_le_bytes()));
            now += Duration::from_secs(2);
            let closing = next_frame(&mut client, now);
            assert_eq!(closing.command(), Some(Opcode::TerminateSession));
            assert_eq!(closing.session, opening.session);
            client.receive(now, &Payload::ack(&closing));
        }
        proposed.sort_unstable();
        proposed.dedup();
        assert_eq!(proposed.len(), 3);
    }

    #[test]
    fn a_server_that_answers_all_but_checksums_is_asked_for_one_once() {
        let mut now = Instant::now();
        let mut client = Client::new(now, TRAITS, 1);
        let (first, second, other) = (RequestId(1), RequestId(2), RequestId(3));
        let (class, patience) = (Class::Metadata, Duration::from_secs(10));
        client.request(now, first, Op::Checksum { path: b"/a".to_vec() }, class, patience);
        next_frame(&mut client, now);
        now += Duration::from_secs(1);
        client.request(now, other, Op::MakeDirectory { path: b"/d".to_vec() }, class, patience);
        let made = next_frame(&mut client, now);
        client.receive(now, &Payload::ack(&made));
        now += Duration::from_secs(70);
        let ended = |client: &mut Client| loop {
            match client.poll(now) {
                Output::Event(Event::Done(id, result)) if id != other => return (id, result),
                Output::Send(_) | Output::Event(_) => {}
                Output::Wait(_) => panic!("nothing ended"),
            }
        };
        assert_eq!(ended(&mut client), (first, Err(Error::TimedOut)));
        client.request(now, second, Op::Checksum { path: b"/a".to_vec() }, class, patience);
        assert_eq!(ended(&mut client), (second, Err(Error::Unsupported)));
    }
}
