//! Uploads that fail, and what becomes of their bytes.

use super::*;

/// > close and fsync return what became of the upload: success only when the vehicle has
/// > acknowledged every byte and told the right size (`--verify`).
///
/// > A second close of the same state sends nothing; after an error the next close or fsync tries
/// > again.
#[test]
fn a_failed_flush_says_why_and_the_next_one_tries_again() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, b"hello");
    world.remote.fail_next("Write", Error::NoSpace);
    assert_eq!(errno(world.flush(handle)), libc::ENOSPC);
    assert_eq!(world.size("/a"), 5);
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"hello");
    assert!(world.store.kept().is_empty());
}

/// > A failed save leaves the target as it was, gives its errno at write, fsync or close, and keeps
/// > the bytes here (`mavftp-mount unsent`).
///
/// > What was reported as failed is never sent by itself; a later successful save of the same path
/// > drops it.
#[test]
fn what_could_not_be_sent_is_kept_for_its_owner() {
    let world = World::with([("/a", &b"old"[..])]);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    world.write(handle, 0, b"precious");
    world.remote.fail_next("Write", Error::LinkDown);
    assert_eq!(errno(world.flush(handle)), libc::EHOSTDOWN);
    world.remote.clear_log();
    world.release(handle);
    assert!(world.remote.log().is_empty(), "what was reported as failed is not sent by itself");
    assert_eq!(world.store.kept(), [(b"a".to_vec(), b"precious".to_vec())]);
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
    assert_eq!(world.content("/a"), b"old");
}

#[test]
fn a_new_file_that_could_not_be_sent_is_gone_from_view() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.remote.fail_next("Write", Error::TimedOut);
    assert_eq!(errno(world.flush(handle)), libc::ETIMEDOUT);
    world.release(handle);
    assert!(!world.exists("/a"));
    assert!(world.names("/").is_empty());
}

#[test]
fn pages_written_back_after_the_last_flush_are_sent_at_release() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.flush(handle).unwrap();
    world.write(handle, 0, b"mapped");
    world.release(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"mapped");
}

#[test]
fn the_unmount_sends_what_is_open_and_says_what_failed() {
    let world = World::with([]);
    let (first, second) = (world.create("/a"), world.create("/b"));
    world.write(first, 0, b"one");
    world.write(second, 0, b"two");
    world.remote.fail_next("Write", Error::NoSpace);
    let failed = world.run(world.fs.finish());
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0.to_string(), "/a");
    assert_eq!(failed[0].1.errno(), libc::ENOSPC);
    assert_eq!(world.store.kept(), [(b"a".to_vec(), b"one".to_vec())]);
    assert_eq!(world.remote.content("/b").unwrap(), b"two");
    world.release(first);
    assert_eq!(world.store.kept().len(), 1, "the same bytes are kept once");
}

#[test]
fn a_failed_truncate_leaves_the_file_and_nothing_to_keep() {
    let world = World::with([("/a", &b"0123456789"[..])]);
    world.remote.fail_next("Write", Error::NoSpace);
    let ino = world.ino("/a");
    let cut = crate::fs::SetAttr { size: Some(3), mtime: None };
    assert_eq!(errno(world.run(world.fs.setattr(ino, None, cut))), libc::ENOSPC);
    assert_eq!(world.content("/a"), b"0123456789");
    assert!(world.store.kept().is_empty());
}

#[test]
fn an_end_in_a_hurry_keeps_what_is_still_being_sent() {
    let world = World::with([("/a", &b"old"[..])]);
    let (first, second) = (world.open("/a", WRONLY | libc::O_TRUNC), world.create("/b"));
    world.write(first, 0, b"one");
    world.write(second, 0, b"two");
    world.flush(second).unwrap();
    assert_eq!(world.run(world.fs.keep_all_unsent()), 1);
    assert_eq!(world.store.kept(), [(b"a".to_vec(), b"one".to_vec())]);
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
}
