//! Reverse mode: joins a directory of the disk, the MAVLink FTP server and a link.
//!
//! One thread steps it all; it takes everything that has arrived before it sends, and waits for
//! nothing but the link.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::link::Waker;
use crate::link::address::{Address, OpenError};
use crate::link::node::{Message, Node, Received};
use crate::mavftp::directory::{Directory, RootError};
use crate::mavftp::server::{self, Server, ServerOutput};
use crate::mavftp::wire::Payload;

mod audience;
mod departures;
mod identity;

use audience::Audience;
use departures::{Client, Departures};

/// `MAV_TYPE_ONBOARD_CONTROLLER`: a companion computer, which ground stations do not fly.
pub const TYPE_ONBOARD_CONTROLLER: u8 = 18;
/// System id unless told otherwise: that of the vehicle this computer most likely rides on.
pub const SYSTEM_ID: u8 = 1;
/// `MAV_COMP_ID_ONBOARD_COMPUTER`, the component id unless told otherwise.
pub const COMPONENT_ID: u8 = 191;

/// `MAV_AUTOPILOT_INVALID`: no autopilot.
const AUTOPILOT_INVALID: u8 = 8;
/// `MAV_STATE_ACTIVE`.
const STATE_ACTIVE: u8 = 4;
/// Heartbeats come so often.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(1);
/// Bits on a serial line for a byte.
const SERIAL_BITS_PER_BYTE: u32 = 10;
/// Messages taken before what they ask for is sent; the server queues that many answers.
const MESSAGES_AT_ONCE: usize = 512;

const COMMAND_REQUEST_MESSAGE: u16 = 512;
const COMMAND_REQUEST_AUTOPILOT_CAPABILITIES: u16 = 520;
const MESSAGE_AUTOPILOT_VERSION: f32 = 148.0;
const RESULT_ACCEPTED: u8 = 0;
const RESULT_UNSUPPORTED: u8 = 3;

/// What to serve, where, and as whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients are: listening and outgoing addresses alike.
    pub endpoint: Address,
    /// The folder.
    pub directory: PathBuf,
    /// Whether clients may change it.
    pub writable: bool,
    /// Our system id.
    pub system_id: u8,
    /// Our component id; 1 is what clients ask that know only autopilots.
    pub component_id: u8,
    /// The `MAV_TYPE` in our heartbeat.
    pub vehicle_type: u8,
    /// How the server behaves.
    pub server: server::Options,
}

impl Options {
    /// Read-only, with the ids and the type of an onboard computer.
    pub fn new(endpoint: Address, directory: PathBuf) -> Options {
        Options {
            endpoint,
            directory,
            writable: false,
            system_id: SYSTEM_ID,
            component_id: COMPONENT_ID,
            vehicle_type: TYPE_ONBOARD_CONTROLLER,
            server: server::Options::default(),
        }
    }
}

/// Why nothing is served, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder cannot be served.
    #[error("cannot serve {}: {error}; name a directory that you can read", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        error: RootError,
    },
    /// The link could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The link failed for good.
    #[error("the link failed: {0}")]
    Link(#[from] io::Error),
}

/// Serves until stopped. `ready` is called once the server can be reached, with the line to print
/// and the handle that ends it.
pub fn run(options: &Options, ready: impl FnOnce(&str, Stop)) -> Result<(), ServeError> {
    let mut serving = Serving::open(options)?;
    ready(&serving.description(), serving.stop_handle());
    serving.run()
}

/// Ends [`Serving::run`], from any thread.
#[derive(Debug, Clone)]
pub struct Stop {
    stopped: Arc<AtomicBool>,
    waker: Waker,
}

