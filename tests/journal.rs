//! What could not be sent survives: the end of the vehicle, of our program, of the mount; and reaches
//! no other vehicle. Kernel mounts of the embedded vehicle. Needs /dev/fuse and root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod support;

use support::mounted::{
    LINK_TIMEOUT, MOUNT_TIME, Mounted, Server, UNMOUNT_TIME, Vehicle, free_port,
};
use support::program::{eventually, our_program_keeping};

/// Exit codes of the command line contract.
const DONE: i32 = 0;
const REMAINS: i32 = 6;
/// The id of an entry is the first word of its line.
const ID_LENGTH: usize = 8;

/// A served directory, a state directory, and a mount that may end before both.
struct Stage {
    port: u16,
    served: tempfile::TempDir,
    state: tempfile::TempDir,
    vehicle: Vehicle,
    mounted: Option<Mounted>,
}

impl Stage {
    fn new(options: &[&str], fill: impl FnOnce(&Path)) -> Stage {
        let (served, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(served.path());
        fs::write(served.path().join("there"), b"before").unwrap();
        let port = free_port();
        let vehicle = Vehicle::start(Server::Embedded, port, served.path());
        let mut stage = Stage { port, served, state, vehicle, mounted: None };
        stage.mount(options);
        // By the time a file has been saved it is known whose files these are.
        fs::write(stage.near("first"), b"saved").unwrap();
        assert_eq!(fs::read(stage.far("first")).unwrap(), b"saved");
        stage
    }

    fn mount(&mut self, options: &[&str]) {
        let source = self.source();
        self.mounted = Some(Mounted::keeping(Some(self.state.path()), &source, options));
    }

    fn source(&self) -> String {
        format!("udp:127.0.0.1:{}", self.port)
    }

    fn near(&self, name: &str) -> PathBuf {
        self.mounted.as_ref().unwrap().path().join(name)
    }

    fn far(&self, name: &str) -> PathBuf {
        self.served.path().join(name)
    }

    fn unsent(&self, arguments: &[&str]) -> (i32, String) {
        let arguments = [&["unsent"], arguments].concat();
        our_program_keeping(self.state.path(), &arguments, MOUNT_TIME)
    }

    fn send(&self, more: &[&str]) -> (i32, String) {
        let source = self.source();
        self.unsent(&[&["--send", &source], more].concat())
    }

    fn restart_vehicle(&mut self) {
        self.vehicle.kill();
        self.vehicle = Vehicle::start(Server::Embedded, self.port, self.served.path());
    }

    /// Writes a file while the vehicle is gone; the error that its program gets.
    fn fail_to_write(&mut self, name: &str, bytes: &[u8]) -> i32 {
        let near = self.near(name);
        self.vehicle.kill();
        let mut file = File::create(near).unwrap();
        let error = file.write_all(bytes).and_then(|()| file.sync_all()).unwrap_err();
        error.raw_os_error().unwrap()
    }

    fn unmount(&mut self) -> i32 {
        let mut mounted = self.mounted.take().unwrap();
        mounted.program().terminate();
        mounted.program().wait(UNMOUNT_TIME).code().unwrap()
    }
}

/// > `mavftp-mount unsent` lists it and ends with 6 while anything remains; `--send`, `--export`
/// > and `--discard` settle it.
#[test]
fn a_save_that_failed_is_listed_and_sent_when_it_is_told_to() {
    let mut stage = Stage::new(&[], |_| ());
    let errno = stage.fail_to_write("new", b"precious");
    assert!([libc::ETIMEDOUT, libc::EHOSTDOWN].contains(&errno), "{errno}");
    let listed = || {
        let (code, printed) = stage.unsent(&[]);
        code == REMAINS && printed.contains("failed") && !printed.contains("in use")
    };
    eventually("the closed file is listed", MOUNT_TIME, listed);
    let (_, printed) = stage.unsent(&[]);
    assert!(printed.contains("/new") && printed.contains("8 bytes"), "{printed}");
    assert_eq!(stage.unmount(), REMAINS, "the mount says so, too");
    assert!(!stage.far("new").exists());

    stage.restart_vehicle();
    stage.mount(&[]);
    let noted = |stage: &mut Stage| stage.mounted.as_mut().unwrap().program().printed();
    assert!(noted(&mut stage).contains("1 change for this vehicle is not sent"));
    std::thread::sleep(Duration::from_secs(1));
    assert!(!stage.far("new").exists(), "it is never sent by itself");
    stage.unmount();

    let (code, printed) = stage.send(&[]);
    assert_eq!(code, DONE, "{printed}");
    assert_eq!(fs::read(stage.far("new")).unwrap(), b"precious");
    assert_eq!(stage.unsent(&[]), (DONE, String::new()));
}

/// > What was reported as failed is never sent by itself; a later successful save of the same path
/// > drops it.
#[test]
fn a_later_save_of_the_same_file_settles_what_failed() {
    let mut stage = Stage::new(&[], |_| ());
    stage.fail_to_write("there", b"first try");
    stage.restart_vehicle();
    eventually("the vehicle is back", MOUNT_TIME, || {
        let written = File::create(stage.near("there"))
            .and_then(|mut file| file.write_all(b"second try").and_then(|()| file.sync_all()));
        written.is_ok()
    });
    assert_eq!(fs::read(stage.far("there")).unwrap(), b"second try");
    let (code, printed) = stage.unsent(&[]);
    assert_eq!(code, DONE, "{printed}");
}

/// > At our end by SIGKILL or a crash the vehicle has the old file or the new one, and what was
/// > being written lies in the journal here.
///
/// > What could not be sent survives our crash, with the identity of the vehicle it was meant for.
///
/// > `mavftp-mount unsent` lists it and ends with 6 while anything remains; `--send`, `--export`
/// > and `--discard` settle it.
#[test]
fn a_file_that_was_being_written_when_we_were_killed_is_rescued() {
    let mut stage = Stage::new(&[], |_| ());
    let mut open = File::create(stage.near("open")).unwrap();
    open.write_all(b"not yet closed").unwrap();
    let mut edited = File::options().write(true).open(stage.near("there")).unwrap();
    edited.write_all(b"B").unwrap();
    // Another process would close its copies of the descriptors, which sends the files.
    stage.mounted.as_mut().unwrap().program().kill();
    let (code, printed) = stage.unsent(&[]);
    assert_eq!(code, REMAINS);
    assert_eq!(printed.matches("interrupted").count(), 2, "{printed}");
    assert!(printed.contains("not the whole file"), "{printed}");
    let target = stage.state.path().join("rescued");
    let (code, printed) = stage.unsent(&["--export", target.to_str().unwrap()]);
    assert_eq!(code, REMAINS, "{printed}");
    assert_eq!(fs::read(target.join("open")).unwrap(), b"not yet closed");
    drop((open, edited));
    stage.mounted = None;
    let (code, printed) = stage.send(&[]);
    assert_eq!(code, REMAINS);
    assert!(printed.contains("--force") && !stage.far("open").exists(), "{printed}");
    let (code, printed) = stage.unsent(&["--discard"]);
    assert_eq!(code, DONE, "{printed}");
    assert_eq!(printed.matches("dropped").count(), 2, "{printed}");
}

/// > `unsent --send` sends nothing to another vehicle, and replaces a file that changed there since
/// > only with `--force`.
#[test]
fn what_was_written_for_one_vehicle_is_not_sent_to_another() {
    let mut stage = Stage::new(&[], |_| ());
    stage.fail_to_write("new", b"for the first");
    stage.unmount();
    let first = std::mem::replace(&mut stage.served, tempfile::tempdir().unwrap());
    stage.restart_vehicle();
    let (code, printed) = stage.send(&["--force"]);
    assert!(code == REMAINS && printed.contains("belongs to"), "{printed}");
    assert!(!stage.far("new").exists());
    stage.served = first;
    stage.restart_vehicle();
    assert_eq!(stage.send(&[]).0, DONE);
    assert_eq!(fs::read(stage.far("new")).unwrap(), b"for the first");
}

/// > `unsent --send` sends nothing to another vehicle, and replaces a file that changed there since
/// > only with `--force`.
#[test]
fn a_file_that_changed_there_since_is_replaced_only_by_force() {
    let mut stage = Stage::new(&[], |_| ());
    stage.fail_to_write("there", b"mine");
    stage.unmount();
    fs::write(stage.far("there"), b"another station's").unwrap();
    stage.restart_vehicle();
    let (code, printed) = stage.send(&[]);
    assert!(code == REMAINS && printed.contains("changed"), "{printed}");
    assert_eq!(fs::read(stage.far("there")).unwrap(), b"another station's");
    let id = printed.lines().find(|line| line.contains("changed")).unwrap()[..ID_LENGTH].to_owned();
    let (code, printed) = stage.send(&["--force", &id]);
    assert_eq!(code, DONE, "{printed}");
    assert_eq!(fs::read(stage.far("there")).unwrap(), b"mine");
}

/// > Nothing that was written for one vehicle is saved on another: the save is ESTALE, and its
/// > bytes are kept.
#[test]
fn a_save_never_reaches_a_vehicle_that_took_the_place_of_another() {
    let mut stage = Stage::new(&[], |_| ());
    let mut open = File::create(stage.near("new")).unwrap();
    open.write_all(b"for the first").unwrap();
    let first = std::mem::replace(&mut stage.served, tempfile::tempdir().unwrap());
    fs::write(stage.far("other"), b"files").unwrap();
    stage.restart_vehicle();
    eventually("the other vehicle's files are seen", MOUNT_TIME, || {
        fs::read_dir(stage.mounted.as_ref().unwrap().path())
            .is_ok_and(|mut names| names.any(|name| name.unwrap().file_name() == "other"))
    });
    assert_eq!(open.sync_all().unwrap_err().raw_os_error(), Some(libc::ESTALE));
    drop(open);
    assert!(!stage.far("new").exists() && !first.path().join("new").exists());
    eventually("it is kept", MOUNT_TIME, || stage.unsent(&[]).1.contains("failed"));
}

#[test]
fn json_names_what_is_unsent_and_garbage_is_left_alone() {
    let mut stage = Stage::new(&[], |_| ());
    stage.fail_to_write("new", b"precious");
    stage.unmount();
    let garbled = stage.state.path().join("mavftp-mount/unsent/0badbad0");
    fs::create_dir(&garbled).unwrap();
    fs::write(garbled.join("data"), b"?").unwrap();
    fs::write(garbled.join("meta.json"), b"{\"format\": 1, ").unwrap();
    let (code, printed) = stage.unsent(&["--json"]);
    assert_eq!(code, REMAINS);
    assert!(printed.contains("\"path\":\"/new\"") && printed.contains("unreadable"), "{printed}");
    assert_eq!(stage.unsent(&["--discard"]).0, REMAINS);
    assert_eq!(fs::read(garbled.join("data")).unwrap(), b"?");
}

/// > What `--write-back async` promised is sent by the next mount of that vehicle, if this one
/// > cannot.
#[test]
fn an_asynchronous_close_outlives_a_lost_link_and_our_own_end() {
    const ASYNC: [&str; 2] = ["--write-back", "async"];
    let mut stage = Stage::new(&[], |_| ());
    stage.unmount();
    stage.mount(&ASYNC);
    fs::write(stage.near("second"), b"soon there").unwrap();
    eventually("it is sent", MOUNT_TIME, || stage.far("second").exists());
    stage.vehicle.kill();
    std::thread::sleep(LINK_TIMEOUT + Duration::from_secs(1));
    fs::write(stage.near("later"), b"promised").unwrap();
    assert_eq!(fs::read(stage.near("later")).unwrap(), b"promised");
    let (code, printed) = stage.unsent(&[]);
    assert!(code == REMAINS && printed.contains("pending, in use"), "{printed}");

    stage.mounted.as_mut().unwrap().program().kill();
    stage.mounted = None;
    assert!(stage.unsent(&[]).1.contains("pending"));
    stage.restart_vehicle();
    stage.mount(&ASYNC);
    assert_eq!(fs::read(stage.near("later")).unwrap(), b"promised");
    eventually("the promise is kept", MOUNT_TIME, || {
        fs::read(stage.far("later")).is_ok_and(|bytes| bytes == b"promised")
    });
    eventually("nothing is left", MOUNT_TIME, || stage.unsent(&[]).0 == DONE);
    assert_eq!(stage.unmount(), DONE);
}

/// > Temporary names left on a vehicle are removed at the next mount of that vehicle, and only
/// > those that the journal names.
#[test]
fn an_upload_that_died_with_us_leaves_nothing_on_the_vehicle_after_the_next_mount() {
    let slow = ["--rate-limit", "20k"];
    let theirs = ".mavftp-0011aaff~";
    let mut stage = Stage::new(&slow, |served| fs::write(served.join(theirs), b"half").unwrap());
    let near = stage.near("large");
    let writer = std::thread::spawn(move || fs::write(near, vec![7; 400_000]));
    let unfinished = |stage: &Stage| {
        let names = fs::read_dir(stage.served.path()).unwrap();
        let names = names.map(|name| name.unwrap()).filter(|name| name.file_name() != theirs);
        names.filter(hidden).count()
    };
    eventually("an upload is under way", MOUNT_TIME, || unfinished(&stage) == 1);
    // The name is noted beside the upload, not before it.
    std::thread::sleep(Duration::from_millis(500));
    stage.mounted.as_mut().unwrap().program().kill();
    assert!(writer.join().unwrap().is_err());
    stage.mounted = None;
    assert!(!stage.far("large").exists());
    assert!(stage.unsent(&[]).1.contains("interrupted"));
    stage.mount(&[]);
    eventually("it is removed", MOUNT_TIME, || unfinished(&stage) == 0);
    assert!(stage.unsent(&[]).1.contains("interrupted"), "the bytes are still here");
    assert_eq!(fs::read(stage.far(theirs)).unwrap(), b"half", "another station's");
}

fn hidden(name: &fs::DirEntry) -> bool {
    name.file_name().to_string_lossy().starts_with(".mavftp-")
}
