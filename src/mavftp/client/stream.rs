//! Bursts of the open file: when one is asked for, what it brings, and what follows it. Which way of
//! reading is better is `transfer::Choice`'s to say.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::mavftp::transfer::{Burst, Choice, ReadJob, Taken, Wanted};
use crate::mavftp::wire::{Nak, Opcode, Payload};

use super::exchange::Owner;
use super::job::{Job, Kind};
use super::slot::{Access, Slot};
use super::{Client, Event, RequestId, Restraint};

/// Numbers kept free for the packets of a burst, so that none of ours looks like a repeat of it.
const NUMBERS_MAX: u32 = 2100;
/// Lost packets asked for in the same flight as the next burst, where the queue is short.
const REPAIRS_MAX: usize = 4;
/// PX4 closes a file that is asked for nothing for 10 s, though a burst runs.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// Packets of one burst of a server that answers others beside it (PX4: 35 kB), and some.
const PACKETS_REPLACED: u32 = 180;
/// Bursts in a row of which nothing came before reads are the better choice, where these go on beside them …
const MUTE_MAX: u32 = 1;
/// … and where reads would wait as well: most likely it was the request that was lost.
const MUTE_QUEUED_MAX: u32 = 5;
/// Bursts of which packets are taken, the oldest gives way.
const BURSTS_MAX: usize = 4;
/// The next burst is asked for so many round trips before the one under way ends …
const AHEAD_TRIPS: f64 = 1.5;
/// … and packets.
const AHEAD_PACKETS: u32 = 4;

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

/// The bursts asked for of the open file.
#[derive(Debug)]
pub struct Stream {
    choice: Choice,
    /// Those of which packets may come, in the order in which they were asked for.
    bursts: VecDeque<Burst>,
    /// How many of the first of them have been judged.
    judged: usize,
    /// Where the next burst begins; what is missing before it is asked for first.
    next_from: Option<u32>,
    /// The next burst is about to be asked for while one is under way.
    renewing: bool,
    /// What comes belongs to no file any more.
    void: bool,
    /// Bursts in a row of which nothing came.
    mute: u32,
    alive: Option<Instant>,
}

impl Stream {
    /// Nothing is streamed yet from a server whose bursts behave so.
    pub fn new(bursts: Bursts) -> Stream {
        Stream {
            choice: Choice::new(bursts),
            bursts: VecDeque::new(),
            judged: 0,
            next_from: None,
            renewing: false,
            void: false,
            mute: 0,
            alive: None,
        }
    }

    /// Whether a burst is under way.
    pub fn is_running(&self) -> bool {
        self.running().is_some()
    }

    /// Whether a burst is under way, or the next.
    pub fn is_used(&self) -> bool {
        self.is_running() || self.next_from.is_some()
    }

    /// Whether the server looks at nothing else before the burst under way is over.
    pub fn holds_others(&self) -> bool {
        self.choice.holds_others() && self.is_running()
    }

    /// Whether lost packets are asked for now, though nothing else is.
    pub fn is_renewing(&self) -> bool {
        self.renewing
    }

    /// Blocks before this offset may be asked for one by one, by who wants the first at `first`.
    /// `hurried`: the burst runs for others too, who can wait.
    pub fn reads_before(&self, first: u32, hurried: bool) -> u32 {
        match self.running() {
            // What the burst will not bring, or not at once, is asked for beside it.
            Some(burst)
                if self.choice.repairs()
                    && (hurried || first >= burst.reaches(PACKETS_REPLACED)) =>
            {
                u32::MAX
            }
            Some(burst) if self.renewing || self.choice.repairs() => burst.settled(),
            Some(_) => 0,
            None => self.next_from.unwrap_or(u32::MAX),
        }
    }

    /// Whether so many blocks are on their way that no more may be, or the next burst finds no place.
    pub fn is_crowded(&self, blocks: usize) -> bool {
        self.is_used() && self.choice.holds_others() && blocks >= REPAIRS_MAX
    }

    /// The session is gone, and with it what was asked of it. A burst that nothing stops goes on.
    pub fn lose(&mut self) {
        self.void = self.holds_others();
        if !self.void {
            self.bursts.clear();
            self.judged = 0;
        }
        (self.next_from, self.renewing) = (None, false);
        self.choice.rest();
    }

    fn running(&self) -> Option<&Burst> {
        self.bursts.iter().find(|burst| !burst.is_over())
    }

    /// Those asked for behind the one that is under way.
    fn queued(&self) -> usize {
        self.bursts.iter().filter(|burst| !burst.is_over()).count().saturating_sub(1)
    }

