//! Signed links: between our own programs, with pymavlink on either side, through a kernel mount, and
//! what those see who have another key or none. Needs /dev/fuse, root, and the Python packages that
//! scripts/test installs.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

mod support;

use mavftp_mount::link::frames;
use mavftp_mount::link::node::Message;
use support::mounted::{Mounted, free_port};
use support::ordinary::noise;
use support::program::{Program, ended, our_binary, our_program, succeed};
use support::python::{Peer, START_TIME};
use support::user::User;

const PASSPHRASE: &str = "correct horse battery staple";
/// Its SHA-256, by sha256sum(1).
const ITS_KEY: &str = "c4bbcb1fbec99d65bf59d85c8cb62ee2db963f0fe106f483d9afa73bd4e39a8a";
/// A verb on a busy machine.
const VERB_TIME: Duration = Duration::from_secs(40);
/// Longer than from one heartbeat to the next.
const SILENCE: Duration = Duration::from_millis(1500);
/// Until a server prints what it serves.
const SERVE_TIME: Duration = Duration::from_secs(10);
/// Ends a search that finds nobody.
const SHORT: [&str; 2] = ["--mount-timeout", "2s"];
const TARGET: [&str; 2] = ["--target", "1:191"];

const NO_VEHICLE: i32 = 3;
const NO_FTP: i32 = 4;
const USAGE: i32 = 2;

/// A folder with files and keys, and another one that is served.
struct Bench {
    folder: tempfile::TempDir,
    served: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench =
            Bench { folder: tempfile::tempdir().unwrap(), served: tempfile::tempdir().unwrap() };
        fs::write(bench.far("log.bin"), noise(1, 100_003)).unwrap();
        bench.write_key("key", PASSPHRASE.as_bytes());
        bench.write_key("other", b"another passphrase\n");
        bench
    }

    fn write_key(&self, name: &str, content: &[u8]) {
        fs::write(self.near(name), content).unwrap();
        fs::set_permissions(self.near(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn near(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn far(&self, name: &str) -> PathBuf {
        self.served.path().join(name)
    }

    fn key(&self, name: &str) -> [String; 2] {
        ["--sign-key-file".into(), self.near(name).to_str().unwrap().into()]
    }

    /// Serves with the key of this name, or without one.
    fn serve(&self, endpoint: &str, key: Option<&str>) -> Program {
        let mut arguments = vec!["serve".to_owned(), endpoint.into()];
        arguments.extend([self.served.path().to_str().unwrap().into(), "--writable".into()]);
        arguments.extend(key.iter().flat_map(|key| self.key(key)));
        let mut server = Program::start(&arguments);
        server.wait_until(SERVE_TIME, |server| server.printed().contains("serving "));
        server
    }

    /// Runs a verb with the key of this name.
    fn verb(&self, key: &str, arguments: &[&str]) -> (i32, String) {
        let mut all: Vec<String> = arguments.iter().map(|&text| text.into()).collect();
        all.extend(self.key(key));
        our_program(&all, VERB_TIME)
    }

    /// Lists, gets and puts with the key of this name.
    fn exercise(&self, source: &str, key: &str) {
        let done = |arguments: &[&str]| {
            let (code, printed) = self.verb(key, &[arguments, &TARGET].concat());
            assert_eq!(code, 0, "{arguments:?}: {printed}");
            printed
        };
        assert_eq!(done(&["ls", source]), "log.bin\n");
        let local = self.near("copy");
        let local = local.to_str().unwrap();
        done(&["get", &format!("{source}#/log.bin"), local]);
        assert!(fs::read(local).unwrap() == noise(1, 100_003));
        done(&["put", local, &format!("{source}#/back")]);
        assert!(fs::read(self.far("back")).unwrap() == noise(1, 100_003));
    }
}

/// Passes datagrams between a client, which it waits for, and a server, and keeps them.
struct Recorder {
    port: u16,
    from_client: Arc<Mutex<Vec<Vec<u8>>>>,
    from_server: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Recorder {
    fn start(server: u16) -> Recorder {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            socket
        };
        let (client_side, server_side) = (bind(), bind());
        server_side.connect(("127.0.0.1", server)).unwrap();
        let port = client_side.local_addr().unwrap().port();
        let client: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let [from_client, from_server] = [(); 2].map(|()| Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let stop = Arc::<AtomicBool>::default();
        let (heard, to) = (client_side.try_clone().unwrap(), server_side.try_clone().unwrap());
        let (stopped, known, kept) = (stop.clone(), client.clone(), from_client.clone());
        let there = std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((count, sender)) = heard.recv_from(&mut buffer) else { continue };
                *known.lock().unwrap() = Some(sender);
                kept.lock().unwrap().push(buffer[..count].to_vec());
                let _ = to.send(&buffer[..count]);
            }
        });
        let (stopped, kept) = (stop.clone(), from_server.clone());
        let back = std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                let Ok(count) = server_side.recv(&mut buffer) else { continue };
                kept.lock().unwrap().push(buffer[..count].to_vec());
                if let Some(client) = *client.lock().unwrap() {
                    let _ = client_side.send_to(&buffer[..count], client);
                }
            }
        });
        Recorder { port, from_client, from_server, stop, threads: vec![there, back] }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Message ids of datagrams that hold one frame of MAVLink 2 each, all of them signed.
