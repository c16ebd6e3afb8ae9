//! Servers and networks that say what is wrong, one fault at a time: the right bytes, or a clear error,
//! in bounded time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Error, Op, Reply, RequestId};
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::personalities::ardupilot::Sessions;
use crate::personalities::bent::{Answers, Bent, Heard};
use crate::personalities::mavsdk::Release;
use crate::personalities::px4::Firmware;
use crate::personalities::{OTHER, US};
use crate::vehicles::{ALL, Kind};
use crate::world::World;

mod changes;
mod listings;
mod writes;

/// One of each family.
const FAMILIES: [Kind; 3] =
    [Kind::Mavsdk(Release::Four), Kind::Px4(Firmware::Release), Kind::ArduPilot(Sessions::Five)];
const SIZE: usize = 20_000;
/// Longer takes nothing here that fails: patience, and again for each of four openings.
const BOUND: Duration = Duration::from_secs(60);
/// More frames than that in a failure are a flood.
const FRAMES_MAX: u64 = 20_000;

fn bent(
    kind: Kind,
    seed: u64,
    hears: impl FnMut(&Payload) -> Heard + 'static,
    says: impl FnMut(u8, Payload) -> Answers + 'static,
) -> World {
    let link = Faults { delay: Duration::from_millis(5), ..Faults::NONE };
    World::with(seed, link, kind.autopilot(), |files| {
        let inner = kind.far(files, seed);
        let (hears, says) = (Box::new(hears), Box::new(says));
        Box::new(Bent { inner, hears, says, waiting: VecDeque::new() })
    })
}

/// A server that hears all and says this.
fn says(kind: Kind, says: impl FnMut(Payload) -> Payload + 'static) -> World {
    let mut says = says;
    bent(kind, 1, |request| Heard::Pass(*request), move |to, answer| vec![(to, says(answer))])
}

/// A server that hears this.
fn hears(kind: Kind, hears: impl FnMut(&Payload) -> Heard + 'static) -> World {
    bent(kind, 1, hears, |to, answer| vec![(to, answer)])
}

fn is_block(answer: &Payload) -> bool {
    answer.req_opcode == Opcode::ReadFile as u8 && answer.answer() == Some(Ok(()))
}

fn content() -> Vec<u8> {
    Random::new(7).bytes(SIZE)
}

/// Runs a request to its end, in bounded time and with so many frames at most.
fn end(world: &mut World, id: RequestId) -> Result<Reply, Error> {
    let (start, sent) = (world.elapsed(), world.sent);
    let result = world.finish(id);
    let (took, frames) = (world.elapsed() - start, world.sent - sent);
    assert!(took <= BOUND, "{took:?}");
    assert!(frames <= FRAMES_MAX, "{frames} frames");
    result
}

/// Reads a file of known content to its end, wherever that comes; all that comes must be right.
fn download(world: &mut World) -> Result<Reply, Error> {
    world.files.insert("/f", &content());
    let id = world.read("/f", 0, u32::MAX);
    let result = end(world, id);
    for (at, bytes) in &world.outcomes[&id].bytes {
        assert!(content()[*at as usize..][..bytes.len()] == bytes[..], "wrong bytes at {at}");
    }
    if result.is_ok() {
        assert!(world.outcomes[&id].joined(0) == content(), "it is not whole");
    }
    result
}

