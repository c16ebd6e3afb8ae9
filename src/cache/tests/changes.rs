//! Changes of ours: shown at once, without another listing, and believed no more in doubt.

use super::*;
use crate::remote::save;

fn files() -> World {
    let world =
        World::with(&[("/a", b"aaa"), ("/b", b"bb"), ("/d/x", b"x"), ("/e/y", b"")], small());
    world.names("/");
    world.asked();
    world
}

impl World {
    fn make_directory(&self, at: &str) -> Result<(), Error> {
        self.run(self.cache.make_directory(self.volume, &path(at)))
    }
    fn remove(&self, at: &str) -> Result<(), Error> {
        self.run(self.cache.remove(self.volume, &path(at)))
    }
    fn remove_directory(&self, at: &str) -> Result<(), Error> {
        self.run(self.cache.remove_directory(self.volume, &path(at)))
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.run(self.cache.rename(self.volume, &path(from), &path(to)))
    }
    fn truncate(&self, at: &str, length: u64) -> Result<(), Error> {
        self.run(self.cache.truncate(self.volume, &path(at), length))
    }
    fn shown(&self, at: &str) -> Vec<String> {
        let mut names = self.names(at);
        names.sort();
        names
    }
    fn listed(&self) -> bool {
        self.asked().iter().any(|line| line.starts_with("List"))
    }
}

/// > What this mount changed is seen at once by every program, and without another listing.
#[test]
fn every_change_shows_at_once_without_another_listing() {
    let world = files();
    world.make_directory("/n").unwrap();
    world.rename("/a", "/n/a2").unwrap();
    world.save("/new", b"12345", 77).unwrap();
    world.remove("/b").unwrap();
    assert_eq!(world.shown("/"), ["d", "e", "n", "new"]);
    assert_eq!(world.shown("/n"), ["a2"]);
    let entry = world.entry("/new").unwrap();
    assert_eq!((entry.size, entry.mtime), (5, Some(77)));
    assert!(!world.listed());
    world.wait(11);
    assert_eq!(world.shown("/"), ["d", "e", "n", "new"], "and so it is there");
}

#[test]
fn an_upload_that_failed_before_its_name_was_touched_costs_nothing_that_is_known() {
    for (error, keeps) in [(Error::TimedOut, true), (Error::Busy, true), (Error::NoSpace, false)] {
        let world = files();
        let file = world.open("/a");
        assert_eq!(world.read(&file, 0, 3).unwrap(), b"aaa");
        world.remote.fail_next("Write", error.clone());
        assert_eq!(world.save("/a", b"new", 77), Err(error.clone()));
        world.asked();
        assert_eq!(world.read(&file, 0, 3).unwrap(), b"aaa", "{error}");
        world.entry("/a").unwrap();
        assert_eq!(world.asked().is_empty(), keeps, "{error}");
    }
}

#[test]
fn a_listing_handed_out_before_a_change_stays_as_it_was() {
    let world = files();
    let before = world.cache.listing(world.volume, &path("/"));
    world.remove("/a").unwrap();
    assert_eq!(world.run(before.at(0)).unwrap().unwrap().name, name("a"));
    assert_eq!(world.shown("/"), ["b", "d", "e"]);
}

#[test]
fn a_listing_under_way_during_a_change_does_not_bring_back_the_old_state() {
    let world = files();
    world.wait(11);
    let at = path("/a");
    let removal = world.cache.remove(world.volume, &at);
    let mut removal = std::pin::pin!(removal);
    let mut context = Context::from_waker(Waker::noop());
    // The fresh listing that the removal asked for.
    assert!(removal.as_mut().poll(&mut context).is_pending());
    world.settle();
    world.wait(11);
    assert!(removal.as_mut().poll(&mut context).is_pending());
    let asked = world.take();
    // It is listed while the removal is under way, and answered with the old state.
    let listing = world.cache.listing(world.volume, &path("/"));
    let late = world.take();
    world.remote.answer(&late);
    assert!(world.run(listing.find(&name("a"))).unwrap().is_some());
    world.remote.answer(&asked);
    assert!(removal.as_mut().poll(&mut context).is_ready());
    assert_eq!(world.entry("/a"), Err(Error::NotFound));
}

