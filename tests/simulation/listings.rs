//! Listings ask ahead: the entries are those of a listing page by page, on any link from any
//! vehicle; long ones take little time, short ones few requests, and no queue overflows.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Op, Reply, RequestId};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload, parse_entries};

use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::naive::Naive;
use crate::personalities::px4::Firmware;
use crate::vehicles::{ALL, Kind};
use crate::world::World;

const DIRECTORY: &str = "/logs";
/// Whoever asks no faster than this is answered by a board whose line takes little at a time.
const PAUSE: Duration = Duration::from_millis(10);
/// A step over entries that cannot be sent is no page; so many in a row are the end.
const EMPTY_PAGES_MAX: usize = 8;

/// Names of one length.
fn even(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("log_{n:04}.bin")).collect()
}

/// Names of any length up to `most`.
fn uneven(count: usize, most: u64, seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut name = |n: usize| {
        let more = random.below(most - 5) as usize;
        format!("{n:04}_{}", "x".repeat(more))
    };
    (0..count).map(&mut name).collect()
}

fn fill(files: &MemoryFiles, names: &[String]) {
    files.insert_directory(DIRECTORY);
    for (n, name) in names.iter().enumerate() {
        files.insert(&format!("{DIRECTORY}/{name}"), &vec![b'x'; n % 200]);
    }
}

/// What a client finds that asks for one page after another and loses nothing, and how often it asks.
fn list_in_lock_step(kind: Kind, names: &[String]) -> (Vec<Vec<u8>>, usize) {
    let files = MemoryFiles::new();
    fill(&files, names);
    let mut client = Naive::new(kind.far(files, 1));
    let with_time = client.on(Opcode::ListDirectoryWithTime, DIRECTORY);
    let with_time = matches!(with_time, Some(Ok(_) | Err(Nak::Eof)));
    let opcode = if with_time { Opcode::ListDirectoryWithTime } else { Opcode::ListDirectory };
    let (mut found, mut offset, mut empty) = (Vec::new(), 0, 0);
    for asked in 1.. {
        client.now += PAUSE;
        let request = Payload { offset, ..Payload::request(opcode) };
        let answered = client.ask(request.with_data(DIRECTORY.as_bytes()));
        let (_, result) = answered.unwrap_or_else(|| panic!("{kind:?} answers"));
        let listed = match result {
            Ok(data) => parse_entries(&data, with_time),
            Err(nak) => {
                assert_eq!(nak, Nak::Eof);
                return (found, asked);
            }
        };
        empty = if listed.count == 0 { empty + 1 } else { 0 };
        if empty == EMPTY_PAGES_MAX {
            return (found, asked);
        }
        offset += listed.count.max(1);
        for entry in listed.entries {
            if !found.contains(&entry.name) {
                found.push(entry.name);
            }
        }
    }
    unreachable!("there is an end")
}

/// Lists a directory, so that it is known whether the vehicle lists with times.
fn learn(world: &mut World) {
    let id = begin(world);
    assert_eq!(world.finish(id), Ok(Reply::Done));
}

fn begin(world: &mut World) -> RequestId {
    world.ask(Op::List { path: DIRECTORY.into() }, Class::Metadata)
}

fn names(world: &World, id: RequestId) -> Vec<Vec<u8>> {
    world.outcomes[&id].entries.iter().map(|entry| entry.name.clone()).collect()
}

/// Lists on any link from any vehicle, and compares.
fn compare(names_of: impl Fn(u64) -> Vec<String>, seeds: u64) {
    let bad = [("bad", Faults::BAD), ("good", Faults::NONE)];
    for (link, faults) in Faults::NAMED.into_iter().chain(bad) {
        for kind in ALL {
            for_seeds(0..seeds, |seed| {
                let tree = names_of(seed);
                let (expected, _) = list_in_lock_step(kind, &tree);
                let mut world = kind.world(seed, faults);
                fill(&world.files, &tree);
                let id = begin(&mut world);
                let result = world.finish(id);
                let about = format!("{kind:?}, {link}, seed {seed}, {} files", tree.len());
                assert_eq!(result, Ok(Reply::Done), "{about}");
                assert_eq!(names(&world, id), expected, "{about}");
            });
        }
    }
}

#[test]
fn directories_of_any_size_are_listed_in_order_and_whole() {
    for count in [0, 1, 12, 13, 40] {
        compare(|_| even(count), 2);
    }
    compare(|_| even(300), 2);
    for kind in ALL {
        let (listed, _) = list_in_lock_step(kind, &even(300));
        let shown = listed.iter().filter(|name| !name.starts_with(b".")).count();
        assert_eq!(shown, 300, "{kind:?} lists all");
    }
}

#[test]
fn names_of_any_length_are_listed_as_one_page_after_another_would() {
    compare(|seed| uneven(60, 60, seed), 2);
    compare(|seed| uneven(40, 225, seed), 2);
}

#[test]
fn names_too_long_for_a_page_end_a_listing_or_are_stepped_over_as_ever() {
    compare(
        |seed| {
            let mut names = even(50);
            names[20 + seed as usize] = format!("log_0020{}", "x".repeat(230));
            names
        },
        2,
    );
}

