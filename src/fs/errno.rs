//! Why a filesystem operation failed, and the one match that turns it into an errno. Must not know
//! the kernel's side (`fuse`).

use std::io;
use std::time::Duration;

use crate::remote::{Error, PathError};

/// Why an operation of [`Fs`](super::Fs) failed.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// There is no such file or directory.
    #[error("no such file or directory")]
    NotFound,
    /// The same, and it will be so for some time as far as can be known.
    #[error("no such file or directory")]
    Absent {
        /// How long nobody needs to ask again.
        valid: Duration,
    },
    /// The name is taken.
    #[error("the name exists already")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// A file was needed.
    #[error("is a directory")]
    IsADirectory,
    /// The directory is not empty.
    #[error("the directory is not empty")]
    NotEmpty,
    /// A name that file managers scatter, and that the vehicle is spared.
    #[error("file managers' droppings are kept off the vehicle")]
    Dropping,
    /// The mount, or this place on the vehicle, cannot be written.
    #[error("the place is read-only")]
    ReadOnly,
    /// The file would be larger than the protocol can say.
    #[error("too large for the protocol")]
    TooLarge,
    /// The name or path is too long.
    #[error("the name or path is too long")]
    NameTooLong,
    /// The request makes no sense.
    #[error("invalid")]
    Invalid,
    /// The file or directory was removed or replaced.
    #[error("removed or replaced meanwhile")]
    Stale,
    /// Another vehicle answers now than the one that the bytes were written for.
    #[error("another vehicle answers now than the one this was written for")]
    AnotherVehicle,
    /// The handle is unknown, or not open for this.
    #[error("not a handle that can do this")]
    BadHandle,
    /// There is no extended attribute of this name.
    #[error("no such extended attribute")]
    NoAttribute,
    /// The vehicle lacks changes that were made here.
    #[error("changes to the file have not been sent yet")]
    Unsent,
    /// The far side failed.
    #[error("{0}")]
    Far(#[from] Error),
    /// The local disk under the staged copies failed.
    #[error("local staging: {0}")]
    Disk(#[from] io::Error),
}

impl FsError {
    /// The same error once more, for another who must be told.
    pub(super) fn again(&self) -> FsError {
        match self {
            FsError::NotFound | FsError::Absent { .. } => FsError::NotFound,
            FsError::Exists => FsError::Exists,
            FsError::NotADirectory => FsError::NotADirectory,
            FsError::IsADirectory => FsError::IsADirectory,
            FsError::NotEmpty => FsError::NotEmpty,
            FsError::Dropping => FsError::Dropping,
            FsError::ReadOnly => FsError::ReadOnly,
            FsError::TooLarge => FsError::TooLarge,
            FsError::NameTooLong => FsError::NameTooLong,
            FsError::Invalid => FsError::Invalid,
            FsError::Stale => FsError::Stale,
            FsError::AnotherVehicle => FsError::AnotherVehicle,
            FsError::BadHandle => FsError::BadHandle,
            FsError::NoAttribute => FsError::NoAttribute,
            FsError::Unsent => FsError::Unsent,
            FsError::Far(error) => FsError::Far(error.clone()),
            FsError::Disk(error) => FsError::Disk(match error.raw_os_error() {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => error.kind().into(),
            }),
        }
    }

    /// The errno that a program sees.
    pub fn errno(&self) -> i32 {
        match self {
            FsError::NotFound | FsError::Absent { .. } | FsError::Far(Error::NotFound) => {
                libc::ENOENT
            }
            FsError::Exists | FsError::Far(Error::Exists) => libc::EEXIST,
            FsError::NotADirectory | FsError::Far(Error::NotADirectory) => libc::ENOTDIR,
            FsError::IsADirectory | FsError::Far(Error::IsADirectory) => libc::EISDIR,
            FsError::NotEmpty | FsError::Far(Error::NotEmpty) => libc::ENOTEMPTY,
            FsError::Dropping | FsError::Far(Error::Denied | Error::Login(_)) => libc::EACCES,
            FsError::ReadOnly | FsError::Far(Error::ReadOnly) => libc::EROFS,
            FsError::TooLarge | FsError::Far(Error::TooLarge) => libc::EFBIG,
            FsError::NameTooLong | FsError::Far(Error::PathTooLong) => libc::ENAMETOOLONG,
            FsError::Invalid | FsError::Far(Error::Invalid) => libc::EINVAL,
            FsError::Stale | FsError::AnotherVehicle | FsError::Far(Error::Changed) => libc::ESTALE,
            FsError::BadHandle => libc::EBADF,
            FsError::NoAttribute => libc::ENODATA,
            FsError::Unsent => libc::EBUSY,
            FsError::Far(Error::NoSpace) => libc::ENOSPC,
            FsError::Far(Error::Unsupported) => libc::EOPNOTSUPP,
            FsError::Far(Error::Busy | Error::Armed) => libc::EBUSY,
            FsError::Far(Error::LinkDown) => libc::EHOSTDOWN,
            FsError::Far(Error::TimedOut) => libc::ETIMEDOUT,
            FsError::Far(Error::Cancelled) => libc::ECANCELED,
            FsError::Far(Error::Failed(_)) => libc::EIO,
            FsError::Disk(error) => error.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

impl From<PathError> for FsError {
    fn from(error: PathError) -> FsError {
        match error {
            PathError::TooLong => FsError::NameTooLong,
            PathError::Empty | PathError::Dots | PathError::Separator | PathError::Control => {
                FsError::Invalid
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// > A vehicle not heard for `--link-timeout` (5 s) makes new operations fail at once with
    /// > EHOSTDOWN.
    #[test]
    fn an_armed_vehicle_is_busy_and_a_silent_one_is_down() {
        assert_eq!(FsError::Far(Error::Armed).errno(), libc::EBUSY);
        assert_eq!(FsError::Far(Error::LinkDown).errno(), libc::EHOSTDOWN);
    }

    #[test]
    fn the_table_of_errors_names_the_errno_of_each() {
        let errnos = [
            ("ENOENT", libc::ENOENT),
            ("EEXIST", libc::EEXIST),
            ("ENOTDIR", libc::ENOTDIR),
            ("EISDIR", libc::EISDIR),
            ("ENOTEMPTY", libc::ENOTEMPTY),
            ("EACCES", libc::EACCES),
            ("EROFS", libc::EROFS),
            ("ENOSPC", libc::ENOSPC),
            ("EFBIG", libc::EFBIG),
            ("ENAMETOOLONG", libc::ENAMETOOLONG),
            ("EINVAL", libc::EINVAL),
            ("EOPNOTSUPP", libc::EOPNOTSUPP),
            ("EBUSY", libc::EBUSY),
            ("EHOSTDOWN", libc::EHOSTDOWN),
            ("ETIMEDOUT", libc::ETIMEDOUT),
            ("ESTALE", libc::ESTALE),
            ("ECANCELED", libc::ECANCELED),
            ("EIO", libc::EIO),
        ];
        for (error, row) in crate::semantics::errors() {
            let named = errnos.iter().find(|(name, _)| *name == row.errno);
            assert_eq!(named.map(|(_, errno)| *errno), Some(FsError::from(error).errno()));
        }
    }

    #[test]
    fn a_full_local_disk_keeps_its_errno() {
        let full = FsError::Disk(io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(full.errno(), libc::ENOSPC);
        assert_eq!(FsError::Disk(io::Error::other("odd")).errno(), libc::EIO);
    }
}
