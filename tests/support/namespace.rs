//! A place of its own for what belongs to the whole system: mounts, /sbin, /run, /dev/log and the
//! processes of the background. All of it ends with the test, also by a panic, and nothing outside
//! ever sees it. Must not know what happens inside.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::mounted::is_mounted;
use super::program::{Ordinary, eventually, our_binary, run_within};

/// Until it is there, on a busy machine.
const START_TIME: Duration = Duration::from_secs(10);
/// For a command inside.
const COMMAND_TIME: Duration = Duration::from_secs(60);
/// What takes the place of /sbin, /etc, /run and /dev: nothing written there is seen outside. First the copies of mounts that other tests have go, which would keep those from ending.
/// `$0` is our program, `$1` a folder that both sides see.
const PREPARATION: &str = r#"
timeout 5 umount --all --lazy --no-canonicalize --types fuse.mavftp || true
mount -t tmpfs none /run
mount -t tmpfs none /mnt
mkdir /mnt/dev /mnt/sbin
for name in mount.mavftp mount.fuse.mavftp-mount; do ln -s "$0" "/mnt/sbin/$name"; done
for name in null zero random urandom tty; do : >"/mnt/dev/$name"; mount --bind "/dev/$name" "/mnt/dev/$name"; done
: >/mnt/dev/fuse; mount --bind /dev/fuse /mnt/dev/fuse
ln -s "$1/log" /mnt/dev/log
cp -a /etc /mnt/etc
mount --bind /mnt/sbin /sbin
mount --bind /mnt/etc /etc
mount --rbind /mnt/dev /dev
: >"$1/ready"
exec sleep 1000
"#;

/// Mount and process namespaces, in which mount(8) finds our helper.
pub struct Namespace {
    // Ended first: with the first process inside, all the others are killed.
    holder: Ordinary,
    inside: u32,
    shared: tempfile::TempDir,
}

impl Namespace {
    /// Makes it.
    pub fn new() -> Namespace {
        let shared = super::user::open_directory();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "slave"]);
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-euc", PREPARATION]).arg(our_binary().get_program());
        command.arg(shared.path()).env("LC_ALL", "C");
        let mut holder = Ordinary::run(command);
        let ready = shared.path().join("ready");
        eventually("the namespace is ready", START_TIME, || {
            let complaint = String::from_utf8_lossy(&holder.complaint()).into_owned();
            assert!(holder.is_running(), "no namespace: {complaint}");
            ready.exists()
        });
        let id = holder.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let inside = children.trim().parse().unwrap();
        Namespace { holder, inside, shared }
    }

    /// A folder that both sides see; `log` in it is /dev/log inside.
    pub fn shared(&self) -> &Path {
        self.shared.path()
    }

    /// Runs a shell line inside; `$1` and so on are the arguments.
    pub fn run(&self, line: &str, arguments: &[&str]) -> Output {
        let target = format!("--target={}", self.inside);
        let state = format!("XDG_STATE_HOME={}", self.shared.path().display());
        let enter = [&*target, "--mount", "--pid", "env", &state, "sh", "-euc", line, "sh"];
        run_within(COMMAND_TIME, "nsenter", &[&enter, arguments].concat())
    }

    /// The same for what must succeed; what it wrote to standard output.
    pub fn succeed(&self, line: &str, arguments: &[&str]) -> String {
        let output = self.run(line, arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {}: {complaint}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same for what must end with this code; what it wrote to standard error.
    pub fn fail(&self, code: i32, line: &str, arguments: &[&str]) -> String {
        let output = self.run(line, arguments);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {complaint}");
        complaint
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.holder.kill();
        // Nothing got out.
        if !std::thread::panicking() {
            assert!(!is_mounted(&self.shared.path().join("mount")));
        }
    }
}
