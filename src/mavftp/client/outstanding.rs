//! A request on its way, and which answers are its own. Must not know what else is on its way.

use std::time::{Duration, Instant};

use crate::mavftp::wire::{Nak, Opcode, Payload};

use super::RequestId;

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A job, with a mark of its own: a byte offset for blocks.
    Job(RequestId, u32),
    /// The opening of the file that holds the session.
    Open,
    /// The closing of that file.
    Close,
    /// Nobody: it keeps the session from ending.
    KeepAlive,
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
    pub(super) floor: Duration,
    /// Its round trip is that of the link, not of a queue behind a burst.
    pub(super) timed: bool,
    /// When it is sent again; of blocks, `Recovery` knows.
    pub(super) deadline: Instant,
    pub(super) sent: Instant,
    /// Its place among the blocks.
    pub(super) place: u64,
}

impl Outstanding {
    /// Whether its answer has not come in time, of one that moves no block.
    pub fn is_late(&self, now: Instant) -> bool {
        self.deadline <= now
    }
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

/// Whether `payload` can be the answer to `request`. The offset is compared where all servers echo
/// it (reads, not writes), and never in a NAK.
pub fn answers(request: &Payload, payload: &Payload, result: Result<(), Nak>) -> bool {
    let read = request.opcode == Opcode::ReadFile as u8;
    payload.req_opcode == request.opcode
        && (!read || result.is_err() || payload.offset == request.offset)
        && (!read || result.is_err() || payload.session == request.session)
}
