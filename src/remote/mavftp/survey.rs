//! A short look at everybody on a link: who is heard, whose files answer, how far and how fast. Closes
//! what it opens, changes nothing, and asks armed vehicles for listings at most. Must not know who
//! reads it.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use crate::link::Peer;
use crate::link::address::Address;
use crate::link::node::{Message, Node, Received};
use crate::mavftp::client::Restraint;
use crate::mavftp::hub::{Frame, Hub, Known, Target};
use crate::remote::Entry;
use crate::remote::survey::{PINGS, Reading, RoundTrip};

use super::connect::{hub_options, wish};
use super::{Options, translate};
use asking::Asking;
use ledger::Ledger;

mod advice;
mod asking;
mod found;
mod ledger;
mod reading;
mod words;

pub use found::{Answer, Ftp, Heard, Server, Survey};
pub use words::NO_AUTOPILOT;

/// Heartbeats come once a second: so long everybody is waited for.
const LISTENING: Duration = Duration::from_millis(2300);
/// The same after the first one was heard, where that was late.
const OTHERS: Duration = Duration::from_millis(1200);
/// No more components are asked for files: the others of a fleet would only be kept from their work.
const ASKED_MAX: usize = 8;
/// More components than any page shows.
const HEARD_MAX: usize = 1024;
/// How long a component may take for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// So long a component's answers are waited for in all.
const ASKING: Duration = Duration::from_secs(5);
/// How long one is asked for round trips.
const PINGING: Duration = Duration::from_secs(3);
/// After so many entries a directory is known well enough.
const ENTRIES_ENOUGH: usize = 300;
/// How long closing a file may take.
const FAREWELL: Duration = Duration::from_millis(1500);

/// Listens, asks and measures. Takes a few seconds, where nobody is heard the mount timeout; ends
/// early once `stopped` answers true.
///
/// # Errors
/// The link's own.
pub fn survey(
    mut node: Node,
    address: &Address,
    options: &Options,
    stopped: &dyn Fn() -> bool,
) -> io::Result<Survey> {
    node.greet_with(translate::message(&Frame::Heartbeat));
    let started = Instant::now();
    let mut look = Look {
        node,
        hub: Hub::new(started, hub_options(options)),
        options,
        stopped,
        notes: BTreeMap::new(),
        ledgers: BTreeMap::new(),
    };
    look.listen(started)?;
    let asked = look.ask_for_files()?;
    let used = look.choose(&asked);
    let mut reading = None;
    if let Some(used) = used {
        let listed = asked.get(&used).map(|asked| asked.entries.clone()).unwrap_or_default();
        for (target, _) in asked.iter().filter(|(_, asked)| asked.answer == Answer::Lists) {
            look.ping(*target)?;
        }
        reading = Some(look.read(used, listed)?);
    }
    look.leave()?;
    let counters = look.node.counters();
    let mut survey = Survey {
        seconds: started.elapsed().as_secs_f64(),
        advice: Vec::new(),
        frames: counters,
        heard: look.found(&asked, used.zip(reading)),
    };
    survey.advice = advice::advice(address, options, &survey);
    Ok(survey)
}

/// What a component said of itself.
struct Note {
    address: String,
    vehicle_type: u8,
    autopilot: u8,
    base_mode: u8,
    heartbeats: u64,
    /// Capabilities and firmware, of its AUTOPILOT_VERSION.
    version: Option<(u64, u32)>,
}

/// How a component answered the request for its root.
struct Asked {
    answer: Answer,
    reason: Option<String>,
    entries: Vec<Entry>,
}

/// The link during a survey.
struct Look<'a> {
    node: Node,
    hub: Hub<Peer>,
    options: &'a Options,
    stopped: &'a dyn Fn() -> bool,
    notes: BTreeMap<Target, Note>,
    ledgers: BTreeMap<Target, Ledger>,
}

