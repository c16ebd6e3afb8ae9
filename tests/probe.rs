//! `probe`, the real program: against our own server, MAVSDK's and FTP servers that nobody here wrote, an
//! autopilot without files, noise, and nobody. Needs what scripts/test installs.

use std::fs;
use std::net::UdpSocket;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use mavftp_mount::link::node::{Message, Node};
use mavftp_mount::link::udp::UdpLink;

mod support;

use support::ftp::servers::{Kind, Manners, Security, Server};
use support::ordinary::noise;
use support::program::our_binary;
use support::python::{self, Peer};
use support::served::Served;

/// `MAV_MODE_FLAG_SAFETY_ARMED`.
const ARMED: u8 = 128;
/// Where a payload says what is asked.
const OPCODE_AT: usize = 3;
/// The requests for a directory.
const LIST: u8 = 3;
const LIST_WITH_TIME: u8 = 16;

fn probe(arguments: &[&str]) -> Output {
    our_binary().arg("probe").args(arguments).output().unwrap()
}

/// What is printed; the program must end with this code.
fn page(output: &Output, code: i32) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{page}\n{complaint}");
    page
}

fn json(arguments: &[&str], code: i32) -> Value {
    let output = probe(&[&["--json"], arguments].concat());
    serde_json::from_str(&page(&output, code)).unwrap()
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_server_is_shown_with_what_it_can_do_and_how_fast() {
    let served = Served::start(&["--component-id", "1"]);
    fs::create_dir(served.path("logs")).unwrap();
    served.write("logs/flight.ulg", &noise(1, 500_000));
    let source = format!("udpout:127.0.0.1:{}", served.port());
    let page = page(&probe(&[&source]), 0);
    for part in [
        "one component is heard",
        "onboard computer, no autopilot, firmware ",
        "not armed",
        "ok, / has one entry; it says that it has FTP",
        "with times; paths up to 237 bytes",
        "checksums   yes",
        "ms at least",
        "requests unanswered",
        "of /logs/flight.ulg in",
        "0 MAVLink 1, 0 with a wrong",
    ] {
        assert!(page.contains(part), "{part} is not in:\n{page}");
    }
    let found = json(&[&source], 0);
    let heard = &found["heard"][0];
    assert_eq!((&heard["system"], &heard["component"]), (&1.into(), &1.into()));
    let server = &heard["ftp"]["server"];
    assert_eq!(server["chosen"], true);
    assert_eq!(server["lost"], 0);
    assert!(server["round_trip"]["samples"].as_u64() >= Some(5), "{server}");
    let rate = &server["reading"]["measured"];
    assert_eq!(rate["bytes"], 256 << 10);
    assert!(rate["bytes_per_second"].as_f64() > Some(1e4), "{rate}");
}

#[test]
fn a_server_without_files_has_no_rate_and_the_reason_is_told() {
    let served = Served::start(&[]);
    let source = format!("udpout:127.0.0.1:{}", served.port());
    let page = page(&probe(&[&source]), 0);
    assert!(page.contains("not measured: no file was found"), "{page}");
    assert!(page.contains("ok, / has 0 entries"), "{page}");
}

#[test]
fn mavsdks_server_is_shown_and_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data.bin"), noise(2, 100_000)).unwrap();
    let port = free_port();
    let endpoint = format!("udpout://127.0.0.1:{port}");
    let mut peer = Peer::start("mavsdk_server.py", &[&*endpoint, folder.path().to_str().unwrap()]);
    peer.lines_until(python::START_TIME, |line| line == "ready");
    let source = format!("udp:127.0.0.1:{port}");
    for _ in 0..2 {
        let found = json(&[&source], 0);
        let ftp = &found["heard"][0]["ftp"];
        assert_eq!(ftp["answer"], "lists", "{found:#}");
        assert_eq!(ftp["server"]["checksums"], true, "{found:#}");
        assert_eq!(ftp["server"]["reading"]["measured"]["bytes"], 100_000, "{found:#}");
        assert_eq!(found["heard"][0]["ftp_capability"], false, "{found:#}");
    }
}

#[test]
fn nobody_is_exit_code_3_with_what_was_tried_and_what_to_check() {
    let source = format!("udp:127.0.0.1:{}", free_port());
    let output = probe(&[&source, "--mount-timeout", "1s"]);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let page = page(&output, 3);
    assert!(complaint.starts_with("error: no HEARTBEAT on udp:"), "{complaint}");
    for part in ["nobody is heard", "Listened on udp:", "the vehicle is on", "udpout:HOST:PORT"] {
        assert!(page.contains(part), "{part} is not in:\n{page}");
    }
    let found = json(&[&source, "--mount-timeout", "1s"], 3);
    assert_eq!(found["heard"], Value::Array(Vec::new()));
    assert!(!found["advice"].as_array().unwrap().is_empty());
}

/// Calls `speak` a few times a second until it is dropped.
struct Speaker(Arc<AtomicBool>);