fn ids_of_signed(datagrams: &[Vec<u8>]) -> BTreeSet<u8> {
    let id = |frame: &Vec<u8>| {
        assert_eq!((frame[0], frame[2]), (0xFD, 1), "{frame:?}");
        assert_eq!(frame.len(), 10 + usize::from(frame[1]) + 2 + 13);
        frame[7]
    };
    datagrams.iter().map(id).collect()
}

fn list_root() -> Message {
    let mut payload = [0; 251];
    (payload[3], payload[4], payload[12]) = (3, 1, b'/');
    Message::Ftp { target_system: 1, target_component: 191, payload }
}

fn ask_version() -> Message {
    Message::Command { target_system: 1, target_component: 191, command: 512, param1: 148.0 }
}

fn heartbeat() -> Message {
    Message::Heartbeat { vehicle_type: 6, autopilot: 8, base_mode: 0, system_status: 4 }
}

fn radio() -> Message {
    let (rssi, remrssi, txbuf, noise, remnoise, rxerrors, fixed) = (1, 2, 99, 4, 5, 6, 7);
    Message::RadioStatus { rssi, remrssi, txbuf, noise, remnoise, rxerrors, fixed }
}

/// > With `--sign-key-file`, mounts, verbs and `serve` sign every frame they send.
#[test]
fn every_frame_between_our_programs_is_signed_and_none_is_taken_twice() {
    let bench = Bench::new();
    let port = free_port();
    let _server = bench.serve(&format!("udp:127.0.0.1:{port}"), Some("key"));
    let recorder = Recorder::start(port);
    bench.exercise(&format!("udpout:127.0.0.1:{}", recorder.port), "key");
    let sent = recorder.from_client.lock().unwrap().clone();
    assert!(ids_of_signed(&sent).is_superset(&[0, 76, 110].into()), "{:?}", ids_of_signed(&sent));
    let answers = ids_of_signed(&recorder.from_server.lock().unwrap());
    assert!(answers.is_superset(&[0, 77, 110, 148].into()), "{answers:?}");

    fs::remove_file(bench.far("back")).unwrap();
    let thief = UdpSocket::bind("127.0.0.1:0").unwrap();
    for frame in &sent {
        thief.send_to(frame, ("127.0.0.1", port)).unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
    thief.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(thief.recv(&mut [0; 65_536]).is_err(), "it was answered");
    assert_eq!(fs::read_dir(bench.served.path()).unwrap().count(), 1, "nothing is written again");
}

/// > Then a frame that is not signed with the same key is as good as not heard: it gets no answer, and
/// > a warning says once who sends such frames.
#[test]
fn who_does_not_sign_with_our_key_gets_no_answer_at_all() {
    let bench = Bench::new();
    let port = free_port();
    let server = bench.serve(&format!("udp:127.0.0.1:{port}"), Some("key"));
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for message in [heartbeat(), list_root(), ask_version(), radio(), heartbeat()] {
        let frame = frames::encode(&message, 255, 190, 0).unwrap();
        stranger.send_to(&frame, ("127.0.0.1", port)).unwrap();
    }
    // A heartbeat in MAVLink 1.
    let first_version = [0xFE, 9, 0, 5, 6, 0, 0, 0, 0, 0, 2, 3, 81, 4, 3, 0x51, 0x49];
    stranger.send_to(&first_version, ("127.0.0.1", port)).unwrap();
    stranger.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(stranger.recv(&mut [0; 65_536]).is_err(), "it was answered");

    let source = format!("udpout:127.0.0.1:{port}");
    let (code, said) = bench.verb("other", &["ls", &source, SHORT[0], SHORT[1]]);
    assert_eq!(code, NO_VEHICLE, "{said}");
    assert!(said.contains("no HEARTBEAT") && said.contains("may not answer"), "{said}");
    let warnings = server.printed();
    assert_eq!(warnings.matches("they carry no signature").count(), 1, "{warnings}");
    assert_eq!(warnings.matches("but with another").count(), 1, "{warnings}");
    assert!(warnings.contains("(255:190)"), "{warnings}");
    bench.exercise(&source, "key");
}

/// > Any MAVLink 2 partner that signs can be spoken to: the key of a passphrase is its SHA-256, as ground
/// > stations make it.
#[test]
fn pymavlinks_signed_client_lists_gets_and_puts() {
    let bench = Bench::new();
    let port = free_port();
    let server = bench.serve(&format!("udpout:127.0.0.1:{port}"), Some("key"));
    let run = |arguments: &[&str]| {
        let connection = format!("udpin:127.0.0.1:{port}");
        let all = [&[&*connection, PASSPHRASE], arguments].concat();
        let mut client = Peer::start("signed_client.py", &all);
        let lines = client.lines_until(START_TIME * 2, |line| line.starts_with("done "));
        let last = lines.last().unwrap();
        assert!(last.ends_with(" 0"), "all that it heard was signed: {last}");
        lines
    };
    assert!(run(&["list", "/"]).contains(&"log.bin".to_owned()));
    let copy = bench.near("copy");
    run(&["get", "/log.bin", copy.to_str().unwrap()]);
    assert!(fs::read(&copy).unwrap() == noise(1, 100_003));
    // A new run counts its requests as the last one did, which this server may take for repetitions.
    drop(server);
    let _server = bench.serve(&format!("udpout:127.0.0.1:{port}"), Some("key"));
    run(&["put", copy.to_str().unwrap(), "/back"]);
    assert!(fs::read(bench.far("back")).unwrap() == noise(1, 100_003));
}

#[test]
fn our_verbs_work_with_a_vehicle_that_pymavlink_signs_for() {
    let bench = Bench::new();
    let port = free_port();
    let mut relay = Peer::start("signing_relay.py", &[&port.to_string(), PASSPHRASE]);
    let ready = relay.line(START_TIME);
    let vehicle_port = ready.strip_prefix("ready ").unwrap();
    let _server = bench.serve(&format!("udpout:127.0.0.1:{vehicle_port}"), None);
    bench.exercise(&format!("udp:127.0.0.1:{port}"), "key");
    let (code, said) =
        bench.verb("other", &["ls", &format!("udp:127.0.0.1:{port}"), SHORT[0], SHORT[1]]);
    assert_eq!(code, NO_VEHICLE, "{said}");
    let end = relay.last_lines(START_TIME);
    let counts: Vec<u64> = end[0].split(' ').filter_map(|word| word.parse().ok()).collect();
    // The one with the other key sends heartbeats to whoever is heard by default: nobody.
    assert!(counts[0] > 100 && counts[1] == 0, "{end:?}");
}

/// > Where frames are heard and none is signed with our key, the message says so instead of "no HEARTBEAT".
#[test]
fn a_wrong_key_or_none_is_told_from_a_silent_vehicle() {
    let bench = Bench::new();
    let port = free_port();
    let server = bench.serve(&format!("udpout:127.0.0.1:{port}"), Some("key"));
    let source = format!("udp:127.0.0.1:{port}");
    let (code, said) = bench.verb("other", &["ls", &source, SHORT[0], SHORT[1]]);
    assert_eq!(code, NO_VEHICLE, "{said}");
    assert!(said.contains("none that is signed with our key"), "{said}");
    assert!(said.contains("give both sides the same"), "{said}");
    let arguments = ["ls", &source, "--mount-timeout", "8s", TARGET[0], TARGET[1]];
    let (code, said) = our_program(&arguments, VERB_TIME);
    assert_eq!(code, NO_FTP, "{said}");
    assert!(said.contains("--sign-key-file gives us the key"), "{said}");
    drop(server);

    let _unsigned = bench.serve(&format!("udpout:127.0.0.1:{port}"), None);
    let (code, said) = bench.verb("key", &["ls", &source, SHORT[0], SHORT[1]]);
    assert_eq!(code, NO_VEHICLE, "{said}");
    assert!(said.contains("they carry no signature"), "{said}");
    assert!(said.contains("none that is signed with our key"), "{said}");
}

#[test]
fn a_mount_works_over_a_signed_link() {
    let bench = Bench::new();
    let port = free_port();
    let _server = bench.serve(&format!("udpout:127.0.0.1:{port}"), Some("key"));
    let option = format!("sign-key-file={}", bench.near("key").display());
    let mounted = Mounted::new(&format!("udp:127.0.0.1:{port}"), &["-o", &option]);
    let near = |name: &str| mounted.path().join(name);
    succeed("cmp", &[near("log.bin"), bench.far("log.bin")]);
    succeed("cp", &[near("log.bin"), near("copy")]);
    succeed("cmp", &[bench.far("copy"), bench.far("log.bin")]);
    succeed("mv", &[near("copy"), near("moved")]);
    succeed("rm", &[near("log.bin")]);
    assert!(bench.far("moved").exists() && !bench.far("log.bin").exists());
}

/// > The key is shown nowhere: not in a log, a message or the list of processes.
#[test]
fn no_log_ever_shows_a_key() {
    let bench = Bench::new();
    bench.write_key("digits", format!("{ITS_KEY}\n").as_bytes());
    let port = free_port();
    let server = bench.serve(&format!("udpout:127.0.0.1:{port}"), Some("digits"));
    let source = format!("udp:127.0.0.1:{port}");
    for key in ["key", "other"] {
        let mut loud = our_binary();
        loud.env("RUST_LOG", "trace");
        let [option, file] = bench.key(key);
        let [target, id] = TARGET;
        let short = ["--mount-timeout", "5s"];
        let arguments = ["ls", "-vvv", &source, short[0], short[1], target, id, &option, &file];
        let program = Program::start_as(None, User::Root, loud, &arguments);
        let (code, said) = ended(program, VERB_TIME);
        assert_eq!(code == 0, key == "key", "{said}");
        for secret in [PASSPHRASE, ITS_KEY, "another passphrase"] {
            assert!(!said.contains(secret) && !server.printed().contains(secret), "{said}");
        }
    }
}

/// > A key file of 32 bytes is the key itself, one of 64 hexadecimal digits as well; any other line is a
/// > passphrase. A line break at its end does not count.
#[test]
fn a_key_file_has_three_forms() {
    let bench = Bench::new();
    let raw: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&ITS_KEY[at..at + 2], 16).unwrap())
        .collect();
    bench.write_key("raw", &raw);
    bench.write_key("digits", ITS_KEY.to_uppercase().as_bytes());
    bench.write_key("line", format!("{PASSPHRASE}\n").as_bytes());
    let port = free_port();
    let _server = bench.serve(&format!("udpout:127.0.0.1:{port}"), Some("raw"));
    let source = format!("udp:127.0.0.1:{port}");
    for key in ["raw", "digits", "line", "key"] {
        let (code, said) = bench.verb(key, &["ls", &source, TARGET[0], TARGET[1]]);
        assert_eq!((code, &*said), (0, "log.bin\n"), "{key}");
    }
}

