//! A MAVLink FTP client for one target: no socket, no thread, no clock.
//!
//! Time is an argument, what is to be sent is a result. Callers name their requests themselves.
//! Must not know links, channels, or why a request is made.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::mavftp::transfer::BlockSize;
use crate::mavftp::wire::{Nak, Payload, WireEntry};

use exchange::{Exchange, Owner};
use job::{Job, Kind, Upload};
use schedule::Place;
use simple::{CHECKSUM_PATIENCE, SimpleOp};
use slot::{SHARED, Slot};
use stream::Stream;
use taken::Taken;

pub use proof::Proof;
pub use restraint::{Restraint, SMALL_FILE_BYTES_MAX};
pub use stream::Bursts;

mod answers;
mod exchange;
mod job;
mod outstanding;
mod patience;
mod proof;
mod recovery;
mod restraint;
mod schedule;
mod simple;
mod slot;
mod stream;
mod taken;
mod turns;

/// Names one request; made by the caller, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What goes first on the wire: the lesser class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Short exchanges that somebody waits for.
    Metadata,
    /// A read that somebody waits for.
    Demand,
    /// An upload.
    Write,
    /// A read that nobody waits for yet.
    ReadAhead,
}

/// One request. Paths are the server's own, at most
/// [`PATH_BYTES_MAX`](crate::mavftp::wire::PATH_BYTES_MAX) bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// All entries of a directory.
    List {
        /// The directory.
        path: Vec<u8>,
    },
    /// A range of a file, up to its end.
    Read {
        /// The file.
        path: Vec<u8>,
        /// First byte.
        offset: u32,
        /// Bytes.
        length: u32,
        /// The file's size as the caller knows it; a file open with another is opened anew.
        expected: Option<u32>,
    },
    /// The size of a file, as its Open answer has it.
    Size {
        /// The file.
        path: Vec<u8>,
    },
    /// An upload; its bytes are asked for by [`Event::Want`].
    Write {
        /// The file.
        path: Vec<u8>,
        /// Keep this many bytes and go on behind them; `None` begins an empty file.
        append: Option<u32>,
    },
    /// Removes a file.
    Remove {
        /// The file.
        path: Vec<u8>,
    },
    /// Makes a directory.
    MakeDirectory {
        /// The directory.
        path: Vec<u8>,
    },
    /// Removes a directory.
    RemoveDirectory {
        /// The directory.
        path: Vec<u8>,
    },
    /// Renames.
    Rename {
        /// The old path.
        from: Vec<u8>,
        /// The new path.
        to: Vec<u8>,
    },
    /// Sets a file's length.
    Truncate {
        /// The file.
        path: Vec<u8>,
        /// Bytes.
        length: u32,
    },
    /// Asks for a file's checksum.
    Checksum {
        /// The file.
        path: Vec<u8>,
    },
}

/// How a request ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Done,
    /// A file's size, or an upload's end, in bytes.
    Size(u32),
    /// A file's checksum.
    Checksum(u32),
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server refused.
    #[error("refused: {0:?}")]
    Refused(Nak),
    /// No progress for longer than the request's patience.
    #[error("no answer in time")]
    TimedOut,
    /// The server's sessions stayed taken for longer than the request's patience.
    #[error("no free session")]
    Busy,
    /// Nothing has been heard of the target for the link timeout.
    #[error("the target is silent")]
    LinkDown,
    /// The target is armed, and is spared this.
    #[error("the vehicle is armed")]
    Armed,
    /// The file is not the one it was when the request began.
    #[error("the file changed")]
    Changed,
    /// A listing that does not end.
    #[error("the listing does not end")]
    Endless,
    /// The server stored fewer bytes than it was sent.
    #[error("the server stored fewer bytes than sent")]
    ShortWrite,
    /// An answer without what it must hold, or a source that contradicts itself.
    #[error("a malformed answer")]
    Malformed,
    /// The server does not know the request.
    #[error("the server cannot do this")]
    Unsupported,
    /// The file has more bytes than the protocol has offsets.
    #[error("the file is too large")]
    TooLarge,
    /// The path does not fit in a request.
    #[error("the path is too long")]
    PathTooLong,
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// What is known of a server before it has been asked anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Requests it takes at once; what comes above is lost silently.
    pub queue: usize,
    /// Whether a file opened for writing keeps its content.
    pub keeps_content: bool,
    /// Whether there is one session for all stations, which refuses whoever comes second. Such a
    /// server (PX4) remembers but its last answer, and may name an old error in a refusal.
    pub one_session: bool,
    /// How its bursts behave.
    pub bursts: Bursts,
}

/// What others ask of a client.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// What the vehicle may be asked.
    pub restraint: Restraint,
    /// The radio's buffer is nearly full: few blocks are on their way at once.
    pub crowded: bool,
    /// There is a limit to the rate: no block leaves before this, and no burst, which knows no limit.
    pub limit: Option<Instant>,
    /// The least patience while the vehicle is not heard.
    pub loss_patience: Duration,
    /// When the vehicle was heard last, and since when without a gap.
    pub heard: Option<(Instant, Instant)>,
    /// Whether the vehicle is who it was.
    pub proof: Proof,
}

