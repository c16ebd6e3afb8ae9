//! Requests that arrive twice, because an answer was lost or the network repeats itself.

use super::super::order::LATE_TIME;
use super::*;

fn numbered(sequence: u16, request: Payload) -> Payload {
    Payload { sequence, ..request }
}

#[test]
fn a_retried_change_is_done_once_and_answered_twice() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    for (opcode, path) in [
        (Opcode::RemoveFile, "/a"),
        (Opcode::CreateDirectory, "/d"),
        (Opcode::Rename, "/d\0/e"),
        (Opcode::RemoveDirectory, "/e"),
    ] {
        desk.sequence += 1;
        let request = numbered(desk.sequence, with_path(opcode, 0, path));
        let first = accepted(desk.ask_again(1, &request));
        assert_eq!(desk.ask_again(1, &request), first, "{opcode:?}");
    }
}

#[test]
fn a_retried_open_gets_the_same_session() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    let request = with_path(Opcode::OpenFileRo, 0, "/a");
    let first = accepted(desk.ask_again(1, &request));
    assert_eq!(desk.ask_again(1, &request), first);
    assert_eq!(desk.server.open_sessions(), 1);
}

#[test]
fn a_create_that_comes_twice_does_not_empty_the_file_again() {
    let mut desk = Desk::new();
    let create = numbered(7, with_path(Opcode::CreateFile, 5, "/a"));
    accepted(desk.ask_again(1, &create));
    let write = Payload { session: 5, ..Payload::request(Opcode::WriteFile) };
    accepted(desk.ask(1, write.with_data(b"abc")));
    accepted(desk.ask_again(1, &create));
    assert_eq!(desk.files.content("/a").unwrap(), b"abc");
}

#[test]
fn an_old_write_that_comes_late_does_not_undo_a_newer_one() {
    let mut desk = Desk::new();
    accepted(desk.ask(1, with_path(Opcode::CreateFile, 5, "/a")));
    let write = Payload { session: 5, ..Payload::request(Opcode::WriteFile) };
    let old = numbered(200, write.with_data(b"old"));
    accepted(desk.ask_again(1, &old));
    accepted(desk.ask_again(1, &numbered(201, write.with_data(b"new"))));
    accepted(desk.ask_again(1, &old));
    assert_eq!(desk.files.content("/a").unwrap(), b"new");
}

#[test]
fn the_same_number_for_another_request_is_another_request() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    desk.files.insert("/b", b"b");
    accepted(desk.ask_again(1, &numbered(5, with_path(Opcode::RemoveFile, 0, "/a"))));
    accepted(desk.ask_again(1, &numbered(5, with_path(Opcode::RemoveFile, 0, "/b"))));
    assert!(desk.files.paths().is_empty());
}

#[test]
fn another_clients_same_request_is_its_own() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    let request = with_path(Opcode::RemoveFile, 0, "/a");
    accepted(desk.ask_again(1, &request));
    assert_eq!(refused(desk.ask_again(2, &request)), Nak::FileNotFound);
}

/// A command-line client that always counts from 0 uploads a file, twice.
#[test]
fn a_client_program_run_again_is_not_answered_from_its_last_run() {
    let mut desk = Desk::new();
    let write = Payload { session: 5, ..Payload::request(Opcode::WriteFile) };
    for _ in 0..2 {
        accepted(desk.ask_again(1, &numbered(0, Payload::request(Opcode::ResetSessions))));
        accepted(desk.ask_again(1, &numbered(1, with_path(Opcode::CreateFile, 5, "/a"))));
        accepted(desk.ask_again(1, &numbered(2, write.with_data(b"abc"))));
        let close = Payload { session: 5, ..Payload::request(Opcode::TerminateSession) };
        accepted(desk.ask_again(1, &numbered(3, close)));
        assert_eq!(desk.files.content("/a").unwrap(), b"abc");
        accepted(desk.ask_again(1, &numbered(4, with_path(Opcode::RemoveFile, 0, "/a"))));
        assert_eq!(desk.files.content("/a"), None);
        assert_eq!(desk.server.open_sessions(), 0);
    }
}

#[test]
fn without_a_reset_too_an_open_begins_the_next_run() {
    let mut desk = Desk::new();
    let write = Payload { session: 5, ..Payload::request(Opcode::WriteFile) };
    for _ in 0..2 {
        desk.wait(LATE_TIME + Duration::from_millis(1));
        accepted(desk.ask_again(1, &numbered(1, with_path(Opcode::CreateFile, 5, "/a"))));
        accepted(desk.ask_again(1, &numbered(2, write.with_data(b"abc"))));
        let close = Payload { session: 5, ..Payload::request(Opcode::TerminateSession) };
        accepted(desk.ask_again(1, &numbered(3, close)));
        assert_eq!(desk.files.content("/a").unwrap(), b"abc");
        accepted(desk.ask_again(1, &numbered(4, with_path(Opcode::RemoveFile, 0, "/a"))));
        assert_eq!(desk.files.content("/a"), None);
    }
}

#[test]
fn an_upload_does_not_push_out_the_answer_to_a_rename() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    let rename = numbered(1, with_path(Opcode::Rename, 0, "/a\0/b"));
    accepted(desk.ask_again(1, &rename));
    accepted(desk.ask(1, with_path(Opcode::CreateFile, 5, "/c")));
    let write = Payload { session: 5, ..Payload::request(Opcode::WriteFile) };
    for offset in 0..200 {
        accepted(desk.ask(1, Payload { offset, ..write }.with_data(b"x")));
    }
    accepted(desk.ask_again(1, &rename));
}
