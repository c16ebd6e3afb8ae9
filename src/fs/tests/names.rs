//! Names made, removed and changed.

use super::*;

/// > unlink of a directory is EISDIR, rmdir of a file ENOTDIR, and rmdir of a directory with
/// > entries ENOTEMPTY, all before anything is sent.
#[test]
fn a_directory_is_made_and_removed() {
    let world = World::with([("/a", &b""[..])]);
    let attr = world.run(world.fs.mkdir(Ino::ROOT, b"d")).unwrap();
    assert_eq!(world.ino("/d"), attr.ino);
    assert_eq!(errno(world.run(world.fs.mkdir(Ino::ROOT, b"d"))), libc::EEXIST);
    assert_eq!(errno(world.unlink("/d")), libc::EISDIR);
    assert_eq!(errno(world.run(world.fs.rmdir(Ino::ROOT, b"a"))), libc::ENOTDIR);
    world.run(world.fs.rmdir(Ino::ROOT, b"d")).unwrap();
    assert!(!world.exists("/d"));
    assert_eq!(world.remote.names("/"), ["a"]);
}

#[test]
fn a_directory_with_something_in_it_stays() {
    let world = World::with([("/d/a", &b""[..])]);
    assert_eq!(errno(world.run(world.fs.rmdir(Ino::ROOT, b"d"))), libc::ENOTEMPTY);
    world.unlink("/d/a").unwrap();
    let handle = world.create("/d/b");
    assert_eq!(errno(world.run(world.fs.rmdir(Ino::ROOT, b"d"))), libc::ENOTEMPTY, "staged only");
    world.unlink("/d/b").unwrap();
    world.run(world.fs.rmdir(Ino::ROOT, b"d")).unwrap();
    world.close(handle);
}

#[test]
fn removing_a_file_that_was_never_sent_sends_nothing() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, b"x");
    world.remote.clear_log();
    world.unlink("/a").unwrap();
    assert!(!world.exists("/a"));
    world.close(handle);
    assert!(world.remote.log().iter().all(|op| op.starts_with("List")));
    assert!(world.remote.names("/").is_empty());
    assert!(world.store.kept().is_empty(), "it was thrown away, not lost");
}

/// > Who has a removed file open for writing goes on with the copy here, which is dropped at the
/// > end.
#[test]
fn a_removed_file_lives_on_in_its_open_handle() {
    let world = World::with([("/a", &b"hello"[..])]);
    let handle = world.open("/a", RDWR);
    assert_eq!(world.read(handle), b"hello");
    let ino = world.ino("/a");
    world.unlink("/a").unwrap();
    assert_eq!(world.run(world.fs.getattr(ino, None)).unwrap().nlink, 0);
    world.write(handle, 5, b" there");
    assert_eq!(world.read(handle), b"hello there");
    world.close(handle);
    assert_eq!(world.remote.content("/a"), None);
    assert_eq!(errno(world.run(world.fs.getattr(ino, None))), libc::ESTALE);
}

#[test]
fn a_reader_of_a_removed_file_goes_on_with_what_was_read() {
    let world = World::with([("/a", &b"hello"[..])]);
    let handle = world.open("/a", RDONLY);
    assert_eq!(world.read(handle), b"hello");
    world.unlink("/a").unwrap();
    world.remote.put("/a", b"other");
    assert_eq!(world.read(handle), b"hello");
}

/// > A file keeps its inode number through every rename, and no other file gets it.
#[test]
fn a_newcomer_under_an_old_name_is_another_file() {
    let world = World::with([("/a", &b"old"[..])]);
    let reader = world.open("/a", RDONLY);
    let old = world.ino("/a");
    world.unlink("/a").unwrap();
    let handle = world.create("/a");
    world.write(handle, 0, b"new");
    world.close(handle);
    assert_ne!(world.ino("/a"), old);
    assert_eq!(errno(world.run(world.fs.read(reader, 0, 3))), libc::ESTALE);
    assert_eq!(errno(world.run(world.fs.open(old, RDONLY))), libc::ESTALE);
}

