//! How each server bursts, and what a client loses that believes all it hears of a burst.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::Kind;
use crate::network::Random;
use crate::personalities::ardupilot::Sessions;
use crate::personalities::naive::Naive;
use crate::personalities::px4::Firmware;

mod ardupilot;
mod mavsdk;
mod px4;

/// Longer than any burst.
const LONG: usize = 600_000;

/// A client, and the file `/log` of so many bytes.
fn with_file(kind: Kind, size: usize) -> (Naive, Vec<u8>) {
    let files = MemoryFiles::new();
    let content = Random::new(size as u64).bytes(size);
    files.insert("/log", &content);
    (Naive::new(kind.far(files, 1)), content)
}

/// A client that has the file open, and its bytes.
fn with_open_file(kind: Kind, size: usize) -> (Naive, Vec<u8>) {
    let (mut naive, content) = with_file(kind, size);
    assert!(matches!(naive.on(Opcode::OpenFileRo, "/log"), Some(Ok(_))));
    (naive, content)
}

/// What the packets carry, in one piece; each must begin where the one before ended.
fn joined(packets: &[(Instant, Payload)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let first = packets[0].1.offset;
    for (_, packet) in packets.iter().filter(|(_, packet)| packet.answer() == Some(Ok(()))) {
        assert_eq!(packet.offset as usize, first as usize + bytes.len());
        bytes.extend_from_slice(packet.data());
    }
    bytes
}

/// `burst_complete` of each packet.
fn flags(packets: &[(Instant, Payload)]) -> Vec<u8> {
    packets.iter().map(|(_, packet)| packet.burst_complete).collect()
}

/// The refusal at the end, if there is one: its flag and its offset.
fn end_of_file(packets: &[(Instant, Payload)]) -> Option<(u8, u32)> {
    let (_, last) = packets.last()?;
    (last.answer() == Some(Err(Nak::Eof))).then_some((last.burst_complete, last.offset))
}

/// Bytes per second, from the first packet to the last.
fn rate(packets: &[(Instant, Payload)]) -> f64 {
    let time = packets[packets.len() - 1].0 - packets[0].0;
    joined(packets).len() as f64 / time.as_secs_f64()
}

fn about(value: f64, expected: f64) -> bool {
    (value / expected - 1.0).abs() < 0.15
}

#[test]
fn packets_of_a_burst_are_numbered_from_the_request_on() {
    for kind in super::ALL {
        let (mut naive, content) = with_open_file(kind, 20_000);
        let heard = naive.burst(478, 239);
        let first = heard[0].1.sequence;
        assert_eq!(first, 3, "the opening was 1, the burst 2");
        assert!((first..).zip(&heard).all(|(number, (_, packet))| packet.sequence == number));
        assert_eq!(joined(&heard), content[478..], "{kind:?}");
    }
}

#[test]
fn a_naive_client_that_goes_on_with_its_own_number_leaves_the_file_open() {
    for kind in [
        Kind::Px4(Firmware::Release),
        Kind::Px4(Firmware::Main),
        Kind::ArduPilot(Sessions::One),
        Kind::ArduPilot(Sessions::Five),
    ] {
        // One packet and the end of the file: two numbers used, one of them counted.
        let (mut naive, _) = with_open_file(kind, 239);
        naive.burst(0, 239);
        let terminate = Payload::request(Opcode::TerminateSession);
        let answered = naive.ask(terminate).map(|(_, result)| result);
        assert_eq!(answered, Some(Err(Nak::Eof)), "{kind:?} repeats the end of the burst");
        assert_eq!(naive.far.open_files(naive.now), 1);
        // Its next number is beyond, and is heard.
        let answered = naive.ask(terminate).map(|(_, result)| result);
        assert_eq!(answered, Some(Ok(Vec::new())));
        assert_eq!(naive.far.open_files(naive.now), 0);
    }
}

#[test]
fn an_empty_file_has_nothing_but_its_end() {
    for kind in super::ALL {
        let (mut naive, _) = with_open_file(kind, 0);
        let heard = naive.burst(0, 239);
        assert_eq!(heard.len(), 1, "{kind:?}");
        assert_eq!(end_of_file(&heard).map(|(_, offset)| offset), Some(0));
    }
}

#[test]
fn a_restart_ends_a_burst() {
    for kind in super::ALL {
        let (mut naive, _) = with_open_file(kind, LONG);
        naive.ask_burst(0, 239);
        naive.hear();
        naive.far.restart();
        naive.now += Duration::from_secs(1);
        let more = std::iter::from_fn(|| naive.hear()).count();
        assert!(more < 200, "{more} packets more of {kind:?}");
    }
}
