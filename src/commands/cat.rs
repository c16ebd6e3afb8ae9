//! `cat SOURCE#/path`: a file's bytes on standard output.

use std::io;

use super::{Failure, Place};
use crate::api;

/// Writes the file as it comes; what is there when something fails is its beginning.
pub fn run(place: &Place) -> Result<(), Failure> {
    let vehicle = place.connect()?;
    match vehicle.read_to(&place.path, &mut io::stdout().lock(), &mut |_, _| {}) {
        Ok(_) => Ok(()),
        Err(api::Error::Output(error)) => Err(Failure::Output(error)),
        Err(error) => Err(error.into()),
    }
}
