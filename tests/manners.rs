//! What a mount does with a vehicle in use, a vehicle that is lost, and one whose files are not what
//! they seem: virtual places, a card that knows no case, names that nobody asked for. Through the
//! kernel, with ordinary programs. Needs /dev/fuse, root and the peers in Python.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

mod support;

use support::mounted::{LINK_TIMEOUT, Mounted, Server, Vehicle, free_port};
use support::program::{Ordinary, Program, eventually, fail, run_within, shell, succeed};
use support::python::Peer;

/// For anything a test waits for.
const LIMIT: Duration = Duration::from_secs(30);
const LARGE: usize = 300_000;

/// tests/peers/card_vehicle.py, and a mount of it.
struct Card {
    mounted: Mounted,
    peer: Peer,
}

impl Card {
    fn new(server: &[&str], options: &[&str]) -> Card {
        Card::told(&[], server, options)
    }

    /// One that is told these lines before it is mounted.
    fn told(lines: &[&str], server: &[&str], options: &[&str]) -> Card {
        let port = free_port().to_string();
        let mut peer = Peer::start("card_vehicle.py", &[&[&*port], server].concat());
        peer.lines_until(LIMIT, |line| line == "ready");
        for line in lines {
            peer.say(line);
            peer.lines_until(LIMIT, |said| said == *line);
        }
        let mounted = Mounted::new(&format!("udp:127.0.0.1:{port}"), options);
        Card { mounted, peer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mounted.path().join(name)
    }

    fn sh(&self, script: &str) -> String {
        String::from_utf8(shell(self.mounted.path(), script)).unwrap()
    }

    /// Tells the vehicle something; what it was asked until then.
    fn tell(&mut self, line: &str) -> Vec<String> {
        self.peer.say(line);
        self.peer.lines_until(LIMIT, |said| said == line)
    }

    /// What a script in the mount complains of.
    fn complaint(&self, script: &str) -> String {
        let script = format!("cd '{}' && {script}", self.mounted.path().display());
        fail("sh", &["-c", &script])
    }

    fn arm(&mut self) {
        self.tell("arm");
        let path = self.path("probe-of-arming");
        let is_busy = || {
            let refused = fs::create_dir(&path);
            refused.is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
        };
        eventually("armed", LIMIT, is_busy);
    }

    fn disarm(&mut self) {
        self.tell("disarm");
        let path = self.path("probe-of-arming");
        eventually("disarmed", LIMIT, || fs::create_dir(&path).is_ok());
        fs::remove_dir(&path).unwrap();
    }
}

/// tests/peers/card_vehicle.py makes the same.
fn noise(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|n| ((7 * n + n / 251 + seed) % 251) as u8).collect()
}

fn changes(asked: &[String]) -> Vec<&String> {
    let changing = ["create", "openwo", "remove", "mkdir", "rmdir", "rename"];
    asked.iter().filter(|line| changing.iter().any(|word| line.starts_with(word))).collect()
}

/// > `@SYS`, `@ROMFS`, `@PARAM`, `@MISSION` and `@MAV_LOG` stand in the root where they answer.
///
/// > A file in them is read to its true end, whatever size is listed, anew at every open; all reads
/// > of one handle are of one content.
#[test]
fn virtual_places_are_shown_where_they_answer_and_read_to_their_true_end() {
    let mut card = Card::new(&[], &["--dir-cache-time", "1s"]);
    let shown = card.sh("ls -A | sort | tr '\\n' ' '");
    assert_eq!(shown, "@MAV_LOG @MISSION @PARAM @ROMFS @SYS log readme ");
    let local = tempfile::tempdir().unwrap();
    let files = [
        ("@SYS/uarts.txt", noise(735, 3)),
        ("@SYS/empty.txt", Vec::new()),
        ("@SYS/block.bin", noise(478, 4)),
        ("@ROMFS/locations.txt", noise(5000, 5)),
        ("@PARAM/param.pck", noise(14_871, 6)),
        ("@MISSION/mission.dat", noise(48, 7)),
        ("@MAV_LOG/1.BIN", noise(10_000, 8)),
    ];
    let copy = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])";
    for (name, content) in &files {
        let (far, near) = (card.path(name), local.path().join("copy"));
        assert_eq!(succeed("cat", &[&far]), *content, "{name}");
        succeed("cp", &[&far, &near]);
        assert_eq!(fs::read(&near).unwrap(), *content, "{name}");
        succeed("python3", &["-c".into(), copy.into(), far.clone(), near.clone()]);
        assert_eq!(fs::read(&near).unwrap(), *content, "{name}");
        let arguments = [format!("if={}", far.display()), format!("of={}", near.display())];
        succeed("dd", &[&arguments[0], &arguments[1], "bs=100", "status=none"]);
        assert_eq!(fs::read(&near).unwrap(), *content, "{name}");
    }
    let probes =
        |asked: &[String]| asked.iter().filter(|line| line.contains("mission.dat")).count();
    card.tell("fast");
    std::thread::sleep(Duration::from_secs(2));
    card.sh("ls -A");
    assert_eq!(probes(&card.tell("fast")), 0, "asked once");
}

