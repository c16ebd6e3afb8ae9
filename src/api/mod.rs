//! The blocking facade that the commands and users of the library share: a [`Vehicle`] (or an FTP
//! server) with its verbs, and an [`FtpServer`] for the other direction. Knows the far side only as a
//! [`Remote`]; must not know `cache`, `fs` and `fuse`, for none of this needs a mount.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::link::address::Address;
use crate::remote::{self, Entry, Kind, Name, Remote, RemotePath, ask, save};

mod change;
mod compare;
mod connect;
mod error;
mod interrupt;
mod intervals;
mod login;
pub mod netrc;
pub mod probe;
mod read;
mod result;
mod server;
mod upload;

pub use compare::checksum_of;
pub use connect::{Options, Waiting, connect};
pub use error::Error;
pub use interrupt::Interrupt;
pub use login::{FtpOptions, Login, PasswordSource};
pub use probe::{Probe, probe};
pub use read::Broken;
pub use result::FtpResult;
pub use server::{FtpServer, FtpServerError, FtpServerResult, ServeError, ServeOptions};

/// Between two looks at who a vehicle says it is.
const IDENTITY_PAUSE: Duration = Duration::from_millis(50);

/// Told while bytes move: how many so far, and of how many where that is known.
pub type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// A vehicle or FTP server, and what can be done with its files. Every call blocks until its end,
/// which comes at the latest one operation timeout after the last progress.
pub struct Vehicle {
    remote: Arc<dyn Remote>,
    patience: Duration,
    interrupt: Interrupt,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A directory; the root is one.
    Directory,
    /// A file, as its directory lists it.
    File(Entry),
}

impl Vehicle {
    /// Finds the vehicle or logs in. `waiting` is told, in a line for people, what is missing.
    ///
    /// # Errors
    /// [`Error::NoVehicle`], [`Error::NoFtp`], [`Error::Login`], or why the link cannot be opened.
    pub fn connect(
        address: &Address,
        options: &Options,
        waiting: Waiting<'_>,
    ) -> Result<Vehicle, Error> {
        let remote = connect(address, options, waiting)?;
        Ok(Vehicle::over(remote, options.mavlink.op_timeout))
    }

    /// The verbs over a far side that is connected already. `patience` is the longest time that an
    /// operation may go without progress.
    pub fn over(remote: Arc<dyn Remote>, patience: Duration) -> Vehicle {
        Vehicle { remote, patience, interrupt: Interrupt::default() }
    }

    /// What ends the calls of this vehicle from another thread.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// What it is, for people.
    pub fn label(&self) -> String {
        self.remote.status().label
    }

