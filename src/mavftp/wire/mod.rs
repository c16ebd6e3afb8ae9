//! The MAVLink FTP codec: the 251-byte payload of `FILE_TRANSFER_PROTOCOL`, its opcodes and NAK
//! codes, directory entries and checksum. Must not know anything else of ours.
//!
//! Source: the MAVLink specification, services/ftp. What is decoded is as hostile as the network.

mod checksum;
mod entries;

pub use checksum::Checksum;
pub use entries::{Listed, WireEntry, encode_entry, parse_entries};

/// Bytes of an FTP payload in the carrier message.
pub const PAYLOAD_BYTES: usize = 251;
/// Most data bytes in one payload.
pub const DATA_BYTES_MAX: usize = 239;
/// Longest path that every server takes: ArduPilot cuts a longer one than 238 bytes silently and PX4
/// one than 237, which names another file.
pub const PATH_BYTES_MAX: usize = 237;

const HEADER_BYTES: usize = PAYLOAD_BYTES - DATA_BYTES_MAX;

/// A command, or one of the two answers (section "Opcodes and fields").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// Answered with an ACK and nothing else.
    None = 0,
    /// Closes one session.
    TerminateSession = 1,
    /// Closes all sessions; on some servers also other stations'.
    ResetSessions = 2,
    /// Entries of a directory, from an entry index on.
    ListDirectory = 3,
    /// Opens a file for reading; the answer carries its size.
    OpenFileRo = 4,
    /// Bytes at an offset.
    ReadFile = 5,
    /// Creates or empties a file and opens it for writing.
    CreateFile = 6,
    /// Stores bytes at an offset.
    WriteFile = 7,
    /// Removes a file.
    RemoveFile = 8,
    /// Creates a directory.
    CreateDirectory = 9,
    /// Removes an empty directory.
    RemoveDirectory = 10,
    /// Opens a file for writing and keeps its content (MAVSDK's server empties it).
    OpenFileWo = 11,
    /// Sets a file's length.
    TruncateFile = 12,
    /// Renames a file or directory.
    Rename = 13,
    /// Checksum of a whole file.
    CalcFileCrc32 = 14,
    /// Bytes from an offset on, as a stream of answers.
    BurstReadFile = 15,
    /// Like [`Opcode::ListDirectory`], with modification times. In the specification since 2026.
    ListDirectoryWithTime = 16,
    /// The positive answer.
    Ack = 128,
    /// The negative answer.
    Nak = 129,
}

impl Opcode {
    /// Every command and answer of the protocol.
    pub const ALL: [Opcode; 19] = [
        Opcode::None,
        Opcode::TerminateSession,
        Opcode::ResetSessions,
        Opcode::ListDirectory,
        Opcode::OpenFileRo,
        Opcode::ReadFile,
        Opcode::CreateFile,
        Opcode::WriteFile,
        Opcode::RemoveFile,
        Opcode::CreateDirectory,
        Opcode::RemoveDirectory,
        Opcode::OpenFileWo,
        Opcode::TruncateFile,
        Opcode::Rename,
        Opcode::CalcFileCrc32,
        Opcode::BurstReadFile,
        Opcode::ListDirectoryWithTime,
        Opcode::Ack,
        Opcode::Nak,
    ];

    /// The opcode with this number, if the protocol has one.
    pub fn from_number(number: u8) -> Option<Opcode> {
        BY_NUMBER[usize::from(number)]
    }
}

/// Asked several times for each frame, so looked up and not searched.
static BY_NUMBER: [Option<Opcode>; 256] = by_number();

const fn by_number() -> [Option<Opcode>; 256] {
    let mut table = [None; 256];
    let mut at = 0;
    while at < Opcode::ALL.len() {
        let opcode = Opcode::ALL[at];
        table[opcode as usize] = Some(opcode);
        at += 1;
    }
    table
}

/// Why a server refused (section "Error codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nak {
    /// Code 1: failed, no reason given.
    Fail,
    /// Code 2: failed with this error number of the server's own system.
    FailErrno(u8),
    /// Code 3: the `size` field is wrong.
    InvalidDataSize,
    /// Code 4: no such session.
    InvalidSession,
    /// Code 5: all sessions are taken.
    NoSessionsAvailable,
    /// Code 6: past the end of the file or listing.
    Eof,
    /// Code 7: the server does not know the opcode.
    UnknownCommand,
    /// Code 8: the name is taken.
    FileExists,
    /// Code 9: the file is protected.
    FileProtected,
    /// Code 10: no such file; on a read also: the session is gone.
    FileNotFound,
    /// Any other number, or a NAK without one.
    Other(u8),
}

