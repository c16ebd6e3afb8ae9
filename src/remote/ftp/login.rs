//! From a host and a user to a control connection that is logged in, and what its server can do.
//! Blocks. Must not know which operations follow.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use suppaftp::types::FileType;
use suppaftp::{FtpError, FtpResult, FtpStream};

use super::charset::{Charset, Octets, text};
use super::listing::Style;
use super::queue::Queue;
use super::session::{is_timeout, set_timeouts};
use super::{NameEncoding, Options, data, replies};
use crate::remote::Error;

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
    let ftp = control.and_then(FtpStream::connect_with_stream).map_err(unreachable)?;
    let mut ftp = data::prepare(ftp, options.active, patience, queue);
    ftp.set_encoding(Octets);
    let as_text = |given: &str| text(given.as_bytes());
    ftp.login(as_text(&options.user), as_text(&options.password)).map_err(unreachable)?;
    ftp.transfer_type(FileType::Binary).map_err(unreachable)?;
    let features = match ftp.feat() {
        Ok(features) => features,
        Err(error @ FtpError::ConnectionError(_)) => return Err(unreachable(error)),
        Err(_) => Default::default(),
    };
    let has = |name: &str| features.keys().any(|feature| feature.eq_ignore_ascii_case(name));
    if let Some(switch) = utf8_switch(options.encoding, has("UTF8")) {
        // Some servers speak another charset until asked; those that always do may refuse.
        ftp.opts("UTF8", Some(switch)).or_else(ignore_refusal).map_err(unreachable)?;
    }
    data::choose_mode(&mut ftp, options.active).map_err(unreachable)?;
    let charset = Charset::of(options.encoding);
    let features = Features { mlsd: has("MLST") || has("MLSD"), mfmt: has("MFMT"), charset };
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
