//! What must work on every vehicle alike.

use std::time::Duration;

use mavftp_mount::mavftp::client::{Class, Op, Reply, RequestId};
use mavftp_mount::mavftp::wire::{Checksum, Opcode};

use super::{ALL, Kind};
use crate::for_seeds;
use crate::network::{Faults, Random};
use crate::world::World;

/// Each kind of vehicle over each kind of link, from several seeds.
fn everywhere(seeds: u64, test: impl Fn(Kind, u64, Faults)) {
    for kind in ALL {
        for (link, faults) in
            [("good", Faults::NONE), ("bad", Faults::BAD), ("radio", Faults::RADIO)]
        {
            for_seeds(0..seeds, |seed| {
                let named = Named(kind, link);
                test(kind, seed, faults);
                std::mem::forget(named);
            });
        }
    }
}

/// Names what fails.
struct Named(Kind, &'static str);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed on {:?} over a {} link", self.0, self.1);
        }
    }
}

fn names(world: &World, id: RequestId) -> Vec<String> {
    let entries = &world.outcomes[&id].entries;
    let name = |entry: &mavftp_mount::mavftp::wire::WireEntry| {
        String::from_utf8_lossy(&entry.name).into_owned()
    };
    let mut names: Vec<String> = entries.iter().map(name).collect();
    names.retain(|name| name != "." && name != "..");
    names.sort();
    names
}

#[test]
fn a_download_is_whole() {
    everywhere(12, |kind, seed, faults| {
        let mut world = kind.world(seed, faults);
        let size = 20_000 + seed as usize * 977;
        let content = Random::new(seed ^ 0xF11E).bytes(size);
        world.files.insert("/log", &content);
        let id = world.read("/log", 0, u32::MAX);
        assert_eq!(world.finish(id), Ok(Reply::Size(size as u32)));
        assert_eq!(world.outcomes[&id].joined(0), content);
        world.check_quiet();
    });
}

#[test]
fn a_download_is_whole_over_every_link_that_one_meets() {
    for (link, faults) in Faults::NAMED {
        for kind in ALL {
            for_seeds(0..20, |seed| {
                let named = Named(kind, link);
                let mut world = kind.world(seed, faults);
                let content = Random::new(seed ^ 0xF11E).bytes(10_000);
                world.files.insert("/log", &content);
                let id = world.read("/log", 0, u32::MAX);
                assert_eq!(world.finish(id), Ok(Reply::Size(10_000)));
                assert_eq!(world.outcomes[&id].joined(0), content);
                world.check_quiet();
                std::mem::forget(named);
            });
        }
    }
}

#[test]
fn an_upload_is_whole() {
    everywhere(12, |kind, seed, faults| {
        let mut world = kind.world(seed, faults);
        let size = 20_000 + seed as usize * 977;
        let content = Random::new(seed ^ 0xF11E).bytes(size);
        world.files.insert("/old", &[9; 50_000]);
        for path in ["/new", "/old"] {
            let id = world.upload(path, &content);
            assert_eq!(world.finish(id), Ok(Reply::Size(size as u32)));
            assert_eq!(world.files.content(path).as_ref(), Some(&content));
            let sum = world.perform(Op::Checksum { path: path.into() });
            assert_eq!(sum, Ok(Reply::Checksum(Checksum::of(&content))));
        }
        world.check_quiet();
    });
}

#[test]
fn a_listing_is_complete_and_names_nothing_twice() {
    everywhere(12, |kind, seed, faults| {
        let mut world = kind.world(seed, faults);
        let mut expected: Vec<String> = (0..40).map(|n| format!("log_{n:03}.bin")).collect();
        for name in &expected {
            world.files.insert(&format!("/logs/{name}"), b"x");
        }
        world.files.insert_directory("/logs/sub");
        expected.push("sub".into());
        let id = world.ask(Op::List { path: b"/logs".to_vec() }, Class::Metadata);
        assert_eq!(world.finish(id), Ok(Reply::Done));
        assert_eq!(names(&world, id), expected);
        let id = world.ask(Op::List { path: b"/logs/sub".to_vec() }, Class::Metadata);
        assert_eq!(world.finish(id), Ok(Reply::Done));
        assert_eq!(names(&world, id), Vec::<String>::new());
        world.check_quiet();
    });
}

