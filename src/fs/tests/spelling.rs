//! Names that differ in case only, and names that the far side cannot hold.

use super::*;

/// A world whose far side takes names that differ in case only for the same.
fn folding<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> World {
    let world = World::with(files);
    world.remote.fold_case();
    world
}

fn count(world: &World, operation: &str) -> usize {
    world.remote.log().iter().filter(|op| op.starts_with(operation)).count()
}

/// > On a far side that compares names without case, `A` and `a` are one file: each opens the
/// > other, nothing is emptied unless O_TRUNC says so, and O_EXCL is EEXIST.
#[test]
fn where_case_does_not_count_the_other_spelling_reaches_the_file() {
    let world = folding([("/d/Log.txt", &b"content"[..])]);
    assert_eq!(world.ino("/d/LOG.TXT"), world.ino("/d/Log.txt"));
    assert_eq!(world.ino("/D"), world.ino("/d"));
    assert_eq!(world.content("/D/log.TXT"), b"content");
    assert_eq!(world.names("/d"), ["Log.txt"]);
}

/// > Where case counts, `A` and `a` are two files.
#[test]
fn where_case_counts_two_spellings_are_two_files() {
    let world = World::with([("/a", &b"old"[..])]);
    assert!(!world.exists("/A"));
    let handle = world.create("/A");
    world.write(handle, 0, b"new");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
    assert_eq!(world.remote.content("/A").unwrap(), b"new");
}

#[test]
fn it_is_asked_once_and_only_when_such_a_pair_occurs() {
    for folds in [false, true] {
        let world = World::with([("/a", &b""[..]), ("/b", b""), ("/d/c", b"")]);
        if folds {
            world.remote.fold_case();
        }
        assert!(!world.exists("/x"));
        assert_eq!(count(&world, "Size"), 0);
        assert_eq!(world.exists("/A"), folds);
        assert_eq!(world.exists("/B"), folds);
        assert_eq!(world.exists("/D"), folds);
        assert_eq!(count(&world, "Size"), 1);
        assert_eq!(count(&world, "List"), 1, "the root");
    }
}

