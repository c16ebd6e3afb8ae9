//! Who logs in at an FTP server, and how it is spoken to. Must not know where a command line or a file
//! says so.

use std::fmt;
use std::path::PathBuf;

use crate::remote::ftp::{CONNECTIONS, NameEncoding, Trust};

/// Who logs in at an FTP server.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// The user; else the one in the URL, else anonymous.
    pub user: Option<String>,
    /// The password; none is empty.
    pub password: Option<String>,
    /// Where the password came from, to be said when it is refused.
    pub source: PasswordSource,
}

/// Where a password came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PasswordSource {
    /// Who calls this library.
    #[default]
    Caller,
    /// The first line of a file.
    File(PathBuf),
    /// The first line of standard input.
    StandardInput,
    /// The environment variable of this name.
    Environment(&'static str),
    /// This netrc file ([`super::netrc`]).
    Netrc(PathBuf),
}

/// How an FTP server is spoken to. The address says whether and when TLS begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FtpOptions {
    /// Whose certificate is believed, where there is TLS.
    pub trust: Trust,
    /// Most control connections at a time, at least one.
    pub connections: usize,
    /// The server connects to us for data, and not we to it.
    pub active: bool,
    /// The charset of names there; `None`: UTF-8 where it has that, else its bytes as they are.
    pub encoding: Option<NameEncoding>,
}

impl Default for FtpOptions {
    /// Those of the command line.
    fn default() -> FtpOptions {
        let (trust, connections) = (Trust::System, CONNECTIONS);
        FtpOptions { trust, connections, active: false, encoding: None }
    }
}

impl Login {
    /// What to say when it is refused.
    pub(super) fn advice(&self) -> String {
        let from = match (&self.password, &self.source) {
            (None, PasswordSource::Netrc(file)) => {
                return format!("{} names no password for this user", file.display());
            }
            (None, _) => {
                return "no password was given: use --password-file, --password-stdin, \
                        $MAVFTP_PASSWORD or ~/.netrc"
                    .into();
            }
            (Some(_), PasswordSource::Caller) => return "check the user and the password".into(),
            (Some(_), PasswordSource::File(file)) => format!("the file {}", file.display()),
            (Some(_), PasswordSource::StandardInput) => "standard input".into(),
            (Some(_), PasswordSource::Environment(name)) => format!("${name}"),
            (Some(_), PasswordSource::Netrc(file)) => file.display().to_string(),
        };
        format!("check the user and the password, which came from {from}")
    }
}

// Written by hand, so that no log ever shows a password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Login { user, password: _, source } = self;
        f.debug_struct("Login").field("user", user).field("source", source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_source_of_the_password_and_never_the_password() {
        let password = || Some("geheim".to_owned());
        for (password, source, part) in [
            (None, PasswordSource::Caller, "$MAVFTP_PASSWORD or ~/.netrc"),
            (None, PasswordSource::Netrc("/n".into()), "/n names no password"),
            (password(), PasswordSource::Caller, "check the user and the password"),
            (password(), PasswordSource::File("/p".into()), "the file /p"),
            (password(), PasswordSource::StandardInput, "standard input"),
            (password(), PasswordSource::Environment("SECRET"), "$SECRET"),
            (password(), PasswordSource::Netrc("/n".into()), "came from /n"),
        ] {
            let login = Login { user: Some("me".into()), password, source };
            let advice = login.advice();
            assert!(advice.contains(part) && !advice.contains("geheim"), "{advice}");
            assert!(!format!("{login:?}").contains("geheim"));
        }
    }
}
