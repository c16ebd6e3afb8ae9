//! `mkdir SOURCE#/path …`: directories made on the far side.

use super::{Failure, Place, Tally};
use crate::api::{self, Found, Vehicle};
use crate::remote::{self, RemotePath};

/// Makes each; with `parents` also the directories above, and one that is there is no error.
pub fn run(place: &Place, more: &[RemotePath], parents: bool) -> Result<(), Failure> {
    // Not as a place that must be a directory already: `mkdir /new/` is usual.
    let vehicle = Place { directory: false, ..place.clone() }.connect()?;
    let mut tally = Tally::default();
    for path in place.paths(more) {
        let made = if parents { make_all(&vehicle, path) } else { vehicle.make_directory(path) };
        tally.count(made.map_err(Failure::from))?;
    }
    tally.end()
}

fn make_all(vehicle: &Vehicle, path: &RemotePath) -> Result<(), api::Error> {
    match vehicle.find(path) {
        Ok(Found::Directory) => return Ok(()),
        Ok(Found::File(_)) => return Err(api::Error::remote(path, remote::Error::Exists)),
        Err(api::Error::Remote { error: remote::Error::NotFound, .. }) => {}
        Err(error) => return Err(error),
    }
    if let Some(parent) = path.parent() {
        make_all(vehicle, &parent)?;
    }
    vehicle.make_directory(path)
}
