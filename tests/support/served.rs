//! A directory that our program serves, and foreign clients that are told line by line what to do with it.
//! Everything on loopback, on ports that the kernel picks. Must not know what a test does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::program::Program;
use super::python::{self, Peer};

/// Until the server says where it listens, on a busy machine.
const START_TIME: Duration = Duration::from_secs(20);
/// For one operation of a foreign client, on a busy machine and a damaged link.
const OPERATION_TIME: Duration = Duration::from_secs(60);
/// What stands before the port in the line that the server prints.
const BEFORE_PORT: &str = " on udp:127.0.0.1:";

/// The sizes at which transfers break: nothing, around a block, blocks and a rest, many blocks.
pub const SIZES: [usize; 8] = [0, 1, 238, 239, 240, 2 * 239 + 7, 64 << 10, 1 << 20];

/// `mavftp-mount serve`, and the directory. Both are gone when this is dropped.
pub struct Served {
    program: Program,
    directory: tempfile::TempDir,
    port: u16,
}

impl Served {
    /// Serves an empty directory with these further options.
    pub fn start(options: &[&str]) -> Served {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let arguments = [&["serve", "udp:127.0.0.1:0", path], options].concat();
        let mut program = Program::start(&arguments);
        program.wait_until(START_TIME, |program| port_in(&program.printed()).is_some());
        let port = port_in(&program.printed()).unwrap();
        Served { program, directory, port }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where something of the directory is on this machine.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file there.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// It still runs, and has had nothing to complain about.
    pub fn is_content(&mut self) {
        self.program.wait_until(START_TIME, |_| true);
        let printed = self.program.printed();
        assert_eq!(printed.lines().count(), 1, "the server complained:\n{printed}");
    }
}

fn port_in(printed: &str) -> Option<u16> {
    printed.lines().next()?.rsplit_once(BEFORE_PORT)?.1.parse().ok()
}

/// A foreign client with a connection. Gone when dropped.
pub struct Client {
    peer: Peer,
    success: &'static str,
}

impl Client {
    /// MAVSDK's; `options` as in `tests/peers/mavsdk_dialog.py`.
    pub fn mavsdk(port: u16, options: &[&str]) -> Client {
        let endpoint = format!("udpout://127.0.0.1:{port}");
        Client::start("mavsdk_dialog.py", &endpoint, options, "SUCCESS")
    }

    /// pymavlink's; `options` as in `tests/peers/pymavlink_dialog.py`.
    pub fn pymavlink(port: u16, options: &[&str]) -> Client {
        let endpoint = format!("udpout:127.0.0.1:{port}");
        Client::start("pymavlink_dialog.py", &endpoint, options, "Success")
    }

    fn start(script: &str, endpoint: &str, options: &[&str], success: &'static str) -> Client {
        let mut peer = Peer::start(script, &[&[endpoint], options].concat());
        peer.lines_until(python::START_TIME, |line| line.starts_with("ready"));
        Client { peer, success }
    }

    /// Has an operation done; how it ended, and what it brought.
    pub fn ask(&mut self, request: Value) -> (String, Value) {
        self.begin(request);
        self.end()
    }

    /// Has an operation done while others go on.
    pub fn begin(&mut self, request: Value) {
        self.peer.say(&request.to_string());
    }

    /// How it ended, and what it brought.
    pub fn end(&mut self) -> (String, Value) {
        // Between answers there may be lines of the client's log.
        let lines = self.peer.lines_until(OPERATION_TIME, |line| line.starts_with("[\""));
        serde_json::from_str(lines.last().unwrap()).unwrap()
    }

    /// Has an operation done that must succeed; what it brought.
    pub fn does(&mut self, request: Value) -> Value {
        self.begin(request.clone());
        self.done(&request)
    }

    /// The end of `request`, which must be a success; what it brought.
    pub fn done(&mut self, request: &Value) -> Value {
        let (result, brought) = self.end();
        assert_eq!(result, self.success, "{request}");
        brought
    }

    /// Has an operation done that must fail with this result.
    pub fn fails(&mut self, request: Value, result: &str) {
        assert_eq!(self.ask(request.clone()).0, result, "{request}");
    }
}

/// Names that are uncommon: with a space, not in ASCII, and long.
pub fn uncommon_names() -> [String; 3] {
    ["with  two spaces".into(), "größe ✈ 日本".into(), "n".repeat(200)]
}

/// A request of the dialogs about two places, of which local ones are paths.
pub fn about(operation: &str, one: impl AsRef<Path>, other: impl AsRef<Path>) -> Value {
    json!([operation, one.as_ref(), other.as_ref()])
}
