//! Bursts of the open file: when one is asked for, what it brings, and what follows it. Which way of
//! reading is better is `transfer::Choice`'s to say.

use std::time::{Duration, Instant};

use crate::mavftp::transfer::{Burst, Choice, Wanted};
use crate::mavftp::wire::{Nak, Opcode, Payload};

use super::exchange::Owner;
use super::job::{Job, Kind};
use super::slot::{Access, DOUBT, Slot};
use super::{Client, Event, RequestId};

/// Numbers kept free for the packets of a burst, so that none of ours looks like a repeat of it.
const NUMBERS_MAX: u32 = 2100;
/// Lost packets asked for in the same flight as the next burst, where the queue is short.
const REPAIRS_MAX: usize = 4;
/// PX4 closes a file that is asked for nothing for 10 s, though a burst runs.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// Bursts in a row of which nothing came.
const MUTE_MAX: u32 = 2;

/// How a server's bursts behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bursts {
    /// Reads are never worse, or a burst beside them does harm.
    Unused,
    /// Another one takes the place of the running one; other requests are answered meanwhile.
    Replaced,
    /// It runs to its end; what is asked meanwhile waits in the server's queue.
    Queued,
}

/// The burst under way, and what it follows.
#[derive(Debug)]
pub struct Stream {
    choice: Choice,
    running: Option<Burst>,
    /// The next one waits in the server's queue behind the running one.
    queued: Option<Burst>,
    /// The one before, of which packets may still come.
    before: Option<Burst>,
    /// Where the next burst begins; what is missing before it is asked for first.
    next_from: Option<u32>,
    /// What comes belongs to no file any more.
    void: bool,
    mute: u32,
    alive: Option<Instant>,
}

impl Stream {
    /// Nothing is streamed yet from a server whose bursts behave so.
    pub fn new(bursts: Bursts) -> Stream {
        Stream {
            choice: Choice::new(bursts),
            running: None,
            queued: None,
            before: None,
            next_from: None,
            void: false,
            mute: 0,
            alive: None,
        }
    }

    /// Whether a burst is under way.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the server looks at nothing else before the burst under way is over.
    pub fn holds_others(&self) -> bool {
        self.running.is_some() && self.choice.holds_others()
    }

    /// Blocks before this offset may be asked for one by one.
    pub fn reads_before(&self) -> u32 {
        match &self.running {
            Some(burst) if self.choice.repairs() => burst.settled(),
            Some(_) => 0,
            None => self.next_from.unwrap_or(u32::MAX),
        }
    }

    /// Whether so many blocks are on their way that no more may be, or the next burst finds no place.
    pub fn is_crowded(&self, blocks: usize) -> bool {
        self.next_from.is_some() && self.choice.holds_others() && blocks >= REPAIRS_MAX
    }

    /// The session is gone, and with it what was asked of it. A burst that nothing stops goes on.
    pub fn lose(&mut self) {
        self.void = self.holds_others();
        if !self.void {
            self.running = None;
        }
        (self.queued, self.before, self.next_from) = (None, None, None);
        self.choice.rest();
    }

    /// The burst that a packet belongs to, and how many of its data bytes are the file's.
    fn take(&mut self, now: Instant, payload: &Payload) -> Option<usize> {
        if let Some(next) = self.queued.as_mut()
            && let Some(count) = next.take(now, payload)
        {
            self.before = self.running.take();
            self.running = self.queued.take();
            return Some(count);
        }
        let current = self.running.as_mut().and_then(|burst| burst.take(now, payload));
        current.or_else(|| self.before.as_mut().and_then(|burst| burst.take(now, payload)))
    }
}

impl Client {
    /// Takes in a packet of a burst.
    pub(super) fn burst_received(&mut self, now: Instant, silence: Duration, payload: &Payload) {
        let session = self.slot.open().map(|holding| holding.session);
        let ours = self.stream.void || session == Some(payload.session);
        if !ours || !self.stream.is_running() {
            return self.exchange.note_unmatched();
        }
        if silence >= DOUBT && !self.stream.void {
            // The silence may have cost the session.
            self.doubtful = true;
        }
        let taken = self.stream.take(now, payload);
        if self.stream.void || self.doubtful {
            self.progress = now;
            return;
        }
        if let Some(count) = taken {
            self.stream.mute = 0;
            self.hand_out(now, payload, count);
        }
        let refusal = self.stream.running.as_ref().and_then(Burst::refusal);
        if let Some(nak) = refusal {
            self.burst_refused(now, nak);
        }
    }

