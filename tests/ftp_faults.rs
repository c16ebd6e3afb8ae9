//! Mounts of FTP servers that die, fall silent, refuse, cut off and lie: every program ends in time,
//! with a fitting error or with the right bytes, no file is short or mixed, and the mount works again
//! afterwards. Needs /dev/fuse, root, and the servers that scripts/test unpacks.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

mod support;

use support::ftp::FtpScene;
use support::ftp::scripted::{Act, Scripted};
use support::ftp::servers::{Kind, Manners, Security, Server};
use support::mounted::{LINK_TIMEOUT, Mounted, OP_TIMEOUT};
use support::ordinary::{noise, text};
use support::program::Program;
use support::program::{Ordinary, ended, eventually, our_binary, run_within, shell, succeed};
use support::user::User;

/// No program waits longer for a server without progress: an attempt, another one on a new
/// connection, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(2 * OP_TIMEOUT.as_secs() + LINK_TIMEOUT.as_secs() + 5);
/// Until a mount uses a server again that is back.
const RETURN_TIME: Duration = Duration::from_secs(20);
const FOREVER: usize = usize::MAX;
/// Slow enough that a transfer of [`LONG_BYTES`] is met in its middle.
const SLOW: Manners =
    Manners { bytes_per_second: Some(2 << 20), idle_seconds: None, sessions_max: None };
const LONG_BYTES: usize = 6 << 20;
/// What a slow transfer takes on top, twice for one that is begun again.
const LONG_TIME: Duration = Duration::from_secs(8);
const WRONG_LOGIN: i32 = 5;
/// How the C library words the errors that fit a server which is gone or silent.
const GONE: [&str; 3] = ["Host is down", "Connection timed out", "Input/output error"];

/// Runs the cases side by side: most of their time they wait.
fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, act: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            let act = &act;
            scope.spawn(move || act(case));
        }
    });
}

fn slow(kind: Kind) -> FtpScene {
    FtpScene::new((kind, Security::Plain, SLOW), &[], |folder| {
        fs::write(folder.join("long"), noise(1, LONG_BYTES)).unwrap();
        fs::write(folder.join("short"), noise(2, 12_345)).unwrap();
        fs::write(folder.join("target"), noise(3, 500_000)).unwrap();
    })
}

/// Files are read and written as if nothing had been, at the latest in a while.
fn works_again(scene: &FtpScene) {
    eventually("the mount works again", RETURN_TIME, || {
        run_within(BOUND, "cat", &[scene.near("short")]).status.success()
    });
    succeed("cmp", &[scene.near("short"), scene.far("short")]);
    eventually("the mount can be written again", RETURN_TIME, || {
        let script = format!("echo back > '{}'", scene.near("note").display());
        run_within(BOUND, "sh", &["-c", &script]).status.success()
    });
    scene.holds("note", b"back\n");
}

/// A cat that has its first bytes, and more to come.
fn reading(scene: &FtpScene) -> Ordinary {
    let cat = Ordinary::start("cat", &[scene.near("long")]);
    let received = cat.stdout_path();
    eventually("the first bytes", RETURN_TIME, || length(&received) > 0);
    assert!(length(&received) < LONG_BYTES as u64, "the server is too fast for this test");
    cat
}

/// How a cat ended: with all bytes, or with a fitting error after none but the right ones.
fn ended_right(mut cat: Ordinary, whole: &[u8]) -> bool {
    let status = cat.wait(BOUND + LONG_TIME).expect("cat waits for the dead");
    let output = cat.output();
    assert!(whole.starts_with(&output.stdout), "cat got bytes that are not the file's");
    if status.success() {
        assert_eq!(output.stdout.len(), whole.len(), "cat got a short file and no error");
    } else {
        let complaint = text(output.stderr);
        assert!(GONE.iter().any(|reason| complaint.contains(reason)), "{complaint}");
    }
    status.success()
}

fn is_killed_in_mid_read(kind: Kind, back: bool) {
    let mut scene = slow(kind);
    let cat = reading(&scene);
    scene.server.kill();
    if back {
        scene.server.restart();
    }
    let whole = ended_right(cat, &noise(1, LONG_BYTES));
    if !back {
        assert!(!whole, "cat succeeded without a server");
        scene.server.restart();
    }
    works_again(&scene);
    succeed("cmp", &[scene.near("long"), scene.far("long")]);
}

/// > A short read happens at the end of the file only; what did not arrive is an error (EIO, ETIMEDOUT, EHOSTDOWN),
/// > never zeros.
///
/// > After silence, a reboot, another source port, or a TCP or serial line that comes back, the mount works again by
/// > itself, with the files that are open.
#[test]
fn a_server_killed_in_mid_read_is_an_error_or_is_back_unseen() {
    at_once([(Kind::Vsftpd, false), (Kind::Proftpd, true)], |(kind, back)| {
        is_killed_in_mid_read(kind, back);
    });
}

