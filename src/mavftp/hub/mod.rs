//! Everything behind one link: heartbeats, who is out there and where, who they are, and a client
//! for each that is used. Without a socket, a thread or a clock; the address type is the caller's.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::client::{Class, Client, Error, Event, Manners, Op, Output, RequestId, Restraint};
use super::wire::{PAYLOAD_BYTES, Payload};

mod limit;
mod radio;
mod vehicle;

use limit::RateLimit;
use radio::Radio;
pub use radio::RadioStatus;
pub use vehicle::Family;
use vehicle::Vehicle;

/// Between two of our heartbeats.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(1);
/// A radio whose buffer has less room than this, in percent, is not given more than it must.
const TXBUF_LEAST: u8 = 25;
/// More components than any fleet has; beyond, who came first gives way.
const VEHICLES_MAX: usize = 4096;

/// A system and component id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The system id, 1 to 255.
    pub system: u8,
    /// The component id, 1 to 255.
    pub component: u8,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.system, self.component)
    }
}

/// Which vehicle is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// This system; `None`: any.
    pub system: Option<u8>,
    /// This component of it; `None`: its autopilot, else another.
    pub component: Option<u8>,
}

/// Who we are and how long we wait.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Our system id.
    pub own_system: u8,
    /// Our component id.
    pub own_component: u8,
    /// A vehicle not heard for so long is down.
    pub link_timeout: Duration,
    /// Makes the first sequence numbers.
    pub seed: u64,
    /// Bytes per second of file data both ways together; `None`: no limit of ours.
    pub rate_limit: Option<u32>,
    /// What an armed autopilot may be asked.
    pub when_armed: Restraint,
    /// The least patience with a vehicle that is not heard. Where it is not zero, a request to one waits
    /// for it as long, instead of failing at once.
    pub loss_patience: Duration,
}

/// What a heartbeat says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// `MAV_TYPE`.
    pub vehicle_type: u8,
    /// `MAV_AUTOPILOT`.
    pub autopilot: u8,
    /// `MAV_MODE_FLAG` bits.
    pub base_mode: u8,
}

/// What AUTOPILOT_VERSION says of who this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The short unique id; 0 where there is none.
    pub uid: u64,
    /// The long unique id; zeros where there is none.
    pub uid2: [u8; 18],
}

/// As it is written down: `uid2:` and hexadecimal digits where there is a long id, else `uid:`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.uid2 == [0; 18] {
            return write!(f, "uid:{:016x}", self.uid);
        }
        f.write_str("uid2:")?;
        self.uid2.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Identity {
    fn is_unknown(&self) -> bool {
        self.uid == 0 && self.uid2 == [0; 18]
    }
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// HEARTBEAT.
    Heartbeat(Heartbeat),
    /// FILE_TRANSFER_PROTOCOL.
    Ftp {
        /// Addressed system; 0 is everybody.
        target_system: u8,
        /// Addressed component; 0 is everybody.
        target_component: u8,
        /// The FTP payload.
        payload: [u8; PAYLOAD_BYTES],
    },
    /// AUTOPILOT_VERSION.
    Identity(Identity),
    /// RADIO_STATUS.
    Radio(RadioStatus),
    /// Anything else; it still shows that its sender lives.
    Other,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Our heartbeat.
    Heartbeat,
    /// FILE_TRANSFER_PROTOCOL to a target.
    Ftp(Target, Payload),
    /// The request for AUTOPILOT_VERSION.
    AskIdentity(Target),
}

/// What [`Hub::poll`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubOutput<P> {
    /// Send a message to an address, or to wherever the link goes by default.
    Send(Option<P>, Frame),
    /// Tell the caller of a request.
    Event(Event),
    /// Nothing before this time, unless something arrives.
    Wait(Option<Instant>),
}

/// What is known of one component, for whoever chooses and shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its ids.
    pub target: Target,
    /// Its server's family.
    pub family: Family,
    /// Whether it is an autopilot.
    pub autopilot: bool,
    /// Whether it has been heard within the link timeout.
    pub up: bool,
    /// Whether it is an armed autopilot.
    pub armed: bool,
    /// What it may be asked now.
    pub restraint: Restraint,
    /// Grows when what was cached may belong to another vehicle.
    pub epoch: u64,
    /// The last epoch that is certainly another vehicle's than the one before.
    pub last_other: u64,
    /// Who it says it is, if it does.
    pub identity: Option<Identity>,
}

/// Everything behind one link.
#[derive(Debug)]
pub struct Hub<P> {
    options: Options,
    vehicles: BTreeMap<Target, Vehicle<P>>,
    /// In order of their first heartbeat.
    arrivals: Vec<Target>,
    owners: BTreeMap<RequestId, Target>,
    refused: Vec<Event>,
    beat_due: Instant,
    beats: Vec<Option<P>>,
    strangers: u64,
    radio: Radio,
    limit: RateLimit,
}

