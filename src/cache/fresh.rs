//! How long what is known may be believed, and the size of an open file asked anew when that time is
//! over. A change by another station shows after [`Options::directory_time`](super::Options) at the
//! latest, and the one exchange that then asks for it.

use std::sync::Arc;
use std::time::Duration;

use event_listener::Event;
use parking_lot::Mutex;

use super::known::{Known, Shared};
use super::listings::{Listing, ListingKey};
use super::news::News;
use super::read::OpenFile;
use super::{Cache, Volume, VolumeId};
use crate::remote::{Class, Entry, Error, Kind, Name, Op, OpId, RemotePath, Reply, Sink, Version};

/// How long an answer is good that can be renewed only when the link is back.
const LOST_TIME: Duration = Duration::from_secs(1);

/// An answer, and how long it may be passed on without asking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh<T> {
    /// The answer.
    pub value: T,
    /// For so long from now.
    pub valid: Duration,
}

/// A question for a file's size that is under way, for all who wait for it.
pub(super) struct Asking {
    id: OpId,
    outcome: Mutex<Option<Result<(), Error>>>,
    event: Event,
}

impl Cache {
    /// How long anything is believed that is known now.
    pub fn directory_time(&self) -> Duration {
        self.options.directory_time
    }

    /// [`Cache::entry`] with the time for which the answer holds; `None` for a name that is not
    /// there.
    pub async fn look(
        &self,
        volume: VolumeId,
        path: &RemotePath,
    ) -> Result<Fresh<Option<Entry>>, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            let root = self.entry(volume, path).await?;
            return Ok(Fresh { value: Some(root), valid: self.options.directory_time });
        };
        match self.expect_directory(volume, &parent).await {
            Ok(()) => {}
            Err(Error::NotFound) => return Ok(Fresh { value: None, valid: Duration::ZERO }),
            Err(error) => return Err(error),
        }
        let listing = self.listing(volume, &parent);
        let value = listing.find(&name).await?;
        Ok(Fresh { value, valid: self.validity(volume, &parent, &listing) })
    }

    /// A line of a listing that was handed out some time ago, as it is known now, and how long that
    /// holds: not at all when the directory has been listed or changed since.
    pub fn refreshed(
        &self,
        volume: VolumeId,
        directory: &RemotePath,
        listing: &Arc<Listing>,
        mut entry: Entry,
    ) -> Fresh<Entry> {
        let path = directory.join(&entry.name);
        self.with(|known| {
            if let Some(id) = known.files.at(volume, &path) {
                known.files.overlay(id, &mut entry);
            }
        });
        Fresh { value: entry, valid: self.validity(volume, directory, listing) }
    }

    /// How long what `listing` says of a directory may still be believed.
    fn validity(&self, volume: VolumeId, path: &RemotePath, listing: &Arc<Listing>) -> Duration {
        let up = self.status(volume).up;
        let time = self.options.directory_time;
        let age =
            self.with(|known| known.listings.age(&(volume, path.clone()), listing, known.now));
        match age {
            Some(age) if up => time.saturating_sub(age),
            Some(age) => time.saturating_sub(age).max(LOST_TIME.min(time)),
            None => Duration::ZERO,
        }
    }

    /// The version that a handle reads and how long that holds. A size that is older than
    /// [`Options::directory_time`](super::Options) is asked for anew, by opening the file and never
    /// by listing, once for all who ask; not while the file's bytes are on their way, which would
    /// interrupt them. When nobody can tell, what is known is the answer.
    ///
    /// [`Error::Changed`] when the file has another content than was opened.
    pub async fn refresh(&self, file: &OpenFile) -> Result<Fresh<Version>, Error> {
        let (far, status) = self.meet(file.volume)?;
        self.clear_doubt(file).await?;
        let time = self.options.directory_time;
        if self.with(|known| status.up && known.is_size_old(file, time))
            && let Err(error) = self.ask_size(&far, file).await
        {
            tracing::debug!(%error, "could not ask for the size of an open file");
        }
        let version = file.version()?;
        let age = self.with(|known| {
            let now = known.now;
            known.files.get(file.id).map_or(time, |record| now.saturating_sub(record.checked))
        });
        // Bytes under way, or a lost link: the size could not be asked for now.
        let valid = match time.saturating_sub(age) {
            Duration::ZERO => LOST_TIME.min(time),
            valid => valid,
        };
        Ok(Fresh { value: version, valid })
    }

    /// Asks for the size of an open file by opening it, once for all who ask.
    pub(super) async fn ask_size(&self, far: &Volume, file: &OpenFile) -> Result<(), Error> {
        let Some((asking, path)) = self.with(|known| known.begin_asking(file)) else {
            return Ok(());
        };
        if let Some(path) = path {
            let op = Op::Size { path: path.below(&far.root) };
            let (shared, id, generation) = (file.shared.clone(), file.id, file.generation);
            let sink = SizeTold { shared, id, generation, path, asking: asking.clone() };
            let patience = self.options.patience;
            far.remote.submit(asking.id, op, Class::Metadata, patience, Arc::new(sink));
        }
        asking.outcome().await
    }

    /// What was learned since the last time that contradicts what has been told. Never waits.
    pub fn take_news(&self) -> Vec<News> {
        self.with(|known| known.news.take())
    }

    /// Is notified when there are news.
    pub fn news_event(&self) -> Arc<Event> {
        self.shared.news_came.clone()
    }

    /// CRC32 of a file as the far side has it now, as MAVLink computes it;
    /// [`Error::Unsupported`] where it cannot.
    pub async fn checksum(&self, volume: VolumeId, path: &RemotePath) -> Result<u32, Error> {
        let (far, _) = self.meet(volume)?;
        let op = Op::Checksum { path: path.below(&far.root) };
        match crate::remote::ask::ask(&far.remote, op, Class::Metadata, self.options.patience)
            .await?
        {
            Reply::Checksum(checksum) => Ok(checksum),
            Reply::Done | Reply::Size(_) | Reply::Saved(_) => Err(Error::Unsupported),
        }
    }
}

