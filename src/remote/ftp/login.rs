//! From a host and a user to a control connection that is logged in, and what its server can do.
//! Blocks. Must not know which operations follow.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use suppaftp::types::FileType;
use suppaftp::{FtpError, FtpResult, FtpStream, Mode};

use super::listing::{self, Style};
use super::queue::Queue;
use super::session::{is_timeout, set_timeouts};
use super::{Options, replies};
use crate::remote::Error;

/// What the socket of an upload may hold back. Bytes in it count as sent, so it bounds how far
/// progress runs ahead of the server.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// How the name service's errors begin.
const RESOLVER: &str = "failed to lookup address information: ";
/// The library's connection.
pub type Ftp = FtpStream;

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
    /// Setting modification times.
    pub mfmt: bool,
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
    /// What happened, for people.
    pub reason: String,
}

impl Unconnected {
    fn because(error: FtpError) -> Unconnected {
        let reason = match &error {
            FtpError::UnexpectedResponse(reply) => replies::said(reply),
            FtpError::ConnectionError(error) => {
                let text = error.to_string();
                text.strip_prefix(RESOLVER).unwrap_or(&text).to_owned()
            }
            other => other.to_string(),
        };
        let error = match &error {
            FtpError::UnexpectedResponse(reply) => replies::login_refusal(reply),
            FtpError::ConnectionError(error) if is_timeout(error) => Error::TimedOut,
            _ => Error::LinkDown,
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
    let control = dial(options, patience).map_err(FtpError::ConnectionError);
    let ipv6 = control.as_ref().is_ok_and(|c| c.peer_addr().is_ok_and(|peer| peer.is_ipv6()));
    let mut ftp = control.and_then(FtpStream::connect_with_stream).map_err(unreachable)?;
    let data_queue = queue.clone();
    ftp = ftp.passive_stream_builder(move |address| open_data(&data_queue, address));
    // The server's idea of its own address is wrong behind a router, and must not lead elsewhere.
    ftp.set_passive_nat_workaround(true);
    ftp.set_mode(if ipv6 { Mode::ExtendedPassive } else { Mode::Passive });
    ftp.set_encoding(listing::Octets);
    let as_text = |given: &str| listing::text(given.as_bytes());
    ftp.login(as_text(&options.user), as_text(&options.password)).map_err(unreachable)?;
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
    let features = Features { mlsd: has("MLST") || has("MLSD"), mfmt: has("MFMT") };
    Ok(LoggedIn { ftp, features })
}

fn dial(options: &Options, patience: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + patience;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (options.host.as_str(), options.port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                set_timeouts(&stream, patience)?;
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
