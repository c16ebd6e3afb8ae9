//! What is hidden from clients: patterns, and what they are matched against. Knows names and opened
//! folders, not requests.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use glob::MatchOptions;

use super::{system, walk};

/// `*` and `?` stay within a name; a dot in front is a character like any other.
const MATCHING: MatchOptions = MatchOptions {
    // Both sides are in lower case already, beyond ASCII as well.
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A pattern of names or paths: `*.key`, `/private`, `logs/**/*.tmp`.
///
/// Without a `/` it is matched against each name, at any depth; with one, against the path from the
/// root. A `/` at its end says nothing. Upper and lower case are the same, because some disks do not
/// tell them apart. What is below a hidden folder is hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    glob: glob::Pattern,
    of_paths: bool,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {why}")]
pub struct PatternError {
    text: String,
    why: String,
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        let wrong = |why: String| PatternError { text: text.to_owned(), why };
        let ended = text.strip_suffix('/').unwrap_or(text);
        let path = ended.strip_prefix('/').unwrap_or(ended);
        if let Some(why) = never_matches(path) {
            return Err(wrong(why.to_owned()));
        }
        let glob = glob::Pattern::new(&lower(path.as_bytes()))
            .map_err(|error| wrong(format!("is no pattern: {}", error.msg)))?;
        Ok(Pattern { text: text.to_owned(), glob, of_paths: ended.contains('/') })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// What would hide nothing, and leave its author to believe it did.
fn never_matches(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("names nothing; write a name or a pattern such as '*.key'");
    }
    if path.contains(['{', '}']) {
        return Some("has a brace, which stands for nothing here; give --hide once for each");
    }
    if path.contains('\\') {
        return Some("has a backslash, which stands for nothing here; write [*] for a star");
    }
    if path.contains('\0') {
        return Some("has a NUL, which no name has");
    }
    path.split('/')
        .any(|name| matches!(name, "" | "." | ".."))
        .then_some("can never match: paths here have no empty name, `.` or `..`")
}

/// All that is hidden.
#[derive(Debug, Default)]
pub(super) struct Hidden(Vec<Pattern>);

impl Hidden {
    /// What these patterns hide.
    pub(super) fn new(patterns: &[Pattern]) -> Hidden {
        Hidden(patterns.to_vec())
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether moving a folder can show or hide what is in it.
    pub(super) fn depends_on_paths(&self) -> bool {
        self.0.iter().any(|pattern| pattern.of_paths)
    }

    /// Whether a name in the folder with this path is hidden; the folder is not.
    pub(super) fn hides(&self, folder: &[u8], name: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let hides = |name: &[u8]| {
            let path = lower(&walk::joined(folder, name));
            let name = lower(name);
            self.0.iter().any(|pattern| {
                let what = if pattern.of_paths { &path } else { &name };
                pattern.glob.matches_with(what, MATCHING)
            })
        };
        // FAT and others drop these from a name's end: `a.key.` would make `a.key`.
        let end = name.iter().rposition(|byte| !matches!(byte, b'.' | b' '));
        let short = &name[..end.map_or(0, |last| last + 1)];
        hides(name) || (short.len() < name.len() && hides(short))
    }

    /// Whether a name that may exist in an opened folder can be seen. When anything is hidden, a
    /// name counts only as the folder itself spells it: an alias would get around the patterns.
    pub(super) fn shows(&self, above: &OwnedFd, folder: &[u8], name: &[u8]) -> io::Result<bool> {
        if self.is_empty() {
            return Ok(true);
        }
        Ok(!self.hides(folder, name) && system::is_listed(above, name)?)
    }
}

/// A name or path in lower case, character by character, so that parts of it come out the same.
fn lower(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hides(pattern: &str, path: &str) -> bool {
        let hidden = Hidden::new(&[pattern.parse().unwrap()]);
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        hidden.hides(folder.as_bytes(), name.as_bytes())
    }

    #[test]
    fn a_pattern_without_a_slash_is_of_names_at_any_depth() {
        for path in ["a.key", "b/c/a.key", ".key", "A.KEY", "\n.key", "ü.key", "a.key.", "a.key ."]
        {
            assert!(hides("*.key", path), "{path:?}");
        }
        for path in ["a.keys", "a.key/b", "key"] {
            assert!(!hides("*.key", path), "{path:?}");
        }
        assert!(hides("private/", "a/private"));
        assert!(hides("?.key", "ü.key") && hides("ÄÖ*", "äöß") && !hides("?.key", "üü.key"));
        assert!(hides("[!a]", "b") && !hides("[!a]", "a"));
    }

    #[test]
    fn a_pattern_with_a_slash_is_of_the_path_from_the_root() {
        assert!(hides("/private", "private") && !hides("/private", "a/private"));
        assert!(hides("a/*.key", "a/b.key") && hides("/a/*.key", "A/b.key"));
        assert!(!hides("a/*.key", "a/b/c.key") && !hides("a/*.key", "b/a/c.key"));
        assert!(hides("a/**/*.key", "a/b/c/d.key") && hides("a/**/*.key", "a/d.key"));
        assert!(hides("a/**", "a/b") && !hides("a/**", "a"));
    }

    #[test]
    fn a_name_that_is_no_text_can_be_hidden() {
        let hidden = Hidden::new(&["*.key".parse().unwrap()]);
        assert!(hidden.hides(b"", b"\xff\xfe.key"));
        assert!(hidden.hides(b"\xff", b"\xff.KEY"));
    }

    #[test]
    fn what_would_hide_nothing_is_refused_with_its_reason() {
        for (text, part) in [
            ("", "names nothing"),
            ("/", "names nothing"),
            ("[a", "is no pattern"),
            ("a**", "is no pattern"),
            ("*.{key,pem}", "once for each"),
            (r"\*", "backslash"),
            ("../a", "can never match"),
            ("./a", "can never match"),
            ("a//b", "can never match"),
        ] {
            let error = Pattern::from_str(text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
