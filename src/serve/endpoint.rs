//! One endpoint: a link, its server, and who is heard there. Must not know other endpoints.
//!
//! One thread steps it all; it takes everything that has arrived before it sends, and waits for
//! nothing but the link.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Options;
use super::audience::Audience;
use super::departures::Departures;
use super::neighbours::Neighbours;
use super::root::{Client, Desk};
use super::visitors::Visitors;
use crate::link::Waker;
use crate::link::node::{Message, Node, Received};
use crate::mavftp::server::ServerOutput;
use crate::mavftp::wire::{Opcode, Payload};

/// `MAV_AUTOPILOT_INVALID`: no autopilot.
pub(super) const AUTOPILOT_INVALID: u8 = 8;
/// `MAV_STATE_ACTIVE`.
const STATE_ACTIVE: u8 = 4;
/// Heartbeats come so often.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(1);
/// Messages taken before what they ask for is sent; the server queues that many answers.
const MESSAGES_AT_ONCE: usize = 512;

const COMMAND_REQUEST_MESSAGE: u16 = 512;
const COMMAND_REQUEST_AUTOPILOT_CAPABILITIES: u16 = 520;
const MESSAGE_AUTOPILOT_VERSION: f32 = 148.0;
pub(super) const RESULT_ACCEPTED: u8 = 0;
pub(super) const RESULT_UNSUPPORTED: u8 = 3;

/// A link on which the folder is served.
pub(super) struct Endpoint {
    node: Node,
    desk: Arc<Mutex<Desk>>,
    system: u8,
    component: u8,
    vehicle_type: u8,
    audience: Audience,
    departures: Departures,
    neighbours: Neighbours,
    visitors: Visitors,
    heartbeat_due: Instant,
}

/// For whom a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addressed {
    /// For us alone.
    ByName,
    /// For everybody, or all components of our system.
    ToAll,
    /// For another.
    Elsewhere,
}

