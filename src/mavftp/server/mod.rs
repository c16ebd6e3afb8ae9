//! A MAVLink FTP server for any number of clients: no socket, no thread, no clock. It knows the
//! wire and a tree of [`Files`]; who the clients are and how packets reach them is its driver's
//! concern. Opcodes are `exchange`'s, sessions `clients`' and `sessions`'.
//!
//! Whatever arrives gets at most one direct answer and never panics, and what is kept for a client
//! is bounded.

mod burst;
mod checksums;
mod clients;
mod exchange;
pub(in crate::mavftp) mod files;
mod memory;
mod path;
mod replies;
mod sessions;
mod snapshots;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

pub use files::{Content, Files, LISTING_ENTRIES_MAX, ServedFile, nak_of_errno};
pub use memory::{MemoryFile, MemoryFiles};
pub use path::ServedPath;

use crate::mavftp::wire::{Nak, Opcode, Payload};
use burst::Pace;
use checksums::Checksums;
use clients::{Clients, Place};
use exchange::Exchange;
use snapshots::Snapshots;

/// Most answers that wait to be taken; beyond, requests are dropped as a full queue drops them.
const ANSWERS_MAX: usize = 1024;
/// Burst packets after which the driver is made to look for requests.
const BURST_RUN_MAX: u32 = 16;
/// Bytes per second of a burst unless told otherwise: well below what a loopback or Wi-Fi client
/// with an ordinary receive buffer keeps up with.
const BURST_RATE_DEFAULT: u32 = 2_000_000;

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes per second that bursts take of the link, frames included, beside direct answers.
    /// `None`: as fast as the driver takes them. On a serial line, at most half of it.
    pub max_rate: Option<u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options { max_rate: Some(BURST_RATE_DEFAULT) }
    }
}

/// What a server wants of its driver.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, never stored")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerOutput<C> {
    /// Send this to this client.
    Send(C, Payload),
    /// Nothing to send. Poll again after the next request, or at this time: when it is not later
    /// than now, once requests that have arrived were handed in.
    Wait(Option<Instant>),
}

/// A server of one tree of files. `C` tells its clients apart; sessions and answers are each
/// client's own.
pub struct Server<C, F: Files> {
    files: F,
    clients: Clients<C, F::File>,
    snapshots: Snapshots<C>,
    checksums: Checksums<C, F::File>,
    answers: VecDeque<(C, Payload)>,
    pace: Pace,
    /// Burst packets since the driver last had a chance to look for requests.
    run: u32,
}

impl<C: Copy + Ord, F: Files> Server<C, F> {
    /// A server with default [`Options`]. The seed decides which session numbers are given out.
    pub fn new(files: F, seed: u64) -> Server<C, F> {
        Server::with_options(files, seed, Options::default())
    }

    /// A server.
    pub fn with_options(files: F, seed: u64, options: Options) -> Server<C, F> {
        Server {
            files,
            clients: Clients::new(seed),
            snapshots: Snapshots::new(),
            checksums: Checksums::new(),
            answers: VecDeque::new(),
            pace: Pace::new(options.max_rate),
            run: 0,
        }
    }

    /// Takes a request. Answers among the packets are ignored, so that two servers on one link do
    /// not talk to each other for ever.
    pub fn receive(&mut self, now: Instant, from: C, request: &Payload) {
        let is_answer = matches!(request.command(), Some(Opcode::Ack | Opcode::Nak));
        if is_answer || self.answers.len() >= ANSWERS_MAX {
            return;
        }
        match self.clients.make_place(now, from) {
            Place::Free => {}
            Place::Of(gone) => {
                self.snapshots.forget(gone);
                self.checksums.forget(gone);
            }
            Place::None => {
                let answer = Payload::nak(request, Nak::NoSessionsAvailable);
                return self.answers.push_back((from, answer));
            }
        }
        if let Some(answer) = self.clients.hear(now, from).replies.again(now, request) {
            self.answers.push_back((from, exchange::as_asked(request, answer)));
            return;
        }
        if let Some(answer) = self.execute(now, from, request) {
            self.clients.hear(now, from).replies.keep(now, request, &answer);
            self.answers.push_back((from, exchange::as_asked(request, answer)));
        }
    }

    /// A telemetry radio said how much of its buffer is free, in percent.
    pub fn radio(&mut self, _now: Instant, _txbuf_percent: u8) {}

    fn execute(&mut self, now: Instant, from: C, request: &Payload) -> Option<Payload> {
        let opens = exchange::opens(request);
        let room = opens && self.clients.make_room(now, from, request.session);
        let client = self.clients.hear(now, from);
        let session =
            if opens { request.session } else { client.sessions.resolve(request.session) };
        let exchange = Exchange {
            now,
            from,
            request: Payload { session, ..*request },
            asked: request.session,
            files: &self.files,
            client,
            snapshots: &mut self.snapshots,
            checksums: &mut self.checksums,
            room,
        };
        exchange.run()
    }

    /// What to do next; to be called until it answers [`ServerOutput::Wait`]. Answers go first,
    /// then burst packets at their pace, then work on checksums.
    pub fn poll(&mut self, now: Instant) -> ServerOutput<C> {
        if let Some((to, answer)) = self.answers.pop_front() {
            return self.send(now, to, answer);
        }
        if self.run < BURST_RUN_MAX
            && self.pace.ready_at(now) <= now
            && let Some((to, packet)) = self.burst_packet(now)
        {
            self.run += 1;
            return self.send(now, to, packet);
        }
        self.run = 0;
        if let Some((to, answer)) = self.checksums.step() {
            return self.send(now, to, answer);
        }
        ServerOutput::Wait(self.next_time(now))
    }

    fn send(&mut self, now: Instant, to: C, packet: Payload) -> ServerOutput<C> {
        self.pace.charge(now, &packet);
        ServerOutput::Send(to, packet)
    }

    fn burst_packet(&mut self, now: Instant) -> Option<(C, Payload)> {
        let (to, session) = self.clients.next_burst()?;
        let (packet, over) = session.burst.as_mut()?.packet(&session.file);
        session.used = now;
        if over {
            session.burst = None;
        }
        Some((to, packet))
    }

    fn next_time(&self, now: Instant) -> Option<Instant> {
        if !self.checksums.is_empty() {
            return Some(now);
        }
        self.clients.any_burst().then(|| self.pace.ready_at(now))
    }

    /// Open files of all clients.
    pub fn open_sessions(&self) -> usize {
        self.clients.sessions()
    }

    /// Whether a transfer is under way: a session in use, or a checksum.
    pub fn is_busy(&self, now: Instant) -> bool {
        self.clients.any_busy(now) || !self.checksums.is_empty()
    }

    /// Serves another tree from now on, unless the server is busy: then the tree is handed back.
    /// Clients' idle sessions are lost.
    pub fn replace_files(&mut self, now: Instant, files: F) -> Result<(), F> {
        if self.is_busy(now) {
            return Err(files);
        }
        self.files = files;
        self.clients.clear();
        self.snapshots.clear();
        Ok(())
    }
}