impl Look<'_> {
    fn listen(&mut self, started: Instant) -> io::Result<()> {
        let mut end = started + self.options.mount_timeout;
        let mut heard = false;
        while Instant::now() < end && !(self.stopped)() {
            self.turn(end)?;
            if !heard && self.is_wished_heard() {
                heard = true;
                end = (started + LISTENING).max(Instant::now() + OTHERS);
            }
        }
        Ok(())
    }

    /// Whether somebody is heard whom the user may mean.
    fn is_wished_heard(&self) -> bool {
        !self.hub.candidates(Instant::now(), wish(self.options)).is_empty()
    }

    /// Asks everybody who may have files for the root directory.
    fn ask_for_files(&mut self) -> io::Result<BTreeMap<Target, Asked>> {
        let candidates = self.hub.candidates(Instant::now(), wish(self.options));
        let mut asked = BTreeMap::new();
        let mut lists = Vec::new();
        for (number, known) in candidates.iter().enumerate() {
            if number < ASKED_MAX && known.up {
                lists.push((known.target, asking::list(b"/")));
            } else {
                asked.insert(known.target, Asked::not("enough others are asked"));
            }
        }
        let mut entries: BTreeMap<Target, Vec<Entry>> = BTreeMap::new();
        let asking = Asking { patience: PATIENCE, until: Instant::now() + ASKING };
        let ended = self.ask(lists, asking, &mut |target, event| {
            let all = entries.entry(target).or_default();
            all.extend(asking::entries(event));
            all.len() >= ENTRIES_ENOUGH
        })?;
        for (target, result) in ended {
            let entries = entries.remove(&target);
            asked.insert(target, Asked::of(result, entries));
        }
        Ok(asked)
    }

    /// Whose files a mount would show.
    fn choose(&self, asked: &BTreeMap<Target, Asked>) -> Option<Target> {
        let candidates = self.hub.candidates(Instant::now(), wish(self.options));
        let lists = |known: &&Known| {
            asked.get(&known.target).is_some_and(|asked| asked.answer == Answer::Lists)
        };
        candidates.iter().find(lists).map(|known| known.target)
    }

    /// Asks for the checksum of a file that is not there, which costs one answer and tells whether
    /// there are checksums. One that is armed or has none is asked for its root once more.
    fn ping(&mut self, target: Target) -> io::Result<()> {
        let asking = Asking { patience: PATIENCE, until: Instant::now() + PINGING };
        for number in 0..PINGS {
            let measured = self.ledgers.get(&target).map_or(0, |ledger| ledger.round_trips.len());
            if Instant::now() >= asking.until || (measured >= PINGS && number > 0) {
                break;
            }
            let free = self.restraint(target) == Restraint::Free;
            let sums = self.ledgers.get(&target).and_then(|ledger| ledger.sums) != Some(false);
            let op = if free && sums { asking::absent_sum() } else { asking::list(b"/") };
            self.ask(vec![(target, op)], asking, &mut |_, _| true)?;
        }
        Ok(())
    }

    fn restraint(&self, target: Target) -> Restraint {
        let known = self.hub.look(Instant::now(), target);
        known.map_or(Restraint::Silent, |known| known.restraint)
    }

    fn is_armed(&self, target: Target) -> bool {
        self.hub.look(Instant::now(), target).is_none_or(|known| known.armed)
    }

    /// Closes what is open.
    fn leave(&mut self) -> io::Result<()> {
        self.hub.leave();
        let end = Instant::now() + FAREWELL;
        self.turn(Instant::now())?;
        while self.hub.holds_sessions() && Instant::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }

    /// Notes who speaks, and what it is that answers.
    fn note(&mut self, now: Instant, received: &Received) {
        let target = Target { system: received.system, component: received.component };
        let own = (self.options.own_system, self.options.own_component);
        if (received.system, received.component) == own {
            return;
        }
        match &received.message {
            Message::Heartbeat { vehicle_type, autopilot, base_mode, .. } => {
                if self.notes.len() >= HEARD_MAX && !self.notes.contains_key(&target) {
                    return;
                }
                let note = self.notes.entry(target).or_insert_with(|| Note {
                    address: received.peer.to_string(),
                    vehicle_type: 0,
                    autopilot: 0,
                    base_mode: 0,
                    heartbeats: 0,
                    version: None,
                });
                (note.vehicle_type, note.autopilot) = (*vehicle_type, *autopilot);
                note.base_mode = *base_mode;
                note.heartbeats += 1;
            }
            Message::AutopilotVersion { capabilities, flight_sw_version, .. } => {
                if let Some(note) = self.notes.get_mut(&target) {
                    note.version = Some((*capabilities, *flight_sw_version));
                }
            }
            Message::Ftp { target_system, target_component, payload } => {
                if (*target_system, *target_component) == own
                    && let Some(answer) = asking::answer(payload)
                    && let Some(ledger) = self.ledgers.get_mut(&target)
                {
                    ledger.heard(now, &answer);
                }
            }
            Message::Command { .. }
            | Message::CommandAck { .. }
            | Message::RadioStatus { .. }
            | Message::Other(_) => {}
        }
    }
}

/// Puts together what is known, the ones of a system beside one another.
impl Look<'_> {
    fn found(
        &self,
        asked: &BTreeMap<Target, Asked>,
        used: Option<(Target, Reading)>,
    ) -> Vec<Heard> {
        let heard = |(target, note): (&Target, &Note)| {
            let used = used.as_ref().filter(|(used, _)| used == target).map(|(_, reading)| reading);
            let known = self.hub.look(Instant::now(), *target);
            let asked = asked.get(target);
            let mut heard = Heard::of(*target, note, known.as_ref(), asked);
            if heard.ftp.answer == Answer::Lists
                && let Some(known) = known
            {
                let ledger = self.ledgers.get(target);
                let mut server = Server::of(known.family, ledger);
                server.chosen = used.is_some();
                server.reading = used.cloned();
                heard.ftp.server = Some(server);
            }
            heard
        };
        self.notes.iter().map(heard).collect()
    }
}

/// The round trips and the loss of a ledger.
fn measured(ledger: Option<&Ledger>) -> (Option<RoundTrip>, u64, u64) {
    ledger.map_or((None, 0, 0), |ledger| {
        (RoundTrip::of(&ledger.round_trips), ledger.sent, ledger.lost())
    })
}
