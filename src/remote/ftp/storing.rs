//! Saves on one connection: an upload under a temporary name, the comparison of its size and the
//! renaming, with as few round trips as are safe.
//!
//! 1. STOR, and the data: at once where the data connection was opened ahead, and the server is of a
//!    kind that does not look at it before.
//! 2. SIZE, MFMT, EPSV or PASV for the next save, and RNFR, in one flight. None of these changes what
//!    anybody sees. They wait for the end of the transfer: some servers answer during one.
//! 3. RNTO, when the size was right; meanwhile the data connection for the next save is opened.
//!
//! Whatever is not as it should be before RNTO leaves the file under its temporary name, and is told as
//! a write without a renaming: who asked then goes on one step at a time, and hears what is wrong.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use suppaftp::types::Response;
use suppaftp::{DataStream, FtpError, FtpResult};

use super::ahead::Ahead;
use super::data::{self, Passive};
use super::job::Job;
use super::session::{Session, is_timeout};
use super::writing::{Until, send};
use super::{calendar, replies, tls};
use crate::remote::{Error, RemotePath, Reply, Source};

/// One save soon after another makes a third likely, for which a data connection is opened ahead.
const SERIES_TIME: Duration = Duration::from_secs(5);
/// A data connection that was opened ahead may take so long to be there.
const AHEAD_TIME: Duration = Duration::from_secs(2);
/// After so many flights that were answered wrongly, a server is asked one thing at a time.
const MISFITS_MAX: u8 = 2;

const ALREADY_OPEN: u32 = 125;
const OPENING: [u32; 2] = [ALREADY_OPEN, 150];
const TRANSFERRED: [u32; 2] = [226, 250];
const SIZE: [u32; 1] = [213];
const TIME_SET: [u32; 3] = [213, 250, 200];
const TO_BE_RENAMED: [u32; 1] = [350];
/// Some say 200.
const RENAMED: [u32; 2] = [250, 200];
/// There was no data connection, or it was closed.
const NO_DATA: [u32; 2] = [425, 426];

/// What is known of how a server takes what is sent ahead.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    early: Early,
    misfits: u8,
}

/// Whether data may be sent before the reply to STOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Early {
    /// Its reply to STOR on a connection that was open before will tell.
    #[default]
    Untried,
    /// It takes a connection up for the transfer only (150): until then the system keeps what comes.
    Kept,
    /// It has had the connection before (125), and may not know what to do with data that come
    /// before STOR.
    Lost,
}

/// A save, in the words of the server.
struct Names {
    temporary: String,
    target: String,
}

/// An upload that the server has taken.
struct Stored {
    count: u64,
    /// Bytes were sent before the reply to STOR.
    early: bool,
}

/// What the server has.
enum Compared {
    /// What was sent; and where it waits for the next data connection.
    Same(Option<std::net::SocketAddr>),
    Other,
    /// It did not say, or is out of step.
    Unknown,
}

impl Session {
    /// Stores what a source yields and renames it, if all is as it should be.
    pub(super) fn save(
        &mut self,
        job: &Job,
        path: &RemotePath,
        (target, length): (&RemotePath, Option<u64>),
        source: &dyn Source,
    ) -> Result<Reply, Error> {
        let is_apt = self.manners().misfits < MISFITS_MAX;
        let Some(passive) = self.passive.filter(|_| is_apt) else {
            return self.write(job, path, source);
        };
        let charset = self.features().charset;
        let (temporary, target) = (charset.command_text(path)?, charset.command_text(target)?);
        let names = Names { temporary, target };
        loop {
            // What was opened ahead is used up by then: there is no third time.
            let Some(Stored { count, early }) = self.store(job, passive, &names, source)? else {
                continue;
            };
            if length.is_some_and(|length| length != count) {
                return Ok(Reply::Size(count));
            }
            match self.compare(job, passive, &names, count, source)? {
                Compared::Same(next) => return self.rename_stored(job, &names, count, next),
                Compared::Other if early => self.set_early(Early::Lost),
                Compared::Other | Compared::Unknown => return Ok(Reply::Size(count)),
            }
        }
    }

