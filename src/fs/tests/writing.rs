//! Staged copies and what is sent of them.

use super::*;
use crate::fs::SetAttr;

fn uploads(world: &World) -> usize {
    world.remote.log().iter().filter(|op| op.starts_with("Write")).count()
}

/// > Opening a file to write, and creating one, send nothing; of what the vehicle has only what is
/// > needed is fetched.
#[test]
fn a_new_file_is_sent_at_its_close() {
    let world = World::with([]);
    world.exists("/a");
    world.remote.clear_log();
    let handle = world.create("/a");
    world.write(handle, 0, b"hello ");
    world.write(handle, 6, b"world");
    assert_eq!(world.size("/a"), 11);
    assert!(world.remote.log().is_empty(), "create and write send nothing");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"hello world");
    assert_eq!(world.remote.names("/"), ["a"]);
    assert_eq!(world.content("/a"), b"hello world");
}

#[test]
fn an_empty_new_file_is_saved_as_an_empty_file() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"");
    assert_eq!(world.size("/a"), 0);
}

/// > A second close of the same state sends nothing; after an error the next close or fsync tries
/// > again.
#[test]
fn a_second_flush_of_a_duplicated_descriptor_sends_nothing() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, b"x");
    world.flush(handle).unwrap();
    world.remote.clear_log();
    world.flush(handle).unwrap();
    world.run(world.fs.fsync(handle)).unwrap();
    world.close(handle);
    assert!(world.remote.log().is_empty());
}

/// > Opening a file to write, and creating one, send nothing; of what the vehicle has only what is
/// > needed is fetched.
#[test]
fn opening_for_writing_fetches_nothing_until_it_must() {
    let world = World::with([("/a", &b"0123456789"[..])]);
    world.ino("/a");
    world.remote.clear_log();
    let handle = world.open("/a", RDWR);
    world.write(handle, 2, b"xx");
    assert!(world.remote.log().is_empty());
    assert_eq!(world.read(handle), b"01xx456789");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"01xx456789");
}

#[test]
fn an_open_without_a_write_sends_nothing() {
    let world = World::with([("/a", &b"hello"[..])]);
    world.ino("/a");
    world.remote.clear_log();
    let handle = world.open("/a", RDWR);
    world.close(handle);
    assert!(world.remote.log().is_empty());
}

#[test]
fn a_file_that_is_emptied_is_not_fetched() {
    let world = World::with([("/a", &b"old content"[..])]);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    assert_eq!(world.size("/a"), 0);
    world.write(handle, 0, b"new");
    world.close(handle);
    assert!(world.remote.log().iter().all(|op| !op.starts_with("Read")));
    assert_eq!(world.remote.content("/a").unwrap(), b"new");
}

#[test]
fn a_file_that_is_only_emptied_is_empty_on_the_vehicle() {
    let world = World::with([("/a", &b"old content"[..])]);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"");
}

#[test]
fn an_append_goes_to_the_end_whatever_the_offset() {
    let world = World::with([("/a", &b"one"[..])]);
    let first = world.open("/a", WRONLY | libc::O_APPEND);
    let second = world.open("/a", WRONLY | libc::O_APPEND);
    world.write(first, 3, b" two");
    world.write(second, 3, b" three");
    world.close(first);
    world.close(second);
    assert_eq!(world.remote.content("/a").unwrap(), b"one two three");
}

#[test]
fn a_gap_reads_as_zeros() {
    let world = World::with([("/a", &b"abcdef"[..])]);
    let handle = world.open("/a", RDWR);
    let cut = SetAttr { size: Some(2), mtime: None };
    let ino = world.ino("/a");
    world.run(world.fs.setattr(ino, Some(handle), cut)).unwrap();
    world.write(handle, 4, b"x");
    assert_eq!(world.read(handle), b"ab\0\0x");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"ab\0\0x");
}

/// > All who have a file open share that copy, and what one writes the others read at once.
#[test]
fn writers_share_one_staged_copy() {
    let world = World::with([]);
    let first = world.create("/a");
    let second = world.open("/a", RDWR);
    world.write(first, 0, b"aaaa");
    world.write(second, 2, b"bb");
    assert_eq!(world.read(second), b"aabb");
    world.close(first);
    world.write(second, 0, b"c");
    world.close(second);
    assert_eq!(world.remote.content("/a").unwrap(), b"cabb");
}

/// > truncate without an open file is on the vehicle when it returns.
#[test]
fn truncate_without_a_handle_is_done_when_it_returns() {
    let world = World::with([("/a", &b"0123456789"[..]), ("/b", &[7; 10_000])]);
    let cut = |path, size| {
        let ino = world.ino(path);
        let attr =
            world.run(world.fs.setattr(ino, None, SetAttr { size: Some(size), mtime: None }));
        assert_eq!(attr.unwrap().size, size);
    };
    cut("/a", 4);
    assert_eq!(world.remote.content("/a").unwrap(), b"0123");
    cut("/a", 6);
    assert_eq!(world.remote.content("/a").unwrap(), b"0123\0\0");
    cut("/a", 0);
    assert_eq!(world.remote.content("/a").unwrap(), b"");
    cut("/b", 5_000);
    assert_eq!(world.remote.content("/b").unwrap(), [7; 5_000]);
    assert_eq!(world.content("/b"), [7; 5_000]);
    let cuts = world.remote.log().iter().filter(|op| op.starts_with("Truncate")).count();
    assert_eq!(cuts, 1, "only the large file is cut where it lies");
}

