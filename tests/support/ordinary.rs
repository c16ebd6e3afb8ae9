//! What ordinary programs do with a mounted vehicle, every byte compared. The same for every
//! server: `tests/mount.rs` and `tests/interop.rs` call these. Must not know which server it is.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::mounted::{LINK_TIMEOUT, OP_TIMEOUT, Scene};
use super::program::{Ordinary, eventually, fail, run_within, shell, succeed};

/// Around packets (239 bytes), pages (4096 bytes) and the read-ahead.
const SIZES: [usize; 10] = [0, 1, 238, 239, 240, 4095, 4096, 4097, 70_001, (1 << 20) + 7];
/// Large enough that no server is done with it before it is killed.
pub const LONG_FILE_BYTES: usize = 48 << 20;
/// Programs that wait at once for a vehicle that is dead.
const WAITING: usize = 64;
/// For what needs no wire, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);
/// On top of a timeout until a program has ended.
const SLACK: Duration = Duration::from_secs(5);
/// Heartbeat, identity and a first answer after a restart.
const RETURN_TIME: Duration = Duration::from_secs(20);

/// Bytes without a pattern, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Files of [`SIZES`] called `size-N`.
pub fn fill_with_sizes(directory: &Path) {
    for (seed, size) in SIZES.into_iter().enumerate() {
        fs::write(directory.join(format!("size-{size}")), noise(seed as u64, size)).unwrap();
    }
}

/// cp out of the mount.
pub fn copies_out(scene: &Scene) {
    let local = tempfile::tempdir().unwrap();
    for size in SIZES {
        let name = format!("size-{size}");
        succeed("cp", &[scene.near(&name).as_path(), local.path()]);
        same(&local.path().join(&name), &scene.far(&name));
    }
}

/// cp into the mount, onto new names and over old ones, and back out.
pub fn copies_in(scene: &Scene) {
    let local = tempfile::tempdir().unwrap();
    for (seed, size) in SIZES.into_iter().enumerate() {
        for (round, name) in [(100, format!("new-{size}")), (200, "again".to_string())] {
            let source = local.path().join(&name);
            fs::write(&source, noise(round + seed as u64, size)).unwrap();
            succeed("cp", &[&source, &scene.near(&name)]);
            same(&scene.far(&name), &source);
            succeed("cmp", &[&scene.near(&name), &source]);
        }
    }
    no_leftovers(scene);
}

/// dd at offsets and lengths that fit no boundary.
pub fn reads_at_odd_offsets(scene: &Scene) {
    let size = (1 << 20) + 7;
    let name = format!("size-{size}");
    let whole = fs::read(scene.far(&name)).unwrap();
    for (offset, length) in
        [(0, 1), (1, 777), (238, 3), (4095, 2), (123_457, 70_001), (size - 5, 5), (size - 5, 500)]
    {
        let from = format!("if={}", scene.near(&name).display());
        let (skip, count) = (format!("skip={offset}"), format!("count={length}"));
        let flags = "iflag=skip_bytes,count_bytes";
        let read = succeed("dd", &[&from, "bs=7001", &skip, &count, flags, "status=none"]);
        let end = whole.len().min(offset + length);
        assert!(read == whole[offset..end], "dd of {length} bytes at {offset} differs");
    }
}

/// dd into the middle of a file, which stays as it was around that.
pub fn writes_at_odd_offsets(scene: &Scene) {
    let name = "size-70001";
    let mut expected = fs::read(scene.far(name)).unwrap();
    let piece = tempfile::NamedTempFile::new().unwrap();
    for (seed, (offset, length)) in [(3, 5), (239, 478), (33_333, 20_011)].into_iter().enumerate() {
        let bytes = noise(300 + seed as u64, length);
        fs::write(piece.path(), &bytes).unwrap();
        let from = format!("if={}", piece.path().display());
        let to = format!("of={}", scene.near(name).display());
        let seek = format!("seek={offset}");
        let flags = "oflag=seek_bytes";
        succeed("dd", &[&from, &to, "bs=1003", &seek, flags, "conv=notrunc", "status=none"]);
        expected[offset..offset + length].copy_from_slice(&bytes);
        holds(&scene.far(name), &expected);
    }
    no_leftovers(scene);
}