impl Speaker {
    fn start(mut speak: impl FnMut() + Send + 'static) -> Speaker {
        let ended = Arc::new(AtomicBool::new(false));
        let told = ended.clone();
        thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                speak();
                thread::sleep(Duration::from_millis(300));
            }
        });
        Speaker(ended)
    }

    /// One that sends these heartbeats from 1:1 to a port, and answers nothing.
    fn of_autopilot(port: u16, base_mode: u8) -> Speaker {
        Speaker::noting(port, base_mode, Arc::default())
    }

    /// The same, noting which FTP requests come.
    fn noting(port: u16, base_mode: u8, asked: Arc<Mutex<Vec<u8>>>) -> Speaker {
        let there = format!("127.0.0.1:{port}").parse().unwrap();
        let mut node = Node::new(Box::new(UdpLink::towards(there).unwrap()), 1, 1);
        let beat =
            Message::Heartbeat { vehicle_type: 2, autopilot: 3, base_mode, system_status: 4 };
        Speaker::start(move || {
            node.send(None, &beat).unwrap();
            while let Some(received) = node.receive(Some(Instant::now())).unwrap() {
                if let Message::Ftp { payload, .. } = received.message {
                    asked.lock().unwrap().push(payload[OPCODE_AT]);
                }
            }
        })
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn noise_is_told_from_silence() {
    let port = free_port();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let _speaker = Speaker::start(move || {
        let _ = socket.send_to(b"this is no frame", ("127.0.0.1", port));
    });
    let output = probe(&[&format!("udp:127.0.0.1:{port}"), "--mount-timeout", "1500ms"]);
    let page = page(&output, 3);
    assert!(page.contains("they are no MAVLink") && page.contains("bytes of no frame"), "{page}");
}

/// > `probe` ends with 0 when somebody shows files, with 3 when nobody is heard, with 4 when nobody who
/// > is heard shows any.
#[test]
fn an_autopilot_that_answers_nothing_is_exit_code_4() {
    let port = free_port();
    let _speaker = Speaker::of_autopilot(port, 0);
    let page = page(&probe(&[&format!("udp:127.0.0.1:{port}")]), 4);
    assert!(page.contains("1:1     quadrotor, ArduPilot, not armed, from 127"), "{page}");
    assert!(page.contains("no answer") && page.contains("FTP is enabled"), "{page}");
}

/// > `probe` changes nothing on the far side, and asks an armed autopilot for its root directory at
/// > most.
#[test]
fn an_armed_autopilot_is_asked_for_its_root_and_nothing_else() {
    let port = free_port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let speaker = Speaker::noting(port, ARMED, asked.clone());
    page(&probe(&[&format!("udp:127.0.0.1:{port}")]), 4);
    drop(speaker);
    let asked = asked.lock().unwrap();
    assert!(!asked.is_empty());
    let is_list = |opcode: &u8| [LIST, LIST_WITH_TIME].contains(opcode);
    assert!(asked.iter().all(is_list), "{asked:?}");
}

#[test]
fn an_armed_autopilot_is_not_asked_where_that_is_forbidden() {
    let port = free_port();
    let _speaker = Speaker::of_autopilot(port, ARMED);
    let source = format!("udp:127.0.0.1:{port}");
    let found = json(&[&source, "--when-armed", "deny"], 3);
    assert_eq!(found["heard"][0]["armed"], true);
    assert_eq!(found["heard"][0]["ftp"]["answer"], "not_asked", "{found:#}");
    let other = json(&[&source, "--target", "9", "--mount-timeout", "1s"], 3);
    assert!(other["advice"][0].as_str().unwrap().contains("--target"), "{other:#}");
}

#[test]
fn a_place_on_a_vehicle_is_not_what_a_probe_looks_at() {
    let complaint = probe(&["udp:14550#/log"]).stderr;
    assert!(String::from_utf8_lossy(&complaint).contains("mavftp-mount probe udp:14550"));
}

fn probe_ftp(kind: Kind, security: Security) -> (Value, String) {
    let server = Server::start(kind, security, Manners::default());
    fs::write(server.far("data"), noise(3, 3_000_000)).unwrap();
    server.own();
    let (options, source) = (server.options(), server.source());
    let options: Vec<&str> = options.iter().map(String::as_str).chain([&*source]).collect();
    (json(&options, 0), page(&probe(&options), 0))
}

#[test]
fn an_ftp_server_is_shown_with_what_it_offers() {
    let (found, page) = probe_ftp(Kind::Pyftpdlib, Security::Explicit);
    assert_eq!((&found["protocol"], &found["mlsd"]), (&"ftp".into(), &true.into()));
    assert!(found["tls"]["version"].as_str().unwrap().starts_with("TLS 1."), "{found:#}");
    assert_eq!(found["connections"], 2);
    assert_eq!(found["listing"]["entries"], 1);
    assert_eq!(found["round_trip"]["samples"], 5);
    assert!(found["reading"]["measured"]["bytes"].as_u64() > Some(0), "{found:#}");
    for part in ["login       ok as pilot", "TLS         TLS 1.", "MLSD", "2 of 2", "times NOOP"] {
        assert!(page.contains(part), "{part} is not in:\n{page}");
    }
}

#[test]
fn an_ftp_server_in_the_clear_is_called_so() {
    let (found, page) = probe_ftp(Kind::Pyftpdlib, Security::Plain);
    assert_eq!(found["tls"], Value::Null);
    assert!(page.contains("sent in the clear"), "{page}");
}