#[test]
fn late_answers_about_an_earlier_file_are_no_bytes_of_this_one() {
    for kind in FAMILIES {
        for opcode in [Opcode::ReadFile, Opcode::BurstReadFile] {
            let late = Rc::new(RefCell::new(Vec::<Payload>::new()));
            let (old, mut answers) = (late.clone(), 0);
            let both = move |to, answer: Payload| {
                if !is_block(&answer) {
                    return vec![(to, answer)];
                }
                let mut old = old.borrow_mut();
                if old.len() < 10 {
                    old.push(Payload { req_opcode: opcode as u8, ..answer });
                    return vec![(to, answer)];
                }
                // As it was, and under a number that is waited for now.
                let late = old[usize::from(answer.sequence) % 10];
                let numbered = Payload { sequence: answer.sequence, ..late };
                let other = late.offset != answer.offset || opcode != Opcode::ReadFile;
                answers += 1;
                let seldom = answers % 4 == 0;
                let numbered = (other && seldom).then_some((to, numbered));
                [Some((to, late)), numbered, Some((to, answer))].into_iter().flatten().collect()
            };
            let mut world = bent(kind, 1, |request| Heard::Pass(*request), both);
            world.files.insert("/earlier", &[9; 10 * 239]);
            let earlier = world.read("/earlier", 0, u32::MAX);
            assert_eq!(world.finish(earlier), Ok(Reply::Size(10 * 239)));
            assert_eq!(download(&mut world), Ok(Reply::Size(SIZE as u32)), "{kind:?}");
        }
    }
}

#[test]
fn answers_to_another_station_are_nobodys_bytes() {
    for kind in FAMILIES {
        let mut world = bent(
            kind,
            1,
            |request| Heard::Pass(*request),
            |to, answer| {
                let theirs = Payload { bytes: [9; 239], ..answer };
                if is_block(&answer) {
                    vec![(OTHER, theirs), (to, answer)]
                } else {
                    vec![(to, answer)]
                }
            },
        );
        world.shared = true;
        assert_eq!(download(&mut world), Ok(Reply::Size(SIZE as u32)), "{kind:?}");
        world.check_quiet();
    }
}

/// A seed whose first request has one of the last numbers.
fn seed_near_the_wrap() -> u64 {
    let first = |seed| {
        let mut world = World::new(seed, Faults::NONE);
        world.ask(Op::Size { path: b"/f".to_vec() }, Class::Metadata);
        world.run_until(|world| world.last_sent.is_some());
        world.last_sent.map_or(0, |sent| sent.sequence)
    };
    (0..100_000).find(|seed| first(*seed) > u16::MAX - 8).expect("one in some thousands")
}

#[test]
fn numbers_wrap_and_leave_out_the_last_one_in_reads_uploads_and_listings() {
    let seed = seed_near_the_wrap();
    for kind in ALL {
        for asks in 0..3 {
            let faults = Faults { duplicate: 0.0, ..Faults::BAD };
            let mut world = World::with(seed, faults, kind.autopilot(), |files| {
                let hears = |request: &Payload| {
                    assert_ne!(request.sequence, u16::MAX, "a number that PX4 never recognises");
                    Heard::Pass(*request)
                };
                let (hears, inner) = (Box::new(hears), kind.far(files, seed));
                let says = Box::new(|to, answer| vec![(to, answer)]);
                Box::new(Bent { inner, hears, says, waiting: VecDeque::new() })
            });
            (0..200).for_each(|n| world.files.insert(&format!("/d/log_{n:03}.bin"), b"x"));
            let result = match asks {
                0 => download(&mut world),
                1 => {
                    let id = world.upload("/new", &content());
                    end(&mut world, id)
                }
                _ => {
                    let id = world.ask(Op::List { path: b"/d".to_vec() }, Class::Metadata);
                    let result = end(&mut world, id);
                    let named = |entry: &&_| !matches!(&entry_name(entry)[..], b"." | b"..");
                    assert_eq!(world.outcomes[&id].entries.iter().filter(named).count(), 200);
                    result
                }
            };
            assert!(result.is_ok(), "{kind:?}: {result:?}");
            assert!(
                world.last_sent.is_some_and(|sent| sent.sequence < 10_000),
                "{kind:?} has not wrapped"
            );
            world.check_quiet();
        }
    }
}

fn entry_name(entry: &mavftp_mount::mavftp::wire::WireEntry) -> Vec<u8> {
    entry.name.clone()
}