    /// Uploads. Nothing: it is to be begun again, for the data connection from before was no good.
    fn store(
        &mut self,
        job: &Job,
        passive: Passive,
        names: &Names,
        source: &dyn Source,
    ) -> Result<Option<Stored>, Error> {
        self.set_timeouts(job.patience).map_err(|error| self.failure(job, error))?;
        let ahead = self.ahead.take().and_then(|ahead| ahead.take(AHEAD_TIME.min(job.patience)));
        let was_ahead = ahead.is_some();
        let mut outgoing = self.outgoing(job, passive, ahead)?;
        let early = was_ahead && self.manners().early == Early::Kept;
        let asked = self.control.send(&[format!("STOR {}", names.temporary)]);
        asked.map_err(|error| self.failure(job, FtpError::ConnectionError(error)))?;
        let begun = if early { outgoing.begin(self, job, source) } else { Ok(false) };
        if let Err(error) = self.hear_opening(was_ahead) {
            self.seat.let_go();
            outgoing.give_up();
            return match was_ahead && is_no_data(&error) {
                true => Ok(self.distrust(early)),
                false => Err(self.failure(job, error)),
            };
        }
        let sent = match begun {
            Ok(false) => outgoing.go_on(self, job, source),
            begun => begun,
        };
        let moved = sent.map(|_| outgoing.at);
        let word = self.end_upload(outgoing, &moved);
        if moved.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {
            // The server takes what it has for the whole file, under a temporary name.
            self.in_step &= word.is_ok() || word.as_ref().is_err_and(is_no_data);
            return Err(Error::Busy);
        }
        let is_late = moved.as_ref().is_err_and(is_timeout) || word.as_ref().is_err_and(is_late);
        if is_late {
            self.distrust(early);
        }
        if was_ahead && word.as_ref().is_err_and(is_no_data) && !self.seat.is_cancelled() {
            return Ok(self.distrust(early));
        }
        self.judge(job, moved, word).map(|count| Some(Stored { count, early }))
    }

    /// The data connection of an upload; cancelling the operation ends it from now on.
    fn outgoing(
        &mut self,
        job: &Job,
        passive: Passive,
        ahead: Option<TcpStream>,
    ) -> Result<Outgoing, Error> {
        let opened = match ahead {
            Some(socket) => {
                data::bound(&socket, &self.seat).map(|()| socket).map_err(FtpError::ConnectionError)
            }
            None => self.dial(passive),
        };
        let outgoing = opened.and_then(|socket| {
            let twin = socket.try_clone().map_err(FtpError::ConnectionError)?;
            let stream = match &self.connector {
                Some(connector) => DataStream::Ssl(Box::new(connector.data(socket)?)),
                None => DataStream::Tcp(socket),
            };
            Ok(Outgoing { stream: Some(stream), twin, at: 0 })
        });
        match outgoing {
            // Nothing was asked of the server yet.
            Err(FtpError::ConnectionError(_)) if self.seat.is_cancelled() => Err(Error::Cancelled),
            outgoing => outgoing.map_err(|error| self.failure(job, error)),
        }
    }

    fn dial(&mut self, passive: Passive) -> FtpResult<TcpStream> {
        let asked = self.control.send(&[passive.command().to_owned()]);
        asked.map_err(FtpError::ConnectionError)?;
        let reply = self.control.expect(&[passive.code()])?;
        let address = self.address(passive, &reply).ok_or(FtpError::BadResponse)?;
        data::dial(&self.seat, address)
    }

    /// Where the server waits: at the address of the control connection, whatever it says.
    fn address(&self, passive: Passive, reply: &Response) -> Option<std::net::SocketAddr> {
        let mut address = self.ftp.get_ref().peer_addr().ok()?;
        address.set_port(passive.port(reply)?);
        Some(address)
    }

    /// The server is about to take the data.
    fn hear_opening(&mut self, was_ahead: bool) -> FtpResult<()> {
        let reply = self.control.expect(&OPENING)?;
        if was_ahead && self.manners().early == Early::Untried {
            let had_it = replies::code(&reply) == ALREADY_OPEN;
            self.set_early(if had_it { Early::Lost } else { Early::Kept });
        }
        Ok(())
    }

    /// Closes the data connection and hears what the server says of the upload.
    fn end_upload(&mut self, outgoing: Outgoing, moved: &io::Result<u64>) -> FtpResult<()> {
        self.seat.let_go();
        if moved.as_ref().is_err_and(is_timeout) {
            // Patience is used up: do not wait for a last word as well.
            self.in_step = false;
            let _ = self.ftp.get_ref().shutdown(Shutdown::Both);
        }
        // Open until the last word: unread bytes would make its closing a reset, which may overtake
        // what was sent.
        let _twin = outgoing.end();
        self.control.expect(&TRANSFERRED).map(drop)
    }

    /// Asks for the size of what was stored, and for all that the renaming and the next save need.
    fn compare(
        &mut self,
        job: &Job,
        passive: Passive,
        names: &Names,
        count: u64,
        source: &dyn Source,
    ) -> Result<Compared, Error> {
        if self.seat.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let Names { temporary, .. } = names;
        let mtime = source.mtime().filter(|_| self.features().mfmt);
        let time = mtime.and_then(calendar::digits);
        let is_series = self.saved.is_some_and(|last| last.elapsed() < SERIES_TIME);
        let (passive_code, size) = ([passive.code()], format!("SIZE {temporary}"));
        let mut flight: Vec<(String, &[u32])> = vec![(size, &SIZE)];
        flight.extend(time.map(|time| (format!("MFMT {time} {temporary}"), &TIME_SET[..])));
        flight.extend(is_series.then(|| (passive.command().to_owned(), &passive_code[..])));
        flight.push((format!("RNFR {temporary}"), &TO_BE_RENAMED));
        let heard = match self.fly(&flight) {
            Ok(heard) => heard,
            Err(error) => {
                // A server may not take several commands at once. What it has, a new connection tells.
                tracing::debug!(%error, op = ?job.op, "the replies are out of step");
                self.in_step = false;
                self.habits.lock().manners.misfits += 1;
                return Ok(Compared::Unknown);
            }
        };
        self.habits.lock().manners.misfits = 0;
        let [Some(size), .., Some(_)] = &heard[..] else { return Ok(Compared::Unknown) };
        let digits = String::from_utf8_lossy(size.body.get(4..).unwrap_or_default()).into_owned();
        let next = is_series.then(|| heard.get(heard.len() - 2)?.as_ref()).flatten();
        let next = next.and_then(|reply| self.address(passive, reply));
        match digits.trim().parse::<u64>() {
            Ok(size) if size == count => Ok(Compared::Same(next)),
            Ok(_) => Ok(Compared::Other),
            Err(_) => Ok(Compared::Unknown),
        }
    }

