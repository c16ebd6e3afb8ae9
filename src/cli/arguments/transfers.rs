//! The arguments of `get` and `put`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{FarArguments, LogArguments, UploadArguments};

#[derive(Debug, Args)]
pub(in crate::cli) struct GetArguments {
    /// A vehicle or server, and the file there
    #[arg(value_name = "SOURCE#/PATH")]
    pub(in crate::cli) place: OsString,
    /// Further files there, as #/PATH, and a local name or directory [default: here]
    #[arg(value_name = "#/PATH… LOCAL", hide_default_value = true)]
    pub(in crate::cli) more: Vec<OsString>,
    /// Directories too, with all that is in them
    #[arg(short, long)]
    pub(in crate::cli) recursive: bool,
    /// Go on with what an earlier attempt left; leave out what is here already
    #[arg(short = 'c', long = "continue")]
    pub(in crate::cli) resume: bool,
    #[command(flatten)]
    pub(in crate::cli) far: FarArguments,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PutArguments {
    /// The local files
    #[arg(value_name = "LOCAL", required = true)]
    pub(in crate::cli) locals: Vec<PathBuf>,
    /// A vehicle or server, and a name or directory there
    #[arg(value_name = "SOURCE[#/PATH]")]
    pub(in crate::cli) place: OsString,
    /// Directories too, with all that is in them
    #[arg(short, long)]
    pub(in crate::cli) recursive: bool,
    /// Leave out what is there already, byte for byte
    #[arg(short = 'c', long = "continue")]
    pub(in crate::cli) resume: bool,
    #[command(flatten)]
    pub(in crate::cli) upload: UploadArguments,
    #[command(flatten)]
    pub(in crate::cli) far: FarArguments,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}
