//! Kernel mounts of the embedded vehicle (`mavftp-mount serve`), driven by ordinary programs, and
//! the life of a mount from its first error message to its end. Needs /dev/fuse and root.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod support;

use support::mounted::{
    MOUNT_TIME, Mounted, Scene, Server, UNMOUNT_TIME, Vehicle, detach, free_port, is_mounted,
    wait_unmounted,
};
use support::ordinary;
use support::program::{Program, eventually, fail, our_program, shell, succeed};

/// Exit codes of the command line contract.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NO_VEHICLE: i32 = 3;
const NO_FTP: i32 = 4;
const UNSENT: i32 = 6;
/// For a start that fails without waiting for a vehicle.
const REFUSAL_TIME: Duration = Duration::from_secs(10);

fn embedded(fill: impl FnOnce(&Path)) -> Scene {
    Scene::new(Server::Embedded, &[], fill)
}

#[test]
fn a_copy_out_is_the_same_file() {
    ordinary::copies_out(&embedded(ordinary::fill_with_sizes));
}

#[test]
fn a_copy_in_is_the_same_file() {
    ordinary::copies_in(&embedded(|_| ()));
}

#[test]
fn any_piece_of_a_file_can_be_read() {
    ordinary::reads_at_odd_offsets(&embedded(ordinary::fill_with_sizes));
}

#[test]
fn any_piece_of_a_file_can_be_written() {
    ordinary::writes_at_odd_offsets(&embedded(ordinary::fill_with_sizes));
}

#[test]
fn a_shell_appends_and_an_editor_replaces() {
    ordinary::appends_and_edits(&embedded(ordinary::fill_with_sizes));
}

/// > rename, unlink, mkdir and rmdir are on the vehicle when they return.
#[test]
fn files_and_directories_are_moved() {
    ordinary::moves(&embedded(ordinary::fill_with_sizes));
}

/// > rename, unlink, mkdir and rmdir are on the vehicle when they return.
#[test]
fn directories_are_made_and_things_are_removed() {
    ordinary::makes_and_removes(&embedded(ordinary::fill_with_sizes));
}

#[test]
fn files_are_truncated() {
    ordinary::truncates(&embedded(ordinary::fill_with_sizes));
}

#[test]
fn a_listing_shows_names_kinds_sizes_and_times() {
    ordinary::lists(&embedded(ordinary::fill_with_names));
}

#[test]
fn a_thousand_files_are_listed() {
    ordinary::lists_a_thousand(&embedded(ordinary::fill_with_a_thousand));
}

/// > What is under way when a vehicle falls silent ends with ETIMEDOUT after `--op-timeout` (10 s)
/// > without progress.
#[test]
fn a_killed_vehicle_ends_a_read_in_time_and_its_return_is_noticed() {
    ordinary::survives_a_killed_server(&mut embedded(ordinary::fill_for_a_killed_server));
}

/// > What is cached is served at once while the link is lost, whatever its age.
#[test]
fn a_dead_vehicle_does_not_hold_up_what_needs_no_wire() {
    let fill = ordinary::fill_for_waiting;
    let mut scene = Scene::new(Server::Embedded, &ordinary::PATIENT, fill);
    ordinary::answers_while_others_wait(&mut scene);
}

/// > With `--read-only` every change is EROFS before anything is sent.
#[test]
fn a_read_only_mount_refuses_every_change() {
    let fill = ordinary::fill_with_sizes;
    let scene = Scene::new(Server::Embedded, &["--read-only"], fill);
    for (program, name) in [("touch", "new"), ("rm", "size-1"), ("mkdir", "new"), ("rmdir", "new")]
    {
        let complaint = fail(program, &[scene.near(name)]);
        assert!(complaint.contains("Read-only") || program == "rmdir", "{program}: {complaint}");
    }
    succeed("cmp", &[scene.near("size-239"), scene.far("size-239")]);
    assert!(scene.far("size-1").exists() && !scene.far("new").exists());
}

