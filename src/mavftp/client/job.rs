//! What a client has been asked to do, and how far it is.

use std::time::{Duration, Instant};

use crate::mavftp::transfer::{ListJob, ReadJob, WriteJob};
use crate::mavftp::wire::{DATA_BYTES_MAX, PATH_BYTES_MAX};

use super::simple::{Confirm, SimpleOp};
use super::slot::{Access, File};
use super::{Class, Client, Error, Op, RequestId};

/// One operation under way.
#[derive(Debug)]
pub struct Job {
    /// What goes first.
    pub class: Class,
    /// Among equals, the lesser goes first.
    pub turn: u64,
    /// Longest time without progress.
    pub patience: Duration,
    /// When there was progress last.
    pub progress: Instant,
    /// How often its file was opened since a byte moved last.
    pub openings: u32,
    /// Why the server keeps it waiting; becomes the error if patience ends.
    pub blocked: Option<Error>,
    /// What it is.
    pub kind: Kind,
}

/// The operations, by how they go.
#[derive(Debug)]
pub enum Kind {
    /// One exchange; whether its request is on its way.
    Simple(SimpleOp, bool),
    /// A listing that confirms a repeated exchange.
    Confirm(Confirm),
    /// A listing.
    List(ListJob),
    /// A ranged read, or (an empty range) the question for a size.
    Read(ReadJob),
    /// An upload.
    Write(Upload),
}

/// An upload and how its file was opened.
#[derive(Debug)]
pub struct Upload {
    /// The blocks.
    pub job: WriteJob,
    /// Whether content before the first byte is kept.
    pub append: bool,
    /// Whether the file has been opened before.
    pub begun: bool,
    /// The server was silent since the last byte was acknowledged.
    pub doubted: bool,
    /// Since when its source waits for a program.
    pub idle_since: Option<Instant>,
}

impl Upload {
    /// Whether a file that was opened to go on, and is so long if that was told, may lack bytes that
    /// were acknowledged: a board that loses its power forgets what it had not written out.
    pub fn lacks(&self, size: Option<u32>) -> bool {
        self.begun && size.map_or(self.doubted, |size| self.job.is_cut(size))
    }
}

impl Kind {
    /// The file this needs open, if it needs one. `keeps`: the server keeps what it opens for writing.
    pub fn file(&self, id: RequestId, keeps: bool) -> Option<File> {
        match self {
            Kind::Read(job) => {
                Some(File { path: job.path.clone(), access: Access::Read, writer: None })
            }
            Kind::Write(upload) => {
                let access = match upload.append || (upload.begun && keeps) {
                    true => Access::Keep,
                    false => Access::Create,
                };
                Some(File { path: upload.job.path.clone(), access, writer: Some(id) })
            }
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) => None,
        }
    }

    /// Whether this works on that open file.
    pub fn uses(&self, id: RequestId, file: &File) -> bool {
        match self {
            Kind::Read(job) => {
                file.access == Access::Read && job.path == file.path && !job.wants_anew()
            }
            Kind::Write(_) => file.writer == Some(id),
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) => false,
        }
    }

    /// Whether this has nothing to do before its caller gives it bytes.
    pub fn is_starved(&self) -> bool {
        match self {
            Kind::Write(upload) => upload.job.is_starved(),
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) | Kind::Read(_) => false,
        }
    }

    /// Since when this has nothing to do before a program goes on.
    pub fn idle_since(&self) -> Option<Instant> {
        match self {
            Kind::Write(upload) => upload.idle_since.filter(|_| upload.job.is_starved()),
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) | Kind::Read(_) => None,
        }
    }

    /// Whether this has a block to ask for or to send.
    pub fn wants(&self) -> bool {
        match self {
            Kind::Read(read) => read.wants(),
            Kind::Write(upload) => upload.job.wants(),
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) => false,
        }
    }

    /// Where the first byte is that a read still wants.
    pub fn first_missing(&self) -> Option<u32> {
        match self {
            Kind::Read(read) => read.missing_from(0).map(|range| range.start),
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) | Kind::Write(_) => None,
        }
    }

    /// Whether this needs its file open now.
    pub fn needs_file(&self) -> bool {
        self.unfinished() && !self.is_starved()
    }

    /// Whether this still needs its file open.
    pub fn unfinished(&self) -> bool {
        match self {
            Kind::Read(job) => !job.is_complete(),
            Kind::Write(_) => true,
            Kind::Simple(..) | Kind::Confirm(_) | Kind::List(_) => false,
        }
    }
}

impl Client {
    /// How an operation goes, or why it cannot.
    pub(super) fn kind(&self, op: Op) -> Result<Kind, Error> {
        let fit = |path: Vec<u8>| match path.len() {
            1..=PATH_BYTES_MAX => Ok(path),
            _ => Err(Error::PathTooLong),
        };
        let simple = |op| Kind::Simple(op, false);
        Ok(match op {
            Op::List { path } => {
                Kind::List(ListJob::new(fit(path)?, self.lists_time.unwrap_or(true)))
            }
            Op::Read { path, offset, length, expected } => {
                Kind::Read(ReadJob::new(fit(path)?, offset, length).expecting(expected))
            }
            Op::Size { path } => Kind::Read(ReadJob::of_size(fit(path)?)),
            Op::Write { path, append } => {
                let job = WriteJob::new(fit(path)?, append.unwrap_or(0));
                if append.is_some() && !self.traits.keeps_content {
                    return Err(Error::Unsupported);
                }
                Kind::Write(Upload {
                    job,
                    append: append.is_some(),
                    begun: false,
                    doubted: false,
                    idle_since: None,
                })
            }
            Op::Remove { path } => simple(SimpleOp::Remove(fit(path)?)),
            Op::MakeDirectory { path } => simple(SimpleOp::MakeDirectory(fit(path)?)),
            Op::RemoveDirectory { path } => simple(SimpleOp::RemoveDirectory(fit(path)?)),
            Op::Rename { from, to } if from.len() + 1 + to.len() > DATA_BYTES_MAX => {
                return Err(Error::PathTooLong);
            }
            Op::Rename { from, to } => simple(SimpleOp::Rename(fit(from)?, fit(to)?)),
            Op::Truncate { .. } if self.never_truncates => return Err(Error::Unsupported),
            Op::Truncate { path, length } => simple(SimpleOp::Truncate(fit(path)?, length)),
            Op::Checksum { .. } if self.never_sums => return Err(Error::Unsupported),
            Op::Checksum { path } => simple(SimpleOp::Checksum(fit(path)?)),
        })
    }
}
