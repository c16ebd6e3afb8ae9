//! FTP over TLS against a server that nobody here wrote (pyftpdlib): what is protected works, and what
//! is not to be believed is not used.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::CommandCargoExt;
use mavftp_mount::remote::ask::{ask, ask_with, list};
use mavftp_mount::remote::ftp::{Fingerprint, Options, Protection, Trust, connect};
use mavftp_mount::remote::{Class, Error, Op, Remote, Reply, WriteMode};
use support::certificates::{ADDRESS, Certificates};
use support::python::{Peer, START_TIME};
use support::remotes::{Data, Whole, end, path, pattern};

mod support;

const PATIENCE: Duration = Duration::from_secs(5);
/// For tests of what happens when nothing comes.
const SHORT: Duration = Duration::from_millis(700);
const EXPLICIT: (&str, Protection) = ("explicit", Protection::Explicit);
const IMPLICIT: (&str, Protection) = ("implicit", Protection::Implicit);

/// A protected server.
struct World {
    directory: tempfile::TempDir,
    certificates: Certificates,
    options: Options,
    _server: Peer,
}

impl World {
    fn new(mode: (&str, Protection), certificates: Certificates, more: &[&str]) -> World {
        let mut arguments = certificates.arguments(mode.0);
        arguments.extend(more.iter().map(|argument| argument.to_string()));
        let (server, port, directory) = serve(&arguments);
        let trust = Trust::CaFile(certificates.authority());
        let options = Options { trust, protection: mode.1, ..options(port) };
        World { directory, certificates, options, _server: server }
    }

    fn trusting(&self, trust: Trust) -> Result<Arc<dyn Remote>, Error> {
        connect(&Options { trust, ..self.options.clone() })
    }

