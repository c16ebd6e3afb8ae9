//! Links to vehicles and ground stations: addresses, sockets, MAVLink frames.
//!
//! Knows where bytes come from and how MAVLink frames them; must not know what an FTP payload
//! means, nor anything else of ours.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub mod address;
pub mod broadcast;
mod check;
pub mod frames;
mod guard;
pub mod message;
pub mod node;
pub mod serial;
pub mod signing;
mod stream;
pub mod tcp;
pub mod tcp_listen;
pub mod udp;
mod wait;

pub use wait::Waker;

/// A way to carry bytes to peers; one file per transport.
///
/// A link never ends by itself: what a network does now and then (nobody listens yet, no route, a
/// closed stream) is silence, not an error. An `Err` means that waiting is of no use.
pub trait Link: Send {
    /// The next bytes: a datagram, or a piece of a stream. `None`: the deadline passed, or a
    /// [`Waker`] woke this. Bytes that are there already come first; a wake is never lost.
    ///
    /// No bytes at all (`Some((peer, 0))`) say that this peer's stream broke off: what was half
    /// received will not go on. `buffer` should hold a whole datagram
    /// ([`DATAGRAM_BYTES_MAX`]); what does not fit of one is lost.
    fn receive(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<(Peer, usize)>>;

    /// Sends to one peer, or to wherever this link goes by default: the host of `udpout`, the TCP
    /// stream, the line, everybody who is connected or in reach of a broadcast. A listening UDP
    /// socket has no default: `Ok`, and nothing is sent. What the network cannot take at once is
    /// lost, as any datagram may be; never half of it.
    fn send(&mut self, to: Option<Peer>, bytes: &[u8]) -> io::Result<()>;

    /// Sends what stands in `bytes` one after the other: datagrams of `each` bytes, the last perhaps
    /// shorter. For each of them all that [`Link::send`] says is true.
    fn send_run(&mut self, to: Option<Peer>, bytes: &[u8], each: usize) -> io::Result<()> {
        bytes.chunks(each.max(1)).try_for_each(|datagram| self.send(to, datagram))
    }

    /// Where [`Link::send`] goes by default, if anywhere. A link with many far ends names all of
    /// them so only while there may be one of which nothing was heard.
    fn default_peer(&self) -> Option<Peer>;

    /// Makes [`Link::receive`] return from another thread.
    fn waker(&self) -> Waker;

    /// Whether pieces join to a stream, so that frames may cross them.
    fn is_stream(&self) -> bool;

    /// The address others reach this at, where it has one: the port that port 0 became.
    fn local_address(&self) -> Option<SocketAddr>;
}

/// A far end not heard for so long may need to hear us first, as a new one does.
const QUIET_AFTER: Duration = Duration::from_secs(5);

/// Most bytes in a datagram.
pub const DATAGRAM_BYTES_MAX: usize = 65_536;

/// A far address of a link, or its only far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(Option<SocketAddr>);

impl Peer {
    /// The only far end of a serial line or an outgoing TCP stream; of a listening TCP socket, all
    /// who are connected.
    pub const LINE: Peer = Peer(None);

    /// The socket address, where the link has many far ends.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        self.0
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        Peer(Some(address))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("the line"),
        }
    }
}
