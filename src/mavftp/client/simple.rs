//! Operations of one exchange: remove, make and remove directory, rename, truncate, checksum.
//!
//! A server without a memory of its answers executes a repeated request again, whether we repeated it
//! or the network did, so a refusal may mean that the first copy worked. Then the parent's listing
//! decides.

use std::time::Duration;

use crate::mavftp::transfer::ListJob;
use crate::mavftp::wire::{Nak, Opcode, Payload, WireEntry};

use super::{Error, Reply};

/// Servers remove large files slowly; asked again too soon, they work twice.
const REMOVE_FLOOR: Duration = Duration::from_millis(500);
/// A checksum reads the whole file, and a truncation may copy it, before anything is answered.
const WHOLE_FILE_FLOOR: Duration = Duration::from_secs(3);
/// How long a checksum may take in all.
pub const CHECKSUM_PATIENCE: Duration = Duration::from_secs(60);
/// Sent so often without an answer, an opcode that some servers pass over in silence is given up.
pub const SILENT_TRIES: u32 = 3;
/// The numbers of errors that all servers' systems share.
const ENOENT: u8 = 2;
const EEXIST: u8 = 17;

/// Which operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SimpleOp {
    /// Removes a file.
    Remove(Vec<u8>),
    /// Makes a directory.
    MakeDirectory(Vec<u8>),
    /// Removes a directory.
    RemoveDirectory(Vec<u8>),
    /// Renames the first to the second.
    Rename(Vec<u8>, Vec<u8>),
    /// Sets a file's length.
    Truncate(Vec<u8>, u32),
    /// Asks for a file's checksum.
    Checksum(Vec<u8>),
}

/// What an answer means.
#[derive(Debug)]
pub enum SimpleStep {
    /// Done.
    Done(Reply),
    /// Refused.
    Failed(Error),
    /// The request was refused as if an earlier copy had worked: this listing tells.
    Confirm(Confirm),
}

impl SimpleOp {
    /// The request.
    pub fn request(&self) -> Payload {
        let on = |opcode, path: &[u8]| Payload::request(opcode).with_data(path);
        match self {
            SimpleOp::Remove(path) => on(Opcode::RemoveFile, path),
            SimpleOp::MakeDirectory(path) => on(Opcode::CreateDirectory, path),
            SimpleOp::RemoveDirectory(path) => on(Opcode::RemoveDirectory, path),
            SimpleOp::Rename(from, to) => on(Opcode::Rename, &[from, &b"\0"[..], to].concat()),
            SimpleOp::Truncate(path, length) => {
                Payload { offset: *length, ..on(Opcode::TruncateFile, path) }
            }
            SimpleOp::Checksum(path) => on(Opcode::CalcFileCrc32, path),
        }
    }

    /// The least time to wait for the answer.
    pub fn floor(&self) -> Duration {
        match self {
            SimpleOp::Remove(_) | SimpleOp::RemoveDirectory(_) => REMOVE_FLOOR,
            SimpleOp::MakeDirectory(_) | SimpleOp::Rename(..) => Duration::ZERO,
            SimpleOp::Truncate(..) => Duration::ZERO,
            SimpleOp::Checksum(_) => WHOLE_FILE_FLOOR,
        }
    }

