//! What an armed vehicle is spared, and how what runs already comes to its end when it is armed. Must
//! not know heartbeats, nor who chose the rule.

use crate::mavftp::wire::Payload;

use super::exchange::Owner;
use super::job::{Job, Kind};
use super::simple::SimpleOp;
use super::slot::{Access, Holding, Slot};
use super::{Class, Client, Error, Op, RequestId};

/// The largest file that is read while the vehicle is in use, in bytes; of a file whose size is not
/// known so many are.
pub const SMALL_FILE_BYTES_MAX: u32 = 64 << 10;

/// What the vehicle may be asked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Restraint {
    /// Everything.
    #[default]
    Free,
    /// Listings, one page after another, and small files; nothing is changed, nothing summed up, and
    /// nothing read that nobody waits for.
    Limited,
    /// Nothing.
    Silent,
}

impl Restraint {
    /// Whether a request is refused before anything is sent.
    pub fn refuses(self, op: &Op, class: Class) -> bool {
        match self {
            Restraint::Free => false,
            Restraint::Silent => true,
            Restraint::Limited => match op {
                Op::List { .. } | Op::Size { .. } => false,
                Op::Read { .. } => class == Class::ReadAhead,
                Op::Checksum { .. }
                | Op::Write { .. }
                | Op::Remove { .. }
                | Op::MakeDirectory { .. }
                | Op::RemoveDirectory { .. }
                | Op::Rename { .. }
                | Op::Truncate { .. } => true,
            },
        }
    }
}

/// What becomes of a job when the vehicle is armed.
enum Fate {
    GoesOn,
    /// Nothing of it has happened that is not undone.
    Ends(Error),
    /// It may have happened: its answer counts if it comes, and nothing is sent again.
    Waits,
}

impl Client {
    /// From now on the vehicle may be asked only this.
    pub(super) fn restrain(&mut self, restraint: Restraint) {
        let stricter = restraint > self.restraint;
        self.restraint = restraint;
        if !stricter {
            return;
        }
        let ids: Vec<RequestId> = self.jobs.keys().copied().collect();
        for id in ids {
            match self.jobs.get(&id).map(|job| self.fate(job)) {
                Some(Fate::Ends(error)) => self.end(id, Err(error)),
                Some(Fate::Waits) => self.exchange.let_be(id),
                Some(Fate::GoesOn) | None => {}
            }
        }
        self.stop_opening();
    }

    /// Ends a read that goes further than it may.
    pub(super) fn end_if_large(&mut self, id: RequestId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if self.restraint != Restraint::Free && self.is_large(job) {
            self.end(id, Err(Error::Armed));
        }
    }

    /// Before which offset blocks may be asked for.
    pub(super) fn reads_before_limit(&self) -> u32 {
        match self.restraint {
            Restraint::Free => u32::MAX,
            Restraint::Limited | Restraint::Silent => SMALL_FILE_BYTES_MAX,
        }
    }

    /// Whether an open file that nobody uses is closed at once.
    pub(super) fn closes_at_once(&self, holding: &Holding) -> bool {
        let large = holding.file.access != Access::Read || holding.size > SMALL_FILE_BYTES_MAX;
        match self.restraint {
            Restraint::Free => false,
            Restraint::Limited => large,
            Restraint::Silent => true,
        }
    }

    fn fate(&self, job: &Job) -> Fate {
        let silent = self.restraint == Restraint::Silent;
        let ends_if = |ends: bool| if ends { Fate::Ends(Error::Armed) } else { Fate::GoesOn };
        match &job.kind {
            Kind::Simple(SimpleOp::Checksum(_), _) => Fate::Ends(Error::Armed),
            Kind::Simple(_, asked) if *asked => Fate::Waits,
            Kind::Simple(..) => Fate::Ends(Error::Armed),
            // Whether the change was made is not known, so that it must not look refused.
            Kind::Confirm(_) if silent => Fate::Ends(Error::TimedOut),
            Kind::Confirm(_) => Fate::GoesOn,
            Kind::List(_) => ends_if(silent),
            Kind::Read(_) => ends_if(silent || job.class == Class::ReadAhead || self.is_large(job)),
            // All of it is stored, and it is about to be closed.
            Kind::Write(upload) => ends_if(upload.job.is_complete().is_none()),
        }
    }

    /// Whether a read goes further than it may. What size is made up says nothing before so much has
    /// been read.
    fn is_large(&self, job: &Job) -> bool {
        match &job.kind {
            Kind::Read(read) if read.is_made_up() => {
                read.is_idle()
                    && read.missing_from(0).is_some_and(|rest| rest.start >= SMALL_FILE_BYTES_MAX)
            }
            Kind::Read(read) => read.is_begun() && read.size() > SMALL_FILE_BYTES_MAX,
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) | Kind::Write(_) => false,
        }
    }

    /// An opening for a write that has ended is not sent again; whether it was heard is not known.
    pub(super) fn stop_opening(&mut self) {
        let Slot::Opening(file) = &self.slot else { return };
        if file.access == Access::Read {
            return;
        }
        let opening = self.exchange.forget_others(|request| request.owner == Owner::Open);
        let session = |payload: &Payload| payload.session;
        let session = opening.first().map_or(self.own_session, |request| session(&request.payload));
        self.slot = Slot::MustClose { session, finishing: None };
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::mavftp::client::{Bursts, Event, Manners, Output, Traits};
    use crate::mavftp::wire::Opcode;

    const TRAITS: Traits =
        Traits { queue: 8, keeps_content: true, one_session: false, bursts: Bursts::Unused };

    /// Answers every request of a file without end, until the read has its result.
    fn read_without_end(
        client: &mut Client,
        now: Instant,
    ) -> (u32, Result<crate::mavftp::client::Reply, Error>) {
        let mut farthest = 0;
        loop {
            match client.poll(now) {
                Output::Send(sent) => {
                    farthest = farthest.max(sent.offset + u32::from(sent.size));
                    let data = match sent.command() {
                        Some(Opcode::OpenFileRo) => 1_000_000u32.to_le_bytes().to_vec(),
                        Some(_) | None => vec![7; usize::from(sent.size)],
                    };
                    let answer = Payload { offset: sent.offset, ..Payload::ack(&sent) };
                    client.receive(now, &answer.with_data(&data));
                }
                Output::Event(Event::Done(_, result)) => return (farthest, result),
                Output::Event(_) => {}
                Output::Wait(_) => panic!("the read waits for nothing"),
            }
        }
    }

    #[test]
    fn a_virtual_file_without_end_is_read_as_far_as_a_small_one_goes() {
        let now = Instant::now();
        let mut client = Client::new(now, TRAITS, 1);
        client.set_manners(now, Manners { restraint: Restraint::Limited, ..Manners::default() });
        let op = Op::Read { path: b"@SYS/a".to_vec(), offset: 0, length: 1 << 20, expected: None };
        client.request(now, RequestId(1), op, Class::Demand, Duration::from_secs(10));
        let (farthest, result) = read_without_end(&mut client, now);
        assert_eq!(result, Err(Error::Armed));
        assert!((SMALL_FILE_BYTES_MAX..SMALL_FILE_BYTES_MAX + 239).contains(&farthest));
    }
}
