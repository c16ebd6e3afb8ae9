//! ArduPilot: a short queue and one slow worker, session ids of the client's choice, and one
//! remembered answer for everybody. Either one open file for the whole vehicle, or five.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::{Content, Files, MemoryFile, ServedFile};
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::disk::Disk;
use super::places::Places;
use super::{FarSide, Said, bytes_of, checksum_of, service};
use crate::network::Random;
use burst::Burst;
use slots::FORGOTTEN;

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
const EACCES: u8 = 13;
const EISDIR: u8 = 21;
const EINVAL: u8 = 22;
/// What a FAT card holds where nothing was written.
const UNDEFINED: u8 = 0xA5;

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

    fn has_room(&self) -> bool {
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

    fn answer(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
        let result = self.perform(at, request);
        if let Err(nak @ (Nak::FileNotFound | Nak::FileExists | Nak::FailErrno(_))) = &result
            && on_a_path(request)
        {
            self.left_over = *nak;
        }
        result
    }

    fn perform(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
        let empty = |()| Vec::new();
        match request.command().ok_or(Nak::Fail)? {
            Opcode::None => Ok(Vec::new()),
            Opcode::TerminateSession | Opcode::ResetSessions => {
                if self.slots[at].key.1 == request.session {
                    self.slots[at].open = None;
                }
                Ok(Vec::new())
            }
            Opcode::ListDirectory => self.list(request),
            Opcode::OpenFileRo | Opcode::OpenFileWo | Opcode::CreateFile => self.open(at, request),
            Opcode::ReadFile => self.read(at, request),
            Opcode::WriteFile => self.write(at, request).map(empty),
            Opcode::CalcFileCrc32 => checksum_of(&self.files, &self.path_of(request)?),
            Opcode::RemoveFile
            | Opcode::CreateDirectory
            | Opcode::RemoveDirectory
            | Opcode::Rename => self.change(request).map(empty),
            Opcode::TruncateFile
            | Opcode::ListDirectoryWithTime
            | Opcode::BurstReadFile
            | Opcode::Ack
            | Opcode::Nak => Err(Nak::Fail),
        }
    }

    fn open(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
        // Who only wants to read takes over what was left alone.
        let takes = self.slots[at].alone && request.command() == Some(Opcode::OpenFileRo);
        if self.slots[at].open.is_some() && !takes {
            return Err(Nak::Fail);
        }
        let path = self.path_of(request)?;
        let writes = request.command() != Some(Opcode::OpenFileRo);
        let files = match Places::holds(&path) {
            true => self.places.files(&path, writes)?,
            false => &self.files,
        };
        let before = files.open_to_read(&path);
        if before.as_ref().is_err_and(|nak| *nak == Nak::FailErrno(EISDIR)) {
            // No system call fails, so whatever failed before is told.
            return Err(self.left_over);
        }
        let (file, writes) = match request.command() {
            Some(Opcode::OpenFileRo) => (before?, false),
            Some(Opcode::CreateFile) => (files.open_to_write(&path, Content::Empty)?, true),
            _ if self.sessions.is_one() => {
                before?;
                (files.open_to_write(&path, Content::Keep)?, true)
            }
            _ => (files.open_to_write(&path, Content::Keep)?, true),
        };
        let size = Places::told_size(&path, file.size()? as u32);
        self.packed.remove(&self.slots[at].key);
        if Places::is_packed(&path) && !writes {
            self.packed.insert(self.slots[at].key, 0);
        }
        self.slots[at].open = Some((file, writes));
        Ok(if writes { Vec::new() } else { size.to_le_bytes().to_vec() })
    }

    fn read(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
        if let Some(block) = self.packed.get_mut(&self.slots[at].key) {
            if *block != 0 && *block != request.size {
                return Err(Nak::FailErrno(EINVAL));
            }
            *block = request.size;
        }
        match &self.slots[at].open {
            None => Err(Nak::FileNotFound),
            Some((_, true)) => Err(Nak::Fail),
            Some((file, false)) => {
                let count = usize::from(request.size).min(DATA_BYTES_MAX);
                let data = bytes_of(file, request, count)?;
                if data.is_empty() { Err(Nak::Eof) } else { Ok(data) }
            }
        }
    }

    fn write(&self, at: usize, request: &Payload) -> Result<(), Nak> {
        match &self.slots[at].open {
            None => Err(Nak::FileNotFound),
            Some((_, false)) => Err(Nak::Fail),
            Some((file, true)) => {
                let offset = u64::from(request.offset);
                let end = file.size()?;
                if self.card && offset > end {
                    file.write_at(end, &vec![UNDEFINED; (offset - end) as usize])?;
                }
                // How much of it there was room for, nobody looks at.
                let _ = file.write_at(offset, request.data());
                Ok(())
            }
        }
    }

    fn change(&mut self, request: &Payload) -> Result<(), Nak> {
        let Some(opcode) = request.command() else { return Ok(()) };
        match opcode {
            Opcode::Rename => {
                let (from, to) = self.two_paths_of(request)?;
                let there = !matches!(self.files.open_to_read(&to), Err(Nak::FileNotFound));
                // FAT replaces nothing.
                if self.card && there {
                    return Err(Nak::FileExists);
                }
                self.files.rename(&from, &to)?;
            }
            _ if Places::holds(&self.path_of(request)?) => return Err(self.left_over),
            Opcode::CreateDirectory => self.files.make_directory(&self.path_of(request)?)?,
            // One call removes files and empty directories alike.
            _ => {
                let path = self.path_of(request)?;
                let refused = if self.card { EACCES } else { EISDIR };
                let removed = self.files.remove_file(&path).or_else(|nak| match nak {
                    Nak::FailErrno(_) => self.files.remove_directory(&path),
                    other => Err(other),
                });
                removed.map_err(|nak| match nak {
                    Nak::FailErrno(_) => Nak::FailErrno(refused),
                    other => other,
                })?;
            }
        }
        self.changes.push(opcode);
        Ok(())
    }
}

/// Whether what fails is the file system.
fn on_a_path(request: &Payload) -> bool {
    let sessions = [Opcode::ReadFile as u8, Opcode::WriteFile as u8, Opcode::BurstReadFile as u8];
    !sessions.contains(&request.opcode)
}

impl FarSide for ArduPilot {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload) {
        if self.queue.len() < QUEUE {
            self.queue.push_back((from, *request));
            if self.tick_at.is_none() {
                self.tick_at = Some(self.next_tick(now));
            }
        }
    }

    fn poll(&mut self, now: Instant) -> Said {
        let at = self.work(now);
        if self.saying.is_empty() {
            return Said::Nothing(at);
        }
        if !self.has_room() {
            return Said::Nothing(Some(now + ROOM_POLL));
        }
        match self.saying.pop_front() {
            Some((to, answer)) => Said::To(to, Box::new(answer)),
            None => Said::Nothing(at),
        }
    }

    fn line(&mut self, waiting_bytes: u32) {
        self.waiting_bytes = waiting_bytes;
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
        self.serving = 0;
        (self.tick_at, self.burst, self.remembered) = (None, None, None);
    }

    fn changes(&self) -> &[Opcode] {
        &self.changes
    }
}
