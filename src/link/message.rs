//! The six messages this program speaks, and their place in a MAVLink payload. Must not know what
//! an FTP payload means.
//!
//! The layout is written out (from the dialect `common`, fields in wire order) instead of using
//! the generated types, for these refuse every enum value they do not know, so that a new kind of
//! vehicle would have no heartbeat, and leave out extension fields such as `uid2`. Ids and check
//! bytes come from the generated types, and tests hold the layout against them.

use mavlink::MessageData;
use mavlink::dialects::common::{
    AUTOPILOT_VERSION_DATA, COMMAND_ACK_DATA, COMMAND_LONG_DATA, FILE_TRANSFER_PROTOCOL_DATA,
    HEARTBEAT_DATA, RADIO_STATUS_DATA,
};

/// Most bytes in a MAVLink payload.
pub const PAYLOAD_BYTES_MAX: usize = 255;

/// Bytes of the FTP payload inside its carrier message.
pub const FTP_PAYLOAD_BYTES: usize = 251;

/// What is said on a link.
// Nearly every message of a transfer is the large one; a box for each would only cost.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Message {
    /// Somebody is there.
    Heartbeat {
        /// A `MAV_TYPE`.
        vehicle_type: u8,
        /// A `MAV_AUTOPILOT`.
        autopilot: u8,
        /// `MAV_MODE_FLAG` bits; 128 says armed.
        base_mode: u8,
        /// A `MAV_STATE`.
        system_status: u8,
    },
    /// `FILE_TRANSFER_PROTOCOL`: an FTP payload for a component.
    Ftp {
        /// 0 is everybody.
        target_system: u8,
        /// 0 is every component.
        target_component: u8,
        /// Filled up with zeros.
        payload: [u8; FTP_PAYLOAD_BYTES],
    },
    /// Who a component is.
    AutopilotVersion {
        /// `MAV_PROTOCOL_CAPABILITY` bits.
        capabilities: u64,
        /// Major, minor, patch and type of the release, a byte each, the highest first.
        flight_sw_version: u32,
        /// Hardware id; 0 is unknown.
        uid: u64,
        /// Longer hardware id; zeros are unknown.
        uid2: [u8; UID2_BYTES],
    },
    /// `COMMAND_LONG`.
    Command {
        /// 0 is everybody.
        target_system: u8,
        /// 0 is every component.
        target_component: u8,
        /// A `MAV_CMD`.
        command: u16,
        /// The first of seven parameters; the others are sent as 0.
        param1: f32,
    },
    /// `COMMAND_ACK`.
    CommandAck {
        /// The `MAV_CMD` that is answered.
        command: u16,
        /// A `MAV_RESULT`.
        result: u8,
        /// Who asked; 0 where the sender does not say.
        target_system: u8,
        /// Who asked; 0 where the sender does not say.
        target_component: u8,
    },
    /// `RADIO_STATUS`, from a telemetry radio.
    RadioStatus {
        /// Strength of the signal here, in units of the radio; 255 is unknown.
        rssi: u8,
        /// Strength of the signal at the far radio; 255 is unknown.
        remrssi: u8,
        /// Free part of the buffer for sending, in percent.
        txbuf: u8,
        /// Background noise here.
        noise: u8,
        /// Background noise at the far radio.
        remnoise: u8,
        /// Packets received with errors.
        rxerrors: u16,
        /// Of these, corrected ones.
        fixed: u16,
    },
    /// Another message, by its id. Its check bytes are unknown, so that its content and even its
    /// sender may be damaged.
    Other(u32),
}

/// Bytes of `uid2`.
pub const UID2_BYTES: usize = 18;

const HEARTBEAT: u32 = HEARTBEAT_DATA::ID;
const FTP: u32 = FILE_TRANSFER_PROTOCOL_DATA::ID;
const VERSION: u32 = AUTOPILOT_VERSION_DATA::ID;
const COMMAND: u32 = COMMAND_LONG_DATA::ID;
const ACK: u32 = COMMAND_ACK_DATA::ID;
const RADIO: u32 = RADIO_STATUS_DATA::ID;