    fn push(&mut self, burst: Burst) {
        self.bursts.push_back(burst);
        if self.bursts.len() > BURSTS_MAX {
            self.bursts.pop_front();
            self.judged = self.judged.saturating_sub(1);
        }
    }

    /// Gives a packet to the burst that it belongs to. Those before that one are over then.
    fn take(&mut self, now: Instant, payload: &Payload) -> Option<Taken> {
        let taken = |burst: &mut Burst| burst.take(now, payload);
        let (at, taken) =
            self.bursts.iter_mut().enumerate().find_map(|(at, burst)| Some((at, taken(burst)?)))?;
        self.bursts.iter_mut().take(at).for_each(Burst::supersede);
        if self.bursts.get(at).is_some_and(|burst| !burst.is_over()) {
            // One that had only stalled is judged again.
            self.judged = self.judged.min(at);
        }
        Some(taken)
    }
}

impl Client {
    /// Takes in a packet of a burst.
    pub(super) fn burst_received(&mut self, now: Instant, silence: Duration, payload: &Payload) {
        let session = self.slot.open().map(|holding| holding.session);
        let ours = self.stream.void || session == Some(payload.session);
        if !ours || self.stream.bursts.is_empty() {
            return self.exchange.note_unmatched();
        }
        self.doubtful |= !self.stream.void && self.is_doubtful_after(silence);
        let taken = self.stream.take(now, payload);
        if self.stream.void || self.doubtful {
            self.progress = now;
            return;
        }
        match taken {
            Some(taken) => {
                self.stream.mute = 0;
                self.exchange.note_heard();
                for _ in 0..taken.skipped {
                    self.block_lost(now, 0);
                }
                self.hand_out(now, payload, taken.bytes);
            }
            None => {
                let refusal = self.stream.bursts.iter().find_map(Burst::refusal);
                if let Some(nak) = refusal {
                    self.burst_refused(now, nak);
                }
            }
        }
    }

