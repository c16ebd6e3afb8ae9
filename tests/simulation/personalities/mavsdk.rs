//! MAVSDK's FtpServer: one session without a number, no memory of its answers, and silence or the
//! end of its process where others refuse.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::{
    Content, Files, MemoryFile, MemoryFiles, ServedFile, ServedPath,
};
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload, encode_entry};

use super::{FarSide, Outbox, Said, bytes_of, checksum_of, page, path_of};
use burst::Burst;

mod burst;

const SERVICE: Duration = Duration::from_micros(100);

/// Which release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Before 4: knows no listing with times, and says so to nobody.
    Old,
    /// 4.1.
    Four,
}

pub struct Mavsdk {
    files: MemoryFiles,
    release: Release,
    /// Sockets and the like at the head of every directory: counted, but never sent.
    pub specials: usize,
    reader: Option<Reader>,
    writer: Option<MemoryFile>,
    burst: Option<Burst>,
    out: Outbox,
    changes: Vec<Opcode>,
}

struct Reader {
    file: MemoryFile,
    size: u64,
    /// Where the file is read next, by whoever reads.
    position: u64,
    /// A read went past the end; every later one fails.
    poisoned: bool,
}

impl Mavsdk {
    pub fn new(files: MemoryFiles, release: Release) -> Mavsdk {
        Mavsdk {
            files,
            release,
            specials: 0,
            reader: None,
            writer: None,
            burst: None,
            out: Outbox::default(),
            changes: Vec::new(),
        }
    }

    /// `None`: not a word.
    fn answer(
        &mut self,
        now: Instant,
        from: u8,
        request: &Payload,
    ) -> Option<Result<Vec<u8>, Nak>> {
        Some(match request.command()? {
            Opcode::TerminateSession | Opcode::ResetSessions => {
                (self.reader, self.writer, self.burst) = (None, None, None);
                Ok(Vec::new())
            }
            Opcode::ListDirectory => self.list(request, false),
            Opcode::ListDirectoryWithTime if self.release == Release::Old => return None,
            Opcode::ListDirectoryWithTime => self.list(request, true),
            Opcode::OpenFileRo => return self.open_to_read(request),
            Opcode::ReadFile => self.read(request),
            Opcode::CreateFile => self.open_to_write(request),
            Opcode::OpenFileWo => match path_of(request).map(|path| self.files.open_to_read(&path))
            {
                Ok(Ok(_)) => self.open_to_write(request),
                Ok(Err(_)) | Err(_) => Err(Nak::FileNotFound),
            },
            Opcode::WriteFile => self.write(request),
            Opcode::CalcFileCrc32 => {
                path_of(request).and_then(|path| checksum_of(&self.files, &path))
            }
            Opcode::RemoveFile
            | Opcode::CreateDirectory
            | Opcode::RemoveDirectory
            | Opcode::Rename => self.change(request).map(|()| Vec::new()),
            Opcode::None | Opcode::TruncateFile => return None,
            Opcode::BurstReadFile => return self.begin_burst(now, from, request),
            Opcode::Ack | Opcode::Nak => return None,
        })
    }

    fn list(&self, request: &Payload, with_time: bool) -> Result<Vec<u8>, Nak> {
        let path = path_of(request)?;
        let listed = match self.files.list(&path) {
            Err(Nak::FileNotFound) => return Err(Nak::FileNotFound),
            Err(_) => panic!("listing a file ends this server's process: {path:?}"),
            Ok(listed) => listed,
        };
        // What is special is empty here, and takes no room in the page.
        let mut entries = vec![Vec::new(); self.specials];
        entries.extend(listed.iter().map(|entry| encode_entry(entry, with_time)));
        let data = page(&entries, request.offset);
        if data.is_empty() { Err(Nak::Eof) } else { Ok(data) }
    }

    fn open_to_read(&mut self, request: &Payload) -> Option<Result<Vec<u8>, Nak>> {
        let opened = path_of(request).and_then(|path| self.files.open_to_read(&path));
        let file = match opened {
            Ok(file) => file,
            // A directory has no size, and that ends the handler.
            Err(Nak::FailErrno(_)) => return None,
            Err(nak) => return Some(Err(nak)),
        };
        let size = file.size().ok()?;
        self.burst = None;
        self.reader = Some(Reader { file, size, position: 0, poisoned: false });
        Some(Ok((size as u32).to_le_bytes().to_vec()))
    }

    fn open_to_write(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        let path = path_of(request)?;
        self.writer = None;
        self.writer = Some(self.files.open_to_write(&path, Content::Empty)?);
        if let (Release::Old, Some(reader)) = (self.release, self.reader.as_mut()) {
            // There is one size for both, that of whichever was opened last.
            reader.size = 0;
        }
        Ok(Vec::new())
    }

    fn read(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        if self.release == Release::Old && request.session != 0 {
            self.reader = None;
        }
        let reader = self.reader.as_mut().ok_or(Nak::Fail)?;
        let wanted = usize::from(request.size).min(DATA_BYTES_MAX);
        if u64::from(request.offset) >= reader.size {
            return Err(Nak::Eof);
        }
        if reader.poisoned || u64::from(request.offset) + wanted as u64 > reader.size {
            reader.poisoned = true;
            return Err(Nak::Fail);
        }
        reader.position = u64::from(request.offset) + wanted as u64;
        bytes_of(&reader.file, request, wanted)
    }

    fn write(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        let file = self.writer.as_ref().ok_or(Nak::Fail)?;
        file.write_at(u64::from(request.offset), request.data()).map_err(|_| Nak::Fail)?;
        Ok(Vec::new())
    }

    fn change(&mut self, request: &Payload) -> Result<(), Nak> {
        let plain = |result: Result<(), Nak>| match result {
            Err(Nak::FailErrno(_)) => Err(Nak::Fail),
            other => other,
        };
        let Some(opcode) = request.command() else { return Ok(()) };
        let done = match opcode {
            Opcode::CreateDirectory => self.files.make_directory(&path_of(request)?),
            Opcode::Rename => {
                let (from, to) = ServedPath::parse_two(request.data())?;
                self.files.rename(&from, &to)
            }
            // One call removes files and empty directories alike.
            _ => {
                let path = path_of(request)?;
                self.files.remove_file(&path).or_else(|nak| match nak {
                    Nak::FailErrno(_) => self.files.remove_directory(&path),
                    other => Err(other),
                })
            }
        };
        plain(done)?;
        self.changes.push(opcode);
        Ok(())
    }
}

impl FarSide for Mavsdk {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload) {
        let Some(result) = self.answer(now, from, request) else { return };
        let answer = match result {
            Ok(data) => Payload::ack(request).with_data(&data),
            Err(nak) => Payload::nak(request, nak),
        };
        let read = request.opcode == Opcode::ReadFile as u8;
        let offset = if read { request.offset } else { 0 };
        self.out.put(now + SERVICE, from, Payload { session: 0, offset, ..answer });
    }

    fn poll(&mut self, now: Instant) -> Said {
        self.run_burst(now);
        match self.out.take(now) {
            Said::Nothing(at) => {
                let next = self.burst.as_ref().map(|burst| burst.next_at);
                Said::Nothing([at, next].into_iter().flatten().min())
            }
            said => said,
        }
    }

    fn open_files(&self, _now: Instant) -> usize {
        usize::from(self.reader.is_some()) + usize::from(self.writer.is_some())
    }

    fn restart(&mut self) {
        (self.reader, self.writer, self.burst) = (None, None, None);
    }

    fn changes(&self) -> &[Opcode] {
        &self.changes
    }
}
