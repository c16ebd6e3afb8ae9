//! Downloads of any kind from any vehicle over any link, with any mishap, each from a seed: every byte
//! right, every request answered once and in time, and no error without its cause.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mavftp_mount::mavftp::client::{Op, Reply, RequestId};
use mavftp_mount::mavftp::wire::{Opcode, Payload};

use crate::for_seeds;
use crate::network::Faults;
use crate::personalities::ardupilot::Sessions;
use crate::personalities::{OTHER, US};
use crate::vehicles::Kind;
use crate::world::{PATIENCE, World};
use scenario::{Mishap, Scenario, Wish};

mod scenario;

/// Seeds of an ordinary run, and of a long one.
const FEW: u64 = 1_000;
const MANY: u64 = 20_000;
/// Seeds that found a start which drowned a board's small buffer.
const DROWNED: [u64; 2] = [6_351, 17_228];
/// Between two looks at how far everything is.
const LOOK: Duration = Duration::from_millis(500);
/// Nothing at all moves for longer only when something should have ended: patience, the silence that
/// may come before it, and a file that is opened once or twice more.
const STALL: Duration = Duration::from_secs(3 * PATIENCE.as_secs());
/// The session id of the other station.
const THEIRS: u8 = 77;

/// One moment of a scenario.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// The wish with this index.
    Ask(usize),
    Begin(Mishap),
    End(Mishap),
}

impl Scenario {
    /// How many requests there were, and how many failed, unless something went wrong on purpose.
    fn run(&self) -> (usize, usize) {
        let mut world = match self.kind {
            Some(kind) => kind.world(self.seed, self.faults),
            None => World::new(self.seed, self.faults),
        };
        world.files.insert("/theirs", &[7; 300]);
        for (index, size) in self.sizes.iter().enumerate() {
            world.files.insert(&format!("/f{index}"), &self.content(index, *size));
        }
        let ids = self.play(&mut world);
        for (index, id) in ids.iter().enumerate() {
            self.check(&world, index, id.expect("it was asked for"));
        }
        let results: Vec<_> = world.outcomes.values().map(|outcome| outcome.results[0]).collect();
        // Where the closing itself was never heard, only the client has nothing open.
        world.run_for(Duration::from_secs(60));
        assert!(!world.hub.holds_sessions(), "a session is left open");
        if !self.may_time_out() {
            world.check_quiet();
        }
        let failed = results.iter().filter(|result| result.is_err()).count();
        let calm = self.mishaps.is_empty() && self.faults.loss_run <= 1.0;
        if calm { (results.len(), failed) } else { (0, 0) }
    }

    /// Runs all that is asked for and all that goes wrong, to the end of both.
    fn play(&self, world: &mut World) -> Vec<Option<RequestId>> {
        let mut ids = vec![None; self.wishes.len()];
        let mut acts: Vec<(Duration, Act)> = Vec::new();
        for (index, (at, _)) in self.wishes.iter().enumerate() {
            acts.push((*at, Act::Ask(index)));
        }
        for (at, mishap) in &self.mishaps {
            acts.push((*at, Act::Begin(*mishap)));
            acts.extend(mishap.lasts().map(|lasts| (*at + lasts, Act::End(*mishap))));
        }
        acts.sort_by_key(|(at, _)| *at);
        let (start, mut watch) = (world.now, Watch::new(world.now));
        for (at, act) in acts {
            while world.now < start + at {
                world.run_for(LOOK.min(start + at - world.now));
                watch.look(world);
            }
            self.act(world, &mut ids, act);
        }
        while !is_over(world) {
            world.run_for(LOOK);
            watch.look(world);
        }
        ids
    }

    fn act(&self, world: &mut World, ids: &mut [Option<RequestId>], act: Act) {
        match act {
            Act::Ask(index) => ids[index] = Some(self.ask(world, self.wishes[index].1)),
            Act::Begin(Mishap::Silence(_)) => world.network.silent = true,
            Act::End(Mishap::Silence(_)) => world.network.silent = false,
            Act::Begin(Mishap::Armed) => world.armed = true,
            Act::End(Mishap::Armed) => world.armed = false,
            Act::Begin(Mishap::Reboot) => world.reboot(),
            Act::Begin(Mishap::Reset) => {
                world.intrude(OTHER, &self.theirs(1, Opcode::ResetSessions, ""));
            }
            Act::Begin(Mishap::Open) => {
                world.intrude(OTHER, &self.theirs(2, Opcode::OpenFileRo, "/theirs"));
            }
            Act::End(Mishap::Open) => {
                world.intrude(OTHER, &self.theirs(3, Opcode::TerminateSession, ""));
            }
            Act::Begin(Mishap::Cancel(index)) => {
                if let Some(id) = ids[index]
                    && let Some(client) = world.hub.client(id)
                {
                    client.cancel(id);
                }
            }
            Act::End(Mishap::Reboot | Mishap::Reset | Mishap::Cancel(_)) => {}
        }
    }

    fn ask(&self, world: &mut World, wish: Wish) -> RequestId {
        match wish {
            Wish::Upload { bytes } => world.upload("/new", &self.content(99, bytes)),
            Wish::Read { file, offset, length, class } => {
                let path = format!("/f{file}").into_bytes();
                world.ask(Op::Read { path, offset, length, expected: None }, class)
            }
        }
    }

    /// A request of the other station.
    fn theirs(&self, sequence: u16, opcode: Opcode, path: &str) -> Payload {
        let session = if matches!(self.kind, Some(Kind::Px4(_))) { 0 } else { THEIRS };
        Payload { sequence, session, ..Payload::request(opcode).with_data(path.as_bytes()) }
    }

