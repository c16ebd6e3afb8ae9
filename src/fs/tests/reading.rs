//! Lookups, attributes and reads.

use super::*;
use crate::remote::Kind;

#[test]
fn a_file_is_found_and_read() {
    let world = World::with([("/log/a.bin", &b"hello"[..])]);
    let attr = world.run(world.fs.getattr(world.ino("/log/a.bin"), None)).unwrap();
    assert_eq!((attr.kind, attr.size, attr.mode, attr.nlink), (Kind::File, 5, 0o644, 1));
    let directory = world.run(world.fs.getattr(world.ino("/log"), None)).unwrap();
    assert_eq!((directory.kind, directory.mode, directory.nlink), (Kind::Directory, 0o755, 2));
    assert_eq!(world.content("/log/a.bin"), b"hello");
}

#[test]
fn the_root_needs_no_wire() {
    let world = World::with([]);
    assert_eq!(world.run(world.fs.getattr(Ino::ROOT, None)).unwrap().kind, Kind::Directory);
    world.fs.statfs();
    assert!(world.remote.log().is_empty());
}

/// > `df` shows 1 TiB, all of it free, because the protocol cannot tell; a full disk is ENOSPC when
/// > a file is saved.
#[test]
fn room_is_never_asked_for_and_a_full_disk_is_told_when_a_file_is_saved() {
    let world = World::with([("/a", &b"old"[..])]);
    let room = world.fs.statfs();
    assert_eq!(room.blocks * u64::from(room.block_size), 1 << 40);
    assert_eq!(room.blocks_free, room.blocks);
    assert!(world.remote.log().is_empty());
    world.refuse_uploads(true);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    world.write(handle, 0, b"new");
    assert_eq!(errno(world.flush(handle)), libc::ENOSPC);
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
    world.release(handle);
}

/// > Opening a file to read it sends nothing; the first block that is not at hand is fetched when
/// > it is read.
#[test]
fn opening_for_reading_sends_nothing() {
    let world = World::with([("/a", &b"hello"[..])]);
    world.ino("/a");
    world.remote.clear_log();
    let handle = world.open("/a", RDONLY);
    assert!(world.remote.log().is_empty());
    world.release(handle);
    assert!(world.remote.log().is_empty());
}

#[test]
fn listing_a_directory_again_with_all_attributes_sends_nothing() {
    let world = World::with([("/log/a", &b"1"[..]), ("/log/b", &b"22"[..])]);
    let look = || {
        for name in world.names("/log") {
            world.run(world.fs.getattr(world.ino(&format!("/log/{name}")), None)).unwrap();
        }
    };
    look();
    assert!(!world.remote.log().is_empty());
    world.remote.clear_log();
    look();
    assert!(world.remote.log().is_empty());
}

#[test]
fn a_read_past_the_end_is_short_or_empty() {
    let world = World::with([("/a", &b"hello"[..])]);
    let handle = world.open("/a", RDONLY);
    assert_eq!(world.run(world.fs.read(handle, 3, 100)).unwrap(), b"lo");
    assert_eq!(world.run(world.fs.read(handle, 5, 100)).unwrap(), b"");
    assert_eq!(world.run(world.fs.read(handle, 500, 100)).unwrap(), b"");
}

/// > What file managers scatter (`.Trash*`, `._*`, `.DS_Store`, `desktop.ini`, `autorun.inf`,
/// > `.hidden`, `.xdg-volume-info`) is ENOENT to look for and EACCES to create, without a word to
/// > the vehicle (`--no-trash-guard`).
#[test]
fn file_managers_droppings_are_denied_without_a_word_to_the_vehicle() {
    let world = World::with([("/a", &b""[..])]);
    for name in [
        ".Trash-1000",
        "._a",
        ".DS_Store",
        "desktop.ini",
        "autorun.inf",
        ".hidden",
        ".xdg-volume-info",
    ] {
        let name = name.as_bytes();
        assert_eq!(errno(world.run(world.fs.lookup(Ino::ROOT, name))), libc::ENOENT);
        assert_eq!(errno(world.run(world.fs.create(Ino::ROOT, name, WRONLY))), libc::EACCES);
        assert_eq!(errno(world.run(world.fs.mkdir(Ino::ROOT, name))), libc::EACCES);
    }
    assert!(world.remote.log().is_empty());
}

