//! What makes another content of a file, and who notices.

use super::*;

#[test]
fn a_listing_with_another_mtime_makes_another_version() {
    let world = World::with(&[("/a", &content(5000, 1))], small());
    let file = world.open("/a");
    world.read(&file, 0, 5000).unwrap();
    let other = content(5000, 2);
    world.remote.put_at("/a", &other, Some(1_700_000_001));
    assert_ne!(world.read(&file, 0, 5000).unwrap(), other, "unseen until the listing expires");
    world.wait(11);
    world.entry("/a").unwrap();
    assert_eq!(world.read(&file, 0, 5000), Err(Error::Changed));
    assert_eq!(file.version(), Err(Error::Changed));
    assert_eq!(world.read(&world.open("/a"), 0, 5000).unwrap(), other);
}

#[test]
fn without_an_mtime_a_file_is_read_again_once_the_listing_has_expired() {
    let world = World::with(&[], small());
    world.remote.put_at("/a", &content(5000, 1), None);
    world.read(&world.open("/a"), 0, 5000).unwrap();
    let other = content(5000, 2);
    world.remote.put_at("/a", &other, None);
    world.wait(9);
    assert_ne!(world.read(&world.open("/a"), 0, 5000).unwrap(), other);
    world.wait(2);
    assert_eq!(world.read(&world.open("/a"), 0, 5000).unwrap(), other);
}

#[test]
fn without_an_mtime_an_open_file_goes_on() {
    let all = content(50_000, 1);
    let world = World::with(&[], small());
    world.remote.put_at("/a", &all, None);
    let file = world.open("/a");
    world.read(&file, 0, 5000).unwrap();
    world.wait(3600);
    let other = world.open("/a");
    assert_eq!(world.read(&file, 0, 50_000).unwrap(), all);
    assert_eq!(world.read(&other, 0, 50_000).unwrap(), all);
}

#[test]
fn without_an_mtime_cached_blocks_are_served_while_the_link_is_lost() {
    let all = content(5000, 1);
    let world = World::with(&[], small());
    world.remote.put_at("/a", &all, None);
    world.read(&world.open("/a"), 0, 5000).unwrap();
    world.remote.change_status(|status| status.up = false);
    world.wait(3600);
    assert_eq!(world.read(&world.open("/a"), 0, 5000).unwrap(), all);
}

#[test]
fn a_file_replaced_by_a_larger_one_while_nobody_has_it_open_is_read_anew() {
    let world = World::with(&[("/a", &content(9000, 1))], small());
    world.read(&world.open("/a"), 0, 9000).unwrap();
    let other = content(12_000, 2);
    world.remote.put_at("/a", &other, Some(1_700_000_001));
    world.wait(11);
    assert_eq!(world.read(&world.open("/a"), 0, 12_000).unwrap(), other);
}

#[test]
fn a_file_that_grew_and_was_then_written_anew_is_not_read_from_old_blocks() {
    let all = content(308, 1);
    let world = World::with(&[("/a", &all[..200])], small());
    let file = world.open("/a");
    world.remote.put("/a", &all);
    world.read(&file, 0, 308).unwrap();
    let mut late = world.begin_read(&file, 0, 308);
    assert_eq!(late.poll().unwrap().unwrap(), all);
    let other = content(200, 2);
    world.remote.put_at("/a", &other, Some(1_700_000_001));
    world.wait(11);
    world.entry("/a").unwrap();
    assert_eq!(world.read(&file, 0, 308), Err(Error::Changed));
    assert_eq!(world.read(&world.open("/a"), 0, 308).unwrap(), other);
}

#[test]
fn a_fetch_that_a_doubtful_listing_overtook_is_not_kept() {
    let all = content(308, 1);
    let world = World::with(&[("/a", &all[..200])], small());
    let file = world.open("/a");
    let mut read = world.begin_read(&file, 0, 308);
    assert!(read.poll().is_none());
    let asked = world.take();
    asked.sink.opened(308);
    let other = content(200, 2);
    world.remote.put_at("/a", &other, Some(1_700_000_001));
    world.wait(11);
    world.entry("/a").unwrap();
    deliver(&asked, &all, 0, 308);
    asked.sink.done(Ok(Reply::Size(308)));
    assert_eq!(read.poll().unwrap().unwrap(), all, "one version, if the old one");
    assert_eq!(world.read(&file, 0, 308), Err(Error::Changed));
}

