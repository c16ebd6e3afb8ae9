//! What only PX4's server does.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Error, Op, Reply};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::Kind;
use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::OTHER;
use crate::personalities::naive::Naive;
use crate::personalities::px4::{Firmware, Px4};
use crate::world::World;

const RELEASE: Kind = Kind::Px4(Firmware::Release);
const MAIN: Kind = Kind::Px4(Firmware::Main);

fn naive(kind: Kind, files: &MemoryFiles) -> Naive {
    Naive::new(kind.far(files.clone(), 1))
}

fn list(world: &mut World, path: &str) -> Result<usize, Error> {
    let id = world.ask(Op::List { path: path.into() }, Class::Metadata);
    world.finish(id).map(|_| world.outcomes[&id].entries.len())
}

/// A request of another station.
fn other(sequence: u16, opcode: Opcode, path: &str) -> Payload {
    Payload { sequence, ..Payload::request(opcode).with_data(path.as_bytes()) }
}

#[test]
fn a_naive_client_locks_itself_out_when_it_opens_again() {
    let files = MemoryFiles::new();
    files.insert("/log", b"content");
    let refused = naive(RELEASE, &files).on_twice(Opcode::OpenFileRo, "/log");
    assert_eq!(refused, Some(Err(Nak::NoSessionsAvailable)));
}

#[test]
fn a_naive_client_believes_an_error_of_long_ago() {
    let files = MemoryFiles::new();
    files.insert("/d/log", &[7; 300]);
    let mut naive = naive(RELEASE, &files);
    assert_eq!(naive.on(Opcode::CreateDirectory, "/d"), Some(Err(Nak::FileExists)));
    assert_eq!(naive.download("/d/log"), Err(Some(Nak::FileExists)), "at the end of the file");
    let listed = naive.on(Opcode::ListDirectoryWithTime, "/d");
    assert_eq!(listed, Some(Err(Nak::FileExists)), "an opcode that is not known");
}

#[test]
fn a_naive_client_is_cut_off_when_it_pauses() {
    let files = MemoryFiles::new();
    files.insert("/log", &[7; 300]);
    let mut naive = naive(MAIN, &files);
    naive.on(Opcode::OpenFileRo, "/log");
    naive.now += Duration::from_secs(11);
    let read = Payload { size: 239, ..Payload::request(Opcode::ReadFile) };
    assert_eq!(naive.ask(read).map(|(_, result)| result), Some(Err(Nak::InvalidSession)));
}

#[test]
fn an_error_that_sticks_spoils_no_listing_and_no_upload() {
    for kind in [RELEASE, MAIN] {
        for_seeds(0..10, |seed| {
            let mut world = kind.world(seed, Faults::BAD);
            world.files.insert("/d/f", b"x");
            let exists = world.perform(Op::MakeDirectory { path: b"/d/f".to_vec() });
            assert_eq!(exists, Err(Error::Refused(Nak::FileExists)));
            assert_eq!(list(&mut world, "/d"), Ok(1));
            let _ = world.perform(Op::MakeDirectory { path: b"/d/f".to_vec() });
            let id = world.upload("/new", &[1; 3000]);
            assert_eq!(world.finish(id), Ok(Reply::Size(3000)));
            world.check_quiet();
        });
    }
}

#[test]
fn a_taken_session_is_waited_for_also_when_the_refusal_names_an_old_error() {
    let mut world = RELEASE.world(1, Faults::NONE);
    world.files.insert("/log", b"content");
    world.files.insert("/theirs", b"x");
    let exists = world.perform(Op::MakeDirectory { path: b"/log".to_vec() });
    assert_eq!(exists, Err(Error::Refused(Nak::FileExists)));
    world.intrude(OTHER, &other(1, Opcode::OpenFileRo, "/theirs"));
    let id = world.read("/log", 0, 100);
    world.run_for(Duration::from_millis(2500));
    world.intrude(OTHER, &other(2, Opcode::TerminateSession, ""));
    assert_eq!(world.finish(id), Ok(Reply::Size(7)));
    world.check_quiet();
}

