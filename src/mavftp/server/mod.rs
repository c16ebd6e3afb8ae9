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
mod inbox;
mod memory;
mod order;
mod pace;
mod path;
mod radio;
mod replies;
mod sessions;
mod snapshots;
#[cfg(test)]
mod tests;
mod written;

use std::collections::VecDeque;
use std::time::Instant;

pub use files::{Content, Files, LISTING_ENTRIES_MAX, ServedFile, nak_of_errno};
pub use memory::{MemoryFile, MemoryFiles};
pub use path::ServedPath;

use crate::mavftp::wire::{Nak, Opcode, Payload};
use checksums::Checksums;
use clients::{Clients, Place};
use exchange::Exchange;
use inbox::Inbox;
use pace::Pace;
use snapshots::Snapshots;

/// Most refusals to clients for whom there is no place that wait to be taken.
const REFUSALS_MAX: usize = 64;
/// Burst packets after which the driver is made to look for requests.
const BURST_RUN_MAX: u32 = 16;
/// What requests may cost until it is, in blocks read (see `inbox`) …
const WORK_MAX: u32 = 512;
/// … and while bursts wait for their turn.
const WORK_BESIDE_BURSTS_MAX: u32 = 64;
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
    inbox: Inbox<C>,
    refusals: VecDeque<(C, Payload)>,
    pace: Pace,
    /// Burst packets since the driver last had a chance to look for requests.
    run: u32,
    /// What requests may still cost until then.
    work: u32,
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
            inbox: Inbox::new(),
            refusals: VecDeque::new(),
            pace: Pace::new(options.max_rate),
            run: 0,
            work: WORK_MAX,
        }
    }

    /// Takes a request, to be done in its client's turn. Answers among the packets are ignored, so
    /// that two servers on one link do not talk to each other for ever.
    pub fn receive(&mut self, now: Instant, from: C, request: &Payload) {
        if matches!(request.command(), Some(Opcode::Ack | Opcode::Nak)) {
            return;
        }
        match self.clients.make_place(now, from) {
            Place::Free => {}
            Place::Of(gone) => self.forget(gone),
            Place::None => {
                if self.refusals.len() < REFUSALS_MAX {
                    let refusal = Payload::nak(request, Nak::NoSessionsAvailable);
                    self.refusals.push_back((from, refusal));
                }
                return;
            }
        }
        self.clients.hear(now, from);
        self.inbox.put(from, request);
    }

    /// A RADIO_STATUS was heard on this link: so much of the radio's send buffer is free, in
    /// percent. Bursts wait while it is short. A radio not heard for five seconds is forgotten.
    pub fn radio(&mut self, now: Instant, txbuf_percent: u8) {
        self.pace.radio(now, txbuf_percent);
    }

    fn forget(&mut self, gone: C) {
        self.inbox.forget(gone);
        self.snapshots.forget(gone);
        self.checksums.forget(gone, |_| true);
    }

    /// The answer to a request, if it has one now.
    fn answer(&mut self, now: Instant, from: C, request: &Payload) -> Option<Payload> {
        let client = self.clients.hear(now, from);
        client.replies.counting.hear(request);
        if let Some(answer) = client.replies.again(now, request, &client.sessions) {
            return Some(exchange::as_asked(request, answer));
        }
        client.replies.note(now, request);
        self.reopen(now, from, request);
        let answer = self.execute(now, from, request)?;
        self.clients.hear(now, from).replies.keep(now, request, &answer);
        Some(exchange::as_asked(request, answer))
    }

    /// Opens what was taken for a copy of an opening, if this request shows that it was none.
    fn reopen(&mut self, now: Instant, from: C, request: &Payload) {
        let doubted = self.clients.hear(now, from).take_doubted(request);
        if let Some((number, open)) = doubted {
            self.execute(now, from, &Payload { session: number, ..open });
            if open.session == 0 {
                self.clients.hear(now, from).sessions.name_by_0(number);
            }
        }
    }

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

    /// What to do next; to be called until it answers [`ServerOutput::Wait`]. Requests are done
    /// first, in turns, then burst packets at their pace, then work on checksums.
    pub fn poll(&mut self, now: Instant) -> ServerOutput<C> {
        if let Some((to, refusal)) = self.refusals.pop_front() {
            return self.send(now, to, refusal);
        }
        while self.work > 0
            && let Some((from, request)) = self.inbox.take()
        {
            self.work = self.work.saturating_sub(inbox::cost(&request));
            if let Some(answer) = self.answer(now, from, &request) {
                return self.send(now, from, answer);
            }
        }
        if self.run < BURST_RUN_MAX
            && self.pace.ready_at(now) <= now
            && let Some((to, packet)) = self.burst_packet(now)
        {
            self.run += 1;
            return self.send(now, to, packet);
        }
        self.run = 0;
        self.work = if self.clients.any_burst() { WORK_BESIDE_BURSTS_MAX } else { WORK_MAX };
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
        let (packet, over) = session.burst.as_mut()?.packet(now, &session.file);
        session.used = now;
        if over {
            session.burst = None;
        }
        Some((to, packet))
    }

    fn next_time(&self, now: Instant) -> Option<Instant> {
        if !self.checksums.is_empty() || !self.inbox.is_empty() {
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
        self.clients.any_busy(now) || !self.checksums.is_empty() || !self.inbox.is_empty()
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
