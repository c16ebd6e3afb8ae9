//! One entry: its bytes, its description, and the lock that says a living process works on it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{self, Lock};
use super::meta::{Durability, META_BYTES_MAX, Meta, State};
use super::{DATA, Found, META};

/// An entry that this process holds, until it is dropped: what it is then stays on the disk.
#[derive(Debug)]
pub struct Entry {
    directory: PathBuf,
    data: Arc<File>,
    meta: Mutex<Meta>,
}

impl Entry {
    /// Made under another name first, so that nobody sees half of it.
    pub(super) fn create(
        journal: &Path,
        unfinished: &str,
        name: &str,
        meta: Meta,
    ) -> io::Result<Entry> {
        let building = journal.join(unfinished);
        let directory = journal.join(name);
        DirBuilder::new().mode(0o700).create(&building)?;
        let build = || {
            let data = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(building.join(DATA))?;
            disk::lock(&data, Lock::Exclusive)?;
            write_meta(&building, &meta, Durability::Process, &data)?;
            fs::rename(&building, &directory)?;
            Ok(Arc::new(data))
        };
        match build() {
            Ok(data) => Ok(Entry { directory, data, meta: Mutex::new(meta) }),
            Err(error) => {
                let _ = fs::remove_dir_all(&building);
                Err(error)
            }
        }
    }

    pub(super) fn take(directory: &Path, id: &str) -> io::Result<Option<Entry>> {
        let data = OpenOptions::new().read(true).write(true).open(directory.join(DATA))?;
        if !disk::lock(&data, Lock::Exclusive)? {
            return Ok(None);
        }
        let meta = read_meta(directory, id, &data)?;
        let directory = directory.to_owned();
        Ok(Some(Entry { directory, data: Arc::new(data), meta: Mutex::new(meta) }))
    }

    /// The bytes.
    pub fn data(&self) -> &Arc<File> {
        &self.data
    }

    /// Where the bytes lie.
    pub fn place(&self) -> PathBuf {
        self.directory.join(DATA)
    }

    /// What it says of itself.
    pub fn meta(&self) -> Meta {
        self.meta.lock().clone()
    }

    /// What became of it. What was changed when its process died was interrupted.
    pub fn state(&self) -> State {
        self.meta.lock().state
    }

    /// Changes what it says of itself, and returns when that is on the disk.
    ///
    /// # Errors
    /// What the disk said; then it may say either.
    pub fn note(&self, durability: Durability, change: impl FnOnce(&mut Meta)) -> io::Result<()> {
        // Held while the disk writes, so that the last change is the last written. Nobody waits here
        // but threads that wait for the disk anyway.
        let mut meta = self.meta.lock();
        let mut changed = meta.clone();
        change(&mut changed);
        if durability == Durability::Process && changed == *meta {
            return Ok(());
        }
        write_meta(&self.directory, &changed, durability, &self.data)?;
        *meta = changed;
        if durability == Durability::Power {
            disk::sync_directory(&self.directory)?;
            let journal = self.directory.parent();
            journal.map_or(Ok(()), disk::sync_directory)?;
        }
        Ok(())
    }

    /// Removes it from the disk.
    ///
    /// # Errors
    /// What the disk said.
    pub fn remove(self) -> io::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Its bytes are needed no more: what remains is what is to be removed from the vehicle, if
    /// there is something.
    ///
    /// # Errors
    /// What the disk said.
    pub fn settle(self) -> io::Result<()> {
        if self.meta.lock().leftovers.is_empty() {
            return self.remove();
        }
        self.data.set_len(0)?;
        self.note(Durability::Process, |meta| {
            meta.state = State::Clean;
            meta.length = 0;
        })
    }

    /// Lets go of it: removes it when nothing would be lost by that, else it stays.
    ///
    /// # Errors
    /// What the disk said.
    pub fn close(self) -> io::Result<()> {
        match self.state() {
            // Changes that were dropped on purpose.
            State::Clean | State::Dirty => self.settle(),
            State::Failed | State::Partial | State::Interrupted | State::Pending => Ok(()),
        }
    }
}

/// An entry seen from outside.
pub(super) fn look(directory: &Path, id: &str) -> io::Result<Found> {
    let place = directory.join(DATA);
    let data = File::open(&place)?;
    let in_use = !disk::lock(&data, Lock::Shared)?;
    let meta = read_meta(directory, id, &data)?;
    Ok(Found { meta, data: place, in_use })
}

/// Describes the bytes in `data`, which are safe before they are described.
fn write_meta(
    directory: &Path,
    meta: &Meta,
    durability: Durability,
    data: &File,
) -> io::Result<()> {
    let json = meta.to_json().map_err(io::Error::other)?;
    disk::replace(&directory.join(META), &json, durability, data)
}

/// The description, with the length that whole bytes have: it is not noted at every write.
fn read_meta(directory: &Path, id: &str, data: &File) -> io::Result<Meta> {
    let mut json = Vec::new();
    File::open(directory.join(META))?.take(META_BYTES_MAX).read_to_end(&mut json)?;
    let mut meta = Meta::from_json(&json)
        .map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))?;
    // The name is what is typed.
    meta.id = id.to_owned();
    if meta.whole {
        meta.length = data.metadata()?.len();
    }
    Ok(meta)
}
