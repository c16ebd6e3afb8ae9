//! `serve` behind a router, as one component among others: two of them, an autopilot that answers
//! FTP too, and several clients meet on one UDP port, where everybody hears everything.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mavftp_mount::link::address::Address;
use mavftp_mount::link::node::{Message, Node};
use mavftp_mount::mavftp::wire::{Opcode, Payload, parse_entries};

mod support;

use support::hub::Hub;
use support::program::{Program, our_program};

const SYSTEM: u8 = 1;
const AUTOPILOT: u8 = 1;
const COMPANION: u8 = 191;
const CAMERA: u8 = 100;
/// For everything that happens at once on the loopback, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// After the first answer, for one of somebody else who should have kept silent.
const SILENCE: Duration = Duration::from_millis(150);

fn node(hub: &Hub, system: u8, component: u8) -> Node {
    let address: Address = hub.endpoint().parse().unwrap();
    Node::new(address.open().unwrap(), system, component)
}

/// An autopilot with FTP: it answers each request that is for it, or for all, with one name.
struct Autopilot {
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Autopilot {
    fn start(hub: &Hub) -> Autopilot {
        let mut node = node(hub, SYSTEM, AUTOPILOT);
        let (asked, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counting, ending) = (asked.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            let mut heartbeat_due = Instant::now();
            while !ending.load(Ordering::Relaxed) {
                if Instant::now() >= heartbeat_due {
                    let (vehicle_type, autopilot) = (2, 12);
                    let alive = Message::Heartbeat {
                        vehicle_type,
                        autopilot,
                        base_mode: 0,
                        system_status: 4,
                    };
                    node.send(None, &alive).unwrap();
                    heartbeat_due += Duration::from_millis(300);
                }
                let soon = Instant::now() + Duration::from_millis(20);
                let Some(heard) = node.receive(Some(soon)).unwrap() else { continue };
                if let Message::Ftp { target_system: 0 | SYSTEM, target_component, payload } =
                    heard.message
                    && matches!(target_component, 0 | AUTOPILOT)
                {
                    counting.fetch_add(1, Ordering::Relaxed);
                    let request = Payload::decode(&payload).unwrap();
                    let answer = Payload::ack(&request).with_data(b"Fautopilot\t1\0");
                    let payload = answer.encode();
                    let (target_system, target_component) = (heard.system, heard.component);
                    let answer = Message::Ftp { target_system, target_component, payload };
                    node.send(Some(heard.peer), &answer).unwrap();
                }
            }
        });
        Autopilot { asked, over, thread: Some(thread) }
    }
}

impl Drop for Autopilot {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A ground station.
struct Station {
    node: Node,
    ids: (u8, u8),
    sequence: u16,
}

impl Station {
    /// One that has heard all of these components.
    fn start(hub: &Hub, ids: (u8, u8), components: &[u8]) -> Station {
        let mut node = node(hub, ids.0, ids.1);
        let alive =
            Message::Heartbeat { vehicle_type: 6, autopilot: 8, base_mode: 0, system_status: 4 };
        node.send(None, &alive).unwrap();
        let mut missing = components.to_vec();
        let deadline = Instant::now() + PATIENCE;
        while !missing.is_empty() {
            assert!(Instant::now() < deadline, "not heard: {missing:?}");
            if let Some(heard) = node.receive(Some(deadline)).unwrap()
                && matches!(heard.message, Message::Heartbeat { .. })
            {
                missing.retain(|component| (SYSTEM, *component) != (heard.system, heard.component));
            }
        }
        Station { node, ids, sequence: 0 }
    }

    fn send(&mut self, (target_system, target_component): (u8, u8), request: Payload) {
        self.sequence += 2;
        let payload = Payload { sequence: self.sequence, ..request }.encode();
        let message = Message::Ftp { target_system, target_component, payload };
        self.node.send(None, &message).unwrap();
    }

    /// All who answer the last request, and what.
    fn answers(&mut self) -> Vec<((u8, u8), Payload)> {
        let mut answers = Vec::new();
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            let Some(heard) = self.node.receive(Some(deadline)).unwrap() else {
                if Instant::now() >= deadline {
                    return answers;
                }
                continue;
            };
            if let Message::Ftp { target_system, target_component, payload } = heard.message
                && (target_system, target_component) == self.ids
            {
                let answer = Payload::decode(&payload).unwrap();
                assert_eq!(answer.sequence, self.sequence + 1);
                answers.push(((heard.system, heard.component), answer));
                deadline = Instant::now() + SILENCE;
            }
        }
    }

    /// The only answer, which must come from there.
    fn ask(&mut self, target: (u8, u8), request: Payload) -> Payload {
        self.send(target, request);
        match &self.answers()[..] {
            [(from, answer)] if *from == target => *answer,
            others => panic!("asked {target:?}, answered by {others:?}"),
        }
    }

    fn names(&mut self, target: (u8, u8)) -> Vec<String> {
        let listed = self.ask(target, Payload::request(Opcode::ListDirectory).with_data(b"/"));
        let entries = parse_entries(listed.data(), false).entries;
        entries.iter().map(|entry| String::from_utf8(entry.name.clone()).unwrap()).collect()
    }
}

/// A folder with a file of this name, which has the name as its content.
fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), name).unwrap();
    folder
}

fn serve(hub: &Hub, options: &[&str], directory: &Path) -> Program {
    let endpoint = hub.endpoint();
    let arguments = [&["serve", "-v"], options, &[&endpoint, directory.to_str().unwrap()]].concat();
    let mut program = Program::start(&arguments);
    program.wait_until(PATIENCE, |program| program.printed().contains("serving "));
    program
}

