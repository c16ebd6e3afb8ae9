//! What ArduPilot does with a request once its session is found.

use mavftp_mount::mavftp::server::{Content, Files, MemoryFile, ServedFile, ServedPath};
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload, encode_entry};

use super::{ArduPilot, Disk, Sessions};
use crate::personalities::{bytes_of, checksum_of, page};

const EISDIR: u8 = 21;
const EACCES: u8 = 13;
const EINVAL: u8 = 22;
const ENOSPC: u8 = 28;
/// The sizes that made-up files pretend to.
const SYS_BYTES: u32 = 100_000;
const MISSION_BYTES: u32 = 1_048_576;
/// What a card holds where nothing was written.
const STALE: u8 = 0xE5;

impl ArduPilot {
    pub fn answer(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
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
            Opcode::ListDirectoryWithTime if self.later => self.list_with_time(request),
            Opcode::ListDirectory => self.list(request),
            Opcode::OpenFileRo | Opcode::OpenFileWo | Opcode::CreateFile => self.open(at, request),
            Opcode::ReadFile => self.read(at, request),
            Opcode::WriteFile => self.write(at, request).map(empty),
            Opcode::CalcFileCrc32 => checksum_of(&self.files, &self.path(request)?),
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

    /// The path of a request. Up to 4.6 the size of one is its length and no more.
    fn path(&self, request: &Payload) -> Result<ServedPath, Nak> {
        let data = request.data();
        let counted = self.sessions == Sessions::One && data.ends_with(&[0]);
        if data.is_empty() || counted {
            return Err(Nak::InvalidDataSize);
        }
        ServedPath::parse(data)
    }

    /// Two NULs behind each entry, and the directory itself and its parent among them.
    fn list(&self, request: &Payload) -> Result<Vec<u8>, Nak> {
        let mut entries = match self.disk {
            Disk::Posix => vec![b"D.\0\0".to_vec(), b"D..\0\0".to_vec()],
            Disk::Fat => Vec::new(),
        };
        let path = self.path(request)?;
        let pretended = pretended_size(&path).map(u64::from);
        entries.extend(self.files.list(&path)?.iter().map(|entry| {
            let (name, size) = (&entry.name[..], pretended.unwrap_or(entry.size));
            match entry.directory {
                true => [b"D", name, b"\0\0"].concat(),
                false => [b"F", name, format!("\t{size}\0\0").as_bytes()].concat(),
            }
        }));
        let data = page(&entries, request.offset);
        if data.is_empty() { Err(Nak::Eof) } else { Ok(data) }
    }

    /// One NUL behind each entry, and times of files and directories.
    fn list_with_time(&self, request: &Payload) -> Result<Vec<u8>, Nak> {
        let listed = self.files.list(&self.path(request)?)?;
        let mut entries = vec![b"D.\0".to_vec(), b"D..\0".to_vec()];
        entries.extend(listed.iter().map(|entry| encode_entry(entry, true)));
        let data = page(&entries, request.offset);
        if data.is_empty() { Err(Nak::Eof) } else { Ok(data) }
    }

    fn open(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
        let slot = &self.slots[at];
        let takes_over = slot.alone && request.command() == Some(Opcode::OpenFileRo);
        if slot.open.is_some() && !takes_over {
            return Err(Nak::Fail);
        }
        let path = self.path(request)?;
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
        let size = pretended_size(&path).unwrap_or(file.size()? as u32);
        let parameters = path.names().next() == Some(b"@PARAM");
        self.slots[at].one_size = parameters.then_some(0);
        self.slots[at].open = Some((file, writes));
        Ok(if writes { Vec::new() } else { size.to_le_bytes().to_vec() })
    }

    fn read(&mut self, at: usize, request: &Payload) -> Result<Vec<u8>, Nak> {
        match &mut self.slots[at].one_size {
            Some(size) if *size != 0 && *size != request.size => {
                return Err(Nak::FailErrno(EINVAL));
            }
            Some(size) => *size = request.size,
            None => {}
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
        let before = file.size()?;
        if self.disk == Disk::Fat && offset > before {
            file.write_at(before, &vec![STALE; (offset - before) as usize])?;
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
            Opcode::CreateDirectory => self.files.make_directory(&self.path(request)?)?,
            Opcode::Rename => {
                let (from, to) = ServedPath::parse_two(request.data())?;
                if self.disk == Disk::Fat && from != to && self.files.open_to_read(&to).is_ok() {
                    return Err(Nak::FileExists);
                }
                self.files.rename(&from, &to)?;
            }
            // One call removes files and empty directories alike.
            _ => {
                let path = self.path(request)?;
                let removed = self.files.remove_file(&path).or_else(|nak| match nak {
                    Nak::FailErrno(_) => self.files.remove_directory(&path),
                    other => Err(other),
                });
                let errno = if self.disk == Disk::Fat { EACCES } else { EISDIR };
                removed.map_err(|nak| match nak {
                    Nak::FailErrno(_) => Nak::FailErrno(errno),
                    other => other,
                })?;
            }
        }
        self.changes.push(opcode);
        Ok(())
    }
}

/// The size that a file has which is made when it is read.
fn pretended_size(path: &ServedPath) -> Option<u32> {
    match path.names().next() {
        Some(b"@SYS") => Some(SYS_BYTES),
        Some(b"@MISSION") => Some(MISSION_BYTES),
        Some(_) | None => None,
    }
}
