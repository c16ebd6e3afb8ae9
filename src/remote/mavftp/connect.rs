//! Finding a vehicle with files: wait for heartbeats, choose, ask for FTP.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::link::Peer;
use crate::link::address::Address;
use crate::link::node::Node;
use crate::mavftp::client::{Class, Error, Event, Op, RequestId};
use crate::mavftp::hub::{self, Frame, Hub, HubOutput, Known, Target, Wish};
use crate::remote::{OpId, Remote};

use super::desk::Desk;
use super::thread::{DRAIN_FRAMES_MAX, Driver};
use super::{MavftpRemote, Options, translate};

/// After the first heartbeat, so long is waited for an autopilot before a component will do.
const AUTOPILOT_GRACE: Duration = Duration::from_millis(1500);
/// How long a component may take to answer its first FTP request.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// So many of those heard are named; a crowd does not fit in a line.
const NAMED_MAX: usize = 8;
/// What to do where frames are heard and not believed.
pub(super) const SAME_KEY: &str = "give both sides the same --sign-key-file and the right time, or leave the \
                        option out if the vehicle does not sign";
/// What else to check where a key is given and nothing at all is heard.
pub(super) const KEY_THERE: &str = ", and that the vehicle has the key of --sign-key-file: with another one it \
                         may not answer";
/// What may be the matter where frames are signed and we have no key.
pub(super) const SIGNED_THERE: &str = "; frames are signed there, and perhaps only signed ones are answered: \
                            --sign-key-file gives us the key";
/// The first word about what is missing comes after this; fast mounts say nothing.
const SILENT_AT_FIRST: Duration = Duration::from_secs(1);

/// Why no vehicle could be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The link itself failed.
    #[error("the link failed: {0}")]
    Io(#[from] io::Error),
    /// Nobody fitting was heard.
    #[error("{0}")]
    NoVehicle(String),
    /// Somebody was heard, who answers no FTP.
    #[error("{0}")]
    NoFtp(String),
}

/// Blocks until a vehicle with FTP is found, or the mount timeout has passed. `waiting` gets a line
/// each time that what is missing changes.
pub fn connect(
    mut node: Node,
    address: &Address,
    options: &Options,
    waiting: &mut dyn FnMut(&str),
) -> Result<Arc<dyn Remote>, ConnectError> {
    node.greet_with(translate::message(&Frame::Heartbeat));
    let now = Instant::now();
    let search = Search {
        node,
        hub: Hub::new(now, hub_options(options)),
        wish: wish(options),
        place: address.to_string(),
        advice: advice(address),
        started: now,
        end: now + options.mount_timeout,
        first_heard: None,
        mute: HashSet::new(),
        refusing: Vec::new(),
        said: String::new(),
        waiting,
    };
    search.run(options)
}

/// A hub that waits for nobody who is not heard.
pub(super) fn hub_options(options: &Options) -> hub::Options {
    hub::Options {
        own_system: options.own_system,
        own_component: options.own_component,
        link_timeout: options.link_timeout,
        seed: seed(),
        rate_limit: options.rate_limit,
        when_armed: translate::restraint(options.when_armed),
        loss_patience: Duration::ZERO,
    }
}

/// Whom the user wants.
pub(super) fn wish(options: &Options) -> Wish {
    Wish {
        system: options.target.map(|(system, _)| system),
        component: options.target.and_then(|(_, component)| component),
    }
}

/// How a target answers a request for its root directory.
enum Answer {
    /// With what is there.
    Lists,
    /// With a refusal.
    Refuses,
    /// Not at all.
    Nothing,
}

struct Search<'a> {
    node: Node,
    hub: Hub<Peer>,
    wish: Wish,
    place: String,
    /// What to check when nobody is heard.
    advice: &'static str,
    started: Instant,
    end: Instant,
    first_heard: Option<Instant>,
    /// Who answered no FTP.
    mute: HashSet<Target>,
    /// Who answered FTP, but only to refuse: a MAVSDK component beside the one that serves, or a
    /// server whose root may not be listed. The first will do if nobody else does.
    refusing: Vec<Known>,
    said: String,
    waiting: &'a mut dyn FnMut(&str),
}

