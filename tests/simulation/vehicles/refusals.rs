//! What a client that believes its first reading of the protocol gets wrong about paths, changes and
//! sessions, server by server; and that ours does not.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Error, Op, Reply};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::Kind;
use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::personalities::mavsdk::{Mavsdk, Release};
use crate::personalities::naive::Naive;
use crate::personalities::px4::{Firmware, Px4};
use crate::personalities::{OTHER, US};
use crate::world::{NO_AUTOPILOT, World};

const ONE: Kind = Kind::ArduPilot(Sessions::One);
const FIVE: Kind = Kind::ArduPilot(Sessions::Five);
const CARD: Kind = Kind::ArduPilotOnCard(Sessions::Five);
const BOARD: Kind = Kind::Px4(Firmware::Board);
const FOUR: Kind = Kind::Mavsdk(Release::Four);
const PX4_AUTOPILOT: u8 = 12;
const EACCES: u8 = 13;
const EROFS: u8 = 30;

fn naive(kind: Kind, files: &MemoryFiles) -> Naive {
    Naive::new(kind.far(files.clone(), 1))
}

fn board(files: &MemoryFiles) -> Px4 {
    let mut far = Px4::new(files.clone(), Firmware::Board, 1);
    far.card = Some(b"fs/microsd".to_vec());
    far
}

fn write(offset: u32, data: &[u8]) -> Payload {
    Payload { offset, ..Payload::request(Opcode::WriteFile) }.with_data(data)
}

fn result(naive: &mut Naive, request: Payload) -> Option<Result<Vec<u8>, Nak>> {
    naive.ask(request).map(|(_, result)| result)
}

#[test]
fn a_naive_client_cannot_save_by_renaming_over_a_file_on_a_fat_card() {
    for kind in [CARD, BOARD] {
        let files = MemoryFiles::new();
        files.insert("/new", b"new");
        files.insert("/old", b"old");
        let renamed = naive(kind, &files).on(Opcode::Rename, "/new\0/old");
        assert_eq!(renamed, Some(Err(Nak::FileExists)), "{kind:?}");
        assert_eq!(files.content("/old"), Some(b"old".to_vec()));
    }
}

#[test]
fn a_naive_client_is_told_different_errors_for_a_directory_that_is_not_empty() {
    let files = MemoryFiles::new();
    files.insert("/d/f", b"x");
    let removed = |kind| naive(kind, &files).on(Opcode::RemoveDirectory, "/d");
    assert_eq!(removed(CARD), Some(Err(Nak::FailErrno(EACCES))));
    assert_eq!(removed(FIVE), Some(Err(Nak::FailErrno(21))));
    assert_eq!(removed(BOARD), Some(Err(Nak::FailErrno(39))));
    assert_eq!(removed(FOUR), Some(Err(Nak::Fail)));
}

#[test]
fn a_naive_client_removes_a_directory_as_a_file_and_a_file_as_a_directory() {
    for kind in [ONE, FIVE, CARD, FOUR] {
        let files = MemoryFiles::new();
        files.insert("/f", b"x");
        files.insert_directory("/d");
        let mut naive = naive(kind, &files);
        assert_eq!(naive.on(Opcode::RemoveFile, "/d"), Some(Ok(Vec::new())), "{kind:?}");
        assert_eq!(naive.on(Opcode::RemoveDirectory, "/f"), Some(Ok(Vec::new())), "{kind:?}");
    }
}

#[test]
fn a_naive_client_that_leaves_a_hole_on_a_fat_card_finds_what_lay_there() {
    let files = MemoryFiles::new();
    let mut naive = naive(CARD, &files);
    naive.on(Opcode::CreateFile, "/f");
    naive.ask(write(100, b"end"));
    let content = files.content("/f").expect("the file");
    assert_eq!(content.len(), 103);
    assert_ne!(content[..100], [0; 100]);
}

