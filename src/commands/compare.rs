//! `compare LOCAL SOURCE#/path`: whether two files are the same.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Failure, Place};
use crate::api::{self, Found, Vehicle};
use crate::remote::{Name, RemotePath};

/// Exit code: they are the same.
const SAME: u8 = 0;
/// Exit code: they differ.
const DIFFERENT: u8 = 1;
/// Exit code: it cannot be told. A vehicle that is not heard, and a login refused, have their own.
const NOT_COMPARED: u8 = 7;

/// Compares; returns the exit code, which is the answer. With `quiet` nothing is printed for a
/// difference.
pub fn run(local: &Path, place: &Place, quiet: bool) -> Result<u8, Failure> {
    let compared = compare(local, place);
    match compared {
        Ok((true, _)) => Ok(SAME),
        Ok((false, path)) => {
            if !quiet {
                writeln!(io::stdout(), "{} and {path} differ", local.display())
                    .map_err(Failure::Output)?;
            }
            Ok(DIFFERENT)
        }
        Err(failure) if failure.exit_code() == DIFFERENT => {
            Err(Failure::Coded { code: NOT_COMPARED, why: Box::new(failure) })
        }
        Err(failure) => Err(failure),
    }
}

fn compare(local: &Path, place: &Place) -> Result<(bool, RemotePath), Failure> {
    let failed = |error| api::Error::local(local, error);
    let file = File::open(local).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Failure::Refused(format!(
            "{} is not a regular file; compare takes one file",
            local.display()
        )));
    }
    let vehicle = place.connect()?;
    let path = counterpart(&vehicle, local, &place.path)?;
    Ok((vehicle.is_identical(&path, &file)?, path))
}

/// What the file is compared with: of a directory, the file of the same name.
fn counterpart(vehicle: &Vehicle, local: &Path, path: &RemotePath) -> Result<RemotePath, Failure> {
    let name = local.file_name().and_then(|name| Name::parse(name.as_bytes()).ok());
    match (vehicle.find(path), name) {
        (Ok(Found::Directory), Some(name)) => Ok(path.join(&name)),
        // Some files no listing shows; opening them will tell.
        _ => Ok(path.clone()),
    }
}
