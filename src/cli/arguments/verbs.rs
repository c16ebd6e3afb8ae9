//! The verbs, their arguments and their help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;

use super::changes::{
    CompareArguments, MkdirArguments, MvArguments, RmArguments, SeveralArguments,
};
use super::probe::{self, ProbeArguments};
use super::serve::{self, ServeArguments};
use super::transfers::{GetArguments, PutArguments};
use super::{FarArguments, LogArguments, UploadArguments};

const PLACES: &str = "\
SOURCE is an address such as udp:14550; mavftp-mount --help shows all kinds.
#/PATH names a place there; quote it where the shell would not leave it alone.";

const LS_HELP: &str = "\
Examples:
  mavftp-mount ls udp:14550
  mavftp-mount ls -l 'udp:14550#/fs/microsd/log'";

const CAT_HELP: &str = "\
Example:
  mavftp-mount cat udp:14550#/etc/config.txt | less";

const GET_HELP: &str = "\
A file appears under its name once every byte is there. What arrived of one that
could not be finished is kept, hidden, for --continue. Times are kept.

Examples:
  mavftp-mount get udp:14550#/log.ulg
  mavftp-mount get udp:14550#/log.ulg /tmp/
  mavftp-mount get -r --continue udp:14550#/fs/microsd/log logs";

const PUT_HELP: &str = "\
A file that is there keeps its old content until every byte has arrived.

Examples:
  mavftp-mount put hello.lua udp:14550#/APM/scripts/
  mavftp-mount put new.txt udp:14550#/etc/config.txt
  mavftp-mount put -r scripts udp:14550#/APM/";

const RM_HELP: &str = "\
Examples:
  mavftp-mount rm udp:14550#/APM/scripts/old.lua
  mavftp-mount rm -r udp:14550#/fs/microsd/log/2026-11-19 /fs/microsd/log/2026-11-20";

const MV_HELP: &str = "\
A file of the new name is replaced, in one step where the server can.

Examples:
  mavftp-mount mv udp:14550#/APM/scripts/new.lua /APM/scripts/hello.lua
  mavftp-mount mv udp:14550#/a.txt /old/";

const MKDIR_HELP: &str = "\
Example:
  mavftp-mount mkdir -p udp:14550#/APM/scripts/modules";

const RMDIR_HELP: &str = "\
Example:
  mavftp-mount rmdir udp:14550#/fs/microsd/log/2026-11-19";

const CRC_HELP: &str = "\
The checksum is MAVLink's CRC32, which is not that of zlib, cksum or crc32. The
vehicle computes it; a server without checksums, as all FTP servers are, has the
file read instead.

Example:
  mavftp-mount crc udp:14550#/log.ulg";

const COMPARE_HELP: &str = "\
Sizes are compared first, then CRC32; with a server that has no checksums the
content, which is read for it.

Exit codes: 0 they are the same, 1 they differ, 7 it could not be told, others as
mavftp-mount --help.

Example:
  mavftp-mount compare hello.lua udp:14550#/APM/scripts/ && echo is there";

const UNSENT_HELP: &str = "\
Nothing here is sent by itself, except what --write-back async promised to
send. --send refuses what belongs to another vehicle, what is not complete,
and what would replace a file that has changed since; --force sends it.
Unmount first where a mount listens on the same port.

Examples:
  mavftp-mount unsent
  mavftp-mount unsent --send udp:14550
  mavftp-mount unsent --export rescued 3f9a2c1e
  mavftp-mount unsent --discard 3f9a2c1e

