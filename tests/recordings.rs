//! The codec reads what real servers answered, byte by byte (tests/recordings).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mavftp_mount::mavftp::transfer::{ListJob, ListStep, Traffic};
use mavftp_mount::mavftp::wire::{Checksum, Nak, Opcode, Payload};

const SERVERS: [&str; 5] =
    ["ardupilot-multi", "ardupilot-single", "mavsdk-4.1", "px4-main", "px4-v1.16.1"];

/// One request and the answers that followed it.
struct Exchange {
    step: String,
    request: Payload,
    answers: Vec<Payload>,
}

fn read(server: &str) -> Vec<Exchange> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recordings/{server}.txt"));
    let text =
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut step = String::new();
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.nth(1)) {
            (Some(">"), Some(hex)) => {
                let request = decode(hex);
                exchanges.push(Exchange { step: step.clone(), request, answers: Vec::new() });
            }
            (Some("<"), Some(hex)) => {
                exchanges.last_mut().expect("an answer after a request").answers.push(decode(hex));
            }
            _ => step = line.trim_start_matches("# ").to_owned(),
        }
    }
    assert!(exchanges.len() > 60, "{server}: {} exchanges", exchanges.len());
    exchanges
}

fn decode(hex: &str) -> Payload {
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    Payload::decode(&bytes).unwrap_or_else(|error| panic!("{hex}: {error}"))
}

/// What the prepared file holds (tests/recordings/README.md).
fn content(size: u32) -> Vec<u8> {
    (0..size).map(|at| ((7 * at + at / 239) % 256) as u8).collect()
}

#[test]
fn every_answer_is_read_and_belongs_to_its_request() {
    for server in SERVERS {
        for exchange in read(server) {
            let request = &exchange.request;
            assert!(exchange.request.answer().is_none(), "{server}: {request:?}");
            for (count, answer) in exchange.answers.iter().enumerate() {
                assert!(answer.answer().is_some(), "{server}: {answer:?}");
                let in_flight = exchange.step.contains("in flight");
                let repeated = exchange.step.starts_with("repeat")
                    || exchange.step.starts_with("the same again")
                    || exchange.step.starts_with("another request");
                if !in_flight && !repeated {
                    let expected = request.sequence.wrapping_add(1 + count as u16);
                    assert_eq!(answer.sequence, expected, "{server}: {}", exchange.step);
                    assert_eq!(answer.req_opcode, request.opcode, "{server}: {}", exchange.step);
                }
            }
        }
    }
}

#[test]
fn every_request_is_written_as_it_was_sent() {
    for server in SERVERS {
        for exchange in read(server) {
            let request = exchange.request;
            assert_eq!(Payload::decode(&request.encode()), Ok(request), "{server}");
        }
    }
}

#[test]
fn every_servers_listing_is_understood() {
    for server in SERVERS {
        for step in ["list with time: the prepared directory", "list: the prepared directory"] {
            let pages = read(server).into_iter().filter(|exchange| exchange.step.starts_with(step));
            let with_time = step.contains("time");
            let mut job = ListJob::new(b"/t/".to_vec(), with_time);
            let mut names = BTreeSet::new();
            let mut ended = false;
            for exchange in pages {
                let [answer] = exchange.answers.as_slice() else { panic!("{server}: one answer") };
                let (offset, asked) = job.ask().expect("a page is asked for");
                assert_eq!(asked.offset, exchange.request.offset, "{server}: {step}");
                let result = answer.answer().expect("an answer");
                match job.answered(offset, result, answer, Traffic::Free) {
                    ListStep::Page(entries) => {
                        let timed = entries.iter().filter(|entry| !entry.directory);
                        assert!(!with_time || timed.clone().all(|entry| entry.mtime.is_some()));
                        names.extend(entries.into_iter().map(|entry| entry.name));
                    }
                    ListStep::Early => panic!("{server}: each page comes in its turn"),
                    ListStep::Done(_) => ended = true,
                    ListStep::WithoutTime => break,
                    ListStep::Failed(error) => panic!("{server}: {error}"),
                }
            }
            if ended {
                check_names(server, &names);
            } else {
                assert!(with_time, "{server}: the plain listing ends");
            }
        }
    }
}

fn check_names(server: &str, names: &BTreeSet<Vec<u8>>) {
    for log in 0..40 {
        let name = format!("log_{log:03}_2026-11-20.bin");
        assert!(names.contains(name.as_bytes()), "{server} lists {name}");
    }
    for name in ["f0", "f239", "f478", "f5000", "empty.d", "tab\there", "ünï"] {
        assert!(names.contains(name.as_bytes()), "{server} lists {name}");
    }
}

#[test]
fn data_is_what_the_file_holds_and_ends_where_it_ends() {
    let whole = content(5000);
    for server in SERVERS {
        let step = "open for reading, read 239, short tail, at end, past end, terminate";
        let mut opened = None;
        for exchange in read(server).iter().filter(|exchange| exchange.step == step) {
            let (request, answer) = (&exchange.request, &exchange.answers[0]);
            match (request.command(), answer.answer()) {
                (Some(Opcode::OpenFileRo), Some(Ok(()))) => opened = answer.data_u32(),
                (Some(Opcode::ReadFile), Some(Ok(()))) => {
                    let start = request.offset as usize;
                    assert_eq!(answer.offset, request.offset, "{server}");
                    assert_eq!(answer.data(), &whole[start..start + answer.data().len()]);
                }
                (Some(Opcode::ReadFile), Some(Err(nak))) => {
                    assert!(request.offset >= 5000, "{server}");
                    assert!(matches!(nak, Nak::Eof | Nak::Fail), "{server}: {nak:?}");
                }
                (other, _) => panic!("{server}: {other:?}"),
            }
        }
        assert_eq!(opened, Some(5000), "{server}");
    }
}

#[test]
fn checksums_agree_with_ours() {
    for server in SERVERS {
        let exchanges = read(server);
        let crc = exchanges.iter().find(|exchange| exchange.step == "crc32").expect("a checksum");
        assert_eq!(crc.answers[0].data_u32(), Some(Checksum::of(&content(5000))), "{server}");
    }
}
