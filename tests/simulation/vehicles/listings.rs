//! Listings that say less, or other, than what is there.

use mavftp_mount::mavftp::client::{Class, Op, Reply};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::Kind;
use crate::network::Faults;
use crate::personalities::ardupilot::Sessions;
use crate::personalities::mavsdk::Release;
use crate::personalities::naive::Naive;
use crate::personalities::px4::Firmware;
use crate::world::World;

const FIVE: Kind = Kind::ArduPilot(Sessions::Five);
const CARD: Kind = Kind::ArduPilotOnCard(Sessions::Five);
const EINVAL: u8 = 22;

/// What a client lists that takes the first page for all of it, and each text for an entry.
fn first_page(kind: Kind, files: &MemoryFiles, path: &str) -> Vec<String> {
    let page = Naive::new(kind.far(files.clone(), 1)).on(Opcode::ListDirectory, path);
    let data = page.expect("an answer").unwrap_or_default();
    let texts = data.split(|&byte| byte == 0).filter(|text| !text.is_empty());
    texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

fn list(world: &mut World, path: &str) -> Vec<String> {
    let id = world.ask(Op::List { path: path.into() }, Class::Metadata);
    assert_eq!(world.finish(id), Ok(Reply::Done));
    let entries = &world.outcomes[&id].entries;
    let mut names: Vec<String> =
        entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect();
    names.retain(|name| name != "." && name != "..");
    names.sort();
    names
}

#[test]
fn a_naive_client_sees_no_files_in_the_root_of_a_simulated_ardupilot() {
    let files = MemoryFiles::new();
    files.insert("/f", b"x");
    files.insert_directory("/d");
    assert_eq!(first_page(FIVE, &files, "/"), ["D.", "D..", "Dd", "D@ROMFS", "D@SYS"]);
    assert_eq!(first_page(FIVE, &files, "."), ["D.", "D..", "Dd", "Ff\t1"]);
    assert_eq!(first_page(CARD, &files, "/"), ["Dd", "Ff\t1", "D@ROMFS", "D@SYS"]);
}

#[test]
fn a_naive_client_believes_the_sizes_of_what_is_made_when_it_is_opened() {
    let files = MemoryFiles::new();
    assert_eq!(first_page(FIVE, &files, "@SYS"), first_page(FIVE, &files, "/@SYS/"));
    assert!(first_page(FIVE, &files, "@SYS").contains(&"Fuarts.txt\t100000".to_owned()));
    for (path, told, real) in [
        ("@SYS/uarts.txt", 100_000u32, 735),
        ("@PARAM/param.pck", 16_176, 14_871),
        ("@MISSION/mission.dat", 1 << 20, 48),
        ("@SYS/storage.bin", 16_384, 16_384),
    ] {
        let mut naive = Naive::new(FIVE.far(files.clone(), 1));
        let size = naive.on(Opcode::OpenFileRo, path);
        assert_eq!(size, Some(Ok(told.to_le_bytes().to_vec())), "{path}");
        naive.on(Opcode::TerminateSession, "");
        assert_eq!(naive.download(path).map(|bytes| bytes.len()), Ok(real), "{path}");
    }
    let mut naive = Naive::new(FIVE.far(files, 1));
    assert_eq!(naive.on(Opcode::OpenFileRo, "@SYS/threads.txt"), Some(Err(Nak::FileNotFound)));
    assert_eq!(naive.on(Opcode::ListDirectory, "@PARAM"), Some(Err(Nak::FileNotFound)));
}

#[test]
fn a_naive_client_that_clamps_its_last_read_of_the_parameters_is_refused() {
    let files = MemoryFiles::new();
    let mut naive = Naive::new(FIVE.far(files, 1));
    naive.on(Opcode::OpenFileRo, "@PARAM/param.pck");
    let read = |offset, size| Payload { offset, size, ..Payload::request(Opcode::ReadFile) };
    assert!(matches!(naive.ask(read(0, 239)), Some((_, Ok(_)))));
    let refused = naive.ask(read(239, 100)).map(|(_, result)| result);
    assert_eq!(refused, Some(Err(Nak::FailErrno(EINVAL))));
}

#[test]
fn what_is_made_when_it_is_opened_is_read_to_its_real_end() {
    for faults in [Faults::NONE, Faults::BAD] {
        let mut world = FIVE.world(1, faults);
        for (path, real) in
            [("@SYS/uarts.txt", 735), ("@PARAM/param.pck", 14_871), ("@MISSION/mission.dat", 48)]
        {
            let id = world.read(path, 0, u32::MAX);
            let result = world.finish(id);
            assert!(result.is_ok(), "{path}: {result:?}");
            assert_eq!(world.outcomes[&id].joined(0).len(), real, "{path}");
        }
        world.check_quiet();
    }
}

#[test]
fn a_naive_client_loses_all_behind_a_name_that_is_too_long() {
    for kind in [FIVE, Kind::Mavsdk(Release::Four)] {
        let files = MemoryFiles::new();
        files.insert("/d/a", b"x");
        files.insert(&format!("d/b{}", "x".repeat(235)), b"x");
        files.insert("/d/c", b"x");
        let mut far = kind.far(files.clone(), 1);
        let page = first_page(kind, &files, "/d");
        assert_eq!(page.last(), Some(&"Fa\t1".to_owned()), "{kind:?}");
        far.restart();
        let offset = page.len() as u32;
        let next = Payload { offset, ..Payload::request(Opcode::ListDirectory) };
        let end = Naive::new(far).ask(next.with_data(b"/d")).map(|(_, result)| result);
        assert_eq!(end, Some(Err(Nak::Eof)), "{kind:?}");
        let mut world = kind.world(1, Faults::NONE);
        for path in files.paths().iter().map(|path| String::from_utf8_lossy(path).into_owned()) {
            if files.content(&path).is_some() {
                world.files.insert(&path, b"x");
            }
        }
        assert_eq!(list(&mut world, "/d")[0], "a", "what comes before is there");
    }
}

#[test]
fn a_name_with_a_tab_is_listed_by_everyone() {
    for kind in super::ALL {
        let mut world = kind.world(1, Faults::NONE);
        world.files.insert("/d/tab\there", b"12345");
        world.files.insert("/d/z", b"x");
        assert_eq!(list(&mut world, "/d"), ["tab\there", "z"], "{kind:?}");
    }
}

#[test]
fn a_naive_client_finds_the_logs_of_px4_main_without_a_slash_only() {
    let files = MemoryFiles::new();
    files.insert("/log/f", b"x");
    let main = Kind::Px4(Firmware::Main);
    assert_eq!(first_page(main, &files, "@MAV_LOG"), ["S", "S", "Ff\t1"]);
    assert_eq!(first_page(main, &files, "/@MAV_LOG"), Vec::<String>::new());
    assert_eq!(first_page(Kind::Px4(Firmware::Release), &files, "@MAV_LOG"), Vec::<String>::new());
}

#[test]
fn a_naive_client_gets_an_empty_page_for_ever_for_a_name_that_px4_cannot_send() {
    let files = MemoryFiles::new();
    files.insert(&"n".repeat(236), b"x");
    let list = Payload { offset: 2, ..Payload::request(Opcode::ListDirectory) };
    let mut naive = Naive::new(Kind::Px4(Firmware::Release).far(files, 1));
    for _ in 0..3 {
        let page = naive.ask(list.with_data(b"/")).map(|(_, result)| result);
        assert_eq!(page, Some(Ok(Vec::new())));
    }
}

#[test]
fn parameters_are_read_in_any_ranges() {
    let whole: Vec<u8> = (0..14_871u32).map(|at| at as u8).collect();
    let mut world = FIVE.world(1, Faults::NONE);
    for (offset, length) in [(0, 100), (100, 1000), (14_800, 200), (7, 478), (0, 14_871)] {
        let id = world.read("@PARAM/param.pck", offset, length);
        let result = world.finish(id);
        assert!(result.is_ok(), "{offset} {length}: {result:?}");
        let (start, end) = (offset as usize, whole.len().min((offset + length) as usize));
        assert_eq!(world.outcomes[&id].joined(offset), whole[start..end], "{offset} {length}");
    }
    world.check_quiet();
}
