//! Whatever arrives: no panic, at most one direct answer, and bounded memory.

use proptest::prelude::*;

use super::super::clients::SESSIONS_MAX;
use super::super::inbox::CLIENT_REQUESTS_MAX;
use super::*;

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::sample::select(
            &["/", "/a", "/d/b", "/d", "a\0/b", "/d\0/d/e", "..", "/x/../y"][..]
        )
        .prop_map(|path| path.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..=DATA_BYTES_MAX),
    ]
}

fn any_request() -> impl Strategy<Value = Payload> {
    let opcode = prop_oneof![9 => 0..=16u8, 1 => any::<u8>()];
    let offset = prop_oneof![0..2000u32, Just(u32::MAX), any::<u32>()];
    let size = proptest::option::of(any::<u8>());
    (0..20u16, 0..8u8, opcode, offset, any_path(), size).prop_map(
        |(sequence, session, opcode, offset, data, size)| {
            let request = Payload::request(Opcode::None).with_data(&data);
            let size = size.unwrap_or(request.size);
            Payload { sequence, session, opcode, offset, size, ..request }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_asked_gets_one_answer_at_most_and_memory_stays_bounded(
        requests in proptest::collection::vec((0..5u8, any_request(), 0..2000u64), 1..120),
    ) {
        let mut desk = Desk::new();
        // A sparse offset costs a real file nothing, but memory.
        desk.files.set_space(Some(1_000_000));
        desk.files.insert("/a", &pattern(1000));
        desk.files.insert("/d/b", b"b");
        for (from, request, milliseconds) in requests {
            desk.wait(Duration::from_millis(milliseconds));
            desk.send(from, &request);
            let sent = desk.drain();
            let bursts = sent.iter().filter(|(_, packet)| packet.req_opcode == 15).count();
            prop_assert!(sent.len() - bursts <= 1);
            prop_assert!(sent.iter().all(|(to, packet)| *to == from && packet.size <= 239));
            prop_assert!(desk.server.open_sessions() <= SESSIONS_MAX);
        }
    }

    #[test]
    fn raw_bytes_that_decode_are_survived(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..252), 1..40),
    ) {
        let mut desk = Desk::new();
        desk.files.set_space(Some(1_000_000));
        for bytes in packets {
            if let Ok(request) = Payload::decode(&bytes) {
                desk.send(1, &request);
                desk.drain();
            }
        }
    }
}

#[test]
fn requests_that_nobody_does_do_not_pile_up() {
    let mut desk = Desk::new();
    for sequence in 0..5000 {
        desk.send(1, &Payload { sequence, ..Payload::request(Opcode::None) });
    }
    assert_eq!(desk.drain().len(), CLIENT_REQUESTS_MAX);
}

#[test]
fn listings_of_huge_folders_do_not_pile_up() {
    let mut desk = Desk::new();
    for index in 0..3000 {
        desk.files.insert(&format!("/d/{index}"), b"");
    }
    for from in 0..60 {
        accepted(desk.ask(from, with_path(Opcode::ListDirectory, 0, "/d")));
    }
    assert!(desk.server.snapshots.entries() <= 2 * LISTING_ENTRIES_MAX);
}

#[test]
fn checksums_of_one_client_are_bounded() {
    let mut desk = Desk::new();
    for index in 0..10 {
        desk.files.insert(&format!("/{index}"), &pattern(1_000_000));
        desk.send(1, &with_path(Opcode::CalcFileCrc32, 0, &format!("/{index}")));
    }
    let answers = desk.drain();
    assert_eq!(answers.len(), 10);
    let done = answers.iter().filter(|(_, answer)| answer.answer() == Some(Ok(()))).count();
    assert_eq!(done, 4);
}

