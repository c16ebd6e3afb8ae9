//! Lines of MLSD and LIST → entries, and the bytes of names ↔ the library's text. A line that does
//! not parse is left out, never the whole listing. Must not know the connection.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};
use std::time::UNIX_EPOCH;

use suppaftp::Encoding;
use suppaftp::list::{File, ListParser};

use crate::remote::{Entry, Kind, Name, RemotePath, SIZE_MAX};

/// Entries handed out at once.
const PAGE_ENTRIES: usize = 128;
/// Longest line of a listing: a name of 255 bytes and generous facts.
const LINE_BYTES_MAX: u64 = 4096;
/// Where bytes above ASCII are kept as characters: a private place of Unicode, so that no parser
/// takes one for white space or a digit.
const HIGH_BYTES: u32 = 0xF700;

/// Which command wrote the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Facts made for programs (RFC 3659).
    Mlsd,
    /// What `ls -l`, or DOS, shows to people.
    List,
}

/// Reads lines to the end, hands entries to `page`, and returns how many there were.
pub fn read_pages(
    mut lines: impl BufRead,
    style: Style,
    page: &mut dyn FnMut(Vec<Entry>),
) -> io::Result<u64> {
    let (mut seen, mut entries, mut line) = (BTreeSet::new(), Vec::new(), Vec::new());
    loop {
        line.clear();
        let count = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if count as u64 == LINE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match parse(&line, style) {
            Some(entry) if seen.insert(entry.name.clone()) => entries.push(entry),
            Some(_) => {}
            None if line.is_empty() => {}
            None => tracing::debug!(line = %line.escape_ascii(), "left out of the listing"),
        }
        if !entries.is_empty() && (count == 0 || entries.len() == PAGE_ENTRIES) {
            page(std::mem::take(&mut entries));
        }
        if count == 0 {
            return Ok(seen.len() as u64);
        }
    }
}

fn parse(line: &[u8], style: Style) -> Option<Entry> {
    let line = text(line.trim_ascii_end());
    let file = match style {
        Style::Mlsd if is_the_directory_itself(&line) => return None,
        Style::Mlsd => ListParser::parse_mlsd(&line).ok()?,
        Style::List => {
            ListParser::parse_posix(&line).or_else(|_| ListParser::parse_dos(&line)).ok()?
        }
    };
    let kind = match (file.is_directory(), file.is_file()) {
        (true, _) => Kind::Directory,
        (_, true) => Kind::File,
        // A symbolic link does not say what it leads to.
        _ => return None,
    };
    let size = if kind == Kind::File { (file.size() as u64).min(SIZE_MAX) } else { 0 };
    Some(Entry {
        name: Name::parse(&bytes(file.name())).ok()?,
        kind,
        size,
        mtime: mtime(&file, style),
    })
}

fn is_the_directory_itself(line: &str) -> bool {
    let facts = line.split("; ").next().unwrap_or_default().to_ascii_lowercase();
    facts.split(';').any(|fact| matches!(fact, "type=cdir" | "type=pdir"))
}

/// MLSD has UTC; LIST has minutes of a time zone that nobody tells, which is worse than nothing.
fn mtime(file: &File, style: Style) -> Option<i64> {
    let since = file.modified().duration_since(UNIX_EPOCH).ok()?.as_secs();
    match style {
        // The parser's zero stands for a fact that was not there.
        Style::Mlsd if since > 0 => i64::try_from(since).ok(),
        Style::Mlsd | Style::List => None,
    }
}

/// Lets names of any charset pass unchanged: one character per byte.
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

/// A path as the library takes it; `None` where a line break would become a second command.
pub fn command_text(path: &RemotePath) -> Option<String> {
    let breaks = path.as_bytes().iter().any(|&byte| byte == b'\r' || byte == b'\n');
    (!breaks).then(|| text(path.as_bytes()))
}

/// Any bytes as the library takes them.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { high(byte) }).collect()
}

fn high(byte: u8) -> char {
    char::from_u32(HIGH_BYTES + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn bytes(text: &str) -> Vec<u8> {
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

    fn entries(lines: &[u8], style: Style) -> Vec<(String, Kind, u64, Option<i64>)> {
        let mut all = Vec::new();
        read_pages(lines, style, &mut |page| all.extend(page)).unwrap();
        let entry =
            |e: Entry| (e.name.as_bytes().escape_ascii().to_string(), e.kind, e.size, e.mtime);
        all.into_iter().map(entry).collect()
    }

    #[test]
    fn machine_listings_give_size_and_time_and_leave_the_directory_out() {
        let lines = b"type=cdir;modify=20200101000000; logs\r\n\
            type=pdir; ..\r\n\
            Type=dir;Modify=20200101000000; sub dir\r\n\
            type=file;size=12;modify=20200101000001; a;b.txt\r\n\
            type=file;size=7; no time\r\n";
        let expected = [
            ("sub dir".into(), Kind::Directory, 0, Some(1_577_836_800)),
            ("a;b.txt".into(), Kind::File, 12, Some(1_577_836_801)),
            ("no time".into(), Kind::File, 7, None),
        ];
        assert_eq!(entries(lines, Style::Mlsd), expected);
    }

    #[test]
    fn lines_that_do_not_parse_or_lead_elsewhere_are_left_out() {
        let lines = b"total 4\r\n\
            drwxr-xr-x  2 me us 4096 Nov 05 2018 sub\r\n\
            -rw-r--r--  1 me us   12 Nov 05 2018 a b\r\n\
            -rw-r--r--  1 me us   12 Nov 05 2018 a b\r\n\
            -rw-r--r--  1 me us   12 Nov 05 2018 ../etc\r\n\
            lrwxrwxrwx  1 me us   12 Nov 05 2018 link -> a\r\n";
        let expected =
            [("sub".into(), Kind::Directory, 0, None), ("a b".into(), Kind::File, 12, None)];
        assert_eq!(entries(lines, Style::List), expected);
    }

    #[test]
    fn names_of_any_charset_pass_unchanged() {
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&text(&every)), every);
        // Latin-1's no-break space, and the same byte inside UTF-8, at the end of a name.
        let found =
            entries(b"type=file;size=1; \xC3\xA0\r\ntype=file;size=1; x\xA0\r\n", Style::Mlsd);
        let names: Vec<&str> = found.iter().map(|(name, ..)| &name[..]).collect();
        assert_eq!(names, ["\\xc3\\xa0", "x\\xa0"]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let line = vec![b'x'; 2 * LINE_BYTES_MAX as usize];
        assert!(read_pages(&line[..], Style::List, &mut |_| {}).is_err());
    }

    #[test]
    fn a_path_with_a_line_break_is_never_sent() {
        assert!(command_text(&RemotePath::parse(b"/a\r\nDELE b").unwrap()).is_none());
        assert_eq!(command_text(&RemotePath::parse(b"/a b").unwrap()).as_deref(), Some("/a b"));
    }
}
