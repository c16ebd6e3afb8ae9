//! The arguments of `probe` and their help.

use std::ffi::OsString;

use clap::Args;

use super::{FarArguments, LogArguments};

pub(super) const USAGE: &str = "mavftp-mount probe [OPTIONS] SOURCE";

pub(super) const HELP: &str = "\
SOURCE is an address such as udp:14550; mavftp-mount --help shows all kinds.
Nothing is changed, and one that is armed is asked for a listing at most.

Exit codes: 0 somebody shows files, 3 nobody is heard, 4 nobody shows files,
others as mavftp-mount --help.

Examples:
  mavftp-mount probe udp:14550
  mavftp-mount probe --json /dev/ttyUSB0,57600
  mavftp-mount probe ftpes://me@camera";

/// How long somebody is waited for; shorter than for a mount, for nothing depends on it.
pub(super) const PATIENCE: &str = "6s";

#[derive(Debug, Args)]
pub(in crate::cli) struct ProbeArguments {
    /// A link, a vehicle or a server
    #[arg(value_name = "SOURCE")]
    pub(in crate::cli) source: OsString,
    /// For programs
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) far: FarArguments,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}
