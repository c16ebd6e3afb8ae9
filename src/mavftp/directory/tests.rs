//! A served folder in a temporary one, with things around it that must not be reached. Each test
//! runs both ways of staying beneath the root.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::beneath::Way;
use super::*;
use crate::mavftp::server::{Server, ServerOutput};
use crate::mavftp::wire::{Checksum, Opcode, Payload};

/// A temporary folder with `served` in it, and a secret beside that.
struct Place {
    around: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let around = tempfile::tempdir().unwrap();
        let place = Place { around };
        fs::create_dir(place.served()).unwrap();
        fs::create_dir(place.around.path().join("served-sibling")).unwrap();
        fs::write(place.around.path().join("served-sibling/secret"), b"secret").unwrap();
        fs::write(place.secret(), b"secret").unwrap();
        place
    }

    fn served(&self) -> std::path::PathBuf {
        self.around.path().join("served")
    }

    fn secret(&self) -> std::path::PathBuf {
        self.around.path().join("secret")
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.served().join(path), bytes).unwrap();
    }

    fn fifo(&self, path: &str) {
        let path = CString::new(self.served().join(path).as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends in NUL and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    }

    /// The folder served in both ways.
    fn directories(&self, writable: bool) -> [Directory; 2] {
        [Way::Kernel, Way::NameByName].map(|way| {
            let mut directory = Directory::open(&self.served(), writable).unwrap();
            assert_eq!(directory.root.way, Way::Kernel, "this system is older than openat2");
            std::sync::Arc::get_mut(&mut directory.root).unwrap().way = way;
            directory
        })
    }
}

fn path(text: &str) -> ServedPath {
    ServedPath::parse(text.as_bytes()).unwrap()
}

fn names(directory: &Directory, at: &str) -> Vec<String> {
    let mut names: Vec<String> = directory
        .list(&path(at))
        .unwrap()
        .into_iter()
        .map(|entry| String::from_utf8(entry.name).unwrap())
        .collect();
    names.sort();
    names
}

