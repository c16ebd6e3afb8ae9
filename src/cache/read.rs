//! Reading: which blocks are at hand, which are on their way, and which to send for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use event_listener::EventListener;
use parking_lot::Mutex;

use super::blocks::{BLOCK_BYTES, Block, BlockKey, covering, length_within};
use super::fetch::Flight;
use super::files::{FileId, Seen};
use super::known::{Known, Shared};
use super::read_ahead::ReadAhead;
use super::{Cache, Volume, VolumeId};
use crate::remote::ask::ask;
use crate::remote::{Class, Entry, Error, Op, OpId, Remote, RemotePath, Reply, Version};

/// How often a read begins again because the file grew, moved or was being changed under it.
const PASSES_MAX: usize = 16;
/// Most blocks of one fetch: 16 MiB.
const FETCH_BLOCKS_MAX: u64 = 4096;
/// How far past the listed end a read asks while the far side has not told the size itself.
const PAST_END_BYTES_MAX: u64 = 1 << 20;

/// A file opened for reading. It stays on the content it was opened on, whatever happens to the
/// path: removed or replaced, it gives the blocks that are cached, else [`Error::Changed`].
/// Dropping it ends the fetches ahead of it that nobody waits for.
pub struct OpenFile {
    volume: VolumeId,
    id: FileId,
    generation: u32,
    shared: Arc<Shared>,
    remote: Option<Arc<dyn Remote>>,
    ahead: Mutex<Ahead>,
}

struct Ahead {
    policy: ReadAhead,
    flights: Vec<Arc<Flight>>,
}

impl OpenFile {
    /// The version this handle reads now: its size grows when the file does.
    /// [`Error::Changed`] when the file has another content than was opened.
    pub fn version(&self) -> Result<Version, Error> {
        self.shared.with(|known| match known.files.get(self.id) {
            Some(record) if record.version.generation == self.generation => Ok(record.version),
            Some(_) | None => Err(Error::Changed),
        })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let flights = std::mem::take(&mut self.ahead.get_mut().flights);
        if let Some(remote) = &self.remote {
            flights.iter().filter(|flight| flight.is_idle()).for_each(|f| remote.cancel(f.id));
        }
        self.shared.with(|known| {
            if known.files.close(self.id) {
                known.blocks.forget(self.id);
            }
        });
    }
}

impl Cache {
    /// Opens a file for reading; sends nothing. `entry` is what [`Cache::entry`] or a listing said.
    pub fn open(&self, volume: VolumeId, path: &RemotePath, entry: &Entry) -> Arc<OpenFile> {
        let far = self.meet(volume);
        let up = far.as_ref().is_ok_and(|(_, status)| status.up);
        let time = self.options.directory_time;
        let (id, generation) = self.with(|known| {
            let now = known.now;
            let id = known.files.at_or_insert(volume, path, Seen::of(entry), now);
            let mut evidence = None;
            let generation = known.files.get(id).map_or(0, |record| {
                // Nothing would show that another station has written the file since.
                if record.opens == 0 && up && record.is_doubtful(now, time) {
                    evidence = Some(record.begin_generation(now));
                }
                record.opens += 1;
                record.version.generation
            });
            if let Some(evidence) = evidence {
                known.apply(id, evidence);
            }
            known.trim_files();
            (id, generation)
        });
        let quarter = self.options.bytes_max as u64 / 4;
        let policy = ReadAhead::new(self.options.read_ahead_bytes.min(quarter));
        Arc::new(OpenFile {
            volume,
            id,
            generation,
            shared: self.shared.clone(),
            remote: far.ok().map(|(volume, _)| volume.remote),
            ahead: Mutex::new(Ahead { policy, flights: Vec::new() }),
        })
    }

