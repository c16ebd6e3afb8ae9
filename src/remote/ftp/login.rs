//! From a host and a user to a control connection that is logged in, and what its server can do.
//! Blocks. Must not know which operations follow, nor certificates (`tls`).

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use suppaftp::types::{FileType, Response};
use suppaftp::{FtpError, FtpResult, ImplFtpStream, Mode};

use super::listing::{self, Style};
use super::queue::Queue;
use super::session::{is_timeout, set_timeouts};
use super::{Options, Protection, replies, tls};
use crate::remote::Error;

/// What the socket of an upload may hold back. Bytes in it count as sent, so it bounds how far
/// progress runs ahead of the server.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// The shortest timeout a socket is given; it takes none of zero.
const PATIENCE_MIN: Duration = Duration::from_millis(1);
/// How the name service's errors begin.
const RESOLVER: &str = "failed to lookup address information: ";
/// The library's connection, which is protected or plain as [`Options::protection`] says.
pub type Ftp = ImplFtpStream<tls::Stream>;

/// A connection that is logged in, in binary mode.
pub struct LoggedIn {
    /// The connection.
    pub ftp: Ftp,
    /// What its server can do.
    pub features: Features,
}

/// What a server says that it can do (FEAT, RFC 2389).
#[derive(Debug, Clone, Copy, Default)]
pub struct Features {
    /// Listings made for programs (RFC 3659).
    pub mlsd: bool,
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
    queue: &Arc<Queue>,
) -> Result<LoggedIn, Unconnected> {
    let unreachable = Unconnected::because;
    let mut ftp = connect(options, patience)?;
    set_timeouts(&ftp.get_ref(), patience).map_err(|error| Unconnected::broken(&error))?;
    let ipv6 = ftp.get_ref().peer_addr().is_ok_and(|peer| peer.is_ipv6());
    let data_queue = queue.clone();
    ftp = ftp.passive_stream_builder(move |address| open_data(&data_queue, address));
    // The server's idea of its own address is wrong behind a router, and must not lead elsewhere.
    ftp.set_passive_nat_workaround(true);
    ftp.set_mode(if ipv6 { Mode::ExtendedPassive } else { Mode::Passive });
    ftp.set_encoding(listing::Octets);
    let as_text = |given: &str| listing::text(given.as_bytes());
    ftp.login(as_text(&options.user), as_text(&options.password)).map_err(|error| match error {
        FtpError::UnexpectedResponse(reply) => Unconnected::refused(&reply, options),
        error => unreachable(error),
    })?;
    ftp.transfer_type(FileType::Binary).map_err(unreachable)?;
    let features = match ftp.feat() {
        Ok(features) => features,
        Err(error @ FtpError::ConnectionError(_)) => return Err(unreachable(error)),
        Err(_) => Default::default(),
    };
    let has = |name: &str| features.keys().any(|feature| feature.eq_ignore_ascii_case(name));
    if has("UTF8") {
        // Some servers speak another charset until asked; those that always do may refuse.
        ftp.opts("UTF8", Some("ON")).or_else(ignore_refusal).map_err(unreachable)?;
    }
    let features = Features { mlsd: has("MLST") || has("MLSD") };
    Ok(LoggedIn { ftp, features })
}

/// A connection that is greeted, and protected where it shall be.
fn connect(options: &Options, patience: Duration) -> Result<Ftp, Unconnected> {
    let deadline = Instant::now() + patience;
    let dial = |deadline| dial(options, deadline);
    match options.protection {
        Protection::Plain => dial(deadline)
            .map_err(FtpError::ConnectionError)
            .and_then(Ftp::connect_with_stream)
            .map_err(Unconnected::because),
        Protection::Implicit | Protection::Explicit => {
            tls::connect(options, deadline, dial).map_err(Unconnected::unprotected)
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

fn open_data(queue: &Queue, address: SocketAddr) -> FtpResult<TcpStream> {
    let patience = queue.patience();
    let open = || {
        let data = TcpStream::connect_timeout(&address, patience)?;
        set_timeouts(&data, patience)?;
        SockRef::from(&data).set_send_buffer_size(SEND_BUFFER_BYTES)?;
        queue.adopt(data.try_clone()?)?;
        Ok(data)
    };
    open().map_err(FtpError::ConnectionError)
}

fn ignore_refusal(error: FtpError) -> FtpResult<()> {
    match error {
        FtpError::UnexpectedResponse(_) => Ok(()),
        error => Err(error),
    }
}
