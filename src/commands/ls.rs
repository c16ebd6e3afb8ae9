//! `ls SOURCE[#/path]`: names, one per line; with `-l` sizes and times as well.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Failure, Place};
use crate::remote::{Entry, Kind};

/// As wide as the largest size that MAVLink FTP can say (4294967295).
const SIZE_WIDTH: usize = 10;
/// As wide as `2026-11-20 05:58:52Z`.
const TIME_WIDTH: usize = 20;
/// The last second that is shown: 9999-12-31.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Lists a directory, or shows a file's own entry.
pub fn run(place: &Place, long: bool) -> Result<(), Failure> {
    let entries = place.connect()?.list(&place.path)?;
    let style = Style { long, harmless: io::stdout().is_terminal() };
    let mut out = io::BufWriter::new(io::stdout().lock());
    entries
        .iter()
        .try_for_each(|entry| write_entry(&mut out, entry, style))
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

#[derive(Clone, Copy)]
struct Style {
    long: bool,
    /// Control characters become `?`: a vehicle shall not steer our terminal.
    harmless: bool,
}

fn write_entry(out: &mut dyn Write, entry: &Entry, style: Style) -> io::Result<()> {
    if style.long {
        let kind = match entry.kind {
            Kind::Directory => 'd',
            Kind::File => '-',
        };
        let time = entry.mtime.and_then(shown).unwrap_or_else(|| "-".into());
        write!(out, "{kind} {:>SIZE_WIDTH$} {time:<TIME_WIDTH$} ", entry.size)?;
    }
    if style.harmless {
        // Terminals obey control characters beyond ASCII too.
        let harmless = |c: char| if c.is_control() { '?' } else { c };
        writeln!(out, "{}", entry.name.to_string().chars().map(harmless).collect::<String>())
    } else {
        out.write_all(entry.name.as_bytes())?;
        out.write_all(b"\n")
    }
}

/// UTC, to the second; `None` for a time that no vehicle can mean.
pub(super) fn shown(mtime: i64) -> Option<String> {
    let seconds = u64::try_from(mtime).ok().filter(|_| mtime <= SECONDS_MAX)?;
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    Some(humantime::format_rfc3339_seconds(time).to_string().replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Name;

    fn line(entry: Entry, style: Style) -> String {
        let mut out = Vec::new();
        write_entry(&mut out, &entry, style).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn file(name: &str, mtime: Option<i64>) -> Entry {
        let name = Name::parse(name.as_bytes()).unwrap();
        Entry { name, kind: Kind::File, size: 1234, mtime }
    }

    const SHORT: Style = Style { long: false, harmless: false };
    const LONG: Style = Style { long: true, harmless: false };

    #[test]
    fn a_short_line_is_the_name() {
        assert_eq!(line(file("log 1.ulg", None), SHORT), "log 1.ulg\n");
    }

    #[test]
    fn a_long_line_shows_size_and_time_where_they_are_known() {
        let known = line(file("a", Some(1_700_000_000)), LONG);
        assert_eq!(known, "-       1234 2023-11-14 22:13:20Z a\n");
        let unknown = line(file("a", None), LONG);
        assert_eq!(unknown, "-       1234 -                    a\n");
        let directory = Entry { kind: Kind::Directory, size: 0, ..file("d", None) };
        assert!(line(directory, LONG).starts_with("d          0 "));
    }

    #[test]
    fn a_name_cannot_steer_a_terminal() {
        let style = Style { long: false, harmless: true };
        assert_eq!(line(file("\x1b[2Jx", None), style), "?[2Jx\n");
        assert_eq!(line(file("\u{9b}2Jgröße", None), style), "?2Jgröße\n");
        assert_eq!(line(file("\x1b[2Jx", None), SHORT), "\x1b[2Jx\n");
    }

    #[test]
    fn a_time_that_cannot_be_shown_is_left_out() {
        for mtime in [-1, i64::MIN, i64::MAX, SECONDS_MAX + 1] {
            assert_eq!(shown(mtime), None);
        }
        assert_eq!(shown(SECONDS_MAX).as_deref(), Some("9999-12-31 23:59:59Z"));
    }
}
