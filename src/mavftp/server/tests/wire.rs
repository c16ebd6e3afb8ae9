//! What clients in the field put on the wire and what they wait for, byte for byte, as recorded of
//! QGroundControl, mavros, MAVSDK, MAVProxy and pymavlink; and what the tests of PX4's and MAVSDK's
//! servers ask. A packet: number (2 bytes), session, opcode, size, opcode answered, burst complete,
//! padding, offset (4 bytes), data.

use super::*;

const ACK: u8 = 128;
const NAK: u8 = 129;
const EOF: u8 = 6;

/// Packets without the zeros at their ends, which MAVLink 2 does not carry.
fn said(desk: &mut Desk, request: &[u8]) -> Vec<Vec<u8>> {
    desk.send(1, &Payload::decode(request).unwrap());
    let encode = |(_, packet): (u8, Payload)| {
        let bytes = packet.encode();
        let end = 12 + packet.data().len();
        assert!(bytes[end..].iter().all(|byte| *byte == 0), "nothing leaks behind the data");
        bytes[..end].to_vec()
    };
    desk.drain().into_iter().map(encode).collect()
}

/// The only answer.
fn reply(desk: &mut Desk, request: &[u8]) -> Vec<u8> {
    let mut replies = said(desk, request);
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies.remove(0)
}

