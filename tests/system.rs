//! Our program as a part of the system: called by the real mount(8), from /etc/fstab's lines; started
//! by a service manager; heard in the system's log. Needs /dev/fuse, root, and what scripts/test
//! installs.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

mod support;

use support::mounted::{Server, UNMOUNT_TIME, Vehicle, free_port, is_mounted, wait_unmounted};
use support::namespace::Namespace;
use support::program::{Program, our_binary, run_within};
use support::user::{self, Device, User};

/// Until a word comes that was to come, on a busy machine.
const WORD_TIME: Duration = Duration::from_secs(20);

/// A vehicle with one file, a namespace, and an empty directory to mount on.
struct Scene {
    inside: Namespace,
    source: String,
    point: String,
    _vehicle: Vehicle,
    _served: tempfile::TempDir,
}

fn scene() -> Scene {
    scene_with("mount")
}

fn scene_with(name: &str) -> Scene {
    let served = user::open_directory();
    fs::create_dir(served.path().join("my logs")).unwrap();
    fs::write(served.path().join("my logs/file"), b"here\n").unwrap();
    let port = free_port();
    let vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let inside = Namespace::new();
    let point = inside.shared().join(name);
    fs::create_dir(&point).unwrap();
    let source = format!("udp:127.0.0.1:{port}");
    let point = point.to_str().unwrap().to_owned();
    Scene { inside, source, point, _vehicle: vehicle, _served: served }
}

/// A source where nobody will ever be heard.
fn silence() -> String {
    format!("udp:127.0.0.1:{}", free_port())
}

#[test]
fn mount_mounts_by_type_and_umount_unmounts() {
    let Scene { inside, source, point, .. } = &scene();
    let mount = "mount -t mavftp -o _netdev,nofail,noatime,x-gvfs-show,umask=077 \"$1\" \"$2\"";
    assert_eq!(inside.succeed(mount, &[source, point]), "", "no news is good news");
    assert_eq!(inside.succeed("cat \"$1/my logs/file\"", &[point]), "here\n");
    let shown = inside.succeed("findmnt --noheadings -o SOURCE,FSTYPE --target \"$1\"", &[point]);
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), [source, "fuse.mavftp"]);
    let shown = inside.succeed("df --output=source,fstype \"$1\" | tail -n 1", &[point]);
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), [source, "fuse.mavftp"]);
    inside.succeed("umount \"$1\"", &[point]);
    inside.succeed("! findmnt --mountpoint \"$1\"", &[point]);
    // By FUSE's own name of the type, too, and told when it is asked for.
    let told = inside.succeed("mount -v -t fuse.mavftp-mount \"$1\" \"$2\"", &[source, point]);
    assert!(told.contains("mounted on"), "{told}");
    inside.succeed("umount \"$1\"", &[point]);
}

#[test]
fn a_line_of_fstab_mounts_by_the_mount_point_alone_and_is_not_mounted_twice() {
    let Scene { inside, source, point, .. } = &scene_with("a mount");
    let table = inside.shared().join("fstab");
    let line = format!(
        "{source}#/my\\040logs {} mavftp noauto,nofail,_netdev,users,ro,x-systemd.automount 0 0\n",
        point.replace(' ', "\\040")
    );
    fs::write(&table, &line).unwrap();
    let table_path = table.to_str().unwrap();
    inside.succeed("mount --fstab \"$1\" \"$2\"", &[table_path, point]);
    assert_eq!(inside.succeed("cat \"$1/file\"", &[point]), "here\n");
    inside.fail(1, "(: >\"$1/new\") || exit 1", &[point]);
    fs::write(&table, line.replace("noauto", "auto")).unwrap();
    for _ in 0..2 {
        inside.succeed("mount --all --fstab \"$1\"", &[table_path]);
    }
    let count = "findmnt --noheadings --list -o TARGET | grep -cxF \"$1\"";
    assert_eq!(inside.succeed(count, &[point]).trim(), "1");
    inside.succeed("umount \"$1\"", &[point]);
    inside.succeed("mount --all --fstab \"$1\"", &[table_path]);
    assert_eq!(inside.succeed("cat \"$1/file\"", &[point]), "here\n");
}

