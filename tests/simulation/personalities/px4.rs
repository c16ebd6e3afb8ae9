//! PX4: one session for the whole link, a memory of one small answer, and an error number that
//! sticks to whatever is refused next.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::{Content, Files, MemoryFile, ServedFile, ServedPath};
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::disk::{Disk, Found};
use super::{FarSide, Outbox, Said, bytes_of, checksum_of, file_text, timed_file_text};
use crate::network::Random;
use burst::{BOARD_BYTES, Burst, FRAME_BYTES, TICK};

mod burst;
mod paths;

const SERVICE: Duration = Duration::from_micros(50);
/// Without a request for so long, the file is closed.
const IDLE: Duration = Duration::from_millis(10_100);
/// Answers of at most so many bytes are remembered.
const REMEMBERED_BYTES: u8 = 4;
/// What a board's transmit buffer holds between two ticks.
const BUFFER_FRAMES: u32 = BOARD_BYTES / FRAME_BYTES;
/// An entry's text that is longer leaves an empty page.
const ENTRY_BYTES_MAX: usize = 237;

const ENOENT: u8 = 2;
const EBADF: u8 = 9;
const EEXIST: u8 = 17;
const EISDIR: u8 = 21;

/// Which firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// 1.16.1 in simulation.
    Release,
    /// Main of August 2026.
    Main,
    /// 1.16.1 on a board, whose transmit buffer holds 1500 bytes.
    Board,
    /// 1.16.1 on a board's serial line: bursts wait for the line, answers are lost when it is full.
    Serial,
}

pub struct Px4 {
    files: Disk,
    firmware: Firmware,
    /// On a board, without a leading `/`: the only place where files may be changed.
    pub card: Option<Vec<u8>>,
    /// The last path of any request: on a board, a write is judged by it.
    scratch: Option<ServedPath>,
    session: Option<Session>,
    burst: Option<Burst>,
    /// As up to 1.15: blocks are read whole whatever was wanted, and an empty directory has an empty
    /// page for ever.
    pub older: bool,
    errno: u8,
    remembered: Option<(u8, Payload)>,
    /// When it first heard of anybody; its ticks go from there.
    begun: Option<Instant>,
    last_request: Option<Instant>,
    tick: Option<Instant>,
    tick_frames: u32,
    waiting_bytes: u32,
    random: Random,
    seed: u64,
    out: Outbox,
    changes: Vec<Opcode>,
}

enum Session {
    Reading(MemoryFile, u64),
    Writing(MemoryFile),
    /// Opened as if it were a file.
    Directory,
}

