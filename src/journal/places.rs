//! Where journals lie: in the user's state directory, or where there is none in a private folder for
//! temporary files.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::Journal;

/// Below the state directory.
const UNSENT: &str = "mavftp-mount/unsent";
/// Permission bits of group and others: none may be set on a folder where anyone can make folders.
const FOREIGN_BITS: u32 = 0o077;

/// The folders that may hold a journal, the best first.
#[derive(Debug, Clone)]
pub struct Places {
    state: Option<PathBuf>,
    temporary: PathBuf,
}

impl Places {
    /// `$XDG_STATE_HOME/mavftp-mount/unsent` or `~/.local/state/mavftp-mount/unsent`; else a folder of
    /// ours in `$TMPDIR` or `/var/tmp`.
    pub fn from_environment() -> Places {
        let absolute = |variable: &str| {
            std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let temporary = absolute("TMPDIR").unwrap_or_else(|| PathBuf::from("/var/tmp"));
        Places::new(state.map(|state| state.join(UNSENT)), temporary)
    }

    /// A journal in `state`, or where that cannot be used below `temporary`.
    pub fn new(state: Option<PathBuf>, temporary: PathBuf) -> Places {
        // SAFETY: takes nothing, cannot fail and touches no memory of ours.
        let user = unsafe { libc::geteuid() };
        Places { state, temporary: temporary.join(format!("mavftp-mount-{user}")) }
    }

    /// The journal to write to. What its last owners left without changes is removed.
    ///
    /// # Errors
    /// Why neither folder can be used, with the folder.
    pub fn open(&self) -> io::Result<Journal> {
        let journal = match self.state.as_deref().map(Journal::open) {
            Some(Ok(journal)) => journal,
            Some(Err(error)) => {
                let place = self.state.as_deref().unwrap_or(&self.temporary);
                tracing::warn!(place = %place.display(), %error, "no journal there");
                self.open_temporary()?
            }
            None => self.open_temporary()?,
        };
        if let Err(error) = journal.sweep() {
            tracing::warn!(place = %journal.directory().display(), %error, "cannot be tidied");
        }
        Ok(journal)
    }

    /// Every journal there is, to be read.
    pub fn all(&self) -> Vec<Journal> {
        let temporary = self.is_private().then(|| self.temporary.join(UNSENT));
        self.state.iter().cloned().chain(temporary).map(|place| Journal::at(&place)).collect()
    }

    fn open_temporary(&self) -> io::Result<Journal> {
        let place = self.temporary.join(UNSENT);
        let said = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", place.display()))
        };
        if !self.temporary.exists() {
            Journal::open(&self.temporary).map_err(said)?;
        }
        if !self.is_private() {
            let reason = "the folder belongs to somebody else, or is open to others; remove it, or \
                          set XDG_STATE_HOME";
            return Err(said(io::Error::new(io::ErrorKind::PermissionDenied, reason)));
        }
        Journal::open(&place).map_err(said)
    }

    /// Whether the folder for temporary files is ours alone: everybody may make one of its name.
    fn is_private(&self) -> bool {
        // SAFETY: takes nothing, cannot fail and touches no memory of ours.
        let user = unsafe { libc::geteuid() };
        fs::symlink_metadata(&self.temporary).is_ok_and(|found| {
            found.is_dir() && found.uid() == user && found.permissions().mode() & FOREIGN_BITS == 0
        })
    }
}