#[test]
fn a_small_directory_costs_one_request_more_at_most() {
    for kind in ALL {
        for count in [0, 1, 4, 8, 12] {
            let (_, pages) = list_in_lock_step(kind, &even(count));
            let mut world = kind.world(1, Faults::NONE);
            fill(&world.files, &even(count));
            learn(&mut world);
            let before = world.pages.asked;
            let id = begin(&mut world);
            assert_eq!(world.finish(id), Ok(Reply::Done));
            let asked = world.pages.asked - before;
            assert!(asked <= pages + 1, "{kind:?} was asked {asked} times for {count} files");
        }
    }
}

/// How long a listing of so many files takes; of an armed vehicle it is one page after another.
fn time_of(kind: Kind, faults: Faults, seed: u64, count: usize, armed: bool) -> Duration {
    let mut world = kind.world(seed, faults);
    world.armed = armed;
    fill(&world.files, &even(1));
    world.run_for(Duration::from_secs(2));
    learn(&mut world);
    fill(&world.files, &even(count));
    let start = world.elapsed();
    let id = begin(&mut world);
    assert_eq!(world.finish(id), Ok(Reply::Done));
    assert_eq!(names(&world, id), list_in_lock_step(kind, &even(count)).0);
    world.elapsed() - start
}

#[test]
fn a_thousand_files_take_a_quarter_of_the_time_that_one_page_after_another_takes() {
    for kind in ALL {
        let part = match kind {
            Kind::ArduPilot(_) | Kind::ArduPilotOnCard(_) | Kind::ArduPilotUart(..) => 0.6,
            // A board drops answers that come close together.
            Kind::Px4(Firmware::Board) => 0.35,
            Kind::Mavsdk(_) | Kind::Px4(_) => 0.25,
        };
        for_seeds(0..3, |seed| {
            let slow = time_of(kind, Faults::LTE, seed, 1_000, true);
            let fast = time_of(kind, Faults::LTE, seed, 1_000, false);
            assert!(fast <= slow.mul_f64(part), "{kind:?} took {fast:?} in place of {slow:?}");
        });
    }
}

#[test]
fn asking_ahead_saves_time_on_every_link() {
    let links = [("bad", Faults::BAD), ("radio", Faults::RADIO)];
    for (link, faults) in Faults::NAMED.into_iter().chain(links) {
        for kind in ALL {
            let sum = |armed| -> Duration {
                (0..4).map(|seed| time_of(kind, faults, seed, 300, armed)).sum()
            };
            let (fast, slow) = (sum(false), sum(true));
            assert!(fast <= slow.mul_f64(0.75), "{kind:?}, {link}: {fast:?} in place of {slow:?}");
        }
    }
}

#[test]
fn a_short_queue_has_two_pages_in_it_and_an_armed_vehicle_one() {
    for kind in ALL {
        for armed in [false, true] {
            let mut world = kind.world(1, Faults::WIFI);
            world.armed = armed;
            fill(&world.files, &even(300));
            world.run_for(Duration::from_secs(2));
            learn(&mut world);
            world.pages.most = 0;
            let ids = [begin(&mut world), begin(&mut world)];
            for id in ids {
                assert_eq!(world.finish(id), Ok(Reply::Done));
            }
            let most = match kind {
                _ if armed => 1,
                Kind::ArduPilot(_) | Kind::ArduPilotOnCard(_) | Kind::ArduPilotUart(..) => 2,
                Kind::Mavsdk(_) | Kind::Px4(_) => 16,
            };
            assert!(world.pages.most <= most, "{kind:?} had {} pages", world.pages.most);
        }
    }
}

#[test]
fn listings_of_a_link_take_turns() {
    let mut world = World::new(1, Faults::LTE);
    fill(&world.files, &even(1_000));
    world.files.insert("/small/file", b"x");
    let long = begin(&mut world);
    world.run_for(Duration::from_millis(500));
    let short = world.ask(Op::List { path: b"/small".to_vec() }, Class::Metadata);
    assert_eq!(world.finish(short), Ok(Reply::Done));
    assert!(world.outcomes[&long].results.is_empty(), "the long one goes on");
    assert_eq!(world.finish(long), Ok(Reply::Done));
    assert_eq!(names(&world, long).len(), 1_000);
}

/// > A directory that changes while it is listed shows no name twice.
#[test]
fn a_directory_that_changes_meanwhile_names_nothing_twice() {
    for kind in ALL {
        for_seeds(0..12, |seed| {
            let clean = seed % 2 == 0;
            let faults = if clean { Faults::WIFI.with_loss(0.0) } else { Faults::BAD };
            // A board drops answers that come close together.
            let in_order = clean && kind != Kind::Px4(Firmware::Board);
            let mut world = kind.world(seed, faults);
            let mut random = Random::new(seed);
            fill(&world.files, &even(300));
            let id = begin(&mut world);
            for n in 0..40 {
                let place = if random.chance(0.5) { "aa" } else { "zz" };
                world.files.insert(&format!("{DIRECTORY}/{place}_{n}"), b"x");
                world.run_for(Duration::from_millis(random.below(40)));
            }
            assert_eq!(world.finish(id), Ok(Reply::Done));
            let mut listed = names(&world, id);
            let count = listed.len();
            listed.sort();
            listed.dedup();
            assert_eq!(listed.len(), count);
            // Pages that are read in their order repeat what a newcomer moved, and miss nothing.
            let there = |name: &String| listed.binary_search(&name.clone().into()).is_ok();
            assert!(!in_order || even(300).iter().all(there), "{kind:?}");
        });
    }
}
