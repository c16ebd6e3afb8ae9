//! An ordinary user mounts through fusermount3, is told what is in the way, and gets rid of a mount
//! by a signal. Needs /dev/fuse, root, and what scripts/test installs.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

mod support;

use support::mounted::{
    Scene, Server, UNMOUNT_TIME, Vehicle, free_port, is_mounted, wait_unmounted,
};
use support::program::{self, Ordinary, Program, ended, eventually};
use support::user::{self, Device, NOBODY, User};

/// The exit code of what was refused.
const FAILED: i32 = 1;
/// For a start that fails without waiting for a vehicle.
const REFUSAL_TIME: Duration = Duration::from_secs(10);

fn scene(user: User) -> Scene {
    let port = free_port();
    let fill = |directory: &Path| fs::write(directory.join("file"), b"here\n").unwrap();
    Scene::by(user, Server::Embedded, (port, port), &[], fill)
}

/// A command that becomes our program, run by the user, after root has prepared something that only
/// it sees: in a mount namespace of its own.
fn prepared(preparation: &str, directory: &Path) -> Command {
    let binary = User::Nobody.our_binary(directory);
    let mut command = Command::new("unshare");
    let become_user = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" \"$@\"";
    command.args(["--mount", "sh", "-euc", &format!("{preparation}\n{become_user}")]);
    command.arg(binary.get_program());
    command
}

/// The user's start must be refused at once, without a word to a vehicle, by a line that holds the
/// command which helps.
fn refused(preparation: &str, options: &[&str], point: &Path, remedy: &str) {
    let directory = user::open_directory();
    let source = format!("udp:127.0.0.1:{}", free_port());
    let arguments =
        [&["-f", "--mount-timeout", "60s"], options, &[&source, point.to_str().unwrap()]].concat();
    let _device = Device::for_user(User::Nobody);
    let command = prepared(preparation, directory.path());
    let (code, printed) =
        ended(Program::start_as(None, User::Root, command, &arguments), REFUSAL_TIME);
    assert_eq!(code, FAILED, "{printed}");
    let error = printed.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(error.contains(remedy), "expected {remedy:?} in the line `error: …`:\n{printed}");
    assert!(!is_mounted(point));
}

/// An empty directory of the user's.
fn own_point() -> tempfile::TempDir {
    let point = user::open_directory();
    User::Nobody.takes(point.path());
    point
}

#[test]
fn a_device_that_users_may_not_open_is_named_with_the_command_that_opens_it() {
    let closed = "mount -t tmpfs none /mnt; mknod -m 600 /mnt/fuse c 10 229; \
                  mount --bind /mnt/fuse /dev/fuse";
    refused(closed, &[], own_point().path(), "sudo chmod a+rw /dev/fuse");
}

#[test]
fn a_missing_device_is_named_with_the_command_that_makes_it() {
    let none = "mount --bind /dev/null /dev/fuse";
    refused(none, &[], own_point().path(), "modprobe fuse");
}

#[test]
fn a_missing_helper_is_named_with_its_package() {
    let none = "mount --bind /dev/null \"$(command -v fusermount3)\"";
    refused(none, &[], own_point().path(), "install the package fuse3");
}

#[test]
fn others_are_let_in_only_where_the_system_says_so() {
    let (without, with) = ("#user_allow_other", "user_allow_other");
    let says = |line: &str| {
        format!(
            "mount -t tmpfs none /mnt; echo '{line}' >/mnt/fuse.conf; \
             [ -e /etc/fuse.conf ] || : >/etc/fuse.conf; mount --bind /mnt/fuse.conf /etc/fuse.conf"
        )
    };
    let remedy = "echo user_allow_other | sudo tee -a /etc/fuse.conf";
    for option in ["--allow-other", "--allow-root"] {
        refused(&says(without), &[option], own_point().path(), remedy);
    }

    // Where it does, root gets in. The mount is seen in the same namespace only.
    let (served, directory, point) = (user::open_directory(), user::open_directory(), own_point());
    fs::write(served.path().join("file"), b"here\n").unwrap();
    let port = free_port();
    let _vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let _device = Device::for_user(User::Nobody);
    let command = prepared(&says(with), directory.path());
    let source = format!("udp:127.0.0.1:{port}");
    let arguments = ["-f", "--allow-other", &source, point.path().to_str().unwrap()];
    let mut program = Program::start_as(None, User::Root, command, &arguments);
    program.wait_until(REFUSAL_TIME, |program| program.printed().contains("mounted on"));
    let file = point.path().join("file");
    let inside = format!("--target={}", program.id());
    let seen = program::succeed("nsenter", &[&*inside, "--mount", "cat", file.to_str().unwrap()]);
    assert_eq!(seen, b"here\n");
    program.terminate();
    assert!(program.wait(UNMOUNT_TIME).success(), "{}", program.printed());
}