    /// Whether the operation changes what `path` stands for, so that it must not be open.
    pub fn affects(&self, path: &[u8]) -> bool {
        let within = |place: &[u8]| {
            path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        match self {
            SimpleOp::Remove(place)
            | SimpleOp::RemoveDirectory(place)
            | SimpleOp::Truncate(place, _) => within(place),
            SimpleOp::Rename(from, to) => within(from) || within(to),
            SimpleOp::MakeDirectory(_) | SimpleOp::Checksum(_) => false,
        }
    }

    /// Takes in the answer to a request that was sent `tries` times.
    pub fn answered(&self, tries: u32, result: Result<(), Nak>, answer: &Payload) -> SimpleStep {
        match (result, self) {
            (Ok(()), SimpleOp::Checksum(_)) => match answer.data_u32() {
                Some(checksum) => SimpleStep::Done(Reply::Checksum(checksum)),
                None => SimpleStep::Failed(Error::Malformed),
            },
            (Ok(()), _) => SimpleStep::Done(Reply::Done),
            // ArduPilot answers Fail to what it does not know.
            (Err(Nak::UnknownCommand | Nak::Fail), SimpleOp::Truncate(..)) => {
                SimpleStep::Failed(Error::Unsupported)
            }
            (Err(nak), _) => match self.expectation(tries, nak) {
                Some(confirm) => SimpleStep::Confirm(confirm),
                None => SimpleStep::Failed(Error::Refused(nak)),
            },
        }
    }

    /// What shows that a refused request had worked before. Who asks for a removal or renaming knows
    /// that the name was there, so that even one that we sent once may have come twice; a directory
    /// that exists already may be anybody's.
    fn expectation(&self, tries: u32, nak: Nak) -> Option<Confirm> {
        let gone = matches!(nak, Nak::FileNotFound | Nak::FailErrno(ENOENT));
        let there = matches!(nak, Nak::FileExists | Nak::FailErrno(EEXIST));
        match self {
            SimpleOp::Remove(path) | SimpleOp::RemoveDirectory(path) if gone => {
                Confirm::new(path, None, nak)
            }
            SimpleOp::Rename(_, to) if gone => Confirm::new(to, Some(false), nak),
            // A server that replaces nothing looks at the new name first.
            SimpleOp::Rename(from, to) if there => {
                Confirm::new(from, None, nak).map(|confirm| confirm.beside(to))
            }
            SimpleOp::MakeDirectory(path) if there && tries > 1 => {
                Confirm::new(path, Some(true), nak)
            }
            SimpleOp::Remove(_)
            | SimpleOp::RemoveDirectory(_)
            | SimpleOp::Rename(..)
            | SimpleOp::MakeDirectory(_)
            | SimpleOp::Truncate(..)
            | SimpleOp::Checksum(_) => None,
        }
    }
}

/// A look at the parent's listing that tells whether an operation worked after all.
#[derive(Debug)]
pub struct Confirm {
    /// The listing of the parent.
    pub list: ListJob,
    name: Vec<u8>,
    /// `None`: the name must be gone. `Some(true)`: a directory; `Some(false)`: anything.
    expected: Option<bool>,
    found: Option<bool>,
    /// A name that must be in the same listing, until it has been seen there: a server that refuses
    /// everything shows no name, and proves nothing by that.
    unseen: Option<Vec<u8>>,
    nak: Nak,
}

impl Confirm {
    fn new(path: &[u8], expected: Option<bool>, nak: Nak) -> Option<Confirm> {
        let (parent, name) = parts(path)?;
        let list = ListJob::new(parent.to_vec(), false);
        Some(Confirm { list, name: name.to_vec(), expected, found: None, unseen: None, nak })
    }

    /// Wants this to be there as well, if it is in the directory that is listed.
    fn beside(mut self, path: &[u8]) -> Confirm {
        let there = parts(path).filter(|(parent, _)| *parent == &self.list.path[..]);
        self.unseen = there.map(|(_, name)| name.to_vec());
        self
    }

    /// Takes in a page.
    pub fn page(&mut self, entries: &[WireEntry]) {
        if let Some(entry) = entries.iter().find(|entry| entry.name == self.name) {
            self.found = Some(entry.directory);
        }
        self.unseen.take_if(|name| entries.iter().any(|entry| entry.name == *name));
    }

