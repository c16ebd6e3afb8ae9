//! One request and its answer: what each opcode means. Knows files, sessions and listings, but not
//! who sends what when.

use std::time::Instant;

use super::burst::Burst;
use super::checksums::Checksums;
use super::clients::Client;
use super::files::{Content, EBADF, EFBIG, Files, ServedFile};
use super::path::ServedPath;
use super::sessions::{Mode, Session};
use super::snapshots::Snapshots;
use crate::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

/// What a request is answered from.
pub(super) struct Exchange<'a, C, F: Files> {
    pub(super) now: Instant,
    pub(super) from: C,
    /// The request, with its session resolved.
    pub(super) request: Payload,
    /// The session by the number that the request has.
    pub(super) asked: u8,
    pub(super) files: &'a F,
    pub(super) client: &'a mut Client<F::File>,
    pub(super) snapshots: &'a mut Snapshots<C>,
    pub(super) checksums: &'a mut Checksums<C, F::File>,
    /// Whether the client may open one more file.
    pub(super) room: bool,
}

/// Whether a request opens a session.
pub(super) fn opens(request: &Payload) -> bool {
    matches!(request.command(), Some(Opcode::OpenFileRo | Opcode::OpenFileWo | Opcode::CreateFile))
}

/// An answer under the session number that its request has. pymavlink writes before it has heard
/// which number its file was given, and then takes answers with the number it asked with alone.
pub(super) fn as_asked(request: &Payload, answer: Payload) -> Payload {
    if opens(request) { answer } else { Payload { session: request.session, ..answer } }
}