/// > Behind a router, each request reaches everybody and is answered by the component that it names,
/// > and by nobody else; so are commands.
#[test]
fn each_component_behind_a_router_answers_for_itself_alone() {
    let (hub, companions, cameras) = (Hub::start(false), folder("companion"), folder("camera"));
    let _companion = serve(&hub, &[], companions.path());
    let _camera = serve(&hub, &["--type", "camera"], cameras.path());
    let autopilot = Autopilot::start(&hub);
    let mut station = Station::start(&hub, (255, 190), &[AUTOPILOT, COMPANION, CAMERA]);
    for _ in 0..3 {
        assert_eq!(station.names((SYSTEM, AUTOPILOT)), ["autopilot"]);
        assert_eq!(station.names((SYSTEM, COMPANION)), ["companion"]);
        assert_eq!(station.names((SYSTEM, CAMERA)), ["camera"]);
    }
    assert_eq!(autopilot.asked.load(Ordering::Relaxed), 3);
    // What is for all components is the autopilot's.
    let listing = Payload::request(Opcode::ListDirectory).with_data(b"/");
    for target in [(SYSTEM, 0), (0, 0)] {
        station.send(target, listing);
        let from: Vec<_> = station.answers().iter().map(|(from, _)| *from).collect();
        assert_eq!(from, [(SYSTEM, AUTOPILOT)], "{target:?}");
    }
    assert_eq!(identified(&mut station, COMPANION), [(SYSTEM, COMPANION)]);
    assert_eq!(identified(&mut station, CAMERA), [(SYSTEM, CAMERA)]);
    assert_eq!(identified(&mut station, 0), [(SYSTEM, CAMERA), (SYSTEM, COMPANION)]);
}

/// Who says that it has FTP when this component is asked.
fn identified(station: &mut Station, target_component: u8) -> Vec<(u8, u8)> {
    let (command, param1, target_system) = (512, 148.0, SYSTEM);
    let asked = Message::Command { target_system, target_component, command, param1 };
    station.node.send(None, &asked).unwrap();
    let (mut found, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(1));
    while Instant::now() < deadline {
        let Some(heard) = station.node.receive(Some(deadline)).unwrap() else { continue };
        if let Message::AutopilotVersion { capabilities, .. } = heard.message {
            assert_eq!(capabilities & 32, 32);
            found.push((heard.system, heard.component));
        }
    }
    found.sort();
    found
}

/// > Clients behind one router are told apart by their system and component: none can read or close
/// > what another has open.
#[test]
fn clients_behind_one_router_have_sessions_of_their_own() {
    let (hub, folder) = (Hub::start(false), folder("first"));
    fs::write(folder.path().join("second"), "second").unwrap();
    let _program = serve(&hub, &[], folder.path());
    let there = (SYSTEM, COMPANION);
    let mut stations =
        [(255, 190), (255, 191), (254, 190)].map(|ids| Station::start(&hub, ids, &[COMPANION]));
    // The same session number for each of them, as clients with numbers of their own may choose.
    let open = |path: &str| {
        Payload { session: 5, ..Payload::request(Opcode::OpenFileRo) }.with_data(path.as_bytes())
    };
    assert_eq!(stations[0].ask(there, open("/first")).session, 5);
    assert_eq!(stations[1].ask(there, open("/second")).session, 5);
    let read = Payload { session: 5, size: 239, ..Payload::request(Opcode::ReadFile) };
    assert_eq!(stations[2].ask(there, read).command(), Some(Opcode::Nak));
    stations[2].ask(there, Payload::request(Opcode::ResetSessions));
    stations[2].ask(there, Payload { session: 5, ..Payload::request(Opcode::TerminateSession) });
    assert_eq!(stations[0].ask(there, read).data(), b"first");
    assert_eq!(stations[1].ask(there, read).data(), b"second");
}

/// > Heartbeats and answers under our own ids, a router's echo of ours or another component's, are
/// > ignored, with one warning; requests under them are answered.
#[test]
fn a_router_that_sends_everything_back_confuses_nobody() {
    let (hub, folder) = (Hub::start(true), folder("first"));
    let mut program = serve(&hub, &[], folder.path());
    let mut station = Station::start(&hub, (255, 190), &[COMPANION]);
    assert_eq!(station.names((SYSTEM, COMPANION)), ["first"]);
    let warnings = |program: &Program| program.printed().matches("uses our ids").count();
    program.wait_until(PATIENCE, |program| warnings(program) == 1);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(warnings(&program), 1, "{}", program.printed());
    let greetings = program.printed().matches("asks: ").count();
    assert_eq!(greetings, 1, "{}", program.printed());
}

#[test]
fn our_own_verbs_pick_a_component_behind_a_router() {
    let (hub, companions, cameras) = (Hub::start(false), folder("companion"), folder("camera"));
    let _companion = serve(&hub, &[], companions.path());
    let _camera = serve(&hub, &["--type", "camera"], cameras.path());
    let _autopilot = Autopilot::start(&hub);
    for (target, name) in [("1:191", "companion"), ("1:100", "camera")] {
        let place = format!("{}#/{name}", hub.endpoint());
        let read = our_program(&["cat", "-q", "--target", target, &place], PATIENCE * 2);
        assert_eq!(read, (0, name.to_owned()));
    }
}
