//! The arguments of the verb serve, and their help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{LogArguments, ServedArguments, SignArguments};
use crate::cli::values;
use crate::serve;

/// How the verb is written.
pub(in crate::cli) const SERVE_FORM: &str =
    "mavftp-mount serve [OPTIONS] ENDPOINT [ENDPOINT]… DIRECTORY";

pub(super) const USAGE: &str = "\
mavftp-mount serve [OPTIONS] ENDPOINT [ENDPOINT]… DIRECTORY
       mavftp-mount serve [OPTIONS] --root-file FILE ENDPOINT [ENDPOINT]…

Arguments:
  ENDPOINT   Where ground stations are, or will come from; one or more
  DIRECTORY  What is served; nothing outside of it can be reached";

pub(super) const HELP: &str = "\
ENDPOINT is an address such as udp:14550; mavftp-mount --help shows all kinds.

A pattern of --hide without a slash, as '*.key', is of names at any depth; one
with a slash, as /private or 'logs/**/*.tmp', of the path from DIRECTORY. What is
below a hidden directory is hidden as well. * and ? stand for characters of a
name, ** for directories, [ab] for one of these; upper and lower case are the
same. Nothing can be given a hidden name. Quote patterns, or the shell replaces
them.

For --max-bytes what is there already counts, hidden files too. A write beyond is
refused as on a full disk; a file that is replaced needs room for the old and the
new one.

SIGHUP has --root-file read again: the directory named there now is served from
then on. It has to wait while a client has a file open or a checksum is made.

Examples:
  mavftp-mount serve udpout:localhost:14550 card   towards a ground station
  mavftp-mount serve udp:14560 card --writable     wait for clients
  mavftp-mount serve udp:14560 card --hide '*.key' --hide /private
  mavftp-mount serve udp:14560 /dev/ttyS1:57600 card       both at once
  mavftp-mount serve --type camera udpout:localhost:14550 definitions";

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeArguments {
    /// The endpoints and, without --root-file, the directory; told apart by hand.
    #[arg(hide = true)]
    pub(in crate::cli) places: Vec<OsString>,
    /// Serve the directory that this file's first line names
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) root_file: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) served: ServedArguments,
    /// Our MAVLink system id
    #[arg(
        long, value_name = "ID", default_value_t = serve::SYSTEM_ID, value_parser = values::id
    )]
    pub(in crate::cli) system_id: u8,
    /// Our MAVLink component id; 1 is what clients ask that know only autopilots
    /// [default: 191; a camera's: 100]
    #[arg(long, value_name = "ID", value_parser = values::id)]
    pub(in crate::cli) component_id: Option<u8>,
    /// What we call ourselves: onboard-controller, camera, gimbal, generic, or a
    /// MAV_TYPE's number
    #[arg(
        long = "type", value_name = "TYPE", default_value = "onboard-controller",
        value_parser = values::vehicle_type
    )]
    pub(in crate::cli) vehicle_type: u8,
    /// Most bytes per second of bursts on each endpoint, as 100k or 2M [default: 2
    /// MB/s, and on a serial line half of what it carries at most]
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub(in crate::cli) max_rate: Option<u32>,
    #[command(flatten)]
    pub(in crate::cli) sign: SignArguments,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}
