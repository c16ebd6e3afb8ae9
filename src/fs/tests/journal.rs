//! What is written down about files that the vehicle lacks, and what is made of it later.

use super::*;
use crate::fs::WriteBack;
use crate::journal::{Before, Meta, State, Vehicle};

fn asynchronous() -> FsOptions {
    FsOptions { write_back: WriteBack::Async, mount_time: MOUNT_TIME, ..FsOptions::default() }
}

fn link(world: &World, up: bool) {
    world.remote.change_status(|status| status.up = up);
}

fn another_vehicle(world: &World) {
    world.remote.be_another();
    world.remote.change_status(|status| status.identity = Some("another".into()));
}

/// Lets the background do what it can.
fn go_on(world: &World) {
    world.wait(2);
    while world.step() {}
    world.wait(2);
    while world.step() {}
}

/// > What could not be sent survives our crash, with the identity of the vehicle it was meant for.
#[test]
fn a_failure_is_noted_with_its_reason_its_vehicle_and_what_stood_there() {
    let world = World::with([("/d/a", &b"old"[..])]);
    let handle = world.open("/d/a", WRONLY | libc::O_TRUNC);
    world.write(handle, 0, b"precious");
    world.remote.fail_next("Write", Error::LinkDown);
    world.flush(handle).unwrap_err();
    world.release(handle);
    let [meta] = &world.store.notes()[..] else { panic!("one entry") };
    assert_eq!((meta.path.to_string().as_str(), meta.state), ("/d/a", State::Failed));
    assert_eq!(meta.vehicle.identity.as_deref(), Some("memory"));
    assert!(meta.reason.contains("not heard") && meta.whole, "{meta:?}");
    assert_eq!(meta.before, Before::File { size: 3, mtime: Some(1_700_000_000) });
    assert_eq!(meta.leftovers.len(), 1, "the link could not carry the removal");
}

/// > A program that is killed while it writes dies within two seconds; the target keeps its old
/// > content, and what it wrote is kept here as partial.
#[test]
fn what_a_killed_program_wrote_is_kept_as_partial_and_never_sent_by_itself() {
    let world = World::with([("/a", &b"old"[..])]);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    world.write(handle, 0, b"half of it");
    world.run(world.fs.flush(handle, Closing::Killed)).unwrap();
    world.release(handle);
    go_on(&world);
    let [meta] = &world.store.notes()[..] else { panic!("one entry") };
    assert_eq!((meta.state, meta.path.to_string().as_str()), (State::Partial, "/a"));
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
}

/// > What was reported as failed is never sent by itself; a later successful save of the same path
/// > drops it.
#[test]
fn a_later_save_of_the_same_path_drops_what_failed_and_removes_what_it_left() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, b"one");
    world.remote.fail_next("Size", Error::LinkDown);
    world.flush(handle).unwrap_err();
    world.release(handle);
    assert_eq!(world.store.kept().len(), 1);
    assert_eq!(world.remote.names("/").len(), 1, "an unfinished upload");
    let handle = world.create("/a");
    world.write(handle, 0, b"two");
    world.close(handle);
    assert!(world.store.kept().is_empty());
    go_on(&world);
    assert_eq!(world.remote.names("/"), ["a"]);
}

#[test]
fn a_file_that_was_renamed_is_kept_under_its_new_name() {
    let world = World::with([("/d/x", &b""[..])]);
    let handle = world.create("/d/a");
    world.write(handle, 0, b"one");
    world.rename("/d", "/e").unwrap();
    world.remote.fail_next("Write", Error::NoSpace);
    world.flush(handle).unwrap_err();
    world.release(handle);
    assert_eq!(world.store.notes()[0].path.to_string(), "/e/a");
}