impl Endpoint {
    pub(super) fn new(node: Node, desk: Arc<Mutex<Desk>>, options: &Options) -> Endpoint {
        let Options { system_id, component_id, vehicle_type, .. } = *options;
        let mut endpoint = Endpoint {
            node,
            desk,
            system: system_id,
            component: component_id,
            vehicle_type,
            audience: Audience::default(),
            departures: Departures::default(),
            neighbours: Neighbours::new(system_id, component_id),
            visitors: Visitors::default(),
            heartbeat_due: Instant::now(),
        };
        let heartbeat = endpoint.heartbeat();
        endpoint.node.greet_with(heartbeat);
        endpoint
    }

    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        self.node.local_address()
    }

    pub(super) fn waker(&self) -> Waker {
        self.node.waker()
    }

    /// Serves until stopped; an error means that the link is of no use any more.
    pub(super) fn run(&mut self, stopped: &AtomicBool) -> io::Result<()> {
        let mut wait_until = Instant::now();
        while !stopped.load(Ordering::Acquire) {
            self.take_all(wait_until)?;
            let now = Instant::now();
            if now >= self.heartbeat_due {
                self.send_heartbeats(now)?;
            }
            wait_until = self.send_answers()?.min(self.heartbeat_due);
        }
        Ok(())
    }

    /// Waits for a message, and takes what else is there.
    fn take_all(&mut self, wait_until: Instant) -> io::Result<()> {
        let Some(received) = self.node.receive(Some(wait_until))? else { return Ok(()) };
        let now = Instant::now();
        self.take(now, &received)?;
        for _ in 1..MESSAGES_AT_ONCE {
            let Some(received) = self.node.receive(Some(now))? else { return Ok(()) };
            self.take(now, &received)?;
        }
        Ok(())
    }

    fn take(&mut self, now: Instant, received: &Received) -> io::Result<()> {
        let client = (received.peer, received.system, received.component);
        // The sender of what has no check may be damaged.
        let foreign = matches!(received.message, Message::Other(_));
        if foreign || (self.neighbours.has_our_ids(client) && may_be_ours(&received.message)) {
            return Ok(());
        }
        match &received.message {
            Message::Ftp { target_system, target_component, payload } => {
                if let Ok(request) = Payload::decode(payload)
                    && !is_answer(&request)
                    && self.is_asked(now, client, (*target_system, *target_component))
                {
                    self.visitors.greet(now, client, &request);
                    self.desk.lock().server.receive(now, client, &request);
                }
            }
            Message::Command { target_system, target_component, command, param1 } => {
                match self.addressed(*target_system, *target_component) {
                    Addressed::ByName => self.obey(client, *command, *param1, true)?,
                    Addressed::ToAll => self.obey(client, *command, *param1, false)?,
                    Addressed::Elsewhere => {}
                }
            }
            Message::Heartbeat { vehicle_type, autopilot, .. } => {
                self.neighbours.hear(now, client, *vehicle_type, *autopilot);
            }
            Message::RadioStatus { txbuf, .. } => {
                self.desk.lock().server.radio(now, *txbuf);
                // Its radio has no key, and is nobody to greet.
                return Ok(());
            }
            Message::AutopilotVersion { .. } | Message::CommandAck { .. } | Message::Other(_) => {}
        }
        if self.audience.hear(now, received.peer) {
            self.node.send(Some(received.peer), &self.heartbeat())?;
        }
        Ok(())
    }

    /// Whether an FTP request is ours to answer. One to all is not where another component may
    /// answer it as well: its client would take both answers for one server's.
    fn is_asked(&self, now: Instant, from: Client, target: (u8, u8)) -> bool {
        match self.addressed(target.0, target.1) {
            Addressed::ByName => true,
            Addressed::ToAll => !self.neighbours.may_answer(now, from, target),
            Addressed::Elsewhere => false,
        }
    }

    fn addressed(&self, system: u8, component: u8) -> Addressed {
        if (system, component) == (self.system, self.component) {
            return Addressed::ByName;
        }
        let ours = (system == 0 || system == self.system)
            && (component == 0 || component == self.component);
        if ours { Addressed::ToAll } else { Addressed::Elsewhere }
    }

    /// Answers a command. What we cannot do is refused only when it was meant for us alone: an
    /// autopilot with our system id may well do what is asked of all components.
    fn obey(&mut self, from: Client, command: u16, param1: f32, by_name: bool) -> io::Result<()> {
        let (peer, target_system, target_component) = from;
        let known = match command {
            COMMAND_REQUEST_MESSAGE => param1 == MESSAGE_AUTOPILOT_VERSION,
            COMMAND_REQUEST_AUTOPILOT_CAPABILITIES => true,
            _ => false,
        };
        if !known && !by_name {
            return Ok(());
        }
        let result = if known { RESULT_ACCEPTED } else { RESULT_UNSUPPORTED };
        let ack = Message::CommandAck { command, result, target_system, target_component };
        self.node.send(Some(peer), &ack)?;
        let identity = self.desk.lock().identity;
        if known { self.node.send(Some(peer), &identity) } else { Ok(()) }
    }

    /// Sends what the server has; answers when it wants to be asked again, at the latest.
    fn send_answers(&mut self) -> io::Result<Instant> {
        let now = Instant::now();
        loop {
            // Not held while something is sent: who changes the root waits for it.
            let output = self.desk.lock().server.poll(now);
            match output {
                ServerOutput::Send(to, answer) => self.departures.add(to, answer),
                ServerOutput::Wait(until) => {
                    self.departures.leave(&mut self.node)?;
                    return Ok(until.unwrap_or(now + HEARTBEAT_PERIOD));
                }
            }
        }
    }

    fn send_heartbeats(&mut self, now: Instant) -> io::Result<()> {
        let heartbeat = self.heartbeat();
        for peer in self.audience.peers(now, self.node.default_peer()) {
            self.node.send(Some(peer), &heartbeat)?;
        }
        self.heartbeat_due = (self.heartbeat_due + HEARTBEAT_PERIOD).max(now);
        Ok(())
    }

    fn heartbeat(&self) -> Message {
        Message::Heartbeat {
            vehicle_type: self.vehicle_type,
            autopilot: AUTOPILOT_INVALID,
            base_mode: 0,
            system_status: STATE_ACTIVE,
        }
    }
}

/// Whether we send such messages ourselves, so that one under our ids may be ours that came back.
fn may_be_ours(message: &Message) -> bool {
    match message {
        Message::Ftp { payload, .. } => Payload::decode(payload).is_ok_and(|it| is_answer(&it)),
        Message::Heartbeat { .. }
        | Message::AutopilotVersion { .. }
        | Message::CommandAck { .. } => true,
        Message::Command { .. } | Message::RadioStatus { .. } | Message::Other(_) => false,
    }
}

fn is_answer(payload: &Payload) -> bool {
    matches!(payload.command(), Some(Opcode::Ack | Opcode::Nak))
}