/// A request: number, session, opcode, size, offset, data.
fn packet(sequence: u16, session: u8, opcode: u8, size: u8, offset: u32, data: &[u8]) -> Vec<u8> {
    let [low, high] = sequence.to_le_bytes();
    let mut bytes = vec![low, high, session, opcode, size, 0, 0, 0];
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn with_files() -> Desk {
    let desk = Desk::new();
    desk.files.insert("/log", &pattern(478));
    desk.files.insert("/d/small", b"123456789");
    desk
}

#[test]
fn mavros_gets_four_bytes_for_every_open_and_a_full_block_for_size_0() {
    let mut desk = with_files();
    let opened = reply(&mut desk, b"\x01\x00\x00\x04\x04\x00\x00\x00\x00\x00\x00\x00/log");
    let session = opened[2];
    assert_eq!(opened, [2, 0, session, ACK, 4, 4, 0, 0, 0, 0, 0, 0, 0xDE, 1, 0, 0]);
    let block = reply(&mut desk, &packet(2, session, 5, 0, 0, b""));
    assert_eq!(block[..12], [3, 0, session, ACK, 239, 5, 0, 0, 0, 0, 0, 0]);
    assert_eq!(block[12..], pattern(478)[..239]);
    reply(&mut desk, &packet(3, session, 5, 0, 239, b""));
    let end = reply(&mut desk, &packet(4, session, 5, 0, 478, b""));
    assert_eq!(end, [5, 0, session, NAK, 1, 5, 0, 0, 0xDE, 1, 0, 0, EOF]);
    for (sequence, opcode) in [(5, 11), (6, 6)] {
        let opened = reply(&mut desk, &packet(sequence, 0, opcode, 4, 0, b"/new"));
        let session = opened[2];
        let next = sequence as u8 + 1;
        assert_eq!(opened, [next, 0, session, ACK, 4, opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn qgroundcontrol_opens_with_0_bursts_fills_a_gap_and_resets() {
    let mut desk = with_files();
    let opened = reply(&mut desk, &packet(300, 0, 4, 4, 0, b"/log"));
    let session = opened[2];
    assert_eq!((opened[4], &opened[..2]), (4, &[0x2D, 1][..]));
    let burst = said(&mut desk, &packet(301, session, 15, 239, 0, b""));
    assert_eq!(burst.len(), 3);
    assert_eq!(burst[0][..12], [0x2E, 1, session, ACK, 239, 15, 0, 0, 0, 0, 0, 0]);
    assert_eq!(burst[1][..12], [0x2F, 1, session, ACK, 239, 15, 0, 0, 239, 0, 0, 0]);
    assert_eq!(burst[2], [0x30, 1, session, NAK, 1, 15, 1, 0, 0xDE, 1, 0, 0, EOF]);
    let gap = reply(&mut desk, &packet(305, session, 5, 239, 239, b""));
    assert_eq!(gap[..12], [0x32, 1, session, ACK, 239, 5, 0, 0, 239, 0, 0, 0]);
    let reset = reply(&mut desk, &packet(306, session, 2, 0, 0, b""));
    assert_eq!(reset, [0x33, 1, session, ACK, 0, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(desk.server.open_sessions(), 0);
    let refused = reply(&mut desk, &packet(307, 0, 4, 2, 0, b"/d"));
    assert_eq!(refused, [0x34, 1, 0, NAK, 2, 4, 0, 0, 0, 0, 0, 0, 2, 21], "EISDIR in two bytes");
    let missing = reply(&mut desk, &packet(308, 0, 4, 3, 0, b"/no"));
    assert_eq!(missing, [0x35, 1, 0, NAK, 1, 4, 0, 0, 0, 0, 0, 0, 10]);
}

#[test]
fn mavsdk_ends_paths_with_a_nul_and_is_told_what_is_unknown() {
    let mut desk = with_files();
    let listed = reply(&mut desk, &packet(1, 0, 16, 3, 0, b"/d\0"));
    assert_eq!(listed[..12], [2, 0, 0, ACK, 11, 16, 0, 0, 0, 0, 0, 0]);
    assert_eq!(listed[12..], *b"Fsmall\t9\t0\0");
    let unknown = reply(&mut desk, &packet(2, 0, 17, 3, 0, b"/d\0"));
    assert_eq!(unknown, [3, 0, 0, NAK, 1, 17, 0, 0, 0, 0, 0, 0, 7]);
    let checksum = reply(&mut desk, &packet(3, 0, 14, 9, 0, b"/d/small\0"));
    assert_eq!(checksum, [4, 0, 0, ACK, 4, 14, 0, 0, 0, 0, 0, 0, 0x88, 0x2D, 0xFD, 0x2D]);
    let renamed = reply(&mut desk, &packet(4, 0, 13, 12, 0, b"/d/small\0/x\0"));
    assert_eq!(renamed, [5, 0, 0, ACK, 0, 13, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn mavproxy_has_its_session_and_offset_echoed_and_counts_modulo_256() {
    let mut desk = with_files();
    let closed = reply(&mut desk, &packet(253, 77, 1, 0, 0, b""));
    assert_eq!(closed, [254, 0, 77, ACK, 0, 1, 0, 0, 0, 0, 0, 0], "nothing was open there");
    let opened = reply(&mut desk, &packet(254, 77, 4, 4, 0, b"/log"));
    assert_eq!(opened[..6], [255, 0, 77, ACK, 4, 4]);
    let burst = said(&mut desk, &packet(255, 77, 15, 80, 0, b""));
    assert_eq!(burst.len(), 7);
    assert_eq!(burst[0][..12], [0, 1, 77, ACK, 80, 15, 0, 0, 0, 0, 0, 0]);
    assert_eq!(burst[5][..12], [5, 1, 77, ACK, 78, 15, 0, 0, 0x90, 1, 0, 0]);
    let gap = reply(&mut desk, &packet(3, 77, 5, 80, 160, b""));
    assert_eq!(gap[..12], [4, 0, 77, ACK, 80, 5, 0, 0, 160, 0, 0, 0]);
    let closed = reply(&mut desk, &packet(4, 77, 1, 0, 0, b""));
    assert_eq!(closed[..4], [5, 0, 77, ACK]);
    assert_eq!(desk.server.open_sessions(), 0);
}

#[test]
fn pymavlink_resets_first_and_writes_a_window_of_blocks() {
    let mut desk = with_files();
    let reset = reply(&mut desk, b"\x00\x00\x00\x02");
    assert_eq!(reset, [1, 0, 0, ACK, 0, 2, 0, 0, 0, 0, 0, 0]);
    let created = reply(&mut desk, &packet(1, 3, 6, 4, 0, b"/put"));
    assert_eq!(created, [2, 0, 3, ACK, 4, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (sequence, offset) in [(2, 0), (4, 4), (3, 2)] {
        let written = reply(&mut desk, &packet(sequence, 3, 7, 2, offset, b"xy"));
        let next = sequence as u8 + 1;
        assert_eq!(written, [next, 0, 3, ACK, 0, 7, 0, 0, offset as u8, 0, 0, 0]);
    }
    reply(&mut desk, &packet(5, 3, 1, 0, 0, b""));
    assert_eq!(desk.files.content("/put").unwrap(), b"xyxyxy");
}

#[test]
fn every_block_around_the_size_of_a_packet_is_read_whole() {
    let mut desk = Desk::new();
    for length in [0, 1, 238, 239, 240, 477, 478, 479] {
        desk.files.insert("/a", &pattern(length));
        for opcode in [5, 15] {
            let session = desk.open("/a");
            let mut read = Vec::new();
            loop {
                desk.sequence += 10;
                let offset = read.len() as u32;
                let request = packet(desk.sequence, session, opcode, 239, offset, b"");
                let replies = said(&mut desk, &request);
                let data = replies.iter().filter(|reply| reply[3] == ACK);
                data.for_each(|reply| read.extend_from_slice(&reply[12..]));
                if replies.iter().any(|reply| reply[3] == NAK && reply[12] == EOF) {
                    break;
                }
            }
            assert_eq!(read, pattern(length), "{length} bytes by opcode {opcode}");
        }
    }
}

#[test]
fn what_px4s_tests_ask_is_answered() {
    let mut desk = with_files();
    let nak = |desk: &mut Desk, request: Vec<u8>| reply(desk, &request)[12..].to_vec();
    assert_eq!(
        reply(&mut desk, &packet(1, 0, 0, 0, 0, b"")),
        [2, 0, 0, ACK, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(nak(&mut desk, packet(2, 0, 100, 0, 0, b"")), [7]);
    assert_eq!(nak(&mut desk, packet(3, 0, 3, 240, 0, b"/")), [3]);
    let listed = reply(&mut desk, &packet(4, 0, 3, 1, 0, b"/"));
    assert_eq!(listed[12..], *b"Dd\0Flog\t478\0");
    assert_eq!(nak(&mut desk, packet(5, 0, 3, 1, 2, b"/")), [EOF]);
    assert_eq!(nak(&mut desk, packet(6, 0, 3, 5, 0, b"/nope")), [10]);
    assert_eq!(nak(&mut desk, packet(7, 0, 4, 4, 0, b"/foo")), [10]);
    assert_eq!(nak(&mut desk, packet(8, 9, 5, 239, 0, b"")), [4]);
    assert_eq!(nak(&mut desk, packet(9, 9, 15, 239, 0, b"")), [4]);
    assert_eq!(nak(&mut desk, packet(10, 9, 7, 1, 0, b"x")), [4]);
    assert_eq!(nak(&mut desk, packet(11, 0, 10, 4, 0, b"/bad")), [10]);
    assert_eq!(nak(&mut desk, packet(12, 0, 10, 2, 0, b"/d")), [2, 39]);
    assert_eq!(nak(&mut desk, packet(13, 0, 10, 4, 0, b"/log")), [2, 20]);
    assert_eq!(nak(&mut desk, packet(14, 0, 9, 2, 0, b"/d")), [8]);
    assert_eq!(nak(&mut desk, packet(15, 0, 9, 6, 0, b"/no/no")), [10]);
    assert_eq!(nak(&mut desk, packet(16, 0, 8, 4, 0, b"/bad")), [10]);
    assert_eq!(nak(&mut desk, packet(17, 0, 8, 2, 0, b"/d")), [2, 21]);
    for (sequence, opcode, path) in
        [(18, 9, &b"/new"[..]), (19, 10, b"/new"), (20, 8, b"/d/small"), (21, 10, b"/d")]
    {
        let done = reply(&mut desk, &packet(sequence, 0, opcode, path.len() as u8, 0, path));
        assert_eq!(done[3..6], [ACK, 0, opcode]);
    }
    assert_eq!(desk.files.paths(), [b"log"]);
}

#[test]
fn what_mavsdks_tests_ask_outside_of_the_root_is_refused() {
    let mut desk = with_files();
    for (at, path) in
        ["../secret", "/../secret", "d/../../secret", "../served_secret/x", "..", "d/.."]
            .iter()
            .enumerate()
    {
        for (opcode, sequence) in [3, 4, 6, 8, 9, 10, 11, 12, 14, 16].into_iter().zip(1000..) {
            let sequence = sequence + 10 * at as u16;
            let size = path.len() as u8;
            let refused = reply(&mut desk, &packet(sequence, 0, opcode, size, 0, path.as_bytes()));
            assert_eq!(refused[3..], [&[NAK, 1, opcode, 0, 0, 0, 0, 0, 0], &[9][..]].concat());
        }
    }
    assert_eq!(desk.server.open_sessions(), 0);
}

#[test]
fn a_download_stopped_and_tried_again_begins_anew() {
    let mut desk = with_files();
    let session = reply(&mut desk, &packet(1, 0, 4, 4, 0, b"/log"))[2];
    desk.send(1, &Payload::decode(&packet(2, session, 15, 1, 0, b"")).unwrap());
    assert!(matches!(desk.server.poll(desk.now), ServerOutput::Send(..)));
    let stopped = said(&mut desk, &packet(3, session, 1, 0, 0, b""));
    assert_eq!(stopped.last().unwrap()[3..6], [ACK, 0, 1]);
    let session = reply(&mut desk, &packet(600, 0, 4, 4, 0, b"/log"))[2];
    let burst = said(&mut desk, &packet(601, session, 15, 239, 0, b""));
    assert_eq!([&burst[0][12..], &burst[1][12..]].concat(), pattern(478));
}
