//! `put LOCAL… SOURCE#/path`: local files stored on the far side, with `-r` directories too.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::progress::Shown;
use super::{Failure, Place, Tally};
use crate::api::{self, Found, Vehicle};
use crate::remote::save::Policy;
use crate::remote::{self, Name, RemotePath};

/// What to copy, and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The local files.
    pub locals: Vec<PathBuf>,
    /// The name or directory there.
    pub place: Place,
    /// How each is saved.
    pub saving: Policy,
    /// Directories too.
    pub recursive: bool,
    /// What is there already is not sent again.
    pub resume: bool,
}

/// Stores each at the place: into it when that is a directory, else under that name. Goes on after
/// one that fails.
pub fn run(options: &Options) -> Result<(), Failure> {
    let Options { locals, place, recursive, .. } = options;
    // Looked at before anybody waits for a vehicle.
    for local in locals {
        check(local, *recursive)?;
    }
    // `put -r logs SOURCE#/new/` makes what is not there.
    let place = Place { directory: place.directory && !recursive, ..place.clone() };
    let vehicle = place.connect()?;
    if locals.len() > 1 && vehicle.find(&place.path)? != Found::Directory {
        let wanted = api::Error::remote(&place.path, remote::Error::NotADirectory);
        return Err(wanted.into());
    }
    let shown = Shown::on_stderr(place.quiet);
    let mut putting = Putting { vehicle: &vehicle, options, shown, tally: Tally::default() };
    for local in locals {
        let put = putting.put(local);
        putting.tally.count(put)?;
    }
    putting.tally.end()
}

/// Whether it can be copied.
fn check(local: &Path, recursive: bool) -> Result<(), Failure> {
    let shown = local.display();
    let there = fs::metadata(local).map_err(|error| api::Error::local(local, error))?;
    match (there.is_dir(), there.is_file()) {
        (true, _) if recursive => Ok(()),
        (true, _) => Err(Failure::Refused(format!(
            "{shown} is a directory; put -r copies one with all that is in it"
        ))),
        (false, true) => Ok(()),
        (false, false) => {
            Err(Failure::Refused(format!("{shown} is not a regular file; put copies files")))
        }
    }
}

/// The name that it gets where none is given.
fn name_of(local: &Path) -> Result<Name, Failure> {
    let real = local.canonicalize();
    // `.` and `..` have one too.
    let name = local.file_name().or_else(|| real.as_ref().ok()?.file_name());
    let name = name.and_then(|name| Name::parse(name.as_bytes()).ok());
    name.ok_or_else(|| Failure::Refused(format!("{} has no usable name", local.display())))
}

struct Putting<'a> {
    vehicle: &'a Vehicle,
    options: &'a Options,
    shown: Shown,
    tally: Tally,
}

impl Putting<'_> {
    fn put(&mut self, local: &Path) -> Result<(), Failure> {
        let name = name_of(local)?;
        let path = &self.options.place.path;
        if !local.is_dir() {
            let target = self.vehicle.destination(path, &name)?;
            return self.file(local, &target);
        }
        // As `cp -r` does: into a directory that is there, else under that name.
        let target = match self.vehicle.find(path) {
            Ok(Found::Directory) => path.join(&name),
            Ok(Found::File(_)) => {
                return Err(api::Error::remote(path, remote::Error::NotADirectory).into());
            }
            Err(api::Error::Remote { error: remote::Error::NotFound, .. }) => path.clone(),
            Err(error) => return Err(error.into()),
        };
        self.directory(local, &target)
    }

    fn file(&self, local: &Path, target: &RemotePath) -> Result<(), Failure> {
        let file = File::open(local).map_err(|error| api::Error::local(local, error))?;
        if self.options.resume && self.is_there(target, &file)? {
            return Ok(());
        }
        let name = target.name().map(|name| name.to_string()).unwrap_or_default();
        let mut transfer = self.shown.transfer(&name);
        let mut progress = |at, of| transfer.at(at, of);
        self.vehicle.store(target, file, self.options.saving, &mut progress)?;
        Ok(())
    }

    fn is_there(&self, target: &RemotePath, file: &File) -> Result<bool, Failure> {
        match self.vehicle.is_identical(target, file) {
            Ok(same) => Ok(same),
            Err(api::Error::Remote { error: remote::Error::NotFound, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn directory(&mut self, local: &Path, target: &RemotePath) -> Result<(), Failure> {
        match self.vehicle.find(target) {
            Ok(Found::Directory) => {}
            Ok(Found::File(_)) => {
                return Err(api::Error::remote(target, remote::Error::NotADirectory).into());
            }
            Err(api::Error::Remote { error: remote::Error::NotFound, .. }) => {
                self.vehicle.make_directory(target)?;
            }
            Err(error) => return Err(error.into()),
        }
        let failed = |error| api::Error::local(local, error);
        let mut entries =
            fs::read_dir(local).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let put = self.entry(&entry.path(), target);
            self.tally.count(put)?;
        }
        Ok(())
    }

    fn entry(&mut self, local: &Path, into: &RemotePath) -> Result<(), Failure> {
        let target = into.join(&name_of(local)?);
        let kind = fs::symlink_metadata(local).map_err(|error| api::Error::local(local, error))?;
        if kind.is_dir() {
            return self.directory(local, &target);
        }
        // A link to a directory could lead round in a circle.
        check(local, false)?;
        self.file(local, &target)
    }
}
