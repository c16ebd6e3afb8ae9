//! ArduPilot's paths and what it lists below them.

use mavftp_mount::mavftp::server::ServedPath;
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Payload};

use super::{ArduPilot, Sessions};
use crate::personalities::disk::Found;
use crate::personalities::places::Places;
use crate::personalities::{climbing_path_of, page};

impl ArduPilot {
    /// Two NULs behind each entry but with times, and the directory itself and its parent among them.
    pub fn list(&self, request: &Payload, with_time: bool) -> Result<Vec<u8>, Nak> {
        let end = if with_time { "\0" } else { "\0\0" };
        let text = |found: &Found| match found {
            Found::Itself => format!("D.{end}").into_bytes(),
            Found::Parent => format!("D..{end}").into_bytes(),
            Found::Link(entry) | Found::Node(entry) => {
                let (size, mtime) = (entry.size, entry.mtime.unwrap_or(0));
                let fields = match (entry.directory, with_time) {
                    (true, false) => String::new(),
                    (true, true) => format!("\t0\t{mtime}"),
                    (false, false) => format!("\t{size}"),
                    (false, true) => format!("\t{size}\t{mtime}"),
                };
                let kind = if entry.directory { b"D" } else { b"F" };
                [&kind[..], &entry.name, fields.as_bytes(), end.as_bytes()].concat()
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

    /// `..` climbs as far as the root, which is the end of this world.
    pub fn path_of(&self, request: &Payload) -> Result<ServedPath, Nak> {
        self.check_size(request.data())?;
        // A NUL is forced into the last byte: what fills the whole field names another file.
        let size = request.size.min(DATA_BYTES_MAX as u8 - 1);
        climbing_path_of(&Payload { size, ..*request }, Ok(()))
    }

    pub fn two_paths_of(&self, request: &Payload) -> Result<(ServedPath, ServedPath), Nak> {
        let data = request.data();
        let nul = data.iter().position(|&byte| byte == 0).ok_or(Nak::InvalidDataSize)?;
        self.check_size(&data[nul + 1..])?;
        ServedPath::parse_two(data)
    }

    /// A text's size is its length; the newer ones let it have a NUL.
    fn check_size(&self, text: &[u8]) -> Result<(), Nak> {
        let length = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let spare = usize::from(self.sessions != Sessions::Old);
        let fits = length > 0 && text.len() <= length + spare;
        if fits { Ok(()) } else { Err(Nak::InvalidDataSize) }
    }
}
