//! A vehicle, and our program mounted on it through the kernel, for as long as a test lasts.
//! Everything on loopback, on a port of its own. Must not know what a test does with the mount.

use std::ffi::{CString, OsString};
use std::net::UdpSocket;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program::{Program, eventually};
use super::python::{self, Peer};
use super::user::{self, Device, User};

/// No operation of a test waits longer without progress.
pub const OP_TIMEOUT: Duration = Duration::from_secs(2);
/// Heartbeats come once a second: less than three of them would take a hiccup for a lost link.
pub const LINK_TIMEOUT: Duration = Duration::from_secs(3);
/// Until a mount answers, on a busy machine.
pub const MOUNT_TIME: Duration = Duration::from_secs(20);
/// Until a mount is gone that was asked to go.
pub const UNMOUNT_TIME: Duration = Duration::from_secs(10);

/// Which server plays the vehicle.
#[derive(Debug, Clone, Copy)]
pub enum Server {
    /// `mavftp-mount serve --writable`.
    Embedded,
    /// MAVSDK's FtpServer as an autopilot.
    Mavsdk,
    /// MAVSDK's FtpServer as a companion computer: no autopilot in sight.
    MavsdkCompanion,
    /// The same beside a component of the same program that refuses every request.
    MavsdkTwin,
}

/// A running server that sends to a port of this machine, from a port of its own choice.
pub enum Vehicle {
    /// Our own program.
    Embedded(Program),
    /// A peer in Python.
    Foreign(Peer),
}

impl Vehicle {
    /// Starts serving `directory` towards `port`.
    pub fn start(server: Server, port: u16, directory: &Path) -> Vehicle {
        let directory = directory.to_str().unwrap();
        match server {
            Server::Embedded => {
                let endpoint = format!("udpout:127.0.0.1:{port}");
                Vehicle::Embedded(Program::start(&["serve", &endpoint, directory, "--writable"]))
            }
            Server::Mavsdk => mavsdk(port, directory, &["--type", "autopilot"]),
            Server::MavsdkCompanion => mavsdk(port, directory, &["--type", "companion"]),
            Server::MavsdkTwin => mavsdk(port, directory, &["--type", "companion", "--twin"]),
        }
    }

    /// Ends it at once, in the middle of whatever it does.
    pub fn kill(&mut self) {
        match self {
            Vehicle::Embedded(program) => program.kill(),
            Vehicle::Foreign(peer) => peer.kill(),
        }
    }
}

fn mavsdk(port: u16, directory: &str, options: &[&str]) -> Vehicle {
    let endpoint = format!("udpout://127.0.0.1:{port}");
    let arguments = [&[&*endpoint, directory], options].concat();
    let mut peer = Peer::start("mavsdk_server.py", &arguments);
    peer.lines_until(python::START_TIME, |line| line == "ready");
    Vehicle::Foreign(peer)
}

/// Our program in the foreground, mounted on a directory of its own. Gone when dropped, whatever
/// waits inside.
pub struct Mounted {
    program: Program,
    point: PathBuf,
    arguments: Vec<OsString>,
    directory: tempfile::TempDir,
    _device: Device,
}

impl Mounted {
    /// Mounts `source` with short timeouts and these further options; waits until it answers.
    pub fn new(source: &str, options: &[&str]) -> Mounted {
        Mounted::started(None, User::Root, source, options)
    }

    /// The same with a state directory that outlives it.
    pub fn keeping(state: Option<&Path>, source: &str, options: &[&str]) -> Mounted {
        Mounted::started(state, User::Root, source, options)
    }

    /// The same, started by this user.
    pub fn by(user: User, source: &str, options: &[&str]) -> Mounted {
        Mounted::started(None, user, source, options)
    }

    fn started(state: Option<&Path>, user: User, source: &str, options: &[&str]) -> Mounted {
        let directory = user::open_directory();
        let point = directory.path().join("mount");
        std::fs::create_dir(&point).unwrap();
        user.takes(&point);
        let mut arguments: Vec<OsString> = vec!["-f".into()];
        arguments.extend(default_options(options).iter().map(OsString::from));
        arguments.extend(options.iter().map(OsString::from));
        arguments.extend([source.into(), point.clone().into()]);
        let _device = Device::for_user(user);
        let binary = user.our_binary(directory.path());
        // Another user could not write beside the mount point.
        let state = state.or_else(|| (user == User::Root).then(|| directory.path()));
        let program = Program::start_as(state, user, binary, &arguments);
        let mut mounted = Mounted { program, point, arguments, directory, _device };
        mounted.wait();
        mounted
    }

