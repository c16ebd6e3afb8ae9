//! How to log in at an FTP server, from the arguments, a file, the environment or netrc. A password
//! comes from everywhere but the command line, and goes into no message.

use std::env;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use super::arguments::FtpArguments;
use super::{usage, without_numbers};
use crate::api::{FtpOptions, Login, PasswordSource, netrc};
use crate::link::address::{FtpAddress, Security};
use crate::remote::ftp::Trust;

/// Holds the password where no file is named.
const PASSWORD_VARIABLE: &str = "MAVFTP_PASSWORD";
/// Names another file than `~/.netrc`, as it does for curl.
const NETRC_VARIABLE: &str = "NETRC";
/// That file in a home directory.
const NETRC: &str = ".netrc";

/// Who logs in at `server`, and with which password.
pub(super) fn login(far: &FtpArguments, server: &FtpAddress) -> Result<Login, clap::Error> {
    let user = far.user.clone().or_else(|| server.user.clone());
    let given = |password, source| Login { user: user.clone(), password: Some(password), source };
    if let Some(file) = &far.password_file {
        let text = std::fs::read_to_string(file).map_err(|error| failed(&file.display(), error))?;
        return Ok(given(first_line(&text), PasswordSource::File(file.clone())));
    }
    if far.password_stdin {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(|error| failed(&"standard input", error))?;
        return Ok(given(first_line(&line), PasswordSource::StandardInput));
    }
    if let Ok(password) = env::var(PASSWORD_VARIABLE) {
        return Ok(given(password, PasswordSource::Environment(PASSWORD_VARIABLE)));
    }
    let found = match netrc_file() {
        Some(file) => netrc::find(&file, server.host.as_str(), user.as_deref())
            .map_err(|error| usage::error(without_numbers(&error.to_string())))?,
        None => None,
    };
    Ok(found.unwrap_or(Login { user, ..Login::default() }))
}

/// How a server is spoken to.
pub(super) fn options(far: &FtpArguments, server: &FtpAddress) -> Result<FtpOptions, clap::Error> {
    let trust = match (&far.ca_file, far.tls_fingerprint, far.insecure) {
        // A mount goes on from another working directory.
        (Some(file), _, _) => Trust::CaFile(std::path::absolute(file).unwrap_or(file.clone())),
        (None, Some(fingerprint), _) => Trust::Fingerprint(fingerprint),
        (None, None, true) => Trust::Anything,
        (None, None, false) => Trust::System,
    };
    if server.security == Security::Plain && trust != Trust::System {
        return Err(usage::error(
            "ftp:// has no certificate to judge; write ftpes:// (TLS after AUTH TLS) or ftps:// \
             (TLS from the start)"
                .into(),
        ));
    }
    let FtpArguments { connections, active, encoding, .. } = *far;
    Ok(FtpOptions { trust, connections, active, encoding })
}

/// A file that is named must be there; the usual one may be missing.
fn netrc_file() -> Option<PathBuf> {
    if let Some(named) = env::var_os(NETRC_VARIABLE) {
        return Some(named.into());
    }
    let usual = Path::new(&env::var_os("HOME")?).join(NETRC);
    usual.exists().then_some(usual)
}

fn failed(from: &dyn Display, error: io::Error) -> clap::Error {
    usage::error(without_numbers(&format!("cannot read the password from {from}: {error}")))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