/// Whether a system call was refused with this errno.
fn is_refused(result: i32, errno: i32) -> bool {
    result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(errno)
}

/// > Hard links, symbolic links and special files do not exist: EPERM.
///
/// > rename replaces a file, or an empty directory by a directory; RENAME_NOREPLACE is EEXIST where
/// > the name is taken.
///
/// > RENAME_EXCHANGE is EINVAL.
#[test]
fn links_special_files_and_exchanges_do_not_exist() {
    let scene = embedded(|directory| {
        fs::write(directory.join("one"), b"1").unwrap();
        fs::write(directory.join("two"), b"2").unwrap();
    });
    let path = |name: &str| CString::new(scene.near(name).as_os_str().as_bytes()).unwrap();
    let (one, two, new) = (path("one"), path("two"), path("new"));
    let (here, mode) = (libc::AT_FDCWD, libc::S_IFIFO | 0o600);
    let device = libc::S_IFCHR | 0o600;
    // SAFETY: terminated paths that outlive the calls, which keep none of them.
    unsafe {
        assert!(is_refused(libc::link(one.as_ptr(), new.as_ptr()), libc::EPERM));
        assert!(is_refused(libc::symlink(one.as_ptr(), new.as_ptr()), libc::EPERM));
        assert!(is_refused(libc::mkfifo(new.as_ptr(), mode), libc::EPERM));
        assert!(is_refused(libc::mknod(new.as_ptr(), device, 0), libc::EPERM));
        let exchange = libc::RENAME_EXCHANGE;
        let exchanged = libc::renameat2(here, one.as_ptr(), here, two.as_ptr(), exchange);
        assert!(is_refused(exchanged, libc::EINVAL));
        let only_new = libc::RENAME_NOREPLACE;
        let replaced = libc::renameat2(here, one.as_ptr(), here, two.as_ptr(), only_new);
        assert!(is_refused(replaced, libc::EEXIST));
    }
    assert_eq!(fs::read(scene.far("one")).unwrap(), b"1");
    assert_eq!(fs::read_dir(scene.far("")).unwrap().count(), 2);
}

/// > A change of mode or owner succeeds and changes nothing.
///
/// > Files have the mode 666 and directories 777 less `--umask` (022), and belong to who mounts or
/// > to `--uid` and `--gid`.
#[test]
fn modes_and_owners_are_the_mounts() {
    let options = ["--umask", "027", "--uid", "65534", "--gid", "12345"];
    let scene = Scene::new(Server::Embedded, &options, |directory| {
        fs::write(directory.join("file"), b"1").unwrap();
        fs::create_dir(directory.join("folder")).unwrap();
    });
    let looks = || shell(scene.mounted.path(), "stat -c '%a %u %g' file folder");
    let expected = b"640 65534 12345\n750 65534 12345\n";
    assert_eq!(looks(), expected);
    shell(scene.mounted.path(), "chmod 777 file && chmod 700 folder && chown 1:1 file folder");
    assert_eq!(looks(), expected);
    let scene = embedded(|directory| fs::write(directory.join("file"), b"1").unwrap());
    assert_eq!(
        shell(scene.mounted.path(), "umask 077; mkdir d; stat -c '%a %u' file d"),
        b"644 0\n755 0\n"
    );
}

/// > Nothing on a mount can be executed, no device is opened, and no set-user bit counts.
#[test]
fn nothing_is_executed_and_no_bit_or_device_counts() {
    let scene = Scene::new(Server::Embedded, &["--umask", "000"], |directory| {
        fs::write(directory.join("script"), b"#!/bin/sh\necho ran\n").unwrap();
    });
    let refused = std::process::Command::new(scene.near("script")).output().unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let point = scene.mounted.path().to_str();
    let line = mounts.lines().find(|line| line.split(' ').nth(1) == point).unwrap();
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(line.split([' ', ',']).any(|word| word == option), "{option} is not in {line}");
    }
}

