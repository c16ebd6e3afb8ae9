//! Who runs a program: root, as the tests themselves, or an ordinary user. Must not know what runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use super::program;

/// The ordinary user, which every Debian has, and its group.
pub const NOBODY: u32 = 65534;
const DEVICE: &str = "/dev/fuse";
/// Read and write for everybody else.
const OTHERS: u32 = 0o006;

/// Whose process it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Who runs the tests.
    Root,
    /// A user without rights.
    Nobody,
}

impl User {
    /// Makes a command run as this user.
    pub fn runs(self, command: &mut Command) {
        match self {
            User::Root => {}
            User::Nobody => {
                command.uid(NOBODY).gid(NOBODY);
            }
        }
    }

    /// Gives a file or directory to this user.
    pub fn takes(self, path: &Path) {
        match self {
            User::Root => {}
            User::Nobody => chown(path, Some(NOBODY), Some(NOBODY)).unwrap(),
        }
    }

    /// Our program, where this user can reach it: a build may lie in root's home.
    pub fn our_binary(self, directory: &Path) -> Command {
        match self {
            User::Root => program::our_binary(),
            User::Nobody => {
                let copy = directory.join("mavftp-mount");
                // By another process: a thread that forks meanwhile would keep the copy open for
                // writing, and then it cannot be run.
                let from = program::our_binary();
                program::succeed("cp", &[from.get_program(), copy.as_os_str()]);
                Command::new(copy)
            }
        }
    }
}

/// A temporary directory into which everybody may look.
pub fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

/// The device while a user mounts: open to everybody, as udev makes it on a desktop and not every
/// container does. As it was once the last of these is dropped.
pub struct Device {
    counts: bool,
}

/// How many there are, and what the device's mode was before.
static OPEN: Mutex<(usize, u32)> = Mutex::new((0, 0));

impl Device {
    /// For a mount by this user.
    pub fn for_user(user: User) -> Device {
        let counts = user != User::Root;
        if counts {
            let mut open = OPEN.lock().unwrap();
            if open.0 == 0 {
                open.1 = fs::metadata(DEVICE).unwrap().permissions().mode();
                set_mode(open.1, open.1 | OTHERS);
            }
            open.0 += 1;
        }
        Device { counts }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.counts {
            let mut open = OPEN.lock().unwrap();
            open.0 -= 1;
            if open.0 == 0 {
                set_mode(open.1 | OTHERS, open.1);
            }
        }
    }
}

fn set_mode(from: u32, to: u32) {
    if from != to {
        fs::set_permissions(DEVICE, Permissions::from_mode(to)).unwrap();
    }
}
