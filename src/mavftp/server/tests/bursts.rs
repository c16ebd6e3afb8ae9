//! Bursts: a stream of packets for one request.

use super::super::burst::BURST_PACKETS_MAX;
use super::*;

fn burst(sequence: u16, session: u8, offset: u32, size: u8) -> Payload {
    Payload { sequence, session, offset, size, ..Payload::request(Opcode::BurstReadFile) }
}

/// The bytes of data packets, each at its offset.
fn assemble(packets: &[(u8, Payload)], length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (_, packet) in packets.iter().filter(|(_, packet)| packet.answer() == Some(Ok(()))) {
        let start = packet.offset as usize;
        bytes[start..start + packet.data().len()].copy_from_slice(packet.data());
    }
    bytes
}

#[test]
fn a_burst_numbers_its_packets_and_ends_with_the_files_length() {
    let mut desk = Desk::new();
    desk.sequence = u16::MAX - 4;
    desk.files.insert("/a", &pattern(1000));
    let session = desk.open("/a");
    desk.send(1, &burst(u16::MAX - 2, session, 0, 239));
    let packets = desk.drain();
    assert_eq!(packets.len(), 6);
    for (index, (_, packet)) in packets.iter().enumerate() {
        assert_eq!(packet.sequence, (u16::MAX - 1).wrapping_add(index as u16));
        assert_eq!((packet.session, packet.req_opcode), (session, 15));
    }
    assert_eq!(assemble(&packets, 1000), pattern(1000));
    assert!(packets[..5].iter().all(|(_, packet)| packet.burst_complete == 0));
    let end = packets[5].1;
    assert_eq!((refused(end), end.burst_complete, end.offset), (Nak::Eof, 1, 1000));
}

#[test]
fn a_burst_takes_the_size_asked_for_and_else_the_largest() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(480));
    let session = desk.open("/a");
    for (size, first) in [(80, 80), (0, 239), (240, 239), (255, 239)] {
        desk.send(1, &burst(1, session, 0, size));
        assert_eq!(desk.drain()[0].1.data().len(), first, "asked for {size}");
    }
}

#[test]
fn a_burst_past_the_end_tells_the_length() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(10));
    let session = desk.open("/a");
    for offset in [10, 11, u32::MAX] {
        desk.send(1, &burst(1, session, offset, 239));
        let packets = desk.drain();
        assert_eq!(packets.len(), 1);
        assert_eq!((refused(packets[0].1), packets[0].1.offset), (Nak::Eof, 10));
    }
}

#[test]
fn a_burst_without_a_session_is_refused_once() {
    let mut desk = Desk::new();
    assert_eq!(refused(desk.ask(1, burst(1, 9, 0, 239))), Nak::InvalidSession);
}

#[test]
fn a_long_burst_stops_and_says_so() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(2 * BURST_PACKETS_MAX as usize));
    let session = desk.open("/a");
    desk.send(1, &burst(1, session, 0, 1));
    let packets = desk.drain();
    assert_eq!(packets.len(), BURST_PACKETS_MAX as usize);
    let complete = packets.iter().filter(|(_, packet)| packet.burst_complete == 1).count();
    let (_, last) = packets.last().unwrap();
    assert_eq!((complete, last.burst_complete, last.answer()), (1, 1, Some(Ok(()))));
}

/// > A burst ends after 2,000 packets, or three seconds on a slow link: clients that hear nothing of
/// > their own to ask for give up otherwise.
#[test]
fn a_burst_on_a_slow_link_stops_in_time_and_is_asked_for_again() {
    let mut desk = Desk::with_rate(Some(10_000));
    let bytes = pattern(60_000);
    desk.files.insert("/a", &bytes);
    let session = desk.open("/a");
    let mut got = Vec::new();
    let mut sequence = 1;
    while got.len() < bytes.len() {
        let begun = desk.now;
        desk.send(1, &burst(sequence, session, got.len() as u32, 239));
        let packets = desk.drain();
        assert!(desk.now - begun < Duration::from_millis(3_500));
        let (_, last) = packets.last().unwrap();
        assert_eq!(last.burst_complete, 1);
        let data = packets.iter().filter(|(_, packet)| packet.answer() == Some(Ok(())));
        got.extend(data.flat_map(|(_, packet)| packet.data().to_vec()));
        sequence += 3000;
    }
    assert_eq!(got, bytes);
}

