//! The FTP remote against a server that nobody here wrote (pyftpdlib), through the trait alone.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mavftp_mount::remote::ask::{ask, ask_with, list};
use mavftp_mount::remote::ftp::{CONNECTIONS, Options, connect};
use mavftp_mount::remote::{
    Class, Entry, Error, Kind, Op, OpId, Remote, RemotePath, Reply, Source, WriteMode,
};
use support::python::{Peer, START_TIME};
use support::remotes::{AtFirstBytes, Data, Ends, Gate, LIMIT, Whole, end, path, pattern};

mod support;

const PATIENCE: Duration = Duration::from_secs(5);
/// For tests of what happens when nothing comes.
const SHORT: Duration = Duration::from_millis(700);

/// A served directory and a remote that shows it.
struct World {
    remote: Arc<dyn Remote>,
    server: Arc<Mutex<Peer>>,
    port: u16,
    directory: tempfile::TempDir,
}

impl World {
    fn new(arguments: &[&str]) -> World {
        World::connected(arguments, CONNECTIONS)
    }

    fn with_connections(connections: usize) -> World {
        World::connected(&[], connections)
    }

    fn connected(arguments: &[&str], connections: usize) -> World {
        let directory = tempfile::tempdir().unwrap();
        let (server, port) = serve(directory.path(), arguments);
        let remote = connect(&Options { connections, ..options(port) }).unwrap();
        World { remote, server: Arc::new(Mutex::new(server)), port, directory }
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        fs::write(self.directory.path().join(path), bytes).unwrap();
    }

    fn content(&self, path: &str) -> Vec<u8> {
        fs::read(self.directory.path().join(path)).unwrap()
    }

