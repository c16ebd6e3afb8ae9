//! Everything known, behind one lock, and what a piece of evidence about one thing means for the
//! others. Sinks come here from the remote's thread; so there is no remote in here to call, and
//! those who wait are woken after the lock is let go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use event_listener::Event;
use parking_lot::Mutex;

use super::blocks::{BLOCK_BYTES, Block, BlockKey, Blocks, length_within};
use super::fetch::{Flight, Flights};
use super::files::{FileId, Files};
use super::fresh::Asking;
use super::listings::{ListingKey, Listings};
use super::news::{News, NewsQueue};
use super::record::{Evidence, Seen};
use super::{Clock, VolumeId};
use crate::remote::{Entry, Error, Kind, OpId, RemotePath};

/// What the cache and its sinks share.
pub(super) struct Shared {
    pub clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// A local change has ended.
    pub change_ended: Event,
    /// There are news to take.
    pub news_came: Arc<Event>,
}

/// See the module.
pub(super) struct Known {
    pub now: Duration,
    pub blocks: Blocks,
    pub flights: Flights,
    pub files: Files,
    pub listings: Listings,
    /// What we are replacing or removing now, and which change does.
    changing: Vec<(OpId, VolumeId, RemotePath)>,
    pub epochs: HashMap<VolumeId, u64>,
    /// Whether a volume takes names that differ in case only for the same, once asked.
    pub folds: HashMap<VolumeId, bool>,
    /// Every operation begun and not done.
    pub running: HashMap<OpId, VolumeId>,
    /// Operations whose result nobody can use any more.
    abandoned: Vec<(VolumeId, OpId)>,
    /// Questions for the sizes of open files.
    pub asking: HashMap<FileId, Arc<Asking>>,
    pub news: NewsQueue,
    woken: Vec<Arc<Flight>>,
}

impl Shared {
    pub fn new(clock: Arc<dyn Clock>, bytes_max: usize) -> Arc<Shared> {
        let known = Known {
            now: clock.now(),
            blocks: Blocks::new(bytes_max),
            flights: Flights::default(),
            files: Files::new(),
            listings: Listings::new(),
            changing: Vec::new(),
            epochs: HashMap::new(),
            folds: HashMap::new(),
            running: HashMap::new(),
            abandoned: Vec::new(),
            asking: HashMap::new(),
            news: NewsQueue::default(),
            woken: Vec::new(),
        };
        Arc::new(Shared {
            clock,
            known: Mutex::new(known),
            change_ended: Event::new(),
            news_came: Arc::default(),
        })
    }

    /// Works on what is known, then wakes whom that concerns.
    pub fn with<R>(&self, work: impl FnOnce(&mut Known) -> R) -> R {
        let (result, woken, has_news) = {
            let mut known = self.known.lock();
            known.now = self.clock.now();
            let result = work(&mut known);
            (result, std::mem::take(&mut known.woken), !known.news.is_empty())
        };
        if has_news {
            self.news_came.notify(usize::MAX);
        }
        for flight in woken {
            flight.wake();
        }
        result
    }
}

impl Known {
    /// Operations to cancel; each is told once.
    pub fn take_abandoned(&mut self) -> Vec<(VolumeId, OpId)> {
        std::mem::take(&mut self.abandoned)
    }

    /// Takes a page of a listing: notes what it tells of files, and shows what is known better.
    pub fn observe_page(&mut self, key: &ListingKey, op: OpId, entries: &mut [Entry]) {
        // One that a change of ours overtook is no evidence.
        let current = self.listings.is_fetched_by(key, op);
        for entry in entries {
            let path = key.1.join(&entry.name);
            let Some(id) = self.files.at(key.0, &path) else { continue };
            match (entry.kind, current) {
                (Kind::File, true) => {
                    let (seen, now) = (Seen::of(entry), self.now);
                    let evidence = self.files.get(id).map(|record| record.observe(seen, now));
                    self.learn(id, evidence.unwrap_or(Evidence::Same));
                }
                (Kind::Directory, true) => self.orphan(key.0, &path),
                (Kind::File | Kind::Directory, false) => {}
            }
            self.files.overlay(id, entry);
        }
    }