#[test]
fn the_root_of_the_mount_can_be_a_place_on_the_far_side() {
    let served = tempfile::tempdir().unwrap();
    fs::create_dir_all(served.path().join("fs/microsd")).unwrap();
    fs::write(served.path().join("fs/microsd/card"), b"here").unwrap();
    let port = free_port();
    let _vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let mounted = Mounted::new(&format!("udp:127.0.0.1:{port}#/fs/microsd"), &[]);
    assert_eq!(shell(mounted.path(), "ls && cat card && mv card away"), b"card\nhere");
    assert!(served.path().join("fs/microsd/away").exists());
}

/// > At our end by SIGTERM what programs have closed is sent or kept, what one is still writing is
/// > kept, the mount is gone, and the process ends, also while programs hold files open.
#[test]
fn a_signal_finishes_uploads_keeps_what_is_being_written_and_unmounts() {
    let mut scene = embedded(|directory| fs::write(directory.join("half"), b"old").unwrap());
    let open = |name: &str, bytes: &[u8]| {
        let mut file = fs::File::create(scene.near(name)).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        file
    };
    let open = [open("short", b"short"), open("half", &ordinary::noise(5, 100_000))];
    let point = scene.mounted.path().to_path_buf();
    scene.mounted.program().terminate();
    wait_unmounted(&point);
    let status = scene.mounted.program().wait(UNMOUNT_TIME);
    drop(open);
    let printed = scene.mounted.program().printed();
    assert_eq!(status.code(), Some(UNSENT), "{printed}");
    assert!(printed.contains("not saved on the vehicle; kept here"), "{printed}");
    assert_eq!(fs::read(scene.far("short")).unwrap(), b"short");
    assert_eq!(fs::read(scene.far("half")).unwrap(), b"old");
    assert_eq!(fs::read_dir(scene.far("")).unwrap().count(), 2, "nothing else is left there");
}

#[test]
fn an_unmount_from_outside_ends_the_program() {
    let mut scene = embedded(|directory| fs::write(directory.join("file"), b"1").unwrap());
    assert_eq!(shell(scene.mounted.path(), "cat file"), b"1");
    succeed("umount", &[scene.mounted.path()]);
    assert!(scene.mounted.program().wait(UNMOUNT_TIME).success());
}

/// A mount in the background is nobody's child: unmounted when dropped, which ends it.
struct Background(PathBuf);

impl Drop for Background {
    fn drop(&mut self) {
        detach(&self.0);
    }
}

#[test]
fn a_mount_in_the_background_answers_once_its_command_returns() {
    let (served, point) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(served.path().join("file"), b"at once").unwrap();
    let port = free_port();
    let _vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let background = Background(point.path().to_path_buf());
    let source = format!("udp:127.0.0.1:{port}");
    let (code, printed) = our_program(&[&source, point.path().to_str().unwrap()], MOUNT_TIME);
    assert_eq!(code, 0, "{printed}");
    let line = printed.lines().last().unwrap_or_default();
    assert!(line.contains(point.path().to_str().unwrap()), "it says what it did, not:\n{printed}");
    assert_eq!(shell(point.path(), "cat file"), b"at once");

    succeed("umount", &[&background.0]);
    assert!(!is_mounted(point.path()));
    eventually("the port is free again", UNMOUNT_TIME, || {
        std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok()
    });
}

/// Starts a mount that must be refused: exit code, one line that names each of `reasons`, nothing
/// mounted.
fn refused(source: &str, point: &Path, code: i32, reasons: &[&str]) {
    let already = is_mounted(point);
    let _wrongly = (!already).then(|| Background(point.to_path_buf()));
    let arguments = ["-f", "--mount-timeout", "2s", source, point.to_str().unwrap()];
    let (ended, printed) = our_program(&arguments, REFUSAL_TIME);
    assert_eq!(ended, code, "{printed}");
    let error = printed.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    for reason in reasons {
        assert!(error.contains(reason), "expected {reason:?} in the line `error: …`:\n{printed}");
    }
    assert_eq!(is_mounted(point), already, "what it left mounted differs");
}