/// A shell's `>` and `>>`, and an editor that replaces the file.
pub fn appends_and_edits(scene: &Scene) {
    let point = scene.mounted.path();
    shell(point, "printf 'one\\n' > log && printf 'two\\n' >> log");
    holds(&scene.far("log"), b"one\ntwo\n");
    shell(point, "for n in 3 4 5; do echo $n >> log; done");
    holds(&scene.far("log"), b"one\ntwo\n3\n4\n5\n");
    shell(point, "sed -i s/two/2/ log");
    holds(&scene.far("log"), b"one\n2\n3\n4\n5\n");
    assert_eq!(shell(point, "cat log"), b"one\n2\n3\n4\n5\n");
    shell(point, "printf tail >> size-4097");
    let mut expected = noise(7, 4097);
    expected.extend_from_slice(b"tail");
    holds(&scene.far("size-4097"), &expected);
    no_leftovers(scene);
}

/// mv: to a free name, over a file, into a directory, and of a directory with what is in it.
pub fn moves(scene: &Scene) {
    let point = scene.mounted.path();
    shell(point, "mv size-239 renamed");
    holds(&scene.far("renamed"), &noise(3, 239));
    assert!(!scene.far("size-239").exists());
    shell(point, "mv size-240 renamed");
    holds(&scene.far("renamed"), &noise(4, 240));
    assert!(!scene.far("size-240").exists());
    shell(point, "mkdir folder && mv renamed folder && mv folder other");
    holds(&scene.far("other/renamed"), &noise(4, 240));
    assert_eq!(shell(point, "cat other/renamed"), noise(4, 240));
    fail("ls", &[scene.near("folder")]);
}

/// rm, mkdir, rmdir, and what they refuse.
pub fn makes_and_removes(scene: &Scene) {
    let point = scene.mounted.path();
    shell(point, "mkdir -p a/b/c && cp size-1 a/b/c/file");
    holds(&scene.far("a/b/c/file"), &noise(1, 1));
    refuses(&fail("rmdir", &[scene.near("a/b/c")]), "not empty");
    refuses(&fail("mkdir", &[scene.near("a")]), "File exists");
    refuses(&fail("rm", &[scene.near("nowhere")]), "No such file");
    refuses(&fail("rm", &[scene.near("a")]), "Is a directory");
    refuses(&fail("rmdir", &[scene.near("size-1")]), "Not a directory");
    // MAVSDK's server ends when a file is listed: nothing of the kind may reach it.
    refuses(&fail("cat", &[scene.near("size-1/below")]), "Not a directory");
    shell(point, "rm a/b/c/file && rmdir a/b/c && rm -r a && rm size-4095");
    assert!(!scene.far("a").exists() && !scene.far("size-4095").exists());
    refuses(&fail("cat", &[scene.near("size-4095")]), "No such file");
}

/// truncate: shorter, longer, to nothing.
pub fn truncates(scene: &Scene) {
    let point = scene.mounted.path();
    let mut expected = noise(8, 70_001);
    for length in [50_003, 60_000, 0, 5] {
        shell(point, &format!("truncate -s {length} size-70001"));
        expected.resize(length, 0);
        holds(&scene.far("size-70001"), &expected);
        assert_eq!(shell(point, "cat size-70001"), expected);
    }
}

/// ls -l: names, kinds, sizes and times, as they are on the far side.
pub fn lists(scene: &Scene) {
    let point = scene.mounted.path();
    let facts = "stat -c '%n %F %Y' * && stat -c '%n %s' 'with space' 'größe' size-*";
    assert_eq!(text(shell(point, facts)), text(shell(&scene.far(""), facts)));
    let listed = text(shell(point, "ls -lA | tail -n +2 | grep -c ^"));
    assert_eq!(listed.trim(), (SIZES.len() + 3).to_string());
}

/// The files of [`lists`]: [`fill_with_sizes`], two uncommon names and a directory.
pub fn fill_with_names(directory: &Path) {
    fill_with_sizes(directory);
    fs::create_dir(directory.join("folder")).unwrap();
    fs::write(directory.join("with space"), b"12345").unwrap();
    fs::write(directory.join("größe"), b"1234567").unwrap();
}

/// `ls -l` of a thousand files, sizes included.
pub fn lists_a_thousand(scene: &Scene) {
    let listing = "ls -l many | tail -n +2 | awk '{print $5, $9}'";
    let near = text(shell(scene.mounted.path(), listing));
    assert_eq!(near.lines().count(), THOUSAND);
    assert_eq!(near, text(shell(&scene.far(""), listing)));
}