    /// Exactly `length` bytes from `offset`, or fewer only at the end of the file.
    ///
    /// [`Error::Changed`] when the file has another content than was opened; else the error with
    /// which the remote failed. `path` names the file in the log; the cache follows renames itself.
    pub async fn read(
        &self,
        file: &OpenFile,
        path: &RemotePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, Error> {
        let result = self.read_in_passes(file, offset, length).await;
        if let Err(error) = &result {
            file.ahead.lock().policy.stop();
            tracing::debug!(%path, offset, length, %error, "a read failed");
        }
        result
    }

    async fn read_in_passes(
        &self,
        file: &OpenFile,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, Error> {
        let asked = offset..offset.saturating_add(length as u64);
        let mut reading = Reading { file, asked, have: BTreeMap::new(), flown: false, fresh: true };
        let mut retried = false;
        for _ in 0..PASSES_MAX {
            let (volume, status) = self.meet(file.volume)?;
            let plan = self.with(|known| reading.plan(known, status.up))?;
            self.send(&volume, &plan);
            match plan.then {
                Then::Answer(bytes) => return Ok(bytes),
                Then::AskSize(path) => self.ask_size(&volume, file, &path).await?,
                Then::AwaitChange(listener) => listener.await,
                Then::Collect(waits) => match reading.collect(waits).await {
                    Ok(()) => {}
                    Err(failed) if !retried && self.deserves_retry(&failed) => retried = true,
                    Err(failed) => return Err(failed.error),
                },
            }
        }
        Err(Error::Failed("the file kept changing while it was read".into()))
    }

    fn send(&self, volume: &Volume, plan: &Plan) {
        for flight in &plan.submit {
            let (offset, length) = flight.range();
            let op = Op::Read { path: flight.path.below(&volume.root), offset, length };
            let class = flight.class();
            volume.remote.submit(flight.id, op, class, self.options.patience, flight.clone());
            if flight.submitted_as(class) {
                volume.remote.raise(flight.id, Class::Demand);
            }
            if flight.end().is_some() {
                // Abandoned before the remote knew of it.
                volume.remote.cancel(flight.id);
            }
        }
        for id in &plan.raise {
            volume.remote.raise(*id, Class::Demand);
        }
    }

    async fn ask_size(
        &self,
        volume: &Volume,
        file: &OpenFile,
        path: &RemotePath,
    ) -> Result<(), Error> {
        let op = Op::Size { path: path.below(&volume.root) };
        let size = match ask(&volume.remote, op, Class::Metadata, self.options.patience).await {
            Ok(Reply::Size(size)) => Some(size),
            Ok(Reply::Done | Reply::Checksum(_)) | Err(Error::Unsupported) => None,
            Err(error) => return Err(error),
        };
        self.with(|known| known.size_told(file.id, file.generation, size));
        Ok(())
    }

    /// Whether a reader tries by itself once more: it had joined a read-ahead, or the file was
    /// renamed under the fetch.
    fn deserves_retry(&self, failed: &Failed) -> bool {
        let Failed { flight, error } = failed;
        let moved = || {
            let path = self.with(|known| known.files.get(flight.file)?.path.clone());
            *error == Error::NotFound && path.is_some_and(|path| path != flight.path)
        };
        *error != Error::Changed && (flight.ahead || moved())
    }
}

/// One read under way.
struct Reading<'a> {
    file: &'a OpenFile,
    asked: Range<u64>,
    have: BTreeMap<u64, Block>,
    /// Some of `have` came by a fetch and not from the cache.
    flown: bool,
    /// Not planned yet.
    fresh: bool,
}

/// What to do for a read now.
struct Plan {
    submit: Vec<Arc<Flight>>,
    raise: Vec<OpId>,
    then: Then,
}

enum Then {
    Answer(Vec<u8>),
    /// The read begins past the end that the listing told.
    AskSize(RemotePath),
    /// We are replacing the file; what came may be of the old content or the new.
    AwaitChange(EventListener),
    Collect(Vec<(u64, Arc<Flight>)>),
}

struct Failed {
    flight: Arc<Flight>,
    error: Error,
}

impl Reading<'_> {
    fn plan(&mut self, known: &mut Known, up: bool) -> Result<Plan, Error> {
        let record = known.files.get(self.file.id).ok_or(Error::Changed)?;
        if record.version.generation != self.file.generation {
            return Err(Error::Changed);
        }
        let (size, told) = (record.version.size, record.confirmed);
        let path = record.path.clone();
        let mut plan = Plan { submit: Vec::new(), raise: Vec::new(), then: Then::Answer(vec![]) };
        if self.asked.is_empty() {
            return Ok(plan);
        }
        if self.asked.start >= size {
            if let (Some(path), false, true) = (path, told, up) {
                plan.then = Then::AskSize(path);
            }
            return Ok(plan);
        }
        let missing = self.gather(known, size);
        match path {
            // What a fetch brought may be the newcomer's at the path that was ours.
            None if self.flown || !missing.is_empty() => return Err(Error::Changed),
            None => plan.then = Then::Answer(self.answer(size)),
            Some(path) => {
                if missing.is_empty() {
                    plan.then = self.answer_when_certain(known, &path, size);
                } else {
                    plan.then = self.fetch(known, &path, &missing, &mut plan);
                }
                if std::mem::take(&mut self.fresh) {
                    plan.submit.extend(self.look_ahead(known, &path, size));
                }
            }
        }
        Ok(plan)
    }

    /// Takes what is at hand; answers the blocks that are not.
    fn gather(&mut self, known: &mut Known, size: u64) -> Vec<u64> {
        let mut missing = Vec::new();
        for index in covering(&(self.asked.start..self.asked.end.min(size))) {
            let length = length_within(index, size);
            // The last block of a file that has grown since is too short.
            if self.have.get(&index).is_some_and(|block| block.len() == length) {
                continue;
            }
            match known.blocks.get(&self.key(index)).filter(|block| block.len() == length) {
                Some(block) => drop(self.have.insert(index, block)),
                None => missing.push(index),
            }
        }
        missing
    }

