//! UDP towards everybody on a network, until somebody is heard there. Must not know frames.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::udp::UdpLink;
use super::{Link, Peer, QUIET_AFTER, Waker};

/// A UDP socket whose default destination is a broadcast address.
#[derive(Debug)]
pub struct BroadcastLink {
    link: UdpLink,
    /// When anybody was heard last.
    heard: Option<Instant>,
}

impl BroadcastLink {
    /// Speaks to `everybody`, a broadcast address of IPv4, from a free local port that stays the
    /// same. Those who answer are peers like any others.
    pub fn towards(everybody: SocketAddr) -> io::Result<BroadcastLink> {
        if everybody.is_ipv6() {
            let reason = "IPv6 has no broadcast; name an IPv4 address such as 192.168.1.255";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let link = UdpLink::towards(everybody)?;
        link.allow_broadcast()?;
        Ok(BroadcastLink { link, heard: None })
    }
}

impl Link for BroadcastLink {
    fn receive(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<(Peer, usize)>> {
        let received = self.link.receive(buffer, deadline)?;
        if received.is_some() {
            self.heard = Some(Instant::now());
        }
        Ok(received)
    }

    fn send(&mut self, to: Option<Peer>, bytes: &[u8]) -> io::Result<()> {
        self.link.send(to, bytes)
    }

    fn default_peer(&self) -> Option<Peer> {
        let quiet = self.heard.is_none_or(|heard| heard.elapsed() >= QUIET_AFTER);
        if quiet { self.link.default_peer() } else { None }
    }

    fn waker(&self) -> Waker {
        self.link.waker()
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn local_address(&self) -> Option<SocketAddr> {
        Link::local_address(&self.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    /// The broadcast address of the loopback, where only this computer listens.
    fn everybody(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 255, 255, 255], port))
    }

    fn listener() -> UdpSocket {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    #[test]
    fn everybody_is_spoken_to_and_who_answers_becomes_a_peer() {
        let vehicle = listener();
        let mut link = BroadcastLink::towards(everybody(vehicle.local_addr().unwrap().port()));
        let link = link.as_mut().unwrap();
        let all = link.default_peer();
        assert!(all.is_some());
        link.send(None, b"anybody?").unwrap();
        let mut buffer = [0; 64];
        let (length, station) = vehicle.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"anybody?");

        vehicle.send_to(b"me", station).unwrap();
        let soon = Some(Instant::now() + Duration::from_secs(5));
        let (peer, length) = link.receive(&mut buffer, soon).unwrap().unwrap();
        assert_eq!((&buffer[..length], link.default_peer()), (&b"me"[..], None));
        link.send(Some(peer), b"you").unwrap();
        let (length, again) = vehicle.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], again), (&b"you"[..], station), "from the same port");

        link.heard = Instant::now().checked_sub(QUIET_AFTER);
        assert_eq!(link.default_peer(), all, "after a silence, everybody again");
    }

    #[test]
    fn ipv6_is_refused_with_the_reason() {
        let error = BroadcastLink::towards("[ff02::1]:14550".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("IPv4"), "{error}");
    }
}
