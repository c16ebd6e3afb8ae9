//! What is known of one component out there: where it is, whether it is heard, who it is.

use std::fmt;
use std::time::{Duration, Instant};

use crate::mavftp::client::{Bursts, Client, Proof, Restraint, SMALL_FILE_BYTES_MAX, Traits};

use super::{Heartbeat, Identity, Target};

/// `MAV_MODE_FLAG_SAFETY_ARMED` of a heartbeat's base mode.
const ARMED: u8 = 128;
/// The component id of an autopilot.
const AUTOPILOT: u8 = 1;
/// `MAV_TYPE_GCS`: a ground station has no files for us.
const GROUND_STATION: u8 = 6;
/// `MAV_AUTOPILOT_INVALID`: a component that is no autopilot.
const NO_AUTOPILOT: u8 = 8;
/// How often an identity is asked for before it counts as unknown.
const IDENTITY_TRIES: u32 = 5;
/// Between two questions for an identity.
const IDENTITY_PAUSE: Duration = Duration::from_secs(1);
/// The same complaint about one vehicle is logged so often at most; it may be caused by every frame.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);
/// Two heartbeats are missing.
const GAP: Duration = Duration::from_millis(2500);
/// ArduPilot queues five requests and loses the rest silently.
const ARDUPILOT_QUEUE: usize = 5;
/// Other servers answer as fast as requests come; this covers 500 kB/s and 80 ms with much lost.
const OPEN_QUEUE: usize = 768;

/// Server families, by the autopilot field of the heartbeat (`MAV_AUTOPILOT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// ArduPilot.
    ArduPilot,
    /// PX4.
    Px4,
    /// Anything else: MAVSDK components, cameras, our own server.
    Other,
}

impl Family {
    fn of(autopilot: u8) -> Family {
        match autopilot {
            3 => Family::ArduPilot,
            12 => Family::Px4,
            _ => Family::Other,
        }
    }

    /// What such a server is known to take.
    pub fn traits(self) -> Traits {
        match self {
            Family::ArduPilot => Traits {
                queue: ARDUPILOT_QUEUE,
                keeps_content: true,
                one_session: false,
                bursts: Bursts::Queued,
            },
            Family::Px4 => Traits {
                queue: OPEN_QUEUE,
                keeps_content: true,
                one_session: true,
                bursts: Bursts::Replaced,
            },
            // MAVSDK has one session as well, but refuses nobody: who opens last has it. Its bursts are
            // slower than reads on every link, and harm what is read beside them.
            Family::Other => Traits {
                queue: OPEN_QUEUE,
                keeps_content: false,
                one_session: false,
                bursts: Bursts::Unused,
            },
        }
    }

    /// Whether it has virtual places beside its files, with names that begin with `@`.
    pub fn has_virtual_places(self) -> bool {
        match self {
            Family::ArduPilot => true,
            Family::Px4 | Family::Other => false,
        }
    }

    /// Its name, for people.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Family::ArduPilot => Some("ArduPilot"),
            Family::Px4 => Some("PX4"),
            Family::Other => None,
        }
    }
}

/// One component out there, and our client of it.
#[derive(Debug)]
pub struct Vehicle<P> {
    /// Its system and component id.
    pub target: Target,
    /// Where it is.
    pub address: P,
    /// Our client of it, once something has been asked.
    pub client: Option<Client>,
    /// Grows when what was cached may belong to another vehicle.
    pub epoch: u64,
    /// The last epoch that began because another one said who it is.
    pub last_other: u64,
    heartbeat: Heartbeat,
    heard: Instant,
    /// Since when it has been heard without a gap.
    steady: Instant,
    /// Who it says it is, if it does.
    pub identity: Option<Identity>,
    identity_tries: u32,
    identity_due: Option<Instant>,
    two_places: Complaint,
    two_identities: Complaint,
    /// What it may be asked, as the log has it.
    told: Restraint,
    arming: Complaint,
}

/// Something wrong that may go on: when it was logged last.
#[derive(Debug, Default)]
struct Complaint(Option<Instant>);