#[test]
fn a_naive_client_changes_nothing_outside_the_card() {
    let files = MemoryFiles::new();
    files.insert("/etc/f", b"x");
    files.insert_directory("/fs/microsd");
    let mut naive = Naive::new(Box::new(board(&files)));
    for opcode in [Opcode::CreateFile, Opcode::OpenFileWo, Opcode::RemoveFile] {
        assert_eq!(naive.on(opcode, "/etc/f"), Some(Err(Nak::FileProtected)));
    }
    assert_eq!(naive.on(Opcode::CreateDirectory, "/d"), Some(Err(Nak::FileProtected)));
    assert_eq!(naive.on(Opcode::CreateDirectory, "/fs/microsd/d"), Some(Ok(Vec::new())));
}

#[test]
fn a_naive_client_that_looks_around_or_waits_while_it_writes_is_refused_by_a_board() {
    let files = MemoryFiles::new();
    files.insert_directory("/fs/microsd");
    let mut naive = Naive::new(Box::new(board(&files)));
    naive.on(Opcode::CreateFile, "/fs/microsd/f");
    assert!(matches!(result(&mut naive, write(0, b"a")), Some(Ok(_))));
    naive.on(Opcode::ListDirectory, "/etc");
    assert_eq!(result(&mut naive, write(1, b"b")), Some(Err(Nak::FileProtected)));
    naive.on(Opcode::ListDirectory, "/fs/microsd/");
    naive.now += Duration::from_secs(3);
    assert_eq!(result(&mut naive, write(1, b"b")), Some(Err(Nak::FileProtected)));
}

#[test]
fn an_upload_to_a_board_outlives_listings_and_a_source_that_pauses() {
    for_seeds(0..10, |seed| {
        let mut world = World::with(seed, Faults::BAD, PX4_AUTOPILOT, |files| {
            files.insert_directory("/fs/microsd");
            Box::new(board(&files))
        });
        let content = Random::new(seed).bytes(20_000);
        let id = world.upload("/fs/microsd/new", &content);
        world.provide(id, 7_000);
        let listing = world.ask(Op::List { path: b"/".to_vec() }, Class::Metadata);
        world.run_for(Duration::from_secs(1 + seed % 8));
        world.provide(id, content.len());
        assert_eq!(world.finish(id), Ok(Reply::Size(20_000)));
        assert_eq!(world.finish(listing), Ok(Reply::Done));
        assert_eq!(world.files.content("/fs/microsd/new"), Some(content));
        world.check_quiet();
    });
}

#[test]
fn a_change_outside_the_card_is_refused_and_no_session_is_lost() {
    let mut world = World::with(1, Faults::BAD, PX4_AUTOPILOT, |files| Box::new(board(&files)));
    world.files.insert("/fs/microsd/log", b"content");
    let refused = Err(Error::Refused(Nak::FileProtected));
    assert_eq!(world.perform(Op::MakeDirectory { path: b"/etc".to_vec() }), refused);
    let id = world.upload("/new", b"bytes");
    assert_eq!(world.finish(id), refused);
    let id = world.read("/fs/microsd/log", 0, 100);
    assert_eq!(world.finish(id), Ok(Reply::Size(7)));
    world.check_quiet();
}

#[test]
fn a_naive_client_sends_the_last_number_again_and_is_heard_twice() {
    let files = MemoryFiles::new();
    files.insert("/f", b"content");
    let mut far = Kind::Px4(Firmware::Release).far(files.clone(), 1);
    let now = std::time::Instant::now();
    let make = Payload { sequence: u16::MAX, ..Payload::request(Opcode::CreateDirectory) };
    for _ in 0..2 {
        far.receive(now, US, &make.with_data(b"/d"));
    }
    // 65535 is never recognised: the second was made anew.
    let end = now + Duration::from_secs(1);
    let mut results = Vec::new();
    while let crate::personalities::Said::To(_, answer) = far.poll(end) {
        results.push(answer.answer());
    }
    assert_eq!(results, [Some(Ok(())), Some(Err(Nak::FileExists))]);
}

