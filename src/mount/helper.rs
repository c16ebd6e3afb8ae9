//! A mount that mount(8) asked for through its helper: what is different then. Must not know how the
//! command line is written.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::Error;
use crate::api;
use crate::link::address::OpenError;

/// Exit codes of mount(8).
const USAGE: u8 = 1;
const SYSTEM: u8 = 2;
const NOT_MOUNTED: u8 = 32;
/// From here on, a code says by which signal our second process ended.
const SIGNALLED: u8 = 128;

/// What mount(8) asked for beside the mount itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// The source as it is written in /etc/fstab: `mount -a` knows by it what is mounted already.
    pub source: String,
    /// Do everything but the mount.
    pub fake: bool,
    /// `nofail`: a vehicle or server that is not there is no failure.
    pub may_be_missing: bool,
    /// Mount in this mount namespace.
    pub namespace: Option<PathBuf>,
}

impl Helper {
    /// The exit code of wrong usage.
    pub const USAGE: u8 = USAGE;

    /// Mount(8)'s code for an end of ours.
    pub fn exit_code(&self, ended: &Result<u8, Error>) -> u8 {
        match ended {
            Ok(code) if *code >= SIGNALLED => NOT_MOUNTED,
            Ok(code) => *code,
            Err(error) => self.error_code(error),
        }
    }

    fn error_code(&self, error: &Error) -> u8 {
        match error {
            Error::Api(error) if self.may_be_missing && is_absence(error) => 0,
            Error::NotWritable { .. } => USAGE,
            Error::Device(_) | Error::LogFile { .. } | Error::Journal(_) | Error::Daemon(_) => {
                SYSTEM
            }
            Error::Api(_)
            | Error::Missing { .. }
            | Error::NotADirectory { .. }
            | Error::NotEmpty { .. }
            | Error::Stale { .. }
            | Error::AlreadyMounted { .. }
            | Error::Unusable { .. }
            | Error::Refused { .. }
            | Error::NoAnswer(_) => NOT_MOUNTED,
        }
    }

    /// Changes to the namespace that was asked for, if any. Must be called before there are threads.
    pub(super) fn enter_namespace(&self) -> io::Result<()> {
        self.namespace.as_deref().map_or(Ok(()), enter)
    }
}

/// Whether nobody is there, rather than somebody who refuses.
fn is_absence(error: &api::Error) -> bool {
    match error {
        api::Error::NoVehicle(_) | api::Error::Io(_) | api::Error::Server { .. } => true,
        api::Error::Link(error) => {
            matches!(error, OpenError::NoDevice { .. } | OpenError::Host { .. })
        }
        api::Error::NoFtp(_)
        | api::Error::Login(_)
        | api::Error::Remote { .. }
        | api::Error::Local { .. }
        | api::Error::Input(_)
        | api::Error::Output(_)
        | api::Error::Interrupted => false,
    }
}

fn enter(namespace: &Path) -> io::Result<()> {
    let file = File::open(namespace)?;
    // SAFETY: setns takes a descriptor, open for the call, and a number.
    match unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNS) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper(may_be_missing: bool) -> Helper {
        Helper { source: "udp:1".into(), fake: false, may_be_missing, namespace: None }
    }

    #[test]
    fn every_end_has_a_code_of_mount() {
        let there = helper(false);
        let absent = || Err(Error::Api(api::Error::NoVehicle("nobody".into())));
        assert_eq!(there.exit_code(&absent()), 32);
        assert_eq!(there.exit_code(&Ok(0)), 0);
        assert_eq!(there.exit_code(&Ok(143)), 32);
        assert_eq!(there.exit_code(&Err(Error::NotWritable { path: "/".into() })), 1);
        assert_eq!(there.exit_code(&Err(Error::Device("none".into()))), 2);
        assert_eq!(there.exit_code(&Err(Error::NotEmpty { path: "/".into() })), 32);
    }

    #[test]
    fn nofail_forgives_absence_and_nothing_else() {
        let absent = Err(Error::Api(api::Error::NoVehicle("nobody".into())));
        assert_eq!(helper(true).exit_code(&absent), 0);
        let unwanted = Err(Error::Api(api::Error::Login("refused".into())));
        assert_eq!(helper(true).exit_code(&unwanted), 32);
        assert_eq!(helper(true).exit_code(&Err(Error::Missing { path: "/x".into() })), 32);
    }
}