impl Complaint {
    /// Whether to log it now.
    fn is_due(&mut self, now: Instant) -> bool {
        let since = self.0.map(|last| now.saturating_duration_since(last));
        let due = since.is_none_or(|since| since >= COMPLAINT_PAUSE);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

impl<P: Copy + Eq + fmt::Debug> Vehicle<P> {
    /// A component whose first heartbeat came from `address`.
    pub fn new(now: Instant, target: Target, address: P, heartbeat: Heartbeat) -> Vehicle<P> {
        Vehicle {
            target,
            address,
            client: None,
            epoch: 0,
            last_other: 0,
            heartbeat,
            heard: now,
            steady: now,
            identity: None,
            identity_tries: 0,
            identity_due: None,
            two_places: Complaint::default(),
            two_identities: Complaint::default(),
            told: Restraint::Free,
            arming: Complaint::default(),
        }
    }

    /// Whether it may have files for us.
    pub fn is_candidate(&self) -> bool {
        self.heartbeat.vehicle_type != GROUND_STATION
    }

    /// Whether it is an autopilot.
    pub fn is_autopilot(&self) -> bool {
        self.target.component == AUTOPILOT && self.heartbeat.autopilot != NO_AUTOPILOT
    }

    /// Whether writes could upset it in flight.
    pub fn is_armed(&self) -> bool {
        self.target.component == AUTOPILOT && self.heartbeat.base_mode & ARMED != 0
    }

    /// What it may be asked, where `when_armed` is the rule for armed autopilots.
    pub fn restraint(&self, when_armed: Restraint) -> Restraint {
        if self.is_armed() { when_armed } else { Restraint::Free }
    }

    /// Logs that one whose files are used has been armed or disarmed; one that does both all the time
    /// is not worth a line each.
    pub fn tell_restraint(&mut self, now: Instant, restraint: Restraint) {
        if restraint == self.told || self.client.is_none() {
            return;
        }
        let target = self.target;
        match restraint {
            Restraint::Free => tracing::info!(%target, "disarmed: its files are free again"),
            Restraint::Limited if self.arming.is_due(now) => tracing::warn!(
                %target,
                "armed: until it is disarmed nothing is changed, and only files of up to {} KiB are \
                 read (--when-armed)",
                SMALL_FILE_BYTES_MAX >> 10
            ),
            Restraint::Silent if self.arming.is_due(now) => {
                tracing::warn!(%target, "armed: until it is disarmed nothing is asked (--when-armed)");
            }
            Restraint::Limited | Restraint::Silent => {}
        }
        self.told = restraint;
    }

    /// Its server's family.
    pub fn family(&self) -> Family {
        Family::of(self.heartbeat.autopilot)
    }

    /// How long nothing has been heard of it.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// When it was heard last, and since when without a gap.
    pub fn heard_since(&self) -> (Instant, Instant) {
        (self.heard, self.steady)
    }

    /// Notes a frame of it, from where it is.
    pub fn heard(&mut self, now: Instant, link_timeout: Duration) {
        if self.silence(now) >= link_timeout {
            self.returned(now);
        }
        if self.silence(now) >= GAP {
            self.steady = now;
        }
        self.heard = now;
    }

    /// Notes a heartbeat of it. A new address is believed only when the old one has gone silent.
    pub fn beat(&mut self, now: Instant, from: P, heartbeat: Heartbeat, link_timeout: Duration) {
        if from != self.address && self.silence(now) < link_timeout {
            if self.two_places.is_due(now) {
                let (target, kept, other) = (self.target, self.address, from);
                tracing::warn!(%target, ?kept, ?other, "the same ids are live at two addresses");
            }
            return;
        }
        self.heartbeat = heartbeat;
        let moved = from != self.address;
        self.address = from;
        self.heard(now, link_timeout);
        if moved {
            tracing::info!(target = %self.target, "heard from another address now");
        }
    }

    /// Notes who it says it is.
    pub fn identify(&mut self, now: Instant, identity: Identity) {
        if identity.is_unknown() {
            return self.stays_unknown();
        }
        self.identity_due = None;
        if self.identity.as_ref().is_some_and(|known| *known != identity) {
            if self.two_identities.is_due(now) {
                tracing::warn!(target = %self.target, "another vehicle answers under the same ids");
            }
            self.epoch += 1;
            self.last_other = self.epoch;
            self.forget_server();
        }
        self.identity = Some(identity);
    }

    /// Begins to ask who it is, unless that is known.
    pub fn wonder(&mut self, now: Instant) {
        if self.identity.is_none() && self.identity_tries == 0 {
            self.identity_due = Some(now);
        }
    }

    /// Whether to ask now who it is. One that is not heard is not asked, and no answer of it is missed.
    pub fn asks_identity(&mut self, now: Instant) -> bool {
        if self.identity_due.is_none_or(|due| due > now) {
            return false;
        }
        self.identity_due = Some(now + IDENTITY_PAUSE);
        if self.silence(now) >= GAP {
            return false;
        }
        if self.identity_tries >= IDENTITY_TRIES {
            self.stays_unknown();
            return false;
        }
        self.identity_tries += 1;
        true
    }

    /// It does not say who it is. If it did before, it may be another one now.
    fn stays_unknown(&mut self) {
        self.identity_due = None;
        if self.identity.take().is_some() {
            self.epoch += 1;
            self.forget_server();
        }
    }

    /// Who is there now may be another one: nothing that was begun may reach it.
    fn forget_server(&mut self) {
        if let Some(client) = &mut self.client {
            client.forget_server();
        }
    }

    /// Whether it has to say yet that it is who it was before its silence, or that is given up.
    pub fn proof(&self, now: Instant) -> Proof {
        if self.identity.is_none() || self.identity_due.is_none() {
            return Proof::Given;
        }
        if self.silence(now) >= GAP { Proof::Missed } else { Proof::Awaited }
    }

    /// When to ask next who it is.
    pub fn identity_due(&self) -> Option<Instant> {
        self.identity_due
    }

    /// It is back from a silence: what was open is lost, and it may be another one.
    fn returned(&mut self, now: Instant) {
        let may_be_another = self.identity.is_none();
        self.epoch += u64::from(may_be_another);
        if let Some(client) = &mut self.client {
            client.server_returned();
            if may_be_another {
                client.end_uploads();
            }
        }
        self.identity_tries = 0;
        self.identity_due = Some(now);
    }
}
