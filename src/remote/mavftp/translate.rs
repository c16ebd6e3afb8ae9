//! Between [`Remote`](crate::remote::Remote)'s words and the wire's: operations, errors, messages.

use super::WhenArmed;
use crate::link::node::{Message, Received};
use crate::mavftp::client;
use crate::mavftp::hub::{Frame, Heartbeat, Identity, Incoming, RadioStatus, Target};
use crate::mavftp::wire::{Nak, WireEntry};
use crate::remote::{
    Class, Entry, Error, Kind, Name, Op, PathError, RemotePath, Reply, SIZE_MAX, WriteMode,
};

/// `MAV_TYPE_GENERIC`; never GCS, whose coming and going vehicles react to.
const OWN_TYPE: u8 = 0;
/// `MAV_AUTOPILOT_INVALID`: we are no autopilot.
const OWN_AUTOPILOT: u8 = 8;
/// `MAV_STATE_ACTIVE`.
const OWN_STATE: u8 = 4;
/// `MAV_CMD_REQUEST_MESSAGE`.
const REQUEST_MESSAGE: u16 = 512;
/// The id of AUTOPILOT_VERSION, as the command's parameter.
const AUTOPILOT_VERSION: f32 = 148.0;

/// The wire's operation. What the protocol cannot say is refused here.
pub fn op(op: &Op) -> Result<client::Op, Error> {
    let fit = |number: u64| u32::try_from(number).map_err(|_| Error::TooLarge);
    Ok(match op {
        Op::List { path } => client::Op::List { path: wire_path(path) },
        Op::Read { path, offset, length, expected } => client::Op::Read {
            path: wire_path(path),
            offset: fit(*offset)?,
            length: u32::try_from(*length).unwrap_or(u32::MAX),
            expected: expected.and_then(|size| u32::try_from(size).ok()),
        },
        Op::Size { path } => client::Op::Size { path: wire_path(path) },
        Op::Write { path, mode, .. } => {
            let append = match mode {
                WriteMode::Replace | WriteMode::Save { .. } => None,
                WriteMode::Append { offset } => Some(fit(*offset)?),
            };
            client::Op::Write { path: wire_path(path), append }
        }
        Op::Remove { path } => client::Op::Remove { path: wire_path(path) },
        Op::MakeDirectory { path } => client::Op::MakeDirectory { path: wire_path(path) },
        Op::RemoveDirectory { path } => client::Op::RemoveDirectory { path: wire_path(path) },
        Op::Rename { from, to } => client::Op::Rename { from: wire_path(from), to: wire_path(to) },
        Op::Truncate { path, length } => {
            client::Op::Truncate { path: wire_path(path), length: fit(*length)? }
        }
        // MAVLink FTP has no request for it.
        Op::SetTime { .. } => return Err(Error::Unsupported),
        Op::Checksum { path } => client::Op::Checksum { path: wire_path(path) },
    })
}

/// ArduPilot's virtual places (`@SYS`, `@PARAM`) are named without the slash.
fn wire_path(path: &RemotePath) -> Vec<u8> {
    match path.as_bytes() {
        [b'/', rest @ ..] if rest.first() == Some(&b'@') => rest.to_vec(),
        bytes => bytes.to_vec(),
    }
}

/// What an armed vehicle may be asked.
pub fn restraint(when_armed: WhenArmed) -> client::Restraint {
    match when_armed {
        WhenArmed::Limit => client::Restraint::Limited,
        WhenArmed::Allow => client::Restraint::Free,
        WhenArmed::Deny => client::Restraint::Silent,
    }
}

/// The wire's class.
pub fn class(class: Class) -> client::Class {
    match class {
        Class::Metadata => client::Class::Metadata,
        Class::Demand => client::Class::Demand,
        Class::Write => client::Class::Write,
        Class::ReadAhead => client::Class::ReadAhead,
    }
}

/// The reply of an operation.
pub fn reply(reply: client::Reply) -> Reply {
    match reply {
        client::Reply::Done => Reply::Done,
        client::Reply::Size(size) => Reply::Size(u64::from(size)),
        client::Reply::Checksum(checksum) => Reply::Checksum(checksum),
    }
}

/// The error of an operation.
pub fn error(error: client::Error) -> Error {
    match error {
        client::Error::Refused(nak) => refusal(nak),
        client::Error::TimedOut => Error::TimedOut,
        client::Error::Busy => Error::Busy,
        client::Error::LinkDown => Error::LinkDown,
        client::Error::Armed => Error::Armed,
        client::Error::Changed => Error::Changed,
        client::Error::Endless => Error::Failed("the vehicle's listing does not end".into()),
        client::Error::ShortWrite => Error::NoSpace,
        client::Error::Malformed => Error::Failed("the vehicle's answer makes no sense".into()),
        client::Error::Unsupported => Error::Unsupported,
        client::Error::TooLarge => Error::TooLarge,
        client::Error::PathTooLong => Error::PathTooLong,
        client::Error::Cancelled => Error::Cancelled,
    }
}

