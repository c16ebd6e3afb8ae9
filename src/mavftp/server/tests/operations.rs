//! What each opcode does.

use super::super::files::{EBADF, EFBIG, EINVAL, EISDIR, ENAMETOOLONG, ENOSPC, ENOTDIR, ENOTEMPTY};
use super::*;
use crate::mavftp::wire::{Checksum, parse_entries};

#[test]
fn a_ping_is_answered_with_nothing_in_it() {
    let mut desk = Desk::new();
    assert_eq!(accepted(desk.ask(1, Payload::request(Opcode::None))).size, 0);
}

#[test]
fn an_unknown_opcode_is_refused_and_an_answer_ignored() {
    let mut desk = Desk::new();
    for opcode in [17, 42, 127, 130, 255] {
        let request = Payload { opcode, size: 255, ..Payload::request(Opcode::None) };
        assert_eq!(refused(desk.ask(1, request)), Nak::UnknownCommand);
    }
    desk.send(1, &Payload::request(Opcode::Ack));
    desk.send(1, &Payload::request(Opcode::Nak));
    assert!(desk.drain().is_empty());
}

#[test]
fn every_open_tells_the_length_in_four_bytes() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(700));
    for (opcode, length) in
        [(Opcode::OpenFileRo, 700), (Opcode::OpenFileWo, 700), (Opcode::CreateFile, 0)]
    {
        let answer = accepted(desk.ask_path(opcode, "/a"));
        assert_eq!((answer.size, answer.data_u32()), (4, Some(length)), "{opcode:?}");
    }
    assert_eq!(desk.files.content("/a"), Some(Vec::new()));
}

#[test]
fn a_read_echoes_its_offset_and_ends_with_the_file() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(300));
    let session = desk.open("/a");
    let answer = accepted(desk.read(1, session, 10, 20));
    assert_eq!((answer.session, answer.offset), (session, 10));
    assert_eq!(answer.data(), &pattern(300)[10..30]);
    assert_eq!(accepted(desk.read(1, session, 239, 239)).data(), &pattern(300)[239..]);
    assert_eq!(refused(desk.read(1, session, 300, 1)), Nak::Eof);
    assert_eq!(refused(desk.read(1, session, u32::MAX, 239)), Nak::Eof);
}

#[test]
fn a_read_of_size_0_means_a_full_packet() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(300));
    let session = desk.open("/a");
    assert_eq!(accepted(desk.read(1, session, 0, 0)).data(), &pattern(300)[..239]);
    assert_eq!(refused(desk.read(1, session, 0, 240)), Nak::InvalidDataSize);
}

#[test]
fn an_empty_file_ends_at_once() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"");
    let session = desk.open("/a");
    assert_eq!(refused(desk.read(1, session, 0, 239)), Nak::Eof);
}

#[test]
fn what_is_written_is_there_and_the_rest_stays() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"0123456789");
    let session = accepted(desk.ask_path(Opcode::OpenFileWo, "/a")).session;
    let write = Payload { session, offset: 3, ..Payload::request(Opcode::WriteFile) };
    let answer = accepted(desk.ask(1, write.with_data(b"xyz")));
    assert_eq!((answer.size, answer.offset), (0, 3));
    assert_eq!(desk.files.content("/a").unwrap(), b"012xyz6789");
    let beyond = Payload { offset: 12, ..write };
    accepted(desk.ask(1, beyond.with_data(b"!")));
    assert_eq!(desk.files.content("/a").unwrap(), b"012xyz6789\0\0!");
}

#[test]
fn a_write_past_what_offsets_can_name_is_too_big() {
    let mut desk = Desk::new();
    let session = accepted(desk.ask_path(Opcode::CreateFile, "/a")).session;
    let write = Payload { session, offset: u32::MAX, ..Payload::request(Opcode::WriteFile) };
    assert_eq!(refused(desk.ask(1, write.with_data(b"xy"))), Nak::FailErrno(EFBIG));
    let long = Payload { offset: 0, size: 240, ..write };
    assert_eq!(refused(desk.ask(1, long)), Nak::InvalidDataSize);
}

#[test]
fn a_full_card_is_said() {
    let mut desk = Desk::new();
    desk.files.set_space(Some(4));
    let session = accepted(desk.ask_path(Opcode::CreateFile, "/a")).session;
    let write = Payload { session, ..Payload::request(Opcode::WriteFile) };
    accepted(desk.ask(1, write.with_data(b"1234")));
    let more = Payload { offset: 4, ..write };
    assert_eq!(refused(desk.ask(1, more.with_data(b"5"))), Nak::FailErrno(ENOSPC));
}

#[test]
fn a_session_serves_only_what_it_was_opened_for() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    let reader = accepted(desk.ask(1, with_path(Opcode::OpenFileRo, 4, "/a"))).session;
    let writer = accepted(desk.ask(1, with_path(Opcode::OpenFileWo, 5, "/a"))).session;
    assert_eq!(refused(desk.read(1, writer, 0, 1)), Nak::FailErrno(EBADF));
    let write = Payload { session: reader, ..Payload::request(Opcode::WriteFile) };
    assert_eq!(refused(desk.ask(1, write.with_data(b"b"))), Nak::FailErrno(EBADF));
    assert_eq!(refused(desk.read(1, 77, 0, 1)), Nak::InvalidSession);
}

