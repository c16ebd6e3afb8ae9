//! Our hub and a server with a network between them, stepped in virtual time by one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mavftp_mount::mavftp::client::{Class, Error, Event, Op, Reply, RequestId, Restraint};
use mavftp_mount::mavftp::hub::{
    Frame, Heartbeat, Hub, HubOutput, Identity, Incoming, Options, Target,
};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Opcode, Payload, WireEntry};
use mavftp_mount::remote::mavftp::desk::{Command, Desk};

use crate::network::{Faults, Network, Way};
use crate::personalities::{FarSide, Ours, Said, US};

pub const TARGET: Target = Target { system: 1, component: 1 };
pub const PATIENCE: Duration = Duration::from_secs(10);
/// `MAV_AUTOPILOT_INVALID`.
pub const NO_AUTOPILOT: u8 = 8;
const BEAT: Duration = Duration::from_secs(1);
/// Far more steps than any run here needs; a run that needs more does not end.
const STEPS_MAX: usize = 20_000_000;
/// Far more than the hub can have to say at one moment.
const OUTPUTS_MAX: usize = 1_000_000;

#[derive(Debug, Clone)]
pub enum Packet {
    Heartbeat,
    Ftp(Payload),
    /// An answer to another station, on a link that carries all of them.
    Foreign(Payload),
    /// The question who the vehicle is.
    AskIdentity,
    /// Its answer.
    Identity(u64),
}

impl Packet {
    /// Bytes on the wire: header, checksum, addresses, and the payload without trailing zeros.
    fn bytes(&self) -> u32 {
        match self {
            Packet::Heartbeat => 21,
            Packet::AskIdentity => 45,
            Packet::Identity(_) => 72,
            Packet::Ftp(payload) | Packet::Foreign(payload) => {
                let encoded = payload.encode();
                let end = encoded.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                12 + 3 + end as u32
            }
        }
    }
}

/// What has come of one request.
#[derive(Debug, Default)]
pub struct Outcome {
    pub bytes: BTreeMap<u32, Vec<u8>>,
    pub entries: Vec<WireEntry>,
    pub opened: Option<u32>,
    pub acknowledged: u32,
    pub results: Vec<Result<Reply, Error>>,
    source: Vec<u8>,
    /// How many bytes the source has for now.
    available: usize,
    /// The source waits for a program when it has nothing.
    idles: bool,
}

impl Outcome {
    /// What was read from `start` on, in one piece.
    pub fn joined(&self, start: u32) -> Vec<u8> {
        let mut joined = Vec::new();
        for (offset, bytes) in &self.bytes {
            let at = (offset - start) as usize;
            assert!(at <= joined.len(), "a hole before {offset}");
            let known = (joined.len() - at).min(bytes.len());
            assert_eq!(joined[at..at + known], bytes[..known], "two answers differ at {offset}");
            joined.extend_from_slice(&bytes[known..]);
        }
        joined
    }
}

/// Requests for pages of listings.
#[derive(Debug, Default)]
pub struct Pages {
    /// How many, repeats left out.
    pub asked: usize,
    /// How many were on their way at once, at most.
    pub most: usize,
    flying: BTreeSet<u16>,
}

impl Pages {
    fn sent(&mut self, request: &Payload) {
        if let Some(Opcode::ListDirectory | Opcode::ListDirectoryWithTime) = request.command() {
            self.asked += usize::from(self.flying.insert(request.sequence));
            self.most = self.most.max(self.flying.len());
        }
    }

    fn heard(&mut self, answer: &Payload) {
        self.flying.remove(&answer.sequence.wrapping_sub(1));
    }
}

pub struct World {
    pub now: Instant,
    pub start: Instant,
    pub hub: Hub<u8>,
    pub files: MemoryFiles,
    pub network: Network<Packet>,
    pub outcomes: BTreeMap<RequestId, Outcome>,
    /// Where the vehicle is.
    pub address: u8,
    pub armed: bool,
    /// Who the vehicle says it is, if it answers that.
    pub uid: Option<u64>,
    /// FTP frames sent to the vehicle.
    pub sent: u64,
    /// What they asked for, and when, where a test wants it.
    pub diary: Option<Vec<(Instant, Payload)>>,
    /// The last of them.
    pub last_sent: Option<Payload>,
    pub pages: Pages,
    /// FTP frames that came to us.
    pub heard: u64,
    /// The vehicle lives, but hears none of our requests.
    pub deaf: bool,
    /// Whether answers to other stations come our way too.
    pub shared: bool,
    /// Answers to other stations.
    pub overheard: Vec<Payload>,
    /// No step leaps over this moment.
    pub alarm: Option<Instant>,
    /// Operations of a `Remote` in this world.
    pub counter: Option<Counter>,
    autopilot: u8,
    far: Box<dyn FarSide>,
    beat_due: Instant,
    ids: u64,
}

