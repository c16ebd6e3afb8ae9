//! The plain verbs, a file each, over [`crate::api`]; they need no mount. What they have in common:
//! how a far place is reached, and how it fails.

use std::io::{self, Write};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::api::{self, Found, Interrupt, Vehicle};
use crate::link::address::Address;
use crate::remote::{self, RemotePath};

pub mod cat;
pub mod get;
pub mod ls;
pub mod put;
pub mod serve;
pub mod unsent;

/// A place on a vehicle or server, and how to get there.
#[derive(Debug, Clone)]
pub struct Place {
    /// The vehicle or server.
    pub address: Address,
    /// The path there.
    pub path: RemotePath,
    /// Ids, target, time limits, login.
    pub options: api::Options,
    /// Whether the path was written as that of a directory, with a slash at its end.
    pub directory: bool,
    /// Whether nothing is said of what is missing while a vehicle is looked for.
    pub quiet: bool,
}

impl Place {
    /// Connects; what is missing meanwhile goes to stderr. A path with a slash at its end must be
    /// that of a directory.
    fn connect(&self) -> Result<Vehicle, api::Error> {
        let vehicle = Vehicle::connect(&self.address, &self.options, &mut |missing| {
            if !self.quiet {
                let _ = writeln!(io::stderr(), "{missing}");
            }
        })?;
        end_by_signal(vehicle.interrupt()).map_err(api::Error::Io)?;
        if self.directory
            && let Found::File(_) = vehicle.find(&self.path)?
        {
            return Err(api::Error::remote(&self.path, remote::Error::NotADirectory));
        }
        Ok(vehicle)
    }
}

/// From here on a first Ctrl-C closes what is open on the vehicle, which may have but one session;
/// a second one leaves at once.
fn end_by_signal(interrupt: Interrupt) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let wait = move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            interrupt.raise();
        }
        if signals.next().is_some() {
            std::process::exit(i32::from(api::Error::Interrupted.exit_code()));
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The far side, the link, or a local file.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// It cannot be done the way it was asked for.
    #[error("{0}")]
    Refused(String),
    /// Standard output takes no more.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl Failure {
    /// The exit code: 1 failed, 3 no vehicle, 4 no FTP, 5 login, 130
    /// interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Api(error) => error.exit_code(),
            Failure::Refused(_) | Failure::Output(_) => 1,
        }
    }

    /// Whether the reader of our output went away, as `| head` does: nothing to complain of.
    pub fn is_broken_pipe(&self) -> bool {
        match self {
            Failure::Api(api::Error::Output(error)) | Failure::Output(error) => {
                error.kind() == io::ErrorKind::BrokenPipe
            }
            Failure::Api(
                api::Error::Link(_)
                | api::Error::Io(_)
                | api::Error::NoVehicle(_)
                | api::Error::NoFtp(_)
                | api::Error::Login(_)
                | api::Error::Server { .. }
                | api::Error::Remote { .. }
                | api::Error::Local { .. }
                | api::Error::Input(_)
                | api::Error::Interrupted,
            )
            | Failure::Refused(_) => false,
        }
    }
}