/// > A name or path that does not fit in a request is ENAMETOOLONG before anything is sent.
#[test]
fn names_that_cannot_be_are_refused_without_a_word_to_the_vehicle() {
    let world = World::with([]);
    let lookup = |name: &[u8]| errno(world.run(world.fs.lookup(Ino::ROOT, name)));
    assert_eq!(lookup(&[b'x'; 256]), libc::ENAMETOOLONG);
    assert_eq!(lookup(b"a/b"), libc::EINVAL);
    assert_eq!(lookup(b""), libc::EINVAL);
    let long = world.run(world.fs.create(Ino::ROOT, &[b'x'; 250], WRONLY));
    assert_eq!(errno(long), libc::ENAMETOOLONG, "longer than the vehicle takes");
    assert!(world.remote.log().is_empty());
}

#[test]
fn a_file_has_nothing_below_it() {
    let world = World::with([("/a", &b""[..])]);
    assert_eq!(errno(world.run(world.fs.lookup(world.ino("/a"), b"b"))), libc::ENOTDIR);
    assert_eq!(errno(world.run(world.fs.opendir(world.ino("/a")))), libc::ENOTDIR);
}

#[test]
fn a_number_stays_while_mounted() {
    let world = World::with([("/a", &b""[..])]);
    let first = world.ino("/a");
    world.fs.forget(first, 1);
    assert_eq!(world.ino("/a"), first);
}

/// > With `--read-only` every change is EROFS before anything is sent.
#[test]
fn a_mount_without_writing_refuses_every_change() {
    let options = FsOptions { read_only: true, ..FsOptions::default() };
    let world = World::with_options([("/a", &b"x"[..]), ("/d/b", b"")], options);
    let fs = &world.fs;
    let (a, d) = (world.ino("/a"), world.ino("/d"));
    world.remote.clear_log();
    let cut = crate::fs::SetAttr { size: Some(0), mtime: None };
    assert_eq!(errno(world.run(fs.open(a, RDWR))), libc::EROFS);
    assert_eq!(errno(world.run(fs.create(Ino::ROOT, b"c", WRONLY))), libc::EROFS);
    assert_eq!(errno(world.run(fs.setattr(a, None, cut))), libc::EROFS);
    assert_eq!(errno(world.run(fs.mkdir(d, b"c"))), libc::EROFS);
    assert_eq!(errno(world.run(fs.unlink(Ino::ROOT, b"a"))), libc::EROFS);
    assert_eq!(errno(world.run(fs.rmdir(Ino::ROOT, b"d"))), libc::EROFS);
    assert_eq!(errno(world.run(fs.rename(Ino::ROOT, b"a", d, b"a", false))), libc::EROFS);
    assert!(world.remote.log().is_empty());
}

#[test]
fn a_reader_sees_what_another_program_saved_here() {
    let world = World::with([("/a", &b"old"[..])]);
    let reader = world.open("/a", RDONLY);
    assert_eq!(world.read(reader), b"old");
    let writer = world.open("/a", WRONLY | libc::O_TRUNC);
    world.write(writer, 0, b"new content");
    assert_eq!(world.read(reader), b"new content", "before it is sent");
    world.close(writer);
    assert_eq!(world.read(reader), b"new content", "and after");
}

#[test]
fn a_file_replaced_by_another_station_has_another_inode_than_its_old_readers() {
    let world = World::with([("/a", &b"old content"[..])]);
    let (ino, reader) = (world.ino("/a"), world.open("/a", RDONLY));
    assert_eq!(world.run(world.fs.read(reader, 0, 3)).unwrap(), b"old");
    world.remote.put("/a", b"new");
    world.wait(20);
    // The kernel, which still knows the old number, looks the name up again.
    assert_eq!(errno(world.run(world.fs.open(ino, RDONLY))), libc::ESTALE);
    assert_eq!(errno(world.run(world.fs.open(ino, WRONLY))), libc::ESTALE);
    assert_ne!(world.ino("/a"), ino, "their pages in the kernel never mix");
    assert_eq!(world.content("/a"), b"new");
    assert_eq!(errno(world.run(world.fs.read(reader, 3, 100))), libc::ESTALE);
    world.release(reader);
}

#[test]
fn a_file_that_only_grew_keeps_its_inode() {
    let world = World::with([("/a", &b"one"[..])]);
    let (ino, reader) = (world.ino("/a"), world.open("/a", RDONLY));
    assert_eq!(world.read(reader), b"one");
    world.remote.put("/a", b"one two");
    world.wait(20);
    assert_eq!(world.content("/a"), b"one two");
    assert_eq!(world.ino("/a"), ino);
    assert_eq!(world.read(reader), b"one two");
    world.release(reader);
}
