//! PX4's paths: what is cut, what climbs, and what a board lets be changed.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::{Files, ServedPath};
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::{Firmware, Px4};
use crate::personalities::{climbing_path_of, path_of};

/// What is longer is cut, and so names another file.
const PATH_BYTES_KEPT: u8 = 237;
/// Main's other name for the directory of its logs.
const LOG_PLACE: &[u8] = b"@MAV_LOG";
/// Without a request for so long, a board frees the text of the last path.
const SCRATCH: Duration = Duration::from_secs(2);

const EINVAL: u8 = 22;

impl Px4 {
    /// Whether it flies: a card, and buffers that are small.
    pub fn is_board(&self) -> bool {
        matches!(self.firmware, Firmware::Board | Firmware::Serial)
    }

    /// Only main refuses `..`; before, it climbed out of the root, which is the end of this world.
    pub fn path_of(&self, request: &Payload) -> Result<ServedPath, Nak> {
        let size = request.size.min(PATH_BYTES_KEPT);
        let kept = Payload { size, ..*request };
        match self.firmware {
            Firmware::Main => match kept.data().strip_prefix(LOG_PLACE) {
                Some(rest) => ServedPath::parse(&[b"log", rest].concat()),
                None => path_of(&kept),
            },
            Firmware::Release | Firmware::Board | Firmware::Serial => {
                climbing_path_of(&kept, Ok(()))
            }
        }
    }

    /// Whether files may be changed there.
    pub fn check_place(&self, path: &ServedPath) -> Result<(), Nak> {
        let Some(card) = &self.card else { return Ok(()) };
        let rest = path.as_bytes().strip_prefix(&card[..]);
        let below = rest.is_some_and(|rest| rest.starts_with(b"/"));
        if below { Ok(()) } else { Err(Nak::FileProtected) }
    }

    /// Keeps the path of a request that has one.
    pub fn note_path(&mut self, now: Instant, request: &Payload) {
        if self.last_request.is_some_and(|last| now.duration_since(last) > SCRATCH) {
            self.scratch = None;
        }
        let pathless = [
            Opcode::None,
            Opcode::TerminateSession,
            Opcode::ResetSessions,
            Opcode::ReadFile,
            Opcode::BurstReadFile,
            Opcode::WriteFile,
        ];
        let nul = request.data().iter().position(|&byte| byte == 0);
        let first = Payload { size: nul.map_or(request.size, |nul| nul as u8), ..*request };
        if request.command().is_some_and(|opcode| !pathless.contains(&opcode)) {
            self.scratch = self.path_of(&first).ok();
        }
    }

    pub fn rename(&mut self, request: &Payload) -> Result<(), Nak> {
        let old = request.data().iter().position(|&byte| byte == 0).unwrap_or(0);
        if usize::from(request.size) <= old + 2 {
            return Err(self.fail(EINVAL));
        }
        let (from, to) = ServedPath::parse_two(request.data())?;
        self.check_place(&from)?;
        self.check_place(&to)?;
        let board = self.is_board();
        self.noting(|files| match files.open_to_read(&to) {
            // Its FAT replaces nothing.
            Ok(_) if board => Err(Nak::FileExists),
            Ok(_) | Err(_) => files.rename(&from, &to),
        })?;
        self.changes.push(Opcode::Rename);
        Ok(())
    }
}
