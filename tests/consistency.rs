//! What another station changed, seen through a kernel mount: when it shows, and what becomes of who
//! has the old state. The other station writes straight into the served directory. Needs /dev/fuse
//! and root.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use mavftp_mount::mavftp::wire::Checksum;

mod support;

use support::mounted::{Scene, Server, Vehicle, free_port};
use support::ordinary::noise;
use support::program::{Ordinary, eventually, shell, succeed};
use support::tap::{CHECKSUM, LISTINGS, OPEN, Tap};

/// Caches of the kernel that would outlive any test, were they not bounded by ours.
const LONG_KERNEL_TIMES: [&str; 4] = ["--attr-timeout", "60s", "--negative-time", "60s"];
/// On top of the time for which a listing is believed: the listing itself, on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

fn embedded(options: &[&str], fill: impl FnOnce(&Path)) -> Scene {
    Scene::new(Server::Embedded, options, fill)
}

/// A scene whose link is listened in on.
fn tapped(options: &[&str], fill: impl FnOnce(&Path)) -> (Scene, Tap) {
    let port = free_port();
    let tap = Tap::start(port);
    let ports = (tap.vehicle_port, port);
    (Scene::between(Server::Embedded, ports, options, fill), tap)
}

fn believed<'a>(time: &'a str, others: &[&'a str]) -> Vec<&'a str> {
    [&["--dir-cache-time", time], others].concat()
}

/// Changes a file in place or by a rename, and its time with it: the clock of a disk ticks slowly.
fn replace(scene: &Scene, name: &str, bytes: &[u8], in_place: bool) {
    let written = scene.far(if in_place { name } else { ".written" });
    fs::write(&written, bytes).unwrap();
    let later = SystemTime::now() + Duration::from_secs(100);
    File::options().write(true).open(&written).unwrap().set_modified(later).unwrap();
    fs::rename(&written, scene.far(name)).unwrap();
}

fn append(scene: &Scene, name: &str, bytes: &[u8]) {
    let mut far = File::options().append(true).open(scene.far(name)).unwrap();
    far.write_all(bytes).unwrap();
}

/// > What another station changed is seen at the latest `--dir-cache-time` (10 s) after it, plus
/// > one listing, whatever the kernel remembers.
#[test]
fn what_another_station_changed_shows_within_the_directory_time() {
    let scene = embedded(&believed("2s", &LONG_KERNEL_TIMES), |far| {
        fs::write(far.join("grows"), b"1").unwrap();
        fs::write(far.join("goes"), b"1").unwrap();
        fs::write(far.join("turns"), b"1").unwrap();
    });
    let size = |name| fs::metadata(scene.near(name)).map(|found| found.len()).ok();
    assert_eq!((size("grows"), size("goes"), size("comes")), (Some(1), Some(1), None));
    assert!(fs::metadata(scene.near("turns")).unwrap().is_file());
    append(&scene, "grows", b"23");
    fs::remove_file(scene.far("goes")).unwrap();
    fs::write(scene.far("comes"), b"12345").unwrap();
    fs::remove_file(scene.far("turns")).unwrap();
    fs::create_dir(scene.far("turns")).unwrap();
    let limit = Duration::from_secs(2) + SLACK;
    eventually("a larger size", limit, || size("grows") == Some(3));
    eventually("a name gone", SLACK, || size("goes").is_none());
    eventually("a new name", SLACK, || size("comes") == Some(5));
    eventually("another kind", SLACK, || fs::metadata(scene.near("turns")).unwrap().is_dir());
    assert_eq!(fs::read(scene.near("comes")).unwrap(), b"12345");
}

/// > What this mount changed is seen at once by every program, and without another listing.
#[test]
fn what_we_write_shows_at_once_whatever_is_cached() {
    let scene = embedded(&believed("60s", &LONG_KERNEL_TIMES), |far| {
        fs::write(far.join("old"), b"old").unwrap();
    });
    let near = |name: &str| scene.near(name);
    let reader = File::open(near("old")).unwrap();
    let mut piece = [0; 3];
    reader.read_exact_at(&mut piece, 0).unwrap();
    assert!(!near("new").exists());
    fs::write(near("new"), b"12345").unwrap();
    assert_eq!(fs::metadata(near("new")).unwrap().len(), 5);
    fs::write(near("old"), b"other content").unwrap();
    assert_eq!(fs::read(near("old")).unwrap(), b"other content");
    reader.read_exact_at(&mut piece, 6).unwrap();
    assert_eq!(&piece, b"con", "also for who had it open before");
    fs::rename(near("new"), near("moved")).unwrap();
    assert!(!near("new").exists() && near("moved").exists());
    fs::create_dir(near("dir")).unwrap();
    fs::remove_file(near("moved")).unwrap();
    assert_eq!(shell(scene.mounted.path(), "ls"), b"dir\nold\n");
}

/// > The time of a file saved here stays as it was shown until the vehicle's file changes.
#[test]
fn the_time_of_our_own_save_stays() {
    let scene = embedded(&believed("1s", &["--attr-timeout", "0s"]), |_| ());
    fs::write(scene.near("file"), b"content").unwrap();
    let saved = fs::metadata(scene.near("file")).unwrap().mtime();
    // As on a vehicle with a clock of its own.
    let other = SystemTime::UNIX_EPOCH + Duration::from_secs(400_000_000);
    let far = File::options().write(true).open(scene.far("file")).unwrap();
    far.set_modified(other).unwrap();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(fs::metadata(scene.near("file")).unwrap().mtime(), saved);
    }
}

