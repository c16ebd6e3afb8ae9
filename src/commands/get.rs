//! `get SOURCE#/path [LOCAL]`: a file copied to the local disk. It appears under its name only when
//! every byte is there.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Failure, Place};
use crate::api::{self, Vehicle};
use crate::remote::RemotePath;

/// What a new file may be, before the umask.
const NEW_FILE_MODE: u32 = 0o666;

/// Copies the file to `local`: into it when it is a directory, else under that name; without it,
/// under its own name here.
pub fn run(place: &Place, local: Option<&Path>) -> Result<(), Failure> {
    let target = target(&place.path, local)?;
    let vehicle = place.connect()?;
    match fs::metadata(&target) {
        // A device or a pipe must not be renamed over; it takes the bytes as they come.
        Ok(there) if !there.is_file() => {
            let mut out =
                File::create(&target).map_err(|error| api::Error::local(&target, error))?;
            vehicle.read_to(&place.path, &mut out, &mut |_, _| {})?;
            Ok(())
        }
        Ok(there) => {
            // What a link points to is replaced, not the link.
            let target = fs::canonicalize(&target).unwrap_or(target);
            fetch(&vehicle, &place.path, &target, Some(there.permissions()))
        }
        Err(_) => fetch(&vehicle, &place.path, &target, None),
    }
}

fn fetch(
    vehicle: &Vehicle,
    path: &RemotePath,
    target: &Path,
    before: Option<Permissions>,
) -> Result<(), Failure> {
    let failed = |error| api::Error::local(target, error);
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let temporary = tempfile::Builder::new()
        .prefix(".mavftp-get-")
        .suffix(".part")
        .permissions(Permissions::from_mode(NEW_FILE_MODE))
        .tempfile_in(folder)
        .map_err(failed)?;
    if let Some(before) = before {
        temporary.as_file().set_permissions(before).map_err(failed)?;
    }
    vehicle.fetch(path, temporary.as_file(), &mut |_, _| {})?;
    temporary.persist(target).map_err(|error| failed(error.error))?;
    Ok(())
}

fn target(path: &RemotePath, local: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(name) = path.name() else {
        return Err(Failure::Refused(
            "get copies one file; name it after the source, as in udp:14550#/log.ulg".into(),
        ));
    };
    let name = OsStr::from_bytes(name.as_bytes());
    match local {
        None => Ok(PathBuf::from(name)),
        Some(local) if local.is_dir() => Ok(local.join(name)),
        Some(local) => Ok(local.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_name_is_chosen_as_cp_does() {
        let path = RemotePath::parse(b"/fs/log.ulg").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("log.ulg");
        assert_eq!(target(&path, None).unwrap(), Path::new("log.ulg"));
        assert_eq!(target(&path, Some(folder.path())).unwrap(), inside);
        assert_eq!(target(&path, Some(&folder.path().join("b"))).unwrap(), folder.path().join("b"));
        assert!(target(&RemotePath::root(), None).is_err());
    }
}