    fn run(&self, op: Op) -> Result<Reply, Error> {
        end(ask(&self.remote, op, Class::Demand, PATIENCE))
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> Result<(Reply, Vec<u8>), Error> {
        let sink = Arc::new(Data::default());
        let op = Op::Read { path: path(name), offset, length, expected: None };
        let reply = end(ask_with(&self.remote, op, Class::Demand, PATIENCE, sink.clone()))?;
        Ok((reply, sink.from(offset)))
    }

    fn write(&self, name: &str, source: impl Source + 'static) -> Result<Reply, Error> {
        self.run(replace(name, Arc::new(source)))
    }

    fn restart_server(&self) {
        let arguments = ["--port", &self.port.to_string()];
        *self.server.lock().unwrap() = serve(self.directory.path(), &arguments).0;
    }
}

fn serve(directory: &Path, arguments: &[&str]) -> (Peer, u16) {
    let directory = [directory.to_str().unwrap()];
    let mut server = Peer::start("pyftpdlib_server.py", &[&directory, arguments].concat());
    let port = server.line(START_TIME).parse().unwrap();
    (server, port)
}

fn options(port: u16) -> Options {
    let (user, password) = ("pilot".into(), "secret".into());
    Options { user, password, op_timeout: PATIENCE, ..Options::new("127.0.0.1", port) }
}

fn replace(name: &str, source: Arc<dyn Source>) -> Op {
    Op::Write { path: path(name), mode: WriteMode::Replace, source }
}

#[test]
fn a_directory_is_listed_with_kinds_sizes_and_times() {
    let world = World::new(&[]);
    world.put("plan.txt", b"twelve bytes");
    world.put(" a;b -l.bin", b"");
    fs::create_dir(world.directory.path().join("log dir")).unwrap();
    world.put("log dir/übung.bin", &pattern(1000));
    let mut entries = end(list(&world.remote, &path("/"), PATIENCE)).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let shown: Vec<_> = entries.iter().map(|e| (e.name.to_string(), e.kind, e.size)).collect();
    let expected = [
        (" a;b -l.bin".into(), Kind::File, 0),
        ("log dir".into(), Kind::Directory, 0),
        ("plan.txt".into(), Kind::File, 12),
    ];
    assert_eq!(shown, expected);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = |entry: &Entry| now.as_secs() as i64 - entry.mtime.unwrap();
    assert!(entries.iter().all(|entry| (-5..60).contains(&age(entry))), "{entries:?}");
    let below = end(list(&world.remote, &path("/log dir"), PATIENCE)).unwrap();
    assert_eq!(below[0].name.as_bytes(), "übung.bin".as_bytes());
    assert_eq!(below[0].size, 1000);
    assert_eq!(world.read("/log dir/übung.bin", 0, 1000).unwrap().1, pattern(1000));
}

#[test]
fn a_server_without_machine_listings_is_listed_too() {
    let world = World::new(&["--no-mlsd"]);
    fs::create_dir(world.directory.path().join("a dir")).unwrap();
    world.put("a dir/-l x", b"12345");
    (0..300).for_each(|i| world.put(&format!("a dir/{i}"), b""));
    let root = end(list(&world.remote, &path("/"), PATIENCE)).unwrap();
    assert_eq!((root.len(), root[0].kind, root[0].mtime), (1, Kind::Directory, None));
    let below = end(list(&world.remote, &path("/a dir"), PATIENCE)).unwrap();
    assert_eq!(below.len(), 301);
    let dashed = below.iter().find(|entry| entry.name.as_bytes() == b"-l x").unwrap();
    assert_eq!(dashed.size, 5);
}

#[test]
fn ranges_at_odd_offsets_bring_exactly_their_bytes() {
    let world = World::new(&[]);
    let bytes = pattern(3_000_001);
    world.put("flight.ulg", &bytes);
    let size = bytes.len() as u64;
    for (offset, length) in [
        (0, 1),
        (1, 239),
        (65_535, 131_073),
        (2_999_999, 2),
        (2_999_999, 5_000),
        (0, size),
        (size - 1, u64::MAX),
        (size, 10),
        (size + 10, 10),
        (7, 0),
    ] {
        let (reply, read) = world.read("/flight.ulg", offset, length).unwrap();
        let start = offset.min(size) as usize;
        let stop = offset.saturating_add(length).min(size).max(start as u64) as usize;
        assert!(read == bytes[start..stop], "{offset}+{length}: {} bytes", read.len());
        assert_eq!(reply, Reply::Size(size));
    }
    assert_eq!(world.run(Op::Size { path: path("/flight.ulg") }), Ok(Reply::Size(size)));
}

#[test]
fn what_was_stored_is_what_lies_on_the_servers_disk() {
    let world = World::new(&[]);
    let bytes = pattern(1_234_567);
    let stored = world.write("/new.bin", Whole(bytes.clone()));
    assert_eq!(stored, Ok(Reply::Size(1_234_567)));
    assert!(world.content("new.bin") == bytes);
    // Carriage returns and line feeds pass, a shorter file leaves no tail, an empty one is empty.
    assert_eq!(world.write("/new.bin", Whole(b"a\nb\r\n\xff\0".into())), Ok(Reply::Size(7)));
    assert_eq!(world.content("new.bin"), b"a\nb\r\n\xff\0");
    assert_eq!(world.write("/new.bin", Whole(Vec::new())), Ok(Reply::Size(0)));
    assert_eq!(world.content("new.bin"), b"");
}

#[test]
fn names_are_made_moved_and_removed() {
    let world = World::new(&[]);
    world.put("a", b"1");
    world.put("b", b"2");
    let rename = |from, to| Op::Rename { from: path(from), to: path(to) };
    assert_eq!(world.run(Op::MakeDirectory { path: path("/d") }), Ok(Reply::Done));
    assert_eq!(world.run(rename("/a", "/d/c")), Ok(Reply::Done));
    assert_eq!(world.content("d/c"), b"1");
    assert_eq!(world.run(rename("/d/c", "/b")), Ok(Reply::Done));
    assert_eq!(world.content("b"), b"1");
    assert_eq!(world.run(Op::Remove { path: path("/b") }), Ok(Reply::Done));
    assert_eq!(world.run(Op::RemoveDirectory { path: path("/d") }), Ok(Reply::Done));
    assert_eq!(fs::read_dir(world.directory.path()).unwrap().count(), 0);
}

#[test]
fn refusals_say_what_is_wrong_and_leave_the_connection_usable() {
    let world = World::new(&[]);
    fs::create_dir_all(world.directory.path().join("d/e")).unwrap();
    let gone = || path("/gone");
    assert_eq!(world.read("/gone", 0, 10), Err(Error::NotFound));
    assert_eq!(world.run(Op::Size { path: gone() }), Err(Error::NotFound));
    assert_eq!(world.run(Op::Remove { path: gone() }), Err(Error::NotFound));
    assert_eq!(world.run(Op::List { path: gone() }), Err(Error::NotFound));
    assert_eq!(world.run(Op::Rename { from: gone(), to: path("/x") }), Err(Error::NotFound));
    assert_eq!(world.write("/gone/x", Whole(vec![1])), Err(Error::NotFound));
    assert_eq!(world.run(Op::MakeDirectory { path: path("/d") }), Err(Error::Exists));
    assert_eq!(world.run(Op::RemoveDirectory { path: path("/d") }), Err(Error::NotEmpty));
    // This server tells a directory from nothing only when it is to be removed.
    assert_eq!(world.read("/d", 0, 10), Err(Error::NotFound));
    assert_eq!(world.run(Op::Remove { path: path("/d") }), Err(Error::IsADirectory));
    assert_eq!(world.run(Op::Truncate { path: gone(), length: 1 }), Err(Error::Unsupported));
    assert_eq!(world.run(Op::Checksum { path: gone() }), Err(Error::Unsupported));
    let injected = RemotePath::parse(b"/x\r\nRMD /d/e").unwrap();
    assert_eq!(world.run(Op::Remove { path: injected }), Err(Error::Invalid));
    assert_eq!(world.run(Op::RemoveDirectory { path: path("/d/e") }), Ok(Reply::Done));
}

#[test]
fn a_server_that_allows_no_writing_denies_it() {
    let world = World::new(&["--read-only"]);
    assert_eq!(world.write("/a", Whole(vec![1])), Err(Error::Denied));
    assert_eq!(world.run(Op::MakeDirectory { path: path("/d") }), Err(Error::Denied));
}

#[test]
fn a_wrong_password_is_a_refused_login() {
    let world = World::new(&[]);
    let wrong = Options { password: "guess".into(), ..options(world.port) };
    assert!(matches!(connect(&wrong), Err(Error::Login(_))));
    assert!(!format!("{wrong:?}").contains("guess"));
    assert_eq!(world.remote.status().label, "FTP server, user pilot");
}

#[test]
fn nobody_at_the_port_is_told_with_the_reason() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Err(Error::Failed(reason)) = connect(&options(port)) else { panic!("it is connected") };
    assert!(reason.contains("Connection refused"), "{reason}");
}