    /// Takes a listing's end: keeps it, unless a change of ours overtook it.
    pub fn listing_ended(&mut self, key: &ListingKey, op: OpId, result: &Result<(), Error>) {
        self.running.remove(&op);
        if !self.listings.is_fetched_by(key, op) {
            return;
        }
        let Some(listing) = self.listings.under_way(key).filter(|_| result.is_ok()) else {
            self.listings.expire(key);
            if let (Err(Error::NotFound | Error::NotADirectory), Some(parent)) =
                (result, key.1.parent())
            {
                self.listings.forget_within(key.0, &key.1);
                self.listings.expire(&(key.0, parent));
            }
            return;
        };
        for (path, id) in self.files.children(key.0, &key.1) {
            let Some(name) = path.name() else { continue };
            let present = listing.edit(|entries| match entries.find(&name).cloned() {
                Some(mut entry) => {
                    // The file may have grown since its page came.
                    self.files.overlay(id, &mut entry);
                    entries.put(entry);
                    true
                }
                None => false,
            });
            if !present {
                self.orphan(key.0, &path);
            }
        }
        if let Some(before) = self.listings.previous(key) {
            self.compare_listings(key, &before, &listing);
        }
        self.listings.keep(key.clone(), listing, self.now);
    }

    /// Takes the size that the far side told to a flight. Answers the size to believe, `None` when
    /// the flight is of a generation gone by.
    pub fn file_opened(&mut self, flight: &Flight, size: u64) -> Option<u64> {
        if flight.end().is_some() {
            // Abandoned: its path may be another file's by now.
            return None;
        }
        let generation = flight.generation;
        self.size_told(flight.file, generation, Some(size));
        let version = self.files.get(flight.file)?.version;
        (version.generation == generation).then_some(version.size)
    }

    /// Takes the size that the far side told when it was asked for it; `None`: it cannot tell.
    pub fn size_told(&mut self, id: FileId, generation: u32, size: Option<u64>) {
        let now = self.now;
        let Some(record) = self.files.get(id) else { return };
        // The size of what may be another file is evidence of nothing before its time is known.
        if record.version.generation == generation && !record.in_doubt {
            let evidence = record.opened(size.unwrap_or(record.version.size), now);
            self.learn(id, evidence);
            self.show(id);
        }
    }

    /// Takes a flight's complete blocks.
    pub fn publish(&mut self, flight: &Flight, blocks: Vec<(u64, Block)>) {
        let Some(record) = self.files.get(flight.file) else { return };
        let (version, volume, path) = (record.version, record.volume, record.path.clone());
        // While we replace the file, bytes may be of the old content or the new; and what a path
        // holds after its file was orphaned is another file's.
        let certain = path.is_some_and(|path| !self.is_changing(volume, &path));
        if version.generation != flight.generation || !certain {
            return;
        }
        let now = self.now;
        for (index, block) in &blocks {
            let compared = self.files.get(flight.file).map(|file| file.compare(*index, block, now));
            if compared == Some(Evidence::Changed) {
                return self.learn(flight.file, Evidence::Changed);
            }
        }
        for (index, block) in blocks {
            let key = flight.key(index);
            let current = self.flights.get(&key).is_some_and(|current| current.id == flight.id);
            if current && block.len() == length_within(index, version.size) {
                self.blocks.insert(key, block);
            }
        }
    }

    /// A flight is over.
    pub fn flight_ended(&mut self, flight: &Flight) {
        self.flights.remove(flight);
        self.running.remove(&flight.id);
    }

    /// Draws the conclusions from evidence about a file that came from the far side, which makes it
    /// news for those who were told otherwise.
    fn learn(&mut self, id: FileId, evidence: Evidence) {
        let from = match evidence {
            Evidence::Same => return,
            Evidence::Grew { from } => from,
            Evidence::Doubtful | Evidence::Changed => 0,
        };
        self.apply(id, evidence);
        let Some(record) = self.files.get(id) else { return };
        if let Some(path) = record.path.clone() {
            self.news.push(News::Content { volume: record.volume, path, from });
        }
    }

