//! TLS for FTP: the greeting, AUTH TLS and the handshake of a control connection, and the streams that
//! the FTP library then uses for it and for its data connections. Blocks. Must not know FTP beyond
//! that, nor who logs in.
//!
//! Traps that shaped this, each seen with a common server:
//! * TLS 1.2 comes first. Servers that want the data connection to resume the control connection's
//!   session (vsftpd, proftpd) give two tickets of TLS 1.3 at the login, each good for one use, and an
//!   upload brings none back: the third upload is refused.
//! * Each control connection has a session store of its own: with a shared one a data connection
//!   resumes another control connection's session, and is refused.
//! * The handshake of a data connection waits until bytes move. Were it made where the library opens
//!   the connection, its failure would leave the server's reply to the transfer unread.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ProtocolVersion, SupportedProtocolVersion,
};
use suppaftp::types::Response;
use suppaftp::{FtpError, FtpResult, ImplFtpStream, Status, TlsConnector, TlsStream};

use super::session::set_timeouts;
use super::{Options, Protection, replies};
use trust::Judge;

mod agreed;
mod trust;

/// Longest reply to a connection that is not protected yet.
const REPLY_BYTES_MAX: usize = 8 << 10;
/// How long a server may take, after an upload, for the tickets of the next data connection.
const TICKET_TIME: Duration = Duration::from_secs(1);
/// Ready for a login, and ready for a handshake.
const READY: u32 = 220;
const AUTH_ACCEPTED: u32 = 234;
/// What the stand-in says, so that the library hands it over.
const STAND_IN: &[u8] = b"220 \r\n234 \r\n";

/// Why there is no protected connection.
#[derive(Debug)]
pub enum Failure {
    /// The connection failed, or nothing came in time.
    Io(io::Error),
    /// The server's refusal before TLS, 421 for example.
    Refused(Response),
    /// What is said cannot be believed, or is no TLS: one line for people.
    Distrusted(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// A protected control connection before the login; data will be protected too.
///
/// `dial` connects until the time it is given. It is called a second time for a server that knows
/// nothing older than TLS 1.3.
///
/// # Errors
/// Whatever does not lead there: nothing is ever sent or fetched unprotected instead.
pub fn connect(
    options: &Options,
    deadline: Instant,
    dial: impl Fn(Instant) -> io::Result<TcpStream>,
) -> Result<(ImplFtpStream<Stream>, Sides), Failure> {
    let first = open(options, deadline, &dial, &TLS12);
    let (connector, control) = match first {
        Err(Opening::OtherVersion) => open(options, deadline, &dial, &TLS13),
        opened => opened,
    }
    .map_err(|failed| match failed {
        Opening::Failed(failure) => failure,
        Opening::OtherVersion => Failure::Distrusted(
            "the server speaks neither TLS 1.2 nor TLS 1.3, or shares no cipher with us".into(),
        ),
    })?;
    let sides = Sides { control: control.tls.clone(), connector: connector.clone() };
    hand_over(connector, control).map(|ftp| (ftp, sides))
}

/// What may be done beside the library, while it does nothing.
pub struct Sides {
    /// The control connection's bytes.
    pub control: Tls,
    /// Protects data connections.
    pub connector: Connector,
}

/// Why a first attempt ended.
enum Opening {
    /// The server wants another version of TLS.
    OtherVersion,
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for Opening {
    fn from(failure: F) -> Opening {
        Opening::Failed(failure.into())
    }
}

/// Connects, and comes as far as a handshake and a greeting.
fn open(
    options: &Options,
    deadline: Instant,
    dial: &impl Fn(Instant) -> io::Result<TcpStream>,
    version: &'static SupportedProtocolVersion,
) -> Result<(Connector, Stream), Opening> {
    let judge = Arc::new(Judge::new(&options.trust).map_err(Failure::Distrusted)?);
    let connector = Connector::new(options, &judge, version).map_err(Failure::Distrusted)?;
    let socket = dial(deadline)?;
    let explicit = options.protection == Protection::Explicit;
    if explicit {
        let mut until = Until { socket: &socket, deadline };
        expect(&mut until, READY)?;
        until.write_all(b"AUTH TLS\r\n")?;
        expect(&mut until, AUTH_ACCEPTED).map_err(no_tls)?;
    }
    let control = connector.stream(socket, Role::Control)?;
    let mut until = Until { socket: &control.tls.0.socket, deadline };
    let mut inner = control.tls.0.inner.lock();
    while inner.connection.is_handshaking() {
        if let Err(error) = inner.connection.complete_io(&mut until) {
            return Err(judged(options, &judge, error));
        }
    }
    if !explicit {
        expect(&mut rustls::Stream::new(&mut inner.connection, &mut until), READY)?;
    }
    drop(inner);
    Ok((connector, control))
}

/// Gives the library a connection that is protected already. It has no door for one: it turns a plain
/// connection into a protected one by itself, or connects by itself without a time limit. So it is
/// shown a stand-in, with the replies that it waits for, and gets the real one from its connector.
fn hand_over(connector: Connector, control: Stream) -> Result<ImplFtpStream<Stream>, Failure> {
    let (ours, theirs) = UnixStream::pair()?;
    (&ours).write_all(STAND_IN)?;
    let stand_in = TcpStream::from(OwnedFd::from(theirs));
    *connector.prepared.lock() = Some(control);
    let ftp = ImplFtpStream::connect_with_stream(stand_in)
        .and_then(|ftp| ftp.into_secure(connector, "the control connection"));
    drop(ours);
    ftp.map_err(|error| match error {
        // What is asked there is PBSZ 0 and PROT P.
        FtpError::UnexpectedResponse(reply) if replies::code(&reply) != 421 => {
            Failure::Distrusted(format!(
                "the server does not protect files and listings ({}), so none are asked for",
                replies::said(&reply)
            ))
        }
        FtpError::UnexpectedResponse(reply) => Failure::Refused(reply),
        FtpError::ConnectionError(error) => Failure::Io(error),
        other => Failure::Distrusted(other.to_string()),
    })
}

/// What a refused AUTH TLS means.
fn no_tls(failed: Failure) -> Failure {
    match failed {
        Failure::Refused(reply) if replies::code(&reply) != 421 => Failure::Distrusted(format!(
            "the server has no TLS at this port ({}), and an unprotected login is not tried",
            replies::said(&reply)
        )),
        other => other,
    }
}

/// What a failed handshake means.
fn judged(options: &Options, judge: &Judge, error: io::Error) -> Opening {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity,
        ))
        | Some(rustls::Error::PeerIncompatible(_)) => Opening::OtherVersion,
        Some(rustls::Error::InvalidMessage(_)) => Opening::Failed(Failure::Distrusted(format!(
            "what answers at this port is not TLS; {}",
            match options.protection {
                Protection::Implicit => "ftpes:// begins it after a greeting, mostly at port 21",
                Protection::Explicit | Protection::Plain => "its reply to AUTH TLS was wrong",
            }
        ))),
        Some(cause) => Opening::Failed(Failure::Distrusted(judge.explain(cause, &options.host))),
        None => Opening::Failed(Failure::Io(error)),
    }
}

