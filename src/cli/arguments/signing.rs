//! The argument of links that are signed.

use std::path::PathBuf;

use clap::Args;

use crate::cli::usage;
use crate::link::signing::SigningKey;

#[derive(Debug, Args)]
pub(in crate::cli) struct SignArguments {
    /// Sign every MAVLink frame, and ignore those that are not signed with this file's key: its 32
    /// bytes, or its 64 hex digits, else its text is a passphrase and the SHA-256 of it the key
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) sign_key_file: Option<PathBuf>,
}

impl SignArguments {
    /// The key in the file.
    pub(in crate::cli) fn key(&self) -> Result<Option<SigningKey>, clap::Error> {
        let key = self.sign_key_file.as_deref().map(SigningKey::read).transpose();
        key.map_err(|error| usage::error(crate::cli::without_numbers(&error.to_string())))
    }
}
