//! Editors' scratch files.

use super::*;

fn touched(world: &World) -> bool {
    world.remote.log().iter().any(|op| !op.starts_with("List"))
}

/// > Editors' scratch files (`4913`, `.*.sw?`, `.*.swpx`, `.#*`, `#*#`, `.~lock.*#`) stay here
/// > until they are renamed to another name (`--no-scratch-guard` sends them).
#[test]
fn a_swap_file_is_never_sent_and_is_there_until_it_is_removed() {
    let world = World::with([("/d/x", &b"x"[..])]);
    let handle = world.create("/d/.x.swp");
    world.write(handle, 0, &[7; 20_000]);
    world.run(world.fs.fsync(handle)).unwrap();
    world.close(handle);
    assert_eq!(world.names("/d"), ["x", ".x.swp"]);
    assert_eq!((world.size("/d/.x.swp"), world.content("/d/.x.swp")), (20_000, vec![7; 20_000]));
    let again = world.open("/d/.x.swp", RDWR);
    world.write(again, 0, b"new");
    world.close(again);
    assert_eq!(world.content("/d/.x.swp")[..4], *b"new\x07");
    assert!(!touched(&world));
    let (root, d) = (Ino::ROOT, world.ino("/d"));
    world.run(world.fs.unlink(d, b"x")).unwrap();
    assert_eq!(errno(world.run(world.fs.rmdir(root, b"d"))), libc::ENOTEMPTY);
    world.unlink("/d/.x.swp").unwrap();
    assert!(!world.exists("/d/.x.swp"));
    world.run(world.fs.rmdir(root, b"d")).unwrap();
    assert!(world.store.kept().is_empty());
}

#[test]
fn a_scratch_file_that_is_removed_while_it_is_open_can_be_used_until_then() {
    let world = World::with([]);
    let handle = world.create("/4913");
    world.unlink("/4913").unwrap();
    world.write(handle, 0, b"x");
    assert_eq!(world.read(handle), b"x");
    world.close(handle);
    assert!(!world.exists("/4913") && !touched(&world));
}

/// > Editors' scratch files (`4913`, `.*.sw?`, `.*.swpx`, `.#*`, `#*#`, `.~lock.*#`) stay here
/// > until they are renamed to another name (`--no-scratch-guard` sends them).
#[test]
fn a_scratch_file_with_another_name_is_sent_before_the_rename_returns() {
    let world = World::with([("/a", &b"old"[..])]);
    for open in [false, true] {
        let handle = world.create("/#a#");
        world.write(handle, 0, b"new content");
        if !open {
            world.close(handle);
        }
        world.rename("/#a#", "/a").unwrap();
        assert_eq!(world.remote.content("/a").unwrap(), b"new content");
        assert_eq!(world.remote.names("/"), ["a"]);
        assert_eq!(
            (world.names("/"), world.content("/a")),
            (vec!["a".into()], b"new content".into())
        );
        if open {
            world.write(handle, 11, b", more");
            world.close(handle);
            assert_eq!(world.remote.content("/a").unwrap(), b"new content, more");
        }
    }
}

#[test]
fn a_rename_that_cannot_be_sent_fails_and_the_scratch_file_stays() {
    let world = World::with([("/a", &b"old"[..])]);
    let handle = world.create("/#a#");
    world.write(handle, 0, b"new");
    world.close(handle);
    world.refuse_uploads(true);
    assert_eq!(errno(world.rename("/#a#", "/a")), libc::ENOSPC);
    assert_eq!((world.content("/#a#"), world.content("/a")), (b"new".to_vec(), b"old".to_vec()));
    world.refuse_uploads(false);
    world.rename("/#a#", "/a").unwrap();
    assert_eq!(world.remote.content("/a").unwrap(), b"new");
}

#[test]
fn scratch_names_change_among_themselves_without_a_word() {
    let world = World::with([]);
    for path in ["/.a.swp", "/.a.swo"] {
        let handle = world.create(path);
        world.write(handle, 0, path.as_bytes());
        world.close(handle);
    }
    world.rename("/.a.swp", "/.a.swo").unwrap();
    assert_eq!((world.names("/"), touched(&world)), (vec![".a.swo".into()], false));
    assert_eq!(world.content("/.a.swo"), b"/.a.swp");
}

#[test]
fn what_stands_on_the_vehicle_is_an_ordinary_file_whatever_its_name() {
    let world = World::with([("/.a.swp", &b"theirs"[..]), ("/b", b"real")]);
    let handle = world.open("/.a.swp", WRONLY | libc::O_TRUNC);
    world.write(handle, 0, b"ours");
    world.close(handle);
    assert_eq!(world.remote.content("/.a.swp").unwrap(), b"ours");
    world.rename("/b", "/.b.swp").unwrap();
    assert_eq!(world.remote.content("/.b.swp").unwrap(), b"real");
    let scratch = world.create("/4913");
    world.close(scratch);
    world.rename("/4913", "/.b.swp").unwrap();
    assert_eq!(world.remote.content("/.b.swp").unwrap(), b"");
}

/// > Editors' scratch files (`4913`, `.*.sw?`, `.*.swpx`, `.#*`, `#*#`, `.~lock.*#`) stay here
/// > until they are renamed to another name (`--no-scratch-guard` sends them).
#[test]
fn without_the_guard_a_swap_file_is_a_file() {
    let options = FsOptions { scratch_guard: false, ..FsOptions::default() };
    let world = World::with_options([], options);
    let handle = world.create("/.a.swp");
    world.write(handle, 0, b"x");
    world.close(handle);
    assert_eq!(world.remote.content("/.a.swp").unwrap(), b"x");
}

#[test]
fn an_end_of_the_mount_drops_scratch_files() {
    let world = World::with([]);
    let handle = world.create("/4913");
    world.write(handle, 0, b"x");
    assert!(world.run(world.fs.finish()).is_empty());
    assert_eq!(world.run(world.fs.keep_all_unsent()), 0);
    assert!(!touched(&world) && world.store.kept().is_empty());
}
