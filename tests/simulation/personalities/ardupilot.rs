//! ArduPilot: a short queue and one slow worker, session ids of the client's choice, and one
//! remembered answer for everybody. Either one open file for the whole vehicle, or five.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::{Content, Files, MemoryFile, ServedFile, ServedPath};
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::disk::{Disk, Found};
use super::{FarSide, Outbox, Said, bytes_of, checksum_of, climbing_path_of, page, service};
use crate::network::Random;

/// Requests that wait; what comes above is lost.
const QUEUE: usize = 5;
const SERVICE_LEAST: Duration = Duration::from_millis(6);
const SERVICE_MOST: Duration = Duration::from_millis(11);
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
    files: Disk,
    sessions: Sessions,
    slots: Vec<Slot>,
    queue: VecDeque<(u8, Payload)>,
    /// When the request at the head of the queue is done.
    done_at: Option<Instant>,
    remembered: Option<(u8, u8, Payload)>,
    random: Random,
    out: Outbox,
    changes: Vec<Opcode>,
    /// The error of the last request on a path that failed in the file system.
    left_over: Nak,
}

struct Slot {
    /// Station and id; on a vehicle with one file the station counts for nothing.
    key: (u8, u8),
    used: Instant,
    open: Option<(MemoryFile, bool)>,
}

impl ArduPilot {
    pub fn new(files: impl Into<Disk>, sessions: Sessions, seed: u64) -> ArduPilot {
        ArduPilot {
            files: files.into(),
            sessions,
            slots: Vec::new(),
            queue: VecDeque::new(),
            done_at: None,
            remembered: None,
            random: Random::new(seed ^ 0xA4D0),
            out: Outbox::default(),
            changes: Vec::new(),
            left_over: Nak::FailErrno(0),
        }
    }

    fn begin(&mut self, now: Instant) {
        if self.done_at.is_none() && !self.queue.is_empty() {
            self.done_at = Some(now + service(&mut self.random, SERVICE_LEAST, SERVICE_MOST));
        }
    }

    fn execute(&mut self, now: Instant, from: u8, request: &Payload) {
        let known = self.remembered.filter(|(station, session, answer)| {
            (*station, *session) == (from, request.session)
                && request.sequence.wrapping_add(1) == answer.sequence
        });
        if let Some((_, _, answer)) = known {
            return self.out.put(now, from, answer);
        }
        let fits = usize::from(request.size) <= DATA_BYTES_MAX;
        let admitted =
            if fits { self.admit(now, from, request) } else { Err(Nak::InvalidDataSize) };
        let answer = match admitted.and_then(|at| self.answer(at, request)) {
            Ok(data) => Payload::ack(request).with_data(&data),
            Err(nak) => {
                // Only the end of a listing says where it is.
                let list = request.opcode == Opcode::ListDirectory as u8 && nak == Nak::Eof;
                let offset = if list { request.offset } else { 0 };
                Payload { offset, ..Payload::nak(request, nak) }
            }
        };
        if answer.bytes[0] != 5 {
            self.remembered = Some((from, request.session, answer));
        }
        self.out.put(now, from, answer);
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
        let text = |found: &Found| match found {
            Found::Itself => b"D.\0\0".to_vec(),
            Found::Parent => b"D..\0\0".to_vec(),
            Found::Node(entry) if entry.directory => [b"D", &entry.name[..], b"\0\0"].concat(),
            Found::Link(entry) | Found::Node(entry) => {
                let size = format!("\t{}\0\0", entry.size);
                [b"F", &entry.name[..], size.as_bytes()].concat()
            }
        };
        let entries: Vec<Vec<u8>> = self.files.read(&path_of(request)?)?.iter().map(text).collect();
        let data = page(&entries, request.offset);
        if data.is_empty() { Err(Nak::Eof) } else { Ok(data) }
    }

    fn open(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
        if self.slots[at].open.is_some() {
            return Err(Nak::Fail);
        }
        let path = path_of(request)?;
        let before = self.files.open_to_read(&path);
        if before.as_ref().is_err_and(|nak| *nak == Nak::FailErrno(EISDIR)) {
            // No system call fails, so whatever failed before is told.
            return Err(self.left_over);
        }
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

/// Whether what fails is the file system.
fn on_a_path(request: &Payload) -> bool {
    let sessions = [Opcode::ReadFile as u8, Opcode::WriteFile as u8, Opcode::BurstReadFile as u8];
    !sessions.contains(&request.opcode)
}

/// `..` climbs as far as the root, which is the end of this world.
fn path_of(request: &Payload) -> Result<ServedPath, Nak> {
    climbing_path_of(request, Ok(()))
}

impl FarSide for ArduPilot {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload) {
        if self.queue.len() < QUEUE {
            self.queue.push_back((from, *request));
            self.begin(now);
        }
    }

    fn poll(&mut self, now: Instant) -> Said {
        if self.done_at.is_some_and(|at| at <= now)
            && let Some((from, request)) = self.queue.pop_front()
        {
            self.done_at = None;
            self.execute(now, from, &request);
            self.begin(now);
        }
        match self.out.take(now) {
            Said::Nothing(at) => Said::Nothing([at, self.done_at].into_iter().flatten().min()),
            said => said,
        }
    }

    fn open_files(&self, _now: Instant) -> usize {
        self.slots.iter().filter(|slot| slot.open.is_some()).count()
    }

    fn restart(&mut self) {
        self.slots.clear();
        self.queue.clear();
        (self.done_at, self.remembered) = (None, None);
    }

    fn changes(&self) -> &[Opcode] {
        &self.changes
    }
}