#[test]
fn blocks_with_a_wrong_offset_are_asked_for_again() {
    for kind in FAMILIES {
        let mut count = 0;
        let mut world = says(kind, move |answer| {
            count += 1;
            let wrong = is_block(&answer) && count % 3 == 0;
            let offset = if wrong { answer.offset ^ 239 } else { answer.offset };
            Payload { offset, ..answer }
        });
        assert_eq!(download(&mut world), Ok(Reply::Size(SIZE as u32)), "{kind:?}");
        world.check_quiet();
    }
}

#[test]
fn a_server_that_never_gives_the_offset_asked_for_is_given_up() {
    for kind in FAMILIES {
        let wrong = |answer: Payload| match is_block(&answer) {
            true => Payload { offset: answer.offset + 1, ..answer },
            false => answer,
        };
        assert_eq!(download(&mut says(kind, wrong)), Err(Error::TimedOut), "{kind:?}");
    }
}

#[test]
fn blocks_that_are_too_short_are_asked_on_from_their_end() {
    for kind in FAMILIES {
        let short = |answer: Payload| match is_block(&answer) {
            true => Payload { size: answer.size.div_ceil(2), ..answer },
            false => answer,
        };
        let mut world = says(kind, short);
        assert_eq!(download(&mut world), Ok(Reply::Size(SIZE as u32)), "{kind:?}");
        world.check_quiet();
    }
}

#[test]
fn a_size_that_no_frame_can_have_brings_no_wrong_byte() {
    for kind in FAMILIES {
        let mut world = says(kind, |answer| match is_block(&answer) {
            true => Payload { size: 255, ..answer },
            false => answer,
        });
        let result = download(&mut world);
        assert!(matches!(result, Ok(_) | Err(Error::TimedOut | Error::Malformed)), "{result:?}");
    }
}

#[test]
fn blocks_without_data_are_asked_for_again_and_given_up_when_none_has_any() {
    for kind in FAMILIES {
        for each in [40, 1] {
            let mut count = 0;
            let mut world = says(kind, move |answer| {
                count += 1;
                let empty = is_block(&answer) && count % each == 0;
                if empty { Payload { size: 0, ..answer } } else { answer }
            });
            let expected =
                if each == 1 { Err(Error::Changed) } else { Ok(Reply::Size(SIZE as u32)) };
            assert_eq!(download(&mut world), expected, "{kind:?}");
        }
    }
}

#[test]
fn blocks_that_are_longer_than_asked_for_bring_no_byte_beyond_the_range() {
    for kind in [Kind::Px4(Firmware::Release), Kind::ArduPilot(Sessions::One)] {
        let mut world = hears(kind, |request| {
            let reads = request.command() == Some(Opcode::ReadFile);
            Heard::Pass(Payload { size: if reads { 239 } else { request.size }, ..*request })
        });
        world.files.insert("/f", &content());
        for (offset, length) in [(10, 100), (0, 1), (500, 1_000), (SIZE - 100, 5_000)] {
            let id = world.read("/f", offset as u32, length as u32);
            assert_eq!(end(&mut world, id), Ok(Reply::Size(SIZE as u32)));
            let expected = &content()[offset..SIZE.min(offset + length)];
            assert_eq!(world.outcomes[&id].joined(offset as u32), expected);
        }
        assert_eq!(download(&mut world), Ok(Reply::Size(SIZE as u32)));
        world.check_quiet();
    }
}

#[test]
fn an_opening_that_is_acknowledged_without_a_size_is_malformed() {
    for kind in FAMILIES {
        let mut world = says(kind, |answer| match answer.req_opcode == Opcode::OpenFileRo as u8 {
            true => Payload { size: 0, ..answer },
            false => answer,
        });
        assert_eq!(download(&mut world), Err(Error::Malformed), "{kind:?}");
        world.run_for(BOUND);
        assert!(!world.hub.holds_sessions());
    }
}

