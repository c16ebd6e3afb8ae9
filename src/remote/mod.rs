//! A far side with files: the trait [`Remote`], its operations, replies and errors.
//!
//! Completion-based, so that a radio and a blocking FTP library fit alike: an operation is
//! submitted with a [`Sink`] that gets its data and exactly one `done`. Must not know its
//! implementations' callers (`cache`, `fs`, `fuse`), nor here its implementations.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub mod ask;
pub mod ftp;
pub mod mavftp;
#[cfg(test)]
pub mod memory;
mod path;
pub mod respell;
pub mod save;
pub mod survey;

pub use crate::mavftp::wire::Checksum;
pub use path::{NAME_BYTES_MAX, Name, PathError, RemotePath};

/// A server with files.
///
/// Operations name path and offset, not handles: MAVLink sessions and FTP streams are scarce things
/// that the far side may drop, so each implementation keeps its few and reopens them unseen.
pub trait Remote: Send + Sync {
    /// Begins an operation. Returns at once; the sink is never called from inside.
    ///
    /// `patience` is the longest time without progress, after which the operation ends with
    /// [`Error::TimedOut`]. Every submitted operation gets exactly one [`Sink::done`].
    fn submit(&self, id: OpId, op: Op, class: Class, patience: Duration, sink: Arc<dyn Sink>);

    /// Changes the class of a running operation: a read-ahead that somebody now waits for.
    fn raise(&self, id: OpId, class: Class);

    /// Says that the [`Source`] of a running write that answered [`Pull::Pending`] or
    /// [`Pull::Idle`] has more.
    fn more(&self, id: OpId);

    /// Ends an operation early; its sink gets [`Error::Cancelled`] unless it was done already,
    /// possibly from inside this call.
    fn cancel(&self, id: OpId);

    /// What is known of the far side now. Never waits.
    fn status(&self) -> Status;
}

/// Names one operation; made by the caller, unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

impl OpId {
    /// An id that no other operation of this process has.
    pub fn fresh() -> OpId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        OpId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What goes first on the wire: the lesser class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Listings, renames, removals: short, and somebody waits.
    Metadata,
    /// A read somebody waits for.
    Demand,
    /// An upload.
    Write,
    /// A read nobody waits for yet.
    ReadAhead,
}

/// One operation on the far side.
#[derive(Clone)]
pub enum Op {
    /// All entries of a directory, page by page through [`Sink::page`]; ends with [`Reply::Done`].
    /// The caller must know that `path` is a directory: one server ends when it is not.
    List {
        /// The directory.
        path: RemotePath,
    },
    /// The bytes `offset .. offset + length` through [`Sink::data`], in any order, each byte at
    /// least once, up to the end of the file; ends with [`Reply::Size`].
    Read {
        /// The file.
        path: RemotePath,
        /// First byte wanted.
        offset: u64,
        /// Number of bytes wanted.
        length: u64,
        /// The file's size as the caller knows it. A file that the implementation holds open with
        /// another size is opened anew, for what it holds may be an older state.
        expected: Option<u64>,
    },
    /// The size of a file, asked of the file itself and not of its listing; [`Reply::Size`].
    Size {
        /// The file.
        path: RemotePath,
    },
    /// Stores what `source` yields; ends with [`Reply::Size`], the number of bytes the far side
    /// acknowledged (for an append: the offset after the last).
    Write {
        /// The file.
        path: RemotePath,
        /// What becomes of bytes already there.
        mode: WriteMode,
        /// The bytes.
        source: Arc<dyn Source>,
    },
    /// Removes a file. The caller must know that it was there: where the network repeats a request,
    /// its second copy finds the file gone, and that counts as done.
    Remove {
        /// The file. The caller must know that it is no directory: some servers do not care.
        path: RemotePath,
    },
    /// Creates a directory.
    MakeDirectory {
        /// The directory.
        path: RemotePath,
    },
    /// Removes an empty directory.
    RemoveDirectory {
        /// The directory. The caller must know that it is one: some servers do not care.
        path: RemotePath,
    },
    /// Renames, replacing a file at `to` where the server does that; else [`Error::Exists`]. The
    /// caller must know that `from` was there: one that is gone while `to` is there counts as done.
    Rename {
        /// The present name.
        from: RemotePath,
        /// The new name.
        to: RemotePath,
    },
    /// Sets a file's length; [`Error::Unsupported`] where the server cannot.
    Truncate {
        /// The file.
        path: RemotePath,
        /// The new length in bytes.
        length: u64,
    },
    /// Sets a file's modification time; [`Error::Unsupported`] where the server cannot.
    SetTime {
        /// The file.
        path: RemotePath,
        /// Seconds since 1970 UTC.
        mtime: i64,
    },
    /// CRC32 of a file as MAVLink has it; [`Error::Unsupported`] where the server has none.
    Checksum {
        /// The file.
        path: RemotePath,
    },
}

