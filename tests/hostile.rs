//! A vehicle that lies (`tests/peers/hostile_vehicle.py`), behind a kernel mount and behind the plain
//! verbs: no wrong byte, no wrong path, no short file that passes for a whole one, and an end to
//! everything. Needs /dev/fuse, root and pymavlink.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

mod support;

use support::mounted::{Mounted, free_port};
use support::program::{eventually, our_program, run_within};
use support::python::{self, Peer};

/// What these mounts and verbs wait for; the vehicle answers at once, where it does.
const TIMEOUTS: [&str; 4] = ["--op-timeout", "1s", "--link-timeout", "3s"];
/// Several timeouts, for a busy machine.
const LIMIT: Duration = Duration::from_secs(15);
/// A listing of the most entries that are believed, and what is remembered of it.
const RESIDENT_MAX_KIB: u64 = 200 * 1024;
/// What may be said of liars, in bytes; they send thousands of frames a second.
const LOG_MAX: usize = 20_000;

/// What is in a file of the vehicle, as long as it says.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| ((7 * n + n / 251) % 251 + 1) as u8).collect()
}

const LENGTH: usize = 7000;

/// Tricks that must not keep the file from its reader.
const HARMLESS: [&str; 12] = [
    "good",
    "larger-than-asked",
    "duplicated",
    "old",
    "never-terminated",
    "loses-sessions",
    "stray",
    "foreign-ids",
    "signed",
    "version-1",
    "behind-noise",
    "all-at-once",
];

/// Tricks after which nobody can know what is in the file.
const FATAL: [&str; 22] = [
    "wrong-offset",
    "wrong-session",
    "wrong-sequence",
    "size-255",
    "garbage-req-opcode",
    "nak-without-code",
    "nak-200",
    "zeros",
    "eof-within",
    "fail",
    "mute",
    "truncated",
    "damaged",
    "open-without-size",
    "open-fails",
    "open-mute",
    "open-huge",
    "open-4g",
    "listed-2-63",
    "listed-2-64",
    "listed-4g",
    "listed-without-size",
];

/// The vehicle, and where it can be heard.
struct Liar {
    peer: Peer,
    source: String,
}

impl Liar {
    fn start() -> Liar {
        let port = free_port();
        let mut peer = Peer::start("hostile_vehicle.py", &[port.to_string()]);
        peer.lines_until(python::START_TIME, |line| line == "ready");
        Liar { peer, source: format!("udp:127.0.0.1:{port}") }
    }

    fn mount(&self) -> Mounted {
        Mounted::new(&self.source, &TIMEOUTS)
    }

    /// Begins a trick of the whole link.
    fn begin(&mut self, trick: &str) {
        self.peer.say(trick);
        self.peer.lines_until(LIMIT, |line| line == trick);
    }

    /// Runs a verb on a place of the vehicle.
    fn verb(&self, verb: &str, before: &[&str], place: &str, after: &[&str]) -> (i32, String) {
        let place = format!("{}#{place}", self.source);
        let arguments = [&[verb], &TIMEOUTS[..], before, &[place.as_str()], after].concat();
        our_program(&arguments, LIMIT)
    }
}

fn cat(mounted: &Mounted, name: &str) -> Output {
    run_within(LIMIT, "cat", &[mounted.path().join("files").join(name)])
}

/// The names in a directory, escaped as `ls -b` does, and whether `ls` saw all of them.
fn listed(mounted: &Mounted, name: &str) -> (Vec<String>, bool) {
    let directory = mounted.path().join("lists").join(name);
    let output = run_within(LIMIT, "ls", &[Path::new("-1bA"), &directory]);
    let names = String::from_utf8(output.stdout).unwrap();
    (names.lines().map(str::to_owned).collect(), output.status.success())
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_file_is_read_right_in_spite_of_what_else_is_said() {
    let liar = Liar::start();
    let mounted = liar.mount();
    for name in HARMLESS {
        let output = cat(&mounted, name);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == content(LENGTH), "{name} is not what the vehicle holds");
    }
    assert!(cat(&mounted, "one-byte").stdout == content(300));
}

/// > A short read happens at the end of the file only; what did not arrive is an error (EIO,
/// > ETIMEDOUT, EHOSTDOWN), never zeros.
#[test]
fn a_file_that_cannot_be_had_is_an_error_and_never_zeros_or_a_beginning() {
    let liar = Liar::start();
    let mounted = liar.mount();
    for name in FATAL {
        let output = cat(&mounted, name);
        assert!(!output.status.success(), "{name} passes for a file");
        assert!(content(LENGTH).starts_with(&output.stdout), "{name}: wrong bytes came out");
    }
    eventually("what was tried last stands in nobody's way", LIMIT, || {
        cat(&mounted, "good").stdout == content(LENGTH)
    });
}

#[test]
fn listings_end_and_name_nothing_that_leads_elsewhere() {
    let liar = Liar::start();
    let mut mounted = liar.mount();
    let (names, whole) = listed(&mounted, "names");
    let long = |letter: &str, count| letter.repeat(count);
    let expected = [
        "\\033[2Jclear",
        "far-future",
        "good",
        "last",
        &long("l", 220),
        &long("m", 238),
        "new\\nline",
        "past",
        "tab\\there",
        "\\377\\376",
    ];
    let unknown: Vec<_> = names.iter().filter(|name| !expected.contains(&name.as_str())).collect();
    assert!(whole && unknown.is_empty(), "{unknown:?}");
    assert!(names.iter().any(|name| name == "good") && names.iter().any(|name| name == "last"));

    assert_eq!(listed(&mounted, "unterminated"), (vec!["whole".to_owned()], true));
    for name in ["empty-pages", "eof-at-once"] {
        assert_eq!(listed(&mounted, name), (Vec::new(), true), "{name}");
    }
    for name in ["same", "skipped", "fails", "nak-200", "zeros", "mute", "no-sessions", "huge-page"]
    {
        let (names, whole) = listed(&mounted, name);
        assert!(!whole && names.len() <= 1, "{name} passes for a directory: {names:?}");
    }
    let (names, whole) = listed(&mounted, "endless");
    assert!(!whole && names.len() <= 65_536, "{} names of an endless listing", names.len());
    let resident = resident_kib(mounted.program().id());
    assert!(resident < RESIDENT_MAX_KIB, "{resident} KiB are held");
}

