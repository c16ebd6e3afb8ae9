//! Uploads that run while their files are written.

use super::*;
use crate::fs::SetAttr;

const PIECE: usize = 4096;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at / 239) ^ at) as u8).collect()
}

fn uploads(world: &World) -> usize {
    world.remote.log().iter().filter(|op| op.starts_with("Write")).count()
}

/// Writes in pieces, from an offset on.
fn write_all(world: &World, handle: Handle, bytes: &[u8], from: usize) {
    for (index, piece) in bytes.chunks(PIECE).enumerate() {
        world.write(handle, (from + index * PIECE) as u64, piece);
    }
}

/// A file that has been written in part and is being uploaded.
fn half_written(world: &World, path: &str) -> Handle {
    let handle = world.create(path);
    write_all(world, handle, &pattern(40_000), 0);
    assert!(world.uploading() > 0);
    handle
}

/// > A save goes to a temporary name in the same folder and is renamed over the target, so that the
/// > target is the old file or the new one at every moment.
#[test]
fn a_new_file_is_uploaded_while_it_is_written_and_sent_once() {
    let world = World::with([("/a", &b"old"[..])]);
    for flags in [WRONLY | libc::O_TRUNC, RDWR | libc::O_TRUNC | libc::O_APPEND] {
        world.remote.clear_log();
        let old = world.remote.content("/a").unwrap();
        let handle = world.open("/a", flags);
        world.write(handle, 0, &pattern(100));
        assert_eq!(world.uploading(), 0, "nothing is sent of a short file before its close");
        let bytes = pattern(100_000);
        write_all(&world, handle, &bytes[100..], 100);
        assert!(world.uploading() > 80_000, "all but what is ahead has been sent");
        assert!(world.remote.content("/a").unwrap() == old, "the name stands for the old file");
        world.close(handle);
        assert!(world.remote.content("/a").unwrap() == bytes);
        assert_eq!((uploads(&world), world.remote.names("/")), (1, vec!["a".to_string()]));
        assert!(world.content("/a") == bytes);
    }
}

/// > A new file written in order is sent while it is written, and write waits for the vehicle at
/// > the link's pace, so that a copy shows true progress.
#[test]
fn a_write_waits_for_what_the_vehicle_has_not_stored() {
    let world = World::with([]);
    let handle = world.create("/a");
    let bytes = pattern(80_000);
    let mut written = 0;
    for (index, piece) in bytes.chunks(PIECE).enumerate() {
        let offset = (index * PIECE) as u64;
        let mut write = Box::pin(world.fs.write(handle, offset, piece.to_vec()));
        if poll(&mut write).is_some() {
            written += piece.len();
            continue;
        }
        assert!((16 << 10..=20 << 10).contains(&written), "{written}");
        assert_eq!(world.uploading(), 0);
        world.run(write).unwrap();
        assert!(world.uploading() > 0);
        break;
    }
    world.close(handle);
    assert!(written > 0);
}

#[test]
fn a_close_that_follows_sends_the_rest_and_tells_what_went_wrong() {
    let world = World::with([("/a", &b"old"[..])]);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    write_all(&world, handle, &pattern(40_000), 0);
    world.refuse_uploads(true);
    assert_eq!(errno(world.flush(handle)), libc::ENOSPC);
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
    world.refuse_uploads(false);
    world.close(handle);
    assert!(world.remote.content("/a").unwrap() == pattern(40_000));
}

/// > What ends such an upload is the error of the write that waits or of the next one, of each
/// > after that, and of the close.
#[test]
fn what_ends_an_upload_is_told_by_every_write_until_the_close_and_is_not_tried_again() {
    let world = World::with([("/a", &b"old"[..])]);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    write_all(&world, handle, &pattern(40_000), 0);
    world.break_uploads(Error::NoSpace);
    while world.step() {}
    for _ in 0..2 {
        let next = world.run(world.fs.write(handle, 40_000, vec![1; PIECE]));
        assert_eq!(errno(next), libc::ENOSPC);
    }
    assert_eq!(world.size("/a"), 40_000, "what was refused is not in the file");
    assert_eq!(errno(world.flush(handle)), libc::ENOSPC);
    world.release(handle);
    assert_eq!((uploads(&world), world.uploading()), (0, 0));
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
    assert_eq!(world.store.kept(), [(b"a".to_vec(), pattern(40_000))]);
}

/// > What ends such an upload is the error of the write that waits or of the next one, of each
/// > after that, and of the close.
///
/// > When a write has failed, no close saves what was written before it: the target keeps its old
/// > content, and the bytes are kept here as partial.
#[test]
fn a_held_write_learns_that_the_upload_failed() {
    let world = World::with([]);
    let handle = world.create("/a");
    let mut write = Box::pin(world.fs.write(handle, 0, pattern(60_000)));
    assert!(poll(&mut write).is_none());
    world.step();
    world.break_uploads(Error::TimedOut);
    assert_eq!(errno(world.run(write)), libc::ETIMEDOUT);
    let another = world.open("/a", libc::O_WRONLY);
    for descriptor in [handle, another, handle] {
        assert_eq!(errno(world.flush(descriptor)), libc::ETIMEDOUT);
        assert_eq!(errno(world.run(world.fs.write(another, 0, vec![1]))), libc::ETIMEDOUT);
    }
    world.release(handle);
    world.release(another);
    assert_eq!(world.remote.content("/a"), None);
}

