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
    let replaced = replaced(&target)?;
    let vehicle = place.connect()?;
    match replaced {
        Replaced::Device => {
            let mut out =
                File::create(&target).map_err(|error| api::Error::local(&target, error))?;
            let done = vehicle.read_to(&place.path, &mut out, &mut |_, _| {});
            done.map_err(|error| of_target(&target, error))?;
            Ok(())
        }
        Replaced::File(before) => {
            // What a link points to is replaced, not the link.
            let target = fs::canonicalize(&target).unwrap_or(target);
            fetch(&vehicle, &place.path, &target, Some(before))
        }
        Replaced::Nothing => fetch(&vehicle, &place.path, &target, None),
    }
}

/// What has the local name now.
enum Replaced {
    Nothing,
    File(Permissions),
    /// A device or a pipe must not be renamed over; it takes the bytes as they come.
    Device,
}

/// Looked at before anybody waits for a vehicle.
fn replaced(target: &Path) -> Result<Replaced, Failure> {
    let shown = target.display();
    match fs::metadata(target) {
        Ok(there) if there.is_file() => Ok(Replaced::File(there.permissions())),
        Ok(there) if there.is_dir() => {
            Err(Failure::Refused(format!("{shown} is a directory; name another local file")))
        }
        Ok(_) => Ok(Replaced::Device),
        Err(_) if folder(target).is_dir() => Ok(Replaced::Nothing),
        Err(_) => Err(Failure::Refused(format!(
            "there is no directory {}; create it first",
            folder(target).display()
        ))),
    }
}

fn fetch(
    vehicle: &Vehicle,
    path: &RemotePath,
    target: &Path,
    before: Option<Permissions>,
) -> Result<(), Failure> {
    let folder = folder(target);
    let temporary = tempfile::Builder::new()
        .prefix(".mavftp-get-")
        .suffix(".part")
        .permissions(Permissions::from_mode(NEW_FILE_MODE))
        .tempfile_in(folder)
        // The name that could not be made up is of no interest; its folder is.
        .map_err(|error| api::Error::local(folder, error.kind().into()))?;
    if let Some(before) = before {
        let set = temporary.as_file().set_permissions(before);
        set.map_err(|error| api::Error::local(target, error))?;
    }
    let fetched = vehicle.fetch(path, temporary.as_file(), &mut |_, _| {});
    fetched.map_err(|error| of_target(target, error))?;
    temporary.persist(target).map_err(|error| api::Error::local(target, error.error))?;
    Ok(())
}

/// Our output is a file with a name.
fn of_target(target: &Path, error: api::Error) -> api::Error {
    match error {
        api::Error::Output(error) => api::Error::local(target, error),
        other => other,
    }
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
        // A name that ends with a slash is meant to be a directory, as for cp.
        Some(local) if local.is_dir() || local.as_os_str().as_bytes().ends_with(b"/") => {
            Ok(local.join(name))
        }
        Some(local) => Ok(local.to_owned()),
    }
}

fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
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
        assert_eq!(target(&path, Some(Path::new("new/"))).unwrap(), Path::new("new/log.ulg"));
        assert!(target(&RemotePath::root(), None).is_err());
    }

    #[test]
    fn a_local_name_that_will_not_do_is_told_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let reason = |target: &Path| replaced(target).err().map(|error| error.to_string());
        assert_eq!(reason(&folder.path().join("new")), None);
        assert_eq!(reason(Path::new("/dev/null")), None);
        assert!(reason(folder.path()).unwrap().contains("is a directory"));
        let none = reason(&folder.path().join("none/new")).unwrap();
        assert!(none.contains("no directory") && none.contains("none;"), "{none}");
    }
}
