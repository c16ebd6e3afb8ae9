//! The arguments of the verbs that change or check what is on the far side.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{FarArguments, LogArguments};

/// Places of one far side.
#[derive(Debug, Args)]
pub(in crate::cli) struct SeveralArguments {
    /// A vehicle or server, and a place there
    #[arg(value_name = "SOURCE#/PATH")]
    pub(in crate::cli) place: OsString,
    /// Further places on the same vehicle, as /PATH
    #[arg(value_name = "/PATH")]
    pub(in crate::cli) more: Vec<OsString>,
    #[command(flatten)]
    pub(in crate::cli) far: FarArguments,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RmArguments {
    /// Directories too, with all that is in them
    #[arg(short, long)]
    pub(in crate::cli) recursive: bool,
    #[command(flatten)]
    pub(in crate::cli) places: SeveralArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MkdirArguments {
    /// The directories above as well; one that is there is no error
    #[arg(short, long)]
    pub(in crate::cli) parents: bool,
    #[command(flatten)]
    pub(in crate::cli) places: SeveralArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MvArguments {
    /// A vehicle or server, and what is renamed there
    #[arg(value_name = "SOURCE#/OLD")]
    pub(in crate::cli) place: OsString,
    /// Its new path, or a directory that it goes into
    #[arg(value_name = "/NEW")]
    pub(in crate::cli) to: OsString,
    #[command(flatten)]
    pub(in crate::cli) far: FarArguments,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompareArguments {
    /// The local file
    #[arg(value_name = "LOCAL")]
    pub(in crate::cli) local: PathBuf,
    /// A vehicle or server, and the file there, or a directory with one of that name
    #[arg(value_name = "SOURCE#/PATH")]
    pub(in crate::cli) place: OsString,
    #[command(flatten)]
    pub(in crate::cli) far: FarArguments,
    #[command(flatten)]
    pub(in crate::cli) log: LogArguments,
}
