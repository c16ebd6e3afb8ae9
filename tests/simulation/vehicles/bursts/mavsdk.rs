//! Bursts of MAVSDK's server.

use super::*;
use crate::personalities::mavsdk::Release;

const FOUR: Kind = Kind::Mavsdk(Release::Four);
const OLD: Kind = Kind::Mavsdk(Release::Old);

/// A burst with a plain read of the first bytes in the middle of it.
fn burst_with_a_read_beside(kind: Kind) -> (Vec<(Instant, Payload)>, Vec<u8>) {
    let (mut naive, content) = with_open_file(kind, 20_000);
    naive.ask_burst(0, 239);
    let mut heard: Vec<_> = (0..10).filter_map(|_| naive.hear()).collect();
    let read = Payload { sequence: 900, size: 239, ..Payload::request(Opcode::ReadFile) };
    naive.far.receive(naive.now, crate::personalities::US, &read);
    heard.extend(std::iter::from_fn(|| naive.hear()));
    heard.retain(|packet| packet.req_opcode == Opcode::BurstReadFile as u8);
    let now = naive.now;
    (heard.into_iter().map(|packet| (now, packet)).collect(), content)
}

#[test]
fn a_naive_client_that_reads_beside_a_burst_gets_wrong_bytes_at_right_places() {
    let (heard, content) = burst_with_a_read_beside(OLD);
    let bytes = joined(&heard);
    assert_eq!(bytes.len(), content.len(), "nothing looks wrong");
    assert_ne!(bytes, content);
    let (heard, content) = burst_with_a_read_beside(FOUR);
    assert_eq!(joined(&heard), content);
}

#[test]
fn the_old_one_sends_the_whole_file_flat_out_and_marks_the_last_packet() {
    let (mut naive, content) = with_open_file(OLD, LONG);
    let heard = naive.burst(0, 239);
    assert_eq!(joined(&heard), content);
    assert_eq!(flags(&heard).iter().position(|flag| *flag == 1), Some(heard.len() - 1));
    assert!(rate(&heard) > 2_000_000.0);
}

#[test]
fn the_later_one_sends_steady_pieces() {
    let (mut naive, content) = with_open_file(FOUR, LONG);
    let heard = naive.burst(0, 239);
    assert_eq!(joined(&heard), content[..150 * 239]);
    assert_eq!(flags(&heard).iter().position(|flag| *flag == 1), Some(149));
    assert!(about(rate(&heard), 112.0 * 1024.0), "{} B/s", rate(&heard));
}

#[test]
fn a_naive_client_that_waits_for_a_refusal_at_the_end_waits_for_ever() {
    for kind in [OLD, FOUR] {
        for size in [500, 478] {
            let (mut naive, content) = with_open_file(kind, size);
            let heard = naive.burst(0, 239);
            assert_eq!(joined(&heard), content);
            assert_eq!(end_of_file(&heard), None);
        }
    }
}

#[test]
fn a_naive_client_that_names_no_size_gets_empty_packets_for_ever() {
    let (mut naive, _) = with_open_file(OLD, 500);
    let heard = naive.burst(0, 0);
    assert!(heard.len() >= 1_000 && heard.iter().all(|(_, packet)| packet.size == 0));
    let (mut naive, _) = with_open_file(FOUR, 500);
    assert_eq!(naive.burst(0, 0).len(), 150);
}

#[test]
fn a_burst_that_fails_fails_for_ever_until_the_session_ends() {
    let (mut naive, _) = with_open_file(OLD, 500);
    let beyond = Payload { offset: 400, size: 239, ..Payload::request(Opcode::ReadFile) };
    assert_eq!(naive.ask(beyond).map(|(_, result)| result), Some(Err(Nak::Fail)));
    naive.ask_burst(0, 239);
    for _ in 0..500 {
        let answer = naive.hear().and_then(|packet| packet.answer());
        assert_eq!(answer, Some(Err(Nak::Fail)));
    }
    for opcode in [Opcode::TerminateSession, Opcode::ResetSessions] {
        naive.on(opcode, "");
        let more = std::iter::from_fn(|| naive.hear()).count();
        assert!(more <= 1, "{more} packets more");
        naive.on(Opcode::OpenFileRo, "/log");
        naive.ask_burst(0, 0);
        naive.hear();
    }
}
