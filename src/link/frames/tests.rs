//! Tests of the splitter.

use super::super::message::tests::any_message;
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn heartbeat(base_mode: u8) -> Message {
    Message::Heartbeat { vehicle_type: 2, autopilot: 12, base_mode, system_status: 4 }
}

fn frame(message: Message) -> Vec<u8> {
    encode(&message, 1, 1, 7).unwrap()
}

/// A frame of a message that this program does not know, with this payload.
fn foreign(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![V2_START, payload.len() as u8, 0, 0, 3, 1, 1, 30, 0, 0];
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&[0x12, 0x34]);
    bytes
}

fn all(splitter: &mut Splitter) -> Vec<Message> {
    std::iter::from_fn(|| splitter.next_frame()).map(|frame| frame.message).collect()
}

fn in_datagram(bytes: &[u8]) -> (Vec<Message>, Counters) {
    let mut splitter = Splitter::of_datagrams();
    splitter.push(bytes);
    (all(&mut splitter), splitter.counters())
}

#[test]
fn every_frame_of_a_datagram_is_found() {
    let bytes = [frame(heartbeat(1)), foreign(&[V2_START; 28]), frame(heartbeat(2))].concat();
    let (messages, counters) = in_datagram(&bytes);
    assert_eq!(messages, [heartbeat(1), Message::Other(30), heartbeat(2)]);
    assert_eq!((counters.frames, counters.foreign, counters.garbage_bytes), (2, 1, 0));
}

#[test]
fn trailing_zeros_are_cut_and_put_back() {
    let mut payload = [0; 251];
    payload[3] = 4;
    let ftp = Message::Ftp { target_system: 1, target_component: 1, payload };
    let bytes = frame(ftp);
    assert_eq!(bytes.len(), 10 + 7 + 2);
    assert_eq!(in_datagram(&bytes).0, [ftp]);
    let zero = Message::CommandAck { command: 0, result: 0, target_system: 0, target_component: 0 };
    assert_eq!(frame(zero).len(), 10 + 1 + 2, "one payload byte stays");
    assert_eq!(in_datagram(&frame(zero)).0, [zero]);
}

#[test]
fn half_a_frame_is_not_carried_into_the_next_datagram() {
    let bytes = frame(heartbeat(1));
    let mut splitter = Splitter::of_datagrams();
    splitter.push(&bytes[..bytes.len() - 1]);
    assert_eq!(all(&mut splitter), []);
    splitter.push(&frame(heartbeat(2)));
    assert_eq!(all(&mut splitter), [heartbeat(2)]);
    assert!(splitter.counters().truncated >= 1);
}

#[test]
fn a_damaged_frame_does_not_hide_the_next() {
    let mut bytes = [frame(heartbeat(1)), frame(heartbeat(2))].concat();
    bytes[12] ^= 1;
    let (messages, counters) = in_datagram(&bytes);
    assert_eq!(messages, [heartbeat(2)]);
    assert_eq!(counters.bad_check, 1);
}

#[test]
fn a_foreign_start_that_leads_nowhere_is_garbage() {
    // Claims 200 bytes of an unknown message in front of a true frame.
    let bytes = [&foreign(&[0; 200])[..10], &frame(heartbeat(1))].concat();
    assert_eq!(in_datagram(&bytes).0, [heartbeat(1)]);
}

#[test]
fn a_signed_frame_is_read() {
    let mut bytes = frame(heartbeat(1));
    bytes[2] = SIGNED;
    let end = bytes.len() - CHECK_BYTES;
    let check = mavlink::calculate_crc(&bytes[1..end], check_byte(0).unwrap());
    bytes[end..].copy_from_slice(&check.to_le_bytes());
    bytes.extend_from_slice(&[9; SIGNATURE_BYTES]);
    bytes.extend_from_slice(&frame(heartbeat(2)));
    let (messages, counters) = in_datagram(&bytes);
    assert_eq!(messages, [heartbeat(1), heartbeat(2)]);
    assert_eq!((counters.signed, counters.garbage_bytes), (1, 0));
}

#[test]
fn a_frame_with_unknown_flags_is_passed_over() {
    let mut bytes = frame(heartbeat(1));
    bytes[2] = 0x80;
    bytes.extend_from_slice(&frame(heartbeat(2)));
    let (messages, counters) = in_datagram(&bytes);
    assert_eq!(messages, [heartbeat(2)]);
    assert_eq!((counters.incompatible, counters.garbage_bytes), (1, 0));
}