#[test]
fn every_change_is_made_once() {
    everywhere(25, |kind, seed, faults| {
        // A server without a memory does what the network repeats, and no client can tell.
        let repeats = if matches!(kind, Kind::Mavsdk(_)) { 0.0 } else { faults.duplicate };
        let mut world = kind.world(seed, Faults { duplicate: repeats, ..faults });
        world.files.insert("/a", b"content");
        let path = |text: &str| text.as_bytes().to_vec();
        for op in [
            Op::MakeDirectory { path: path("/d") },
            Op::Rename { from: path("/a"), to: path("/d/b") },
            Op::Remove { path: path("/d/b") },
            Op::RemoveDirectory { path: path("/d") },
        ] {
            assert_eq!(world.perform(op.clone()), Ok(Reply::Done), "{op:?}");
        }
        let expected =
            [Opcode::CreateDirectory, Opcode::Rename, Opcode::RemoveFile, Opcode::RemoveDirectory];
        assert_eq!(world.changes(), expected);
        assert!(world.files.paths().is_empty());
        world.check_quiet();
    });
}

#[test]
fn any_mixture_of_requests_ends_each_once_and_leaves_nothing_open() {
    everywhere(6, |kind, seed, faults| {
        let mut world = kind.world(seed, faults);
        let mut random = Random::new(seed);
        for n in 0..5 {
            world.files.insert(&format!("/f{n}"), &Random::new(n).bytes(6_000 + n as usize));
        }
        let slow = faults.rate == Faults::RADIO.rate;
        let mut ids = Vec::new();
        for n in 0..40 {
            let file = format!("/f{}", random.below(6));
            let id = match random.below(8) {
                0 => world.ask(Op::List { path: b"/".to_vec() }, Class::Metadata),
                1 => world.upload(&format!("/up{n}"), &[1; 3000]),
                2 => world.ask(Op::Remove { path: file.into() }, Class::Metadata),
                3 => world.ask(Op::MakeDirectory { path: file.into() }, Class::Metadata),
                4 => world.ask(Op::Size { path: b"/f0".to_vec() }, Class::Metadata),
                _ => world.read("/f1", random.below(6_000) as u32, random.below(4_000) as u32),
            };
            ids.push(id);
            if random.chance(0.15) {
                let id = ids[random.below(ids.len() as u64) as usize];
                if let Some(client) = world.hub.client(id) {
                    client.cancel(id);
                }
            }
            let pause = if slow { 2_000 } else { 60 };
            world.run_for(Duration::from_millis(random.below(pause)));
        }
        for id in &ids {
            let _ = world.finish(*id);
        }
        world.check_quiet();
    });
}

#[test]
fn two_files_are_read_and_one_is_written_at_once() {
    everywhere(6, |kind, seed, faults| {
        let mut world = kind.world(seed, faults);
        let one = Random::new(seed).bytes(20_000);
        let two = Random::new(seed + 100).bytes(15_000);
        world.files.insert("/one", &one);
        world.files.insert("/two", &two);
        let ids = [
            world.read("/one", 0, u32::MAX),
            world.upload("/new", &two),
            world.read("/two", 0, u32::MAX),
            world.ask(Op::List { path: b"/".to_vec() }, Class::Metadata),
        ];
        let results = ids.map(|id| world.finish(id));
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(world.outcomes[&ids[0]].joined(0), one);
        assert_eq!(world.outcomes[&ids[2]].joined(0), two);
        assert_eq!(world.files.content("/new"), Some(two));
        world.check_quiet();
    });
}
