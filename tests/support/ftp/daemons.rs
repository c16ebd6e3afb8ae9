//! The FTP servers' processes: started on a port that is free, found listening, and killed with all
//! their sessions, also when the test is killed itself. Must not know how a server is configured.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::python::{Peer, START_TIME};

/// Until a server that does not listen is taken for one whose port somebody else has got.
const LISTEN_TIME: Duration = Duration::from_secs(10);
/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(5);
/// Says the server's process id; ends it and its sessions, which are of one process group, with its
/// own standard input. A signal at the end of the parent would not do: a server that changes its
/// user loses it.
const KEEPER: &str = r#"log=$1; shift; "$@" >"$log" 2>&1 & echo $!; cat >/dev/null; kill -KILL 0"#;
/// The state of a listening socket in /proc/net/tcp, and the fields that count.
const LISTENING: &str = "0A";
const ADDRESS_FIELD: usize = 1;
const STATE_FIELD: usize = 3;
const INODE_FIELD: usize = 9;

/// A running server and its sessions.
pub struct Daemon {
    peer: Peer,
    /// Whether the peer leads a group of processes that is to end with it.
    leads: bool,
    /// The server itself.
    id: u32,
}

impl Daemon {
    /// Starts a server's program, which must not go to the background; `None` when it does not come
    /// to listen on the port. What it says goes to `log`.
    pub fn start(name: &str, command: &[&str], port: u16, log: &Path) -> Option<Daemon> {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, name]).arg(log).args(command);
        keeper.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").process_group(0);
        let mut peer = Peer::run(name, keeper);
        let id = peer.line(START_TIME).parse().unwrap();
        let daemon = Daemon { peer, leads: true, id };
        let deadline = Instant::now() + LISTEN_TIME;
        while Instant::now() < deadline && has_files(id) {
            if listens(id, port) {
                return Some(daemon);
            }
            std::thread::sleep(GLANCE);
        }
        None
    }

    /// One of the tests' own scripts, which says its port when it listens.
    pub fn script(name: &str, arguments: &[&str]) -> (Daemon, u16) {
        let mut peer = Peer::start(name, arguments);
        let port = peer.line(START_TIME).parse().unwrap();
        let id = peer.id();
        (Daemon { peer, leads: false, id }, port)
    }

    /// Ends it and its sessions at once.
    pub fn kill(&mut self) {
        if self.leads {
            self.signal(libc::SIGKILL);
        }
        self.peer.kill();
    }

    /// Sends a signal to it and its sessions.
    pub fn signal(&self, signal: i32) {
        let whom = if self.leads { -(self.peer.id() as i32) } else { self.peer.id() as i32 };
        // SAFETY: a plain system call; the peer, who leads the group, is ended only by `kill`.
        unsafe { libc::kill(whom, signal) };
    }

    /// How many sessions it has: processes of its group that are neither it nor its keeper.
    pub fn sessions(&self) -> usize {
        let others = [self.peer.id(), self.id];
        let processes = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        processes.filter(|id| !others.contains(id) && group_of(*id) == Some(self.peer.id())).count()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the process lives; what has ended has no open files, reaped or not.
fn has_files(id: u32) -> bool {
    fs::read_dir(format!("/proc/{id}/fd")).is_ok_and(|mut files| files.next().is_some())
}

/// Whether this process, and no other, listens on the port of loopback. Leaves no connection behind,
/// which the server would count.
fn listens(id: u32, port: u16) -> bool {
    let address = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let inode = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let here = fields[ADDRESS_FIELD] == address && fields[STATE_FIELD] == LISTENING;
        here.then(|| format!("socket:[{}]", fields[INODE_FIELD]))
    });
    let Some(inode) = inode else { return false };
    let Ok(mut files) = fs::read_dir(format!("/proc/{id}/fd")) else { return false };
    files.any(|file| {
        file.is_ok_and(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*inode))
    })
}

/// The process group: the third field behind the name, which stands in parentheses.
fn group_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(2)?.parse().ok()
}
