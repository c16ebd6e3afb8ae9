//! What only ArduPilot's server does.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Error, Op, Reply};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::Kind;
use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::personalities::naive::Naive;
use crate::personalities::{OTHER, US};

const ONE: Kind = Kind::ArduPilot(Sessions::One);
const FIVE: Kind = Kind::ArduPilot(Sessions::Five);

fn naive(kind: Kind, files: &MemoryFiles) -> Naive {
    Naive::new(kind.far(files.clone(), 1))
}

/// A request of another station, with its session id.
fn other(sequence: u16, opcode: Opcode, session: u8, path: &str) -> Payload {
    Payload { sequence, session, ..Payload::request(opcode).with_data(path.as_bytes()) }
}

#[test]
fn a_naive_client_that_asks_for_much_at_once_is_not_heard() {
    let files = MemoryFiles::new();
    files.insert("/log", &[7; 5000]);
    let mut naive = naive(FIVE, &files);
    naive.on(Opcode::OpenFileRo, "/log");
    let read = Payload { size: 239, ..Payload::request(Opcode::ReadFile) };
    for n in 0..16 {
        naive.far.receive(naive.now, US, &Payload { sequence: 100 + n, ..read });
    }
    let mut answers = 0;
    for _ in 0..1000 {
        naive.now += Duration::from_millis(1);
        if let crate::personalities::Said::To(..) = naive.far.poll(naive.now) {
            answers += 1;
        }
    }
    assert_eq!(answers, 5);
}

#[test]
fn a_naive_client_with_another_session_id_for_listings_is_refused() {
    let files = MemoryFiles::new();
    files.insert("/log", b"content");
    let mut naive = naive(ONE, &files);
    naive.ask(other(0, Opcode::OpenFileRo, 7, "/log"));
    for _ in 0..5 {
        let listed = naive.ask(other(0, Opcode::ListDirectory, 8, "/")).map(|(_, result)| result);
        assert_eq!(listed, Some(Err(Nak::InvalidSession)), "each request begins its 3 s anew");
        naive.now += Duration::from_secs(1);
    }
    naive.now += Duration::from_secs(3);
    let listed = naive.ask(other(0, Opcode::ListDirectory, 8, "/")).map(|(_, result)| result);
    assert!(matches!(listed, Some(Ok(_))));
}

#[test]
fn a_naive_client_takes_a_lost_session_for_a_lost_file() {
    let files = MemoryFiles::new();
    files.insert("/log", b"content");
    for kind in [ONE, FIVE] {
        let read = Payload { size: 239, ..Payload::request(Opcode::ReadFile) };
        let refused = naive(kind, &files).ask(read).map(|(_, result)| result);
        assert_eq!(refused, Some(Err(Nak::FileNotFound)));
    }
}

#[test]
fn a_naive_client_cannot_append_to_what_is_not_there() {
    let files = MemoryFiles::new();
    let refused = naive(ONE, &files).on(Opcode::OpenFileWo, "/new");
    assert_eq!(refused, Some(Err(Nak::FileNotFound)));
    assert!(matches!(naive(FIVE, &files).on(Opcode::OpenFileWo, "/new"), Some(Ok(_))));
}

#[test]
fn a_truncation_is_unsupported() {
    let mut world = FIVE.world(1, Faults::NONE);
    world.files.insert("/f", b"content");
    let truncate = Op::Truncate { path: b"/f".to_vec(), length: 3 };
    assert_eq!(world.perform(truncate), Err(Error::Unsupported));
}

#[test]
fn a_session_that_a_dead_station_left_open_is_taken_over() {
    for kind in [ONE, FIVE] {
        for_seeds(0..10, |seed| {
            let mut world = kind.world(seed, Faults::BAD);
            world.files.insert("/log", b"content");
            for id in 1..=5 {
                let session = if kind == ONE { 77 } else { id };
                let open = other(u16::from(id), Opcode::OpenFileRo, session, "/log");
                world.intrude(OTHER, &open);
            }
            let id = world.read("/log", 0, 100);
            assert_eq!(world.finish(id), Ok(Reply::Size(7)));
        });
    }
}

#[test]
fn an_upload_whose_source_pauses_goes_on_after_the_server_closed_its_file() {
    for kind in [ONE, FIVE] {
        for_seeds(0..10, |seed| {
            let mut world = kind.world(seed, Faults::BAD);
            let content = Random::new(seed).bytes(20_000);
            let id = world.upload("/new", &content);
            world.provide(id, 7_000);
            world.run_for(Duration::from_secs(30));
            world.provide(id, content.len());
            assert_eq!(world.finish(id), Ok(Reply::Size(20_000)));
            assert_eq!(world.files.content("/new"), Some(content));
            world.check_quiet();
        });
    }
}

#[test]
fn a_file_whose_closing_was_never_heard_can_be_opened_again() {
    for kind in [ONE, FIVE] {
        for_seeds(0..10, |seed| {
            let mut world = kind.world(seed, Faults::NONE);
            world.files.insert("/log", b"content");
            let id = world.read("/log", 0, 100);
            assert_eq!(world.finish(id), Ok(Reply::Size(7)));
            // The closing comes after a second, and is lost with all its repetitions.
            world.run_for(Duration::from_millis(900));
            world.network.silent = true;
            world.run_for(Duration::from_millis(3_900));
            world.network.silent = false;
            let id = world.read("/log", 0, 100);
            assert_eq!(world.finish(id), Ok(Reply::Size(7)));
            world.check_quiet();
        });
    }
}
