//! Reads and uploads: every byte equal, every request ended once, nothing left open.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Error, Op, Reply};

use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::personalities::px4::Firmware;
use crate::vehicles::Kind;
use crate::world::World;

const SIZE: usize = 100_000;

fn world(seed: u64, faults: Faults) -> (World, Vec<u8>) {
    let content = Random::new(seed ^ 0xF11E).bytes(SIZE);
    let world = World::new(seed, faults);
    world.files.insert("/log", &content);
    (world, content)
}

fn download(seed: u64, faults: Faults) -> World {
    let (mut world, content) = world(seed, faults);
    let id = world.read("/log", 0, u32::MAX);
    assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
    assert_eq!(world.outcomes[&id].joined(0), content);
    assert_eq!(world.outcomes[&id].opened, Some(SIZE as u32));
    world.check_quiet();
    world
}

#[test]
fn a_download_is_whole_on_a_good_link_and_asks_nothing_twice() {
    let world = download(1, Faults::NONE);
    let blocks = SIZE.div_ceil(239) as u64;
    assert!(world.sent <= blocks + 4, "{} frames for {blocks} blocks", world.sent);
}

#[test]
fn a_download_is_whole_through_loss_repetition_and_disorder() {
    for_seeds(0..40, |seed| {
        download(seed, Faults::BAD);
    });
}

#[test]
fn a_download_is_whole_over_a_radio() {
    for_seeds(0..5, |seed| {
        download(seed, Faults::RADIO);
    });
}

#[test]
fn a_download_is_whole_when_half_of_all_frames_are_lost() {
    for_seeds(0..5, |seed| {
        let faults = Faults { loss: 0.3, rate: None, ..Faults::BAD };
        download(seed, faults);
    });
}

#[test]
fn the_window_is_not_lock_step() {
    let faults = Faults { delay: Duration::from_millis(10), ..Faults::NONE };
    let (mut world, _) = world(3, faults);
    let start = world.elapsed();
    let id = world.read("/log", 0, u32::MAX);
    world.finish(id).unwrap();
    let trips = (world.elapsed() - start).as_secs_f64() / 0.020;
    let blocks = SIZE.div_ceil(239) as f64;
    assert!(trips < blocks / 4.0, "{trips} round trips for {blocks} blocks");
}

#[test]
fn a_limit_to_the_rate_is_kept_and_nearly_used() {
    let limit = 20_000;
    for kind in [Kind::Px4(Firmware::Main), Kind::ArduPilot(Sessions::Five)] {
        for (up, faults) in [(false, Faults::WIFI), (true, Faults::WIFI)] {
            let mut world = kind.world(5, faults);
            world.limit_rate(limit);
            let content = Random::new(5).bytes(SIZE);
            let start = world.elapsed();
            let id = match up {
                true => world.upload("/log", &content),
                false => {
                    world.files.insert("/log", &content);
                    world.read("/log", 0, u32::MAX)
                }
            };
            world.finish(id).unwrap();
            let rate = SIZE as f64 / (world.elapsed() - start).as_secs_f64() / f64::from(limit);
            assert!((0.85..1.03).contains(&rate), "{kind:?} up {up}: {rate}");
            world.check_quiet();
        }
    }
}

#[test]
fn an_upload_is_whole_through_loss_repetition_and_disorder() {
    for_seeds(0..40, |seed| {
        let mut world = World::new(seed, Faults::BAD);
        let content = Random::new(seed).bytes(SIZE);
        let id = world.upload("/new", &content);
        assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
        assert_eq!(world.files.content("/new"), Some(content));
        assert_eq!(world.outcomes[&id].acknowledged, SIZE as u32);
        world.check_quiet();
    });
}

#[test]
fn an_empty_upload_makes_an_empty_file() {
    let mut world = World::new(1, Faults::NONE);
    let id = world.upload("/empty", b"");
    assert_eq!(world.finish(id), Ok(Reply::Size(0)));
    assert_eq!(world.files.content("/empty"), Some(Vec::new()));
    world.check_quiet();
}

#[test]
fn a_full_disk_fails_the_upload() {
    let mut world = World::new(1, Faults::NONE);
    world.files.set_space(Some(1000));
    let id = world.upload("/big", &[7; 5000]);
    assert!(matches!(world.finish(id), Err(Error::Refused(_))));
    world.check_quiet();
}

