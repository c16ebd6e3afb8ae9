//! The verbs and the library on FTP servers that nobody here wrote: the right bytes at the right
//! place. Needs root, and the servers that scripts/test unpacks.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mavftp_mount::api::{Found, Login, Options, Vehicle};
use mavftp_mount::link::address::Source;
use mavftp_mount::remote::{RemotePath, save::Policy};

mod support;

use support::ftp::servers::{Kind, Manners, Security, Server};
use support::ordinary::{holds, noise, text};
use support::program::{Ordinary, our_binary};

/// For a verb on a busy machine.
const VERB_TIME: Duration = Duration::from_secs(30);

/// Runs our program, which must succeed; the bytes it printed.
fn verb(server: &Server, arguments: &[&str]) -> Vec<u8> {
    let mut command = our_binary();
    let (verb, rest) = arguments.split_first().unwrap();
    command.arg(verb).args(server.options()).args(rest);
    let mut running = Ordinary::run(command);
    assert!(running.wait(VERB_TIME).is_some(), "{verb} takes longer than {VERB_TIME:?}");
    let output = running.output();
    let complaint = text(output.stderr);
    assert!(output.status.success(), "{verb} failed, {}: {complaint}", output.status);
    output.stdout
}

fn verbs(kind: Kind, security: Security) {
    let server = Server::start(kind, security, Manners::default());
    let local = tempfile::tempdir().unwrap();
    let bytes = noise(20, 3_000_001);
    fs::create_dir(server.far("a folder")).unwrap();
    fs::write(server.far("a folder/with 100%"), &bytes).unwrap();
    fs::write(server.far("empty"), b"").unwrap();
    server.own();
    let place = server.source_of("a folder/with 100%");
    let here = |name: &str| local.path().join(name).to_str().unwrap().to_owned();

    assert!(verb(&server, &["cat", &place]) == bytes, "cat differs");
    verb(&server, &["get", &place, &here("got")]);
    holds(&local.path().join("got"), &bytes);
    verb(&server, &["get", &server.source_of("empty"), &here("empty")]);
    holds(&local.path().join("empty"), b"");
    verb(&server, &["put", &here("got"), &server.source_of("a folder")]);
    holds(&server.far("a folder/got"), &bytes);
    fs::write(local.path().join("got"), b"short").unwrap();
    verb(&server, &["put", &here("got"), &place]);
    holds(&server.far("a folder/with 100%"), b"short");
    assert_eq!(verb(&server, &["ls", &server.source()]), b"a folder\nempty\n");
    assert_eq!(verb(&server, &["ls", &server.source_of("a folder")]), b"got\nwith 100%\n");
    let long = text(verb(&server, &["ls", "-l", &place]));
    assert!(
        long.starts_with('-') && long.contains(" 5 ") && long.ends_with("with 100%\n"),
        "{long}"
    );
}

#[test]
fn the_verbs_move_the_right_bytes_on_vsftpd() {
    verbs(Kind::Vsftpd, Security::Plain);
}

#[test]
fn the_verbs_move_the_right_bytes_on_proftpd_with_explicit_tls() {
    verbs(Kind::Proftpd, Security::Explicit);
}

#[test]
fn the_verbs_move_the_right_bytes_on_pyftpdlib() {
    verbs(Kind::Pyftpdlib, Security::Plain);
}

#[test]
fn the_library_lists_reads_and_stores() {
    let server = Server::start(Kind::Proftpd, Security::Plain, Manners::default());
    let bytes = noise(21, 500_000);
    fs::write(server.far("log"), &bytes).unwrap();
    server.own();
    let Source { address, .. } = server.source().parse().unwrap();
    let login = Login { password: Some(server.password().into()), ..Login::default() };
    let options = Options { login, ..Options::default() };
    let vehicle = Vehicle::connect(&address, &options, &mut |_| ()).unwrap();
    let path = |name: &str| RemotePath::parse(format!("/files/{name}").as_bytes()).unwrap();

    let mut read = Vec::new();
    let mut last = 0;
    vehicle.read_to(&path("log"), &mut read, &mut |so_far, _| last = so_far).unwrap();
    assert!(read == bytes && last == bytes.len() as u64, "{} bytes, told {last}", read.len());
    let local = tempfile::NamedTempFile::new().unwrap();
    fs::write(local.path(), &bytes[1..]).unwrap();
    let file = fs::File::open(local.path()).unwrap();
    vehicle.store(&path("new"), file, Policy::default(), &mut |_, _| ()).unwrap();
    holds(&server.far("new"), &bytes[1..]);
    let names = vehicle.list(&path("")).unwrap();
    let names: Vec<String> = names.iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(names, ["log", "new"]);
    let Found::File(entry) = vehicle.find(&path("log")).unwrap() else { panic!("a folder") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!(entry.size == 500_000 && (now - entry.mtime.unwrap()).abs() < 60, "{entry:?}");
}
