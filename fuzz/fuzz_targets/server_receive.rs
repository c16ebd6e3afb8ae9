//! Anything at all for the FTP server, as its driver would hand it over: payloads of several
//! clients, time that passes, radios that speak. Nothing panics, every answer can be sent, what is
//! open is bounded, and afterwards an honest client is served.
//!
//! Only the codec and the server are compiled, from the project's own files: with the sanitizers the
//! whole project would take many times as long to build, and nothing else of it takes part.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../src/mavftp"]
mod mavftp {
    pub mod server;
    pub mod wire;
}

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use mavftp::server::{MemoryFiles, Options, Server, ServerOutput};
use mavftp::wire::{DATA_BYTES_MAX, Opcode, PAYLOAD_BYTES, Payload};

/// More clients than there are places for.
const CLIENTS: u8 = 80;
const HONEST: u8 = 255;
/// What the tree may hold: memory is not sparse.
const SPACE: u64 = 1 << 20;
/// Packets taken between two requests; a burst goes on beside them.
const POLLS: u32 = 40;
/// A first session for each of 64 clients, and 128 more.
const SESSIONS_MAX: usize = 192;
/// First byte of a step, modulo 8: these are not payloads.
const WAITS: u8 = 6;
const RADIO: u8 = 7;

fuzz_target!(|data: &[u8]| {
    let files = tree();
    let (mut server, mut now) = (Server::with_options(files.clone(), 1, options(data)), start());
    let mut rest = data;
    while let [kind, client, length, following @ ..] = rest {
        rest = following;
        match kind % 8 {
            WAITS => now += Duration::from_millis(u64::from(*length) * 20),
            RADIO => server.radio(now, *length),
            _ => {
                let length = usize::from(*length).min(rest.len()).min(PAYLOAD_BYTES);
                let (payload, following) = rest.split_at(length);
                rest = following;
                if let Ok(request) = Payload::decode(payload) {
                    server.receive(now, client % CLIENTS, &request);
                }
            }
        }
        drain(&mut server, now, POLLS);
        assert!(server.open_sessions() <= SESSIONS_MAX);
    }
    for path in files.paths() {
        assert!(!path.split(|byte| *byte == b'/').any(|name| matches!(name, b"" | b"." | b"..")));
    }
    is_served(&mut server, now + Duration::from_secs(60));
});

fn start() -> Instant {
    Instant::now()
}

fn options(data: &[u8]) -> Options {
    Options { max_rate: data.first().map(|byte| 1000 * u32::from(*byte)).filter(|rate| *rate > 0) }
}

fn tree() -> MemoryFiles {
    let files = MemoryFiles::new();
    files.insert("/a", &[7; 1000]);
    files.insert("/d/b", b"b");
    files.insert("/d/tab\there", b"");
    for index in 0..30 {
        files.insert(&format!("/logs/{index}.bin"), &[index; 100]);
    }
    files.set_space(Some(SPACE));
    files
}

/// Takes what the server has to say, at most so much; answers to the honest client.
fn drain(server: &mut Server<u8, MemoryFiles>, now: Instant, polls: u32) -> Vec<Payload> {
    let mut heard = Vec::new();
    for _ in 0..polls {
        match server.poll(now) {
            ServerOutput::Send(to, packet) => {
                assert!(usize::from(packet.size) <= DATA_BYTES_MAX);
                assert!(matches!(packet.command(), Some(Opcode::Ack | Opcode::Nak)));
                assert_eq!(Payload::decode(&packet.encode()).map(|it| it.size), Ok(packet.size));
                heard.extend((to == HONEST).then_some(packet));
            }
            ServerOutput::Wait(Some(time)) if time <= now => {}
            ServerOutput::Wait(_) => break,
        }
    }
    heard
}

/// After all that a client that asks a simple question has its answer.
fn is_served(server: &mut Server<u8, MemoryFiles>, now: Instant) {
    let request = Payload { sequence: 77, ..Payload::request(Opcode::ListDirectory) };
    server.receive(now, HONEST, &request.with_data(b"/"));
    let answers = drain(server, now, 10_000);
    assert!(answers.iter().any(|answer| answer.sequence == 78), "no answer");
}
