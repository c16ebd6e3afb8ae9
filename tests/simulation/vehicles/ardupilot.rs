//! What only ArduPilot's server does.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Error, Op, Reply};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::Kind;
use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::ardupilot::{ArduPilot, Sessions};
use crate::personalities::naive::Naive;
use crate::personalities::{OTHER, US};
use crate::world::World;

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

#[test]
fn a_naive_client_believes_in_a_write_that_was_cut_short() {
    let files = MemoryFiles::new();
    let mut naive = naive(FIVE, &files);
    naive.on(Opcode::CreateFile, "/new");
    files.set_space(Some(100));
    let write = Payload::request(Opcode::WriteFile).with_data(&[7; 239]);
    assert_eq!(naive.ask(write).map(|(_, result)| result), Some(Ok(Vec::new())));
    assert_eq!(files.content("/new"), Some(vec![7; 100]));
    let more = Payload { offset: 239, ..write };
    assert!(matches!(naive.ask(more), Some((_, Err(_)))));
}

#[test]
fn a_naive_client_meets_a_card() {
    let files = MemoryFiles::new();
    files.insert("/d/log", b"content");
    files.insert("/other", b"x");
    let mut far = ArduPilot::new(files.clone(), Sessions::Five, 1);
    far.card = true;
    let mut naive = Naive::new(Box::new(far));
    let listed = naive.on(Opcode::ListDirectory, "/d");
    assert_eq!(listed, Some(Ok(b"Flog\t7\0\0".to_vec())), "neither `.` nor `..`");
    assert_eq!(naive.on(Opcode::Rename, "/other\0/d/log"), Some(Err(Nak::FileExists)));
    assert_eq!(naive.on(Opcode::RemoveFile, "/d"), Some(Err(Nak::FailErrno(13))));
    naive.on(Opcode::CreateFile, "/new");
    let write = Payload { offset: 5, ..Payload::request(Opcode::WriteFile).with_data(b"x") };
    naive.ask(write);
    let content = files.content("/new").expect("it is there");
    assert_ne!(content[..5], [0; 5], "a hole holds anything");
}

#[test]
fn a_later_server_lists_with_times_and_says_what_it_does_not_know() {
    let mut world = World::with(1, Faults::BAD, 3, |files| {
        let mut far = ArduPilot::new(files, Sessions::Five, 1);
        far.later = true;
        Box::new(far)
    });
    world.files.set_time(Some(1_000_000));
    for n in 0..40 {
        world.files.insert(&format!("/d/log_{n:02}.bin"), b"x");
    }
    let id = world.ask(Op::List { path: b"/d".to_vec() }, Class::Metadata);
    assert_eq!(world.finish(id), Ok(Reply::Done));
    let entries = &world.outcomes[&id].entries;
    let timed = entries.iter().filter(|entry| entry.mtime == Some(1_000_000)).count();
    assert_eq!(timed, 40);
    let truncate = Op::Truncate { path: b"/d/log_00.bin".to_vec(), length: 0 };
    assert_eq!(world.perform(truncate), Err(Error::Unsupported));
    world.check_quiet();
}

#[test]
fn a_virtual_file_is_read_from_one_opening_while_others_wait_for_theirs() {
    let packed: Vec<u8> = (0..14_871u32).map(|at| at as u8).collect();
    for kind in [Kind::ArduPilot(Sessions::Old), ONE, FIVE] {
        for_seeds(0..10, |seed| {
            let mut world = kind.world(seed, Faults { rate: Some(2_000), ..Faults::BAD });
            world.files.insert("/log", &Random::new(seed).bytes(5_000));
            world.diary = Some(Vec::new());
            let first = world.read("@PARAM/param.pck", 0, 8 << 20);
            let other = world.read("/log", 0, 5_000);
            world.run_for(Duration::from_secs(4));
            let second = world.read("@PARAM/param.pck", 0, 8 << 20);
            for id in [first, second] {
                assert_eq!(world.finish(id), Ok(Reply::Size(14_871)), "{kind:?}");
                assert_eq!(world.outcomes[&id].joined(0), packed);
            }
            assert_eq!(world.finish(other), Ok(Reply::Size(5_000)));
            let openings = world.diary.iter().flatten().filter(|(_, sent)| {
                sent.command() == Some(Opcode::OpenFileRo) && sent.data().starts_with(b"@PARAM")
            });
            let numbers: std::collections::BTreeSet<u16> =
                openings.map(|(_, sent)| sent.sequence).collect();
            assert_eq!(numbers.len(), 2, "{kind:?}: each has an opening of its own");
            world.check_quiet();
        });
    }
}
