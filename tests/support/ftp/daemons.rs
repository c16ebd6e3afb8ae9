//! The FTP servers' processes: started on a port that is free, found listening, and killed with all
//! their sessions, also when the test is killed itself. Must not know how a server is configured.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::program::eventually;
use crate::support::python::Peer;

/// Until a server that does not listen is taken for one whose port somebody else has got.
const LISTEN_TIME: Duration = Duration::from_secs(30);
/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(5);
/// Makes the server and all that it starts end with whom it is told to (see [`Daemon`]): they are a
/// world of processes, whose first one waits for the server and for the end of its standard input.
/// Less would not do: sessions leave the group of processes, and who changes its user loses the signal
/// that comes at the end of a parent.
const KEEPER: [&str; 6] = ["--pid", "--fork", "--kill-child=KILL", "sh", "-c", KEEP];
const KEEP: &str = r#"exec 3<&0; log=$1; shift; "$@" <&3 >"$log" 2>&1 3<&- & server=$!
(cat <&3 >/dev/null; kill -KILL $server) & wait $server"#;
/// The state of a listening socket in /proc/net/tcp, and the fields that count.
const LISTENING: &str = "0A";
const ADDRESS_FIELD: usize = 1;
const STATE_FIELD: usize = 3;
const INODE_FIELD: usize = 9;

/// A running server and its sessions. They end when this is dropped, and when the test ends or is
/// killed.
pub struct Daemon {
    peer: Peer,
    /// What its processes are called.
    name: String,
}

impl Daemon {
    /// Starts a server's program, which must not go to the background; `None` when it does not come
    /// to listen on the port. What it says goes to `log`.
    pub fn start(command: &[String], port: u16, log: &Path) -> Option<Daemon> {
        let name = Path::new(&command[0]).file_name().unwrap().to_str().unwrap();
        let mut keeper = Command::new("unshare");
        keeper.args(KEEPER).arg(name).arg(log).args(command);
        keeper.env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
        let daemon = Daemon { peer: Peer::run(name, keeper), name: name.to_owned() };
        let deadline = Instant::now() + LISTEN_TIME;
        while Instant::now() < deadline && lives(daemon.peer.id()) {
            if daemon.processes().into_iter().any(|id| listens(id, port)) {
                return Some(daemon);
            }
            std::thread::sleep(GLANCE);
        }
        None
    }

    /// Ends it and its sessions at once, and waits for their end.
    pub fn kill(&mut self) {
        let all = descendants(self.peer.id());
        self.peer.kill();
        eventually("a killed server is gone", LISTEN_TIME, || !all.iter().any(|id| lives(*id)));
    }

    /// Sends a signal to it and its sessions.
    pub fn signal(&self, signal: i32) {
        for id in self.processes() {
            // SAFETY: a plain system call; the processes are below the peer, and nobody else ends it.
            unsafe { libc::kill(id as i32, signal) };
        }
    }

    /// Whether it serves somebody. Not known of pyftpdlib, which has one process for all.
    pub fn has_sessions(&self) -> bool {
        self.processes().len() > 1
    }

    /// The server and its sessions, without those who only watch over it.
    fn processes(&self) -> Vec<u32> {
        let mut all = descendants(self.peer.id());
        all.retain(|id| stat(*id).is_some_and(|stat| stat.0 == self.name));
        all
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the process lives; what has ended has no open files, reaped or not.
fn lives(id: u32) -> bool {
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

/// A process and all below it.
fn descendants(root: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<(u32, u32)> = numbers.filter_map(|id| Some((id, stat(id)?.1))).collect();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        at += 1;
    }
    found
}

/// A process's name, which stands in parentheses, and its parent, in the second field behind it.
fn stat(id: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (before, behind) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    Some((name, behind.split_whitespace().nth(1)?.parse().ok()?))
}