/// What stands between a `Remote` and the hub, as in the program, without its thread.
pub struct Counter {
    pub desk: Desk,
    pub commands: Receiver<Command>,
}

fn options(seed: u64) -> Options {
    Options {
        own_system: 245,
        own_component: 191,
        link_timeout: Duration::from_secs(5),
        seed,
        rate_limit: None,
        when_armed: Restraint::Limited,
        loss_patience: Duration::ZERO,
    }
}

impl World {
    /// A world with our own server in it.
    pub fn new(seed: u64, faults: Faults) -> World {
        World::with(seed, faults, NO_AUTOPILOT, |files| Box::new(Ours::new(files, seed)))
    }

    /// A world with another server, of this `MAV_AUTOPILOT`.
    pub fn with(
        seed: u64,
        faults: Faults,
        autopilot: u8,
        far: impl FnOnce(MemoryFiles) -> Box<dyn FarSide>,
    ) -> World {
        let now = Instant::now();
        let options = options(seed);
        let files = MemoryFiles::new();
        let mut world = World {
            now,
            start: now,
            hub: Hub::new(now, options),
            far: far(files.clone()),
            files,
            network: Network::new(faults, seed),
            outcomes: BTreeMap::new(),
            address: 7,
            armed: false,
            uid: None,
            sent: 0,
            diary: None,
            last_sent: None,
            pages: Pages::default(),
            heard: 0,
            deaf: false,
            shared: false,
            overheard: Vec::new(),
            alarm: None,
            counter: None,
            autopilot,
            beat_due: now,
            ids: 0,
        };
        world.run_until(|world| world.hub.look(world.now, TARGET).is_some());
        world
    }

    /// A hub that keeps to so many bytes per second, in place of the one that is there.
    pub fn limit_rate(&mut self, rate: u32) {
        let options = Options { rate_limit: Some(rate), ..options(0) };
        self.hub = Hub::new(self.now, options);
        self.run_until(|world| world.hub.look(world.now, TARGET).is_some());
    }

    /// Whether an armed vehicle may be asked as much as one that is not, and how long a lost one is
    /// waited for; with a hub in place of the one that is there.
    pub fn set_rules(&mut self, when_armed: Restraint, loss_patience: Duration) {
        let options = Options { when_armed, loss_patience, ..options(0) };
        self.hub = Hub::new(self.now, options);
        self.run_until(|world| world.hub.look(world.now, TARGET).is_some());
    }

    /// Arms the vehicle, or disarms it, and has that heard.
    pub fn arm(&mut self, armed: bool) {
        self.armed = armed;
        self.run_until(|world| world.hub.look(world.now, TARGET).is_some_and(|k| k.armed == armed));
    }

    /// Begins a request.
    pub fn ask(&mut self, op: Op, class: Class) -> RequestId {
        self.ids += 1;
        let id = RequestId(self.ids);
        self.outcomes.insert(id, Outcome::default());
        self.hub.request(self.now, TARGET, id, op, class, PATIENCE);
        id
    }

    /// Begins an upload of `bytes`.
    pub fn upload(&mut self, path: &str, bytes: &[u8]) -> RequestId {
        let id = self.ask(Op::Write { path: path.into(), append: None }, Class::Write);
        self.outcomes.insert(
            id,
            Outcome { source: bytes.to_vec(), available: bytes.len(), ..Outcome::default() },
        );
        id
    }

    /// Begins an upload of `bytes` that a program has not written yet.
    pub fn upload_while_written(&mut self, path: &str, bytes: &[u8]) -> RequestId {
        let id = self.upload(path, bytes);
        let outcome = self.outcome(id);
        (outcome.available, outcome.idles) = (0, true);
        id
    }