/// What a write does with bytes already there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteMode {
    /// The file is created, or emptied, and holds what the source yields from offset 0.
    Replace,
    /// The same, and then renamed over `target`, if the far side can do that in the same breath: never
    /// before its own size of the file was seen to be what was sent. Ends with [`Reply::Saved`] then,
    /// else with [`Reply::Size`] and nothing renamed. For [`Status::saves`].
    Save {
        /// The name that the file gets.
        target: RemotePath,
        /// How many bytes it must have, where that is known before.
        length: Option<u64>,
    },
    /// The first `offset` bytes stay; the source yields from there.
    /// [`Error::Unsupported`] where the server empties what it opens for writing.
    Append {
        /// The file's length before.
        offset: u64,
    },
}

/// Where a write's bytes come from. An implementation may be asked again for bytes it has given,
/// back to the beginning: the far side may drop a half-written file.
pub trait Source: Send + Sync {
    /// Fills `buffer` from `offset`. Never blocks.
    fn pull(&self, offset: u64, buffer: &mut [u8]) -> Pull;

    /// The modification time that the file is to have, seconds since 1970 UTC; asked when its last
    /// byte has been passed on. `None`: whatever the far side gives it.
    fn mtime(&self) -> Option<i64> {
        None
    }
}

/// A [`Source`]'s answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// So many bytes, at least one, stand in the buffer.
    Bytes(usize),
    /// Not yet, but soon; [`Remote::more`] will be called.
    Pending,
    /// Not before a program goes on, which may take any time; [`Remote::more`] will be called. Others
    /// get the far side's session meanwhile. Where an upload cannot go on after that, it ends with
    /// [`Error::Busy`].
    Idle,
    /// The file ends at this offset.
    End,
}

/// Gets an operation's results, from the implementation's thread, with no lock of ours held, and
/// must not block.
pub trait Sink: Send + Sync {
    /// The far side opened the file for this read and says it has `size` bytes.
    fn opened(&self, size: u64) {
        let _ = size;
    }
    /// Bytes of a read.
    fn data(&self, offset: u64, bytes: &[u8]) {
        let _ = (offset, bytes);
    }
    /// Entries of a listing, in the server's order, no name twice.
    fn page(&self, entries: Vec<Entry>) {
        let _ = entries;
    }
    /// Every byte of a write before `offset` has been passed on; over MAVLink FTP the vehicle has
    /// acknowledged it, over FTP only the end of the operation proves anything.
    fn acknowledged(&self, offset: u64) {
        let _ = offset;
    }
    /// A write ([`WriteMode::Save`]) is about to replace its target.
    fn replaces(&self) {}
    /// The end; called once.
    fn done(&self, result: Result<Reply, Error>);
}

/// How an operation ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Done, and nothing to tell.
    Done,
    /// A file's size in bytes.
    Size(u64),
    /// So many bytes stand under a write's target ([`WriteMode::Save`]).
    Saved(u64),
    /// MAVLink's CRC32 of a file.
    Checksum(u32),
}

/// No file is larger: what the kernel can say (`off_t`). A far side that claims more is not believed.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: Kind,
    /// Bytes, at most [`SIZE_MAX`]; 0 for a directory.
    pub size: u64,
    /// Last change, seconds since 1970 UTC; `None` where the server does not tell.
    pub mtime: Option<i64>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// What every cached block carries, so that bytes of two states of a file never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Bytes.
    pub size: u64,
    /// Last change, seconds since 1970 UTC, where the server tells.
    pub mtime: Option<i64>,
    /// Grows only on evidence that the content changed while size and mtime may not show it.
    pub generation: u32,
}

