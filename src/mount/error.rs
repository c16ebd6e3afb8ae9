//! Why a mount did not come about. Every text says what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::device;
use crate::api;

/// The helper was found, and the kernel refused it as well.
const HELPER_WITHOUT_RIGHTS: &str = "fusermount3 may not mount either; give it back its rights with: \
    sudo chmod u+s \"$(command -v fusermount3)\" (in a container: start it with \
    --device /dev/fuse --cap-add SYS_ADMIN)";

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vehicle or server.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// No such directory.
    #[error(
        "the mount point {} does not exist; create it with: mkdir -p {}",
        .path.display(), Quoted(.path)
    )]
    Missing {
        /// The mount point.
        path: PathBuf,
    },
    /// Something else than a directory.
    #[error("the mount point {} is not a directory; name an empty directory", .path.display())]
    NotADirectory {
        /// The mount point.
        path: PathBuf,
    },
    /// Files would be hidden.
    #[error(
        "the mount point {} is not empty; name an empty directory, or hide its content with \
         -o nonempty",
        .path.display()
    )]
    NotEmpty {
        /// The mount point.
        path: PathBuf,
    },
    /// `fusermount3` mounts for a user only where the user may write.
    #[error(
        "the mount point {} is not yours to write to; name a directory of yours, or make it yours \
         with: sudo chown \"$USER\" {}",
        .path.display(), Quoted(.path)
    )]
    NotWritable {
        /// The mount point.
        path: PathBuf,
    },
    /// A mount of ours whose process is gone, which we may not clean away.
    #[error(
        "a mount whose process is gone is left on {}, and it is not ours to clean away ({error}); \
         unmount it with: sudo umount {}",
        .path.display(), Quoted(.path)
    )]
    Stale {
        /// The mount point.
        path: PathBuf,
        /// Why it is still there.
        error: io::Error,
    },
    /// Something is mounted there.
    #[error(
        "{} is mounted on {} already; unmount it with: umount {}",
        .what, .path.display(), Quoted(.path)
    )]
    AlreadyMounted {
        /// Source and type of the other mount.
        what: String,
        /// The mount point.
        path: PathBuf,
    },
    /// The system does not let us look at the mount point.
    #[error(
        "cannot use the mount point {}: {error}; name an empty directory of yours", .path.display()
    )]
    Unusable {
        /// The mount point.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// `/dev/fuse` cannot be used.
    #[error("{0}")]
    Device(String),
    /// The kernel or `fusermount3` refused.
    #[error("cannot mount on {}: {reason}", .path.display())]
    Refused {
        /// The mount point.
        path: PathBuf,
        /// What was said, and what to do.
        reason: String,
    },
    /// The mount was there and did not answer, or nobody waited for it any more.
    #[error("the mount was undone: {0}")]
    NoAnswer(io::Error),
    /// The log file cannot be written.
    #[error("cannot write the log file {}: {error}", .path.display())]
    LogFile {
        /// The log file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is no place for what is not sent yet.
    #[error(
        "cannot keep changes until they are sent: {0}; set XDG_STATE_HOME to a folder of yours"
    )]
    Journal(io::Error),
    /// The process cannot go to the background, or cannot take signals.
    #[error("cannot start: {0}; -f stays in the foreground")]
    Daemon(io::Error),
}

impl Error {
    /// The kernel or `fusermount3` refused to mount.
    pub(super) fn mount(path: &Path, error: io::Error) -> Error {
        let reason = match error.kind() {
            // It was looked for because mount(2) had said EPERM.
            io::ErrorKind::NotFound => "the kernel does not permit it, and there is no \
                fusermount3; run as root, or install the package fuse3 (in a container: start it \
                with --device /dev/fuse --cap-add SYS_ADMIN)"
                .into(),
            io::ErrorKind::PermissionDenied if error.to_string().contains("user_allow_other") => {
                device::others_advice()
            }
            _ if error
                .to_string()
                .contains("fusermount3: mount failed: Operation not permitted") =>
            {
                HELPER_WITHOUT_RIGHTS.into()
            }
            _ => said(&error),
        };
        Error::Refused { path: path.to_owned(), reason }
    }

    /// The exit code: 1 failed, 3 no vehicle, 4 no FTP, 5 login.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Api(error) => error.exit_code(),
            Error::Missing { .. }
            | Error::NotADirectory { .. }
            | Error::NotEmpty { .. }
            | Error::NotWritable { .. }
            | Error::Stale { .. }
            | Error::AlreadyMounted { .. }
            | Error::Unusable { .. }
            | Error::Device(_)
            | Error::Refused { .. }
            | Error::NoAnswer(_)
            | Error::LogFile { .. }
            | Error::Journal(_)
            | Error::Daemon(_) => 1,
        }
    }
}

/// What the kernel or `fusermount3` said, in one line and without the call.
fn said(error: &io::Error) -> String {
    let text = error.to_string().trim().replace('\n', "; ");
    match text.strip_prefix("Error calling mount()").and_then(|call| call.rsplit_once(": ")) {
        Some((_, reason)) => format!("the kernel says: {reason}"),
        None => text,
    }
}

/// A path as a shell takes it for one word.
struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string_lossy();
        let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
        match text.chars().all(plain) && !text.starts_with('-') {
            true => f.write_str(&text),
            false => write!(f, "'{}'", text.replace('\'', "'\\''")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_to_copy_has_its_path_quoted() {
        let missing = |path: &str| Error::Missing { path: path.into() }.to_string();
        assert!(missing("/mnt/drone").ends_with("mkdir -p /mnt/drone"));
        assert!(missing("/mnt/my drone").ends_with("mkdir -p '/mnt/my drone'"));
        assert!(missing("it's").ends_with("mkdir -p 'it'\\''s'"));
    }

    #[test]
    fn what_the_kernel_says_comes_without_the_call() {
        let call =
            "Error calling mount() at \"/m\" with \"fd=8\" and flags=F: EINVAL: Invalid argument";
        let error = Error::mount(Path::new("/m"), io::Error::other(call)).to_string();
        assert_eq!(error, "cannot mount on /m: the kernel says: Invalid argument");
    }
}
