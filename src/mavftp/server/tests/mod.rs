//! What the server promises, one sentence each, over a tree in memory and a clock that is told.

mod bursts;
mod duplicates;
mod fairness;
mod hostile;
mod operations;
mod retries;
mod sessions;
mod wire;

use std::time::{Duration, Instant};

use super::*;
use crate::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

/// A server, its files and a clock.
struct Desk {
    files: MemoryFiles,
    server: Server<u8, MemoryFiles>,
    now: Instant,
    sequence: u16,
}

impl Desk {
    fn new() -> Desk {
        Desk::with_rate(None)
    }

    fn with_rate(max_rate: Option<u32>) -> Desk {
        let files = MemoryFiles::new();
        let server = Server::with_options(files.clone(), 1, Options { max_rate });
        Desk { files, server, now: Instant::now(), sequence: 100 }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// All that the server has to say, to whom, until it waits for a request.
    fn drain(&mut self) -> Vec<(u8, Payload)> {
        let mut sent = Vec::new();
        loop {
            match self.server.poll(self.now) {
                ServerOutput::Send(to, packet) => sent.push((to, packet)),
                ServerOutput::Wait(Some(time)) => self.now = self.now.max(time),
                ServerOutput::Wait(None) => return sent,
            }
        }
    }

    fn send(&mut self, from: u8, request: &Payload) {
        self.server.receive(self.now, from, request);
    }

    /// Sends a request with the next number; its only answer.
    fn ask(&mut self, from: u8, request: Payload) -> Payload {
        self.sequence = self.sequence.wrapping_add(1);
        let request = Payload { sequence: self.sequence, ..request };
        self.ask_again(from, &request)
    }

    fn ask_again(&mut self, from: u8, request: &Payload) -> Payload {
        self.send(from, request);
        let answers = self.drain();
        assert_eq!(answers.len(), 1, "{answers:?}");
        let (to, answer) = answers[0];
        assert_eq!(to, from);
        assert_eq!(answer.sequence, request.sequence.wrapping_add(1));
        assert_eq!(answer.req_opcode, request.opcode);
        answer
    }

    fn ask_path(&mut self, opcode: Opcode, path: &str) -> Payload {
        self.ask(1, Payload::request(opcode).with_data(path.as_bytes()))
    }

    /// Opens a file as client 1; its session.
    fn open(&mut self, path: &str) -> u8 {
        let answer = self.ask_path(Opcode::OpenFileRo, path);
        assert_eq!(answer.answer(), Some(Ok(())), "{path}");
        answer.session
    }

    fn read(&mut self, from: u8, session: u8, offset: u32, size: u8) -> Payload {
        self.ask(from, Payload { session, offset, size, ..Payload::request(Opcode::ReadFile) })
    }
}

/// A request with a path in it.
fn with_path(opcode: Opcode, session: u8, path: &str) -> Payload {
    Payload { session, ..Payload::request(opcode) }.with_data(path.as_bytes())
}

fn refused(answer: Payload) -> Nak {
    match answer.answer() {
        Some(Err(nak)) => nak,
        other => panic!("{other:?} is no refusal"),
    }
}

fn accepted(answer: Payload) -> Payload {
    assert_eq!(answer.answer(), Some(Ok(())), "{answer:?}");
    answer
}

/// Bytes that tell their place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (7 * at + at / 239) as u8).collect()
}