/// A cp over an old file that has sent something, and has more to send.
fn writing(scene: &FtpScene, from: &Path) -> Ordinary {
    fs::write(from, noise(4, LONG_BYTES)).unwrap();
    let cp = Ordinary::start("cp", &[from, &scene.near("target")]);
    let known = ["long", "short", "target"];
    eventually("the first bytes", RETURN_TIME, || {
        let files = fs::read_dir(scene.far("")).unwrap().map(|entry| entry.unwrap());
        let new = files.filter(|file| !known.iter().any(|known| file.file_name() == *known));
        new.into_iter().any(|file| length(&file.path()) > 0)
    });
    cp
}

fn is_killed_in_mid_write(kind: Kind, back: bool) {
    let mut scene = slow(kind);
    let local = tempfile::tempdir().unwrap();
    let from = local.path().join("from");
    let mut cp = writing(&scene, &from);
    scene.server.kill();
    assert!(fs::read(scene.far("target")).unwrap() == noise(3, 500_000), "it was done already");
    if back {
        scene.server.restart();
    }
    let status = cp.wait(BOUND + LONG_TIME).expect("cp waits for the dead");
    if !back {
        assert!(!status.success(), "cp succeeded without a server");
        scene.server.restart();
    }
    let held = fs::read(scene.far("target")).unwrap();
    let (old, new) = (held == noise(3, 500_000), held == noise(4, LONG_BYTES));
    assert!(new || (old && !status.success()), "{status}, {} bytes are held", held.len());
    works_again(&scene);
    succeed("cp", &[&from, &scene.near("target")]);
    scene.holds("target", &noise(4, LONG_BYTES));
}

#[test]
fn a_server_killed_in_mid_write_leaves_the_old_file_or_the_new() {
    at_once([(Kind::Vsftpd, false), (Kind::Proftpd, true)], |(kind, back)| {
        is_killed_in_mid_write(kind, back);
    });
}

/// Idle for longer than the server likes: nobody notices, not even who holds a file open.
fn closes_what_is_idle(kind: Kind) {
    let manners = Manners { idle_seconds: Some(1), ..Manners::default() };
    let scene = FtpScene::new((kind, Security::Plain, manners), &[], |folder| {
        fs::write(folder.join("long"), noise(1, LONG_BYTES)).unwrap();
        fs::write(folder.join("short"), noise(2, 12_345)).unwrap();
    });
    let point = scene.mounted.path();
    let script = "(dd bs=4096 count=1 status=none; sleep 2.5; cat) < long";
    assert!(shell(point, script) == noise(1, LONG_BYTES), "the file differs");
    std::thread::sleep(Duration::from_millis(2500));
    shell(point, "echo new > note");
    scene.holds("note", b"new\n");
    std::thread::sleep(Duration::from_millis(2500));
    assert!(shell(point, "cat short") == noise(2, 12_345));
}

#[test]
fn an_idle_connection_that_a_server_closes_is_opened_again_unseen() {
    at_once([Kind::Vsftpd, Kind::Proftpd, Kind::Pyftpdlib], closes_what_is_idle);
}

