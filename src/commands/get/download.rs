//! One file copied to the local disk. What arrived of one that could not be finished is kept beside its
//! name to be, hidden, so that it can be gone on with.

use std::fs::{self, File, FileTimes, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::NamedTempFile;

use crate::api::{self, Broken, Vehicle, checksum_of};
use crate::commands::Failure;
use crate::commands::progress::Shown;
use crate::remote::{Entry, RemotePath};

/// What a new file may be, before the umask.
const NEW_FILE_MODE: u32 = 0o666;
/// Less of a file that could not be finished is not worth keeping.
const KEPT_BYTES_MIN: u64 = 64 << 10;
/// So much of what was kept is compared with what is there before anything is added to it.
const OVERLAP_BYTES: u64 = 16 << 10;

/// A file to copy.
pub(super) struct Download<'a> {
    pub(super) vehicle: &'a Vehicle,
    pub(super) path: &'a RemotePath,
    /// As its directory shows it, if it does.
    pub(super) entry: Option<Entry>,
    pub(super) target: &'a Path,
    /// What is here already is not fetched again.
    pub(super) resume: bool,
    pub(super) shown: Shown,
}

/// Whether a file can go there.
pub(super) fn check(target: &Path) -> Result<(), Failure> {
    replaced(target).map(drop)
}

/// What has the local name now.
enum Replaced {
    Nothing,
    File(Permissions),
    /// A device or a pipe must not be renamed over; it takes the bytes as they come.
    Device,
}

fn replaced(target: &Path) -> Result<Replaced, Failure> {
    let shown = target.display();
    match fs::metadata(target) {
        Ok(there) if there.is_file() => Ok(Replaced::File(there.permissions())),
        Ok(there) if there.is_dir() => {
            Err(Failure::Refused(format!("{shown} is a directory; name another local file")))
        }
        Ok(_) => Ok(Replaced::Device),
        Err(_) if folder(target).is_dir() => Ok(Replaced::Nothing),
        Err(_) => Err(Failure::Refused(format!(
            "there is no directory {}; create it first",
            folder(target).display()
        ))),
    }
}

fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    }
}

