//! Listings: shared, page by page, believed for a while.

use super::*;
use crate::cache::Listing;

fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn root(world: &World) -> Arc<Listing> {
    world.cache.listing(world.volume, &path("/"))
}

fn file(text: &str) -> Entry {
    Entry { name: name(text), kind: crate::remote::Kind::File, size: 1, mtime: None }
}

/// > One listing of a directory answers for all names in it, their sizes and times, and for all
/// > names that are not in it.
#[test]
fn one_listing_answers_all_children_and_all_misses() {
    let world = World::new(&[("/a", b"1"), ("/b", b"22"), ("/d/c", b"")]);
    assert_eq!(world.entry("/a").unwrap().size, 1);
    let b = world.entry("/b").unwrap();
    assert_eq!((b.size, b.mtime), (2, Some(1_700_000_000)));
    assert_eq!(world.entry("/d").unwrap().kind, crate::remote::Kind::Directory);
    assert_eq!(world.entry("/x"), Err(Error::NotFound));
    assert_eq!(world.entry("/y"), Err(Error::NotFound));
    assert_eq!(world.asked(), ["List \"/\""]);
}

#[test]
fn all_who_ask_share_one_fetch() {
    let world = World::new(&[("/a", b"1")]);
    let (one, two) = (root(&world), root(&world));
    assert!(poll(one.at(0)).is_none());
    assert_eq!(world.remote.waiting(), 1);
    world.settle();
    assert_eq!(poll(two.at(0)).unwrap().unwrap().unwrap().name, name("a"));
}

/// > The entries of a long directory are answered as its pages arrive.
#[test]
fn an_entry_is_answered_as_soon_as_its_page_has_come() {
    let world = World::new(&[]);
    let listing = root(&world);
    let asked = world.take();
    assert!(poll(listing.at(0)).is_none());
    asked.sink.page(vec![file("a"), file("b")]);
    assert_eq!(poll(listing.at(1)), Some(Ok(Some(file("b")))));
    assert_eq!(poll(listing.find(&name("a"))), Some(Ok(Some(file("a")))));
    assert_eq!(poll(world.cache.entry(world.volume, &path("/b"))), Some(Ok(file("b"))));
    assert!(poll(listing.at(2)).is_none());
    assert!(poll(listing.find(&name("c"))).is_none(), "it may come on the next page");
    assert!(!listing.is_complete());
    asked.sink.done(Ok(Reply::Done));
    assert_eq!(poll(listing.at(2)), Some(Ok(None)));
    assert_eq!(poll(listing.find(&name("c"))), Some(Ok(None)));
    assert!(listing.is_complete());
}

/// > A directory that changes while it is listed shows no name twice.
#[test]
fn a_name_that_comes_twice_shows_once() {
    let world = World::new(&[]);
    let listing = root(&world);
    let asked = world.take();
    asked.sink.page(vec![file("a"), file("b")]);
    asked.sink.page(vec![file("a"), file("c")]);
    asked.sink.done(Ok(Reply::Done));
    assert_eq!(poll(listing.at(2)), Some(Ok(Some(file("c")))));
    assert_eq!(poll(listing.at(3)), Some(Ok(None)));
}

#[test]
fn a_failed_listing_is_told_and_asked_for_anew() {
    let world = World::new(&[("/a", b"1")]);
    let listing = root(&world);
    world.take().sink.done(Err(Error::Busy));
    assert_eq!(poll(listing.at(0)), Some(Err(Error::Busy)));
    assert_eq!(poll(listing.find(&name("a"))), Some(Err(Error::Busy)));
    assert!(!listing.is_complete());
    assert_eq!(world.entry("/a").unwrap().size, 1);
}

#[test]
fn a_listing_is_believed_for_the_directory_time() {
    let world = World::new(&[("/a", b"1")]);
    world.names("/");
    world.remote.put("/b", b"");
    world.wait(10);
    assert_eq!(world.names("/"), ["a"]);
    world.wait(1);
    assert_eq!(world.names("/"), ["a", "b"]);
}

