//! Our program as a part of the system: called by the real mount(8), from /etc/fstab's lines. Needs
//! /dev/fuse, root, and what scripts/test installs.

use std::fs;
use std::path::Path;

mod support;

use support::mounted::{Server, Vehicle, free_port};
use support::namespace::Namespace;
use support::user;

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
    let count = "findmnt --noheadings --list -t fuse.mavftp -o TARGET | wc -l";
    assert_eq!(inside.succeed(count, &[]).trim(), "1");
    inside.succeed("umount \"$1\"", &[point]);
    inside.succeed("mount --all --fstab \"$1\"", &[table_path]);
    assert_eq!(inside.succeed("cat \"$1/file\"", &[point]), "here\n");
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
                 grep -c fuse.mavftp /proc/$there/mounts; ! grep fuse.mavftp /proc/self/mounts; \
                 kill $there";
    assert_eq!(inside.succeed(other, &[source, point]).trim(), "1");
    assert!(Path::new(&inside.mounts()).exists());
}
