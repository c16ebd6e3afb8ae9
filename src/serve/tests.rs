//! Tests of serving, with sockets of the loopback.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::endpoint::{RESULT_ACCEPTED, RESULT_UNSUPPORTED};
use super::*;
use crate::link::node::Message;
use crate::mavftp::wire::{Opcode, Payload, parse_entries};

mod endpoints;
mod root;

/// A server in its thread, stopped when dropped.
struct Running {
    stop: Stop,
    root: Root,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
    there: Vec<Option<SocketAddr>>,
    line: String,
}

impl Running {
    fn start(options: Options) -> Running {
        Running::run(Serving::open(&options).unwrap())
    }

    fn run(mut serving: Serving) -> Running {
        let (stop, root) = (serving.stop_handle(), serving.root());
        let there = serving.local_addresses();
        let line = serving.description();
        let thread = std::thread::spawn(move || serving.run());
        Running { stop, root, thread: Some(thread), there, line }
    }

    fn on_loopback(directory: &Path) -> Running {
        let endpoint = "udp:127.0.0.1:0".parse().unwrap();
        Running::start(Options::new(endpoint, directory.to_path_buf()))
    }

    fn address(&self) -> SocketAddr {
        self.there[0].unwrap()
    }

    fn client(&self) -> Station {
        Station::towards(&format!("udpout:{}", self.address()))
    }

    /// Waits for an end that nobody asked for.
    fn end(&mut self) -> Result<(), ServeError> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

/// A ground station.
struct Station(Node);

impl Station {
    fn towards(address: &str) -> Station {
        Station(Node::new(address.parse::<Address>().unwrap().open().unwrap(), 255, 190))
    }

    /// The next message that `wanted` wants, within some time.
    fn await_message<T>(&mut self, wanted: impl Fn(&Message) -> Option<T>) -> Option<T> {
        self.await_for(Duration::from_secs(5), wanted)
    }

    fn await_for<T>(
        &mut self,
        time: Duration,
        wanted: impl Fn(&Message) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            let Some(received) = self.0.receive(Some(deadline)).unwrap() else { continue };
            // A port that another test has just left may still be sent to.
            if (received.system, received.component) != (SYSTEM_ID, COMPONENT_ID) {
                continue;
            }
            if let Some(wanted) = wanted(&received.message) {
                return Some(wanted);
            }
        }
        None
    }

    fn send_ftp(&mut self, target: (u8, u8), request: &Payload) {
        let payload = request.encode();
        let message = Message::Ftp { target_system: target.0, target_component: target.1, payload };
        self.0.send(None, &message).unwrap();
    }

    fn ask(&mut self, request: &Payload) -> Payload {
        self.send_ftp((SYSTEM_ID, COMPONENT_ID), request);
        self.await_message(ftp).expect("no answer")
    }

    fn command(&mut self, target: (u8, u8), command: u16, param1: f32) {
        let (target_system, target_component) = target;
        let message = Message::Command { target_system, target_component, command, param1 };
        self.0.send(None, &message).unwrap();
    }
}

fn ftp(message: &Message) -> Option<Payload> {
    match message {
        Message::Ftp { target_system: 255, target_component: 190, payload } => {
            Payload::decode(payload).ok()
        }
        _ => None,
    }
}

fn acknowledgement(message: &Message) -> Option<(u16, u8)> {
    match message {
        Message::CommandAck { command, result, target_system: 255, target_component: 190 } => {
            Some((*command, *result))
        }
        _ => None,
    }
}