#[test]
fn an_ordinary_user_mounts_what_fstab_leaves_to_users() {
    let Scene { inside, source, point, .. } = &scene();
    let binary = User::Nobody.our_binary(inside.shared());
    let state = inside.shared().join("state");
    fs::create_dir(&state).unwrap();
    User::Nobody.takes(Path::new(point));
    User::Nobody.takes(&state);
    let _device = Device::for_user(User::Nobody);
    let line = format!("{source} {point} mavftp noauto,user,umask=077 0 0");
    let table = "ln -sf \"$1\" /sbin/mount.mavftp; echo \"$2\" >/etc/fstab";
    inside.succeed(table, &[binary.get_program().to_str().unwrap(), &line]);
    let user = "setpriv --reuid=65534 --regid=65534 --clear-groups env XDG_STATE_HOME=\"$2\" \
                sh -euc 'mount \"$1\"; cat \"$1/my logs/file\"; umount \"$1\"' sh \"$1\"";
    let printed = inside.succeed(user, &[point, state.to_str().unwrap()]);
    assert_eq!(printed, "here\n");
    inside.succeed("! findmnt --mountpoint \"$1\"", &[point]);
}

#[test]
fn an_absent_vehicle_is_a_failure_unless_the_line_says_nofail() {
    let Scene { inside, point, .. } = &scene();
    let table = inside.shared().join("fstab");
    let table_path = table.to_str().unwrap();
    for (options, code) in [("defaults", 32), ("nofail", 0)] {
        let line = format!("{} {point} mavftp {options},mount_timeout=500ms 0 0\n", silence());
        fs::write(&table, line).unwrap();
        let said = inside.fail(code, "mount --all --fstab \"$1\"", &[table_path]);
        assert!(said.contains("no HEARTBEAT"), "{options}: {said}");
    }
}

#[test]
fn each_failure_has_the_exit_code_of_mount() {
    let Scene { inside, source, point, .. } = &scene();
    let mount = "mount -t mavftp -o \"$1\" \"$2\" \"$3\"";
    let said = inside.fail(1, mount, &["ro,bogus", source, point]);
    assert!(said.contains("`bogus`"), "{said}");
    let said = inside.fail(1, mount, &["remount,ro", source, point]);
    assert!(!said.is_empty());
    inside.fail(32, mount, &["mount_timeout=500ms", &silence(), point]);
    inside.fail(32, mount, &["ro", "/dev/no-such-line", point]);
    inside.fail(1, "mount -t mavftp no-address \"$1\"", &[point]);
    // The helper itself, as scripts may call it.
    inside.fail(1, "/sbin/mount.mavftp \"$1\"", &[source]);
    inside.fail(1, "/sbin/mount.mavftp -x \"$1\" \"$2\"", &[source, point]);
    inside.fail(32, "/sbin/mount.mavftp \"$1\" /none", &[source]);
    inside.succeed("/sbin/mount.mavftp --version", &[]);
}

#[test]
fn a_fake_mount_does_everything_but_mount_and_a_sloppy_one_forgives_options() {
    let Scene { inside, source, point, .. } = &scene();
    inside.succeed("mount -f -t mavftp \"$1\" \"$2\"", &[&silence(), point]);
    inside.succeed("! findmnt --mountpoint \"$1\"", &[point]);
    inside.fail(32, "/sbin/mount.mavftp -f \"$1\" /none", &[&silence()]);
    inside.succeed("mount -n -s -t mavftp -o bogus,ro \"$1\" \"$2\"", &[source, point]);
    assert_eq!(inside.succeed("cat \"$1/my logs/file\"", &[point]), "here\n");
}

