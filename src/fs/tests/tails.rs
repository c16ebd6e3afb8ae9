//! Bytes added to files of the vehicle, and changes that would have too much fetched.

use super::*;
use crate::fs::{Append, SetAttr};

fn asked(world: &World, what: &str) -> usize {
    world.remote.log().iter().filter(|op| op.starts_with(what)).count()
}

fn add(world: &World, path: &str, bytes: &[u8]) -> Result<(), FsError> {
    let handle = world.open(path, WRONLY | libc::O_APPEND);
    world.write(handle, 0, bytes);
    let flushed = world.flush(handle);
    world.release(handle);
    flushed
}

/// > Adding to the end of a file sends only what was added, where the server keeps what it opens
/// > (`--append rewrite` sends the whole file).
#[test]
fn only_what_was_added_is_sent_and_nothing_fetched() {
    let world = World::with([("/log", &[1; 50_000][..])]);
    add(&world, "/log", b"one line\n").unwrap();
    add(&world, "/log", &[2; 10_000]).unwrap();
    assert_eq!((asked(&world, "Read"), asked(&world, "Rename")), (0, 0));
    let appends = asked(&world, "Write \"/log\" Append");
    assert_eq!((appends, asked(&world, "Write")), (2, 2));
    let expected = [&[1; 50_000][..], b"one line\n", &[2; 10_000]].concat();
    assert!(world.remote.content("/log").unwrap() == expected);
    assert!(world.content("/log") == expected);
    assert_eq!(world.size("/log"), expected.len() as u64);
}

#[test]
fn a_log_that_is_synced_line_by_line_sends_each_line_once_and_reads_right() {
    let world = World::with([("/log", &b"old\n"[..])]);
    for path in ["/log", "/new"] {
        let existed = world.exists(path);
        let handle = if existed { world.open(path, RDWR) } else { world.create(path) };
        let mut expected = if existed { b"old\n".to_vec() } else { Vec::new() };
        for line in 0..5 {
            let line = format!("line {line}\n");
            world.write(handle, expected.len() as u64, line.as_bytes());
            expected.extend_from_slice(line.as_bytes());
            world.run(world.fs.fsync(handle)).unwrap();
            assert_eq!(world.remote.content(path).unwrap(), expected);
            assert_eq!(world.read(handle), expected);
        }
        world.close(handle);
        assert_eq!(world.content(path), expected);
    }
    assert_eq!(asked(&world, "Write"), 10);
    assert_eq!(asked(&world, "Rename"), 1, "all but the first of the new file are added");
}

/// > Adding to the end of a file sends only what was added, where the server keeps what it opens
/// > (`--append rewrite` sends the whole file).
#[test]
fn a_file_of_another_length_or_a_server_that_keeps_nothing_gets_all_of_it() {
    let world = World::with([("/log", &b"0123456789"[..])]);
    world.remote.change_status(|status| status.appends = false);
    add(&world, "/log", b"abc").unwrap();
    assert_eq!(world.remote.content("/log").unwrap(), b"0123456789abc");
    assert_eq!((asked(&world, "Rename"), asked(&world, "Read")), (1, 1));
    let rewrite = FsOptions { append: Append::Rewrite, ..FsOptions::default() };
    let world = World::with_options([("/log", &b"0123456789"[..])], rewrite);
    add(&world, "/log", b"abc").unwrap();
    assert_eq!((asked(&world, "Rename"), asked(&world, "Read")), (1, 1));
    let world = World::with([("/log", &b"0123456789"[..])]);
    let handle = world.open("/log", WRONLY | libc::O_APPEND);
    world.write(handle, 0, b"abc");
    world.remote.put("/log", b"another");
    assert_eq!(errno(world.flush(handle)), libc::ESTALE);
    assert_eq!(world.remote.content("/log").unwrap(), b"another");
}

#[test]
fn bytes_that_were_changed_as_well_are_sent_with_the_rest() {
    let world = World::with([("/a", &b"0123456789"[..]), ("/b", b"0123456789")]);
    let handle = world.open("/a", RDWR);
    world.write(handle, 10, b"abc");
    world.write(handle, 0, b"x");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"x123456789abc");
    let handle = world.open("/b", RDWR);
    let cut = SetAttr { size: Some(4), mtime: None };
    world.run(world.fs.setattr(world.ino("/b"), Some(handle), cut)).unwrap();
    world.write(handle, 4, &[b'y'; 10]);
    world.close(handle);
    assert_eq!(world.remote.content("/b").unwrap(), b"0123yyyyyyyyyy");
    assert_eq!(asked(&world, "Rename"), 2);
}

