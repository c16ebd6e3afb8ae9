//! What another station changed: when it shows, and what becomes of who has the old state.

use super::*;
use crate::fs::{Attr, Notice};

/// How long listings are believed here, in seconds.
const BELIEVED: i64 = 10;

fn getattr(world: &World, ino: Ino) -> Result<Attr, FsError> {
    world.run(world.fs.getattr(ino, None))
}

fn read_at(world: &World, handle: Handle, offset: u64, size: usize) -> Result<Vec<u8>, FsError> {
    world.run(world.fs.read(handle, offset, size))
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(number as u64)
}

/// How many operations were asked for whose line begins so.
fn asked(world: &World, operation: &str) -> usize {
    world.remote.log().iter().filter(|line| line.starts_with(operation)).count()
}

fn names_to_look_up(world: &World) -> Vec<Vec<u8>> {
    let notices = world.fs.take_notices().into_iter();
    let name = |notice| match notice {
        Notice::Name { name, .. } => Some(name),
        Notice::Content { .. } => None,
    };
    notices.filter_map(name).collect()
}

#[test]
fn an_answer_holds_as_long_as_the_listing_that_it_comes_from() {
    let world = World::with([("/a", &b"1"[..]), ("/d/b", b"")]);
    assert_eq!(world.run(world.fs.lookup(Ino::ROOT, b"a")).unwrap().valid, seconds(BELIEVED));
    world.wait(4);
    let left = seconds(BELIEVED - 4);
    let found = world.run(world.fs.lookup(Ino::ROOT, b"a")).unwrap();
    assert_eq!(found.valid, left);
    assert_eq!(getattr(&world, found.ino).unwrap().valid, left);
    match world.run(world.fs.lookup(Ino::ROOT, b"none")) {
        Err(FsError::Absent { valid }) => assert_eq!(valid, left),
        other => panic!("it should not be there: {other:?}"),
    }
    let handle = world.run(world.fs.opendir(Ino::ROOT)).unwrap();
    world.wait(2);
    let entries = world.run(world.fs.readdir(handle, 2)).unwrap();
    assert!(entries.iter().all(|entry| entry.attr.valid == seconds(BELIEVED - 6)));
    world.wait(20);
    world.ino("/a");
    let entries = world.run(world.fs.readdir(handle, 2)).unwrap();
    let holds = entries.iter().any(|entry| !entry.attr.valid.is_zero());
    assert!(!holds, "the directory has been listed again since it was opened");
}

#[test]
fn what_is_served_while_the_link_is_lost_holds_for_a_second() {
    let world = World::with([("/a", &b"1"[..])]);
    world.ino("/a");
    world.remote.change_status(|status| status.up = false);
    world.wait(1000);
    let found = world.run(world.fs.lookup(Ino::ROOT, b"a")).unwrap();
    assert_eq!(found.valid, seconds(1));
    let reader = world.open("/a", RDONLY);
    assert_eq!(getattr(&world, found.ino).unwrap().valid, seconds(1));
    world.release(reader);
}

#[test]
fn a_missing_name_costs_nothing_until_the_listing_is_old() {
    let world = World::with([("/a", &b""[..])]);
    assert!(!world.exists("/b"));
    world.remote.put("/b", b"new");
    world.remote.clear_log();
    for _ in 0..100 {
        assert!(!world.exists("/b"));
    }
    assert!(world.remote.log().is_empty());
    world.wait(BELIEVED + 1);
    assert!(world.exists("/b"));
    assert_eq!(names_to_look_up(&world), [b"b"], "the kernel may remember that it is not there");
}

