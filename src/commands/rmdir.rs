//! `rmdir SOURCE#/path …`: empty directories removed on the far side.

use super::{Failure, Place, Tally};
use crate::remote::RemotePath;

/// Removes each, and goes on after one that fails.
pub fn run(place: &Place, more: &[RemotePath]) -> Result<(), Failure> {
    let vehicle = place.connect()?;
    let mut tally = Tally::default();
    for path in place.paths(more) {
        tally.count(vehicle.remove_directory(path).map_err(Failure::from))?;
    }
    tally.end()
}
