//! What lies outside the root, and what is no file, however it is asked for.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// > A symbolic link that stays inside the served directory is followed; one that leads out, or
/// > begins with a slash, is not listed, and nothing is reached through it.
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
fn links_that_stay_inside_are_followed() {
    let place = Place::new();
    fs::create_dir_all(place.served().join("d/e")).unwrap();
    place.write("d/f", b"inside");
    symlink("d/f", place.served().join("file")).unwrap();
    symlink("d", place.served().join("folder")).unwrap();
    symlink("../../d/./e/..//f", place.served().join("d/e/back")).unwrap();
    symlink("nowhere", place.served().join("dangling")).unwrap();
    symlink("loop", place.served().join("loop")).unwrap();
    symlink("file/.", place.served().join("beyond")).unwrap();
    for directory in place.directories(true) {
        assert_eq!(names(&directory, "/"), ["d", "file", "folder"]);
        for at in ["file", "folder/f", "folder/e/back"] {
            assert_eq!(content(&directory, at).unwrap(), b"inside", "{at}");
        }
        let entries = directory.list(&path("/")).unwrap();
        assert_eq!(entries.iter().find(|entry| entry.name == b"file").unwrap().size, 6);
        assert_eq!(refusal(directory.open_to_read(&path("loop"))), Nak::FileProtected);
        assert_eq!(refusal(directory.open_to_read(&path("beyond"))), Nak::FailErrno(ENOTDIR));
        // What a dangling link would make is nobody's wish.
        let made = directory.open_to_write(&path("dangling"), Content::Empty);
        assert_eq!(refusal(made), Nak::FileExists);
        assert!(!place.served().join("nowhere").exists());
        directory.make_directory(&path("folder/new")).unwrap();
        directory.remove_directory(&path("d/new")).unwrap();
    }
}

/// > Removing or renaming a symbolic link does it to the link, never to what it leads to.
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

/// > A pipe, socket or device is not listed and never opened.
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

/// > Without `--writable` every change is refused: FileProtected.
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

/// > A file that a client has open stays the file that was opened, whatever takes its name.
#[test]
fn an_open_file_stays_what_was_opened() {
    let place = Place::new();
    for directory in place.directories(true) {
        place.write("a", b"first");
        place.write("b", b"second");
        let open = directory.open_to_read(&path("a")).unwrap();
        directory.rename(&path("b"), &path("a")).unwrap();
        let mut buffer = [0; 10];
        assert_eq!(open.read_at(0, &mut buffer), Ok(5));
        assert_eq!(&buffer[..5], b"first");
        assert_eq!(content(&directory, "a").unwrap(), b"second");
    }
}

#[test]
fn a_root_given_by_a_link_is_served_and_one_that_is_gone_is_empty() {
    let place = Place::new();
    let link = place.around.path().join("link");
    symlink("served", &link).unwrap();
    place.write("a", b"a");
    let by_link = Directory::open(&link, &Options::default()).unwrap();
    assert_eq!(content(&by_link, "a").unwrap(), b"a");
    let directories = place.directories(true);
    fs::remove_dir_all(place.served()).unwrap();
    for directory in directories {
        assert_eq!(refusal(directory.open_to_read(&path("a"))), Nak::FileNotFound);
        assert!(directory.list(&path("/")).is_err() || names(&directory, "/").is_empty());
        let made = directory.open_to_write(&path("a"), Content::Empty);
        assert_eq!(refusal(made), Nak::FileNotFound);
        assert_eq!(refusal(directory.make_directory(&path("d"))), Nak::FileNotFound);
    }
}

#[test]
fn the_deepest_path_that_can_be_asked_for_is_served() {
    let place = Place::new();
    let deep = vec!["d"; 118].join("/");
    fs::create_dir_all(place.served().join(&deep)).unwrap();
    let file = format!("{deep}/f");
    place.write(&file, b"deep");
    let hide = vec!["*.key".parse().unwrap()];
    let options = Options { writable: true, hide, max_bytes: Some(100) };
    for directory in place.directories(true).into_iter().chain(place.served_as(&options)) {
        assert_eq!(content(&directory, &file).unwrap(), b"deep");
        assert_eq!(names(&directory, &deep), ["f"]);
        directory.truncate(&path(&file), 4).unwrap();
    }
}

#[test]
fn what_the_disk_does_not_allow_is_refused() {
    if is_root() {
        eprintln!("skipped: nothing is forbidden to root");
        return;
    }
    let place = Place::new();
    place.write("a", b"a");
    let closed = fs::Permissions::from_mode(0o000);
    fs::set_permissions(place.served().join("a"), closed).unwrap();
    for directory in place.directories(true) {
        assert_eq!(refusal(directory.open_to_read(&path("a"))), Nak::FileProtected);
        assert_eq!(names(&directory, "/"), ["a"]);
    }
}

fn is_root() -> bool {
    // SAFETY: it only answers a number.
    unsafe { libc::geteuid() == 0 }
}

/// The kernel lets a process reach what others have open through `/proc`; clients must not.
#[test]
fn the_links_of_proc_are_not_followed() {
    let proc = std::path::Path::new("/proc/self");
    for way in [Way::Kernel, Way::NameByName] {
        let mut root = Root::open(proc, Hidden::default()).unwrap();
        root.way = way;
        let directory = Directory::over(root, &Options::default()).unwrap();
        let secret = fs::File::open(Place::new().secret()).unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&secret);
        for at in [&format!("fd/{descriptor}")[..], "root/etc/passwd", "cwd/Cargo.toml", "exe"] {
            assert!(directory.open_to_read(&path(at)).is_err(), "{way:?} {at}");
        }
    }
}