#[test]
fn a_mount_point_that_is_not_the_users_is_refused_before_a_vehicle_is_waited_for() {
    let roots = user::open_directory();
    let path = roots.path().to_str().unwrap();
    refused("", &[], roots.path(), &format!("sudo chown \"$USER\" {path}"));
    fs::set_permissions(roots.path(), Permissions::from_mode(0o1777)).unwrap();
    refused("", &[], roots.path(), "is not yours");
    let missing = roots.path().join("missing");
    refused("", &[], &missing, &format!("mkdir -p {path}/missing"));
    let full = own_point();
    fs::write(full.path().join("something"), b"").unwrap();
    refused("", &[], full.path(), "-o nonempty");
}

/// A file of the mount is held open, and the mount is somebody's working directory.
fn hold(scene: &Scene, user: User) -> Ordinary {
    let mut command = Command::new("sh");
    // The directory is entered as the user: nobody else may.
    let line = "cd \"$NEAR\"; exec <file; echo holds; exec sleep 60";
    command.args(["-euc", line]).env("NEAR", scene.near("")).current_dir("/");
    user.runs(&mut command);
    let holder = Ordinary::run(command);
    let said = holder.stdout_path();
    eventually("it is held", REFUSAL_TIME, || fs::read(&said).unwrap() == b"holds\n");
    holder
}

/// > At our end by SIGTERM what programs have closed is sent or kept, what one is still writing is
/// > kept, the mount is gone, and the process ends, also while programs hold files open.
#[test]
fn a_signal_ends_an_idle_mount_and_a_busy_one_for_everybody() {
    let (root, nobody) = (User::Root, User::Nobody);
    ends_by(nobody, libc::SIGTERM, false);
    ends_by(nobody, libc::SIGINT, true);
    ends_by(root, libc::SIGTERM, true);
}

fn ends_by(user: User, signal: i32, busy: bool) {
    let mut scene = scene(user);
    let _holder = busy.then(|| hold(&scene, user));
    let point = scene.mounted.path().to_path_buf();
    // SAFETY: a plain system call; the process is not reaped yet, so the id is its own.
    unsafe { libc::kill(scene.mounted.program().id() as i32, signal) };
    wait_unmounted(&point);
    let status = scene.mounted.program().wait(UNMOUNT_TIME);
    assert!(status.success(), "{user:?} {signal}: {}", scene.mounted.program().printed());
    assert_eq!(fs::read_dir(&point).unwrap().count(), 0);
}

/// A killed mount leaves its place unusable; the next one there cleans it away.
fn cleans_up_after(killed: User, next: User) {
    let mut scene = scene(killed);
    let point = scene.mounted.path().to_path_buf();
    scene.mounted.program().kill();
    assert!(is_mounted(&point), "nothing was left to clean away");
    let directory = user::open_directory();
    let source = format!("udp:127.0.0.1:{}", scene.port());
    let arguments = ["-f", &source, point.to_str().unwrap()];
    let _device = Device::for_user(next);
    let mut program = Program::start_as(None, next, next.our_binary(directory.path()), &arguments);
    program.wait_until(REFUSAL_TIME, |program| program.printed().contains("mounted on"));
    let mut cat = Command::new("cat");
    cat.arg(scene.near("file")).current_dir("/");
    next.runs(&mut cat);
    assert_eq!(cat.output().unwrap().stdout, b"here\n");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let there = mounts.lines().filter(|line| line.split(' ').nth(1) == point.to_str()).count();
    program.terminate();
    wait_unmounted(&point);
    assert_eq!(there, 1, "the dead mount lies below the new one");
}

/// > A dead mount left behind at the mount point is cleared by the next mount there.
#[test]
fn a_dead_mount_is_cleaned_away_by_the_next_of_the_same_user() {
    cleans_up_after(User::Root, User::Root);
    cleans_up_after(User::Nobody, User::Nobody);
}

#[test]
fn root_cleans_a_users_dead_mount_away() {
    cleans_up_after(User::Nobody, User::Root);
}

#[test]
fn a_user_is_told_how_roots_dead_mount_is_removed() {
    let mut dead = scene(User::Root);
    let point = dead.mounted.path().to_path_buf();
    dead.mounted.program().kill();
    let directory = user::open_directory();
    let (source, path) = (format!("udp:127.0.0.1:{}", dead.port()), point.to_str().unwrap());
    let binary = User::Nobody.our_binary(directory.path());
    let _device = Device::for_user(User::Nobody);
    let program = Program::start_as(None, User::Nobody, binary, &["-f", &source, path]);
    let (code, printed) = ended(program, REFUSAL_TIME);
    assert_eq!(code, FAILED, "{printed}");
    assert!(printed.contains(&format!("umount {path}")), "{printed}");
}

#[test]
fn a_mount_of_a_user_is_the_users_alone() {
    let scene = scene(User::Nobody);
    assert!(File::open(scene.near("file")).is_err(), "not even root gets in");
    let mut stat = Command::new("stat");
    stat.args(["-c", "%u"]).arg(scene.near("file")).current_dir("/");
    User::Nobody.runs(&mut stat);
    assert_eq!(stat.output().unwrap().stdout, format!("{NOBODY}\n").into_bytes());
}