fn content(directory: &Directory, at: &str) -> Result<Vec<u8>, Nak> {
    let file = directory.open_to_read(&path(at))?;
    let mut buffer = vec![0; 10_000];
    let count = ServedFile::read_at(&file, 0, &mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

fn refusal<T>(result: Result<T, Nak>) -> Nak {
    match result {
        Ok(_) => panic!("it was allowed"),
        Err(nak) => nak,
    }
}

/// Every way a path can be used.
fn all_uses(directory: &Directory, at: &ServedPath) -> Vec<Result<(), Nak>> {
    vec![
        directory.open_to_read(at).map(drop),
        directory.open_to_write(at, Content::Keep).map(drop),
        directory.open_to_write(at, Content::Empty).map(drop),
        directory.list(at).map(drop),
        directory.truncate(at, 0),
    ]
}

#[test]
fn files_are_read_and_listed_with_size_and_time() {
    let place = Place::new();
    place.write("a", b"0123456789");
    fs::create_dir_all(place.served().join("d/e")).unwrap();
    place.write("d/e/f", b"deep");
    let time = UNIX_EPOCH + Duration::from_secs(1_795_118_600);
    let file = fs::File::options().write(true).open(place.served().join("a")).unwrap();
    file.set_modified(time).unwrap();
    for directory in place.directories(false) {
        assert_eq!(content(&directory, "/a").unwrap(), b"0123456789");
        assert_eq!(content(&directory, "d/e/f").unwrap(), b"deep");
        assert_eq!(names(&directory, "/"), ["a", "d"]);
        assert_eq!(names(&directory, "/d/e"), ["f"]);
        let entries = directory.list(&path("/")).unwrap();
        let a = entries.iter().find(|entry| entry.name == b"a").unwrap();
        assert_eq!((a.directory, a.size, a.mtime), (false, 10, Some(1_795_118_600)));
        assert!(entries.iter().any(|entry| entry.name == b"d" && entry.directory));
        assert_eq!(refusal(directory.open_to_read(&path("/d"))), Nak::FailErrno(EISDIR));
        assert_eq!(refusal(directory.open_to_read(&path("/"))), Nak::FailErrno(EISDIR));
        assert_eq!(refusal(directory.open_to_read(&path("/no"))), Nak::FileNotFound);
        assert_eq!(refusal(directory.open_to_read(&path("/a/b"))), Nak::FailErrno(ENOTDIR));
        assert_eq!(refusal(directory.list(&path("/a"))), Nak::FailErrno(ENOTDIR));
        assert_eq!(refusal(directory.list(&path("/no"))), Nak::FileNotFound);
    }
}

#[test]
fn links_that_lead_out_are_neither_shown_nor_followed() {
    let place = Place::new();
    let secret = place.secret();
    symlink(&secret, place.served().join("absolute")).unwrap();
    symlink("../secret", place.served().join("relative")).unwrap();
    symlink("../served-sibling", place.served().join("sibling")).unwrap();
    symlink(place.around.path(), place.served().join("around")).unwrap();
    symlink("/proc/self/root", place.served().join("magic")).unwrap();
    for directory in place.directories(true) {
        assert!(names(&directory, "/").is_empty());
        for at in ["absolute", "relative", "sibling", "around", "magic"] {
            for used in all_uses(&directory, &path(at)) {
                assert!(used.is_err(), "{at}");
            }
            let below = path(at).join(b"secret");
            for used in all_uses(&directory, &below) {
                assert!(used.is_err(), "{at}/secret");
            }
            assert!(directory.remove_file(&below).is_err());
            assert!(directory.make_directory(&path(at).join(b"new")).is_err());
            assert!(directory.rename(&below, &path("stolen")).is_err());
        }
    }
    assert_eq!(fs::read(secret).unwrap(), b"secret");
    assert_eq!(fs::read_dir(place.around.path()).unwrap().count(), 3);
}

#[test]
fn links_that_stay_inside_are_followed_where_the_kernel_can() {
    let place = Place::new();
    fs::create_dir(place.served().join("d")).unwrap();
    place.write("d/f", b"inside");
    symlink("d/f", place.served().join("file")).unwrap();
    symlink("d", place.served().join("folder")).unwrap();
    symlink("nowhere", place.served().join("dangling")).unwrap();
    symlink("loop", place.served().join("loop")).unwrap();
    let [kernel, by_name] = place.directories(false);
    assert_eq!(names(&kernel, "/"), ["d", "file", "folder"]);
    assert_eq!(content(&kernel, "file").unwrap(), b"inside");
    assert_eq!(content(&kernel, "folder/f").unwrap(), b"inside");
    let entries = kernel.list(&path("/")).unwrap();
    assert_eq!(entries.iter().find(|entry| entry.name == b"file").unwrap().size, 6);
    assert_eq!(names(&by_name, "/"), ["d"]);
    assert_eq!(refusal(by_name.open_to_read(&path("file"))), Nak::FileProtected);
}

#[test]
fn removing_and_renaming_a_link_leaves_what_it_leads_to() {
    let place = Place::new();
    let secret = place.secret();
    for directory in place.directories(true) {
        symlink(&secret, place.served().join("link")).unwrap();
        place.write("a", b"a");
        directory.rename(&path("a"), &path("link")).unwrap();
        assert_eq!(content(&directory, "link").unwrap(), b"a");
        symlink(&secret, place.served().join("other")).unwrap();
        directory.remove_file(&path("other")).unwrap();
        directory.remove_file(&path("link")).unwrap();
    }
    assert_eq!(fs::read(secret).unwrap(), b"secret");
}

#[test]
fn pipes_sockets_and_devices_are_as_good_as_absent() {
    let place = Place::new();
    place.fifo("pipe");
    let _socket = std::os::unix::net::UnixListener::bind(place.served().join("socket")).unwrap();
    symlink("pipe", place.served().join("link-to-pipe")).unwrap();
    place.write("a", b"a");
    let began = Instant::now();
    for directory in place.directories(true) {
        assert_eq!(names(&directory, "/"), ["a"]);
        for at in ["pipe", "socket", "link-to-pipe"] {
            for used in all_uses(&directory, &path(at)) {
                assert!(used.is_err(), "{at}");
            }
        }
        for at in ["pipe", "socket"] {
            assert_eq!(refusal(directory.remove_file(&path(at))), Nak::FileProtected);
            assert_eq!(refusal(directory.rename(&path("a"), &path(at))), Nak::FileProtected);
            assert_eq!(refusal(directory.rename(&path(at), &path("b"))), Nak::FileProtected);
        }
    }
    assert!(began.elapsed() < Duration::from_secs(1), "nothing waits for a pipe's other end");
}

#[test]
fn a_folder_that_is_not_writable_refuses_every_change() {
    let place = Place::new();
    place.write("a", b"a");
    fs::create_dir(place.served().join("d")).unwrap();
    for directory in place.directories(false) {
        let (a, d, b) = (path("a"), path("d"), path("b"));
        let refusals = [
            directory.open_to_write(&a, Content::Keep).map(drop),
            directory.open_to_write(&b, Content::Empty).map(drop),
            directory.remove_file(&a),
            directory.remove_directory(&d),
            directory.make_directory(&b),
            directory.rename(&a, &b),
            directory.truncate(&a, 0),
        ];
        assert_eq!(refusals, [Err(Nak::FileProtected); 7]);
        assert_eq!(names(&directory, "/"), ["a", "d"]);
        assert_eq!(content(&directory, "a").unwrap(), b"a");
    }
}

#[test]
fn a_writable_folder_is_changed_as_asked() {
    for way in 0..2 {
        let place = Place::new();
        let [kernel, by_name] = place.directories(true);
        let directory = if way == 0 { kernel } else { by_name };
        directory.make_directory(&path("d")).unwrap();
        assert_eq!(refusal(directory.make_directory(&path("d"))), Nak::FileExists);
        assert_eq!(refusal(directory.make_directory(&path("/"))), Nak::FileExists);
        let file = directory.open_to_write(&path("d/f"), Content::Empty).unwrap();
        ServedFile::write_at(&file, 2, b"xyz").unwrap();
        assert_eq!(content(&directory, "d/f").unwrap(), b"\0\0xyz");
        let again = directory.open_to_write(&path("d/f"), Content::Keep).unwrap();
        ServedFile::write_at(&again, 0, b"ab").unwrap();
        assert_eq!(ServedFile::size(&again), Ok(5));
        directory.truncate(&path("d/f"), 3).unwrap();
        assert_eq!(content(&directory, "d/f").unwrap(), b"abx");
        assert_eq!(refusal(directory.truncate(&path("none"), 3)), Nak::FileNotFound);
        directory.open_to_write(&path("d/f"), Content::Empty).unwrap();
        assert_eq!(content(&directory, "d/f").unwrap(), b"");
        assert_eq!(refusal(directory.remove_directory(&path("d"))), Nak::FailErrno(39));
        assert_eq!(refusal(directory.remove_file(&path("d"))), Nak::FailErrno(EISDIR));
        assert_eq!(refusal(directory.remove_directory(&path("d/f"))), Nak::FailErrno(ENOTDIR));
        directory.remove_file(&path("d/f")).unwrap();
        directory.remove_directory(&path("d")).unwrap();
        assert_eq!(refusal(directory.remove_directory(&path("/"))), Nak::FileProtected);
        assert_eq!(refusal(directory.remove_file(&path("/"))), Nak::FileProtected);
        assert!(names(&directory, "/").is_empty());
    }
}

#[test]
fn a_rename_replaces_files_and_not_folders() {
    for way in 0..2 {
        let place = Place::new();
        let [kernel, by_name] = place.directories(true);
        let directory = if way == 0 { kernel } else { by_name };
        place.write("a", b"a");
        place.write("b", b"b");
        fs::create_dir(place.served().join("d")).unwrap();
        directory.rename(&path("a"), &path("b")).unwrap();
        assert_eq!(content(&directory, "b").unwrap(), b"a");
        assert_eq!(refusal(directory.rename(&path("b"), &path("d"))), Nak::FileExists);
        fs::create_dir(place.served().join("e")).unwrap();
        assert_eq!(refusal(directory.rename(&path("e"), &path("d"))), Nak::FileExists);
        assert_eq!(refusal(directory.rename(&path("d"), &path("b"))), Nak::FailErrno(ENOTDIR));
        directory.rename(&path("d"), &path("d")).unwrap();
        directory.rename(&path("d"), &path("e/d")).unwrap();
        assert_eq!(names(&directory, "e"), ["d"]);
        assert_eq!(refusal(directory.rename(&path("none"), &path("x"))), Nak::FileNotFound);
        assert_eq!(refusal(directory.rename(&path("/"), &path("x"))), Nak::FileProtected);
    }
}

#[test]
fn any_name_the_disk_holds_can_be_listed() {
    let place = Place::new();
    let long = "x".repeat(255);
    for name in ["tab\there", "new\nline", "ünï", long.as_str()] {
        place.write(name, b"1");
    }
    let raw = place.served().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    fs::write(raw, b"1").unwrap();
    for directory in place.directories(false) {
        let entries = directory.list(&path("/")).unwrap();
        assert_eq!(entries.len(), 5);
        assert!(entries.iter().any(|entry| entry.name == long.as_bytes()));
        assert_eq!(content(&directory, "tab\there").unwrap(), b"1");
        let bytes = ServedPath::parse(b"\xff\xfe").unwrap();
        assert!(directory.open_to_read(&bytes).is_ok());
    }
}

#[test]
fn a_folder_that_cannot_be_served_says_why() {
    let place = Place::new();
    place.write("a", b"a");
    let open = |name: &str| {
        let result = Directory::open(&place.served().join(name), false);
        RootError::from(result.err().unwrap())
    };
    assert!(matches!(open("none"), RootError::DoesNotExist));
    assert!(matches!(open("a"), RootError::NotADirectory));
}

#[test]
fn a_server_can_move_to_a_thread_of_its_own() {
    fn moves<T: Send>() {}
    moves::<Server<u8, Directory>>();
}

#[test]
fn a_root_that_is_moved_is_still_the_same_root() {
    let place = Place::new();
    place.write("a", b"a");
    let [kernel, by_name] = place.directories(false);
    fs::rename(place.served(), place.around.path().join("moved")).unwrap();
    fs::create_dir(place.served()).unwrap();
    assert_eq!(names(&kernel, "/"), ["a"]);
    assert_eq!(names(&by_name, "/"), ["a"]);
}

#[test]
fn a_file_too_long_for_32_bits_is_refused() {
    let place = Place::new();
    let sparse = fs::File::create(place.served().join("huge")).unwrap();
    sparse.set_len(u64::from(u32::MAX) + 1).unwrap();
    let [directory, _] = place.directories(false);
    let mut server = Server::new(directory, 0);
    let now = Instant::now();
    server.receive(now, (), &Payload::request(Opcode::OpenFileRo).with_data(b"huge"));
    match server.poll(now) {
        ServerOutput::Send((), answer) => {
            assert_eq!(answer.answer(), Some(Err(Nak::FailErrno(libc::EFBIG as u8))));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_on_the_disk_gives_a_whole_file_and_its_checksum() {
    let place = Place::new();
    let bytes: Vec<u8> = (0..600_000u32).map(|at| (at / 3) as u8).collect();
    place.write("log", &bytes);
    let [directory, _] = place.directories(false);
    let mut server = Server::new(directory, 7);
    let mut now = Instant::now();
    server.receive(now, 1, &Payload::request(Opcode::OpenFileRo).with_data(b"/log"));
    let ServerOutput::Send(1, opened) = server.poll(now) else { panic!("no answer") };
    assert_eq!(opened.data_u32(), Some(600_000));
    let crc = Payload { sequence: 9, ..Payload::request(Opcode::CalcFileCrc32) };
    server.receive(now, 1, &crc.with_data(b"/log"));
    let mut got = vec![0; bytes.len()];
    let mut checksum = None;
    for offset in [0, 2000 * 239] {
        let burst = Payload::request(Opcode::BurstReadFile);
        server.receive(now, 1, &Payload { session: opened.session, offset, ..burst });
        loop {
            match server.poll(now) {
                ServerOutput::Send(_, packet) if packet.req_opcode == 14 => {
                    checksum = packet.data_u32();
                }
                ServerOutput::Send(_, packet) if packet.answer() == Some(Ok(())) => {
                    let start = packet.offset as usize;
                    got[start..start + packet.data().len()].copy_from_slice(packet.data());
                }
                ServerOutput::Send(_, end) => assert_eq!(end.offset, 600_000),
                ServerOutput::Wait(Some(time)) => now = now.max(time),
                ServerOutput::Wait(None) => break,
            }
        }
    }
    assert!(got == bytes, "the file arrives as it is");
    assert_eq!(checksum, Some(Checksum::of(&bytes)));
}
