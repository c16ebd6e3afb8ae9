//! The grammar, as clap reads it. Texts here are `--help`; values become ours in the parent module.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::{usage, values};
use crate::fs::{Append, WriteBack};
use crate::link::address;
use crate::remote::mavftp::WhenArmed;
use crate::remote::save::{UploadMode, Verify};
use crate::serve;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default());

/// As wide as the narrowest terminal that people use.
const WIDTH: usize = 80;

/// What the two arguments of a mount are.
const MOUNT_ARGUMENTS: &str = "\
Arguments:
  SOURCE      A vehicle or server, as in Addresses below; SOURCE#/PATH is a
              directory there
  MOUNTPOINT  An empty local directory";

/// How a mount is written.
pub(super) const MOUNT_FORM: &str = "mavftp-mount [OPTIONS] SOURCE MOUNTPOINT";

const EXAMPLES: &str = "\
Examples:
  mavftp-mount udp:14550 /mnt/drone           mount the vehicle heard there
  mavftp-mount udp:14550#/fs/microsd /mnt/sd  only its SD card
  umount /mnt/drone                           end a mount
  mavftp-mount ls -l udp:14550#/fs/microsd    list without mounting
  mavftp-mount get udp:14550#/log.ulg .       copy a file here
  mavftp-mount serve udpout:localhost:14550 . be a vehicle with these files

Exit codes:
  0 done              3 no vehicle heard   5 login refused
  1 failed            4 no FTP there       6 some changes were not sent
  2 wrong usage";

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
The file appears under its name once every byte is there.

Examples:
  mavftp-mount get udp:14550#/log.ulg
  mavftp-mount get udp:14550#/log.ulg /tmp/";

const PUT_HELP: &str = "\
A file that is there keeps its old content until every byte has arrived.

Examples:
  mavftp-mount put hello.lua udp:14550#/APM/scripts/
  mavftp-mount put new.txt udp:14550#/etc/config.txt";

const SERVE_HELP: &str = "\
ENDPOINT is an address such as udp:14550; mavftp-mount --help shows all kinds.

Examples:
  mavftp-mount serve udpout:localhost:14550 card   towards a ground station
  mavftp-mount serve udp:14560 card --writable     wait for clients";

#[derive(Debug, Parser)]
#[command(
    name = "mavftp-mount",
    version,
    about = "Makes a vehicle's files ordinary files: mounts MAVLink FTP and FTP servers, copies \
             files without a mount, and serves a directory over MAVLink FTP.",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    args_override_self = true,
    disable_help_subcommand = true,
    max_term_width = WIDTH,
    styles = STYLES
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
    #[command(flatten)]
    pub(super) mount: MountArguments,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Be a MAVLink FTP server for a directory
    #[command(
        override_usage = "mavftp-mount serve [OPTIONS] ENDPOINT DIRECTORY", after_help = SERVE_HELP
    )]
    Serve {
        /// Where ground stations are, or will come from
        #[arg(value_name = "ENDPOINT")]
        endpoint: OsString,
        /// What is served; nothing outside of it can be reached
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
        /// Let clients change files
        #[arg(long)]
        writable: bool,
        /// Our MAVLink system id
        #[arg(
            long, value_name = "ID", default_value_t = serve::SYSTEM_ID,
            value_parser = values::id
        )]
        system_id: u8,
        /// Our MAVLink component id; 1 is what clients ask that know only autopilots
        #[arg(
            long, value_name = "ID", default_value_t = serve::COMPONENT_ID,
            value_parser = values::id
        )]
        component_id: u8,
        #[command(flatten)]
        log: LogArguments,
    },
    /// List a directory, one name per line
    #[command(
        override_usage = "mavftp-mount ls [OPTIONS] SOURCE[#/PATH]", after_help = help_of(LS_HELP)
    )]
    Ls {
        /// A vehicle or server, and perhaps a place there
        #[arg(value_name = "SOURCE[#/PATH]")]
        place: OsString,
        /// Kind, size and time (UTC) as well
        #[arg(short, long)]
        long: bool,
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
    /// Copy a file from the vehicle
    #[command(
        override_usage = "mavftp-mount get [OPTIONS] SOURCE#/PATH [LOCAL]",
        after_help = help_of(GET_HELP)
    )]
    Get {
        /// A vehicle or server, and the file there
        #[arg(value_name = "SOURCE#/PATH")]
        place: OsString,
        /// Local name or directory; default: the same name here
        #[arg(value_name = "LOCAL")]
        local: Option<PathBuf>,
        #[command(flatten)]
        far: FarArguments,
        #[command(flatten)]
        log: LogArguments,
    },
    /// Copy a file to the vehicle
    #[command(
        override_usage = "mavftp-mount put [OPTIONS] LOCAL SOURCE[#/PATH]",
        after_help = help_of(PUT_HELP)
    )]
    Put {
        /// The local file
        #[arg(value_name = "LOCAL")]
        local: PathBuf,
        /// A vehicle or server, and a name or directory there
        #[arg(value_name = "SOURCE[#/PATH]")]
        place: OsString,
        #[command(flatten)]
        upload: UploadArguments,
        #[command(flatten)]
        far: FarArguments,
        #[command(flatten)]
        log: LogArguments,
    },
}

