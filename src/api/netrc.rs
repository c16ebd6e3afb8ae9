//! Users and passwords from netrc, the file that ftp, curl and others share: `machine HOST login NAME
//! password WORD`, and `default` for all other hosts. Must not know who logs in.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Login, PasswordSource};

/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;
/// Longer is no file of passwords.
const BYTES_MAX: u64 = 1 << 20;

/// Why a file gives no password. Never holds one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others than its owner may read it, or write to it.
    #[error(
        "{0} holds a password that others can read; make it yours alone: chmod 600 {0}",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
    },
}

/// Who logs in at `host`: of the entries for it the first, or with `user` the first of that user or of
/// nobody in particular; else `default` by the same rule. `None` when there is no such entry.
///
/// # Errors
/// The file cannot be read, or has a password for `host` and is not its owner's alone.
pub fn find(path: &Path, host: &str, user: Option<&str>) -> Result<Option<Login>, Error> {
    let unreadable = |error| Error::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
    let entries = parse(&String::from_utf8_lossy(&text));
    let fits = |entry: &&Entry| {
        user.is_none_or(|user| entry.login.as_deref().is_none_or(|login| login == user))
    };
    let named = |entry: &&Entry| {
        entry.machine.as_deref().is_some_and(|machine| machine.eq_ignore_ascii_case(host))
    };
    let entry = entries
        .iter()
        .filter(fits)
        .find(named)
        .or_else(|| entries.iter().filter(fits).find(|entry| entry.machine.is_none()));
    let Some(entry) = entry else { return Ok(None) };
    if entry.password.is_some() && mode & OTHERS != 0 {
        return Err(Error::Exposed { path: path.to_owned() });
    }
    Ok(Some(Login {
        user: user.map(str::to_owned).or_else(|| entry.login.clone()),
        password: entry.password.clone(),
        source: PasswordSource::Netrc(path.to_owned()),
    }))
}

/// One host's, or with no machine everybody's.
#[derive(Default)]
struct Entry {
    machine: Option<String>,
    login: Option<String>,
    password: Option<String>,
}

/// What is not understood is passed over: other programs have words of their own.
fn parse(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut words = Words { rest: text };
    while let Some(word) = words.next() {
        match &*word {
            "machine" => {
                let machine = Some(words.next().unwrap_or_default());
                entries.push(Entry { machine, ..Entry::default() });
            }
            "default" => entries.push(Entry::default()),
            "macdef" => words.skip_macro(),
            "login" | "user" | "password" | "account" => {
                let value = words.next();
                match (entries.last_mut(), &*word) {
                    (Some(entry), "login" | "user") => entry.login = value,
                    (Some(entry), "password") => entry.password = value,
                    _ => {}
                }
            }
            comment if comment.starts_with('#') => words.skip_line(),
            _ => {}
        }
    }
    // One without a name is nobody's, and not everybody's.
    entries.retain(|entry| entry.machine.as_deref() != Some(""));
    entries
}

/// The words of the file: between blanks, or in double quotes with backslashes.
struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn skip_line(&mut self) {
        self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        self.skip_line();
        while !self.rest.is_empty() && !self.rest.lines().next().unwrap_or("").trim().is_empty() {
            self.skip_line();
        }
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        // A line's end is left to be seen by who skips a line or a macro.
        self.rest = self.rest.trim_start();
        let quoted = self.rest.starts_with('"');
        let mut word = String::new();
        let mut characters = self.rest.char_indices().skip(usize::from(quoted));
        let mut end = self.rest.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' if quoted => {
                    end = at + 1;
                    break;
                }
                blank if blank.is_whitespace() && !quoted => {
                    end = at;
                    break;
                }
                '\\' if quoted => word.extend(characters.next().map(|(_, escaped)| escaped)),
                other => word.push(other),
            }
        }
        let found = !self.rest.is_empty();
        self.rest = &self.rest[end..];
        found.then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const TEXT: &str = "# passwords\nmachine a.example login me password s#cret\n\
        macdef init\nmachine trap\nlogin trap\n\nmachine b.example # login nobody\n\tlogin \
        \"the pilot\" account x password \"a \\\"b\\\\\"\nmachine a.example login you password \
        other\nmachine c.example password alone\nmachine d.example login guest\n\
        default login anybody password \"\"\n";

    fn found(
        text: &str,
        mode: u32,
        host: &str,
        user: Option<&str>,
    ) -> Result<Option<Login>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("netrc");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        find(&file, host, user)
    }

    fn login(host: &str, user: Option<&str>) -> (Option<String>, Option<String>) {
        let login = found(TEXT, 0o600, host, user).unwrap().unwrap();
        (login.user, login.password)
    }

    fn pair(user: &str, password: &str) -> (Option<String>, Option<String>) {
        (Some(user.into()), Some(password.into()))
    }

    #[test]
    fn the_entry_of_the_host_and_the_user_is_found() {
        assert_eq!(login("a.example", None), pair("me", "s#cret"));
        assert_eq!(login("A.Example", Some("you")), pair("you", "other"));
        assert_eq!(login("b.example", None), pair("the pilot", "a \"b\\"));
        assert_eq!(login("c.example", Some("x")), pair("x", "alone"));
        assert_eq!(login("d.example", None), (Some("guest".into()), None));
        assert_eq!(login("trap", None), pair("anybody", ""));
        assert_eq!(login("a.example", Some("anybody")), pair("anybody", ""));
    }

    #[test]
    fn no_entry_is_no_login() {
        assert_eq!(found(TEXT, 0o600, "a.example", Some("she")).unwrap(), None);
        for text in ["", "machine", "login x password y", "machine a login", "\"", "machine \"\\"] {
            assert_eq!(found(text, 0o600, "host", None).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn a_password_that_others_can_read_is_refused_with_what_to_do() {
        for mode in [0o644, 0o640, 0o602] {
            let text = found(TEXT, mode, "a.example", None).unwrap_err().to_string();
            assert!(text.contains("chmod 600 /"), "{text}");
            assert!(!text.contains("s#cret"), "{text}");
            assert!(found(TEXT, mode, "d.example", None).unwrap().is_some());
        }
        let missing = find(Path::new("/no/such"), "host", None).unwrap_err().to_string();
        assert!(missing.contains("/no/such"), "{missing}");
    }
}