/// Value of the last field of a heartbeat.
const MAVLINK_VERSION: u8 = 3;

impl Message {
    /// The message's number.
    pub fn id(&self) -> u32 {
        match self {
            Message::Heartbeat { .. } => HEARTBEAT,
            Message::Ftp { .. } => FTP,
            Message::AutopilotVersion { .. } => VERSION,
            Message::Command { .. } => COMMAND,
            Message::CommandAck { .. } => ACK,
            Message::RadioStatus { .. } => RADIO,
            Message::Other(id) => *id,
        }
    }

    /// Reads a payload whose check was right. Any length: missing bytes are zeros, as MAVLink 2
    /// cuts them off, and further ones are fields of the future.
    pub fn decode(id: u32, payload: &[u8]) -> Message {
        match id {
            HEARTBEAT => Message::Heartbeat {
                vehicle_type: byte_at(payload, 4),
                autopilot: byte_at(payload, 5),
                base_mode: byte_at(payload, 6),
                system_status: byte_at(payload, 7),
            },
            FTP => Message::Ftp {
                target_system: byte_at(payload, 1),
                target_component: byte_at(payload, 2),
                payload: bytes_at(payload, 3),
            },
            VERSION => Message::AutopilotVersion {
                capabilities: u64::from_le_bytes(bytes_at(payload, 0)),
                uid: u64::from_le_bytes(bytes_at(payload, 8)),
                flight_sw_version: u32::from_le_bytes(bytes_at(payload, 16)),
                uid2: bytes_at(payload, 60),
            },
            COMMAND => Message::Command {
                param1: f32::from_le_bytes(bytes_at(payload, 0)),
                command: u16::from_le_bytes(bytes_at(payload, 28)),
                target_system: byte_at(payload, 30),
                target_component: byte_at(payload, 31),
            },
            ACK => Message::CommandAck {
                command: u16::from_le_bytes(bytes_at(payload, 0)),
                result: byte_at(payload, 2),
                target_system: byte_at(payload, 8),
                target_component: byte_at(payload, 9),
            },
            RADIO => Message::RadioStatus {
                rxerrors: u16::from_le_bytes(bytes_at(payload, 0)),
                fixed: u16::from_le_bytes(bytes_at(payload, 2)),
                rssi: byte_at(payload, 4),
                remrssi: byte_at(payload, 5),
                txbuf: byte_at(payload, 6),
                noise: byte_at(payload, 7),
                remnoise: byte_at(payload, 8),
            },
            _ => Message::Other(id),
        }
    }

    /// The payload, zeros included, and its length; `None` for [`Message::Other`].
    pub fn encode(&self) -> Option<([u8; PAYLOAD_BYTES_MAX], usize)> {
        let mut full = [0; PAYLOAD_BYTES_MAX];
        let length = match *self {
            Message::Heartbeat { vehicle_type, autopilot, base_mode, system_status } => {
                let fields = [vehicle_type, autopilot, base_mode, system_status, MAVLINK_VERSION];
                put(&mut full, 4, &fields);
                9
            }
            Message::Ftp { target_system, target_component, payload } => {
                put(&mut full, 1, &[target_system, target_component]);
                put(&mut full, 3, &payload);
                254
            }
            Message::AutopilotVersion { capabilities, flight_sw_version, uid, uid2 } => {
                put(&mut full, 0, &capabilities.to_le_bytes());
                put(&mut full, 8, &uid.to_le_bytes());
                put(&mut full, 16, &flight_sw_version.to_le_bytes());
                put(&mut full, 60, &uid2);
                78
            }
            Message::Command { target_system, target_component, command, param1 } => {
                put(&mut full, 0, &param1.to_le_bytes());
                put(&mut full, 28, &command.to_le_bytes());
                put(&mut full, 30, &[target_system, target_component]);
                33
            }
            Message::CommandAck { command, result, target_system, target_component } => {
                put(&mut full, 0, &command.to_le_bytes());
                put(&mut full, 2, &[result]);
                put(&mut full, 8, &[target_system, target_component]);
                10
            }
            Message::RadioStatus { rssi, remrssi, txbuf, noise, remnoise, rxerrors, fixed } => {
                put(&mut full, 0, &rxerrors.to_le_bytes());
                put(&mut full, 2, &fixed.to_le_bytes());
                put(&mut full, 4, &[rssi, remrssi, txbuf, noise, remnoise]);
                9
            }
            Message::Other(_) => return None,
        };
        Some((full, length))
    }
}

