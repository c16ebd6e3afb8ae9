//! ArduPilot: a short queue and one slow worker, session ids of the client's choice, and one
//! remembered answer for everybody. Either one open file for the whole vehicle, or five.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::MemoryFile;
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::disk::Disk;
use super::places::Places;
use super::{FarSide, Said, service};
use crate::network::Random;
use burst::Burst;
use slots::FORGOTTEN;

mod answers;
mod burst;
mod paths;
mod slots;

/// Requests that wait; what comes above is lost.
const QUEUE: usize = 5;
/// Between two looks into the queue, each of which takes all that is there.
const TICK_LEAST: Duration = Duration::from_millis(6);
const TICK_MOST: Duration = Duration::from_millis(11);
/// What a line with flow control lets wait.
const LINE_BYTES: u32 = 2 * FRAME_BYTES;
const FRAME_BYTES: u32 = 266;
/// So often the worker looks whether the line has room again.
const ROOM_POLL: Duration = Duration::from_millis(1);
/// How many files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// One: every 4.x up to 4.6.
    Old,
    /// One: 4.7-dev of July 2025, which is what was recorded.
    One,
    /// 4.7 and later.
    Five,
}

impl Sessions {
    /// Whether the whole vehicle has one.
    pub fn is_one(self) -> bool {
        match self {
            Sessions::Old | Sessions::One => true,
            Sessions::Five => false,
        }
    }
}

pub struct ArduPilot {
    files: Disk,
    places: Places,
    /// A board with a FAT card, no simulation.
    pub card: bool,
    /// As of late 2026: lists with times, says what it does not know, ends bursts otherwise.
    pub later: bool,
    /// The block size of each opening that must keep to one; 0: not read yet.
    packed: BTreeMap<(u8, u8), u8>,
    sessions: Sessions,
    slots: Vec<Slot>,
    queue: VecDeque<(u8, Payload)>,
    /// When the queue is looked at.
    tick_at: Option<Instant>,
    last_tick: Option<Instant>,
    /// Requests left of those that the last look found.
    serving: usize,
    burst: Option<Burst>,
    /// What the worker wants to say; it does nothing else before it is said.
    saying: VecDeque<(u8, Payload)>,
    waiting_bytes: u32,
    /// Stations whose link is gone.
    gone: BTreeSet<u8>,
    /// Who first asked for anything.
    first: Option<u8>,
    /// The rate of a line without flow control.
    uart_rate: Option<u32>,
    remembered: Option<(u8, u8, Payload)>,
    random: Random,
    changes: Vec<Opcode>,
    /// The error of the last request on a path that failed in the file system.
    left_over: Nak,
}

struct Slot {
    /// Station and id; on a vehicle with one file the station counts for nothing.
    key: (u8, u8),
    used: Instant,
    /// Nothing was asked for in it for a while before this request.
    alone: bool,
    open: Option<(MemoryFile, bool)>,
}

impl ArduPilot {
    pub fn new(files: impl Into<Disk>, sessions: Sessions, seed: u64) -> ArduPilot {
        ArduPilot {
            files: files.into(),
            places: Places::new(),
            card: false,
            later: false,
            packed: BTreeMap::new(),
            sessions,
            slots: Vec::new(),
            queue: VecDeque::new(),
            tick_at: None,
            last_tick: None,
            serving: 0,
            burst: None,
            saying: VecDeque::new(),
            waiting_bytes: 0,
            gone: BTreeSet::new(),
            first: None,
            uart_rate: None,
            remembered: None,
            random: Random::new(seed ^ 0xA4D0),
            changes: Vec::new(),
            left_over: Nak::FailErrno(0),
        }
    }

    /// On a line of so many bytes per second that cannot say when it is full.
    pub fn on_uart(files: impl Into<Disk>, sessions: Sessions, seed: u64, rate: u32) -> ArduPilot {
        ArduPilot { uart_rate: Some(rate), ..ArduPilot::new(files, sessions, seed) }
    }

    /// When the worker, left alone until now, looks at its queue again.
    fn next_tick(&mut self, now: Instant) -> Instant {
        let last = self.last_tick.unwrap_or(now);
        let next = last + service(&mut self.random, TICK_LEAST, TICK_MOST);
        if next > now { next } else { now + service(&mut self.random, Duration::ZERO, TICK_MOST) }
    }