/// > Nothing that was written for one vehicle is saved on another: the save is ESTALE, and its
/// > bytes are kept.
#[test]
fn a_save_is_refused_when_another_vehicle_answers() {
    let world = World::with([]);
    let handle = world.create("/a");
    world.write(handle, 0, b"for the first");
    another_vehicle(&world);
    assert_eq!(errno(world.flush(handle)), libc::ESTALE);
    world.release(handle);
    assert!(world.remote.names("/").is_empty());
    assert_eq!(world.store.notes()[0].vehicle.identity.as_deref(), Some("memory"));
}

/// > Nothing that was written for one vehicle is saved on another: the save is ESTALE, and its
/// > bytes are kept.
#[test]
fn a_vehicle_without_identity_is_another_one_after_a_silence() {
    let world = World::with([]);
    world.remote.change_status(|status| status.identity = None);
    let handle = world.create("/a");
    world.write(handle, 0, b"a");
    world.flush(handle).unwrap();
    world.write(handle, 0, b"b");
    world.remote.return_unknown();
    assert_eq!(errno(world.flush(handle)), libc::ESTALE);
}

/// > With `--write-back async` close says ok once the bytes are safe on the local disk; they are
/// > sent when the vehicle is there, disarmed, the same one, and its file still what it was.
#[test]
fn an_asynchronous_close_succeeds_without_the_vehicle_and_is_kept_later() {
    let world = World::with_options([], asynchronous());
    world.run(world.fs.begin_sending());
    assert!(world.names("/").is_empty());
    link(&world, false);
    let handle = world.create("/a");
    world.write(handle, 0, b"promised");
    world.close(handle);
    go_on(&world);
    assert_eq!(world.store.notes()[0].state, State::Pending);
    assert!(world.remote.content("/a").is_none());
    assert_eq!(world.names("/"), ["a"]);
    assert_eq!(world.content("/a"), b"promised");
    link(&world, true);
    go_on(&world);
    assert_eq!(world.remote.content("/a").unwrap(), b"promised");
    assert!(world.store.kept().is_empty());
    assert_eq!(world.content("/a"), b"promised");
}

#[test]
fn what_is_promised_can_be_renamed_written_again_and_removed() {
    let world = World::with_options([("/old", &b"old"[..])], asynchronous());
    world.run(world.fs.begin_sending());
    assert_eq!(world.names("/"), ["old"]);
    link(&world, false);
    for name in ["/a", "/b"] {
        let handle = world.create(name);
        world.write(handle, 0, b"one");
        world.close(handle);
    }
    world.rename("/a", "/c").unwrap();
    let handle = world.open("/c", WRONLY);
    world.write(handle, 3, b"two");
    world.close(handle);
    world.unlink("/b").unwrap();
    assert_eq!(world.store.kept(), [(b"c".to_vec(), b"onetwo".to_vec())]);
    link(&world, true);
    go_on(&world);
    assert_eq!(world.remote.names("/"), ["c", "old"]);
    assert_eq!(world.remote.content("/c").unwrap(), b"onetwo");
}

#[test]
fn what_is_promised_can_be_cut_and_the_promise_holds() {
    let world = World::with_options([], asynchronous());
    world.run(world.fs.begin_sending());
    assert!(world.names("/").is_empty());
    link(&world, false);
    let handle = world.create("/a");
    world.write(handle, 0, b"0123456789");
    world.close(handle);
    let cut = crate::fs::SetAttr { size: Some(3), mtime: None };
    let ino = world.ino("/a");
    world.run(world.fs.setattr(ino, None, cut)).unwrap();
    assert_eq!(world.store.kept(), [(b"a".to_vec(), b"012".to_vec())]);
    link(&world, true);
    go_on(&world);
    assert_eq!(world.remote.content("/a").unwrap(), b"012");
}

