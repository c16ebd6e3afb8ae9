//! What a real server answered, with its times: tests/recordings, read for a replay.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mavftp_mount::mavftp::wire::Payload;

/// Requests sent without waiting between them, and all the answers that came before the next.
pub struct Flight {
    pub step: String,
    /// Each with its time since the recording began.
    pub requests: Vec<(Duration, Payload)>,
    pub answers: Vec<Payload>,
}

/// All of a server's recording.
pub fn read(server: &str) -> Vec<Flight> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recordings/{server}.txt"));
    let text =
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut step = String::new();
    let mut ended = true;
    let mut flights: Vec<Flight> = Vec::new();
    for line in text.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [">", time, hex] => {
                if ended {
                    let (requests, answers) = (Vec::new(), Vec::new());
                    flights.push(Flight { step: step.clone(), requests, answers });
                }
                ended = false;
                let time = Duration::from_secs_f64(time.parse::<f64>().expect("a time") / 1000.0);
                flights.last_mut().expect("a flight").requests.push((time, decode(hex)));
            }
            ["<", _, hex] => {
                ended = true;
                flights.last_mut().expect("a request").answers.push(decode(hex));
            }
            ["#", "(no", "answer)"] => ended = true,
            ["#", ..] => {
                ended = true;
                step = line.trim_start_matches("# ").to_owned();
            }
            _ => panic!("{server}: {line}"),
        }
    }
    flights
}

fn decode(hex: &str) -> Payload {
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    Payload::decode(&bytes).unwrap_or_else(|error| panic!("{hex}: {error}"))
}