#[test]
fn a_file_whose_write_failed_can_be_emptied_and_written_anew() {
    let world = World::with([]);
    let handle = world.create("/a");
    let mut write = Box::pin(world.fs.write(handle, 0, pattern(60_000)));
    assert!(poll(&mut write).is_none());
    world.step();
    world.break_uploads(Error::TimedOut);
    assert_eq!(errno(world.run(write)), libc::ETIMEDOUT);
    let anew = world.open("/a", libc::O_WRONLY | libc::O_TRUNC);
    world.write(anew, 0, b"anew");
    world.close(anew);
    assert_eq!(world.remote.content("/a").unwrap(), b"anew");
    world.close(handle);
}

#[test]
fn a_close_that_learned_of_the_failure_is_tried_again_by_the_next() {
    let world = World::with([]);
    let handle = half_written(&world, "/a");
    world.break_uploads(Error::TimedOut);
    while world.step() {}
    assert_eq!(errno(world.flush(handle)), libc::ETIMEDOUT);
    world.close(handle);
    assert!(world.remote.content("/a").unwrap() == pattern(40_000));
}

#[test]
fn an_upload_that_was_in_the_way_of_others_is_sent_whole_at_the_close() {
    let world = World::with([]);
    let handle = half_written(&world, "/a");
    world.break_uploads(Error::Busy);
    while world.step() {}
    write_all(&world, handle, &pattern(300_000)[40_000..], 40_000);
    assert_eq!(world.uploading(), 0, "nothing is sent, and nobody held");
    world.close(handle);
    assert!(world.remote.content("/a").unwrap() == pattern(300_000));
}

#[test]
fn a_change_out_of_order_stops_the_upload_and_the_file_is_right() {
    let changes: [fn(&World, Handle, &mut Vec<u8>); 4] = [
        |world, handle, bytes| {
            world.write(handle, 5, b"xx");
            bytes[5..7].copy_from_slice(b"xx");
        },
        |world, handle, bytes| {
            world.write(handle, 50_000, b"behind a gap");
            bytes.resize(50_000, 0);
            bytes.extend_from_slice(b"behind a gap");
        },
        |world, handle, bytes| {
            let cut = SetAttr { size: Some(20_000), mtime: None };
            world.run(world.fs.setattr(world.ino("/a"), Some(handle), cut)).unwrap();
            bytes.truncate(20_000);
        },
        |world, handle, bytes| {
            let cut = SetAttr { size: Some(0), mtime: None };
            world.run(world.fs.setattr(world.ino("/a"), Some(handle), cut)).unwrap();
            write_all(world, handle, &[9; 30_000], 0);
            assert!(world.uploading() > 0, "an emptied file is uploaded anew");
            *bytes = vec![9; 30_000];
        },
    ];
    for change in changes {
        let world = World::with([]);
        let handle = half_written(&world, "/a");
        let mut bytes = pattern(40_000);
        change(&world, handle, &mut bytes);
        world.write(handle, bytes.len() as u64, b"the end");
        bytes.extend_from_slice(b"the end");
        world.close(handle);
        assert!(world.remote.content("/a").unwrap() == bytes);
        assert_eq!(world.remote.names("/"), ["a"]);
    }
}

#[test]
fn what_is_read_while_it_is_uploaded_is_what_was_written() {
    let world = World::with([]);
    let handle = half_written(&world, "/a");
    assert!(world.read(handle) == pattern(40_000));
    assert_eq!(world.size("/a"), 40_000);
    world.close(handle);
}

/// > A file that was never sent only changes its name here; of one that is being sent nothing is
/// > left under the old name.
#[test]
fn a_file_that_is_renamed_or_removed_while_it_is_uploaded_leaves_nothing_behind() {
    let world = World::with([("/d/x", &b"x"[..])]);
    let handle = half_written(&world, "/d/a");
    world.rename("/d", "/e").unwrap();
    assert_eq!(world.remote.names("/e"), ["x"]);
    world.write(handle, 40_000, b"end");
    world.close(handle);
    assert_eq!(world.remote.content("/e/a").unwrap().len(), 40_003);
    let handle = half_written(&world, "/e/b");
    world.rename("/e/b", "/e/c").unwrap();
    world.close(handle);
    assert!(world.remote.content("/e/c").unwrap() == pattern(40_000));
    let handle = half_written(&world, "/e/f");
    world.unlink("/e/f").unwrap();
    world.write(handle, 40_000, &pattern(40_000));
    world.close(handle);
    assert_eq!(world.remote.names("/e"), ["a", "c", "x"]);
    let (first, second) = (half_written(&world, "/e/a1"), half_written(&world, "/e/a2"));
    world.rename("/e/a1", "/e/a2").unwrap();
    world.close(second);
    world.close(first);
    assert_eq!(world.remote.names("/e"), ["a", "a2", "c", "x"]);
}

