//! The program as it is typed: usage errors, bad places, exit codes, and the verbs against a served
//! directory. Nothing here needs a kernel mount.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::CommandCargoExt;

/// Ends a search for a vehicle soon.
const SHORT: [&str; 2] = ["--mount-timeout", "500ms"];

/// The served vehicle by its ids: nobody waits whether an autopilot comes as well.
const TARGET: [&str; 2] = ["--target", "1:1"];

fn program() -> Command {
    let mut command = Command::cargo_bin("mavftp-mount").expect("the program is built");
    command.env_remove("RUST_LOG").env_remove("MAVFTP_PASSWORD");
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("the program runs")
}

/// Checks the exit code and that all of stderr is one line; returns it.
fn one_line(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("error: "), "{text}");
    text
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn help_goes_to_stdout_and_is_no_failure() {
    for argument in ["-h", "--help", "--version"] {
        let output = run(&[argument]);
        assert!(output.status.success());
        assert!(output.stderr.is_empty());
        assert!(String::from_utf8_lossy(&output.stdout).contains("mavftp-mount"));
    }
    let long = run(&["--help"]);
    assert!(String::from_utf8_lossy(&long.stdout).contains("udpout:"));
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_right() {
    for (arguments, part) in [
        (&["udq:1", "/mnt"][..], "udp:"),
        (&["udp:99999", "/mnt"], "udp:"),
        (&["udp:14550"], "MOUNTPOINT"),
        (&["udp:14550", "/mnt", "-o", "ro,bogus"], "`bogus`"),
        (&["udp:14550", "/mnt", "--op-timeout", "10"], "unit"),
        (&["ls", "udp:14550", "--target", "1:999"], "1 to 255"),
        (&["get", "udp:14550#log"], "#/path"),
        (&["get", "udp:14550"], "name the file"),
        (&["rm", "udp:14550"], "name the place"),
        (&["mv", "udp:14550#/a", "b"], "write it as /path"),
        (&["serve", "ftp://host", "."], "MAVLink link"),
        (&["/mnt", "udp:14550"], "mavftp-mount udp:14550 /mnt"),
        (&["ls", "ftp://me:secret@host"], "--password-file"),
    ] {
        let text = one_line(&run(arguments), 2);
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
}

#[test]
fn a_mount_point_that_will_not_do_is_told_before_anybody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let missing = name(&folder.path().join("missing"));
    assert!(one_line(&run(&["udp:14550", &missing]), 1).contains("mkdir -p"));
    assert!(one_line(&run(&["udp:14550", &name(&file)]), 1).contains("not a directory"));
    assert!(one_line(&run(&["udp:14550", &name(folder.path())]), 1).contains("-o nonempty"));
    assert!(one_line(&run(&["udp:14550", "/proc"]), 1).contains("mounted on /proc already"));
}

#[test]
fn a_silent_port_is_exit_code_3_and_says_what_to_check() {
    let source = format!("udp:127.0.0.1:{}", free_port());
    let output = run(&["ls", &source, SHORT[0], SHORT[1]]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("no HEARTBEAT") && text.contains(&source), "{text}");
}

#[test]
fn a_quiet_search_says_only_that_it_failed() {
    let source = format!("udp:127.0.0.1:{}", free_port());
    let patient = ["ls", "--mount-timeout", "3s", &source];
    let said = run(&patient).stderr;
    assert_eq!(String::from_utf8_lossy(&said).lines().count(), 2, "{said:?}");
    assert!(one_line(&run(&[&patient[..], &["-q"]].concat()), 3).contains("no HEARTBEAT"));
}

#[test]
fn an_address_of_another_computer_is_no_place_to_listen() {
    // TEST-NET-1: nobody's.
    let text = one_line(&run(&["ls", "udp:192.0.2.1:14550"]), 1);
    assert!(text.contains("udpout:192.0.2.1:14550"), "{text}");
}

#[test]
fn what_cannot_be_served_is_told_with_its_reason() {
    assert!(one_line(&run(&["serve", "udp:0", "/no/such"]), 1).contains("does not exist"));
    assert!(one_line(&run(&["serve", "udp:0", "/etc/passwd"]), 1).contains("not a directory"));
}

#[test]
fn a_port_in_use_names_the_likely_holder() {
    let holder = UdpSocket::bind("0.0.0.0:0").unwrap();
    let source = format!("udp:{}", holder.local_addr().unwrap().port());
    let text = one_line(&run(&["ls", &source]), 1);
    assert!(text.contains("in use") && text.contains("forward"), "{text}");
}

#[test]
fn a_device_that_is_no_serial_line_is_told() {
    assert!(one_line(&run(&["ls", "/dev/no-such-line"]), 1).contains("no serial device"));
    assert!(one_line(&run(&["ls", "/dev/null,115200"]), 1).contains("not a serial device"));
}

#[test]
fn a_local_file_that_is_not_there_is_told_before_anybody_waits() {
    let text = one_line(&run(&["put", "/nowhere/x", "udp:14550"]), 1);
    assert!(text.contains("/nowhere/x"), "{text}");
    assert!(one_line(&run(&["put", "/", "udp:14550"]), 1).contains("put -r"));
}

#[test]
fn a_local_place_that_will_not_do_is_told_before_anybody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let within = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let text = one_line(&run(&["get", "udp:14550#/x", &within("new/")]), 1);
    assert!(text.contains("no directory"), "{text}");
    fs::create_dir(within("x")).unwrap();
    let text = one_line(&run(&["get", "udp:14550#/x", folder.path().to_str().unwrap()]), 1);
    assert!(text.contains("is a directory"), "{text}");
}

