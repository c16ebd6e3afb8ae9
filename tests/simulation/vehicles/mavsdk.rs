//! What only MAVSDK's server does.

use mavftp_mount::mavftp::client::{Class, Error, Op, Reply};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::Kind;
use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::mavsdk::{Mavsdk, Release};
use crate::personalities::naive::Naive;
use crate::world::{NO_AUTOPILOT, World};

const FOUR: Kind = Kind::Mavsdk(Release::Four);
const OLD: Kind = Kind::Mavsdk(Release::Old);

fn naive(kind: Kind, files: &MemoryFiles) -> Naive {
    Naive::new(kind.far(files.clone(), 1))
}

#[test]
fn a_naive_client_poisons_its_session_with_the_last_block() {
    let files = MemoryFiles::new();
    files.insert("/log", &[7; 500]);
    assert_eq!(naive(FOUR, &files).download("/log"), Err(Some(Nak::Fail)));
    files.insert("/log", &[7; 478]);
    assert_eq!(naive(FOUR, &files).download("/log"), Ok(vec![7; 478]));
}

#[test]
fn a_naive_client_that_asks_again_is_refused_what_it_has_done() {
    let files = MemoryFiles::new();
    let mut naive = naive(FOUR, &files);
    assert_eq!(naive.on_twice(Opcode::CreateDirectory, "/d"), Some(Err(Nak::FileExists)));
    assert_eq!(naive.on_twice(Opcode::RemoveDirectory, "/d"), Some(Err(Nak::FileNotFound)));
}

#[test]
fn a_naive_client_waits_for_ever_for_what_is_not_known() {
    let files = MemoryFiles::new();
    files.insert("/f", b"x");
    files.insert_directory("/d");
    assert_eq!(naive(OLD, &files).on(Opcode::ListDirectoryWithTime, "/"), None);
    assert_eq!(naive(FOUR, &files).on(Opcode::TruncateFile, "/f"), None);
    assert_eq!(naive(FOUR, &files).on(Opcode::OpenFileRo, "/d"), None);
}

#[test]
fn a_naive_client_empties_the_file_it_wants_to_change() {
    let files = MemoryFiles::new();
    files.insert("/f", b"content");
    naive(FOUR, &files).on(Opcode::OpenFileWo, "/f");
    assert_eq!(files.content("/f"), Some(Vec::new()));
}

#[test]
#[should_panic(expected = "ends this server's process")]
fn a_naive_client_that_lists_a_file_ends_the_server() {
    let files = MemoryFiles::new();
    files.insert("/f", b"x");
    naive(FOUR, &files).on(Opcode::ListDirectory, "/f");
}

#[test]
fn a_file_that_is_a_directory_by_now_keeps_nobody_from_the_session() {
    for_seeds(0..10, |seed| {
        let mut world = FOUR.world(seed, Faults::BAD);
        world.files.insert_directory("/log");
        let lost = world.read("/log", 0, 100);
        assert_eq!(world.finish(lost), Err(Error::TimedOut));
        world.files.insert("/other", b"content");
        let id = world.read("/other", 0, 100);
        assert_eq!(world.finish(id), Ok(Reply::Size(7)));
        assert_eq!(world.outcomes[&id].joined(0), b"content");
        world.check_quiet();
    });
}

#[test]
fn an_append_is_not_tried_where_it_would_empty_the_file() {
    let mut world = FOUR.world(1, Faults::NONE);
    world.files.insert("/f", b"content");
    let append = Op::Write { path: b"/f".to_vec(), append: Some(7) };
    assert_eq!(world.perform(append), Err(Error::Unsupported));
    assert_eq!(world.files.content("/f"), Some(b"content".to_vec()));
}

#[test]
fn a_truncation_that_nobody_answers_is_given_up_as_unsupported() {
    for kind in [OLD, FOUR] {
        let mut world = kind.world(1, Faults::BAD);
        world.files.insert("/f", b"content");
        let truncate = Op::Truncate { path: b"/f".to_vec(), length: 3 };
        assert_eq!(world.perform(truncate), Err(Error::Unsupported));
        assert_eq!(world.files.content("/f"), Some(b"content".to_vec()));
    }
}

#[test]
fn sockets_that_are_counted_but_not_sent_hide_nothing() {
    for_seeds(0..10, |seed| {
        let mut world = World::with(seed, Faults::BAD, NO_AUTOPILOT, |files| {
            let mut far = Mavsdk::new(files, Release::Four);
            far.specials = 1 + seed as usize * 5;
            Box::new(far)
        });
        for n in 0..50 {
            world.files.insert(&format!("/d/file_{n:02}"), b"x");
        }
        let id = world.ask(Op::List { path: b"/d".to_vec() }, Class::Metadata);
        assert_eq!(world.finish(id), Ok(Reply::Done));
        assert_eq!(world.outcomes[&id].entries.len(), 50);
    });
}

#[test]
fn an_upload_that_is_created_twice_keeps_its_bytes() {
    // Answers that come late make the client repeat itself, and this server does it all again.
    let jitter = std::time::Duration::from_millis(300);
    let slow = Faults { jitter, duplicate: 0.0, ..Faults::BAD };
    for_seeds(0..200, |seed| {
        let mut world = FOUR.world(seed, slow);
        for n in 0..4 {
            let content = Random::new(seed + n).bytes(2_000);
            let path = format!("/new{n}");
            let id = world.upload(&path, &content);
            assert_eq!(world.finish(id), Ok(Reply::Size(2_000)));
            assert_eq!(world.files.content(&path), Some(content));
        }
        world.check_quiet();
    });
}

#[test]
fn a_naive_client_that_makes_up_a_session_number_loses_its_session() {
    let files = MemoryFiles::new();
    files.insert("/log", &[7; 500]);
    for (kind, refused) in [(OLD, true), (FOUR, false)] {
        let mut naive = naive(kind, &files);
        naive.on(Opcode::OpenFileRo, "/log");
        let read = Payload { size: 239, session: 3, ..Payload::request(Opcode::ReadFile) };
        naive.ask(read);
        let answer = naive.ask(Payload { session: 0, ..read }).map(|(_, result)| result);
        assert_eq!(answer == Some(Err(Nak::Fail)), refused);
    }
}

#[test]
fn a_naive_client_that_writes_one_file_ends_the_other_that_it_reads() {
    let files = MemoryFiles::new();
    files.insert("/log", &[7; 500]);
    let mut naive = naive(OLD, &files);
    naive.on(Opcode::OpenFileRo, "/log");
    naive.on(Opcode::CreateFile, "/new");
    let read = Payload { size: 239, ..Payload::request(Opcode::ReadFile) };
    assert_eq!(naive.ask(read).map(|(_, result)| result), Some(Err(Nak::Eof)));
}
