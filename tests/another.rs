//! Another vehicle in the place of the first, under a live mount: nothing of the first is shown, and
//! nothing that was meant for it is sent to the other. Needs /dev/fuse, root, and the Python packages
//! that scripts/test installs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

mod support;

use support::mounted::{LINK_TIMEOUT, Scene, Server};
use support::ordinary::noise;
use support::program::{eventually, shell};
use support::relay::DamagedScene;

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
/// Where they do not say who they are, their files' times differ.
struct Pair {
    scene: Scene,
    other: tempfile::TempDir,
}

/// When files were written; seconds since 1970 UTC.
const TIME: u64 = 1_700_000_000;

fn write_at(path: &Path, bytes: &[u8], time: u64) {
    fs::write(path, bytes).unwrap();
    let time = std::time::UNIX_EPOCH + Duration::from_secs(time);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn fill(directory: &Path, seed: u64, time: u64) {
    fs::create_dir(directory.join("logs")).unwrap();
    for name in ["both", "logs/both"] {
        write_at(&directory.join(name), &noise(seed, SIZE), time);
    }
    fs::write(directory.join(format!("only-{seed}")), b"here").unwrap();
}

impl Pair {
    fn new(server: Server) -> Pair {
        let scene = Scene::new(server, &OPTIONS, |directory| fill(directory, 1, TIME));
        let other = tempfile::tempdir().unwrap();
        let has_uid = matches!(server, Server::Embedded);
        fill(other.path(), 2, if has_uid { TIME } else { TIME + 1 });
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

/// > Another vehicle in the place of the first (another AUTOPILOT_VERSION uid): nothing of the first is
/// > shown.
#[test]
fn nothing_of_another_vehicle_with_a_uid_is_shown() {
    nothing_is_shown(Server::Embedded);
}

/// > Another vehicle in the place of the first (another AUTOPILOT_VERSION uid): nothing of the first is
/// > shown.
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

/// Listings that nothing but another vehicle makes void.
const LONG_BELIEVED: [&str; 4] = ["--dir-cache-time", "60s", "--attr-timeout", "60s"];
/// More than is read ahead of a program.
const LONG_SIZE: usize = 1 << 20;

fn long(directory: &Path) {
    fs::create_dir(directory.join("dir")).unwrap();
    write_at(&directory.join("dir/long"), &noise(3, LONG_SIZE), TIME);
}

/// A handle, a mapping of the kernel's pages and a working directory from before.
struct Before {
    open: File,
    number: u64,
}

impl Before {
    fn new(scene: &Scene) -> Before {
        let open = File::open(scene.near("dir/long")).unwrap();
        let mut head = vec![0; 5000];
        open.read_exact_at(&mut head, 0).unwrap();
        assert!(head == noise(3, LONG_SIZE)[..5000]);
        let number = open.metadata().unwrap().ino();
        Before { open, number }
    }

    fn goes_on(&self, scene: &Scene) {
        let metadata = self.open.metadata().unwrap();
        assert_eq!((metadata.ino(), metadata.nlink()), (self.number, 1));
        let mut all = vec![0; LONG_SIZE];
        self.open.read_exact_at(&mut all[500_000..], 500_000).unwrap();
        self.open.read_exact_at(&mut all[..500_000], 0).unwrap();
        assert!(all == noise(3, LONG_SIZE), "wrong bytes");
        assert_eq!(fs::metadata(scene.near("dir/long")).unwrap().ino(), self.number);
    }
}

/// > A vehicle that does not say who it is, back from a silence: a file that is open is read on when its
/// > directory shows the same size and time, else it is ESTALE.
#[test]
fn an_open_file_of_a_vehicle_without_a_uid_is_read_on_after_a_silence() {
    let mut far = DamagedScene::new(Server::Mavsdk, "--delay 2", &LONG_BELIEVED, long);
    let before = Before::new(&far.scene);
    for _ in 0..2 {
        far.damage(&format!("silence {}", LINK_TIMEOUT.as_secs() + 3));
        std::thread::sleep(LINK_TIMEOUT + Duration::from_secs(1));
        let mut cached = [0; 100];
        before.open.read_exact_at(&mut cached, 0).unwrap();
        assert!(cached == noise(3, LONG_SIZE)[..100], "what is cached is served meanwhile");
        std::thread::sleep(Duration::from_secs(4));
        before.goes_on(&far.scene);
    }
}

#[test]
fn an_open_file_of_a_vehicle_without_a_uid_is_read_on_after_its_program_began_anew() {
    let mut scene = Scene::new(Server::Mavsdk, &LONG_BELIEVED, long);
    let before = Before::new(&scene);
    scene.vehicle.kill();
    std::thread::sleep(LINK_TIMEOUT + Duration::from_secs(1));
    scene.restart_vehicle();
    // Heartbeats come once a second, from another port.
    eventually("it is heard again", KNOWN_TIME, || {
        fs::read_dir(scene.near("")).is_ok() && before.open.read_at(&mut [0; 10], 700_000).is_ok()
    });
    before.goes_on(&scene);
}

#[test]
fn an_open_file_is_stale_where_one_without_a_uid_has_another_under_its_name() {
    let kinds = ["time", "smaller", "larger", "gone"];
    let mut scene = Scene::new(Server::Mavsdk, &LONG_BELIEVED, |directory| {
        kinds.iter().for_each(|name| write_at(&directory.join(name), &noise(1, SIZE), TIME));
    });
    let other = tempfile::tempdir().unwrap();
    write_at(&other.path().join("time"), &noise(2, SIZE), TIME + 1);
    write_at(&other.path().join("smaller"), &noise(2, SIZE - 1), TIME);
    write_at(&other.path().join("larger"), &noise(2, SIZE + 1), TIME);
    fs::write(other.path().join("only-2"), b"here").unwrap();
    let open = kinds.map(|name| File::open(scene.near(name)).unwrap());
    for file in &open {
        file.read_exact_at(&mut [0; 4096], 0).unwrap();
    }
    scene.vehicle.kill();
    std::thread::sleep(LINK_TIMEOUT + Duration::from_secs(1));
    scene.swap_vehicle(other.path());
    eventually("the other is known", KNOWN_TIME, || scene.near("only-2").exists());
    for (file, name) in open.iter().zip(kinds) {
        for offset in [0, 40_000] {
            let mut bytes = [0; 4096];
            match file.read_at(&mut bytes, offset) {
                // What the kernel had of it.
                Ok(count) => {
                    let at = offset as usize;
                    assert!(bytes[..count] == noise(1, SIZE)[at..at + count], "{name} {offset}");
                }
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{name}"),
            }
        }
        assert_eq!(file.metadata().unwrap().len(), SIZE as u64, "{name}");
        if let Ok(bytes) = fs::read(scene.near(name)) {
            assert!(bytes == fs::read(other.path().join(name)).unwrap(), "{name}");
        }
    }
    assert!(!scene.near("gone").exists());
}
