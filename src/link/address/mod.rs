//! Addresses as users write them: `udp:14550`, `serial:/dev/ttyUSB0:57600`, `ftp://user@host`.
//!
//! One table (`spelling.rs`) is grammar, help text and parser alike. Parsed once at the door; must
//! not know what is said over a link.

use std::fmt;
use std::str::FromStr;

mod argument;
mod open;
mod spelling;

pub use open::OpenError;
pub use spelling::help;

/// Serial speed where none is given, in baud; USB ignores it.
pub const BAUD_DEFAULT: u32 = 57_600;

/// Where a vehicle, a ground station or an FTP server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Waits for datagrams; without a host on all IPv4 addresses. Port 0 becomes a free one.
    UdpListen {
        /// The local address to listen on.
        host: Option<Host>,
        /// The local port.
        port: u16,
    },
    /// Sends datagrams first.
    UdpOut(Endpoint),
    /// Sends datagrams to everybody until somebody answers.
    UdpBroadcast(Endpoint),
    /// Connects.
    TcpOut(Endpoint),
    /// Waits for connections; without a host on all IPv4 addresses.
    TcpListen {
        /// The local address to listen on.
        host: Option<Host>,
        /// The local port.
        port: u16,
    },
    /// A serial device.
    Serial {
        /// Its path, beginning with `/`.
        device: String,
        /// Its speed.
        baud: u32,
    },
    /// An FTP server, which is not a MAVLink link: [`Address::open`] refuses it.
    Ftp(FtpAddress),
}

/// A host and a port, neither empty nor 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// A name or an address of a host, with characters that cannot be mistaken for anything else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(String);

/// An FTP server and what is known of the login. Never a password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FtpAddress {
    /// Whether and when TLS begins.
    pub security: Security,
    /// The user's name, without control characters.
    pub user: Option<String>,
    /// The server.
    pub host: Host,
    /// The port of the control connection.
    pub port: u16,
    /// The path in the URL, percent-decoded, with its slash; empty where there is none. A
    /// [`Source`] moves it to [`Source::path`].
    pub path: Vec<u8>,
}

/// How an FTP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// `ftp`: not at all.
    Plain,
    /// `ftps`: TLS from the first byte, port 990.
    Implicit,
    /// `ftpes`: TLS after AUTH TLS.
    Explicit,
}

/// An address, and perhaps a place there: `udp:14550#/fs/microsd`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// Where; an FTP address has an empty path here.
    pub address: Address,
    /// The place on the far side, unjudged; empty where none is named. The
    /// path of an FTP URL comes first in it.
    pub path: Vec<u8>,
}

/// Why a text is not an address. Never repeats the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins like nothing known.
    #[error("not an address, which is written {}", spelling::common())]
    Unknown,
    /// It begins like a known spelling and goes on otherwise.
    #[error("an address of this kind is written {form}: {reason}")]
    Argument {
        /// The spelling, as in the help text.
        form: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An FTP URL with a password.
    #[error(
        "a password does not belong on the command line, where everybody on this machine can read \
         it; write ftp://user@host and use --password-file or --password-stdin"
    )]
    Password,
    /// Something else than a path after `#`.
    #[error("a place on the far side is written #/path, after the address")]
    Place,
}

impl Host {
    /// The host as a resolver takes it: an IPv6 address without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Security {
    /// The port where none is given.
    pub fn default_port(self) -> u16 {
        match self {
            Security::Plain | Security::Explicit => 21,
            Security::Implicit => 990,
        }
    }
}

impl Source {
    /// Parses what a user wrote; the place may hold any bytes.
    pub fn parse(text: &[u8]) -> Result<Source, AddressError> {
        let hash = text.iter().position(|&byte| byte == b'#').unwrap_or(text.len());
        let (address, place) = text.split_at(hash);
        let place = match place {
            [] => place,
            [b'#', place @ ..] if place.starts_with(b"/") => place,
            _ => return Err(AddressError::Place),
        };
        let address = std::str::from_utf8(address).map_err(|_| AddressError::Unknown)?;
        let mut address: Address = address.parse()?;
        let mut path = match &mut address {
            Address::Ftp(ftp) => std::mem::take(&mut ftp.path),
            Address::UdpListen { .. }
            | Address::UdpOut(_)
            | Address::UdpBroadcast(_)
            | Address::TcpOut(_)
            | Address::TcpListen { .. }
            | Address::Serial { .. } => Vec::new(),
        };
        path.extend_from_slice(place);
        Ok(Source { address, path })
    }
}

impl FromStr for Source {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Source, AddressError> {
        Source::parse(text.as_bytes())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        spelling::parse(text)
    }
}

impl fmt::Display for Source {
    /// For people; what is not UTF-8 in the path is shown as replacement characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.path.is_empty() {
            return Ok(());
        }
        write!(f, "#{}", String::from_utf8_lossy(&self.path))
    }
}

impl fmt::Display for Address {
    /// The spelling that parses back to the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.lead())?;
        match self {
            Address::UdpListen { host: None, port } | Address::TcpListen { host: None, port } => {
                write!(f, "{port}")
            }
            Address::UdpListen { host: Some(host), port }
            | Address::TcpListen { host: Some(host), port } => write!(f, "{host}:{port}"),
            Address::UdpOut(endpoint)
            | Address::UdpBroadcast(endpoint)
            | Address::TcpOut(endpoint) => write!(f, "{}:{}", endpoint.host, endpoint.port),
            Address::Serial { device, baud } => write!(f, "{device}:{baud}"),
            Address::Ftp(ftp) => write!(f, "{ftp}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(&self.0) }
    }
}

impl fmt::Display for FtpAddress {
    /// What follows `ftp://`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            argument::write_percent(f, user.as_bytes(), b"")?;
            f.write_str("@")?;
        }
        write!(f, "{}", self.host)?;
        if self.port != self.security.default_port() {
            write!(f, ":{}", self.port)?;
        }
        argument::write_percent(f, &self.path, b"/")
    }
}

impl Address {
    /// The beginning of its spelling, which names its row of the table.
    fn lead(&self) -> &'static str {
        match self {
            Address::UdpListen { .. } => "udp:",
            Address::UdpOut(_) => "udpout:",
            Address::UdpBroadcast(_) => "udpbcast:",
            Address::TcpOut(_) => "tcp:",
            Address::TcpListen { .. } => "tcpin:",
            Address::Serial { .. } => "serial:",
            Address::Ftp(ftp) => match ftp.security {
                Security::Plain => "ftp://",
                Security::Implicit => "ftps://",
                Security::Explicit => "ftpes://",
            },
        }
    }
}

#[cfg(test)]
mod tests;