    /// Draws the conclusions from evidence about a file.
    pub fn apply(&mut self, id: FileId, evidence: Evidence) {
        match evidence {
            Evidence::Same => {}
            Evidence::Grew { from } => {
                let Some(record) = self.files.get(id).filter(|_| from % BLOCK_BYTES > 0) else {
                    return;
                };
                let (generation, index) = (record.version.generation, from / BLOCK_BYTES);
                let key = BlockKey { file: id, generation, index };
                if let Some(last) = self.blocks.get(&key) {
                    record.note_ending(from, last);
                }
                self.blocks.remove(&key);
            }
            Evidence::Doubtful => {
                self.blocks.forget(id);
                // Who waits for them may have their blocks, nobody else.
                for flight in self.flights.of_file(id) {
                    self.flights.remove(&flight);
                }
            }
            Evidence::Changed => {
                self.blocks.forget(id);
                self.abandon_flights(id, Error::Changed);
            }
        }
    }

    /// Removes what is known of the file at `path`, which is gone from there. Its handles keep the
    /// blocks that are cached.
    pub fn orphan(&mut self, volume: VolumeId, path: &RemotePath) {
        if let Some((id, gone)) = self.files.orphan(volume, path) {
            // What comes from now on may be a newcomer's.
            self.abandon_flights(id, Error::Changed);
            if gone {
                self.blocks.forget(id);
            }
        }
    }

    /// [`Known::orphan`] for everything at and below `path`, and forgets its listings.
    pub fn orphan_within(&mut self, volume: VolumeId, path: &RemotePath) {
        for (path, _) in self.files.within(volume, path) {
            self.orphan(volume, &path);
        }
        self.listings.forget_within(volume, path);
    }

    /// Nothing that was read at or below `path` is good any more.
    pub fn distrust_within(&mut self, volume: VolumeId, path: &RemotePath) {
        let now = self.now;
        for (_, id) in self.files.within(volume, path) {
            if let Some(record) = self.files.get(id) {
                let evidence = record.begin_generation(now);
                self.learn(id, evidence);
            }
        }
    }

    /// Shows a file's size and mtime in its directory's listing.
    pub fn show(&mut self, id: FileId) {
        let Some(record) = self.files.get(id) else { return };
        let (version, volume) = (record.version, record.volume);
        let Some(path) = record.path.clone() else { return };
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return };
        let key = (volume, parent);
        let shown = self.listings.peek(&key, &name);
        let Some(mut entry) = shown.filter(|entry| entry.kind == Kind::File) else { return };
        if (entry.size, entry.mtime) != (version.size, version.mtime)
            && self.listings.has_whole(&key)
        {
            self.files.overlay(id, &mut entry);
            self.listings.edit(&key, |entries| entries.put(entry.clone()));
        }
    }

    /// Forgets a file when there are too many.
    pub fn trim_files(&mut self) {
        if let Some(id) = self.files.trim() {
            self.abandon_flights(id, Error::Changed);
            self.blocks.forget(id);
        }
    }

    /// The change called `id` begins to alter what is at `path`.
    pub fn begin_change(&mut self, id: OpId, volume: VolumeId, path: &RemotePath) {
        self.changing.push((id, volume, path.clone()));
    }

    /// That change is over.
    pub fn end_change(&mut self, id: OpId) {
        self.changing.retain(|(change, _, _)| *change != id);
    }

    /// Whether what is at `path` may be the old content or the new.
    pub fn is_changing(&self, volume: VolumeId, path: &RemotePath) -> bool {
        self.changing.iter().any(|(_, at, changing)| (*at, changing) == (volume, path))
    }

    /// Whether there is reason to believe that `path` is a directory.
    pub fn is_directory(&self, volume: VolumeId, path: &RemotePath) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return true };
        self.listings.has_listed(&(volume, path.clone()))
            || self
                .listings
                .peek(&(volume, parent), &name)
                .is_some_and(|entry| entry.kind == Kind::Directory)
    }

    /// Ends what is on its way of a file, for those who wait with this error.
    pub fn abandon_flights(&mut self, id: FileId, error: Error) {
        for flight in self.flights.of_file(id) {
            flight.end_with(Err(error.clone()));
            self.flights.remove(&flight);
            if let Some(volume) = self.running.get(&flight.id) {
                self.abandoned.push((*volume, flight.id));
            }
            self.woken.push(flight);
        }
    }
}
