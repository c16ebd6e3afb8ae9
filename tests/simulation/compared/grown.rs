//! The same scenario on trees grown from seeds. There the truth is the tree; and for what is refused,
//! for offsets, and for how a burst ends, the recording of the same request on the first tree.

use std::collections::BTreeSet;

use mavftp_mount::mavftp::wire::{Checksum, DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::recording::{self, Flight};
use super::replay::Seen;
use super::tree::{Grown, TIME, grow};
use super::{PAIRS, chance};
use crate::for_seeds;
use crate::personalities::naive::Naive;
use crate::personalities::px4::Firmware;
use crate::vehicles::Kind;

const SEEDS: std::ops::Range<u64> = 0..8;
/// Request number `at` of a step, with what was answered.
fn recorded<'a>(
    flights: &'a [Flight],
    step: &str,
    at: usize,
) -> Option<(&'a Payload, Answers<'a>)> {
    let of_step = flights.iter().filter(|flight| flight.step.starts_with(step));
    of_step
        .flat_map(|flight| {
            let answers = &flight.answers[..];
            flight.requests.iter().map(move |(_, request)| (request, answers))
        })
        .nth(at)
}

type Answers<'a> = &'a [Payload];

/// What came of a request: `None`: no answer.
type Outcome = Option<Result<(), Nak>>;

fn outcome(answers: &[Payload]) -> Outcome {
    answers.first().and_then(Payload::answer)
}

/// A station at a personality on a grown tree, with the recording of the real one at hand.
struct Station {
    naive: Naive,
    kind: Kind,
    flights: Vec<Flight>,
    grown: Grown,
}

impl Station {
    fn new(server: &str, kind: Kind, seed: u64) -> Station {
        let grown = grow(seed);
        let naive = Naive::new(kind.far(grown.disk.clone(), seed));
        Station { naive, kind, flights: recording::read(server), grown }
    }

    /// Asks, and holds the answer's offset against the rule of the recording for such answers.
    fn ask(&mut self, request: Payload) -> Option<Result<Vec<u8>, Nak>> {
        let (answer, result) = self.naive.ask(request)?;
        assert_eq!((answer.req_opcode, answer.session), (request.opcode, 0));
        let of_kind = |flight: &&Flight| {
            let asked = &flight.requests[0].1;
            let answers = &flight.answers;
            asked.opcode == request.opcode
                && asked.offset != 0
                && answers.len() == 1
                && answers[0].answer().map(|it| it.err()) == Some(result.clone().err())
        };
        if let Some(flight) = self.flights.iter().find(of_kind) {
            let echoes = flight.answers[0].offset == flight.requests[0].1.offset;
            let expected = if echoes { request.offset } else { 0 };
            assert_eq!(answer.offset, expected, "{:?} {request:?}", self.kind);
        }
        Some(result)
    }

    fn on(&mut self, opcode: Opcode, path: &str) -> Option<Result<Vec<u8>, Nak>> {
        self.ask(Payload::request(opcode).with_data(path.as_bytes()))
    }

    /// Asks for something on a path; what comes of it must be what the recording has for this
    /// request of this step.
    fn like(&mut self, step: &str, at: usize, path: &str) -> Outcome {
        let Some((asked, answers)) = recorded(&self.flights, step, at) else {
            panic!("{:?}: request {at} of {step} was not recorded", self.kind);
        };
        let expected = outcome(answers);
        let request = Payload { sequence: 0, ..*asked }.with_data(path.as_bytes());
        let got = self.ask(request).map(|result| result.map(drop));
        assert_eq!(got, expected, "{:?}: {step}, request {at}, on {path:?}", self.kind);
        got
    }

    fn close(&mut self) {
        let _ = self.ask(Payload::request(Opcode::TerminateSession));
    }

