//! What answers do: they move jobs on, open and close the file, and tell when the server's session
//! was lost or is somebody else's. What is heard of other stations tells that too.

use std::time::{Duration, Instant};

use crate::mavftp::transfer::{ListStep, ReadStep, WriteStep};
use crate::mavftp::wire::{Nak, Opcode, Payload};

use super::exchange::{Answer, Owner};
use super::job::{Job, Kind};
use super::simple::SimpleStep;
use super::slot::{Access, DOUBT, File, SHARED, Slot, WRITE_DOUBT};
use super::{Client, Error, Event, Reply, RequestId};

/// A single-session ArduPilot frees an idle session when it has heard nothing for 3 s; every
/// request, even a refused one, begins those 3 s anew.
const LEFT_ALONE: Duration = Duration::from_millis(3300);
/// A server that has no room even for a request without a session is asked again after this.
const CROWDED: Duration = Duration::from_secs(1);
/// Openings in a row that count as progress though no byte moved.
const OPENINGS_MAX: u32 = 4;
/// What a request for a file gets that is not open so: POSIX' "bad file number".
const EBADF: u8 = 9;

impl Client {
    /// Takes in a frame from the target. What answers nothing outstanding is dropped and counted.
    pub fn receive(&mut self, now: Instant, payload: &Payload) {
        let silence = now.saturating_duration_since(self.heard);
        self.heard = now;
        if payload.req_opcode == Opcode::BurstReadFile as u8 {
            return self.burst_received(now, silence, payload);
        }
        let Some(answer) = self.exchange.receive(now, payload) else { return };
        if answer.request.block && (self.doubtful || self.is_doubtful_after(silence)) {
            // The silence may have cost the session; the block, and what comes right behind it, is
            // asked for again after reopening.
            self.doubtful = true;
            return self.forget_block(&answer);
        }
        match answer.request.owner {
            Owner::Open => self.open_answered(now, &answer),
            Owner::Close => self.close_answered(&answer),
            Owner::KeepAlive => {}
            Owner::Job(id, mark) => self.job_answered(now, id, mark, &answer),
        }
    }

    /// Whether a silence may have cost the session, and a number that all stations share another
    /// file. An id of our own is refused when it is lost.
    pub(super) fn is_doubtful_after(&self, silence: Duration) -> bool {
        let Some(holding) = self.slot.open() else { return false };
        let limit = if holding.file.access == Access::Read { DOUBT } else { WRITE_DOUBT };
        holding.session == SHARED && silence >= limit
    }

    /// Takes in an answer of the target to another station. Where all stations share one session, what
    /// another opens is from then on what our session's number means, and what it closes is ours.
    pub fn overhear(&mut self, payload: &Payload) {
        let shared = self.slot.open().is_some_and(|holding| holding.session == SHARED);
        if !shared || payload.answer() != Some(Ok(())) {
            return;
        }
        if let Some(
            Opcode::TerminateSession
            | Opcode::ResetSessions
            | Opcode::OpenFileRo
            | Opcode::OpenFileWo
            | Opcode::CreateFile,
        ) = Opcode::from_number(payload.req_opcode)
        {
            self.lose_session();
        }
    }

    fn job_answered(&mut self, now: Instant, id: RequestId, mark: u32, answer: &Answer) {
        if self.hold_if_taken(now, id, mark, answer) {
            return;
        }
        let traffic = self.exchange.traffic(&answer.request);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.blocked = None;
        let (result, payload) = (answer.result, &answer.payload);
        match &mut job.kind {
            Kind::Simple(op, _) => {
                let step = op.answered(answer.request.tries, result, payload);
                self.simple_step(now, id, step);
            }
            Kind::List(list) => {
                let step = list.answered(mark, result, payload, traffic);
                let (has_time, unreadable) = (list.has_time(), list.unreadable());
                if matches!(result, Ok(()) | Err(Nak::Eof)) {
                    self.lists_time = Some(has_time);
                }
                self.list_step(now, id, step, unreadable);
            }
            Kind::Confirm(confirm) => {
                let step = confirm.list.answered(mark, result, payload, traffic);
                self.confirm_step(now, id, step);
            }
            Kind::Read(read) => {
                let size = answer.request.payload.size;
                let step = read.answered((mark, size), result, payload);
                self.read_step(now, id, mark, step, answer);
            }
            Kind::Write(upload) => {
                let size = answer.request.payload.size;
                let step = upload.job.answered((mark, size), result, payload);
                self.write_step(now, id, step, answer);
            }
        }
    }