/// An FTP server that lets nobody in, `times` times; its port.
fn unkind_ftp_server(times: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().take(times) {
            let mut client = client.unwrap();
            client.write_all(b"220 hello\r\n").unwrap();
            let lines = BufReader::new(client.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                let answer = match line.split(' ').next() {
                    Some("USER") => "331 and the password?\r\n",
                    _ => "530 no\r\n",
                };
                if client.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    port
}

#[test]
fn a_refused_login_is_exit_code_5_and_says_what_to_do() {
    let source = format!("ftp://pilot@127.0.0.1:{}", unkind_ftp_server(2));
    assert!(one_line(&run(&["ls", &source]), 5).contains("--password-stdin"));
    let mut given = program();
    given.args(["ls", &source]).env("MAVFTP_PASSWORD", "geheim");
    let text = one_line(&given.output().unwrap(), 5);
    assert!(text.contains("check the user and the password"), "{text}");
}

#[test]
fn no_log_ever_shows_a_password() {
    let source = format!("ftp://pilot@127.0.0.1:{}", unkind_ftp_server(2));
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = (folder.path().join("password"), folder.path().join("log"));
    fs::write(&file, "geheim\n").unwrap();
    let mut loud = program();
    loud.args(["ls", "-vvv", &source, "--password-file"]).arg(&file);
    loud.env("RUST_LOG", "trace,suppaftp=trace,suppaftp::sync_ftp=trace");
    let printed = loud.output().unwrap();
    let mut noted = program();
    noted.args(["ls", "-vvv", &source, "--password-stdin", "--log-file"]).arg(&log);
    let mut child = noted.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"geheim\n").unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(5));
    for text in [printed.stderr, printed.stdout, fs::read(log).unwrap()] {
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("geheim"), "{text}");
    }
}

/// A served directory and how to reach it.
struct Served {
    folder: tempfile::TempDir,
    server: Child,
    port: u16,
}