#[test]
fn a_mount_may_be_made_in_another_namespace() {
    let Scene { inside, source, point, .. } = &scene();
    let other = "unshare --mount --propagation private sleep 60 & there=$!; sleep 0.5; \
                 /sbin/mount.mavftp -N $there \"$1\" \"$2\"; \
                 grep -cF \"$2\" /proc/$there/mounts; ! grep -F \"$2\" /proc/self/mounts; \
                 kill $there";
    assert_eq!(inside.succeed(other, &[source, point]).trim(), "1");
}

/// The next datagram, which must come.
fn heard(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(WORD_TIME)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a datagram");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// The first datagram with this in it.
fn heard_with(socket: &UnixDatagram, part: &str) -> String {
    loop {
        let text = heard(socket);
        if text.contains(part) {
            return text;
        }
    }
}

/// A mount in the foreground that is told of a service manager's socket.
fn notified(socket: &UnixDatagram, name: &str) {
    let served = user::open_directory();
    let point = user::open_directory();
    let path = point.path().to_str().unwrap();
    let port = free_port();
    let source = format!("udp:127.0.0.1:{port}");
    let mut command = our_binary();
    command.env("NOTIFY_SOCKET", name);
    let mut program = Program::start_as(None, User::Root, command, &["-f", &source, path]);
    let waiting = heard(socket);
    assert!(waiting.starts_with("STATUS="), "{waiting}");
    assert!(!is_mounted(point.path()));
    let _vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let ready = heard_with(socket, "READY=1");
    assert!(is_mounted(point.path()));
    assert!(ready.contains("\nSTATUS=mavlink:udp:") && ready.contains(path), "{ready}");
    program.terminate();
    heard_with(socket, "STOPPING=1");
    assert!(program.wait(UNMOUNT_TIME).success(), "{}", program.printed());
    wait_unmounted(point.path());
}

#[test]
fn a_service_manager_is_told_when_the_mount_answers_and_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    notified(&UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap());
    let name = format!("mavftp-mount-system-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    notified(&UnixDatagram::bind_addr(&address).unwrap(), &format!("@{name}"));
}

#[test]
fn a_mount_in_the_background_does_not_speak_for_the_service_that_made_it() {
    let Scene { inside, source, point, .. } = &scene();
    let socket = UnixDatagram::bind(inside.shared().join("notify")).unwrap();
    let line = "NOTIFY_SOCKET=\"$3\" mount -t mavftp \"$1\" \"$2\"";
    let name = inside.shared().join("notify");
    inside.succeed(line, &[source, point, name.to_str().unwrap()]);
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 8]).is_err());
}

#[test]
fn a_mount_in_the_background_logs_to_the_system() {
    let Scene { inside, source, point, .. } = &scene();
    // Nobody listens yet, which is no reason not to mount.
    inside.succeed("mount -v -t mavftp \"$1\" \"$2\"", &[source, point]);
    let log = UnixDatagram::bind(inside.shared().join("log")).unwrap();
    inside.succeed("umount \"$1\"", &[point]);
    let line = heard_with(&log, "unmounted");
    assert!(line.starts_with("<30>mavftp-mount["), "{line}");
    assert!(line.contains(point.as_str()), "{line}");
    // Where there is a log file it has everything.
    let file = inside.shared().join("file");
    let options = format!("log_file={},log_format=json", file.display());
    inside.succeed("mount -v -t mavftp -o \"$1\" \"$2\" \"$3\"", &[&options, source, point]);
    inside.succeed("umount \"$1\"", &[point]);
    let has_end = || fs::read_to_string(&file).unwrap().contains("unmounted");
    support::program::eventually("the end is logged", WORD_TIME, has_end);
    log.set_nonblocking(true).unwrap();
    assert!(log.recv(&mut [0; 8]).is_err());
    for line in fs::read_to_string(&file).unwrap().lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a JSON object");
        assert!(entry["timestamp"].is_string() && entry["level"].is_string(), "{line}");
    }
}