    /// Kills the program, in the middle of whatever it does. The mount stays behind, dead.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Mounts again at the same place, over what is left of the killed one.
    pub fn again(&mut self) {
        self.program = Program::start_keeping(Some(self.directory.path()), &self.arguments);
        self.wait();
    }

    fn wait(&mut self) {
        let point = self.point.clone();
        // A dead mount is listed as well, and its attributes are in the memory of the kernel.
        let is_dead = |point: &Path| {
            point.read_dir().is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
        };
        // In this order: between the end of a dead mount and the new one, its place answers for itself.
        self.program.wait_until(MOUNT_TIME, |_| !is_dead(&point) && is_mounted(&point));
    }

    /// What the program keeps over its own end: its XDG_STATE_HOME and TMPDIR.
    pub fn state(&self) -> &Path {
        self.directory.path()
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// The program behind it.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the mount printed:\n{}", self.program.printed());
        }
        detach(&self.point);
        self.program.kill();
    }
}

/// The timeouts of every test mount, but for those that `given` sets itself.
fn default_options(given: &[&str]) -> Vec<String> {
    let defaults = [
        ("--op-timeout", OP_TIMEOUT),
        ("--link-timeout", LINK_TIMEOUT),
        ("--mount-timeout", MOUNT_TIME),
    ];
    let missing = defaults.iter().filter(|(name, _)| !given.contains(name));
    missing.flat_map(|(name, time)| [name.to_string(), format!("{}s", time.as_secs())]).collect()
}

/// A directory, a vehicle that serves it, and a mount of that vehicle. Dropped in that order's
/// reverse: the mount goes first.
pub struct Scene {
    /// The mount.
    pub mounted: Mounted,
    /// The far side.
    pub vehicle: Vehicle,
    server: Server,
    /// Where the mount listens, and where the vehicle sends.
    port: u16,
    vehicle_port: u16,
    served: tempfile::TempDir,
}

impl Scene {
    /// Serves what `fill` puts into the directory, and mounts it.
    pub fn new(server: Server, options: &[&str], fill: impl FnOnce(&Path)) -> Scene {
        let port = free_port();
        Scene::between(server, (port, port), options, fill)
    }

    /// The same where something lies between: the vehicle sends to the first port, and the mount
    /// listens on the second.
    pub fn between(
        server: Server,
        ports: (u16, u16),
        options: &[&str],
        fill: impl FnOnce(&Path),
    ) -> Scene {
        Scene::by(User::Root, server, ports, options, fill)
    }

    /// The same where this user mounts.
    pub fn by(
        user: User,
        server: Server,
        (vehicle_port, port): (u16, u16),
        options: &[&str],
        fill: impl FnOnce(&Path),
    ) -> Scene {
        let served = user::open_directory();
        fill(served.path());
        let vehicle = Vehicle::start(server, vehicle_port, served.path());
        let mounted = Mounted::by(user, &format!("udp:127.0.0.1:{port}"), options);
        Scene { mounted, vehicle, server, port, vehicle_port, served }
    }

    /// The path of `name` as programs see it, through the mount.
    pub fn near(&self, name: &str) -> PathBuf {
        self.mounted.path().join(name)
    }

    /// The path of `name` in the served directory.
    pub fn far(&self, name: &str) -> PathBuf {
        self.served.path().join(name)
    }

    /// The port the mount listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new vehicle in the place of the old one, sending from another port.
    pub fn restart_vehicle(&mut self) {
        self.vehicle.kill();
        self.vehicle = Vehicle::start(self.server, self.vehicle_port, self.served.path());
    }

    /// Another vehicle in the place of the old one, with the same ids and what is in `directory`.
    pub fn swap_vehicle(&mut self, directory: &Path) {
        self.vehicle.kill();
        self.vehicle = Vehicle::start(self.server, self.vehicle_port, directory);
    }
}

/// A UDP port of loopback that nobody used a moment ago.
pub fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether the kernel lists something mounted there. Asks nothing of the mount itself.
pub fn is_mounted(point: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == point.to_str())
}

/// Waits until nothing is mounted there.
pub fn wait_unmounted(point: &Path) {
    eventually("unmounted", UNMOUNT_TIME, || !is_mounted(point));
}

/// Takes a mount out of the tree at once, busy or not. Nothing happens when there is none.
pub fn detach(point: &Path) {
    let path = CString::new(point.as_os_str().as_bytes()).unwrap();
    // SAFETY: a NUL-terminated path that outlives the call.
    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
}
