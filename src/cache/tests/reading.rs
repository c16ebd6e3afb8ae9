//! What a reader gets, and what is fetched for it.

use super::*;
use crate::remote::Class;

#[test]
fn a_read_returns_exactly_the_bytes_asked_for() {
    let all = content(20_000, 1);
    let world = World::new(&[("/a", &all)]);
    let file = world.open("/a");
    for (offset, length) in [(0, 1), (4095, 2), (100, 9000), (19_999, 1), (0, 20_000)] {
        let read = world.read(&file, offset, length).unwrap();
        assert_eq!(read, all[offset as usize..offset as usize + length], "{offset}+{length}");
    }
}

/// > A short read happens at the end of the file only; what did not arrive is an error (EIO,
/// > ETIMEDOUT, EHOSTDOWN), never zeros.
#[test]
fn a_read_is_short_only_at_the_end_of_the_file() {
    let all = content(5000, 1);
    let world = World::new(&[("/a", &all)]);
    let file = world.open("/a");
    assert_eq!(world.read(&file, 4000, 9999).unwrap(), all[4000..]);
    assert_eq!(world.read(&file, 5000, 10).unwrap(), b"");
    assert_eq!(world.read(&file, u64::MAX, usize::MAX).unwrap(), b"");
    assert_eq!(world.read(&file, 10, 0).unwrap(), b"");
}

/// > Opening a file to read it sends nothing; the first block that is not at hand is fetched when
/// > it is read.
#[test]
fn opening_sends_nothing_and_what_was_read_is_not_asked_again() {
    let world = World::new(&[("/a", &content(10_000, 1))]);
    let file = world.open("/a");
    assert_eq!(world.asked(), ["List \"/\""]);
    world.read(&file, 100, 5000).unwrap();
    assert_eq!(world.asked(), ["Read \"/a\" 0+8192"]);
    world.read(&file, 0, 8192).unwrap();
    drop(file);
    let again = world.open("/a");
    world.read(&again, 4000, 1000).unwrap();
    assert!(world.asked().is_empty());
}

#[test]
fn contiguous_missing_blocks_are_one_fetch() {
    let all = content(100_000, 1);
    let world = World::with(&[("/a", &all)], small());
    let file = world.open("/a");
    world.read(&file, 8192, 1).unwrap();
    world.asked();
    world.read(&file, 0, 40_960).unwrap();
    assert_eq!(world.asked(), ["Read \"/a\" 0+8192", "Read \"/a\" 12288+28672"]);
}

/// > A program that reads a file in order is read ahead for; one that reads here and there gets the
/// > blocks that it asks for and no more.
#[test]
fn a_random_reader_gets_just_its_blocks() {
    let world = World::new(&[("/a", &content(1_000_000, 1))]);
    let file = world.open("/a");
    world.asked();
    for offset in [500_000, 40_000, 900_000] {
        world.read(&file, offset, 100).unwrap();
    }
    let blocks = ["Read \"/a\" 499712+4096", "Read \"/a\" 36864+4096", "Read \"/a\" 897024+4096"];
    assert_eq!(world.asked(), blocks);
}

/// > A program that reads a file in order is read ahead for; one that reads here and there gets the
/// > blocks that it asks for and no more.
#[test]
fn a_copy_has_data_under_way_after_every_read() {
    let all = content(1_000_000, 1);
    let world = World::new(&[("/a", &all)]);
    let file = world.open("/a");
    let mut copy = Vec::new();
    while copy.len() < all.len() {
        let mut read = world.begin_read(&file, copy.len() as u64, 16_384);
        let bytes = loop {
            match read.poll() {
                Some(bytes) => break bytes.unwrap(),
                None => assert!(world.remote.step()),
            }
        };
        copy.extend(bytes);
        let rest = all.len() - copy.len();
        assert!(rest < 300_000 || world.remote.waiting() > 0, "nothing under way, {rest} to go");
    }
    assert!(copy == all);
    let log = world.asked();
    assert!(log.len() <= 20, "{log:?}");
}