impl Search<'_> {
    fn run(mut self, options: &Options) -> Result<Arc<dyn Remote>, ConnectError> {
        loop {
            let now = Instant::now();
            // In a crowd there is always somebody more to ask.
            if now < self.end
                && let Some(known) = self.choose(now)
            {
                let target = known.target;
                self.say(now, &format!("asking system {target} for its files"));
                match self.probe(target, options)? {
                    Answer::Lists => return self.finish(known, options),
                    Answer::Refuses => self.refusing.push(known),
                    Answer::Nothing => _ = self.mute.insert(target),
                }
                continue;
            }
            if let Some(known) = self.refusing.first().copied().filter(|_| self.is_settled(now)) {
                return self.finish(known, options);
            }
            if now >= self.end {
                return Err(self.failure(now));
            }
            self.say_missing(now);
            self.turn(None)?;
        }
    }

    /// The best candidate that has not failed to answer; components wait for autopilots.
    fn choose(&mut self, now: Instant) -> Option<Known> {
        let mut candidates = self.hub.candidates(now, self.wish);
        candidates.retain(|known| {
            let refuses = self.refusing.iter().any(|refusing| refusing.target == known.target);
            known.up && !refuses && !self.mute.contains(&known.target)
        });
        if candidates.is_empty() {
            return None;
        }
        self.first_heard.get_or_insert(now);
        let settled = self.is_settled(now);
        candidates.into_iter().find(|known| known.autopilot || settled)
    }

    /// Whether everybody who sends heartbeats has had the time to be heard, or need not be.
    fn is_settled(&self, now: Instant) -> bool {
        let exact = self.wish.component.is_some();
        exact || self.first_heard.is_some_and(|first| now >= first + AUTOPILOT_GRACE)
    }

    /// How a target answers its first FTP request.
    fn probe(&mut self, target: Target, options: &Options) -> Result<Answer, ConnectError> {
        let id = RequestId(OpId::fresh().0);
        let now = Instant::now();
        let rest = self.end.saturating_duration_since(now);
        let patience = PROBE_PATIENCE.min(options.op_timeout).min(rest);
        let op = Op::List { path: b"/".to_vec() };
        self.hub.request(now, target, id, op, Class::Metadata, patience);
        let mut listed = false;
        loop {
            for event in self.turn(Some(id))? {
                match event {
                    Event::Page(..) => {
                        listed = true;
                        if let Some(client) = self.hub.client(id) {
                            client.cancel(id);
                        }
                    }
                    Event::Done(_, result) => {
                        return Ok(match result {
                            Ok(_) => Answer::Lists,
                            Err(_) if listed => Answer::Lists,
                            // It is there, and is not asked for more.
                            Err(Error::Armed) => Answer::Lists,
                            Err(Error::TimedOut | Error::LinkDown) => Answer::Nothing,
                            Err(_) => Answer::Refuses,
                        });
                    }
                    Event::Opened(..)
                    | Event::Data(..)
                    | Event::Want(..)
                    | Event::Acknowledged(..) => {}
                }
            }
        }
    }

    /// Sends what is due and waits for what comes; events of `wanted` are handed out.
    fn turn(&mut self, wanted: Option<RequestId>) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let wake = loop {
            match self.hub.poll(Instant::now()) {
                HubOutput::Send(to, frame) => {
                    if let Err(error) = self.node.send(to, &translate::message(&frame)) {
                        tracing::debug!(%error, "a frame could not be sent");
                    }
                }
                HubOutput::Event(event) => events.push(event),
                HubOutput::Wait(at) => break at,
            }
        };
        if !events.is_empty() && wanted.is_some() {
            return Ok(events);
        }
        let wake = wake.map_or(self.end, |wake| wake.min(self.end));
        let mut deadline = wake;
        for _ in 0..DRAIN_FRAMES_MAX {
            let Some(received) = self.node.receive(Some(deadline))? else { break };
            let (source, incoming) = translate::incoming(&received);
            deadline = Instant::now();
            self.hub.receive(deadline, received.peer, source, incoming);
        }
        Ok(events)
    }

    fn say_missing(&mut self, now: Instant) {
        if let Some(missing) = self.missing(now) {
            self.say(now, &missing);
        }
    }

    fn say(&mut self, now: Instant, line: &str) {
        if line != self.said && now >= self.started + SILENT_AT_FIRST {
            self.said = line.to_owned();
            (self.waiting)(line);
        }
    }

    /// What is waited for; nothing while an autopilot may still come before a component is asked.
    fn missing(&self, now: Instant) -> Option<String> {
        let (place, heard) = (&self.place, self.heard(now));
        if heard.is_empty() {
            return Some(match self.unbelieved() {
                Some(refused) => refused,
                None => format!("no HEARTBEAT on {place} yet"),
            });
        }
        match self.wished() {
            Some(wish) if self.mute.is_empty() => {
                Some(format!("{wish} is not heard on {place} yet, only {heard}"))
            }
            None if self.mute.is_empty() => None,
            Some(_) | None => Some(format!("{heard} on {place} answers no FTP request yet")),
        }
    }

    fn heard(&self, now: Instant) -> String {
        let heard: Vec<Target> = self.hub.known(now).iter().map(|known| known.target).collect();
        named(&heard)
    }

    /// Whom the user named.
    fn wished(&self) -> Option<String> {
        let system = self.wish.system?;
        Some(match self.wish.component {
            Some(component) => format!("system {system} component {component}"),
            None => format!("system {system}"),
        })
    }

    fn failure(&self, now: Instant) -> ConnectError {
        let seconds = now.saturating_duration_since(self.started).as_secs();
        let mut mute: Vec<Target> = self.mute.iter().copied().collect();
        mute.sort();
        if !mute.is_empty() {
            let signs = !self.node.is_signed() && self.node.counters().signed > 0;
            return ConnectError::NoFtp(format!(
                "{} on {} answers no FTP request; check that FTP is enabled there, or name \
                 another component with --target SYS:COMP{}",
                named(&mute),
                self.place,
                if signs { SIGNED_THERE } else { "" }
            ));
        }
        let (place, heard) = (&self.place, self.heard(now));
        ConnectError::NoVehicle(match self.wished() {
            Some(wish) if !heard.is_empty() => format!(
                "{wish} was not heard on {place} within {seconds} s, only {heard}; name one of \
                 these with --target"
            ),
            None if !heard.is_empty() => format!(
                "only {heard} was heard on {place} within {seconds} s, no autopilot; name it with \
                 --target, or wait longer with --mount-timeout"
            ),
            Some(_) | None => match self.unbelieved() {
                Some(refused) => format!("{refused}; {SAME_KEY}"),
                None => {
                    let advice = self.advice;
                    let key = if self.node.is_signed() { KEY_THERE } else { "" };
                    format!("no HEARTBEAT on {place} within {seconds} s; check {advice}{key}")
                }
            },
        })
    }

    /// What was heard where nothing is believed of it.
    fn unbelieved(&self) -> Option<String> {
        let (place, counters) = (&self.place, self.node.counters());
        if counters.unsigned + counters.wrong_key > 0 {
            Some(format!("frames are heard on {place}, but none that is signed with our key"))
        } else if counters.stale > 0 {
            Some(format!("frames are heard on {place}, but signed too long ago by our time"))
        } else {
            None
        }
    }

    fn finish(mut self, known: Known, options: &Options) -> Result<Arc<dyn Remote>, ConnectError> {
        let desk = Desk::new(&known, label(&known));
        let status = desk.status();
        // While a vehicle was looked for, nobody was to be waited for.
        self.hub.set_loss_patience(options.loss_patience);
        let (sender, commands) = crossbeam_channel::unbounded();
        let waker = self.node.waker();
        let driver = Driver { node: self.node, hub: self.hub, desk, commands };
        let thread = std::thread::Builder::new().name("link".into()).spawn(move || driver.run())?;
        Ok(Arc::new(MavftpRemote { commands: sender, waker, status, thread: Some(thread) }))
    }
}

pub(super) fn advice(address: &Address) -> &'static str {
    match address {
        Address::Serial { .. } => {
            "that the vehicle is on, that it sends MAVLink to the port this line ends in, and that \
             the speed is the vehicle's, as in serial:/dev/ttyUSB0:115200"
        }
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Ftp(_) => {
            "that the vehicle is on, that it sends MAVLink to this address and port, and that no \
             firewall is between"
        }
    }
}

fn named(targets: &[Target]) -> String {
    let names: Vec<String> = targets.iter().take(NAMED_MAX).map(Target::to_string).collect();
    match targets.len().saturating_sub(NAMED_MAX) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn label(known: &Known) -> String {
    let Target { system, component } = known.target;
    let family = known.family.name().map(|name| format!(", {name}")).unwrap_or_default();
    let armed = if known.armed { ", armed" } else { "" };
    match known.autopilot {
        true => format!("system {system}{family}, FTP ok{armed}"),
        false => format!("system {system} component {component}{family}, FTP ok"),
    }
}

/// Differs from run to run: a server may remember the sequence numbers of the last one.
fn seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
}