/// > Nothing in them can be changed: EROFS before anything is sent.
#[test]
fn virtual_files_are_of_one_opening_each_and_cannot_be_changed() {
    let mut card = Card::new(&[], &[]);
    let counter = card.path("@SYS/counter.txt");
    let (first, second) = (fs::read(&counter).unwrap(), fs::read(&counter).unwrap());
    assert_ne!(first, second, "nothing is kept across openings");
    let lines: Vec<_> = first.split(|&byte| byte == b'\n').collect();
    assert!(lines[..60].iter().all(|line| *line == lines[0]), "one opening each");
    card.tell("fast");
    for script in [
        "echo x > @SYS/uarts.txt",
        "echo x > @SYS/new",
        "echo x > @PARAM/param.pck",
        "echo x >> @MISSION/mission.dat",
        "rm @SYS/uarts.txt",
        "mv @MAV_LOG/1.BIN log",
        "mkdir @new",
        "mv readme @SYS/readme",
    ] {
        let complaint = card.complaint(script);
        assert!(complaint.contains("Read-only file system"), "{script}: {complaint}");
    }
    let asked = card.tell("fast");
    assert!(changes(&asked).is_empty(), "{asked:?}");
}

#[test]
fn files_at_the_root_of_a_simulated_vehicle_are_shown_too() {
    let card = Card::new(&["--simulated"], &[]);
    let shown = card.sh("ls -A | sort | tr '\\n' ' '");
    assert_eq!(shown, "@MAV_LOG @MISSION @PARAM @ROMFS @SYS log readme ");
    assert_eq!(card.sh("cat readme"), "precious\n");
}

/// > Of an armed autopilot (`--when-armed limit`) listings and files of up to 64 KiB are read;
/// > larger files, checksums and every change are EBUSY, changes before anything is sent.
///
/// > Once disarmed everything works again.
#[test]
fn a_copy_that_runs_when_the_vehicle_is_armed_ends_and_small_files_are_read() {
    let mut card = Card::new(&[], &[]);
    card.sh("ls -lA . log");
    card.tell("slow");
    let local = tempfile::tempdir().unwrap();
    let copy = local.path().join("copy");
    let mut copying = Ordinary::start("cp", &[&card.path("log/large"), &copy]);
    eventually("it has begun", LIMIT, || fs::metadata(&copy).is_ok_and(|file| file.len() > 0));
    let before = Instant::now();
    card.arm();
    let status = copying.wait(LIMIT).expect("it ends");
    assert!(!status.success() && before.elapsed() < LIMIT / 3, "{status:?}");
    card.tell("fast");
    assert_eq!(fs::read(card.path("log/small")).unwrap(), noise(60_000, 1));
    let complaint = card.complaint("cat log/large > /dev/null");
    assert!(complaint.contains("resource busy"), "{complaint}");
    for script in ["cp readme new", "rm readme", "mv readme r", "mkdir d", "truncate -s 1 readme"] {
        let complaint = card.complaint(script);
        assert!(complaint.contains("resource busy"), "{script}: {complaint}");
    }
    let asked = card.tell("fast");
    assert!(changes(&asked).is_empty(), "{asked:?}");
    card.disarm();
    assert_eq!(fs::read(card.path("log/large")).unwrap(), noise(LARGE, 2));
    assert_eq!(card.sh("echo x > new && cat new"), "x\n");
    let printed = card.mounted.program().printed();
    assert_eq!(printed.matches("armed: until it is disarmed").count(), 1, "{printed}");
}