    /// Lets an upload's source have so many of its bytes and no more.
    pub fn provide(&mut self, id: RequestId, available: usize) {
        self.outcome(id).available = available;
        let now = self.now;
        if let Some(client) = self.hub.client(id) {
            client.more(now, id);
        }
    }

    /// Begins a read.
    pub fn read(&mut self, path: &str, offset: u32, length: u32) -> RequestId {
        self.ask(Op::Read { path: path.into(), offset, length, expected: None }, Class::Demand)
    }

    /// Runs a request to its end.
    pub fn finish(&mut self, id: RequestId) -> Result<Reply, Error> {
        self.run_until(|world| !world.outcomes[&id].results.is_empty());
        self.outcomes[&id].results[0]
    }

    /// Asks and waits for the end.
    pub fn perform(&mut self, op: Op) -> Result<Reply, Error> {
        let id = self.ask(op, Class::Metadata);
        self.finish(id)
    }

    /// Another station's request reaches the vehicle, by a way of its own.
    pub fn intrude(&mut self, station: u8, request: &Payload) {
        self.far.receive(self.now, station, request);
    }

    /// The vehicle's link to a station goes, or comes back.
    pub fn link(&mut self, station: u8, there: bool) {
        self.far.link(station, there);
    }

    /// What the vehicle did to its tree.
    pub fn changes(&self) -> &[Opcode] {
        self.far.changes()
    }

    /// Files open on the vehicle.
    pub fn open_files(&self) -> usize {
        self.far.open_files(self.now)
    }

    /// The vehicle loses all it remembers, its files excepted.
    pub fn reboot(&mut self) {
        self.far.restart();
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(|world| world.now >= end);
    }

    pub fn run_until(&mut self, reached: impl Fn(&World) -> bool) {
        for _ in 0..STEPS_MAX {
            if reached(self) {
                return;
            }
            self.step();
        }
        panic!("no end after {:?} of virtual time", self.elapsed());
    }

    /// Every request ended once, and nothing is left open.
    pub fn check_quiet(&mut self) {
        self.run_for(Duration::from_secs(30));
        for (id, outcome) in &self.outcomes {
            assert_eq!(outcome.results.len(), 1, "{id:?} ended {} times", outcome.results.len());
        }
        assert!(!self.hub.holds_sessions(), "a session is left open");
        assert_eq!(self.far.open_files(self.now), 0, "the server has a file open");
    }

    /// Leaps to the next moment at which something happens.
    pub fn step(&mut self) {
        self.obey();
        let hub_wakes = self.drain_hub();
        let far_wakes = self.drain_far();
        let arrival = self.network.next_arrival();
        let wakes = [hub_wakes, far_wakes, arrival, Some(self.beat_due), self.alarm];
        let next = wakes.into_iter().flatten().min().unwrap_or(self.now);
        assert!(hub_wakes.is_none_or(|at| at > self.now), "the hub asks to be polled for ever");
        self.now = self.now.max(next);
        if self.now >= self.beat_due {
            self.beat_due = self.now + BEAT;
            let packet = Packet::Heartbeat;
            self.network.send(self.now, Way::Down, packet.bytes(), packet);
        }
        while let Some((way, packet)) = self.network.arrived(self.now) {
            self.deliver(way, packet);
        }
        // What ends by this is told before the next leap in time.
        self.drain_hub();
    }

    fn deliver(&mut self, way: Way, packet: Packet) {
        match (way, packet) {
            (Way::Up, Packet::Ftp(_)) if self.deaf => {}
            (Way::Up, Packet::Ftp(payload)) => self.far.receive(self.now, US, &payload),
            (Way::Up, Packet::AskIdentity) => {
                let packet = self.uid.map(Packet::Identity);
                if let Some(packet) = packet.filter(|_| !self.deaf) {
                    self.network.send(self.now, Way::Down, packet.bytes(), packet);
                }
            }
            (Way::Up, Packet::Heartbeat | Packet::Foreign(_) | Packet::Identity(_)) => {}
            (Way::Down, Packet::AskIdentity) => {}
            (Way::Down, Packet::Identity(uid)) => {
                let incoming = Incoming::Identity(Identity { uid, uid2: [0; 18] });
                self.hub.receive(self.now, self.address, TARGET, incoming);
            }
            (Way::Down, Packet::Heartbeat) => {
                let base_mode = if self.armed { 128 } else { 0 };
                let autopilot = self.autopilot;
                let heartbeat = Heartbeat { vehicle_type: 18, autopilot, base_mode };
                let incoming = Incoming::Heartbeat(heartbeat);
                self.hub.receive(self.now, self.address, TARGET, incoming);
            }
            (Way::Down, Packet::Ftp(payload)) => {
                self.heard += 1;
                self.pages.heard(&payload);
                self.hear(245, 191, &payload);
            }
            (Way::Down, Packet::Foreign(payload)) => self.hear(255, 190, &payload),
        }
    }