#[test]
fn a_directory_in_another_spelling_is_asked_for_by_its_listing() {
    let world = folding([("/d/a", &b""[..])]);
    assert!(world.exists("/D"));
    assert_eq!(world.remote.log(), [r#"List "/""#, r#"List "/D""#]);
    let world = World::with([("/d/a", &b""[..])]);
    assert!(!world.exists("/D"));
}

/// > On a far side that compares names without case, `A` and `a` are one file: each opens the
/// > other, nothing is emptied unless O_TRUNC says so, and O_EXCL is EEXIST.
#[test]
fn creating_a_file_in_another_spelling_truncates_nothing_by_itself() {
    let world = folding([("/a", &b"precious"[..])]);
    let created = world.run(world.fs.create(Ino::ROOT, b"A", RDWR | libc::O_CREAT)).unwrap();
    assert_eq!(created.0.ino, world.ino("/a"));
    assert_eq!(world.read(created.1.handle), b"precious");
    world.close(created.1.handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"precious");
    let flags = RDWR | libc::O_CREAT | libc::O_EXCL;
    assert_eq!(errno(world.run(world.fs.create(Ino::ROOT, b"A", flags))), libc::EEXIST);
    let flags = RDWR | libc::O_CREAT | libc::O_TRUNC;
    let emptied = world.run(world.fs.create(Ino::ROOT, b"A", flags)).unwrap().1.handle;
    world.write(emptied, 0, b"new");
    world.close(emptied);
    assert_eq!(world.remote.content("/a").unwrap(), b"new");
    assert_eq!(world.remote.names("/"), ["a"]);
}

#[test]
fn a_file_that_is_only_staged_is_reached_in_every_spelling_too() {
    let world = folding([("/x", &b""[..])]);
    assert!(world.exists("/X"), "known from here on");
    let one = world.create("/new");
    world.write(one, 0, b"first");
    let other = world.run(world.fs.create(Ino::ROOT, b"NEW", RDWR)).unwrap().1.handle;
    assert_eq!(world.read(other), b"first");
    world.close(one);
    world.close(other);
    assert_eq!(world.remote.names("/"), ["new", "x"]);
}

#[test]
fn a_directory_cannot_be_made_over_a_file_in_another_spelling() {
    let world = folding([("/a", &b""[..]), ("/d/b", b"")]);
    assert_eq!(errno(world.run(world.fs.mkdir(Ino::ROOT, b"A"))), libc::EEXIST);
    assert_eq!(errno(world.run(world.fs.mkdir(Ino::ROOT, b"D"))), libc::EEXIST);
    assert_eq!(count(&world, "MakeDirectory"), 0);
}

#[test]
fn what_is_removed_in_another_spelling_is_gone() {
    let world = folding([("/a", &b""[..]), ("/d/b", b"")]);
    world.unlink("/A").unwrap();
    world.unlink("/D/B").unwrap();
    world.run(world.fs.rmdir(Ino::ROOT, b"D")).unwrap();
    assert!(world.remote.names("/").is_empty());
    assert!(!world.exists("/a") && !world.exists("/d"));
}

#[test]
fn a_rename_can_change_the_spelling_and_loses_nothing() {
    let world = folding([("/a", &b"content"[..]), ("/d/b", b"below")]);
    let ino = world.ino("/a");
    let handle = world.open("/a", RDONLY);
    assert!(world.exists("/A"));
    world.rename("/a", "/A").unwrap();
    world.rename("/d", "/D").unwrap();
    assert_eq!(world.remote.names("/"), ["A", "D"]);
    assert_eq!(world.names("/"), ["A", "D"]);
    assert_eq!(world.ino("/A"), ino);
    assert_eq!(world.read(handle), b"content");
    assert_eq!(world.content("/D/b"), b"below");
    let fs = &world.fs;
    let refused = fs.rename(Ino::ROOT, b"A", Ino::ROOT, b"a", true);
    assert_eq!(errno(world.run(refused)), libc::EEXIST);
}

#[test]
fn a_change_of_spelling_that_fails_leaves_the_old_one() {
    let world = folding([("/a", &b"content"[..])]);
    assert!(world.exists("/A"));
    world.remote.fail_next(r#"Rename "/.mavftp"#, Error::Denied);
    assert_eq!(errno(world.rename("/a", "/A")), libc::EACCES);
    assert_eq!(world.remote.names("/"), ["a"]);
    assert_eq!(world.content("/a"), b"content");
}

#[test]
fn a_rename_over_another_spelling_replaces_that_file() {
    let world = folding([("/a", &b"old"[..]), ("/b", b"new")]);
    world.rename("/b", "/A").unwrap();
    assert_eq!(world.remote.names("/"), ["a"]);
    assert_eq!(world.content("/A"), b"new");
    assert!(!world.exists("/b"));
}

#[test]
fn a_question_that_fails_creates_nothing_and_is_asked_again() {
    let world = folding([("/a", &b"precious"[..])]);
    world.remote.fail_next("Size", Error::TimedOut);
    assert!(!world.exists("/A"), "a lookup believes the listing");
    world.remote.fail_next("Size", Error::TimedOut);
    assert_eq!(errno(world.run(world.fs.create(Ino::ROOT, b"A", RDWR))), libc::ETIMEDOUT);
    assert!(world.exists("/A"));
}

#[test]
fn another_vehicle_is_asked_anew() {
    let world = folding([("/a", &b""[..])]);
    assert!(world.exists("/A"));
    world.remote.be_another();
    assert!(world.exists("/A"));
    assert_eq!(count(&world, "Size"), 2);
}

/// > A name that no listing can carry, with a control character, is EINVAL before anything is sent.
#[test]
fn names_that_cannot_be_listed_are_refused_before_anything_is_sent() {
    let world = World::with([("/a", &b""[..])]);
    world.ino("/a");
    world.remote.clear_log();
    for name in [&b"tab\there"[..], b"line\nbreak", b"\x1b[2J", b"del\x7f"] {
        assert_eq!(errno(world.run(world.fs.create(Ino::ROOT, name, RDWR))), libc::EINVAL);
        assert_eq!(errno(world.run(world.fs.mkdir(Ino::ROOT, name))), libc::EINVAL);
        let renamed = world.fs.rename(Ino::ROOT, b"a", Ino::ROOT, name, false);
        assert_eq!(errno(world.run(renamed)), libc::EINVAL);
    }
    assert!(world.remote.log().is_empty());
}

#[test]
fn names_that_no_card_can_hold_are_refused_where_there_is_one() {
    let bad = [&b"a:b"[..], b"what?", b"a*", b"\"a\"", b"<a>", b"a|b", b"a\\b", b"dot.", b"space "];
    let world = folding([("/x", &b""[..])]);
    assert!(world.exists("/X"));
    for name in bad {
        assert_eq!(errno(world.run(world.fs.mkdir(Ino::ROOT, name))), libc::EINVAL);
    }
    let world = World::with([("/x", &b""[..])]);
    for name in bad {
        world.run(world.fs.mkdir(Ino::ROOT, name)).unwrap();
    }
}

#[test]
fn a_directory_is_not_renamed_so_that_what_is_below_becomes_too_long() {
    let long = "x".repeat(200);
    let world = World::with([]);
    world.remote.put(&format!("/d/{long}"), b"content");
    assert!(world.exists(&format!("/d/{long}")));
    let name = "n".repeat(60);
    assert_eq!(errno(world.rename("/d", &format!("/{name}"))), libc::ENAMETOOLONG);
    assert!(world.exists(&format!("/d/{long}")));
    world.rename("/d", "/e").unwrap();
}

/// > What file managers scatter (`.Trash*`, `._*`, `.DS_Store`, `desktop.ini`, `autorun.inf`,
/// > `.hidden`, `.xdg-volume-info`) is ENOENT to look for and EACCES to create, without a word to
/// > the vehicle (`--no-trash-guard`).
#[test]
fn a_trash_folder_is_shown_and_made_where_the_user_wants_it() {
    let options = FsOptions { trash_guard: false, ..FsOptions::default() };
    let world = World::with_options([("/.Trash-1000/a", &b"a"[..])], options);
    assert_eq!(world.names("/"), [".Trash-1000"]);
    assert_eq!(world.content("/.Trash-1000/a"), b"a");
    let handle = world.create("/.DS_Store");
    world.write(handle, 0, b"x");
    world.close(handle);
    assert_eq!(world.remote.content("/.DS_Store").unwrap(), b"x");
}

#[test]
fn a_directory_that_holds_hidden_names_only_is_not_empty() {
    let world = World::with([("/d/.Trash-1000/a", &b"a"[..])]);
    assert!(world.names("/d").is_empty());
    assert_eq!(errno(world.run(world.fs.rmdir(Ino::ROOT, b"d"))), libc::ENOTEMPTY);
    assert_eq!(count(&world, "RemoveDirectory"), 0);
}