/// > A file keeps its inode number through every rename, and no other file gets it.
#[test]
fn a_rename_carries_the_number_and_the_open_handle() {
    let world = World::with([("/a", &b"hello"[..])]);
    let ino = world.ino("/a");
    let handle = world.open("/a", RDONLY);
    world.remote.clear_log();
    world.rename("/a", "/b").unwrap();
    let wire: Vec<_> =
        world.remote.log().into_iter().filter(|op| !op.starts_with("List")).collect();
    assert_eq!(wire, [r#"Rename "/a" "/b""#]);
    assert_eq!(world.ino("/b"), ino);
    assert!(!world.exists("/a"));
    assert_eq!(world.read(handle), b"hello");
}

/// > A file that was never sent only changes its name here; of one that is being sent nothing is
/// > left under the old name.
#[test]
fn a_file_renamed_before_its_first_flush_is_sent_once_under_the_new_name() {
    let world = World::with([("/b", &b"old"[..])]);
    let handle = world.create("/a");
    world.write(handle, 0, b"new content");
    world.remote.clear_log();
    world.rename("/a", "/b").unwrap();
    assert_eq!(world.size("/b"), 11, "the old file is replaced in view");
    assert_eq!(world.names("/"), ["b"]);
    assert!(world.remote.log().iter().all(|op| op.starts_with("List")));
    world.close(handle);
    assert_eq!(world.remote.content("/b").unwrap(), b"new content");
    assert_eq!(world.remote.names("/"), ["b"]);
}

#[test]
fn a_replacement_that_is_removed_before_it_was_sent_takes_the_old_file_along() {
    let world = World::with([("/b", &b"old"[..])]);
    let handle = world.create("/a");
    world.rename("/a", "/b").unwrap();
    world.unlink("/b").unwrap();
    world.close(handle);
    assert!(world.remote.names("/").is_empty());
    assert!(!world.exists("/b"));
}

#[test]
fn a_dirty_file_is_renamed_at_once_and_its_changes_follow() {
    let world = World::with([("/a", &b"0123456789"[..])]);
    let handle = world.open("/a", RDWR);
    world.write(handle, 0, b"x");
    world.rename("/a", "/b").unwrap();
    assert_eq!(world.remote.content("/b").unwrap(), b"0123456789");
    world.close(handle);
    assert_eq!(world.remote.content("/b").unwrap(), b"x123456789");
    assert_eq!(world.remote.names("/"), ["b"]);
}

/// > A renamed directory carries its open files along.
#[test]
fn a_renamed_directory_carries_staged_files_along() {
    let world = World::with([("/d/a", &b"old"[..])]);
    let handle = world.create("/d/b");
    world.write(handle, 0, b"new");
    world.rename("/d", "/e").unwrap();
    assert_eq!(world.size("/e/b"), 3);
    assert_eq!(world.names("/e"), ["a", "b"]);
    world.close(handle);
    assert_eq!(world.remote.content("/e/b").unwrap(), b"new");
}

#[test]
fn a_rename_waits_for_the_upload_of_the_file() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, &[1; 5000]);
    let mut flush = Box::pin(world.fs.flush(handle, Closing::Ordinary));
    assert!(poll(&mut flush).is_none());
    let mut rename = Box::pin(world.fs.rename(Ino::ROOT, b"a", Ino::ROOT, b"b", false));
    while poll(&mut flush).is_none() {
        assert!(poll(&mut rename).is_none());
        world.step();
    }
    drop(flush);
    world.run(rename).unwrap();
    world.close(handle);
    assert_eq!(world.remote.names("/"), ["b"]);
    assert_eq!(world.remote.content("/b").unwrap(), [1; 5000]);
}

#[test]
fn an_upload_does_not_bring_back_a_name_that_is_being_changed() {
    let world = World::with([("/a", &b"old"[..])]);
    let ino = world.ino("/a");
    let mut rename = Box::pin(world.fs.rename(Ino::ROOT, b"a", Ino::ROOT, b"b", false));
    assert!(poll(&mut rename).is_none());
    let handle = poll(&mut Box::pin(world.fs.open(ino, WRONLY | libc::O_TRUNC))).unwrap().unwrap();
    let handle = handle.handle;
    poll(&mut Box::pin(world.fs.write(handle, 0, b"new".to_vec()))).unwrap().unwrap();
    let mut flush = Box::pin(world.fs.flush(handle, Closing::Ordinary));
    assert!(poll(&mut flush).is_none());
    world.run(rename).unwrap();
    world.run(flush).unwrap();
    world.release(handle);
    assert_eq!(world.remote.names("/"), ["b"]);
    assert_eq!(world.remote.content("/b").unwrap(), b"new");
}

/// > rename replaces a file, or an empty directory by a directory; RENAME_NOREPLACE is EEXIST where
/// > the name is taken.
#[test]
fn a_rename_checks_what_it_replaces() {
    let world = World::with([("/a", &b"a"[..]), ("/d/b", b"b"), ("/e/c", b"c")]);
    assert_eq!(errno(world.rename("/a", "/d")), libc::EISDIR);
    assert_eq!(errno(world.rename("/d", "/a")), libc::ENOTDIR);
    assert_eq!(errno(world.rename("/d", "/e")), libc::ENOTEMPTY);
    assert_eq!(errno(world.rename("/d", "/d/x")), libc::EINVAL);
    assert_eq!(errno(world.rename("/x", "/y")), libc::ENOENT);
    world.rename("/a", "/a").unwrap();
    let fs = &world.fs;
    let refused = fs.rename(Ino::ROOT, b"a", world.ino("/d"), b"b", true);
    assert_eq!(errno(world.run(refused)), libc::EEXIST);
    world.unlink("/e/c").unwrap();
    world.rename("/d", "/e").unwrap();
    assert_eq!(world.names("/"), ["a", "e"]);
    assert_eq!(world.names("/e"), ["b"]);
}