#[test]
fn a_listing_that_a_change_overtakes_is_not_kept() {
    let world = files();
    world.wait(11);
    let listing = world.cache.listing(world.volume, &path("/"));
    let late = world.take();
    late.sink.page(vec![Entry { size: 3, ..world_entry("b") }]);
    world.save("/n", b"n", 1).unwrap();
    late.sink.done(Ok(Reply::Done));
    assert!(world.run(listing.find(&name("n"))).unwrap().is_some(), "it was saved since");
    assert_eq!(world.shown("/"), ["a", "b", "d", "e", "n"]);
}

#[test]
fn what_we_changed_while_a_listing_came_is_in_it_whatever_still_comes() {
    let world = files();
    world.names("/");
    world.wait(11);
    let listing = world.cache.listing(world.volume, &path("/"));
    let late = world.take();
    late.sink.page(vec![Entry { size: 3, ..world_entry("a") }]);
    world.save("/a", b"saved anew", 1).unwrap();
    world.remove("/b").unwrap();
    // As it was, with what was removed, and without what is being replaced in two steps.
    late.sink.page(vec![Entry { size: 3, ..world_entry("b") }, world_entry("x")]);
    late.sink.done(Ok(Reply::Done));
    let find = |text: &str| world.run(listing.find(&name(text))).unwrap();
    assert_eq!(find("a").unwrap().size, 10);
    assert_eq!(find("b"), None);
    let names: Vec<_> = (0..3).map(|at| world.run(listing.at(at)).unwrap()).collect();
    assert_eq!(names[1], Some(world_entry("x")), "indexes stay");
    assert_eq!(names[2], None);
}

fn world_entry(text: &str) -> Entry {
    Entry { name: name(text), kind: crate::remote::Kind::File, size: 0, mtime: None }
}

/// > unlink of a directory is EISDIR, rmdir of a file ENOTDIR, and rmdir of a directory with
/// > entries ENOTEMPTY, all before anything is sent.
#[test]
fn types_are_checked_before_anything_is_sent() {
    let world = files();
    world.names("/d");
    world.asked();
    assert_eq!(world.remove("/d"), Err(Error::IsADirectory));
    assert_eq!(world.remove_directory("/a"), Err(Error::NotADirectory));
    assert_eq!(world.remove_directory("/d"), Err(Error::NotEmpty));
    assert_eq!(world.rename("/a", "/d"), Err(Error::IsADirectory));
    assert_eq!(world.rename("/d", "/a"), Err(Error::NotADirectory));
    assert_eq!(world.rename("/e", "/d"), Err(Error::NotEmpty));
    assert_eq!(world.rename("/d", "/d/x/z"), Err(Error::Invalid));
    assert_eq!(world.rename("/a", "/a/z"), Err(Error::NotADirectory));
    assert_eq!(world.rename("/", "/z"), Err(Error::Busy));
    assert_eq!(world.rename("/z", "/y"), Err(Error::NotFound));
    assert_eq!(world.remove("/z"), Err(Error::NotFound));
    assert_eq!(world.save("/d", b"1", 1), Err(Error::IsADirectory));
    assert_eq!(world.rename("/a", "/a"), Ok(()));
    assert!(world.asked().is_empty());
}

#[test]
fn a_directory_with_nothing_but_an_unfinished_upload_is_not_empty() {
    let world = World::new(&[("/d/.mavftp-0011aaff~", b"half")]);
    assert_eq!(world.remove_directory("/d"), Err(Error::NotEmpty));
}

