//! Several transfers at once share a link: nobody waits long, and what somebody waits for goes first.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Op, Reply, RequestId};

use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::personalities::px4::Firmware;
use crate::vehicles::{ALL, Kind};
use crate::world::{Outcome, World};

/// How often one looks at how far everything is.
const LOOK: Duration = Duration::from_millis(100);

/// What Wi-Fi carries in some seconds.
const WIFI_BYTES: usize = 2_000_000;

/// Boards whose small buffer drops what comes above the line's rate.
const DROPPING: [Kind; 2] = [Kind::Px4(Firmware::Board), Kind::Px4(Firmware::Serial)];

/// Those whose bursts go on for long.
const BURSTING: [Kind; 2] = [Kind::Px4(Firmware::Release), Kind::Px4(Firmware::Main)];

/// All but the dropping ones.
fn steady() -> impl Iterator<Item = Kind> + Clone {
    ALL.into_iter().filter(|kind| !DROPPING.contains(kind))
}

/// How far a transfer is.
fn moved(outcome: &Outcome) -> usize {
    outcome.bytes.len() + outcome.acknowledged as usize
}

/// Two downloads and an upload of so many bytes, under way.
fn busy(kind: Kind, faults: Faults, bytes: usize) -> (World, [RequestId; 3]) {
    let mut world = kind.world(1, faults);
    world.files.insert("/one", &Random::new(1).bytes(bytes));
    world.files.insert("/two", &Random::new(2).bytes(bytes));
    for n in 0..100 {
        world.files.insert(&format!("/d/log_{n:03}.bin"), b"x");
    }
    world.files.insert("/small", b"content");
    let ids = [
        world.read("/one", 0, u32::MAX),
        world.read("/two", 0, u32::MAX),
        world.upload("/new", &Random::new(3).bytes(bytes)),
    ];
    world.run_until(|world| moved(&world.outcomes[&ids[0]]) > 10);
    (world, ids)
}

/// The longest time in which one of these did not move before its end, and all to their ends.
fn longest_wait(world: &mut World, ids: &[RequestId]) -> Duration {
    let mut last: Vec<_> = ids.iter().map(|_| (0, world.now)).collect();
    let mut longest = Duration::ZERO;
    while ids.iter().any(|id| world.outcomes[id].results.is_empty()) {
        world.run_for(LOOK);
        for (id, (known, since)) in ids.iter().zip(&mut last) {
            let outcome = &world.outcomes[id];
            if moved(outcome) != *known || !outcome.results.is_empty() {
                (*known, *since) = (moved(outcome), world.now);
            }
            longest = longest.max(world.now - *since);
        }
    }
    longest
}

#[test]
fn a_short_exchange_beside_transfers_takes_a_few_round_trips() {
    check_short_exchanges(steady());
}

/// A worker that is in the middle of a burst on a slow line hears of nothing else before its end.
fn busy_worker(kind: Kind) -> bool {
    !matches!(kind, Kind::Mavsdk(_) | Kind::Px4(_))
}

