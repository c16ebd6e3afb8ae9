//! Kernel mounts of three FTP servers that nobody here wrote, plain and over TLS: the same behaviours
//! over every combination. Needs /dev/fuse, root, and the servers that scripts/test unpacks.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

mod support;

use support::ftp::FtpScene;
use support::ftp::servers::{Kind, Manners, Security};
use support::ordinary::{holds, noise, refuses, text};
use support::program::{fail, shell, succeed};

/// Long enough for a server that shares two processors with eight others.
const OPTIONS: [&str; 2] = ["--op-timeout", "10s"];
const LARGE_BYTES: usize = 64 << 20;
/// Of the large file where the short run does not take all of it.
const LESS_BYTES: usize = 6 << 20;
const SMALL_FILES: usize = 300;
const FEWER_FILES: usize = 40;
const MANY_ENTRIES: usize = 2000;
const RANDOM_READS: u64 = 60;
/// Twice what is read of it before it is replaced, and no more than is read ahead.
const HALF_READ_BYTES: usize = 2 << 20;
/// 2023-05-06 07:08:09 UTC: so long ago that LIST shows no time of day.
const LONG_AGO: u64 = 1_683_356_889;
/// Names that some server or client trips over.
const NAMES: [&str; 9] = [
    "with space",
    "two  spaces",
    "-dash",
    "--long=dash",
    "größe",
    "日本語",
    "100%",
    "%41%20",
    "a;b=c,d",
];

#[test]
fn programs_work_on_vsftpd() {
    everything(Kind::Vsftpd, Security::Plain);
}

#[test]
fn programs_work_on_vsftpd_with_explicit_tls() {
    everything(Kind::Vsftpd, Security::Explicit);
}

#[test]
fn programs_work_on_vsftpd_with_implicit_tls() {
    everything(Kind::Vsftpd, Security::Implicit);
}

#[test]
fn programs_work_on_proftpd() {
    everything(Kind::Proftpd, Security::Plain);
}

#[test]
fn programs_work_on_proftpd_with_explicit_tls() {
    everything(Kind::Proftpd, Security::Explicit);
}

#[test]
fn programs_work_on_proftpd_with_implicit_tls() {
    everything(Kind::Proftpd, Security::Implicit);
}

#[test]
fn programs_work_on_pyftpdlib() {
    everything(Kind::Pyftpdlib, Security::Plain);
}

#[test]
fn programs_work_on_pyftpdlib_with_explicit_tls() {
    everything(Kind::Pyftpdlib, Security::Explicit);
}

#[test]
fn programs_work_on_pyftpdlib_with_implicit_tls() {
    everything(Kind::Pyftpdlib, Security::Implicit);
}

/// How much of it: all of it on a third of the combinations, each server and each protection once,
/// and on all of them in the full run.
struct Extent {
    large_bytes: usize,
    small_files: usize,
}

impl Extent {
    fn of(kind: Kind, security: Security) -> Extent {
        let whole = match kind {
            Kind::Vsftpd => security == Security::Explicit,
            Kind::Proftpd => security == Security::Implicit,
            Kind::Pyftpdlib => security == Security::Plain,
        };
        match whole || std::env::var_os("MAVFTP_FULL").is_some() {
            true => Extent { large_bytes: LARGE_BYTES, small_files: SMALL_FILES },
            false => Extent { large_bytes: LESS_BYTES, small_files: FEWER_FILES },
        }
    }
}

fn everything(kind: Kind, security: Security) {
    let began = Instant::now();
    let extent = Extent::of(kind, security);
    let large = noise(1, extent.large_bytes);
    let scene = FtpScene::new((kind, security, Manners::default()), &OPTIONS, |folder| {
        fill(folder, &large);
    });
    println!("{kind:?}, {security:?}: mounted: {:?}", began.elapsed());
    let behaviours: [(&str, &dyn Fn()); 11] = [
        ("lists", &|| lists(&scene)),
        ("reads", &|| reads(&scene, &large)),
        ("lists many", &|| lists_many(&scene)),
        ("writes", &|| writes(&scene)),
        ("writes nothing", &|| writes_nothing(&scene)),
        ("replaces what is half read", &|| replaces_what_is_half_read(&scene)),
        ("renames", &|| renames(&scene)),
        ("makes and removes", &|| makes_and_removes(&scene)),
        ("small files", &|| small_files(&scene, extent.small_files)),
        ("odd names", &|| odd_names(&scene)),
        ("leaves nothing behind", &|| leaves_nothing_behind(&scene)),
    ];
    // One that fails says nothing of the others: all of them are told.
    let mut failed = Vec::new();
    for (name, behaviour) in behaviours {
        let began = Instant::now();
        if panic::catch_unwind(AssertUnwindSafe(behaviour)).is_err() {
            failed.push(name);
        }
        println!("{kind:?}, {security:?}: {name}: {:?}", began.elapsed());
    }
    assert!(failed.is_empty(), "{kind:?}, {security:?}: {failed:?}");
}

