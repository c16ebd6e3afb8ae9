//! The grammar, as clap reads it. Texts here are `--help`; values become ours in the parent module.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::values;
use crate::link::address;
use crate::serve;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  mavftp-mount udp:14550 /mnt/drone             mount the vehicle that sends to port 14550
  mavftp-mount udp:14550#/fs/microsd /mnt/sd    only its SD card
  mavftp-mount ls -l udp:14550#/fs/microsd      list without mounting
  mavftp-mount get udp:14550#/log.ulg .         copy a file here
  mavftp-mount serve udpout:127.0.0.1:14550 .   be a vehicle that offers this directory
  umount /mnt/drone                             end a mount

Exit codes:
  0 done   1 failed   2 usage   3 no vehicle heard   4 no FTP there   5 login refused
  6 some changes were not sent";

#[derive(Debug, Parser)]
#[command(
    name = "mavftp-mount",
    version,
    about = "Makes a vehicle's files ordinary files",
    long_about = "Mounts the files of a MAVLink vehicle (MAVLink FTP) or of an FTP server, and \
                  serves a directory over MAVLink FTP.",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    args_override_self = true,
    disable_help_subcommand = true,
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
    Serve {
        /// Where ground stations are or will come from: an address as in --help
        #[arg(value_name = "ENDPOINT")]
        endpoint: OsString,
        /// What is served; nothing outside of it can be reached
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
        /// Let clients change files
        #[arg(long)]
        writable: bool,
        /// Our MAVLink system id
        #[arg(long, value_name = "ID", default_value_t = serve::SYSTEM_ID, value_parser = values::id)]
        system_id: u8,
        /// Our MAVLink component id; 1 is what clients ask that know only autopilots
        #[arg(
            long, value_name = "ID", default_value_t = serve::COMPONENT_ID, value_parser = values::id
        )]
        component_id: u8,
        #[command(flatten)]
        log: LogArguments,
    },
    /// List a directory, one name per line
    Ls {
        #[command(flatten)]
        place: PlaceArgument,
        /// Kind, size and time (UTC) as well
        #[arg(short, long)]
        long: bool,
        #[command(flatten)]
        far: FarArguments,
        #[command(flatten)]
        log: LogArguments,
    },
    /// Print a file
    Cat {
        #[command(flatten)]
        place: PlaceArgument,
        #[command(flatten)]
        far: FarArguments,
        #[command(flatten)]
        log: LogArguments,
    },
    /// Copy a file from the vehicle
    Get {
        #[command(flatten)]
        place: PlaceArgument,
        /// Local name or directory; default: the same name here
        #[arg(value_name = "LOCAL")]
        local: Option<PathBuf>,
        #[command(flatten)]
        far: FarArguments,
        #[command(flatten)]
        log: LogArguments,
    },
    /// Copy a file to the vehicle
    Put {
        /// The local file
        #[arg(value_name = "LOCAL")]
        local: PathBuf,
        #[command(flatten)]
        place: PlaceArgument,
        #[command(flatten)]
        far: FarArguments,
        #[command(flatten)]
        log: LogArguments,
    },
}

#[derive(Debug, Args)]
pub(super) struct PlaceArgument {
    /// A vehicle or server, and the place there
    #[arg(value_name = "SOURCE#/PATH")]
    pub(super) place: OsString,
}

#[derive(Debug, Args)]
pub(super) struct MountArguments {
    /// A vehicle or server, and perhaps a directory there: SOURCE[#/PATH]
    #[arg(required = true)]
    pub(super) source: Option<OsString>,
    /// An empty local directory
    #[arg(required = true)]
    pub(super) mountpoint: Option<PathBuf>,

    /// Stay in the foreground
    #[arg(short, long, help_heading = "Run")]
    pub(super) foreground: bool,
    /// Append the log to this file
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub(super) log_file: Option<PathBuf>,
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
    #[arg(long, value_name = "ID", help_heading = "Mount")]
    pub(super) uid: Option<u32>,
    /// Group of all files [default: yours]
    #[arg(long, value_name = "ID", help_heading = "Mount")]
    pub(super) gid: Option<u32>,
    /// Permission bits that no file has, octal
    #[arg(
        long, value_name = "BITS", default_value = "022", value_parser = values::umask,
        help_heading = "Mount"
    )]
    pub(super) umask: u16,
    /// Any of these as NAME[=VALUE], ro, rw, and the words of mount(8)
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

    #[command(flatten)]
    pub(super) far: FarArguments,
}

/// How to reach the far side.
#[derive(Debug, Args)]
#[command(next_help_heading = "Link")]
pub(super) struct FarArguments {
    /// Which vehicle, and which component of it [default: the first autopilot heard]
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
    /// Longest time that an operation may go without progress
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::limit)]
    pub(super) op_timeout: Duration,
    /// After so much silence the vehicle counts as gone, and requests fail at once
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = values::limit)]
    pub(super) link_timeout: Duration,
    /// Who logs in at an FTP server [default: the URL's, else anonymous]
    #[arg(long, value_name = "NAME", help_heading = "FTP servers")]
    pub(super) user: Option<String>,
    /// The password is this file's first line [default: $MAVFTP_PASSWORD]
    #[arg(long, value_name = "FILE", help_heading = "FTP servers")]
    pub(super) password_file: Option<PathBuf>,
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
}

/// The grammar with the help that is put together from other places.
pub(super) fn command() -> clap::Command {
    Arguments::command()
        .override_usage(
            "mavftp-mount [OPTIONS] SOURCE MOUNTPOINT\n       mavftp-mount <COMMAND> [OPTIONS] …",
        )
        .after_help("SOURCE is an address such as udp:14550; --help shows them all.")
        .after_long_help(format!("Addresses:\n{}\n{EXAMPLES}", address::help()))
}

/// Parses by the grammar alone.
pub(super) fn parse(given: &[OsString]) -> Result<Arguments, clap::Error> {
    let matches = command().try_get_matches_from(given)?;
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}