#[test]
fn a_file_that_pretends_to_have_all_bytes_there_are_is_read_in_part_and_not_beyond() {
    for kind in FAMILIES {
        let mut world = says(kind, |answer| {
            let opens = answer.req_opcode == Opcode::OpenFileRo as u8;
            let all = || answer.with_data(&u32::MAX.to_le_bytes());
            if opens && answer.answer() == Some(Ok(())) { all() } else { answer }
        });
        world.files.insert("/f", &content());
        let id = world.read("/f", 300, 1_000);
        assert_eq!(end(&mut world, id), Ok(Reply::Size(u32::MAX)), "{kind:?}");
        assert_eq!(world.outcomes[&id].joined(300), content()[300..1_300]);
        let id = world.read("/f", u32::MAX - 10, 10);
        assert!(end(&mut world, id).is_err());
        let result = download(&mut world);
        assert!(matches!(result, Err(Error::Changed | Error::Refused(_))), "{kind:?} {result:?}");
    }
}

#[test]
fn a_server_that_answers_each_request_twice_costs_nothing() {
    for kind in FAMILIES {
        let twice = |to, answer| vec![(to, answer), (to, answer)];
        let mut world = bent(kind, 1, |request| Heard::Pass(*request), twice);
        assert_eq!(download(&mut world), Ok(Reply::Size(SIZE as u32)), "{kind:?}");
        let id = world.upload("/new", &content());
        assert_eq!(end(&mut world, id), Ok(Reply::Size(SIZE as u32)));
        assert_eq!(world.files.content("/new"), Some(content()));
        assert_eq!(world.perform(Op::Remove { path: b"/new".to_vec() }), Ok(Reply::Done));
        assert!(world.sent < 2 * (SIZE as u64 / 239) + 40, "{} frames", world.sent);
        world.check_quiet();
    }
}

#[test]
fn answers_with_the_number_of_the_request_before_bring_no_wrong_byte() {
    for kind in FAMILIES {
        for off in [1, 2] {
            let mut world = says(kind, move |answer| Payload {
                sequence: answer.sequence.wrapping_sub(off),
                ..answer
            });
            let result = download(&mut world);
            assert!(matches!(result, Err(Error::TimedOut)), "{kind:?} {result:?}");
        }
    }
}

#[test]
fn a_server_that_is_silent_on_an_opcode_is_waited_for_no_longer_than_patience() {
    for kind in FAMILIES {
        for silent in [Opcode::OpenFileRo, Opcode::ReadFile, Opcode::TerminateSession] {
            let mut world = hears(kind, move |request| match request.command() == Some(silent) {
                true => Heard::Lost,
                false => Heard::Pass(*request),
            });
            let result = download(&mut world);
            let closes = silent == Opcode::TerminateSession;
            let expected = if closes { Ok(Reply::Size(SIZE as u32)) } else { Err(Error::TimedOut) };
            assert_eq!(result, expected, "{kind:?} without {silent:?}");
            world.run_for(BOUND);
            assert!(!world.hub.holds_sessions(), "{kind:?} without {silent:?}");
        }
    }
}

#[test]
fn refusals_without_a_code_are_clear_errors() {
    for kind in FAMILIES {
        let bare = |answer: Payload| match answer.answer() {
            Some(Err(_)) => Payload { size: 0, bytes: [0; 239], ..answer },
            Some(Ok(())) | None => answer,
        };
        let mut world = says(kind, bare);
        let id = world.read("/missing", 0, 100);
        assert!(matches!(end(&mut world, id), Err(Error::Refused(Nak::Other(_)))), "{kind:?}");
        world.files.insert("/f", b"x");
        let id = world.ask(Op::MakeDirectory { path: b"/f".to_vec() }, Class::Metadata);
        assert!(matches!(end(&mut world, id), Err(Error::Refused(Nak::Other(_)))), "{kind:?}");
        assert_eq!(download(&mut world), Ok(Reply::Size(SIZE as u32)), "{kind:?}");
    }
}