#[test]
fn odd_ranges_are_exact() {
    for_seeds(0..20, |seed| {
        let (mut world, content) = world(seed, Faults::BAD);
        let mut random = Random::new(seed);
        for _ in 0..10 {
            let offset = random.below(SIZE as u64 + 500) as u32;
            let length = random.below(5000) as u32;
            let id = world.read("/log", offset, length);
            assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
            let end = (offset as usize + length as usize).min(SIZE);
            let expected = content.get(offset as usize..end).unwrap_or_default();
            assert_eq!(world.outcomes[&id].joined(offset), expected);
        }
        world.check_quiet();
    });
}

#[test]
fn a_download_goes_on_after_the_vehicle_reboots() {
    for_seeds(0..20, |seed| {
        let (mut world, content) = world(seed, Faults::BAD);
        let id = world.read("/log", 0, u32::MAX);
        world.run_until(|world| world.outcomes[&id].bytes.len() > 100);
        world.reboot();
        assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
        assert_eq!(world.outcomes[&id].joined(0), content);
        world.check_quiet();
    });
}

#[test]
fn an_upload_begins_anew_after_the_vehicle_reboots() {
    for_seeds(0..20, |seed| {
        let mut world = World::new(seed, Faults::BAD);
        let content = Random::new(seed).bytes(SIZE);
        let id = world.upload("/new", &content);
        world.run_until(|world| world.outcomes[&id].acknowledged > 20_000);
        world.reboot();
        assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
        assert_eq!(world.files.content("/new"), Some(content));
        world.check_quiet();
    });
}

#[test]
fn a_file_that_was_replaced_during_a_reboot_is_never_mixed() {
    for_seeds(0..20, |seed| {
        let (mut world, _) = world(seed, Faults::BAD);
        let id = world.read("/log", 0, u32::MAX);
        world.run_until(|world| world.outcomes[&id].bytes.len() > 100);
        world.files.insert("/log", &[0; SIZE / 2]);
        world.reboot();
        assert_eq!(world.finish(id), Err(Error::Changed));
        world.check_quiet();
    });
}

/// > What is under way when a vehicle falls silent ends with ETIMEDOUT after `--op-timeout` (10 s)
/// > without progress.
#[test]
fn a_silence_ends_a_read_in_bounded_time_and_the_next_one_works() {
    for_seeds(0..10, |seed| {
        let (mut world, content) = world(seed, Faults::BAD);
        let id = world.read("/log", 0, u32::MAX);
        world.run_until(|world| world.outcomes[&id].bytes.len() > 100);
        world.network.silent = true;
        let silent_since = world.elapsed();
        assert_eq!(world.finish(id), Err(Error::TimedOut));
        let took = world.elapsed() - silent_since;
        assert!(took <= Duration::from_secs(11), "{took:?}");
        let refused = world.read("/log", 0, 10);
        assert_eq!(world.finish(refused), Err(Error::LinkDown));
        world.network.silent = false;
        // It comes back elsewhere.
        world.address = 8;
        world.run_for(Duration::from_secs(2));
        let id = world.read("/log", 0, u32::MAX);
        assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
        assert_eq!(world.outcomes[&id].joined(0), content);
        world.check_quiet();
    });
}

#[test]
fn a_short_silence_is_survived() {
    for_seeds(0..20, |seed| {
        let (mut world, content) = world(seed, Faults::BAD);
        let id = world.read("/log", 0, u32::MAX);
        world.run_until(|world| world.outcomes[&id].bytes.len() > 100);
        world.network.silent = true;
        world.run_for(Duration::from_secs(7));
        world.network.silent = false;
        assert_eq!(world.finish(id), Ok(Reply::Size(SIZE as u32)));
        assert_eq!(world.outcomes[&id].joined(0), content);
        world.check_quiet();
    });
}

