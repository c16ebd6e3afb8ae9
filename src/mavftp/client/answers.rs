//! What answers do: they move jobs on, open and close the file, and tell when the server's session
//! was lost or is somebody else's.

use std::time::{Duration, Instant};

use crate::mavftp::transfer::{ListStep, ReadStep, WriteStep};
use crate::mavftp::wire::{Nak, Payload};

use super::exchange::{Answer, Owner};
use super::job::{Job, Kind};
use super::simple::SimpleStep;
use super::slot::{Access, DOUBT, File, Slot};
use super::{Client, Error, Event, Reply, RequestId};

/// A single-session ArduPilot frees an idle session when it has heard nothing for 3 s; every
/// request, even a refused one, begins those 3 s anew.
const LEFT_ALONE: Duration = Duration::from_millis(3300);
/// A server whose sessions are all taken is asked again after this.
const TAKEN_RETRY: Duration = Duration::from_secs(1);

impl Client {
    /// Takes in a frame from the target. What answers nothing outstanding is dropped and counted.
    pub fn receive(&mut self, now: Instant, payload: &Payload) {
        let silence = now.saturating_duration_since(self.heard);
        self.heard = now;
        let Some(answer) = self.exchange.receive(now, payload) else { return };
        if silence >= DOUBT && answer.request.block {
            // The silence may have cost the session; the block is asked for again after reopening.
            self.doubtful = true;
            return self.forget_block(&answer);
        }
        match answer.request.owner {
            Owner::Open => self.open_answered(now, &answer),
            Owner::Close => self.close_answered(&answer),
            Owner::Job(id, mark) => self.job_answered(now, id, mark, &answer),
        }
    }