impl Px4 {
    pub fn new(files: impl Into<Disk>, firmware: Firmware, seed: u64) -> Px4 {
        Px4 {
            files: files.into(),
            firmware,
            card: None,
            scratch: None,
            session: None,
            burst: None,
            older: false,
            errno: 0,
            remembered: None,
            begun: None,
            last_request: None,
            tick: None,
            tick_frames: 0,
            waiting_bytes: 0,
            random: Random::new(seed ^ 0x9184),
            seed,
            out: Outbox::default(),
            changes: Vec::new(),
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.last_request.is_some_and(|last| now.duration_since(last) > IDLE)
    }

    fn answer(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        if request.size > DATA_BYTES_MAX as u8 {
            return Err(Nak::InvalidDataSize);
        }
        match request.command().ok_or(Nak::UnknownCommand)? {
            Opcode::None => Ok(Vec::new()),
            Opcode::TerminateSession if request.session != 0 || self.session.is_none() => {
                Err(Nak::InvalidSession)
            }
            Opcode::TerminateSession | Opcode::ResetSessions => {
                (self.session, self.burst) = (None, None);
                Ok(Vec::new())
            }
            Opcode::ListDirectory => self.list(request, false),
            Opcode::ListDirectoryWithTime if self.firmware == Firmware::Main => {
                self.list(request, true)
            }
            Opcode::OpenFileRo | Opcode::OpenFileWo | Opcode::CreateFile => self.open(request),
            Opcode::ReadFile => self.read(request),
            Opcode::WriteFile => self.write(request),
            Opcode::CalcFileCrc32 => checksum_of(&self.files, &self.path_of(request)?),
            Opcode::RemoveFile
            | Opcode::CreateDirectory
            | Opcode::RemoveDirectory
            | Opcode::TruncateFile
            | Opcode::Rename => self.change(request).map(|()| Vec::new()),
            Opcode::BurstReadFile => self.admit_burst(request),
            Opcode::ListDirectoryWithTime | Opcode::Ack | Opcode::Nak => Err(Nak::UnknownCommand),
        }
    }

    fn list(&mut self, request: &Payload, with_time: bool) -> Result<Vec<u8>, Nak> {
        let path = self.path_of(request)?;
        let listed = self.noting(|files| files.read(&path).or(Err(Nak::FileNotFound)))?;
        if self.older && listed.len() == 2 {
            return Ok(Vec::new());
        }
        let text = |found: &Found| match found {
            Found::Itself | Found::Parent | Found::Link(_) => b"S\0".to_vec(),
            Found::Node(entry) => match (entry.directory, with_time) {
                (true, _) => [b"D", &entry.name[..], b"\0"].concat(),
                (false, true) => timed_file_text(entry),
                (false, false) => file_text(entry),
            },
        };
        let entries: Vec<Vec<u8>> = listed.iter().map(text).collect();
        if request.offset as usize >= entries.len() {
            return Err(Nak::Eof);
        }
        let fits = |entry: &&Vec<u8>| entry.len() <= ENTRY_BYTES_MAX + 2;
        let from = entries.iter().skip(request.offset as usize).take_while(fits).cloned();
        self.errno = 0;
        Ok(super::page(&from.collect::<Vec<_>>(), 0))
    }

    fn open(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        if self.session.is_some() {
            return Err(Nak::NoSessionsAvailable);
        }
        let size = |file: &MemoryFile| file.size().map(|size| (size as u32).to_le_bytes().to_vec());
        let path = self.path_of(request)?;
        let before = self.files.open_to_read(&path);
        match request.command() {
            Some(Opcode::OpenFileRo) => {
                if matches!(before, Err(Nak::FailErrno(EISDIR))) {
                    self.session = Some(Session::Directory);
                    return Ok(4096u32.to_le_bytes().to_vec());
                }
                let file = self.noting(|_| before)?;
                let data = size(&file)?;
                self.session = Some(Session::Reading(file.clone(), file.size()?));
                Ok(data)
            }
            opcode => {
                self.check_place(&path)?;
                let create = opcode == Some(Opcode::CreateFile);
                let content = if create { Content::Empty } else { Content::Keep };
                let data = before.as_ref().map_or(Ok(vec![0; 4]), size)?;
                let file = self.noting(|files| files.open_to_write(&path, content))?;
                self.session = Some(Session::Writing(file));
                Ok(data)
            }
        }
    }

    fn read(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        match &self.session {
            Some(_) if request.session != 0 => Err(Nak::InvalidSession),
            None => Err(Nak::InvalidSession),
            Some(Session::Reading(_, size)) if u64::from(request.offset) >= *size => Err(Nak::Eof),
            Some(Session::Reading(file, _)) => {
                let wanted = if self.older { DATA_BYTES_MAX } else { usize::from(request.size) };
                bytes_of(file, request, wanted)
            }
            Some(Session::Writing(_)) => Err(self.fail(EBADF)),
            Some(Session::Directory) => Err(self.fail(EISDIR)),
        }
    }

    fn write(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        let strict = self.firmware == Firmware::Main;
        if self.is_board() {
            let scratch = self.scratch.clone().ok_or(Nak::FileProtected)?;
            self.check_place(&scratch)?;
        }
        match &self.session {
            None if strict || request.session != 0 => Err(Nak::InvalidSession),
            Some(_) if strict && request.session != 0 => Err(Nak::InvalidSession),
            Some(Session::Writing(file)) => {
                file.write_at(u64::from(request.offset), request.data())?;
                Ok(u32::from(request.size).to_le_bytes().to_vec())
            }
            // Without a file: the number of no file is a bad one.
            None | Some(Session::Reading(..) | Session::Directory) => Err(self.fail(EBADF)),
        }
    }

    fn change(&mut self, request: &Payload) -> Result<(), Nak> {
        let Some(opcode) = request.command() else { return Ok(()) };
        if opcode == Opcode::Rename {
            return self.rename(request);
        }
        let path = self.path_of(request)?;
        self.check_place(&path)?;
        self.noting(|files| match opcode {
            Opcode::RemoveFile => files.remove_file(&path),
            Opcode::CreateDirectory => files.make_directory(&path),
            Opcode::RemoveDirectory => files.remove_directory(&path),
            _ => files.truncate(&path, u64::from(request.offset)),
        })?;
        self.changes.push(opcode);
        Ok(())
    }

    /// Does something to the files and keeps its error number.
    fn noting<T>(&mut self, act: impl FnOnce(&Disk) -> Result<T, Nak>) -> Result<T, Nak> {
        let result = act(&self.files);
        match &result {
            Err(Nak::FailErrno(errno)) => self.errno = *errno,
            Err(Nak::FileExists) => self.errno = EEXIST,
            Err(Nak::FileNotFound) => self.errno = ENOENT,
            Ok(_) | Err(_) => {}
        }
        result
    }

    fn fail(&mut self, errno: u8) -> Nak {
        self.errno = errno;
        Nak::FailErrno(errno)
    }

    /// The remembered answer, if the request has the number it answers. Who asked is looked at by
    /// main only; 65535 is never recognised.
    fn remembered(&self, from: u8, request: &Payload) -> Option<(u8, Payload)> {
        let (to, answer) = self.remembered?;
        let same = u32::from(request.sequence) + 1 == u32::from(answer.sequence);
        let known = self.firmware != Firmware::Main || to == from;
        (same && known).then_some((to, answer))
    }

    fn remember(&mut self, to: u8, answer: Payload) {
        let small = answer.size <= REMEMBERED_BYTES && answer.bytes[0] != 5;
        self.remembered = small.then_some((to, answer));
    }

    /// Whether an answer finds the line's buffer full.
    fn is_lost(&self, answer: &Payload) -> bool {
        let bytes = FRAME_BYTES - DATA_BYTES_MAX as u32 + u32::from(answer.size);
        self.firmware == Firmware::Serial
            && answer.req_opcode != Opcode::BurstReadFile as u8
            && self.waiting_bytes + bytes > BOARD_BYTES
    }

    fn send(&mut self, now: Instant, to: u8, answer: Payload) {
        if self.firmware == Firmware::Board {
            if self.tick.is_none_or(|tick| now >= tick + TICK) {
                self.tick = Some(now);
                self.tick_frames = 0;
            }
            self.tick_frames += 1;
            if self.tick_frames > BUFFER_FRAMES {
                return;
            }
        }
        self.out.put(now + SERVICE, to, answer);
    }
}

impl FarSide for Px4 {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload) {
        if self.is_idle(now) {
            (self.session, self.burst) = (None, None);
        }
        self.note_path(now, request);
        self.begun.get_or_insert(now);
        self.last_request = Some(now);
        if let Some((to, answer)) = self.remembered(from, request) {
            return self.send(now, to, answer);
        }
        let opens = matches!(
            request.command(),
            Some(Opcode::OpenFileRo | Opcode::OpenFileWo | Opcode::CreateFile)
        );
        let answer = match self.answer(request) {
            Ok(_) if request.command() == Some(Opcode::BurstReadFile) => {
                return self.begin_burst(now, from, request);
            }
            Ok(data) => {
                let session = if opens { 0 } else { request.session };
                Payload { session, ..Payload::ack(request).with_data(&data) }
            }
            Err(_) if self.errno == EEXIST => Payload::nak(request, Nak::FileExists),
            Err(nak) => Payload::nak(request, nak),
        };
        self.remember(from, answer);
        self.send(now, from, answer);
    }

    fn poll(&mut self, now: Instant) -> Said {
        self.run_burst(now);
        loop {
            match self.out.take(now) {
                Said::To(_, answer) if self.is_lost(&answer) => {}
                Said::Nothing(at) => {
                    let tick = self.burst.as_ref().map(|burst| burst.tick_at);
                    return Said::Nothing([at, tick].into_iter().flatten().min());
                }
                said => return said,
            }
        }
    }

    fn line(&mut self, waiting_bytes: u32) {
        self.waiting_bytes = waiting_bytes;
    }

    fn open_files(&self, now: Instant) -> usize {
        usize::from(self.session.is_some() && !self.is_idle(now))
    }

    fn restart(&mut self) {
        let (card, older) = (self.card.take(), self.older);
        *self = Px4 { card, older, ..Px4::new(self.files.clone(), self.firmware, self.seed) };
    }

    fn changes(&self) -> &[Opcode] {
        &self.changes
    }
}
