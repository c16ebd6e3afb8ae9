//! The links beside UDP, as users meet them: our own `serve` at one end, and a kernel mount of it
//! or a verb at the other, every byte compared. Needs /dev/fuse and root.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod support;

use support::mounted::{Mounted, OP_TIMEOUT, free_port};
use support::ordinary::noise;
use support::program::{Program, eventually, our_program, run_within, shell, succeed};
use support::pty::Line;

/// An exit code of the command line contract.
const NO_VEHICLE: i32 = 3;
/// Around packets, pages and what a line takes at once.
const SIZES: [usize; 6] = [0, 1, 239, 4097, 70_001, 300_007];
/// For a program that must not wait for a vehicle.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Until something that comes back within seconds is back, on a busy machine.
const RETURN_TIME: Duration = Duration::from_secs(30);

fn served() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (seed, size) in SIZES.into_iter().enumerate() {
        fs::write(directory.path().join(format!("size-{size}")), noise(seed as u64, size)).unwrap();
    }
    directory
}

fn serve(endpoint: &str, directory: &Path) -> Program {
    let directory = directory.to_str().unwrap();
    let mut program = Program::start(&["serve", endpoint, directory, "--writable"]);
    program.wait_until(AT_ONCE, |program| program.printed().contains("serving"));
    program
}

/// What people do with a mount.
fn is_used(mounted: &Mounted, served: &Path) {
    let near = |name: &str| mounted.path().join(name);
    let listing = "ls -l | tail -n +2 | awk '{print $5, $9}'";
    assert_eq!(shell(mounted.path(), listing), shell(served, listing));
    let local = tempfile::tempdir().unwrap();
    for size in SIZES {
        let name = format!("size-{size}");
        succeed("cp", &[near(&name).as_path(), local.path()]);
        succeed("cmp", &[local.path().join(&name), served.join(&name)]);
    }
    let copied: PathBuf = local.path().join("size-70001");
    succeed("cp", &[&copied, &near("copy")]);
    succeed("cmp", &[&copied, &served.join("copy")]);
    shell(mounted.path(), "printf 'speed = 7\\n' > config && printf 'mode = 2\\n' >> config");
    shell(mounted.path(), "sed -i s/7/8/ config && rm size-239 && mv copy moved");
    assert_eq!(fs::read(served.join("config")).unwrap(), b"speed = 8\nmode = 2\n");
    assert!(!served.join("size-239").exists() && served.join("moved").exists());
}

/// A TCP port of loopback that nobody used a moment ago.
fn free_tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_vehicle_at_a_serial_line_is_mounted() {
    let (line, served) = (Line::new(), served());
    let _vehicle = serve(&format!("serial:{}:115200", line.one), served.path());
    let mounted = Mounted::new(&format!("{},115200", line.other), &[]);
    is_used(&mounted, served.path());
}

#[test]
fn a_silent_line_is_told_what_to_check() {
    let line = Line::new();
    let (code, printed) = our_program(&["ls", "--mount-timeout", "500ms", &line.one], AT_ONCE);
    assert_eq!(code, NO_VEHICLE, "{printed}");
    assert!(printed.contains("no HEARTBEAT") && printed.contains("speed"), "{printed}");
}

#[test]
fn a_line_that_is_in_use_is_told_and_the_mount_goes_on() {
    let (line, served) = (Line::new(), served());
    let _vehicle = serve(&line.one, served.path());
    let mounted = Mounted::new(&line.other, &[]);
    let (code, printed) = our_program(&["ls", &line.other], AT_ONCE);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains(&line.other) && printed.contains("in use"), "{printed}");
    succeed("cmp", &[mounted.path().join("size-4097"), served.path().join("size-4097")]);
}

#[test]
fn a_mount_outlives_the_unplugging_of_its_line() {
    let (first, served) = (Line::new(), served());
    let folder = tempfile::tempdir().unwrap();
    let names = [folder.path().join("vehicle"), folder.path().join("station")];
    let plug = |line: &Line| {
        for (name, device) in names.iter().zip([&line.one, &line.other]) {
            let _ = fs::remove_file(name);
            std::os::unix::fs::symlink(device, name).unwrap();
        }
    };
    plug(&first);
    let address = |name: &PathBuf| format!("serial:{}", name.display());
    let mut vehicle = serve(&address(&names[0]), served.path());
    let mut mounted = Mounted::new(&address(&names[1]), &["-v"]);
    succeed("cmp", &[mounted.path().join("size-4097"), served.path().join("size-4097")]);

    drop(first);
    let limit = OP_TIMEOUT + AT_ONCE;
    let cut_off = run_within(limit, "cat", &[mounted.path().join("size-70001")]);
    assert!(!cut_off.status.success(), "a read without a line succeeded");
    let second = Line::new();
    plug(&second);
    eventually("the mount works again", RETURN_TIME, || {
        run_within(RETURN_TIME, "cat", &[mounted.path().join("size-70001")]).status.success()
    });
    succeed("cmp", &[mounted.path().join("size-70001"), served.path().join("size-70001")]);
    for program in [mounted.program(), &mut vehicle] {
        let printed = program.printed();
        for word in ["is gone", "is back"] {
            assert_eq!(printed.matches(word).count(), 1, "{word}: {printed}");
        }
    }
}

#[test]
fn a_vehicle_that_waits_for_connections_is_mounted_by_several() {
    let (port, served) = (free_tcp_port(), served());
    let _vehicle = serve(&format!("tcpin:127.0.0.1:{port}"), served.path());
    let mounted = Mounted::new(&format!("tcp:127.0.0.1:{port}"), &[]);
    let other = ["--own-component-id", "192"];
    let second = Mounted::new(&format!("tcpout://127.0.0.1:{port}"), &other);
    succeed("cmp", &[second.path().join("size-300007"), served.path().join("size-300007")]);
    is_used(&mounted, served.path());
}

#[test]
fn a_mount_waits_for_the_connection_of_its_vehicle() {
    let (port, served) = (free_tcp_port(), served());
    let _vehicle = serve(&format!("tcp:127.0.0.1:{port}"), served.path());
    let mounted = Mounted::new(&format!("tcpin://127.0.0.1:{port}"), &[]);
    is_used(&mounted, served.path());
}

#[test]
fn a_vehicle_is_found_by_broadcast() {
    let (port, served) = (free_port(), served());
    let _vehicle = serve(&format!("udp:{port}"), served.path());
    let mounted = Mounted::new(&format!("udpbcast:127.255.255.255:{port}"), &[]);
    is_used(&mounted, served.path());
}

#[test]
fn a_vehicle_makes_itself_known_by_broadcast() {
    let (port, served) = (free_port(), served());
    let _vehicle = serve(&format!("udpbcast:127.255.255.255:{port}"), served.path());
    let mounted = Mounted::new(&format!("udp:{port}"), &[]);
    is_used(&mounted, served.path());
}
