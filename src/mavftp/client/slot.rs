//! The one file that is open on the server. Sessions are scarce (PX4 and MAVSDK have one in all),
//! so those who need a file go round in turns, and nobody above knows.

use std::time::{Duration, Instant};

use super::RequestId;

/// An open file that nobody reads or writes is closed after this: on PX4 it is everybody's only one.
const IDLE: Duration = Duration::from_secs(1);
/// An upload that waits for its program, and that a server would empty if it were opened again, keeps
/// the slot so long.
pub const IDLE_UPLOAD: Duration = Duration::from_secs(5);
/// A holder may keep the slot so long while others wait …
const TURN: Duration = Duration::from_secs(2);
/// … or until it has moved so many blocks, whichever is longer.
const TURN_BLOCKS: u32 = 32;
/// After such a silence, even while the vehicle's heartbeats are heard, another station may have been
/// given the session (PX4 has one number for all): what is read is not believed before the file is
/// opened again …
pub const DOUBT: Duration = Duration::from_secs(5);
/// … and what is written waits for that after this: some servers empty a file that is opened anew, and
/// PX4 closes one by itself only when it has heard no request for 10.1 s.
pub const WRITE_DOUBT: Duration = Duration::from_secs(9);

/// The session id of servers that have one session for all stations.
pub const SHARED: u8 = 0;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading.
    Read,
    /// Created, or emptied, for writing.
    Create,
    /// For writing, content kept.
    Keep,
}

/// A file and how it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The path, as the server knows it.
    pub path: Vec<u8>,
    /// How it is opened.
    pub access: Access,
    /// The upload it is open for; any reader may share a file open for reading.
    pub writer: Option<RequestId>,
}

/// What is open.
#[derive(Debug)]
pub enum Slot {
    /// Nothing.
    Free,
    /// The open request is on its way.
    Opening(File),
    /// A file.
    Open(Holding),
    /// A session is to be terminated before anything else is opened.
    MustClose {
        /// Which.
        session: u8,
        /// The write that ends with it.
        finishing: Option<RequestId>,
    },
    /// The terminate request is on its way; then the write `finishing` is done.
    Closing {
        /// The write that ends with it.
        finishing: Option<RequestId>,
    },
}

/// An open file.
#[derive(Debug)]
pub struct Holding {
    /// Which.
    pub file: File,
    /// Its session, from the server's answer.
    pub session: u8,
    /// Its size, from the server's answer; 0 where none came.
    pub size: u32,
    since: Instant,
    used: Instant,
    blocks: u32,
}

impl Slot {
    /// The open file.
    pub fn open(&self) -> Option<&Holding> {
        match self {
            Slot::Open(holding) => Some(holding),
            Slot::Free | Slot::Opening(_) | Slot::MustClose { .. } | Slot::Closing { .. } => None,
        }
    }

    /// Notes that the server opened `file`.
    pub fn opened(&mut self, now: Instant, file: File, session: u8, size: u32) {
        *self = Slot::Open(Holding { file, session, size, since: now, used: now, blocks: 0 });
    }

    /// Notes that a block moved.
    pub fn touch(&mut self, now: Instant) {
        if let Slot::Open(holding) = self {
            holding.used = now;
            holding.blocks = holding.blocks.saturating_add(1);
        }
    }
}

impl Holding {
    /// When it is closed if nobody uses it.
    pub fn idle_at(&self) -> Instant {
        self.used + IDLE
    }

    /// When its turn is over if others wait; `None` while it has moved too few blocks.
    pub fn turn_ends_at(&self) -> Option<Instant> {
        (self.blocks >= TURN_BLOCKS).then(|| self.since + TURN)
    }
}
