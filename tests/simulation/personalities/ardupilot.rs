//! ArduPilot: a short queue and one slow worker, session ids of the client's choice, and one
//! remembered answer for everybody. Either one open file for the whole vehicle, or five.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::{Content, Files, MemoryFile, ServedFile, ServedPath};
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::disk::{Disk, Found};
use super::places::Places;
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
const EACCES: u8 = 13;
const EISDIR: u8 = 21;
const EINVAL: u8 = 22;
/// What a FAT card holds where nothing was written.
const UNDEFINED: u8 = 0xA5;

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
    places: Places,
    /// A board with a FAT card, no simulation.
    pub card: bool,
    /// The block size of each opening that must keep to one; 0: not read yet.
    packed: BTreeMap<(u8, u8), u8>,
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
            self.slots.push(Slot { key: (0, id), used: now, alone: false, open: None });
            return Ok(0);
        };
        let alone = now.duration_since(slot.used) > LEFT_ALONE;
        (slot.used, slot.alone) = (now, alone);
        if slot.open.is_some() && slot.key.1 != id {
            let ends = [Opcode::TerminateSession as u8, Opcode::ResetSessions as u8];
            if !alone && !ends.contains(&request.opcode) {
                return Err(Nak::InvalidSession);
            }
            if alone {
                *slot = Slot { key: (0, id), used: now, alone: false, open: None };
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
            let alone = age(&self.slots[at]) > LEFT_ALONE;
            (self.slots[at].used, self.slots[at].alone) = (now, alone);
            return Ok(at);
        }
        if self.slots.len() == 5 {
            let alone = self.slots.iter().position(|slot| age(slot) > LEFT_ALONE);
            self.slots.remove(alone.ok_or(Nak::NoSessionsAvailable)?);
        }
        self.slots.push(Slot { key, used: now, alone: false, open: None });
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
        let path = self.path_of(request)?;
        let mut found = match Places::holds(&path) {
            true => self.places.list(&path)?.into_iter().map(Found::Node).collect(),
            false => self.files.read(&path)?,
        };
        let is_root = request.data().iter().all(|&byte| matches!(byte, b'/' | 0));
        // The card has no links and does not list itself. The simulation asks for `//name` in the
        // root and finds only directories.
        found.retain(|found| match found {
            Found::Itself | Found::Parent | Found::Link(_) => !self.card,
            Found::Node(entry) => self.card || !is_root || entry.directory,
        });
        let mut entries: Vec<Vec<u8>> = found.iter().map(text).collect();
        if is_root {
            entries.extend([b"D@ROMFS\0\0".to_vec(), b"D@SYS\0\0".to_vec()]);
        }
        let data = page(&entries, request.offset);
        if data.is_empty() { Err(Nak::Eof) } else { Ok(data) }
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
            _ if self.sessions == Sessions::One => {
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

    /// `..` climbs as far as the root, which is the end of this world.
    fn path_of(&self, request: &Payload) -> Result<ServedPath, Nak> {
        self.check_size(request.data())?;
        // A NUL is forced into the last byte: what fills the whole field names another file.
        let size = request.size.min(DATA_BYTES_MAX as u8 - 1);
        climbing_path_of(&Payload { size, ..*request }, Ok(()))
    }

    fn two_paths_of(&self, request: &Payload) -> Result<(ServedPath, ServedPath), Nak> {
        let data = request.data();
        let nul = data.iter().position(|&byte| byte == 0).ok_or(Nak::InvalidDataSize)?;
        self.check_size(&data[nul + 1..])?;
        ServedPath::parse_two(data)
    }

    /// A text's size is its length; the newer ones let it have a NUL.
    fn check_size(&self, text: &[u8]) -> Result<(), Nak> {
        let length = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let spare = usize::from(self.sessions == Sessions::Five);
        let fits = length > 0 && text.len() <= length + spare;
        if fits { Ok(()) } else { Err(Nak::InvalidDataSize) }
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

    fn open_files(&self, now: Instant) -> usize {
        let forgets = self.sessions == Sessions::Five;
        let forgotten = |slot: &Slot| forgets && now.duration_since(slot.used) >= FORGOTTEN;
        self.slots.iter().filter(|slot| slot.open.is_some() && !forgotten(slot)).count()
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