    fn answer_when_certain(&self, known: &Known, path: &RemotePath, size: u64) -> Then {
        match self.flown && known.is_changing(self.file.volume, path) {
            true => Then::AwaitChange(self.file.shared.change_ended.listen()),
            false => Then::Answer(self.answer(size)),
        }
    }

    fn answer(&self, size: u64) -> Vec<u8> {
        let end = self.asked.end.min(size);
        let mut bytes = Vec::with_capacity((end - self.asked.start) as usize);
        for (index, block) in &self.have {
            let start = index * BLOCK_BYTES;
            let within = |offset: u64| (offset.saturating_sub(start) as usize).min(block.len());
            bytes.extend_from_slice(&block[within(self.asked.start)..within(end)]);
        }
        bytes
    }

    /// Joins what is on its way and sends for the rest, in as few fetches as there are gaps.
    fn fetch(
        &self,
        known: &mut Known,
        path: &RemotePath,
        missing: &[u64],
        plan: &mut Plan,
    ) -> Then {
        let mut waits = Vec::with_capacity(missing.len());
        let mut gaps: Vec<Range<u64>> = Vec::new();
        for &index in missing {
            match known.flights.get(&self.key(index)) {
                Some(flight) => {
                    if flight.want() {
                        plan.raise.push(flight.id);
                    }
                    waits.push((index, flight));
                }
                None => extend_or_push(&mut gaps, index),
            }
        }
        self.reach_past_end(known, &mut gaps);
        for gap in gaps {
            let flight = self.begin(known, path, gap.clone(), false);
            let wanted = missing.iter().filter(|index| gap.contains(index));
            waits.extend(wanted.map(|&index| (index, flight.clone())));
            plan.submit.push(flight);
        }
        waits.sort_by_key(|(index, _)| *index);
        Then::Collect(waits)
    }

    /// A fetch of the last block asks on as far as the reader did, while only the listing says that
    /// it is the last.
    fn reach_past_end(&self, known: &mut Known, gaps: &mut [Range<u64>]) {
        let Some(record) = known.files.get(self.file.id) else { return };
        let size = record.version.size;
        let end = covering(&(0..size)).end;
        if let (Some(last), false) = (gaps.last_mut(), record.confirmed)
            && last.end == end
            && last.end - last.start < FETCH_BLOCKS_MAX
        {
            last.end = end.max(covering(&(0..self.asked.end.min(size + PAST_END_BYTES_MAX))).end);
        }
    }

    fn look_ahead(&self, known: &mut Known, path: &RemotePath, size: u64) -> Vec<Arc<Flight>> {
        let mut ahead = self.file.ahead.lock();
        if ahead.flights.iter().any(|flight| matches!(flight.end(), Some(Err(_)))) {
            ahead.policy.stop();
        }
        ahead.flights.retain(|flight| flight.end().is_none());
        let read = self.asked.start..self.asked.end.min(size);
        let mut begun = Vec::new();
        for chunk in ahead.policy.advance(&read, size) {
            let mut gaps = Vec::new();
            for index in chunk {
                let key = self.key(index);
                if !known.blocks.contains(&key) && known.flights.get(&key).is_none() {
                    extend_or_push(&mut gaps, index);
                }
            }
            begun.extend(gaps.into_iter().map(|gap| self.begin(known, path, gap, true)));
        }
        ahead.flights.extend(begun.iter().cloned());
        begun
    }

    fn begin(
        &self,
        known: &mut Known,
        path: &RemotePath,
        blocks: Range<u64>,
        ahead: bool,
    ) -> Arc<Flight> {
        let size = known.files.get(self.file.id).map_or(0, |record| record.version.size);
        let content = (self.file.id, self.file.generation, size);
        let flight = Flight::new(&self.file.shared, content, path, blocks, ahead);
        known.flights.insert(&flight);
        known.running.insert(flight.id, self.file.volume);
        flight
    }

    async fn collect(&mut self, waits: Vec<(u64, Arc<Flight>)>) -> Result<(), Failed> {
        for (index, flight) in waits {
            match flight.block(index).await {
                Ok(Some(block)) => {
                    self.flown = true;
                    self.have.insert(index, block);
                }
                // The file grew after the fetch had ended; the next pass sends for it.
                Ok(None) => {}
                Err(error) => return Err(Failed { flight, error }),
            }
        }
        Ok(())
    }

    fn key(&self, index: u64) -> BlockKey {
        BlockKey { file: self.file.id, generation: self.file.generation, index }
    }
}

/// Adds a block to the last gap when it follows it.
fn extend_or_push(gaps: &mut Vec<Range<u64>>, index: u64) {
    match gaps.last_mut() {
        Some(gap) if gap.end == index && gap.end - gap.start < FETCH_BLOCKS_MAX => gap.end += 1,
        Some(_) | None => gaps.push(index..index + 1),
    }
}
