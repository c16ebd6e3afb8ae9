//! The distance that benchmarks put before an FTP server (`examples/distance`): a connection costs what
//! it costs there, data connections are as far away, and bandwidth is not limited.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::python::{Peer, START_TIME};
use support::relay::example;

mod support;

const ONE_WAY: Duration = Duration::from_millis(50);
/// On a busy machine; a figure that is too small is wrong on any.
const SLACK: Duration = Duration::from_millis(500);

/// The port by which `server` is [`ONE_WAY`] away, and the program that makes it so.
fn away(server: &TcpListener) -> (Peer, u16) {
    let mut command = Command::new(example("distance"));
    let port = server.local_addr().unwrap().port();
    command.args([port.to_string(), ONE_WAY.as_millis().to_string()]);
    let mut peer = Peer::run("distance", command);
    let ready = peer.line(START_TIME);
    let port = ready.strip_prefix("ready ").and_then(|port| port.parse().ok()).unwrap();
    (peer, port)
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn connect(port: u16) -> BufReader<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(START_TIME)).unwrap();
    BufReader::new(stream)
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

fn assert_ways(began: Instant, ways: u32) {
    let took = began.elapsed();
    assert!(took >= ways * ONE_WAY && took < ways * ONE_WAY + SLACK, "{ways} ways took {took:?}");
}

#[test]
fn a_greeting_takes_a_connection_and_its_way_and_an_answer_takes_two_ways() {
    let server = listener();
    let (_peer, port) = away(&server);
    let serving = thread::spawn(move || {
        let (stream, _) = server.accept().unwrap();
        (&stream).write_all(b"220 here\r\n").unwrap();
        let asked = line(&mut BufReader::new(stream.try_clone().unwrap()));
        (&stream).write_all(asked.as_bytes()).unwrap();
    });
    let began = Instant::now();
    let mut client = connect(port);
    assert_eq!(line(&mut client), "220 here\r\n");
    assert_ways(began, 4);
    let began = Instant::now();
    client.get_mut().write_all(b"NOOP\r\n").unwrap();
    assert_eq!(line(&mut client), "NOOP\r\n");
    assert_ways(began, 2);
    serving.join().unwrap();
}

#[test]
fn a_data_connection_goes_through_a_port_as_far_away_whichever_reply_announced_it() {
    for extended in [true, false] {
        let (server, data) = (listener(), listener());
        let (_peer, port) = away(&server);
        let real = data.local_addr().unwrap().port();
        let serving = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let [high, low] = real.to_be_bytes();
            let reply = match extended {
                true => format!("229 Extended (|||{real}|)\r\n"),
                false => format!("227 Passive (127,0,0,1,{high},{low}).\r\n"),
            };
            stream.write_all(reply.as_bytes()).unwrap();
            data.accept().unwrap().0.write_all(b"all of it").unwrap();
            stream
        });
        let mut control = connect(port);
        let announced = port_in(&line(&mut control), extended);
        assert_ne!(announced, real);
        let began = Instant::now();
        let mut content = String::new();
        connect(announced).read_to_string(&mut content).unwrap();
        assert_eq!(content, "all of it");
        assert_ways(began, 4);
        serving.join().unwrap();
    }
}

fn port_in(reply: &str, extended: bool) -> u16 {
    let numbers: Vec<u16> =
        reply[4..].split(|c: char| !c.is_ascii_digit()).flat_map(str::parse).collect();
    if extended { numbers[0] } else { numbers[4] * 256 + numbers[5] }
}

#[test]
fn what_is_under_way_is_not_limited_and_arrives_whole() {
    const BYTES: usize = 32 << 20;
    // A piece of 64 KiB in each round trip would take five times as long.
    const LIMIT: Duration = Duration::from_secs(10);
    let server = listener();
    let (_peer, port) = away(&server);
    let serving = thread::spawn(move || {
        let mut content = Vec::new();
        server.accept().unwrap().0.read_to_end(&mut content).unwrap();
        content
    });
    let content: Vec<u8> =
        (0..BYTES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let began = Instant::now();
    let mut client = connect(port);
    client.get_mut().write_all(&content).unwrap();
    client.get_mut().shutdown(Shutdown::Write).unwrap();
    assert!(serving.join().unwrap() == content);
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}