/// > A file that grows goes on: `tail -f` shows what is added, at one question per
/// > `--dir-cache-time` and without a listing.
#[test]
fn the_size_of_an_open_file_is_asked_once_and_its_directory_not_listed() {
    let world = World::with([("/a", &b"one"[..])]);
    let (ino, reader) = (world.ino("/a"), world.open("/a", RDONLY));
    assert_eq!(world.read(reader), b"one");
    let mut all = b"one".to_vec();
    for _ in 0..5 {
        all.extend_from_slice(&[b'x'; 3000]);
        world.remote.put_at("/a", &all, Some(1_700_000_000 + all.len() as i64));
        world.wait(BELIEVED + 1);
        world.remote.clear_log();
        let mut looks: Vec<_> = (0..4).map(|_| Box::pin(world.fs.getattr(ino, None))).collect();
        assert!(looks.iter_mut().all(|look| poll(look).is_none()), "they wait for the answer");
        for look in looks {
            assert_eq!(world.run(look).unwrap().size, all.len() as u64);
        }
        assert_eq!(getattr(&world, ino).unwrap().size, all.len() as u64);
        assert_eq!(world.remote.log(), [r#"Size "/a""#]);
        assert_eq!(world.read(reader), all, "the old partial block is fetched again");
        assert_eq!((asked(&world, "List"), asked(&world, "Size")), (0, 1));
    }
    assert_eq!(world.ino("/a"), ino);
    world.release(reader);
}

#[test]
fn the_size_of_an_open_file_is_what_is_known_when_nobody_can_tell() {
    let world = World::with([("/a", &b"one"[..])]);
    let (ino, reader) = (world.ino("/a"), world.open("/a", RDONLY));
    world.wait(BELIEVED + 1);
    world.remote.fail_next("Size", Error::TimedOut);
    world.remote.clear_log();
    assert_eq!(getattr(&world, ino).unwrap().size, 3);
    assert_eq!(getattr(&world, ino).unwrap().size, 3);
    assert_eq!(world.remote.log(), [r#"Size "/a""#], "a failure is not asked for again at once");
    world.remote.change_status(|status| status.up = false);
    world.wait(1000);
    assert_eq!(getattr(&world, ino).unwrap().size, 3);
    assert_eq!(world.remote.log().len(), 1, "a lost link is asked nothing");
    world.release(reader);
}

#[test]
fn a_file_that_is_larger_than_listed_is_told_to_the_kernel() {
    let world = World::with([("/a", &b"one"[..])]);
    let (ino, reader) = (world.ino("/a"), world.open("/a", RDONLY));
    world.remote.put("/a", b"one two");
    assert_eq!(world.fs.outgrown(reader), None);
    assert_eq!(read_at(&world, reader, 0, 4096).unwrap(), b"one two");
    assert_eq!(world.fs.outgrown(reader), Some(ino), "before the read is answered");
    assert_eq!(world.fs.take_notices(), [Notice::Content { ino, from: 3 }]);
    assert_eq!(getattr(&world, ino).unwrap().size, 7);
    assert_eq!(world.fs.outgrown(reader), None);
    world.release(reader);
}

#[test]
fn a_file_replaced_while_it_is_open_keeps_its_old_size_for_its_reader() {
    let world = World::with([("/a", &[1; 20_000][..])]);
    let (ino, reader) = (world.ino("/a"), world.open("/a", RDONLY));
    assert_eq!(read_at(&world, reader, 0, 8192).unwrap(), [1; 8192]);
    getattr(&world, ino).unwrap();
    world.remote.put_at("/a", &[2; 9000], Some(1_700_000_001));
    world.wait(BELIEVED + 1);
    let old = getattr(&world, ino).unwrap();
    assert_eq!((old.size, old.nlink), (20_000, 0), "no end of file in the middle");
    assert_eq!(errno(read_at(&world, reader, 8192, 4096)), libc::ESTALE);
    assert_ne!(world.ino("/a"), ino);
    assert_eq!(world.content("/a"), [2; 9000]);
    assert!(names_to_look_up(&world).contains(&b"a".to_vec()));
    world.release(reader);
    assert_eq!(errno(getattr(&world, ino)), libc::ESTALE);
}

/// > A read gives bytes of one content of the file, as far as sizes and times tell contents apart:
/// > who has a file open that shrank or was replaced gets ESTALE, or bytes of the old content that
/// > were fetched before, never a mixture.
#[test]
fn a_file_replaced_by_one_of_the_same_size_is_never_read_as_a_mixture() {
    let world = World::with([("/a", &[1; 600_000][..])]);
    let (ino, reader) = (world.ino("/a"), world.open("/a", RDONLY));
    assert_eq!(read_at(&world, reader, 0, 8192).unwrap(), [1; 8192]);
    while world.step() {}
    world.remote.put_at("/a", &[2; 600_000], Some(1_700_000_001));
    world.wait(BELIEVED + 1);
    // Nobody has looked the name up; the read itself finds out.
    assert_eq!(errno(read_at(&world, reader, 500_000, 4096)), libc::ESTALE);
    assert_eq!(getattr(&world, ino).unwrap().nlink, 0);
    assert_eq!(world.run(world.fs.read(world.open("/a", RDONLY), 0, 4096)).unwrap(), [2; 4096]);
    world.release(reader);
}

#[test]
fn a_file_removed_and_made_anew_is_another_file() {
    let world = World::with([("/a", &b"old content"[..])]);
    let (ino, reader) = (world.ino("/a"), world.open("/a", RDONLY));
    assert_eq!(read_at(&world, reader, 0, 3).unwrap(), b"old");
    world.remote.take_away("/a");
    world.wait(BELIEVED + 1);
    assert!(!world.exists("/a"));
    world.remote.put("/a", b"new content");
    world.wait(BELIEVED + 1);
    assert_ne!(world.ino("/a"), ino);
    assert_eq!(world.content("/a"), b"new content");
    assert_eq!(read_at(&world, reader, 0, 100).unwrap(), b"old content", "what was read stays");
    world.release(reader);
}

#[test]
fn a_file_that_vanished_while_it_is_open_is_found_gone() {
    let world = World::with([("/a", &b"old"[..])]);
    let (ino, reader) = (world.ino("/a"), world.open("/a", RDONLY));
    world.remote.take_away("/a");
    world.wait(BELIEVED + 1);
    assert_eq!(getattr(&world, ino).unwrap().size, 3, "its reader keeps what is known");
    assert!(!world.exists("/a"));
    assert_eq!(getattr(&world, ino).unwrap().nlink, 0);
    world.release(reader);
}

#[test]
fn what_differs_in_a_new_listing_is_told_to_the_kernel() {
    let files = [("/gone", &b"1"[..]), ("/kind", b"1"), ("/more", b"1"), ("/same", b"1")];
    let world = World::with(files);
    let more = world.ino("/more");
    world.ino("/same");
    assert!(world.fs.take_notices().is_empty());
    world.remote.take_away("/gone");
    world.remote.take_away("/kind");
    world.remote.put_directory("/kind");
    world.remote.put("/more", b"12");
    world.remote.put("/new", b"1");
    world.wait(BELIEVED + 1);
    world.ino("/same");
    let mut notices = world.fs.take_notices();
    assert_eq!(notices.iter().filter(|it| matches!(it, Notice::Content { .. })).count(), 1);
    notices.retain(|notice| *notice != Notice::Content { ino: more, from: 0 });
    let parent = Ino::ROOT;
    let name = |name: &str| Notice::Name { parent, name: name.into() };
    assert_eq!(notices, [name("gone"), name("kind"), name("new")]);
}

#[test]
fn what_we_write_ourselves_is_no_news() {
    let world = World::with([("/a", &b"1"[..])]);
    world.ino("/a");
    let handle = world.create("/b");
    world.write(handle, 0, b"22");
    world.close(handle);
    world.rename("/b", "/c").unwrap();
    world.unlink("/a").unwrap();
    assert!(world.fs.take_notices().is_empty());
    assert_eq!(world.names("/"), ["c"]);
}

/// > Another vehicle in the place of the first (another AUTOPILOT_VERSION uid): nothing of the first is
/// > shown.
#[test]
fn nothing_of_another_vehicle_is_shown() {
    let world = World::with([("/a", &b"first"[..]), ("/d/b", b"first"), ("/only", b"")]);
    let (a, d, b) = (world.ino("/a"), world.ino("/d"), world.ino("/d/b"));
    let reader = world.open("/a", RDONLY);
    assert_eq!(world.read(reader), b"first");
    let directory = world.run(world.fs.opendir(Ino::ROOT)).unwrap();
    assert!(!world.exists("/d/new"));
    world.remote.take_away("/only");
    world.remote.put("/a", b"other");
    world.remote.be_another();
    // Nothing was asked since: the thread that tells the kernel finds out.
    let notices = world.fs.take_notices();
    for ino in [a, d, b] {
        assert!(notices.contains(&Notice::Content { ino, from: 0 }), "{ino:?} in {notices:?}");
    }
    for ino in [a, b] {
        assert_eq!(errno(getattr(&world, ino)), libc::ESTALE);
    }
    let name = |parent, name: &[u8]| Notice::Name { parent, name: name.to_vec() };
    for told in [name(Ino::ROOT, b"a"), name(d, b"b"), name(d, b"new")] {
        assert!(notices.contains(&told), "{told:?} in {notices:?}");
    }
    assert_eq!(errno(world.run(world.fs.read(reader, 0, 5))), libc::ESTALE);
    assert_eq!(errno(world.run(world.fs.readdir(directory, 0))), libc::ESTALE);
    let others = world.run(world.fs.lookup(d, b"b")).unwrap().ino;
    assert_ne!(others, b, "a shell in a directory goes on, and sees the other's files");
    assert!(!world.exists("/only"));
    assert_ne!(world.ino("/a"), a);
    assert_eq!(world.content("/a"), b"other");
    assert_eq!(getattr(&world, Ino::ROOT).unwrap().ino, Ino::ROOT);
    world.release(reader);
    world.fs.releasedir(directory);
}

/// > A renamed directory carries its open files along.
#[test]
fn a_file_open_below_a_renamed_directory_is_read_on() {
    let world = World::with([("/d/e/a", &[1; 50_000][..])]);
    let (ino, reader) = (world.ino("/d/e/a"), world.open("/d/e/a", RDONLY));
    assert_eq!(read_at(&world, reader, 0, 4096).unwrap(), [1; 4096]);
    world.rename("/d", "/x").unwrap();
    assert_eq!(read_at(&world, reader, 40_000, 20_000).unwrap(), [1; 10_000]);
    world.wait(BELIEVED + 1);
    let attr = getattr(&world, ino).unwrap();
    assert_eq!((attr.size, attr.nlink), (50_000, 1));
    assert_eq!(world.ino("/x/e/a"), ino);
    world.release(reader);
}

/// > `df`, `stat` of the root, and `ls` of a directory whose listing is fresh send nothing.
#[test]
fn what_is_cached_is_shown_without_a_word_to_the_vehicle() {
    let world = World::with([("/d/a", &[1; 50_000][..]), ("/d/b", b"")]);
    let (ino, reader) = (world.ino("/d/a"), world.open("/d/a", RDONLY));
    let directory = world.ino("/d");
    assert_eq!(world.read(reader).len(), 50_000);
    world.names("/d");
    world.remote.clear_log();
    world.fs.statfs();
    for at in [Ino::ROOT, directory, ino] {
        getattr(&world, at).unwrap();
    }
    assert_eq!(world.names("/d"), ["a", "b"]);
    assert_eq!(world.read(reader).len(), 50_000);
    assert_eq!(world.content("/d/a").len(), 50_000);
    assert!(world.remote.log().is_empty());
    world.release(reader);
}
