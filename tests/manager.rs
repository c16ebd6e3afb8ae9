//! A file manager opens a mount, on a display in memory: it does not hang, leaves nothing behind on
//! the vehicle, and does not read what nobody asked for. Needs /dev/fuse, root, and what scripts/test
//! installs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

mod support;

use support::mounted::{Scene, Server};
use support::ordinary::noise;
use support::program::{Ordinary, eventually, run_within};
use support::relay::DamagedScene;
use support::scripts;
use support::user::{self, User};

/// What the manager might take for a picture worth a small one.
const PICTURE_BYTES: usize = 5 << 20;
/// What it looks into for its kind: 4 KiB, of which the kernel makes 8.
const LOG_BYTES: usize = 300_000;
/// A folder as large as a vehicle's.
const LOGS: usize = 40;
/// For the beginnings of files, and what is read ahead of them; a tenth of what there is.
const READ_MAX: u64 = 2_000_000;
/// Until the manager has drawn its window, on a busy machine.
const DRAWN: Duration = Duration::from_secs(30);
/// For what it does once it has nothing to do.
const IDLE: Duration = Duration::from_secs(4);
/// A display in memory, of its own number.
struct Display {
    server: Child,
    number: String,
}

impl Display {
    fn start() -> Display {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"]);
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
        let server = command.spawn().expect("no Xvfb; run scripts/test, which installs it");
        drop(command);
        let mut number = String::new();
        BufReader::new(reader).read_line(&mut number).unwrap();
        Display { server, number: format!(":{}", number.trim()) }
    }

    /// Whether a window with this in its title is shown.
    fn shows(&self, title: &str) -> bool {
        let mut command = Command::new("xdotool");
        command.args(["search", "--onlyvisible", "--name", title]).env("DISPLAY", &self.number);
        command.stderr(Stdio::null());
        command.output().is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn fill(directory: &Path) {
    let (pictures, logs) = (directory.join("pictures"), directory.join("logs"));
    fs::create_dir(&pictures).unwrap();
    fs::create_dir(&logs).unwrap();
    for name in ["one.jpg", "two.png"] {
        fs::write(pictures.join(name), noise(1, PICTURE_BYTES)).unwrap();
    }
    fs::write(pictures.join("unknown"), noise(2, PICTURE_BYTES)).unwrap();
    for number in 0..LOGS {
        let bytes = noise(number as u64, LOG_BYTES);
        fs::write(logs.join(format!("{number:08}.BIN")), bytes).unwrap();
    }
}

/// Everything below a directory.
fn names(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(names(&entry.path()));
        }
        found.insert(entry.path());
    }
    found
}

/// Opens a folder, waits until it is shown and the manager has nothing more to do.
fn opens(display: &Display, folder: &Path) {
    let home = user::open_directory();
    let mut command = Command::new("dbus-run-session");
    command.args(["--", "pcmanfm"]).arg(folder);
    command.env("DISPLAY", &display.number).env("LC_ALL", "C.UTF-8").env("GVFS_DISABLE_FUSE", "1");
    command.env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path().join("config"));
    command.env("XDG_DATA_HOME", home.path().join("share"));
    // With the session and its bus in a group that can be ended together.
    let manager = {
        command.process_group(0);
        Ordinary::run(command)
    };
    let title = folder.file_name().unwrap().to_str().unwrap();
    eventually("the folder is shown", DRAWN, || display.shows(title));
    std::thread::sleep(IDLE);
    // What a program asks meanwhile is answered.
    let listed = run_within(Duration::from_secs(5), "ls", &["-l".as_ref(), folder.as_os_str()]);
    assert!(listed.status.success());
    // SAFETY: a plain system call; the group's first process is not reaped yet.
    unsafe { libc::kill(-(manager.id() as i32), libc::SIGTERM) };
    eventually("its window is gone", DRAWN, || !display.shows(title));
}

#[test]
fn a_file_manager_opens_a_vehicle_reads_little_and_leaves_nothing() {
    let display = Display::start();
    let far = DamagedScene::new(Server::Embedded, "", &[], fill);
    let scene = &far.scene;
    let before = names(&scene.far(""));
    for folder in ["", "pictures", "logs"] {
        opens(&display, &scene.near(folder).components().collect::<PathBuf>());
    }
    assert_eq!(names(&scene.far("")), before, "what is on the vehicle differs");
    let sent = far.bytes_sent_by_vehicle();
    println!("the vehicle sent {sent} bytes");
    assert!(sent < READ_MAX, "the vehicle sent {sent} bytes for a look");
}

#[test]
fn gio_copies_renames_and_has_no_trash() {
    for user in [User::Root, User::Nobody] {
        let port = support::mounted::free_port();
        let fill = |directory: &Path| scripts::fill_for(directory, &["gio"]);
        let scene = Scene::by(user, Server::Embedded, (port, port), &scripts::SEEN_SOON, fill);
        scripts::run(&scene, user, &["gio"], 0);
    }
}