    /// Who it is, the same after a reboot and different for another: `uid2:0123…`; for a server host,
    /// port and user. `None` when it has not said so within `limit`.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn identity(&self, limit: Duration) -> Result<Option<String>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let identity = self.remote.status().identity;
            if self.interrupt.is_raised() {
                return Err(Error::Interrupted);
            }
            if identity.is_some() || Instant::now() >= deadline {
                return Ok(identity);
            }
            thread::sleep(IDENTITY_PAUSE);
        }
    }

    /// Who it is, as far as it has said so by now.
    pub fn known_identity(&self) -> Option<String> {
        self.remote.status().identity
    }

    /// Removes an unfinished upload of ours, if it is there. Other names are never removed by this.
    ///
    /// # Errors
    /// As [`Vehicle::find`].
    pub fn remove_temporary(&self, path: &RemotePath) -> Result<(), Error> {
        if !path.name().is_some_and(|name| save::is_temporary(&name)) {
            return Err(Error::remote(path, remote::Error::Denied));
        }
        let removal = save::remove_temporary(&self.remote, path, self.patience);
        self.interrupt.block_on(removal)?.map_err(|error| Error::remote(path, error))
    }

    /// What stands at a path, as the listings above it say.
    ///
    /// # Errors
    /// [`remote::Error::NotFound`] and what else can happen on the way, with the path.
    pub fn find(&self, path: &RemotePath) -> Result<Found, Error> {
        match self.interrupt.block_on(ask::find(&self.remote, path, self.patience))? {
            Ok(None) => Ok(Found::Directory),
            Ok(Some(entry)) => Ok(match entry.kind {
                Kind::Directory => Found::Directory,
                Kind::File => Found::File(entry),
            }),
            Err(error) => Err(Error::remote(path, error)),
        }
    }

    /// A directory's entries, sorted by name; for a file its own entry. Unfinished uploads of ours
    /// are not shown.
    ///
    /// # Errors
    /// As [`Vehicle::find`].
    pub fn list(&self, path: &RemotePath) -> Result<Vec<Entry>, Error> {
        // Asked first: there are servers that end when they are told to list a file.
        match self.find(path)? {
            Found::File(entry) => Ok(vec![entry]),
            Found::Directory => self.list_known(path),
        }
    }

    /// The same of a path that is known to be a directory, so that no other is listed.
    ///
    /// # Errors
    /// As [`Vehicle::find`].
    pub fn list_known(&self, path: &RemotePath) -> Result<Vec<Entry>, Error> {
        let mut entries = self.entries(path)?;
        entries.retain(|entry| !save::is_temporary(&entry.name));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Whether a path is that of a file which is made when it is opened, whose listed size says
    /// nothing (ArduPilot's `@SYS` and others).
    pub fn is_made_up(&self, path: &RemotePath) -> bool {
        self.remote.status().nature(path) == remote::Nature::MadeUp
    }

    /// Writes a file's bytes to `out` in order, as they come; returns how many.
    ///
    /// # Errors
    /// As [`Vehicle::find`]; [`remote::Error::Changed`] when the file changed under way;
    /// [`Error::Output`] when `out` takes no more. What has been written then is a beginning.
    pub fn read_to(
        &self,
        path: &RemotePath,
        out: &mut dyn Write,
        progress: Progress<'_>,
    ) -> Result<u64, Error> {
        self.refuse_directory(path)?;
        read::in_order(&self.reading(path), out, progress)
    }

    /// Copies a file into an empty local one, at the engine's full speed; returns its size. Every
    /// byte is accounted for.
    ///
    /// # Errors
    /// As [`Vehicle::read_to`]. `local` then holds an unknown part.
    pub fn fetch(
        &self,
        path: &RemotePath,
        local: &File,
        progress: Progress<'_>,
    ) -> Result<u64, Error> {
        self.refuse_directory(path)?;
        self.fetch_from(path, local, 0, progress).map_err(|broken| broken.error)
    }

    /// Goes on with a copy of which the local file holds the first `start` bytes; returns the size of
    /// the whole. That they are of the same state of the file is for the caller to know, and that it
    /// is a file: nothing is listed.
    ///
    /// # Errors
    /// As [`Vehicle::read_to`], with how much of the beginning the local file holds then.
    pub fn fetch_from(
        &self,
        path: &RemotePath,
        local: &File,
        start: u64,
        progress: Progress<'_>,
    ) -> Result<u64, Broken> {
        read::whole(&self.reading(path), local, start, progress)
    }

    /// `length` bytes of a file from `offset` on, fewer where it ends. Nothing is listed.
    ///
    /// # Errors
    /// As [`Vehicle::read_to`].
    pub fn read_at(&self, path: &RemotePath, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        read::piece(&self.reading(path), offset, length)
    }

    /// Stores a local file's content at `path`, which keeps its old content until all has arrived;
    /// with the file's modification time where the far side takes one. Returns the size.
    ///
    /// # Errors
    /// [`Error::Local`] when the file cannot be read, or why the far side did not take it.
    pub fn store(
        &self,
        path: &RemotePath,
        local: File,
        saving: save::Policy,
        progress: Progress<'_>,
    ) -> Result<u64, Error> {
        let Vehicle { remote, patience, interrupt } = self;
        upload::store(remote, *patience, interrupt, (path, saving), local, progress)
    }

    /// Where `store` shall put a file named `name` when it is told `path`: into it when that is a
    /// directory, else there, as `cp` does.
    ///
    /// # Errors
    /// As [`Vehicle::find`]; a directory in the way is [`remote::Error::IsADirectory`].
    pub fn destination(&self, path: &RemotePath, name: &Name) -> Result<RemotePath, Error> {
        match self.find(path) {
            Ok(Found::File(_)) | Err(Error::Remote { error: remote::Error::NotFound, .. }) => {
                Ok(path.clone())
            }
            Ok(Found::Directory) => {
                let inside = path.join(name);
                match self.find(&inside) {
                    Ok(Found::Directory) => {
                        Err(Error::remote(&inside, remote::Error::IsADirectory))
                    }
                    Ok(Found::File(_))
                    | Err(Error::Remote { error: remote::Error::NotFound, .. }) => Ok(inside),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn reading<'a>(&'a self, path: &'a RemotePath) -> read::Reading<'a> {
        let Vehicle { remote, patience, interrupt } = self;
        read::Reading { remote, patience: *patience, interrupt, path }
    }

    fn refuse_directory(&self, path: &RemotePath) -> Result<(), Error> {
        match self.find(path) {
            Ok(Found::Directory) => Err(Error::remote(path, remote::Error::IsADirectory)),
            // Some files no listing shows (`@PARAM/param.pck`): opening them will tell.
            Ok(Found::File(_)) | Err(Error::Remote { error: remote::Error::NotFound, .. }) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
