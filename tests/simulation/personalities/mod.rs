//! Servers that behave like real ones, by rule: what a vehicle was seen to do, not what it ought to.
//! Must not know the client; tests put them behind a network in place of our own server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::{MemoryFiles, ServedFile, ServedPath, Server, ServerOutput};
use mavftp_mount::mavftp::wire::{Checksum, DATA_BYTES_MAX, Nak, Opcode, Payload, WireEntry};

pub mod ardupilot;
pub mod bent;
pub mod disk;
pub mod mavsdk;
pub mod naive;
pub mod places;
pub mod px4;

/// The station whose client is tested.
pub const US: u8 = 0;
/// Another ground station on the same link.
pub const OTHER: u8 = 1;

/// What a vehicle has to say.
pub enum Said {
    /// This, to that station.
    To(u8, Box<Payload>),
    /// Nothing before this time.
    Nothing(Option<Instant>),
}

/// A server on the far side, stepped in virtual time.
pub trait FarSide {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload);
    fn poll(&mut self, now: Instant) -> Said;
    /// So many bytes wait for the line from it; told before each poll.
    fn line(&mut self, _waiting_bytes: u32) {}
    /// The link to a station is gone, or there again.
    fn link(&mut self, _station: u8, _there: bool) {}
    /// Files open for anybody.
    fn open_files(&self, now: Instant) -> usize;
    /// Forgets everything but its files.
    fn restart(&mut self);
    /// What it did to its tree, requests that changed nothing left out.
    fn changes(&self) -> &[Opcode];
}

/// Our own server.
pub struct Ours {
    server: Server<u8, MemoryFiles>,
    files: MemoryFiles,
}

impl Ours {
    pub fn new(files: MemoryFiles, seed: u64) -> Ours {
        Ours { server: Server::new(files.clone(), seed), files }
    }
}

impl FarSide for Ours {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload) {
        self.server.receive(now, from, request);
    }

    fn poll(&mut self, now: Instant) -> Said {
        match self.server.poll(now) {
            ServerOutput::Send(to, payload) => Said::To(to, Box::new(payload)),
            ServerOutput::Wait(at) => Said::Nothing(at),
        }
    }

    fn open_files(&self, _now: Instant) -> usize {
        self.server.open_sessions()
    }

    fn restart(&mut self) {
        self.server = Server::new(self.files.clone(), 99);
    }

    fn changes(&self) -> &[Opcode] {
        &[]
    }
}

/// Answers that leave at a time.
#[derive(Default)]
pub struct Outbox {
    waiting: BTreeMap<(Instant, u64), (u8, Payload)>,
    count: u64,
}

impl Outbox {
    pub fn put(&mut self, at: Instant, to: u8, payload: Payload) {
        self.count += 1;
        self.waiting.insert((at, self.count), (to, payload));
    }

    pub fn take(&mut self, now: Instant) -> Said {
        match self.waiting.first_entry() {
            Some(entry) if entry.key().0 <= now => {
                let (to, payload) = entry.remove();
                Said::To(to, Box::new(payload))
            }
            Some(entry) => Said::Nothing(Some(entry.key().0)),
            None => Said::Nothing(None),
        }
    }
}

/// The path of a request.
pub fn path_of(request: &Payload) -> Result<ServedPath, Nak> {
    ServedPath::parse(request.data())
}

/// The path of a request to a server that lets `..` climb. What is above the root is refused so, or
/// is the root.
pub fn climbing_path_of(request: &Payload, above: Result<(), Nak>) -> Result<ServedPath, Nak> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in request.data().split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        if name != b".." {
            names.push(name);
        } else if names.pop().is_none() {
            above?;
        }
    }
    ServedPath::parse(&names.join(&b'/'))
}

/// A listed file's text as most servers send it: names as they are, tabs and all.
pub fn file_text(entry: &WireEntry) -> Vec<u8> {
    [b"F", &entry.name[..], format!("\t{}\0", entry.size).as_bytes()].concat()
}

/// The same with the time at which it was written; 0: unknown.
pub fn timed_file_text(entry: &WireEntry) -> Vec<u8> {
    let fields = format!("\t{}\t{}\0", entry.size, entry.mtime.unwrap_or(0));
    [b"F", &entry.name[..], fields.as_bytes()].concat()
}

/// Bytes of a file from the offset of a request, at most `count`.
pub fn bytes_of(file: &impl ServedFile, request: &Payload, count: usize) -> Result<Vec<u8>, Nak> {
    let mut buffer = [0; DATA_BYTES_MAX];
    let wanted = &mut buffer[..count.min(DATA_BYTES_MAX)];
    let count = file.read_at(u64::from(request.offset), wanted)?;
    Ok(buffer[..count].to_vec())
}

/// A file's checksum, as an answer's data.
pub fn checksum_of(files: &MemoryFiles, path: &ServedPath) -> Result<Vec<u8>, Nak> {
    let text = String::from_utf8_lossy(path.as_bytes()).into_owned();
    let content = files.content(&text).ok_or(Nak::FileNotFound)?;
    Ok(Checksum::of(&content).to_le_bytes().to_vec())
}

/// As many of these entries as fit in a page, from the one at `offset` on.
pub fn page(entries: &[Vec<u8>], offset: u32) -> Vec<u8> {
    let mut data = Vec::new();
    for entry in entries.iter().skip(offset as usize) {
        if data.len() + entry.len() > DATA_BYTES_MAX {
            break;
        }
        data.extend_from_slice(entry);
    }
    data
}

/// A vehicle's clock from its seed: so long it takes over a request.
pub fn service(random: &mut crate::network::Random, least: Duration, most: Duration) -> Duration {
    least + (most - least).mul_f64(random.below(1000) as f64 / 1000.0)
}