impl Asking {
    async fn outcome(&self) -> Result<(), Error> {
        loop {
            let listener = self.event.listen();
            let outcome = self.outcome.lock().clone();
            match outcome {
                Some(outcome) => return outcome,
                None => listener.await,
            }
        }
    }
}

impl Known {
    /// Whether a handle's size is older than `time`, and may be asked for without disturbing a read.
    fn is_size_old(&mut self, file: &OpenFile, time: Duration) -> bool {
        let now = self.now;
        let is_old = self.files.get(file.id).is_some_and(|record| {
            record.version.generation == file.generation
                && now.saturating_sub(record.checked) > time
        });
        is_old && self.flights.of_file(file.id).is_empty()
    }

    /// The question for a file's size to wait for, with the path when it is yet to be asked; `None`
    /// for a file that has no name any more.
    fn begin_asking(&mut self, file: &OpenFile) -> Option<(Arc<Asking>, Option<RemotePath>)> {
        if let Some(asking) = self.asking.get(&file.id) {
            return Some((asking.clone(), None));
        }
        let path = self.files.get(file.id)?.path.clone()?;
        let (id, outcome) = (OpId::fresh(), Mutex::default());
        let asking = Arc::new(Asking { id, outcome, event: Event::new() });
        self.asking.insert(file.id, asking.clone());
        self.running.insert(id, file.volume);
        Some((asking, Some(path)))
    }

    /// Compares a directory's new listing with the one before: what differs is news.
    pub fn compare_listings(&mut self, key: &ListingKey, before: &Listing, now: &Listing) {
        let before: Vec<Entry> = before.edit(|entries| entries.all().to_vec());
        let gone_or_changed = before.iter().filter_map(|old| match now.peek(&old.name) {
            Some(new) => differs(old, &new),
            None => Some((old.name.clone(), true)),
        });
        let mut different: Vec<(Name, bool)> = gone_or_changed.collect();
        let names: std::collections::HashSet<&Name> = before.iter().map(|old| &old.name).collect();
        now.edit(|entries| {
            let appeared = entries.all().iter().filter(|new| !names.contains(&new.name));
            different.extend(appeared.map(|new| (new.name.clone(), true)));
        });
        for (name, is_name) in different {
            let (volume, path) = (key.0, key.1.join(&name));
            self.news.push(match is_name {
                true => News::Name { volume, path },
                false => News::Content { volume, path, from: 0 },
            });
        }
    }
}

/// What of an entry is another than before: its name's meaning (`true`) or only what is in it.
fn differs(old: &Entry, new: &Entry) -> Option<(Name, bool)> {
    if old.kind != new.kind {
        return Some((old.name.clone(), true));
    }
    let is_same = (old.size, old.mtime) == (new.size, new.mtime) || old.kind == Kind::Directory;
    (!is_same).then(|| (old.name.clone(), false))
}

/// Takes the answer to a question for an open file's size.
struct SizeTold {
    shared: Arc<Shared>,
    id: super::files::FileId,
    generation: u32,
    path: RemotePath,
    asking: Arc<Asking>,
}

impl Sink for SizeTold {
    fn done(&self, result: Result<Reply, Error>) {
        let outcome = match &result {
            Ok(_) | Err(Error::Unsupported) => Ok(()),
            Err(error) => Err(error.clone()),
        };
        self.shared.with(|known| {
            known.running.remove(&self.asking.id);
            known.asking.remove(&self.id);
            let now = known.now;
            let Some(record) = known.files.get(self.id) else { return };
            // Also when nobody could tell, or every look at the file would try again.
            record.checked = now;
            let (volume, is_here) = (record.volume, record.path.as_ref() == Some(&self.path));
            match result {
                Ok(Reply::Size(size)) if is_here => {
                    known.size_told(self.id, self.generation, Some(size));
                }
                Err(Error::Unsupported) => known.size_told(self.id, self.generation, None),
                Err(Error::NotFound) if is_here => {
                    if let Some(parent) = self.path.parent() {
                        known.listings.expire(&(volume, parent));
                    }
                }
                Ok(_) | Err(_) => {}
            }
        });
        *self.asking.outcome.lock() = Some(outcome);
        self.asking.event.notify(usize::MAX);
    }
}