impl Download<'_> {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match replaced(self.target)? {
            Replaced::Device => {
                let failed = |error| api::Error::local(self.target, error);
                let mut out = File::create(self.target).map_err(failed)?;
                let mut transfer = self.transfer();
                let done =
                    self.vehicle.read_to(self.path, &mut out, &mut |at, of| transfer.at(at, of));
                done.map_err(|error| self.of_target(error))?;
                Ok(())
            }
            Replaced::File(before) => {
                // What a link points to is replaced, not the link.
                let target = fs::canonicalize(self.target);
                let target = target.as_deref().unwrap_or(self.target);
                if self.resume && self.is_here(target)? {
                    return Ok(());
                }
                self.fetch(target, Some(before))
            }
            Replaced::Nothing => self.fetch(self.target, None),
        }
    }

    /// Whether the local file is the one that would be fetched: by size and time where the far side
    /// tells times, else by content.
    fn is_here(&self, target: &Path) -> Result<bool, Failure> {
        let Some(entry) = self.reliable_entry() else { return Ok(false) };
        let failed = |error| api::Error::local(target, error);
        let local = File::open(target).map_err(failed)?;
        let there = local.metadata().map_err(failed)?;
        if there.len() != entry.size {
            return Ok(false);
        }
        let same_time = entry.mtime.and_then(time_of) == there.modified().ok();
        Ok((entry.mtime.is_some() && same_time) || self.vehicle.is_identical(self.path, &local)?)
    }

    fn fetch(&self, target: &Path, before: Option<Permissions>) -> Result<(), Failure> {
        let folder = folder(target);
        let failed = |error| api::Error::local(target, error);
        let mut temporary = tempfile::Builder::new()
            .prefix(".mavftp-get-")
            .suffix(".tmp")
            .permissions(Permissions::from_mode(NEW_FILE_MODE))
            .tempfile_in(folder)
            // The name that could not be made up is of no interest; its folder is.
            .map_err(|error| api::Error::local(folder, error.kind().into()))?;
        let kept = Kept::of(self, folder, target);
        let start = match (&kept, self.resume) {
            (Some(kept), true) => self.take_up(kept, &mut temporary).map_err(failed)?,
            (Some(_) | None, _) => 0,
        };
        if let Some(before) = before {
            temporary.as_file().set_permissions(before).map_err(failed)?;
        }
        self.fetch_into(temporary.as_file(), start).map_err(|broken| {
            let error = self.of_target(broken.error);
            match &kept {
                Some(kept) if broken.kept >= KEPT_BYTES_MIN => {
                    self.keep(temporary.as_file(), broken.kept, &kept.path, temporary.path());
                }
                Some(_) | None => {}
            }
            error
        })?;
        if let Some(time) = self.entry.as_ref().and_then(|entry| time_of(entry.mtime?)) {
            let set = temporary.as_file().set_times(FileTimes::new().set_modified(time));
            set.map_err(failed)?;
        }
        temporary.persist(target).map_err(|error| failed(error.error))?;
        if let Some(kept) = kept {
            kept.remove_all(folder);
        }
        Ok(())
    }

    /// Fetches what is missing. A whole that was put together from two is checked where the far side
    /// has checksums, and fetched anew when it is wrong.
    fn fetch_into(&self, file: &File, start: u64) -> Result<(), Broken> {
        let fetch = |start| {
            let mut transfer = self.transfer();
            let mut progress = |at, of| transfer.at(at, of);
            self.vehicle.fetch_from(self.path, file, start, &mut progress)
        };
        let anew = || {
            file.set_len(0)
                .map_err(|error| Broken { error: api::Error::Output(error), kept: 0 })?;
            fetch(0).map(drop)
        };
        if start > 0
            && !self.continues(file, start).map_err(|error| Broken { error, kept: start })?
        {
            tracing::info!(path = %self.path, "what was kept is of another file; fetched anew");
            return anew();
        }
        let size = fetch(start)?;
        if start == 0 {
            return Ok(());
        }
        let is_whole = self.entry.as_ref().is_none_or(|entry| entry.size == size);
        if is_whole && self.is_right(file) { Ok(()) } else { anew() }
    }

    /// Whether the last of what was kept is what is there.
    fn continues(&self, file: &File, start: u64) -> Result<bool, api::Error> {
        let from = start.saturating_sub(OVERLAP_BYTES);
        let mut here = vec![0; (start - from) as usize];
        file.read_exact_at(&mut here, from).map_err(api::Error::Output)?;
        Ok(self.vehicle.read_at(self.path, from, here.len())? == here)
    }

    fn is_right(&self, file: &File) -> bool {
        match (self.vehicle.server_checksum(self.path), checksum_of(file)) {
            (Ok(Some(there)), Ok(here)) => there == here,
            (Ok(None), _) => true,
            // Armed, or busy: size, time and the overlap have to do.
            (Err(error), _) => {
                tracing::warn!(path = %self.path, %error, "not compared by checksum");
                true
            }
            (_, Err(_)) => false,
        }
    }

    /// Takes what was kept of an earlier attempt into the temporary file; how much it is.
    fn take_up(&self, kept: &Kept, temporary: &mut NamedTempFile) -> io::Result<u64> {
        // Renamed, so that nobody else goes on with the same.
        if fs::rename(&kept.path, temporary.path()).is_err() {
            return Ok(0);
        }
        *temporary.as_file_mut() = File::options().read(true).write(true).open(temporary.path())?;
        let length = temporary.as_file().metadata()?.len();
        if length <= kept.size {
            return Ok(length);
        }
        // Not what was kept; nothing of it may stand behind the new end.
        temporary.as_file().set_len(0)?;
        Ok(0)
    }

    /// Keeps the beginning of a file that could not be finished.
    fn keep(&self, file: &File, bytes: u64, place: &Path, temporary: &Path) {
        let kept = file.set_len(bytes).and_then(|()| fs::rename(temporary, place));
        match kept {
            Ok(()) => {
                let _ = writeln!(
                    io::stderr(),
                    "{}: {bytes} bytes are kept; the same with --continue goes on from there",
                    self.path
                );
            }
            Err(error) => tracing::warn!(path = %self.path, %error, "what arrived is not kept"),
        }
    }

    /// The entry, where what a listing says of the size is so.
    fn reliable_entry(&self) -> Option<&Entry> {
        let made_up = self.vehicle.is_made_up(self.path);
        self.entry.as_ref().filter(|_| !made_up)
    }

    fn transfer(&self) -> crate::commands::progress::Transfer {
        let name = self.path.name().map(|name| name.to_string()).unwrap_or_default();
        self.shown.transfer(&name)
    }

    /// Our output is a file with a name.
    fn of_target(&self, error: api::Error) -> api::Error {
        match error {
            api::Error::Output(error) => api::Error::local(self.target, error),
            other => other,
        }
    }
}

/// Where the beginning of a file is kept that could not be finished. Its name says of which state of
/// which file it is, so that no two are mixed.
struct Kept {
    path: PathBuf,
    /// What the names of all states of this file begin with.
    prefix: String,
    size: u64,
}

impl Kept {
    fn of(download: &Download<'_>, folder: &Path, target: &Path) -> Option<Kept> {
        let entry = download.reliable_entry()?;
        let name = short_hash(&target.file_name()?.as_bytes());
        let source = (download.vehicle.known_identity(), download.path.as_bytes());
        let state = short_hash(&(source, entry.size, entry.mtime));
        let prefix = format!(".mavftp-get-{name}-");
        Some(Kept { path: folder.join(format!("{prefix}{state}.part")), prefix, size: entry.size })
    }

    /// What older attempts have left.
    fn remove_all(&self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.as_bytes().starts_with(self.prefix.as_bytes())
                && name.as_bytes().ends_with(b".part")
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn short_hash(what: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn time_of(mtime: i64) -> Option<std::time::SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(mtime).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_name_that_will_not_do_is_told_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let reason = |target: &Path| check(target).err().map(|error| error.to_string());
        assert_eq!(reason(&folder.path().join("new")), None);
        assert_eq!(reason(Path::new("/dev/null")), None);
        assert!(reason(folder.path()).unwrap().contains("is a directory"));
        let none = reason(&folder.path().join("none/new")).unwrap();
        assert!(none.contains("no directory") && none.contains("none;"), "{none}");
    }
}
