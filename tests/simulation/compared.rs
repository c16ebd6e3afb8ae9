//! The scripted personalities against what the real servers answered, field by field.
//!
//! The first tree is the recordings' own, and the recordings are the truth. Nothing is left out but
//! what [`chance`] names.

use std::collections::{BTreeMap, BTreeSet};

use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Opcode, Payload, parse_entries};

use crate::personalities::FarSide;
use crate::personalities::ardupilot::Sessions;
use crate::personalities::disk::Disk;
use crate::personalities::mavsdk::Release;
use crate::personalities::px4::Firmware;
use crate::vehicles::Kind;
use recording::Flight;
use replay::Seen;

mod grown;
mod recording;
mod replay;
mod tree;
mod wrong;

/// Each recording and who must answer alike.
const PAIRS: [(&str, Kind); 5] = [
    ("px4-v1.16.1", Kind::Px4(Firmware::Release)),
    ("px4-main", Kind::Px4(Firmware::Main)),
    ("ardupilot-multi", Kind::ArduPilot(Sessions::Five)),
    ("ardupilot-single", Kind::ArduPilot(Sessions::One)),
    ("mavsdk-4.1", Kind::Mavsdk(Release::Four)),
];

/// Every step that is compared, of any server.
pub fn steps() -> BTreeSet<String> {
    let flights = PAIRS.iter().flat_map(|(server, _)| recording::read(server));
    flights.map(|flight| flight.step).collect()
}

/// Byte `at` of the numbered files (tests/recordings/README.md).
fn content(size: u32) -> Vec<u8> {
    (0..size).map(|at| ((7 * at + at / 239) % 256) as u8).collect()
}

/// The prepared directory, and around it what the server had of its own.
fn prepared(server: &str, flights: &[Flight]) -> Disk {
    let files = MemoryFiles::new();
    files.set_time(time_of(flights));
    for (name, size) in [("f0", 0), ("f239", 239), ("f478", 478), ("f5000", 5000)] {
        files.insert(&format!("/t/{name}"), &content(size));
    }
    for log in 0..40 {
        let bytes = content(log * 1000);
        files.insert(&format!("/t/log_{log:03}_2026-11-20.bin"), &bytes);
    }
    for name in ["tab\there", "ünï", &"n".repeat(200)] {
        files.insert(&format!("/t/{name}"), b"x");
    }
    files.insert("/t/link", &content(239));
    files.insert_directory("/t/empty.d");
    let mut disk = Disk::from(files);
    disk.links.insert(b"t/link".to_vec());
    // All five were recorded on one disk; only ArduPilot tells where `.` and `..` stand.
    let names = listed(&recording::read("ardupilot-multi"), "list: the prepared directory");
    disk.order = names.iter().map(|name| [b"t/", &name[..]].concat()).collect();
    surround(server, flights, &mut disk);
    disk
}

/// When the files were made, as a server that says so saw it.
fn time_of(flights: &[Flight]) -> Option<i64> {
    let timed = flights.iter().find(|flight| flight.step.starts_with("list with time"))?;
    let page = parse_entries(timed.answers[0].data(), true);
    page.entries.first().and_then(|entry| entry.mtime)
}

/// Names in the order in which a step's pages have them.
fn listed(flights: &[Flight], step: &str) -> Vec<Vec<u8>> {
    let pages = flights.iter().filter(|flight| flight.step.starts_with(step));
    let entries = pages.flat_map(|flight| parse_raw(&flight.answers[0]));
    entries.map(|(name, _)| name).collect()
}

/// Names with sizes, the directory itself and its parent among them; a name that was kept back is
/// empty.
fn parse_raw(page: &Payload) -> Vec<(Vec<u8>, Option<u64>)> {
    let texts = page.data().split(|&byte| byte == 0).filter(|text| !text.is_empty());
    let entry = |text: &[u8]| {
        let tab = text.iter().rposition(|&byte| byte == b'\t').unwrap_or(text.len());
        let size = String::from_utf8_lossy(&text[(tab + 1).min(text.len())..]).parse().ok();
        (text[1..tab].to_vec(), size)
    };
    texts.map(entry).collect()
}

/// What else the server's root held, if it can be reached from below: the recording shows a page.
fn surround(server: &str, flights: &[Flight], disk: &mut Disk) {
    let step = flights.iter().find(|flight| flight.step == "path with ..");
    let Some(page) = step.map(|flight| flight.answers[0]) else { panic!("{server}: no such step") };
    if page.answer() != Some(Ok(())) {
        return;
    }
    let mut hidden = [&b"."[..], b"..", b"etc", b"test_data"].into_iter();
    for (name, size) in parse_raw(&page) {
        let name = match name.is_empty() {
            true => hidden.next().expect("a name for what was kept back").to_vec(),
            false => name,
        };
        let path = String::from_utf8_lossy(&name).into_owned();
        match size {
            Some(size) => disk.insert(&path, &vec![0; size as usize]),
            None if path == "." || path == ".." || path == "t" => {}
            None => disk.insert_directory(&path),
        }
        if path == "etc" || path == "test_data" {
            disk.links.insert(name.clone());
        }
        disk.order.push(name);
    }
}

/// What of an answer is chance and no rule, made alike.
fn chance(kind: Kind, mut seen: Seen) -> Seen {
    // PX4 1.16 does not set this byte when it refuses: it is what lay on the stack.
    if kind == Kind::Px4(Firmware::Release) && seen.ends_burst() {
        seen.burst_complete = 0;
    }
    seen
}

/// Where the personality and the recording differ: by step, how often, and the first time.
fn differences(server: &str, kind: Kind, far: &mut dyn FarSide) -> BTreeMap<String, (u32, String)> {
    let flights = recording::read(server);
    let mut differences = BTreeMap::new();
    for (flight, answers) in flights.iter().zip(replay::play(&flights, far)) {
        let alike = |answers: &[Payload]| -> Vec<Seen> {
            answers.iter().map(|answer| chance(kind, Seen::of(answer))).collect()
        };
        let (expected, got) = (alike(&flight.answers), alike(&answers));
        if expected != got {
            let opcodes: Vec<Option<Opcode>> =
                flight.requests.iter().map(|(_, request)| request.command()).collect();
            let same = expected.iter().zip(&got).take_while(|(one, other)| one == other).count();
            let first = |of: &[Seen]| format!("{} answers, {:?}", of.len(), of.get(same));
            let told = format!(
                "{opcodes:?}, answer {same}\n  recorded {}\n  answered {}",
                first(&expected),
                first(&got)
            );
            differences.entry(flight.step.clone()).or_insert((0, told)).0 += 1;
        }
    }
    differences
}

fn check(server: &str, kind: Kind) {
    let mut far = kind.far(prepared(server, &recording::read(server)), 1);
    let differences = differences(server, kind, far.as_mut());
    let told: Vec<String> = differences
        .iter()
        .map(|(step, (count, first))| format!("{server}: {step}: {count} times, first {first}"))
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn px4_release_answers_as_recorded() {
    check(PAIRS[0].0, PAIRS[0].1);
}

#[test]
fn px4_main_answers_as_recorded() {
    check(PAIRS[1].0, PAIRS[1].1);
}

#[test]
fn ardupilot_with_five_sessions_answers_as_recorded() {
    check(PAIRS[2].0, PAIRS[2].1);
}

#[test]
fn ardupilot_with_one_session_answers_as_recorded() {
    check(PAIRS[3].0, PAIRS[3].1);
}

#[test]
fn mavsdk_answers_as_recorded() {
    check(PAIRS[4].0, PAIRS[4].1);
}