Exit codes: 0 nothing is left, 6 something is, others as mavftp-mount --help.";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Verb {
    /// Be a MAVLink FTP server for a directory
    #[command(override_usage = serve::USAGE, after_help = serve::HELP)]
    Serve(ServeArguments),
    /// Who is out there, what their files can do, how far and how fast
    #[command(override_usage = probe::USAGE, after_help = probe::HELP)]
    Probe(ProbeArguments),
    /// List a directory, one name per line
    #[command(
        override_usage = "mavftp-mount ls [OPTIONS] SOURCE[#/PATH]", after_help = help_of(LS_HELP)
    )]
    Ls {
        /// A vehicle or server, and perhaps a place there
        #[arg(value_name = "SOURCE[#/PATH]")]
        place: OsString,
        /// Kind, size and time (UTC) as well
        #[arg(short, long, conflicts_with = "json")]
        long: bool,
        /// The directories below as well
        #[arg(short = 'R', long)]
        recursive: bool,
        /// List for programs: paths, kinds, sizes and times (seconds since 1970 UTC)
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        far: FarArguments,
        #[command(flatten)]
        log: LogArguments,
    },
    /// Print a file
    #[command(
        override_usage = "mavftp-mount cat [OPTIONS] SOURCE#/PATH",
        after_help = help_of(CAT_HELP)
    )]
    Cat {
        /// A vehicle or server, and the file there
        #[arg(value_name = "SOURCE#/PATH")]
        place: OsString,
        #[command(flatten)]
        far: FarArguments,
        #[command(flatten)]
        log: LogArguments,
    },
    /// Copy files from the vehicle; -r directories too
    #[command(
        override_usage = "mavftp-mount get [OPTIONS] SOURCE#/PATH [#/PATH]… [LOCAL]",
        after_help = help_of(GET_HELP)
    )]
    Get(GetArguments),
    /// Copy files to the vehicle; -r directories too
    #[command(
        override_usage = "mavftp-mount put [OPTIONS] LOCAL… SOURCE[#/PATH]",
        after_help = help_of(PUT_HELP)
    )]
    Put(PutArguments),
    /// Remove files; -r directories too
    #[command(
        override_usage = "mavftp-mount rm [OPTIONS] SOURCE#/PATH [/PATH]…",
        after_help = help_of(RM_HELP)
    )]
    Rm(RmArguments),
    /// Rename or move on the same vehicle
    #[command(
        override_usage = "mavftp-mount mv [OPTIONS] SOURCE#/OLD /NEW",
        after_help = help_of(MV_HELP)
    )]
    Mv(MvArguments),
    /// Make directories
    #[command(
        override_usage = "mavftp-mount mkdir [OPTIONS] SOURCE#/PATH [/PATH]…",
        after_help = help_of(MKDIR_HELP)
    )]
    Mkdir(MkdirArguments),
    /// Remove empty directories
    #[command(
        override_usage = "mavftp-mount rmdir [OPTIONS] SOURCE#/PATH [/PATH]…",
        after_help = help_of(RMDIR_HELP)
    )]
    Rmdir(SeveralArguments),
    /// Print the checksums of files
    #[command(
        override_usage = "mavftp-mount crc [OPTIONS] SOURCE#/PATH [/PATH]…",
        after_help = help_of(CRC_HELP)
    )]
    Crc(SeveralArguments),
    /// Whether a local file and one on the vehicle are the same
    #[command(
        override_usage = "mavftp-mount compare [OPTIONS] LOCAL SOURCE#/PATH",
        after_help = help_of(COMPARE_HELP)
    )]
    Compare(CompareArguments),
    /// What could not be sent to a vehicle: list, send, save or drop it
    #[command(
        override_usage = "mavftp-mount unsent [OPTIONS] [ID]…\n       \
                          mavftp-mount unsent --send SOURCE [OPTIONS] [ID]…\n       \
                          mavftp-mount unsent --export DIR [ID]…\n       \
                          mavftp-mount unsent --discard [ID]…",
        after_help = UNSENT_HELP
    )]
    Unsent {
        /// Only these, as the list names them [default: all]
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Send to this vehicle or server what belongs to it
        #[arg(long, value_name = "SOURCE", conflicts_with_all = ["export", "discard", "json"])]
        send: Option<OsString>,
        /// Copy the bytes into this directory
        #[arg(long, value_name = "DIR", conflicts_with_all = ["discard", "json"])]
        export: Option<PathBuf>,
        /// Drop them for good
        #[arg(long, conflicts_with = "json")]
        discard: bool,
        /// Send also what is refused otherwise
        #[arg(long, requires = "send")]
        force: bool,
        /// List for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        upload: UploadArguments,
        #[command(flatten)]
        far: FarArguments,
        #[command(flatten)]
        log: LogArguments,
    },
}

/// The end of a verb's help.
fn help_of(verb: &str) -> String {
    format!("{PLACES}\n\n{verb}")
}