    /// Whether an answer can be sent. The server with one file looks at the link of whoever was
    /// the first to ask since it began, wherever the answer goes.
    fn has_room(&self, to: u8) -> bool {
        let looked_at = if self.sessions.is_one() { self.first.unwrap_or(to) } else { to };
        if self.gone.contains(&looked_at) {
            return false;
        }
        self.uart_rate.is_some() || self.waiting_bytes + FRAME_BYTES <= LINE_BYTES
    }

    /// Works until there is something to say, or nothing to do before the time returned.
    fn work(&mut self, now: Instant) -> Option<Instant> {
        while self.saying.is_empty() {
            if let Some(burst) = &self.burst {
                if burst.next_at > now {
                    return Some(burst.next_at);
                }
                self.go_on_with_burst(now);
                continue;
            }
            if self.serving > 0 {
                self.serving -= 1;
                if let Some((from, request)) = self.queue.pop_front() {
                    self.execute(now, from, &request);
                }
                continue;
            }
            match self.tick_at? {
                at if at > now => return Some(at),
                _ => self.serving = self.queue.len(),
            }
            (self.last_tick, self.tick_at) = (Some(now), None);
        }
        Some(now)
    }

    fn execute(&mut self, now: Instant, from: u8, request: &Payload) {
        let known = self.remembered.filter(|(station, session, answer)| {
            (*station, *session) == (from, request.session)
                && request.sequence.wrapping_add(1) == answer.sequence
        });
        if let Some((_, _, answer)) = known {
            return self.saying.push_back((from, answer));
        }
        let bursts = request.command() == Some(Opcode::BurstReadFile);
        let fits = usize::from(request.size) <= DATA_BYTES_MAX;
        let admitted =
            if fits { self.admit(now, from, request) } else { Err(Nak::InvalidDataSize) };
        let answer = match admitted.and_then(|at| match bursts {
            true => self.begin_burst(now, at, from, request),
            false => self.answer(at, request),
        }) {
            Ok(_) if bursts => return,
            Ok(data) => Payload::ack(request).with_data(&data),
            Err(nak) => {
                // Only the end of a listing says where it is.
                let list = request.opcode == Opcode::ListDirectory as u8 && nak == Nak::Eof;
                let offset = if list { request.offset } else { 0 };
                Payload { offset, ..Payload::nak(request, nak) }
            }
        };
        self.say(from, answer);
    }

    fn say(&mut self, to: u8, answer: Payload) {
        if answer.bytes[0] != 5 {
            self.remembered = Some((to, answer.session, answer));
        }
        self.saying.push_back((to, answer));
    }
}

impl FarSide for ArduPilot {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload) {
        if self.queue.len() < QUEUE {
            self.first.get_or_insert(from);
            self.queue.push_back((from, *request));
            if self.tick_at.is_none() {
                self.tick_at = Some(self.next_tick(now));
            }
        }
    }

    fn poll(&mut self, now: Instant) -> Said {
        let at = self.work(now);
        match self.saying.front().copied() {
            None => Said::Nothing(at),
            Some((to, _)) if !self.has_room(to) => Said::Nothing(Some(now + ROOM_POLL)),
            Some((to, answer)) => {
                self.saying.pop_front();
                Said::To(to, Box::new(answer))
            }
        }
    }

    fn line(&mut self, waiting_bytes: u32) {
        self.waiting_bytes = waiting_bytes;
    }

    fn link(&mut self, station: u8, there: bool) {
        if there {
            self.gone.remove(&station)
        } else {
            self.gone.insert(station)
        };
    }

    fn open_files(&self, now: Instant) -> usize {
        let forgets = self.sessions == Sessions::Five;
        let forgotten = |slot: &Slot| forgets && now.duration_since(slot.used) >= FORGOTTEN;
        self.slots.iter().filter(|slot| slot.open.is_some() && !forgotten(slot)).count()
    }

    fn restart(&mut self) {
        self.slots.clear();
        self.queue.clear();
        self.saying.clear();
        (self.serving, self.first) = (0, None);
        (self.tick_at, self.burst, self.remembered) = (None, None, None);
    }

    fn changes(&self) -> &[Opcode] {
        &self.changes
    }
}