#[test]
fn a_naive_client_with_the_number_of_another_station_costs_it_its_answer() {
    for (firmware, station) in [(Firmware::Release, OTHER), (Firmware::Main, US)] {
        let files = MemoryFiles::new();
        let mut far = Kind::Px4(firmware).far(files.clone(), 1);
        let now = std::time::Instant::now();
        let make = Payload { sequence: 7, ..Payload::request(Opcode::CreateDirectory) };
        far.receive(now, OTHER, &make.with_data(b"/theirs"));
        far.receive(now, US, &make.with_data(b"/ours"));
        let end = now + Duration::from_secs(1);
        let mut to = Vec::new();
        while let crate::personalities::Said::To(whom, _) = far.poll(end) {
            to.push(whom);
        }
        assert_eq!(to, [OTHER, station], "{firmware:?}");
    }
}

#[test]
fn a_naive_client_overruns_the_buffer_of_a_board() {
    let files = MemoryFiles::new();
    let mut far = BOARD.far(files, 1);
    let now = std::time::Instant::now();
    for sequence in 0..8 {
        let ping = Payload { sequence: sequence * 2, ..Payload::request(Opcode::None) };
        far.receive(now, US, &ping);
    }
    let mut answers = 0;
    while let crate::personalities::Said::To(..) = far.poll(now + Duration::from_secs(1)) {
        answers += 1;
    }
    assert_eq!(answers, 5);
}

#[test]
fn a_naive_client_writes_to_any_session_of_px4s_release() {
    let files = MemoryFiles::new();
    for (firmware, expected) in
        [(Firmware::Release, Ok(vec![1, 0, 0, 0])), (Firmware::Main, Err(Nak::InvalidSession))]
    {
        let mut naive = naive(Kind::Px4(firmware), &files);
        naive.on(Opcode::CreateFile, "/f");
        let request = Payload { session: 7, ..write(0, b"x") };
        assert_eq!(result(&mut naive, request), Some(expected));
    }
}

#[test]
fn a_naive_client_reads_what_it_opened_to_write() {
    let files = MemoryFiles::new();
    files.insert("/f", b"content");
    let read = Payload { size: 7, ..Payload::request(Opcode::ReadFile) };
    let after = |kind| {
        let mut naive = naive(kind, &files);
        naive.on(Opcode::OpenFileWo, "/f");
        result(&mut naive, read)
    };
    assert_eq!(after(FIVE), Some(Err(Nak::Fail)));
    assert_eq!(after(Kind::Px4(Firmware::Main)), Some(Err(Nak::FailErrno(9))));
}

#[test]
fn a_server_without_a_root_refuses_all_and_is_asked_no_more_than_that() {
    let mut world = World::with(1, Faults::BAD, NO_AUTOPILOT, |files| {
        let mut far = Mavsdk::new(files, Release::Four);
        far.rootless = true;
        Box::new(far)
    });
    let refused = Err(Error::Refused(Nak::Fail));
    let id = world.ask(Op::List { path: b"/".to_vec() }, Class::Metadata);
    assert_eq!(world.finish(id), refused);
    let id = world.read("/log", 0, 100);
    assert_eq!(world.finish(id), refused);
    let id = world.upload("/new", b"bytes");
    assert_eq!(world.finish(id), refused);
    world.check_quiet();
}

#[test]
fn a_naive_client_cannot_open_again_what_it_opened_unless_it_waits_and_only_reads() {
    let files = MemoryFiles::new();
    files.insert("/f", b"content");
    for kind in [ONE, FIVE] {
        let mut naive = naive(kind, &files);
        naive.on(Opcode::OpenFileRo, "/f");
        assert_eq!(naive.on(Opcode::OpenFileRo, "/f"), Some(Err(Nak::Fail)));
        naive.now += Duration::from_secs(4);
        assert_eq!(naive.on(Opcode::CreateFile, "/g"), Some(Err(Nak::Fail)), "{kind:?}");
        naive.now += Duration::from_secs(4);
        assert!(matches!(naive.on(Opcode::OpenFileRo, "/f"), Some(Ok(_))), "{kind:?}");
    }
}