    /// Sends commands at once. Answers their replies, in order; nothing where one was refused.
    fn fly(&mut self, flight: &[(String, &[u32])]) -> FtpResult<Vec<Option<Response>>> {
        let commands: Vec<String> = flight.iter().map(|(command, _)| command.clone()).collect();
        self.control.send(&commands).map_err(FtpError::ConnectionError)?;
        let mut heard = Vec::new();
        for (_, codes) in flight {
            heard.push(match self.control.expect(codes) {
                Ok(reply) => Some(reply),
                Err(FtpError::UnexpectedResponse(reply)) if replies::is_refusal(&reply) => None,
                Err(error) => return Err(error),
            });
        }
        match self.control.is_drained() {
            true => Ok(heard),
            false => Err(FtpError::BadResponse),
        }
    }

    /// The renaming, after its first half was accepted.
    fn rename_stored(
        &mut self,
        job: &Job,
        names: &Names,
        count: u64,
        next: Option<std::net::SocketAddr>,
    ) -> Result<Reply, Error> {
        if self.seat.is_cancelled() {
            return Err(Error::Cancelled);
        }
        job.replaces();
        let asked = self.control.send(&[format!("RNTO {}", names.target)]);
        asked.map_err(|error| self.failure(job, FtpError::ConnectionError(error)))?;
        // If that fails, the next save asks anew.
        self.ahead = next.and_then(|address| Ahead::begin(address).ok());
        match self.control.expect(&RENAMED) {
            Ok(_) => {
                self.saved = Some(Instant::now());
                self.in_step &= self.control.is_drained();
                Ok(Reply::Saved(count))
            }
            // Asked for again by itself, it will be said why.
            Err(FtpError::UnexpectedResponse(reply)) if replies::is_refusal(&reply) => {
                Ok(Reply::Size(count))
            }
            Err(error) => Err(self.failure(job, error)),
        }
    }

    /// A data connection that was opened ahead was no good; if bytes were sent before their time, that
    /// may be why.
    fn distrust(&self, early: bool) -> Option<Stored> {
        if early {
            self.set_early(Early::Lost);
        }
        None
    }

    fn manners(&self) -> Manners {
        self.habits.lock().manners
    }

    fn set_early(&self, early: Early) {
        self.habits.lock().manners.early = early;
    }
}

/// An upload's data connection.
struct Outgoing {
    stream: Option<DataStream<tls::Stream>>,
    twin: TcpStream,
    at: u64,
}

impl Outgoing {
    /// Sends what can be sent before the server says that it takes it; true: that is all.
    fn begin(&mut self, session: &Session, job: &Job, source: &dyn Source) -> io::Result<bool> {
        match &mut self.stream {
            Some(DataStream::Tcp(socket)) => {
                let all =
                    send(socket, (job, &session.seat), source, (&mut self.at, Until::Waiting))?;
                if all {
                    socket.shutdown(Shutdown::Write)?;
                }
                Ok(all)
            }
            // The bytes wait for the server's part of the handshake, and that for its taking part.
            Some(DataStream::Ssl(tls)) => tls.greet().map(|()| false),
            None => Ok(false),
        }
    }

    fn go_on(&mut self, session: &Session, job: &Job, source: &dyn Source) -> io::Result<bool> {
        match &mut self.stream {
            Some(stream) => send(stream, (job, &session.seat), source, (&mut self.at, Until::End)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// What was sent is all. Who keeps the answer keeps the connection open for reading.
    fn end(mut self) -> TcpStream {
        drop(self.stream.take());
        // Fails only when the far side was quicker.
        let _ = self.twin.shutdown(Shutdown::Write);
        self.twin
    }

    /// The server does not take it.
    fn give_up(self) {
        if let Some(DataStream::Ssl(tls)) = &self.stream {
            tls.give_up();
        }
    }
}

fn is_no_data(error: &FtpError) -> bool {
    matches!(error, FtpError::UnexpectedResponse(reply) if NO_DATA.contains(&replies::code(reply)))
}

fn is_late(error: &FtpError) -> bool {
    matches!(error, FtpError::ConnectionError(error) if is_timeout(error))
}
