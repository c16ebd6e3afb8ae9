//! Fetches answered by hand: shared, partial, failing, and telling another size.

use super::*;

fn world_of(all: &[u8]) -> (World, Arc<OpenFile>) {
    let world = World::with(&[("/a", all)], small());
    let file = world.open("/a");
    (world, file)
}

#[test]
fn two_readers_of_a_block_share_one_fetch() {
    let all = content(10_000, 1);
    let (world, file) = world_of(&all);
    let other = world.open("/a");
    let mut one = world.begin_read(&file, 0, 100);
    let mut two = world.begin_read(&other, 50, 100);
    assert!(one.poll().is_none() && two.poll().is_none());
    assert_eq!(world.remote.waiting(), 1);
    world.settle();
    assert_eq!(one.poll().unwrap().unwrap(), all[..100]);
    assert_eq!(two.poll().unwrap().unwrap(), all[50..150]);
}

#[test]
fn a_reader_gets_its_block_before_the_fetch_ends() {
    let all = content(40_960, 1);
    let (world, file) = world_of(&all);
    let mut whole = world.begin_read(&file, 0, 40_960);
    assert!(whole.poll().is_none());
    let mut second = world.begin_read(&file, 4096, 4096);
    let asked = world.take();
    deliver(&asked, &all, 4096, 8000);
    assert!(second.poll().is_none());
    deliver(&asked, &all, 7990, 8192);
    assert_eq!(second.poll().unwrap().unwrap(), all[4096..8192]);
    assert!(whole.poll().is_none());
}

#[test]
fn pieces_may_come_in_any_order_and_repeatedly() {
    let all = content(10_000, 1);
    let (world, file) = world_of(&all);
    let mut read = world.begin_read(&file, 0, 10_000);
    assert!(read.poll().is_none());
    let asked = world.take();
    for start in (0..10_000).step_by(200).collect::<Vec<_>>().into_iter().rev() {
        asked.sink.data(start as u64, &all[start..(start + 239).min(10_000)]);
        asked.sink.data(start as u64, &all[start..(start + 239).min(10_000)]);
    }
    asked.sink.done(Ok(Reply::Size(10_000)));
    assert!(read.poll().unwrap().unwrap() == all);
}

#[test]
fn bytes_nobody_asked_for_are_not_taken() {
    let all = content(40_960, 1);
    let (world, file) = world_of(&all);
    let mut read = world.begin_read(&file, 8192, 4096);
    assert!(read.poll().is_none());
    let asked = world.take();
    asked.sink.data(u64::MAX - 5, &[1; 239]);
    asked.sink.data(0, &[1; 8000]);
    asked.sink.data(12_288, &[1; 239]);
    deliver(&asked, &all, 8192, 12_288);
    assert_eq!(read.poll().unwrap().unwrap(), all[8192..12_288]);
}

/// > A short read happens at the end of the file only; what did not arrive is an error (EIO,
/// > ETIMEDOUT, EHOSTDOWN), never zeros.
#[test]
fn a_fetch_that_ends_with_a_hole_is_an_error_and_never_zeros() {
    let all = content(10_000, 1);
    let (world, file) = world_of(&all);
    let mut read = world.begin_read(&file, 0, 10_000);
    assert!(read.poll().is_none());
    let asked = world.take();
    asked.sink.opened(10_000);
    deliver(&asked, &all, 0, 5000);
    deliver(&asked, &all, 5001, 10_000);
    asked.sink.done(Ok(Reply::Size(10_000)));
    assert!(matches!(read.poll(), Some(Err(Error::Failed(_)))));
    world.asked();
    assert_eq!(world.read(&file, 0, 4096).unwrap(), all[..4096]);
    assert_eq!(world.read(&file, 8192, 9999).unwrap(), all[8192..]);
    assert!(world.asked().is_empty(), "whole blocks of a failed fetch are kept");
}

#[test]
fn a_failed_fetch_wakes_everyone_with_its_error() {
    let (world, file) = world_of(&content(10_000, 1));
    let other = world.open("/a");
    let mut one = world.begin_read(&file, 0, 100);
    let mut two = world.begin_read(&other, 0, 100);
    assert!(one.poll().is_none() && two.poll().is_none());
    world.take().sink.done(Err(Error::Armed));
    assert_eq!(one.poll(), Some(Err(Error::Armed)));
    assert_eq!(two.poll(), Some(Err(Error::Armed)));
    assert_eq!(world.read(&file, 0, 1).unwrap().len(), 1, "and the next read asks again");
}

#[test]
fn a_reader_that_joined_a_failed_read_ahead_tries_once_by_itself() {
    let all = content(1_000_000, 1);
    let world = World::new(&[("/a", &all)]);
    let file = world.open("/a");
    world.read(&file, 0, 16_384).unwrap();
    let other = world.open("/a");
    let mut read = world.begin_read(&other, 20_480, 8192);
    assert!(read.poll().is_none());
    world.take().sink.done(Err(Error::TimedOut));
    assert!(read.poll().is_none());
    let again = std::iter::from_fn(|| world.remote.take()).last().unwrap();
    assert_eq!(format!("{:?}", again.op), "Read \"/a\" 20480+8192");
    again.sink.done(Err(Error::TimedOut));
    assert_eq!(read.poll(), Some(Err(Error::TimedOut)));
}

