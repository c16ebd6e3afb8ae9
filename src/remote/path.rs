//! Names and paths on the far side, parsed once. A [`Name`] or [`RemotePath`] that exists is safe
//! to send, to show and to join; what the vehicle says is hostile until it has become one.

use std::fmt;
use std::sync::Arc;

/// Longest single name, in bytes: what Linux accepts for a directory entry (`NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;

/// Why bytes are not a name or a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A name without a byte.
    #[error("the name is empty")]
    Empty,
    /// `.` or `..`, which would name another place.
    #[error("`.` and `..` are not names")]
    Dots,
    /// A slash or NUL inside a name.
    #[error("a name cannot hold `/` or NUL")]
    Separator,
    /// A control character, which would do something to whoever shows the name.
    #[error("a name with a control character")]
    Control,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("the name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
}

/// One directory entry's name: not empty, not `.` or `..`, without `/` and NUL, at most 255 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Parses a name from untrusted bytes.
    pub fn parse(bytes: &[u8]) -> Result<Name, PathError> {
        match bytes {
            [] => Err(PathError::Empty),
            b"." | b".." => Err(PathError::Dots),
            _ if bytes.len() > NAME_BYTES_MAX => Err(PathError::TooLong),
            _ if bytes.iter().any(|&b| b == b'/' || b == 0) => Err(PathError::Separator),
            _ => Ok(Name(bytes.into())),
        }
    }

    /// The name's bytes; any charset.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// An absolute path on the far side: `/`, or `/` before every name, never a trailing slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemotePath(Arc<[u8]>);

impl RemotePath {
    /// The root, `/`.
    pub fn root() -> RemotePath {
        RemotePath(b"/"[..].into())
    }

    /// Parses what a user or a server wrote: empty parts and `.` are dropped, `..` is refused.
    pub fn parse(bytes: &[u8]) -> Result<RemotePath, PathError> {
        let mut path = RemotePath::root();
        for part in bytes.split(|&b| b == b'/') {
            match part {
                [] | b"." => {}
                _ => path = path.join(&Name::parse(part)?),
            }
        }
        Ok(path)
    }

    /// This directory's child `name`.
    pub fn join(&self, name: &Name) -> RemotePath {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.0.len());
        if !self.is_root() {
            bytes.extend_from_slice(&self.0);
        }
        bytes.push(b'/');
        bytes.extend_from_slice(&name.0);
        RemotePath(bytes.into())
    }

    /// The directory that holds this; `None` for the root.
    pub fn parent(&self) -> Option<RemotePath> {
        let slash = self.last_slash()?;
        Some(RemotePath(self.0[..slash.max(1)].into()))
    }

    /// The last name; `None` for the root.
    pub fn name(&self) -> Option<Name> {
        let slash = self.last_slash()?;
        Some(Name(self.0[slash + 1..].into()))
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The whole path, beginning with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &RemotePath) -> bool {
        ancestor.is_root()
            || self
                .0
                .strip_prefix(&ancestor.0[..])
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// This path with the ancestor `from` replaced by `to`; `None` when it does not lie within `from`.
    pub fn rebase(&self, from: &RemotePath, to: &RemotePath) -> Option<RemotePath> {
        if !self.is_within(from) {
            return None;
        }
        let rest = if from.is_root() { &self.0[..] } else { &self.0[from.0.len()..] };
        let head = if to.is_root() { &[][..] } else { &to.0[..] };
        match [head, rest].concat() {
            bytes if bytes.is_empty() => Some(RemotePath::root()),
            bytes => Some(RemotePath(bytes.into())),
        }
    }

    /// The path of this below `base`, a volume's own root on the far side (`SOURCE#/fs/microsd`).
    pub fn below(&self, base: &RemotePath) -> RemotePath {
        self.rebase(&RemotePath::root(), base)
            .map(|path| match (path.0.len(), path.0.last()) {
                (2.., Some(b'/')) => RemotePath(path.0[..path.0.len() - 1].into()),
                _ => path,
            })
            .unwrap_or_else(RemotePath::root)
    }

    fn last_slash(&self) -> Option<usize> {
        if self.is_root() { None } else { self.0.iter().rposition(|&b| b == b'/') }
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_is_normalised_when_it_is_parsed() {
        assert_eq!(path("").as_bytes(), b"/");
        assert_eq!(path("a//b/./c/").as_bytes(), b"/a/b/c");
        assert_eq!(RemotePath::parse(b"/a/../b"), Err(PathError::Dots));
        assert_eq!(RemotePath::parse(b"/a\0b"), Err(PathError::Separator));
    }

    #[test]
    fn parent_and_name_take_a_path_apart() {
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(path("/")));
        assert_eq!(path("/").parent(), None);
        assert_eq!(path("/a/b").name(), Name::parse(b"b").ok());
        assert_eq!(path("/").name(), None);
    }

    #[test]
    fn a_sibling_with_the_same_beginning_is_not_within() {
        assert!(path("/a/b").is_within(&path("/a")));
        assert!(!path("/ab").is_within(&path("/a")));
        assert_eq!(path("/a/b").rebase(&path("/a"), &path("/c/d")), Some(path("/c/d/b")));
        assert_eq!(path("/a").rebase(&path("/a"), &path("/c")), Some(path("/c")));
        assert_eq!(path("/ab").rebase(&path("/a"), &path("/c")), None);
    }

    #[test]
    fn a_path_below_a_base_keeps_no_trailing_slash() {
        assert_eq!(path("/").below(&path("/fs/microsd")), path("/fs/microsd"));
        assert_eq!(path("/log").below(&path("/fs/microsd")), path("/fs/microsd/log"));
        assert_eq!(path("/log").below(&path("/")), path("/log"));
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Name::parse(b"tab\there").is_ok());
    }
}