#[test]
fn a_directory_that_a_repeated_request_made_is_ours_and_one_with_something_in_it_is_not() {
    let world = files();
    world.remote.put_directory("/m");
    world.remote.put("/o/x", b"x");
    assert_eq!(world.make_directory("/m"), Ok(()), "refused for what its first copy made");
    assert_eq!(world.make_directory("/o"), Err(Error::Exists));
    assert_eq!(world.shown("/"), ["a", "b", "d", "e", "m", "o"]);
}

#[test]
fn a_directory_replaces_an_empty_one_that_is_removed_first() {
    let world = files();
    world.remove("/e/y").unwrap();
    world.asked();
    world.rename("/d", "/e").unwrap();
    assert_eq!(world.asked(), ["RemoveDirectory \"/e\"", "Rename \"/d\" \"/e\""]);
    assert_eq!(world.shown("/"), ["a", "b", "e"]);
    assert_eq!(world.shown("/e"), ["x"]);
}

#[test]
fn a_server_that_will_not_replace_a_file_is_asked_to_remove_it() {
    let world = files();
    world.remote.fail_next("Rename", Error::Exists);
    world.rename("/a", "/b").unwrap();
    assert_eq!(world.remote.content("/b").unwrap(), b"aaa");
    assert_eq!(world.shown("/"), ["b", "d", "e"]);
}

#[test]
fn a_renamed_file_keeps_its_blocks_and_its_reader() {
    let all = content(10_000, 1);
    let world = World::with(&[("/d/a", &all), ("/e/b", b"")], small());
    let file = world.open("/d/a");
    world.read(&file, 0, 4096).unwrap();
    world.rename("/d/a", "/e/c").unwrap();
    world.asked();
    assert_eq!(world.read(&file, 0, 4096).unwrap(), all[..4096]);
    assert_eq!(world.read(&world.open("/e/c"), 0, 100).unwrap(), all[..100]);
    assert!(world.asked().is_empty());
    assert_eq!(world.read(&file, 4096, 100).unwrap(), all[4096..4196]);
    assert_eq!(world.asked(), ["Read \"/e/c\" 4096+4096"]);
}

#[test]
fn a_renamed_directory_keeps_listings_and_blocks_below_it() {
    let all = content(5000, 1);
    let world = World::with(&[("/d/s/a", &all), ("/d-e/b", b"")], small());
    let file = world.open("/d/s/a");
    world.read(&file, 0, 5000).unwrap();
    world.entry("/d-e/b").unwrap();
    world.rename("/d", "/n").unwrap();
    world.asked();
    assert_eq!(world.read(&world.open("/n/s/a"), 0, 5000).unwrap(), all);
    assert_eq!(world.names("/n/s"), ["a"]);
    assert_eq!(world.names("/d-e"), ["b"]);
    assert!(world.asked().is_empty());
    assert_eq!(world.entry("/d/s/a"), Err(Error::NotFound));
}

#[test]
fn a_read_that_a_rename_overtook_is_tried_under_the_new_name() {
    let all = content(5000, 1);
    let world = World::with(&[("/a", &all)], small());
    let file = world.open("/a");
    let mut read = world.begin_read(&file, 0, 100);
    assert!(read.poll().is_none());
    let late = world.take();
    world.rename("/a", "/b").unwrap();
    world.remote.answer(&late);
    assert!(read.poll().is_none());
    world.settle();
    assert_eq!(read.poll().unwrap().unwrap(), all[..100]);
}

#[test]
fn the_reader_of_a_replaced_file_never_gets_the_newcomers_bytes() {
    let (old, new) = (content(10_000, 1), content(9000, 2));
    let world = World::with(&[("/a", &old), ("/b", &new)], small());
    let file = world.open("/a");
    world.read(&file, 0, 4096).unwrap();
    let mut late = world.begin_read(&file, 8192, 100);
    assert!(late.poll().is_none());
    let asked = world.take();
    world.rename("/b", "/a").unwrap();
    assert_eq!(late.poll(), Some(Err(Error::Changed)));
    world.remote.answer(&asked);
    assert_eq!(world.read(&file, 0, 4096).unwrap(), old[..4096], "what is cached");
    assert_eq!(world.read(&file, 4096, 4096), Err(Error::Changed));
    assert_eq!(world.read(&file, 8192, 100), Err(Error::Changed));
    assert_eq!(world.read(&world.open("/a"), 0, 10_000).unwrap(), new);
}

