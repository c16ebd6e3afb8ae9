//! How long things are believed, and how what is open is looked at again.

use super::*;
use crate::cache::News;
use crate::remote::Op;

#[test]
fn every_fetch_says_which_size_it_expects_and_takes_the_size_that_is_told() {
    let all = content(20_000, 1);
    let world = World::with(&[("/a", &all[..9000])], small());
    let file = world.open("/a");
    world.read(&file, 0, 4096).unwrap();
    world.remote.put("/a", &all);
    let mut read = world.begin_read(&file, 4096, 4096);
    assert!(read.poll().is_none());
    let asked = world.take();
    match &asked.op {
        // A file that the far side holds open with another size is opened anew.
        Op::Read { expected, .. } => assert_eq!(*expected, Some(9000)),
        other => panic!("not a read: {other:?}"),
    }
    world.remote.answer(&asked);
    assert_eq!(read.poll().unwrap().unwrap(), all[4096..8192]);
    assert_eq!(file.version().unwrap().size, 20_000, "the opening told");
    let news = News::Content { volume: world.volume, path: path("/a"), from: 9000 };
    assert_eq!(world.cache.take_news(), [news]);
}

#[test]
fn a_file_found_smaller_when_it_is_opened_again_is_another_content() {
    let world = World::with(&[("/a", &content(20_000, 1))], small());
    let file = world.open("/a");
    world.read(&file, 0, 4096).unwrap();
    world.remote.put("/a", &content(9000, 2));
    assert_eq!(world.read(&file, 4096, 4096), Err(Error::Changed));
    assert_eq!(world.read(&file, 0, 4096), Err(Error::Changed), "nor is the old block");
}

#[test]
fn a_size_is_not_asked_for_while_bytes_of_the_file_are_on_their_way() {
    let world = World::with(&[("/a", &content(20_000, 1))], small());
    let file = world.open("/a");
    world.wait(11);
    world.entry("/a").unwrap();
    let mut read = world.begin_read(&file, 0, 4096);
    assert!(read.poll().is_none());
    let asked = world.take();
    world.wait(11);
    world.asked();
    let fresh = world.run(world.cache.refresh(&file)).unwrap();
    assert_eq!((fresh.value.size, fresh.valid), (20_000, Duration::from_secs(1)));
    assert!(world.asked().is_empty());
    world.remote.answer(&asked);
    assert!(read.poll().unwrap().is_ok());
}

#[test]
fn a_read_that_begins_again_after_long_looks_whether_the_file_is_still_the_same() {
    let all = content(900_000, 1);
    let world = World::with(&[("/a", &all)], small());
    let file = world.open("/a");
    world.read(&file, 0, 4096).unwrap();
    world.wait(9);
    world.asked();
    world.read(&file, 100_000, 4096).unwrap();
    assert_eq!(world.asked().len(), 1);
    world.wait(2);
    assert_eq!(world.read(&file, 200_000, 4096).unwrap(), all[200_000..204_096]);
    let log = world.asked();
    assert_eq!(log[0], r#"List "/""#);
    world.read(&file, 0, 4096).unwrap();
    assert!(world.asked().is_empty(), "what is cached needs no look");
    world.wait(11);
    world.remote.fail_next("List", Error::Busy);
    assert_eq!(world.read(&file, 300_000, 4096).unwrap(), all[300_000..304_096], "nor its success");
}

#[test]
fn a_file_that_grows_is_read_on_without_a_look_at_its_directory() {
    let all = content(90_000, 1);
    let world = World::with(&[("/a", &all[..5000])], small());
    let file = world.open("/a");
    world.read(&file, 0, 5000).unwrap();
    world.asked();
    for length in [10_000, 50_000, 90_000] {
        world.remote.put_at("/a", &all[..length], Some(1_700_000_000 + length as i64));
        world.wait(11);
        let fresh = world.run(world.cache.refresh(&file)).unwrap();
        assert_eq!(fresh.value.size, length as u64);
        assert_eq!(world.read(&file, 0, length).unwrap(), all[..length]);
    }
    assert!(world.asked().iter().all(|line| !line.starts_with("List")));
}

#[test]
fn what_is_not_listed_any_more_holds_no_time_at_all() {
    let world = World::new(&[("/d/a", b"1"), ("/d/b", b"")]);
    let look = || world.run(world.cache.look(world.volume, &path("/d/a"))).unwrap();
    assert_eq!(look().valid, Duration::from_secs(10));
    world.wait(10);
    assert_eq!(look().valid, Duration::ZERO, "the last moment that it is believed");
    world.wait(1);
    assert_eq!(look().valid, Duration::from_secs(10));
    let nowhere = world.run(world.cache.look(world.volume, &path("/none/a"))).unwrap();
    assert_eq!((nowhere.value, nowhere.valid), (None, Duration::ZERO));
}

#[test]
fn a_file_of_another_content_is_opened_anew_before_it_is_read() {
    let world = World::with(&[("/a", &content(5000, 1))], small());
    world.read(&world.open("/a"), 0, 5000).unwrap();
    let other = content(5000, 2);
    world.remote.put_at("/a", &other, Some(1_700_000_001));
    world.wait(11);
    let file = world.open("/a");
    world.asked();
    assert_eq!(world.read(&file, 0, 5000).unwrap(), other);
    // The far side may still hold the old one open, of the same size.
    let log = world.asked();
    assert_eq!(log.len(), 2);
    assert_eq!(log[0], r#"Size "/a""#);
}