    /// Ends a burst that is over, and plans what follows. Called before anything is sent.
    pub(super) fn follow_burst(&mut self, now: Instant) {
        if let Some(burst) = &self.stream.running
            && (burst.is_ended() || now >= self.stalls_at(burst))
        {
            self.burst_over(now);
        }
        if self.stream.running.is_none() && self.stream.next_from.is_none() {
            self.stream.next_from = self.burst_from(now);
        }
    }

    /// The next request that has to do with bursts.
    pub(super) fn next_burst(&mut self, now: Instant) -> Option<Payload> {
        let holding = self.slot.open()?;
        let session = holding.session;
        if self.stream.is_running() {
            return self.keep_alive(now, session).or_else(|| self.queue_burst(now, session));
        }
        if self.stream.next_from.is_none()
            || !self.exchange.has_room()
            || self.turn_over(now, holding)
        {
            return None;
        }
        self.stream.next_from = None;
        let from = self.burst_from(now)?;
        let burst = self.new_burst(now, from)?;
        self.stream.running = Some(burst.0);
        self.stream.alive = Some(now);
        Some(Payload { session, ..burst.1 })
    }

    /// When [`Client::follow_burst`] or [`Client::next_burst`] has something to do.
    pub(super) fn stream_wakes(&self) -> Option<Instant> {
        let stalls = self.stream.running.as_ref().map(|burst| self.stalls_at(burst));
        let idle = self.keeps_alive() && self.exchange.len() == 0;
        let alive = self.stream.alive.filter(|_| idle).map(|at| at + KEEP_ALIVE);
        [stalls, alive].into_iter().flatten().min()
    }

    fn hand_out(&mut self, now: Instant, payload: &Payload, count: usize) {
        let Slot::Open(holding) = &self.slot else { return };
        let mut moved = None;
        for (id, job) in &mut self.jobs {
            if !job.kind.uses(*id, &holding.file) {
                continue;
            }
            let Kind::Read(read) = &mut job.kind else { continue };
            if let Some(range) = read.streamed(payload.offset, count) {
                let at = payload.offset.saturating_add(range.start as u32);
                self.events.push_back(Event::Data(*id, at, *payload, range));
                (job.progress, job.openings) = (now, 0);
                moved = Some(*id);
            }
        }
        self.progress = now;
        self.slot.touch(now);
        if let Some(id) = moved {
            self.moved(now, id);
            self.end_complete_reads();
        }
    }

    fn end_complete_reads(&mut self) {
        let complete = |(id, job): (&RequestId, &Job)| match &job.kind {
            Kind::Read(read) if read.is_complete() => Some(*id),
            Kind::Read(_)
            | Kind::Simple(..)
            | Kind::Confirm(_)
            | Kind::List(_)
            | Kind::Write(_) => None,
        };
        while let Some(id) = self.jobs.iter().find_map(complete) {
            self.end_if_read(id);
        }
    }

    fn burst_refused(&mut self, now: Instant, nak: Nak) {
        self.stream.lose();
        match nak {
            // Not known, or not from here on.
            Nak::UnknownCommand | Nak::Fail | Nak::Eof | Nak::InvalidDataSize => {
                self.stream.choice.give_up(now);
            }
            Nak::FailErrno(_)
            | Nak::InvalidSession
            | Nak::NoSessionsAvailable
            | Nak::FileExists
            | Nak::FileProtected
            | Nak::FileNotFound
            | Nak::Other(_) => {
                self.stream.choice.give_up(now);
                self.session_refused(Err(nak));
            }
        }
    }

    fn burst_over(&mut self, now: Instant) {
        let Some(mut burst) = self.stream.running.take() else { return };
        if std::mem::take(&mut self.stream.void) {
            return;
        }
        match burst.packets() {
            0 => {
                self.stream.mute += 1;
                if self.stream.mute >= MUTE_MAX {
                    self.stream.mute = 0;
                    self.stream.choice.give_up(now);
                }
            }
            _ => self.stream.choice.finished(now, &burst),
        }
        for _ in burst.packets()..burst.sent() {
            self.block_size.lose(now, 0);
        }
        burst.stop();
        self.stream.before = Some(burst);
        self.stream.running = self.stream.queued.take();
    }

    /// Where a burst should begin now.
    fn burst_from(&mut self, now: Instant) -> Option<u32> {
        let block = self.block_size.bytes();
        if !self.stream.choice.is_due(now, self.exchange.reading(), block) {
            return None;
        }
        let wanted = self.wanted()?;
        self.stream.choice.burst_from(self.exchange.reading(), &wanted)
    }

