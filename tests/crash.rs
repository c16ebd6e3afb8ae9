//! Killed in the middle of saving, again and again: the mount, and the vehicle. What was reported as
//! saved is there, and every file is a whole version, old or new. Needs /dev/fuse, root, and the Python
//! packages that scripts/test installs.

use std::fs;
use std::path::Path;
use std::time::Duration;

mod support;

use support::mounted::{Scene, Server};
use support::ordinary::noise;
use support::program::{Ordinary, eventually};
use support::versions::{content, version_of, versions_in};

/// Kills in the ordinary form of a test; the full form has [`MANY`] of the mount and as many of
/// vehicles.
const FEW: u64 = 4;
const MANY: u64 = 200;
/// What the loop saves in one round; more than there is time for.
const VERSIONS: u64 = 60;
/// The moment of a kill, at most.
const MOMENT_MAX: u64 = 1_300;
/// Until a save works again after a vehicle is back, on a busy machine.
const RETURN_TIME: Duration = Duration::from_secs(40);
/// How files are saved: as an editor does, in place, by cp, and at the end. Each success is noted
/// behind the attempt.
const LOOP: &str = r#"
for n in $(seq "$FROM" "$TO"); do
    echo "renamed $n ?" >> "$LOG"
    cp "$LOCAL/renamed-$n" .renamed.new && mv .renamed.new renamed && echo "renamed $n ok" >> "$LOG"
    echo "written $n ?" >> "$LOG"
    cat "$LOCAL/written-$n" > written && echo "written $n ok" >> "$LOG"
    echo "copied $n ?" >> "$LOG"
    cp "$LOCAL/copied-$n" copied && echo "copied $n ok" >> "$LOG"
    echo "added $n ?" >> "$LOG"
    cat "$LOCAL/added-$n" >> added && echo "added $n ok" >> "$LOG"
done 2> /dev/null
"#;
const REPLACED: [&str; 3] = ["renamed", "written", "copied"];
const OTHERS: usize = 70_001;

/// A mount in which files are saved for ever, and what is known of each.
struct Saving {
    scene: Scene,
    local: tempfile::TempDir,
    /// Appended since the beginning; each was reported as done.
    added: Vec<u64>,
    round: u64,
}

impl Saving {
    fn new(server: Server) -> Saving {
        let scene = Scene::new(server, &["--dir-cache-time", "1s"], |directory| {
            for name in REPLACED {
                fs::write(directory.join(name), content(name, 0)).unwrap();
            }
            fs::write(directory.join("added"), b"").unwrap();
            fs::write(directory.join("other"), noise(1, OTHERS)).unwrap();
        });
        Saving { scene, local: tempfile::tempdir().unwrap(), added: Vec::new(), round: 0 }
    }

