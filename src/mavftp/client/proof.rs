//! Whose server it is: after a silence another vehicle may answer under the same ids. Must not know by
//! what a vehicle is known.

use std::time::Instant;

use super::job::{Job, Kind};
use super::slot::Slot;
use super::taken::Taken;
use super::{Client, Error, RequestId};

/// Whether the vehicle is who it was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It is, as far as can be known.
    #[default]
    Given,
    /// It is heard, and is being asked. Nothing is sent, and patience does not end.
    Awaited,
    /// It was being asked and is not heard any more. Nothing is sent.
    Missed,
}

impl Client {
    /// Says that another vehicle may be there now, which knows nothing of what was asked: all requests
    /// end, and what was open is none of our business.
    pub fn forget_server(&mut self) {
        let all: Vec<RequestId> = self.jobs.keys().copied().collect();
        for id in all {
            self.end(id, Err(Error::Changed));
        }
        self.stream.lose();
        self.exchange.forget(|_| true);
        self.slot = Slot::Free;
        self.taken = Taken::default();
        (self.doubtful, self.hold_until) = (false, None);
        (self.lists_time, self.never_truncates, self.never_sums) = (None, false, false);
    }

    /// Says that what is sent from now on may reach another vehicle, and that this will not be known:
    /// no upload goes on.
    pub fn end_uploads(&mut self) {
        let is_upload = |job: &Job| matches!(job.kind, Kind::Write(_));
        let uploads = self.jobs.iter().filter(|(_, job)| is_upload(job));
        let uploads: Vec<RequestId> = uploads.map(|(id, _)| *id).collect();
        for id in uploads {
            self.end(id, Err(Error::Changed));
        }
        self.stop_opening();
    }

    /// Takes in whether it is proven who the vehicle is. What waited for that has its time from then on.
    pub(super) fn prove(&mut self, now: Instant, proof: Proof) {
        if proof == Proof::Given && self.proof != Proof::Given {
            self.jobs.values_mut().for_each(|job| job.progress = now);
        }
        self.proof = proof;
    }
}
