//! Bursts of ArduPilot, and how fast it reads.

use super::*;
use crate::personalities::ardupilot::ArduPilot;

const OLD: Kind = Kind::ArduPilot(Sessions::Old);
const ONE: Kind = Kind::ArduPilot(Sessions::One);
const FIVE: Kind = Kind::ArduPilot(Sessions::Five);
const KIB: f64 = 1024.0;

#[test]
fn a_burst_has_its_count_of_packets_at_a_steady_pace() {
    for (kind, count, kib) in [(ONE, 500, 41.0), (FIVE, 2_000, 391.0)] {
        let (mut naive, content) = with_open_file(kind, LONG);
        let heard = naive.burst(0, 239);
        assert_eq!(heard.len(), count);
        assert_eq!(joined(&heard), content[..count * 239]);
        let (last, others) = flags(&heard).split_last().map(|(l, o)| (*l, o.to_vec())).unwrap();
        assert_eq!(last, 1, "the last is marked");
        assert!(others.iter().all(|flag| *flag == 0), "and no other");
        assert!(about(rate(&heard), kib * KIB), "{kind:?}: {} KiB/s", rate(&heard) / KIB);
    }
}

#[test]
fn the_size_of_packets_is_honoured() {
    for kind in [ONE, FIVE] {
        for (asked, got) in [(0, 239), (80, 80), (239, 239)] {
            let (mut naive, _) = with_open_file(kind, 5_000);
            assert_eq!(naive.burst(0, asked)[0].1.size, got);
        }
        let (mut naive, _) = with_open_file(kind, 5_000);
        let heard = naive.burst(0, 240);
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].1.answer(), Some(Err(Nak::InvalidDataSize)));
    }
}

#[test]
fn a_naive_client_that_waits_for_the_flag_at_the_end_waits_for_ever() {
    for (kind, size, complete) in
        [(OLD, 500, vec![0, 0, 0]), (OLD, 478, vec![0, 0]), (FIVE, 478, vec![0, 0])]
    {
        let (mut naive, _) = with_open_file(kind, size);
        let heard = naive.burst(0, 239);
        assert_eq!(flags(&heard)[..heard.len() - 1], complete, "{kind:?} {size}");
        assert!(matches!(end_of_file(&heard), Some((0, _))));
    }
}

#[test]
fn a_naive_client_that_stops_at_the_flag_meets_a_refusal_later() {
    for kind in [ONE, FIVE] {
        let (mut naive, _) = with_open_file(kind, 500);
        let heard = naive.burst(0, 239);
        assert_eq!(flags(&heard), [0, 0, 1, 1]);
        assert_eq!(end_of_file(&heard), Some((1, 500)));
    }
}

#[test]
fn a_later_server_ends_a_file_with_a_refusal_that_is_marked() {
    for size in [500, 478] {
        let files = MemoryFiles::new();
        files.insert("/log", &vec![7; size]);
        let mut far = ArduPilot::new(files, Sessions::Five, 1);
        far.later = true;
        let mut naive = Naive::new(Box::new(far));
        naive.on(Opcode::OpenFileRo, "/log");
        let heard = naive.burst(0, 239);
        assert!(flags(&heard)[..heard.len() - 1].iter().all(|flag| *flag == 0));
        assert_eq!(end_of_file(&heard), Some((1, size as u32)));
    }
}

#[test]
fn a_naive_client_that_takes_the_refusals_offset_for_the_size_cuts_the_file() {
    for (kind, size, offset) in
        [(ONE, 478, 239), (FIVE, 478, 239), (OLD, 478, 478), (ONE, 500, 500), (FIVE, 500, 500)]
    {
        let (mut naive, _) = with_open_file(kind, size);
        let heard = naive.burst(0, 239);
        assert_eq!(end_of_file(&heard).map(|(_, offset)| offset), Some(offset), "{kind:?}");
    }
}