fn heartbeat(message: &Message) -> Option<(u8, u8)> {
    match message {
        Message::Heartbeat { vehicle_type, autopilot, .. } => Some((*vehicle_type, *autopilot)),
        _ => None,
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log.bin"), b"0123456789").unwrap();
    folder
}

#[test]
fn a_station_lists_and_reads_a_served_folder() {
    let folder = folder();
    let running = Running::on_loopback(folder.path());
    let mut station = running.client();
    let listed = station.ask(&Payload::request(Opcode::ListDirectory).with_data(b"/"));
    assert_eq!(parse_entries(listed.data(), false).entries[0].name, b"log.bin");
    let request = Payload { sequence: 2, ..Payload::request(Opcode::OpenFileRo) };
    let opened = station.ask(&request.with_data(b"/log.bin"));
    assert_eq!(opened.data_u32(), Some(10));
    let request = Payload { sequence: 4, size: 239, ..Payload::request(Opcode::ReadFile) };
    let read = station.ask(&Payload { session: opened.session, ..request });
    assert_eq!(read.data(), b"0123456789");
}

#[test]
fn a_folder_is_read_only_unless_told_otherwise() {
    let folder = folder();
    let request = Payload::request(Opcode::CreateDirectory).with_data(b"/new");
    let running = Running::on_loopback(folder.path());
    assert!(running.line.contains("(read-only) as system 1, component 191 on udp:127.0.0.1:"));
    assert_eq!(running.client().ask(&request).command(), Some(Opcode::Nak));
    drop(running);
    let endpoint = "udp:127.0.0.1:0".parse().unwrap();
    let options = Options::new(endpoint, folder.path().to_path_buf());
    let running = Running::start(Options { writable: true, ..options });
    assert_eq!(running.client().ask(&request).command(), Some(Opcode::Ack));
    assert!(folder.path().join("new").is_dir());
}

#[test]
fn a_station_that_speaks_is_answered_with_heartbeats() {
    let folder = folder();
    let running = Running::on_loopback(folder.path());
    let mut station = running.client();
    let silent =
        Message::Heartbeat { vehicle_type: 6, autopilot: 8, base_mode: 0, system_status: 4 };
    station.0.send(None, &silent).unwrap();
    for _ in 0..2 {
        assert_eq!(station.await_message(heartbeat), Some((TYPE_ONBOARD_CONTROLLER, 8)));
    }
}

#[test]
fn an_outgoing_server_is_found_by_a_listening_station() {
    let folder = folder();
    let listening = "udp:127.0.0.1:0".parse::<Address>().unwrap().open().unwrap();
    let there = listening.local_address().unwrap();
    let mut station = Station(Node::new(listening, 255, 190));
    let endpoint = format!("udpout:{there}").parse().unwrap();
    let _running = Running::start(Options::new(endpoint, folder.path().to_path_buf()));
    let found = loop {
        let deadline = Some(Instant::now() + Duration::from_secs(5));
        let received = station.0.receive(deadline).unwrap().expect("no heartbeat");
        if heartbeat(&received.message).is_some() {
            break received.peer;
        }
    };
    let payload = Payload::request(Opcode::ListDirectory).with_data(b"/").encode();
    let message = Message::Ftp { target_system: 0, target_component: 0, payload };
    station.0.send(Some(found), &message).unwrap();
    assert_eq!(station.await_message(ftp).unwrap().command(), Some(Opcode::Ack));
}

#[test]
fn requests_to_others_and_answers_of_others_get_no_answer() {
    let folder = folder();
    let running = Running::on_loopback(folder.path());
    let mut station = running.client();
    let request = Payload::request(Opcode::ListDirectory).with_data(b"/");
    for target in [(2, COMPONENT_ID), (SYSTEM_ID, 1), (2, 0)] {
        station.send_ftp(target, &request);
    }
    for opcode in [Opcode::Ack, Opcode::Nak] {
        station.send_ftp((SYSTEM_ID, COMPONENT_ID), &Payload::request(opcode));
    }
    assert_eq!(station.await_for(Duration::from_millis(200), ftp), None);
    for target in [(0, 0), (SYSTEM_ID, 0), (0, COMPONENT_ID)] {
        station.send_ftp(target, &request);
        assert!(station.await_message(ftp).is_some());
    }
}

#[test]
fn the_version_is_told_on_request() {
    let folder = folder();
    let running = Running::on_loopback(folder.path());
    let mut station = running.client();
    for (target, command, param1) in
        [((SYSTEM_ID, COMPONENT_ID), 512, 148.0), ((0, 0), 512, 148.0), ((SYSTEM_ID, 0), 520, 1.0)]
    {
        station.command(target, command, param1);
        assert_eq!(station.await_message(acknowledgement), Some((command, RESULT_ACCEPTED)));
        let capabilities = station.await_message(|message| match message {
            Message::AutopilotVersion { capabilities, uid, uid2, .. } => {
                assert!(*uid != 0 && *uid2 != [0; 18]);
                Some(*capabilities)
            }
            _ => None,
        });
        assert_eq!(capabilities, Some(32 | 8192));
    }
}

#[test]
fn other_commands_are_refused_only_when_meant_for_us_alone() {
    let folder = folder();
    let running = Running::on_loopback(folder.path());
    let mut station = running.client();
    const ARM: u16 = 400;
    station.command((SYSTEM_ID, 0), ARM, 1.0);
    station.command((0, 0), ARM, 1.0);
    station.command((SYSTEM_ID, COMPONENT_ID), 512, 30.0);
    assert_eq!(station.await_message(acknowledgement), Some((512, RESULT_UNSUPPORTED)));
    station.command((SYSTEM_ID, COMPONENT_ID), ARM, 1.0);
    assert_eq!(station.await_message(acknowledgement), Some((ARM, RESULT_UNSUPPORTED)));
}

#[test]
fn what_cannot_be_served_is_named() {
    let endpoint: Address = "udp:127.0.0.1:0".parse().unwrap();
    let options = Options::new(endpoint, PathBuf::from("/no/such/folder"));
    let error = Serving::open(&options).err().unwrap().to_string();
    assert!(error.starts_with("cannot serve /no/such/folder: it does not exist"), "{error}");
    let endpoint: Address = "serial:/dev/no-such-line".parse().unwrap();
    let error = Serving::open(&Options::new(endpoint, PathBuf::from("/"))).err().unwrap();
    assert!(error.to_string().contains("no serial device"), "{error}");
}

#[test]
fn a_stopped_server_returns_and_frees_its_port() {
    let folder = folder();
    let running = Running::on_loopback(folder.path());
    let endpoint: Address = format!("udp:{}", running.address()).parse().unwrap();
    assert!(endpoint.open().is_err());
    drop(running);
    assert!(endpoint.open().is_ok());
}

/// > `--max-rate` is the most bytes per second that bursts take on each endpoint, 2 MB/s unless it
/// > is said, and on a serial line never more than half of what the line carries.
#[test]
fn bursts_take_at_most_half_of_a_serial_line() {
    let rate =
        |text: &str, max_rate| paced(&text.parse().unwrap(), server::Options { max_rate }).max_rate;
    assert_eq!(rate("serial:/dev/x:57600", Some(2_000_000)), Some(2880));
    assert_eq!(rate("serial:/dev/x:57600", None), Some(2880));
    assert_eq!(rate("serial:/dev/x:57600", Some(100)), Some(100));
    assert_eq!(rate("udp:14550", None), None);
    assert_eq!(server::Options::default().max_rate, Some(2_000_000));
}

#[test]
fn a_station_that_connects_and_only_listens_hears_a_heartbeat() {
    let folder = folder();
    let endpoint = "tcpin:127.0.0.1:0".parse().unwrap();
    let running = Running::start(Options::new(endpoint, folder.path().to_path_buf()));
    let there = running.address();
    assert!(
        running.line.contains(&format!("tcpin:127.0.0.1:{}", there.port())),
        "{}",
        running.line
    );
    let address: Address = format!("tcp:{there}").parse().unwrap();
    let mut station = Station(Node::new(address.open().unwrap(), 255, 190));
    assert_eq!(station.await_message(heartbeat), Some((TYPE_ONBOARD_CONTROLLER, 8)));
}