#[test]
fn a_directory_that_opens_like_a_file_does_not_keep_the_session() {
    for_seeds(0..10, |seed| {
        let mut world = RELEASE.world(seed, Faults::BAD);
        world.files.insert_directory("/log");
        world.files.insert("/other", b"content");
        let id = world.read("/log", 0, 100);
        assert!(matches!(world.finish(id), Err(Error::Refused(Nak::FailErrno(21)))));
        let id = world.read("/other", 0, 100);
        assert_eq!(world.finish(id), Ok(Reply::Size(7)));
        world.check_quiet();
    });
}

#[test]
fn an_upload_whose_source_pauses_goes_on_after_the_server_closed_its_file() {
    for kind in [RELEASE, MAIN, Kind::Px4(Firmware::Board)] {
        for_seeds(0..10, |seed| {
            let mut world = kind.world(seed, Faults::BAD);
            let content = Random::new(seed).bytes(20_000);
            let id = world.upload("/new", &content);
            world.provide(id, 7_000);
            world.run_for(Duration::from_secs(30));
            assert_eq!(world.outcomes[&id].results, [], "a slow source is not a silent vehicle");
            world.provide(id, content.len());
            assert_eq!(world.finish(id), Ok(Reply::Size(20_000)));
            assert_eq!(world.files.content("/new"), Some(content));
            world.check_quiet();
        });
    }
}

#[test]
fn a_listing_at_the_same_time_never_costs_the_session() {
    for_seeds(0..60, |seed| {
        let mut world = RELEASE.world(seed, Faults { loss: 0.12, ..Faults::BAD });
        world.files.insert("/log", &[7; 1000]);
        for _ in 0..3 {
            let id = world.read("/log", 0, 1000);
            let listing = world.ask(Op::List { path: b"/".to_vec() }, Class::Metadata);
            assert_eq!(world.finish(id), Ok(Reply::Size(1000)));
            assert_eq!(world.finish(listing), Ok(Reply::Done));
            world.run_for(Duration::from_millis(1500));
        }
        world.check_quiet();
    });
}

#[test]
fn a_file_whose_opening_the_server_forgets_is_read_in_the_end() {
    // The first byte of the answer is 5, which is never remembered: the repeated request finds the
    // session taken, by us.
    for_seeds(0..30, |seed| {
        let mut world = RELEASE.world(seed, Faults { loss: 0.1, ..Faults::BAD });
        world.files.insert("/log", &[7; 261]);
        world.run_for(Duration::from_secs(1));
        let mut tries = 0;
        loop {
            let id = world.read("/log", 0, 261);
            match world.finish(id) {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, Error::Busy | Error::TimedOut)),
            }
            tries += 1;
            assert!(tries < 4, "the session is never free");
        }
        world.check_quiet();
    });
}

#[test]
fn names_that_fit_in_no_page_hide_nobody_else() {
    let mut world = RELEASE.world(1, Faults::NONE);
    world.files.insert("/a", b"x");
    for n in 0..4 {
        world.files.insert(&format!("/b{n}{}", "x".repeat(234)), b"x");
    }
    world.files.insert("/c", b"x");
    assert_eq!(world.files.paths().len(), 6);
    assert_eq!(list(&mut world, "/"), Ok(2));
}

#[test]
fn a_session_that_a_dead_station_left_open_is_free_again_in_the_end() {
    let mut world = RELEASE.world(1, Faults::NONE);
    world.files.insert("/log", b"content");
    world.intrude(OTHER, &other(1, Opcode::OpenFileRo, "/log"));
    let first = world.read("/log", 0, 100);
    assert_eq!(world.finish(first), Err(Error::Busy));
    let second = world.read("/log", 0, 100);
    assert_eq!(world.finish(second), Ok(Reply::Size(7)));
    world.check_quiet();
}