    /// A moment of the round, and the loop at work.
    fn begin(&mut self) -> (Duration, Ordinary) {
        self.round += 1;
        let (from, to) = (self.round * VERSIONS, (self.round + 1) * VERSIONS - 1);
        for entry in fs::read_dir(self.local.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for name in ["renamed", "written", "copied", "added"] {
            for version in from..=to {
                let path = self.local.path().join(format!("{name}-{version}"));
                fs::write(path, content(name, version)).unwrap();
            }
        }
        let places = format!(
            "cd '{}' && FROM={from} TO={to} LOG='{}' LOCAL='{}'; {LOOP}",
            self.scene.mounted.path().display(),
            self.log().display(),
            self.local.path().display()
        );
        let moment = noise(self.round, 2).iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        (Duration::from_millis(20 + moment % MOMENT_MAX), Ordinary::start("sh", &["-c", &places]))
    }

    fn log(&self) -> std::path::PathBuf {
        self.local.path().join("log")
    }

    /// The last version that was tried of a file in this round, and the last that was reported done.
    fn noted(&self, name: &str) -> (Vec<u64>, Vec<u64>) {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let versions = |mark: &str| {
            let lines = log.lines().filter_map(|line| line.strip_suffix(mark));
            let numbers = lines.filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            numbers.collect()
        };
        (versions("?"), versions("ok"))
    }

    /// Every file is a whole version, not older than what was reported as saved, and not newer than
    /// what was tried.
    fn check(&mut self) {
        for name in REPLACED {
            let bytes = fs::read(self.scene.far(name)).unwrap();
            let version = version_of(name, &bytes);
            let version = version.unwrap_or_else(|| {
                panic!("round {}: {name} is torn, {} bytes", self.round, bytes.len())
            });
            let (tried, done) = self.noted(name);
            let last = *tried.last().unwrap_or(&version);
            let least = done.last().copied().unwrap_or(0);
            let is_right = (least..=last).contains(&version);
            assert!(is_right, "round {}: {name} is {version}, of {least}..={last}", self.round);
        }
        self.check_added();
        assert_eq!(fs::read(self.scene.far("other")).unwrap(), noise(1, OTHERS));
        let names = names(self.scene.mounted.path());
        let expected = |name: &String| {
            REPLACED.contains(&&**name) || ["added", "other", ".renamed.new"].contains(&&**name)
        };
        assert!(names.iter().all(expected), "round {}: {names:?}", self.round);
    }

    /// The one exception: an append that was cut off leaves a part of it.
    fn check_added(&mut self) {
        let (tried, done) = self.noted("added");
        let bytes = fs::read(self.scene.far("added")).unwrap();
        let last = tried.last().or(self.added.last()).copied().unwrap_or(0);
        let there = versions_in("added", &bytes, VERSIONS..=last.max(VERSIONS));
        self.added.extend(done);
        let missing: Vec<_> =
            self.added.iter().filter(|version| !there.contains(version)).collect();
        assert!(missing.is_empty(), "round {}: {missing:?} were added and are gone", self.round);
    }

    /// Begins the file that grows anew, lest each check take longer than the one before. Nobody has
    /// it mounted meanwhile.
    fn clear_added(&mut self) {
        fs::write(self.scene.far("added"), b"").unwrap();
        self.added.clear();
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// The loop is over: its mount is dead, or it is ended.
fn end(mut works: Ordinary) {
    works.kill();
}

fn a_mount_is_killed(server: Server, times: u64) {
    let mut saving = Saving::new(server);
    for _ in 0..times {
        let (moment, works) = saving.begin();
        std::thread::sleep(moment);
        saving.scene.mounted.kill();
        end(works);
        // A vehicle may still be busy with what was asked last.
        std::thread::sleep(Duration::from_millis(100));
        saving.scene.mounted.again();
        saving.check();
        if saving.round.is_multiple_of(5) {
            saving.scene.mounted.kill();
            saving.clear_added();
            saving.scene.mounted.again();
        }
    }
}

fn a_vehicle_is_killed(server: Server, times: u64) {
    let mut saving = Saving::new(server);
    for _ in 0..times {
        let (moment, works) = saving.begin();
        std::thread::sleep(moment);
        saving.scene.vehicle.kill();
        if saving.round.is_multiple_of(2) {
            std::thread::sleep(Duration::from_millis(moment.as_millis() as u64 * 3));
        }
        let before = saving.noted("copied").1.len();
        saving.scene.restart_vehicle();
        eventually("a save works again", RETURN_TIME, || {
            saving.noted("copied").1.len() > before
                || saving.noted("copied").0.len() as u64 == VERSIONS
        });
        end(works);
        // What was under way when the loop was ended.
        std::thread::sleep(Duration::from_millis(300));
        saving.check();
    }
}

/// > At our end by SIGKILL or a crash the vehicle has the old file or the new one, and what was
/// > being written lies in the journal here.
#[test]
fn a_mount_killed_while_saving_leaves_old_or_new_on_our_server() {
    a_mount_is_killed(Server::Embedded, FEW);
}

/// > At our end by SIGKILL or a crash the vehicle has the old file or the new one, and what was
/// > being written lies in the journal here.
#[test]
fn a_mount_killed_while_saving_leaves_old_or_new_on_mavsdk() {
    a_mount_is_killed(Server::Mavsdk, FEW);
}

#[test]
fn our_server_killed_while_files_are_saved_has_old_or_new() {
    a_vehicle_is_killed(Server::Embedded, FEW);
}

#[test]
fn mavsdk_killed_while_files_are_saved_has_old_or_new() {
    a_vehicle_is_killed(Server::Mavsdk, FEW);
}

/// > Redirecting to a file (`> file`) sends nothing before something is written or the program
/// > ends.
#[test]
fn a_mount_killed_after_a_redirection_leaves_old_or_new() {
    let scene = Scene::new(Server::Embedded, &[], |directory| {
        fs::write(directory.join("written"), content("written", 0)).unwrap();
    });
    let script = format!("cd '{}' && sleep 60 > written", scene.mounted.path().display());
    let works = Ordinary::start("sh", &["-c", &script]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(version_of("written", &fs::read(scene.far("written")).unwrap()), Some(0));
    end(works);
}

#[test]
#[ignore = "takes minutes; `scripts/test --full` runs it"]
fn a_mount_killed_two_hundred_times_leaves_old_or_new() {
    a_mount_is_killed(Server::Embedded, MANY / 2);
    a_mount_is_killed(Server::Mavsdk, MANY / 2);
}

#[test]
#[ignore = "takes minutes; `scripts/test --full` runs it"]
fn a_vehicle_killed_two_hundred_times_has_old_or_new() {
    a_vehicle_is_killed(Server::Embedded, MANY / 2);
    a_vehicle_is_killed(Server::Mavsdk, MANY / 2);
}