fn fill(folder: &Path, large: &[u8]) {
    fs::write(folder.join("large"), large).unwrap();
    fs::create_dir(folder.join("listed")).unwrap();
    fs::create_dir(folder.join("listed/Folder")).unwrap();
    for (number, name) in NAMES.into_iter().chain(["empty"]).enumerate() {
        let bytes = if name == "empty" { Vec::new() } else { noise(2, 1000 + number) };
        let path = folder.join("listed").join(name);
        fs::write(&path, bytes).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(LONG_AGO);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }
    fs::create_dir(folder.join("others")).unwrap();
    fs::create_dir(folder.join("many")).unwrap();
    for number in 0..MANY_ENTRIES {
        let (first, path) = (number % 7, folder.join(format!("many/log {number:04}.ulg")));
        // Links are made sooner than files.
        match number == first {
            true => fs::write(path, noise(3, first * 1111)).unwrap(),
            false => fs::hard_link(folder.join(format!("many/log {first:04}.ulg")), path).unwrap(),
        }
    }
}

/// Names, kinds, sizes and times as they are on the server's disk, and every byte of what is listed.
fn lists(scene: &FtpScene) {
    let facts = "cd listed && stat -c '%n %F' -- * && stat -c '%n %s' -- [!F]*";
    let near = text(shell(scene.mounted.path(), facts));
    assert_eq!(near, text(shell(&scene.far(""), facts)));
    assert_eq!(near.lines().count(), 2 * NAMES.len() + 3);
    for name in NAMES.into_iter().chain(["empty"]) {
        let read = succeed("cat", &[scene.near("listed").join(name)]);
        assert!(read == fs::read(scene.far("listed").join(name)).unwrap(), "{name} differs");
    }
    // LIST, all that vsftpd has, shows the day alone.
    let slack = if scene.server.kind() == Kind::Vsftpd { 24 * 60 * 60 } else { 0 };
    for line in text(shell(scene.mounted.path(), "stat -c '%Y %n' -- listed/[!F]*")).lines() {
        let time: u64 = line.split(' ').next().unwrap().parse().unwrap();
        assert!(time.abs_diff(LONG_AGO) <= slack, "{line}, not {LONG_AGO}");
    }
    refuses(&fail("cat", &[scene.near("listed/nowhere")]), "No such file");
    refuses(&fail("ls", &[scene.near("nowhere/at all")]), "No such file");
}

/// From the middle, piece by piece at random, and as a whole.
fn reads(scene: &FtpScene, large: &[u8]) {
    let resumed = large.len() / 2 + 12_345;
    let from = format!("if={}", scene.near("large").display());
    let skip = format!("skip={resumed}");
    let rest = succeed("dd", &[&from, "bs=65536", &skip, "iflag=skip_bytes", "status=none"]);
    assert!(rest == large[resumed..], "what follows {resumed} differs");

    let (mut script, mut expected, mut state) = (String::new(), Vec::new(), 7_u64);
    for _ in 0..RANDOM_READS {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 20) as usize % (large.len() - 4096);
        let length = 1 + (state >> 50) as usize % 4096;
        let flags = "bs=4096 iflag=skip_bytes,count_bytes status=none";
        writeln!(script, "dd if=large skip={at} count={length} {flags}").unwrap();
        expected.extend_from_slice(&large[at..at + length]);
    }
    let pieces = shell(scene.mounted.path(), &script);
    assert!(pieces == expected, "pieces at random differ");

    // A new opening asks the server again; the dd above has read the second half.
    succeed("cmp", &[scene.near("large"), scene.far("large")]);
    let local = tempfile::tempdir().unwrap();
    succeed("cp", &[scene.near("large").as_path(), local.path()]);
    holds(&local.path().join("large"), large);
}