fn refusal(nak: Nak) -> Error {
    match nak {
        Nak::Fail => Error::Failed("the vehicle refused without a reason (code 1)".into()),
        Nak::FailErrno(errno) => from_errno(errno),
        Nak::InvalidDataSize => Error::Invalid,
        Nak::InvalidSession => Error::Failed("the vehicle lost the session (code 4)".into()),
        Nak::NoSessionsAvailable => Error::Busy,
        Nak::Eof => Error::Failed("the vehicle says the file ends before it does".into()),
        Nak::UnknownCommand => Error::Unsupported,
        Nak::FileExists => Error::Exists,
        Nak::FileProtected => Error::Denied,
        Nak::FileNotFound => Error::NotFound,
        Nak::Other(code) => Error::Failed(format!("the vehicle refused with code {code}")),
    }
}

/// Error numbers are those of the server's own system; where Linux and newlib differ, both count.
fn from_errno(errno: u8) -> Error {
    match errno {
        1 | 13 => Error::Denied,
        2 => Error::NotFound,
        16 => Error::Busy,
        17 => Error::Exists,
        20 => Error::NotADirectory,
        21 => Error::IsADirectory,
        22 => Error::Invalid,
        27 => Error::TooLarge,
        28 => Error::NoSpace,
        30 => Error::ReadOnly,
        36 | 91 => Error::PathTooLong,
        38 | 88 => Error::Unsupported,
        39 | 90 => Error::NotEmpty,
        _ => Error::Failed(format!("the vehicle failed with its error number {errno}")),
    }
}

/// Entries whose names are safe. The others are handed to `left_out`, with the reason.
pub fn entries(
    entries: Vec<WireEntry>,
    mut left_out: impl FnMut(&WireEntry, PathError),
) -> Vec<Entry> {
    let entry = |wire: WireEntry| match safe_name(&wire.name) {
        Ok(name) => {
            let kind = if wire.directory { Kind::Directory } else { Kind::File };
            let size = if wire.directory { 0 } else { wire.size.min(SIZE_MAX) };
            Some(Entry { name, kind, size, mtime: wire.mtime })
        }
        Err(error) => {
            // Every Unix server lists these two.
            if wire.name != b"." && wire.name != b".." {
                left_out(&wire, error);
            }
            None
        }
    };
    entries.into_iter().filter_map(entry).collect()
}

/// A name that can be shown. Servers send tabs as they are, and people have made such files.
fn safe_name(bytes: &[u8]) -> Result<Name, PathError> {
    match bytes.iter().any(|byte| byte.is_ascii_control() && !matches!(byte, 0 | b'\t')) {
        true => Err(PathError::Control),
        false => Name::parse(bytes),
    }
}

/// The hub's view of a message.
pub fn incoming(received: &Received) -> (Target, Incoming) {
    let source = Target { system: received.system, component: received.component };
    let incoming = match &received.message {
        Message::Heartbeat { vehicle_type, autopilot, base_mode, .. } => {
            Incoming::Heartbeat(Heartbeat {
                vehicle_type: *vehicle_type,
                autopilot: *autopilot,
                base_mode: *base_mode,
            })
        }
        Message::Ftp { target_system, target_component, payload } => Incoming::Ftp {
            target_system: *target_system,
            target_component: *target_component,
            payload: *payload,
        },
        Message::AutopilotVersion { uid, uid2, .. } => {
            Incoming::Identity(Identity { uid: *uid, uid2: *uid2 })
        }
        Message::RadioStatus { rssi, remrssi, txbuf, noise, remnoise, rxerrors, fixed } => {
            Incoming::Radio(RadioStatus {
                rssi: *rssi,
                remrssi: *remrssi,
                txbuf: *txbuf,
                noise: *noise,
                remnoise: *remnoise,
                rxerrors: *rxerrors,
                fixed: *fixed,
            })
        }
        Message::Command { .. } | Message::CommandAck { .. } | Message::Other(_) => Incoming::Other,
    };
    (source, incoming)
}