#[test]
fn listings_of_names_that_do_not_fit_and_of_too_many_files_end() {
    let mut desk = Desk::new();
    for length in [226, 236, 237, 238] {
        desk.files.insert(&"n".repeat(length), b"0123456789");
    }
    desk.files.set_time(Some(-5));
    desk.files.insert("/old", b"");
    let (mut at, mut pages) = (0, Vec::new());
    loop {
        let list = with_path(Opcode::ListDirectoryWithTime, 0, "/");
        let page = desk.ask(1, Payload { offset: at, ..list });
        if page.answer() != Some(Ok(())) {
            break assert_eq!(refused(page), Nak::Eof);
        }
        at += page.data().iter().filter(|byte| **byte == 0).count() as u32;
        pages.extend_from_slice(page.data());
    }
    assert_eq!(at, 5, "every entry counts");
    let text = String::from_utf8(pages).unwrap();
    assert!(text.contains("Fold\t0\t0\0"), "before 1970 is unknown: {text}");
    assert!(text.contains("S\0"), "a name that does not fit is skipped: {text}");

    let far = Payload { offset: u32::MAX, ..with_path(Opcode::ListDirectory, 0, "/") };
    assert_eq!(refused(desk.ask(1, far)), Nak::Eof);
}

#[test]
fn a_listing_has_no_more_entries_than_clients_ask_for() {
    let mut desk = Desk::new();
    for index in 0..LISTING_ENTRIES_MAX + 3 {
        desk.files.insert(&format!("/d/{index}"), b"");
    }
    let at = |offset: usize| Payload {
        offset: offset as u32,
        ..with_path(Opcode::ListDirectory, 0, "/d")
    };
    accepted(desk.ask(1, at(0)));
    accepted(desk.ask(1, at(LISTING_ENTRIES_MAX - 1)));
    assert_eq!(refused(desk.ask(1, at(LISTING_ENTRIES_MAX))), Nak::Eof);
}

#[test]
fn offsets_at_the_end_of_what_has_a_number_harm_nothing() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(300));
    let session = desk.open("/a");
    for offset in [u32::MAX, u32::MAX - 1, u32::MAX - 238, 1 << 31] {
        for size in [0, 1, 239] {
            assert_eq!(refused(desk.read(1, session, offset, size)), Nak::Eof);
        }
        assert_eq!(refused(desk.read(1, session, offset, 255)), Nak::InvalidDataSize);
        let burst =
            Payload { session, offset, size: 255, ..Payload::request(Opcode::BurstReadFile) };
        assert_eq!(refused(desk.ask(1, burst)), Nak::Eof);
    }
    assert_eq!(accepted(desk.read(1, session, 299, 239)).data(), &pattern(300)[299..]);
}

#[test]
fn what_is_no_path_is_refused_by_every_opcode_that_takes_one() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    let long = [b'x'; DATA_BYTES_MAX];
    for path in [&b"a\0b"[..], b"/..", b"..\0", b"/a/../..", &long] {
        for opcode in (3..=16).filter(|opcode| ![5, 7, 13, 15].contains(opcode)) {
            let request = Payload { opcode, ..Payload::request(Opcode::None) }.with_data(path);
            refused(desk.ask(1, request));
        }
    }
    for paths in [&b"/a"[..], b"/a\0../b", b"../a\0/b", b"\0", b"/a\0", b"\0/a", b"/a\0/b\0/c"] {
        refused(desk.ask(1, Payload::request(Opcode::Rename).with_data(paths)));
    }
    assert_eq!(desk.files.paths(), [b"a"]);
    let claims = Payload { size: 255, ..with_path(Opcode::OpenFileRo, 0, "/a") };
    assert_eq!(refused(desk.ask(1, claims)), Nak::InvalidDataSize);
}

#[test]
fn another_clients_session_can_be_neither_read_nor_written_nor_closed() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"secret");
    let session = desk.open("/a");
    for number in [session, 0] {
        for opcode in [Opcode::ReadFile, Opcode::WriteFile, Opcode::BurstReadFile] {
            let request = Payload { session: number, ..Payload::request(opcode) };
            assert_eq!(refused(desk.ask(2, request)), Nak::InvalidSession);
        }
        for opcode in [Opcode::TerminateSession, Opcode::ResetSessions] {
            accepted(desk.ask(2, Payload { session: number, ..Payload::request(opcode) }));
        }
    }
    assert_eq!(accepted(desk.read(1, session, 0, 6)).data(), b"secret");
}
