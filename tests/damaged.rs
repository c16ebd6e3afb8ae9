//! Kernel mounts behind a damaged link, of MAVSDK's FtpServer and of ours, driven by ordinary
//! programs, every byte compared. Needs /dev/fuse, root, and the Python packages that scripts/test
//! installs.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

mod support;

use support::mounted::{LINK_TIMEOUT, OP_TIMEOUT, Scene, Server};
use support::ordinary::noise;
use support::program::{Ordinary, eventually, run_within, shell, succeed};
use support::relay::DamagedScene;

/// Wi-Fi at its edge.
const WIFI: &str = "--loss 0.03 --duplicate 0.02 --reorder 0.02 --delay 10 --rate 2000000 --seed 3";
/// A telemetry radio of 57600 baud, half of it for us.
const RADIO: &str = "--loss 0.02 --delay 200 --jitter 30 --rate 5760 --seed 5";
/// Lost again and again, on a busy machine, a frame needs longer than in other tests.
const PATIENT: [&str; 2] = ["--op-timeout", "10s"];
/// A path that repeats what it carries.
const REPEATING: &str = "--loss 0.05 --duplicate 0.3 --reorder 0.1 --delay 2 --seed 7";
/// A good link, slow enough that an upload can be caught in the middle.
const SLOW: &str = "--delay 5 --rate 200000 --seed 9";
/// The size of a file that is caught in the middle.
const LONG_BYTES: usize = 600_000;

/// On top of a timeout until a program has ended.
const SLACK: Duration = Duration::from_secs(5);
/// For what needs no wire, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Heartbeat, identity and a first answer after a silence.
const RETURN_TIME: Duration = Duration::from_secs(20);

fn write(directory: &Path, name: &str, bytes: Vec<u8>) {
    fs::write(directory.join(name), bytes).unwrap();
}

fn same(one: &Path, other: &Path) {
    succeed("cmp", &[one, other]);
}

