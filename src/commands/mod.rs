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
pub mod compare;
pub mod crc;
pub mod get;
pub mod ls;
pub mod mkdir;
pub mod mv;
pub mod probe;
mod progress;
pub mod put;
pub mod rm;
pub mod rmdir;
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

    /// The place's own path, and further ones on the same far side.
    fn paths<'a>(&'a self, more: &'a [RemotePath]) -> impl Iterator<Item = &'a RemotePath> {
        std::iter::once(&self.path).chain(more)
    }
}

/// Several things to do, of which some may fail: each failure is told when it happens, and the others
/// are done all the same.
#[derive(Default)]
struct Tally {
    failed: bool,
}

impl Tally {
    /// Takes note of how one ended. Fails where it makes no sense to go on.
    fn count(&mut self, ended: Result<(), Failure>) -> Result<(), Failure> {
        let Err(failure) = ended else { return Ok(()) };
        if failure.is_of_all() {
            return Err(failure);
        }
        self.failed = true;
        if !failure.is_told() {
            let _ = writeln!(io::stderr(), "error: {}", without_numbers(&failure.to_string()));
        }
        Ok(())
    }

    fn end(self) -> Result<(), Failure> {
        if self.failed { Err(Failure::Told) } else { Ok(()) }
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

/// What the system says, without its number: `Permission denied (os error 13)`.
pub fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" (os error ") {
        out.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    out + rest
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
    /// Some of what was asked for failed, and was told.
    #[error("some of it failed")]
    Told,
    /// A failure with an exit code of its own.
    #[error("{why}")]
    Coded {
        /// The code.
        code: u8,
        /// What happened.
        why: Box<Failure>,
    },
}

impl Failure {
    /// The exit code: 1 failed, 3 no vehicle, 4 no FTP, 5 login, 7 could not be compared, 130
    /// interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Api(error) => error.exit_code(),
            Failure::Refused(_) | Failure::Output(_) | Failure::Told => 1,
            Failure::Coded { code, .. } => *code,
        }
    }

    /// Whether there is nothing more to say of it.
    pub fn is_told(&self) -> bool {
        matches!(self, Failure::Told) || self.is_broken_pipe()
    }

    /// Whether the next thing to do would fail for the same reason.
    fn is_of_all(&self) -> bool {
        match self {
            Failure::Api(api::Error::Remote { error, .. }) => matches!(
                error,
                remote::Error::LinkDown | remote::Error::TimedOut | remote::Error::Armed
            ),
            Failure::Api(api::Error::Local { .. } | api::Error::Input(_)) => false,
            Failure::Api(
                api::Error::Link(_)
                | api::Error::Io(_)
                | api::Error::NoVehicle(_)
                | api::Error::NoFtp(_)
                | api::Error::Login(_)
                | api::Error::Server { .. }
                | api::Error::Output(_)
                | api::Error::Interrupted,
            )
            | Failure::Output(_)
            | Failure::Coded { .. } => true,
            Failure::Refused(_) | Failure::Told => false,
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
            | Failure::Refused(_)
            | Failure::Told => false,
            Failure::Coded { why, .. } => why.is_broken_pipe(),
        }
    }
}
