//! Files that the vehicle makes when they are opened.

use super::*;

fn world() -> World {
    let files = [("/@SYS/uarts.txt", &b"one"[..]), ("/@MAV_LOG/1.BIN", b"log"), ("/@file", b"x")];
    let world = World::with(files);
    world.remote.change_status(|status| status.has_virtual = true);
    world
}

fn opened(world: &World, path: &str) -> super::super::Opened {
    let ino = world.ino(path);
    world.run(world.fs.open(ino, RDONLY)).unwrap()
}

/// > A file in them is read to its true end, whatever size is listed, anew at every open; all reads
/// > of one handle are of one content.
#[test]
fn each_handle_has_a_content_of_its_own_to_its_true_end() {
    let world = world();
    let first = opened(&world, "/@SYS/uarts.txt");
    assert!(first.direct_io && !first.keep_cache);
    assert_eq!(world.run(world.fs.read(first.handle, 0, 2)).unwrap(), b"on");
    world.remote.put("/@SYS/uarts.txt", b"something longer");
    assert_eq!(world.run(world.fs.read(first.handle, 2, 4096)).unwrap(), b"e");
    assert_eq!(world.run(world.fs.read(first.handle, 3, 4096)).unwrap(), b"");
    let second = opened(&world, "/@SYS/uarts.txt");
    assert_eq!(world.read(second.handle), b"something longer");
    assert_eq!(world.read(first.handle), b"one", "all its reads are of one content");
    let reads = world.remote.log().into_iter().filter(|op| op.starts_with("Read")).count();
    assert_eq!(reads, 2, "one for each handle");
    world.release(first.handle);
    world.release(second.handle);
}

#[test]
fn a_content_that_was_lost_on_the_way_is_read_anew() {
    let world = world();
    let open = opened(&world, "/@SYS/uarts.txt");
    world.remote.fail_next("Read", Error::Changed);
    assert_eq!(world.read(open.handle), b"one");
    let open = opened(&world, "/@SYS/uarts.txt");
    world.remote.fail_next("Read", Error::Armed);
    assert_eq!(errno(world.run(world.fs.read(open.handle, 0, 10))), libc::EBUSY);
    assert_eq!(world.read(open.handle), b"one");
}

#[test]
fn a_content_without_end_is_refused() {
    let world = world();
    world.remote.put("/@SYS/flash.bin", &vec![7; (8 << 20) + 1]);
    let open = opened(&world, "/@SYS/flash.bin");
    assert_eq!(errno(world.run(world.fs.read(open.handle, 0, 10))), libc::EFBIG);
}

/// > Nothing in them can be changed: EROFS before anything is sent.
#[test]
fn nothing_is_changed_there_and_nothing_is_sent() {
    let world = world();
    let (ino, directory) = (world.ino("/@SYS/uarts.txt"), world.ino("/@SYS"));
    world.ino("/@MAV_LOG/1.BIN");
    world.remote.clear_log();
    assert_eq!(errno(world.run(world.fs.open(ino, WRONLY))), libc::EROFS);
    assert_eq!(errno(world.run(world.fs.open(ino, RDONLY | libc::O_TRUNC))), libc::EROFS);
    assert_eq!(errno(world.run(world.fs.create(directory, b"new", RDWR))), libc::EROFS);
    assert_eq!(errno(world.run(world.fs.mkdir(directory, b"new"))), libc::EROFS);
    assert_eq!(errno(world.run(world.fs.mkdir(Ino::ROOT, b"@new"))), libc::EROFS);
    assert_eq!(errno(world.run(world.fs.rmdir(Ino::ROOT, b"@SYS"))), libc::EROFS);
    assert_eq!(errno(world.unlink("/@SYS/uarts.txt")), libc::EROFS);
    assert_eq!(errno(world.unlink("/@MAV_LOG/1.BIN")), libc::EROFS);
    assert_eq!(errno(world.rename("/@SYS/uarts.txt", "/uarts.txt")), libc::EROFS);
    assert_eq!(world.remote.log(), Vec::<String>::new());
}

#[test]
fn logs_under_their_second_name_are_ordinary_files_to_read() {
    let world = world();
    let log = opened(&world, "/@MAV_LOG/1.BIN");
    assert!(!log.direct_io);
    assert_eq!(world.read(log.handle), b"log");
}

#[test]
fn elsewhere_such_names_are_ordinary() {
    let world = World::with([("/@file", &b"x"[..])]);
    let handle = world.open("/@file", RDWR);
    world.write(handle, 0, b"y");
    world.close(handle);
    assert_eq!(world.remote.content("/@file").unwrap(), b"y");
}
