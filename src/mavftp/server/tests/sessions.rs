//! Whose file a session number means.

use super::super::clients::{CLIENT_SESSIONS_MAX, CLIENTS_MAX, SESSIONS_MAX};
use super::super::sessions::IDLE_TIME;
use super::*;

fn close(desk: &mut Desk, from: u8, session: u8) {
    let request = Payload { session, ..Payload::request(Opcode::TerminateSession) };
    accepted(desk.ask(from, request));
}

#[test]
fn a_client_that_opens_with_0_is_told_its_session() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    let session = desk.open("/a");
    assert_ne!(session, 0);
    assert_eq!(accepted(desk.read(1, session, 0, 1)).session, session);
    assert_eq!(accepted(desk.read(1, 0, 0, 1)).data(), b"a", "0 still means that file");
    close(&mut desk, 1, 0);
    assert_eq!(refused(desk.read(1, session, 0, 1)), Nak::InvalidSession);
}

#[test]
fn each_answer_has_the_session_number_of_its_request() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    let given = desk.open("/a");
    for session in [0, given] {
        assert_eq!(accepted(desk.read(1, session, 0, 1)).session, session);
        let checksum = with_path(Opcode::CalcFileCrc32, session, "/a");
        assert_eq!(accepted(desk.ask(1, checksum)).session, session);
        desk.send(1, &Payload { session, size: 239, ..Payload::request(Opcode::BurstReadFile) });
        assert!(desk.drain().iter().all(|(_, packet)| packet.session == session));
    }
    close(&mut desk, 1, 0);
    assert_ne!(accepted(desk.ask(1, with_path(Opcode::CreateFile, 0, "/new"))).session, 0);
    let sequence = desk.sequence + 1;
    let write = Payload { session: 0, sequence, ..Payload::request(Opcode::WriteFile) };
    let write = write.with_data(b"b");
    for _ in 0..2 {
        assert_eq!(accepted(desk.ask_again(1, &write)).session, 0, "a repeated one, too");
    }
}

#[test]
fn a_client_that_opens_with_0_has_one_file_at_a_time() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    desk.files.insert("/b", b"b");
    let first = desk.open("/a");
    let second = desk.open("/b");
    assert_ne!(first, second, "late packets of the first must be told apart");
    assert_eq!(desk.server.open_sessions(), 1);
    assert_eq!(refused(desk.read(1, first, 0, 1)), Nak::InvalidSession);
}

#[test]
fn a_clients_own_number_is_echoed() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    let answer = accepted(desk.ask(1, with_path(Opcode::OpenFileRo, 77, "/a")));
    assert_eq!(answer.session, 77);
    assert_eq!(accepted(desk.read(1, 77, 0, 1)).data(), b"a");
}

#[test]
fn opening_on_an_open_session_opens_anew() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    desk.files.insert("/b", b"b");
    for path in ["/a", "/a", "/b"] {
        accepted(desk.ask(1, with_path(Opcode::OpenFileRo, 5, path)));
    }
    assert_eq!(accepted(desk.read(1, 5, 0, 1)).data(), b"b");
    assert_eq!(desk.server.open_sessions(), 1);
}

#[test]
fn two_clients_with_the_same_number_have_two_files() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    desk.files.insert("/b", b"b");
    accepted(desk.ask(1, with_path(Opcode::OpenFileRo, 5, "/a")));
    accepted(desk.ask(2, with_path(Opcode::OpenFileRo, 5, "/b")));
    accepted(desk.ask(2, Payload::request(Opcode::ResetSessions)));
    assert_eq!(accepted(desk.read(1, 5, 0, 1)).data(), b"a");
    assert_eq!(refused(desk.read(2, 5, 0, 1)), Nak::InvalidSession);
    assert_eq!(refused(desk.read(3, 5, 0, 1)), Nak::InvalidSession);
}

#[test]
fn closing_what_is_not_open_is_fine() {
    let mut desk = Desk::new();
    close(&mut desk, 1, 200);
    close(&mut desk, 1, 0);
}

#[test]
fn when_all_sessions_are_taken_a_create_empties_nothing() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"precious");
    for session in 1..=CLIENT_SESSIONS_MAX as u8 {
        accepted(desk.ask(1, with_path(Opcode::OpenFileRo, session, "/a")));
    }
    let answer = desk.ask(1, with_path(Opcode::CreateFile, 99, "/a"));
    assert_eq!(refused(answer), Nak::NoSessionsAvailable);
    assert_eq!(desk.files.content("/a").unwrap(), b"precious");
    desk.wait(IDLE_TIME + Duration::from_millis(1));
    accepted(desk.ask(1, with_path(Opcode::OpenFileRo, 99, "/a")));
    assert_eq!(desk.server.open_sessions(), CLIENT_SESSIONS_MAX);
}

#[test]
fn a_session_refused_for_want_of_room_is_had_by_asking_again() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    for session in 1..=CLIENT_SESSIONS_MAX as u8 {
        accepted(desk.ask(1, with_path(Opcode::OpenFileRo, session, "/a")));
    }
    let request = Payload { sequence: 900, ..with_path(Opcode::OpenFileRo, 99, "/a") };
    assert_eq!(refused(desk.ask_again(1, &request)), Nak::NoSessionsAvailable);
    close(&mut desk, 1, 1);
    accepted(desk.ask_again(1, &request));
}

#[test]
fn a_session_that_bursts_is_not_idle() {
    let mut desk = Desk::with_rate(Some(2_000));
    desk.files.insert("/a", &pattern(100_000));
    for session in 1..=CLIENT_SESSIONS_MAX as u8 {
        accepted(desk.ask(1, with_path(Opcode::OpenFileRo, session, "/a")));
    }
    let end = desk.now + IDLE_TIME + Duration::from_secs(1);
    let mut sequence = 1000;
    while desk.now < end {
        let burst = Payload { session: 3, sequence, ..Payload::request(Opcode::BurstReadFile) };
        desk.send(1, &burst);
        desk.drain();
        sequence += 500;
    }
    for session in 100..100 + CLIENT_SESSIONS_MAX as u8 - 1 {
        desk.send(1, &with_path(Opcode::OpenFileRo, session, "/a"));
    }
    assert_eq!(desk.server.open_sessions(), CLIENT_SESSIONS_MAX);
    desk.send(1, &Payload { session: 3, size: 1, ..Payload::request(Opcode::ReadFile) });
    let answers = desk.drain();
    let read = answers.iter().find(|(_, answer)| answer.req_opcode == Opcode::ReadFile as u8);
    accepted(read.unwrap().1);
}

#[test]
fn clients_and_their_sessions_are_bounded() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    for from in 0..=255 {
        desk.wait(Duration::from_millis(1));
        for session in 1..=3 {
            desk.ask(from, with_path(Opcode::OpenFileRo, session, "/a"));
        }
    }
    assert!(desk.server.open_sessions() <= SESSIONS_MAX);
    const { assert!(CLIENTS_MAX < 255) };
}

#[test]
fn another_tree_is_served_once_nothing_is_under_way() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    let session = desk.open("/a");
    let other = MemoryFiles::new();
    other.insert("/b", b"b");
    assert!(desk.server.replace_files(desk.now, other.clone()).is_err());
    close(&mut desk, 1, session);
    assert!(desk.server.replace_files(desk.now, other).is_ok());
    desk.open("/b");
}
