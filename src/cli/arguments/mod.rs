//! The grammar, as clap reads it. Texts here are `--help`; values become ours in the parent module.
//! Here are the parts that several commands share; the mount's and the verbs' own are beside it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser};

use super::{LogFormat, usage, values};
use crate::link::address;
use crate::remote::mavftp::WhenArmed;
use crate::remote::save::{UploadMode, Verify};

mod changes;
mod ftp;
mod mount;
mod offline;
mod probe;
mod serve;
mod served;
mod signing;
mod transfers;
mod verbs;

pub(in crate::cli) use changes::{
    CompareArguments, MkdirArguments, MvArguments, RmArguments, SeveralArguments,
};
pub(in crate::cli) use ftp::FtpArguments;
pub(in crate::cli) use mount::MountArguments;
pub use offline::Shell;
pub(in crate::cli) use offline::{LONG_NAMES as OFFLINE_NAMES, OfflineArguments};
pub(in crate::cli) use probe::ProbeArguments;
pub(in crate::cli) use serve::{SERVE_FORM, ServeArguments};
pub(in crate::cli) use served::ServedArguments;
pub(in crate::cli) use signing::SignArguments;
pub(in crate::cli) use transfers::{GetArguments, PutArguments};
pub(in crate::cli) use verbs::Verb;

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
pub(in crate::cli) const MOUNT_FORM: &str = "mavftp-mount [OPTIONS] SOURCE MOUNTPOINT";

const EXAMPLES: &str = "\
Examples:
  mavftp-mount udp:14550 /mnt/drone           mount the vehicle heard there
  mavftp-mount udp:14550#/fs/microsd /mnt/sd  only its SD card
  umount /mnt/drone                           end a mount
  mavftp-mount ftpes://me@camera /mnt/cam     mount an FTP server, protected
  mavftp-mount probe udp:14550                who is there, and how fast
  mavftp-mount ls -l udp:14550#/fs/microsd    list without mounting
  mavftp-mount get udp:14550#/log.ulg .       copy a file here
  mavftp-mount unsent                         what could not be sent
  mavftp-mount serve udpout:localhost:14550 . be a vehicle with these files

Exit codes:
  0 done              3 no vehicle heard   5 login refused
  1 failed            4 no FTP there       6 some changes were not sent
  2 wrong usage       7 compare could not compare";

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
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<Verb>,
    #[command(flatten)]
    pub(in crate::cli) offline: OfflineArguments,
    #[command(flatten)]
    pub(in crate::cli) mount: MountArguments,
}

/// How files are saved.
#[derive(Debug, Args)]
#[command(next_help_heading = "Write")]
pub(in crate::cli) struct UploadArguments {
    /// Send under a temporary name, then rename; or write the file itself
    #[arg(
        long,
        value_name = "temp|direct",
        value_enum,
        default_value = "temp",
        hide_possible_values = true
    )]
    pub(in crate::cli) upload_mode: UploadMode,
    /// What is compared after an upload; auto: the size, and the CRC up to 2 MiB
    #[arg(
        long,
        value_name = "auto|size|crc|none",
        value_enum,
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(in crate::cli) verify: Verify,
}

/// How to reach the far side.
#[derive(Debug, Args)]
#[command(next_help_heading = "Link")]
pub(in crate::cli) struct FarArguments {
    /// Which vehicle, and which of its components [default: the first autopilot]
    #[arg(long, value_name = "SYS[:COMP]", value_parser = values::target)]
    pub(in crate::cli) target: Option<(u8, Option<u8>)>,
    /// Our MAVLink system id
    #[arg(long, value_name = "ID", default_value = "245", value_parser = values::id)]
    pub(in crate::cli) own_system_id: u8,
    /// Our MAVLink component id
    #[arg(long, value_name = "ID", default_value = "191", value_parser = values::id)]
    pub(in crate::cli) own_component_id: u8,
    /// How long to look for a vehicle
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = values::limit)]
    pub(in crate::cli) mount_timeout: Duration,
    /// How long an operation may go without progress
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::limit)]
    pub(in crate::cli) op_timeout: Duration,
    /// Silence after which the vehicle is gone: requests fail at once
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = values::limit)]
    pub(in crate::cli) link_timeout: Duration,
    /// Most bytes per second of file data, as 10k or 2M [default: what the link allows]
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub(in crate::cli) rate_limit: Option<u32>,
    /// What an armed autopilot is asked: little, everything or nothing
    #[arg(
        long,
        value_name = "limit|allow|deny",
        value_enum,
        default_value = "limit",
        hide_possible_values = true
    )]
    pub(in crate::cli) when_armed: WhenArmed,
    /// While the vehicle is not heard [default: fail; get and put: wait=60s]
    #[arg(long, value_name = "fail|wait=TIME", value_parser = values::link_loss)]
    pub(in crate::cli) on_link_loss: Option<Duration>,
    #[command(flatten)]
    pub(in crate::cli) sign: SignArguments,
    #[command(flatten)]
    pub(in crate::cli) ftp: FtpArguments,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub(in crate::cli) struct LogArguments {
    /// Say more; -vv and -vvv still more
    #[arg(short, long, action = ArgAction::Count)]
    pub(in crate::cli) verbose: u8,
    /// Say only what went wrong
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
    /// Append the log to this file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) log_file: Option<PathBuf>,
    /// What its lines look like
    #[arg(
        long,
        value_name = "text|json",
        value_enum,
        default_value = "text",
        hide_possible_values = true
    )]
    pub(in crate::cli) log_format: LogFormat,
}

/// The grammar with the help that is put together from other places.
pub(in crate::cli) fn command() -> clap::Command {
    Arguments::command()
        .override_usage(format!(
            "{MOUNT_FORM}\n       mavftp-mount <COMMAND> [OPTIONS] …\n\n{MOUNT_ARGUMENTS}"
        ))
        .mut_subcommand("probe", |verb| {
            verb.mut_arg("mount_timeout", |argument| argument.default_value(probe::PATIENCE))
        })
        .after_help(format!("Addresses:\n{}\n{EXAMPLES}", address::help()))
}

/// Parses by the grammar alone.
pub(in crate::cli) fn parse(given: &[OsString]) -> Result<Arguments, clap::Error> {
    let matches = command().try_get_matches_from(given).map_err(usage::in_one_line)?;
    Arguments::from_arg_matches(&matches)
        .map_err(|error| usage::in_one_line(error.format(&mut command())))
}
