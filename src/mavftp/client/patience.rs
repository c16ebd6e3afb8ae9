//! How long things may take: when a request has waited too long, and which opcodes some servers
//! never answer.

use std::time::{Duration, Instant};

use crate::mavftp::wire::Opcode;

use super::exchange::{Outstanding, Owner};
use super::job::{Job, Kind};
use super::simple::{SILENT_TRIES, SimpleOp};
use super::slot::{File, Slot};
use super::{Client, Error, RequestId};

/// A closing or opening that nobody waits for, or others wait behind, is not repeated more often:
/// there are servers that pass over what they cannot open.
const SESSION_TRIES: u32 = 3;
/// A closing of a session that is ours alone, and behind which nobody waits, is repeated through a
/// silence of some seconds: there are servers that never close a file by themselves.
const CLOSE_TRIES: u32 = 9;

impl Client {
    /// Ends what has waited too long, and gives up what some servers never answer.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((id, error)) = self.first_late(now) {
            self.note_missing_checksum(id);
            self.end(id, Err(error));
        }
        self.give_up_unheard(now);
    }

    /// When the first job will have waited too long.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.jobs.iter().filter_map(|(id, job)| self.deadline(*id, job)).min()
    }

    fn first_late(&self, now: Instant) -> Option<(RequestId, Error)> {
        self.jobs.iter().find_map(|(id, job)| {
            let due = self.deadline(*id, job).filter(|due| *due <= now);
            due.map(|_| (*id, job.blocked.unwrap_or(Error::TimedOut)))
        })
    }

    /// Patience counts from the last progress; for a job that only waits its turn, from when any
    /// file's bytes moved last. An upload that waits for its own source has all the time it needs.
    fn deadline(&self, id: RequestId, job: &Job) -> Option<Instant> {
        let waiting =
            (job.kind.unfinished() && self.exchange.of_job(id) == 0) || self.stream.holds_others();
        let since = if waiting { job.progress.max(self.progress) } else { job.progress };
        (!waiting || !job.kind.is_starved()).then(|| self.end_of_patience(since, job.patience))
    }

    /// Who is to be waited for while nothing is heard of it, and is heard again and again without any
    /// progress, is not lost.
    fn end_of_patience(&self, since: Instant, patience: Duration) -> Instant {
        let lives = |(last, first): (Instant, Instant)| last >= since.max(first) + patience;
        match self.alive {
            Some(alive) if !lives(alive) => since + patience.max(self.loss_patience),
            Some(_) | None => since + patience,
        }
    }

    fn give_up_unheard(&mut self, now: Instant) {
        // The last try has its time too; what is closed before that, an opening on its way overtakes.
        let tried = |request: &Outstanding, tries| request.tries >= tries && request.is_late(now);
        if !self.exchange.any_other(|request| tried(request, SILENT_TRIES.min(SESSION_TRIES))) {
            return;
        }
        let awaited = match &self.slot {
            Slot::Closing { finishing } => finishing.is_some(),
            Slot::Opening(file) => !self.opens_in_vain(file),
            Slot::Free | Slot::Open(_) | Slot::MustClose { .. } => false,
        };
        // What is closed late under a number that all stations share may be another's file.
        let contended = self.next_file().is_some();
        let alone = !self.traits.one_session && !self.leaving && !contended;
        let closings = if alone { CLOSE_TRIES } else { SESSION_TRIES };
        let unheard = self.exchange.forget_others(|request| {
            let tired = !awaited
                && match request.owner {
                    Owner::Close => tried(request, closings),
                    Owner::Open | Owner::KeepAlive => tried(request, SESSION_TRIES),
                    Owner::Job(..) => false,
                };
            let silent = tried(request, SILENT_TRIES)
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
                    if contended && !self.traits.one_session {
                        self.taken.abandon(request.payload.session);
                    }
                    self.slot = Slot::Free;
                }
                Owner::Open => self.open_unheard(request.payload.session),
                Owner::Job(id, mark) => self.job_unheard(id, mark),
                Owner::KeepAlive => {}
            }
        }
    }

    /// Whether an opening on its way is of no use to anybody, or keeps others from theirs.
    fn opens_in_vain(&self, file: &File) -> bool {
        !self.has_users(file) || self.contender(file)
    }

    /// The server may have opened it all the same, and only its answers be lost.
    fn open_unheard(&mut self, session: u8) {
        let closing = Slot::MustClose { session, finishing: None };
        if let Slot::Opening(file) = std::mem::replace(&mut self.slot, closing) {
            let users = self.users(&file);
            self.go_behind(users);
        }
    }

    /// It was the link that was silent: a listing that nothing has come of begins again with times.
    pub(super) fn list_anew(&mut self) {
        if self.lists_time == Some(false) {
            return;
        }
        let mut anew = Vec::new();
        for (id, job) in &mut self.jobs {
            if let Kind::List(list) = &mut job.kind
                && list.begin_anew()
            {
                anew.push(*id);
            }
        }
        self.exchange.forget_others(
            |request| matches!(request.owner, Owner::Job(id, _) if anew.contains(&id)),
        );
    }

    /// A server that lived and answered else, but no question for a checksum, has none.
    fn note_missing_checksum(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(&id) else { return };
        self.never_sums |=
            self.heard > job.progress && matches!(job.kind, Kind::Simple(SimpleOp::Checksum(_), _));
    }

    fn job_unheard(&mut self, id: RequestId, mark: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // Where nothing else was heard either, it was the link that was silent.
        self.never_truncates |= self.heard > job.progress
            && matches!(job.kind, Kind::Simple(SimpleOp::Truncate(..), _));
        match &mut job.kind {
            Kind::List(list) if list.may_be_unheard() => list.fall_back(),
            Kind::List(list) => list.unask(mark),
            Kind::Simple(SimpleOp::Truncate(..), _) => self.end(id, Err(Error::Unsupported)),
            Kind::Simple(..) | Kind::Confirm(_) | Kind::Read(_) | Kind::Write(_) => {}
        }
    }
}
