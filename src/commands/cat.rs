//! `cat SOURCE#/path`: a file's bytes on standard output.

use std::io;

use super::{Failure, Place};

/// Writes the file as it comes; what is there when something fails is its beginning.
pub fn run(place: &Place) -> Result<(), Failure> {
    let vehicle = place.connect()?;
    vehicle.read_to(&place.path, &mut io::stdout().lock(), &mut |_, _| {})?;
    Ok(())
}
