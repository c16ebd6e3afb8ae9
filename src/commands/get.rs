//! `get SOURCE#/path [#/path]… [LOCAL]`: files copied to the local disk, with `-r` directories too. A
//! file appears under its name only when every byte is there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::progress::Shown;
use super::{Failure, Place, Tally};
use crate::api::{self, Found, Vehicle};
use crate::remote::{self, Entry, Kind, RemotePath};
use download::Download;

mod download;

/// What to copy, and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The far side, and the first thing to copy.
    pub place: Place,
    /// Further ones.
    pub more: Vec<RemotePath>,
    /// The local name or directory; without it, the working directory.
    pub local: Option<PathBuf>,
    /// Directories too.
    pub recursive: bool,
    /// What is here already is not fetched again.
    pub resume: bool,
}

/// Copies each: into `local` when it is a directory, else under that name; without it, under its own
/// name here. Goes on after one that fails.
pub fn run(options: &Options) -> Result<(), Failure> {
    let Options { place, more, local, recursive, .. } = options;
    let local = local.as_deref();
    if place.path.is_root() && !(*recursive && local.is_some()) {
        return Err(Failure::Refused(
            "name what to copy, as in udp:14550#/log.ulg; for all of it: get -r SOURCE#/ LOCAL"
                .into(),
        ));
    }
    if !more.is_empty() && local.is_some_and(|local| !local.is_dir()) {
        let shown = local.unwrap_or(Path::new(".")).display();
        return Err(Failure::Refused(format!(
            "{shown} is not a directory; several files need one to go into"
        )));
    }
    if more.is_empty() && !recursive {
        // Looked at before anybody waits for a vehicle.
        download::check(&target(&place.path, local))?;
    }
    let vehicle = place.connect()?;
    let mut getting = Getting {
        vehicle: &vehicle,
        options,
        shown: Shown::on_stderr(place.quiet),
        tally: Tally::default(),
    };
    for path in place.paths(more) {
        let got = getting.get(path, &target(path, local));
        getting.tally.count(got)?;
    }
    getting.tally.end()
}

struct Getting<'a> {
    vehicle: &'a Vehicle,
    options: &'a Options,
    shown: Shown,
    tally: Tally,
}

impl Getting<'_> {
    fn get(&mut self, path: &RemotePath, target: &Path) -> Result<(), Failure> {
        match self.vehicle.find(path) {
            Ok(Found::File(entry)) => self.file(path, Some(entry), target),
            Ok(Found::Directory) if self.options.recursive => self.directory(path, target),
            Ok(Found::Directory) => Err(Failure::Refused(format!(
                "{path}: is a directory; get -r copies one with all that is in it"
            ))),
            // Some files no listing shows (`@PARAM/param.pck`): opening them will tell.
            Err(api::Error::Remote { error: remote::Error::NotFound, .. }) => {
                self.file(path, None, target)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn file(
        &mut self,
        path: &RemotePath,
        entry: Option<Entry>,
        target: &Path,
    ) -> Result<(), Failure> {
        let Options { resume, .. } = *self.options;
        let (vehicle, shown) = (self.vehicle, self.shown);
        Download { vehicle, path, entry, target, resume, shown }.run()
    }

    fn directory(&mut self, path: &RemotePath, target: &Path) -> Result<(), Failure> {
        match fs::create_dir(target) {
            Err(error) if !target.is_dir() => {
                return Err(api::Error::local(target, error).into());
            }
            Ok(()) | Err(_) => {}
        }
        for entry in self.vehicle.list_known(path)? {
            let inside = path.join(&entry.name);
            let here = target.join(OsStr::from_bytes(entry.name.as_bytes()));
            let got = match entry.kind {
                Kind::Directory => self.directory(&inside, &here),
                Kind::File => self.file(&inside, Some(entry), &here),
            };
            self.tally.count(got)?;
        }
        Ok(())
    }
}

/// Where something goes, as `cp` does it.
fn target(path: &RemotePath, local: Option<&Path>) -> PathBuf {
    let name = path.name();
    let name = name.as_ref().map(|name| OsStr::from_bytes(name.as_bytes()));
    match (local, name) {
        (None, Some(name)) => PathBuf::from(name),
        // A name that ends with a slash is meant to be a directory.
        (Some(local), Some(name))
            if local.is_dir() || local.as_os_str().as_bytes().ends_with(b"/") =>
        {
            local.join(name)
        }
        (Some(local), Some(_) | None) => local.to_owned(),
        (None, None) => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_name_is_chosen_as_cp_does() {
        let path = RemotePath::parse(b"/fs/log.ulg").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("log.ulg");
        assert_eq!(target(&path, None), Path::new("log.ulg"));
        assert_eq!(target(&path, Some(folder.path())), inside);
        assert_eq!(target(&path, Some(&folder.path().join("b"))), folder.path().join("b"));
        assert_eq!(target(&path, Some(Path::new("new/"))), Path::new("new/log.ulg"));
        assert_eq!(target(&RemotePath::root(), Some(folder.path())), folder.path());
    }
}