/// The message of a frame the hub sends.
pub fn message(frame: &Frame) -> Message {
    match frame {
        Frame::Heartbeat => Message::Heartbeat {
            vehicle_type: OWN_TYPE,
            autopilot: OWN_AUTOPILOT,
            base_mode: 0,
            system_status: OWN_STATE,
        },
        Frame::Ftp(target, payload) => Message::Ftp {
            target_system: target.system,
            target_component: target.component,
            payload: payload.encode(),
        },
        Frame::AskIdentity(target) => Message::Command {
            target_system: target.system,
            target_component: target.component,
            command: REQUEST_MESSAGE,
            param1: AUTOPILOT_VERSION,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_places_are_named_without_the_slash() {
        let path = |text: &str| wire_path(&RemotePath::parse(text.as_bytes()).unwrap());
        assert_eq!(path("/@SYS/threads.txt"), b"@SYS/threads.txt");
        assert_eq!(path("/a@b"), b"/a@b");
        assert_eq!(path("/"), b"/");
    }

    /// > Names from the vehicle that lead elsewhere or cannot be shown (`..`, with a slash, NUL or
    /// > control character, longer than 255 bytes) are left out.
    #[test]
    fn hostile_names_are_left_out() {
        let wire =
            |name: &[u8]| WireEntry { name: name.to_vec(), directory: false, size: 1, mtime: None };
        let long = [b'x'; 300];
        let names =
            [&b"ok"[..], b"..", b"../etc", b"a\0b", &long, b"tab\tname", b"a\nb", b"\x1b[2J"];
        let mut left_out = 0;
        let kept = entries(names.iter().map(|name| wire(name)).collect(), |_, _| left_out += 1);
        assert_eq!(left_out, 5, "`..` is in every listing");
        let kept: Vec<&[u8]> = kept.iter().map(|entry| entry.name.as_bytes()).collect();
        assert_eq!(kept, [&b"ok"[..], b"tab\tname"]);
    }

    #[test]
    fn the_table_of_errors_names_the_naks_that_lead_to_each() {
        let rows = crate::semantics::errors();
        let naks = [
            ("1", Nak::Fail),
            ("2 (1 EPERM)", Nak::FailErrno(1)),
            ("2 (2 ENOENT)", Nak::FailErrno(2)),
            ("2 (13 EACCES)", Nak::FailErrno(13)),
            ("2 (16 EBUSY)", Nak::FailErrno(16)),
            ("2 (17 EEXIST)", Nak::FailErrno(17)),
            ("2 (20 ENOTDIR)", Nak::FailErrno(20)),
            ("2 (21 EISDIR)", Nak::FailErrno(21)),
            ("2 (22 EINVAL)", Nak::FailErrno(22)),
            ("2 (27 EFBIG)", Nak::FailErrno(27)),
            ("2 (28 ENOSPC)", Nak::FailErrno(28)),
            ("2 (30 EROFS)", Nak::FailErrno(30)),
            ("2 (36 or 91 ENAMETOOLONG)", Nak::FailErrno(36)),
            ("2 (36 or 91 ENAMETOOLONG)", Nak::FailErrno(91)),
            ("2 (38 or 88 ENOSYS)", Nak::FailErrno(38)),
            ("2 (38 or 88 ENOSYS)", Nak::FailErrno(88)),
            ("2 (39 or 90 ENOTEMPTY)", Nak::FailErrno(39)),
            ("2 (39 or 90 ENOTEMPTY)", Nak::FailErrno(90)),
            ("2 (others)", Nak::FailErrno(5)),
            ("3", Nak::InvalidDataSize),
            ("4", Nak::InvalidSession),
            ("5", Nak::NoSessionsAvailable),
            ("6", Nak::Eof),
            ("7", Nak::UnknownCommand),
            ("8", Nak::FileExists),
            ("9", Nak::FileProtected),
            ("10", Nak::FileNotFound),
            ("others", Nak::Other(77)),
        ];
        for (text, nak) in naks {
            let means = std::mem::discriminant(&refusal(nak));
            for (error, row) in &rows {
                let listed = row.naks.iter().any(|listed| listed == text);
                assert_eq!(listed, std::mem::discriminant(error) == means, "{text} at {error:?}");
            }
        }
        let known = |text: &String| naks.iter().any(|(known, _)| known == text);
        assert!(rows.iter().all(|(_, row)| row.naks.iter().all(known)), "a NAK nobody sends");
    }

    #[test]
    fn a_size_no_file_can_have_is_cut() {
        let wire = WireEntry { name: b"a".to_vec(), directory: false, size: u64::MAX, mtime: None };
        assert_eq!(entries(vec![wire], |_, _| ())[0].size, SIZE_MAX);
    }

    #[test]
    fn offsets_beyond_four_gigabytes_are_refused_and_lengths_are_cut() {
        let path = RemotePath::root();
        let far = Op::Read { path: path.clone(), offset: 1 << 32, length: 1, expected: None };
        assert_eq!(op(&far), Err(Error::TooLarge));
        let long = Op::Read { path, offset: 0, length: u64::MAX, expected: None };
        assert!(matches!(op(&long), Ok(client::Op::Read { length: u32::MAX, .. })));
    }
}
