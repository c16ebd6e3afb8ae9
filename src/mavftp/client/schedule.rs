//! What is sent next, who gets the one open file, and when to look again.

use std::time::{Duration, Instant};

use crate::mavftp::wire::{Opcode, Payload};

use super::exchange::Owner;
use super::job::{Job, Kind};
use super::simple::{SILENT_TRIES, SimpleOp};
use super::slot::{Access, File, Holding, Slot};
use super::{Class, Client, Error, RequestId};

/// A closing or opening that nobody waits for, or others wait behind, is not repeated more often:
/// there are servers that pass over what they cannot open.
const SESSION_TRIES: u32 = 3;
/// Servers read on while they list; the next page takes its time on a full card.
const LIST_FLOOR: Duration = Duration::from_millis(500);

impl Client {
    /// Ends what has waited too long, and gives up what some servers never answer.
    pub(super) fn expire(&mut self, now: Instant) {
        let late = |(id, job): (&RequestId, &Job)| {
            let due = self.deadline(*id, job).filter(|due| *due <= now);
            due.map(|_| (*id, job.blocked.unwrap_or(Error::TimedOut)))
        };
        let late: Vec<_> = self.jobs.iter().filter_map(late).collect();
        for (id, error) in late {
            self.note_missing_checksum(id);
            self.end(id, Err(error));
        }
        self.give_up_unheard(now);
    }

    /// The next frame to send, if the window and the sessions allow one.
    pub(super) fn fill(&mut self, now: Instant) -> Option<Payload> {
        if self.hold_until.is_some_and(|until| now < until) {
            return None;
        }
        self.hold_until = None;
        self.settle_doubt();
        self.adopt_readers(now);
        if let Some(payload) = self.exchange.resend(now) {
            return Some(payload);
        }
        if let Slot::MustClose { session, finishing } = self.slot {
            self.slot = Slot::Closing { finishing };
            return Some(self.close(now, session));
        }
        if self.keeps_quiet(now) {
            return None;
        }
        for id in self.order() {
            if let Some(payload) = self.next_of(now, id) {
                return Some(payload);
            }
        }
        self.turn_slot(now)
    }