/// Reads one reply, byte by byte so that nothing behind it is taken: in the clear that might be put
/// in by somebody else.
fn expect(stream: &mut impl Read, code: u32) -> Result<(), Failure> {
    let (mut body, mut start, mut byte) = (Vec::new(), 0, [0]);
    loop {
        stream.read_exact(&mut byte)?;
        body.push(byte[0]);
        if body.len() > REPLY_BYTES_MAX {
            return Err(Failure::Distrusted("the server does not speak FTP".into()));
        }
        if byte[0] != b'\n' {
            continue;
        }
        // The last line of several begins with the code and a space.
        let line = &body[start..];
        if line.len() >= 4 && line[..3].iter().all(u8::is_ascii_digit) && line[3] != b'-' {
            let reply = Response::new(Status::Unknown, line.to_vec());
            return if replies::code(&reply) == code {
                Ok(())
            } else {
                Err(Failure::Refused(reply))
            };
        }
        start = body.len();
    }
}

/// A socket whose every wait ends at the deadline.
struct Until<'a> {
    socket: &'a TcpStream,
    deadline: Instant,
}

impl Until<'_> {
    fn limit(&self) -> io::Result<()> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => set_timeouts(self.socket, left),
        }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.limit()?;
        self.socket.read(buffer)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.limit()?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Makes the streams of one control connection and of its data connections.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// The control connection, until the library asks for it.
    prepared: Arc<Mutex<Option<Stream>>>,
    /// Whether a data connection of this server has ended the way TLS ends.
    closes_properly: Arc<AtomicBool>,
}

impl Connector {
    fn new(
        options: &Options,
        judge: &Arc<Judge>,
        version: &'static SupportedProtocolVersion,
    ) -> Result<Connector, String> {
        // An address of one interface has a zone, which is no part of the server's name.
        let host = options.host.split('%').next().unwrap_or_default();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host} is no name that a certificate could have"))?;
        let config = judge.clone().config(version)?;
        let closes_properly = Arc::default();
        Ok(Connector { config, name, prepared: Arc::default(), closes_properly })
    }

    fn stream(&self, socket: TcpStream, role: Role) -> Result<Stream, Failure> {
        let connection = ClientConnection::new(self.config.clone(), self.name.clone())
            .map_err(|error| Failure::Distrusted(error.to_string()))?;
        let closes_properly = self.closes_properly.clone();
        let inner = Mutex::new(Inner { connection, state: State::default() });
        Ok(Stream { tls: Tls(Arc::new(Channel { socket, role, closes_properly, inner })) })
    }

    /// Protects a data connection.
    pub fn data(&self, socket: TcpStream) -> FtpResult<Stream> {
        self.stream(socket, Role::Data).map_err(|failed| match failed {
            Failure::Io(error) => FtpError::ConnectionError(error),
            Failure::Refused(reply) => FtpError::UnexpectedResponse(reply),
            Failure::Distrusted(why) => FtpError::SecureError(why),
        })
    }
}

