//! Several endpoints, and who else is on them.

use std::io;

use super::*;
use crate::link::Peer;

fn listing() -> Payload {
    Payload::request(Opcode::ListDirectory).with_data(b"/")
}

fn on(endpoints: &[&str], directory: &Path) -> Options {
    let endpoints = endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect();
    let any = "udp:127.0.0.1:0".parse().unwrap();
    Options { endpoints, ..Options::new(any, directory.to_path_buf()) }
}

/// > Several endpoints serve one directory; a client is answered on the endpoint that it asked on, at
/// > the address that it asked from.
#[test]
fn each_endpoint_serves_the_same_folder_and_answers_there() {
    let folder = folder();
    let endpoints = ["udp:127.0.0.1:0", "tcpin:127.0.0.1:0", "udp:127.0.0.1:0"];
    let running = Running::start(on(&endpoints, folder.path()));
    let ports: Vec<u16> = running.there.iter().map(|there| there.unwrap().port()).collect();
    let [first, tcp, second] = ports[..] else { panic!("{ports:?}") };
    let expected =
        format!("on udp:127.0.0.1:{first}, tcpin:127.0.0.1:{tcp}, udp:127.0.0.1:{second}");
    assert!(running.line.ends_with(&expected), "{}", running.line);
    let mut stations = [
        Station::towards(&format!("udpout:127.0.0.1:{first}")),
        Station::towards(&format!("tcp:127.0.0.1:{tcp}")),
        Station::towards(&format!("udpout:127.0.0.1:{second}")),
    ];
    for station in &mut stations {
        // A TCP connection comes about while somebody receives.
        station.0.send(None, &telling()).unwrap();
        assert!(station.await_message(heartbeat).is_some());
    }
    for (at, asking) in (0..3).map(|at| (at, Payload { sequence: 7, ..listing() })) {
        assert_eq!(stations[at].ask(&asking).command(), Some(Opcode::Ack));
        for other in (0..3).filter(|other| *other != at) {
            assert_eq!(stations[other].await_for(Duration::from_millis(50), ftp), None);
        }
    }
}

fn telling() -> Message {
    Message::Heartbeat { vehicle_type: 6, autopilot: 8, base_mode: 0, system_status: 4 }
}

/// > An endpoint that cannot be opened is named at the start, and nothing is served.
#[test]
fn an_endpoint_that_cannot_be_opened_is_named_and_the_others_are_let_go() {
    let folder = folder();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let first = format!("udp:127.0.0.1:{port}");
    for (bad, part) in [
        ("serial:/dev/no-such-line", "/dev/no-such-line"),
        ("ftp://host", "ftp://host is an FTP server"),
        (&first, &format!("port {port} is in use")),
    ] {
        let refused = Serving::open(&on(&[&first, bad], folder.path()));
        let error = refused.err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
        assert!(first.parse::<Address>().unwrap().open().is_ok());
    }
    let error = Serving::open(&on(&[], folder.path())).err().unwrap();
    assert!(matches!(error, ServeError::NoEndpoint), "{error}");
}

/// A link that fails when it is told to.
struct Failing(Box<dyn Link>, Arc<AtomicBool>);