fn lists_many(scene: &FtpScene) {
    let listing = "ls -l many | tail -n +2 | awk '{print $5, $NF}'";
    let near = text(shell(scene.mounted.path(), listing));
    assert_eq!(near.lines().count(), MANY_ENTRIES);
    assert_eq!(near, text(shell(&scene.far(""), listing)));
}

/// Onto a new name, longer and shorter over the old one, in the middle, and at the end.
fn writes(scene: &FtpScene) {
    let local = tempfile::NamedTempFile::new().unwrap();
    for (seed, length) in [(10, 100_000), (11, (1 << 20) + 7), (12, 4097), (13, 1)] {
        let bytes = noise(seed, length);
        fs::write(local.path(), &bytes).unwrap();
        succeed("cp", &[local.path(), &scene.near("written")]);
        scene.holds("written", &bytes);
        succeed("cmp", &[local.path(), &scene.near("written")]);
    }
    let mut bytes = noise(14, 70_001);
    fs::write(local.path(), &bytes).unwrap();
    succeed("cp", &[local.path(), &scene.near("written")]);
    shell(
        scene.mounted.path(),
        "printf middle | dd of=written bs=1 seek=33333 conv=notrunc status=none",
    );
    bytes[33_333..33_339].copy_from_slice(b"middle");
    scene.holds("written", &bytes);
    shell(scene.mounted.path(), "printf 'end\\r\\n' >> written");
    bytes.extend_from_slice(b"end\r\n");
    scene.holds("written", &bytes);
    shell(scene.mounted.path(), "truncate -s 65537 written");
    bytes.truncate(65_537);
    scene.holds("written", &bytes);
    assert!(succeed("cat", &[scene.near("written")]) == bytes);
}

/// An empty file, and a full one that becomes empty.
fn writes_nothing(scene: &FtpScene) {
    shell(scene.mounted.path(), "touch nothing && echo full > emptied && : > emptied");
    for name in ["nothing", "emptied"] {
        scene.holds(name, b"");
        assert_eq!(succeed("cat", &[scene.near(name)]), b"");
        assert_eq!(fs::metadata(scene.near(name)).unwrap().len(), 0);
    }
}

/// By a file of the same size, through the mount: whoever reads next gets nothing of the old one, from
/// wherever, also when a download of it still stands in its middle.
fn replaces_what_is_half_read(scene: &FtpScene) {
    let local = tempfile::NamedTempFile::new().unwrap();
    for (seed, how) in (30..).zip(["cp -f", "mv"]) {
        let bytes = noise(seed, HALF_READ_BYTES);
        fs::write(local.path(), &bytes).unwrap();
        succeed("cp", &[local.path(), &scene.near("half")]);
        let half = "dd if=half bs=65536 count=16 status=none";
        assert!(bytes.starts_with(&shell(scene.mounted.path(), half)), "{how}: the first half");
        let bytes = noise(seed + 10, HALF_READ_BYTES);
        fs::write(local.path(), &bytes).unwrap();
        succeed("cp", &[local.path(), &scene.near("other half")]);
        shell(scene.mounted.path(), &format!("{how} 'other half' half"));
        let rest = "dd if=half bs=65536 skip=16 status=none";
        assert!(bytes.ends_with(&shell(scene.mounted.path(), rest)), "{how}: the second half");
        assert!(shell(scene.mounted.path(), "cat half") == bytes, "{how}: the whole");
        scene.holds("half", &bytes);
    }
    shell(scene.mounted.path(), "rm -f half 'other half'");
}

/// To a free name, over another file, into another folder, and a folder with what is in it.
fn renames(scene: &FtpScene) {
    let point = scene.mounted.path();
    shell(point, "echo one > one && echo two > two && mv one three");
    scene.holds("three", b"one\n");
    assert!(!scene.far("one").exists());
    shell(point, "mv two three");
    scene.holds("three", b"two\n");
    assert!(!scene.far("two").exists());
    shell(point, "mkdir from && mv three from && mv from 'to there'");
    scene.holds("to there/three", b"two\n");
    assert!(!scene.far("from").exists());
    assert_eq!(shell(point, "cat 'to there/three'"), b"two\n");
    refuses(&fail("cat", &[scene.near("from/three")]), "No such file");
    refuses(&fail("mv", &[scene.near("nowhere"), scene.near("x")]), "No such file");
}

