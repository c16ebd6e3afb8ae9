//! What ArduPilot does with a request once its session is found.

use mavftp_mount::mavftp::server::{Content, Files, MemoryFile, ServedFile};
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::ArduPilot;
use crate::personalities::places::Places;
use crate::personalities::{bytes_of, checksum_of};

const EACCES: u8 = 13;
const EISDIR: u8 = 21;
const EINVAL: u8 = 22;
const ENOSPC: u8 = 28;
/// What a FAT card holds where nothing was written.
const UNDEFINED: u8 = 0xA5;

impl ArduPilot {
    pub fn answer(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
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
        let unknown = if self.later { Nak::UnknownCommand } else { Nak::Fail };
        match request.command().ok_or(unknown)? {
            Opcode::None => Ok(Vec::new()),
            Opcode::TerminateSession | Opcode::ResetSessions => {
                if self.slots[at].key.1 == request.session {
                    self.slots[at].open = None;
                }
                Ok(Vec::new())
            }
            Opcode::ListDirectory => self.list(request, false),
            Opcode::ListDirectoryWithTime if self.later => self.list(request, true),
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
            | Opcode::Nak => Err(unknown),
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
            Some((file, true)) => self.write_to(file, request),
        }
    }

    /// Writes as much as there is room for, and finds nothing wrong unless that is nothing at all.
    fn write_to(&self, file: &MemoryFile, request: &Payload) -> Result<(), Nak> {
        let (offset, data) = (u64::from(request.offset), request.data());
        let end = file.size()?;
        if self.card && offset > end {
            file.write_at(end, &vec![UNDEFINED; (offset - end) as usize])?;
        }
        let mut written = file.write_at(offset, data);
        let mut count = data.len();
        while written == Err(Nak::FailErrno(ENOSPC)) && count > 1 {
            count -= 1;
            written = file.write_at(offset, &data[..count]);
        }
        written
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
