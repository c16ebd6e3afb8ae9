//! `ls SOURCE[#/path]`: names, one per line; with `-l` sizes and times as well, with `-R` the directories
//! below too, and with `--json` for programs.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Failure, Place, Tally};
use crate::api::Vehicle;
use crate::remote::{Entry, Kind, RemotePath};

/// As wide as the largest size that MAVLink FTP can say (4294967295).
const SIZE_WIDTH: usize = 10;
/// As wide as `2026-11-20 05:58:52Z`.
const TIME_WIDTH: usize = 20;
/// The last second that is shown: 9999-12-31.
const SECONDS_MAX: i64 = 253_402_300_799;

/// What is listed, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory, or a file.
    pub place: Place,
    /// Kind, size and time as well.
    pub long: bool,
    /// The directories below too.
    pub recursive: bool,
    /// For programs.
    pub json: bool,
}

/// Lists a directory, or shows a file's own entry.
pub fn run(options: &Options) -> Result<(), Failure> {
    let Options { place, long, recursive, json } = options;
    let vehicle = place.connect()?;
    let style = Style { long: *long, harmless: io::stdout().is_terminal() };
    let mut listing = Listing { vehicle: &vehicle, recursive: *recursive, tally: Tally::default() };
    if *json {
        let mut rows = Vec::new();
        listing.walk(&place.path, &mut |directory, entries| {
            rows.extend(entries.iter().map(|entry| Row::of(directory, entry)));
            Ok(())
        })?;
        let text = serde_json::to_string_pretty(&rows).map_err(io::Error::from);
        let written = text.and_then(|text| writeln!(io::stdout(), "{text}"));
        written.map_err(Failure::Output)?;
    } else {
        let mut first = true;
        listing.walk(&place.path, &mut |directory, entries| {
            let mut out = io::BufWriter::new(io::stdout().lock());
            if *recursive {
                let gap = if std::mem::take(&mut first) { "" } else { "\n" };
                writeln!(out, "{gap}{}:", style.shown(&directory.to_string()))?;
            }
            entries.iter().try_for_each(|entry| write_entry(&mut out, entry, style))?;
            out.flush()
        })?;
    }
    listing.tally.end()
}

struct Listing<'a> {
    vehicle: &'a Vehicle,
    recursive: bool,
    tally: Tally,
}

/// Told of each directory and what is in it.
type Told<'a> = &'a mut dyn FnMut(&RemotePath, &[Entry]) -> io::Result<()>;

impl Listing<'_> {
    fn walk(&mut self, path: &RemotePath, told: Told<'_>) -> Result<(), Failure> {
        let entries = self.vehicle.list(path)?;
        self.tell(path, &entries, told)
    }

    fn tell(
        &mut self,
        path: &RemotePath,
        entries: &[Entry],
        told: Told<'_>,
    ) -> Result<(), Failure> {
        told(path, entries).map_err(Failure::Output)?;
        let inside = entries.iter().filter(|entry| self.recursive && entry.kind == Kind::Directory);
        for directory in inside.map(|entry| path.join(&entry.name)).collect::<Vec<_>>() {
            let listed = self.vehicle.list_known(&directory).map_err(Failure::from);
            let listed = listed.and_then(|entries| self.tell(&directory, &entries, &mut *told));
            self.tally.count(listed)?;
        }
        Ok(())
    }
}

/// An entry for programs.
#[derive(Debug, Serialize)]
struct Row {
    /// On the far side. What is not UTF-8 has U+FFFD in its place.
    path: String,
    kind: &'static str,
    /// Bytes; nothing for a directory.
    size: Option<u64>,
    /// Seconds since 1970 UTC, where they are known.
    mtime: Option<i64>,
}

impl Row {
    fn of(directory: &RemotePath, entry: &Entry) -> Row {
        // A file that was named itself stands for its own directory.
        let is_itself = directory.name().as_ref() == Some(&entry.name);
        let path = if is_itself && entry.kind == Kind::File {
            directory.clone()
        } else {
            directory.join(&entry.name)
        };
        let (kind, size) = match entry.kind {
            Kind::File => ("file", Some(entry.size)),
            Kind::Directory => ("directory", None),
        };
        Row { path: path.to_string(), kind, size, mtime: entry.mtime }
    }
}

#[derive(Clone, Copy)]
struct Style {
    long: bool,
    /// Control characters become `?`: a vehicle shall not steer our terminal.
    harmless: bool,
}

impl Style {
    fn shown(self, text: &str) -> String {
        // Terminals obey control characters beyond ASCII too.
        text.chars().map(|c| if self.harmless && c.is_control() { '?' } else { c }).collect()
    }
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
        writeln!(out, "{}", style.shown(&entry.name.to_string()))
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