#[test]
fn readers_and_a_writer_of_other_files_share_the_one_session() {
    for_seeds(0..10, |seed| {
        let (mut world, content) = world(seed, Faults::BAD);
        world.files.insert("/other", &content[..50_000]);
        let up = world.upload("/new", &content);
        let one = world.read("/log", 0, u32::MAX);
        let two = world.read("/other", 10, 30_000);
        let three = world.ask(
            Op::Read { path: b"/log".to_vec(), offset: 5, length: 9000, expected: None },
            Class::ReadAhead,
        );
        for id in [up, one, two, three] {
            assert!(world.finish(id).is_ok());
        }
        assert_eq!(world.outcomes[&one].joined(0), content);
        assert_eq!(world.outcomes[&two].joined(10), content[10..30_010]);
        assert_eq!(world.outcomes[&three].joined(5), content[5..9005]);
        assert_eq!(world.files.content("/new"), Some(content));
        world.check_quiet();
    });
}

#[test]
fn a_cancelled_transfer_ends_once_and_leaves_nothing_open() {
    for_seeds(0..20, |seed| {
        let (mut world, content) = world(seed, Faults::BAD);
        let down = world.read("/log", 0, u32::MAX);
        let up = world.upload("/new", &content);
        world.run_for(Duration::from_millis(20 + seed * 7));
        for id in [down, up] {
            if let Some(client) = world.hub.client(id) {
                client.cancel(id);
            }
        }
        assert!(matches!(world.finish(down), Err(Error::Cancelled) | Ok(_)));
        assert!(matches!(world.finish(up), Err(Error::Cancelled) | Ok(_)));
        world.check_quiet();
    });
}

#[test]
fn a_file_that_grew_is_opened_anew_for_whoever_knows_its_size() {
    let (mut world, mut content) = world(1, Faults::NONE);
    let first = world.read("/log", 0, 1000);
    world.finish(first).unwrap();
    content.extend_from_slice(b"and more");
    world.files.insert("/log", &content);
    let size = content.len() as u32;
    let op =
        Op::Read { path: b"/log".to_vec(), offset: SIZE as u32, length: 100, expected: Some(size) };
    let second = world.ask(op, Class::Demand);
    assert_eq!(world.finish(second), Ok(Reply::Size(size)));
    assert_eq!(world.outcomes[&second].opened, Some(size));
    assert_eq!(world.outcomes[&second].joined(SIZE as u32), b"and more");
    content.push(b'!');
    world.files.insert("/log", &content);
    let asked = world.perform(Op::Size { path: b"/log".to_vec() });
    assert_eq!(asked, Ok(Reply::Size(size + 1)), "a size is asked of the file as it is now");
    world.check_quiet();
}

#[test]
fn a_short_read_behind_a_long_one_of_the_same_file_is_answered_in_its_turn() {
    for_seeds(0..3, |seed| {
        let (mut world, content) = world(seed, Faults::RADIO);
        let long = world.read("/log", 0, u32::MAX);
        world.run_for(Duration::from_secs(1));
        let short = world.read("/log", 500, 100);
        assert_eq!(world.finish(long), Ok(Reply::Size(SIZE as u32)));
        assert_eq!(world.finish(short), Ok(Reply::Size(SIZE as u32)));
        assert!(world.elapsed() > Duration::from_secs(15), "longer than patience");
        assert_eq!(world.outcomes[&short].joined(500), content[500..600]);
        world.check_quiet();
    });
}

#[test]
fn a_read_that_waits_for_a_stalled_upload_ends_though_listings_go_on() {
    let (mut world, content) = world(1, Faults::NONE);
    let up = world.upload("/new", &content);
    world.provide(up, 1_000);
    world.run_for(Duration::from_millis(100));
    let read = world.read("/log", 0, 100);
    for _ in 0..15 {
        let _ = world.perform(Op::List { path: b"/".to_vec() });
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(world.outcomes[&read].results, [Err(Error::TimedOut)]);
    assert_eq!(world.outcomes[&up].results, []);
    world.provide(up, content.len());
    assert_eq!(world.finish(up), Ok(Reply::Size(SIZE as u32)));
    assert_eq!(world.files.content("/new"), Some(content));
    world.check_quiet();
}

#[test]
fn whoever_leaves_closes_the_open_file_at_once() {
    let (mut world, _) = world(1, Faults::NONE);
    let id = world.read("/log", 0, 1000);
    world.finish(id).unwrap();
    assert!(world.hub.holds_sessions(), "an idle file stays open a little");
    world.hub.leave();
    world.run_for(Duration::from_millis(10));
    assert!(!world.hub.holds_sessions());
    world.check_quiet();
}
