//! Directories read in pieces.

use super::*;

#[test]
fn a_directory_begins_with_the_dots_and_goes_on_at_any_cookie() {
    let world = World::with([("/d/a", &b"1"[..]), ("/d/b", b"22"), ("/d/c", b"333")]);
    let handle = world.run(world.fs.opendir(world.ino("/d"))).unwrap();
    let all = world.rest(handle, 0);
    assert_eq!(all, [".", "..", "a", "b", "c"]);
    for (cookie, _) in all.iter().enumerate() {
        assert_eq!(world.rest(handle, cookie as u64), all[cookie..]);
    }
    let entries = world.run(world.fs.readdir(handle, 2)).unwrap();
    assert_eq!(entries[1].attr.size, 2, "entries carry attributes");
    assert_eq!(entries[1].ino, world.ino("/d/b"));
    world.fs.releasedir(handle);
}

#[test]
fn a_staged_file_is_listed_after_the_vehicles_and_once() {
    let world = World::with([("/b", &b""[..])]);
    let handle = world.create("/a");
    assert_eq!(world.names("/"), ["b", "a"]);
    world.close(handle);
    assert_eq!(world.names("/"), ["b", "a"]);
    world.wait(1000);
    assert_eq!(world.names("/"), ["a", "b"], "as the vehicle lists them");
}

#[test]
fn a_file_that_is_sent_while_the_directory_is_read_is_listed_once() {
    let world = World::with([("/b", &b""[..])]);
    let file = world.create("/a");
    let handle = world.run(world.fs.opendir(Ino::ROOT)).unwrap();
    world.write(file, 0, b"xyz");
    world.close(file);
    let mut names = world.rest(handle, 2);
    names.sort();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_name_removed_while_the_directory_is_read_is_not_handed_out() {
    let world = World::with([("/a", &b""[..]), ("/b", b""), ("/c", b"")]);
    let handle = world.run(world.fs.opendir(Ino::ROOT)).unwrap();
    world.unlink("/b").unwrap();
    world.rename("/c", "/d").unwrap();
    assert_eq!(world.rest(handle, 2), ["a"]);
}

#[test]
fn a_size_that_changed_while_the_directory_is_read_is_the_new_one() {
    let world = World::with([("/a", &b""[..])]);
    let handle = world.run(world.fs.opendir(Ino::ROOT)).unwrap();
    world.run(world.fs.readdir(handle, 2)).unwrap();
    let file = world.open("/a", WRONLY);
    world.write(file, 0, b"12345");
    world.close(file);
    assert_eq!(world.run(world.fs.readdir(handle, 2)).unwrap()[0].attr.size, 5);
}

#[test]
fn droppings_on_the_vehicle_are_not_shown() {
    let world = World::with([("/.DS_Store", &b""[..]), ("/a", b""), ("/desktop.ini", b"")]);
    assert_eq!(world.names("/"), ["a"]);
}

#[test]
fn a_long_directory_comes_in_pieces() {
    let names: Vec<String> = (0..300).map(|number| format!("/d/{number:03}")).collect();
    let world = World::with(names.iter().map(|name| (&name[..], &b""[..])));
    let handle = world.run(world.fs.opendir(world.ino("/d"))).unwrap();
    let first = world.run(world.fs.readdir(handle, 0)).unwrap();
    assert!(first.len() <= 128);
    assert_eq!(world.rest(handle, 2).len(), 300);
}

#[test]
fn a_removed_directory_has_no_entries() {
    let world = World::with([("/d/a", &b""[..])]);
    world.unlink("/d/a").unwrap();
    let handle = world.run(world.fs.opendir(world.ino("/d"))).unwrap();
    world.run(world.fs.rmdir(Ino::ROOT, b"d")).unwrap();
    assert!(world.rest(handle, 0).is_empty());
}
