//! Another vehicle in the place of the first, under a live mount: nothing of the first is shown, and
//! nothing that was meant for it is sent to the other. Needs /dev/fuse, root, and the Python packages
//! that scripts/test installs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

mod support;

use support::mounted::{Scene, Server};
use support::ordinary::noise;
use support::program::{eventually, shell};

/// Around a page and a block, so that the kernel and the cache hold both of it.
const SIZE: usize = 50_001;
/// The kernel's memory of names and attributes, and what is cached of listings, in these mounts.
const OPTIONS: [&str; 6] =
    ["--attr-timeout", "1s", "--negative-time", "1s", "--dir-cache-time", "2s"];
/// Until the other is known, on a busy machine.
const KNOWN_TIME: Duration = Duration::from_secs(30);
/// Longest time until a closed file is forgotten; the kernel says so after close has returned.
const LETTING_GO: Duration = Duration::from_secs(20);

/// Two vehicles with the same names, sizes and times, and other contents; each has a file of its own.
struct Pair {
    scene: Scene,
    other: tempfile::TempDir,
}

fn fill(directory: &Path, seed: u64) {
    fs::create_dir(directory.join("logs")).unwrap();
    for name in ["both", "logs/both"] {
        fs::write(directory.join(name), noise(seed, SIZE)).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        File::options().write(true).open(directory.join(name)).unwrap().set_modified(time).unwrap();
    }
    fs::write(directory.join(format!("only-{seed}")), b"here").unwrap();
}

impl Pair {
    fn new(server: Server) -> Pair {
        let scene = Scene::new(server, &OPTIONS, |directory| fill(directory, 1));
        let other = tempfile::tempdir().unwrap();
        fill(other.path(), 2);
        Pair { scene, other }
    }

    /// The other takes its place, and has been heard.
    fn swap(&mut self) {
        self.scene.swap_vehicle(self.other.path());
        let root = self.scene.mounted.path().to_owned();
        eventually("the other is known", KNOWN_TIME, || {
            let names = fs::read_dir(&root)
                .map(|entries| entries.flatten().any(|entry| entry.file_name() == "only-2"));
            names.unwrap_or(false)
        });
    }

    fn read(&self, name: &str) -> std::io::Result<Vec<u8>> {
        fs::read(self.scene.near(name))
    }
}

fn is_stale_or_gone(error: &std::io::Error) -> bool {
    [libc::ESTALE, libc::EIO, libc::ENOENT, libc::EHOSTDOWN, libc::ETIMEDOUT]
        .contains(&error.raw_os_error().unwrap_or(0))
}

/// Names, attributes, blocks and pages of the first are gone.
fn nothing_is_shown(server: Server) {
    let mut pair = Pair::new(server);
    assert_eq!(pair.read("both").unwrap(), noise(1, SIZE));
    assert_eq!(pair.read("logs/both").unwrap(), noise(1, SIZE));
    assert_eq!(pair.read("only-1").unwrap(), b"here");
    assert!(!pair.scene.near("only-2").exists());
    pair.swap();
    // Names that the kernel remembers are forgotten after the time it was given.
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!pair.scene.near("only-1").exists(), "a name of the first");
    assert_eq!(pair.read("only-2").unwrap(), b"here");
    assert!(pair.read("both").unwrap() == noise(2, SIZE), "bytes of the first");
    assert!(pair.read("logs/both").unwrap() == noise(2, SIZE), "bytes of the first, deeper");
    let listing = shell(pair.scene.mounted.path(), "ls");
    assert_eq!(listing, shell(pair.other.path(), "ls"));
}

/// Who has the first's file open reads its bytes, as far as they are known, or an error.
fn an_old_handle_is_stale(server: Server) {
    let mut pair = Pair::new(server);
    let mut open = File::open(pair.scene.near("both")).unwrap();
    let mut begun = [0; 4096];
    open.read_exact(&mut begun).unwrap();
    pair.swap();
    assert!(pair.read("both").unwrap() == noise(2, SIZE), "bytes of the first");
    let mut all = Vec::new();
    open.seek(SeekFrom::Start(0)).unwrap();
    match open.read_to_end(&mut all) {
        Ok(_) => {
            let differs = |seed| all.iter().zip(&noise(seed, SIZE)).position(|(a, b)| a != b);
            let (first, other) = (differs(1), differs(2));
            assert!(
                all == noise(1, SIZE),
                "an old handle reads {} bytes, from {first:?} on not the first's, from {other:?} on \
                 not the other's",
                all.len()
            );
        }
        Err(error) => assert!(is_stale_or_gone(&error), "{error}"),
    }
}

/// What was written for the first stays here.
fn nothing_is_sent(server: Server) {
    let mut pair = Pair::new(server);
    let mut new = File::create(pair.scene.near("new")).unwrap();
    new.write_all(b"meant for the first").unwrap();
    let mut changed = File::options().read(true).write(true).open(pair.scene.near("both")).unwrap();
    changed.write_all(b"meant for the first").unwrap();
    pair.swap();
    for file in [&new, &changed] {
        assert!(file.sync_all().is_err(), "it was reported as saved");
    }
    drop((new, changed));
    assert!(!pair.other.path().join("new").exists(), "sent to another aircraft");
    let both = fs::read(pair.other.path().join("both")).unwrap();
    assert!(both == noise(2, SIZE), "the other's file was changed");
    assert_eq!(fs::read(pair.scene.far("both")).unwrap(), noise(1, SIZE));
    let kept = shell(pair.scene.mounted.state(), "grep -rl 'meant for the first' . | wc -l");
    assert_ne!(kept, b"0\n", "what could not be sent is nowhere");
    // The other is written to as ever, once the kernel has let go of what was closed before.
    let write = || {
        let mut new = File::create(pair.scene.near("new"))?;
        new.write_all(b"meant for the other")?;
        new.sync_all()
    };
    let start = Instant::now();
    while let Err(error) = write() {
        assert!(is_stale_or_gone(&error) && start.elapsed() < LETTING_GO, "{error}");
    }
    assert_eq!(fs::read(pair.other.path().join("new")).unwrap(), b"meant for the other");
}

/// > Another vehicle in the place of the first (another AUTOPILOT_VERSION uid, or an unknown one
/// > after a silence): nothing of the first is shown.
#[test]
fn nothing_of_another_vehicle_with_a_uid_is_shown() {
    nothing_is_shown(Server::Embedded);
}

/// > Another vehicle in the place of the first (another AUTOPILOT_VERSION uid, or an unknown one
/// > after a silence): nothing of the first is shown.
#[test]
fn nothing_of_another_vehicle_without_a_uid_is_shown() {
    nothing_is_shown(Server::Mavsdk);
}

#[test]
fn a_handle_from_before_another_vehicle_with_a_uid_is_stale() {
    an_old_handle_is_stale(Server::Embedded);
}

#[test]
fn a_handle_from_before_another_vehicle_without_a_uid_is_stale() {
    an_old_handle_is_stale(Server::Mavsdk);
}

#[test]
fn nothing_is_sent_to_another_vehicle_with_a_uid() {
    nothing_is_sent(Server::Embedded);
}

#[test]
fn nothing_is_sent_to_another_vehicle_without_a_uid() {
    nothing_is_sent(Server::Mavsdk);
}
