//! Bursts of PX4.

use super::*;

const RELEASE: Kind = Kind::Px4(Firmware::Release);
const MAIN: Kind = Kind::Px4(Firmware::Main);
const BOARD: Kind = Kind::Px4(Firmware::Board);
const SERIAL: Kind = Kind::Px4(Firmware::Serial);
const TICK: Duration = Duration::from_millis(10);

#[test]
fn a_burst_comes_by_ticks_and_ends_after_the_first_that_has_brought_enough() {
    // Packets of a tick, and of a burst.
    for (kind, tick, count) in
        [(RELEASE, 56, 168), (MAIN, 56, 168), (BOARD, 5, 150), (SERIAL, 2, 148)]
    {
        let (mut naive, content) = with_open_file(kind, LONG);
        let asked_at = naive.now;
        let heard = naive.burst(0, 239);
        assert_eq!(heard.len(), count, "{kind:?}");
        assert_eq!(joined(&heard), content[..count * 239]);
        assert_eq!(flags(&heard).last(), Some(&1));
        assert!(heard[0].0 > asked_at && heard[0].0 <= asked_at + TICK);
        for pair in heard.chunks(tick).collect::<Vec<_>>().windows(2) {
            assert_eq!(pair[1][0].0 - pair[0][0].0, TICK);
        }
    }
}

#[test]
fn a_naive_client_that_asks_for_small_packets_gets_large_ones() {
    for kind in [RELEASE, MAIN, BOARD, SERIAL] {
        for size in [80, 0] {
            let (mut naive, _) = with_open_file(kind, 2_390);
            let heard = naive.burst(0, size);
            assert!(heard[..10].iter().all(|(_, packet)| packet.size == 239));
        }
    }
}

#[test]
fn the_end_of_the_file_is_a_refusal_behind_a_packet_like_the_others() {
    for size in [500, 478] {
        let (mut naive, _) = with_open_file(MAIN, size);
        let heard = naive.burst(0, 239);
        assert!(flags(&heard).iter().all(|flag| *flag == 0));
        assert_eq!(end_of_file(&heard), Some((0, size as u32)));
        let beyond = naive.burst(70_000, 239);
        assert_eq!((beyond.len(), end_of_file(&beyond)), (1, Some((0, 70_000))));
    }
    let (mut naive, _) = with_open_file(RELEASE, 500);
    let heard = naive.burst(0, 239);
    assert!(matches!(end_of_file(&heard), Some((1.., 500))), "the flag is garbage");
    assert_eq!(flags(&heard)[..3], [0, 0, 0]);
}

#[test]
fn a_naive_client_that_believes_each_flag_asks_for_every_packet() {
    let (mut naive, content) = with_file(MAIN, 60_000);
    assert_eq!(naive.download_by_bursts("/log"), Ok((content, 2)));
    for kind in [BOARD, SERIAL] {
        let (mut naive, _) = with_file(kind, 60_000);
        let (_, asked) = naive.download_by_bursts("/log").expect("it ends");
        assert!(asked > 200, "{kind:?}: {asked} bursts");
    }
}

#[test]
fn a_naive_client_that_stops_at_the_first_flag_has_one_packet() {
    for kind in [BOARD, SERIAL] {
        let (mut naive, _) = with_open_file(kind, 60_000);
        let flags = flags(&naive.burst(0, 239));
        assert!(flags.iter().all(|flag| *flag != 0), "{kind:?}: {flags:?}");
        assert!(flags[..20].iter().any(|flag| *flag != 1), "and seldom the one that counts");
    }
}

#[test]
fn a_new_burst_takes_the_place_of_a_running_one() {
    let (mut naive, content) = with_open_file(MAIN, LONG);
    naive.ask_burst(0, 239);
    let first: Vec<Payload> = (0..56).filter_map(|_| naive.hear()).collect();
    assert_eq!(first.len(), 56, "one tick");
    let heard = naive.burst(100_000, 239);
    assert_eq!(heard.len(), 168, "with a budget of its own");
    assert_eq!(joined(&heard), content[100_000..100_000 + 168 * 239]);
    assert_eq!(heard[0].1.sequence, 4);
}

#[test]
fn other_requests_are_answered_between_ticks_and_an_end_of_the_session_is_the_bursts() {
    let (mut naive, content) = with_open_file(BOARD, LONG);
    naive.ask_burst(0, 239);
    naive.hear();
    naive.far.receive(
        naive.now,
        crate::personalities::US,
        &Payload { sequence: 500, offset: 700, size: 10, ..Payload::request(Opcode::ReadFile) },
    );
    let before: Vec<Payload> = std::iter::from_fn(|| naive.hear())
        .take_while(|packet| packet.req_opcode == Opcode::BurstReadFile as u8)
        .collect();
    assert!(before.len() < 5);
    let read = Payload { offset: 700, size: 10, ..Payload::request(Opcode::ReadFile) };
    let (_, result) = naive.ask(read).expect("an answer");
    assert_eq!(result, Ok(content[700..710].to_vec()));
    let ended = naive.ask(Payload::request(Opcode::TerminateSession)).map(|(_, result)| result);
    assert_eq!(ended, Some(Ok(Vec::new())));
    let more = std::iter::from_fn(|| naive.hear()).count();
    assert!(more <= 5, "{more} packets more");
}

#[test]
fn a_burst_wants_an_open_file() {
    for (kind, refusal) in [
        (RELEASE, Nak::FailErrno(0)),
        (BOARD, Nak::FailErrno(0)),
        (SERIAL, Nak::FailErrno(0)),
        (MAIN, Nak::InvalidSession),
    ] {
        let (mut naive, _) = with_file(kind, 500);
        let heard = naive.burst(0, 239);
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].1.answer(), Some(Err(refusal)), "{kind:?}");
    }
}

#[test]
fn a_naive_client_that_only_listens_is_cut_off_in_the_middle() {
    let (mut naive, _) = with_open_file(SERIAL, 30_000);
    naive.ask_burst(0, 239);
    // A packet each half second: a burst that takes longer than a session may be idle.
    let mut count = 0;
    loop {
        naive.far.line(0);
        let Some(_) = naive.hear() else { break };
        count += 1;
        naive.far.line(600);
        naive.now += Duration::from_millis(500);
    }
    assert!((15..50).contains(&count), "{count} packets");
    assert_eq!(naive.far.open_files(naive.now), 0);
}

#[test]
fn a_naive_client_that_asks_a_board_for_much_at_once_is_not_answered() {
    let (mut naive, _) = with_open_file(BOARD, 30_000);
    assert_eq!(naive.read_with_window(30_000, 16), None);
    naive.now += TICK;
    assert!(naive.read_with_window(1_000, 5).is_some());
}

#[test]
fn a_serial_line_that_is_full_loses_answers_and_holds_bursts() {
    let (mut naive, _) = with_open_file(SERIAL, 30_000);
    naive.far.line(1_400);
    let read = Payload { size: 239, ..Payload::request(Opcode::ReadFile) };
    assert!(naive.ask(read).is_none());
    naive.ask_burst(0, 239);
    assert!(naive.hear().is_none());
    naive.far.line(267);
    assert!(naive.hear().is_some());
}