impl Served {
    /// Serves an empty directory, sending to a port where the verbs will listen.
    fn start() -> Served {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut server = program()
            .args(["serve", "--writable", "--component-id", "1"])
            .arg(format!("udpout:127.0.0.1:{port}"))
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("serving "), "{line}");
        Served { folder, server, port }
    }

    fn at(&self, path: &str) -> String {
        format!("udp:127.0.0.1:{}#{path}", self.port)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn some_bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn ls_shows_names_sorted_and_a_file_its_own_entry() {
    let served = Served::start();
    fs::create_dir(served.file("sub")).unwrap();
    fs::write(served.file("b"), "12345").unwrap();
    fs::write(served.file("a c"), "").unwrap();
    assert_eq!(done(run(&["ls", TARGET[0], TARGET[1], &served.at("/")])), "a c\nb\nsub\n");
    assert_eq!(done(run(&["ls", TARGET[0], TARGET[1], &served.at("/b")])), "b\n");
    let long = done(run(&["ls", TARGET[0], TARGET[1], "-l", &served.at("/")]));
    assert!(long.lines().any(|line| line.starts_with("-          5 ") && line.ends_with(" b")));
    let missing = run(&["ls", TARGET[0], TARGET[1], &served.at("/none")]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/none: no such file"));
}

#[test]
fn a_file_goes_there_and_comes_back_with_every_byte() {
    let served = Served::start();
    let here = tempfile::tempdir().unwrap();
    let bytes = some_bytes(100_003);
    let local = here.path().join("data.bin");
    fs::write(&local, &bytes).unwrap();
    let local = local.to_str().unwrap();
    fs::create_dir(served.file("logs")).unwrap();
    done(run(&["put", TARGET[0], TARGET[1], local, &served.at("/logs")]));
    assert!(fs::read(served.file("logs/data.bin")).unwrap() == bytes);
    done(run(&["put", TARGET[0], TARGET[1], local, &served.at("/other")]));
    assert!(fs::read(served.file("other")).unwrap() == bytes);
    let mut get = program();
    done(
        get.args(["get", TARGET[0], TARGET[1], &served.at("/other")])
            .current_dir(here.path())
            .output()
            .unwrap(),
    );
    assert!(fs::read(here.path().join("other")).unwrap() == bytes);
    let output = run(&["cat", TARGET[0], TARGET[1], &served.at("/logs/data.bin")]);
    assert!(output.status.success() && output.stdout == bytes);
    let names: Vec<_> = fs::read_dir(served.file("logs")).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing unfinished is left: {names:?}");
}

#[test]
fn a_slash_at_the_end_means_a_directory_as_for_cp() {
    let served = Served::start();
    fs::write(served.file("f"), "x").unwrap();
    let place = |verb: &str, path: &str| run(&[verb, TARGET[0], TARGET[1], &served.at(path)]);
    for output in [place("ls", "/f/"), place("cat", "/f/")] {
        assert!(one_line(&output, 1).contains("/f: not a directory"));
    }
    let put = |path: &str| run(&["put", TARGET[0], TARGET[1], "Cargo.toml", &served.at(path)]);
    assert!(one_line(&put("/f/"), 1).contains("not a directory"));
    assert!(one_line(&put("/new/"), 1).contains("no such"));
    assert!(!served.file("new").exists());
}

#[test]
fn a_vehicle_that_is_not_there_is_told_who_is() {
    let served = Served::start();
    let output = run(&["ls", "--target", "9", "--mount-timeout", "2s", "-q", &served.at("/")]);
    let text = one_line(&output, 3);
    assert!(text.contains("system 9") && text.contains("only 1:1"), "{text}");
}

/// A `get` of `/long` at 100 kB/s, interrupted when the temporary file holds so many bytes.
fn interrupted_get(served: &Served, here: &Path, bytes: u64) -> Output {
    let get = program()
        .args(["get", TARGET[0], TARGET[1], "--rate-limit", "100k", &served.at("/long")])
        .current_dir(here)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let grown = || {
        let mut files = fs::read_dir(here).unwrap().flatten();
        files.any(|file| file.metadata().is_ok_and(|there| there.len() >= bytes))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !grown() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: a plain system call; the child is not reaped yet, so the id is its own.
    unsafe { libc::kill(get.id() as i32, libc::SIGINT) };
    get.wait_with_output().unwrap()
}

#[test]
fn a_get_that_is_interrupted_early_leaves_nothing_behind() {
    let served = Served::start();
    fs::write(served.file("long"), vec![7; 1 << 20]).unwrap();
    let here = tempfile::tempdir().unwrap();
    let output = interrupted_get(&served, here.path(), 0);
    assert!(one_line(&output, 130).contains("interrupted"));
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_get_keeps_what_came_and_goes_on_from_there() {
    let served = Served::start();
    let bytes = some_bytes(400_000);
    fs::write(served.file("long"), &bytes).unwrap();
    let here = tempfile::tempdir().unwrap();
    let names = || -> Vec<String> {
        let files = fs::read_dir(here.path()).unwrap();
        files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    let go_on = || {
        let get = ["get", "-c", TARGET[0], TARGET[1], "-vv", &served.at("/long"), "long"];
        program().args(get).current_dir(here.path()).output().unwrap()
    };
    let interrupted = interrupted_get(&served, here.path(), 150_000);
    assert_eq!(interrupted.status.code(), Some(130));
    let said = String::from_utf8_lossy(&interrupted.stderr).into_owned();
    assert!(said.contains("are kept") && said.contains("--continue"), "{said}");
    assert!(names().iter().all(|name| name.starts_with(".mavftp-get-")), "{:?}", names());
    assert_eq!(names().len(), 1);
    done(go_on());
    assert_eq!(fs::read(here.path().join("long")).unwrap(), bytes);
    assert_eq!(names(), ["long"]);
    // Another content under the name has nothing of the old.
    fs::remove_file(here.path().join("long")).unwrap();
    interrupted_get(&served, here.path(), 150_000);
    let other: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    fs::write(served.file("long"), &other).unwrap();
    fs::File::open(served.file("long")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    done(go_on());
    assert_eq!(fs::read(here.path().join("long")).unwrap(), other);
    assert_eq!(names(), ["long"]);
}

#[test]
fn what_was_kept_is_compared_before_anything_is_added_to_it() {
    let served = Served::start();
    let bytes = some_bytes(400_000);
    fs::write(served.file("long"), &bytes).unwrap();
    let here = tempfile::tempdir().unwrap();
    interrupted_get(&served, here.path(), 150_000);
    let kept = fs::read_dir(here.path()).unwrap().next().unwrap().unwrap().path();
    let length = fs::metadata(&kept).unwrap().len() as usize;
    // Damaged near its beginning, where only the checksum of the whole can tell.
    let mut damaged = bytes[..length].to_vec();
    damaged[10] ^= 1;
    fs::write(&kept, &damaged).unwrap();
    let get = ["get", "-c", TARGET[0], TARGET[1], &served.at("/long"), "long"];
    done(program().args(get).current_dir(here.path()).output().unwrap());
    assert_eq!(fs::read(here.path().join("long")).unwrap(), bytes);
    // Longer than the file can be.
    fs::remove_file(here.path().join("long")).unwrap();
    fs::write(&kept, [&bytes[..], b"and more"].concat()).unwrap();
    done(program().args(get).current_dir(here.path()).output().unwrap());
    assert_eq!(fs::read(here.path().join("long")).unwrap(), bytes);
}

#[test]
fn a_get_that_fails_leaves_nothing_under_the_name_or_beside_it() {
    let served = Served::start();
    let here = tempfile::tempdir().unwrap();
    let target = here.path().join("x");
    let output = run(&["get", TARGET[0], TARGET[1], &served.at("/none"), target.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
    fs::create_dir(served.file("folder")).unwrap();
    let output =
        run(&["get", TARGET[0], TARGET[1], &served.at("/folder"), target.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is a directory"));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let served = Served::start();
    fs::write(served.file("long"), some_bytes(1 << 20)).unwrap();
    let mut cat = program()
        .args(["cat", TARGET[0], TARGET[1], &served.at("/long")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(cat.stdout.take());
    let output = cat.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("panic") && !text.contains("error:"), "{text}");
}

#[test]
fn a_device_takes_the_bytes_and_stays_a_device() {
    let served = Served::start();
    fs::write(served.file("f"), "x").unwrap();
    done(run(&["get", TARGET[0], TARGET[1], &served.at("/f"), "/dev/null"]));
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn things_are_made_moved_and_removed_without_a_mount() {
    let served = Served::start();
    fs::write(served.file("a b"), "1").unwrap();
    fs::write(served.file("c"), "2").unwrap();
    let at = |path: &str| served.at(path);
    let verb = |words: &[&str]| run(&[&words[..1], &TARGET, &words[1..]].concat());
    done(verb(&["mkdir", "-p", &at("/x/y"), "/x/z"]));
    assert!(one_line(&verb(&["mkdir", &at("/x")]), 1).contains("/x: the name exists already"));
    done(verb(&["mv", &at("/a b"), "/x/"]));
    done(verb(&["mv", &at("/c"), "/x/a b"]));
    assert_eq!(fs::read(served.file("x/a b")).unwrap(), b"2");
    assert!(one_line(&verb(&["mv", &at("/x"), "/x/y/in"]), 1).contains("invalid"));
    assert!(one_line(&verb(&["rmdir", &at("/x")]), 1).contains("not empty"));
    assert!(one_line(&verb(&["rm", &at("/x")]), 1).contains("rm -r"));
    // One that fails does not keep the others.
    assert!(one_line(&verb(&["rmdir", &at("/none"), "/x/y"]), 1).contains("/none: no such"));
    assert!(!served.file("x/y").exists());
    done(verb(&["rm", "-r", &at("/x")]));
    assert_eq!(fs::read_dir(served.folder.path()).unwrap().count(), 0);
}

#[test]
fn files_are_compared_and_summed_without_a_mount() {
    let served = Served::start();
    let local = tempfile::tempdir().unwrap();
    let bytes = some_bytes(10_000);
    fs::write(served.file("f"), &bytes).unwrap();
    fs::write(local.path().join("f"), &bytes).unwrap();
    let here = local.path().join("f").display().to_string();
    let compare = |place: &str| run(&["compare", TARGET[0], TARGET[1], &here, place]);
    assert_eq!(done(compare(&served.at("/f"))), "");
    assert_eq!(done(compare(&served.at("/"))), "", "in a directory, the one of the same name");
    fs::write(local.path().join("f"), &bytes[1..]).unwrap();
    let differs = compare(&served.at("/f"));
    assert_eq!(differs.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&differs.stdout), format!("{here} and /f differ\n"));
    assert!(one_line(&compare(&served.at("/none")), 7).contains("/none: no such file"));
    assert!(one_line(&run(&["compare", "/no/such", &served.at("/f")]), 7).contains("/no/such"));
    let summed = run(&["crc", TARGET[0], TARGET[1], &served.at("/f"), "/none", "#/f"]);
    assert_eq!(summed.status.code(), Some(1));
    let line = format!("{:08x}  /f\n", mavftp_mount::remote::Checksum::of(&bytes));
    assert_eq!(String::from_utf8_lossy(&summed.stdout), line.repeat(2));
}

#[test]
fn directories_are_copied_with_all_that_is_in_them() {
    let served = Served::start();
    let local = tempfile::tempdir().unwrap();
    let here = |name: &str| local.path().join(name);
    let at = |path: &str| served.at(path);
    let verb = |words: &[&str]| run(&[&words[..1], &TARGET, &words[1..]].concat());
    fs::create_dir_all(here("tree/sub/empty")).unwrap();
    fs::write(here("tree/a b"), some_bytes(1000)).unwrap();
    fs::write(here("tree/sub/c"), b"").unwrap();
    std::os::unix::fs::symlink("/", here("tree/sub/link")).unwrap();
    let tree = here("tree").display().to_string();
    assert!(one_line(&verb(&["put", &tree, &at("/")]), 1).contains("put -r"));
    // The link could lead round in a circle; the rest is copied all the same.
    assert!(one_line(&verb(&["put", "-r", &tree, &at("/")]), 1).contains("sub/link"));
    assert_eq!(fs::read(served.file("tree/a b")).unwrap(), some_bytes(1000));
    assert!(served.file("tree/sub/empty").is_dir());
    assert!(one_line(&verb(&["get", &at("/tree"), &tree]), 1).contains("get -r"));
    let back = here("back").display().to_string();
    done(verb(&["get", "-r", &at("/tree"), &back]));
    assert_eq!(fs::read(here("back/a b")).unwrap(), some_bytes(1000));
    assert_eq!(fs::read(here("back/sub/c")).unwrap(), b"");
    assert!(here("back/sub/empty").is_dir());
    let time = |path: &std::path::Path| fs::metadata(path).unwrap().modified().unwrap();
    let seconds = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap();
    let (there, copied) = (time(&served.file("tree/a b")), time(&here("back/a b")));
    assert_eq!(seconds(there).as_secs(), seconds(copied).as_secs(), "times are kept");
    // Into a directory that is there, as cp does; several need one.
    done(verb(&["get", &at("/tree/a b"), "#/tree/sub/c", &back]));
    assert!(here("back/c").is_file());
    let one = here("back/c").display().to_string();
    let refused = one_line(&verb(&["get", &at("/tree/a b"), "#/tree/sub/c", &one]), 1);
    assert!(refused.contains("is not a directory"), "{refused}");
    done(verb(&["put", &one, &format!("{back}/a b"), &at("/tree/sub/empty")]));
    assert!(served.file("tree/sub/empty/a b").is_file());
}

#[test]
fn what_is_here_or_there_already_is_left_out_when_told_to_continue() {
    let served = Served::start();
    let local = tempfile::tempdir().unwrap();
    let here = local.path().join("f");
    fs::write(served.file("f"), some_bytes(3000)).unwrap();
    let verb = |words: &[&str]| run(&[&words[..1], &TARGET, &words[1..]].concat());
    let text = here.display().to_string();
    done(verb(&["get", &served.at("/f"), &text]));
    let inode =
        |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let first = inode(&here);
    done(verb(&["get", "-c", &served.at("/f"), &text]));
    assert_eq!(inode(&here), first);
    let far = inode(&served.file("f"));
    done(verb(&["put", "-c", &text, &served.at("/f")]));
    assert_eq!(inode(&served.file("f")), far);
    // Same size and time, other content elsewhere: a put looks at the content.
    fs::write(&here, &some_bytes(3001)[1..]).unwrap();
    done(verb(&["put", "-c", &text, &served.at("/f")]));
    assert_eq!(fs::read(served.file("f")).unwrap(), some_bytes(3001)[1..]);
}
