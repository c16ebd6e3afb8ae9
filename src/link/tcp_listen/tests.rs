//! Tests of listening for connections, on loopback.

use std::io::Write;

use super::super::frames;
use super::super::node::{Message, Node};
use super::*;

fn link() -> (TcpListenLink, SocketAddr) {
    let link = TcpListenLink::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = link.local_address().unwrap();
    (link, address)
}

fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

fn in_ms(milliseconds: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(milliseconds))
}

/// The next piece and its sender; panics after 10 s.
fn next(link: &mut TcpListenLink) -> (Peer, Vec<u8>) {
    let mut buffer = [0; 4096];
    let (peer, length) = link.receive(&mut buffer, in_ms(10_000)).unwrap().unwrap();
    (peer, buffer[..length].to_vec())
}

fn reads(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
}

#[test]
fn clients_are_told_apart_and_each_gets_its_answer() {
    let (mut link, address) = link();
    let (mut one, mut other) = (client(address), client(address));
    for (stream, text) in [(&mut one, b"one"), (&mut other, b"two")] {
        stream.write_all(text).unwrap();
        let (peer, heard) = next(&mut link);
        assert_eq!((peer, &heard[..]), (stream.local_addr().unwrap().into(), &text[..]));
        link.send(Some(peer), b"to you").unwrap();
        reads(stream, b"to you");
    }
    link.send(None, b"to all").unwrap();
    reads(&mut one, b"to all");
    reads(&mut other, b"to all");
}

#[test]
fn a_closed_connection_is_told_once_and_the_others_go_on() {
    let (mut link, address) = link();
    let (mut one, mut other) = (client(address), client(address));
    one.write_all(b"1").unwrap();
    let (gone, _) = next(&mut link);
    drop(one);
    assert_eq!(next(&mut link), (gone, Vec::new()));
    link.send(Some(gone), b"lost").unwrap();
    other.write_all(b"2").unwrap();
    assert_eq!(next(&mut link).1, b"2");
    assert_eq!(link.receive(&mut [0; 16], in_ms(5)).unwrap(), None);
}

#[test]
fn frames_of_two_clients_do_not_mix() {
    let (link, address) = link();
    let mut node = Node::new(Box::new(link), 245, 191);
    let beat =
        Message::Heartbeat { vehicle_type: 2, autopilot: 12, base_mode: 0, system_status: 4 };
    let (first, second) =
        (frames::encode(&beat, 1, 1, 0).unwrap(), frames::encode(&beat, 2, 1, 0).unwrap());
    let (mut one, mut other) = (client(address), client(address));
    one.write_all(&first[..9]).unwrap();
    assert_eq!(node.receive(in_ms(50)).unwrap(), None);
    other.write_all(&second).unwrap();
    assert_eq!(node.receive(in_ms(5_000)).unwrap().unwrap().system, 2);
    one.write_all(&first[9..]).unwrap();
    assert_eq!(node.receive(in_ms(5_000)).unwrap().unwrap().system, 1);
    assert_eq!(node.counters().garbage_bytes, 0);
}

#[test]
fn a_client_that_does_not_read_loses_whole_frames_and_holds_up_nobody() {
    const FRAME: usize = 280;
    let (mut link, address) = link();
    let (mut slow, mut quick) = (client(address), client(address));
    slow.write_all(b"s").unwrap();
    let (peer, _) = next(&mut link);
    let begin = Instant::now();
    while link.clients.values().all(|client| client.waiting.lost() == 0) {
        assert!(begin.elapsed() < Duration::from_secs(20), "the system takes without end");
        link.send(Some(peer), &[7; FRAME]).unwrap();
    }
    quick.write_all(b"q").unwrap();
    let (peer, heard) = next(&mut link);
    assert_eq!(heard, b"q");
    link.send(Some(peer), b"at once").unwrap();
    reads(&mut quick, b"at once");

    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        slow.read_to_end(&mut all).unwrap();
        all.len()
    });
    while link.clients.values().any(|client| !client.waiting.is_empty()) {
        assert_eq!(link.receive(&mut [0; 16], in_ms(20)).unwrap(), None);
    }
    drop(link);
    assert_eq!(reader.join().unwrap() % FRAME, 0);
}

#[test]
fn the_clients_are_bounded_and_who_has_gone_silent_gives_way() {
    let (mut link, address) = link();
    let mut crowd: Vec<TcpStream> = (0..CLIENTS_MAX).map(|_| client(address)).collect();
    crowd[0].write_all(b"x").unwrap();
    next(&mut link);
    let mut refused = client(address);
    assert_eq!(link.receive(&mut [0; 16], in_ms(50)).unwrap(), None);
    assert_eq!(link.clients.len(), CLIENTS_MAX);
    assert_eq!(refused.read(&mut [0; 1]).unwrap(), 0, "closed at once");

    let silent = crowd[3].local_addr().unwrap();
    link.clients.get_mut(&silent).unwrap().since -= GIVES_WAY_AFTER;
    let mut late = client(address);
    late.write_all(b"late").unwrap();
    assert_eq!(next(&mut link), (silent.into(), Vec::new()));
    assert_eq!(next(&mut link).1, b"late");
    assert_eq!(link.clients.len(), CLIENTS_MAX);
}

#[test]
fn who_has_said_nothing_yet_is_spoken_to() {
    let (mut link, address) = link();
    assert_eq!(link.default_peer(), None);
    link.send(None, b"nobody").unwrap();
    let mut client = client(address);
    assert_eq!(link.receive(&mut [0; 16], in_ms(50)).unwrap(), None);
    assert_eq!(link.default_peer(), Some(Peer::LINE));
    link.send(Some(Peer::LINE), b"hello").unwrap();
    reads(&mut client, b"hello");
    client.write_all(b"hi").unwrap();
    next(&mut link);
    assert_eq!(link.default_peer(), None);
}

#[test]
fn a_wake_ends_receive_and_bytes_go_before_it() {
    let (mut link, address) = link();
    link.waker().wake();
    assert_eq!(link.receive(&mut [0; 16], None).unwrap(), None);
    let mut client = client(address);
    client.write_all(b"x").unwrap();
    while link.clients.is_empty() {
        link.wait(in_ms(10)).unwrap();
    }
    link.waker().wake();
    assert_eq!(next(&mut link).1, b"x");
    assert_eq!(link.receive(&mut [0; 16], None).unwrap(), None);
}

#[test]
fn a_port_in_use_is_an_error() {
    let (_link, address) = link();
    assert_eq!(TcpListenLink::listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}
