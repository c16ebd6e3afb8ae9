//! The arguments that make files for the system the program is installed on. They stand alone.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The names of the options here, none of which means anything in a mount's `-o`.
pub(in crate::cli) const LONG_NAMES: [&str; 2] = ["completions", "man"];

/// Below what a reader of the help looks for.
const LAST: usize = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct OfflineArguments {
    /// Print what has a shell complete our options
    #[arg(
        long,
        value_name = "bash|zsh|fish",
        value_enum,
        exclusive = true,
        hide_possible_values = true,
        display_order = LAST
    )]
    pub(in crate::cli) completions: Option<Shell>,
    /// Write the manual pages into this directory
    #[arg(long, value_name = "DIR", exclusive = true, display_order = LAST)]
    pub(in crate::cli) man: Option<PathBuf>,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU's.
    Bash,
    /// Z shell.
    Zsh,
    /// The friendly one.
    Fish,
}