/// > Who has a file open that was removed reads what was fetched before, else ESTALE; never the
/// > bytes of a newcomer under its name.
#[test]
fn the_reader_of_a_removed_file_keeps_what_is_cached_even_when_another_takes_its_name() {
    let old = content(10_000, 1);
    let world = World::with(&[("/a", &old)], small());
    let file = world.open("/a");
    world.read(&file, 0, 4096).unwrap();
    world.remove("/a").unwrap();
    let new = content(10_000, 2);
    world.save("/a", &new, 1).unwrap();
    assert_eq!(world.read(&world.open("/a"), 0, 10_000).unwrap(), new);
    assert_eq!(world.read(&file, 0, 4096).unwrap(), old[..4096]);
    assert_eq!(world.read(&file, 4096, 1), Err(Error::Changed));
}

#[test]
fn blocks_of_a_removed_file_are_dropped_with_its_last_reader() {
    let world = World::with(&[("/a", &content(10_000, 1))], small());
    let file = world.open("/a");
    world.read(&file, 0, 10_000).unwrap();
    world.remove("/a").unwrap();
    assert_eq!(world.cache.with(|known| known.blocks.bytes()), 10_000);
    drop(file);
    assert_eq!(world.cache.with(|known| known.blocks.bytes()), 0);
}

#[test]
fn a_change_of_unknown_outcome_is_looked_up() {
    for error in [Error::TimedOut, Error::LinkDown, Error::Failed("?".into()), Error::Cancelled] {
        let world = files();
        world.remote.fail_next("Remove", error.clone());
        assert_eq!(world.remove("/a"), Err(error));
        assert_eq!(world.shown("/"), ["a", "b", "d", "e"]);
        assert!(world.listed());
    }
}

#[test]
fn a_change_that_was_refused_costs_nothing() {
    let world = files();
    world.remote.fail_next("Remove", Error::Denied);
    assert_eq!(world.remove("/a"), Err(Error::Denied));
    world.remote.fail_next("Truncate", Error::Unsupported);
    assert_eq!(world.truncate("/a", 1), Err(Error::Unsupported));
    assert_eq!(world.shown("/"), ["a", "b", "d", "e"]);
    assert!(!world.listed());
}

#[test]
fn a_change_that_contradicts_the_listing_renews_it() {
    let world = files();
    world.remote.put("/z/x", b"x");
    assert_eq!(world.make_directory("/z"), Err(Error::Exists));
    assert_eq!(world.shown("/"), ["a", "b", "d", "e", "z"]);
}

#[test]
fn after_a_save_of_unknown_outcome_no_old_block_is_believed() {
    let world = World::with(&[("/a", &content(5000, 1))], small());
    world.read(&world.open("/a"), 0, 5000).unwrap();
    let new = content(5000, 2);
    world.remote.fail_next("Rename", Error::TimedOut);
    assert_eq!(world.save("/a", &new, 1), Err(Error::TimedOut));
    // The rename was made though its answer was lost.
    world.remote.put("/a", &new);
    assert_eq!(world.read(&world.open("/a"), 0, 5000).unwrap(), new);
}