#[test]
fn another_far_side_is_listed_anew() {
    let world = World::new(&[("/a", b"1")]);
    world.names("/");
    world.remote.take_away("/a");
    world.remote.put("/b", b"");
    world.remote.be_another();
    assert_eq!(world.names("/"), ["b"]);
}

/// > What is cached is served at once while the link is lost, whatever its age.
#[test]
fn an_old_listing_is_served_while_the_link_is_lost_and_not_after() {
    let world = World::new(&[("/a", b"1")]);
    world.names("/");
    world.wait(3600);
    world.remote.change_status(|status| status.up = false);
    world.asked();
    assert_eq!(world.names("/"), ["a"]);
    assert_eq!(world.entry("/x"), Err(Error::NotFound));
    assert!(world.asked().is_empty());
    world.remote.change_status(|status| status.up = true);
    assert_eq!(world.names("/"), ["a"]);
    assert_eq!(world.asked(), ["List \"/\""]);
}

#[test]
fn an_old_listing_outlives_the_failure_to_renew_it() {
    let world = World::new(&[("/a", b"1")]);
    world.names("/");
    world.wait(3600);
    world.remote.fail_next("List", Error::TimedOut);
    assert_eq!(world.entry("/a"), Err(Error::TimedOut));
    world.remote.change_status(|status| status.up = false);
    assert_eq!(world.names("/"), ["a"]);
}

#[test]
fn unfinished_uploads_are_not_shown() {
    let world = World::new(&[("/.mavftp-0011aaff~", b"half"), ("/a", b"1")]);
    assert_eq!(world.names("/"), ["a"]);
    assert_eq!(world.entry("/.mavftp-0011aaff~"), Err(Error::NotFound));
}

#[test]
fn a_file_is_never_listed() {
    // The remote in memory panics at it.
    let world = World::new(&[("/d/e/f", b"1")]);
    assert_eq!(world.entry("/d/e/f/g/h"), Err(Error::NotADirectory));
    assert_eq!(world.entry("/d/x/g"), Err(Error::NotFound));
    assert_eq!(world.asked(), ["List \"/\"", "List \"/d\"", "List \"/d/e\""]);
}

#[test]
fn the_listing_of_a_directory_that_is_gone_is_forgotten_and_its_parents_renewed() {
    let world = World::new(&[("/d/f", b"1")]);
    world.names("/d");
    world.entry("/d").unwrap();
    world.remote.take_away("/d");
    world.wait(11);
    assert_eq!(world.entry("/d/f"), Err(Error::NotFound));
    assert_eq!(world.entry("/d"), Err(Error::NotFound));
}

#[test]
fn the_root_is_a_directory_and_asks_nothing() {
    let world = World::new(&[]);
    assert_eq!(world.entry("/").unwrap().kind, crate::remote::Kind::Directory);
    assert!(world.asked().is_empty());
}

#[test]
fn too_many_entries_push_out_the_listing_used_least() {
    let world = World::new(&[("/a/1", b""), ("/a/2", b""), ("/b/1", b""), ("/c/1", b"")]);
    world.cache.with(|known| known.listings.bound_to(8));
    world.names("/");
    world.names("/a");
    world.names("/");
    world.names("/b");
    assert_eq!(world.asked(), ["List \"/\"", "List \"/a\"", "List \"/b\""]);
    world.names("/");
    world.names("/b");
    assert!(world.asked().is_empty());
    world.names("/a");
    assert_eq!(world.asked(), ["List \"/a\""]);
}

#[test]
fn what_is_known_of_a_vehicle_that_may_not_be_asked_is_still_told() {
    let world = World::new(&[("/a", b"1")]);
    assert_eq!(world.entry("/a").unwrap().size, 1);
    world.wait(60);
    world.remote.fail_next("List", Error::Armed);
    assert_eq!(world.entry("/a").unwrap().size, 1);
    world.remote.fail_next("List", Error::Armed);
    assert_eq!(world.entry("/b"), Err(Error::NotFound));
    assert_eq!(world.entry("/b"), Err(Error::NotFound));
}
