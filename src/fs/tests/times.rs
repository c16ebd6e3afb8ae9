//! Modification times: never "now" by themselves.

use super::*;
use crate::fs::SetAttr;

fn mtime(world: &World, path: &str) -> i64 {
    world.run(world.fs.getattr(world.ino(path), None)).unwrap().mtime
}

/// > A modification time is the vehicle's where it tells one, else the time of the mount; never the
/// > present.
#[test]
fn the_vehicles_time_is_shown_or_the_time_of_the_mount() {
    let world = World::with([("/d/a", &b""[..])]);
    assert_eq!(mtime(&world, "/d/a"), 1_700_000_000);
    assert_eq!(mtime(&world, "/d"), MOUNT_TIME);
}

/// > A time that a program sets is kept while mounted, and not sent.
#[test]
fn a_time_set_by_a_program_stays() {
    let world = World::with([("/a", &b"x"[..])]);
    let set = SetAttr { size: None, mtime: Some(123_456_789) };
    let ino = world.ino("/a");
    world.remote.clear_log();
    world.run(world.fs.setattr(ino, None, set)).unwrap();
    assert!(world.remote.log().is_empty(), "it is not sent");
    world.wait(1000);
    assert_eq!(mtime(&world, "/a"), 123_456_789);
    world.rename("/a", "/b").unwrap();
    assert_eq!(mtime(&world, "/b"), 123_456_789);
}

#[test]
fn a_time_set_before_the_close_survives_it() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, b"x");
    let set = SetAttr { size: None, mtime: Some(123_456_789) };
    world.run(world.fs.setattr(world.ino("/a"), Some(handle), set)).unwrap();
    world.close(handle);
    assert_eq!(mtime(&world, "/a"), 123_456_789);
    world.wait(1000);
    assert_eq!(mtime(&world, "/a"), 123_456_789);
}

/// > The time of a file saved here stays as it was shown until the vehicle's file changes.
#[test]
fn after_our_save_the_time_we_showed_stays_until_another_station_writes() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, b"x");
    let written = world.now();
    world.wait(5);
    world.close(handle);
    assert_eq!(mtime(&world, "/a"), written);
    world.wait(1000);
    assert_eq!(mtime(&world, "/a"), written, "though the vehicle's own clock says otherwise");
    world.remote.put("/a", b"other");
    world.wait(1000);
    assert_eq!(mtime(&world, "/a"), 1_700_000_000);
}

#[test]
fn a_time_is_set_though_nobody_knows_whether_the_file_arrived() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.remote.fail_next("Size", Error::TimedOut);
    world.flush(handle).unwrap_err();
    world.remote.take_away("/a");
    let set = SetAttr { size: None, mtime: Some(123_456_789) };
    assert_eq!(world.run(world.fs.setattr(world.ino("/a"), None, set)).unwrap().mtime, 123_456_789);
    world.close(handle);
}
