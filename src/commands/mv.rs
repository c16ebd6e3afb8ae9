//! `mv SOURCE#/old /new`: another name, or another directory, on the same far side.

use super::{Failure, Place};
use crate::api::{self, Found};
use crate::remote::{self, RemotePath};

/// Renames; into `to` when that is a directory. With `to_directory` it must be one.
pub fn run(place: &Place, to: &RemotePath, to_directory: bool) -> Result<(), Failure> {
    let Some(name) = place.path.name() else {
        return Err(Failure::Refused("the root cannot be renamed; name what is in it".into()));
    };
    let vehicle = place.connect()?;
    let target = match vehicle.find(to) {
        Ok(Found::Directory) => to.join(&name),
        Ok(Found::File(_)) if to_directory => {
            return Err(api::Error::remote(to, remote::Error::NotADirectory).into());
        }
        Err(api::Error::Remote { error: remote::Error::NotFound, .. })
            if to_directory && vehicle.find(&place.path)? != Found::Directory =>
        {
            return Err(api::Error::remote(to, remote::Error::NotFound).into());
        }
        Ok(Found::File(_)) | Err(api::Error::Remote { error: remote::Error::NotFound, .. }) => {
            to.clone()
        }
        Err(error) => return Err(error.into()),
    };
    Ok(vehicle.rename(&place.path, &target)?)
}