/// What each refusal is, whatever the server says, or does not say, of it.
fn makes_and_removes(scene: &FtpScene) {
    let point = scene.mounted.path();
    shell(point, "mkdir -p a/b/c && echo file > a/b/c/file");
    scene.holds("a/b/c/file", b"file\n");
    refuses(&fail("rmdir", &[scene.near("a/b/c")]), "not empty");
    refuses(&fail("rmdir", &[scene.near("a/b")]), "not empty");
    refuses(&fail("mkdir", &[scene.near("a")]), "File exists");
    refuses(&fail("rm", &[scene.near("nowhere")]), "No such file");
    refuses(&fail("rmdir", &[scene.near("nowhere")]), "No such file");
    refuses(&fail("rm", &[scene.near("a")]), "Is a directory");
    refuses(&fail("rmdir", &[scene.near("a/b/c/file")]), "Not a directory");
    refuses(&fail("cat", &[scene.near("a/b/c/file/below")]), "Not a directory");
    // Somebody else has put something there since it was listed.
    shell(point, "mkdir behind && ls behind");
    fs::write(scene.far("behind/unseen"), b"").unwrap();
    scene.server.own();
    refuses(&fail("rmdir", &[scene.near("behind")]), "not empty");
    assert!(scene.far("behind/unseen").exists() && scene.far("a/b/c/file").exists());
    fs::remove_file(scene.far("behind/unseen")).unwrap();
    shell(point, "rm a/b/c/file && rmdir a/b/c behind && rm -r a");
    assert!(!scene.far("a").exists() && !scene.far("behind").exists());
    refuses(&fail("cat", &[scene.near("a/b/c/file")]), "No such file");
}

/// Written, read by a program that did not write them, and removed.
fn small_files(scene: &FtpScene, count: usize) {
    let point = scene.mounted.path();
    let local = tempfile::tempdir().unwrap();
    for number in 0..count {
        let bytes = noise(1000 + number as u64, number * 37 % 5000);
        fs::write(local.path().join(format!("small-{number}")), bytes).unwrap();
    }
    let to = scene.near("small");
    succeed("cp", &[Path::new("-r"), local.path(), &to]);
    succeed("diff", &[Path::new("-r"), local.path(), &scene.far("small")]);
    succeed("diff", &[Path::new("-r"), local.path(), &to]);
    // Others than the mount wrote itself, of which it knows nothing yet.
    for file in fs::read_dir(local.path()).unwrap().map(|file| file.unwrap()) {
        fs::copy(file.path(), scene.far("others").join(file.file_name())).unwrap();
    }
    scene.server.own();
    succeed("diff", &[Path::new("-r"), local.path(), &scene.near("others")]);
    shell(point, "rm -r small others");
    assert!(!scene.far("small").exists() && !scene.far("others").exists());
}

/// Written, listed, renamed, made into folders, removed.
fn odd_names(scene: &FtpScene) {
    shell(scene.mounted.path(), "mkdir odd");
    for name in NAMES {
        let quoted = format!("./'{name}'");
        shell(
            &scene.near("odd"),
            &format!(
                "echo 1 > {quoted} && mv {quoted} ./x{quoted2} && mv ./x{quoted2} {quoted}",
                quoted2 = &quoted[2..]
            ),
        );
        scene.holds(&format!("odd/{name}"), b"1\n");
    }
    let near: BTreeSet<String> =
        text(shell(&scene.near("odd"), "ls")).lines().map(str::to_owned).collect();
    assert_eq!(near, NAMES.into_iter().map(str::to_owned).collect());
    for name in NAMES {
        let quoted = format!("./'{name}'");
        let inside =
            format!("mkdir {quoted} && echo 2 > {quoted}/{quoted} && cat {quoted}/{quoted}");
        assert_eq!(shell(&scene.near("odd"), &format!("rm {quoted} && {inside}")), b"2\n");
        scene.holds(&format!("odd/{name}/{name}"), b"2\n");
    }
    shell(scene.mounted.path(), "rm -r odd");
    assert!(!scene.far("odd").exists());
}

fn leaves_nothing_behind(scene: &FtpScene) {
    let known = ["emptied", "large", "listed", "many", "nothing", "to there", "written"];
    let names = fs::read_dir(scene.far("")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), known.into_iter().map(str::to_owned).collect());
}