#[test]
fn a_source_that_has_nothing_yet_is_waited_for() {
    let world = World::new(&[]);
    let bytes = pattern(200_000);
    let gate = Gate::shut(bytes.clone());
    let (sink, done) = Ends::new();
    let id = OpId::fresh();
    world.remote.submit(id, replace("/slow", gate.clone()), Class::Write, PATIENCE, sink);
    // `more` may be a false alarm; nothing ends meanwhile.
    std::thread::sleep(Duration::from_millis(100));
    world.remote.more(id);
    assert!(done.recv_timeout(Duration::from_millis(200)).is_err());
    gate.open();
    world.remote.more(id);
    assert_eq!(done.recv_timeout(PATIENCE).unwrap(), Ok(Reply::Size(200_000)));
    assert!(world.content("slow") == bytes);
}

/// > An upload to an FTP server leaves a connection to others: what is listed or read beside it does
/// > not wait for its end.
#[test]
fn what_is_asked_beside_uploads_does_not_wait_for_them() {
    let world = World::new(&[]);
    world.put("there", b"here");
    let sent: Vec<_> = ["/x", "/y"]
        .map(|name| {
            let (gate, (sink, done)) = (Gate::shut(pattern(50_000)), Ends::new());
            let op = replace(name, gate.clone());
            world.remote.submit(OpId::fresh(), op, Class::Write, PATIENCE, sink);
            (gate, done)
        })
        .into();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(world.read("/there", 0, 10).unwrap().1, b"here");
    assert_eq!(world.run(Op::Size { path: path("/there") }), Ok(Reply::Size(4)));
    assert!(sent.iter().all(|(_, done)| done.try_recv().is_err()));
}

#[test]
fn a_source_that_never_has_more_ends_with_its_patience() {
    let world = World::new(&[]);
    let gate = Gate::shut(pattern(50_000));
    let started = Instant::now();
    let stuck = end(ask(&world.remote, replace("/x", gate), Class::Write, SHORT));
    assert_eq!(stuck, Err(Error::TimedOut));
    assert!(started.elapsed() >= SHORT && started.elapsed() < SHORT * 4, "{started:?}");
    assert_eq!(world.write("/x", Whole(vec![7])), Ok(Reply::Size(1)));
}

#[test]
fn a_cancelled_operation_ends_once_whether_it_waits_or_runs() {
    let world = World::with_connections(1);
    let gate = Gate::shut(pattern(50_000));
    let (running, running_done) = Ends::new();
    let (waiting, waiting_done) = Ends::new();
    let (first, second) = (OpId::fresh(), OpId::fresh());
    world.remote.submit(first, replace("/x", gate), Class::Write, PATIENCE, running);
    std::thread::sleep(Duration::from_millis(200));
    let list = Op::List { path: path("/") };
    world.remote.submit(second, list, Class::Metadata, PATIENCE, waiting);
    world.remote.cancel(second);
    assert_eq!(waiting_done.try_recv().unwrap(), Err(Error::Cancelled));
    world.remote.cancel(first);
    world.remote.cancel(first);
    assert_eq!(running_done.recv_timeout(SHORT).unwrap(), Err(Error::Cancelled));
    assert_eq!(world.run(Op::Size { path: path("/gone") }), Err(Error::NotFound));
    assert!(running_done.try_recv().is_err() && waiting_done.try_recv().is_err());
}