#[test]
fn a_size_that_was_asked_for_counts_from_when_it_was_told() {
    let world = World::with(&[("/a", b"")], small());
    let file = world.open("/a");
    let mut read = world.begin_read(&file, 0, 10);
    assert!(read.poll().is_none());
    world.settle();
    world.remote.put_at("/a", b"more", Some(1_700_000_001));
    world.wait(11);
    assert_eq!(world.entry("/a").unwrap().size, 4);
    let bytes = loop {
        match read.poll() {
            Some(result) => break result,
            None => assert!(world.remote.step()),
        }
    };
    assert_eq!(bytes.unwrap(), b"more");
}

/// > Who has a file open that was removed reads what was fetched before, else ESTALE; never the
/// > bytes of a newcomer under its name.
#[test]
fn a_file_gone_from_its_listing_leaves_its_reader_the_cached_blocks() {
    let all = content(10_000, 1);
    let world = World::with(&[("/a", &all)], small());
    let file = world.open("/a");
    world.read(&file, 0, 100).unwrap();
    world.remote.take_away("/a");
    world.wait(11);
    assert_eq!(world.entry("/a"), Err(Error::NotFound));
    assert_eq!(world.read(&file, 0, 4096).unwrap(), all[..4096]);
    assert_eq!(world.read(&file, 4096, 1), Err(Error::Changed));
}

#[test]
fn a_file_that_became_a_directory_is_gone() {
    let world = World::with(&[("/a", &content(10_000, 1))], small());
    let file = world.open("/a");
    world.remote.take_away("/a");
    world.remote.put_directory("/a");
    world.wait(11);
    world.entry("/a").unwrap();
    assert_eq!(world.read(&file, 0, 1), Err(Error::Changed));
}

#[test]
fn after_a_save_readers_of_the_old_content_are_told_and_new_ones_get_the_new() {
    let world = World::with(&[("/a", &content(10_000, 1))], small());
    let file = world.open("/a");
    world.read(&file, 0, 10_000).unwrap();
    let new = content(10_000, 2);
    world.save("/a", &new, 5_000).unwrap();
    assert_eq!(world.read(&file, 0, 100), Err(Error::Changed));
    assert_eq!(world.read(&world.open("/a"), 0, 10_000).unwrap(), new);
}

#[test]
fn the_mtime_given_to_a_save_stays_until_the_far_side_tells_another() {
    let world = World::new(&[("/a", b"old")]);
    world.entry("/a").unwrap();
    world.save("/a", b"new!", 5_000).unwrap();
    let shown = |world: &World| {
        let entry = world.entry("/a").unwrap();
        (entry.size, entry.mtime)
    };
    assert_eq!(shown(&world), (4, Some(5_000)));
    world.wait(11);
    assert_eq!(shown(&world), (4, Some(5_000)));
    world.wait(11);
    assert_eq!(shown(&world), (4, Some(5_000)));
    world.remote.put_at("/a", b"else", Some(42));
    world.wait(11);
    assert_eq!(shown(&world), (4, Some(42)));
}

