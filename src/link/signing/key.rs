//! The key that frames are signed with, and the files it is kept in. It is shown nowhere: not in
//! logs, not by `Debug`, not in errors.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Digits of a key that is written in hexadecimal.
const KEY_DIGITS: usize = 2 * KEY_BYTES;
/// Longest key file: more is no key but some other file.
const FILE_BYTES_MAX: usize = 1024;
/// Permission bits of group and others to read.
const FOREIGN_READ_BITS: u32 = 0o044;

/// A key that both sides of a link share.
#[derive(Clone)]
pub struct SigningKey {
    bytes: [u8; KEY_BYTES],
    caution: Option<Arc<str>>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl From<[u8; KEY_BYTES]> for SigningKey {
    fn from(bytes: [u8; KEY_BYTES]) -> SigningKey {
        SigningKey { bytes, caution: None }
    }
}

impl SigningKey {
    /// The key that ground stations make of a passphrase: its SHA-256, as QGroundControl, MAVProxy
    /// and Mission Planner have it.
    pub fn of_passphrase(passphrase: &str) -> SigningKey {
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(digest(&SHA256, passphrase.as_bytes()).as_ref());
        SigningKey::from(bytes)
    }

    /// Reads a key file. 32 bytes are the key itself; 64 hexadecimal digits are the key; any other
    /// line of text is a passphrase ([`SigningKey::of_passphrase`]). A line break at the end of a text
    /// is not part of it.
    ///
    /// # Errors
    /// Why there is no key in it, in words that say what to do.
    pub fn read(path: &Path) -> Result<SigningKey, KeyFileError> {
        let failed = |reason| KeyFileError { path: path.to_path_buf(), reason };
        let file = File::open(path).map_err(|error| failed(error.into()))?;
        let mut content = Vec::new();
        // One byte more shows that there is more.
        let mut whole = (&file).take(FILE_BYTES_MAX as u64 + 1);
        whole.read_to_end(&mut content).map_err(|error| failed(error.into()))?;
        let mut key = SigningKey::parse(&content).map_err(failed)?;
        key.caution = caution(path, &file, &content);
        Ok(key)
    }

    /// What should be said of the file it came from.
    pub(super) fn caution(&self) -> Option<&str> {
        self.caution.as_deref()
    }