#[test]
fn a_source_of_unknown_spelling_is_a_usage_error() {
    let point = tempfile::tempdir().unwrap();
    refused("carrier-pigeon:7", point.path(), USAGE, &["udp:"]);
}

#[test]
fn a_bad_mount_point_is_refused_before_anything_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let source = format!("udp:127.0.0.1:{}", free_port());
    refused(&source, &directory.path().join("missing"), FAILED, &["missing"]);
    fs::write(directory.path().join("file"), b"").unwrap();
    refused(&source, &directory.path().join("file"), FAILED, &["file", "director"]);
    refused(&source, directory.path(), FAILED, &["empty"]);
}

#[test]
fn a_mount_point_in_use_is_refused() {
    let scene = embedded(|_| ());
    let source = format!("udp:127.0.0.1:{}", free_port());
    refused(&source, scene.mounted.path(), FAILED, &["mounted"]);
    shell(scene.mounted.path(), "echo still here > file");
}

#[test]
fn a_port_in_use_is_named_and_the_first_mount_goes_on() {
    let scene = embedded(|_| ());
    let second = tempfile::tempdir().unwrap();
    let port = scene.port().to_string();
    refused(&format!("udp:127.0.0.1:{port}"), second.path(), FAILED, &[&port]);
    shell(scene.mounted.path(), "echo still here > file");
    assert_eq!(fs::read(scene.far("file")).unwrap(), b"still here\n");
}

#[test]
fn silence_is_reported_after_the_mount_timeout() {
    let point = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let port = free_port().to_string();
    refused(&format!("udp:127.0.0.1:{port}"), point.path(), NO_VEHICLE, &["HEARTBEAT", &port]);
    assert!(began.elapsed() >= Duration::from_secs(2), "it gave up before its time");
}

/// A HEARTBEAT of system 1, component 1: a quadrotor, PX4, disarmed.
const HEARTBEAT: [u8; 21] = [
    0xFD, 0x09, 0x00, 0x00, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x0C,
    0x00, 0x03, 0x03, 0xB3, 0x31,
];

#[test]
fn a_vehicle_without_ftp_is_told_from_silence() {
    let point = tempfile::tempdir().unwrap();
    let port = free_port();
    let source = format!("udp:127.0.0.1:{port}");
    let path = point.path().to_str().unwrap().to_string();
    let mut mount = Program::start(&["-f", "--mount-timeout", "3s", &source, &path]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let beating = Instant::now();
    while beating.elapsed() < Duration::from_secs(4) {
        // Refused until the mount listens, and again once it has given up.
        let _ = socket.send_to(&HEARTBEAT, ("127.0.0.1", port));
        std::thread::sleep(Duration::from_millis(200));
    }
    let status = mount.wait(REFUSAL_TIME);
    assert_eq!(status.code(), Some(NO_FTP), "{}", mount.printed());
    assert!(!is_mounted(point.path()));
}

#[test]
fn garbage_on_the_port_disturbs_nobody() {
    let scene = embedded(ordinary::fill_with_sizes);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for seed in 0..2000 {
        let mut bytes = ordinary::noise(seed, (seed % 300) as usize);
        // Half of them begin like frames.
        if let (0, Some(first)) = (seed % 2, bytes.first_mut()) {
            *first = if seed % 4 == 0 { 0xFD } else { 0xFE };
        }
        socket.send_to(&bytes, ("127.0.0.1", scene.port())).unwrap();
    }
    ordinary::copies_out(&scene);
}

#[test]
fn a_start_that_nobody_waits_for_any_more_ends() {
    let place = tempfile::tempdir().unwrap();
    let (port, point) = (free_port(), place.path().to_str().unwrap());
    let source = format!("udp:127.0.0.1:{port}");
    let mut start = Program::start(&["--mount-timeout", "60s", &source, point]);
    start.wait_until(REFUSAL_TIME, |start| start.printed().contains("no HEARTBEAT"));
    start.kill();
    let is_free = || std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok();
    eventually("the process in the background has ended", UNMOUNT_TIME, is_free);
}