#[derive(Debug, Args)]
pub(super) struct MountArguments {
    /// Asked for by hand, so that the error can say more.
    #[arg(hide = true)]
    pub(super) source: Option<OsString>,
    #[arg(hide = true)]
    pub(super) mountpoint: Option<OsString>,
    /// Whatever comes after these, to be named in the error.
    #[arg(hide = true)]
    pub(super) surplus: Vec<OsString>,

    /// Stay in the foreground
    #[arg(short, long, help_heading = "Run")]
    pub(super) foreground: bool,
    #[command(flatten)]
    pub(super) log: LogArguments,

    /// Refuse every change
    #[arg(long, overrides_with = "read_write", help_heading = "Mount")]
    pub(super) read_only: bool,
    /// Allow changes; the default
    #[arg(long, hide = true)]
    pub(super) read_write: bool,
    /// Let every user in
    #[arg(long, help_heading = "Mount")]
    pub(super) allow_other: bool,
    /// Let root in, besides you
    #[arg(long, help_heading = "Mount")]
    pub(super) allow_root: bool,
    /// Hide what the mount point holds
    #[arg(long, help_heading = "Mount")]
    pub(super) nonempty: bool,
    /// Owner of all files [default: you]
    #[arg(long, value_name = "ID", value_parser = values::owner, help_heading = "Mount")]
    pub(super) uid: Option<u32>,
    /// Group of all files [default: yours]
    #[arg(long, value_name = "ID", value_parser = values::owner, help_heading = "Mount")]
    pub(super) gid: Option<u32>,
    /// Permission bits that no file has, octal
    #[arg(
        long, value_name = "BITS", default_value = "022", value_parser = values::umask,
        help_heading = "Mount"
    )]
    pub(super) umask: u16,
    /// Options of this list as NAME[=VALUE], and ro, rw and others of mount(8)
    #[arg(short = 'o', value_name = "A,B=C", action = ArgAction::Append, help_heading = "Mount")]
    pub(super) options: Vec<String>,

    /// Most memory for file content
    #[arg(
        long, value_name = "SIZE", default_value = "256M", value_parser = values::cache_size,
        help_heading = "Cache"
    )]
    pub(super) cache_size: usize,
    /// How long a listing is believed
    #[arg(
        long, value_name = "TIME", default_value = "10s", value_parser = values::duration,
        help_heading = "Cache"
    )]
    pub(super) dir_cache_time: Duration,
    /// How long the kernel keeps sizes and times without asking again
    #[arg(
        long, value_name = "TIME", default_value = "1s", value_parser = values::duration,
        help_heading = "Cache"
    )]
    pub(super) attr_timeout: Duration,
    /// How long the kernel remembers that a name does not exist
    #[arg(
        long, value_name = "TIME", default_value = "5s", value_parser = values::duration,
        help_heading = "Cache"
    )]
    pub(super) negative_time: Duration,

    /// When changes must be there: when a file is closed, or some time later
    #[arg(
        long,
        value_name = "close|async",
        value_enum,
        default_value = "close",
        hide_possible_values = true,
        help_heading = "Write"
    )]
    pub(super) write_back: WriteBack,
    #[command(flatten)]
    pub(super) upload: UploadArguments,
    /// Send only what is added to a file, or all of it anew
    #[arg(
        long,
        value_name = "tail|rewrite",
        value_enum,
        default_value = "tail",
        hide_possible_values = true,
        help_heading = "Write"
    )]
    pub(super) append: Append,
    /// Largest file that is fetched to change a part of it
    #[arg(
        long, value_name = "SIZE", default_value = "32M", value_parser = values::size,
        help_heading = "Write"
    )]
    pub(super) max_edit: u64,
    /// Send editors' scratch files (4913, .*.swp, .#*, #*#) as well
    #[arg(long, help_heading = "Write")]
    pub(super) no_scratch_guard: bool,
    /// Ask the vehicle for file managers' droppings (.Trash*, ._*, desktop.ini) as well
    #[arg(long, help_heading = "Write")]
    pub(super) no_trash_guard: bool,

    #[command(flatten)]
    pub(super) far: FarArguments,
}