impl<C: Copy + Ord, F: Files> Exchange<'_, C, F> {
    /// Does what is asked. `None`: the answer comes later (bursts, checksums), or never (answers).
    pub(super) fn run(mut self) -> Option<Payload> {
        let done = match self.request.command() {
            Some(opcode) => self.perform(opcode),
            None => Err(Nak::UnknownCommand),
        };
        done.unwrap_or_else(|nak| Some(Payload::nak(&self.request, nak)))
    }

    fn perform(&mut self, opcode: Opcode) -> Result<Option<Payload>, Nak> {
        match opcode {
            Opcode::None => {}
            Opcode::TerminateSession => {
                self.client.terminate(self.now, self.request.session, self.request.sequence);
            }
            Opcode::ResetSessions => self.reset(),
            Opcode::ListDirectory => return self.list(false).map(Some),
            Opcode::ListDirectoryWithTime => return self.list(true).map(Some),
            Opcode::OpenFileRo => return self.open_to_read().map(Some),
            Opcode::OpenFileWo => return self.open_to_write(Content::Keep).map(Some),
            Opcode::CreateFile => return self.open_to_write(Content::Empty).map(Some),
            Opcode::ReadFile => return self.read().map(Some),
            Opcode::WriteFile => self.write()?,
            Opcode::BurstReadFile => return self.burst().map(|()| None),
            Opcode::CalcFileCrc32 => return self.checksum().map(|()| None),
            Opcode::RemoveFile => self.files.remove_file(&self.path()?)?,
            Opcode::CreateDirectory => self.files.make_directory(&self.path()?)?,
            Opcode::RemoveDirectory => self.files.remove_directory(&self.path()?)?,
            Opcode::TruncateFile => {
                self.files.truncate(&self.path()?, u64::from(self.request.offset))?;
            }
            Opcode::Rename => {
                let (old, new) = ServedPath::parse_two(self.data()?)?;
                self.files.rename(&old, &new)?;
            }
            Opcode::Ack | Opcode::Nak => return Ok(None),
        }
        Ok(Some(self.ack()))
    }

    /// Ends all that the client has under way, but for what it began after this was sent.
    fn reset(&mut self) {
        let (now, sequence) = (self.now, self.request.sequence);
        let counting = self.client.replies.counting;
        self.client.reset(now, sequence);
        self.checksums.forget(self.from, |begun| !counting.is_late(now, sequence, begun));
    }

    fn ack(&self) -> Payload {
        Payload::ack(&self.request)
    }

    /// The request's data, when its size is possible.
    fn data(&self) -> Result<&[u8], Nak> {
        if usize::from(self.request.size) > DATA_BYTES_MAX {
            return Err(Nak::InvalidDataSize);
        }
        Ok(self.request.data())
    }

    fn path(&self) -> Result<ServedPath, Nak> {
        ServedPath::parse(self.data()?)
    }

    /// The open file that the request names, and that was open when it was sent.
    fn session(&mut self, mode: Mode) -> Result<&mut Session<F::File>, Nak> {
        let number = self.request.session;
        let counting = self.client.replies.counting;
        let session = self.client.sessions.get_mut(number).ok_or(Nak::InvalidSession)?;
        if counting.is_late(self.now, self.request.sequence, &session.opened) {
            return Err(Nak::InvalidSession);
        }
        if session.mode != mode {
            return Err(Nak::FailErrno(EBADF));
        }
        (session.used, session.touched) = (self.now, true);
        Ok(session)
    }

    fn list(&mut self, with_time: bool) -> Result<Payload, Nak> {
        let path = self.path()?;
        let files = self.files;
        let list = || match files.list(&path) {
            // Mission Planner asks for ArduPilot's `@SYS` and stops at FileNotFound.
            Err(Nak::FileNotFound) if path.as_bytes().starts_with(b"@") => Err(Nak::Eof),
            listed => listed,
        };
        let place = (self.request.offset, with_time);
        let page = self.snapshots.page(self.now, self.from, &path, place, list)?;
        Ok(self.ack().with_data(&page))
    }

    fn open_to_read(&mut self) -> Result<Payload, Nak> {
        let path = self.path()?;
        self.check_room()?;
        let file = self.files.open_to_read(&path)?;
        self.opened(file, Mode::Read)
    }

    fn open_to_write(&mut self, content: Content) -> Result<Payload, Nak> {
        let path = self.path()?;
        self.check_room()?;
        let file = self.files.open_to_write(&path, content)?;
        self.opened(file, Mode::Write)
    }

    /// Before anything is opened: a CreateFile that gets no session must not empty the file.
    fn check_room(&self) -> Result<(), Nak> {
        if self.room { Ok(()) } else { Err(Nak::NoSessionsAvailable) }
    }

    fn opened(&mut self, file: F::File, mode: Mode) -> Result<Payload, Nak> {
        // Offsets have 32 bits.
        let size = u32::try_from(file.size()?).map_err(|_| Nak::FailErrno(EFBIG))?;
        let opened = self.client.replies.mark(self.now, self.request.sequence);
        let session = Session::new(file, mode, self.now, opened);
        let number = self.client.sessions.insert(self.request.session, session);
        Ok(Payload { session: number, ..self.ack() }.with_data(&size.to_le_bytes()))
    }

    fn read(&mut self) -> Result<Payload, Nak> {
        let (offset, ack) = (u64::from(self.request.offset), self.ack());
        let wanted = match usize::from(self.request.size) {
            // mavros leaves the size 0 and means a full packet.
            0 => DATA_BYTES_MAX,
            size @ 1..=DATA_BYTES_MAX => size,
            _ => return Err(Nak::InvalidDataSize),
        };
        let mut buffer = [0; DATA_BYTES_MAX];
        match self.session(Mode::Read)?.file.read_at(offset, &mut buffer[..wanted])? {
            0 => Err(Nak::Eof),
            count => Ok(ack.with_data(&buffer[..count])),
        }
    }

    fn write(&mut self) -> Result<(), Nak> {
        let (offset, request) = (self.request.offset, self.request);
        let length = self.data()?.len();
        if offset.checked_add(length as u32).is_none() {
            return Err(Nak::FailErrno(EFBIG));
        }
        if !self.client.sessions.is_open(request.session) && self.client.wrote(self.now, &request) {
            self.client.replies.doubt_no_more();
            return Ok(());
        }
        let session = self.session(Mode::Write)?;
        if !session.written.knows(&request) {
            session.file.write_at(u64::from(offset), request.data())?;
            session.written.add(&request);
        }
        Ok(())
    }

    /// Begins a burst, in place of the one the session may be sending.
    fn burst(&mut self) -> Result<(), Nak> {
        let (now, request) = (self.now, Payload { session: self.asked, ..self.request });
        let counting = self.client.replies.counting;
        let session = self.session(Mode::Read)?;
        let running = session.burst.as_ref();
        if !running.is_some_and(|burst| burst.outlasts(now, &request, &counting)) {
            session.burst = Some(Burst::new(now, request, counting.mark(now, request.sequence)));
        }
        Ok(())
    }

    fn checksum(&mut self) -> Result<(), Nak> {
        let path = self.path()?;
        let request = Payload { session: self.asked, ..self.request };
        if self.checksums.is_asked_again(self.from, &path, &request) {
            return Ok(());
        }
        let file = self.files.open_to_read(&path)?;
        let begun = self.client.replies.mark(self.now, self.request.sequence);
        self.checksums.begin(self.from, &request, path, file, begun)
    }
}