impl<P: Copy + Ord + fmt::Debug> Hub<P> {
    /// A hub that knows nobody yet.
    pub fn new(now: Instant, options: Options) -> Hub<P> {
        Hub {
            limit: RateLimit::new(options.rate_limit),
            options,
            vehicles: BTreeMap::new(),
            arrivals: Vec::new(),
            owners: BTreeMap::new(),
            refused: Vec::new(),
            beat_due: now,
            beats: Vec::new(),
            strangers: 0,
            radio: Radio::default(),
        }
    }

    /// Takes in a message that came from `from`.
    pub fn receive(&mut self, now: Instant, from: P, source: Target, message: Incoming) {
        // From the radio at this end, under ids of its own or of the vehicle: that says nothing of
        // who lives behind it.
        if let Incoming::Radio(status) = message {
            return self.radio.report(now, status);
        }
        let own = source.system == self.options.own_system
            && source.component == self.options.own_component;
        if own || source.system == 0 || source.component == 0 {
            return;
        }
        if let Incoming::Heartbeat(heartbeat) = message {
            return self.beat(now, from, source, heartbeat);
        }
        let link_timeout = self.options.link_timeout;
        let Some(vehicle) = self.vehicles.get_mut(&source) else { return };
        if vehicle.address != from {
            // Stray datagrams redirect nothing.
            self.strangers += 1;
            return;
        }
        vehicle.heard(now, link_timeout);
        match message {
            Incoming::Ftp { target_system, target_component, payload } => {
                let for_us = (target_system == self.options.own_system || target_system == 0)
                    && (target_component == self.options.own_component || target_component == 0);
                match (Payload::decode(&payload), &mut vehicle.client) {
                    (Ok(payload), Some(client)) if for_us => client.receive(now, &payload),
                    (Ok(payload), Some(client)) => client.overhear(&payload),
                    (Ok(_), None) => {}
                    (Err(error), _) => tracing::debug!(%source, %error, "dropped a frame"),
                }
            }
            Incoming::Identity(identity) => vehicle.identify(now, identity),
            Incoming::Heartbeat(_) | Incoming::Radio(_) | Incoming::Other => {}
        }
    }

    /// Begins a request to a target. What an armed one is spared fails at once, and so does everything
    /// where the target is silent, unless that is to be waited for.
    pub fn request(
        &mut self,
        now: Instant,
        target: Target,
        id: RequestId,
        op: Op,
        class: Class,
        patience: Duration,
    ) {
        let Options { link_timeout, loss_patience, when_armed, .. } = self.options;
        let waits = !loss_patience.is_zero();
        let seed = self.options.seed ^ u64::from(target.system) << 8 ^ u64::from(target.component);
        let refusal = match self.vehicles.get(&target) {
            None => Some(Error::LinkDown),
            Some(vehicle) if vehicle.silence(now) >= link_timeout && !waits => {
                Some(Error::LinkDown)
            }
            Some(vehicle) if vehicle.restraint(when_armed).refuses(&op, class) => {
                Some(Error::Armed)
            }
            Some(_) => None,
        };
        match (refusal, self.vehicles.get_mut(&target)) {
            (None, Some(vehicle)) => {
                vehicle.wonder(now);
                let traits = vehicle.family().traits();
                let client = vehicle.client.get_or_insert_with(|| Client::new(now, traits, seed));
                client.request(now, id, op, class, patience);
                self.owners.insert(id, target);
            }
            (refusal, _) => {
                let error = refusal.unwrap_or(Error::LinkDown);
                self.refused.push(Event::Done(id, Err(error)));
            }
        }
    }

    /// From now on [`Options::loss_patience`] is this.
    pub fn set_loss_patience(&mut self, patience: Duration) {
        self.options.loss_patience = patience;
    }

    /// The client that works on a request, for [`Client::supply`] and the like.
    pub fn client(&mut self, id: RequestId) -> Option<&mut Client> {
        let target = self.owners.get(&id)?;
        self.vehicles.get_mut(target)?.client.as_mut()
    }

    /// Who is out there, in order of their first heartbeat; ground stations are left out.
    pub fn known(&self, now: Instant) -> Vec<Known> {
        let vehicles = self.arrivals.iter().filter_map(|target| self.vehicles.get(target));
        vehicles
            .filter(|vehicle| vehicle.is_candidate())
            .map(|vehicle| self.describe(now, vehicle))
            .collect()
    }

    /// Who fits a wish: autopilots first, then others, each in order of their first heartbeat.
    pub fn candidates(&self, now: Instant, wish: Wish) -> Vec<Known> {
        let fits = |known: &Known| {
            wish.system.is_none_or(|system| system == known.target.system)
                && wish.component.is_none_or(|component| component == known.target.component)
        };
        let mut candidates: Vec<Known> = self.known(now).into_iter().filter(fits).collect();
        candidates.sort_by_key(|known| !known.autopilot);
        candidates
    }

    /// What is known of one target.
    pub fn look(&self, now: Instant, target: Target) -> Option<Known> {
        self.vehicles.get(&target).map(|vehicle| self.describe(now, vehicle))
    }