/// What a request brings about on its way to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The file of a read is open, and so many bytes long.
    Opened(RequestId, u32),
    /// Bytes of a read: those of the payload's data in this range, whose first belongs at this offset
    /// of the file.
    Data(RequestId, u32, Payload, Range<usize>),
    /// Entries of a listing.
    Page(RequestId, Vec<WireEntry>),
    /// An upload wants so many bytes from this offset: answer by [`Client::supply`],
    /// [`Client::starve`], [`Client::idle`] or [`Client::finish_source`].
    Want(RequestId, u32, u32),
    /// Every byte of an upload before this offset is stored.
    Acknowledged(RequestId, u32),
    /// The end of a request; its last event.
    Done(RequestId, Result<Reply, Error>),
}

/// What [`Client::poll`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this to the target.
    Send(Payload),
    /// Tell the caller of a request.
    Event(Event),
    /// Nothing before this time, unless something arrives. `None`: nothing at all.
    Wait(Option<Instant>),
}

/// A MAVLink FTP client for one target.
#[derive(Debug)]
pub struct Client {
    traits: Traits,
    /// The session id proposed in the next open and carried by requests that need none; 1 to 255.
    own_session: u8,
    exchange: Exchange,
    jobs: BTreeMap<RequestId, Job>,
    /// The jobs in the order in which they may send.
    line: BTreeSet<Place>,
    block_size: BlockSize,
    slot: Slot,
    stream: Stream,
    taken: Taken,
    events: VecDeque<Event>,
    /// Order of arrival of jobs.
    turns: u64,
    /// When bytes of any file moved last.
    progress: Instant,
    /// When the server last answered anything.
    heard: Instant,
    /// Nothing is sent before this: the server gives its only session away when it is left alone.
    hold_until: Option<Instant>,
    /// A block that may be on its way waits until this, so that they leave evenly.
    paced_until: Option<Instant>,
    /// There are reads that have not learned the size of the open file.
    newcomers: bool,
    /// Whether the server lists with times, once known.
    lists_time: Option<bool>,
    /// The server passes truncations over in silence.
    never_truncates: bool,
    /// The server passes questions for a checksum over in silence.
    never_sums: bool,
    /// The open file is doubtful since a silence.
    doubtful: bool,
    /// What the vehicle may be asked.
    restraint: Restraint,
    /// The user has set a limit to the rate.
    limited: bool,
    /// The least patience while the vehicle is not heard.
    loss_patience: Duration,
    /// When the vehicle was heard last, and since when without a gap.
    alive: Option<(Instant, Instant)>,
    /// Whether the vehicle is who it was; else nothing is sent.
    proof: Proof,
    /// Nobody will ask for anything more.
    leaving: bool,
}

impl Client {
    /// A client of a server with these traits. `seed` makes its first sequence number and session
    /// id; a server may remember those of an earlier run.
    pub fn new(now: Instant, traits: Traits, seed: u64) -> Client {
        let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        Client {
            traits,
            own_session: if traits.one_session {
                SHARED
            } else {
                (mixed >> 32) as u8 % u8::MAX + 1
            },
            exchange: Exchange::new(mixed as u16, traits.queue),
            jobs: BTreeMap::new(),
            line: BTreeSet::new(),
            block_size: BlockSize::default(),
            slot: Slot::Free,
            stream: Stream::new(traits.bursts),
            taken: Taken::default(),
            events: VecDeque::new(),
            turns: 0,
            progress: now,
            heard: now,
            hold_until: None,
            paced_until: None,
            newcomers: false,
            lists_time: None,
            never_truncates: false,
            never_sums: false,
            doubtful: false,
            restraint: Restraint::Free,
            limited: false,
            loss_patience: Duration::ZERO,
            alive: None,
            proof: Proof::Given,
            leaving: false,
        }
    }

