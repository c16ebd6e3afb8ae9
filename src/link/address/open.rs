//! Opening an address: names become socket addresses, and these a link.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::super::Link;
use super::super::tcp::TcpLink;
use super::super::udp::UdpLink;
use super::{Address, Endpoint, Host};

/// Why an address could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The program cannot do this yet.
    #[error("{0}")]
    NotBuilt(String),
    /// An FTP server has no MAVLink link.
    #[error("{0} is an FTP server; a MAVLink link is needed here")]
    NotALink(Address),
    /// Somebody else listens on the port.
    #[error("port {port} is in use: {}", likely_holder(*port))]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// To listen at an address that another computer has.
    #[error(
        "{host} is not an address of this computer; to send to it, use udpout:{host}:{port}, and \
         to listen, udp:{port}"
    )]
    NotHere {
        /// The address.
        host: Host,
        /// The port.
        port: u16,
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
        if let Some(missing) = self.not_built() {
            return Err(OpenError::NotBuilt(missing));
        }
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
            Address::UdpBroadcast(_) | Address::TcpListen { .. } | Address::Serial { .. } => {
                Err(self.refused(io::ErrorKind::Unsupported.into()))
            }
            Address::Ftp(_) => Err(OpenError::NotALink(self.clone())),
        }
    }

    fn listen(&self, host: Option<&Host>, port: u16) -> Result<Box<dyn Link>, OpenError> {
        let local = match host {
            Some(host) => first(&Endpoint { host: host.clone(), port })?,
            None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        };
        match UdpLink::listen(local) {
            Ok(link) => Ok(Box::new(link)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(OpenError::PortInUse { port })
            }
            Err(error) => match host {
                Some(host) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    Err(OpenError::NotHere { host: host.clone(), port })
                }
                Some(_) | None => Err(self.refused(error)),
            },
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
    let free = port.checked_add(1).unwrap_or(14551);
    format!("{holder} listens on {port}; let it forward to {free} and use udp:{free}")
}