#[test]
fn a_read_during_the_replacement_waits_and_never_mixes_old_and_new() {
    let old = content(10_000, 1);
    let new = content(10_000, 2);
    let world = World::with(&[("/a", &old)], small());
    let file = world.open("/a");
    assert_eq!(world.read(&file, 0, 4096).unwrap(), old[..4096]);
    let (at, cache) = (path("/a"), &world.cache);
    let save = cache.save(world.volume, &at, saving(&new, 1), &|_, _| {});
    let mut save = std::pin::pin!(save);
    let mut context = Context::from_waker(Waker::noop());
    // Upload, and the questions for its size and its checksum.
    for _ in 0..3 {
        assert!(save.as_mut().poll(&mut context).is_pending());
        world.remote.step();
    }
    assert!(save.as_mut().poll(&mut context).is_pending());
    let renaming = world.take();
    assert!(format!("{:?}", renaming.op).starts_with("Rename"));
    // The vehicle renames; before its answer comes, a block of the new content is read.
    let mut read = world.begin_read(&file, 0, 10_000);
    assert!(read.poll().is_none());
    let reading = world.take();
    deliver(&reading, &new, 4096, 10_000);
    reading.sink.done(Ok(Reply::Size(10_000)));
    assert!(read.poll().is_none(), "half of it is of the other content");
    world.remote.answer(&renaming);
    assert!(save.as_mut().poll(&mut context).is_ready());
    assert_eq!(read.poll(), Some(Err(Error::Changed)));
    assert_eq!(world.read(&world.open("/a"), 0, 10_000).unwrap(), new);
}

#[test]
fn a_read_during_a_change_that_fails_is_answered() {
    let old = content(10_000, 1);
    let world = World::with(&[("/a", &old)], small());
    let file = world.open("/a");
    let at = path("/a");
    let removal = world.cache.remove(world.volume, &at);
    let mut removal = std::pin::pin!(removal);
    let mut context = Context::from_waker(Waker::noop());
    assert!(removal.as_mut().poll(&mut context).is_pending());
    let asked = world.take();
    let mut read = world.begin_read(&file, 0, 10_000);
    assert!(read.poll().is_none());
    world.settle();
    assert!(read.poll().is_none());
    asked.sink.done(Err(Error::Denied));
    assert!(removal.as_mut().poll(&mut context).is_ready());
    assert_eq!(read.poll(), Some(Ok(old)));
}

/// A file of 5000 bytes that is open, and of which the last block is known.
fn world_with_a_known_end() -> (World, Vec<u8>, std::sync::Arc<OpenFile>) {
    let old = content(5000, 1);
    let world = World::with(&[("/a", &old)], small());
    let file = world.open("/a");
    assert_eq!(world.read(&file, 4096, 4096).unwrap(), old[4096..]);
    (world, old, file)
}

#[test]
fn a_larger_file_that_begins_otherwise_is_another_content() {
    let (world, _, file) = world_with_a_known_end();
    world.remote.put_at("/a", &content(9000, 2), Some(42));
    world.wait(11);
    world.entry("/a").unwrap();
    assert_eq!(world.read(&file, 0, 100), Err(Error::Changed), "a block that was not known");
    let again = world.open("/a");
    assert_eq!(world.read(&again, 0, 9000).unwrap(), content(9000, 2));
    assert_eq!(world.read(&file, 4096, 10), Err(Error::Changed));
}

#[test]
fn a_file_that_was_appended_to_is_read_on_once_its_end_was_compared() {
    let (world, old, file) = world_with_a_known_end();
    let grown = [&old[..], &content(9000, 3)].concat();
    world.remote.put_at("/a", &grown, Some(42));
    world.wait(11);
    world.entry("/a").unwrap();
    world.asked();
    assert_eq!(world.read(&file, 8192, 4096).unwrap(), grown[8192..12_288]);
    assert_eq!(world.asked(), ["Read \"/a\" 4096+8192"], "the old end with the rest");
    assert_eq!(world.read(&file, 0, 100).unwrap(), grown[..100]);
    assert_eq!(world.asked(), ["Read \"/a\" 0+4096"], "it is compared once");
}

#[test]
fn what_grew_while_others_have_it_open_is_compared_when_it_is_opened_again() {
    let (world, _, file) = world_with_a_known_end();
    world.remote.put_at("/a", &content(9000, 2), Some(42));
    world.wait(11);
    let again = world.open("/a");
    assert_eq!(world.run(world.cache.confirm(&again, &path("/a"))), Err(Error::Changed));
    assert!(file.is_outdated());
    let anew = world.open("/a");
    world.asked();
    assert_eq!(world.run(world.cache.confirm(&anew, &path("/a"))), Ok(()));
    assert!(world.asked().is_empty());
}