    /// For the hash, and for nothing else.
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    fn parse(content: &[u8]) -> Result<SigningKey, Unusable> {
        if let Ok(bytes) = <[u8; KEY_BYTES]>::try_from(content) {
            return Ok(SigningKey::from(bytes));
        }
        if content.len() > FILE_BYTES_MAX {
            return Err(Unusable::Long);
        }
        let text = std::str::from_utf8(content).map_err(|_| Unusable::Binary(content.len()))?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() {
            return Err(Unusable::Empty);
        }
        if line.contains(['\n', '\r']) {
            return Err(Unusable::Lines);
        }
        if line.contains(char::is_control) {
            return Err(Unusable::Binary(content.len()));
        }
        Ok(of_digits(line).unwrap_or_else(|| SigningKey::of_passphrase(line)))
    }
}

/// The key that 64 hexadecimal digits are.
fn of_digits(text: &str) -> Option<SigningKey> {
    if text.len() != KEY_DIGITS {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; KEY_BYTES];
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(SigningKey::from(bytes))
}

/// What is odd about a key file, though it can be used.
fn caution(path: &Path, file: &File, content: &[u8]) -> Option<Arc<str>> {
    let open = file
        .metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & FOREIGN_READ_BITS != 0);
    let place = path.display();
    let readable = open.then(|| {
        format!(
            "the signing key in {place} can be read by others; chmod 600 {place} keeps them out"
        )
    });
    // A random key is text once in 10^13 times.
    let text = content.strip_suffix(b"\n").unwrap_or(content);
    let is_text = text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let twofold = (content.len() == KEY_BYTES && is_text).then(|| {
        let other = match text.len() == content.len() {
            true => "with a line break at its end",
            false => "without the line break at its end",
        };
        format!(
            "{place} has {KEY_BYTES} bytes, which are taken for the key itself; written {other}, it \
             is a passphrase"
        )
    });
    let all: Vec<String> = readable.into_iter().chain(twofold).collect();
    (!all.is_empty()).then(|| all.join("; ").into())
}

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
#[error("no signing key in {}: {reason}", path.display())]
pub struct KeyFileError {
    path: PathBuf,
    reason: Unusable,
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is empty; write 64 hexadecimal digits into it, or a passphrase")]
    Empty,
    #[error("it has more than one line; a passphrase or 64 hexadecimal digits stand in one")]
    Lines,
    #[error(
        "it is longer than {FILE_BYTES_MAX} bytes; it must hold {KEY_BYTES} bytes, 64 hexadecimal \
         digits or a passphrase"
    )]
    Long,
    #[error(
        "it has {0} bytes that are no text; a key has {KEY_BYTES}, and else it is written as 64 \
         hexadecimal digits or a passphrase"
    )]
    Binary(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const DIGITS: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    /// SHA-256 of "mavlink", by sha256sum(1).
    const OF_MAVLINK: &str = "0d5c919e783b88076628ec78fde60cd8378e2a0db83d9fe26fb0273e4350b0b3";

    fn counted() -> [u8; KEY_BYTES] {
        std::array::from_fn(|at| at as u8)
    }

    fn parsed(content: &[u8]) -> [u8; KEY_BYTES] {
        SigningKey::parse(content).unwrap().bytes
    }

    #[test]
    fn thirty_two_bytes_are_the_key_itself() {
        assert_eq!(parsed(&counted()), counted());
        assert_eq!(parsed(&[b'a'; KEY_BYTES]), [b'a'; KEY_BYTES]);
    }

    #[test]
    fn sixty_four_digits_are_the_key_with_and_without_a_line_break() {
        for end in ["", "\n", "\r\n"] {
            assert_eq!(parsed(format!("{DIGITS}{end}").as_bytes()), counted());
        }
    }

    #[test]
    fn any_other_line_is_a_passphrase_as_ground_stations_take_it() {
        let key = of_digits(OF_MAVLINK).unwrap().bytes;
        for end in ["", "\n", "\r\n"] {
            assert_eq!(parsed(format!("mavlink{end}").as_bytes()), key);
        }
        let nearly = &DIGITS[1..];
        assert_eq!(parsed(nearly.as_bytes()), SigningKey::of_passphrase(nearly).bytes);
        assert_ne!(parsed(b" mavlink"), key, "a space is part of it");
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_right_form() {
        let long = "x".repeat(FILE_BYTES_MAX + 1);
        for (content, part) in [
            (&b""[..], "empty"),
            (b"\n", "empty"),
            (b"one\ntwo\n", "one line"),
            (&[0; 31], "31 bytes"),
            (&[0xFF; 64], "64 bytes"),
            (long.as_bytes(), "longer"),
        ] {
            let text = SigningKey::parse(content).unwrap_err().to_string();
            assert!(text.contains(part) && !text.contains("two"), "{text}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_a_reason_to_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, "secret words\n").unwrap();
        let caution_with = |mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            SigningKey::read(&file).unwrap().caution().map(str::to_owned)
        };
        assert_eq!(caution_with(0o600), None);
        assert_eq!(caution_with(0o400), None);
        for mode in [0o640, 0o604, 0o644] {
            let said = caution_with(mode).unwrap();
            assert!(said.contains("chmod 600") && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_text_of_thirty_two_bytes_is_a_reason_to_say_how_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        for (content, part) in [("x".repeat(32), "with a"), ("x".repeat(31) + "\n", "without")] {
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            let key = SigningKey::read(&file).unwrap();
            assert!(key.caution().unwrap().contains(part), "{:?}", key.caution());
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let text = SigningKey::read(Path::new("/no/such/key")).unwrap_err().to_string();
        assert!(text.contains("/no/such/key") && text.contains("No such file"), "{text}");
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = SigningKey::from([0xAB; KEY_BYTES]);
        let shown = format!("{key:?} {key:#?}");
        assert!(!shown.contains("171") && !shown.to_lowercase().contains("ab"), "{shown}");
    }
}