#[test]
fn directories_show_the_vehicles_times() {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    let scene = embedded(&[], |far| {
        fs::create_dir(far.join("dir")).unwrap();
        File::open(far.join("dir")).unwrap().set_modified(then).unwrap();
    });
    assert_eq!(fs::metadata(scene.near("dir")).unwrap().modified().unwrap(), then);
}

/// > A file that is larger than its listing says is given whole by the first read to its end.
#[test]
fn the_first_cat_of_a_file_that_grew_gives_all_of_it() {
    let names: Vec<String> = (0..20).map(|number| format!("log-{number}")).collect();
    let scene = embedded(&believed("60s", &LONG_KERNEL_TIMES), |far| {
        for (number, name) in names.iter().enumerate() {
            fs::write(far.join(name), noise(number as u64, 1 + 977 * number)).unwrap();
        }
    });
    for (number, name) in names.iter().enumerate() {
        assert_eq!(fs::metadata(scene.near(name)).unwrap().len(), 1 + 977 * number as u64);
        append(&scene, name, &noise(100, 30_000));
        let all = succeed("cat", &[scene.near(name)]);
        assert!(all == fs::read(scene.far(name)).unwrap(), "{name} gave {} bytes", all.len());
    }
}

/// > A file that grows goes on: `tail -f` shows what is added, at one question per
/// > `--dir-cache-time` and without a listing.
#[test]
fn tail_follows_a_file_that_grows_without_a_listing() {
    let (scene, tap) = tapped(&believed("1s", &[]), |far| {
        fs::write(far.join("log"), b"begun\n").unwrap();
        for number in 0..100 {
            fs::write(far.join(format!("other-{number}")), b"").unwrap();
        }
    });
    let log = scene.near("log");
    let tail = Ordinary::start("tail", &["-n", "+1", "-f", log.to_str().unwrap()]);
    let shows = |what: &[u8]| fs::read(tail.stdout_path()).unwrap() == what;
    let mut all = b"begun\n".to_vec();
    eventually("the beginning", SLACK, || shows(&all));
    tap.requests();
    for number in 0..4 {
        let more = [&noise(number, 3000)[..], b"\n"].concat();
        append(&scene, "log", &more);
        all.extend(more);
        eventually("what was appended", Duration::from_secs(5), || shows(&all));
    }
    let requests = tap.requests();
    assert!(!requests.iter().any(|request| LISTINGS.contains(request)), "{requests:?}");
    let opened = requests.iter().filter(|request| **request == OPEN).count();
    assert!((4..40).contains(&opened), "opened {opened} times");
}

/// > A read gives bytes of one content of the file, as far as sizes and times tell contents apart:
/// > who has a file open that shrank or was replaced gets ESTALE, or bytes of the old content that
/// > were fetched before, never a mixture.
#[test]
fn a_file_replaced_under_its_reader_is_stale_and_never_a_mixture() {
    const SIZE: usize = 300_000;
    let kinds = [
        ("same", SIZE, false),
        ("same-in-place", SIZE, true),
        ("smaller", SIZE / 2, false),
        ("smaller-in-place", SIZE / 2, true),
        ("tiny", 1, false),
    ];
    let scene = embedded(&believed("1s", &["--attr-timeout", "1s"]), |far| {
        for (name, _, _) in kinds {
            fs::write(far.join(name), noise(1, SIZE)).unwrap();
        }
    });
    let (old, half) = (noise(1, SIZE), SIZE / 2);
    let open = |name| File::open(scene.near(name)).unwrap();
    let readers: Vec<File> = kinds.iter().map(|(name, _, _)| open(name)).collect();
    let mut head = vec![0; half];
    for reader in &readers {
        reader.read_exact_at(&mut head, 0).unwrap();
        assert!(head == old[..half]);
    }
    // What is fetched ahead comes to its end, and the vehicle's idle session with it.
    std::thread::sleep(Duration::from_secs(2));
    for (name, size, in_place) in kinds {
        replace(&scene, name, &noise(2, size), in_place);
    }
    std::thread::sleep(Duration::from_millis(2200));
    for (reader, (name, size, _)) in readers.iter().zip(kinds) {
        let mut rest = vec![0; SIZE - half];
        match reader.read_exact_at(&mut rest, half as u64) {
            // All of it may have been fetched ahead, then.
            Ok(()) => assert!(rest == old[half..], "{name} is a mixture"),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{name}: {error}"),
        }
        assert!(fs::read(scene.near(name)).unwrap() == noise(2, size), "{name} opened anew");
    }
}