fn stops_answering(kind: Kind) {
    let scene = slow(kind);
    shell(scene.mounted.path(), "ls && echo here > note");
    // Without a limit on its rate, pyftpdlib would be done before it is stopped.
    let cat = (kind != Kind::Pyftpdlib).then(|| reading(&scene));
    scene.server.signal(libc::SIGSTOP);
    let began = Instant::now();
    let near = scene.near("short");
    let waiting: Vec<Ordinary> = (0..4).map(|_| Ordinary::start("cat", &[&near])).collect();
    if let Some(cat) = cat {
        assert!(!ended_right(cat, &noise(1, LONG_BYTES)), "cat succeeded without a server");
    }
    for cat in waiting {
        assert!(!ended_right(cat, &noise(2, 12_345)), "cat succeeded without a server");
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    scene.server.signal(libc::SIGCONT);
    works_again(&scene);
}

/// > What is under way when a vehicle falls silent ends with ETIMEDOUT after `--op-timeout` (10 s) without progress.
#[test]
fn a_server_that_stops_answering_is_an_error_in_time() {
    at_once([Kind::Vsftpd, Kind::Pyftpdlib], stops_answering);
}

/// Starts a mount that must not come to be: its exit code and what it printed.
fn refused(server: &Server, options: &[String]) -> (i32, String) {
    let point = tempfile::tempdir().unwrap();
    let mut arguments: Vec<String> = ["-f", "--op-timeout", "2s", "--mount-timeout", "4s"]
        .map(str::to_owned)
        .into_iter()
        .chain(options.iter().cloned())
        .collect();
    arguments.extend([server.source(), point.path().to_str().unwrap().to_owned()]);
    ended(Program::start_as(None, User::Root, our_binary(), &arguments), BOUND)
}

#[test]
fn a_wrong_password_is_an_exit_code_of_its_own_and_is_never_shown() {
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("wrong");
    fs::write(&file, "guessed-7\n").unwrap();
    let options = ["--password-file".to_owned(), file.to_str().unwrap().to_owned()];
    at_once([Kind::Vsftpd, Kind::Proftpd, Kind::Pyftpdlib], |kind| {
        let server = Server::start(kind, Security::Plain, Manners::default());
        let (code, printed) = refused(&server, &options);
        assert_eq!(code, WRONG_LOGIN, "{kind:?}: {printed}");
        assert!(printed.contains("530") && !printed.contains("guessed"), "{kind:?}: {printed}");
    });
}

fn one_session() -> Server {
    let manners = Manners { sessions_max: Some(1), ..Manners::default() };
    Server::start(Kind::Vsftpd, Security::Plain, manners)
}

#[test]
fn a_server_that_is_full_is_told_with_its_word_and_is_used_once_it_is_not() {
    let server = one_session();
    let other = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut greeting = String::new();
    BufReader::new(&other).read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("220"), "{greeting}");
    let (code, printed) = refused(&server, &server.options());
    assert!(code == 1 && printed.contains("busy"), "{code}: {printed}");
    drop(other);
    eventually("the other is gone", RETURN_TIME, || !server.has_sessions());
    let options = server.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mounted = Mounted::new(&server.source(), &options);
    shell(mounted.path(), "echo here > note");
    assert_eq!(fs::read(server.far("note")).unwrap(), b"here\n");
}

#[test]
fn a_server_with_room_for_one_connection_is_mounted_and_used_by_many() {
    let manners = Manners { sessions_max: Some(1), ..Manners::default() };
    let scene = FtpScene::new((Kind::Vsftpd, Security::Plain, manners), &[], |folder| {
        for number in 0..4 {
            fs::write(folder.join(format!("f{number}")), noise(number, 2_000_000)).unwrap();
        }
    });
    let copies = "for n in 0 1 2 3; do cp f$n g$n & done; wait; for n in 0 1 2 3; do cmp f$n g$n || exit 1; done";
    shell(scene.mounted.path(), copies);
    for number in 0..4 {
        scene.holds(&format!("g{number}"), &noise(number, 2_000_000));
    }
}

const FILE_BYTES: usize = 300_000;

/// A server that does as it is told, and a mount of it.
struct Told {
    mounted: Mounted,
    server: Scripted,
}

impl Told {
    fn new() -> Told {
        let file = noise(5, FILE_BYTES);
        let old = noise(6, 1000);
        let server = Scripted::start(&[("file", &file), ("other", &file), ("target", &old)]);
        Told { mounted: Mounted::new(&server.source(), &[]), server }
    }