    /// All of a directory, by pages, as it is sent.
    fn list(&mut self, opcode: Opcode, path: &str) -> Result<Vec<Vec<u8>>, Nak> {
        let mut texts: Vec<Vec<u8>> = Vec::new();
        loop {
            let offset = texts.len() as u32;
            let request = Payload { offset, ..Payload::request(opcode) };
            match self.ask(request.with_data(path.as_bytes())).expect("an answer") {
                Ok(data) => {
                    let parts = data.split(|&byte| byte == 0).filter(|text| !text.is_empty());
                    texts.extend(parts.map(<[u8]>::to_vec));
                }
                Err(Nak::Eof) => return Ok(texts),
                Err(nak) => return Err(nak),
            }
        }
    }

    fn read(&mut self, path: &str, bytes: &[u8]) {
        let size = self.on(Opcode::OpenFileRo, path).expect("an answer");
        assert_eq!(size, Ok((bytes.len() as u32).to_le_bytes().to_vec()), "{path:?}");
        let mut read = Vec::new();
        while read.len() < bytes.len() {
            // MAVSDK's server must not be asked for more than there is.
            let size = (bytes.len() - read.len()).min(239) as u8;
            let offset = read.len() as u32;
            let request = Payload { offset, size, ..Payload::request(Opcode::ReadFile) };
            let data = self.ask(request).expect("an answer").expect("bytes");
            assert!(!data.is_empty());
            read.extend(data);
        }
        assert_eq!(read, bytes, "{path:?}");
        let step = "open for reading, read 239, short tail, at end";
        let (_, answers) = recorded(&self.flights, step, 4).expect("a read at the end");
        let expected = outcome(answers);
        let offset = bytes.len() as u32;
        let request = Payload { offset, size: 239, ..Payload::request(Opcode::ReadFile) };
        assert_eq!(self.ask(request).map(|result| result.map(drop)), expected, "{path:?}");
        self.close();
    }
}

fn everywhere(test: impl Fn(&mut Station)) {
    for (server, kind) in PAIRS {
        for_seeds(SEEDS, |seed| test(&mut Station::new(server, kind, seed)));
    }
}

/// What a directory's listing must hold, in the server's manner; what is kept back is left out.
fn expected(station: &Station, directory: &str, timed: Option<&str>) -> BTreeSet<Vec<u8>> {
    let below = |path: &str| {
        let name = path.strip_prefix(directory)?.strip_prefix('/')?;
        (!name.contains('/')).then(|| name.to_owned())
    };
    let grown = &station.grown;
    let time = timed.map_or(String::new(), |_| format!("\t{TIME}"));
    let mut texts = BTreeSet::new();
    let linked = grown.disk.content(&grown.link).map_or(0, |bytes| bytes.len());
    let hides_links = matches!(station.kind, Kind::Px4(_));
    let link = (!hides_links).then_some((&grown.link, linked));
    let files = grown.files.iter().map(|(path, bytes)| (path, bytes.len())).chain(link);
    texts.extend(files.filter_map(|(path, size)| {
        below(path).map(|name| format!("F{name}\t{size}{time}").into_bytes())
    }));
    let behind = timed.unwrap_or("");
    texts.extend(
        grown
            .directories
            .iter()
            .filter_map(|path| below(path).map(|name| format!("D{name}{behind}").into_bytes())),
    );
    texts
}

/// What follows a directory's name in a server's listing with times, if it has one.
fn behind_a_directory(flights: &[Flight]) -> Option<String> {
    let pages = flights.iter().filter(|flight| flight.step.starts_with("list with time"));
    let mut texts = pages.flat_map(|page| page.answers[0].data().split(|&byte| byte == 0));
    let found = texts.find(|text| text.starts_with(b"Dempty.d"))?;
    Some(if found == b"Dempty.d" { String::new() } else { format!("\t0\t{TIME}") })
}

