//! `crc SOURCE#/path …`: checksums, one per line, as `sha256sum` writes its own.

use std::io::{self, Write};

use super::{Failure, Place, Tally};
use crate::remote::RemotePath;

/// Prints each file's checksum, and goes on after one that fails.
pub fn run(place: &Place, more: &[RemotePath]) -> Result<(), Failure> {
    let vehicle = place.connect()?;
    let mut tally = Tally::default();
    for path in place.paths(more) {
        let told = vehicle.checksum(path).map_err(Failure::from).and_then(|checksum| {
            let mut out = io::stdout().lock();
            write!(out, "{checksum:08x}  ")
                .and_then(|()| out.write_all(path.as_bytes()))
                .and_then(|()| out.write_all(b"\n"))
                .and_then(|()| out.flush())
                .map_err(Failure::Output)
        });
        tally.count(told)?;
    }
    tally.end()
}
