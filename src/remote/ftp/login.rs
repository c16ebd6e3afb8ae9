//! From a host and a user to a control connection that is logged in, and what its server can do.
//! Blocks. Must not know which operations follow, nor certificates (`tls`).

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use suppaftp::types::{FileType, Response};
use suppaftp::{FtpError, FtpResult, ImplFtpStream, TransferStream};

use super::charset::{Charset, Octets, text};
use super::control::{Control, Line};
use super::data::Passive;
use super::listing::Style;
use super::pool::Seat;
use super::session::{is_timeout, set_timeouts};
use super::{NameEncoding, Options, Protection, data, replies, tls};
use crate::remote::Error;

/// The shortest timeout a socket is given; it takes none of zero.
const PATIENCE_MIN: Duration = Duration::from_millis(1);
/// The reply to FEAT.
const FEATURES_FOLLOW: u32 = 211;
/// How the name service's errors begin.
const RESOLVER: &str = "failed to lookup address information: ";
/// The library's connection, which is protected or plain as [`Options::protection`] says.
pub type Ftp = ImplFtpStream<tls::Stream>;
/// The library's data connection.
pub type Data = TransferStream<tls::Stream>;

/// A connection that is logged in, in binary mode.
pub struct LoggedIn {
    /// The connection.
    pub ftp: Ftp,
    /// What its server can do.
    pub features: Features,
    /// How it is asked for data connections, where it is.
    pub passive: Option<Passive>,
    /// The same connection, past the library.
    pub control: Control,
    /// What protects its data connections.
    pub connector: Option<tls::Connector>,
}

/// What a server says that it can do (FEAT, RFC 2389).
#[derive(Debug, Clone, Copy, Default)]
pub struct Features {
    /// Listings made for programs (RFC 3659).
    pub mlsd: bool,
    /// Setting modification times.
    pub mfmt: bool,
    /// Downloads from an offset.
    pub restarts: bool,
    /// UTF-8 in names.
    pub utf8: bool,
    /// What its names are in.
    pub charset: Charset,
}

impl Features {
    /// Which listing to ask for.
    pub fn style(self) -> Style {
        if self.mlsd { Style::Mlsd } else { Style::List }
    }
}

/// Why there is no connection.
pub struct Unconnected {
    /// What an operation that wanted one ends with.
    pub error: Error,
    /// What happened, for people; of a certificate all that `error` says of it.
    pub reason: String,
}

impl Unconnected {
    fn because(error: FtpError) -> Unconnected {
        match error {
            FtpError::UnexpectedResponse(reply) => {
                let error = replies::login_refusal(&reply);
                Unconnected { error, reason: replies::said(&reply) }
            }
            FtpError::ConnectionError(error) => Unconnected::broken(&error),
            other => Unconnected { error: Error::LinkDown, reason: other.to_string() },
        }
    }

    fn broken(error: &io::Error) -> Unconnected {
        let text = error.to_string();
        let reason = text.strip_prefix(RESOLVER).unwrap_or(&text).to_owned();
        let error = if is_timeout(error) { Error::TimedOut } else { Error::LinkDown };
        Unconnected { error, reason }
    }

    fn unprotected(failure: tls::Failure) -> Unconnected {
        match failure {
            tls::Failure::Io(error) => Unconnected::broken(&error),
            tls::Failure::Refused(reply) => {
                Unconnected::because(FtpError::UnexpectedResponse(reply))
            }
            tls::Failure::Distrusted(reason) => {
                Unconnected { error: Error::Login(reason.clone()), reason }
            }
        }
    }

    /// The user or the password is not taken.
    fn refused(reply: &Response, options: &Options) -> Unconnected {
        let reason = replies::said(reply);
        let error = match replies::login_refusal(reply) {
            Error::Login(said) => {
                let said = said.trim_end_matches('.');
                Error::Login(format!("{said}; {}", options.login_advice))
            }
            other => other,
        };
        Unconnected { error, reason }
    }
}