    /// What the link's radio said of itself in the last five seconds, if it has one.
    pub fn radio(&self, now: Instant) -> Option<RadioStatus> {
        self.radio.status(now)
    }

    /// Frames passed over: from another address than their sender's, or of senders forgotten in a
    /// crowd.
    pub fn strangers(&self) -> u64 {
        self.strangers
    }

    /// Answers passed over because they answered nothing that was asked.
    pub fn unmatched(&self) -> u64 {
        let clients = self.vehicles.values().filter_map(|vehicle| vehicle.client.as_ref());
        clients.map(Client::unmatched).sum()
    }

    /// Says that no request will follow: files that are open are closed at once.
    pub fn leave(&mut self) {
        let clients = self.vehicles.values_mut().filter_map(|vehicle| vehicle.client.as_mut());
        clients.for_each(Client::leave);
    }

    /// Whether a file is open on any server.
    pub fn holds_sessions(&self) -> bool {
        let mut clients = self.vehicles.values().filter_map(|vehicle| vehicle.client.as_ref());
        clients.any(Client::holds_session)
    }

    /// What to do now; call until it answers [`HubOutput::Wait`].
    pub fn poll(&mut self, now: Instant) -> HubOutput<P> {
        if let Some(event) = self.refused.pop() {
            return HubOutput::Event(event);
        }
        if let Some(address) = self.next_beat(now) {
            return HubOutput::Send(address, Frame::Heartbeat);
        }
        let mut wake = self.beat_due;
        for (target, vehicle) in &mut self.vehicles {
            if vehicle.asks_identity(now) {
                return HubOutput::Send(Some(vehicle.address), Frame::AskIdentity(*target));
            }
            wake = vehicle.identity_due().map_or(wake, |due| wake.min(due));
            let restraint = vehicle.restraint(self.options.when_armed);
            vehicle.tell_restraint(now, restraint);
            let manners = Manners {
                restraint,
                crowded: self.radio.status(now).is_some_and(|radio| radio.txbuf < TXBUF_LEAST),
                limit: self.limit.next_at(now),
                loss_patience: self.options.loss_patience,
                heard: Some(vehicle.heard_since()),
                proof: vehicle.proof(now),
            };
            let Some(client) = &mut vehicle.client else { continue };
            client.set_manners(now, manners);
            match client.poll(now) {
                Output::Send(payload) => {
                    if payload.moves_block() {
                        self.limit.charge(now, payload.size);
                    }
                    return HubOutput::Send(Some(vehicle.address), Frame::Ftp(*target, payload));
                }
                Output::Event(event) => {
                    if let Event::Done(id, _) = event {
                        self.owners.remove(&id);
                    }
                    return HubOutput::Event(event);
                }
                Output::Wait(at) => wake = at.map_or(wake, |at| wake.min(at)),
            }
        }
        HubOutput::Wait(Some(wake))
    }

    fn beat(&mut self, now: Instant, from: P, source: Target, heartbeat: Heartbeat) {
        if let Some(vehicle) = self.vehicles.get_mut(&source) {
            return vehicle.beat(now, from, heartbeat, self.options.link_timeout);
        }
        if self.vehicles.len() >= VEHICLES_MAX {
            self.forget_first();
        }
        self.vehicles.insert(source, Vehicle::new(now, source, from, heartbeat));
        self.arrivals.push(source);
        // It may have to hear us before it answers.
        if !self.beats.contains(&Some(from)) {
            self.beats.push(Some(from));
        }
    }

    /// Makes place for a newcomer, at little cost, for a crowd is many. Who has been asked for
    /// something stays.
    fn forget_first(&mut self) {
        let unused = |target: &Target| self.vehicles.get(target).is_none_or(|v| v.client.is_none());
        if let Some(at) = self.arrivals.iter().position(unused) {
            let gone = self.arrivals.remove(at);
            self.vehicles.remove(&gone);
            self.strangers += 1;
        }
    }

    fn next_beat(&mut self, now: Instant) -> Option<Option<P>> {
        if now >= self.beat_due {
            self.beat_due = now + HEARTBEAT_PERIOD;
            let up = |vehicle: &&Vehicle<P>| vehicle.silence(now) < self.options.link_timeout;
            let live = self.vehicles.values().filter(up).map(|vehicle| Some(vehicle.address));
            self.beats = live.collect();
            self.beats.sort_unstable();
            self.beats.dedup();
            if self.beats.is_empty() {
                self.beats.push(None);
            }
        }
        self.beats.pop()
    }

    fn describe(&self, now: Instant, vehicle: &Vehicle<P>) -> Known {
        Known {
            target: vehicle.target,
            family: vehicle.family(),
            autopilot: vehicle.is_autopilot(),
            up: vehicle.silence(now) < self.options.link_timeout,
            armed: vehicle.is_armed(),
            restraint: vehicle.restraint(self.options.when_armed),
            epoch: vehicle.epoch,
            last_other: vehicle.last_other,
            identity: vehicle.identity,
        }
    }
}

#[cfg(test)]
mod tests;
