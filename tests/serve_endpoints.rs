//! `serve` as it is typed: several endpoints at once, what it says, and another root while it runs.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mavftp_mount::api::{Options, Vehicle};
use mavftp_mount::remote::RemotePath;

mod support;

use support::program::{Program, our_program};

/// For everything that happens at once on the loopback, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn signal(program: &Program, signal: i32) {
    // SAFETY: a plain system call; the child is not reaped yet, so the id is still its own.
    unsafe { libc::kill(program.id() as i32, signal) };
}

/// Starts `serve` with these arguments; the endpoints that it says it serves on.
fn serve(arguments: &[&str]) -> (Program, Vec<String>) {
    let mut program = Program::start(&[&["serve"], arguments].concat());
    program.wait_until(PATIENCE, |program| program.printed().contains('\n'));
    let printed = program.printed();
    let (_, endpoints) = printed.lines().next().unwrap().split_once(" on ").unwrap();
    let endpoints = endpoints.split(", ").map(str::to_owned).collect();
    (program, endpoints)
}

/// How a client reaches a listening endpoint.
fn towards(endpoint: &str) -> String {
    endpoint.replacen("udp:", "udpout:", 1).replacen("tcpin:", "tcp:", 1)
}

fn connect(endpoint: &str, rate_limit: Option<u32>) -> Vehicle {
    let mut options = Options::default();
    options.mavlink.target = Some((1, Some(191)));
    options.mavlink.rate_limit = rate_limit;
    Vehicle::connect(&towards(endpoint).parse().unwrap(), &options, &mut |_| {}).unwrap()
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

fn names(vehicle: &Vehicle) -> Vec<String> {
    vehicle.list(&path("/")).unwrap().iter().map(|entry| entry.name.to_string()).collect()
}

/// Two directories, and a file that names the first one.
struct Roots {
    folder: tempfile::TempDir,
}

impl Roots {
    fn new() -> Roots {
        let roots = Roots { folder: tempfile::tempdir().unwrap() };
        for name in ["first", "second", "third"] {
            fs::create_dir(roots.at(name)).unwrap();
            fs::write(roots.at(name).join(name), vec![7; 60_000]).unwrap();
        }
        roots.name(&roots.at("first"));
        roots
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, path: &Path) {
        fs::write(self.at("root"), format!("{}\n", path.display())).unwrap();
    }

    fn serve(&self, options: &[&str]) -> (Program, String) {
        let file = self.at("root");
        let file = ["--root-file", file.to_str().unwrap(), "udp:127.0.0.1:0"];
        let (program, endpoints) = serve(&[options, &file].concat());
        (program, endpoints[0].clone())
    }
}

#[test]
fn clients_of_all_endpoints_see_the_same_files_and_a_signal_ends_all() {
    let roots = Roots::new();
    let (mut program, endpoints) = serve(&[
        "udp:127.0.0.1:0",
        "tcpin:127.0.0.1:0",
        "udp:127.0.0.1:0",
        roots.at("first").to_str().unwrap(),
    ]);
    assert_eq!(endpoints.len(), 3);
    for endpoint in &endpoints {
        assert_eq!(names(&connect(endpoint, None)), ["first"], "{endpoint}");
    }
    program.terminate();
    assert!(program.wait(PATIENCE).success());
    assert_eq!(program.printed().lines().count(), 1, "{}", program.printed());
}

#[test]
fn what_is_typed_wrongly_or_cannot_be_opened_is_one_line() {
    let roots = Roots::new();
    let first = roots.at("first");
    let first = first.to_str().unwrap();
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let busy = format!("udp:{}", holder.local_addr().unwrap());
    let missing = roots.at("none");
    let missing = missing.to_str().unwrap();
    for (arguments, code, part) in [
        (&["udp:127.0.0.1:0", &busy, first][..], 1, "is in use"),
        (&["udp:127.0.0.1:0", "/dev/no-such-line:57600", first], 1, "/dev/no-such-line"),
        (&["udp:127.0.0.1:0", missing], 1, "it does not exist"),
        (&["--root-file", missing, "udp:127.0.0.1:0"], 1, "No such file"),
        (&["udp:127.0.0.1:0", "ftp://host", first], 2, "MAVLink link"),
        (&["--max-rate", "fast", "udp:127.0.0.1:0", first], 2, "10k or 2M"),
    ] {
        let (ended, text) = our_program(&[&["serve"], arguments].concat(), PATIENCE);
        assert_eq!((ended, text.lines().count()), (code, 1), "{text}");
        assert!(text.starts_with("error: ") && text.contains(part), "{text}");
    }
}

#[test]
fn a_verbose_server_says_who_asks_for_what() {
    let roots = Roots::new();
    let (mut program, endpoints) =
        serve(&["-v", "udp:127.0.0.1:0", roots.at("first").to_str().unwrap()]);
    drop(connect(&endpoints[0], None));
    names(&connect(&endpoints[0], None));
    program.wait_until(PATIENCE, |program| program.printed().contains("asks: ListDirectory"));
    assert!(program.printed().contains("system 245, component 191 at 127.0.0.1:"));
    program.terminate();
    assert!(program.wait(PATIENCE).success());
    assert!(program.printed().lines().last().unwrap().ends_with("stopped"));
}

/// > With `--root-file`, SIGHUP has the file read again and the directory that it names now served;
/// > clients may stay connected.
#[test]
fn sighup_serves_the_directory_that_the_root_file_names_now() {
    let roots = Roots::new();
    let (mut program, endpoint) = roots.serve(&[]);
    assert_eq!(names(&connect(&endpoint, None)), ["first"]);
    roots.name(&roots.at("second"));
    signal(&program, libc::SIGHUP);
    let line = format!("serving {} (read-only)", roots.at("second").display());
    program.wait_until(PATIENCE, |program| program.printed().contains(&line));
    assert_eq!(names(&connect(&endpoint, None)), ["second"]);
    program.terminate();
    assert!(program.wait(PATIENCE).success());
    assert_eq!(program.printed().lines().count(), 2, "{}", program.printed());
}

/// > While a transfer is open, SIGHUP changes nothing yet: an error says so, the old directory is
/// > served on, and the new one as soon as the transfer has ended, unless another SIGHUP names another.
#[test]
fn sighup_in_a_download_waits_for_its_end() {
    let roots = Roots::new();
    let (mut program, endpoint) = roots.serve(&[]);
    let vehicle = connect(&endpoint, Some(60_000));
    let local = tempfile::tempfile().unwrap();
    let mut told = false;
    let fetched = vehicle.fetch(&path("/first"), &local, &mut |_, _| {
        if !told {
            told = true;
            for name in ["second", "third"] {
                roots.name(&roots.at(name));
                signal(&program, libc::SIGHUP);
                let busy = format!("error: cannot serve {} yet: ", roots.at(name).display());
                program.wait_until(PATIENCE, |program| program.printed().contains(&busy));
            }
        }
    });
    assert_eq!(fetched.unwrap(), 60_000);
    let served = |program: &Program| program.printed().matches("serving ").count();
    assert_eq!(served(&program), 1, "{}", program.printed());
    program.wait_until(PATIENCE, |program| served(program) == 2);
    assert_eq!(names(&connect(&endpoint, None)), ["third"]);
}

/// > A directory that is missing at SIGHUP, or no directory, or a root file that cannot be read, is
/// > told as an error, and the old directory is served on until the next SIGHUP.
#[test]
fn sighup_with_a_directory_that_is_missing_keeps_the_old_one() {
    let roots = Roots::new();
    let (mut program, endpoint) = roots.serve(&[]);
    let cases = [
        (Some("none"), "there is no such directory"),
        (Some("first/first"), "there is no such directory"),
        (None, "No such file"),
    ];
    for (errors, (named, part)) in (1..).zip(cases) {
        match named {
            Some(name) => roots.name(&roots.at(name)),
            None => fs::remove_file(roots.at("root")).unwrap(),
        }
        signal(&program, libc::SIGHUP);
        let told = |program: &Program| program.printed().matches("served on").count() == errors;
        program.wait_until(PATIENCE, told);
        let printed = program.printed();
        assert!(printed.lines().last().unwrap().contains(part), "{printed}");
        assert_eq!(names(&connect(&endpoint, None)), ["first"]);
    }
    roots.name(&roots.at("second"));
    signal(&program, libc::SIGHUP);
    program.wait_until(PATIENCE, |program| program.printed().contains("/second ("));
}

/// > Without `--root-file` SIGHUP ends the program, as it ends any other.
#[test]
fn sighup_without_a_root_file_ends_the_program() {
    let roots = Roots::new();
    let (mut program, _) = serve(&["udp:127.0.0.1:0", roots.at("first").to_str().unwrap()]);
    signal(&program, libc::SIGHUP);
    assert_eq!(program.wait(PATIENCE).signal(), Some(libc::SIGHUP));
}

/// > `--max-rate` is the most bytes per second that bursts take on each endpoint, 2 MB/s unless it
/// > is said, and on a serial line never more than half of what the line carries.
#[test]
fn a_burst_is_held_to_the_rate_that_is_told() {
    let roots = Roots::new();
    let first = roots.at("first");
    let (_program, endpoints) =
        serve(&["--max-rate", "100k", "udp:127.0.0.1:0", first.to_str().unwrap()]);
    let began = Instant::now();
    let received = burst(&endpoints[0]);
    assert_eq!(received, 60_000);
    let seconds = began.elapsed().as_secs_f64();
    // 60,000 bytes in packets of 239, each with a frame around it, at 102,400 bytes a second.
    assert!((0.4..3.0).contains(&seconds), "{seconds} s");
}

/// Bytes of `/first` that one burst brings.
fn burst(endpoint: &str) -> usize {
    use mavftp_mount::link::address::Address;
    use mavftp_mount::link::node::{Message, Node};
    use mavftp_mount::mavftp::wire::{Opcode, Payload};

    let address: Address = towards(endpoint).parse().unwrap();
    let mut node = Node::new(address.open().unwrap(), 255, 190);
    let open = Payload::request(Opcode::OpenFileRo).with_data(b"/first");
    let burst = Payload { size: 239, sequence: 2, ..Payload::request(Opcode::BurstReadFile) };
    let send = |node: &mut Node, request: Payload| {
        let (target_system, target_component, payload) = (1, 191, request.encode());
        let message = Message::Ftp { target_system, target_component, payload };
        node.send(None, &message).unwrap();
    };
    send(&mut node, open);
    let (deadline, mut received) = (Instant::now() + PATIENCE, 0);
    while Instant::now() < deadline {
        let Some(heard) = node.receive(Some(deadline)).unwrap() else { continue };
        let Message::Ftp { payload, .. } = heard.message else { continue };
        let answer = Payload::decode(&payload).unwrap();
        match (answer.command(), answer.req_opcode) {
            (Some(Opcode::Ack), opcode) if opcode == Opcode::OpenFileRo as u8 => {
                send(&mut node, Payload { session: answer.session, ..burst });
            }
            (Some(Opcode::Ack), _) => received += answer.data().len(),
            _ => break,
        }
    }
    received
}