fn check_short_exchanges(kinds: impl Iterator<Item = Kind> + Clone) {
    let mut slow = Vec::new();
    // Loss is left out: it costs a repetition here and there, and hides what a queue costs.
    for (faults, bytes, bound) in [(Faults::RADIO, 60_000, 5_000), (Faults::WIFI, WIFI_BYTES, 500)]
    {
        for kind in kinds.clone() {
            let (mut world, ids) = busy(kind, faults.with_loss(0.0), bytes);
            for n in 0..5 {
                world.run_for(Duration::from_millis(700));
                let start = world.elapsed();
                let made = world.perform(Op::MakeDirectory { path: format!("/d{n}").into() });
                assert_eq!(made, Ok(Reply::Done));
                let took = (world.elapsed() - start).as_millis();
                let bound = match DROPPING.contains(&kind) {
                    true => bound.max(1_500),
                    false if busy_worker(kind) => bound.max(2_500),
                    false => bound,
                };
                if took >= bound {
                    slow.push((kind, took));
                }
            }
            ids.into_iter().for_each(|id| assert!(world.finish(id).is_ok()));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

#[test]
fn a_listing_beside_transfers_takes_a_few_round_trips_a_page() {
    check_listings(steady());
}

fn check_listings(kinds: impl Iterator<Item = Kind> + Clone) {
    let mut slow = Vec::new();
    for (faults, bytes, bound) in
        [(Faults::RADIO, 100_000, 15_000), (Faults::WIFI, WIFI_BYTES, 2_000)]
    {
        for kind in kinds.clone() {
            let (mut world, ids) = busy(kind, faults.with_loss(0.0), bytes);
            let start = world.elapsed();
            let id = world.ask(Op::List { path: b"/d".to_vec() }, Class::Metadata);
            assert_eq!(world.finish(id), Ok(Reply::Done));
            let took = (world.elapsed() - start).as_millis();
            if took >= bound {
                slow.push((kind, took));
            }
            ids.into_iter().for_each(|id| assert!(world.finish(id).is_ok()));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

/// On a radio each of the three others has two seconds or 32 blocks, three seconds where five are asked
/// for at a time, and the handing over of the open file takes three or four round trips.
#[test]
fn each_of_several_transfers_moves_every_few_seconds() {
    check_waits(steady());
}

fn check_waits(kinds: impl Iterator<Item = Kind> + Clone) {
    let mut slow = Vec::new();
    for (faults, bytes, seconds) in [(Faults::RADIO, 60_000, 20), (Faults::WIFI, WIFI_BYTES, 12)] {
        for kind in kinds.clone() {
            let (mut world, mut ids) = (busy(kind, faults, bytes).0, Vec::new());
            ids.extend(world.outcomes.keys().copied());
            ids.push(world.read("/small", 0, 100));
            let id = world.ask(Op::List { path: b"/d".to_vec() }, Class::Metadata);
            let longest = longest_wait(&mut world, &ids);
            assert_eq!(world.finish(id), Ok(Reply::Done));
            ids.iter().for_each(|id| assert!(world.outcomes[id].results[0].is_ok()));
            // Where a file is emptied when it is opened, an upload keeps its turn to the end.
            let uploads = match (kind, faults.rate) {
                (Kind::Mavsdk(_), Some(rate)) => 2.0 * bytes as f64 / f64::from(rate),
                _ => 0.0,
            };
            let bound = Duration::from_secs(seconds) + Duration::from_secs_f64(uploads);
            if longest >= bound {
                slow.push((kind, longest));
            }
            world.check_quiet();
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

#[test]
fn what_somebody_waits_for_is_opened_before_an_upload_and_that_before_reading_ahead() {
    for kind in ALL {
        let mut world = kind.world(1, Faults::RADIO.with_loss(0.0));
        ["/now", "/ahead", "/wanted"].into_iter().for_each(|path| {
            world.files.insert(path, &[7; 20_000]);
        });
        let now = world.read("/now", 0, u32::MAX);
        world.run_until(|world| moved(&world.outcomes[&now]) > 0);
        let read = |path: &str| Op::Read {
            path: path.into(),
            offset: 0,
            length: u32::MAX,
            expected: None,
        };
        let ahead = world.ask(read("/ahead"), Class::ReadAhead);
        let wanted = world.ask(read("/wanted"), Class::Demand);
        let upload = world.upload("/new", &[7; 20_000]);
        let mut order = Vec::new();
        while order.len() < 3 {
            world.run_for(Duration::from_millis(10));
            for (name, id) in [("wanted", wanted), ("upload", upload), ("ahead", ahead)] {
                if moved(&world.outcomes[&id]) > 0 && !order.contains(&name) {
                    order.push(name);
                }
            }
        }
        assert_eq!(order, ["wanted", "upload", "ahead"], "{kind:?}");
    }
}

#[test]
fn of_one_file_what_somebody_waits_for_comes_before_what_was_asked_ahead() {
    check_demand(steady().filter(|kind| !BURSTING.contains(kind)));
}

#[test]
fn a_burst_asked_ahead_keeps_nobody_waiting() {
    check_demand(BURSTING.into_iter());
}

fn check_demand(kinds: impl Iterator<Item = Kind> + Clone) {
    let mut slow = Vec::new();
    for kind in kinds.clone() {
        let mut world = kind.world(1, Faults::RADIO.with_loss(0.0));
        world.files.insert("/f", &[7; 60_000]);
        let op = Op::Read { path: b"/f".to_vec(), offset: 0, length: 50_000, expected: None };
        let ahead = world.ask(op, Class::ReadAhead);
        world.run_until(|world| moved(&world.outcomes[&ahead]) > 60);
        let start = world.elapsed();
        let wanted = world.read("/f", 55_000, 4_096);
        assert!(world.finish(wanted).is_ok());
        let took = world.elapsed() - start;
        assert!(world.outcomes[&ahead].results.is_empty());
        if took >= Duration::from_secs(3) {
            slow.push((kind, took));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

#[test]
fn the_first_byte_of_a_cold_file_takes_two_round_trips_and_of_an_open_one_a_single_one() {
    let link = Faults::SATELLITE.with_loss(0.0);
    for kind in ALL {
        let mut world = kind.world(1, link);
        world.files.insert("/f", &Random::new(1).bytes(60_000));
        let mut first_byte = |offset| {
            let start = world.elapsed();
            let id = world.read("/f", offset, 4_096);
            world.run_until(|world| !world.outcomes[&id].bytes.is_empty());
            let took = (world.elapsed() - start).as_secs_f64();
            assert!(world.finish(id).is_ok());
            took
        };
        // A frame takes 3 ms at most on the line, or 50 on a slower one behind it.
        let (cold, open) = (first_byte(20_480), first_byte(40_960));
        assert!(cold < 2.2 * 0.6 + 0.05, "{kind:?}: {cold} s");
        assert!(open < 1.1 * 0.6 + 0.05, "{kind:?}: {open} s");
    }
}

#[test]
fn a_listing_repeated_after_its_file_was_closed_holds_nobody_up() {
    let mut world = Kind::ArduPilot(Sessions::One).world(1, Faults::WIFI.with_loss(0.0));
    for path in ["/one", "/two"] {
        world.files.insert(path, &[7; 20_000]);
    }
    let one = world.read("/one", 0, u32::MAX);
    world.run_until(|world| moved(&world.outcomes[&one]) > 70);
    let list = world.ask(Op::List { path: b"/".to_vec() }, Class::Metadata);
    world.deaf = true;
    world.run_for(Duration::from_millis(15));
    world.deaf = false;
    let two = world.read("/two", 0, u32::MAX);
    let start = world.elapsed();
    [one, two, list].into_iter().for_each(|id| assert!(world.finish(id).is_ok()));
    let took = world.elapsed() - start;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// Its buffer drops what does not fit, now and then an answer that somebody waits for; a repeat or two
/// takes its time.
#[test]
fn a_board_with_a_small_buffer_keeps_nobody_waiting_either() {
    let kinds = DROPPING.into_iter();
    check_short_exchanges(kinds.clone());
    check_listings(kinds.clone());
    check_waits(kinds.clone());
    check_demand(kinds);
}

#[test]
fn a_board_with_a_small_buffer_is_not_asked_for_twice_what_it_answers() {
    for faults in [Faults::WIFI, Faults::RADIO].map(|faults| faults.with_loss(0.0)) {
        // A serial line is no Wi-Fi.
        let fits = |kind: &Kind| *kind == Kind::Px4(Firmware::Board) || faults.ordered;
        for kind in DROPPING.into_iter().filter(fits) {
            let mut world = kind.world(1, faults);
            let bytes = if faults.rate == Faults::RADIO.rate { 100_000 } else { WIFI_BYTES };
            world.files.insert("/f", &Random::new(1).bytes(bytes));
            let id = world.read("/f", 0, u32::MAX);
            assert!(world.finish(id).is_ok());
            let blocks = (bytes / 239) as f64;
            let asked = world.sent as f64 / blocks;
            assert!(asked < 1.7, "{kind:?} at {:?}: {asked:.2} requests a block", faults.rate);
        }
    }
}