fn read_all(name: &str) -> Op {
    Op::Read { path: path(name), offset: 0, length: u64::MAX, expected: None }
}

/// A file too large for the buffers between server and reader; takes no disk.
fn put_large(world: &World) {
    let file = fs::File::create(world.directory.path().join("large")).unwrap();
    file.set_len(256 << 20).unwrap();
}

#[test]
fn a_running_read_stops_when_it_is_cancelled() {
    let world = World::new(&[]);
    put_large(&world);
    let (id, remote) = (OpId::fresh(), world.remote.clone());
    let (sink, done) = AtFirstBytes::new(move || remote.cancel(id));
    world.remote.submit(id, read_all("/large"), Class::Demand, PATIENCE, sink);
    assert_eq!(done.recv_timeout(LIMIT).unwrap(), Err(Error::Cancelled));
    assert_eq!(world.read("/large", 5, 3).unwrap().1, [0; 3]);
}

#[test]
fn a_server_killed_in_mid_read_is_an_error_and_is_used_again_when_it_is_back() {
    let world = World::new(&[]);
    put_large(&world);
    let server = world.server.clone();
    let (sink, done) = AtFirstBytes::new(move || server.lock().unwrap().kill());
    let started = Instant::now();
    world.remote.submit(OpId::fresh(), read_all("/large"), Class::Demand, PATIENCE, sink);
    assert_eq!(done.recv_timeout(LIMIT).unwrap(), Err(Error::LinkDown));
    assert_eq!(world.run(Op::Size { path: path("/large") }), Err(Error::LinkDown));
    assert!(!world.remote.status().up);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    world.restart_server();
    let deadline = Instant::now() + LIMIT;
    while world.run(Op::Size { path: path("/large") }) != Ok(Reply::Size(256 << 20)) {
        assert!(Instant::now() < deadline, "the server is back and not used");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(world.remote.status().up);
}

#[test]
fn an_idle_connection_that_the_server_closed_is_opened_again_unseen() {
    let world = World::new(&["--idle", "1"]);
    world.put("a", b"1");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(world.read("/a", 0, 10).unwrap().1, b"1");
    world.server.lock().unwrap().kill();
    world.restart_server();
    assert_eq!(world.read("/a", 0, 10).unwrap().1, b"1");
}

#[test]
fn a_server_that_falls_silent_holds_nobody_beyond_two_patiences() {
    let world = World::new(&[]);
    world.put("a", b"1");
    let id = world.server.lock().unwrap().id() as libc::pid_t;
    // SAFETY: kill(2) touches no memory; the process is our child and not yet waited for.
    assert_eq!(unsafe { libc::kill(id, libc::SIGSTOP) }, 0);
    let (sink, done) = Ends::new();
    let started = Instant::now();
    for _ in 0..64 {
        let op = Op::Size { path: path("/a") };
        world.remote.submit(OpId::fresh(), op, Class::Demand, SHORT, sink.clone());
    }
    for _ in 0..64 {
        let end = done.recv_timeout(LIMIT).unwrap();
        assert!(matches!(end, Err(Error::TimedOut | Error::LinkDown)), "{end:?}");
    }
    assert!(started.elapsed() < SHORT * 3, "{:?}", started.elapsed());
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(id, libc::SIGCONT) }, 0);
    let deadline = Instant::now() + LIMIT;
    while world.read("/a", 0, 1).is_err() {
        assert!(Instant::now() < deadline, "the server talks again and is not heard");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn dropping_the_remote_ends_what_runs_and_what_waits() {
    let world = World::new(&[]);
    let gate = Gate::shut(pattern(50_000));
    let (sink, done) = Ends::new();
    let World { remote, server: _server, directory: _directory, .. } = world;
    remote.submit(OpId::fresh(), replace("/x", gate), Class::Write, PATIENCE, sink.clone());
    remote.submit(OpId::fresh(), read_all("/x"), Class::ReadAhead, PATIENCE, sink.clone());
    let started = Instant::now();
    drop(remote);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(done.recv_timeout(SHORT).unwrap(), Err(Error::Cancelled));
    assert_eq!(done.recv_timeout(SHORT).unwrap(), Err(Error::Cancelled));
}
