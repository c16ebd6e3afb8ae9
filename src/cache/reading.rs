//! One read under way: which blocks are at hand, which to wait for, which to send for. Submits
//! nothing itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use event_listener::EventListener;

use super::blocks::{BLOCK_BYTES, Block, BlockKey, covering, length_within};
use super::fetch::Flight;
use super::known::Known;
use super::read::OpenFile;
use crate::remote::{Error, OpId, RemotePath, Status};

/// Most blocks of one fetch: 16 MiB.
const FETCH_BLOCKS_MAX: u64 = 4096;
/// How far past the listed end a read asks while the far side has not told the size itself.
const PAST_END_BYTES_MAX: u64 = 1 << 20;

/// One read under way.
pub(super) struct Reading<'a> {
    file: &'a OpenFile,
    asked: Range<u64>,
    have: BTreeMap<u64, Block>,
    /// Some of `have` came by a fetch and not from the cache.
    flown: bool,
    /// Not planned yet.
    fresh: bool,
    /// Looked again whether the file is still the same.
    looked: bool,
    /// Asked for what the file ended with before it grew.
    compared: bool,
}

/// What to do for a read now.
pub(super) struct Plan {
    pub submit: Vec<Arc<Flight>>,
    pub raise: Vec<OpId>,
    pub then: Then,
}

pub(super) enum Then {
    Answer(Vec<u8>),
    /// The read begins past the end that the listing told, or the file that is open on the far side
    /// may be an older one of the same size: it is opened to see.
    AskSize,
    /// The far side may be another one: it is to be seen whether the file is the same.
    ClearDoubt,
    /// Nothing has shown for long that this file is still the one that was opened.
    LookAgain(RemotePath),
    /// We are replacing the file; what came may be of the old content or the new.
    AwaitChange(EventListener),
    Collect(Vec<(u64, Arc<Flight>)>),
}

/// The fetch that failed a read.
pub(super) struct Failed {
    pub flight: Arc<Flight>,
    pub error: Error,
}

impl<'a> Reading<'a> {
    pub fn new(file: &'a OpenFile, asked: Range<u64>) -> Reading<'a> {
        let (have, fresh) = (BTreeMap::new(), true);
        Reading { file, asked, have, flown: false, fresh, looked: false, compared: false }
    }

    /// What to do now, with what is known now. `time`: how long things are believed while the link is
    /// not lost.
    pub fn plan(
        &mut self,
        known: &mut Known,
        status: &Status,
        time: Duration,
    ) -> Result<Plan, Error> {
        let now = known.now;
        let time = status.up.then_some(time);
        let record = known.files.get(self.file.id).ok_or(Error::Changed)?;
        if record.version.generation != self.file.generation {
            return Err(Error::Changed);
        }
        if record.in_doubt {
            // Gone from its name in the meantime, it stays what nobody could tell.
            record.path.as_ref().ok_or(Error::Changed)?;
            self.have.clear();
            return Ok(Plan { submit: Vec::new(), raise: Vec::new(), then: Then::ClearDoubt });
        }
        let (size, told) = (record.version.size, record.confirmed);
        let reopen = record.must_reopen;
        let path = record.path.clone();
        let doubtful = time.is_some_and(|time| record.needs_vouching(now, time));
        let mut plan = Plan { submit: Vec::new(), raise: Vec::new(), then: Then::Answer(vec![]) };
        if self.asked.is_empty() {
            return Ok(plan);
        }
        if self.asked.start >= size {
            if let (Some(_), false, Some(_), false) = (path, told, time, status.armed) {
                plan.then = Then::AskSize;
            }
            return Ok(plan);
        }
        let mut missing = self.gather(known, size);
        if path.is_some() {
            self.compare_ending(known, &mut missing);
        }
        match path {
            // What a fetch brought may be the newcomer's at the path that was ours.
            None if self.flown || !missing.is_empty() => return Err(Error::Changed),
            None => plan.then = Then::Answer(self.answer(size)),
            Some(_) if time.is_some() && reopen && !missing.is_empty() => plan.then = Then::AskSize,
            // A fetch that begins anew may open another file; one that goes on is of the same.
            Some(path) if self.may_be_another(known, doubtful, &missing) => {
                plan.then = Then::LookAgain(path);
            }
            Some(path) => {
                if missing.is_empty() {
                    plan.then = self.answer_when_certain(known, &path, size);
                } else {
                    plan.then = self.fetch(known, &path, &missing, &mut plan);
                }
                // Nobody asked for more of a vehicle that is in use.
                if std::mem::take(&mut self.fresh) && !status.armed {
                    plan.submit.extend(self.look_ahead(known, &path, size));
                }
            }
        }
        Ok(plan)
    }

    /// Sends for what is neither here nor on its way, though nobody waits for it.
    pub fn begin_ahead(&mut self, known: &mut Known) -> Vec<Arc<Flight>> {
        let Some(record) = known.files.get(self.file.id) else { return Vec::new() };
        let is_same = record.version.generation == self.file.generation;
        let is_certain = is_same && !record.in_doubt && !record.must_reopen;
        let size = record.version.size;
        let Some(path) = record.path.clone().filter(|_| is_certain) else { return Vec::new() };
        let mut gaps = Vec::new();
        for index in self.gather(known, size) {
            if known.flights.get(&self.key(index)).is_none() {
                extend_or_push(&mut gaps, index);
            }
        }
        gaps.into_iter().map(|gap| self.begin(known, &path, gap, true)).collect()
    }

    fn may_be_another(&mut self, known: &Known, doubtful: bool, missing: &[u64]) -> bool {
        doubtful
            && !missing.is_empty()
            && known.flights.of_file(self.file.id).is_empty()
            && !std::mem::replace(&mut self.looked, true)
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

    /// Nothing more is read of a file that grew before what it ended with has been compared.
    fn compare_ending(&mut self, known: &mut Known, missing: &mut Vec<u64>) {
        let ending = known.files.get(self.file.id).and_then(|record| record.ending.as_ref());
        let Some(from) = ending.map(|ending| ending.from) else { return };
        let is_new = !missing.is_empty() || self.asked.end > from;
        let index = from / BLOCK_BYTES;
        if is_new && !std::mem::replace(&mut self.compared, true) && !missing.contains(&index) {
            missing.push(index);
            missing.sort_unstable();
        }
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

    /// Waits for blocks on their way.
    pub async fn collect(&mut self, waits: Vec<(u64, Arc<Flight>)>) -> Result<(), Failed> {
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