/// > An upload that arming ends leaves the target as it was, and nothing is removed of the armed
/// > vehicle.
#[test]
fn an_upload_that_runs_when_the_vehicle_is_armed_fails_its_close_and_leaves_the_old_file() {
    let mut card = Card::new(&[], &[]);
    card.sh("ls -lA . log");
    card.tell("slow");
    let local = tempfile::tempdir().unwrap();
    let source = local.path().join("source");
    fs::write(&source, noise(100_000, 9)).unwrap();
    let mut copying = Ordinary::start("cp", &[&source, &card.path("readme")]);
    card.peer.lines_until(LIMIT, |line| line.starts_with("create") || line.starts_with("openwo"));
    card.arm();
    let status = copying.wait(LIMIT).expect("it ends");
    assert!(!status.success());
    let asked = card.tell("fast");
    let removals = asked.iter().filter(|line| line.starts_with("remove")).count();
    assert_eq!(removals, 0, "what is there stays there while it is armed");
    assert_eq!(card.sh("cat readme"), "precious\n");
    card.disarm();
    succeed("cp", &[&source, &card.path("readme")]);
    assert_eq!(fs::read(card.path("readme")).unwrap(), noise(100_000, 9));
}

/// > `--when-armed allow` limits nothing, and `deny` asks an armed vehicle for no listing and no
/// > file; what is cached is served.
#[test]
fn where_nothing_may_be_asked_what_is_known_is_still_served() {
    let mut card = Card::new(&[], &["--when-armed", "deny", "--dir-cache-time", "1s"]);
    card.sh("ls -lA . && cat readme");
    card.arm();
    card.tell("fast");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(card.sh("ls -A | grep readme && cat readme"), "readme\nprecious\n");
    let complaint = card.complaint("ls log");
    assert!(complaint.contains("resource busy"), "{complaint}");
    assert_eq!(card.tell("fast").len(), 1, "not a word to the vehicle");
    card.disarm();
    assert_eq!(card.sh("ls log"), "large\nsmall\n");
}

#[test]
fn a_vehicle_that_is_armed_already_is_mounted() {
    let mut card = Card::told(&["arm"], &[], &[]);
    assert_eq!(card.sh("ls && cat readme"), "@ROMFS\n@SYS\nlog\nreadme\nprecious\n");
    let opened = card.tell("fast").iter().filter(|line| line.contains('@')).count();
    assert_eq!(opened, 0, "nobody asked for virtual places");
    card.disarm();
    let shows_all = || card.sh("ls").contains("@MISSION");
    eventually("all places are shown", LIMIT, shows_all);
    let mut card = Card::told(&["arm"], &[], &["--when-armed", "deny"]);
    assert!(card.complaint("ls").contains("resource busy"));
    assert_eq!(card.tell("fast").len(), 1, "not a word to the vehicle");
}

/// > On a far side that compares names without case, `A` and `a` are one file: each opens the
/// > other, nothing is emptied unless O_TRUNC says so, and O_EXCL is EEXIST.
#[test]
fn on_a_card_both_spellings_are_one_file() {
    let mut card = Card::new(&[], &[]);
    assert_eq!(card.sh("cat README"), "precious\n");
    assert_eq!(card.sh("cat ReadMe readme"), "precious\nprecious\n");
    let inodes = ["readme", "README"].map(|name| fs::metadata(card.path(name)).unwrap().ino());
    assert_eq!(inodes[0], inodes[1]);
    let complaint = card.complaint("set -C; echo gone > READme");
    assert!(complaint.contains("exist"), "{complaint}");
    assert!(card.complaint("mkdir README").contains("File exists"));
    assert!(card.complaint("mkdir LOG").contains("File exists"));
    assert_eq!(card.sh("ls LOG && cd Log && ls"), "large\nsmall\nlarge\nsmall\n");
    card.sh("echo more >> README");
    assert_eq!(card.sh("cat readme"), "precious\nmore\n");
    card.sh("echo new > Readme");
    assert_eq!(card.sh("cat readme && ls | grep -i readme"), "new\nreadme\n");
    for name in ["a:b", "what?", "dot."] {
        assert!(card.complaint(&format!("mkdir '{name}'")).contains("Invalid argument"));
    }
    card.tell("fast");
    assert!(card.complaint("mkdir \"$(printf 'a\\tb')\"").contains("Invalid argument"));
    assert_eq!(card.tell("fast").len(), 1, "nothing was sent");
}

