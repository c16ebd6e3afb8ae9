//! ArduPilot's places that are on no disk: made when they are opened, with sizes that are not true.
//! Must not know sessions or requests.

use mavftp_mount::mavftp::server::{Files, MemoryFiles, ServedPath};
use mavftp_mount::mavftp::wire::{Nak, WireEntry};

const EROFS: u8 = 30;
/// What each text below `@SYS` is said to hold.
const TEXT_SIZE: u32 = 100_000;
/// What `@PARAM/param.pck` is said to hold: an estimate.
const PARAM_SIZE: u32 = 16_176;
/// What each file below `@MISSION` is said to hold.
const MISSION_SIZE: u32 = 1 << 20;

/// The places, and what is in them.
pub struct Places(MemoryFiles);

impl Places {
    pub fn new() -> Places {
        let files = MemoryFiles::new();
        files.insert("@SYS/uarts.txt", &[b'u'; 735]);
        files.insert("@SYS/threads.txt", b"");
        files.insert("@SYS/storage.bin", &[0; 16_384]);
        files.insert("@ROMFS/locations.txt", &[b'l'; 300]);
        files.insert("@PARAM/param.pck", &(0..14_871u32).map(|at| at as u8).collect::<Vec<u8>>());
        files.insert("@MISSION/mission.dat", &[1; 48]);
        Places(files)
    }

    /// Whether a path leads to one.
    pub fn holds(path: &ServedPath) -> bool {
        path.as_bytes().starts_with(b"@")
    }

    /// Whether all reads of one opening must be of one size.
    pub fn is_packed(path: &ServedPath) -> bool {
        path.as_bytes().starts_with(b"@PARAM/")
    }

    /// The files, to be read from or written to: an upload there changes the vehicle.
    pub fn files(&self, path: &ServedPath, writes: bool) -> Result<&MemoryFiles, Nak> {
        let fixed = path.as_bytes().starts_with(b"@SYS") || path.as_bytes().starts_with(b"@ROMFS");
        match path.as_bytes() {
            _ if writes && fixed => Err(Nak::FailErrno(EROFS)),
            // Listed, and not there.
            b"@SYS/threads.txt" => Err(Nak::FileNotFound),
            _ => Ok(&self.0),
        }
    }

    /// What a file is said to hold when it is opened or listed.
    pub fn told_size(path: &ServedPath, size: u32) -> u32 {
        match path.names().next() {
            Some(b"@SYS") if path.as_bytes().ends_with(b".txt") => TEXT_SIZE,
            Some(b"@PARAM") => PARAM_SIZE,
            Some(b"@MISSION") => MISSION_SIZE,
            Some(_) | None => size,
        }
    }

    /// Parameters and missions are not to be listed, though they open.
    pub fn list(&self, path: &ServedPath) -> Result<Vec<WireEntry>, Nak> {
        if path.as_bytes().starts_with(b"@PARAM") || path.as_bytes().starts_with(b"@MISSION") {
            return Err(Nak::FileNotFound);
        }
        let mut entries = self.0.list(path)?;
        for entry in &mut entries {
            let whole = [path.as_bytes(), b"/", &entry.name].concat();
            entry.size = Self::told_size(&ServedPath::parse(&whole)?, entry.size as u32).into();
        }
        Ok(entries)
    }
}
