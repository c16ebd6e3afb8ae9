//! What is believed of a far side that does not say whether it is the one from before.

use super::*;

/// What [`MemoryRemote::put`] gives its files.
const TIME: Option<i64> = Some(1_700_000_000);

#[test]
fn a_file_of_the_same_size_and_time_is_read_on_and_fetched_anew() {
    let all = content(20_000, 1);
    let world = World::with(&[("/d/a", &all)], small());
    let file = world.open("/d/a");
    assert_eq!(world.read(&file, 0, 5000).unwrap(), all[..5000]);
    world.asked();
    world.remote.return_unknown();
    assert_eq!(world.read(&file, 0, 5000).unwrap(), all[..5000]);
    let log = world.asked();
    assert_eq!(log[..2], ["List \"/\"", "List \"/d\""], "nothing is read before it was seen");
    assert_eq!(log[2..], ["Size \"/d/a\"", "Read \"/d/a\" 0+8192"]);
    assert_eq!(world.read(&file, 5000, 20_000).unwrap(), all[5000..]);
    assert!(world.asked().iter().all(|line| line.starts_with("Read")));
}

#[test]
fn of_any_other_file_not_a_byte_is_read() {
    let (all, other) = (content(20_000, 1), content(20_000, 2));
    type Swap = fn(&MemoryRemote, &[u8]);
    let swaps: [(&str, Swap); 6] = [
        ("another time", |remote, other| remote.put_at("/d/a", other, Some(1_700_000_001))),
        ("no time", |remote, other| remote.put_at("/d/a", other, None)),
        ("smaller", |remote, other| remote.put_at("/d/a", &other[1..], TIME)),
        ("larger", |remote, other| remote.put_at("/d/a", &[other, &[1]].concat(), TIME)),
        ("gone", |remote, _| remote.take_away("/d/a")),
        ("all of its directory is gone", |remote, _| remote.take_away("/d")),
    ];
    for (what, swap) in swaps {
        for is_read in [true, false] {
            let world = World::with(&[("/d/a", &all)], small());
            let file = world.open("/d/a");
            if is_read {
                world.read(&file, 0, 20_000).unwrap();
            }
            swap(&world.remote, &other);
            world.remote.return_unknown();
            assert_eq!(world.read(&file, 0, 5000), Err(Error::Changed), "{what}");
            assert!(file.is_outdated(), "{what}");
            assert!(!world.asked().iter().any(|line| line.starts_with("Read \"/d/a\" 8192")));
            if let Ok(entry) = world.entry("/d/a") {
                let new = world.cache.open(world.volume, &path("/d/a"), &entry);
                let size = entry.size as usize;
                assert_eq!(
                    world.read(&new, 0, size).unwrap(),
                    world.remote.content("/d/a").unwrap()
                );
            }
        }
    }
}

#[test]
fn a_directory_or_a_file_in_the_way_is_another_file() {
    let world = World::with(&[("/d/a", &content(5000, 1)), ("/e/b", b"b")], small());
    let (a, b) = (world.open("/d/a"), world.open("/e/b"));
    world.asked();
    world.remote.take_away("/d");
    world.remote.put("/d", b"a file now");
    world.remote.take_away("/e/b");
    world.remote.put_directory("/e/b");
    world.remote.return_unknown();
    assert_eq!(world.read(&a, 0, 10), Err(Error::Changed));
    assert_eq!(world.read(&b, 0, 10), Err(Error::Changed));
    assert!(
        !world.asked().contains(&"List \"/d\"".into()),
        "one server ends when a file is listed"
    );
}

#[test]
fn without_a_known_time_nothing_shows_that_a_file_is_the_same() {
    let world = World::with(&[], small());
    world.remote.put_at("/a", &content(5000, 1), None);
    let file = world.open("/a");
    world.read(&file, 0, 5000).unwrap();
    world.remote.return_unknown();
    assert_eq!(world.read(&file, 0, 5000), Err(Error::Changed));
}

#[test]
fn a_read_under_way_ends_with_what_is_there_after_the_doubt() {
    let all = content(10_000, 1);
    for replaced in [false, true] {
        let world = World::with(&[("/a", &all)], small());
        let file = world.open("/a");
        let mut read = world.begin_read(&file, 0, 10_000);
        assert!(read.poll().is_none());
        let asked = world.take();
        deliver(&asked, &all, 0, 5000);
        if replaced {
            world.remote.put_at("/a", &content(10_000, 2), Some(7));
        }
        world.remote.return_unknown();
        world.cache.far_side(world.volume);
        deliver(&asked, &content(10_000, 2), 5000, 10_000);
        let end = loop {
            match read.poll() {
                Some(end) => break end,
                None => assert!(world.remote.step()),
            }
        };
        match replaced {
            false => assert_eq!(end.unwrap(), all),
            true => assert_eq!(end, Err(Error::Changed)),
        }
    }
}

#[test]
fn no_attribute_is_told_before_the_doubt_is_over_and_it_stays_while_nobody_can_list() {
    let all = content(5000, 1);
    let world = World::with(&[("/a", &all)], small());
    let file = world.open("/a");
    world.asked();
    world.remote.return_unknown();
    for _ in 0..2 {
        world.remote.fail_next("List", Error::TimedOut);
        assert_eq!(world.run(world.cache.refresh(&file)), Err(Error::TimedOut));
        world.remote.fail_next("List", Error::LinkDown);
        assert_eq!(world.read(&file, 0, 100), Err(Error::LinkDown));
    }
    assert_eq!(world.run(world.cache.refresh(&file)).unwrap().value.size, 5000);
    assert_eq!(world.read(&file, 0, 5000).unwrap(), all);
}

#[test]
fn a_certain_change_ends_every_doubt() {
    let world = World::with(&[("/a", &content(5000, 1))], small());
    let file = world.open("/a");
    world.remote.return_unknown();
    world.cache.far_side(world.volume);
    world.remote.be_another();
    assert_eq!(world.read(&file, 0, 100), Err(Error::Changed));
    let again = world.open("/a");
    world.remote.be_another();
    world.remote.return_unknown();
    assert_eq!(world.read(&again, 0, 100), Err(Error::Changed), "what came between counts");
}

#[test]
fn a_file_is_read_on_through_one_silence_after_another() {
    let all = content(50_000, 1);
    let world = World::with(&[("/a", &all)], small());
    let file = world.open("/a");
    for at in 0..5 {
        world.remote.return_unknown();
        world.cache.far_side(world.volume);
        world.remote.return_unknown();
        let from = at * 10_000;
        assert_eq!(world.read(&file, from as u64, 10_000).unwrap(), all[from..from + 10_000]);
    }
}
