//! Directory listings as they were when a client began to page through them, so that its pages
//! agree. Knows entries, and takes time and the way to list as arguments.

use std::time::{Duration, Instant};

use super::files::LISTING_ENTRIES_MAX;
use super::path::ServedPath;
use crate::mavftp::wire::{DATA_BYTES_MAX, Nak, WireEntry, encode_entry};

/// How long a listing is kept after its last page was asked for.
const SNAPSHOT_TIME: Duration = Duration::from_secs(5);
/// Most listings kept for one client.
const CLIENT_SNAPSHOTS_MAX: usize = 4;
/// Most entries kept for all clients, the newest listing aside.
const ENTRIES_MAX: usize = 2 * LISTING_ENTRIES_MAX;

/// All listings under way, the latest used last.
pub(super) struct Snapshots<C> {
    kept: Vec<Snapshot<C>>,
}

struct Snapshot<C> {
    client: C,
    path: ServedPath,
    used: Instant,
    entries: Vec<WireEntry>,
}

impl<C: Copy + Ord> Snapshots<C> {
    /// None yet.
    pub(super) fn new() -> Snapshots<C> {
        Snapshots { kept: Vec::new() }
    }

    /// The entries from the index `offset` on, as many as a packet holds. The first page is always
    /// listed anew, so that who lists again sees what has changed.
    pub(super) fn page(
        &mut self,
        now: Instant,
        client: C,
        path: &ServedPath,
        (offset, with_time): (u32, bool),
        list: impl FnOnce() -> Result<Vec<WireEntry>, Nak>,
    ) -> Result<Vec<u8>, Nak> {
        self.kept.retain(|kept| now.saturating_duration_since(kept.used) <= SNAPSHOT_TIME);
        let known = self.kept.iter().position(|kept| kept.client == client && kept.path == *path);
        let known = known.map(|index| self.kept.remove(index)).filter(|_| offset > 0);
        let snapshot = match known {
            Some(snapshot) => Snapshot { used: now, ..snapshot },
            None => {
                let mut entries = list()?;
                entries.sort_by(|one, other| one.name.cmp(&other.name));
                entries.truncate(LISTING_ENTRIES_MAX);
                self.make_room(client, entries.len());
                Snapshot { client, path: path.clone(), used: now, entries }
            }
        };
        let page = page_of(&snapshot.entries, offset, with_time);
        self.kept.push(snapshot);
        if page.is_empty() { Err(Nak::Eof) } else { Ok(page) }
    }

    fn make_room(&mut self, client: C, coming: usize) {
        let of_client = self.kept.iter().filter(|kept| kept.client == client).count();
        if of_client >= CLIENT_SNAPSHOTS_MAX
            && let Some(oldest) = self.kept.iter().position(|kept| kept.client == client)
        {
            self.kept.remove(oldest);
        }
        let mut total: usize = coming + self.entries();
        while total > ENTRIES_MAX && !self.kept.is_empty() {
            total -= self.kept.remove(0).entries.len();
        }
    }

    /// Entries kept.
    pub(super) fn entries(&self) -> usize {
        self.kept.iter().map(|kept| kept.entries.len()).sum()
    }

    /// Drops a client's listings.
    pub(super) fn forget(&mut self, client: C) {
        self.kept.retain(|kept| kept.client != client);
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }
}

fn page_of(entries: &[WireEntry], offset: u32, with_time: bool) -> Vec<u8> {
    let mut page = Vec::with_capacity(DATA_BYTES_MAX);
    for entry in entries.iter().skip(offset as usize) {
        let text = encode_entry(entry, with_time);
        if page.len() + text.len() > DATA_BYTES_MAX {
            break;
        }
        page.extend_from_slice(&text);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: usize) -> Vec<WireEntry> {
        let name = |index: usize| format!("file-{index:05}").into_bytes();
        let entry = |index| WireEntry { name: name(index), directory: false, size: 1, mtime: None };
        (0..count).rev().map(entry).collect()
    }

    fn path(name: &str) -> ServedPath {
        ServedPath::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn later_pages_come_from_the_listing_the_first_came_from() {
        let now = Instant::now();
        let mut snapshots = Snapshots::new();
        let first = snapshots.page(now, 1, &path("d"), (0, false), || Ok(entries(100))).unwrap();
        let count = first.iter().filter(|byte| **byte == 0).count() as u32;
        let never = || panic!("listed again");
        let second = snapshots.page(now, 1, &path("d"), (count, false), never).unwrap();
        assert!(second.starts_with(format!("Ffile-{count:05}\t1\0").as_bytes()));
        let later = now + SNAPSHOT_TIME + Duration::from_millis(1);
        let again = snapshots.page(later, 1, &path("d"), (count, false), || Ok(entries(0)));
        assert_eq!(again, Err(Nak::Eof));
    }

    #[test]
    fn the_first_page_is_always_listed_anew() {
        let now = Instant::now();
        let mut snapshots = Snapshots::new();
        snapshots.page(now, 1, &path("d"), (0, false), || Ok(entries(1))).unwrap();
        let page = snapshots.page(now, 1, &path("d"), (0, false), || Ok(entries(2))).unwrap();
        assert_eq!(page, b"Ffile-00000\t1\0Ffile-00001\t1\0");
    }

    #[test]
    fn what_is_kept_is_bounded_for_one_and_for_all() {
        let now = Instant::now();
        let mut snapshots = Snapshots::new();
        for index in 0..20 {
            let path = path(&index.to_string());
            snapshots.page(now, 1, &path, (0, false), || Ok(entries(1))).unwrap();
        }
        assert_eq!(snapshots.kept.len(), CLIENT_SNAPSHOTS_MAX);
        for client in 0..10 {
            let list = || Ok(entries(LISTING_ENTRIES_MAX + 5));
            snapshots.page(now, client, &path("d"), (0, false), list).unwrap();
            assert!(snapshots.entries() <= ENTRIES_MAX);
        }
    }
}