    /// A server that says its session is another's is left alone, and asked again; true then. Where the
    /// session is only one of ours that we have closed since, it is asked again at once.
    fn hold_if_taken(&mut self, now: Instant, id: RequestId, mark: u32, answer: &Answer) -> bool {
        let carried = answer.request.payload.session;
        let outdated = self.slot.open().is_some_and(|holding| holding.session != carried);
        let pause = match answer.result {
            Err(Nak::NoSessionsAvailable) => CROWDED,
            Err(Nak::InvalidSession) if !answer.request.block && outdated => Duration::ZERO,
            Err(Nak::InvalidSession) if !answer.request.block => LEFT_ALONE,
            Ok(()) | Err(_) => return false,
        };
        let Some(job) = self.jobs.get_mut(&id) else { return true };
        job.blocked = Some(Error::Busy);
        match &mut job.kind {
            Kind::Simple(_, asked) => *asked = false,
            Kind::List(list) => list.unask(mark),
            Kind::Confirm(confirm) => confirm.list.unask(mark),
            Kind::Read(_) | Kind::Write(_) => return false,
        }
        self.hold_until = Some(now + pause);
        true
    }

    fn simple_step(&mut self, now: Instant, id: RequestId, step: SimpleStep) {
        match step {
            SimpleStep::Done(reply) => self.end(id, Ok(reply)),
            SimpleStep::Failed(error) => self.end(id, Err(error)),
            SimpleStep::Confirm(confirm) => {
                self.mark_progress(now, id);
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.kind = Kind::Confirm(confirm);
                }
            }
        }
    }

    fn confirm_step(&mut self, now: Instant, id: RequestId, step: ListStep) {
        let Some(Job { kind: Kind::Confirm(confirm), .. }) = self.jobs.get_mut(&id) else { return };
        match step {
            ListStep::Page(entries) => {
                confirm.page(&entries);
                if !entries.is_empty() {
                    self.mark_progress(now, id);
                }
            }
            ListStep::Early => self.mark_progress(now, id),
            ListStep::WithoutTime => {}
            ListStep::Done(entries) => {
                confirm.page(&entries);
                let verdict = confirm.verdict();
                self.end(id, verdict);
            }
            ListStep::Failed(error) => self.end(id, Err(error)),
        }
    }

    fn list_step(&mut self, now: Instant, id: RequestId, step: ListStep, unreadable: u32) {
        match step {
            ListStep::Page(entries) => {
                // A server may repeat its entries for ever.
                if !entries.is_empty() {
                    self.mark_progress(now, id);
                }
                self.events.push_back(Event::Page(id, entries));
            }
            ListStep::Early | ListStep::WithoutTime => self.mark_progress(now, id),
            ListStep::Done(entries) => {
                if !entries.is_empty() {
                    self.events.push_back(Event::Page(id, entries));
                }
                if unreadable > 0 {
                    tracing::warn!(unreadable, "entries of a listing could not be read");
                }
                self.end(id, Ok(Reply::Done));
            }
            ListStep::Failed(error) => self.end(id, Err(error)),
        }
    }

    fn read_step(&mut self, now: Instant, id: RequestId, at: u32, step: ReadStep, answer: &Answer) {
        match step {
            ReadStep::Data(range) => {
                self.moved(now, id, answer.request.payload.size);
                self.events.push_back(Event::Data(id, at, answer.payload, range));
                self.end_if_read(id);
                self.end_if_large(id);
            }
            ReadStep::Nothing => self.end_if_read(id),
            ReadStep::SessionLost => self.session_refused(answer.result),
            ReadStep::Failed(error) => self.end(id, Err(error)),
        }
    }

    pub(super) fn end_if_read(&mut self, id: RequestId) {
        if let Some(Job { kind: Kind::Read(read), .. }) = self.jobs.get(&id)
            && read.is_complete()
        {
            let size = read.size();
            self.end(id, Ok(Reply::Size(size)));
        }
    }

    fn write_step(&mut self, now: Instant, id: RequestId, step: WriteStep, answer: &Answer) {
        match step {
            WriteStep::Acknowledged(offset) => {
                if let Some(upload) = self.upload(id) {
                    upload.doubted = false;
                }
                self.moved(now, id, answer.request.payload.size);
                self.events.push_back(Event::Acknowledged(id, offset));
            }
            WriteStep::SessionLost => self.session_refused(answer.result),
            WriteStep::Failed(error) => self.end(id, Err(error)),
        }
    }

    /// Bytes of a file moved; whoever waits for the session sees that it is put to use.
    pub(super) fn moved(&mut self, now: Instant, id: RequestId, bytes: u8) {
        self.progress = now;
        if let Some(factor) = self.block_size.deliver(now, bytes) {
            self.exchange.rescale(factor);
        }
        self.slot.touch(now);
        self.mark_progress(now, id);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.openings = 0;
        }
    }

    /// A file that is opened again and again without a byte is no progress in the end.
    fn mark_opening(&mut self, now: Instant, id: RequestId) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.openings < OPENINGS_MAX) {
            job.openings += 1;
            job.progress = now;
        }
    }

    fn mark_progress(&mut self, now: Instant, id: RequestId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.progress = now;
        }
    }

    fn open_answered(&mut self, now: Instant, answer: &Answer) {
        let Slot::Opening(file) = std::mem::replace(&mut self.slot, Slot::Free) else { return };
        match answer.result {
            Ok(()) => {
                self.doubtful = false;
                self.taken.opened();
                self.file_opened(now, file, answer);
            }
            Err(Nak::InvalidSession) => {
                self.hold_until = Some(now + LEFT_ALONE);
                self.block_users(&file);
            }
            Err(nak) => self.open_refused(now, &file, nak, answer),
        }
    }

    fn open_refused(&mut self, now: Instant, file: &File, nak: Nak, answer: &Answer) {
        let one = self.traits.one_session;
        // An old error that sticks stands for the real one, and that is the taken session.
        let taken = nak == Nak::NoSessionsAvailable || (one && nak == Nak::FileExists);
        if !taken && nak != Nak::Fail {
            return self.end_users(file, Error::Refused(nak));
        }
        // Where ids are ours to choose, a repeated opening that is refused has worked the first time.
        // A shared id tells nothing: what is open under it may be another station's.
        let repeated = answer.request.tries > 1;
        let own = self.taken.reclaim(now, one);
        let ours = !one && (repeated || (nak == Nak::Fail && self.taken.clears()));
        match own.or(ours.then_some(answer.request.payload.session)) {
            Some(session) => self.slot = Slot::MustClose { session, finishing: None },
            None if taken => {
                self.taken.refused(now);
                self.block_users(file);
            }
            None => self.end_users(file, Error::Refused(nak)),
        }
    }

    fn file_opened(&mut self, now: Instant, file: File, answer: &Answer) {
        let payload = &answer.payload;
        let size = payload.data_u32();
        let (Some(size), Access::Read) = (size, file.access) else {
            return self.opened_for_writing(now, file, answer);
        };
        self.slot.opened(now, file.clone(), payload.session, size);
        self.tell_readers(now, &file, size, true);
    }

    /// Tells the reads of a file its size: all of them after an opening, else those that are new.
    pub(super) fn tell_readers(&mut self, now: Instant, file: &File, size: u32, reopened: bool) {
        for id in self.users(file) {
            let Some(Job { kind: Kind::Read(read), .. }) = self.jobs.get_mut(&id) else { continue };
            if !reopened && (read.is_begun() || !read.accepts(size)) {
                continue;
            }
            let begun = read.is_begun();
            match read.opened(size) {
                Ok(()) => {
                    self.mark_opening(now, id);
                    if !begun {
                        self.events.push_back(Event::Opened(id, size));
                    }
                }
                Err(error) => self.end(id, Err(error)),
            }
            self.end_if_read(id);
            self.end_if_large(id);
        }
    }

    fn opened_for_writing(&mut self, now: Instant, file: File, answer: &Answer) {
        if file.access == Access::Read {
            // An answer to a read's open without a size.
            return self.end_users(&file, Error::Malformed);
        }
        let emptied = file.access == Access::Create;
        let writer = file.writer;
        if emptied && answer.request.tries > 1 && !self.traits.keeps_content {
            // A server without a memory empties the file once more when it hears the other copy of
            // our request; what a network delays so long must not come behind our first bytes.
            let settled = self.exchange.round_trip().timeout(1, Duration::ZERO);
            self.hold_until = Some(now + settled);
        }
        let (session, size) = (answer.payload.session, answer.payload.data_u32());
        self.slot.opened(now, file, session, size.unwrap_or(0));
        let Some(id) = writer else { return };
        self.mark_opening(now, id);
        let Some(upload) = self.upload(id) else { return };
        if !emptied && upload.lacks(size) {
            return self.begin_anew(id, session);
        }
        if upload.begun && emptied {
            upload.job.restart();
        }
        (upload.begun, upload.doubted) = (true, false);
    }

    /// The file has lost bytes of ours, or may have: all of it is sent again. What others have put
    /// before ours cannot be.
    fn begin_anew(&mut self, id: RequestId, session: u8) {
        self.lose_session();
        self.slot = Slot::MustClose { session, finishing: None };
        let Some(upload) = self.upload(id) else { return };
        if upload.append {
            return self.end(id, Err(Error::Changed));
        }
        upload.begun = false;
        upload.job.restart();
    }

    fn block_users(&mut self, file: &File) {
        for id in self.users(file) {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.blocked = Some(Error::Busy);
            }
        }
    }

    fn close_answered(&mut self, answer: &Answer) {
        let Slot::Closing { finishing } = std::mem::replace(&mut self.slot, Slot::Free) else {
            return;
        };
        let Some(id) = finishing else { return };
        // The session may have ended by itself after the last block; other refusals are the
        // server's verdict on what was written.
        match answer.result {
            Ok(()) | Err(Nak::InvalidSession) => self.finish_upload(id),
            Err(Nak::FileExists) if self.traits.one_session => self.finish_upload(id),
            Err(nak) => self.end(id, Err(Error::Refused(nak))),
        }
    }

    fn finish_upload(&mut self, id: RequestId) {
        if let Some(length) = self.upload(id).and_then(|upload| upload.job.is_complete()) {
            self.end(id, Ok(Reply::Size(length)));
        }
    }

    /// The server has closed our file, or may have: what was on its way is asked for again.
    pub(super) fn lose_session(&mut self) {
        self.stream.lose();
        self.forget_blocks();
        self.exchange.forget_others(|request| request.owner == Owner::Open);
        if matches!(self.slot, Slot::Opening(_) | Slot::Open(_)) {
            self.slot = Slot::Free;
        }
    }

    /// What is on its way of the open file is asked for again.
    pub(super) fn forget_blocks(&mut self) {
        for request in self.exchange.forget(|request| request.block) {
            if let Owner::Job(id, mark) = request.owner {
                self.unask(id, mark, request.payload.size);
            }
        }
    }

    /// A block was refused as if our file were not open.
    pub(super) fn session_refused(&mut self, result: Result<(), Nak>) {
        let session = self.slot.open().map(|holding| holding.session);
        self.lose_session();
        let gone =
            matches!(result, Err(Nak::InvalidSession | Nak::FileNotFound | Nak::FailErrno(EBADF)));
        // Any other refusal leaves the file open, and it would be in our own way.
        if let Some(session) = session.filter(|_| !gone) {
            self.slot = Slot::MustClose { session, finishing: None };
        }
    }

    fn forget_block(&mut self, answer: &Answer) {
        if let Owner::Job(id, mark) = answer.request.owner {
            self.unask(id, mark, answer.request.payload.size);
        }
    }

    fn unask(&mut self, id: RequestId, mark: u32, size: u8) {
        match self.jobs.get_mut(&id).map(|job| &mut job.kind) {
            Some(Kind::Read(read)) => read.forgotten(mark, size),
            Some(Kind::Write(upload)) => upload.job.forgotten(mark, size),
            Some(Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_)) | None => {}
        }
    }

    /// The jobs that work on a file.
    pub(super) fn users(&self, file: &File) -> Vec<RequestId> {
        let uses = |(id, job): &(&RequestId, &Job)| job.kind.uses(**id, file);
        self.jobs.iter().filter(uses).map(|(id, _)| *id).collect()
    }

    fn end_users(&mut self, file: &File, error: Error) {
        for id in self.users(file) {
            self.end(id, Err(error));
        }
    }
}