#[test]
fn a_file_larger_than_listed_is_read_to_where_it_was_asked() {
    let (world, file) = world_of(&content(5000, 1));
    let all = content(20_000, 1);
    world.remote.put("/a", &all);
    assert_eq!(world.read(&file, 0, 16_384).unwrap(), all[..16_384]);
    assert_eq!(world.asked()[1..], ["Read \"/a\" 0+16384"]);
    assert_eq!(world.entry("/a").unwrap().size, 20_000, "the listing shows it");
    assert_eq!(file.version().unwrap().size, 20_000);
    assert!(world.asked().is_empty());
}

#[test]
fn a_file_listed_as_empty_is_asked_for_its_size_once() {
    let (world, file) = world_of(b"");
    world.asked();
    assert_eq!(world.read(&file, 0, 100).unwrap(), b"");
    assert_eq!(world.asked(), ["Size \"/a\""]);
    assert_eq!(world.read(&file, 0, 100).unwrap(), b"");
    assert!(world.asked().is_empty());
}

#[test]
fn a_file_listed_as_empty_that_is_not_is_read() {
    let (world, file) = world_of(b"");
    world.remote.put("/a", b"content");
    assert_eq!(world.read(&file, 0, 100).unwrap(), b"content");
}

#[test]
fn a_file_that_grew_keeps_its_whole_blocks_but_not_a_partial_last_one() {
    let all = content(20_000, 1);
    let (world, file) = world_of(&all[..10_000]);
    world.read(&file, 0, 10_000).unwrap();
    world.remote.put_at("/a", &all, Some(1_700_000_999));
    world.wait(11);
    assert_eq!(world.entry("/a").unwrap().size, 20_000);
    world.asked();
    assert!(world.read(&file, 0, 20_000).unwrap() == all);
    assert_eq!(world.asked(), ["Read \"/a\" 8192+12288"]);
}

#[test]
fn a_file_that_grows_within_a_fetch_is_read_whole() {
    let all = content(20_000, 1);
    let (world, file) = world_of(&all[..5000]);
    let mut read = world.begin_read(&file, 0, 12_288);
    assert!(read.poll().is_none());
    let asked = world.take();
    deliver(&asked, &all, 0, 5000);
    asked.sink.opened(20_000);
    asked.sink.done(Ok(Reply::Size(20_000)));
    world.remote.put("/a", &all);
    let bytes = loop {
        match read.poll() {
            Some(result) => break result,
            None => assert!(world.remote.step()),
        }
    };
    assert!(bytes.unwrap() == all[..12_288]);
}

#[test]
fn a_fetch_that_began_before_the_file_grew_is_no_evidence_of_shrinking() {
    let all = content(30_000, 1);
    let (world, file) = world_of(&all[..20_000]);
    let mut early = world.begin_read(&file, 0, 4096);
    assert!(early.poll().is_none());
    let asked = world.take();
    asked.sink.opened(20_000);
    world.remote.put("/a", &all);
    assert_eq!(world.read(&file, 8192, 100).unwrap(), all[8192..8292]);
    assert_eq!(file.version().unwrap().size, 30_000);
    deliver(&asked, &all, 0, 4096);
    asked.sink.done(Ok(Reply::Size(20_000)));
    assert_eq!(early.poll().unwrap().unwrap(), all[..4096]);
    assert_eq!(world.read(&file, 25_000, 9999).unwrap(), all[25_000..]);
}

#[test]
fn a_file_smaller_than_listed_is_another_one() {
    let (world, file) = world_of(&content(10_000, 1));
    world.read(&file, 0, 100).unwrap();
    let other = content(6000, 2);
    world.remote.put("/a", &other);
    assert_eq!(world.read(&file, 4096, 100), Err(Error::Changed));
    assert_eq!(world.read(&file, 0, 100), Err(Error::Changed));
    assert_eq!(world.entry("/a").unwrap().size, 6000);
    assert_eq!(world.read(&world.open("/a"), 0, 9999).unwrap(), other);
}

#[test]
fn the_fetch_of_a_changed_file_is_cancelled() {
    let (world, file) = world_of(&content(10_000, 1));
    let mut read = world.begin_read(&file, 0, 100);
    assert!(read.poll().is_none());
    let asked = world.take();
    asked.sink.opened(50);
    assert_eq!(read.poll(), Some(Err(Error::Changed)));
    assert_eq!(world.remote.cancelled(), [asked.id]);
    deliver(&asked, &[0; 50], 0, 50);
    asked.sink.done(Ok(Reply::Size(50)));
    assert_eq!(world.read(&file, 0, 100), Err(Error::Changed));
}

/// > Nothing is read ahead of an armed autopilot.
#[test]
fn nothing_is_fetched_ahead_of_a_reader_while_the_vehicle_is_armed() {
    let content = vec![7; 300_000];
    let world = World::new(&[("/a", &content)]);
    world.remote.change_status(|status| status.armed = true);
    let file = world.open("/a");
    world.read(&file, 0, 16 << 10).unwrap();
    world.read(&file, 16 << 10, 16 << 10).unwrap();
    let reads = world.asked().into_iter().filter(|op| op.starts_with("Read")).count();
    assert_eq!(reads, 2, "one for each read");
}
