//! The relay of tests and benchmarks (`examples/relay`) keeps its promises: it carries its rate, it
//! damages as its seed says, and it obeys. Its own schedule is counted, not a clock.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

#[path = "../examples/relay/link.rs"]
#[allow(dead_code)]
mod link;
mod support;

use link::{Direction, Link};
use support::relay::Relay;

/// A frame of MAVLink with 239 bytes of a file.
const FRAME_BYTES: usize = 266;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// Nothing more comes after so long.
const QUIET: Duration = Duration::from_millis(700);

/// A link with this damage, in the words of the relay's options.
fn link(damage: &str, seed: u64) -> Link {
    let mut link = Link::new(seed);
    let words: Vec<&str> = damage.split_whitespace().collect();
    for pair in words.chunks(2) {
        assert!(link.set(pair[0], pair[1].parse().unwrap()), "{pair:?}");
    }
    link
}

/// Which of so many datagrams come out, how often, and when, entered every `apart` nanoseconds.
fn pass(link: &mut Link, direction: Direction, count: u64, apart: u64) -> Vec<[Option<u64>; 2]> {
    (0..count).map(|at| link.enter(direction, at * apart, FRAME_BYTES)).collect()
}

fn share_lost(arrivals: &[[Option<u64>; 2]]) -> f64 {
    arrivals.iter().filter(|copies| copies[0].is_none()).count() as f64 / arrivals.len() as f64
}

#[test]
fn the_same_seed_damages_the_same_datagrams() {
    let damage = "loss 0.1 run 3 duplicate 0.1 reorder 0.1 delay 10 jitter 5 rate 2000000";
    let run = |seed| pass(&mut link(damage, seed), Direction::Up, 5000, SECOND / 7000);
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn a_flooded_line_carries_its_rate_and_not_more() {
    let mut link = link("rate 2000000 delay 10 queue 100000", 1);
    let mut last = 0;
    // Twice the rate, and nobody looks for a while now and then: the queue covers it.
    for turn in 0..50 {
        for _ in 0..300 {
            let [arrival, _] = link.enter(Direction::Up, turn * 20 * MS, FRAME_BYTES);
            last = arrival.unwrap_or(last);
        }
    }
    let counts = link.counts(Direction::Up);
    assert!(counts.overflowed > 0);
    assert!(last >= counts.passed * (SECOND * FRAME_BYTES as u64 / 2_000_000) + 10 * MS - MS);
    let (first, end) = counts.span.unwrap();
    assert!(counts.busy as f64 > 0.99 * (end - first) as f64, "{counts:?}");
}

#[test]
fn losses_come_one_by_one_or_in_runs_and_as_many_as_asked() {
    for (damage, run) in [("loss 0.1", 1.0 / 0.9), ("loss 0.1 run 8", 8.0)] {
        let arrivals = pass(&mut link(damage, 3), Direction::Down, 200_000, MS);
        let lost = share_lost(&arrivals);
        assert!((lost - 0.1).abs() < 0.01, "{damage}: {lost}");
        let begins = arrivals.windows(2).filter(|two| two[0][0].is_some() && two[1][0].is_none());
        let mean = lost * arrivals.len() as f64 / begins.count() as f64;
        assert!((mean - run).abs() < run / 10.0, "{damage}: {mean}");
    }
}

#[test]
fn each_way_has_its_own_damage() {
    let mut link = link("up-loss 1 down-delay 7", 1);
    assert_eq!(link.enter(Direction::Up, 0, 1), [None, None]);
    assert_eq!(link.enter(Direction::Down, 0, 1), [Some(7 * MS), None]);
    assert!(link.set("cut", 1.0));
    assert_eq!(link.enter(Direction::Down, 1, 1), [None, None]);
    assert!(!link.set("upside", 1.0) && !link.set("up-half-duplex", 1.0));
}

#[test]
fn a_half_duplex_line_carries_one_datagram_at_a_time() {
    let mut both = link("rate 1000", 1);
    let mut shared = link("rate 1000 half-duplex 1", 1);
    let ways = [Direction::Up, Direction::Down, Direction::Up];
    let last = |link: &mut Link| ways.map(|way| link.enter(way, 0, 100)[0].unwrap() / MS);
    assert_eq!(last(&mut both), [100, 100, 200]);
    assert_eq!(last(&mut shared), [100, 200, 300]);
}

/// The number after `name=` in a line of statistics.
fn figure(line: &str, name: &str) -> f64 {
    let mut pairs = line.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).unwrap().1.parse().unwrap()
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(QUIET)).unwrap();
    socket
}

