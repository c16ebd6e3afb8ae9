//! A short look at a far side: who is there, what can be done with its files, how far and how fast it
//! is. Changes nothing. Must not know how it is shown.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::connect::{node, of_a_server, refused};
use super::{Error, Interrupt, Options, Vehicle};
use crate::link::address::{Address, FtpAddress};
use crate::remote::survey::{
    DIRECTORIES_MAX, ENOUGH_BYTES, READ_BYTES_MAX, READ_TIME_MAX, ReadRate, Reading,
};
use crate::remote::{self, Class, Entry, Kind, Op, OpId, Remote, RemotePath, Reply, Sink};
use crate::remote::{ftp, mavftp};

/// How long a file is looked for on a server.
const SEARCH: Duration = Duration::from_secs(3);
/// How long the end of a read that was cancelled is waited for.
const CANCELLING: Duration = Duration::from_millis(500);

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// The address that was looked at.
    pub source: String,
    /// What is there.
    #[serde(flatten)]
    pub found: Found,
}

/// What is at an address.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "protocol")]
pub enum Found {
    /// Components on a MAVLink link, or nobody.
    Mavlink(mavftp::survey::Survey),
    /// An FTP server that let us in.
    Ftp(Server),
}

/// An FTP server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Server {
    /// What it offers.
    #[serde(flatten)]
    pub offers: ftp::survey::Survey,
    /// How listing the directory of the address ended.
    pub listing: Listing,
    /// How fast it sends a file.
    pub reading: Reading,
}

/// How a listing ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// So many entries.
    Entries(usize),
    /// It was refused, for this reason.
    Refused(String),
}

