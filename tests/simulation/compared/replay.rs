//! A recording's requests, sent to a personality at their times, and what it answers to each flight.

use std::fmt;
use std::time::{Duration, Instant};

use mavftp_mount::mavftp::wire::{Opcode, Payload};

use super::recording::Flight;
use crate::personalities::{FarSide, Said, US};

/// So much longer than the real server a personality may take over a flight: a slow worker's time
/// is chance.
const PATIENCE: Duration = Duration::from_secs(1);

/// What counts of an answer: everything but the bytes behind `size`.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    pub sequence: u16,
    pub session: u8,
    pub opcode: u8,
    pub req_opcode: u8,
    pub burst_complete: u8,
    pub offset: u32,
    pub data: Vec<u8>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { sequence, session, opcode, req_opcode, burst_complete, offset, data } = self;
        write!(
            out,
            "{sequence} of {session}: {opcode} to {req_opcode} ({burst_complete}) @{offset}"
        )?;
        write!(out, " {}x '{}'", data.len(), data.escape_ascii())
    }
}

impl Seen {
    pub fn of(answer: &Payload) -> Seen {
        Seen {
            sequence: answer.sequence,
            session: answer.session,
            opcode: answer.opcode,
            req_opcode: answer.req_opcode,
            burst_complete: answer.burst_complete,
            offset: answer.offset,
            data: answer.data().to_vec(),
        }
    }

    /// Whether it refuses to go on with a burst.
    pub fn ends_burst(&self) -> bool {
        self.req_opcode == Opcode::BurstReadFile as u8 && self.opcode == Opcode::Nak as u8
    }
}

/// A personality's clock and what it said since the last flight.
struct Stage<'a> {
    far: &'a mut dyn FarSide,
    now: Instant,
    heard: Vec<Payload>,
}

impl Stage<'_> {
    /// Lets time pass until `end`, or until so many answers have come.
    fn pass(&mut self, end: Instant, enough: usize) {
        while self.heard.len() < enough {
            match self.far.poll(self.now) {
                Said::To(US, answer) => self.heard.push(*answer),
                Said::To(..) => panic!("an answer to a station that asked nothing"),
                Said::Nothing(_) if self.now >= end => return,
                Said::Nothing(at) => self.now = at.unwrap_or(end).clamp(self.now, end),
            }
        }
    }
}

/// What the personality answers to each flight.
pub fn play(flights: &[Flight], far: &mut dyn FarSide) -> Vec<Vec<Payload>> {
    let start = Instant::now();
    let mut late = Duration::ZERO;
    let mut stage = Stage { far, now: start, heard: Vec::new() };
    let mut answers = Vec::new();
    for (at, flight) in flights.iter().enumerate() {
        for (time, request) in &flight.requests {
            stage.pass(start + *time + late, usize::MAX);
            stage.far.receive(stage.now, US, request);
        }
        let next = flights.get(at + 1).map(|flight| flight.requests[0].0);
        let last = flight.requests[flight.requests.len() - 1].0;
        let due = start + next.unwrap_or(last + PATIENCE) + late;
        stage.pass(due, usize::MAX);
        stage.pass(due + PATIENCE, flight.answers.len());
        late += stage.now - due;
        answers.push(std::mem::take(&mut stage.heard));
    }
    answers
}