/// > A key file that cannot be used is told before anything is sent, and one that others can read with a
/// > warning.
#[test]
fn a_key_file_that_will_not_do_is_told() {
    let bench = Bench::new();
    bench.write_key("empty", b"\n");
    bench.write_key("binary", &[0; 31]);
    for (name, part) in [("missing", "No such file"), ("empty", "is empty"), ("binary", "31 bytes")]
    {
        for verb in [&["ls", "udp:14550"][..], &["serve", "udp:0", "."], &["udp:14550", "/mnt"]] {
            let (code, said) = bench.verb(name, verb);
            assert_eq!(code, USAGE, "{said}");
            assert!(said.contains(part) && said.contains(name), "{said}");
        }
    }
    let (code, said) = bench.verb("key", &["ls", "ftp://127.0.0.1"]);
    assert!(code == USAGE && said.contains("ftpes://"), "{said}");
    fs::set_permissions(bench.near("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let (_, said) = bench.verb("key", &["ls", &format!("udp:{}", free_port()), SHORT[0], SHORT[1]]);
    assert!(said.contains("can be read by others; chmod 600"), "{said}");
}

/// A path of a state directory that a test gives to several programs one after the other.
fn stored(state: &Path) -> String {
    let file = state.join("mavftp-mount/signing/link-0");
    fs::read_to_string(file).unwrap()
}

/// > Our timestamps never go back, neither with the computer's clock nor by a restart: the last one is kept
/// > in the state directory.
#[test]
fn a_program_goes_on_where_the_one_before_ended() {
    let bench = Bench::new();
    let port = free_port();
    let _server = bench.serve(&format!("udpout:127.0.0.1:{port}"), Some("key"));
    let state = tempfile::tempdir().unwrap();
    let source = format!("udp:127.0.0.1:{port}");
    let arguments = [&["ls".to_owned(), source][..], &TARGET.map(String::from), &bench.key("key")];
    let run = || {
        let mut program = Program::start_keeping(Some(state.path()), &arguments.concat());
        assert!(program.wait(VERB_TIME).success(), "{}", program.printed());
        let line = stored(state.path());
        line.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let first = run();
    // As if the last run had been ten minutes later, by a clock that has been put right since. The
    // server follows our time as soon as it hears it.
    let ahead = first + 60_000_000;
    let line = stored(state.path()).replacen(&format!("{first:020}"), &format!("{ahead:020}"), 1);
    fs::write(state.path().join("mavftp-mount/signing/link-0"), line).unwrap();
    assert!(run() > ahead);
}