#[test]
fn a_file_open_below_a_directory_is_read_on_when_that_is_renamed_here() {
    const SIZE: usize = 2 << 20;
    let scene = embedded(&believed("1s", &[]), |far| {
        fs::create_dir_all(far.join("a/b")).unwrap();
        fs::write(far.join("a/b/file"), noise(1, SIZE)).unwrap();
    });
    let all = noise(1, SIZE);
    let reader = File::open(scene.near("a/b/file")).unwrap();
    let mut piece = vec![0; 5000];
    reader.read_exact_at(&mut piece, 0).unwrap();
    fs::rename(scene.near("a"), scene.near("c")).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    reader.read_exact_at(&mut piece, 1_500_000).unwrap();
    assert!(piece == all[1_500_000..1_505_000]);
    assert_eq!(reader.metadata().unwrap().nlink(), 1);
    assert!(fs::read(scene.near("c/b/file")).unwrap() == all);
    // Another station's renaming cannot be told from a removal.
    fs::rename(scene.far("c"), scene.far("d")).unwrap();
    eventually("the name gone", SLACK * 2, || !scene.near("c").exists());
    match reader.read_exact_at(&mut piece, 700_000) {
        Ok(()) => assert!(piece == all[700_000..705_000]),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{error}"),
    }
}

/// A file mapped for reading until it is dropped.
struct Mapped {
    start: *mut libc::c_void,
    length: usize,
}

impl Mapped {
    fn new(file: &File, length: usize) -> Mapped {
        let fd = file.as_raw_fd();
        // SAFETY: a new mapping of our own, checked below.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, fd, 0)
        };
        assert_ne!(start, libc::MAP_FAILED);
        Mapped { start, length }
    }

    /// A copy of its first bytes.
    fn read(&self, length: usize) -> Vec<u8> {
        assert!(length <= self.length);
        // SAFETY: within the mapping; nobody but the kernel changes it, and it is copied at once.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>(), length) }.to_vec()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping that was made, once.
        unsafe { libc::munmap(self.start, self.length) };
    }
}

/// > A file can be mapped for reading; pages of one that was replaced stay what they were, and a
/// > new mapping has the new.
#[test]
fn a_mapped_file_that_is_replaced_keeps_its_pages_and_a_new_mapping_has_the_new() {
    const SIZE: usize = 64 << 10;
    let scene = embedded(&believed("1s", &[]), |far| {
        fs::write(far.join("file"), noise(1, SIZE)).unwrap();
    });
    let old = File::open(scene.near("file")).unwrap();
    let mapped = Mapped::new(&old, SIZE);
    assert!(mapped.read(SIZE) == noise(1, SIZE));
    replace(&scene, "file", &noise(2, SIZE), false);
    let number = old.metadata().unwrap().ino();
    let replaced = || fs::metadata(scene.near("file")).unwrap().ino() != number;
    eventually("another file under the name", SLACK * 2, replaced);
    let new = File::open(scene.near("file")).unwrap();
    assert!(Mapped::new(&new, SIZE).read(SIZE) == noise(2, SIZE));
    assert!(mapped.read(SIZE) == noise(1, SIZE), "the old mapping changed under its reader");
}

/// > `df`, `stat` of the root, and `ls` of a directory whose listing is fresh send nothing.
#[test]
fn a_look_at_what_is_cached_sends_nothing() {
    let (scene, tap) = tapped(&believed("60s", &[]), |far| {
        fs::create_dir(far.join("dir")).unwrap();
        fs::write(far.join("dir/file"), noise(1, 100_000)).unwrap();
    });
    let root = scene.mounted.path();
    shell(root, "ls -lR && cat dir/file > /dev/null");
    // The idle file is closed after a second.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!tap.requests().is_empty(), "the tap hears nothing");
    shell(root, "stat . && df . && ls -lR && cat dir/file >/dev/null && test ! -e none");
    // Attributes expire after a second; listings do not.
    std::thread::sleep(Duration::from_millis(1500));
    shell(root, "stat . && df . && ls -lR && cat dir/file >/dev/null && test ! -e none");
    assert_eq!(tap.requests(), Vec::<u8>::new());
}