/// > With `--write-back async` close says ok once the bytes are safe on the local disk; they are
/// > sent when the vehicle is there, disarmed, the same one, and its file still what it was.
#[test]
fn a_promise_is_not_kept_while_armed_nor_to_another_vehicle() {
    let world = World::with_options([], asynchronous());
    world.run(world.fs.begin_sending());
    world.remote.change_status(|status| status.armed = true);
    let handle = world.create("/a");
    world.write(handle, 0, b"x");
    world.close(handle);
    go_on(&world);
    assert!(world.remote.content("/a").is_none());
    world.remote.change_status(|status| status.armed = false);
    another_vehicle(&world);
    go_on(&world);
    assert!(world.remote.content("/a").is_none());
    assert_eq!(world.store.notes()[0].state, State::Pending);
}

/// > With `--write-back async` close says ok once the bytes are safe on the local disk; they are
/// > sent when the vehicle is there, disarmed, the same one, and its file still what it was.
#[test]
fn a_promise_over_a_file_that_changed_there_becomes_a_failure() {
    let world = World::with_options([("/a", &b"old"[..])], asynchronous());
    world.run(world.fs.begin_sending());
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    link(&world, false);
    world.write(handle, 0, b"mine");
    world.close(handle);
    world.remote.put("/a", b"another station's");
    link(&world, true);
    world.wait(60);
    go_on(&world);
    assert_eq!(world.remote.content("/a").unwrap(), b"another station's");
    let notes = world.store.notes();
    assert_eq!((notes.len(), notes[0].state), (1, State::Failed));
    assert_eq!(world.content("/a"), b"another station's");
}

/// > What `--write-back async` promised is sent by the next mount of that vehicle, if this one
/// > cannot.
#[test]
fn what_an_earlier_mount_promised_is_shown_and_sent_by_the_next() {
    let world = World::with_options([("/d/x", &b""[..])], asynchronous());
    let vehicle = Vehicle {
        identity: Some("memory".into()),
        session: "earlier".into(),
        source: "udp:14550".into(),
    };
    let pending = |path: &str, vehicle: &Vehicle| Meta {
        state: State::Pending,
        length: 8,
        ..Meta::new(vehicle.clone(), path.as_bytes(), 7)
    };
    world.store.leave(pending("/d/a", &vehicle), b"promised");
    let other = Vehicle { identity: Some("another".into()), ..vehicle };
    world.store.leave(pending("/d/b", &other), b"not here");
    link(&world, false);
    world.run(world.fs.begin_sending());
    link(&world, true);
    assert_eq!(world.content("/d/a"), b"promised");
    go_on(&world);
    assert_eq!(world.remote.content("/d/a").unwrap(), b"promised");
    assert!(!world.exists("/d/b"));
    assert_eq!(world.store.notes().len(), 1);
}

#[test]
fn the_unmount_leaves_what_it_cannot_send_promised() {
    let world = World::with_options([], asynchronous());
    assert!(world.names("/").is_empty());
    link(&world, false);
    let handle = world.create("/a");
    world.write(handle, 0, b"x");
    world.close(handle);
    world.run(world.fs.finish());
    assert_eq!(world.store.notes()[0].state, State::Pending);
    link(&world, true);
    world.run(world.fs.finish());
    assert_eq!(world.remote.content("/a").unwrap(), b"x");
}

#[test]
fn a_promise_whose_name_is_gone_is_over() {
    let world = World::with_options([("/a", &b"old"[..])], asynchronous());
    world.run(world.fs.begin_sending());
    let ino = world.ino("/a");
    link(&world, false);
    let handle = world.open("/a", WRONLY | libc::O_TRUNC);
    world.write(handle, 0, b"mine");
    world.flush(handle).unwrap();
    let place = world.fs.place(ino).unwrap();
    world.fs.state.lock().inodes.orphan(&place, None);
    link(&world, true);
    go_on(&world);
    assert!(world.store.kept().is_empty());
    world.release(handle);
    go_on(&world);
    assert_eq!(world.remote.content("/a").unwrap(), b"old");
    assert!(world.fs.state.lock().staged.is_empty());
}
