//! How fast a file comes: looks for one, and reads a piece of it. Must not know who asks.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::mavftp::client::{Error, Event, Op};
use crate::mavftp::hub::Target;
use crate::mavftp::wire::PATH_BYTES_MAX;
use crate::remote::survey::{
    DIRECTORIES_MAX, ENOUGH_BYTES, READ_BYTES_MAX, READ_TIME_MAX, ReadRate, Reading,
};
use crate::remote::{Entry, Kind, Name, RemotePath};

use super::super::translate;
use super::asking::{self, Asking};
use super::{ENTRIES_ENOUGH, Look, PATIENCE};

/// How long a file is looked for.
const SEARCH: Duration = Duration::from_secs(3);
/// Where files are likely, in the order of servers and their logs.
const LIKELY: [&[u8]; 6] = [b"fs", b"microsd", b"apm", b"log", b"logs", b"etc"];
/// Where a file is a device, or made when it is read.
const UNLIKELY: [&[u8]; 5] = [b"dev", b"proc", b"sys", b"obj", b"bin"];

impl Look<'_> {
    /// Measures, or says why not.
    pub(super) fn read(&mut self, target: Target, root: Vec<Entry>) -> io::Result<Reading> {
        if self.is_armed(target) {
            return Ok(Reading::LeftOut("it is armed".into()));
        }
        let Some((path, _)) = self.look_for_file(target, root)? else {
            let looked = "no file was found in the first directories".into();
            return Ok(Reading::LeftOut(looked));
        };
        let (mut opened, mut last, mut bytes) = (None, None, 0);
        let op = translate::op(&crate::remote::Op::Read {
            path: path.clone(),
            offset: 0,
            length: u64::from(READ_BYTES_MAX),
            expected: None,
        });
        let op = match op {
            Ok(op) => op,
            Err(error) => return Ok(Reading::LeftOut(error.to_string())),
        };
        let asking = Asking { patience: PATIENCE, until: Instant::now() + READ_TIME_MAX };
        let ended = self.ask(vec![(target, op)], asking, &mut |_, event| {
            if let Event::Data(_, _, _, range) = event {
                bytes += range.len() as u64;
                last = Some(Instant::now());
            }
            if let Event::Opened(..) = event {
                opened = Some(Instant::now());
            }
            false
        })?;
        let time = opened.zip(last).map(|(opened, last)| last.saturating_duration_since(opened));
        let rate = time.and_then(|time| ReadRate::of(path.to_string(), bytes, time));
        Ok(match rate {
            Some(rate) => Reading::Measured(rate),
            None => Reading::LeftOut(why_not(&path, ended.into_iter().find_map(|(_, r)| r.err()))),
        })
    }

    /// The largest file of the first directories, and its size.
    fn look_for_file(
        &mut self,
        target: Target,
        root: Vec<Entry>,
    ) -> io::Result<Option<(RemotePath, u64)>> {
        let until = Instant::now() + SEARCH;
        let mut directories = VecDeque::new();
        let mut best = None;
        take(&RemotePath::root(), &root, &mut directories, &mut best);
        for _ in 0..DIRECTORIES_MAX {
            let enough = best.as_ref().is_some_and(|(_, size)| *size >= ENOUGH_BYTES);
            let Some(directory) = directories.pop_front() else { break };
            if enough || Instant::now() >= until || (self.stopped)() {
                break;
            }
            let mut entries = Vec::new();
            let op = Op::List { path: directory.as_bytes().to_vec() };
            let asking = Asking { patience: PATIENCE, until };
            self.ask(vec![(target, op)], asking, &mut |_, event| {
                entries.extend(asking::entries(event));
                entries.len() >= ENTRIES_ENOUGH
            })?;
            take(&directory, &entries, &mut directories, &mut best);
        }
        Ok(best)
    }
}

/// Takes in a listing: directories to look into, likely ones first, and a larger file than before.
fn take(
    directory: &RemotePath,
    entries: &[Entry],
    directories: &mut VecDeque<RemotePath>,
    best: &mut Option<(RemotePath, u64)>,
) {
    for entry in entries {
        let path = directory.join(&entry.name);
        // Virtual files have no size of their own.
        let usable = path.as_bytes().len() <= PATH_BYTES_MAX && !is_virtual(&entry.name);
        match entry.kind {
            Kind::Directory if usable && is_named(&entry.name, &LIKELY) => {
                directories.push_front(path);
            }
            Kind::Directory if usable && !is_named(&entry.name, &UNLIKELY) => {
                directories.push_back(path);
            }
            Kind::File if usable && entry.size > best.as_ref().map_or(0, |(_, size)| *size) => {
                *best = Some((path, entry.size));
            }
            Kind::Directory | Kind::File => {}
        }
    }
}

fn is_virtual(name: &Name) -> bool {
    name.as_bytes().starts_with(b"@")
}

fn is_named(name: &Name, names: &[&[u8]]) -> bool {
    names.iter().any(|known| name.as_bytes().eq_ignore_ascii_case(known))
}

fn why_not(path: &RemotePath, error: Option<Error>) -> String {
    match error {
        Some(Error::Cancelled) | None => format!("{path} gave no bytes in time"),
        Some(error) => format!("{path}: {}", translate::error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: Kind, size: u64) -> Entry {
        Entry { name: Name::parse(name.as_bytes()).unwrap(), kind, size, mtime: None }
    }

    #[test]
    fn the_largest_file_and_likely_directories_are_taken() {
        let (mut directories, mut best) = (VecDeque::new(), None);
        let listing = [
            entry("other", Kind::Directory, 0),
            entry("dev", Kind::Directory, 0),
            entry("@SYS", Kind::Directory, 0),
            entry("LOGS", Kind::Directory, 0),
            entry("empty", Kind::File, 0),
            entry("small", Kind::File, 10),
            entry("large", Kind::File, 20),
            entry("@virtual", Kind::File, 30),
        ];
        take(&RemotePath::root(), &listing, &mut directories, &mut best);
        let shown: Vec<String> = directories.iter().map(RemotePath::to_string).collect();
        assert_eq!(shown, ["/LOGS", "/other"]);
        assert_eq!(best, Some((RemotePath::parse(b"/large").unwrap(), 20)));
    }
}
