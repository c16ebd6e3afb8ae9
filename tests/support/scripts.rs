//! The scripts of `tests/programs`: what real programs do with a mount. Must not know which server
//! it is, nor what lies between.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::mounted::Scene;
use super::program::Ordinary;
use super::user::{self, User};

/// For one script, over a bad link on a busy machine.
const SCRIPT_TIME: Duration = Duration::from_secs(240);
/// What was changed on the far side is to be seen soon.
pub const SEEN_SOON: [&str; 2] = ["--dir-cache-time", "2s"];

/// All of them.
pub const ALL: [&str; 17] = [
    "append",
    "cp",
    "dd",
    "empty",
    "git",
    "impossible",
    "mkdir",
    "mv",
    "nano",
    "rsync",
    "sed",
    "small",
    "tail",
    "tar",
    "truncate",
    "vim",
    "zip",
];

/// A directory on the far side for each script, there from the start.
pub fn fill(directory: &Path) {
    fill_for(directory, &ALL);
}

/// The same for some scripts.
pub fn fill_for(directory: &Path, scripts: &[&str]) {
    for script in scripts {
        let place = directory.join(script);
        fs::create_dir(&place).unwrap();
        // `tail` writes on the far side, where it may be an ordinary user.
        fs::set_permissions(&place, Permissions::from_mode(0o777)).unwrap();
    }
}

/// Runs scripts one after another, as this user; fails with what every one of them complained of.
pub fn run(scene: &Scene, user: User, scripts: &[&str], small_files: usize) {
    let failures: Vec<String> = scripts
        .iter()
        .filter_map(|script| {
            let began = Instant::now();
            let failure = run_one(scene, user, script, small_files).err();
            println!("{script}: {:.1} s", began.elapsed().as_secs_f32());
            failure.map(|failure| format!("{script}: {failure}"))
        })
        .collect();
    assert!(failures.is_empty(), "as {user:?}:\n{}", failures.join("\n"));
}

fn run_one(scene: &Scene, user: User, script: &str, small_files: usize) -> Result<(), String> {
    let scripts = copied_scripts();
    let local = user::open_directory();
    user.takes(local.path());
    // Whatever the script itself compares: in the end both sides are the same, and nothing of ours
    // is left behind.
    let line = format!(
        "cd \"$NEAR\"; . \"$SCRIPTS/common.sh\"; (. \"$SCRIPTS/{script}.sh\"); diff -r . \"$FAR\""
    );
    let mut command = Command::new("sh");
    command.args(["-eu", "-c", &line]).current_dir("/");
    command.env("LC_ALL", "C.UTF-8").env("HOME", local.path());
    command.env("SCRIPTS", scripts.path()).env("LOCAL", local.path());
    command.env("FAR", scene.far(script)).env("FILES", small_files.to_string());
    command.env("NEAR", scene.near(script));
    user.runs(&mut command);
    let mut running = Ordinary::run(command);
    let status = running.wait(SCRIPT_TIME).ok_or(format!("not done in {SCRIPT_TIME:?}"))?;
    let output = running.output();
    let printed =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    match status.success() {
        true => Ok(()),
        false => Err(format!("{status}\n{}", printed.concat())),
    }
}

/// The scripts, where every user may read them.
fn copied_scripts() -> tempfile::TempDir {
    let copies = user::open_directory();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap()) {
        fs::copy(file.path(), copies.path().join(file.file_name())).unwrap();
    }
    copies
}