#[test]
fn a_heartbeat_in_mavlink_1_is_read_and_counted() {
    let mut bytes = vec![V1_START, 9, 0, 5, 6, 0, 0, 0, 0, 0, 2, 3, 81, 4, 3];
    let check = mavlink::calculate_crc(&bytes[1..], check_byte(0).unwrap());
    bytes.extend_from_slice(&check.to_le_bytes());
    let mut splitter = Splitter::of_datagrams();
    splitter.push(&bytes);
    let found = splitter.next_frame().unwrap();
    assert_eq!((found.system, found.component), (5, 6));
    let message =
        Message::Heartbeat { vehicle_type: 2, autopilot: 3, base_mode: 81, system_status: 4 };
    assert_eq!(found.message, message);
    assert_eq!(splitter.counters().version_1, 1);
}

#[test]
fn the_mavlink_crate_reads_our_frames() {
    use mavlink::dialects::common::{HEARTBEAT_DATA, MavMessage};
    use mavlink::{MAVLinkV2MessageRaw, MessageData};
    let bytes = frame(heartbeat(1));
    let mut full = [0; mavlink::consts::MAX_FRAME_SIZE];
    full[..bytes.len()].copy_from_slice(&bytes);
    let raw = MAVLinkV2MessageRaw::from_bytes_unparsed(full);
    assert!(raw.has_valid_crc::<MavMessage>());
    assert_eq!((raw.message_id(), raw.system_id()), (HEARTBEAT_DATA::ID, 1));
}

/// The same frame as the crate writes it.
fn frame_by_the_crate(target_system: u8, target_component: u8, payload: [u8; 251]) -> Vec<u8> {
    use mavlink::dialects::common::{FILE_TRANSFER_PROTOCOL_DATA, MavMessage};
    use mavlink::{MAVLinkV2MessageRaw, MavHeader};
    let data =
        FILE_TRANSFER_PROTOCOL_DATA { target_network: 0, target_system, target_component, payload };
    let header = MavHeader { system_id: 1, component_id: 1, sequence: 7 };
    let mut raw = MAVLinkV2MessageRaw::new();
    raw.serialize_message(header, &MavMessage::FILE_TRANSFER_PROTOCOL(data));
    raw.raw_bytes().to_vec()
}

/// Whole frames, unknown ones and garbage, as one stream.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => any_message().prop_map(frame),
        2 => vec(any::<u8>(), 0..60).prop_map(|payload| foreign(&payload)),
        1 => vec(any::<u8>(), 0..20),
        1 => vec(prop_oneof![Just(V1_START), Just(V2_START), Just(0)], 0..20),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn our_frames_are_those_of_the_mavlink_crate(
        target_system: u8, target_component: u8, bytes in vec(any::<u8>(), 0..252),
    ) {
        let mut payload = [0; 251];
        payload[..bytes.len()].copy_from_slice(&bytes);
        let ftp = Message::Ftp { target_system, target_component, payload };
        let theirs = frame_by_the_crate(target_system, target_component, payload);
        prop_assert_eq!(frame(ftp), theirs);
    }

    #[test]
    fn arbitrary_bytes_are_survived(pieces in vec(vec(any::<u8>(), 0..400), 0..6), stream: bool) {
        let mut splitter = if stream { Splitter::of_stream() } else { Splitter::of_datagrams() };
        for piece in pieces {
            splitter.push(&piece);
            while splitter.next_frame().is_some() {}
            prop_assert!(splitter.bytes.len() - splitter.at <= FRAME_BYTES_MAX);
        }
    }

    #[test]
    fn garbage_in_one_datagram_hides_nothing_in_the_next(
        garbage in vec(any::<u8>(), 0..600), messages in vec(any_message(), 1..4),
    ) {
        let mut splitter = Splitter::of_datagrams();
        splitter.push(&garbage);
        while splitter.next_frame().is_some() {}
        splitter.push(&messages.iter().copied().map(frame).collect::<Vec<_>>().concat());
        prop_assert_eq!(all(&mut splitter), messages);
    }

    #[test]
    fn a_stream_cut_anywhere_yields_the_same_frames(
        bytes in any_stream(), cuts in vec(0usize..4000, 0..20),
    ) {
        let mut whole = Splitter::of_stream();
        whole.push(&bytes);
        let expected = all(&mut whole);

        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut splitter = Splitter::of_stream();
        let mut found = Vec::new();
        for pair in cuts.windows(2) {
            splitter.push(&bytes[pair[0]..pair[1]]);
            found.extend(all(&mut splitter));
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(splitter.counters(), whole.counters());
    }
}

#[test]
fn a_datagram_made_of_false_starts_is_given_up() {
    let start = [V1_START, 255, 0, 1, 1, 110];
    let datagram: Vec<u8> = start.iter().copied().cycle().take(60_000).collect();
    let mut splitter = Splitter::of_datagrams();
    splitter.push(&datagram);
    assert_eq!(splitter.next_frame(), None);
    let Counters { bad_check, garbage_bytes, .. } = splitter.counters();
    assert_eq!((bad_check, garbage_bytes), (WRONG_STARTS_MAX.into(), 60_000));
}