/// The byte that goes into the check of a message after everything else; `None` for messages this
/// program does not read.
pub(super) fn check_byte(id: u32) -> Option<u8> {
    match id {
        HEARTBEAT => Some(HEARTBEAT_DATA::EXTRA_CRC),
        FTP => Some(FILE_TRANSFER_PROTOCOL_DATA::EXTRA_CRC),
        VERSION => Some(AUTOPILOT_VERSION_DATA::EXTRA_CRC),
        COMMAND => Some(COMMAND_LONG_DATA::EXTRA_CRC),
        ACK => Some(COMMAND_ACK_DATA::EXTRA_CRC),
        RADIO => Some(RADIO_STATUS_DATA::EXTRA_CRC),
        _ => None,
    }
}

/// The bytes from an offset on, zeros behind the end.
fn bytes_at<const N: usize>(payload: &[u8], offset: usize) -> [u8; N] {
    let there = payload.get(offset..).unwrap_or_default();
    let count = there.len().min(N);
    let mut bytes = [0; N];
    bytes[..count].copy_from_slice(&there[..count]);
    bytes
}

fn byte_at(payload: &[u8], offset: usize) -> u8 {
    payload.get(offset).copied().unwrap_or_default()
}

/// The constants above keep every access inside.
fn put(full: &mut [u8; PAYLOAD_BYTES_MAX], offset: usize, bytes: &[u8]) {
    full[offset..offset + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use mavlink::MavlinkVersion;
    use proptest::prelude::*;

    /// Any message this program speaks.
    pub(in crate::link) fn any_message() -> impl Strategy<Value = Message> {
        prop_oneof![
            any::<(u8, u8, u8, u8)>().prop_map(|(vehicle_type, autopilot, base_mode, status)| {
                Message::Heartbeat { vehicle_type, autopilot, base_mode, system_status: status }
            }),
            (any::<(u8, u8)>(), proptest::collection::vec(any::<u8>(), 0..FTP_PAYLOAD_BYTES))
                .prop_map(|((target_system, target_component), bytes)| {
                    let mut payload = [0; FTP_PAYLOAD_BYTES];
                    payload[..bytes.len()].copy_from_slice(&bytes);
                    Message::Ftp { target_system, target_component, payload }
                }),
            any::<(u64, u32, u64, [u8; UID2_BYTES])>().prop_map(
                |(capabilities, flight_sw_version, uid, uid2)| Message::AutopilotVersion {
                    capabilities,
                    flight_sw_version,
                    uid,
                    uid2,
                }
            ),
            any::<(u8, u8, u16, f32)>().prop_map(
                |(target_system, target_component, command, param1)| Message::Command {
                    target_system,
                    target_component,
                    command,
                    param1,
                }
            ),
            any::<(u16, u8, u8, u8)>().prop_map(
                |(command, result, target_system, target_component)| Message::CommandAck {
                    command,
                    result,
                    target_system,
                    target_component,
                }
            ),
            any::<([u8; 5], u16, u16)>().prop_map(|(bytes, rxerrors, fixed)| {
                let [rssi, remrssi, txbuf, noise, remnoise] = bytes;
                Message::RadioStatus { rssi, remrssi, txbuf, noise, remnoise, rxerrors, fixed }
            }),
        ]
    }

    fn wire(message: &Message) -> Vec<u8> {
        let (full, length) = message.encode().unwrap();
        full[..length].to_vec()
    }

    #[test]
    fn the_layout_is_that_of_the_generated_types() {
        let v2 = MavlinkVersion::V2;
        let heartbeat =
            Message::Heartbeat { vehicle_type: 2, autopilot: 12, base_mode: 129, system_status: 4 };
        let theirs = HEARTBEAT_DATA::deser(v2, &wire(&heartbeat)).unwrap();
        assert_eq!(
            (theirs.mavtype as u8, theirs.autopilot as u8, theirs.base_mode.bits()),
            (2, 12, 129)
        );
        assert_eq!((theirs.system_status as u8, theirs.mavlink_version), (4, 3));

        let mut payload = [7; FTP_PAYLOAD_BYTES];
        payload[250] = 9;
        let ftp = Message::Ftp { target_system: 1, target_component: 2, payload };
        let theirs = FILE_TRANSFER_PROTOCOL_DATA::deser(v2, &wire(&ftp)).unwrap();
        assert_eq!(
            (theirs.target_network, theirs.target_system, theirs.target_component),
            (0, 1, 2)
        );
        assert_eq!(&theirs.payload[..], &payload[..]);
    }

    #[test]
    fn the_layout_of_commands_and_versions_is_that_of_the_generated_types() {
        let v2 = MavlinkVersion::V2;
        let command =
            Message::Command { target_system: 1, target_component: 2, command: 512, param1: 148.0 };
        let theirs = COMMAND_LONG_DATA::deser(v2, &wire(&command)).unwrap();
        assert_eq!((theirs.param1, theirs.command as u16), (148.0, 512));
        assert_eq!((theirs.target_system, theirs.target_component), (1, 2));

        let ack =
            Message::CommandAck { command: 512, result: 3, target_system: 4, target_component: 5 };
        let theirs = COMMAND_ACK_DATA::deser(v2, &wire(&ack)).unwrap();
        assert_eq!((theirs.command as u16, theirs.result as u8), (512, 3));

        let version = Message::AutopilotVersion {
            capabilities: 32 | 8192,
            flight_sw_version: 0x0110_0100,
            uid: 77,
            uid2: [5; UID2_BYTES],
        };
        let theirs = AUTOPILOT_VERSION_DATA::deser(v2, &wire(&version)).unwrap();
        assert_eq!((theirs.capabilities.bits(), theirs.uid), (32 | 8192, 77));
        assert_eq!(theirs.flight_sw_version, 0x0110_0100);
    }

    #[test]
    fn the_layout_of_a_radio_is_that_of_the_generated_type() {
        let radio = Message::RadioStatus {
            rssi: 1,
            remrssi: 2,
            txbuf: 3,
            noise: 4,
            remnoise: 5,
            rxerrors: 600,
            fixed: 700,
        };
        let theirs = RADIO_STATUS_DATA::deser(MavlinkVersion::V2, &wire(&radio)).unwrap();
        assert_eq!((theirs.rssi, theirs.remrssi, theirs.txbuf), (1, 2, 3));
        assert_eq!((theirs.noise, theirs.remnoise), (4, 5));
        assert_eq!((theirs.rxerrors, theirs.fixed), (600, 700));
    }

    #[test]
    fn a_vehicle_of_an_unknown_kind_has_a_heartbeat() {
        let heartbeat = Message::Heartbeat {
            vehicle_type: 250,
            autopilot: 251,
            base_mode: 0,
            system_status: 99,
        };
        assert_eq!(Message::decode(0, &wire(&heartbeat)), heartbeat);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(message in any_message()) {
            prop_assert_eq!(Message::decode(message.id(), &wire(&message)), message);
        }

        #[test]
        fn any_payload_of_any_id_is_read(id in 0u32..400, payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Message::decode(id, &payload).id(), id);
        }
    }
}