#[test]
fn folders_are_made_and_removed_and_files_are_not_folders() {
    let mut desk = Desk::new();
    accepted(desk.ask_path(Opcode::CreateDirectory, "/d"));
    assert_eq!(refused(desk.ask_path(Opcode::CreateDirectory, "/d")), Nak::FileExists);
    assert_eq!(refused(desk.ask_path(Opcode::CreateDirectory, "/no/d")), Nak::FileNotFound);
    desk.files.insert("/d/a", b"a");
    assert_eq!(refused(desk.ask_path(Opcode::RemoveDirectory, "/d")), Nak::FailErrno(ENOTEMPTY));
    assert_eq!(refused(desk.ask_path(Opcode::RemoveFile, "/d")), Nak::FailErrno(EISDIR));
    assert_eq!(refused(desk.ask_path(Opcode::RemoveDirectory, "/d/a")), Nak::FailErrno(ENOTDIR));
    assert_eq!(refused(desk.ask_path(Opcode::OpenFileRo, "/d")), Nak::FailErrno(EISDIR));
    accepted(desk.ask_path(Opcode::RemoveFile, "/d/a"));
    accepted(desk.ask_path(Opcode::RemoveDirectory, "/d"));
    assert_eq!(refused(desk.ask_path(Opcode::RemoveFile, "/d/a")), Nak::FileNotFound);
    assert!(desk.files.paths().is_empty());
}

#[test]
fn a_rename_replaces_files_and_not_folders() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    desk.files.insert("/b", b"b");
    desk.files.insert("/d/c", b"c");
    accepted(desk.ask_path(Opcode::Rename, "/a\0/b"));
    assert_eq!(desk.files.content("/b").unwrap(), b"a");
    assert_eq!(refused(desk.ask_path(Opcode::Rename, "/b\0/d")), Nak::FileExists);
    assert_eq!(refused(desk.ask_path(Opcode::Rename, "/d\0/d/e")), Nak::FailErrno(EINVAL));
    accepted(desk.ask_path(Opcode::Rename, "/d\0/e\0"));
    assert_eq!(desk.files.content("/e/c").unwrap(), b"c");
    assert_eq!(refused(desk.ask_path(Opcode::Rename, "/none\0/x")), Nak::FileNotFound);
    assert_eq!(refused(desk.ask_path(Opcode::Rename, "/b")), Nak::FailErrno(EINVAL));
}

#[test]
fn truncate_sets_the_length() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"0123456789");
    for (offset, left) in [(4, &b"0123"[..]), (6, b"0123\0\0")] {
        let request = Payload { offset, ..with_path(Opcode::TruncateFile, 0, "/a") };
        accepted(desk.ask(1, request));
        assert_eq!(desk.files.content("/a").unwrap(), left);
    }
    assert_eq!(refused(desk.ask_path(Opcode::TruncateFile, "/b")), Nak::FileNotFound);
}

#[test]
fn a_checksum_is_mavlinks_and_many_steps_give_one_answer() {
    let mut desk = Desk::new();
    desk.files.insert("/small", b"123456789");
    desk.files.insert("/empty", b"");
    desk.files.insert("/large", &pattern(2_000_000));
    for path in ["/small", "/empty", "/large"] {
        let content = desk.files.content(path).unwrap();
        let answer = accepted(desk.ask_path(Opcode::CalcFileCrc32, path));
        assert_eq!((answer.size, answer.data_u32()), (4, Some(Checksum::of(&content))), "{path}");
    }
    assert_eq!(refused(desk.ask_path(Opcode::CalcFileCrc32, "/none")), Nak::FileNotFound);
}

#[test]
fn others_are_served_while_a_checksum_is_computed() {
    let mut desk = Desk::new();
    desk.files.insert("/large", &pattern(4_000_000));
    desk.send(1, &with_path(Opcode::CalcFileCrc32, 0, "/large"));
    assert_eq!(desk.server.poll(desk.now), ServerOutput::Wait(Some(desk.now)));
    desk.send(2, &Payload::request(Opcode::None));
    assert!(matches!(desk.server.poll(desk.now), ServerOutput::Send(2, _)));
    assert!(desk.server.is_busy(desk.now));
    assert_eq!(desk.drain().len(), 1);
    assert!(!desk.server.is_busy(desk.now));
}

#[test]
fn a_checksum_asked_for_twice_is_answered_once_to_the_latest_request() {
    let mut desk = Desk::new();
    desk.files.insert("/large", &pattern(4_000_000));
    let request = with_path(Opcode::CalcFileCrc32, 0, "/large");
    for sequence in [1, 1, 2] {
        desk.send(1, &Payload { sequence, ..request });
        desk.server.poll(desk.now);
    }
    let answers = desk.drain();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].1.sequence, 3);
}