#[test]
fn a_naive_client_that_asks_beside_a_burst_is_not_answered_before_its_end() {
    for (kind, asked) in [(ONE, 500), (FIVE, 2_000)] {
        let (mut naive, _) = with_open_file(kind, LONG);
        naive.ask_burst(0, 239);
        naive.hear();
        // With a number behind those of the burst, as it ought to be.
        for n in 0..6 {
            let opcode = if n == 0 { Opcode::TerminateSession } else { Opcode::None };
            let request = Payload { sequence: 10_000 + 2 * n, ..Payload::request(opcode) };
            naive.far.receive(naive.now, crate::personalities::US, &request);
        }
        let rest: Vec<Payload> = std::iter::from_fn(|| naive.hear()).collect();
        let burst = |packet: &Payload| packet.req_opcode == Opcode::BurstReadFile as u8;
        assert_eq!(rest.iter().take_while(|packet| burst(packet)).count(), asked - 1);
        assert_eq!(rest.len(), asked - 1 + 5, "the sixth found the queue full");
    }
    let (mut naive, _) = with_open_file(ONE, LONG);
    naive.ask_burst(0, 239);
    let believed = naive.ask(Payload::request(Opcode::TerminateSession)).map(|(answer, _)| answer);
    assert_eq!(believed.map(|answer| answer.req_opcode), Some(Opcode::BurstReadFile as u8));
    assert_eq!(naive.far.open_files(naive.now), 1, "a packet of the burst had the answer's number");
}

#[test]
fn a_burst_asked_for_again_under_its_old_number_runs_again() {
    let (mut naive, content) = with_open_file(FIVE, 5_000);
    let first = naive.burst(0, 239);
    let again = Payload { sequence: 2, size: 239, ..Payload::request(Opcode::BurstReadFile) };
    naive.far.receive(naive.now, crate::personalities::US, &again);
    let second: Vec<_> =
        std::iter::from_fn(|| naive.hear()).map(|packet| (first[0].0, packet)).collect();
    assert_eq!(joined(&second), content);
}

#[test]
fn a_burst_wants_a_file_that_is_open_to_read() {
    for kind in [ONE, FIVE] {
        let (mut naive, _) = with_file(kind, 500);
        let heard = naive.burst(0, 239);
        assert_eq!(heard[0].1.answer(), Some(Err(Nak::FileNotFound)));
        naive.on(Opcode::CreateFile, "/new");
        let heard = naive.burst(0, 239);
        assert_eq!(heard[0].1.answer(), Some(Err(Nak::Fail)));
    }
}

#[test]
fn a_line_that_says_when_it_is_full_is_waited_for() {
    for kind in [ONE, FIVE] {
        let (mut naive, _) = with_open_file(kind, LONG);
        naive.ask_burst(0, 239);
        naive.hear();
        naive.far.line(267);
        assert!(naive.hear().is_none());
        naive.far.line(266);
        assert!(naive.hear().is_some());
    }
}

#[test]
fn a_line_that_does_not_say_when_it_is_full_is_used_by_a_third() {
    for sessions in [Sessions::One, Sessions::Five] {
        let (mut naive, _) = with_open_file(Kind::ArduPilotUart(sessions, 5_760), 5_000);
        naive.far.line(20_000);
        let heard = naive.burst(0, 239);
        let third = 5_760.0 / 3.0 * 239.0 / 266.0;
        assert!(about(rate(&heard), third), "{} B/s", rate(&heard));
    }
}

#[test]
fn reads_are_answered_by_ticks_all_that_wait_at_once() {
    for kind in [ONE, FIVE] {
        for (window, kib) in [(1, 29.0), (3, 82.0), (5, 125.0)] {
            let (mut naive, _) = with_open_file(kind, LONG);
            let time = naive.read_with_window(LONG as u32, window).expect("all is answered");
            let rate = LONG as f64 / time.as_secs_f64();
            assert!(about(rate, kib * KIB), "{window} at a time: {} KiB/s", rate / KIB);
        }
        let (mut naive, _) = with_open_file(kind, LONG);
        assert_eq!(naive.read_with_window(LONG as u32, 6), None, "the sixth is lost");
    }
}
