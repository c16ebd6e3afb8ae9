//! Several clients at once: nobody waits for who asks more, and radios slow bursts down.

use super::super::clients::{CLIENT_SESSIONS_MAX, CLIENTS_MAX};
use super::super::radio::RADIO_TIME;
use super::*;

fn burst(sequence: u16, session: u8) -> Payload {
    let request = Payload::request(Opcode::BurstReadFile);
    Payload { sequence, session, size: 239, ..request }
}

fn read(sequence: u16) -> Payload {
    Payload { sequence, session: 5, size: 239, ..Payload::request(Opcode::ReadFile) }
}

/// Packets of bursts until then, while `meanwhile` happens each time the driver looks.
fn burst_packets(desk: &mut Desk, end: Instant, mut meanwhile: impl FnMut(&mut Desk)) -> u32 {
    let mut packets = 0;
    while desk.now < end {
        match desk.server.poll(desk.now) {
            ServerOutput::Send(_, packet) => {
                packets += u32::from(packet.req_opcode == Opcode::BurstReadFile as u8);
            }
            ServerOutput::Wait(time) => {
                let look = desk.now + Duration::from_millis(10);
                desk.now = time.map_or(look, |time| time.clamp(desk.now, look).max(desk.now));
                if time.is_none_or(|time| time <= desk.now) {
                    desk.now += Duration::from_micros(100);
                }
                meanwhile(desk);
            }
        }
    }
    packets
}

#[test]
fn sixteen_clients_with_windows_of_reads_get_the_same_each() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(1000));
    let mut answered = [0u32; 16];
    for from in 0..16 {
        accepted(desk.ask(from, with_path(Opcode::OpenFileRo, 5, "/a")));
    }
    for from in 0..16 {
        // Windows of very different sizes.
        for _ in 0..8 * (1 + u16::from(from)) {
            desk.send(from, &read(500));
        }
    }
    for _ in 0..16 * 1000 {
        match desk.server.poll(desk.now) {
            ServerOutput::Send(to, answer) => {
                accepted(answer);
                answered[usize::from(to)] += 1;
                desk.send(to, &read(501));
            }
            ServerOutput::Wait(_) => {}
        }
    }
    let (least, most) = (answered.iter().min().unwrap(), answered.iter().max().unwrap());
    assert!(most - least <= 1, "{answered:?}");
}

/// > Requests are done in turns, one of each client: who asks once does not wait for who asks a
/// > thousand times.
#[test]
fn who_asks_once_does_not_wait_for_who_asks_a_thousand_times() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    for sequence in 0..1000 {
        desk.send(1, &Payload { sequence, ..with_path(Opcode::ListDirectory, 0, "/") });
    }
    desk.send(2, &with_path(Opcode::OpenFileRo, 5, "/a"));
    let order: Vec<u8> = desk.drain().iter().map(|(to, _)| *to).collect();
    assert!(order.iter().position(|to| *to == 2).unwrap() <= 1, "{:?}", &order[..5]);
}

/// > Bursts share the rate evenly, and keep at least half of it beside those who read without a
/// > pause.
#[test]
fn a_burst_keeps_half_of_the_rate_beside_one_who_reads_without_a_pause() {
    let mut desk = Desk::with_rate(Some(266_000));
    desk.files.insert("/a", &pattern(3_000_000));
    accepted(desk.ask(1, with_path(Opcode::OpenFileRo, 5, "/a")));
    accepted(desk.ask(2, with_path(Opcode::OpenFileRo, 5, "/a")));
    desk.send(1, &burst(500, 5));
    let end = desk.now + Duration::from_secs(2);
    let packets = burst_packets(&mut desk, end, |desk| {
        (600..608).for_each(|sequence| desk.send(2, &read(sequence)));
    });
    assert!((950..=1100).contains(&packets), "{packets} packets in two seconds");
}

#[test]
fn sixteen_bursts_share_what_one_gets_evenly() {
    let mut desk = Desk::with_rate(Some(266_000));
    desk.files.insert("/a", &pattern(3_000_000));
    for from in 0..16 {
        accepted(desk.ask(from, with_path(Opcode::OpenFileRo, 5, "/a")));
    }
    (0..16).for_each(|from| desk.send(from, &burst(500, 5)));
    let (mut got, end) = ([0u32; 16], desk.now + Duration::from_secs(2));
    while desk.now < end {
        match desk.server.poll(desk.now) {
            ServerOutput::Send(to, _) => got[usize::from(to)] += 1,
            ServerOutput::Wait(time) => desk.now = desk.now.max(time.expect("bursts go on")),
        }
    }
    let total: u32 = got.iter().sum();
    assert!((2000..=2020).contains(&total), "{total}");
    assert!(got.iter().all(|count| (total / 16 - 2..=total / 16 + 2).contains(count)), "{got:?}");
}

/// > A crowd of clients does not end the transfer of one that was there before.
#[test]
fn a_crowd_from_everywhere_does_not_end_a_download() {
    let mut desk = Desk::new();
    desk.files.insert("/a", &pattern(1000));
    accepted(desk.ask(1, with_path(Opcode::OpenFileRo, 5, "/a")));
    for from in 10..=255 {
        for session in 1..=CLIENT_SESSIONS_MAX as u8 {
            desk.send(from, &with_path(Opcode::OpenFileRo, session, "/a"));
            desk.send(from, &Payload::request(Opcode::ResetSessions));
            desk.send(from, &with_path(Opcode::CreateFile, session, "/b"));
        }
        desk.drain();
        assert_eq!(accepted(desk.read(1, 5, 0, 10)).data(), &pattern(1000)[..10]);
    }
    const { assert!(CLIENTS_MAX < 200) };
}

/// > While a telemetry radio is heard on the link, bursts go at the pace that its buffer allows.
#[test]
fn a_burst_heeds_the_radio_on_its_link_and_forgets_it() {
    let mut desk = Desk::with_rate(Some(266_000));
    desk.files.insert("/a", &pattern(3_000_000));
    let session = desk.open("/a");
    desk.server.radio(desk.now, 80);
    desk.send(1, &burst(500, session));
    let second = |desk: &Desk| desk.now + Duration::from_secs(1);
    let end = second(&desk);
    let first = burst_packets(&mut desk, end, |_| {});
    assert!((9..=13).contains(&first), "half of 57,600 baud: {first}");
    desk.server.radio(desk.now, 10);
    assert!(!matches!(desk.server.poll(desk.now), ServerOutput::Send(..)), "there is no room");
    let end = second(&desk);
    burst_packets(&mut desk, end, |_| {});
    let mut last = 0;
    for sequence in 1..=12 {
        desk.server.radio(desk.now, 100);
        desk.send(1, &burst(500 + 2000 * sequence, session));
        let end = second(&desk);
        last = burst_packets(&mut desk, end, |_| {});
    }
    assert!(last > 3 * first, "an ample buffer speeds it up: {last}");
    let end = desk.now + RADIO_TIME;
    burst_packets(&mut desk, end, |_| {});
    let (session, end) = (desk.open("/a"), desk.now + Duration::from_secs(2));
    desk.send(1, &burst(30_000, session));
    let after = burst_packets(&mut desk, end, |_| {});
    assert!(after > 1500, "a radio that is gone holds nobody up: {after}");
}