    /// What is wanted in one piece of the open file, if it is one that can be streamed.
    fn wanted(&self) -> Option<Wanted> {
        let holding = self.slot.open().filter(|holding| holding.file.access == Access::Read)?;
        let after = self.stream.before.as_ref().map_or(0, Burst::high);
        let reads = || {
            self.jobs.iter().filter(|(id, job)| job.kind.uses(**id, &holding.file)).filter_map(
                |(_, job)| match &job.kind {
                    Kind::Read(read) if read.is_begun() && !read.is_made_up() => Some((read, job)),
                    Kind::Read(_)
                    | Kind::Simple(..)
                    | Kind::Confirm(_)
                    | Kind::List(_)
                    | Kind::Write(_) => None,
                },
            )
        };
        let from = |after| reads().filter_map(move |(read, _)| read.missing_from(after));
        // Go on where the last one ended, if something is wanted there; else where anything is.
        let mut bytes = from(after)
            .min_by_key(|range| range.start)
            .or_else(|| from(0).min_by_key(|range| range.start))?;
        while let Some(more) = from(bytes.end).find(|range| range.start == bytes.end) {
            bytes.end = more.end;
        }
        let alone = self.jobs.len() == reads().count();
        let patience = reads().map(|(_, job)| job.patience).min()?;
        let block = self.block_size.bytes();
        Some(Wanted { bytes, size: holding.size, block, allowed: patience / 2, alone })
    }

    fn new_burst(&mut self, now: Instant, from: u32) -> Option<(Burst, Payload)> {
        let size = self.slot.open()?.size;
        let block = self.block_size.bytes();
        let rest = size.saturating_sub(from).div_ceil(u32::from(block.max(1)));
        let number = self.exchange.reserve((rest + 2).min(NUMBERS_MAX) as u16);
        let burst = Burst::new(now, number, from, block, size);
        let request = Payload {
            sequence: number,
            offset: from,
            size: block,
            ..Payload::request(Opcode::BurstReadFile)
        };
        Some((burst, request))
    }

    /// Where the running burst will end is known and near: the next one waits behind it, so that the
    /// link does not run empty for a round trip. Not when others wait for the server.
    fn queue_burst(&mut self, now: Instant, session: u8) -> Option<Payload> {
        let limit = self.stream.choice.limit().filter(|_| self.stream.choice.holds_others())?;
        let burst = self.stream.running.as_ref().filter(|burst| !burst.is_ended())?;
        if self.stream.queued.is_some() || self.stream.void || self.others_wait() {
            return None;
        }
        let trip = self.exchange.round_trip().smoothed()?;
        let ahead = trip.as_secs_f64() * 1.5 / burst.gap()?.as_secs_f64().max(1e-6);
        let from = burst.start().checked_add(limit.checked_mul(burst.chunk())?)?;
        if burst.sent() + (ahead as u32) + 4 < limit {
            return None;
        }
        let mut wanted = self.wanted()?;
        if wanted.bytes.end <= from {
            return None;
        }
        wanted.bytes.start = from;
        let from = self.stream.choice.burst_from(self.exchange.reading(), &wanted)?;
        let (burst, request) = self.new_burst(now, from)?;
        self.stream.queued = Some(burst);
        Some(Payload { session, ..request })
    }

    /// Whether somebody waits for this server who wants something else than this file.
    fn others_wait(&self) -> bool {
        let Some(holding) = self.slot.open() else { return true };
        self.jobs.iter().any(|(id, job)| !job.kind.uses(*id, &holding.file))
    }

    fn keep_alive(&mut self, now: Instant, session: u8) -> Option<Payload> {
        if !self.keeps_alive() || self.exchange.len() > 0 {
            return None;
        }
        let due = self.stream.alive.is_some_and(|at| now >= at + KEEP_ALIVE);
        due.then(|| {
            self.stream.alive = Some(now);
            let request = Payload { session, ..Payload::request(Opcode::None) };
            self.exchange.send(now, Owner::KeepAlive, request, Duration::ZERO)
        })
    }

    fn keeps_alive(&self) -> bool {
        self.traits.one_session && self.stream.is_running()
    }

    fn stalls_at(&self, burst: &Burst) -> Instant {
        burst.stalls_at(self.exchange.round_trip().timeout(1, Duration::ZERO))
    }
}
