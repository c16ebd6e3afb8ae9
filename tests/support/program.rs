//! Child processes that a test can rely on: our own program, and ordinary ones with a time limit.
//! Whatever was started is ended and reaped with the test, also by a panic. Must not know what a
//! test is about.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// How often something that may have happened is looked for.
const GLANCE: Duration = Duration::from_millis(10);
/// For an ordinary program that has work to do, on a busy machine.
const ORDINARY_TIME: Duration = Duration::from_secs(60);

/// Our program, running. What it prints is kept for the messages of failures.
pub struct Program {
    child: Child,
    printed: PathBuf,
    _directory: tempfile::TempDir,
}

impl Program {
    /// Starts `mavftp-mount` with these arguments.
    pub fn start<A: AsRef<OsStr>>(arguments: &[A]) -> Program {
        Program::start_keeping(None, arguments)
    }

    /// The same with a state directory that outlives it.
    pub fn start_keeping<A: AsRef<OsStr>>(state: Option<&Path>, arguments: &[A]) -> Program {
        let directory = tempfile::tempdir().unwrap();
        let printed = directory.path().join("printed");
        let output = File::create(&printed).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mavftp-mount"));
        command.args(arguments).stdin(Stdio::null()).env("LC_ALL", "C");
        // What a test's mount could not send is not kept in the home of who runs the test.
        command.env("XDG_STATE_HOME", state.unwrap_or(directory.path()));
        command.stdout(output.try_clone().unwrap()).stderr(output);
        // SAFETY: prctl is async-signal-safe, and nothing else happens between fork and exec.
        unsafe {
            // Should this process be killed itself, a mount still gets to unmount.
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        Program { child, printed, _directory: directory }
    }

    /// What it printed until now, standard output and error in one.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.printed).unwrap()).into_owned()
    }

    /// Waits until `ready`; panics with what it printed when it ends first or the limit passes.
    pub fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut(&Program) -> bool) {
        let deadline = Instant::now() + limit;
        while !ready(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("mavftp-mount ended too early, {status}; it printed:\n{}", self.printed());
            }
            let late = Instant::now() >= deadline;
            assert!(!late, "not ready after {limit:?}; it printed:\n{}", self.printed());
            std::thread::sleep(GLANCE);
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as `kill PID` does.
    pub fn terminate(&self) {
        // SAFETY: a plain system call; the child is not reaped yet, so the id is still its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
    }

    /// Waits for its end; panics with what it printed when it does not end in time.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        match ended_within(&mut self.child, limit) {
            Some(status) => status,
            None => panic!("did not end in {limit:?}; it printed:\n{}", self.printed()),
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs our program to its end, within `limit`; its exit code and what it printed.
pub fn our_program<A: AsRef<OsStr>>(arguments: &[A], limit: Duration) -> (i32, String) {
    let mut program = Program::start(arguments);
    let status = program.wait(limit);
    (status.code().unwrap_or(-1), program.printed())
}

/// The same with a state directory that outlives it.
pub fn our_program_keeping<A: AsRef<OsStr>>(
    state: &Path,
    arguments: &[A],
    limit: Duration,
) -> (i32, String) {
    let mut program = Program::start_keeping(Some(state), arguments);
    let status = program.wait(limit);
    (status.code().unwrap_or(-1), program.printed())
}

/// Runs an ordinary program to its end; panics, killing it, when that takes longer than `limit`.
pub fn run_within<A: AsRef<OsStr>>(limit: Duration, program: &str, arguments: &[A]) -> Output {
    let mut running = Ordinary::start(program, arguments);
    match running.wait(limit) {
        Some(_) => running.output(),
        None => panic!("{program} took longer than {limit:?}"),
    }
}

/// Runs an ordinary program that must succeed; what it wrote to standard output.
pub fn succeed<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Vec<u8> {
    let output = run_within(ORDINARY_TIME, program, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed, {}: {complaint}", output.status);
    output.stdout
}

/// Runs an ordinary program that must fail; what it wrote to standard error.
pub fn fail<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> String {
    let output = run_within(ORDINARY_TIME, program, arguments);
    assert!(!output.status.success(), "{program} succeeded where it should have failed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A shell command that must succeed, with `directory` as its working directory.
pub fn shell(directory: &Path, script: &str) -> Vec<u8> {
    let inside = format!("cd '{}' && {script}", directory.display());
    succeed("sh", &["-c", &inside])
}

/// An ordinary program, running; its output goes to files, so that it never waits for a reader.
pub struct Ordinary {
    child: Child,
    directory: tempfile::TempDir,
}

impl Ordinary {
    /// Starts it.
    pub fn start<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Ordinary {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(File::create(directory.path().join("stdout")).unwrap())
            .stderr(File::create(directory.path().join("stderr")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        Ordinary { child, directory }
    }

    /// Its exit status, if it ends within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        ended_within(&mut self.child, limit)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a plain system call; the child is not reaped yet, so the id is still its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Where its standard output goes.
    pub fn stdout_path(&self) -> PathBuf {
        self.directory.path().join("stdout")
    }

    fn output(&mut self) -> Output {
        let read = |name| std::fs::read(self.directory.path().join(name)).unwrap();
        let (stdout, stderr) = (read("stdout"), read("stderr"));
        Output { status: self.child.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Ordinary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // Not a plain wait: what waits for a mount in state D ends only when the mount goes.
        let _ = ended_within(&mut self.child, Duration::from_secs(1));
    }
}

/// Waits until `happened`; panics with `what` when the limit passes.
pub fn eventually(what: &str, limit: Duration, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !happened() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(GLANCE);
    }
}

fn ended_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return Some(status),
            None if Instant::now() >= deadline => return None,
            None => std::thread::sleep(GLANCE),
        }
    }
}