#[test]
fn a_listing_is_paged_in_order_and_ends() {
    let mut desk = Desk::new();
    for index in (0..100).rev() {
        desk.files.insert(&format!("/d/log{index:03}.bin"), &pattern(index));
    }
    desk.files.insert_directory("/d/sub");
    for with_time in [false, true] {
        let opcode = if with_time { Opcode::ListDirectoryWithTime } else { Opcode::ListDirectory };
        let mut seen = Vec::new();
        loop {
            let offset = seen.len() as u32;
            let answer = desk.ask(1, Payload { offset, ..with_path(opcode, 9, "/d") });
            assert_eq!((answer.session, answer.offset), (9, offset));
            match answer.answer() {
                Some(Ok(())) => seen.extend(parse_entries(answer.data(), with_time).entries),
                end => break assert_eq!(end, Some(Err(Nak::Eof))),
            }
        }
        assert_eq!(seen.len(), 101);
        assert!(seen.is_sorted_by(|one, other| one.name < other.name));
        assert_eq!((seen[7].size, seen[100].directory), (7, true));
    }
}

#[test]
fn times_are_listed_to_who_asks_for_them() {
    let mut desk = Desk::new();
    desk.files.set_time(Some(1_795_118_600));
    desk.files.insert("/a", b"a");
    desk.files.insert_directory("/d");
    let answer = desk.ask_path(Opcode::ListDirectoryWithTime, "/");
    assert_eq!(answer.data(), b"Fa\t1\t1795118600\0Dd\t0\t1795118600\0");
    assert_eq!(desk.ask_path(Opcode::ListDirectory, "/").data(), b"Fa\t1\0Dd\0");
}

#[test]
fn a_name_that_cannot_be_sent_counts_but_is_not_shown() {
    let mut desk = Desk::new();
    desk.files.insert("/d/tab\there", b"a");
    desk.files.insert("/d/z", b"a");
    assert_eq!(desk.ask_path(Opcode::ListDirectory, "/d").data(), b"S\0Fz\t1\0");
}

#[test]
fn what_is_no_folder_is_not_listed() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    desk.files.insert_directory("/empty");
    assert_eq!(refused(desk.ask_path(Opcode::ListDirectory, "/a")), Nak::FailErrno(ENOTDIR));
    assert_eq!(refused(desk.ask_path(Opcode::ListDirectory, "/no")), Nak::FileNotFound);
    assert_eq!(refused(desk.ask_path(Opcode::ListDirectory, "/empty")), Nak::Eof);
    assert_eq!(refused(desk.ask_path(Opcode::ListDirectory, "@SYS")), Nak::Eof);
    assert_eq!(refused(desk.ask_path(Opcode::OpenFileRo, "@SYS/x")), Nak::FileNotFound);
}

#[test]
fn names_with_an_at_sign_are_ordinary() {
    let mut desk = Desk::new();
    desk.files.insert("/@a/b", b"b");
    assert_eq!(desk.ask_path(Opcode::ListDirectory, "@a").data(), b"Fb\t1\0");
    desk.open("@a/b");
}

#[test]
fn a_read_only_tree_refuses_every_change() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    desk.files.insert_directory("/d");
    desk.files.set_read_only(true);
    let before = desk.files.paths();
    for (opcode, path) in [
        (Opcode::CreateFile, "/a"),
        (Opcode::OpenFileWo, "/a"),
        (Opcode::RemoveFile, "/a"),
        (Opcode::CreateDirectory, "/e"),
        (Opcode::RemoveDirectory, "/d"),
        (Opcode::TruncateFile, "/a"),
        (Opcode::Rename, "/a\0/b"),
    ] {
        assert_eq!(refused(desk.ask_path(opcode, path)), Nak::FileProtected, "{opcode:?}");
    }
    assert_eq!(desk.files.paths(), before);
    assert_eq!(desk.files.content("/a").unwrap(), b"a");
}

#[test]
fn paths_that_lead_out_are_refused_whatever_is_asked() {
    let mut desk = Desk::new();
    for opcode in [
        Opcode::ListDirectory,
        Opcode::OpenFileRo,
        Opcode::OpenFileWo,
        Opcode::CreateFile,
        Opcode::RemoveFile,
        Opcode::CreateDirectory,
        Opcode::RemoveDirectory,
        Opcode::TruncateFile,
        Opcode::CalcFileCrc32,
    ] {
        assert_eq!(refused(desk.ask_path(opcode, "/../etc")), Nak::FileProtected);
    }
    assert_eq!(refused(desk.ask_path(Opcode::Rename, "/a\0../b")), Nak::FileProtected);
    let long = "x".repeat(239);
    assert_eq!(refused(desk.ask_path(Opcode::OpenFileRo, &long)), Nak::FailErrno(ENAMETOOLONG));
}

#[test]
fn a_path_may_end_in_a_nul() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    desk.open("/a\0");
}