/// Looks at what is at an address; `path` is the directory to list of an FTP server. Takes a few
/// seconds, and where nobody is heard the mount timeout. Raising `interrupt` ends it, with everything
/// closed that was open.
///
/// # Errors
/// [`Error::Link`] and [`Error::Io`] where the link cannot be used, [`Error::Login`] and
/// [`Error::Server`] of an FTP server, [`Error::Interrupted`]. That nobody is heard is a result:
/// [`Probe::error`].
pub fn probe(
    address: &Address,
    path: &RemotePath,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Probe, Error> {
    let found = match address {
        Address::Ftp(server) => Found::Ftp(of_ftp(address, server, path, options, interrupt)?),
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Serial { .. } => {
            let node = node(address.open()?, &options.mavlink)?;
            let stopped = || interrupt.is_raised();
            let survey = mavftp::survey::survey(node, address, &options.mavlink, &stopped);
            Found::Mavlink(survey.map_err(Error::Io)?)
        }
    };
    match interrupt.is_raised() {
        true => Err(Error::Interrupted),
        false => Ok(Probe { source: address.to_string(), found }),
    }
}

impl Probe {
    /// What a mount would fail with; `None` where it would show files.
    pub fn error(&self) -> Option<Error> {
        use mavftp::survey::Answer;
        let Found::Mavlink(survey) = &self.found else { return None };
        let mut answers = survey.heard.iter().map(|heard| heard.ftp.answer);
        if answers.clone().any(|answer| answer == Answer::Lists) {
            return None;
        }
        let (place, seconds) = (&self.source, survey.seconds);
        // Who was asked was heard, and is whom the user named.
        Some(if answers.any(|answer| matches!(answer, Answer::Silent | Answer::Refuses)) {
            Error::NoFtp(format!("nobody shows files on {place}"))
        } else if survey.heard.is_empty() {
            Error::NoVehicle(format!("no HEARTBEAT on {place} within {seconds:.0} s"))
        } else {
            Error::NoVehicle(format!("nobody is heard on {place} whose files could be asked for"))
        })
    }
}

fn of_ftp(
    address: &Address,
    server: &FtpAddress,
    path: &RemotePath,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Server, Error> {
    let settings = of_a_server(server, options);
    let because = |error| refused(address, error);
    let stopped = || interrupt.is_raised();
    let offers = ftp::survey::survey(&settings, &stopped).map_err(because)?;
    let remote = ftp::connect(&settings).map_err(because)?;
    let mut vehicle = Vehicle::over(remote.clone(), settings.op_timeout);
    vehicle.interrupt = interrupt.clone();
    let (listing, reading) = match vehicle.list_known(path) {
        Ok(entries) => {
            let best = look_for_file(&vehicle, path, &entries);
            (Listing::Entries(entries.len()), read(&remote, best, settings.op_timeout))
        }
        Err(error) => {
            let reason = "nothing could be listed".to_owned();
            (Listing::Refused(error.to_string()), Reading::LeftOut(reason))
        }
    };
    Ok(Server { offers, listing, reading })
}

/// The largest file of the first directories.
fn look_for_file(vehicle: &Vehicle, path: &RemotePath, entries: &[Entry]) -> Option<RemotePath> {
    let until = Instant::now() + SEARCH;
    let mut directories = VecDeque::new();
    let mut best = None;
    take(path, entries, &mut directories, &mut best);
    for _ in 0..DIRECTORIES_MAX {
        let enough = best.as_ref().is_some_and(|(_, size)| *size >= ENOUGH_BYTES);
        let Some(directory) = directories.pop_front() else { break };
        if enough || Instant::now() >= until || vehicle.interrupt.is_raised() {
            break;
        }
        if let Ok(entries) = vehicle.list_known(&directory) {
            take(&directory, &entries, &mut directories, &mut best);
        }
    }
    best.map(|(path, _)| path)
}

fn take(
    directory: &RemotePath,
    entries: &[Entry],
    directories: &mut VecDeque<RemotePath>,
    best: &mut Option<(RemotePath, u64)>,
) {
    for entry in entries {
        let path = directory.join(&entry.name);
        match entry.kind {
            Kind::Directory => directories.push_back(path),
            Kind::File if entry.size > best.as_ref().map_or(0, |(_, size)| *size) => {
                *best = Some((path, entry.size));
            }
            Kind::File => {}
        }
    }
}

/// Reads the beginning of a file, for a limited time.
fn read(remote: &Arc<dyn Remote>, path: Option<RemotePath>, patience: Duration) -> Reading {
    let Some(path) = path else {
        return Reading::LeftOut("no file was found in the first directories".into());
    };
    let (sender, ended) = mpsc::channel();
    let meter = Arc::new(Meter { ended: sender, seen: Mutex::new(Seen::default()) });
    let (id, length) = (OpId::fresh(), u64::from(READ_BYTES_MAX));
    let op = Op::Read { path: path.clone(), offset: 0, length, expected: None };
    remote.submit(id, op, Class::Demand, patience, meter.clone());
    let result = ended.recv_timeout(READ_TIME_MAX);
    if result.is_err() {
        remote.cancel(id);
        let _ = ended.recv_timeout(CANCELLING);
    }
    let seen = meter.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let time = seen.opened.zip(seen.last).map(|(opened, last)| last - opened);
    match time.and_then(|time| ReadRate::of(path.to_string(), seen.bytes, time)) {
        Some(rate) => Reading::Measured(rate),
        None => Reading::LeftOut(match result {
            Ok(Err(error)) => format!("{path}: {error}"),
            Ok(Ok(_)) => format!("{path} came in one piece"),
            Err(_) => format!("{path} gave no bytes in time"),
        }),
    }
}

/// Counts what comes.
struct Meter {
    ended: Sender<Result<Reply, remote::Error>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    opened: Option<Instant>,
    last: Option<Instant>,
    bytes: u64,
}

impl Sink for Meter {
    fn opened(&self, _: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.opened = Some(Instant::now());
    }
    fn data(&self, _: u64, bytes: &[u8]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        seen.opened.get_or_insert(now);
        seen.last = Some(now);
        seen.bytes += bytes.len() as u64;
    }
    fn done(&self, result: Result<Reply, remote::Error>) {
        let _ = self.ended.send(result);
    }
}