const THOUSAND: usize = 1000;

/// The files of [`lists_a_thousand`].
pub fn fill_with_a_thousand(directory: &Path) {
    fs::create_dir(directory.join("many")).unwrap();
    for number in 0..THOUSAND {
        let name = format!("many/log_{number:04}.ulg");
        fs::write(directory.join(name), noise(number as u64, number % 300)).unwrap();
    }
}

/// The vehicle dies under a cat; that ends in bounded time, and works again once it is back.
pub fn survives_a_killed_server(scene: &mut Scene) {
    let mut cat = Ordinary::start("cat", &[scene.near("long")]);
    let received = cat.stdout_path();
    eventually("the first bytes", OP_TIMEOUT + SLACK, || size(&received) > 0);
    scene.vehicle.kill();
    let status = cat.wait(OP_TIMEOUT + LINK_TIMEOUT + SLACK).expect("cat waits for the dead");
    assert!(!status.success(), "cat succeeded without a vehicle");
    let (received, whole) = (fs::read(received).unwrap(), fs::read(scene.far("long")).unwrap());
    assert!(received.len() < whole.len(), "it was done before the vehicle was killed");
    assert!(whole.starts_with(&received), "cat got bytes that are not the file's");

    scene.restart_vehicle();
    eventually("the mount works again", RETURN_TIME, || {
        run_within(RETURN_TIME, "cat", &[scene.near("short")]).status.success()
    });
    succeed("cmp", &[scene.near("short"), scene.far("short")]);
    shell(scene.mounted.path(), "echo back > note");
    holds(&scene.far("note"), b"back\n");
}

/// The file that the vehicle dies under, and one to come back to.
pub fn fill_for_a_killed_server(directory: &Path) {
    fs::write(directory.join("long"), noise(1, LONG_FILE_BYTES)).unwrap();
    fs::write(directory.join("short"), noise(2, 12_345)).unwrap();
}

/// Options under which programs still wait while [`answers_while_others_wait`] looks.
pub const PATIENT: [&str; 4] = ["--op-timeout", "6s", "--link-timeout", "6s"];

/// With the vehicle dead and many waiting, what needs no wire is answered at once.
pub fn answers_while_others_wait(scene: &mut Scene) {
    let point = scene.mounted.path().to_path_buf();
    let listed = shell(&point, "ls");
    scene.vehicle.kill();
    let start = |number| Ordinary::start("cat", &[scene.near(&format!("wait-{number}"))]);
    let mut waiting: Vec<Ordinary> = (0..WAITING).map(start).collect();

    for _ in 0..3 {
        let disk = run_within(AT_ONCE, "df", &[&point]);
        assert!(disk.status.success(), "{}", text(disk.stderr));
        let again = run_within(AT_ONCE, "ls", &[&point]);
        assert_eq!(text(again.stdout), text(listed.clone()));
    }
    let running = waiting.iter_mut().filter_map(|cat| cat.is_running().then_some(())).count();
    assert_eq!(running, WAITING, "they were to wait meanwhile");

    let deadline = Instant::now() + Duration::from_secs(6 + 6) + SLACK;
    for cat in &mut waiting {
        let status = cat.wait(deadline.saturating_duration_since(Instant::now()));
        assert!(!status.expect("cat waits for the dead").success());
    }
}

/// The files of [`answers_while_others_wait`].
pub fn fill_for_waiting(directory: &Path) {
    for number in 0..WAITING {
        fs::write(directory.join(format!("wait-{number}")), noise(number as u64, 9_000)).unwrap();
    }
}

/// No temporary upload stays behind on the far side.
fn no_leftovers(scene: &Scene) {
    for entry in fs::read_dir(scene.far("")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with(".mavftp-"), "{name:?} was left behind");
    }
}

/// The file holds these bytes and no others.
pub fn holds(path: &Path, expected: &[u8]) {
    let held = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (path, lengths) = (path.display(), (held.len(), expected.len()));
    assert!(held == expected, "{path} differs (bytes held, expected: {lengths:?})");
}

fn same(one: &Path, other: &Path) {
    holds(one, &fs::read(other).unwrap());
}

/// A program gave this reason.
pub fn refuses(complaint: &str, reason: &str) {
    assert!(complaint.contains(reason), "expected {reason:?}, got: {complaint}");
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What a program printed.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
