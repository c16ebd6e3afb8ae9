//! MAVSDK's FtpServer: one session without a number, no memory of its answers, and silence or the
//! end of its process where others refuse.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::{Content, Files, MemoryFile, ServedFile, ServedPath};
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload, WireEntry};

use super::disk::{Disk, Found};
use super::{
    FarSide, Outbox, Said, bytes_of, checksum_of, climbing_path_of, file_text, page,
    timed_file_text,
};
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
    files: Disk,
    release: Release,
    /// Sockets and the like at the head of every directory: counted, but never sent.
    pub specials: usize,
    /// Without a root directory everything is refused.
    pub rootless: bool,
    /// Of the file that is read; before release 4, of whichever was opened last.
    size: u64,
    reader: Option<Reader>,
    writer: Option<MemoryFile>,
    burst: Option<Burst>,
    out: Outbox,
    changes: Vec<Opcode>,
}

struct Reader {
    file: MemoryFile,
    /// Where the file is read next, by whoever reads.
    position: u64,
    /// A read went past the end; every later one fails.
    poisoned: bool,
}

impl Mavsdk {
    pub fn new(files: impl Into<Disk>, release: Release) -> Mavsdk {
        Mavsdk {
            files: files.into(),
            release,
            specials: 0,
            rootless: false,
            size: 0,
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
        if usize::from(request.size) > DATA_BYTES_MAX {
            return Some(Err(Nak::InvalidDataSize));
        }
        let opcode = request.command()?;
        let silent = matches!(opcode, Opcode::None | Opcode::TruncateFile);
        if self.rootless && !silent {
            return Some(Err(Nak::Fail));
        }
        Some(match opcode {
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
                // The size it tells is that before.
                Ok(Ok(before)) => before.size().and_then(|size| {
                    self.open_to_write(request)?;
                    Ok((size as u32).to_le_bytes().to_vec())
                }),
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
        let listed = match self.files.read(&path) {
            Err(Nak::FileNotFound) => return Err(Nak::FileNotFound),
            Err(_) => panic!("listing a file ends this server's process: {path:?}"),
            Ok(listed) => listed,
        };
        // What is special is empty here, and takes no room in the page.
        let mut entries = vec![Vec::new(); self.specials];
        entries.extend(listed.iter().filter_map(|found| match found {
            Found::Itself | Found::Parent => None,
            Found::Link(entry) | Found::Node(entry) => Some(text(entry, with_time)),
        }));
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
        self.size = size;
        self.reader = Some(Reader { file, position: 0, poisoned: false });
        Some(Ok((size as u32).to_le_bytes().to_vec()))
    }

    fn open_to_write(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        let path = path_of(request)?;
        self.writer = None;
        self.writer = Some(self.files.open_to_write(&path, Content::Empty)?);
        if self.release == Release::Old {
            self.size = 0;
        }
        Ok(Vec::new())
    }

    fn read(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        if self.release == Release::Old && request.session != 0 {
            // There is one session, and this number closes it.
            (self.reader, self.writer) = (None, None);
        }
        let reader = self.reader.as_mut().ok_or(Nak::Fail)?;
        let wanted = usize::from(request.size).min(DATA_BYTES_MAX);
        if u64::from(request.offset) >= self.size {
            return Err(Nak::Eof);
        }
        if reader.poisoned || u64::from(request.offset) + wanted as u64 > self.size {
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

/// `..` climbs up to the root, and no further.
fn path_of(request: &Payload) -> Result<ServedPath, Nak> {
    climbing_path_of(request, Err(Nak::Fail))
}

/// Names as they are, and times for directories too.
fn text(entry: &WireEntry, with_time: bool) -> Vec<u8> {
    let name = &entry.name[..];
    match (entry.directory, with_time) {
        (false, false) => file_text(entry),
        (false, true) => timed_file_text(entry),
        (true, false) => [b"D", name, b"\0"].concat(),
        (true, true) => {
            [b"D", name, format!("\t0\t{}\0", entry.mtime.unwrap_or(0)).as_bytes()].concat()
        }
    }
}

impl FarSide for Mavsdk {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload) {
        let Some(result) = self.answer(now, from, request) else { return };
        let answer = match result {
            Ok(data) => Payload::ack(request).with_data(&data),
            Err(nak) => Payload::nak(request, nak),
        };
        // Only data says where it belongs.
        let read = answer.answer() == Some(Ok(())) && request.opcode == Opcode::ReadFile as u8;
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
