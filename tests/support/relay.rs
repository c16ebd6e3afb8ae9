//! The program `examples/relay`, which damages a link, and a mount whose link to the vehicle goes
//! through it. Must not know what a test does with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::mounted::{Scene, Server, free_port};
use super::python::{self, Peer};
use super::user::User;

/// Until the relay has done what it was told.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// `cargo test` builds it; `cargo test --test NAME` does not.
const REMEDY: &str = "run `cargo build --examples` (with --release for a test in release)";

/// A running relay between a server, which sends to [`Relay::port`], and a port of this machine.
pub struct Relay {
    peer: Peer,
    port: u16,
}

impl Relay {
    /// Starts it towards `port`, with this damage, in the words of its options.
    pub fn start(port: u16, damage: &str) -> Relay {
        let mut command = Command::new(example("relay"));
        command.args(["0", &port.to_string()]).args(damage.split_whitespace());
        let mut peer = Peer::run("relay", command);
        let ready = peer.line(python::START_TIME);
        let port = ready.strip_prefix("ready ").and_then(|port| port.parse().ok()).unwrap();
        Relay { peer, port }
    }

    /// Where a server sends.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the damage, in the words of its commands; done when this returns.
    pub fn damage(&mut self, command: &str) {
        self.peer.say(command);
        assert_eq!(self.peer.line(ANSWER_TIME), format!("ok {command}"));
    }

    /// Ends it; its statistics.
    pub fn end(mut self) -> Vec<String> {
        self.peer.last_lines(ANSWER_TIME)
    }
}

/// The program of `examples`, which Cargo puts beside this test's.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    let built = fs::metadata(&path).and_then(|file| file.modified());
    let built = built.unwrap_or_else(|error| panic!("{}: {error}; {REMEDY}", path.display()));
    assert!(built >= newest_source(name), "{} is older than its source; {REMEDY}", path.display());
    path
}

fn newest_source(name: &str) -> SystemTime {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap());
    files.map(|file| file.modified().unwrap()).max().unwrap()
}

/// A scene behind a damaged link. The mount goes first when this is dropped, the link last.
pub struct DamagedScene {
    /// The vehicle and the mount.
    pub scene: Scene,
    relay: Relay,
}

impl DamagedScene {
    /// As [`Scene::new`], over a link with this damage, in the words of the relay's options.
    pub fn new(
        server: Server,
        damage: &str,
        options: &[&str],
        fill: impl FnOnce(&Path),
    ) -> DamagedScene {
        DamagedScene::by(User::Root, server, damage, options, fill)
    }

    /// The same where this user mounts.
    pub fn by(
        user: User,
        server: Server,
        damage: &str,
        options: &[&str],
        fill: impl FnOnce(&Path),
    ) -> DamagedScene {
        let port = free_port();
        let relay = Relay::start(port, damage);
        let scene = Scene::by(user, server, (relay.port(), port), options, fill);
        DamagedScene { scene, relay }
    }

    /// Changes the damage, in the words of the relay's commands; done when this returns.
    pub fn damage(&mut self, command: &str) {
        self.relay.damage(command);
    }

    /// Ends all; the bytes that the vehicle sent.
    pub fn bytes_sent_by_vehicle(self) -> u64 {
        drop(self.scene);
        let statistics = self.relay.end();
        let line = statistics.iter().find(|line| line.starts_with("up ")).unwrap();
        let bytes = line.split(' ').find_map(|field| field.strip_prefix("bytes="));
        bytes.unwrap().parse().unwrap()
    }
}
