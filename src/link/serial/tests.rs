//! Tests of serial lines, on pseudoterminals.

use std::io::Write;
use std::os::unix::fs::symlink;

use super::super::frames;
use super::super::node::{Message, Node};
use super::*;

#[path = "../../../tests/support/pty.rs"]
mod pty;

use pty::Pty;

fn in_ms(milliseconds: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(milliseconds))
}

/// The next piece; panics after 10 s.
fn next(link: &mut SerialLink) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let (peer, length) = link.receive(&mut buffer, in_ms(10_000)).unwrap().unwrap();
    assert_eq!(peer, Peer::LINE);
    buffer[..length].to_vec()
}

fn heartbeat() -> Message {
    Message::Heartbeat { vehicle_type: 0, autopilot: 8, base_mode: 0, system_status: 4 }
}

#[test]
fn every_byte_goes_both_ways_unchanged() {
    let mut pty = Pty::new();
    let mut link = SerialLink::open(pty.name(), 57_600).unwrap();
    // Line ends, control characters, flow control: all of them only bytes.
    let all: Vec<u8> = (0..=255).collect();
    pty.far.write_all(&all).unwrap();
    let mut heard = Vec::new();
    while heard.len() < all.len() {
        heard.extend(next(&mut link));
    }
    assert_eq!(heard, all);
    link.send(None, &all).unwrap();
    link.send(Some(Peer::LINE), b"more").unwrap();
    assert_eq!(pty.take(260), [&all[..], b"more"].concat());
}

#[test]
fn frames_are_found_between_garbage() {
    let mut pty = Pty::new();
    let link = SerialLink::open(pty.name(), 115_200).unwrap();
    let mut node = Node::new(Box::new(link), 245, 191);
    let frame = frames::encode(&heartbeat(), 1, 1, 0).unwrap();
    for garbage in [&b"Sensors: \xFD\x00"[..], b"\r\nnsh> ", b"", &[0xFE; 7]] {
        pty.far.write_all(garbage).unwrap();
        pty.far.write_all(&frame).unwrap();
    }
    // The last start of a frame needs bytes after it to be seen through.
    pty.far.write_all(&[0; 600]).unwrap();
    for _ in 0..4 {
        assert_eq!(node.receive(in_ms(5_000)).unwrap().unwrap().message, heartbeat());
    }
    node.send(None, &heartbeat()).unwrap();
    assert_eq!(pty.take(frame.len())[5..7], [245, 191]);
}

#[test]
fn any_speed_is_set_and_nothing_but_bytes_is_left() {
    let pty = Pty::new();
    for baud in [57_600, 115_200, 123_456, 3_000_000] {
        let line = open_line(pty.name(), baud).unwrap();
        let settings = settings_of(&line).unwrap();
        assert_eq!((settings.c_ispeed, settings.c_ospeed), (baud, baud));
        assert_eq!((settings.c_iflag, settings.c_oflag, settings.c_lflag), (0, 0, 0));
        let (wanted, unwanted) = (libc::CS8 | libc::CLOCAL, libc::CRTSCTS | libc::PARENB);
        assert_eq!(settings.c_cflag & (wanted | unwanted), wanted);
    }
}

#[test]
fn a_line_has_one_program_at_a_time() {
    let pty = Pty::new();
    let link = SerialLink::open(pty.name(), 57_600).unwrap();
    let error = SerialLink::open(pty.name(), 57_600).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    drop(link);
    SerialLink::open(pty.name(), 57_600).unwrap();
}

#[test]
fn what_is_no_line_is_refused() {
    let kind = |device| SerialLink::open(device, 57_600).unwrap_err().raw_os_error();
    assert_eq!(kind("/dev/null"), Some(libc::ENOTTY));
    assert_eq!(kind("/dev/no-such-line"), Some(libc::ENOENT));
    assert_eq!(kind("/dev"), Some(libc::EISDIR));
}

#[test]
fn an_unplugged_line_is_silent_and_works_again_once_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("by-id");
    let device = name.to_str().unwrap().to_owned();
    let first = Pty::new();
    symlink(&first.device, &name).unwrap();
    let mut link = SerialLink::open(&device, 57_600).unwrap();
    drop(first);
    assert_eq!(next(&mut link), b"", "the break, told once");
    link.send(None, b"lost").unwrap();
    let begin = Instant::now();
    assert_eq!(link.receive(&mut [0; 16], in_ms(50)).unwrap(), None);
    assert!(begin.elapsed() >= Duration::from_millis(50));
    link.waker().wake();
    assert_eq!(link.receive(&mut [0; 16], None).unwrap(), None);

    let mut second = Pty::new();
    std::fs::remove_file(&name).unwrap();
    symlink(&second.device, &name).unwrap();
    second.far.write_all(b"again").unwrap();
    assert_eq!(next(&mut link), b"again");
    link.send(None, b"answer").unwrap();
    assert_eq!(second.take(6), b"answer");
}

#[test]
fn a_line_that_takes_nothing_loses_whole_frames_and_holds_up_nobody() {
    const FRAME: usize = 280;
    let mut pty = Pty::new();
    let mut link = SerialLink::open(pty.name(), 57_600).unwrap();
    let begin = Instant::now();
    for number in 0..1_000u32 {
        let mut frame = [0; FRAME];
        frame[..4].copy_from_slice(&number.to_le_bytes());
        link.send(None, &frame).unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(2));
    let lost = link.waiting.lost();
    assert!(lost > 0 && !link.waiting.is_empty());
    assert_eq!(link.receive(&mut [0; 16], in_ms(50)).unwrap(), None);

    let mut last = None;
    for _ in 0..1_000 - lost {
        if !link.waiting.is_empty() {
            assert_eq!(link.receive(&mut [0; 16], in_ms(1)).unwrap(), None);
        }
        let frame = pty.take(FRAME);
        let number = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]);
        assert!(last.is_none_or(|last| number > last) && frame[4..] == [0; FRAME - 4]);
        last = Some(number);
    }
    assert!(link.waiting.is_empty());
}

#[test]
fn a_wake_ends_receive_and_bytes_go_before_it() {
    let mut pty = Pty::new();
    let mut link = SerialLink::open(pty.name(), 57_600).unwrap();
    pty.far.write_all(b"x").unwrap();
    link.waker().wake();
    assert_eq!(next(&mut link), b"x");
    assert_eq!(link.receive(&mut [0; 16], None).unwrap(), None);
    assert_eq!(link.receive(&mut [0; 16], in_ms(1)).unwrap(), None);
}
