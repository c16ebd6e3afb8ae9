//! The bytes of names ↔ the library's text, in the charset of the server. Must not know commands,
//! lines or the connection.

use std::io;

use suppaftp::Encoding;

use super::NameEncoding;
use crate::remote::{Error, Name, RemotePath};

/// Where bytes above ASCII are kept as characters: a private place of Unicode, so that no parser
/// takes one for white space or a digit.
const HIGH_BYTES: u32 = 0xF700;

/// Lets names of any charset pass the library unchanged: one character per byte.
#[derive(Debug, Clone, Copy)]
pub struct Octets;

impl Encoding for Octets {
    fn decode(&self, bytes: &[u8]) -> String {
        text(bytes)
    }
    fn encode(&self, text: &str) -> io::Result<Vec<u8>> {
        Ok(bytes(text))
    }
}

/// What a server's bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charset {
    /// Nobody knows: they are shown and sent as they are.
    #[default]
    Unknown,
    /// UTF-8, and nothing that is not.
    Utf8,
    /// ISO 8859-1; shown as UTF-8.
    Latin1,
}

impl Charset {
    /// What names are in where this was asked for.
    pub fn of(encoding: Option<NameEncoding>) -> Charset {
        match encoding {
            None => Charset::Unknown,
            Some(NameEncoding::Utf8) => Charset::Utf8,
            Some(NameEncoding::Latin1) => Charset::Latin1,
        }
    }

    /// A path as the library takes it. [`Error::Invalid`] where a line break would become a second
    /// command, or a character is not in the charset.
    pub fn command_text(self, path: &RemotePath) -> Result<String, Error> {
        let breaks = path.as_bytes().iter().any(|&byte| byte == b'\r' || byte == b'\n');
        let encoded = self.encode(path.as_bytes()).filter(|_| !breaks);
        encoded.map(|bytes| text(&bytes)).ok_or_else(|| {
            let charset = self.for_people();
            tracing::warn!(%path, "this name cannot be sent: FTP has no line breaks, and {charset}");
            Error::Invalid
        })
    }

    /// A name that the server told; `None` where it is none, or not in the charset.
    pub fn name(self, told: &[u8]) -> Option<Name> {
        let bytes = match self {
            Charset::Unknown => told.to_vec(),
            Charset::Utf8 => std::str::from_utf8(told).ok()?.into(),
            Charset::Latin1 => told.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
        };
        Name::parse(&bytes).ok()
    }

    fn encode(self, path: &[u8]) -> Option<Vec<u8>> {
        match self {
            Charset::Unknown => Some(path.to_vec()),
            Charset::Utf8 => std::str::from_utf8(path).ok().map(|path| path.as_bytes().to_vec()),
            Charset::Latin1 => {
                let characters = std::str::from_utf8(path).ok()?.chars();
                characters.map(|char| u8::try_from(u32::from(char)).ok()).collect()
            }
        }
    }

    fn for_people(self) -> &'static str {
        match self {
            Charset::Unknown => "names may hold anything else",
            Charset::Utf8 => "the server's names are UTF-8",
            Charset::Latin1 => "the server's names are ISO 8859-1",
        }
    }
}

/// Any bytes as the library takes them.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { high(byte) }).collect()
}

fn high(byte: u8) -> char {
    char::from_u32(HIGH_BYTES + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

pub fn bytes(text: &str) -> Vec<u8> {
    let mut buffer = [0; 4];
    text.chars()
        .flat_map(|char| match u32::from(char).checked_sub(HIGH_BYTES) {
            Some(byte @ 0x80..=0xFF) => vec![byte as u8],
            Some(_) | None => char.encode_utf8(&mut buffer).as_bytes().to_vec(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> RemotePath {
        RemotePath::parse(bytes).unwrap()
    }

    #[test]
    fn names_of_any_charset_pass_unchanged() {
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&text(&every)), every);
        assert_eq!(Charset::Unknown.name(b"x\xA0").unwrap().as_bytes(), b"x\xA0");
    }

    #[test]
    fn a_path_with_a_line_break_is_never_sent() {
        let broken = path(b"/a\r\nDELE b");
        for charset in [Charset::Unknown, Charset::Utf8, Charset::Latin1] {
            assert_eq!(charset.command_text(&broken), Err(Error::Invalid));
            assert_eq!(charset.command_text(&path(b"/a b")).as_deref(), Ok("/a b"));
        }
    }

    #[test]
    fn latin_1_names_are_shown_as_utf_8_and_sent_as_they_were() {
        let every: Vec<u8> = (1..=255).filter(|byte| !b"/\r\n".contains(byte)).collect();
        for told in every.chunks(100) {
            let shown = Charset::Latin1.name(told).unwrap();
            let sent = Charset::Latin1.command_text(&RemotePath::root().join(&shown)).unwrap();
            assert_eq!(bytes(&sent)[1..], *told);
        }
        assert_eq!(Charset::Latin1.name(b"\xFCbung").unwrap().to_string(), "übung");
    }

    #[test]
    fn a_name_that_the_charset_does_not_have_is_neither_sent_nor_shown() {
        assert_eq!(Charset::Latin1.command_text(&path("/Ω".as_bytes())), Err(Error::Invalid));
        assert_eq!(Charset::Utf8.command_text(&path(b"/\xFC")), Err(Error::Invalid));
        assert_eq!(Charset::Utf8.name(b"\xFC"), None);
        assert!(Charset::Utf8.command_text(&path("/Ω".as_bytes())).is_ok());
    }
}
