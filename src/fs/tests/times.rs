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

/// A far side that takes times, as an FTP server with MFMT does.
fn timed(files: &[(&str, &[u8])]) -> World {
    let world = World::with(files.iter().copied());
    world.remote.change_status(|status| status.sets_times = true);
    world
}

fn set(world: &World, path: &str, mtime: i64) {
    let set = SetAttr { size: None, mtime: Some(mtime) };
    world.run(world.fs.setattr(world.ino(path), None, set)).unwrap();
}

fn times_sent(world: &World) -> Vec<String> {
    world.remote.log().into_iter().filter(|op| op.starts_with("SetTime")).collect()
}

/// > A time that a program sets is kept while mounted. Where the server takes times (FTP with MFMT) it is the file's
/// > there, and a saved file has its time before it has its name.
#[test]
fn a_time_set_by_a_program_is_sent_where_the_server_takes_it() {
    let world = timed(&[("/a", b"x")]);
    assert_eq!(world.content("/a"), b"x");
    set(&world, "/a", 123_456_789);
    assert_eq!(world.remote.mtime("/a"), Some(123_456_789));
    world.remote.clear_log();
    world.wait(1000);
    assert_eq!(mtime(&world, "/a"), 123_456_789);
    assert_eq!(world.content("/a"), b"x");
    let read = world.remote.log().iter().any(|op| op.starts_with("Read"));
    assert!(!read, "its content is the one that was read");
}

#[test]
fn a_file_is_saved_with_its_time_before_it_has_its_name() {
    let world = timed(&[]);
    let handle = world.create("/a");
    world.write(handle, 0, b"x");
    set(&world, "/a", 123_456_789);
    assert!(times_sent(&world).is_empty(), "it goes with the save");
    world.close(handle);
    assert_eq!(world.remote.mtime("/a"), Some(123_456_789));
    let sent = times_sent(&world);
    assert!(sent.len() == 1 && sent[0].contains(".mavftp-"), "{sent:?}");
    world.wait(1000);
    assert_eq!(mtime(&world, "/a"), 123_456_789);
}

#[test]
fn a_server_that_refuses_a_time_has_the_file_all_the_same() {
    let world = timed(&[]);
    world.remote.fail_next("SetTime", Error::Denied);
    let handle = world.create("/a");
    world.write(handle, 0, b"x");
    set(&world, "/a", 123_456_789);
    world.close(handle);
    assert_eq!(world.remote.content("/a").unwrap(), b"x");
    world.remote.fail_next("SetTime", Error::Unsupported);
    set(&world, "/a", 123_456_788);
    assert_eq!(mtime(&world, "/a"), 123_456_788, "it is shown while mounted");
}

#[test]
fn a_link_that_is_dead_is_told_to_who_sets_a_time() {
    let world = timed(&[("/a", b"x")]);
    mtime(&world, "/a");
    world.remote.fail_next("SetTime", Error::LinkDown);
    let set = SetAttr { size: None, mtime: Some(1) };
    world.run(world.fs.setattr(world.ino("/a"), None, set)).unwrap_err();
    assert_eq!(mtime(&world, "/a"), 1_700_000_000);
}

#[test]
fn a_file_streamed_while_it_is_written_has_the_time_of_its_last_byte() {
    let world = timed(&[]);
    let handle = world.create("/a");
    let bytes = vec![7; 9000];
    world.write(handle, 0, &bytes);
    world.wait(5);
    world.write(handle, 9000, b"x");
    let written = world.now();
    world.close(handle);
    assert_eq!(world.remote.mtime("/a"), Some(written));
    world.wait(1000);
    assert_eq!(mtime(&world, "/a"), written);
}
