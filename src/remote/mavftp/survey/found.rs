//! What a survey found, as plain values for pages and programs. Must not know links.

use serde::Serialize;

use crate::link::frames::Counters;
use crate::mavftp::client::{Bursts, Error, Reply};
use crate::mavftp::hub::{Family, Known, Target};
use crate::mavftp::wire::PATH_BYTES_MAX;
use crate::remote::Entry;
use crate::remote::survey::{Reading, RoundTrip};

use super::super::translate;
use super::ledger::Ledger;
use super::{Asked, Note, measured, words};

/// `MAV_MODE_FLAG_SAFETY_ARMED`.
const ARMED: u8 = 128;
/// `MAV_PROTOCOL_CAPABILITY_FTP`.
const FTP_CAPABILITY: u64 = 32;

/// Everybody on a link.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Survey {
    /// How long it took.
    pub seconds: f64,
    /// Who was heard, by system and component.
    pub heard: Vec<Heard>,
    /// Frames received.
    pub frames: Counters,
    /// What to check, a sentence each, where something is missing.
    pub advice: Vec<String>,
}

/// A component that sends heartbeats.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Heard {
    /// Its system id.
    pub system: u8,
    /// Its component id.
    pub component: u8,
    /// Its `MAV_TYPE`.
    pub vehicle_type: u8,
    /// The same in words.
    pub vehicle_type_name: &'static str,
    /// Its `MAV_AUTOPILOT`.
    pub autopilot: u8,
    /// The same in words.
    pub autopilot_name: &'static str,
    /// Whether it says that it is armed.
    pub armed: bool,
    /// Where it sends from.
    pub address: String,
    /// Heartbeats heard.
    pub heartbeats: u64,
    /// Whether it says that it has FTP; not all that have it do. `None`: it did not say.
    pub ftp_capability: Option<bool>,
    /// Release of its firmware, where it says so.
    pub firmware: Option<String>,
    /// Who it is, the same after a reboot; where it says so.
    pub identity: Option<String>,
    /// Its files.
    pub ftp: Ftp,
}

/// How a component answered the request for its files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ftp {
    /// How.
    pub answer: Answer,
    /// Why it refused or was not asked.
    pub reason: Option<String>,
    /// Entries of the root directory that were listed.
    pub root_entries: usize,
    /// Its server, where it lists.
    pub server: Option<Server>,
}

/// Whether a component has files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It lists its root directory.
    Lists,
    /// It answers, but only to refuse.
    Refuses,
    /// It does not answer.
    Silent,
    /// Nothing was asked.
    NotAsked,
}

/// A server, as far as it is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Server {
    /// Whether a mount with the same options shows these files.
    pub chosen: bool,
    /// `ArduPilot`, `PX4`; `None`: another, such as MAVSDK's or our own.
    pub family: Option<&'static str>,
    /// Whether it has but one session for all stations; known of the family.
    pub one_session: bool,
    /// Most requests that it takes at once, where few; known of the family.
    pub requests_at_once: Option<usize>,
    /// Whether bytes can be added to a file without sending all of it; known of the family.
    pub appends: bool,
    /// Whether it has files that are made when they are read (`@SYS`); known of the family.
    pub virtual_files: bool,
    /// Longest path, in bytes, that is sent to it.
    pub path_bytes_max: usize,
    /// Whether its listings have times (`ListDirectoryWithTime`); `None`: it did not say.
    pub lists_times: Option<bool>,
    /// Whether it computes checksums (`CalcFileCRC32`); `None`: it did not say.
    pub checksums: Option<bool>,
    /// Round trips of single requests.
    pub round_trip: Option<RoundTrip>,
    /// Requests sent.
    pub requests: u64,
    /// Requests that brought no answer.
    pub lost: u64,
    /// How fast it sends a file; `None`: another one was read from.
    pub reading: Option<Reading>,
}

impl Heard {
    pub(super) fn of(
        target: Target,
        note: &Note,
        known: Option<&Known>,
        asked: Option<&Asked>,
    ) -> Heard {
        let ground_station = known.is_none() || note.vehicle_type == words::GROUND_STATION;
        let unasked = if ground_station {
            "it is a ground station"
        } else {
            "another one is named with --target"
        };
        let capabilities = note.version.map(|(capabilities, _)| capabilities);
        Heard {
            system: target.system,
            component: target.component,
            vehicle_type: note.vehicle_type,
            vehicle_type_name: words::vehicle_type(note.vehicle_type),
            autopilot: note.autopilot,
            autopilot_name: words::autopilot(note.autopilot),
            armed: note.base_mode & ARMED != 0,
            address: note.address.clone(),
            heartbeats: note.heartbeats,
            ftp_capability: capabilities.map(|bits| bits & FTP_CAPABILITY != 0),
            firmware: note.version.and_then(|(_, version)| words::firmware(version)),
            identity: known.and_then(|known| known.identity).map(|identity| identity.to_string()),
            ftp: Ftp {
                answer: asked.map_or(Answer::NotAsked, |asked| asked.answer),
                reason: asked.map_or(Some(unasked.into()), |asked| asked.reason.clone()),
                root_entries: asked.map_or(0, |asked| asked.entries.len()),
                server: None,
            },
        }
    }
}

impl Server {
    pub(super) fn of(family: Family, ledger: Option<&Ledger>) -> Server {
        let traits = family.traits();
        let few = match traits.bursts {
            // A server that lets a burst run to its end has a short queue.
            Bursts::Queued => Some(traits.queue),
            Bursts::Unused | Bursts::Replaced => None,
        };
        let (round_trip, requests, lost) = measured(ledger);
        Server {
            chosen: false,
            family: family.name(),
            one_session: traits.one_session,
            requests_at_once: few,
            appends: traits.keeps_content,
            virtual_files: family.has_virtual_places(),
            path_bytes_max: PATH_BYTES_MAX,
            lists_times: ledger.and_then(|ledger| ledger.lists_times),
            checksums: ledger.and_then(|ledger| ledger.sums),
            round_trip,
            requests,
            lost,
            reading: None,
        }
    }
}

impl Asked {
    pub(super) fn not(reason: &str) -> Asked {
        let reason = Some(reason.to_owned());
        Asked { answer: Answer::NotAsked, reason, entries: Vec::new() }
    }

    /// How a listing of the root ended, and what came of it.
    pub(super) fn of(result: Result<Reply, Error>, entries: Option<Vec<Entry>>) -> Asked {
        let listed = entries.is_some();
        let entries = entries.unwrap_or_default();
        let (answer, reason) = match result {
            Ok(_) => (Answer::Lists, None),
            Err(_) if listed => (Answer::Lists, None),
            Err(Error::Armed) => (Answer::NotAsked, Some("it is armed (--when-armed)".into())),
            Err(Error::TimedOut | Error::LinkDown | Error::Cancelled) => (Answer::Silent, None),
            Err(error) => (Answer::Refuses, Some(translate::error(error).to_string())),
        };
        Asked { answer, reason, entries }
    }
}
