//! A short look at an FTP server: what it offers, how far it is, and how many connections it takes. Logs
//! in and says goodbye, and leaves nothing behind. Must not know who reads it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Options;
use super::charset::Charset;
use super::pool::Pool;
use super::session::{Session, SharedHabits};
use crate::remote::Error;
use crate::remote::survey::{PINGS, RoundTrip};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// What a server offers to who has logged in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Survey {
    /// Who logged in.
    pub user: String,
    /// The time from the first byte to the end of the login, in milliseconds.
    pub login_ms: f64,
    /// TLS of the control connection, its data connections being protected too; `None`: everything,
    /// the password as well, is sent in the clear.
    pub tls: Option<Tls>,
    /// Listings made for programs (MLSD).
    pub mlsd: bool,
    /// Modification times can be set (MFMT).
    pub mfmt: bool,
    /// Downloads from an offset (REST).
    pub rest: bool,
    /// UTF-8 in names (UTF8).
    pub utf8: bool,
    /// The charset that names are taken to be in: `utf8`, `latin1`, or `as they are`.
    pub names: &'static str,
    /// Round trips of NOOP.
    pub round_trip: Option<RoundTrip>,
    /// Connections that could be used at the same time.
    pub connections: usize,
    /// Connections that were tried (`--connections`).
    pub connections_tried: usize,
    /// Why one of them was refused.
    pub connection_refused: Option<String>,
}

/// What protects a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// `TLS 1.2`.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
}

/// Logs in, asks and leaves. Ends early once `stopped` answers true.
///
/// # Errors
/// As [`super::connect`].
pub fn survey(options: &Options, stopped: &dyn Fn() -> bool) -> Result<Survey, Error> {
    let pool = Pool::new(options.connections, options.op_timeout);
    let habits = SharedHabits::default();
    let log_in = |number: usize| {
        let seat = Arc::new(pool.seat(number));
        Session::connect(options, options.op_timeout, &seat, &habits)
    };
    let started = Instant::now();
    let mut first = log_in(0).map_err(super::unreached)?;
    let login_ms = started.elapsed().as_secs_f64() * 1e3;
    let round_trips = pings(&mut first, options.op_timeout, stopped);
    let features = first.features();
    let tls = first.protection().map(|(version, cipher)| Tls { version, cipher });
    let mut sessions = vec![first];
    let mut refused = None;
    for number in 1..options.connections.max(1) {
        if stopped() {
            break;
        }
        match log_in(number) {
            Ok(session) => sessions.push(session),
            Err(failed) => {
                refused = Some(failed.reason);
                break;
            }
        }
    }
    let survey = Survey {
        user: options.user.clone(),
        login_ms,
        tls,
        mlsd: features.mlsd,
        mfmt: features.mfmt,
        rest: features.restarts,
        utf8: features.utf8,
        names: names(features.charset),
        round_trip: RoundTrip::of(&round_trips),
        connections: sessions.len(),
        connections_tried: options.connections.max(1),
        connection_refused: refused,
    };
    sessions.into_iter().for_each(|session| session.quit(GOODBYE));
    Ok(survey)
}

fn pings(session: &mut Session, patience: Duration, stopped: &dyn Fn() -> bool) -> Vec<Duration> {
    let ping = |_| {
        let asked = Instant::now();
        (!stopped() && session.answers(patience)).then(|| asked.elapsed())
    };
    (0..PINGS).map_while(ping).collect()
}

fn names(charset: Charset) -> &'static str {
    match charset {
        Charset::Unknown => "as they are",
        Charset::Utf8 => "utf8",
        Charset::Latin1 => "latin1",
    }
}