/// > Another station that holds the only session is waited for, then EBUSY; its session is never
/// > closed.
#[test]
fn a_taken_session_is_waited_for_no_longer_than_patience_though_listings_go_on() {
    let mut world = RELEASE.world(1, Faults::NONE);
    world.files.insert("/log", b"content");
    world.intrude(OTHER, &other(1, Opcode::OpenFileRo, "/log"));
    let id = world.read("/log", 0, 100);
    for n in 0..12 {
        // The other station lives, and somebody looks around.
        world.intrude(OTHER, &other(10 + n, Opcode::None, ""));
        let _ = list(&mut world, "/");
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(world.outcomes[&id].results, [Err(Error::Busy)]);
}

/// > Another station that holds the only session is waited for, then EBUSY; its session is never
/// > closed.
#[test]
fn another_stations_session_is_never_closed_by_us() {
    for_seeds(0..60, |seed| {
        let mut world = RELEASE.world(seed, Faults { loss: 0.2, ..Faults::BAD });
        world.files.insert("/log", b"content");
        world.intrude(OTHER, &other(1, Opcode::OpenFileRo, "/log"));
        let id = world.read("/log", 0, 100);
        for n in 0..8 {
            world.run_for(Duration::from_secs(1));
            world.intrude(OTHER, &other(10 + n, Opcode::None, ""));
            assert_eq!(world.open_files(), 1);
        }
        world.intrude(OTHER, &other(99, Opcode::TerminateSession, ""));
        let _ = world.finish(id);
        world.check_quiet();
    });
}

#[test]
fn a_naive_client_that_pauses_in_writing_to_a_board_is_refused() {
    for firmware in [Firmware::Board, Firmware::Serial] {
        let mut naive = naive(Kind::Px4(firmware), &MemoryFiles::new());
        naive.on(Opcode::CreateFile, "/new");
        let write = Payload::request(Opcode::WriteFile).with_data(b"x");
        assert!(matches!(naive.ask(write), Some((_, Ok(_)))));
        naive.now += Duration::from_secs(3);
        let refused = naive.ask(write).map(|(_, result)| result);
        assert_eq!(refused, Some(Err(Nak::FileProtected)));
    }
}

#[test]
fn whole_blocks_and_empty_pages_of_an_older_server_do_no_harm() {
    for_seeds(0..10, |seed| {
        let mut world = World::with(seed, Faults::BAD, 12, |files| {
            let mut far = Px4::new(files, Firmware::Release, seed);
            far.older = true;
            Box::new(far)
        });
        let content = Random::new(seed).bytes(5_000);
        world.files.insert("/log", &content);
        world.files.insert_directory("/empty");
        assert_eq!(list(&mut world, "/empty"), Ok(0));
        let id = world.read("/log", 100 + seed as u32, 1_000);
        assert_eq!(world.finish(id), Ok(Reply::Size(5_000)));
        let start = 100 + seed as usize;
        assert_eq!(world.outcomes[&id].joined(start as u32), content[start..start + 1_000]);
        world.check_quiet();
    });
}

#[test]
fn a_board_that_waits_for_its_own_line_is_not_held_up_by_what_we_send() {
    for_seeds(0..3, |seed| {
        let mut world = Kind::Px4(Firmware::Serial).world(seed, Faults::HALF_DUPLEX);
        let content = Random::new(seed).bytes(40_000);
        let start = world.elapsed();
        let id = world.upload("/new", &content);
        assert_eq!(world.finish(id), Ok(Reply::Size(40_000)));
        // Twice the time that the line needs for the frames of both ways.
        let took = world.elapsed() - start;
        assert!(took < Duration::from_secs(50), "{took:?}");
        assert_eq!(world.files.content("/new"), Some(content));
        world.check_quiet();
    });
}
