//! The program as mount(8)'s helper, `/sbin/mount.mavftp`: another name, and with it another command
//! line. Its own words become those of the ordinary one; must not know what the options mean.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// For the types `mavftp`, `fuse.mavftp` and `fuse.mavftp-mount`.
const NAMES: [&str; 3] = ["mount.mavftp", "mount.fuse.mavftp", "mount.fuse.mavftp-mount"];
/// How mount(8) calls it.
const FORM: &str = "mount.mavftp SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]";

/// What mount(8) asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// Source and directory, and whatever else stands there.
    pub(super) places: Vec<OsString>,
    /// Each `-o`.
    pub(super) lists: Vec<String>,
    /// `-f`: everything but the mount itself.
    pub(super) fake: bool,
    /// `-s`: options that nobody knows are left out.
    pub(super) sloppy: bool,
    /// Each `-v` counts one.
    pub(super) verbose: u8,
    /// `-N`: the mount namespace to mount in.
    pub(super) namespace: Option<PathBuf>,
}

/// Whether the program was called by a name of the helper's.
pub(super) fn is_name(program: Option<&OsString>) -> bool {
    let name = program.and_then(|program| Path::new(program).file_name());
    name.is_some_and(|name| NAMES.iter().any(|known| name == *known))
}

/// Reads what follows the name, as getopt(3) does.
///
/// # Errors
/// A text that says what is right.
pub(super) fn parse(arguments: &[OsString]) -> Result<Request, String> {
    let mut request = Request::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_bytes() {
            b"--" => request.places.extend(rest.by_ref().cloned()),
            [b'-', letters @ ..] if !letters.is_empty() => {
                request.take(letters, &mut rest.by_ref().cloned())?;
            }
            _ => request.places.push(argument.clone()),
        }
    }
    Ok(request)
}

impl Request {
    /// Takes letters that stand together, and the word after them where the last one needs it.
    fn take(
        &mut self,
        mut letters: &[u8],
        words: &mut dyn Iterator<Item = OsString>,
    ) -> Result<(), String> {
        while let [letter, after @ ..] = letters {
            letters = after;
            match letter {
                b'f' => self.fake = true,
                b's' => self.sloppy = true,
                b'v' => self.verbose = self.verbose.saturating_add(1),
                // There is no /etc/mtab to be left alone.
                b'n' => {}
                b'o' | b'N' | b't' => {
                    let value = match after {
                        [] => words.next(),
                        _ => Some(OsString::from_vec(after.to_vec())),
                    };
                    let name = char::from(*letter);
                    let value = value.ok_or(format!("-{name} needs a value; write: {FORM}"))?;
                    return self.take_value(*letter, &value);
                }
                _ => {
                    let name = char::from(*letter);
                    return Err(format!("there is no option -{name}; write: {FORM}"));
                }
            }
        }
        Ok(())
    }

    fn take_value(&mut self, letter: u8, value: &OsStr) -> Result<(), String> {
        match letter {
            b'o' => {
                let list = value.to_str().ok_or("-o: the options are not in UTF-8")?;
                self.lists.push(list.into());
            }
            b'N' => self.namespace = Some(namespace(value)),
            // Whichever of our types it is.
            _ => {}
        }
        Ok(())
    }
}

/// A namespace by its file or by a process in it.
fn namespace(value: &OsStr) -> PathBuf {
    match value.to_str().and_then(|text| text.parse::<u32>().ok()) {
        Some(process) => format!("/proc/{process}/ns/mnt").into(),
        None => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_helper_is_known_by_its_names_in_any_folder() {
        for (name, is) in [
            ("/sbin/mount.mavftp", true),
            ("mount.fuse.mavftp-mount", true),
            ("/usr/bin/mavftp-mount", false),
            ("mount", false),
        ] {
            assert_eq!(is_name(Some(&name.into())), is, "{name}");
        }
        assert!(!is_name(None));
    }

    #[test]
    fn letters_may_stand_together_and_values_at_their_letter() {
        let request = parse(&words("udp:1 -sv /mnt -oro,nofail -fn -N 7 -t mavftp -o x")).unwrap();
        assert_eq!(request.places, words("udp:1 /mnt"));
        assert_eq!(request.lists, ["ro,nofail", "x"]);
        assert!(request.fake && request.sloppy);
        assert_eq!((request.verbose, request.namespace), (1, Some("/proc/7/ns/mnt".into())));
        assert_eq!(parse(&words("-- -f")).unwrap().places, words("-f"));
    }

    #[test]
    fn what_the_helper_does_not_know_is_told_with_what_is_right() {
        for line in ["udp:1 /mnt -o", "udp:1 /mnt -x", "--long"] {
            assert!(parse(&words(line)).unwrap_err().contains(FORM), "{line}");
        }
    }
}