impl Stop {
    /// Makes `run` return soon. What clients have been told is done is done.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// A folder on a link.
pub struct Serving {
    options: Options,
    node: Node,
    server: Server<Client, Directory>,
    audience: Audience,
    departures: Departures,
    identity: Message,
    heartbeat_due: Instant,
    stopped: Arc<AtomicBool>,
}

impl Serving {
    /// Opens folder and link; from now on requests are kept for [`Serving::run`].
    pub fn open(options: &Options) -> Result<Serving, ServeError> {
        let path = &options.directory;
        let directory = Directory::open(path, options.writable)
            .map_err(|error| ServeError::Directory { path: path.clone(), error: error.into() })?;
        let link = options.endpoint.open()?;
        Ok(Serving {
            options: options.clone(),
            node: Node::new(link, options.system_id, options.component_id),
            server: Server::with_options(directory, identity::seed(), paced(options)),
            audience: Audience::default(),
            departures: Departures::default(),
            identity: identity::version(path, options.system_id, options.component_id),
            heartbeat_due: Instant::now(),
            stopped: Arc::new(AtomicBool::new(false)),
        })
    }

    /// One line for people: what is served, and where, with the port that port 0 became.
    pub fn description(&self) -> String {
        let Options { directory, writable, system_id, component_id, .. } = &self.options;
        let access = if *writable { "writable" } else { "read-only" };
        format!(
            "serving {} ({access}) as system {system_id}, component {component_id} on {}",
            directory.display(),
            self.endpoint(),
        )
    }

    /// The endpoint, with the port that port 0 became.
    pub fn endpoint(&self) -> Address {
        let local = self.node.local_address();
        match (&self.options.endpoint, local) {
            (Address::UdpListen { host, port: 0 }, Some(local)) => {
                Address::UdpListen { host: host.clone(), port: local.port() }
            }
            (Address::TcpListen { host, port: 0 }, Some(local)) => {
                Address::TcpListen { host: host.clone(), port: local.port() }
            }
            (endpoint, _) => endpoint.clone(),
        }
    }

    /// The address clients reach this at, where the link has one.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.node.local_address()
    }

    /// The handle that ends [`Serving::run`].
    pub fn stop_handle(&self) -> Stop {
        Stop { stopped: self.stopped.clone(), waker: self.node.waker() }
    }

    /// Serves until stopped; an error means that the link is of no use any more.
    pub fn run(&mut self) -> Result<(), ServeError> {
        let mut wait_until = Instant::now();
        while !self.stopped.load(Ordering::Acquire) {
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
        match &received.message {
            // Its sender may be damaged.
            Message::Other(_) => return Ok(()),
            Message::Ftp { target_system, target_component, payload } => {
                if self.is_for_us(*target_system, *target_component)
                    && let Ok(request) = Payload::decode(payload)
                {
                    self.server.receive(now, client, &request);
                }
            }
            Message::Command { target_system, target_component, command, param1 } => {
                if self.is_for_us(*target_system, *target_component) {
                    let by_name = *target_component == self.options.component_id
                        && *target_system == self.options.system_id;
                    self.obey(client, *command, *param1, by_name)?;
                }
            }
            Message::Heartbeat { .. }
            | Message::AutopilotVersion { .. }
            | Message::CommandAck { .. }
            | Message::RadioStatus { .. } => {}
        }
        if self.audience.hear(now, received.peer) {
            self.node.send(Some(received.peer), &self.heartbeat())?;
        }
        Ok(())
    }

    fn is_for_us(&self, system: u8, component: u8) -> bool {
        let Options { system_id, component_id, .. } = self.options;
        (system == 0 || system == system_id) && (component == 0 || component == component_id)
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
        if known { self.node.send(Some(peer), &self.identity) } else { Ok(()) }
    }

    /// Sends what the server has; answers when it wants to be asked again, at the latest.
    fn send_answers(&mut self) -> io::Result<Instant> {
        let now = Instant::now();
        loop {
            match self.server.poll(now) {
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
            vehicle_type: self.options.vehicle_type,
            autopilot: AUTOPILOT_INVALID,
            base_mode: 0,
            system_status: STATE_ACTIVE,
        }
    }
}

/// The server's options, its bursts no faster than half of a serial line: they would crowd out the
/// answers to others, and what does not fit is lost.
fn paced(options: &Options) -> server::Options {
    let server = options.server;
    match options.endpoint {
        Address::Serial { baud, .. } => {
            let half = (baud / SERIAL_BITS_PER_BYTE / 2).max(1);
            server::Options { max_rate: Some(server.max_rate.map_or(half, |rate| rate.min(half))) }
        }
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Ftp(_) => server,
    }
}

#[cfg(test)]
mod tests;
