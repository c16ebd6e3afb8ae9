//! Why a call of the facade failed, and which exit code that is.

use std::io;
use std::path::{Path, PathBuf};

use crate::link::address::OpenError;
use crate::remote::mavftp::ConnectError;
use crate::remote::{self, RemotePath};

/// Why a call failed, in words that say what to do where we know.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The link cannot be opened: a port in use, a host unknown.
    #[error(transparent)]
    Link(#[from] OpenError),
    /// The link was opened and then failed.
    #[error("the link failed: {0}")]
    Io(io::Error),
    /// Nobody was heard in time.
    #[error("{0}")]
    NoVehicle(String),
    /// Somebody was heard who has no FTP.
    #[error("{0}")]
    NoFtp(String),
    /// The FTP server did not let us in, or is not to be trusted.
    #[error("{0}")]
    Login(String),
    /// The FTP server could not be reached.
    #[error("{place}: {error}")]
    Server {
        /// The server.
        place: String,
        /// What happened.
        error: remote::Error,
    },
    /// An operation on a path failed.
    #[error("{path}: {error}")]
    Remote {
        /// The path on the far side.
        path: RemotePath,
        /// What happened.
        error: remote::Error,
    },
    /// A local file failed.
    #[error("{}: {error}", path.display())]
    Local {
        /// The local path.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// The local file that gives the bytes failed.
    #[error("cannot read the local file: {0}")]
    Input(io::Error),
    /// Ended by [`super::Interrupt::raise`].
    #[error("interrupted")]
    Interrupted,
    /// The writer that gets the bytes failed.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl Error {
    /// An operation on a path of the far side failed.
    pub fn remote(path: &RemotePath, error: remote::Error) -> Error {
        Error::Remote { path: path.clone(), error }
    }

    /// A local file failed.
    pub fn local(path: &Path, error: io::Error) -> Error {
        Error::Local { path: path.to_owned(), error }
    }

    /// The exit code of a command that ends with this: 1 failed, 3 no vehicle, 4 no FTP, 5 login,
    /// 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Link(_)
            | Error::Io(_)
            | Error::Server { .. }
            | Error::Remote { .. }
            | Error::Local { .. }
            | Error::Input(_)
            | Error::Output(_) => 1,
            Error::NoVehicle(_) => 3,
            Error::NoFtp(_) => 4,
            Error::Login(_) => 5,
            Error::Interrupted => 130,
        }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Error {
        match error {
            ConnectError::Io(error) => Error::Io(error),
            ConnectError::NoVehicle(what) => Error::NoVehicle(what),
            ConnectError::NoFtp(what) => Error::NoFtp(what),
        }
    }
}