#[test]
fn a_change_dropped_half_way_leaves_doubt() {
    let world = files();
    let at = path("/a");
    {
        let removal = world.cache.remove(world.volume, &at);
        let mut removal = std::pin::pin!(removal);
        assert!(removal.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(world.remote.waiting(), 0);
    assert!(world.entry("/a").is_ok());
    assert!(world.listed());
    assert_eq!(world.read(&world.open("/a"), 0, 3).unwrap(), b"aaa", "and nothing waits for it");
}

#[test]
fn a_failed_save_says_why_and_shows_the_old_file() {
    let world = files();
    world.remote.fail_next("Write", Error::NoSpace);
    assert_eq!(world.save("/a", b"new", 1), Err(Error::NoSpace));
    assert_eq!(world.entry("/a").unwrap().size, 3);
    assert_eq!(world.read(&world.open("/a"), 0, 3).unwrap(), b"aaa");
}

#[test]
fn an_empty_file_is_saved_under_its_own_name_and_shows() {
    let world = files();
    world.save("/empty", b"", 9).unwrap();
    assert_eq!(world.entry("/empty").unwrap().mtime, Some(9));
    assert!(world.asked().iter().all(|line| !line.starts_with("Rename")));
}

#[test]
fn a_truncated_file_shows_its_new_length_and_is_read_anew() {
    let all = content(10_000, 1);
    let world = World::with(&[("/a", &all)], small());
    let file = world.open("/a");
    world.read(&file, 0, 10_000).unwrap();
    world.truncate("/a", 5000).unwrap();
    assert_eq!(world.entry("/a").unwrap().size, 5000);
    assert_eq!(world.read(&file, 0, 1), Err(Error::Changed));
    assert_eq!(world.read(&world.open("/a"), 0, 9999).unwrap(), all[..5000]);
}

#[test]
fn every_call_may_be_polled_by_another_thread() {
    fn is_send(_: impl Send) {}
    let world = files();
    let (cache, volume, at) = (&world.cache, world.volume, path("/a"));
    is_send(cache.entry(volume, &at));
    is_send(cache.make_directory(volume, &at));
    is_send(cache.remove(volume, &at));
    is_send(cache.remove_directory(volume, &at));
    is_send(cache.rename(volume, &at, &at));
    is_send(cache.truncate(volume, &at, 1));
    is_send(cache.save(volume, &at, saving(b"", 1), &|_, _| {}));
    is_send(cache.append(volume, &at, saving(b"", 1), 1..=2, &|_| {}));
    assert!(world.asked().is_empty(), "nothing is sent before it is polled");
}

#[test]
fn the_observer_of_a_save_sees_what_is_acknowledged() {
    struct Seen(Mutex<u64>);
    impl Sink for Seen {
        fn acknowledged(&self, offset: u64) {
            *self.0.lock() = offset;
        }
        fn done(&self, _: Result<Reply, Error>) {}
    }
    let world = files();
    let seen = Arc::new(Seen(Mutex::new(0)));
    let started = Mutex::new(Vec::new());
    let (at, saving) = (path("/n"), saving(&[1; 1000], 1));
    let saving = Saving { observer: seen.clone(), ..saving };
    let note = |id, place: &RemotePath| started.lock().push((id, place.clone()));
    let save = world.cache.save(world.volume, &at, saving, &note);
    world.run(save).unwrap();
    assert_eq!(*seen.0.lock(), 1000);
    let started = started.lock();
    let [(_, place)] = &started[..] else { panic!("{started:?}") };
    assert!(save::is_temporary(&place.name().unwrap()), "{place}");
}

#[test]
fn a_time_that_we_set_is_shown_at_once_and_a_refused_one_never() {
    let world = World::new(&[("/a", b"x")]);
    let at = path("/a");
    let mtime = || world.run(world.cache.entry(world.volume, &at)).unwrap().mtime;
    assert_eq!(mtime(), Some(1_700_000_000));
    world.run(world.cache.set_time(world.volume, &at, 5)).unwrap();
    world.remote.clear_log();
    assert_eq!((mtime(), world.remote.mtime("/a")), (Some(5), Some(5)));
    assert!(world.remote.log().is_empty(), "nothing is listed again");
    world.remote.fail_next("SetTime", Error::Failed("550 no".into()));
    world.run(world.cache.set_time(world.volume, &at, 6)).unwrap_err();
    assert_eq!(mtime(), Some(5));
}
