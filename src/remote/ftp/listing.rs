//! The lines of a listing, read to their end: names once each, in pages; what cannot be parsed is left
//! out and counted, never the whole listing. Must not know the connection.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};
use std::time::{SystemTime, UNIX_EPOCH};

use super::charset::Charset;
use super::lines::{self, Line, Named, Told, What};
use super::times::Zone;
use crate::remote::{Entry, Kind, Name};

/// Lines handed out at once.
const PAGE_LINES: usize = 128;
/// More names than this are no directory, but a server that never ends.
const NAMES_MAX: usize = 1_000_000;
/// Longest line of a listing: a name of 255 bytes and generous facts.
const LINE_BYTES_MAX: u64 = 4096;

/// Which command wrote the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Facts made for programs (RFC 3659).
    Mlsd,
    /// What `ls -l`, or DOS, shows to people.
    List,
}

/// One name of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The name.
    pub name: Name,
    /// What it stands for.
    pub what: What,
    /// Its last change.
    pub time: Option<Told>,
}

impl Seen {
    /// The entry that it is in a listing with times of this zone; `None` for a link.
    pub fn entry(self, zone: Zone) -> Option<Entry> {
        let (kind, size) = match self.what {
            What::File(size) => (Kind::File, size),
            What::Directory => (Kind::Directory, 0),
            What::Link => return None,
        };
        let mtime = self.time.and_then(|told| zone.utc(told));
        Some(Entry { name: self.name, kind, size, mtime })
    }

    /// The minute that LIST shows of a file, from which its zone can be learned.
    pub fn minute(&self) -> Option<i64> {
        match (self.what, self.time?) {
            (What::File(_), Told::Minute(minute)) => Some(minute),
            (What::File(_), Told::Utc(_) | Told::Day(_)) => None,
            (What::Directory | What::Link, _) => None,
        }
    }
}

/// Lines that were read.
pub struct Reading {
    style: Style,
    charset: Charset,
    now: i64,
    seen: BTreeSet<Name>,
    /// What nobody has had yet.
    page: Vec<Seen>,
    /// Symbolic links, which no page has.
    pub links: Vec<Seen>,
    /// Lines that say nothing known, or a name that will not do.
    pub left_out: usize,
    /// The server named the directory itself: it is one.
    pub is_directory: bool,
}

impl Reading {
    /// Nothing read so far.
    pub fn new(style: Style, charset: Charset) -> Reading {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (now, seen) = (i64::try_from(now.as_secs()).unwrap_or_default(), BTreeSet::new());
        let (page, links) = (Vec::new(), Vec::new());
        Reading { style, charset, now, seen, page, links, left_out: 0, is_directory: false }
    }

    /// Reads lines to the end, hands full pages to `pass`, and keeps the rest. Answers how many names
    /// there were.
    pub fn read(
        &mut self,
        mut lines: impl BufRead,
        pass: &mut dyn FnMut(Vec<Seen>),
    ) -> io::Result<u64> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if count as u64 == LINE_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if count == 0 {
                return Ok(self.seen.len() as u64);
            }
            self.take(&line);
            if self.seen.len() > NAMES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.page.len() == PAGE_LINES {
                pass(std::mem::take(&mut self.page));
            }
        }
    }

    /// What no page has had.
    pub fn rest(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.page)
    }

    /// Whether all that was listed could be the file at this path, and not what is in a directory: some
    /// servers list a file so, and some have nothing to say of what is not there.
    pub fn is_doubtful(&self, path: Option<&Name>) -> bool {
        let names = self.seen.len();
        let is_itself = || path.is_some_and(|name| self.seen.contains(name));
        !self.is_directory && self.style == Style::Mlsd && (names == 0 || names == 1 && is_itself())
    }

    fn take(&mut self, line: &[u8]) {
        // Only what ends a line: blanks before it are a name's.
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        let parsed = match self.style {
            _ if bare.is_empty() => Line::Nothing,
            Style::Mlsd => lines::mlsd(bare),
            Style::List => lines::list(bare, self.now),
        };
        match parsed {
            Line::Named(Named { name, what, time }) => match self.charset.name(name) {
                Some(name) => self.put(Seen { name, what, time }),
                None => self.leave_out(bare),
            },
            Line::Itself => self.is_directory = true,
            Line::Nothing => {}
            Line::Unknown => self.leave_out(bare),
        }
    }

    fn put(&mut self, seen: Seen) {
        if !self.seen.insert(seen.name.clone()) {
            return;
        }
        match seen.what {
            What::Link => self.links.push(seen),
            What::File(_) | What::Directory => self.page.push(seen),
        }
    }

    fn leave_out(&mut self, line: &[u8]) {
        tracing::debug!(line = %line.escape_ascii(), "left out of the listing");
        self.left_out += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[u8], style: Style) -> (Vec<(String, What)>, Reading) {
        let (mut all, mut reading) = (Vec::new(), Reading::new(style, Charset::Unknown));
        reading.read(lines, &mut |page| all.extend(page)).unwrap();
        all.extend(reading.rest());
        let shown = |seen: Seen| (seen.name.as_bytes().escape_ascii().to_string(), seen.what);
        (all.into_iter().map(shown).collect(), reading)
    }

    #[test]
    fn lines_that_do_not_parse_are_left_out_and_counted() {
        let lines = b"total 4\r\n\
            drwxr-xr-x  2 me us 4096 Nov 05 2018 sub\r\n\
            -rw-r--r--  1 me us   12 Nov 05 2018 a b\r\n\
            -rw-r--r--  1 me us   12 Nov 05 2018 a b\r\n\
            -rw-r--r--  1 me us   12 Nov 05 2018 ../etc\r\n\
            something else\r\n\
            \r\n\
            lrwxrwxrwx  1 me us   12 Nov 05 2018 link -> a\r\n";
        let (names, reading) = read(lines, Style::List);
        assert_eq!(names, [("sub".into(), What::Directory), ("a b".into(), What::File(12))]);
        assert_eq!((reading.left_out, reading.links.len()), (2, 1));
    }

    #[test]
    fn names_of_any_charset_pass_unchanged() {
        // Latin-1's no-break space, and the same byte inside UTF-8, at the end of a name.
        let lines = b"type=file;size=1; \xC3\xA0\r\ntype=file;size=1; x\xA0\r\n";
        let names: Vec<String> = read(lines, Style::Mlsd).0.into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["\\xc3\\xa0", "x\\xa0"]);
    }

    #[test]
    fn a_listing_that_could_be_of_a_file_is_doubtful() {
        let name = Name::parse(b"a").unwrap();
        for (lines, doubtful) in [
            ("", true),
            ("type=file; a\r\n", true),
            ("type=file; b\r\n", false),
            ("type=cdir; /a\r\n", false),
            ("type=cdir; /a\r\ntype=file; a\r\n", false),
            ("type=file; a\r\ntype=file; b\r\n", false),
        ] {
            let (_, reading) = read(lines.as_bytes(), Style::Mlsd);
            assert_eq!(reading.is_doubtful(Some(&name)), doubtful, "{lines}");
        }
        assert!(!read(b"", Style::List).1.is_doubtful(Some(&name)), "CWD has told");
    }

    #[test]
    fn an_endless_line_is_refused() {
        let line = vec![b'x'; 2 * LINE_BYTES_MAX as usize];
        let mut reading = Reading::new(Style::List, Charset::Unknown);
        assert!(reading.read(&line[..], &mut |_| {}).is_err());
    }
}
