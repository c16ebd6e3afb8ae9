//! What is hidden is as good as absent, whatever way it is asked for.

use super::*;

fn hiding(patterns: &[&str]) -> Options {
    let hide = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    Options { writable: true, hide, max_bytes: None }
}

/// Everything that is refused because nothing is there.
fn uses_of_what_exists(directory: &Directory, at: &ServedPath) -> Vec<Result<(), Nak>> {
    vec![
        directory.open_to_read(at).map(drop),
        directory.list(at).map(drop),
        directory.truncate(at, 0),
        directory.remove_file(at),
        directory.remove_directory(at),
        directory.rename(at, &path("stolen")),
    ]
}

/// > What `--hide` matches is as good as absent: it is not listed, opened, removed or renamed, nor is
/// > anything below it, whatever link or spelling leads there.
#[test]
fn what_is_hidden_is_as_good_as_absent() {
    let place = Place::new();
    fs::create_dir_all(place.served().join("private/d")).unwrap();
    fs::create_dir_all(place.served().join("d/logs")).unwrap();
    let secrets = ["a.key", "B.KEY", "private/f", "private/d/f", "d/c.key", "d/logs/x"];
    for at in secrets {
        place.write(at, b"secret");
    }
    place.write("seen", b"seen");
    for (link, to) in [
        ("to-file", "a.key"),
        ("to-folder", "private"),
        ("d/up", "../private/d/f"),
        ("d/around", "../private/../seen"),
        ("to-link", "to-file"),
        ("to-logs", "d/logs"),
    ] {
        symlink(to, place.served().join(link)).unwrap();
    }
    for directory in place.served_as(&hiding(&["*.key", "/private/", "d/logs/**"])) {
        assert_eq!(names(&directory, "/"), ["d", "seen", "to-logs"]);
        assert_eq!(names(&directory, "d"), ["logs"]);
        assert!(names(&directory, "d/logs").is_empty());
        assert!(names(&directory, "to-logs").is_empty());
        let spellings = ["A.key", "private", "Private/f", "to-folder/f", "to-folder/d/f"];
        let linked = ["to-logs/x", "d/around", "to-folder/d"];
        for at in secrets.iter().chain(&spellings).chain(&linked) {
            for used in uses_of_what_exists(&directory, &path(at)) {
                // `d/around` is a link of its own, and may be handled as one; not what is behind it.
                assert!(used == Err(Nak::FileNotFound) || *at == "d/around", "{at}: {used:?}");
            }
            place.restore();
        }
        for link in ["to-file", "to-link", "d/up"] {
            assert_eq!(refusal(directory.open_to_read(&path(link))), Nak::FileNotFound);
            let written = directory.open_to_write(&path(link), Content::Empty);
            assert_eq!(refusal(written), Nak::FileExists, "the link's name is taken");
        }
        assert_eq!(content(&directory, "seen").unwrap(), b"seen");
    }
    for at in secrets {
        assert_eq!(fs::read(place.served().join(at)).unwrap(), b"secret", "{at}");
    }
}

impl Place {
    /// Puts back the link that may be renamed and removed.
    fn restore(&self) {
        let _ = fs::remove_file(self.served().join("stolen"));
        let _ = symlink("../private/../seen", self.served().join("d/around"));
    }
}

/// > Nothing can be given a hidden name, whether or not anything has it: FileProtected.
#[test]
fn nothing_can_be_given_a_hidden_name() {
    let place = Place::new();
    place.write("a", b"a");
    place.write("there.key", b"secret");
    fs::create_dir(place.served().join("d")).unwrap();
    for directory in place.served_as(&hiding(&["*.key", "d/x"])) {
        for at in ["there.key", "new.key", "NEW.KEY", "new.key.", "new.key .", "d/x", "d/n.key"] {
            let at = path(at);
            let refusals = [
                directory.open_to_write(&at, Content::Keep).map(drop),
                directory.open_to_write(&at, Content::Empty).map(drop),
                directory.make_directory(&at),
                directory.rename(&path("a"), &at),
                directory.rename(&path("d"), &at),
            ];
            assert_eq!(refusals, [Err(Nak::FileProtected); 5], "{at:?}");
        }
        assert_eq!(names(&directory, "/"), ["a", "d"]);
    }
    assert_eq!(fs::read(place.served().join("there.key")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(place.served()).unwrap().count(), 3);
}

/// > A directory is not renamed where that would show what is hidden in it, or hide what is not; and
/// > one that holds only hidden things is not empty.
#[test]
fn moving_a_folder_neither_shows_nor_hides_what_is_in_it() {
    let place = Place::new();
    fs::create_dir_all(place.served().join("a/b/c")).unwrap();
    fs::create_dir_all(place.served().join("open/b")).unwrap();
    fs::create_dir_all(place.served().join("named")).unwrap();
    place.write("a/b/c/f", b"secret");
    place.write("open/b/f", b"seen");
    place.write("named/x.key", b"secret");
    for directory in place.served_as(&hiding(&["a/b/c/*", "away/**/f", "*.key"])) {
        let rename = |old: &str, new: &str| directory.rename(&path(old), &path(new));
        for (old, new) in [("a", "z"), ("a/b", "z"), ("a/b/c", "a/z"), ("open", "away")] {
            assert_eq!(rename(old, new), Err(Nak::FileProtected), "{old} to {new}");
        }
        assert_eq!(directory.remove_directory(&path("a/b/c")), Err(Nak::FailErrno(39)));
        rename("open", "wide").unwrap();
        rename("wide", "open").unwrap();
        // What a name alone hides stays hidden wherever it goes.
        rename("named", "moved").unwrap();
        assert!(names(&directory, "moved").is_empty());
        rename("moved", "named").unwrap();
    }
    assert_eq!(fs::read(place.served().join("a/b/c/f")).unwrap(), b"secret");
}

/// Threads have folders in `/proc` that can be opened and are not listed, as short names on a FAT and
/// other cases of a name are.
#[test]
fn a_spelling_that_the_folder_does_not_list_is_no_way_around() {
    let (told, thread) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let running = std::thread::spawn(move || {
        // SAFETY: it only answers a number.
        told.send(unsafe { libc::gettid() }).unwrap();
        let _ = ended.recv();
    });
    let alias = format!("{}/status", thread.recv().unwrap());
    let proc = std::path::Path::new("/proc");
    let open = Directory::open(proc, &Options::default()).unwrap();
    assert!(open.open_to_read(&path(&alias)).is_ok());
    let careful = Directory::open(proc, &hiding(&["*.key"])).unwrap();
    assert_eq!(refusal(careful.open_to_read(&path(&alias))), Nak::FileNotFound);
    assert!(careful.open_to_read(&path("self/status")).is_ok());
    drop(end);
    running.join().unwrap();
}

#[test]
fn a_clients_temporary_names_work_beside_patterns() {
    let place = Place::new();
    for directory in place.served_as(&hiding(&["*.key", "/private"])) {
        let file = directory.open_to_write(&path(".mavftp-3f9a~"), Content::Empty).unwrap();
        file.write_at(0, b"new").unwrap();
        directory.rename(&path(".mavftp-3f9a~"), &path("log")).unwrap();
        assert_eq!(content(&directory, "log").unwrap(), b"new");
        assert_eq!(names(&directory, "/"), ["log"]);
    }
}