    /// The operation's result, once the listing is complete.
    pub fn verdict(&self) -> Result<Reply, Error> {
        let worked = match (self.expected, self.found) {
            (None, None) | (Some(false), Some(_)) | (Some(true), Some(true)) => true,
            (None, Some(_)) | (Some(_), None) | (Some(true), Some(false)) => false,
        };
        if worked && self.unseen.is_none() {
            Ok(Reply::Done)
        } else {
            Err(Error::Refused(self.nak))
        }
    }
}

/// The directory that a path lies in, and its name there.
fn parts(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    let parent = if slash == 0 { &b"/"[..] } else { &path[..slash] };
    Some((parent, &path[slash + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_carries_both_paths_without_a_closing_nul() {
        let request = SimpleOp::Rename(b"/a".to_vec(), b"/b".to_vec()).request();
        assert_eq!(request.data(), b"/a\0/b");
    }

    #[test]
    fn a_repeated_request_refused_as_done_is_confirmed_by_a_listing() {
        let op = SimpleOp::MakeDirectory(b"/x/new".to_vec());
        let refused = Err(Nak::FileExists);
        let answer = Payload::request(Opcode::Nak);
        assert!(matches!(op.answered(1, refused, &answer), SimpleStep::Failed(_)));
        let SimpleStep::Confirm(mut confirm) = op.answered(2, refused, &answer) else {
            panic!("a repeated request is confirmed")
        };
        assert_eq!(confirm.list.path, b"/x");
        assert_eq!(confirm.verdict(), Err(Error::Refused(Nak::FileExists)));
        let entry = WireEntry { name: b"new".to_vec(), directory: true, size: 0, mtime: None };
        confirm.page(&[entry]);
        assert_eq!(confirm.verdict(), Ok(Reply::Done));
    }

    #[test]
    fn a_removal_that_the_network_sent_twice_is_confirmed_too() {
        let answer = Payload::request(Opcode::Nak);
        let remove = SimpleOp::Remove(b"/x/a".to_vec());
        let rename = SimpleOp::Rename(b"/x/a".to_vec(), b"/x/b".to_vec());
        for (op, there) in [(remove, false), (rename, true)] {
            for nak in [Nak::FileNotFound, Nak::FailErrno(ENOENT)] {
                let SimpleStep::Confirm(mut confirm) = op.answered(1, Err(nak), &answer) else {
                    panic!("{op:?} may have worked")
                };
                assert_eq!(confirm.verdict().is_ok(), !there, "nothing listed");
                let name = if there { b"b".to_vec() } else { b"a".to_vec() };
                confirm.page(&[WireEntry { name, directory: false, size: 0, mtime: None }]);
                assert_eq!(confirm.verdict().is_ok(), there);
            }
            assert!(matches!(op.answered(1, Err(Nak::Fail), &answer), SimpleStep::Failed(_)));
        }
    }

    #[test]
    fn a_rename_that_is_refused_because_it_worked_before_is_no_reason_to_remove_the_target() {
        let answer = Payload::request(Opcode::Nak);
        let rename = SimpleOp::Rename(b"/x/a".to_vec(), b"/x/b".to_vec());
        for nak in [Nak::FileExists, Nak::FailErrno(EEXIST)] {
            let SimpleStep::Confirm(mut confirm) = rename.answered(2, Err(nak), &answer) else {
                panic!("it may have worked")
            };
            assert_eq!(confirm.verdict(), Err(Error::Refused(nak)), "nothing is listed");
            let listed = |name: &[u8]| WireEntry {
                name: name.to_vec(),
                directory: false,
                size: 0,
                mtime: None,
            };
            confirm.page(&[listed(b"b")]);
            assert_eq!(confirm.verdict(), Ok(Reply::Done), "the old name is gone");
            confirm.page(&[listed(b"a")]);
            assert_eq!(confirm.verdict(), Err(Error::Refused(nak)));
        }
    }

    #[test]
    fn an_open_file_is_affected_by_changes_to_it_and_above_it() {
        let rename = SimpleOp::Rename(b"/d".to_vec(), b"/e".to_vec());
        assert!(rename.affects(b"/d/a") && rename.affects(b"/e"));
        assert!(!rename.affects(b"/da"));
        assert!(!SimpleOp::MakeDirectory(b"/d".to_vec()).affects(b"/d"));
    }
}