#[test]
fn a_killed_programs_file_is_not_sent_and_the_target_stays() {
    let world = World::with([("/a", &b"old"[..]), ("/b", b"old")]);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    write_all(&world, handle, &pattern(40_000), 0);
    let mut flush = Box::pin(world.fs.flush(handle, Closing::Killed));
    assert!(poll(&mut flush).is_some_and(|flushed| flushed.is_ok()), "it is answered at once");
    world.release(handle);
    while world.step() {}
    let short = world.open("/b", WRONLY | libc::O_TRUNC);
    world.write(short, 0, b"new");
    world.run(world.fs.flush(short, Closing::Killed)).unwrap();
    world.release(short);
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
    assert_eq!(world.remote.content("/b").unwrap(), b"old");
    assert_eq!(world.remote.names("/"), ["a", "b"]);
    assert_eq!((uploads(&world), world.uploading()), (0, 0));
    let kept = world.store.kept();
    assert_eq!(kept, [(b"a".to_vec(), pattern(40_000)), (b"b".to_vec(), b"new".to_vec())]);
    assert_eq!(world.content("/a"), b"old");
}

/// The kernel lets go of a handle some time after it was closed.
#[test]
fn a_killed_programs_file_is_not_sent_by_a_handle_that_was_closed_before() {
    let world = World::with([("/a", &b"old"[..])]);
    let closed = world.open("/a", WRONLY | libc::O_TRUNC);
    world.run(world.fs.flush(closed, Closing::Ordinary)).unwrap();
    let killed = world.open("/a", WRONLY | libc::O_TRUNC);
    world.write(killed, 0, b"half");
    world.run(world.fs.flush(killed, Closing::Killed)).unwrap();
    world.run(world.fs.release(closed)).unwrap();
    world.run(world.fs.release(killed)).unwrap();
    assert_eq!(world.remote.content("/a").unwrap(), b"");
}

#[test]
fn a_killed_programs_file_is_sent_by_who_else_writes_it_or_closes_it() {
    let world = World::with([]);
    let (first, second) = (half_written(&world, "/a"), world.open("/a", RDWR));
    world.run(world.fs.flush(first, Closing::Killed)).unwrap();
    world.release(first);
    world.close(second);
    assert!(world.remote.content("/a").unwrap() == pattern(40_000));
    let shared = half_written(&world, "/b");
    world.run(world.fs.flush(shared, Closing::Killed)).unwrap();
    world.close(shared);
    assert!(world.remote.content("/b").unwrap() == pattern(40_000));
}

#[test]
fn a_server_with_one_connection_gets_the_file_at_its_close() {
    let world = World::with([]);
    world.remote.change_status(|status| status.streams = false);
    let handle = world.create("/a");
    let mut write = Box::pin(world.fs.write(handle, 0, pattern(100_000)));
    assert!(poll(&mut write).is_some(), "nobody is held");
    drop(write);
    world.close(handle);
    assert!(world.remote.content("/a").unwrap() == pattern(100_000));
}

#[test]
fn an_end_of_the_mount_keeps_what_is_being_written_and_sends_what_only_is_open() {
    let world = World::with([("/a", &b"old"[..])]);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    write_all(&world, handle, &pattern(40_000), 0);
    assert!(world.uploading() > 0);
    let short = world.create("/b");
    world.write(short, 0, b"short");
    let failed = world.run(world.fs.finish());
    assert_eq!(failed.iter().map(|(path, _)| path.as_bytes()).collect::<Vec<_>>(), [b"/a"]);
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
    assert_eq!(world.remote.content("/b").unwrap(), b"short");
    assert_eq!((world.uploading(), world.remote.names("/").len()), (0, 2));
    assert_eq!(world.store.kept(), [(b"a".to_vec(), pattern(40_000))]);
    assert_eq!(world.run(world.fs.keep_all_unsent()), 1, "it is kept once");
    assert_eq!(world.store.kept().len(), 1);
    // The program goes on while programs may, and closes the whole.
    write_all(&world, handle, &pattern(50_000)[40_000..], 40_000);
    world.close(handle);
    assert!(world.remote.content("/a").unwrap() == pattern(50_000));
    assert!(world.store.kept().is_empty());
}

#[test]
fn an_upload_whose_work_is_dropped_ends_for_those_who_wait() {
    let world = World::with([]);
    let handle = half_written(&world, "/a");
    world.forget_background();
    world.break_uploads(Error::Cancelled);
    world.write(handle, 0, b"x");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap()[..2], [b'x', pattern(2)[1]]);
}

#[test]
fn bytes_that_arrived_wrong_are_sent_anew_from_the_beginning() {
    let world = World::with([]);
    let handle = half_written(&world, "/a");
    world.remote.garble_writes(1);
    world.close(handle);
    assert!(world.remote.content("/a").unwrap() == pattern(40_000));
    assert_eq!(uploads(&world), 2);
}
