//! Things that change places while they are walked through, as fast as the kernel lets them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;

/// How long one pair is swapped for, and how often at least.
const SWAPPING: Duration = Duration::from_millis(700);
const SWAPS_MIN: u32 = 2000;

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Swaps two names for as long as `work` takes turns.
fn while_swapping(one: &Path, other: &Path, mut work: impl FnMut()) {
    let (one, other) = (c_path(one), c_path(other));
    let (over, swaps) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: both paths end in NUL and outlive the call.
                let result = unsafe {
                    let here = libc::AT_FDCWD;
                    let exchange = libc::RENAME_EXCHANGE;
                    let (one, other) = (one.as_ptr(), other.as_ptr());
                    libc::syscall(libc::SYS_renameat2, here, one, here, other, exchange)
                };
                assert_eq!(result, 0);
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let began = Instant::now();
        while began.elapsed() < SWAPPING || swaps.load(Ordering::Relaxed) < SWAPS_MIN {
            work();
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// A folder `d` inside, a folder of the same make outside, and a link `l` to that.
fn two_alike() -> Place {
    let place = Place::new();
    let outside = place.around.path().join("outside");
    for (folder, text) in [(place.served().join("d"), "inside"), (outside, "secret")] {
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(folder.join("f"), text).unwrap();
        fs::write(folder.join("sub/f"), text).unwrap();
        fs::write(folder.join(format!("only-{text}")), text).unwrap();
    }
    symlink("../outside", place.served().join("l")).unwrap();
    place
}

/// Everything below a folder, with its content.
fn snapshot(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push((path.clone(), Vec::new()));
            found.extend(snapshot(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Uses a path in every way; whether any of it was allowed.
fn use_all(directory: &Directory, folder: &str) -> bool {
    let at = |name: &str| path(&format!("{folder}/{name}"));
    let mut allowed = false;
    for name in ["f", "sub/f"] {
        if let Ok(bytes) = content(directory, &format!("{folder}/{name}")) {
            assert!(bytes != b"secret", "a read got out");
            allowed = true;
        }
        if let Ok(file) = directory.open_to_write(&at(name), Content::Keep) {
            let _ = file.write_at(0, b"INSIDE");
        }
    }
    for entry in directory.list(&path(folder)).unwrap_or_default() {
        assert!(entry.name != b"only-secret", "a listing got out");
    }
    let _ = directory.open_to_write(&at("new"), Content::Empty);
    let _ = directory.truncate(&at("f"), 6);
    let _ = directory.make_directory(&at("made"));
    let _ = directory.remove_directory(&at("made"));
    let _ = directory.rename(&at("new"), &at("newer"));
    let _ = directory.remove_file(&at("newer"));
    let _ = directory.rename(&at("only-secret"), &path("stolen"));
    let _ = directory.remove_file(&at("only-secret"));
    let _ = directory.rename(&path("d/only-inside"), &at("given"));
    let _ = directory.rename(&at("given"), &path("d/only-inside"));
    allowed
}

/// > Nothing outside of the served directory is read, listed or changed, whatever path is asked for,
/// > wherever links lead, and however they are swapped meanwhile.
#[test]
fn a_folder_swapped_for_a_link_during_the_walk_leads_nowhere() {
    for way in 0..2 {
        for max_bytes in [None, Some(1 << 20)] {
            let place = two_alike();
            let outside = place.around.path().join("outside");
            let before = snapshot(&outside);
            let options = Options { writable: true, hide: Vec::new(), max_bytes };
            let directory = &place.served_as(&options)[way];
            let mut allowed = 0;
            while_swapping(&place.served().join("d"), &place.served().join("l"), || {
                allowed += u32::from(use_all(directory, "d"));
                allowed += u32::from(use_all(directory, "l"));
            });
            assert!(allowed > 10, "the folder was served between swaps");
            assert!(snapshot(&outside) == before, "something outside was changed");
            assert!(!place.served().join("stolen").exists());
        }
    }
}

#[test]
fn a_file_swapped_for_a_link_or_a_pipe_is_not_opened() {
    let place = two_alike();
    place.write("f", b"inside");
    symlink("../secret", place.served().join("link")).unwrap();
    place.write("g", b"inside");
    place.fifo("pipe");
    // Whoever opens the pipe to read is seen by this: it cannot be opened to write otherwise.
    for directory in place.directories(true) {
        for (one, other) in [("f", "link"), ("g", "pipe")] {
            while_swapping(&place.served().join(one), &place.served().join(other), || {
                for at in [one, other] {
                    if let Ok(bytes) = content(&directory, at) {
                        assert_eq!(bytes, b"inside");
                    }
                    if let Ok(file) = directory.open_to_write(&path(at), Content::Keep) {
                        file.write_at(0, b"inside").unwrap();
                    }
                }
            });
        }
    }
    assert_eq!(fs::read(place.secret()).unwrap(), b"secret");
}

#[test]
fn a_folder_swapped_for_a_link_to_what_is_hidden_shows_nothing_of_it() {
    let place = two_alike();
    fs::rename(place.around.path().join("outside"), place.served().join("private")).unwrap();
    fs::remove_file(place.served().join("l")).unwrap();
    symlink("private", place.served().join("l")).unwrap();
    let hidden = place.served().join("private");
    let before = snapshot(&hidden);
    let options =
        Options { writable: true, hide: vec!["/private".parse().unwrap()], max_bytes: None };
    for directory in place.served_as(&options) {
        let mut allowed = 0;
        while_swapping(&place.served().join("d"), &place.served().join("l"), || {
            allowed += u32::from(use_all(&directory, "d"));
            allowed += u32::from(use_all(&directory, "l"));
        });
        assert!(allowed > 10);
        assert!(snapshot(&hidden) == before, "something hidden was changed");
    }
}
