//! Whether the kernel lets us mount at all, asked before anybody waits for a vehicle.

use std::env;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Error;

const DEVICE: &str = "/dev/fuse";
/// Its number, the same on every Linux.
const NUMBER: u64 = libc::makedev(10, 229);
/// Mounts for those who are not root.
const HELPER: &str = "fusermount3";
/// Where it may lie outside of PATH.
const HELPER_FOLDERS: [&str; 3] = ["/usr/bin", "/bin", "/sbin"];

/// Opens the device once, and looks for the helper that a user needs.
pub(super) fn check() -> Result<(), Error> {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    match opened.and_then(|device| device.metadata()) {
        Ok(there) if there.rdev() == NUMBER => {}
        // A container's make-believe.
        Ok(_) => return Err(Error::Device(advice(&io::ErrorKind::NotFound.into()))),
        Err(error) => return Err(Error::Device(advice(&error))),
    }
    // SAFETY: geteuid takes nothing, cannot fail and touches no memory of ours.
    let root = unsafe { libc::geteuid() } == 0;
    if root || helper_exists() {
        return Ok(());
    }
    Err(Error::Device(format!(
        "mounting as a user needs {HELPER}; install the package fuse3, or run as root"
    )))
}

fn advice(error: &io::Error) -> String {
    match error.raw_os_error() {
        None | Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => format!(
            "there is no {DEVICE}; load the kernel's module with: modprobe fuse (in a container: \
             start it with --device {DEVICE})"
        ),
        Some(libc::EACCES | libc::EPERM) => format!(
            "no permission to open {DEVICE}; run as root, or install the package fuse3 (in a \
             container: start it with --device {DEVICE} --cap-add SYS_ADMIN)"
        ),
        _ => format!("cannot open {DEVICE}: {error}"),
    }
}

fn helper_exists() -> bool {
    if env::var_os("FUSERMOUNT_PATH").is_some() {
        return true;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let elsewhere = HELPER_FOLDERS.iter().map(PathBuf::from);
    env::split_paths(&path).chain(elsewhere).any(|folder| is_helper(&folder))
}

fn is_helper(folder: &Path) -> bool {
    folder.join(HELPER).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_do() {
        let advice = |code| advice(&io::Error::from_raw_os_error(code));
        assert!(advice(libc::ENOENT).contains("modprobe fuse"));
        assert!(super::advice(&io::ErrorKind::NotFound.into()).contains("modprobe fuse"));
        assert!(advice(libc::ENODEV).contains("modprobe fuse"));
        assert!(advice(libc::EACCES).contains("run as root"));
        assert!(advice(libc::EIO).contains("cannot open"));
    }
}