    /// Every byte of a request is right, and its end is too.
    fn check(&self, world: &World, index: usize, id: RequestId) {
        let outcome = &world.outcomes[&id];
        let result = outcome.results[0];
        if let Err(error) = result {
            assert!(self.justifies(index, error), "request {index} failed: {error:?}");
        }
        match self.wishes[index].1 {
            Wish::Upload { bytes } if result.is_ok() => {
                assert_eq!(result, Ok(Reply::Size(bytes as u32)));
                let stored = world.files.content("/new");
                assert!(stored == Some(self.content(99, bytes)), "the upload differs");
            }
            Wish::Upload { .. } => {}
            Wish::Read { file, offset, length, .. } => {
                let content = self.content(file, self.sizes[file]);
                for (at, bytes) in &outcome.bytes {
                    let there = content.get(*at as usize..*at as usize + bytes.len());
                    assert!(there == Some(bytes), "request {index} got wrong bytes at {at}");
                }
                if result.is_ok() {
                    assert_eq!(result, Ok(Reply::Size(content.len() as u32)));
                    let end = (u64::from(offset) + u64::from(length)).min(content.len() as u64);
                    let expected = content.get(offset as usize..end as usize).unwrap_or_default();
                    assert!(outcome.joined(offset) == expected, "request {index} is not whole");
                }
            }
        }
    }
}

fn is_over(world: &World) -> bool {
    world.outcomes.values().all(|outcome| !outcome.results.is_empty())
}

/// Sees to it that something moves.
struct Watch {
    moved: usize,
    moved_at: Instant,
}

impl Watch {
    fn new(now: Instant) -> Watch {
        Watch { moved: 0, moved_at: now }
    }

    fn look(&mut self, world: &World) {
        let moved = |outcome: &crate::world::Outcome| {
            outcome.bytes.len()
                + outcome.acknowledged as usize
                + outcome.results.len()
                + usize::from(outcome.opened.is_some())
        };
        let all = world.outcomes.values().map(moved).sum();
        if all != self.moved || is_over(world) {
            (self.moved, self.moved_at) = (all, world.now);
        }
        let still = world.now - self.moved_at;
        assert!(still <= STALL, "nothing has moved for {still:?}");
    }
}

/// Runs these seeds; of all requests that met no mishap hardly any fail, however bad their link.
fn run(seeds: std::ops::Range<u64>) {
    let (asked, failed) = (Cell::new(0), Cell::new(0));
    for_seeds(seeds, |seed| {
        let tally = Scenario::new(seed).run();
        asked.set(asked.get() + tally.0);
        failed.set(failed.get() + tally.1);
    });
    let (asked, failed) = (asked.get(), failed.get());
    assert!(failed * 200 <= asked, "{failed} of {asked} failed");
}

#[test]
fn downloads_of_any_kind_are_whole_whatever_happens() {
    run(0..FEW);
}

#[test]
#[ignore = "takes a minute; `scripts/test --full` runs it"]
fn thousands_of_downloads_of_any_kind_are_whole_whatever_happens() {
    run(FEW..MANY);
}

/// No block of this is larger than the next smaller one, and none got through whole.
#[test]
fn a_file_of_almost_a_block_is_read_over_a_link_that_carries_no_block() {
    for largest in [110, 140] {
        let mut world = World::new(1, Faults { largest_frame: Some(largest), ..Faults::NONE });
        world.files.insert("/f", &[7; 238]);
        let id = world.read("/f", 0, u32::MAX);
        assert_eq!(world.finish(id), Ok(Reply::Size(238)));
        assert_eq!(world.outcomes[&id].joined(0), [7; 238]);
        world.check_quiet();
    }
}

#[test]
fn a_closing_in_a_short_silence_is_heard_behind_it() {
    for others in [false, true] {
        let mut world = World::new(1, Faults::WIFI.with_loss(0.0));
        world.files.insert("/a", b"content");
        world.files.insert("/b", b"content");
        let id = world.read("/a", 0, 100);
        assert_eq!(world.finish(id), Ok(Reply::Size(7)));
        world.network.silent = true;
        // Whoever waits for another file does not wait for the closing of this one.
        let other = others.then(|| world.read("/b", 0, 100));
        world.run_for(Duration::from_millis(2_500));
        world.network.silent = false;
        if let Some(id) = other {
            assert_eq!(world.finish(id), Ok(Reply::Size(7)));
        }
        world.run_for(Duration::from_secs(10));
        assert_eq!(world.open_files(), 0);
    }
}

#[test]
fn a_refusal_of_a_file_that_a_repeated_opening_left_open_is_not_believed() {
    let one = Kind::ArduPilot(Sessions::Five);
    let mut world = one.world(1, Faults::NONE);
    world.files.insert("/f", b"content");
    let id = world.read("/f", 0, 100);
    world.run_until(|world| world.last_sent.is_some());
    // The opening that comes next has been executed before, and the server knows nothing of it.
    let opening = world.last_sent.expect("it is the opening");
    world.finish(id).expect("it is there");
    world.run_for(Duration::from_secs(2));
    let session = opening.session.wrapping_add(1);
    world.intrude(US, &Payload { sequence: 7, session, ..opening });
    let id = world.read("/f", 0, 100);
    assert_eq!(world.finish(id), Ok(Reply::Size(7)));
    world.check_quiet();
}

/// A start that does not end while all that is wanted is on its way sends what a board's small buffer
/// drops again just as fast, and it is dropped again.
#[test]
fn readers_at_a_board_far_away_get_every_block_in_the_end() {
    DROWNED.into_iter().for_each(|seed| _ = Scenario::new(seed).run());
}