/// Connects and logs in; no single wait is longer than `patience`.
pub fn log_in(
    options: &Options,
    patience: Duration,
    seat: &Arc<Seat>,
) -> Result<LoggedIn, Unconnected> {
    let unreachable = Unconnected::because;
    let (ftp, control, connector) = connect(options, patience)?;
    set_timeouts(&ftp.get_ref(), patience).map_err(|error| Unconnected::broken(&error))?;
    let mut ftp = data::prepare(ftp, options.active, patience, seat);
    ftp.set_encoding(Octets);
    let as_text = |given: &str| text(given.as_bytes());
    ftp.login(as_text(&options.user), as_text(&options.password)).map_err(|error| match error {
        FtpError::UnexpectedResponse(reply) => Unconnected::refused(&reply, options),
        error => unreachable(error),
    })?;
    ftp.transfer_type(FileType::Binary).map_err(unreachable)?;
    let offered = features(&mut ftp).map_err(unreachable)?;
    let has = |name: &str| offered.iter().any(|feature| feature == name);
    if let Some(switch) = utf8_switch(options.encoding, has("UTF8")) {
        // Some servers speak another charset until asked; those that always do may refuse.
        ftp.opts("UTF8", Some(switch)).or_else(ignore_refusal).map_err(unreachable)?;
    }
    let passive = data::choose_mode(&mut ftp, options.active).map_err(unreachable)?;
    let charset = Charset::of(options.encoding);
    let features = Features {
        mlsd: has("MLST") || has("MLSD"),
        mfmt: has("MFMT"),
        restarts: has("REST"),
        utf8: has("UTF8"),
        charset,
    };
    Ok(LoggedIn { ftp, features, passive, control, connector })
}

/// A connection, past the library, and what protects its data connections.
type Connected = (Ftp, Control, Option<tls::Connector>);

/// A connection that is greeted, and protected where it shall be.
fn connect(options: &Options, patience: Duration) -> Result<Connected, Unconnected> {
    let deadline = Instant::now() + patience;
    let dial = |deadline| dial(options, deadline);
    match options.protection {
        Protection::Plain => dial(deadline)
            .map_err(FtpError::ConnectionError)
            .and_then(|socket| {
                let twin = socket.try_clone().map_err(FtpError::ConnectionError)?;
                let control = Control::new(Line::Plain(twin));
                Ftp::connect_with_stream(socket).map(|ftp| (ftp, control, None))
            })
            .map_err(Unconnected::because),
        Protection::Implicit | Protection::Explicit => {
            let connected = tls::connect(options, deadline, dial);
            let (ftp, sides) = connected.map_err(Unconnected::unprotected)?;
            let control = Control::new(Line::Protected(sides.control));
            Ok((ftp, control, Some(sides.connector)))
        }
    }
}

/// Connects to one of the host's addresses, each of which has its share of the time: the first may be
/// one that nothing comes back from. Waits on the socket are as long as the whole.
fn dial(options: &Options, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let addresses: Vec<_> = (options.host.as_str(), options.port).to_socket_addrs()?.collect();
    let left = || deadline.saturating_duration_since(Instant::now());
    for (tried, address) in addresses.iter().enumerate() {
        let remaining = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = left() / remaining;
        if share.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                set_timeouts(&stream, left().max(PATIENCE_MIN))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The first words of what FEAT lists, in capitals; nothing where it is refused. The library's own reading
/// waits for a second line of a reply that has one, and leaves lines of a refusal unread.
fn features(ftp: &mut Ftp) -> FtpResult<Vec<String>> {
    let reply = match ftp.custom_command("FEAT", &[]) {
        Ok(reply) | Err(FtpError::UnexpectedResponse(reply)) => reply,
        Err(error) => return Err(error),
    };
    if replies::code(&reply) != FEATURES_FOLLOW {
        return Ok(Vec::new());
    }
    let lines = reply.body.split(|byte| *byte == b'\n').skip(1);
    let words = lines.filter_map(|line| line.trim_ascii().split(|byte| *byte == b' ').next());
    Ok(words.map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).collect())
}

/// What to tell a server about UTF-8, if anything.
fn utf8_switch(asked: Option<NameEncoding>, is_offered: bool) -> Option<&'static str> {
    match asked {
        None => is_offered.then_some("ON"),
        Some(NameEncoding::Utf8) => Some("ON"),
        Some(NameEncoding::Latin1) => is_offered.then_some("OFF"),
    }
}

fn ignore_refusal(error: FtpError) -> FtpResult<()> {
    match error {
        FtpError::UnexpectedResponse(_) => Ok(()),
        error => Err(error),
    }
}
