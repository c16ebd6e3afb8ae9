//! Listings: one as its pages arrive, and the ones kept. Knows neither files' versions nor remotes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use event_listener::Event;
use lru::LruCache;
use parking_lot::Mutex;

use super::VolumeId;
use super::known::Shared;
use super::spelling::are_alike;
use crate::remote::save::is_temporary;
use crate::remote::{Entry, Error, Kind, Name, OpId, RemotePath, Reply, Sink};

/// Most entries kept, over all listings; a listing counts one more for itself.
const ENTRIES_MAX: usize = 200_000;

/// A directory's entries as they arrive; an index, once answered, keeps its entry. Our own
/// unfinished uploads are not shown.
pub struct Listing {
    origin: Option<Origin>,
    entries: Mutex<Entries>,
    event: Event,
}

/// Where a listing comes from.
struct Origin {
    shared: Weak<Shared>,
    key: ListingKey,
    op: OpId,
}

/// Which directory.
pub(super) type ListingKey = (VolumeId, RemotePath);

/// What has come of a listing.
#[derive(Clone, Default)]
pub(super) struct Entries {
    entries: Vec<Entry>,
    index: HashMap<Name, usize>,
    hidden: bool,
    end: Option<Result<(), Error>>,
    /// Names that we changed while it was under way, of which what still comes says nothing; whether
    /// they are there.
    ours: HashMap<Name, bool>,
}

impl Listing {
    /// The entry at `index` as soon as it is there; `None` past the end. Fails as the fetching of
    /// the listing failed.
    pub async fn at(&self, index: usize) -> Result<Option<Entry>, Error> {
        self.wait(|entries| entries.entries.get(index).cloned()).await
    }

    /// The entry called `name` as soon as its page is there; `None` when the whole directory is and
    /// has none. Fails as the fetching of the listing failed.
    pub async fn find(&self, name: &Name) -> Result<Option<Entry>, Error> {
        self.wait(|entries| entries.find(name).cloned()).await
    }

    /// An entry whose name differs from this in case only, once the whole directory is there.
    pub(super) async fn find_alike(&self, name: &Name) -> Result<Option<Entry>, Error> {
        self.wait(|entries| entries.end.as_ref()?.is_ok().then(|| entries.find_alike(name))?).await
    }

    /// Whether every entry is there.
    pub fn is_complete(&self) -> bool {
        matches!(self.entries.lock().end, Some(Ok(())))
    }

    fn is_coming(&self) -> bool {
        self.entries.lock().end.is_none()
    }

    /// Whether nothing is in the directory, our unfinished uploads included.
    pub(super) async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.at(0).await?.is_none() && !self.entries.lock().hidden)
    }

    /// One that is being fetched by `op`.
    pub(super) fn under_way(shared: &Arc<Shared>, key: ListingKey, op: OpId) -> Arc<Listing> {
        let origin = Some(Origin { shared: Arc::downgrade(shared), key, op });
        Arc::new(Listing { origin, entries: Mutex::default(), event: Event::new() })
    }

    /// One that is whole.
    pub(super) fn complete(mut entries: Entries) -> Arc<Listing> {
        entries.end = Some(Ok(()));
        Listing::ended(entries)
    }

    /// One that failed before it began.
    pub(super) fn failed(error: Error) -> Arc<Listing> {
        Listing::ended(Entries { end: Some(Err(error)), ..Entries::default() })
    }

    /// What is there now of an entry.
    pub(super) fn peek(&self, name: &Name) -> Option<Entry> {
        self.entries.lock().find(name).cloned()
    }

    /// Changes what is there, without waking anybody.
    pub(super) fn edit<R>(&self, change: impl FnOnce(&mut Entries) -> R) -> R {
        change(&mut self.entries.lock())
    }

    fn ended(entries: Entries) -> Arc<Listing> {
        Arc::new(Listing { origin: None, entries: Mutex::new(entries), event: Event::new() })
    }

    async fn wait(&self, pick: impl Fn(&Entries) -> Option<Entry>) -> Result<Option<Entry>, Error> {
        loop {
            let listener = self.event.listen();
            let seen = {
                let entries = self.entries.lock();
                (pick(&entries), entries.end.clone())
            };
            match seen {
                (Some(entry), _) => return Ok(Some(entry)),
                (None, Some(Ok(()))) => return Ok(None),
                (None, Some(Err(error))) => return Err(error),
                (None, None) => listener.await,
            }
        }
    }
}