/// > Requests are answered between the packets of a burst, and do not disturb it.
#[test]
fn requests_are_answered_between_the_packets_and_disturb_nothing() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(50_000));
    let session = desk.open("/a");
    desk.send(1, &burst(1, session, 0, 239));
    let mut packets = Vec::new();
    let mut answered = 0;
    for turn in 0..1000 {
        match desk.server.poll(desk.now) {
            ServerOutput::Send(_, packet) if packet.req_opcode == 15 => packets.push((1, packet)),
            ServerOutput::Send(_, packet) => {
                assert_eq!(packet.data(), &pattern(50_000)[40_000..40_100]);
                answered += 1;
            }
            ServerOutput::Wait(_) => {
                let request = Payload::request(Opcode::ReadFile);
                let read =
                    Payload { sequence: turn, session, offset: 40_000, size: 100, ..request };
                desk.send(1, &read);
            }
        }
    }
    assert!(answered >= 10, "the driver gets to look for requests during a burst");
    assert_eq!(assemble(&packets, 50_000), pattern(50_000));
}

#[test]
fn a_burst_ends_with_terminate_reset_or_the_next_burst() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(100_000));
    for stop in [Opcode::TerminateSession, Opcode::ResetSessions] {
        let session = desk.open("/a");
        desk.send(1, &burst(1, session, 0, 239));
        assert!(matches!(desk.server.poll(desk.now), ServerOutput::Send(..)));
        desk.send(1, &Payload { session, ..Payload::request(stop) });
        let rest = desk.drain();
        assert_eq!(rest.len(), 1, "the answer to {stop:?} and nothing else");
    }
    let session = desk.open("/a");
    desk.send(1, &burst(1, session, 0, 239));
    assert!(matches!(desk.server.poll(desk.now), ServerOutput::Send(..)));
    desk.send(1, &burst(500, session, 99_900, 239));
    let rest = desk.drain();
    assert_eq!((rest.len(), rest[0].1.sequence, rest[0].1.offset), (2, 501, 99_900));
}

#[test]
fn bursts_of_two_clients_take_turns() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(10_000));
    let sessions = [(1, 4), (1, 5), (2, 4)];
    for (from, session) in sessions {
        accepted(desk.ask(from, with_path(Opcode::OpenFileRo, session, "/a")));
    }
    for (from, session) in sessions {
        desk.send(from, &burst(1, session, 0, 239));
    }
    let first: Vec<(u8, u8)> =
        desk.drain().iter().take(8).map(|(to, packet)| (*to, packet.session)).collect();
    assert_eq!(first, [(1, 4), (2, 4), (1, 5), (2, 4), (1, 4), (2, 4), (1, 5), (2, 4)]);
}

#[test]
fn a_burst_keeps_the_pace_it_is_given() {
    let mut desk = Desk::with_rate(Some(26_600));
    desk.files.insert("/a", &pattern(239 * 300));
    let session = desk.open("/a");
    let start = desk.now;
    desk.send(1, &burst(1, session, 0, 239));
    assert_eq!(desk.drain().len(), 301);
    let took = desk.now.duration_since(start);
    assert!((Duration::from_millis(2800)..Duration::from_millis(3100)).contains(&took), "{took:?}");
}

#[test]
fn a_file_that_grows_is_followed_and_one_that_shrinks_ends() {
    let mut desk = Desk::new();
    desk.files.insert("/log", &pattern(239));
    let session = desk.open("/log");
    let writer = desk.ask(2, with_path(Opcode::OpenFileWo, 8, "/log")).session;
    desk.send(1, &burst(1, session, 0, 239));
    assert!(matches!(desk.server.poll(desk.now), ServerOutput::Send(..)));
    let write = Payload { sequence: 150, ..Payload::request(Opcode::WriteFile) };
    let more = Payload { session: writer, offset: 239, ..write };
    desk.send(2, &more.with_data(b"more"));
    let rest: Vec<Payload> =
        desk.drain().into_iter().filter(|(to, _)| *to == 1).map(|(_, packet)| packet).collect();
    assert_eq!((rest[0].data(), rest[1].offset), (&b"more"[..], 243));

    desk.send(1, &burst(9, session, 0, 100));
    assert!(matches!(desk.server.poll(desk.now), ServerOutput::Send(..)));
    desk.send(2, &Payload { offset: 50, ..with_path(Opcode::TruncateFile, 0, "/log") });
    let (_, end) = *desk.drain().last().unwrap();
    assert_eq!((refused(end), end.offset), (Nak::Eof, 50));
}