    /// When to look again if nothing arrives.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let expiry = self.jobs.iter().filter_map(|(id, job)| self.deadline(*id, job)).min();
        let sending = match self.hold_until {
            Some(until) => Some(until),
            None => self.exchange.next_deadline(),
        };
        let slot = match &self.slot {
            Slot::Open(holding) if self.contender(&holding.file).is_some() => {
                holding.turn_ends_at()
            }
            Slot::Open(holding) => self.users(&holding.file).is_empty().then(|| holding.idle_at()),
            Slot::Free => self.taken.until().filter(|_| self.next_file().is_some()),
            Slot::Opening(_) | Slot::MustClose { .. } | Slot::Closing { .. } => None,
        };
        // A turn that is over ends when its last block is answered, not at a time.
        let slot = slot.filter(|due| *due > now);
        [expiry, sending, slot].into_iter().flatten().min()
    }

    /// Patience counts from the last progress; for a job that only waits its turn, from when any
    /// file's bytes moved last. An upload that waits for its own source has all the time it needs.
    fn deadline(&self, id: RequestId, job: &Job) -> Option<Instant> {
        let waiting = job.kind.unfinished() && !self.has_asked(id);
        let since = if waiting { job.progress.max(self.progress) } else { job.progress };
        (!waiting || !job.kind.is_starved()).then_some(since + job.patience)
    }

    fn has_asked(&self, id: RequestId) -> bool {
        self.exchange.any(|request| matches!(request.owner, Owner::Job(owner, _) if owner == id))
    }

    fn order(&self) -> Vec<RequestId> {
        let mut order: Vec<(Class, u64, RequestId)> =
            self.jobs.iter().map(|(id, job)| (job.class, job.turn, *id)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, id)| id).collect()
    }

    fn next_of(&mut self, now: Instant, id: RequestId) -> Option<Payload> {
        match &self.jobs.get(&id)?.kind {
            Kind::Simple(op, false) => {
                let op = op.clone();
                self.next_simple(now, id, &op)
            }
            Kind::Simple(_, true) => None,
            Kind::List(_) | Kind::Confirm(_) => self.next_page(now, id),
            Kind::Read(_) | Kind::Write(_) => self.next_block(now, id),
        }
    }

    fn next_simple(&mut self, now: Instant, id: RequestId, op: &SimpleOp) -> Option<Payload> {
        if !self.exchange.has_room() {
            return None;
        }
        // A file that is open is not renamed or removed under its own session, unless in use.
        if let Some(holding) = self.slot.open()
            && op.affects(&holding.file.path)
            && self.users(&holding.file).is_empty()
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
        if !self.exchange.has_room() {
            return None;
        }
        let request = match &mut self.jobs.get_mut(&id)?.kind {
            Kind::List(list) => list.ask()?,
            Kind::Confirm(confirm) => confirm.list.ask()?,
            Kind::Simple(..) | Kind::Read(_) | Kind::Write(_) => return None,
        };
        Some(self.send(now, Owner::Job(id, 0), request, LIST_FLOOR))
    }

    fn next_block(&mut self, now: Instant, id: RequestId) -> Option<Payload> {
        let holding = self.slot.open()?;
        let job = self.jobs.get(&id)?;
        if !job.kind.uses(id, &holding.file) || !self.exchange.has_room_for_block() {
            return None;
        }
        if self.turn_over(now, holding) {
            return None;
        }
        let session = holding.session;
        let (waited, progress) = (!self.has_asked(id), self.progress);
        let job = self.jobs.get_mut(&id)?;
        let (offset, request) = match &mut job.kind {
            Kind::Read(read) => {
                let (offset, size) = read.ask()?;
                (offset, Payload { size, ..Payload::request(Opcode::ReadFile) })
            }
            Kind::Write(upload) => {
                let (offset, bytes) = upload.job.ask()?;
                (offset, Payload::request(Opcode::WriteFile).with_data(bytes))
            }
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) => return None,
        };
        if waited {
            // Its turn has come; the time it waited, while others moved, does not count.
            job.progress = job.progress.max(progress);
        }
        let request = Payload { offset, session, ..request };
        Some(self.exchange.send(now, Owner::Job(id, offset), request, Duration::ZERO))
    }

    /// Opens a file for whoever needs one, and closes one that is finished, idle or had its turn.
    fn turn_slot(&mut self, now: Instant) -> Option<Payload> {
        match &self.slot {
            Slot::Free if self.taken.waits(now) => None,
            Slot::Free => self.open_next(now),
            Slot::Open(holding) => self.close_if_due(now, holding.file.clone()),
            Slot::Opening(_) | Slot::MustClose { .. } | Slot::Closing { .. } => None,
        }
    }

    /// A server that remembers one answer cannot tell a repeated opening by it when it has answered
    /// something else meanwhile: nothing is on its way beside an opening, for a round trip.
    fn keeps_quiet(&self, now: Instant) -> bool {
        self.traits.one_session
            && match self.slot {
                Slot::Opening(_) => true,
                Slot::Free => {
                    self.exchange.any(|_| true)
                        && !self.taken.waits(now)
                        && self.next_file().is_some()
                }
                Slot::Open(_) | Slot::MustClose { .. } | Slot::Closing { .. } => false,
            }
    }

    /// The file that is to be opened next.
    fn next_file(&self) -> Option<File> {
        let keeps = self.traits.keeps_content;
        self.order_for_slot().into_iter().find_map(|id| {
            let job = self.jobs.get(&id)?;
            job.kind.unfinished().then(|| job.kind.file(id, keeps)).flatten()
        })
    }

    fn open_next(&mut self, now: Instant) -> Option<Payload> {
        let file = self.next_file()?;
        let opcode = match file.access {
            Access::Read => Opcode::OpenFileRo,
            Access::Create => Opcode::CreateFile,
            Access::Keep => Opcode::OpenFileWo,
        };
        let request = Payload::request(opcode).with_data(&file.path);
        for job in self.jobs.values_mut() {
            match &mut job.kind {
                Kind::Read(read) if read.path == file.path => read.awaits_opening(),
                Kind::Simple(..)
                | Kind::Confirm(_)
                | Kind::List(_)
                | Kind::Read(_)
                | Kind::Write(_) => {}
            }
        }
        self.slot = Slot::Opening(file);
        Some(self.send(now, Owner::Open, request, Duration::ZERO))
    }

    fn close_if_due(&mut self, now: Instant, file: File) -> Option<Payload> {
        let holding = self.slot.open()?;
        if let Some(id) = file.writer
            && self.upload_complete(id)
        {
            return Some(self.start_close(now, Some(id)));
        }
        let users = self.users(&file);
        let due = match self.contender(&holding.file) {
            Some(_) => users.is_empty() || self.may_give_way(now, holding),
            None => users.is_empty() && (self.leaving || now >= holding.idle_at()),
        };
        let busy = self.exchange.any(|request| request.block);
        if !due || busy {
            return None;
        }
        self.go_behind(users);
        Some(self.start_close(now, None))
    }

    /// Those who gave way come after those who waited.
    fn go_behind(&mut self, users: Vec<RequestId>) {
        for id in users {
            self.turns += 1;
            let turn = self.turns;
            if let Some(job) = self.jobs.get_mut(&id) {
                job.turn = turn;
            }
        }
    }

    /// The first job that waits for another file than this one.
    fn contender(&self, file: &File) -> Option<RequestId> {
        self.order_for_slot().into_iter().find(|id| {
            self.jobs.get(id).is_some_and(|job| job.kind.unfinished() && !job.kind.uses(*id, file))
        })
    }

    /// Who gets the slot: longest waiting first, except that nobody waits for read-ahead.
    fn order_for_slot(&self) -> Vec<RequestId> {
        let mut order: Vec<(bool, u64, RequestId)> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.kind.unfinished())
            .map(|(id, job)| (job.class == Class::ReadAhead, job.turn, *id))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, id)| id).collect()
    }

    fn turn_over(&self, now: Instant, holding: &Holding) -> bool {
        let ended = holding.turn_ends_at().is_some_and(|end| now >= end);
        ended && self.preemptible(holding) && self.contender(&holding.file).is_some()
    }

    /// Whether the holder's turn is over, or it has nothing to ask or send.
    fn may_give_way(&self, now: Instant, holding: &Holding) -> bool {
        let wants = |id: &RequestId| match self.jobs.get(id).map(|job| &job.kind) {
            Some(Kind::Read(read)) => read.wants(),
            Some(Kind::Write(upload)) => upload.job.wants(),
            Some(Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_)) | None => false,
        };
        let idle = !self.users(&holding.file).iter().any(wants);
        self.preemptible(holding) && (idle || self.turn_over(now, holding))
    }

    /// An upload to a server that empties what it opens for writing keeps its session to the end.
    fn preemptible(&self, holding: &Holding) -> bool {
        holding.file.access == Access::Read || self.traits.keeps_content
    }

    fn upload_complete(&self, id: RequestId) -> bool {
        match self.jobs.get(&id).map(|job| &job.kind) {
            Some(Kind::Write(upload)) => upload.job.is_complete().is_some(),
            Some(Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) | Kind::Read(_)) | None => {
                false
            }
        }
    }

    fn start_close(&mut self, now: Instant, finishing: Option<RequestId>) -> Payload {
        let session = self.slot.open().map_or(self.own_session, |holding| holding.session);
        self.slot = Slot::Closing { finishing };
        self.close(now, session)
    }

    fn close(&mut self, now: Instant, session: u8) -> Payload {
        // The next file gets another number, where the server takes ours: a late or repeated
        // datagram of this file must not be taken for one of that.
        if !self.traits.one_session {
            self.own_session = self.own_session % u8::MAX + 1;
        }
        let request = Payload { session, ..Payload::request(Opcode::TerminateSession) };
        self.exchange.send(now, Owner::Close, request, Duration::ZERO)
    }

    /// Sends a request that needs no session of its own. It carries the open file's, because a
    /// server with one session for all refuses every other, or else the one we propose.
    fn send(&mut self, now: Instant, owner: Owner, request: Payload, floor: Duration) -> Payload {
        let session = self.slot.open().map_or(self.own_session, |holding| holding.session);
        self.exchange.send(now, owner, Payload { session, ..request }, floor)
    }

    /// After a silence the open file is closed and opened again before anything of it is believed.
    fn settle_doubt(&mut self) {
        if !std::mem::take(&mut self.doubtful) {
            return;
        }
        if let Some(session) = self.slot.open().map(|holding| holding.session) {
            self.lose_session();
            self.slot = Slot::MustClose { session, finishing: None };
        }
    }

    /// Reads that found their file open already learn its size.
    fn adopt_readers(&mut self, now: Instant) {
        let Some(holding) = self.slot.open() else { return };
        if holding.file.access == Access::Read {
            let (file, size) = (holding.file.clone(), holding.size);
            self.tell_readers(now, &file, size, false);
        }
    }

    fn give_up_unheard(&mut self, now: Instant) {
        let awaited = match &self.slot {
            Slot::Closing { finishing } => finishing.is_some(),
            Slot::Opening(file) => !self.opens_in_vain(file),
            Slot::Free | Slot::Open(_) | Slot::MustClose { .. } => false,
        };
        let unheard = self.exchange.forget(|request| {
            let session = matches!(request.owner, Owner::Close | Owner::Open);
            let tired = request.tries > SESSION_TRIES && session && !awaited;
            let silent = request.tries > SILENT_TRIES
                && matches!(
                    request.payload.command(),
                    Some(Opcode::ListDirectoryWithTime | Opcode::TruncateFile)
                );
            tired || silent
        });
        for request in unheard {
            match request.owner {
                Owner::Close => {
                    self.taken.left_open(now, request.payload.session);
                    self.slot = Slot::Free;
                }
                Owner::Open => self.open_unheard(request.payload.session),
                Owner::Job(id, _) => self.job_unheard(id),
            }
        }
    }

    /// Whether an opening on its way is of no use to anybody, or keeps others from theirs.
    fn opens_in_vain(&self, file: &File) -> bool {
        self.users(file).is_empty() || self.contender(file).is_some()
    }

    /// The server may have opened it all the same, and only its answers be lost.
    fn open_unheard(&mut self, session: u8) {
        let closing = Slot::MustClose { session, finishing: None };
        if let Slot::Opening(file) = std::mem::replace(&mut self.slot, closing) {
            let users = self.users(&file);
            self.go_behind(users);
        }
    }

    /// A server that lived and answered else, but no question for a checksum, has none.
    fn note_missing_checksum(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(&id) else { return };
        self.never_sums |=
            self.heard > job.progress && matches!(job.kind, Kind::Simple(SimpleOp::Checksum(_), _));
    }

    fn job_unheard(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // Where nothing else was heard either, it was the link that was silent.
        self.never_truncates |= self.heard > job.progress
            && matches!(job.kind, Kind::Simple(SimpleOp::Truncate(..), _));
        match &mut job.kind {
            Kind::List(list) if list.may_be_unheard() => list.fall_back(),
            Kind::List(list) => list.unask(),
            Kind::Simple(SimpleOp::Truncate(..), _) => self.end(id, Err(Error::Unsupported)),
            Kind::Simple(..) | Kind::Confirm(_) | Kind::Read(_) | Kind::Write(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mavftp::client::{Event, Op, Output, Traits};

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
        let mut client =
            Client::new(now, Traits { queue: 8, keeps_content: true, one_session: false }, 1);
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
        let traits = Traits { queue: 8, keeps_content: true, one_session: false };
        let mut client = Client::new(now, traits, 1);
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
