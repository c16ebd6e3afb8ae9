//! Who gets the one open file, and for how long: the longest waiting first, in turns.

use std::time::{Duration, Instant};

use crate::mavftp::wire::{Opcode, Payload};

use super::exchange::Owner;
use super::job::{Job, Kind};
use super::slot::{Access, File, Holding, IDLE_UPLOAD, Slot};
use super::{Class, Client, Error, RequestId};

impl Client {
    /// Opens a file for whoever needs one, and closes one that is finished, idle or had its turn.
    pub(super) fn turn_slot(&mut self, now: Instant) -> Option<Payload> {
        match &self.slot {
            Slot::Free if self.taken.waits(now) => None,
            Slot::Free if self.next_file().is_none() => {
                let session = self.taken.take_abandoned()?;
                self.slot = Slot::Closing { finishing: None };
                Some(self.close(now, session))
            }
            Slot::Free => self.open_next(now),
            Slot::Open(_) => {
                self.end_idle_upload(now);
                self.close_if_due(now)
            }
            Slot::Opening(_) | Slot::MustClose { .. } | Slot::Closing { .. } => None,
        }
    }

    /// When [`Client::turn_slot`] has something to do, if nothing arrives.
    pub(super) fn slot_wakes(&self) -> Option<Instant> {
        match &self.slot {
            Slot::Open(holding) if self.contender(&holding.file) => holding.turn_ends_at(),
            Slot::Open(holding) if self.rests(holding) => Some(holding.idle_at()),
            Slot::Open(holding) => self.idle_since(holding).map(|since| since + IDLE_UPLOAD),
            Slot::Free => self.taken.until().filter(|_| self.next_file().is_some()),
            Slot::Opening(_) | Slot::MustClose { .. } | Slot::Closing { .. } => None,
        }
    }

    /// A server that remembers one answer cannot tell a repeated opening by it when it has answered
    /// something else meanwhile: nothing is on its way beside an opening, for a round trip.
    pub(super) fn keeps_quiet(&self, now: Instant) -> bool {
        self.traits.one_session
            && match self.slot {
                Slot::Opening(_) => true,
                Slot::Free => {
                    self.exchange.len() > 0 && !self.taken.waits(now) && self.next_file().is_some()
                }
                Slot::Open(_) | Slot::MustClose { .. } | Slot::Closing { .. } => false,
            }
    }

    /// The file that is to be opened next.
    pub(super) fn next_file(&self) -> Option<File> {
        let keeps = self.traits.keeps_content;
        let (id, job) = self.waiting_for_slot().min_by_key(|(id, job)| slot_place(**id, job))?;
        job.kind.file(*id, keeps)
    }

    /// Whether a job waits for another file than this one.
    pub(super) fn contender(&self, file: &File) -> bool {
        self.waiting_for_slot().any(|(id, job)| !job.kind.uses(*id, file))
    }

    /// Whether a job works on this file.
    pub(super) fn has_users(&self, file: &File) -> bool {
        self.jobs.iter().any(|(id, job)| job.kind.uses(*id, file))
    }

    /// Whether the holder has had its turn while others wait.
    pub(super) fn turn_over(&self, now: Instant, holding: &Holding) -> bool {
        let ended = holding.turn_ends_at().is_some_and(|end| now >= end);
        ended && self.preemptible(holding) && self.contender(&holding.file)
    }

    pub(super) fn start_close(&mut self, now: Instant, finishing: Option<RequestId>) -> Payload {
        let session = self.slot.open().map_or(self.own_session, |holding| holding.session);
        self.slot = Slot::Closing { finishing };
        self.stream.lose();
        self.close(now, session)
    }

    pub(super) fn close(&mut self, now: Instant, session: u8) -> Payload {
        // The next file gets another number, where the server takes ours: a late or repeated
        // datagram of this file must not be taken for one of that.
        if !self.traits.one_session {
            self.own_session = self.own_session % u8::MAX + 1;
        }
        let request = Payload { session, ..Payload::request(Opcode::TerminateSession) };
        self.exchange.send(now, Owner::Close, request, Duration::ZERO)
    }