impl Sink for Listing {
    fn page(&self, mut entries: Vec<Entry>) {
        let Some(origin) = &self.origin else { return };
        let take = |entries| self.edit(|all| all.take_page(entries));
        match origin.shared.upgrade() {
            Some(shared) => shared.with(|known| {
                known.observe_page(&origin.key, origin.op, &mut entries);
                take(entries);
            }),
            None => take(entries),
        }
        self.event.notify(usize::MAX);
    }

    fn done(&self, result: Result<Reply, Error>) {
        let mut result = result.map(drop);
        if let Some(origin) = &self.origin
            && let Some(shared) = origin.shared.upgrade()
        {
            shared.with(|known| {
                if result.is_ok() {
                    self.edit(|entries| entries.end = Some(Ok(())));
                }
                known.listing_ended(&origin.key, origin.op, &result);
                // What is known of a vehicle that is not to be asked is still told.
                if result == Err(Error::Armed)
                    && self.edit(|entries| entries.entries.is_empty())
                    && let Some(last) = known.listings.last_whole(&origin.key)
                {
                    let last = last.edit(|last| last.clone());
                    self.edit(|entries| *entries = last);
                    result = Ok(());
                }
            });
        }
        self.edit(|entries| entries.end = Some(result));
        self.event.notify(usize::MAX);
    }
}

impl Entries {
    pub fn find(&self, name: &Name) -> Option<&Entry> {
        if self.ours.get(name) == Some(&false) {
            return None;
        }
        self.index.get(name).and_then(|&at| self.entries.get(at))
    }

    fn find_alike(&self, name: &Name) -> Option<Entry> {
        self.entries.iter().find(|entry| are_alike(&entry.name, name)).cloned()
    }

    /// Every entry.
    pub fn all(&self) -> &[Entry] {
        &self.entries
    }

    /// Puts an entry in the place of the one with its name, or at the end.
    pub fn put(&mut self, entry: Entry) {
        if self.end.is_none() {
            self.ours.insert(entry.name.clone(), true);
        }
        self.place(entry);
    }