#[test]
fn a_link_full_of_liars_changes_no_byte_and_fills_no_log() {
    let mut liar = Liar::start();
    let mut mounted = liar.mount();
    for trick in ["crowd", "flap", "noise", "strangers"] {
        liar.begin(trick);
    }
    let mut right = 0;
    for _ in 0..20 {
        let from_the_vehicle = "iflag=direct";
        let file = format!("if={}", mounted.path().join("files/good").display());
        let output = run_within(LIMIT, "dd", &[&file, from_the_vehicle, "bs=4k", "status=none"]);
        assert!(content(LENGTH).starts_with(&output.stdout), "wrong bytes came out");
        right += usize::from(output.status.success() && output.stdout.len() == LENGTH);
    }
    assert!(right >= 15, "only {right} of 20 copies came through");
    liar.begin("identities");
    for _ in 0..20 {
        let output = cat(&mounted, "good");
        let whole = !output.status.success() || output.stdout.len() == LENGTH;
        assert!(whole && content(LENGTH).starts_with(&output.stdout), "a wrong file came out");
    }
    let log = mounted.program().printed();
    assert!(log.len() < LOG_MAX, "{} bytes were logged", log.len());
    let resident = resident_kib(mounted.program().id());
    assert!(resident < RESIDENT_MAX_KIB, "{resident} KiB are held");
}

#[test]
fn get_leaves_the_whole_file_or_nothing_where_it_was_told() {
    let liar = Liar::start();
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().join("here");
    fs::create_dir(&here).unwrap();
    let local = here.to_str().unwrap();
    for name in ["eof-within", "open-4g", "open-huge", "damaged", "wrong-offset"] {
        let (code, printed) = liar.verb("get", &[], &format!("/files/{name}"), &[local]);
        assert_eq!(code, 1, "{name}: {printed}");
        assert_eq!(fs::read_dir(&here).unwrap().count(), 0, "{name} left something behind");
    }
    for name in ["../escape", "..", ".", "a/b"] {
        let (code, printed) = liar.verb("get", &[], &format!("/lists/names/{name}"), &[local]);
        assert_ne!(code, 0, "{name}: {printed}");
    }
    for name in ["good", "old", "open-larger"] {
        let (code, printed) = liar.verb("get", &[], &format!("/files/{name}"), &[local]);
        assert_eq!(code, 0, "{name}: {printed}");
        assert!(fs::read(here.join(name)).unwrap() == content(LENGTH), "{name}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "something is outside");
}

#[test]
fn a_vehicle_is_found_behind_a_crowd_when_it_is_named() {
    let mut liar = Liar::start();
    liar.begin("crowd");
    let (code, printed) = liar.verb("ls", &["--target", "1:1"], "/files", &[]);
    assert_eq!(code, 0, "{printed}");
    let arguments = ["--target", "77:77", "--mount-timeout", "2s"];
    let (code, printed) = liar.verb("ls", &arguments, "/files", &[]);
    assert!(code == 3 || code == 4, "{code}: {printed}");
    assert!(printed.len() < 2000, "a crowd of names:\n{printed}");
}

/// > close and fsync return what became of the upload: success only when the vehicle has
/// > acknowledged every byte and told the right size (`--verify`).
#[test]
fn an_upload_that_the_vehicle_loses_is_an_error_and_replaces_nothing() {
    let mut liar = Liar::start();
    let local = tempfile::NamedTempFile::new().unwrap();
    fs::write(local.path(), content(LENGTH)).unwrap();
    let (code, printed) = liar.verb("put", &[local.path().to_str().unwrap()], "/uploads/new", &[]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("1 bytes of 7000 were stored"), "{printed}");
    let mounted = liar.mount();
    let copy = run_within(LIMIT, "cp", &[local.path(), &mounted.path().join("uploads/new")]);
    assert!(!copy.status.success(), "cp of a lost file succeeded");
    liar.peer.say("calm");
    let said = liar.peer.lines_until(LIMIT, |line| line == "calm");
    assert_eq!(said, ["calm"], "a lost upload was renamed over its target");
}

#[test]
fn an_armed_autopilot_is_read_and_not_written_to() {
    let mut vehicle = Liar::start();
    let mounted = vehicle.mount();
    let (good, new) = (mounted.path().join("files/good"), mounted.path().join("uploads/new"));
    vehicle.begin("armed");
    let busy = |program: &str, arguments: &[&Path]| {
        let output = run_within(LIMIT, program, arguments);
        String::from_utf8_lossy(&output.stderr).contains("Device or resource busy")
    };
    eventually("a heartbeat says that it is armed", LIMIT, || busy("mkdir", &[&new]));
    assert!(busy("cp", &[&good, &new]));
    assert!(busy("rm", &[&good]));
    assert_eq!(run_within(LIMIT, "cat", &[&good]).stdout, content(LENGTH));
    drop(mounted);
    let (code, printed) = vehicle.verb("put", &[file!()], "/uploads/new", &[]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("armed; disarm it first"), "{printed}");
}