impl Nak {
    /// The code's number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Nak::Fail => 1,
            Nak::FailErrno(_) => 2,
            Nak::InvalidDataSize => 3,
            Nak::InvalidSession => 4,
            Nak::NoSessionsAvailable => 5,
            Nak::Eof => 6,
            Nak::UnknownCommand => 7,
            Nak::FileExists => 8,
            Nak::FileProtected => 9,
            Nak::FileNotFound => 10,
            Nak::Other(number) => number,
        }
    }

    /// Reads the data of a NAK. Malformed ones exist: without a code, or code 2 without an errno.
    pub fn parse(data: &[u8]) -> Nak {
        match data.first().copied().unwrap_or(0) {
            1 => Nak::Fail,
            2 => Nak::FailErrno(data.get(1).copied().unwrap_or(0)),
            3 => Nak::InvalidDataSize,
            4 => Nak::InvalidSession,
            5 => Nak::NoSessionsAvailable,
            6 => Nak::Eof,
            7 => Nak::UnknownCommand,
            8 => Nak::FileExists,
            9 => Nak::FileProtected,
            10 => Nak::FileNotFound,
            number => Nak::Other(number),
        }
    }
}

/// Why bytes are not a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More than [`PAYLOAD_BYTES`] bytes.
    #[error("an FTP payload of {0} bytes; {PAYLOAD_BYTES} are the most")]
    TooLong(usize),
    /// The `size` field of an answer says more data than a payload holds.
    #[error("an FTP payload that claims {0} data bytes; {DATA_BYTES_MAX} are the most")]
    Size(u8),
}

/// One FTP packet, request or answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Number of the request; an answer has its request's plus one.
    pub sequence: u16,
    /// The open file's handle.
    pub session: u8,
    /// The number of the command or answer; any byte, for a server must answer unknown ones.
    pub opcode: u8,
    /// Valid data bytes; in a read request the bytes wanted.
    pub size: u8,
    /// In an answer: the opcode that is answered.
    pub req_opcode: u8,
    /// In a burst: 1 when nothing more is coming. Some servers send garbage.
    pub burst_complete: u8,
    /// Byte offset, or entry index.
    pub offset: u32,
    /// Data; only the first `size` bytes mean anything in anything but a read request.
    pub bytes: [u8; DATA_BYTES_MAX],
}

impl Payload {
    /// Whether this is a request that moves bytes of a file.
    pub fn moves_block(&self) -> bool {
        self.opcode == Opcode::ReadFile as u8 || self.opcode == Opcode::WriteFile as u8
    }

    /// A request without data.
    pub fn request(opcode: Opcode) -> Payload {
        Payload {
            sequence: 0,
            session: 0,
            opcode: opcode as u8,
            size: 0,
            req_opcode: 0,
            burst_complete: 0,
            offset: 0,
            bytes: [0; DATA_BYTES_MAX],
        }
    }

    /// The same with `data` in it, cut at [`DATA_BYTES_MAX`].
    pub fn with_data(mut self, data: &[u8]) -> Payload {
        let count = data.len().min(DATA_BYTES_MAX);
        self.bytes = [0; DATA_BYTES_MAX];
        self.bytes[..count].copy_from_slice(&data[..count]);
        self.size = count as u8;
        self
    }

    /// A positive answer to `request`, with the request's offset and session.
    pub fn ack(request: &Payload) -> Payload {
        Payload {
            sequence: request.sequence.wrapping_add(1),
            session: request.session,
            req_opcode: request.opcode,
            offset: request.offset,
            ..Payload::request(Opcode::Ack)
        }
    }

    /// A negative answer to `request`.
    pub fn nak(request: &Payload, nak: Nak) -> Payload {
        let answer = Payload { opcode: Opcode::Nak as u8, ..Payload::ack(request) };
        match nak {
            Nak::FailErrno(errno) => answer.with_data(&[nak.number(), errno]),
            _ => answer.with_data(&[nak.number()]),
        }
    }