    /// What is said of this certificate; a refused one is no failed connection.
    fn distrusted(&self, trust: Trust) -> String {
        match self.trusting(trust) {
            Err(Error::Login(text)) => {
                assert!(!text.contains('\n'), "{text}");
                text
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it is connected"),
        }
    }
}

fn serve(arguments: &[String]) -> (Peer, u16, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let place = [directory.path().to_str().unwrap().to_owned()];
    let mut server = Peer::start("pyftpdlib_server.py", &[&place, arguments].concat());
    let port = server.line(START_TIME).parse().unwrap();
    (server, port, directory)
}

fn options(port: u16) -> Options {
    let (user, password) = ("pilot".into(), "secret".into());
    Options { user, password, op_timeout: PATIENCE, ..Options::new(ADDRESS, port) }
}

fn run(remote: &Arc<dyn Remote>, op: Op) -> Result<Reply, Error> {
    end(ask(remote, op, Class::Demand, PATIENCE))
}

fn write(remote: &Arc<dyn Remote>, name: &str, bytes: Vec<u8>) -> Result<Reply, Error> {
    let source = Arc::new(Whole(bytes));
    run(remote, Op::Write { path: path(name), mode: WriteMode::Replace, source })
}

fn read(remote: &Arc<dyn Remote>, name: &str, offset: u64, length: u64) -> Vec<u8> {
    let sink = Arc::new(Data::default());
    let op = Op::Read { path: path(name), offset, length, expected: None };
    end(ask_with(remote, op, Class::Demand, PATIENCE, sink.clone())).unwrap();
    sink.from(offset)
}

fn everything_works(mode: (&str, Protection), more: &[&str]) {
    let world = World::new(mode, Certificates::new(), more);
    let remote = world.trusting(world.options.trust.clone()).unwrap();
    let bytes = pattern(3_000_001);
    for round in 0..6 {
        assert_eq!(write(&remote, &format!("/{round}"), bytes.clone()), Ok(Reply::Size(3_000_001)));
    }
    assert!(fs::read(world.directory.path().join("5")).unwrap() == bytes);
    assert_eq!(write(&remote, "/empty", Vec::new()), Ok(Reply::Size(0)));
    assert_eq!(fs::read(world.directory.path().join("empty")).unwrap(), b"");
    assert!(read(&remote, "/3", 0, u64::MAX) == bytes);
    for offset in [1, 70_000, 2_999_990] {
        let wanted = &bytes[offset..(offset + 1000).min(bytes.len())];
        assert!(read(&remote, "/3", offset as u64, 1000) == wanted, "{offset}");
    }
    assert_eq!(end(list(&remote, &path("/"), PATIENCE)).unwrap().len(), 7);
    assert_eq!(run(&remote, Op::MakeDirectory { path: path("/d") }), Ok(Reply::Done));
    assert_eq!(run(&remote, Op::Remove { path: path("/gone") }), Err(Error::NotFound));
}

#[test]
fn everything_works_after_auth_tls() {
    everything_works(EXPLICIT, &[]);
}

#[test]
fn everything_works_with_tls_from_the_start() {
    everything_works(IMPLICIT, &[]);
}

#[test]
fn a_server_that_knows_only_the_newest_tls_is_spoken_to_as_well() {
    everything_works(EXPLICIT, &["--tls13"]);
    everything_works(IMPLICIT, &["--tls13"]);
}

#[test]
fn an_expired_certificate_is_refused_with_its_date() {
    let world = World::new(EXPLICIT, Certificates::expired(), &[]);
    let text = world.distrusted(world.options.trust.clone());
    assert!(text.contains("expired on 2021-03-04"), "{text}");
    let advice = format!("--tls-fingerprint {}", world.certificates.fingerprint);
    assert!(text.contains(&advice), "{text}");
}

#[test]
fn a_certificate_of_another_host_is_refused_with_its_names() {
    let world = World::new(IMPLICIT, Certificates::for_another(), &[]);
    let text = world.distrusted(world.options.trust.clone());
    assert!(text.contains("is for drone.example, 10.1.2.3, not for 127.0.0.1"), "{text}");
}

#[test]
fn an_unknown_authority_is_refused_and_what_helps_is_said() {
    let world = World::new(EXPLICIT, Certificates::new(), &[]);
    let others = Certificates::new();
    let text = world.distrusted(Trust::CaFile(others.authority()));
    assert!(text.contains("is not signed by any authority of "), "{text}");
    assert!(text.contains(&world.certificates.fingerprint.to_string()), "{text}");
    assert!(text.contains("--ca-file"), "{text}");
    let text = world.distrusted(Trust::System);
    assert!(text.contains("this system"), "{text}");
    let text = world.distrusted(Trust::CaFile("/no/such".into()));
    assert!(text.contains("--ca-file /no/such"), "{text}");
    let text = world.distrusted(Trust::CaFile("/etc/passwd".into()));
    assert!(text.contains("no certificate"), "{text}");
}

#[test]
fn a_fingerprint_lets_in_one_certificate_whatever_it_says_and_no_other() {
    for mode in [EXPLICIT, IMPLICIT] {
        for certificates in [Certificates::expired(), Certificates::self_made()] {
            let world = World::new(mode, certificates, &[]);
            let right = Trust::Fingerprint(world.certificates.fingerprint);
            assert!(write(&world.trusting(right).unwrap(), "/a", vec![1]).is_ok());
            let wrong = world.distrusted(Trust::Fingerprint(Fingerprint([7; 32])));
            assert!(wrong.contains(&world.certificates.fingerprint.to_string()), "{wrong}");
            assert!(write(&world.trusting(Trust::Anything).unwrap(), "/b", vec![2]).is_ok());
        }
    }
}

#[test]
fn a_self_made_certificate_is_refused_even_as_its_own_authority() {
    let world = World::new(EXPLICIT, Certificates::self_made(), &[]);
    let text = world.distrusted(world.options.trust.clone());
    assert!(text.contains("self-signed") && text.contains("--tls-fingerprint sha256:"), "{text}");
}

#[test]
fn a_server_without_tls_is_never_told_a_password() {
    let (_server, port, _directory) = serve(&[]);
    for (protection, part) in
        [(Protection::Explicit, "has no TLS"), (Protection::Implicit, "is not TLS")]
    {
        match connect(&Options { protection, ..options(port) }) {
            Err(Error::Login(text)) => assert!(text.contains(part), "{text}"),
            other => panic!("{:?}", other.err()),
        }
    }
}

#[test]
fn a_server_that_protects_no_data_is_refused() {
    for mode in [EXPLICIT, IMPLICIT] {
        let world = World::new(mode, Certificates::new(), &["--refuse-prot"]);
        let text = world.distrusted(world.options.trust.clone());
        assert!(text.contains("does not protect") && text.contains("534"), "{text}");
    }
}

#[test]
fn a_wrong_password_is_told_from_a_wrong_certificate() {
    let world = World::new(IMPLICIT, Certificates::new(), &[]);
    let login_advice = "ask the pilot".to_owned();
    match connect(&Options { password: "guess".into(), login_advice, ..world.options.clone() }) {
        Err(Error::Login(text)) => {
            assert!(text.starts_with("530 ") && text.ends_with("; ask the pilot"), "{text}")
        }
        other => panic!("{:?}", other.err()),
    }
}

/// Says this to everybody and then nothing, and hangs up on nobody.
fn silent_after(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((ADDRESS, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut clients = Vec::new();
        for client in listener.incoming() {
            let mut client = client.unwrap();
            client.write_all(greeting).unwrap();
            clients.push(client);
        }
    });
    port
}

/// Says a byte every now and then, so that no single wait is long.
fn slow_server() -> u16 {
    let listener = TcpListener::bind((ADDRESS, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            thread::spawn(move || {
                while client.write_all(b"2").is_ok() {
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    port
}

#[test]
fn a_server_that_stays_silent_is_given_up_in_time() {
    for (port, protection) in [
        (silent_after(b""), Protection::Explicit),
        (silent_after(b""), Protection::Implicit),
        (silent_after(b"220 hello\r\n"), Protection::Explicit),
        (silent_after(b"220 hello\r\n234 go on\r\n"), Protection::Explicit),
        (slow_server(), Protection::Explicit),
    ] {
        let started = Instant::now();
        let ended = connect(&Options { protection, op_timeout: SHORT, ..options(port) }).err();
        assert_eq!(ended, Some(Error::TimedOut), "{protection:?}");
        assert!(started.elapsed() < SHORT * 2, "{:?}", started.elapsed());
    }
}

#[test]
fn what_is_put_in_before_the_handshake_is_not_believed() {
    // A login that somebody in between lets succeed without the server.
    let port = silent_after(b"220 hello\r\n234 go on\r\n230 welcome\r\n200 ok\r\n200 ok\r\n");
    match connect(&Options { protection: Protection::Explicit, ..options(port) }) {
        Err(Error::Login(text)) => assert!(text.contains("is not TLS"), "{text}"),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn a_server_that_hangs_up_is_not_reached() {
    let listener = TcpListener::bind((ADDRESS, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            // Its first words are read: closing then is no reset.
            let _ = client.unwrap().read(&mut [0; 4096]);
        }
    });
    match connect(&Options { protection: Protection::Implicit, ..options(port) }) {
        Err(Error::Failed(text)) => assert!(text.contains("cannot be reached"), "{text}"),
        other => panic!("{:?}", other.err()),
    }
}

/// The program against a server; its home has a netrc when that is given.
fn program(home: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("mavftp-mount").unwrap();
    for name in ["RUST_LOG", "MAVFTP_PASSWORD", "NETRC"] {
        command.env_remove(name);
    }
    command.env("HOME", home).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_program_takes_its_trust_and_its_password_from_where_it_is_told() {
    let world = World::new(EXPLICIT, Certificates::new(), &["--password", "geheim"]);
    fs::write(world.directory.path().join("log.ulg"), b"1234").unwrap();
    let place = format!("ftpes://{ADDRESS}:{}", world.options.port);
    let home = tempfile::tempdir().unwrap();
    let netrc = home.path().join(".netrc");
    fs::write(&netrc, format!("machine {ADDRESS} login pilot password \"geheim\"\n")).unwrap();

    fs::set_permissions(&netrc, fs::Permissions::from_mode(0o644)).unwrap();
    let authority = world.certificates.authority();
    let authority = ["ls", &place, "--ca-file", authority.to_str().unwrap()];
    let exposed = program(home.path(), &authority);
    assert_eq!(exposed.status.code(), Some(2));
    assert!(text(&exposed.stderr).contains("chmod 600"), "{}", text(&exposed.stderr));

    fs::set_permissions(&netrc, fs::Permissions::from_mode(0o600)).unwrap();
    let fingerprint = world.certificates.fingerprint.to_string();
    let fingerprint = ["ls", &place, "--tls-fingerprint", &fingerprint, "-vvv"];
    for arguments in [&authority[..], &fingerprint] {
        let listed = program(home.path(), arguments);
        let said = text(&listed.stderr);
        assert_eq!(text(&listed.stdout), "log.ulg\n", "{said}");
        assert!(!said.contains("geheim") && !said.contains("PASS"), "{said}");
    }

    let insecure = program(home.path(), &["ls", "-q", &place, "--insecure"]);
    assert_eq!(text(&insecure.stdout), "log.ulg\n");
    assert!(text(&insecure.stderr).starts_with("warning: --insecure: "));

    let distrusted = program(home.path(), &["ls", &place]);
    let said = text(&distrusted.stderr);
    assert_eq!(distrusted.status.code(), Some(5), "{said}");
    assert!(said.lines().count() == 1 && said.contains("--tls-fingerprint sha256:"), "{said}");
}

#[test]
fn a_refused_password_says_where_it_came_from() {
    let world = World::new(IMPLICIT, Certificates::new(), &[]);
    let place = format!("ftps://pilot@{ADDRESS}:{}", world.options.port);
    let home = tempfile::tempdir().unwrap();
    let authority = world.certificates.authority();
    let ask = |more: &[&str]| {
        let place = ["ls", &place, "--ca-file", authority.to_str().unwrap()];
        let output = program(home.path(), &[&place, more].concat());
        assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    assert!(ask(&[]).contains("no password was given: use --password-file"), "{}", ask(&[]));
    let netrc = home.path().join(".netrc");
    fs::write(&netrc, "default login pilot password guess\n").unwrap();
    fs::set_permissions(&netrc, fs::Permissions::from_mode(0o600)).unwrap();
    let from = format!("which came from {}", netrc.display());
    assert!(ask(&[]).contains(&from), "{}", ask(&[]));
    let file = home.path().join("password");
    fs::write(&file, "another\n").unwrap();
    let said = ask(&["--password-file", file.to_str().unwrap()]);
    assert!(said.contains(&format!("the file {}", file.display())), "{said}");
    assert!(!said.contains("another") && !said.contains("guess"), "{said}");
}