#[test]
fn nothing_of_another_vehicle_is_shown() {
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("file"), noise(2, 5000)).unwrap();
    fs::write(other.path().join("others"), b"").unwrap();
    fs::create_dir(other.path().join("dir")).unwrap();
    fs::write(other.path().join("dir/inside"), b"other").unwrap();
    let mut scene = embedded(&believed("60s", &LONG_KERNEL_TIMES), |far| {
        fs::write(far.join("file"), noise(1, 5000)).unwrap();
        fs::write(far.join("ours"), b"").unwrap();
        fs::create_dir(far.join("dir")).unwrap();
        fs::write(far.join("dir/inside"), b"first").unwrap();
    });
    let directory = File::open(scene.near("dir")).unwrap();
    let inside = format!("/proc/self/fd/{}/inside", directory.as_raw_fd());
    assert_eq!(fs::read(&inside).unwrap(), b"first");
    let reader = File::open(scene.near("file")).unwrap();
    let mapped = Mapped::new(&reader, 4096);
    assert!(mapped.read(4096) == noise(1, 4096));
    assert_eq!(shell(scene.mounted.path(), "ls"), b"dir\nfile\nours\n");
    scene.vehicle.kill();
    scene.vehicle = Vehicle::start(Server::Embedded, scene.port(), other.path());
    eventually("the other's files", Duration::from_secs(20), || scene.near("others").exists());
    assert_eq!(shell(scene.mounted.path(), "ls"), b"dir\nfile\nothers\n");
    assert!(!scene.near("ours").exists());
    assert!(fs::read(scene.near("file")).unwrap() == noise(2, 5000));
    assert_eq!(fs::read(&inside).unwrap(), b"other", "who is in a directory goes on");
    let stale = reader.read_exact_at(&mut [0; 10], 0).unwrap_err();
    assert_eq!(stale.raw_os_error(), Some(libc::ESTALE));
}

/// A call for an extended attribute; its value, or the errno.
fn getxattr(path: &Path, name: &str) -> Result<Vec<u8>, i32> {
    let (path, name) = (CString::new(path.as_os_str().as_bytes()).unwrap(), CString::new(name));
    let (name, mut value) = (name.unwrap(), vec![0_u8; 64]);
    // SAFETY: terminated strings and a buffer that outlive the call, with its true length.
    let count = unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    match usize::try_from(count) {
        Ok(count) => Ok(value[..count].to_vec()),
        Err(_) => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
    }
}

/// > Extended attributes do not exist, save `user.mavftp.crc32`: reading another is ENODATA,
/// > setting one EOPNOTSUPP.
///
/// > `user.mavftp.crc32` of a file of up to 2 MiB is the vehicle's own CRC32 of it, asked each
/// > time; it is never listed.
#[test]
fn the_checksum_of_a_file_is_an_attribute_that_nothing_asks_for_by_itself() {
    const ATTRIBUTE: &str = "user.mavftp.crc32";
    let (scene, tap) = tapped(&believed("60s", &[]), |far| {
        fs::write(far.join("file"), noise(1, 100_000)).unwrap();
        fs::write(far.join("large"), noise(2, (2 << 20) + 1)).unwrap();
    });
    let expected = format!("{:08x}", Checksum::of(&noise(1, 100_000)));
    assert_eq!(getxattr(&scene.near("file"), ATTRIBUTE), Ok(expected.into_bytes()));
    assert!(tap.requests().contains(&CHECKSUM));
    assert_eq!(getxattr(&scene.near("large"), ATTRIBUTE), Err(libc::EFBIG));
    assert_eq!(getxattr(&scene.near("file"), "user.other"), Err(libc::ENODATA));
    assert_eq!(getxattr(scene.mounted.path(), ATTRIBUTE), Err(libc::ENODATA));
    let local = tempfile::tempdir().unwrap();
    let copy = local.path().join("copy");
    shell(scene.mounted.path(), "ls -l");
    succeed("cp", &["-a", scene.near("file").to_str().unwrap(), copy.to_str().unwrap()]);
    succeed("cp", &["-a", copy.to_str().unwrap(), scene.near("back").to_str().unwrap()]);
    let script = "import os, sys
assert os.listxattr(sys.argv[1]) == []
try: os.setxattr(sys.argv[1], 'user.x', b'1')
except OSError as error: sys.exit(error.errno)";
    let file = scene.near("file");
    let arguments = ["-c", script, file.to_str().unwrap()];
    let refused = support::program::run_within(Duration::from_secs(20), "python3", &arguments);
    assert_eq!(refused.status.code(), Some(libc::EOPNOTSUPP), "{refused:?}");
    // One checksum is the save's own check of what it sent.
    let sums = tap.requests().iter().filter(|request| **request == CHECKSUM).count();
    assert!(sums <= 1, "{sums} checksums were asked for");
}