    /// Reads a payload. MAVLink 2 cuts trailing zeros, so a short one is filled up with zeros.
    pub fn decode(bytes: &[u8]) -> Result<Payload, WireError> {
        if bytes.len() > PAYLOAD_BYTES {
            return Err(WireError::TooLong(bytes.len()));
        }
        let (header, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES));
        let mut full = [0; HEADER_BYTES];
        full[..header.len()].copy_from_slice(header);
        let mut data = [0; DATA_BYTES_MAX];
        data[..rest.len()].copy_from_slice(rest);
        let payload = Payload {
            sequence: u16::from_le_bytes([full[0], full[1]]),
            session: full[2],
            opcode: full[3],
            size: full[4],
            req_opcode: full[5],
            burst_complete: full[6],
            offset: u32::from_le_bytes([full[8], full[9], full[10], full[11]]),
            bytes: data,
        };
        let answer = payload.opcode == Opcode::Ack as u8 || payload.opcode == Opcode::Nak as u8;
        if answer && usize::from(payload.size) > DATA_BYTES_MAX {
            return Err(WireError::Size(payload.size));
        }
        Ok(payload)
    }

    /// Writes the payload. Bytes after the data are zero: others have leaked memory there.
    pub fn encode(&self) -> [u8; PAYLOAD_BYTES] {
        let mut full = [0; PAYLOAD_BYTES];
        full[0..2].copy_from_slice(&self.sequence.to_le_bytes());
        full[2] = self.session;
        full[3] = self.opcode;
        full[4] = self.size;
        full[5] = self.req_opcode;
        full[6] = self.burst_complete;
        full[8..12].copy_from_slice(&self.offset.to_le_bytes());
        let is_read =
            self.opcode == Opcode::ReadFile as u8 || self.opcode == Opcode::BurstReadFile as u8;
        let data: &[u8] = if is_read { &[] } else { self.data() };
        full[HEADER_BYTES..HEADER_BYTES + data.len()].copy_from_slice(data);
        full
    }

    /// The valid data.
    pub fn data(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size).min(DATA_BYTES_MAX)]
    }

    /// The data as a little-endian number, where an answer carries one.
    pub fn data_u32(&self) -> Option<u32> {
        self.data().first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// The command or answer, if the protocol has it.
    pub fn command(&self) -> Option<Opcode> {
        Opcode::from_number(self.opcode)
    }

    /// Whether this answers a request, and how: `None` for requests.
    pub fn answer(&self) -> Option<Result<(), Nak>> {
        match self.command() {
            Some(Opcode::Ack) => Some(Ok(())),
            Some(Opcode::Nak) => Some(Err(Nak::parse(self.data()))),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.command(), Opcode::from_number(self.req_opcode)) {
            (Some(Opcode::Ack), Some(asked)) => write!(f, "Ack({asked:?})")?,
            (Some(Opcode::Nak), Some(asked)) => {
                write!(f, "Nak({asked:?}, {:?})", Nak::parse(self.data()))?;
            }
            (Some(opcode), _) => write!(f, "{opcode:?}")?,
            (None, _) => write!(f, "Opcode({})", self.opcode)?,
        }
        write!(f, " seq {} session {}", self.sequence, self.session)?;
        write!(f, " offset {} size {}", self.offset, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_of_zeros_survives_the_carriers_trimming() {
        let payload = Payload { sequence: 7, ..Payload::request(Opcode::WriteFile) }
            .with_data(&[0; DATA_BYTES_MAX]);
        let encoded = payload.encode();
        let end = encoded.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        assert!(end < 16, "the carrier cuts trailing zeros");
        let decoded = Payload::decode(&encoded[..end]).unwrap();
        assert_eq!(decoded.data(), [0; DATA_BYTES_MAX]);
    }

    #[test]
    fn a_size_that_lies_is_refused_in_answers() {
        let mut bytes = Payload::request(Opcode::Ack).encode();
        bytes[4] = 240;
        assert_eq!(Payload::decode(&bytes), Err(WireError::Size(240)));
        assert_eq!(Payload::decode(&[0; 252]), Err(WireError::TooLong(252)));
    }

    #[test]
    fn malformed_naks_are_read() {
        assert_eq!(Nak::parse(&[]), Nak::Other(0));
        assert_eq!(Nak::parse(&[2]), Nak::FailErrno(0));
        assert_eq!(Nak::parse(&[2, 28]), Nak::FailErrno(28));
        assert_eq!(Nak::parse(&[99]), Nak::Other(99));
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(payload) = Payload::decode(&bytes) {
                let _ = (payload.data(), payload.answer(), format!("{payload:?}"));
                let _ = parse_entries(payload.data(), true);
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(
            sequence: u16, session: u8, offset: u32,
            opcode in proptest::sample::select(&Opcode::ALL[..]),
            data in proptest::collection::vec(any::<u8>(), 0..=DATA_BYTES_MAX),
        ) {
            prop_assume!(!matches!(opcode, Opcode::ReadFile | Opcode::BurstReadFile));
            let payload = Payload { sequence, session, offset, ..Payload::request(opcode) }.with_data(&data);
            prop_assert_eq!(Payload::decode(&payload.encode()), Ok(payload));
        }
    }
}
