//! The verbs over a far side in memory.

use super::*;
use crate::remote::memory::MemoryRemote;
use std::io::{Read, Seek};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A vehicle that answers from another thread, as a real one does.
pub(super) struct Bench {
    pub(super) vehicle: Vehicle,
    pub(super) memory: Arc<MemoryRemote>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Bench {
    pub(super) fn with(files: &[(&str, &[u8])]) -> Bench {
        let memory = MemoryRemote::with(files.iter().copied());
        let stop = Arc::new(AtomicBool::new(false));
        let (stepped, stopping) = (memory.clone(), stop.clone());
        let thread = thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                if !stepped.step() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let vehicle = Vehicle::over(memory.clone(), Duration::from_secs(10));
        Bench { vehicle, memory, stop, thread: Some(thread) }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

pub(super) fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

pub(super) fn some_bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 31 % 251) as u8).collect()
}

pub(super) fn local(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

pub(super) fn kind(error: Error) -> remote::Error {
    match error {
        Error::Remote { error, .. } => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_listing_is_sorted_and_hides_our_unfinished_uploads() {
    let bench = Bench::with(&[("/b", b"1"), ("/a", b"22"), ("/.mavftp-0011aaff~", b"")]);
    let names: Vec<_> =
        bench.vehicle.list(&path("/")).unwrap().iter().map(|e| e.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_file_is_never_listed_but_shows_its_own_entry() {
    // The memory remote panics when a file is listed.
    let bench = Bench::with(&[("/d/a", b"22")]);
    let entries = bench.vehicle.list(&path("/d/a")).unwrap();
    assert_eq!((entries.len(), entries[0].size), (1, 2));
    assert_eq!(kind(bench.vehicle.list(&path("/d/x")).unwrap_err()), remote::Error::NotFound);
}

#[test]
fn a_file_longer_than_one_request_is_read_in_order() {
    let bytes = some_bytes((9 << 20) + 17);
    let bench = Bench::with(&[("/log", &bytes)]);
    let mut out = Vec::new();
    let (mut last, mut total) = (0, None);
    let count = bench
        .vehicle
        .read_to(&path("/log"), &mut out, &mut |done, size| {
            assert!(done > last);
            (last, total) = (done, size);
        })
        .unwrap();
    assert_eq!((count, last, total), (bytes.len() as u64, count, Some(count)));
    assert!(out == bytes);
}

#[test]
fn an_empty_file_is_read_as_nothing() {
    let bench = Bench::with(&[("/empty", b"")]);
    let mut out = Vec::new();
    assert_eq!(bench.vehicle.read_to(&path("/empty"), &mut out, &mut |_, _| {}).unwrap(), 0);
    assert_eq!(bench.vehicle.fetch(&path("/empty"), &local(b""), &mut |_, _| {}).unwrap(), 0);
}

#[test]
fn a_fetched_file_is_the_file() {
    let bytes = some_bytes(100_000);
    let bench = Bench::with(&[("/log", &bytes)]);
    let mut file = local(b"");
    assert_eq!(bench.vehicle.fetch(&path("/log"), &file, &mut |_, _| {}).unwrap(), 100_000);
    let mut copied = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut copied).unwrap();
    assert!(copied == bytes);
}

#[test]
fn a_file_longer_than_one_request_is_fetched_whole() {
    let content = some_bytes((32 << 20) + 5);
    let bench = Bench::with(&[("/log", &content)]);
    let target = local(b"");
    let mut last = 0;
    let mut progress = |done, _: Option<u64>| last = done;
    let size = bench.vehicle.fetch(&path("/log"), &target, &mut progress).unwrap();
    assert_eq!((size, last), (content.len() as u64, content.len() as u64));
    let mut fetched = vec![0; content.len()];
    std::os::unix::fs::FileExt::read_exact_at(&target, &mut fetched, 0).unwrap();
    assert!(fetched == content, "the bytes differ");
}

#[test]
fn a_directory_is_not_read() {
    let bench = Bench::with(&[("/d/a", b"1")]);
    let error = bench.vehicle.read_to(&path("/d"), &mut Vec::new(), &mut |_, _| {}).unwrap_err();
    assert_eq!(kind(error), remote::Error::IsADirectory);
}

#[test]
fn an_output_that_breaks_ends_the_read() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let bench = Bench::with(&[("/log", &some_bytes(5000))]);
    let error = bench.vehicle.read_to(&path("/log"), &mut Broken, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Output(_)));
}

#[test]
fn a_stored_file_has_the_local_files_bytes() {
    let bytes = some_bytes(70_000);
    let bench = Bench::with(&[("/old", b"x")]);
    let mut last = 0;
    let progress = &mut |done, _| last = done;
    assert_eq!(
        bench.vehicle.store(&path("/old"), local(&bytes), Default::default(), progress).unwrap(),
        70_000
    );
    assert_eq!(last, 70_000);
    assert!(bench.memory.content("/old").unwrap() == bytes);
}

#[test]
fn a_directory_as_destination_takes_the_local_name() {
    let bench = Bench::with(&[("/d/a", b"1"), ("/d/sub/x", b"2")]);
    let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
    let to = |place: &str, local: &str| bench.vehicle.destination(&path(place), &name(local));
    assert_eq!(to("/d", "a").unwrap(), path("/d/a"));
    assert_eq!(to("/d", "new").unwrap(), path("/d/new"));
    assert_eq!(to("/d/new", "a").unwrap(), path("/d/new"));
    assert_eq!(to("/", "a").unwrap(), path("/a"));
    assert_eq!(kind(to("/d", "sub").unwrap_err()), remote::Error::IsADirectory);
}

#[test]
fn an_interrupt_ends_what_runs_and_what_comes_after() {
    // Nobody steps this one: it never answers.
    let memory = MemoryRemote::with([("/log", &b"x"[..])]);
    let vehicle = Vehicle::over(memory.clone(), Duration::from_secs(10));
    let interrupt = vehicle.interrupt();
    let raising = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        interrupt.raise();
    });
    assert!(matches!(vehicle.list(&path("/")), Err(Error::Interrupted)));
    raising.join().unwrap();
    let log = path("/log");
    let read = vehicle.reading(&log);
    let broken = read::whole(&read, &local(b""), 0, &mut |_, _| {}).unwrap_err();
    assert!(matches!(broken.error, Error::Interrupted));
    assert_eq!(memory.waiting(), 0, "what was asked is cancelled");
}

#[test]
fn an_interrupted_upload_leaves_the_old_file_and_nothing_else() {
    let bench = Bench::with(&[("/log", b"old")]);
    bench.vehicle.interrupt().raise();
    let store = bench.vehicle.store(
        &path("/log"),
        local(&some_bytes(5000)),
        Default::default(),
        &mut |_, _| {},
    );
    assert!(matches!(store, Err(Error::Interrupted)));
    assert_eq!(bench.memory.content("/log").unwrap(), b"old");
    assert_eq!(bench.memory.names("/"), ["log"]);
}

#[test]
fn every_error_has_its_exit_code() {
    assert_eq!(Error::NoVehicle(String::new()).exit_code(), 3);
    assert_eq!(Error::NoFtp(String::new()).exit_code(), 4);
    assert_eq!(Error::Login(String::new()).exit_code(), 5);
    assert_eq!(Error::remote(&path("/"), remote::Error::NotFound).exit_code(), 1);
}