#[test]
fn listings_hold_the_whole_tree_and_nothing_else() {
    everywhere(|station| {
        let behind = behind_a_directory(&station.flights);
        let styles =
            [(Opcode::ListDirectory, None), (Opcode::ListDirectoryWithTime, behind.as_deref())];
        for directory in station.grown.directories.clone() {
            for (opcode, timed) in styles {
                let listed = station.list(opcode, &directory);
                if opcode == Opcode::ListDirectoryWithTime && timed.is_none() {
                    station.like("list with time", 0, &directory);
                    continue;
                }
                let mut texts = listed.expect("a listing");
                let count = texts.len();
                texts.retain(|text| !matches!(&text[..], b"S" | b"D." | b"D.."));
                let set: BTreeSet<Vec<u8>> = texts.iter().cloned().collect();
                assert_eq!(set.len(), texts.len(), "nothing twice");
                assert_eq!(set, expected(station, &directory, timed), "{directory:?}");
                let own = if matches!(station.kind, Kind::Mavsdk(_)) { 0 } else { 2 };
                assert!(count >= texts.len() + own, "the directory itself and its parent");
            }
        }
    });
}

#[test]
fn reads_and_checksums_are_of_the_files_bytes() {
    everywhere(|station| {
        for (path, bytes) in station.grown.files.clone() {
            station.read(&path, &bytes);
            let sum = station.on(Opcode::CalcFileCrc32, &path);
            assert_eq!(sum, Some(Ok(Checksum::of(&bytes).to_le_bytes().to_vec())));
        }
    });
}

#[test]
fn the_same_mistakes_are_refused_in_the_same_way() {
    everywhere(|station| {
        let grown = &station.grown;
        let (file, _) = grown.files[0].clone();
        let (above, _) = file.rsplit_once('/').expect("a path");
        let (above, empty) = (above.to_owned(), grown.empty.clone());
        let missing = format!("{above}/missing");
        let made = format!("{above}/made");
        station.like("list: empty directory", 0, &empty);
        // It would end MAVSDK's server.
        if !matches!(station.kind, Kind::Mavsdk(_)) {
            station.like("list: a file", 0, &file);
        }
        station.like("list: missing", 0, &missing);
        station.like("read without a session", 0, "");
        station.like("open missing", 0, &missing);
        station.like("open a directory", 0, &empty);
        station.close();
        station.like("truncate to 100", 0, &file);
        let step = "mkdir, mkdir again, rmdir non-empty, rmdir, rmdir again";
        station.like(step, 0, &made);
        station.like(step, 1, &made);
        station.like(step, 2, &format!("{made}/x"));
        station.close();
        station.like(step, 4, &made);
        station.like(step, 5, &format!("{made}/x"));
        station.like(step, 6, &made);
        station.like(step, 7, &made);
        let step = "rename, onto existing, missing source";
        station.like(step, 4, &format!("{missing}\0{made}"));
        let step = "remove, remove again, remove a directory";
        station.like(step, 0, &file);
        station.like(step, 1, &file);
        station.like(step, 2, &empty);
        station.like("unknown opcode", 0, "");
        let there = station.grown.disk.content(&file).is_some();
        assert!(!there, "removed");
    });
}

#[test]
fn what_is_written_is_there_and_a_rename_replaces_it() {
    everywhere(|station| {
        let directory = station.grown.directories[0].clone();
        let (new, other) = (format!("{directory}/new"), format!("{directory}/new2"));
        let step = "create, write 3 blocks in flight, terminate, read size back";
        station.like(step, 0, &new);
        for (at, block) in [[1u8; 239], [2; 239], [3; 239]].iter().enumerate() {
            let offset = at as u32 * 239;
            let request = Payload { offset, ..Payload::request(Opcode::WriteFile) };
            let written = station.ask(request.with_data(block)).expect("an answer");
            let tells = matches!(station.kind, Kind::Px4(_));
            assert_eq!(written, Ok(if tells { vec![239, 0, 0, 0] } else { Vec::new() }));
        }
        station.close();
        let whole = [[1u8; 239], [2; 239], [3; 239]].concat();
        assert_eq!(station.grown.disk.content(&new), Some(whole.clone()));
        let step = "open for writing (does it truncate?)";
        station.like(step, 0, &new);
        station.close();
        let (_, answers) = recorded(&station.flights, step, 3).expect("a size");
        // Three bytes written at 10 made 13 of an emptied file.
        let emptied = answers[0].data_u32() == Some(13);
        let left = if emptied { Vec::new() } else { whole };
        assert_eq!(station.grown.disk.content(&new), Some(left.clone()));
        let step = "rename, onto existing, missing source";
        station.like(step, 0, &format!("{new}\0{other}"));
        station.like(step, 1, &new);
        station.close();
        station.like(step, 3, &format!("{other}\0{new}"));
        assert_eq!(station.grown.disk.content(&new), Some(left));
        assert_eq!(station.grown.disk.content(&other), None);
    });
}

