//! `rm SOURCE#/path …`: files removed on the far side; with `-r` directories too.

use super::{Failure, Place, Tally};
use crate::api;
use crate::remote::{self, RemotePath};

/// Removes each, and goes on after one that fails.
pub fn run(place: &Place, more: &[RemotePath], recursive: bool) -> Result<(), Failure> {
    let vehicle = place.connect()?;
    let mut tally = Tally::default();
    for path in place.paths(more) {
        if recursive {
            vehicle
                .remove_tree(path, &mut |removed| tally.count(removed.map_err(Failure::from)))?;
        } else {
            tally.count(vehicle.remove_file(path).map_err(with_hint))?;
        }
    }
    tally.end()
}

fn with_hint(error: api::Error) -> Failure {
    match &error {
        api::Error::Remote { path, error: remote::Error::IsADirectory } => Failure::Refused(
            format!("{path}: is a directory; rmdir removes an empty one, rm -r one with all in it"),
        ),
        _ => error.into(),
    }
}
