//! What is not on a vehicle yet, on the local disk: every staged copy is an entry here from its
//! beginning, so that it is found again after a crash or a power cut, and stays when it could not be
//! sent. Knows the disk and its own format; must not know `fs`, `cache` and `remote`.
//!
//! An entry is a directory, readable by its owner alone:
//!
//! ```text
//! 3f9a2c1e/data        the bytes; locked by flock(2) for as long as a process works on them
//! 3f9a2c1e/meta.json   whose file this is and what became of it (`Meta`)
//! ```

mod disk;
mod entry;
mod meta;
mod places;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

pub use disk::{copy_with_holes, create_beside, read_at};
pub use entry::Entry;
pub use meta::{Before, Durability, Meta, PathBytes, State, Vehicle};
pub use places::Places;

/// Entries under construction begin so; a listing passes over them.
const UNFINISHED: &str = ".new-";
/// What is under construction for longer was left by a process that died.
const UNFINISHED_MAX: Duration = Duration::from_secs(600);
/// Who only looks at an entry has it locked for a moment: an entry is tried so often before it counts as
/// somebody's.
const TAKING_TRIES: u32 = 10;
const TAKING_PAUSE: Duration = Duration::from_millis(5);
/// How many ids are tried before giving up; one is taken with a chance of one in four thousand
/// million for each entry.
const ATTEMPTS: u32 = 16;
/// The name of an entry's bytes.
const DATA: &str = "data";
/// The name of an entry's description.
const META: &str = "meta.json";

/// A directory of entries.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
}

/// What lies in a journal.
#[derive(Debug)]
pub enum Listed {
    /// An entry that the vehicle lacks something of.
    Entry(Found),
    /// Something that cannot be understood, which is left alone.
    Unreadable {
        /// Where it lies.
        place: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// An entry as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it says of itself, with the length that its bytes have.
    pub meta: Meta,
    /// Where its bytes lie.
    pub data: PathBuf,
    /// Whether a living process works on it.
    pub in_use: bool,
}

impl Journal {
    /// The journal in a directory, which is made, for its owner alone, when it is not there.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(directory: &Path) -> io::Result<Journal> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Ok(Journal { directory: directory.to_owned() })
    }

    /// The journal in a directory that may not be there: then it is empty.
    pub fn at(directory: &Path) -> Journal {
        Journal { directory: directory.to_owned() }
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new entry without bytes, locked by this process. Its id is made here.
    ///
    /// # Errors
    /// What the disk said.
    pub fn create(&self, meta: Meta) -> io::Result<Entry> {
        for _ in 0..ATTEMPTS {
            let id = fresh_id();
            let meta = Meta { id: id.clone(), ..meta.clone() };
            match Entry::create(&self.directory, &format!("{UNFINISHED}{id}"), &id, meta) {
                Err(error) if is_taken(&error) => {}
                created => return created,
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "every id that was tried is taken"))
    }

    /// Everything that a vehicle lacks, the oldest first, and what cannot be understood.
    ///
    /// # Errors
    /// Why the directory cannot be read; one that is not there is empty.
    pub fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed: Vec<Listed> = self
            .ids()?
            .iter()
            .filter_map(|id| match entry::look(&self.directory.join(id), id) {
                Ok(found) => found.is_listed().then_some(Listed::Entry(found)),
                // Removed while we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.has(id) => None,
                Err(error) => Some(Listed::Unreadable {
                    place: self.directory.join(id),
                    reason: error.to_string(),
                }),
            })
            .collect();
        listed.sort_by_key(|listed| match listed {
            Listed::Entry(found) => (found.meta.when, found.meta.id.clone()),
            Listed::Unreadable { place, .. } => (i64::MAX, place.display().to_string()),
        });
        Ok(listed)
    }

    /// The entries of which `wanted` says yes, as they are now. What cannot be understood is passed
    /// over.
    ///
    /// # Errors
    /// Why the directory cannot be read.
    pub fn find(&self, wanted: impl Fn(&Meta) -> bool) -> io::Result<Vec<Found>> {
        let ids = self.ids()?;
        let readable = ids.iter().filter_map(|id| entry::look(&self.directory.join(id), id).ok());
        Ok(readable.filter(|found| wanted(&found.meta)).collect())
    }

    /// Takes over an entry that no living process works on; `None` when one does, or when the entry
    /// is gone.
    ///
    /// # Errors
    /// Why it cannot be understood.
    pub fn take(&self, id: &str) -> io::Result<Option<Entry>> {
        for tries_left in (0..TAKING_TRIES).rev() {
            match Entry::take(&self.directory.join(id), id) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Ok(None) if tries_left > 0 => thread::sleep(TAKING_PAUSE),
                taken => return taken,
            }
        }
        Ok(None)
    }

    /// Takes over every entry that nobody works on and that `wanted` says yes to. What cannot be
    /// understood is passed over.
    ///
    /// # Errors
    /// Why the directory cannot be read.
    pub fn take_all(&self, wanted: impl Fn(&Meta) -> bool) -> io::Result<Vec<Entry>> {
        let found = self.find(wanted)?.into_iter().filter(|found| !found.in_use);
        Ok(found.filter_map(|found| self.take(&found.meta.id).ok().flatten()).collect())
    }

    /// Removes what died before it held anything: copies without changes, and unfinished entries.
    ///
    /// # Errors
    /// Why the directory cannot be read.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in self.take_all(|meta| !meta.is_worth_keeping())? {
            entry.remove()?;
        }
        for found in self.entries()? {
            let name = found.file_name();
            let unfinished = name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
            let made = found.metadata().and_then(|metadata| metadata.modified());
            let age = made.map(|made| SystemTime::now().duration_since(made).unwrap_or_default());
            if unfinished && age.is_ok_and(|age| age > UNFINISHED_MAX) {
                fs::remove_dir_all(found.path())?;
            }
        }
        Ok(())
    }

    fn has(&self, id: &str) -> bool {
        self.directory.join(id).exists()
    }

    fn ids(&self) -> io::Result<Vec<String>> {
        let names = self.entries()?.into_iter().filter_map(|found| {
            let is_directory = found.file_type().is_ok_and(|kind| kind.is_dir());
            let name = found.file_name().into_string().ok()?;
            (is_directory && !name.starts_with('.')).then_some(name)
        });
        Ok(names.collect())
    }

    fn entries(&self) -> io::Result<Vec<fs::DirEntry>> {
        match fs::read_dir(&self.directory) {
            Ok(entries) => entries.collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl Found {
    /// What became of it. What was changed when its process died was interrupted.
    pub fn state(&self) -> State {
        match (self.meta.state, self.in_use) {
            (State::Dirty, false) => State::Interrupted,
            (state, _) => state,
        }
    }

    fn is_listed(&self) -> bool {
        self.meta.state != State::Clean
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

/// Tells this process from every other that works on a journal.
pub fn fresh_session() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// Eight hexadecimal digits that are short to type.
fn fresh_id() -> String {
    format!("{:08x}", RandomState::new().build_hasher().finish() as u32)
}
