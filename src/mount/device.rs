//! Whether the system lets us mount at all, asked before anybody waits for a vehicle. Must not know
//! where, nor what.

use std::env;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::Error;
use crate::fuse::Access;

const DEVICE: &str = "/dev/fuse";
/// Its number, the same on every Linux.
const NUMBER: u64 = libc::makedev(10, 229);
/// Mounts for those who are not root.
const HELPER: &str = "fusermount3";
/// Where it may lie outside of PATH.
const HELPER_FOLDERS: [&str; 3] = ["/usr/bin", "/bin", "/sbin"];

/// Names another one, as libfuse and fuser know it.
const HELPER_VARIABLE: &str = "FUSERMOUNT_PATH";
/// What the helper grants.
const CONFIGURATION: &str = "/etc/fuse.conf";
/// The line there that lets a user let others in.
const OTHERS_ALLOWED: &str = "user_allow_other";

/// Opens the device once; for a user, looks for the helper and what it grants.
pub(super) fn check(access: Access) -> Result<(), Error> {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    match opened.and_then(|device| device.metadata()) {
        Ok(there) if there.rdev() == NUMBER => {}
        // A container's make-believe.
        Ok(_) => return Err(Error::Device(advice(&io::ErrorKind::NotFound.into()))),
        Err(error) => return Err(Error::Device(advice(&error))),
    }
    if is_root() {
        return Ok(());
    }
    if helper().is_none() {
        return Err(Error::Device(format!(
            "mounting as a user needs {HELPER}; install the package fuse3, or run as root"
        )));
    }
    match access {
        Access::Owner => Ok(()),
        Access::OwnerAndRoot | Access::Everyone => check_configuration(),
    }
}

/// Whether mount(2) is ours to call.
pub(super) fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, cannot fail and touches no memory of ours.
    unsafe { libc::geteuid() == 0 }
}

/// The program that mounts and unmounts for those who are not root.
pub(super) fn helper() -> Option<PathBuf> {
    if let Some(named) = env::var_os(HELPER_VARIABLE) {
        return Some(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let elsewhere = HELPER_FOLDERS.iter().map(PathBuf::from);
    let mut places = env::split_paths(&path).chain(elsewhere).map(|folder| folder.join(HELPER));
    places.find(|place| place.is_file())
}

/// Whether a user may let others in. A configuration that cannot be read is the helper's to judge.
fn check_configuration() -> Result<(), Error> {
    let lines = match fs::read_to_string(CONFIGURATION) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(_) => return Ok(()),
    };
    match allows_others(&lines) {
        true => Ok(()),
        false => Err(Error::Device(others_advice())),
    }
}

fn allows_others(configuration: &str) -> bool {
    configuration.lines().any(|line| line.trim() == OTHERS_ALLOWED)
}

/// What to do where the helper lets no user let others in.
pub(super) fn others_advice() -> String {
    format!(
        "--allow-other and --allow-root need the line {OTHERS_ALLOWED} in {CONFIGURATION}; add it \
         with: echo {OTHERS_ALLOWED} | sudo tee -a {CONFIGURATION}"
    )
}

fn advice(error: &io::Error) -> String {
    match error.raw_os_error() {
        None | Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => format!(
            "there is no {DEVICE}; load the kernel's module with: modprobe fuse (in a container: \
             start it with --device {DEVICE})"
        ),
        Some(libc::EACCES) => format!(
            "no permission to open {DEVICE}; run as root, or let users in with: \
             sudo chmod a+rw {DEVICE}"
        ),
        Some(libc::EPERM) => format!(
            "the container does not permit {DEVICE}; start it with \
             --device {DEVICE} --cap-add SYS_ADMIN"
        ),
        _ => format!("cannot open {DEVICE}: {error}"),
    }
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
        assert!(advice(libc::EACCES).contains("chmod a+rw /dev/fuse"));
        assert!(advice(libc::EPERM).contains("--cap-add SYS_ADMIN"));
        assert!(advice(libc::EIO).contains("cannot open"));
    }

    #[test]
    fn only_the_line_itself_lets_others_in() {
        assert!(allows_others("# a comment\nuser_allow_other\nmount_max = 3\n"));
        assert!(!allows_others("#user_allow_other\n# - user_allow_other lets others in\n"));
        assert!(!allows_others(""));
    }
}
