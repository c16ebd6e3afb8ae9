//! What clients of a served directory may do and see.

use clap::Args;

use crate::cli::{usage, values};
use crate::mavftp::directory::Pattern;

/// Where these stand in the help; what follows them does not.
const HEADING: &str = "Access";

/// The access that clients have.
#[derive(Debug, Args)]
pub(in crate::cli) struct ServedArguments {
    /// Let clients change files
    #[arg(long, help_heading = HEADING)]
    pub(in crate::cli) writable: bool,
    /// Treat as absent what has such a name, as '*.key' or /private (repeatable)
    #[arg(long, value_name = "GLOB", help_heading = HEADING)]
    pub(in crate::cli) hide: Vec<Pattern>,
    /// Most bytes of all files together, as 500M; needs --writable
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = HEADING)]
    pub(in crate::cli) max_bytes: Option<u64>,
}

impl ServedArguments {
    /// Refuses a limit that would limit nothing.
    pub(in crate::cli) fn checked(self) -> Result<ServedArguments, clap::Error> {
        if self.max_bytes.is_some() && !self.writable {
            let why = "--max-bytes limits what clients store, which they cannot without --writable";
            return Err(usage::error(why.to_owned()));
        }
        Ok(self)
    }
}