/// What arrives until nothing more does.
fn receive(socket: &UdpSocket) -> Vec<(u32, SocketAddr)> {
    let mut buffer = [0; FRAME_BYTES];
    let mut received = Vec::new();
    while let Ok((_, sender)) = socket.recv_from(&mut buffer) {
        received.push((u32::from_le_bytes(buffer[..4].try_into().unwrap()), sender));
    }
    received
}

/// `turns` times 100 numbered datagrams, 5 ms apart: a little less than three times 2 MB/s.
fn flood(socket: &UdpSocket, to: SocketAddr, turns: u32) {
    for turn in 0..turns {
        for at in 0..100 {
            let mut frame = [0; FRAME_BYTES];
            frame[..4].copy_from_slice(&(turn * 100 + at).to_le_bytes());
            socket.send_to(&frame, to).unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_flooded_relay_carries_its_rate_both_ways_and_all_that_its_schedule_says() {
    let (server, mount) = (socket(), socket());
    let port = mount.local_addr().unwrap().port();
    let relay = Relay::start(port, "--rate 2000000 --delay 10 --queue 1000000");
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, relay.port()));
    server.send_to(&[0; FRAME_BYTES], to).unwrap();
    let back = receive(&mount)[0].1;
    let counted = thread::scope(|threads| {
        threads.spawn(|| flood(&server, to, 100));
        threads.spawn(|| flood(&mount, back, 100));
        let up = threads.spawn(|| receive(&mount).len());
        let down = threads.spawn(|| receive(&server).len());
        [up.join().unwrap() + 1, down.join().unwrap()]
    });
    let lines = relay.end();
    println!("{lines:#?}");
    for (line, counted) in lines.iter().zip(counted) {
        assert_eq!(figure(line, "passed"), counted as f64, "{lines:?}");
        assert!(figure(line, "overflowed") > 0.0, "no flood: {lines:?}");
    }
    // The other way has had a datagram long before the flood.
    let (busy, span) = (figure(&lines[1], "busy"), figure(&lines[1], "span"));
    assert!(busy > 0.99 * span, "{lines:?}");
}

#[test]
fn a_relay_with_the_same_seed_loses_the_same_datagrams_of_a_real_socket() {
    let run = || {
        let (server, mount) = (socket(), socket());
        let damage = "--loss 0.2 --run 2 --duplicate 0.1 --delay 3 --seed 11";
        let relay = Relay::start(mount.local_addr().unwrap().port(), damage);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, relay.port()));
        // Received meanwhile: an ordinary socket does not hold them all.
        let received = thread::scope(|threads| {
            let received = threads.spawn(|| receive(&mount));
            flood(&server, to, 5);
            received.join().unwrap()
        });
        let mut numbers: Vec<u32> = received.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    };
    let first = run();
    assert!((300..550).contains(&first.len()), "{}", first.len());
    assert_eq!(first, run());
}

#[test]
fn a_cut_relay_carries_nothing_until_it_is_told_to() {
    let (server, mount) = (socket(), socket());
    let mut relay = Relay::start(mount.local_addr().unwrap().port(), "--delay 1");
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, relay.port()));
    relay.damage("cut 1");
    server.send_to(&[0; 8], to).unwrap();
    assert!(receive(&mount).is_empty());
    relay.damage("cut 0");
    server.send_to(&[0; 8], to).unwrap();
    assert_eq!(receive(&mount).len(), 1);
    assert!(relay.end()[0].starts_with("up passed=1 lost=1 overflowed=0"));
}