    fn job_answered(&mut self, now: Instant, id: RequestId, mark: u32, answer: &Answer) {
        if self.hold_if_taken(now, id, answer) {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.blocked = None;
        let (result, payload) = (answer.result, &answer.payload);
        match &mut job.kind {
            Kind::Simple(op, _) => {
                let step = op.answered(answer.request.tries, result, payload);
                self.simple_step(now, id, step);
            }
            Kind::List(list) => {
                let step = list.answered(result, payload);
                let (has_time, unreadable) = (list.has_time(), list.unreadable());
                if matches!(result, Ok(()) | Err(Nak::Eof)) {
                    self.lists_time = Some(has_time);
                }
                self.list_step(now, id, step, unreadable);
            }
            Kind::Confirm(confirm) => match confirm.list.answered(result, payload) {
                ListStep::Page(entries) => confirm.page(&entries),
                ListStep::WithoutTime => {}
                ListStep::Done => {
                    let verdict = confirm.verdict();
                    self.end(id, verdict);
                }
                ListStep::Failed(error) => self.end(id, Err(error)),
            },
            Kind::Read(read) => {
                let step = read.answered(mark, result, payload);
                self.read_step(now, id, mark, step, payload);
            }
            Kind::Write(upload) => {
                let step = upload.job.answered(mark, result, payload);
                self.write_step(now, id, step);
            }
        }
    }

    /// A server that says its session is another's is left alone, and asked again; true then.
    fn hold_if_taken(&mut self, now: Instant, id: RequestId, answer: &Answer) -> bool {
        let pause = match answer.result {
            Err(Nak::NoSessionsAvailable) => TAKEN_RETRY,
            Err(Nak::InvalidSession) if !answer.request.block => LEFT_ALONE,
            Ok(()) | Err(_) => return false,
        };
        let Some(job) = self.jobs.get_mut(&id) else { return true };
        job.blocked = Some(Error::Busy);
        match &mut job.kind {
            Kind::Simple(_, asked) => *asked = false,
            Kind::List(list) => list.unask(),
            Kind::Confirm(confirm) => confirm.list.unask(),
            Kind::Read(_) | Kind::Write(_) => return false,
        }
        self.hold_until = Some(now + pause);
        true
    }

    fn simple_step(&mut self, now: Instant, id: RequestId, step: SimpleStep) {
        match step {
            SimpleStep::Done(reply) => {
                self.progress = now;
                self.end(id, Ok(reply));
            }
            SimpleStep::Failed(error) => self.end(id, Err(error)),
            SimpleStep::Confirm(confirm) => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.progress = now;
                    job.kind = Kind::Confirm(confirm);
                }
            }
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
            ListStep::WithoutTime => self.mark_progress(now, id),
            ListStep::Done => {
                if unreadable > 0 {
                    tracing::warn!(unreadable, "entries of a listing could not be read");
                }
                self.end(id, Ok(Reply::Done));
            }
            ListStep::Failed(error) => self.end(id, Err(error)),
        }
    }

    fn read_step(
        &mut self,
        now: Instant,
        id: RequestId,
        at: u32,
        step: ReadStep,
        payload: &Payload,
    ) {
        match step {
            ReadStep::Data(count) => {
                self.mark_progress(now, id);
                self.slot.touch(now);
                self.events.push_back(Event::Data(id, at, *payload, count));
                self.end_if_read(id);
            }
            ReadStep::Nothing => self.end_if_read(id),
            ReadStep::SessionLost => self.lose_session(),
            ReadStep::Failed(error) => self.end(id, Err(error)),
        }
    }

    fn end_if_read(&mut self, id: RequestId) {
        if let Some(Job { kind: Kind::Read(read), .. }) = self.jobs.get(&id)
            && read.is_complete()
        {
            let size = read.size();
            self.end(id, Ok(Reply::Size(size)));
        }
    }

    fn write_step(&mut self, now: Instant, id: RequestId, step: WriteStep) {
        match step {
            WriteStep::Acknowledged(offset) => {
                self.mark_progress(now, id);
                self.slot.touch(now);
                self.events.push_back(Event::Acknowledged(id, offset));
            }
            WriteStep::SessionLost => self.lose_session(),
            WriteStep::Failed(error) => self.end(id, Err(error)),
        }
    }

    fn mark_progress(&mut self, now: Instant, id: RequestId) {
        self.progress = now;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.progress = now;
        }
    }

    fn open_answered(&mut self, now: Instant, answer: &Answer) {
        let Slot::Opening(file) = std::mem::replace(&mut self.slot, Slot::Free) else { return };
        match answer.result {
            Ok(()) => {
                self.doubtful = false;
                self.progress = now;
                self.file_opened(now, file, &answer.payload);
            }
            // The answer to our first copy was lost and the server does not remember it: what is
            // open is ours.
            Err(Nak::NoSessionsAvailable | Nak::Fail) if answer.request.tries > 1 => {
                self.slot =
                    Slot::MustClose { session: answer.request.payload.session, finishing: None };
            }
            Err(Nak::NoSessionsAvailable) => self.session_taken(now, &file, TAKEN_RETRY),
            Err(Nak::InvalidSession) => self.session_taken(now, &file, LEFT_ALONE),
            Err(nak) => self.end_users(&file, Error::Refused(nak)),
        }
    }

    fn file_opened(&mut self, now: Instant, file: File, payload: &Payload) {
        let size = payload.data_u32();
        let (Some(size), Access::Read) = (size, file.access) else {
            return self.opened_for_writing(now, file, payload);
        };
        self.slot.opened(now, file.clone(), payload.session, size);
        for id in self.users(&file) {
            self.mark_progress(now, id);
        }
        self.tell_readers(&file, size, true);
    }

    /// Tells the reads of a file its size: all of them after an opening, else those that are new.
    pub(super) fn tell_readers(&mut self, file: &File, size: u32, reopened: bool) {
        for id in self.users(file) {
            let Some(Job { kind: Kind::Read(read), .. }) = self.jobs.get_mut(&id) else { continue };
            if !reopened && (read.is_begun() || !read.accepts(size)) {
                continue;
            }
            let begun = read.is_begun();
            match read.opened(size) {
                Ok(()) if begun => {}
                Ok(()) => self.events.push_back(Event::Opened(id, size)),
                Err(error) => self.end(id, Err(error)),
            }
            self.end_if_read(id);
        }
    }

    fn opened_for_writing(&mut self, now: Instant, file: File, payload: &Payload) {
        if file.access == Access::Read {
            // An answer to a read's open without a size.
            return self.end_users(&file, Error::Malformed);
        }
        let emptied = file.access == Access::Create;
        let writer = file.writer;
        self.slot.opened(now, file, payload.session, payload.data_u32().unwrap_or(0));
        let Some(id) = writer else { return };
        self.mark_progress(now, id);
        if let Some(upload) = self.upload(id) {
            if upload.begun && emptied {
                upload.job.restart();
            }
            upload.begun = true;
        }
    }

    fn session_taken(&mut self, now: Instant, file: &File, pause: Duration) {
        self.hold_until = Some(now + pause);
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
        let lost = self.exchange.forget(|request| request.block || request.owner == Owner::Open);
        for request in lost {
            if let Owner::Job(id, mark) = request.owner {
                self.unask(id, mark);
            }
        }
        if matches!(self.slot, Slot::Opening(_) | Slot::Open(_)) {
            self.slot = Slot::Free;
        }
    }

    fn forget_block(&mut self, answer: &Answer) {
        if let Owner::Job(id, mark) = answer.request.owner {
            self.unask(id, mark);
        }
    }

    fn unask(&mut self, id: RequestId, mark: u32) {
        match self.jobs.get_mut(&id).map(|job| &mut job.kind) {
            Some(Kind::Read(read)) => read.forgotten(mark),
            Some(Kind::Write(upload)) => upload.job.forgotten(mark),
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