    /// Begins a request. `patience`: the longest time without progress; the time that an upload waits
    /// for its own source does not count.
    pub fn request(
        &mut self,
        now: Instant,
        id: RequestId,
        op: Op,
        class: Class,
        patience: Duration,
    ) {
        let kind = match self.kind(op) {
            Ok(kind) => kind,
            Err(error) => return self.events.push_back(Event::Done(id, Err(error))),
        };
        let patience = match &kind {
            Kind::Simple(SimpleOp::Checksum(_), _) => patience.max(CHECKSUM_PATIENCE),
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) => patience,
            Kind::Read(_) | Kind::Write(_) => patience,
        };
        self.turns += 1;
        let (turn, progress) = (self.turns, now);
        let job = Job { class, turn, patience, progress, openings: 0, blocked: None, kind };
        self.jobs.insert(id, job);
        self.line.insert((class, turn, id));
        self.newcomers = true;
    }

    /// Changes a request's class: a read-ahead that somebody now waits for.
    pub fn set_class(&mut self, id: RequestId, class: Class) {
        self.replace(id, |job| job.class = class);
    }

    /// Gives an upload the bytes it wanted.
    pub fn supply(&mut self, id: RequestId, offset: u32, bytes: &[u8]) {
        let fits = self.upload(id).is_none_or(|upload| upload.job.supply(offset, bytes));
        if !fits {
            self.end(id, Err(Error::TooLarge));
        }
    }

    /// Says that an upload's source has nothing now; it is asked again after [`Client::more`].
    pub fn starve(&mut self, id: RequestId) {
        if let Some(upload) = self.upload(id) {
            upload.job.starve();
        }
    }

    /// The same of a source that may have nothing for long: the session is for others meanwhile.
    /// Where the server would empty the file when it is opened again, the upload ends with
    /// [`Error::Busy`] if somebody else needs a session, or after some seconds.
    pub fn idle(&mut self, now: Instant, id: RequestId) {
        if let Some(upload) = self.upload(id) {
            upload.job.starve();
            upload.idle_since = Some(now);
        }
    }

    /// Says that an upload's source has more.
    pub fn more(&mut self, now: Instant, id: RequestId) {
        if let Some(upload) = self.upload(id) {
            upload.job.more();
            upload.idle_since = None;
        }
        // A source that is slow is not a vehicle that is silent.
        if let Some(job) = self.jobs.get_mut(&id) {
            job.progress = now;
        }
    }

    /// Says that an upload's source ends at `length`.
    pub fn finish_source(&mut self, id: RequestId, length: u32) {
        let consistent = self.upload(id).is_none_or(|upload| upload.job.finish(length));
        if !consistent {
            self.end(id, Err(Error::Malformed));
        }
    }

    /// Ends a request early.
    pub fn cancel(&mut self, id: RequestId) {
        if self.jobs.contains_key(&id) {
            self.end(id, Err(Error::Cancelled));
        }
    }

    /// Says that the target was silent or rebooted: what was open is open no more.
    pub fn server_returned(&mut self) {
        self.doubtful = true;
        for job in self.jobs.values_mut() {
            match &mut job.kind {
                Kind::Write(upload) => upload.doubted = true,
                Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) | Kind::Read(_) => {}
            }
        }
        self.list_anew();
    }

    /// Says what the vehicle, the radio and the user ask of this client, from now on.
    pub fn set_manners(&mut self, now: Instant, manners: Manners) {
        self.prove(now, manners.proof);
        self.restrain(manners.restraint);
        self.limited = manners.limit.is_some();
        (self.loss_patience, self.alive) = (manners.loss_patience, manners.heard);
        self.exchange.set_bounds(manners.limit, manners.crowded);
    }

    /// Says that no request will follow: a file that is open is closed without waiting for one.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// Requests that have not ended.
    pub fn pending(&self) -> usize {
        self.jobs.len()
    }

    /// Whether a file is open on the server, or being opened or closed.
    pub fn holds_session(&self) -> bool {
        !matches!(self.slot, Slot::Free)
    }

    /// The smoothed round trip, once measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.exchange.round_trip().smoothed()
    }

    /// Frames from the server that answered nothing outstanding.
    pub fn unmatched(&self) -> u64 {
        self.exchange.unmatched()
    }

    /// What to do now; call until it answers [`Output::Wait`].
    pub fn poll(&mut self, now: Instant) -> Output {
        if self.proof != Proof::Awaited {
            self.expire(now);
        }
        self.collect_wants();
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        match self.fill(now) {
            Some(payload) => Output::Send(payload),
            // Filling may have ended something.
            None => match self.events.pop_front() {
                Some(event) => Output::Event(event),
                None => Output::Wait(self.next_wake(now)),
            },
        }
    }

    fn upload(&mut self, id: RequestId) -> Option<&mut Upload> {
        match &mut self.jobs.get_mut(&id)?.kind {
            Kind::Write(upload) => Some(upload),
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) | Kind::Read(_) => None,
        }
    }

    /// Ends a request and forgets what it had on its way.
    fn end(&mut self, id: RequestId, result: Result<Reply, Error>) {
        if self.exchange.of_job(id) > 0 {
            self.exchange
                .forget(|request| matches!(request.owner, Owner::Job(owner, _) if owner == id));
        }
        if let Slot::Closing { finishing } | Slot::MustClose { finishing, .. } = &mut self.slot {
            finishing.take_if(|finishing| *finishing == id);
        }
        if let Some(job) = self.jobs.remove(&id) {
            self.line.remove(&(job.class, job.turn, id));
            self.events.push_back(Event::Done(id, result));
        }
    }

    /// Asks the uploads whose file is open for their next bytes.
    fn collect_wants(&mut self) {
        let Some(holding) = self.slot.open() else { return };
        let Some(id) = holding.file.writer else { return };
        let want = self.upload(id).and_then(|upload| upload.job.want());
        if let Some((offset, length)) = want {
            self.events.push_back(Event::Want(id, offset, length));
        }
    }
}