    /// After a silence the open file is closed and opened again before anything of it is believed.
    pub(super) fn settle_doubt(&mut self) {
        if !std::mem::take(&mut self.doubtful) {
            return;
        }
        if let Some(session) = self.slot.open().map(|holding| holding.session) {
            self.lose_session();
            self.slot = Slot::MustClose { session, finishing: None };
        }
    }

    /// Reads that found their file open already learn its size.
    pub(super) fn adopt_readers(&mut self, now: Instant) {
        if !self.newcomers {
            return;
        }
        let Some(holding) = self.slot.open() else { return };
        self.newcomers = false;
        if holding.file.access == Access::Read {
            let (file, size) = (holding.file.clone(), holding.size);
            self.tell_readers(now, &file, size, false);
        }
    }

    /// Those who gave way come after those who waited.
    pub(super) fn go_behind(&mut self, users: Vec<RequestId>) {
        for id in users {
            self.turns += 1;
            let turn = self.turns;
            self.replace(id, |job| job.turn = turn);
        }
    }

    /// Changes a job's place in the line.
    pub(super) fn replace(&mut self, id: RequestId, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(&id) {
            self.line.remove(&(job.class, job.turn, id));
            change(job);
            self.line.insert((job.class, job.turn, id));
        }
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

    fn close_if_due(&mut self, now: Instant) -> Option<Payload> {
        let holding = self.slot.open()?;
        if let Some(id) = holding.file.writer
            && self.upload_complete(id)
        {
            return Some(self.start_close(now, Some(id)));
        }
        let used = self.has_users(&holding.file);
        let due = match self.contender(&holding.file) {
            true => !used || self.may_give_way(now, holding),
            false => self.rests(holding) && (self.leaving || now >= holding.idle_at()),
        };
        if !due || self.exchange.blocks() > 0 || self.stream.holds_others() {
            return None;
        }
        let users = self.users(&holding.file);
        self.go_behind(users);
        Some(self.start_close(now, None))
    }

    /// Whether the open file is of no use for now, and nothing is lost by closing it.
    fn rests(&self, holding: &Holding) -> bool {
        let idle = self.idle_since(holding).is_some() && self.preemptible(holding);
        idle || !self.has_users(&holding.file)
    }

    /// Since when the open file's upload waits for a program.
    fn idle_since(&self, holding: &Holding) -> Option<Instant> {
        self.jobs.get(&holding.file.writer?)?.kind.idle_since()
    }

    /// An upload that waits for its program and could only begin anew after others had the slot is
    /// given up for them. For what nobody waits for yet it is not, and neither for ever.
    fn end_idle_upload(&mut self, now: Instant) {
        let Some(holding) = self.slot.open() else { return };
        let Some(since) = self.idle_since(holding).filter(|_| !self.preemptible(holding)) else {
            return;
        };
        let awaited = |(id, job): (&RequestId, &Job)| {
            job.class != Class::ReadAhead && !job.kind.uses(*id, &holding.file)
        };
        if (now >= since + IDLE_UPLOAD || self.waiting_for_slot().any(awaited))
            && let Some(id) = holding.file.writer
        {
            self.end(id, Err(Error::Busy));
        }
    }

    /// Whether the holder's turn is over, or it has nothing to ask or send.
    fn may_give_way(&self, now: Instant, holding: &Holding) -> bool {
        let busy =
            |(id, job): (&RequestId, &Job)| job.kind.uses(*id, &holding.file) && job.kind.wants();
        let idle = !self.jobs.iter().any(busy);
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

    fn waiting_for_slot(&self) -> impl Iterator<Item = (&RequestId, &Job)> {
        self.jobs.iter().filter(|(_, job)| job.kind.needs_file())
    }
}

/// Who gets the slot: longest waiting first, except that nobody waits for read-ahead.
fn slot_place(id: RequestId, job: &Job) -> (bool, u64, RequestId) {
    (job.class == Class::ReadAhead, job.turn, id)
}
