//! The arguments of a mount.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::{FarArguments, LogArguments, UploadArguments};
use crate::cli::values;
use crate::fs::{Append, WriteBack};

#[derive(Debug, Args)]
pub(in crate::cli) struct MountArguments {
    /// Asked for by hand, so that the error can say more.
    #[arg(hide = true)]
    pub(in crate::cli) source: Option<OsString>,
    #[arg(hide = true)]
    pub(in crate::cli) mountpoint: Option<OsString>,
    /// Whatever comes after these, to be named in the error.
    #[arg(hide = true)]
    pub(in crate::cli) surplus: Vec<OsString>,

    /// Stay in the foreground
    #[arg(short, long, help_heading = "Run")]
    pub(in crate::cli) foreground: bool,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,

    /// Refuse every change
    #[arg(long, overrides_with = "read_write", help_heading = "Mount")]
    pub(in crate::cli) read_only: bool,
    /// Allow changes; the default
    #[arg(long, hide = true)]
    pub(in crate::cli) read_write: bool,
    /// Let every user in
    #[arg(long, help_heading = "Mount")]
    pub(in crate::cli) allow_other: bool,
    /// Let root in, besides you
    #[arg(long, help_heading = "Mount")]
    pub(in crate::cli) allow_root: bool,
    /// Hide what the mount point holds
    #[arg(long, help_heading = "Mount")]
    pub(in crate::cli) nonempty: bool,
    /// Owner of all files [default: you]
    #[arg(long, value_name = "ID", value_parser = values::owner, help_heading = "Mount")]
    pub(in crate::cli) uid: Option<u32>,
    /// Group of all files [default: yours]
    #[arg(long, value_name = "ID", value_parser = values::owner, help_heading = "Mount")]
    pub(in crate::cli) gid: Option<u32>,
    /// Permission bits that no file has, octal
    #[arg(
        long, value_name = "BITS", default_value = "022", value_parser = values::umask,
        help_heading = "Mount"
    )]
    pub(in crate::cli) umask: u16,
    /// Options of this list as NAME[=VALUE], and ro, rw and others of mount(8)
    #[arg(short = 'o', value_name = "A,B=C", action = ArgAction::Append, help_heading = "Mount")]
    pub(in crate::cli) options: Vec<String>,

    /// Most memory for file content
    #[arg(
        long, value_name = "SIZE", default_value = "256M", value_parser = values::cache_size,
        help_heading = "Cache"
    )]
    pub(in crate::cli) cache_size: usize,
    /// How long a listing is believed
    #[arg(
        long, value_name = "TIME", default_value = "10s", value_parser = values::duration,
        help_heading = "Cache"
    )]
    pub(in crate::cli) dir_cache_time: Duration,
    /// How long the kernel keeps sizes and times without asking again
    #[arg(
        long, value_name = "TIME", default_value = "1s", value_parser = values::duration,
        help_heading = "Cache"
    )]
    pub(in crate::cli) attr_timeout: Duration,
    /// How long the kernel remembers that a name does not exist
    #[arg(
        long, value_name = "TIME", default_value = "5s", value_parser = values::duration,
        help_heading = "Cache"
    )]
    pub(in crate::cli) negative_time: Duration,

    /// When changes must be there: when a file is closed, or some time later
    #[arg(
        long,
        value_name = "close|async",
        value_enum,
        default_value = "close",
        hide_possible_values = true,
        help_heading = "Write"
    )]
    pub(in crate::cli) write_back: WriteBack,
    #[command(flatten)]
    pub(in crate::cli) upload: UploadArguments,
    /// Send only what is added to a file, or all of it anew
    #[arg(
        long,
        value_name = "tail|rewrite",
        value_enum,
        default_value = "tail",
        hide_possible_values = true,
        help_heading = "Write"
    )]
    pub(in crate::cli) append: Append,
    /// Largest file that is fetched to change a part of it
    #[arg(
        long, value_name = "SIZE", default_value = "32M", value_parser = values::size,
        help_heading = "Write"
    )]
    pub(in crate::cli) max_edit: u64,
    /// Send editors' scratch files (4913, .*.swp, .#*, #*#) as well
    #[arg(long, help_heading = "Write")]
    pub(in crate::cli) no_scratch_guard: bool,
    /// Ask the vehicle for file managers' droppings (.Trash*, ._*, desktop.ini) as well
    #[arg(long, help_heading = "Write")]
    pub(in crate::cli) no_trash_guard: bool,

    #[command(flatten)]
    pub(in crate::cli) far: FarArguments,
}