    /// Judges bursts that are over, and plans what follows. Called before anything is sent.
    pub(super) fn follow_burst(&mut self, now: Instant) {
        if self.stream.running().is_some_and(|burst| now >= self.stalls_at(burst)) {
            // Nothing comes of those behind it either.
            self.stream.bursts.iter_mut().filter(|burst| !burst.is_over()).for_each(Burst::stall);
        }
        while let Some(burst) =
            self.stream.bursts.get(self.stream.judged).filter(|burst| burst.is_over()).cloned()
        {
            self.stream.judged += 1;
            self.judge_burst(now, &burst);
        }
        if !self.stream.is_running() {
            if self.stream.void {
                // They were another session's.
                self.stream.bursts.clear();
                self.stream.judged = 0;
            }
            (self.stream.void, self.stream.renewing) = (false, false);
            if self.stream.next_from.is_none() {
                self.stream.next_from = self.burst_from(now);
            }
        } else if !self.stream.renewing && self.renewal_due() {
            // Those that were asked for with the burst under way were answered before it, or lost.
            self.forget_blocks();
            self.stream.renewing = true;
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
        self.ask_burst(now, from, session)
    }

    /// When [`Client::follow_burst`] or [`Client::next_burst`] has something to do.
    pub(super) fn stream_wakes(&self) -> Option<Instant> {
        let stalls = self.stream.running().map(|burst| self.stalls_at(burst));
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
            self.moved(now, id, count.min(usize::from(u8::MAX)) as u8);
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

    fn judge_burst(&mut self, now: Instant, burst: &Burst) {
        if self.stream.void {
            return;
        }
        if burst.packets() > 0 {
            return self.stream.choice.finished(now, burst);
        }
        self.stream.mute += 1;
        self.block_lost(now, self.stream.mute);
        let most = if self.stream.choice.holds_others() { MUTE_QUEUED_MAX } else { MUTE_MAX };
        if self.stream.mute >= most {
            self.stream.mute = 0;
            self.stream.choice.give_up(now);
        }
    }

    /// Where a burst should begin now.
    fn burst_from(&mut self, now: Instant) -> Option<u32> {
        let block = self.block_size.bytes();
        let bound = self.limited || self.restraint != Restraint::Free;
        if bound || !self.stream.choice.is_due(now, self.exchange.reading(), block) {
            return None;
        }
        let high = self.stream.bursts.back().map_or(0, Burst::high);
        // Go on where the last one ended, if something is wanted there; else where anything is.
        let wanted = self.wanted(high).or_else(|| self.wanted(0))?;
        let flow = self.exchange.reading();
        let from = self.stream.choice.burst_from(flow, &wanted);
        from.or_else(|| self.sweep_from(&wanted, high)).or_else(|| self.sweep_from(&wanted, 0))
    }

    /// What is wanted in one piece of the open file from `after` on, if it can be streamed.
    fn wanted(&self, after: u32) -> Option<Wanted> {
        let holding = self.slot.open().filter(|holding| holding.file.access == Access::Read)?;
        let from = |after| self.reads().filter_map(move |read| read.missing_from(after));
        let mut bytes = from(after).min_by_key(|range| range.start)?;
        while let Some(more) = from(bytes.end).find(|range| range.start == bytes.end) {
            bytes.end = more.end;
        }
        let alone = self.jobs.len() == self.reads().count();
        let patience = self.jobs.values().map(|job| job.patience).min()?;
        let block = self.block_size.bytes_of_burst();
        Some(Wanted { bytes, size: holding.size, block, allowed: patience / 2, alone })
    }

    /// Where a burst should begin, from `after` on, that brings what those before have lost.
    fn sweep_from(&self, wanted: &Wanted, after: u32) -> Option<u32> {
        let limit = self.stream.choice.limit()?;
        let missing = self.reads().filter_map(|read| read.missing_from(after));
        let start = missing.map(|bytes| bytes.start).min()?;
        let mut wanted = wanted.clone();
        let span = limit.saturating_mul(u32::from(wanted.block));
        wanted.bytes = start..start.saturating_add(span).min(wanted.size);
        let missing: u64 = self.reads().map(|read| read.missing_within(&wanted.bytes)).sum();
        let blocks = missing.div_ceil(u64::from(wanted.block.max(1)));
        self.stream.choice.sweep_from(&wanted, u32::try_from(blocks).unwrap_or(u32::MAX))
    }

    /// The reads of the open file that can be streamed.
    fn reads(&self) -> impl Iterator<Item = &ReadJob> {
        let file = self.slot.open().map(|holding| &holding.file);
        self.jobs.iter().filter_map(move |(id, job)| match &job.kind {
            Kind::Read(read)
                if read.is_begun()
                    && !read.is_made_up()
                    && file.is_some_and(|file| job.kind.uses(*id, file)) =>
            {
                Some(read)
            }
            Kind::Read(_)
            | Kind::Simple(..)
            | Kind::Confirm(_)
            | Kind::List(_)
            | Kind::Write(_) => None,
        })
    }

    fn ask_burst(&mut self, now: Instant, from: u32, session: u8) -> Option<Payload> {
        let size = self.slot.open()?.size;
        let block = self.block_size.bytes_of_burst();
        let rest = size.saturating_sub(from).div_ceil(u32::from(block.max(1)));
        let number = self.exchange.reserve((rest + 2).min(NUMBERS_MAX) as u16);
        self.stream.push(Burst::new(now, number, from, block, size));
        (self.stream.alive, self.stream.renewing) = (Some(now), false);
        // What comes back meanwhile tells nothing of what reads would bring.
        self.exchange.reading().rest();
        if self.stream.choice.holds_others() {
            self.exchange.stop_timing();
        }
        Some(Payload {
            sequence: number,
            session,
            offset: from,
            size: block,
            ..Payload::request(Opcode::BurstReadFile)
        })
    }

    /// Where the burst under way will end is known and near: the next one waits behind it, so that the
    /// link does not run empty for a round trip. Not when others wait for the server.
    fn renewal_due(&self) -> bool {
        let ahead = || {
            let limit = self.stream.choice.limit().filter(|_| self.stream.choice.holds_others())?;
            let burst = self.stream.running()?;
            let trip = self.exchange.round_trip().smoothed()?.as_secs_f64() * AHEAD_TRIPS;
            let ahead = trip / burst.gap()?.as_secs_f64().max(1e-6);
            Some(burst.sent() + ahead as u32 + AHEAD_PACKETS >= limit)
        };
        let free = self.stream.queued() == 0 && !self.stream.void && !self.others_wait();
        self.stream.choice.prefers_bursts() && free && ahead().unwrap_or(false)
    }

    fn queue_burst(&mut self, now: Instant, session: u8) -> Option<Payload> {
        if !self.stream.renewing {
            return None;
        }
        let limit = self.stream.choice.limit()?;
        let burst = self.stream.running()?;
        let from = burst.start().checked_add(limit.checked_mul(burst.chunk())?)?;
        let wanted = self.wanted(from)?;
        let from = self.stream.choice.burst_from(self.exchange.reading(), &wanted)?;
        self.ask_burst(now, from, session)
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
        // The first packet comes behind what was asked for with it, and behind the burst before.
        let patience = self.exchange.round_trip().timeout(1, Duration::ZERO) * 5 / 4;
        let last = self.stream.bursts.iter().filter_map(|burst| burst.times().1).max();
        burst.stalls_at(patience).max(last.map_or(burst.times().0, |last| last + patience))
    }
}