/// How files are saved.
#[derive(Debug, Args)]
#[command(next_help_heading = "Write")]
pub(super) struct UploadArguments {
    /// Send under a temporary name, then rename; or write the file itself
    #[arg(
        long,
        value_name = "temp|direct",
        value_enum,
        default_value = "temp",
        hide_possible_values = true
    )]
    pub(super) upload_mode: UploadMode,
    /// What is compared after an upload; auto: the size, and the CRC up to 2 MiB
    #[arg(
        long,
        value_name = "auto|size|crc|none",
        value_enum,
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(super) verify: Verify,
}

/// How to reach the far side.
#[derive(Debug, Args)]
#[command(next_help_heading = "Link")]
pub(super) struct FarArguments {
    /// Which vehicle, and which of its components [default: the first autopilot]
    #[arg(long, value_name = "SYS[:COMP]", value_parser = values::target)]
    pub(super) target: Option<(u8, Option<u8>)>,
    /// Our MAVLink system id
    #[arg(long, value_name = "ID", default_value = "245", value_parser = values::id)]
    pub(super) own_system_id: u8,
    /// Our MAVLink component id
    #[arg(long, value_name = "ID", default_value = "191", value_parser = values::id)]
    pub(super) own_component_id: u8,
    /// How long to look for a vehicle
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = values::limit)]
    pub(super) mount_timeout: Duration,
    /// How long an operation may go without progress
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::limit)]
    pub(super) op_timeout: Duration,
    /// Silence after which the vehicle is gone: requests fail at once
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = values::limit)]
    pub(super) link_timeout: Duration,
    /// Most bytes per second of file data, as 10k or 2M [default: what the link allows]
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub(super) rate_limit: Option<u32>,
    /// What an armed autopilot is asked: little, everything or nothing
    #[arg(
        long,
        value_name = "limit|allow|deny",
        value_enum,
        default_value = "limit",
        hide_possible_values = true
    )]
    pub(super) when_armed: WhenArmed,
    /// While the vehicle is not heard [default: fail; get and put: wait=60s]
    #[arg(long, value_name = "fail|wait=TIME", value_parser = values::link_loss)]
    pub(super) on_link_loss: Option<Duration>,
    /// Who logs in at an FTP server [default: the URL's, else anonymous]
    #[arg(long, value_name = "NAME", help_heading = "FTP servers")]
    pub(super) user: Option<String>,
    /// The password is this file's first line [default: $MAVFTP_PASSWORD]
    #[arg(long, value_name = "FILE", help_heading = "FTP servers")]
    pub(super) password_file: Option<PathBuf>,
    /// The password is the first line of standard input
    #[arg(long, conflicts_with = "password_file", help_heading = "FTP servers")]
    pub(super) password_stdin: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub(super) struct LogArguments {
    /// Say more; -vv and -vvv still more
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Say only what went wrong
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Append the log to this file
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,
}

/// The grammar with the help that is put together from other places.
pub(super) fn command() -> clap::Command {
    Arguments::command()
        .override_usage(format!(
            "{MOUNT_FORM}\n       mavftp-mount <COMMAND> [OPTIONS] …\n\n{MOUNT_ARGUMENTS}"
        ))
        .after_help(format!("Addresses:\n{}\n{EXAMPLES}", address::help()))
}

/// The end of a verb's help.
fn help_of(verb: &str) -> String {
    format!("{PLACES}\n\n{verb}")
}

/// Parses by the grammar alone.
pub(super) fn parse(given: &[OsString]) -> Result<Arguments, clap::Error> {
    let matches = command().try_get_matches_from(given).map_err(usage::in_one_line)?;
    Arguments::from_arg_matches(&matches)
        .map_err(|error| usage::in_one_line(error.format(&mut command())))
}