#[test]
fn a_path_that_climbs_leads_where_it_led_or_nowhere() {
    everywhere(|station| {
        let directory = station.grown.directories[0].clone();
        let climbing = format!("{}/../", station.grown.empty);
        let allowed = station.like("path with ..", 0, &climbing) == Some(Ok(()));
        if allowed {
            let direct = station.list(Opcode::ListDirectory, &directory);
            assert_eq!(station.list(Opcode::ListDirectory, &climbing), direct);
        }
    });
}

#[test]
#[should_panic(expected = "list with time")]
fn a_personality_that_keeps_anothers_rules_is_found_out() {
    let mut station = Station::new("px4-main", Kind::Px4(Firmware::Release), 1);
    station.like("list with time", 0, "/");
}

/// How a burst from the start to the end of a file ends.
#[derive(Debug, PartialEq)]
struct BurstEnd {
    /// Of the last packet with data: is it marked?
    marked: Option<bool>,
    /// Of the refusal behind it: is it marked, and does it name the file's size or the last packet?
    refusal: Option<(bool, bool)>,
}

/// Checks that a burst brings a file's bytes in order, and tells how it ends.
fn burst_end(kind: Kind, packets: &[Payload], asked: u16, bytes: &[u8]) -> BurstEnd {
    let mut at = 0;
    let (mut marked, mut refusal, mut last) = (None, None, 0);
    for (count, packet) in packets.iter().enumerate() {
        assert_eq!(packet.sequence, asked.wrapping_add(1 + count as u16));
        assert_eq!(packet.req_opcode, Opcode::BurstReadFile as u8);
        assert_eq!(refusal, None, "nothing comes behind the end");
        let is_marked = chance(kind, Seen::of(packet)).burst_complete != 0;
        if packet.answer() == Some(Err(Nak::Eof)) {
            assert!(packet.offset as usize == bytes.len() || packet.offset as usize == last);
            refusal = Some((is_marked, packet.offset as usize == bytes.len()));
        } else {
            assert_eq!(packet.offset as usize, at);
            assert_eq!(packet.data(), &bytes[at..(at + DATA_BYTES_MAX).min(bytes.len())]);
            (last, at) = (at, at + packet.data().len());
            marked = Some(is_marked);
        }
    }
    assert_eq!(at, bytes.len());
    BurstEnd { marked, refusal }
}

#[test]
fn bursts_bring_the_files_bytes_and_end_as_recorded() {
    everywhere(|station| {
        for (path, bytes) in station.grown.files.clone() {
            // A file of the first tree that ends as this one does: with nothing, a whole packet, or
            // a part of one.
            let (step, of) = match bytes.len() {
                0 => ("burst f0", 0),
                size if size % 239 == 0 => ("burst f478", 478),
                _ => ("burst f5000", 5000),
            };
            let (request, answers) = recorded(&station.flights, step, 1).expect("a burst");
            let recorded = burst_end(station.kind, answers, request.sequence, &super::content(of));
            assert!(matches!(station.on(Opcode::OpenFileRo, &path), Some(Ok(_))));
            let heard = station.naive.burst(0, 239);
            let packets: Vec<Payload> = heard.into_iter().map(|(_, packet)| packet).collect();
            let asked = packets[0].sequence.wrapping_sub(1);
            let end = burst_end(station.kind, &packets, asked, &bytes);
            assert_eq!(end, recorded, "{:?}: {path:?}, {}", station.kind, bytes.len());
            // The numbers of the packets are used up.
            for _ in 0..=packets.len() {
                station.naive.ask(Payload::request(Opcode::ResetSessions));
            }
        }
    });
}