    fn hear(&mut self, target_system: u8, target_component: u8, payload: &Payload) {
        let payload = payload.encode();
        let incoming = Incoming::Ftp { target_system, target_component, payload };
        self.hub.receive(self.now, self.address, TARGET, incoming);
    }

    fn obey(&mut self) {
        let Some(counter) = &mut self.counter else { return };
        while let Ok(command) = counter.commands.try_recv() {
            counter.desk.obey(self.now, &mut self.hub, command);
        }
        counter.desk.publish(self.now, &self.hub);
    }

    fn drain_hub(&mut self) -> Option<Instant> {
        for _ in 0..OUTPUTS_MAX {
            match self.hub.poll(self.now) {
                HubOutput::Send(_, Frame::Ftp(target, payload)) => {
                    assert_eq!(target, TARGET);
                    self.sent += 1;
                    self.last_sent = Some(payload);
                    if let Some(diary) = &mut self.diary {
                        diary.push((self.now, payload));
                    }
                    self.pages.sent(&payload);
                    let packet = Packet::Ftp(payload);
                    self.network.send(self.now, Way::Up, packet.bytes(), packet);
                }
                HubOutput::Send(_, Frame::AskIdentity(_)) if self.uid.is_some() => {
                    let packet = Packet::AskIdentity;
                    self.network.send(self.now, Way::Up, packet.bytes(), packet);
                }
                HubOutput::Send(_, Frame::Heartbeat | Frame::AskIdentity(_)) => {}
                HubOutput::Event(event) => self.record(event),
                HubOutput::Wait(at) => return at,
            }
        }
        panic!("the hub has something to say for ever");
    }

    fn drain_far(&mut self) -> Option<Instant> {
        loop {
            self.far.line(self.network.waiting_bytes(self.now, Way::Down));
            let packet = match self.far.poll(self.now) {
                Said::To(US, payload) => Packet::Ftp(*payload),
                Said::To(_, payload) => {
                    self.overheard.push(*payload);
                    if !self.shared {
                        continue;
                    }
                    Packet::Foreign(*payload)
                }
                Said::Nothing(at) => return at.filter(|at| *at > self.now),
            };
            self.network.send(self.now, Way::Down, packet.bytes(), packet);
        }
    }

    fn record(&mut self, event: Event) {
        if let Some(counter) = &mut self.counter {
            return counter.desk.tell(self.now, &mut self.hub, event);
        }
        match event {
            Event::Opened(id, size) => self.outcome(id).opened = Some(size),
            Event::Data(id, offset, payload, range) => {
                let bytes = payload.data()[range].to_vec();
                self.outcome(id).bytes.insert(offset, bytes);
            }
            Event::Page(id, mut entries) => self.outcome(id).entries.append(&mut entries),
            Event::Acknowledged(id, offset) => self.outcome(id).acknowledged = offset,
            Event::Done(id, result) => {
                // What a listing still had on its way is void.
                self.pages.flying.clear();
                self.outcome(id).results.push(result);
            }
            Event::Want(id, offset, length) => {
                self.yield_source(id, offset as usize, length as usize)
            }
        }
    }

    fn yield_source(&mut self, id: RequestId, offset: usize, length: usize) {
        let outcome = &self.outcomes[&id];
        let (all, there) = (outcome.source.len(), outcome.available);
        let bytes = outcome.source[offset.min(there)..(offset + length).min(there)].to_vec();
        let Some(client) = self.hub.client(id) else { return };
        match bytes.is_empty() {
            false => client.supply(id, offset as u32, &bytes),
            true if offset >= all => client.finish_source(id, all as u32),
            true if outcome.idles => client.idle(self.now, id),
            true => client.starve(id),
        }
    }

    fn outcome(&mut self, id: RequestId) -> &mut Outcome {
        self.outcomes.get_mut(&id).expect("an event of a request that was never made")
    }
}