#[test]
fn an_armed_vehicle_keeps_its_files() {
    let world = World::with([("/a", &b"a"[..])]);
    world.ino("/a");
    world.remote.fail_next("Remove", crate::remote::Error::Armed);
    assert_eq!(errno(world.unlink("/a")), libc::EBUSY);
    assert!(world.exists("/a"));
}

#[test]
fn the_longest_name_is_what_a_path_on_the_vehicle_leaves() {
    let world = World::with([]);
    let longest = |path_bytes_max| {
        world.remote.change_status(|status| status.path_bytes_max = path_bytes_max);
        world.fs.statfs().name_bytes_max
    };
    assert_eq!(longest(237), 236, "and a slash before it");
    assert_eq!(longest(4096), 255);
    let name = [b'n'; 237];
    longest(237);
    world.run(world.fs.mkdir(Ino::ROOT, &name[..236])).unwrap();
    assert_eq!(errno(world.run(world.fs.mkdir(Ino::ROOT, &name))), libc::ENAMETOOLONG);
}

/// Creates an empty file whose save fails although it arrives.
fn arrived_after_all(world: &World) -> Handle {
    let handle = world.create("/a");
    world.remote.fail_next("Size", Error::TimedOut);
    world.flush(handle).unwrap_err();
    assert!(world.remote.content("/a").is_some());
    handle
}

#[test]
fn a_file_that_arrived_after_all_is_removed_with_its_name() {
    let world = World::with([]);
    let handle = arrived_after_all(&world);
    world.unlink("/a").unwrap();
    assert_eq!(world.remote.content("/a"), None);
    world.close(handle);
    assert!(world.remote.names("/").is_empty());
}

#[test]
fn a_file_that_arrived_after_all_is_renamed_on_the_vehicle() {
    let world = World::with([]);
    let handle = arrived_after_all(&world);
    world.rename("/a", "/b").unwrap();
    assert_eq!(world.remote.names("/"), ["b"]);
    world.close(handle);
    assert_eq!(world.remote.names("/"), ["b"]);
}

#[test]
fn a_name_stays_while_nobody_can_say_whether_its_file_arrived() {
    let world = World::with([]);
    let handle = arrived_after_all(&world);
    world.remote.fail_next("Size", Error::TimedOut);
    assert_eq!(errno(world.unlink("/a")), libc::ETIMEDOUT);
    assert!(world.exists("/a") && world.remote.content("/a").is_some());
    world.unlink("/a").unwrap();
    world.close(handle);
    assert!(world.remote.names("/").is_empty());
}

#[test]
fn a_file_that_was_dropped_while_its_rename_waited_is_not_there_and_replaces_nothing() {
    let world = World::with([("/b", &b"old"[..])]);
    let handle = world.create("/a");
    world.write(handle, 0, b"new");
    world.refuse_uploads(true);
    let mut flush = Box::pin(world.fs.flush(handle, Closing::Ordinary));
    assert!(poll(&mut flush).is_none());
    let mut rename = Box::pin(world.fs.rename(Ino::ROOT, b"a", Ino::ROOT, b"b", false));
    assert!(poll(&mut rename).is_none());
    assert_eq!(errno(world.run(flush)), libc::ENOSPC);
    world.release(handle);
    assert_eq!(errno(world.run(rename)), libc::ENOENT);
    assert!(!world.exists("/a"));
    assert_eq!(world.content("/b"), b"old");
}

#[test]
fn a_file_that_was_opened_while_it_was_removed_leaves_nothing_behind() {
    let world = World::with([("/a", &b"old"[..])]);
    let ino = world.ino("/a");
    let mut unlink = Box::pin(world.fs.unlink(Ino::ROOT, b"a"));
    assert!(poll(&mut unlink).is_none());
    let writer = world.run(world.fs.open(ino, RDWR | libc::O_TRUNC)).map(|opened| opened.handle);
    world.run(unlink).unwrap();
    if let Ok(writer) = writer {
        world.close(writer);
    }
    assert!(world.remote.content("/a").is_none() && world.store.kept().is_empty());
    assert!(world.fs.state.lock().staged.is_empty());
}

#[test]
fn a_file_that_was_replaced_while_it_was_opened_is_not_taken_for_the_other() {
    for flags in [RDONLY, RDWR] {
        let world = World::with([("/a", &b"first"[..]), ("/b", b"other")]);
        let ino = world.ino("/a");
        world.wait(11);
        let mut open = Box::pin(world.fs.open(ino, flags));
        assert!(poll(&mut open).is_none(), "its directory is listed anew");
        world.rename("/b", "/a").unwrap();
        assert_eq!(errno(world.run(open)), libc::ESTALE);
    }
}