#[test]
fn read_ahead_is_never_farther_than_allowed_and_ends_with_the_file() {
    let all = content(300_000, 1);
    let options = Options { read_ahead_bytes: 131_072, ..Options::default() };
    let world = World::with(&[("/a", &all)], options);
    let file = world.open("/a");
    for at in 0..19 {
        let end = (at + 1) * 16_384;
        world.read(&file, at * 16_384, 16_384).unwrap();
        for line in world.asked().iter().filter(|line| line.starts_with("Read")) {
            let range = line.rsplit(' ').next().unwrap();
            let (offset, length) = range.split_once('+').unwrap();
            let last = offset.parse::<u64>().unwrap() + length.parse::<u64>().unwrap();
            assert!(last <= end + 131_072 && last <= 303_104, "{line} after {end}");
        }
        world.settle();
    }
    assert!(world.read(&file, 0, 300_000).unwrap() == all);
    assert!(world.asked().is_empty());
}

#[test]
fn read_ahead_keeps_to_a_quarter_of_a_small_cache() {
    let options = Options { bytes_max: 64 << 10, ..Options::default() };
    let world = World::with(&[("/a", &content(1_000_000, 1))], options);
    let file = world.open("/a");
    world.asked();
    world.read(&file, 0, 16_384).unwrap();
    world.settle();
    assert_eq!(world.asked()[1..], ["Read \"/a\" 16384+8192", "Read \"/a\" 24576+8192"]);
}

#[test]
fn read_ahead_has_its_own_class_until_somebody_waits_for_it() {
    let world = World::new(&[("/a", &content(1_000_000, 1))]);
    let file = world.open("/a");
    let mut first = world.begin_read(&file, 0, 16_384);
    assert!(first.poll().is_none());
    let ahead = [Class::ReadAhead; 3];
    assert_eq!(world.remote.classes(), [&[Class::Demand], &ahead[..]].concat());
    world.remote.step();
    assert!(first.poll().is_some());
    let other = world.open("/a");
    let mut second = world.begin_read(&other, 20_480, 100);
    assert!(second.poll().is_none());
    assert_eq!(world.remote.classes(), [&[Class::Demand], &ahead[1..]].concat());
    assert_eq!(world.remote.raised().len(), 1);
    assert!(second.poll().is_none());
    assert_eq!(world.remote.raised().len(), 1, "it is told once");
    world.settle();
    assert!(second.poll().is_some());
}

#[test]
fn read_ahead_stops_after_an_error() {
    let world = World::new(&[("/a", &content(1_000_000, 1))]);
    let file = world.open("/a");
    world.read(&file, 0, 16_384).unwrap();
    let ahead = world.take();
    ahead.sink.done(Err(Error::Busy));
    world.asked();
    world.read(&file, 16_384, 16_384).unwrap();
    assert_eq!(world.asked(), ["Read \"/a\" 16384+16384"]);
}

#[test]
fn closing_a_file_ends_what_is_fetched_ahead_of_it() {
    let world = World::new(&[("/a", &content(1_000_000, 1))]);
    let file = world.open("/a");
    world.read(&file, 0, 16_384).unwrap();
    assert!(world.remote.waiting() > 0);
    drop(file);
    assert_eq!(world.remote.waiting(), 0);
}

#[test]
fn closing_a_file_leaves_a_fetch_that_another_reader_waits_for() {
    let all = content(1_000_000, 1);
    let world = World::new(&[("/a", &all)]);
    let (file, other) = (world.open("/a"), world.open("/a"));
    world.read(&file, 0, 16_384).unwrap();
    let mut read = world.begin_read(&other, 20_480, 100);
    assert!(read.poll().is_none());
    drop(file);
    assert_eq!(world.remote.waiting(), 1);
    let left = world.take();
    assert_eq!(format!("{:?}", left.op), "Read \"/a\" 16384+16384", "and nothing beyond");
    world.remote.answer(&left);
    assert_eq!(read.poll().unwrap().unwrap(), all[20_480..20_580]);
}

