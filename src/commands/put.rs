//! `put LOCAL SOURCE#/path`: a local file stored on the far side.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Failure, Place};
use crate::api;
use crate::remote::Name;
use crate::remote::save::Policy;

/// Stores the file at the place: into it when that is a directory, else under that name.
pub fn run(local: &Path, place: &Place, saving: Policy) -> Result<(), Failure> {
    let failed = |error| api::Error::local(local, error);
    let file = File::open(local).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Failure::Refused(format!(
            "{} is not a regular file; put copies one file",
            local.display()
        )));
    }
    let name = local.file_name().map(|name| Name::parse(name.as_bytes()));
    let Some(Ok(name)) = name else {
        return Err(Failure::Refused(format!("{} has no usable name", local.display())));
    };
    let vehicle = place.connect()?;
    let target = vehicle.destination(&place.path, &name)?;
    vehicle.store(&target, file, saving, &mut |_, _| {})?;
    Ok(())
}
