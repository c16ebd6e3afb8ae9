//! Peers: programs on the other end of a wire, most of them in Python and by others. Finds the
//! interpreter that has them and owns the processes. Must not know what a peer does.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Names another interpreter that has mavsdk, pymavlink, pyftpdlib and pyopenssl.
const OVERRIDE: &str = "MAVFTP_PYTHON";
/// Python, with mavsdk's native library, on a busy machine.
pub const START_TIME: Duration = Duration::from_secs(30);

/// The interpreter that has the peers' packages. A test without its peer fails; it never passes.
pub fn interpreter() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path =
        std::env::var_os(OVERRIDE).map_or_else(|| package.join(".venv/bin/python"), PathBuf::from);
    assert!(
        path.is_file(),
        "no Python with the peers at {} (or in {OVERRIDE}); run scripts/test, which installs them",
        path.display()
    );
    path
}

/// Where a script of `tests/peers` lies.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

/// A running script of `tests/peers`, or another program that talks by lines. Killed, by its own process id, when this is dropped, also by
/// a panic; should this process be killed itself, the script sees its standard input end.
pub struct Peer {
    child: Child,
    name: String,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Peer {
    /// Starts `tests/peers/<script>` with these arguments.
    pub fn start<A: AsRef<std::ffi::OsStr>>(script: &str, arguments: &[A]) -> Peer {
        let mut command = Command::new(interpreter());
        command.arg("-u").arg(self::script(script)).args(arguments);
        Peer::run(script, command)
    }

    /// Starts a program that is called `name` in messages.
    pub fn run(name: &str, mut command: Command) -> Peer {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let (sender, lines) = channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Peer { child, name: name.into(), input, lines }
    }

    /// The next line it prints; panics when there is none in time.
    pub fn line(&mut self, patience: Duration) -> String {
        match self.lines.recv_timeout(patience) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} printed nothing for {patience:?}", self.name)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let end = self.child.wait();
                panic!(
                    "{} ended: {end:?}; run scripts/test, which installs what it needs",
                    self.name
                )
            }
        }
    }

    /// The lines up to the first that `wanted` accepts, which comes last.
    pub fn lines_until(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let deadline = Instant::now() + patience;
        let mut lines = Vec::new();
        loop {
            let line = self.line(deadline.saturating_duration_since(Instant::now()));
            let found = wanted(&line);
            lines.push(line);
            if found {
                return lines;
            }
        }
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its standard input is closed");
        writeln!(input, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Ends its standard input; the rest of the lines it prints.
    pub fn last_lines(&mut self, patience: Duration) -> Vec<String> {
        self.input = None;
        let deadline = Instant::now() + patience;
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end", self.name),
                Err(RecvTimeoutError::Disconnected) => return lines,
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its own end; whether that was a success. Panics when it does not end in time.
    pub fn wait(&mut self, patience: Duration) -> bool {
        self.input = None;
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.success(),
                None if Instant::now() >= deadline => panic!("{} does not end", self.name),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Ends it at once, with all its connections.
    pub fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}
