//! Paths as clients send them, parsed once: what a [`ServedPath`] is cannot name a place outside
//! the served root. Knows the wire only; links on a disk are the concern of who opens the path.

use super::files::{EINVAL, ENAMETOOLONG};
use crate::mavftp::wire::{DATA_BYTES_MAX, Nak};

/// A path below the served root: names with `/` between them, none of them empty, `.` or `..`,
/// without a NUL. The root itself is the path without a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServedPath(Vec<u8>);

impl ServedPath {
    /// The root.
    pub fn root() -> ServedPath {
        ServedPath(Vec::new())
    }

    /// Reads a path from a request. Trailing NULs are no part of it (some clients send one), nor
    /// are empty parts and `.`; all paths are relative to the root, with or without a `/` in front.
    ///
    /// Errors: `..` is [`Nak::FileProtected`], wherever it would lead; a NUL inside and more than
    /// 238 bytes are refused with the errno that says so.
    pub fn parse(data: &[u8]) -> Result<ServedPath, Nak> {
        let end = data.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let text = &data[..end];
        if text.len() >= DATA_BYTES_MAX {
            return Err(Nak::FailErrno(ENAMETOOLONG));
        }
        if text.contains(&0) {
            return Err(Nak::FailErrno(EINVAL));
        }
        let mut path = ServedPath::root();
        for part in text.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(Nak::FileProtected),
                name => path = path.join(name),
            }
        }
        Ok(path)
    }

    /// Reads the two paths of a rename: old, NUL, new, and perhaps a NUL.
    pub fn parse_two(data: &[u8]) -> Result<(ServedPath, ServedPath), Nak> {
        let nul = data.iter().position(|&byte| byte == 0).ok_or(Nak::FailErrno(EINVAL))?;
        let new = ServedPath::parse(&data[nul + 1..])?;
        Ok((ServedPath::parse(&data[..nul])?, new))
    }

    /// This directory's child. `name` must be one name; it is not judged again.
    pub(in crate::mavftp) fn join(&self, name: &[u8]) -> ServedPath {
        let mut bytes = self.0.clone();
        if !self.is_root() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        ServedPath(bytes)
    }

    /// The path without a leading `/`; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names, from the root down.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
    }

    /// The directory that holds this, and its name there; `None` for the root.
    pub fn split(&self) -> Option<(ServedPath, &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => Some((ServedPath(self.0[..slash].to_vec()), &self.0[slash + 1..])),
            None => Some((ServedPath::root(), &self.0)),
        }
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_however_it_is_spelled() {
        for spelling in [&b"a/b"[..], b"/a/b", b"//a/./b/", b"a/b\0", b"/a/b\0\0"] {
            assert_eq!(ServedPath::parse(spelling).unwrap().as_bytes(), b"a/b");
        }
        for root in [&b""[..], b"/", b".", b"\0", b"/./"] {
            assert!(ServedPath::parse(root).unwrap().is_root());
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for path in [&b".."[..], b"/..", b"a/../b", b"@SYS/..", b"..\0"] {
            assert_eq!(ServedPath::parse(path), Err(Nak::FileProtected));
        }
        assert_eq!(ServedPath::parse(b"a\0b"), Err(Nak::FailErrno(EINVAL)));
        assert_eq!(ServedPath::parse(&[b'x'; 239]), Err(Nak::FailErrno(ENAMETOOLONG)));
        assert!(ServedPath::parse(&[b'x'; 238]).is_ok());
        assert!(ServedPath::parse(b"..a/...").is_ok());
    }

    #[test]
    fn a_rename_names_two_paths_with_or_without_a_closing_nul() {
        for data in [&b"/a\0/b"[..], b"/a\0/b\0"] {
            let (old, new) = ServedPath::parse_two(data).unwrap();
            assert_eq!((old.as_bytes(), new.as_bytes()), (&b"a"[..], &b"b"[..]));
        }
        assert!(ServedPath::parse_two(b"/a").is_err());
        assert!(ServedPath::parse_two(b"/a\0/b\0/c").is_err());
    }

    #[test]
    fn a_path_is_taken_apart_at_its_last_name() {
        let path = ServedPath::parse(b"a/b/c").unwrap();
        let (parent, name) = path.split().unwrap();
        assert_eq!((parent.as_bytes(), name), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(path.names().count(), 3);
        assert!(ServedPath::root().split().is_none());
        assert_eq!(ServedPath::root().names().count(), 0);
    }
}
