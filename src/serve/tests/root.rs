//! Another root while clients are connected.

use super::*;

/// A folder with one file `name` of `size` bytes.
fn folder_of(size: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("name"), vec![size as u8; size]).unwrap();
    folder
}

fn two_endpoints(directory: &Path) -> Running {
    let any: Address = "udp:127.0.0.1:0".parse().unwrap();
    let endpoints = vec![any.clone(), any.clone()];
    Running::start(Options { endpoints, ..Options::new(any, directory.to_path_buf()) })
}

impl Station {
    /// One request after the other, each under its own number.
    fn exchange(&mut self, sequence: &mut u16, request: Payload) -> Payload {
        *sequence = sequence.wrapping_add(2);
        self.ask(&Payload { sequence: *sequence, ..request })
    }
}

fn open() -> Payload {
    Payload::request(Opcode::OpenFileRo).with_data(b"/name")
}

fn close(session: u8) -> Payload {
    Payload { session, ..Payload::request(Opcode::TerminateSession) }
}

/// > `set_root_dir` is `Busy` while a client of any endpoint has a file open, and the old
/// > directory is served on; once the file is closed it succeeds at once, on all endpoints.
#[test]
fn the_root_changes_between_transfers_and_on_all_endpoints_at_once() {
    let (small, large) = (folder_of(5), folder_of(50));
    let running = two_endpoints(small.path());
    let station = |at: usize| Station::towards(&format!("udpout:{}", running.there[at].unwrap()));
    let (mut first, mut second, mut sequence) = (station(0), station(1), 0);
    let opened = second.exchange(&mut sequence, open());
    assert_eq!(opened.data_u32(), Some(5));
    assert!(running.root.is_busy());
    assert_eq!(running.root.change(large.path()), Err(FtpServerError::Busy));
    assert_eq!(running.root.path(), small.path());
    assert_eq!(first.exchange(&mut sequence, open()).data_u32(), Some(5));
    let reset = Payload::request(Opcode::ResetSessions);
    assert_eq!(first.exchange(&mut sequence, reset).command(), Some(Opcode::Ack));
    assert_eq!(running.root.change(large.path()), Err(FtpServerError::Busy));
    second.exchange(&mut sequence, close(opened.session));
    assert_eq!(running.root.change(large.path()), Ok(()));
    assert_eq!(running.root.path(), large.path());
    for station in [&mut first, &mut second] {
        assert_eq!(station.exchange(&mut sequence, open()).data_u32(), Some(50));
    }
}

/// > `set_root_dir` is `DoesNotExist` for what is missing or no directory, also while a transfer is
/// > open, and the old directory is served on.
#[test]
fn what_is_no_directory_is_never_served() {
    let folder = folder_of(5);
    let running = Running::on_loopback(folder.path());
    let mut sequence = 0;
    for opened in [false, true] {
        for path in [folder.path().join("missing"), folder.path().join("name")] {
            let refused = running.root.change(&path);
            assert_eq!(refused, Err(FtpServerError::DoesNotExist), "{path:?} {opened}");
        }
        let size = running.client().exchange(&mut sequence, open()).data_u32();
        assert_eq!(size, Some(5));
    }
    assert_eq!(running.root.path(), folder.path());
}

/// > A directory that is removed while it is served leaves the server running: requests fail, and
/// > one that is made anew under its name is served once it is set again.
#[test]
fn a_root_that_is_removed_fails_requests_until_another_is_set() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("root");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("name"), "12345").unwrap();
    let running = Running::on_loopback(&path);
    let (mut station, mut sequence) = (running.client(), 0);
    std::fs::remove_dir_all(&path).unwrap();
    let listing = Payload::request(Opcode::ListDirectory).with_data(b"/");
    for request in [open(), listing, open()] {
        assert_eq!(station.exchange(&mut sequence, request).command(), Some(Opcode::Nak));
    }
    assert_eq!(running.root.change(&path), Err(FtpServerError::DoesNotExist));
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("name"), "123456").unwrap();
    assert_eq!(station.exchange(&mut sequence, open()).command(), Some(Opcode::Nak));
    assert_eq!(running.root.change(&path), Ok(()));
    assert_eq!(station.exchange(&mut sequence, open()).data_u32(), Some(6));
}

#[test]
fn another_root_is_another_vehicle() {
    let (small, large) = (folder_of(5), folder_of(50));
    let running = Running::on_loopback(small.path());
    let mut station = running.client();
    let mut identity = || {
        station.command((SYSTEM_ID, COMPONENT_ID), 512, 148.0);
        station.await_message(|message| match message {
            Message::AutopilotVersion { uid2, .. } => Some(*uid2),
            _ => None,
        })
    };
    let before = identity();
    assert_eq!(identity(), before);
    running.root.change(large.path()).unwrap();
    assert_ne!(identity(), before);
}

/// Opens, reads and closes for as long as told; how often.
fn transfer(mut station: Station, over: &AtomicBool) -> usize {
    let (mut sequence, mut done) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let opened = station.exchange(&mut sequence, open());
        let size = opened.data_u32().expect("opened");
        let session = opened.session;
        for offset in [0, 1, 2] {
            let read = Payload { session, offset, size: 239, ..Payload::request(Opcode::ReadFile) };
            let read = station.exchange(&mut sequence, read);
            assert_eq!(read.command(), Some(Opcode::Ack), "the root changed in a transfer");
            assert_eq!(read.data(), vec![size as u8; (size - offset) as usize]);
        }
        station.exchange(&mut sequence, close(session));
        done += 1;
    }
    done
}

#[test]
fn no_transfer_slips_in_while_the_root_changes() {
    let folders = [folder_of(5), folder_of(50)];
    let running = two_endpoints(folders[0].path());
    let over = AtomicBool::new(false);
    let (mut changed, mut busy) = (0, 0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = running
            .there
            .iter()
            .map(|there| {
                let station = Station::towards(&format!("udpout:{}", there.unwrap()));
                let over = &over;
                scope.spawn(move || transfer(station, over))
            })
            .collect();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            match running.root.change(folders[(changed + 1) % 2].path()) {
                Ok(()) => changed += 1,
                Err(FtpServerError::Busy) => busy += 1,
                Err(other) => panic!("{other}"),
            }
        }
        over.store(true, Ordering::Relaxed);
        for thread in threads {
            assert!(thread.join().unwrap() > 10);
        }
    });
    assert!(changed > 10 && busy > 10, "{changed} changes, {busy} times busy");
}
