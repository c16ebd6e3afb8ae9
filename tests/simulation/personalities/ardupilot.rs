//! ArduPilot: a short queue and one slow worker, session ids of the client's choice, and one
//! remembered answer for everybody. Either one open file for the whole vehicle, or five.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::{
    Content, Files, MemoryFile, MemoryFiles, ServedFile, ServedPath,
};
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::{FarSide, Said, bytes_of, checksum_of, page, path_of, service};
use crate::network::Random;
use burst::Burst;

mod burst;

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
/// Left alone for so long, a session can be taken by another id.
const LEFT_ALONE: Duration = Duration::from_secs(3);
/// With five of them, a session is closed after this.
const FORGOTTEN: Duration = Duration::from_secs(20);
const EISDIR: u8 = 21;

/// How many files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// Every 4.x up to 4.6.
    One,
    /// 4.7 and later.
    Five,
}

pub struct ArduPilot {
    files: MemoryFiles,
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
}

struct Slot {
    /// Station and id; on a vehicle with one file the station counts for nothing.
    key: (u8, u8),
    used: Instant,
    open: Option<(MemoryFile, bool)>,
}

impl ArduPilot {
    pub fn new(files: MemoryFiles, sessions: Sessions, seed: u64) -> ArduPilot {
        ArduPilot {
            files,
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
        }
    }

    /// On a line of so many bytes per second that cannot say when it is full.
    pub fn on_uart(files: MemoryFiles, sessions: Sessions, seed: u64, rate: u32) -> ArduPilot {
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
        let answer = match self.admit(now, from, request).and_then(|at| match bursts {
            true => self.begin_burst(now, at, from, request),
            false => self.answer(at, request),
        }) {
            Ok(_) if bursts => return,
            Ok(data) => Payload::ack(request).with_data(&data),
            Err(nak) => Payload { offset: 0, ..Payload::nak(request, nak) },
        };
        self.say(from, answer);
    }

    fn say(&mut self, to: u8, answer: Payload) {
        if answer.bytes[0] != 5 {
            self.remembered = Some((to, answer.session, answer));
        }
        self.saying.push_back((to, answer));
    }

    /// The slot that a request works in.
    fn admit(&mut self, now: Instant, from: u8, request: &Payload) -> Result<usize, Nak> {
        match self.sessions {
            Sessions::One => self.admit_to_the_one(now, request),
            Sessions::Five => self.admit_to_five(now, (from, request.session)),
        }
    }

    fn admit_to_the_one(&mut self, now: Instant, request: &Payload) -> Result<usize, Nak> {
        let id = request.session;
        let Some(slot) = self.slots.first_mut() else {
            self.slots.push(Slot { key: (0, id), used: now, open: None });
            return Ok(0);
        };
        let alone = now.duration_since(slot.used) > LEFT_ALONE;
        slot.used = now;
        if slot.open.is_some() && slot.key.1 != id {
            let ends = [Opcode::TerminateSession as u8, Opcode::ResetSessions as u8];
            if !alone && !ends.contains(&request.opcode) {
                return Err(Nak::InvalidSession);
            }
            if alone {
                *slot = Slot { key: (0, id), used: now, open: None };
            }
        }
        if slot.open.is_none() {
            slot.key.1 = id;
        }
        Ok(0)
    }

    fn admit_to_five(&mut self, now: Instant, key: (u8, u8)) -> Result<usize, Nak> {
        let age = |slot: &Slot| now.duration_since(slot.used);
        self.slots.retain(|slot| match slot.open {
            Some(_) => age(slot) < FORGOTTEN,
            None => age(slot) < LEFT_ALONE,
        });
        if let Some(at) = self.slots.iter().position(|slot| slot.key == key) {
            self.slots[at].used = now;
            return Ok(at);
        }
        if self.slots.len() == 5 {
            let alone = self.slots.iter().position(|slot| age(slot) > LEFT_ALONE);
            self.slots.remove(alone.ok_or(Nak::NoSessionsAvailable)?);
        }
        self.slots.push(Slot { key, used: now, open: None });
        Ok(self.slots.len() - 1)
    }

    fn answer(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
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
            Opcode::CalcFileCrc32 => checksum_of(&self.files, &path_of(request)?),
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

    /// Two NULs behind each entry, and the directory itself and its parent among them.
    fn list(&self, request: &Payload) -> Result<Vec<u8>, Nak> {
        let mut entries = vec![b"D.\0\0".to_vec(), b"D..\0\0".to_vec()];
        entries.extend(self.files.list(&path_of(request)?)?.iter().map(|entry| {
            let name = &entry.name[..];
            match entry.directory {
                true => [b"D", name, b"\0\0"].concat(),
                false => [b"F", name, format!("\t{}\0\0", entry.size).as_bytes()].concat(),
            }
        }));
        let data = page(&entries, request.offset);
        if data.is_empty() { Err(Nak::Eof) } else { Ok(data) }
    }

    fn open(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
        if self.slots[at].open.is_some() {
            return Err(Nak::Fail);
        }
        let path = path_of(request)?;
        let before = self.files.open_to_read(&path);
        let (file, writes) = match request.command() {
            Some(Opcode::OpenFileRo) => (before?, false),
            Some(Opcode::CreateFile) => (self.files.open_to_write(&path, Content::Empty)?, true),
            _ if self.sessions == Sessions::One => {
                before?;
                (self.files.open_to_write(&path, Content::Keep)?, true)
            }
            _ => (self.files.open_to_write(&path, Content::Keep)?, true),
        };
        let size = file.size()? as u32;
        self.slots[at].open = Some((file, writes));
        Ok(if writes { Vec::new() } else { size.to_le_bytes().to_vec() })
    }

    fn read(&self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
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
            Some((file, true)) => file.write_at(u64::from(request.offset), request.data()),
        }
    }

    fn change(&mut self, request: &Payload) -> Result<(), Nak> {
        let Some(opcode) = request.command() else { return Ok(()) };
        match opcode {
            Opcode::CreateDirectory => self.files.make_directory(&path_of(request)?)?,
            Opcode::Rename => {
                let (from, to) = ServedPath::parse_two(request.data())?;
                self.files.rename(&from, &to)?;
            }
            // One call removes files and empty directories alike.
            _ => {
                let path = path_of(request)?;
                let removed = self.files.remove_file(&path).or_else(|nak| match nak {
                    Nak::FailErrno(_) => self.files.remove_directory(&path),
                    other => Err(other),
                });
                removed.map_err(|nak| match nak {
                    Nak::FailErrno(_) => Nak::FailErrno(EISDIR),
                    other => other,
                })?;
            }
        }
        self.changes.push(opcode);
        Ok(())
    }
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