#[test]
fn a_naive_client_that_pauses_loses_its_file_with_five_sessions_and_keeps_it_with_one() {
    let files = MemoryFiles::new();
    files.insert("/f", b"content");
    let read = Payload { size: 7, ..Payload::request(Opcode::ReadFile) };
    for (kind, expected) in [(ONE, Ok(b"content".to_vec())), (FIVE, Err(Nak::FileNotFound))] {
        let mut naive = naive(kind, &files);
        naive.on(Opcode::OpenFileRo, "/f");
        naive.now += Duration::from_secs(21);
        assert_eq!(result(&mut naive, read), Some(expected));
    }
}

#[test]
fn a_naive_client_takes_a_new_session_for_each_request_and_is_refused() {
    let files = MemoryFiles::new();
    let mut naive = naive(FIVE, &files);
    let mut refused = 0;
    for session in 1..=12 {
        let list = Payload { session, ..Payload::request(Opcode::ListDirectory) };
        let listed = result(&mut naive, list.with_data(b"/"));
        refused += usize::from(listed == Some(Err(Nak::NoSessionsAvailable)));
    }
    assert_eq!(refused, 7);
}

/// > Another station that holds the only session is waited for, then EBUSY; its session is never
/// > closed.
#[test]
fn a_live_station_at_the_only_session_is_waited_for_and_never_closed() {
    for_seeds(0..10, |seed| {
        let mut world = ONE.world(seed, Faults::NONE);
        world.files.insert("/log", b"content");
        let list = Payload { session: 77, ..Payload::request(Opcode::ListDirectory) };
        let open = Payload { session: 77, ..Payload::request(Opcode::OpenFileRo) };
        world.intrude(OTHER, &open.with_data(b"/log"));
        let id = world.read("/log", 0, 100);
        for sequence in 1..=12 {
            world.run_for(Duration::from_secs(1));
            assert_eq!(world.open_files(), 1, "theirs");
            world.intrude(OTHER, &Payload { sequence: sequence * 2, ..list }.with_data(b"/log"));
        }
        assert_eq!(world.outcomes[&id].results, [Err(Error::Busy)]);
    });
}

#[test]
fn a_naive_client_cannot_write_to_what_is_made_at_start() {
    let files = MemoryFiles::new();
    let mut naive = naive(FIVE, &files);
    assert_eq!(naive.on(Opcode::CreateFile, "@SYS/uarts.txt"), Some(Err(Nak::FailErrno(EROFS))));
    // And this changes the vehicle.
    assert_eq!(naive.on(Opcode::CreateFile, "@PARAM/param.pck"), Some(Ok(Vec::new())));
}

#[test]
fn a_naive_client_that_asks_for_no_bytes_is_told_the_end_or_given_none() {
    let files = MemoryFiles::new();
    files.insert("/f", b"content");
    let after = |kind| {
        let mut naive = naive(kind, &files);
        naive.on(Opcode::OpenFileRo, "/f");
        result(&mut naive, Payload::request(Opcode::ReadFile))
    };
    assert_eq!(after(FIVE), Some(Err(Nak::Eof)));
    assert_eq!(after(Kind::Px4(Firmware::Main)), Some(Ok(Vec::new())));
}

#[test]
fn a_naive_client_looks_for_a_refused_block_by_its_offset() {
    let files = MemoryFiles::new();
    let refused_at = |kind| {
        let answer = naive(kind, &files).ask(write(478, b"x"));
        answer.map(|(answer, result)| (answer.offset, result.is_err()))
    };
    assert_eq!(refused_at(Kind::Px4(Firmware::Main)), Some((478, true)));
    assert_eq!(refused_at(FIVE), Some((0, true)));
    assert_eq!(refused_at(FOUR), Some((0, true)));
}