impl Link for Failing {
    fn receive(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<(Peer, usize)>> {
        let received = self.0.receive(buffer, deadline)?;
        if self.1.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        Ok(received)
    }
    fn send(&mut self, to: Option<Peer>, bytes: &[u8]) -> io::Result<()> {
        self.0.send(to, bytes)
    }
    fn default_peer(&self) -> Option<Peer> {
        self.0.default_peer()
    }
    fn waker(&self) -> Waker {
        self.0.waker()
    }
    fn is_stream(&self) -> bool {
        self.0.is_stream()
    }
    fn local_address(&self) -> Option<SocketAddr> {
        self.0.local_address()
    }
}

/// > When an endpoint's link fails for good, an error is logged and the other endpoints go on;
/// > when the last one has failed, serving ends with its error.
#[test]
fn a_failed_endpoint_leaves_the_others_and_the_last_ends_it() {
    let folder = folder();
    let options = on(&["udp:127.0.0.1:0", "udp:127.0.0.1:0"], folder.path());
    let fail: Vec<_> = (0..2).map(|_| Arc::new(AtomicBool::new(false))).collect();
    let links = options.endpoints.iter().zip(&fail).map(|(endpoint, fail)| {
        let link: Box<dyn Link> = Box::new(Failing(endpoint.open().unwrap(), fail.clone()));
        (endpoint.clone(), link)
    });
    let directory = open_directory(&options).unwrap();
    let mut running = Running::run(Serving::over(links.collect(), directory, &options).unwrap());
    fail[0].store(true, Ordering::Relaxed);
    let second = running.there[1].unwrap();
    let mut station = Station::towards(&format!("udpout:{second}"));
    // More than a heartbeat's time, in which the first one has failed.
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(station.ask(&listing()).command(), Some(Opcode::Ack));
    fail[1].store(true, Ordering::Relaxed);
    let error = running.end().unwrap_err().to_string();
    assert!(error.starts_with("the link udp:127.0.0.1:") && error.contains("failed"), "{error}");
}

#[test]
fn a_stop_ends_all_endpoints() {
    let folder = folder();
    let running = Running::start(on(&["udp:127.0.0.1:0"; 3], folder.path()));
    let began = Instant::now();
    let there = running.there.clone();
    drop(running);
    assert!(began.elapsed() < Duration::from_millis(500));
    for there in there {
        assert!(std::net::UdpSocket::bind(there.unwrap()).is_ok());
    }
}

/// > Heartbeats and answers under our own ids, a router's echo of ours or another component's, are
/// > ignored, with one warning; requests under them are answered.
#[test]
fn what_may_be_our_own_echo_is_ignored() {
    let folder = folder();
    let running = Running::on_loopback(folder.path());
    let address: Address = format!("udpout:{}", running.address()).parse().unwrap();
    let mut twin = Node::new(address.open().unwrap(), SYSTEM_ID, COMPONENT_ID);
    let to_us = |request: Payload| {
        let (target_system, target_component) = (SYSTEM_ID, COMPONENT_ID);
        Message::Ftp { target_system, target_component, payload: request.encode() }
    };
    twin.send(None, &telling()).unwrap();
    twin.send(None, &to_us(Payload::ack(&listing()))).unwrap();
    let deadline = Some(Instant::now() + Duration::from_millis(1500));
    assert_eq!(twin.receive(deadline).unwrap(), None, "it got an answer, or a heartbeat");
    twin.send(None, &to_us(listing())).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let answered = std::iter::from_fn(|| twin.receive(Some(deadline)).unwrap())
        .find(|heard| matches!(heard.message, Message::Ftp { .. }));
    assert!(answered.is_some());
}

/// > What is addressed to all systems or components (0) is answered while nobody else is heard
/// > who may answer it: an autopilot, or another component of our system.
#[test]
fn what_is_for_all_is_left_to_an_autopilot_that_is_heard() {
    let folder = folder();
    let running = Running::on_loopback(folder.path());
    let mut station = running.client();
    station.send_ftp((0, 0), &listing());
    assert!(station.await_message(ftp).is_some());
    let address: Address = format!("udpout:{}", running.address()).parse().unwrap();
    let mut autopilot = Node::new(address.open().unwrap(), SYSTEM_ID, 1);
    let alive =
        Message::Heartbeat { vehicle_type: 2, autopilot: 12, base_mode: 0, system_status: 4 };
    autopilot.send(None, &alive).unwrap();
    assert!(autopilot.receive(Some(Instant::now() + Duration::from_secs(5))).unwrap().is_some());
    for (sequence, target) in (1..).zip([(0, 0), (SYSTEM_ID, 0)]) {
        station.send_ftp(target, &Payload { sequence, ..listing() });
    }
    assert_eq!(station.await_for(Duration::from_millis(200), ftp), None);
    station.send_ftp((0, COMPONENT_ID), &Payload { sequence: 3, ..listing() });
    assert!(station.await_message(ftp).is_some());
    // Who it is may be asked of all: each answers for itself.
    station.command((SYSTEM_ID, 0), 512, 148.0);
    assert_eq!(station.await_message(acknowledgement), Some((512, RESULT_ACCEPTED)));
}