#[test]
fn where_case_counts_both_spellings_are_two_files() {
    let card = Card::new(&["--case-counts"], &[]);
    card.sh("echo other > README && mkdir a A && mv readme Readme");
    assert_eq!(card.sh("cat Readme README"), "precious\nother\n");
    card.sh("mkdir what?");
}

#[test]
fn a_spelling_is_changed_by_way_of_another_name() {
    let card = Card::new(&[], &[]);
    card.sh("mv readme x && mv x README");
    assert_eq!(card.sh("ls | grep -i readme && cat readme"), "README\nprecious\n");
    card.sh("echo new > y && mv y readme");
    assert_eq!(card.sh("cat README && ls | grep -ic readme"), "new\n1\n");
}

#[test]
fn noise_of_file_managers_stays_here_unless_it_is_wanted() {
    let mut card = Card::new(&[], &[]);
    card.sh("ls -lA");
    card.tell("fast");
    for name in [".DS_Store", "._a", "desktop.ini"] {
        assert!(card.complaint(&format!("touch {name}")).contains("Permission denied"));
    }
    assert!(card.complaint("mkdir .Trash-1000").contains("Permission denied"));
    assert!(card.complaint("ls .Trash-1000").contains("No such file"));
    assert_eq!(card.tell("fast").len(), 1, "not a word to the vehicle");
    let card = Card::new(&[], &["--no-trash-guard"]);
    card.sh("mkdir .Trash-1000 && echo x > .Trash-1000/.DS_Store");
    assert_eq!(card.sh("ls -A . | grep Trash && cat .Trash-1000/.DS_Store"), ".Trash-1000\nx\n");
}

/// > `--on-link-loss wait=60s` waits so long instead, and goes on where it was; `get` and `put` do
/// > so by default.
#[test]
fn a_get_lives_through_a_restart_of_the_vehicle() {
    let served = tempfile::tempdir().unwrap();
    let content = noise(LARGE * 2, 1);
    fs::write(served.path().join("log"), &content).unwrap();
    let port = free_port();
    let mut vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let local = tempfile::tempdir().unwrap();
    let copy = local.path().join("copy");
    let link = LINK_TIMEOUT.as_secs().to_string() + "s";
    let source = format!("udp:127.0.0.1:{port}#/log");
    let arguments = ["get", "--rate-limit", "100k", "--link-timeout", &link, "--op-timeout", "2s"];
    let whole = [&arguments[..], &[&source, copy.to_str().unwrap()]].concat();
    let mut get = Program::start(&whole);
    let has_begun = || {
        let files = fs::read_dir(local.path()).unwrap().flatten();
        files.filter_map(|file| file.metadata().ok()).any(|file| file.len() > 0)
    };
    eventually("it has begun", LIMIT, has_begun);
    vehicle.kill();
    std::thread::sleep(Duration::from_secs(8));
    let _vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let status = get.wait(LIMIT);
    assert!(status.success(), "{}", get.printed());
    assert_eq!(fs::read(&copy).unwrap(), content);
}

/// > `--on-link-loss wait=60s` waits so long instead, and goes on where it was; `get` and `put` do
/// > so by default.
#[test]
fn a_mount_that_waits_serves_what_it_knows_and_goes_on_when_the_vehicle_returns() {
    let served = tempfile::tempdir().unwrap();
    fs::write(served.path().join("known"), b"known").unwrap();
    fs::create_dir(served.path().join("d")).unwrap();
    fs::write(served.path().join("d/unknown"), b"unknown").unwrap();
    let port = free_port();
    let mut vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let mounted = Mounted::new(&format!("udp:127.0.0.1:{port}"), &["--on-link-loss", "wait=60s"]);
    assert_eq!(shell(mounted.path(), "ls && cat known"), b"d\nknown\nknown");
    vehicle.kill();
    std::thread::sleep(LINK_TIMEOUT + Duration::from_secs(1));
    let known = run_within(Duration::from_secs(1), "ls", &[mounted.path()]);
    assert_eq!(known.stdout, b"d\nknown\n", "at once");
    let mut waiting = Ordinary::start("cat", &[mounted.path().join("d/unknown")]);
    std::thread::sleep(Duration::from_secs(4));
    assert!(waiting.is_running(), "it waits for longer than --op-timeout");
    let _vehicle = Vehicle::start(Server::Embedded, port, served.path());
    assert!(waiting.wait(LIMIT).is_some_and(|status| status.success()));
    assert_eq!(fs::read(waiting.stdout_path()).unwrap(), b"unknown");
}
