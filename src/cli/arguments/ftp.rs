//! The arguments that only FTP servers need.

use std::path::PathBuf;

use clap::Args;

use crate::cli::values;
use crate::remote::ftp::{Fingerprint, NameEncoding};

#[derive(Debug, Args)]
#[command(next_help_heading = "FTP servers")]
pub(in crate::cli) struct FtpArguments {
    /// Who logs in at an FTP server [default: the URL's, else netrc's, else anonymous]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,
    /// The password is this file's first line [default: $MAVFTP_PASSWORD, else ~/.netrc]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) password_file: Option<PathBuf>,
    /// The password is the first line of standard input
    #[arg(long, conflicts_with = "password_file")]
    pub(in crate::cli) password_stdin: bool,
    /// Believe what these authorities (PEM) sign [default: those of this system]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tls_fingerprint", "insecure"])]
    pub(in crate::cli) ca_file: Option<PathBuf>,
    /// Believe the certificate with this SHA-256 sum and no other
    #[arg(
        long, value_name = "sha256:HEX", value_parser = values::fingerprint,
        conflicts_with = "insecure"
    )]
    pub(in crate::cli) tls_fingerprint: Option<Fingerprint>,
    /// Believe any certificate: TLS then protects from nobody who is in between
    #[arg(long)]
    pub(in crate::cli) insecure: bool,
    /// Most control connections at a time, 1 to 8
    #[arg(long, value_name = "N", default_value = "2", value_parser = values::connections)]
    pub(in crate::cli) connections: usize,
    /// Let the server connect to us for data
    #[arg(long)]
    pub(in crate::cli) active: bool,
    /// The charset of names there [default: UTF-8 if it has that, else bytes as they are]
    #[arg(long, value_name = "utf8|latin1", value_parser = values::encoding)]
    pub(in crate::cli) encoding: Option<NameEncoding>,
}