#[test]
fn an_append_that_was_cut_goes_on_where_the_file_begins_to_be_ours() {
    let world = World::with([("/log", &[1; 5000][..])]);
    let handle = world.open("/log", WRONLY | libc::O_APPEND);
    world.write(handle, 0, &[2; 3000]);
    let mut flush = Box::pin(world.fs.flush(handle, Closing::Ordinary));
    while world.uploading() == 0 {
        assert!(poll(&mut flush).is_none());
        world.step();
    }
    world.break_uploads(Error::TimedOut);
    assert_eq!(errno(world.run(flush)), libc::ETIMEDOUT);
    // What a vehicle keeps of an append whose end never came.
    world.remote.put("/log", &[&[1; 5000][..], &[2; 1000]].concat());
    world.flush(handle).unwrap();
    world.release(handle);
    assert!(world.remote.content("/log").unwrap() == [&[1; 5000][..], &[2; 3000]].concat());
    assert_eq!(asked(&world, "Read"), 0);
}

#[test]
fn what_stands_before_an_append_that_failed_is_still_read_and_sent() {
    let world = World::with([("/log", &[1; 5000][..])]);
    let reader = world.open("/log", RDONLY);
    let handle = world.open("/log", RDWR);
    world.write(handle, 5000, &[2; 3000]);
    world.refuse_uploads(true);
    assert_eq!(errno(world.flush(handle)), libc::ENOSPC);
    world.refuse_uploads(false);
    // What a vehicle keeps of an append that it had no space for.
    world.remote.put("/log", &[&[1; 5000][..], &[2; 1000]].concat());
    let mut expected = [&[1; 5000][..], &[2; 3000]].concat();
    assert!(world.read(reader) == expected);
    world.write(handle, 10, b"x");
    expected[10] = b'x';
    world.close(handle);
    assert!(world.remote.content("/log").unwrap() == expected);
    assert!(world.read(reader) == expected);
}

#[test]
fn another_file_in_the_place_of_one_whose_append_failed_is_not_mixed_with_it() {
    let world = World::with([]);
    world.remote.put_at("/log", &[1; 5000], Some(42));
    let handle = world.open("/log", RDWR);
    world.write(handle, 5000, &[2; 3000]);
    world.refuse_uploads(true);
    assert_eq!(errno(world.flush(handle)), libc::ENOSPC);
    world.refuse_uploads(false);
    world.remote.put_at("/log", &[7; 5000], Some(99));
    world.wait(11);
    world.write(handle, 10, b"x");
    assert_eq!(errno(world.flush(handle)), libc::ESTALE);
    assert!(world.remote.content("/log").unwrap() == [7; 5000]);
}

#[test]
fn a_change_that_would_have_too_much_fetched_is_refused_when_it_is_made() {
    let options = FsOptions { max_edit_bytes: 9_999, ..FsOptions::default() };
    let world = World::with_options([("/a", &[1; 10_000][..])], options);
    world.remote.clear_log();
    let (handle, ino) = (world.open("/a", RDWR), world.ino("/a"));
    assert_eq!(errno(world.run(world.fs.write(handle, 5, vec![2; 10]))), libc::EFBIG);
    world.write(handle, 10_000, b"more");
    world.flush(handle).unwrap();
    assert_eq!(world.remote.content("/a").unwrap().len(), 10_004);
    assert_eq!(errno(world.run(world.fs.write(handle, 5, vec![2; 10]))), libc::EFBIG);
    let length = |size| SetAttr { size: Some(size), mtime: None };
    world.run(world.fs.setattr(ino, Some(handle), length(9_000))).unwrap();
    world.write(handle, 5, b"now it is small enough");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap().len(), 9_000);
}

#[test]
fn a_whole_overwrite_of_any_size_is_free() {
    let options = FsOptions { max_edit_bytes: 100, ..FsOptions::default() };
    let world = World::with_options([("/a", &[1; 10_000][..]), ("/b", &[1; 10_000])], options);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    world.write(handle, 0, &[2; 20_000]);
    world.close(handle);
    let handle = world.open("/b", RDWR);
    world.write(handle, 0, &[3; 10_000]);
    world.write(handle, 5, b"x");
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), [2; 20_000]);
    assert_eq!(asked(&world, "Read"), 0);
}

/// > A change of a part of a file larger than `--max-edit` (32 MiB), for which the rest would have
/// > to be fetched, is EFBIG before anything is fetched.
#[test]
fn without_appending_a_large_file_grows_no_more_either() {
    let options = FsOptions { max_edit_bytes: 100, ..FsOptions::default() };
    let world = World::with_options([("/a", &[1; 1_000][..])], options);
    world.remote.change_status(|status| status.appends = false);
    let handle = world.open("/a", WRONLY | libc::O_APPEND);
    assert_eq!(errno(world.run(world.fs.write(handle, 0, vec![2; 10]))), libc::EFBIG);
    let long = SetAttr { size: Some(2_000), mtime: None };
    let refused = world.run(world.fs.setattr(world.ino("/a"), Some(handle), long));
    assert_eq!(errno(refused), libc::EFBIG);
    world.close(handle);
    assert_eq!(asked(&world, "Read"), 0);
}
