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