#[test]
fn below_systemd_lines_carry_their_severity_and_no_time() {
    let (folder, point) = (tempfile::tempdir().unwrap(), user::open_directory());
    let (served, printed) = (user::open_directory(), folder.path().join("printed"));
    let port = free_port();
    let _vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let mut shell = Command::new("sh");
    let line = "exec 2>\"$PRINTED\"; JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) \
                exec \"$0\" \"$@\"";
    shell.args(["-euc", line]).env("PRINTED", &printed).arg(our_binary().get_program());
    let source = format!("udp:127.0.0.1:{port}");
    let arguments = ["-f", "-v", &source, point.path().to_str().unwrap()];
    let mut program = Program::start_as(None, User::Root, shell, &arguments);
    let text = || fs::read_to_string(&printed).unwrap_or_default();
    program.wait_until(WORD_TIME, |_| text().lines().any(|line| line.starts_with("<6>mounted ")));
    program.terminate();
    assert!(program.wait(UNMOUNT_TIME).success(), "{}", text());
    wait_unmounted(point.path());
}

/// The units that come with the program, with our own program in the place of the installed one.
fn units(folder: &Path) -> Vec<PathBuf> {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let ours = our_binary().get_program().to_str().unwrap().to_owned();
    let names = [
        ("mavftp-mount@.service", "mavftp-mount@drone.service"),
        ("examples/mnt-drone.mount", "mnt-drone.mount"),
        ("examples/mnt-drone.automount", "mnt-drone.automount"),
    ];
    let copy = |(from, to): (&str, &str)| {
        let text = fs::read_to_string(packaging.join(from)).unwrap();
        fs::write(folder.join(to), text.replace("/usr/bin/mavftp-mount", &ours)).unwrap();
        folder.join(to)
    };
    names.map(copy).to_vec()
}

/// What systemd has to say about a unit.
fn verdict(unit: &Path) -> (bool, String) {
    let arguments = ["verify", "--man=no", "--recursive-errors=no", unit.to_str().unwrap()];
    let output = run_within(WORD_TIME, "systemd-analyze", &arguments);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let units = units(folder.path());
    let name = |unit: &Path| unit.file_name().unwrap().to_str().unwrap().to_owned();
    for unit in &units {
        let (right, said) = verdict(unit);
        assert!(right && !said.contains(&name(unit)), "{unit:?}: {said}");
    }
    // It would notice.
    for unit in &units {
        let text = fs::read_to_string(unit).unwrap();
        fs::write(unit, text.replace("[Install]", "[Install]\nFrobnicate=yes")).unwrap();
        let said = verdict(unit).1;
        assert!(said.contains("Frobnicate") && said.contains(&name(unit)), "{unit:?}: {said}");
    }
}

#[test]
fn the_service_starts_as_its_unit_and_the_example_say() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let unit = fs::read_to_string(packaging.join("mavftp-mount@.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/mavftp-mount "));
    let example = fs::read_to_string(packaging.join("examples/drone.conf")).unwrap();
    // systemd splits $NAME into words as an unquoted variable of a shell is split, and not ${NAME}.
    let quoted = start.unwrap().replace("${SOURCE}", "\"$SOURCE\"");
    let quoted = quoted.replace("${MOUNTPOINT}", "\"$MOUNTPOINT\"");
    let port = free_port();
    let (served, point) = (user::open_directory(), user::open_directory());
    let _vehicle = Vehicle::start(Server::Embedded, port, served.path());
    let settings: String = example
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| format!("{name}='{value}'\n"))
        .collect();
    let line = format!(
        "{settings}SOURCE=udp:127.0.0.1:{port}\nMOUNTPOINT={}\nexec \"$0\" {quoted}",
        point.path().display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-euc", &line]).arg(our_binary().get_program());
    let mut program = Program::start_as(None, User::Root, shell, &[] as &[&str]);
    program.wait_until(WORD_TIME, |program| program.printed().contains("mounted on"));
    program.terminate();
    assert!(program.wait(UNMOUNT_TIME).success(), "{}", program.printed());
    wait_unmounted(point.path());
}
