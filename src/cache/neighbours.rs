//! Small files that are read one after the other: who goes through a directory finds the next ones here
//! already, where the far side has room for that beside what somebody waits for.

use std::sync::Arc;

use parking_lot::Mutex;

use super::fetch::Flight;
use super::listings::Entries;
use super::read::OpenFile;
use super::reading::Reading;
use super::{Cache, Volume, VolumeId};
use crate::remote::{Entry, Kind, Name, RemotePath, Status};

/// Larger files are not fetched before somebody opens them.
const SMALL_BYTES_MAX: u64 = 64 << 10;
/// How many files are fetched ahead of the one that is read.
const FILES_AHEAD: usize = 6;
/// So many files must have been read in order before any is fetched ahead.
const STEPS_MIN: u32 = 2;
/// How many programs can go through directories at a time.
const TRAILS_MAX: usize = 4;
/// Directories with more entries than this are not gone through: that would take longer than a request.
const ENTRIES_MAX: usize = 10_000;

/// Where programs are in the directories that they go through, the latest first.
#[derive(Default)]
pub(super) struct Trails(Mutex<Vec<Trail>>);

struct Trail {
    directory: (VolumeId, RemotePath),
    last: Name,
    order: Option<Order>,
    steps: u32,
    /// What is fetched ahead; of no use any more when the program has passed it.
    ahead: Vec<(Name, Vec<Arc<Flight>>)>,
}

/// In which order a program goes through a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As a shell sorts `*`.
    Names,
    /// As the directory lists them.
    Listed,
}

impl Order {
    /// The files that follow a name.
    fn after<'a>(self, entries: &'a Entries, name: &Name, count: usize) -> Vec<&'a Entry> {
        let files = |entry: &&Entry| entry.kind == Kind::File;
        match self {
            Order::Listed => {
                let rest = entries.all().iter().skip_while(|entry| entry.name != *name).skip(1);
                rest.filter(files).take(count).collect()
            }
            Order::Names => {
                let mut next: Vec<&Entry> = Vec::with_capacity(count + 1);
                for entry in entries.all().iter().filter(files).filter(|entry| entry.name > *name) {
                    let at = next.partition_point(|known| known.name < entry.name);
                    if at < count {
                        next.insert(at, entry);
                        next.truncate(count);
                    }
                }
                next
            }
        }
    }
}

impl Trails {
    /// A file is read from its start; which ones to fetch now. And what is passed, to be cancelled with
    /// no lock held.
    fn step(
        &self,
        directory: &(VolumeId, RemotePath),
        name: &Name,
        all: &Entries,
    ) -> (Vec<Entry>, Vec<(VolumeId, Arc<Flight>)>) {
        let mut trails = self.0.lock();
        let follows = |trail: &Trail, order: Order| {
            order.after(all, &trail.last, 1).first().is_some_and(|entry| entry.name == *name)
        };
        let found = trails.iter().position(|trail| {
            let is_here = trail.directory == *directory;
            is_here
                && (trail.last == *name || trail.order_by(|order| follows(trail, order)).is_some())
        });
        let mut trail = match found {
            Some(at) => trails.remove(at),
            None => Trail::new(directory.clone(), name.clone()),
        };
        if trail.last != *name {
            trail.order = trail.order_by(|order| follows(&trail, order));
            trail.steps += 1;
            trail.last = name.clone();
        }
        let next = match trail.order.filter(|_| trail.steps >= STEPS_MIN) {
            Some(order) => order.after(all, name, FILES_AHEAD),
            None => Vec::new(),
        };
        let is_next = |(name, _): &(Name, _)| next.iter().any(|entry| entry.name == *name);
        let (ahead, passed) = std::mem::take(&mut trail.ahead).into_iter().partition(is_next);
        trail.ahead = ahead;
        let is_new = |entry: &&Entry| trail.ahead.iter().all(|(name, _)| *name != entry.name);
        let is_small = |entry: &&Entry| (1..=SMALL_BYTES_MAX).contains(&entry.size);
        let wanted = next.into_iter().filter(is_small).filter(is_new).cloned().collect();
        trails.insert(0, trail);
        let kept = trails.len().min(TRAILS_MAX);
        let cold = trails.split_off(kept);
        let passed: Vec<(Name, Vec<Arc<Flight>>)> = passed;
        let passed = passed.into_iter().map(|(_, flights)| (directory.0, flights));
        let cold = cold.into_iter().flat_map(|trail| {
            trail.ahead.into_iter().map(move |(_, flights)| (trail.directory.0, flights))
        });
        let flights = passed
            .chain(cold)
            .flat_map(|(volume, flights)| flights.into_iter().map(move |flight| (volume, flight)));
        (wanted, flights.collect())
    }

    fn keep(&self, directory: &(VolumeId, RemotePath), name: Name, flights: Vec<Arc<Flight>>) {
        let mut trails = self.0.lock();
        if let Some(trail) = trails.iter_mut().find(|trail| trail.directory == *directory) {
            trail.ahead.push((name, flights));
        }
    }
}

impl Trail {
    fn new(directory: (VolumeId, RemotePath), last: Name) -> Trail {
        Trail { directory, last, order: None, steps: 0, ahead: Vec::new() }
    }

    /// The order in which something holds: the one that was found before, else either.
    fn order_by(&self, holds: impl Fn(Order) -> bool) -> Option<Order> {
        let orders = [Order::Names, Order::Listed];
        orders
            .into_iter()
            .find(|order| self.order.is_none_or(|known| known == *order) && holds(*order))
    }
}

impl Cache {
    /// A file is read from its start: fetches the small files that a program is likely to read next, if
    /// it goes through the directory. Never waits.
    pub(super) fn fetch_neighbours(&self, file: &OpenFile, volume: &Volume, status: &Status) {
        let is_wanted = self.options.read_ahead_bytes > 0;
        if !is_wanted || !status.has_room || !status.up || status.armed {
            return;
        }
        let time = self.options.directory_time;
        let found = self.with(|known| {
            let path = known.files.get(file.id)?.path.clone()?;
            let directory = (file.volume, path.parent()?);
            let listing = known.listings.current(&directory, known.now, time)?;
            Some((directory, path.name()?, listing))
        });
        let Some((directory, name, listing)) = found.filter(|(.., all)| all.is_complete()) else {
            return;
        };
        let (next, passed) = listing.edit(|all| match all.all().len() > ENTRIES_MAX {
            true => Default::default(),
            false => self.trails.step(&directory, &name, all),
        });
        for (volume, flight) in passed.iter().filter(|(_, flight)| flight.is_idle()) {
            if let Ok(volume) = self.volume(*volume) {
                volume.remote.cancel(flight.id);
            }
        }
        for entry in next {
            let path = directory.1.join(&entry.name);
            // Open for no longer than this: what somebody has open is believed for longer.
            let file = self.open(file.volume, &path, &entry);
            let flights = self.with(|known| Reading::new(&file, 0..entry.size).begin_ahead(known));
            flights.iter().for_each(|flight| self.send_flight(volume, flight));
            self.trails.keep(&directory, entry.name, flights);
        }
    }
}