#[test]
fn the_cache_holds_no_more_bytes_than_allowed() {
    let all = content(400_000, 1);
    let options = Options { bytes_max: 50_000, ..small() };
    let world = World::with(&[("/a", &all)], options);
    let file = world.open("/a");
    assert!(world.read(&file, 0, 400_000).unwrap() == all, "more than the cache holds");
    let held = world.cache.with(|known| known.blocks.bytes());
    assert!((40_000..=50_000).contains(&held), "{held}");
}

/// > What is cached is served at once while the link is lost, whatever its age.
#[test]
fn cached_blocks_are_served_while_the_link_is_lost() {
    let all = content(10_000, 1);
    let world = World::new(&[("/a", &all)]);
    let file = world.open("/a");
    world.read(&file, 0, 4096).unwrap();
    world.remote.change_status(|status| status.up = false);
    world.remote.fail_next("Read", Error::LinkDown);
    world.wait(3600);
    assert_eq!(world.read(&file, 0, 100).unwrap(), all[..100]);
    assert_eq!(world.read(&world.open("/a"), 0, 100).unwrap(), all[..100]);
    assert_eq!(world.read(&file, 8192, 100), Err(Error::LinkDown));
}

#[test]
fn another_far_side_has_none_of_the_old_ones_bytes() {
    let world = World::new(&[("/a", &content(10_000, 1))]);
    let file = world.open("/a");
    world.read(&file, 0, 10_000).unwrap();
    let other = content(10_000, 2);
    world.remote.put("/a", &other);
    world.remote.be_another();
    assert_eq!(world.read(&file, 0, 100), Err(Error::Changed));
    assert_eq!(world.read(&world.open("/a"), 0, 10_000).unwrap(), other);
}

#[test]
fn another_far_side_ends_a_read_under_way() {
    let all = content(10_000, 1);
    let world = World::with(&[("/a", &all)], small());
    let file = world.open("/a");
    let mut read = world.begin_read(&file, 0, 100);
    assert!(read.poll().is_none());
    world.remote.be_another();
    world.settle();
    assert_eq!(read.poll(), Some(Err(Error::Changed)));
}

#[test]
fn dropping_the_cache_cancels_what_is_under_way() {
    let world = World::new(&[("/a", &content(100_000, 1)), ("/d/b", b"")]);
    let file = world.open("/a");
    let mut read = world.begin_read(&file, 0, 16_384);
    assert!(read.poll().is_none());
    drop(read);
    let listing = world.cache.listing(world.volume, &path("/d"));
    assert!(world.remote.waiting() >= 3);
    let World { remote, cache, .. } = world;
    drop(cache);
    assert_eq!(remote.waiting(), 0);
    assert_eq!(run(&remote, listing.at(0)), Err(Error::Cancelled));
}

#[test]
fn paths_lie_below_the_root_of_the_volume() {
    let world = World::below("/fs/microsd", &[("/fs/microsd/log/a", b"x")], small());
    let file = world.open("/log/a");
    assert_eq!(world.read(&file, 0, 1).unwrap(), b"x");
    let log = world.asked();
    assert_eq!(log[..2], ["List \"/fs/microsd\"", "List \"/fs/microsd/log\""]);
    assert_eq!(log[2], "Read \"/fs/microsd/log/a\" 0+4096");
}

#[test]
fn an_unknown_volume_is_an_error_and_not_a_panic() {
    let world = World::new(&[]);
    let nowhere = VolumeId(7);
    let entry = Entry { size: 10, ..world.entry("/").unwrap() };
    let file = world.cache.open(nowhere, &path("/a"), &entry);
    assert_eq!(world.read(&file, 0, 1), Err(Error::NotFound));
    assert!(!world.cache.status(nowhere).up);
}
