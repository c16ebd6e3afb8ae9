//! A server with something wrong in what it hears or says, by rule: any other one, and two closures.

use std::collections::VecDeque;
use std::time::Instant;

use mavftp_mount::mavftp::wire::{Opcode, Payload};

use super::{FarSide, Said};

/// What becomes of a request.
pub enum Heard {
    /// The server gets it, perhaps changed.
    Pass(Payload),
    /// Nobody gets it.
    Lost,
    /// This is the answer, and the server hears nothing.
    Answered(Payload),
}

/// Answers of the server, and to whom, in place of one.
pub type Answers = Vec<(u8, Payload)>;

pub struct Bent {
    pub inner: Box<dyn FarSide>,
    pub hears: Box<dyn FnMut(&Payload) -> Heard>,
    pub says: Box<dyn FnMut(u8, Payload) -> Answers>,
    pub waiting: VecDeque<(u8, Payload)>,
}

impl FarSide for Bent {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload) {
        match (self.hears)(request) {
            Heard::Pass(request) => self.inner.receive(now, from, &request),
            Heard::Lost => {}
            Heard::Answered(answer) => self.waiting.push_back((from, answer)),
        }
    }

    fn poll(&mut self, now: Instant) -> Said {
        loop {
            if let Some((to, answer)) = self.waiting.pop_front() {
                return Said::To(to, Box::new(answer));
            }
            match self.inner.poll(now) {
                Said::To(to, answer) => self.waiting.extend((self.says)(to, *answer)),
                nothing @ Said::Nothing(_) => return nothing,
            }
        }
    }

    fn line(&mut self, waiting_bytes: u32) {
        self.inner.line(waiting_bytes);
    }

    fn link(&mut self, station: u8, there: bool) {
        self.inner.link(station, there);
    }

    fn open_files(&self, now: Instant) -> usize {
        self.inner.open_files(now)
    }

    fn restart(&mut self) {
        self.inner.restart();
    }

    fn changes(&self) -> &[Opcode] {
        self.inner.changes()
    }
}