#[test]
fn a_server_that_cannot_truncate_gets_the_file_again() {
    let world = World::with([("/b", &[7; 10_000][..])]);
    world.remote.fail_next("Truncate", Error::Unsupported);
    let ino = world.ino("/b");
    world.run(world.fs.setattr(ino, None, SetAttr { size: Some(5_000), mtime: None })).unwrap();
    assert_eq!(world.remote.content("/b").unwrap(), [7; 5_000]);
}

#[test]
fn a_large_file_is_sent_through_a_small_window() {
    let world = World::with([]);
    let handle = world.create("/a");
    let bytes: Vec<u8> = (0..600_000u32).map(|at| ((at / 239) ^ at) as u8).collect();
    for (index, piece) in bytes.chunks(4096).enumerate() {
        world.write(handle, index as u64 * 4096, piece);
    }
    world.close(handle);
    assert!(world.remote.content("/a").unwrap() == bytes);
}

#[test]
fn staged_copies_on_the_disk_are_sent_like_those_in_memory() {
    let place = tempfile::tempdir().unwrap();
    let disk = crate::fs::DiskStore::new(crate::journal::Journal::open(place.path()).unwrap());
    let world = World::over([("/a", &[5; 9000][..])], FsOptions::default(), Arc::new(disk));
    let handle = world.open("/a", RDWR);
    world.write(handle, 4000, &[6; 300_000]);
    world.write(handle, 0, b"x");
    world.close(handle);
    let expected = [&b"x"[..], &[5; 3999], &[6; 300_000]].concat();
    assert!(world.remote.content("/a").unwrap() == expected);
}

#[test]
fn a_write_waits_while_the_file_is_being_sent() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, &[1; 5000]);
    let mut flush = Box::pin(world.fs.flush(handle, Closing::Ordinary));
    assert!(poll(&mut flush).is_none());
    world.step();
    let mut write = Box::pin(world.fs.write(handle, 0, vec![2; 5000]));
    assert!(poll(&mut write).is_none());
    assert_eq!(world.size("/a"), 5000, "attributes and reads do not wait");
    assert_eq!(world.read(handle), [1; 5000]);
    world.run(flush).unwrap();
    assert_eq!(world.remote.content("/a").unwrap(), [1; 5000]);
    world.run(write).unwrap();
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), [2; 5000]);
}

#[test]
fn of_two_flushes_at_once_one_sends() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, b"hello");
    let mut first = Box::pin(world.fs.flush(handle, Closing::Ordinary));
    let mut second = Box::pin(world.fs.flush(handle, Closing::Ordinary));
    assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
    world.run(first).unwrap();
    world.run(second).unwrap();
    assert_eq!(uploads(&world), 1);
}

#[test]
fn a_file_larger_than_the_protocol_can_say_is_refused() {
    let world = World::with([]);
    let handle = world.create("/a");
    let past = world.run(world.fs.write(handle, u64::from(u32::MAX), vec![1]));
    assert_eq!(errno(past), libc::EFBIG);
    let ino = world.ino("/a");
    let long = SetAttr { size: Some(1 << 32), mtime: None };
    assert_eq!(errno(world.run(world.fs.setattr(ino, Some(handle), long))), libc::EFBIG);
    world.close(handle);
}

#[test]
fn a_handle_does_only_what_it_was_opened_for() {
    let world = World::with([("/a", &b"x"[..])]);
    let reader = world.open("/a", RDONLY);
    assert_eq!(errno(world.run(world.fs.write(reader, 0, vec![1]))), libc::EBADF);
    let writer = world.open("/a", WRONLY);
    assert_eq!(errno(world.run(world.fs.read(writer, 0, 1))), libc::EBADF);
    assert_eq!(errno(world.run(world.fs.read(Handle(99), 0, 1))), libc::EBADF);
}

/// > Of two stations that save the same file the last one wins; a change of a part of a file that
/// > is another by now is ESTALE.
#[test]
fn a_file_that_another_station_changed_is_not_mixed_into_the_staged_copy() {
    let world = World::with([("/a", &b"0123456789"[..])]);
    let handle = world.open("/a", RDWR);
    world.write(handle, 0, b"x");
    world.remote.put("/a", b"other");
    assert_eq!(errno(world.flush(handle)), libc::ESTALE);
    assert_eq!(world.remote.content("/a").unwrap(), b"other");
    world.release(handle);
}

/// > Of two stations that save the same file the last one wins; a change of a part of a file that
/// > is another by now is ESTALE.
#[test]
fn of_two_stations_that_save_a_file_the_last_one_wins() {
    let world = World::with([("/a", &b"0123456789"[..])]);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    world.write(handle, 0, b"ours");
    world.remote.put("/a", b"theirs");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"ours");
    world.remote.put("/a", b"theirs, later");
    world.wait(11);
    assert_eq!(world.content("/a"), b"theirs, later");
}
