//! The simulated servers' bursts against what the real ones answered (tests/recordings).

use super::*;
use crate::personalities::US;
use crate::personalities::mavsdk::Release;

/// A request and the answers that followed it.
type Exchange = (Payload, Vec<Payload>);

/// All steps of a recording that burst.
fn recorded(server: &str) -> Vec<Exchange> {
    let file = format!("{}/tests/recordings/{server}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut bursts = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["#", "(no", ..] => {}
            ["#", first, ..] => bursts = first == "burst",
            [">", _, hex] if bursts => exchanges.push((decode(hex), Vec::new())),
            ["<", _, hex] if bursts => {
                exchanges.last_mut().expect("a request comes first").1.push(decode(hex));
            }
            _ => {}
        }
    }
    assert!(exchanges.len() > 10, "{server}: {} exchanges", exchanges.len());
    exchanges
}

fn decode(hex: &str) -> Payload {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    Payload::decode(&bytes).unwrap_or_else(|error| panic!("{hex}: {error}"))
}

/// What the files in `/t` held.
fn content(size: u32) -> Vec<u8> {
    (0..size).map(|at| ((7 * at + at / 239) % 256) as u8).collect()
}

/// What is compared; what `burst_complete` says only where it is by rule.
fn essence(answer: &Payload, with_flag: bool) -> (u16, [u8; 4], Option<u8>, u32, Vec<u8>) {
    let small = [answer.session, answer.opcode, answer.req_opcode, answer.size];
    let flag = with_flag.then_some(answer.burst_complete);
    (answer.sequence, small, flag, answer.offset, answer.data().to_vec())
}

#[test]
fn each_burst_is_the_recorded_one() {
    for (server, kind, with_flag) in [
        ("px4-main", Kind::Px4(Firmware::Main), true),
        ("px4-v1.16.1", Kind::Px4(Firmware::Release), false),
        ("ardupilot-multi", Kind::ArduPilot(Sessions::Five), true),
        // Recorded from the last one of its kind; those in the field never mark the last packet.
        ("ardupilot-single", Kind::ArduPilot(Sessions::One), false),
        ("mavsdk-4.1", Kind::Mavsdk(Release::Four), true),
    ] {
        let files = MemoryFiles::new();
        for size in [0, 239, 478, 5_000] {
            files.insert(&format!("/t/f{size}"), &content(size));
        }
        let mut naive = Naive::new(kind.far(files, 1));
        for (request, expected) in recorded(server) {
            naive.far.receive(naive.now, US, &request);
            let answers: Vec<Payload> = std::iter::from_fn(|| naive.hear()).collect();
            let ours: Vec<_> = answers.iter().map(|one| essence(one, with_flag)).collect();
            let theirs: Vec<_> = expected.iter().map(|one| essence(one, with_flag)).collect();
            assert_eq!(ours.len(), theirs.len(), "{server}: {request:?}");
            for (our, their) in ours.iter().zip(&theirs) {
                assert_eq!(our, their, "{server}: answer to {}", request.sequence);
            }
        }
    }
}
