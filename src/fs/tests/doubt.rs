//! A vehicle that does not say who it is comes back from a silence: what goes on, and what does not.

use super::*;
use crate::fs::{Attr, Notice};

fn getattr(world: &World, ino: Ino) -> Result<Attr, FsError> {
    world.run(world.fs.getattr(ino, None))
}

fn read(world: &World, handle: Handle) -> Result<Vec<u8>, FsError> {
    world.run(world.fs.read(handle, 0, 1 << 20))
}

#[test]
fn who_has_a_file_open_goes_on_and_all_numbers_stay() {
    let world = World::with([("/a", &b"first"[..]), ("/d/b", b"closed")]);
    let numbers = || [world.ino("/a"), world.ino("/d"), world.ino("/d/b")];
    let before = numbers();
    let reader = world.open("/a", RDONLY);
    assert_eq!(world.read(reader), b"first");
    assert!(!world.exists("/d/new"));
    world.fs.take_notices();
    world.remote.return_unknown();
    let notices = world.fs.take_notices();
    for ino in before {
        assert!(notices.contains(&Notice::Content { ino, from: 0 }), "{ino:?} in {notices:?}");
    }
    let [_, d, _] = before;
    let name = |parent, name: &[u8]| Notice::Name { parent, name: name.to_vec() };
    for told in [name(Ino::ROOT, b"a"), name(d, b"b"), name(d, b"new")] {
        assert!(notices.contains(&told), "{told:?} in {notices:?}");
    }
    world.remote.clear_log();
    let attr = getattr(&world, before[0]).unwrap();
    assert_eq!((attr.size, attr.nlink), (5, 1));
    assert_eq!(world.remote.log()[0], r#"List "/""#, "nothing is told before it was looked at");
    assert_eq!(world.read(reader), b"first");
    assert_eq!(numbers(), before);
    world.release(reader);
}

#[test]
fn who_has_another_file_open_gets_its_last_attributes_and_not_a_byte() {
    let world = World::with([("/time", &b"first"[..]), ("/size", b"first"), ("/gone", b"first")]);
    let names = ["/time", "/size", "/gone"];
    let readers = names.map(|name| (name, world.ino(name), world.open(name, RDONLY)));
    for (_, _, reader) in readers {
        assert_eq!(world.read(reader), b"first");
    }
    world.remote.put_at("/time", b"other", Some(1));
    world.remote.put("/size", b"others");
    world.remote.take_away("/gone");
    world.remote.return_unknown();
    world.fs.take_notices();
    for (name, ino, reader) in readers {
        if name == "/size" {
            let attr = getattr(&world, ino).unwrap();
            assert_eq!((attr.size, attr.nlink), (5, 0), "no program may take it for the other");
        }
        assert_eq!(errno(read(&world, reader)), libc::ESTALE, "{name}");
        assert_eq!(getattr(&world, ino).unwrap().size, 5, "{name}");
        if let Ok(other) = world.try_ino(name) {
            assert_ne!(other, ino, "{name}");
            assert_eq!(Some(world.content(name)), world.remote.content(name));
        }
        assert_eq!(errno(read(&world, reader)), libc::ESTALE, "{name}");
        world.release(reader);
    }
    assert!(!world.exists("/gone"));
}

#[test]
fn who_has_saved_a_file_of_which_no_time_was_listed_is_stale() {
    let world = World::with([]);
    let writer = world.create("/a");
    world.write(writer, 0, b"ours");
    world.close(writer);
    let reader = world.open("/a", RDONLY);
    assert_eq!(world.read(reader), b"ours");
    world.remote.return_unknown();
    assert_eq!(errno(read(&world, reader)), libc::ESTALE);
    assert_eq!(world.content("/a"), b"ours", "opened anew it is there");
    world.release(reader);
}

#[test]
fn a_time_that_we_gave_is_not_shown_for_a_file_that_may_be_anothers() {
    let world = World::with([]);
    let writer = world.create("/a");
    world.write(writer, 0, b"ours");
    world.close(writer);
    let ours = getattr(&world, world.ino("/a")).unwrap().mtime;
    world.remote.put_at("/a", b"else", Some(77));
    world.remote.return_unknown();
    let shown = getattr(&world, world.ino("/a")).unwrap().mtime;
    assert_eq!((shown, ours == shown), (77, false));
}

#[test]
fn what_was_written_for_one_that_may_be_gone_is_not_sent() {
    let world = World::with([("/a", &b"first"[..])]);
    world.remote.change_status(|status| status.identity = None);
    let writer = world.open("/a", RDWR);
    world.write(writer, 0, b"F");
    world.remote.return_unknown();
    assert_eq!(errno(world.flush(writer)), libc::ESTALE);
    world.release(writer);
    assert_eq!(world.remote.content("/a").unwrap(), b"first");
    assert_eq!(world.store.kept().len(), 1);
}

#[test]
fn a_copy_made_for_another_vehicle_has_nothing_cut() {
    let world = World::with([("/a", &[1; 9000][..])]);
    world.remote.change_status(|status| status.identity = None);
    let (writer, ino) = (world.open("/a", RDWR), world.ino("/a"));
    world.remote.return_unknown();
    let cut = crate::fs::SetAttr { size: Some(5000), mtime: None };
    assert_eq!(errno(world.run(world.fs.setattr(ino, None, cut))), libc::ESTALE);
    world.release(writer);
    assert_eq!(world.remote.content("/a").unwrap().len(), 9000);
}

#[test]
fn an_open_directory_goes_on_where_the_same_names_come_first() {
    let names: Vec<String> = (0..300).map(|number| format!("/d/{number:03}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    for (removed, goes_on) in [("/d/299", true), ("/d/000", false)] {
        let world = World::with(files.iter().copied());
        let directory = world.run(world.fs.opendir(world.ino("/d"))).unwrap();
        let begun = world.run(world.fs.readdir(directory, 2)).unwrap();
        let next = begun.last().unwrap().cookie;
        world.remote.take_away(removed);
        world.remote.return_unknown();
        match goes_on {
            true => assert_eq!(begun.len() + world.rest(directory, next).len(), 299),
            false => {
                let rest = world.run(world.fs.readdir(directory, next));
                assert_eq!(errno(rest), libc::ESTALE);
                assert_eq!(world.rest(directory, 2).len(), 299, "read from the beginning");
            }
        }
        world.fs.releasedir(directory);
    }
}

#[test]
fn a_new_file_that_could_not_be_sent_leaves_the_kernel_at_once() {
    let world = World::with([]);
    let writer = world.create("/a");
    world.write(writer, 0, b"new");
    world.refuse_uploads(true);
    world.flush(writer).unwrap_err();
    world.fs.take_notices();
    world.release(writer);
    let name = Notice::Name { parent: Ino::ROOT, name: b"a".to_vec() };
    assert_eq!(world.fs.take_notices(), [name]);
    assert!(!world.exists("/a"));
}