/// What is known of the far side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether it has been heard within the link timeout. Not a reason to submit nothing: an FTP
    /// remote connects again with the next operation.
    pub up: bool,
    /// Grows when everything cached must be forgotten: another vehicle at the same place, or one
    /// that cannot be told from another after a silence.
    pub epoch: u64,
    /// The last epoch that is certainly another far side's than the one before. In a later one the
    /// same may have come back, and does not say who it is: what it shows decides.
    pub last_other: u64,
    /// Longest path it takes, in bytes.
    pub path_bytes_max: usize,
    /// Whether a write may keep the first bytes ([`WriteMode::Append`]).
    pub appends: bool,
    /// Whether a write may rename what it has stored ([`WriteMode::Save`]).
    pub saves: bool,
    /// Whether an upload whose [`Source`] is idle leaves room for what else is asked.
    pub streams: bool,
    /// How many uploads may run beside one another, at least one, so that others are still answered.
    pub uploads: usize,
    /// What it is, for people: `system 1, PX4, FTP ok`.
    pub label: String,
    /// Who it is, the same after a reboot and different for another, to decide what belongs to it:
    /// `uid2:0123…`; for a server host, port and user. `None`: it does not say.
    pub identity: Option<String>,
    /// It is an autopilot that is armed: what would disturb it fails with [`Error::Armed`].
    pub armed: bool,
    /// It has virtual places whose names begin with `@` (ArduPilot).
    pub has_virtual: bool,
    /// Whether a file's time can be set ([`Op::SetTime`]).
    pub sets_times: bool,
    /// Whether files may be fetched that nobody has asked for yet: who asks for something else is
    /// answered meanwhile.
    pub has_room: bool,
}

/// What kind of place a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Files on a disk.
    Ordinary,
    /// Files on a disk, not to be changed by this way (ArduPilot's `@MAV_LOG`).
    ReadOnly,
    /// Files that are made when they are opened, not to be changed; a listed size says nothing
    /// (ArduPilot's `@SYS`, `@PARAM` and others).
    MadeUp,
}

impl Status {
    /// What kind of place a path on the far side is.
    pub fn nature(&self, path: &RemotePath) -> Nature {
        if !self.has_virtual || !path.as_bytes().starts_with(b"/@") {
            return Nature::Ordinary;
        }
        let logs = path.as_bytes().strip_prefix(b"/@MAV_LOG");
        match logs.is_some_and(|rest| rest.is_empty() || rest[0] == b'/') {
            true => Nature::ReadOnly,
            false => Nature::MadeUp,
        }
    }
}

/// Why an operation failed. Turned into an errno by one match in `fs`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such file or directory.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("the name exists already")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// A file was needed.
    #[error("is a directory")]
    IsADirectory,
    /// The directory is not empty.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The server protects this.
    #[error("the server protects this")]
    Denied,
    /// The place cannot be written.
    #[error("the place is read-only")]
    ReadOnly,
    /// The far side's disk is full.
    #[error("no space left on the far side")]
    NoSpace,
    /// The file or offset is larger than the protocol can say.
    #[error("too large for the protocol")]
    TooLarge,
    /// The path is longer than the server takes.
    #[error("the path is longer than the server takes")]
    PathTooLong,
    /// The server understood the request and calls it wrong.
    #[error("the server calls the request invalid")]
    Invalid,
    /// The server cannot do this.
    #[error("the server cannot do this")]
    Unsupported,
    /// Every session is taken, by us or by another station.
    #[error("the server is busy; another station may hold its session")]
    Busy,
    /// The vehicle is armed, and this would disturb it.
    #[error("the vehicle is armed; disarm it first")]
    Armed,
    /// Nothing has been heard of the far side for the link timeout.
    #[error("the far side is not heard; check the link")]
    LinkDown,
    /// No progress within the operation's patience.
    #[error("no answer in time; check the link")]
    TimedOut,
    /// The file changed while it was read.
    #[error("the file changed on the far side")]
    Changed,
    /// Ended by its caller.
    #[error("cancelled")]
    Cancelled,
    /// Login or TLS was refused.
    #[error("login refused: {0}")]
    Login(String),
    /// The far side broke the protocol, or reported a failure it did not explain.
    #[error("{0}")]
    Failed(String),
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::List { path } => write!(f, "List {path:?}"),
            Op::Read { path, offset, length, .. } => write!(f, "Read {path:?} {offset}+{length}"),
            Op::Size { path } => write!(f, "Size {path:?}"),
            Op::Write { path, mode, .. } => write!(f, "Write {path:?} {mode:?}"),
            Op::Remove { path } => write!(f, "Remove {path:?}"),
            Op::MakeDirectory { path } => write!(f, "MakeDirectory {path:?}"),
            Op::RemoveDirectory { path } => write!(f, "RemoveDirectory {path:?}"),
            Op::Rename { from, to } => write!(f, "Rename {from:?} {to:?}"),
            Op::Truncate { path, length } => write!(f, "Truncate {path:?} {length}"),
            Op::SetTime { path, mtime } => write!(f, "SetTime {path:?} {mtime}"),
            Op::Checksum { path } => write!(f, "Checksum {path:?}"),
        }
    }
}
