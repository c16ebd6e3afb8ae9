//! Opening an address: names become socket addresses, and these a link.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::super::Link;
use super::super::broadcast::BroadcastLink;
use super::super::serial::SerialLink;
use super::super::tcp::TcpLink;
use super::super::tcp_listen::TcpListenLink;
use super::super::udp::UdpLink;
use super::{Address, Endpoint, Host};

/// Why an address could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An FTP server has no MAVLink link.
    #[error("{0} is an FTP server; a MAVLink link is needed here")]
    NotALink(Address),
    /// Somebody else listens on the port.
    #[error("port {port} is in use: {}", likely_holder(*port))]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// Somebody else waits for connections on the port.
    #[error(
        "TCP port {port} is in use: another program listens there; end it, use another port as in \
         tcpin:{}, or connect to it by tcp:localhost:{port}",
        next_port(*port)
    )]
    TcpPortInUse {
        /// The port.
        port: u16,
    },
    /// To listen at an address that another computer has.
    #[error(
        "{host} is not an address of this computer; to reach it, use {there}{host}:{port}, and to \
         listen, {here}{port}"
    )]
    NotHere {
        /// The address.
        host: Host,
        /// The port.
        port: u16,
        /// How an address begins that goes there.
        there: &'static str,
        /// How an address begins that listens.
        here: &'static str,
    },
    /// There is no such device.
    #[error(
        "there is no serial device {device}; check that it is plugged in, and look for its name \
         with ls /dev/serial/by-id /dev/tty[AU]*"
    )]
    NoDevice {
        /// Its path.
        device: String,
    },
    /// The device is others'.
    #[error(
        "no permission to use {device}; add yourself to the group dialout (sudo usermod -aG \
         dialout $USER) and log in again"
    )]
    NoPermission {
        /// Its path.
        device: String,
    },
    /// Another program has the line.
    #[error(
        "{device} is in use by another program; end that one (fuser -v {device} shows it; \
         ModemManager is often the one), or let it forward to UDP and use udp:14550"
    )]
    LineInUse {
        /// Its path.
        device: String,
    },
    /// It is something else.
    #[error("{device} is not a serial device; those are called /dev/ttyUSB0 or /dev/ttyACM0")]
    NotALine {
        /// Its path.
        device: String,
    },
    /// A name that means nothing, or a name service that does not answer.
    #[error(
        "cannot find the host {host}; check its name and this computer's network ({})",
        said(error)
    )]
    Host {
        /// The name.
        host: Host,
        /// What the name service said.
        error: io::Error,
    },
    /// The system refused.
    #[error("cannot open {address}: {error}")]
    System {
        /// What was to be opened.
        address: Address,
        /// What the system said.
        error: io::Error,
    },
}

impl Address {
    /// Opens the link. Looks names up, which may take seconds, but does not wait for a far end: a
    /// TCP connection comes about while somebody receives.
    pub fn open(&self) -> Result<Box<dyn Link>, OpenError> {
        match self {
            Address::UdpListen { host, port } => self.listen(host.as_ref(), *port),
            Address::UdpOut(endpoint) => {
                let target = first(endpoint)?;
                Ok(Box::new(UdpLink::towards(target).map_err(|error| self.refused(error))?))
            }
            Address::TcpOut(endpoint) => {
                let addresses = look_up(&endpoint.host, endpoint.port)?;
                Ok(Box::new(TcpLink::connect(addresses).map_err(|error| self.refused(error))?))
            }
            Address::UdpBroadcast(endpoint) => {
                let everybody = first(endpoint)?;
                let link =
                    BroadcastLink::towards(everybody).map_err(|error| self.refused(error))?;
                Ok(Box::new(link))
            }
            Address::TcpListen { host, port } => self.listen_for_tcp(host.as_ref(), *port),
            Address::Serial { device, baud } => match SerialLink::open(device, *baud) {
                Ok(link) => Ok(Box::new(link)),
                Err(error) => Err(self.line_refused(device, error)),
            },
            Address::Ftp(_) => Err(OpenError::NotALink(self.clone())),
        }
    }

    fn listen(&self, host: Option<&Host>, port: u16) -> Result<Box<dyn Link>, OpenError> {
        match UdpLink::listen(local(host, port)?) {
            Ok(link) => Ok(Box::new(link)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(OpenError::PortInUse { port })
            }
            Err(error) => Err(self.not_here(host, port, ("udpout:", "udp:"), error)),
        }
    }

    fn listen_for_tcp(&self, host: Option<&Host>, port: u16) -> Result<Box<dyn Link>, OpenError> {
        match TcpListenLink::listen(local(host, port)?) {
            Ok(link) => Ok(Box::new(link)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(OpenError::TcpPortInUse { port })
            }
            Err(error) => Err(self.not_here(host, port, ("tcp:", "tcpin:"), error)),
        }
    }

    fn not_here(
        &self,
        host: Option<&Host>,
        port: u16,
        (there, here): (&'static str, &'static str),
        error: io::Error,
    ) -> OpenError {
        match host {
            Some(host) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                OpenError::NotHere { host: host.clone(), port, there, here }
            }
            Some(_) | None => self.refused(error),
        }
    }

    pub(super) fn line_refused(&self, device: &str, error: io::Error) -> OpenError {
        let device = device.to_owned();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => OpenError::NoDevice { device },
            Some(libc::EACCES | libc::EPERM) => OpenError::NoPermission { device },
            Some(libc::EBUSY) => OpenError::LineInUse { device },
            Some(libc::ENOTTY | libc::EISDIR) => OpenError::NotALine { device },
            _ => self.refused(error),
        }
    }

    fn refused(&self, error: io::Error) -> OpenError {
        OpenError::System { address: self.clone(), error }
    }
}

/// The addresses of a host, those of IPv4 first: MAVLink programs mostly listen there, also where
/// `localhost` means both, and UDP cannot tell that nobody does.
fn look_up(host: &Host, port: u16) -> Result<Vec<SocketAddr>, OpenError> {
    let failed = |error| OpenError::Host { host: host.clone(), error };
    let mut addresses: Vec<SocketAddr> =
        (host.as_str(), port).to_socket_addrs().map_err(failed)?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

/// Where to listen: without a host on all IPv4 addresses.
fn local(host: Option<&Host>, port: u16) -> Result<SocketAddr, OpenError> {
    match host {
        Some(host) => first(&Endpoint { host: host.clone(), port }),
        None => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
    }
}

fn first(endpoint: &Endpoint) -> Result<SocketAddr, OpenError> {
    let addresses = look_up(&endpoint.host, endpoint.port)?;
    addresses.first().copied().ok_or_else(|| OpenError::Host {
        host: endpoint.host.clone(),
        error: io::ErrorKind::NotFound.into(),
    })
}

/// What the name service said, without what we say ourselves.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

/// Who listens there by custom, and the way out.
fn likely_holder(port: u16) -> String {
    let holder = match port {
        14550 => "QGroundControl or another mount",
        14540..=14549 => "a MAVSDK or ROS program or another mount",
        _ => "another program",
    };
    let free = next_port(port);
    format!("{holder} listens on {port}; let it forward to {free} and use udp:{free}")
}

fn next_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(14551)
}