    fn place(&mut self, entry: Entry) {
        match self.index.get(&entry.name).copied().and_then(|at| self.entries.get_mut(at)) {
            Some(old) => *old = entry,
            None => {
                self.index.insert(entry.name.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// Takes an entry out; the last one moves to its place. While more comes, it is not found any
    /// more, but keeps its index.
    pub fn remove(&mut self, name: &Name) {
        if self.end.is_none() {
            self.ours.insert(name.clone(), false);
            return;
        }
        let Some(at) = self.index.remove(name) else { return };
        if at < self.entries.len() {
            self.entries.swap_remove(at);
        }
        if let Some(moved) = self.entries.get(at) {
            self.index.insert(moved.name.clone(), at);
        }
    }

    fn take_page(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            match is_temporary(&entry.name) {
                true => self.hidden = true,
                false if self.ours.contains_key(&entry.name) => {}
                false => self.place(entry),
            }
        }
    }

    fn cost(&self) -> usize {
        self.entries.len() + 1
    }
}

/// One directory's place among the kept.
struct Slot {
    listing: Arc<Listing>,
    state: SlotState,
}

enum SlotState {
    /// Being fetched; `previous` is what was known before, for when the link is lost.
    UnderWay { op: OpId, previous: Option<Arc<Listing>> },
    /// Whole since `at`; `None` when it is not believed any more.
    Whole { at: Option<Duration>, cost: usize },
}

/// The listings kept, the least recently used go first.
pub(super) struct Listings {
    slots: LruCache<ListingKey, Slot>,
    /// Listings that still come and are not believed any more: those who hold them learn what we
    /// change.
    overtaken: Vec<(ListingKey, Weak<Listing>)>,
    entries: usize,
    entries_max: usize,
}

impl Listings {
    pub fn new() -> Listings {
        let (slots, overtaken) = (LruCache::unbounded(), Vec::new());
        Listings { slots, overtaken, entries: 0, entries_max: ENTRIES_MAX }
    }

    #[cfg(test)]
    pub fn bound_to(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
    }

    /// The listing to answer with now: one under way, or a whole one of at most `age_max`.
    pub fn current(
        &mut self,
        key: &ListingKey,
        now: Duration,
        age_max: Duration,
    ) -> Option<Arc<Listing>> {
        let slot = self.slots.get(key)?;
        let good = match &slot.state {
            SlotState::UnderWay { .. } => true,
            SlotState::Whole { at, .. } => {
                age_max == Duration::MAX || at.is_some_and(|at| now.saturating_sub(at) <= age_max)
            }
        };
        good.then(|| slot.listing.clone())
    }

    /// How long ago this very listing became whole, nothing while it is being fetched; `None` when it
    /// is not what is believed of the directory any more.
    pub fn age(&self, key: &ListingKey, listing: &Arc<Listing>, now: Duration) -> Option<Duration> {
        let slot = self.slots.peek(key).filter(|slot| Arc::ptr_eq(&slot.listing, listing))?;
        match &slot.state {
            SlotState::UnderWay { .. } => Some(Duration::ZERO),
            SlotState::Whole { at, .. } => at.map(|at| now.saturating_sub(at)),
        }
    }

    /// When what is known of a directory was said; `None` when it is not believed any more.
    pub fn told_at(&self, key: &ListingKey, now: Duration) -> Option<Duration> {
        match &self.slots.peek(key)?.state {
            SlotState::UnderWay { .. } => Some(now),
            SlotState::Whole { at, .. } => *at,
        }
    }

    /// What a directory was known to hold before the fetch that is under way.
    pub fn previous(&self, key: &ListingKey) -> Option<Arc<Listing>> {
        match &self.slots.peek(key)?.state {
            SlotState::UnderWay { previous, .. } => previous.clone(),
            SlotState::Whole { .. } => None,
        }
    }

    /// Whether `op` is still what fetches this listing.
    pub fn is_fetched_by(&self, key: &ListingKey, op: OpId) -> bool {
        self.slots.peek(key).is_some_and(|slot| match &slot.state {
            SlotState::UnderWay { op: current, .. } => *current == op,
            SlotState::Whole { .. } => false,
        })
    }

    /// What is known of a name in a directory, however old.
    pub fn peek(&self, key: &ListingKey, name: &Name) -> Option<Entry> {
        let slot = self.slots.peek(key)?;
        slot.listing.peek(name).or_else(|| match &slot.state {
            SlotState::UnderWay { previous, .. } => previous.as_ref()?.peek(name),
            SlotState::Whole { .. } => None,
        })
    }

    /// Whether this directory has been listed.
    pub fn has_listed(&self, key: &ListingKey) -> bool {
        self.slots.peek(key).is_some_and(|slot| match &slot.state {
            SlotState::UnderWay { previous, .. } => previous.is_some(),
            SlotState::Whole { .. } => true,
        })
    }

    /// The last whole listing of a directory, however old.
    pub fn last_whole(&self, key: &ListingKey) -> Option<Arc<Listing>> {
        let slot = self.slots.peek(key)?;
        match &slot.state {
            SlotState::UnderWay { previous, .. } => previous.clone(),
            SlotState::Whole { .. } => Some(slot.listing.clone()),
        }
    }

    /// Whether a whole listing is kept, not one under way.
    pub fn has_whole(&self, key: &ListingKey) -> bool {
        self.slots.peek(key).is_some_and(|slot| match &slot.state {
            SlotState::UnderWay { .. } => false,
            SlotState::Whole { .. } => true,
        })
    }

    /// A fetch begins.
    pub fn begin(&mut self, key: ListingKey, op: OpId, listing: Arc<Listing>) {
        let previous = self.take(&key).map(|slot| slot.listing);
        self.slots.put(key, Slot { listing, state: SlotState::UnderWay { op, previous } });
    }

    /// A fetch ended well, or the directory is known without one.
    pub fn keep(&mut self, key: ListingKey, listing: Arc<Listing>, now: Duration) {
        self.take(&key);
        let cost = listing.edit(|entries| entries.cost());
        self.entries += cost;
        self.slots.put(key, Slot { listing, state: SlotState::Whole { at: Some(now), cost } });
        self.trim();
    }

    /// The listing that a fetch is filling.
    pub fn under_way(&self, key: &ListingKey) -> Option<Arc<Listing>> {
        self.slots.peek(key).map(|slot| slot.listing.clone())
    }

    /// Believes this listing no more: one under way is left to its holders, a whole one is kept for
    /// when the link is lost.
    pub fn expire(&mut self, key: &ListingKey) {
        let Some(slot) = self.take(key) else { return };
        let listing = match slot.state {
            SlotState::UnderWay { previous, .. } => {
                self.overtaken.push((key.clone(), Arc::downgrade(&slot.listing)));
                previous
            }
            SlotState::Whole { .. } => Some(slot.listing),
        };
        if let Some(listing) = listing {
            let cost = listing.edit(|entries| entries.cost());
            self.entries += cost;
            let state = SlotState::Whole { at: None, cost };
            self.slots.put(key.clone(), Slot { listing, state });
        }
    }

    /// Changes a listing as we changed the directory. One that was handed out stays as it is. One
    /// under way is left to its holders, who find the change in it: what still comes may show the old
    /// state or the new, or neither where the server renames in two steps.
    pub fn edit(&mut self, key: &ListingKey, change: impl Fn(&mut Entries)) {
        self.expire_under_way(key);
        self.overtaken.retain(|(at, listing)| {
            let Some(listing) = listing.upgrade().filter(|listing| listing.is_coming()) else {
                return false;
            };
            if at == key {
                listing.edit(&change);
                listing.event.notify(usize::MAX);
            }
            true
        });
        let Some(slot) = self.slots.peek_mut(key) else { return };
        if Arc::get_mut(&mut slot.listing).is_none() {
            slot.listing = Listing::complete(slot.listing.edit(|entries| entries.clone()));
        }
        let new = slot.listing.edit(|entries| {
            change(entries);
            entries.cost()
        });
        if let SlotState::Whole { cost, .. } = &mut slot.state {
            self.entries = self.entries + new - std::mem::replace(cost, new);
        }
        self.trim();
    }

    /// Forgets what is at or below a path.
    pub fn forget_within(&mut self, volume: VolumeId, path: &RemotePath) {
        for key in self.within(volume, path) {
            self.take(&key);
        }
    }

    /// Everything at or below `from` is at or below `to` now.
    pub fn rename(&mut self, volume: VolumeId, from: &RemotePath, to: &RemotePath) {
        for key in self.within(volume, from) {
            self.expire_under_way(&key);
            let (Some(slot), Some(path)) = (self.slots.pop(&key), key.1.rebase(from, to)) else {
                continue;
            };
            self.slots.put((volume, path), slot);
        }
    }

    fn expire_under_way(&mut self, key: &ListingKey) {
        if let Some(Slot { state: SlotState::UnderWay { .. }, .. }) = self.slots.peek(key) {
            self.expire(key);
        }
    }

    fn within(&self, volume: VolumeId, path: &RemotePath) -> Vec<ListingKey> {
        let keys = self.slots.iter().map(|(key, _)| key);
        keys.filter(|key| key.0 == volume && key.1.is_within(path)).cloned().collect()
    }

    fn take(&mut self, key: &ListingKey) -> Option<Slot> {
        let slot = self.slots.pop(key)?;
        if let SlotState::Whole { cost, .. } = &slot.state {
            self.entries -= cost;
        }
        Some(slot)
    }

    fn trim(&mut self) {
        for _ in 0..self.slots.len() {
            if self.entries <= self.entries_max {
                return;
            }
            let Some((key, slot)) = self.slots.pop_lru() else { return };
            match &slot.state {
                // Somebody waits for it; the newest place keeps it out of the way of this loop.
                SlotState::UnderWay { .. } => drop(self.slots.put(key, slot)),
                SlotState::Whole { cost, .. } => self.entries -= cost,
            }
        }
    }
}

/// What a directory of this name looks like in its parent's listing.
pub(super) fn directory_entry(name: Name) -> Entry {
    Entry { name, kind: Kind::Directory, size: 0, mtime: None }
}