impl TlsConnector for Connector {
    type Stream = Stream;

    /// The first call is for the control connection, whose stand-in is dropped.
    fn connect(&self, _domain: &str, socket: TcpStream) -> FtpResult<Stream> {
        match self.prepared.lock().take() {
            Some(control) => Ok(control),
            None => self.data(socket),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Control,
    Data,
}

/// A protected connection, as the library holds it. Says goodbye when it is dropped.
#[derive(Debug)]
pub struct Stream {
    tls: Tls,
}

/// The bytes of a protected connection.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Channel>);

#[derive(Debug)]
struct Channel {
    socket: TcpStream,
    role: Role,
    closes_properly: Arc<AtomicBool>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: ClientConnection,
    state: State,
}

impl Stream {
    /// Begins the handshake without waiting for the server's part of it.
    pub fn greet(&self) -> io::Result<()> {
        let mut inner = self.tls.0.inner.lock();
        while inner.connection.wants_write() {
            inner.connection.write_tls(&mut &self.tls.0.socket)?;
        }
        Ok(())
    }

    /// It will be closed without a word: the other side does not listen.
    pub fn give_up(&self) {
        self.tls.0.inner.lock().state.failed = true;
    }
}

/// What has happened to a stream.
#[derive(Debug, Default)]
struct State {
    /// Bytes were written.
    sent: bool,
    /// A wait or the connection failed: do not wait again for a goodbye.
    failed: bool,
}

impl TlsStream for Stream {
    type InnerStream = Tls;

    fn tcp_stream(self) -> FtpResult<TcpStream> {
        self.tls.0.socket.try_clone().map_err(FtpError::ConnectionError)
    }

    fn get_ref(&self) -> &TcpStream {
        &self.tls.0.socket
    }

    fn mut_ref(&mut self) -> &mut Tls {
        &mut self.tls
    }
}

impl Read for Tls {
    /// The end of a data connection without close_notify is taken for its end: many servers just close
    /// it. What that proves is for the caller to judge, who hears of every transfer a last reply over
    /// the control connection, which nobody in between can forge: a read knows how long the file is as
    /// well, and a listing has nothing but that reply (226: all was sent). That leaves one trick to
    /// somebody in between, to hold the end of a listing back and to close in the server's name; so a
    /// server that has once said close_notify on this control connection has to go on saying it. On the
    /// control connection itself nothing may be missing.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Channel { socket, role, closes_properly, inner } = &*self.0;
        let Inner { connection, state } = &mut *inner.lock();
        let read = rustls::Stream::new(connection, &mut &*socket).read(buffer);
        let read = match (read, role) {
            (Ok(0), Role::Data) if !buffer.is_empty() => {
                closes_properly.store(true, Ordering::Relaxed);
                Ok(0)
            }
            (Err(error), Role::Data)
                if error.kind() == io::ErrorKind::UnexpectedEof
                    && !connection.is_handshaking()
                    && !closes_properly.load(Ordering::Relaxed) =>
            {
                Ok(0)
            }
            (read, Role::Control | Role::Data) => read,
        };
        state.failed |= is_failure(&read);
        read
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Inner { connection, state } = &mut *self.0.inner.lock();
        state.sent = true;
        let written = rustls::Stream::new(connection, &mut &self.0.socket).write(bytes);
        state.failed |= is_failure(&written);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let Inner { connection, state } = &mut *self.0.inner.lock();
        let flushed = rustls::Stream::new(connection, &mut &self.0.socket).flush();
        state.failed |= is_failure(&flushed);
        flushed
    }
}

impl Channel {
    /// Ends the sending side as TLS wants it. Every wait in it is one of the socket, with its timeout.
    fn say_goodbye(&self, inner: &mut Inner) -> io::Result<()> {
        if inner.connection.is_handshaking() && self.role == Role::Data {
            // An empty file: its transfer is one only when the connection was protected.
            inner.state.sent = true;
            inner.connection.complete_io(&mut &self.socket)?;
        }
        inner.connection.send_close_notify();
        while inner.connection.wants_write() {
            inner.connection.write_tls(&mut &self.socket)?;
        }
        Ok(())
    }

    /// After an upload: what comes until the server closes, which with TLS 1.3 are tickets for the next
    /// data connections.
    fn take_tickets(&self, inner: &mut Inner) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)?;
        self.socket.set_read_timeout(Some(TICKET_TIME))?;
        while inner.connection.read_tls(&mut &self.socket)? > 0 {
            inner.connection.process_new_packets().map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let channel = &self.tls.0;
        let inner = &mut *channel.inner.lock();
        if inner.state.failed {
            return;
        }
        let done = channel.say_goodbye(inner).and_then(|()| {
            let one_use = inner.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
            match channel.role {
                Role::Data if one_use && inner.state.sent => channel.take_tickets(inner),
                Role::Data | Role::Control => Ok(()),
            }
        });
        if let Err(error) = done {
            // The transfer's last reply, or the next command's, tells what came of it.
            tracing::debug!(%error, role = ?channel.role, "a protected connection ended badly");
        }
    }
}

fn is_failure<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
