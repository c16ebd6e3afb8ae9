//! How programs write through a kernel mount: at the pace of a slow link, killed in the middle, from
//! the mount into the mount, through mappings, with an editor. Needs /dev/fuse, root, and the Python
//! packages that scripts/test installs.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

mod support;

use support::mounted::{Scene, Server};
use support::ordinary::noise;
use support::program::{Ordinary, eventually, run_within, succeed};
use support::relay::DamagedScene;

/// A telemetry radio's way.
const SLOW: &str = "--rate 5000 --delay 50";
const SLOW_BYTES_PER_SECOND: usize = 5000;
/// A link that is busy with an upload answers late.
const PATIENT: [&str; 2] = ["--op-timeout", "10s"];
const MIB: usize = 1 << 20;
/// A killed program ends within this.
const END_TIME: Duration = Duration::from_secs(2);
/// For what waits behind others on a slow link.
const SLOW_TIME: Duration = Duration::from_secs(30);

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    fs::write(directory.join(name), bytes).unwrap();
}

/// The names in the served directory.
fn names(scene: &Scene) -> Vec<String> {
    let entries = fs::read_dir(scene.far("")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// How many bytes of an unfinished upload the vehicle has.
fn arrived(scene: &Scene) -> usize {
    let uploads = names(scene).into_iter().filter(|name| name.starts_with(".mavftp-"));
    uploads
        .filter_map(|name| fs::metadata(scene.far(&name)).ok())
        .map(|file| file.len() as usize)
        .sum()
}

/// > A new file written in order is sent while it is written, and write waits for the vehicle at
/// > the link's pace, so that a copy shows true progress.
///
/// > A program that is killed while it writes dies within two seconds; the target keeps its old
/// > content, and what it wrote is kept here as partial.
#[test]
fn a_copy_over_a_slow_link_goes_at_its_pace_and_dies_when_it_is_killed() {
    for server in [Server::Embedded, Server::Mavsdk] {
        let far = DamagedScene::new(server, SLOW, &PATIENT, |directory| {
            write(directory, "target", b"old");
        });
        let (scene, local) = (&far.scene, tempfile::tempdir().unwrap());
        write(local.path(), "big", &noise(1, MIB));
        let began = Instant::now();
        let mut copy = Ordinary::start("cp", &[local.path().join("big"), scene.near("target")]);
        eventually("some of it is there", SLOW_TIME, || arrived(scene) > 20_000);
        let written = fs::metadata(scene.near("target")).unwrap().len() as usize;
        let carried = began.elapsed().as_secs_f64() * SLOW_BYTES_PER_SECOND as f64;
        assert!(written < carried as usize + 40_000, "{written} bytes are shown as written");
        let killed = Instant::now();
        copy.signal(libc::SIGTERM);
        assert!(!copy.wait(SLOW_TIME).expect("cp waits for ever").success());
        assert!(killed.elapsed() < END_TIME, "{server:?}: it took {:?}", killed.elapsed());
        assert_eq!(fs::read(scene.far("target")).unwrap(), b"old");
        eventually("nothing is left behind", SLOW_TIME, || names(scene) == ["target"]);
        let shown = run_within(SLOW_TIME, "cat", &[scene.near("target")]);
        assert_eq!(shown.stdout, b"old");
    }
}

#[test]
fn a_copy_over_a_slow_link_ends_with_the_file_there() {
    let far = DamagedScene::new(Server::Mavsdk, SLOW, &PATIENT, |_| ());
    let (scene, local) = (&far.scene, tempfile::tempdir().unwrap());
    write(local.path(), "in", &noise(2, 60_000));
    succeed("cp", &[local.path().join("in"), scene.near("in")]);
    assert!(fs::read(scene.far("in")).unwrap() == noise(2, 60_000));
    assert_eq!(names(scene), ["in"]);
}

/// > `cp` from the mount into the mount works, also where the server has one session.
#[test]
fn a_copy_within_the_mount_is_the_same_file() {
    for server in [Server::Embedded, Server::Mavsdk] {
        let scene = Scene::new(server, &[], |directory| {
            write(directory, "a", &noise(3, 3 * MIB + 7));
        });
        succeed("cp", &[scene.near("a"), scene.near("b")]);
        assert!(fs::read(scene.far("b")).unwrap() == noise(3, 3 * MIB + 7), "{server:?}");
        assert_eq!(names(&scene), ["a", "b"]);
    }
}

#[test]
fn what_is_written_through_a_mapping_is_sent_at_the_close() {
    let scene = Scene::new(Server::Embedded, &[], |directory| {
        write(directory, "a", &noise(4, 20_000));
    });
    let file = OpenOptions::new().read(true).write(true).open(scene.near("a")).unwrap();
    // SAFETY: a fresh shared mapping of 20,000 bytes of an open file, which nobody else changes or
    // cuts; it is unmapped before the test looks at the file, and not used after that.
    unsafe {
        let (protection, nowhere) = (libc::PROT_READ | libc::PROT_WRITE, std::ptr::null_mut());
        let map = libc::mmap(nowhere, 20_000, protection, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(map, libc::MAP_FAILED);
        let bytes = std::slice::from_raw_parts_mut(map.cast::<u8>(), 20_000);
        bytes[9_000..9_005].copy_from_slice(b"mmap!");
        assert_eq!(libc::munmap(map, 20_000), 0);
    }
    drop(file);
    let mut expected = noise(4, 20_000);
    expected[9_000..9_005].copy_from_slice(b"mmap!");
    eventually("it is there", SLOW_TIME, || fs::read(scene.far("a")).unwrap() == expected);
}

/// > All who have a file open share that copy, and what one writes the others read at once.
#[test]
fn two_writers_and_a_reader_of_one_file_see_one_content() {
    let scene = Scene::new(Server::Embedded, &[], |_| ());
    let mut first = File::create(scene.near("a")).unwrap();
    let mut second = OpenOptions::new().append(true).open(scene.near("a")).unwrap();
    first.write_all(&[1; 10_000]).unwrap();
    second.write_all(&[2; 10_000]).unwrap();
    let mut shown = Vec::new();
    File::open(scene.near("a")).unwrap().read_to_end(&mut shown).unwrap();
    assert!(shown == [[1; 10_000], [2; 10_000]].concat());
    first.sync_all().unwrap();
    assert!(fs::read(scene.far("a")).unwrap() == shown);
    first.set_len(5).unwrap();
    drop((first, second));
    eventually("it is cut", SLOW_TIME, || fs::read(scene.far("a")).unwrap() == [1; 5]);
}

/// > A program that inherits a descriptor and closes it, at its start or end, sends nothing: who
/// > opened the file or wrote to it does.
#[test]
fn programs_started_while_a_file_is_written_send_no_half_of_it() {
    let scene = Scene::new(Server::Embedded, &[], |directory| write(directory, "half", b"old"));
    let mut file = File::create(scene.near("half")).unwrap();
    file.write_all(&noise(7, 9_000)).unwrap();
    // Rust opens files so that exec(2) closes them.
    succeed("true", &[scene.near("half")]);
    // SAFETY: a plain system call on an open descriptor.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) }, 0);
    succeed("true", &[scene.near("half")]);
    Ordinary::start("sleep", &["60"]).kill();
    assert_eq!(fs::read(scene.far("half")).unwrap(), b"old");
    file.write_all(&noise(8, 9_000)).unwrap();
    drop(file);
    let whole = [noise(7, 9_000), noise(8, 9_000)].concat();
    assert!(fs::read(scene.far("half")).unwrap() == whole);
}

#[test]
fn an_editors_scratch_files_stay_here() {
    let scene = Scene::new(Server::Embedded, &[], |directory| {
        write(directory, "script.lua", b"old\n");
    });
    let (swap, lock) = (scene.near(".script.lua.swp"), scene.near(".~lock.script.lua#"));
    fs::write(&swap, noise(5, 12_288)).unwrap();
    fs::write(&lock, b"me").unwrap();
    assert!(fs::read(&swap).unwrap() == noise(5, 12_288) && fs::read(&lock).unwrap() == b"me");
    let auto = scene.near("#script.lua#");
    fs::write(&auto, b"new\n").unwrap();
    assert_eq!(names(&scene), ["script.lua"]);
    fs::rename(&auto, scene.near("script.lua")).unwrap();
    assert_eq!(fs::read(scene.far("script.lua")).unwrap(), b"new\n");
    assert_eq!(fs::read(scene.near("script.lua")).unwrap(), b"new\n");
    fs::remove_file(&swap).unwrap();
    fs::remove_file(&lock).unwrap();
    assert_eq!(fs::read_dir(scene.near("")).unwrap().count(), 1);
    assert_eq!(names(&scene), ["script.lua"]);
}

/// > A change of a part of a file larger than `--max-edit` (32 MiB), for which the rest would have
/// > to be fetched, is EFBIG before anything is fetched.
#[test]
fn a_change_of_a_part_of_a_large_file_is_refused_at_once() {
    let scene = Scene::new(Server::Embedded, &["--max-edit", "64K"], |directory| {
        write(directory, "log", &noise(6, 100_000));
    });
    let mut file = OpenOptions::new().write(true).open(scene.near("log")).unwrap();
    assert_eq!(file.write(b"x").unwrap_err().raw_os_error(), Some(libc::EFBIG));
    drop(file);
    fs::write(scene.near("log"), noise(7, 100_000)).unwrap();
    assert!(fs::read(scene.far("log")).unwrap() == noise(7, 100_000));
}