fn no_leftovers(scene: &Scene) {
    let names = fs::read_dir(scene.far("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        names.filter(|name| name.to_string_lossy().starts_with(".mavftp-")).collect();
    assert!(left.is_empty(), "{left:?} left behind");
}

/// Copies both ways, many at once, and an edit.
fn works_as_ever(server: Server) {
    let far = DamagedScene::new(server, WIFI, &PATIENT, |directory| {
        write(directory, "out", noise(1, 300_007));
        write(directory, "text", b"one\ntwo\n".to_vec());
    });
    let (scene, local) = (&far.scene, tempfile::tempdir().unwrap());
    write(local.path(), "in", noise(2, 200_003));
    succeed("cp", &[local.path().join("in"), scene.near("in")]);
    same(&local.path().join("in"), &scene.far("in"));
    let both = "for n in 1 2 3 4; do cmp out \"$FAR/out\" || exit 1 & \
                cp \"$LOCAL/in\" copy-$n || exit 1 & done; wait; ls -l | grep -c copy";
    let places = format!("FAR='{}' LOCAL='{}';", scene.far("").display(), local.path().display());
    assert_eq!(shell(scene.mounted.path(), &format!("{places} {both}")), b"4\n");
    for copy in 1..=4 {
        same(&local.path().join("in"), &scene.far(&format!("copy-{copy}")));
    }
    shell(scene.mounted.path(), "sed -i s/two/2/ text && echo three >> text && rm copy-1");
    assert_eq!(fs::read(scene.far("text")).unwrap(), b"one\n2\nthree\n");
    assert!(!scene.far("copy-1").exists());
    no_leftovers(scene);
}

#[test]
fn mavsdk_works_as_ever_over_wifi_at_its_edge() {
    works_as_ever(Server::Mavsdk);
}

#[test]
fn our_server_works_as_ever_over_wifi_at_its_edge() {
    works_as_ever(Server::Embedded);
}

/// MAVSDK's server has no memory of its answers, and refuses the second copy of a request.
#[test]
fn changes_that_the_network_repeats_are_reported_as_they_are() {
    let far = DamagedScene::new(Server::Mavsdk, REPEATING, &PATIENT, |_| ());
    let rounds = "for n in 1 2 3 4 5 6; do \
                  echo $n > a && mv a b && mkdir d && mv b d/c && cat d/c && rm d/c && rmdir d \
                  || exit 1; done";
    assert_eq!(shell(far.scene.mounted.path(), rounds), b"1\n2\n3\n4\n5\n6\n");
    assert_eq!(fs::read_dir(far.scene.far("")).unwrap().count(), 0);
}

#[test]
fn a_radio_carries_files_both_ways_and_what_needs_no_wire_does_not_wait() {
    let far = DamagedScene::new(Server::Mavsdk, RADIO, &PATIENT, |directory| {
        write(directory, "out", noise(3, 8_001));
    });
    let (scene, local) = (&far.scene, tempfile::tempdir().unwrap());
    same(&scene.near("out"), &scene.far("out"));
    write(local.path(), "in", noise(4, 10_007));
    let mut copy = Ordinary::start("cp", &[local.path().join("in"), scene.near("in")]);
    eventually("the upload has begun", SLACK, || fs::read_dir(scene.far("")).unwrap().count() > 1);
    assert!(run_within(AT_ONCE, "df", &[scene.mounted.path()]).status.success());
    assert!(run_within(AT_ONCE, "stat", &[scene.near("out")]).status.success());
    assert!(copy.is_running(), "the copy was over too soon to show anything");
    assert!(copy.wait(RETURN_TIME).expect("cp hangs").success());
    same(&local.path().join("in"), &scene.far("in"));
    no_leftovers(scene);
}

/// A copy over `old` whose vehicle is lost in the middle, by `lose`.
fn fails_in_time(far: &mut DamagedScene, lose: impl FnOnce(&mut DamagedScene)) {
    let local = tempfile::tempdir().unwrap();
    write(local.path(), "new", noise(5, LONG_BYTES));
    let mut copy = Ordinary::start("cp", &[local.path().join("new"), far.scene.near("old")]);
    let upload_size = |scene: &Scene| {
        let entries = fs::read_dir(scene.far("")).unwrap().map(|entry| entry.unwrap());
        let mut uploads = entries.filter(|entry| entry.file_name() != "old");
        uploads.find_map(|entry| Some(entry.metadata().ok()?.len())).unwrap_or(0)
    };
    eventually("the upload is under way", SLACK, || upload_size(&far.scene) > 10_000);
    lose(far);
    let status = copy.wait(OP_TIMEOUT + LINK_TIMEOUT + SLACK).expect("cp waits for the dead");
    assert!(!status.success(), "cp succeeded without a vehicle");
    assert_eq!(fs::read(far.scene.far("old")).unwrap(), b"old content");
    assert!(run_within(AT_ONCE, "df", &[far.scene.mounted.path()]).status.success());
}

fn works_again(far: &DamagedScene) {
    let scene = &far.scene;
    eventually("the mount works again", RETURN_TIME, || {
        run_within(RETURN_TIME, "cat", &[scene.near("old")]).stdout == b"old content"
    });
    let local = tempfile::tempdir().unwrap();
    write(local.path(), "new", noise(6, 50_021));
    succeed("cp", &[local.path().join("new"), scene.near("old")]);
    same(&local.path().join("new"), &scene.far("old"));
    same(&local.path().join("new"), &scene.near("old"));
}

fn old(directory: &Path) {
    write(directory, "old", b"old content".to_vec());
}

#[test]
fn a_long_silence_fails_an_upload_in_time_and_leaves_the_old_content() {
    let mut far = DamagedScene::new(Server::Mavsdk, SLOW, &[], old);
    fails_in_time(&mut far, |far| far.damage("silence 7"));
    works_again(&far);
}

#[test]
fn a_server_killed_in_an_upload_leaves_the_old_content_and_is_used_again() {
    let mut far = DamagedScene::new(Server::Embedded, SLOW, &[], old);
    fails_in_time(&mut far, |far| far.scene.vehicle.kill());
    far.scene.restart_vehicle();
    works_again(&far);
}

#[test]
fn a_short_silence_only_delays_copies() {
    let mut far = DamagedScene::new(Server::Mavsdk, SLOW, &["--op-timeout", "6s"], |directory| {
        write(directory, "out", noise(7, 200_003));
    });
    let local = tempfile::tempdir().unwrap();
    write(local.path(), "in", noise(8, 200_003));
    let mut up = Ordinary::start("cp", &[local.path().join("in"), far.scene.near("in")]);
    let mut down = Ordinary::start("cp", &[far.scene.near("out"), local.path().join("out")]);
    std::thread::sleep(Duration::from_millis(300));
    far.damage("silence 1.5");
    assert!(up.wait(RETURN_TIME).expect("cp hangs").success());
    assert!(down.wait(RETURN_TIME).expect("cp hangs").success());
    same(&local.path().join("in"), &far.scene.far("in"));
    same(&local.path().join("out"), &far.scene.far("out"));
}

/// Another station replaces a file while a program reads it.
#[test]
fn a_file_replaced_on_the_vehicle_is_read_anew_or_is_stale_and_never_mixed() {
    let (before, after) = (vec![b'A'; 100_000], vec![b'B'; 100_000]);
    let options = [PATIENT[0], PATIENT[1], "--dir-cache-time", "1s"];
    let far = DamagedScene::new(Server::Embedded, WIFI, &options, |directory| {
        write(directory, "file", before.clone());
    });
    let scene = &far.scene;
    let mut open = File::open(scene.near("file")).unwrap();
    let mut begun = [0; 4096];
    open.read_exact(&mut begun).unwrap();
    // A time apart from the first, for servers count in seconds.
    std::thread::sleep(Duration::from_millis(1100));
    fs::write(scene.far("new"), &after).unwrap();
    fs::rename(scene.far("new"), scene.far("file")).unwrap();
    std::thread::sleep(Duration::from_millis(2200));
    assert!(fs::read(scene.near("file")).unwrap() == after, "the new content, and nothing else");
    let mut rest = Vec::new();
    match open.read_to_end(&mut rest) {
        Ok(_) => assert!(rest == before[4096..], "one content or the other"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ESTALE)),
    }
}