    /// The file is read while a command goes wrong each time: what fits is told, and soon.
    fn read_fails(&self, (verbs, act, reasons): (&[&'static str], Act, &[&str])) {
        verbs.iter().for_each(|verb| self.server.at(verb, act, FOREVER));
        let output = run_within(BOUND, "cat", &[self.mounted.path().join("file")]);
        let complaint = text(output.stderr);
        let context = format!("{verbs:?} {act:?}: {complaint}");
        assert!(noise(5, FILE_BYTES).starts_with(&output.stdout), "{context}");
        assert!(!output.status.success(), "{context} {} bytes", output.stdout.len());
        assert!(reasons.iter().any(|reason| complaint.contains(reason)), "{context}");
        self.server.behave();
        self.reads(&context);
    }

    /// The same once: whoever reads is told, or sees nothing of it.
    fn read_survives(&self, verbs: &[&'static str], act: Act) {
        verbs.iter().for_each(|verb| self.server.at(verb, act, 1));
        let output = run_within(BOUND, "cat", &[self.mounted.path().join("file")]);
        let context = format!("{verbs:?} {act:?}, once: {}", text(output.stderr));
        let whole = noise(5, FILE_BYTES);
        assert!(whole.starts_with(&output.stdout), "{context}");
        assert!(!output.status.success() || output.stdout == whole, "{context}");
        self.server.behave();
        self.reads(&context);
    }

    fn reads(&self, context: &str) {
        eventually(&format!("{context}: it works again"), RETURN_TIME, || {
            let output = run_within(BOUND, "cat", &[self.mounted.path().join("other")]);
            let right = output.stdout == noise(5, FILE_BYTES);
            assert!(!output.status.success() || right, "{context}: the next is wrong");
            output.status.success()
        });
    }

    /// A file is saved over an old one while a command goes wrong each time.
    fn write_fails(&self, (verbs, act, reasons): (&[&'static str], Act, &[&str])) {
        let local = tempfile::NamedTempFile::new().unwrap();
        fs::write(local.path(), noise(7, FILE_BYTES)).unwrap();
        verbs.iter().for_each(|verb| self.server.at(verb, act, FOREVER));
        let target = self.mounted.path().join("target");
        let output = run_within(BOUND, "cp", &[local.path(), &target]);
        let complaint = text(output.stderr);
        let context = format!("{verbs:?} {act:?}: {complaint}");
        assert!(!output.status.success(), "{context}");
        assert!(reasons.iter().any(|reason| complaint.contains(reason)), "{context}");
        assert!(
            self.server.file("target").unwrap() == noise(6, 1000),
            "{context}: not the old file"
        );
        self.server.behave();
        eventually(&format!("{context}: it can be written again"), RETURN_TIME, || {
            run_within(BOUND, "cp", &[local.path(), &target]).status.success()
        });
        assert!(self.server.file("target").unwrap() == noise(7, FILE_BYTES), "{context}");
    }
}

const DATA: [&str; 2] = ["PASV", "EPSV"];

#[test]
fn a_refused_data_connection_is_an_error_in_time() {
    let faults = [
        (&DATA[..], Act::RefuseData, &GONE[..]),
        (&DATA, Act::Say("500 not today"), &["Operation not supported"]),
        (&["RETR"], Act::Say("425 Can't open data connection."), &GONE),
    ];
    at_once(faults, |fault| Told::new().read_fails(fault));
}

/// > A short read happens at the end of the file only; what did not arrive is an error (EIO, ETIMEDOUT, EHOSTDOWN),
/// > never zeros.
#[test]
fn a_file_that_comes_short_or_breaks_off_is_an_error_and_never_a_short_file() {
    let changed = ["Stale file handle", "Input/output error"];
    let faults = [
        (&["RETR"][..], Act::HalfAndDone, &changed[..]),
        (&["RETR"], Act::HalfAndBroken, &GONE),
        (&["RETR"], Act::HalfAndClose, &GONE),
        (&["RETR"], Act::Close, &GONE),
        (&["RETR"], Act::SayAndClose("421 Timeout."), &GONE),
        (&["RETR"], Act::Say("550 Permission denied."), &["Permission denied"]),
    ];
    at_once(faults, |fault| Told::new().read_fails(fault));
}

#[test]
fn a_server_that_falls_silent_in_mid_command_or_in_mid_file_is_an_error_in_time() {
    let silent = ["Connection timed out", "Host is down"];
    let faults = [
        (&["RETR"][..], Act::HalfAndSilent, &silent[..]),
        (&["RETR"], Act::FallSilent, &silent),
        (&DATA, Act::FallSilent, &silent),
    ];
    at_once(faults, |fault| Told::new().read_fails(fault));
}

#[test]
fn what_goes_wrong_once_is_an_error_or_unseen_and_never_a_wrong_byte() {
    let faults = [
        (&["RETR"][..], Act::HalfAndDone),
        (&["RETR"], Act::HalfAndBroken),
        (&["RETR"], Act::HalfAndClose),
        (&["RETR"], Act::SayAndClose("421 Timeout.")),
        (&DATA, Act::RefuseData),
        (&DATA, Act::Close),
        (&["SIZE"], Act::Close),
        (&["SIZE"], Act::SayAndClose("421 Timeout.")),
    ];
    at_once(faults, |(verbs, act)| Told::new().read_survives(verbs, act));
}

#[test]
fn a_write_that_goes_wrong_leaves_the_old_file() {
    let faults = [
        (&["STOR"][..], Act::HalfAndDone, &GONE[..]),
        (&["STOR"], Act::HalfAndBroken, &GONE),
        (&["STOR"], Act::HalfAndClose, &GONE),
        (&["STOR"], Act::Close, &GONE),
        (&["STOR"], Act::SayAndClose("421 Timeout."), &GONE),
        (&["STOR"], Act::Say("452 No space left."), &["No space left"]),
        (&["STOR"], Act::Say("553 Permission denied."), &["Permission denied"]),
        (&DATA, Act::RefuseData, &GONE),
        (&["RNFR"], Act::Close, &GONE),
        (&["RNTO"], Act::Close, &GONE),
    ];
    at_once(faults, |fault| Told::new().write_fails(fault));
}

#[test]
fn a_write_during_which_the_server_falls_silent_leaves_the_old_file() {
    let faults = [
        (&["STOR"][..], Act::HalfAndSilent, &GONE[..]),
        (&["STOR"], Act::FallSilent, &GONE),
        (&["RNTO"], Act::FallSilent, &GONE),
    ];
    at_once(faults, |fault| Told::new().write_fails(fault));
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
