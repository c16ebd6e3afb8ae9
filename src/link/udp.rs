//! UDP: a socket that listens, or one that speaks first. Must not know frames.
//!
//! One socket for the life of the link: a PX4 answers only the first partner it ever heard, so the
//! local port must not change. Nothing the network does ends the link.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::wait::{End, Interest, Waiter};
use super::{Link, Peer, Waker};
use runs::{Arrivals, RUN_DATAGRAMS_MAX};

mod runs;

/// Receive buffer asked of the kernel, in bytes: a burst at loopback speed fits while a thread waits
/// for its turn.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Longest wait for room in the send buffer; after that the datagram is lost, as on any network.
const SEND_WAIT_MAX: Duration = Duration::from_millis(50);

/// Errors of the network that one `receive` takes in a row before it looks less often.
const ERRORS_MAX: u32 = 8;
/// How often it looks then.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A UDP socket as a link.
#[derive(Debug)]
pub struct UdpLink {
    socket: UdpSocket,
    waiter: Waiter,
    target: Option<SocketAddr>,
    arrivals: Arrivals,
    /// Whether the kernel cuts runs into datagrams, as far as is known.
    cuts_runs: bool,
    /// The last send failed, and that was said.
    complained: bool,
}

impl UdpLink {
    /// Waits for others at `local`; port 0 becomes a free one. Has no default destination.
    /// [`io::ErrorKind::AddrInUse`] when somebody else listens there.
    pub fn listen(local: SocketAddr) -> io::Result<UdpLink> {
        UdpLink::bind(local, None)
    }

    /// Speaks first, from a free local port that stays the same.
    pub fn towards(target: SocketAddr) -> io::Result<UdpLink> {
        let local = match target {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        UdpLink::bind(local, Some(target))
    }

    /// Makes broadcast addresses a place to send to; the system wants to be asked.
    pub fn allow_broadcast(&self) -> io::Result<()> {
        self.socket.set_broadcast(true)
    }

    /// The address of the socket.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn bind(local: SocketAddr, target: Option<SocketAddr>) -> io::Result<UdpLink> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        widen_receive_buffer(&socket);
        socket.set_nonblocking(true)?;
        // No SO_REUSEADDR: two sockets on one port would take each other's datagrams.
        socket.bind(&SockAddr::from(local))?;
        runs::join_arrivals(&socket);
        Ok(UdpLink {
            socket: socket.into(),
            waiter: Waiter::new()?,
            target,
            arrivals: Arrivals::new(),
            cuts_runs: true,
            complained: false,
        })
    }

    /// Sends; waits for room, but not for long.
    fn send_soon(&self, send: impl Fn(&UdpSocket) -> io::Result<()>) -> io::Result<()> {
        let mut deadline = None;
        loop {
            match send(&self.socket) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + SEND_WAIT_MAX);
                    let room = (self.socket.as_fd(), Interest::Write);
                    if !self.waiter.wait_only(room, deadline)? {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a run with one system call, where that is possible and good; false where it is not.
    ///
    /// Only within this machine: a radio is never so fast that it matters, and no network card's
    /// idea of how to cut a run need be trusted.
    fn send_joined(&mut self, run: &[u8], each: usize, to: SocketAddr) -> io::Result<bool> {
        let within = to.ip().to_canonical().is_loopback();
        let Ok(length) = u16::try_from(each) else { return Ok(false) };
        if !within || !self.cuts_runs || run.len() <= each {
            return Ok(false);
        }
        match self.send_soon(|socket| runs::send(socket, run, length, to)) {
            Err(error) if runs::is_refusal(&error) => {
                tracing::debug!("datagrams leave one by one: {error}");
                self.cuts_runs = false;
                Ok(false)
            }
            sent => self.judge(to, sent).map(|()| true),
        }
    }

    /// How a send ended: only what is our own fault goes further.
    fn judge(&mut self, to: SocketAddr, sent: io::Result<()>) -> io::Result<()> {
        match sent {
            Ok(()) => self.complained = false,
            Err(error) if is_ours(&error) => return Err(error),
            Err(error) if self.complained => tracing::debug!("UDP to {to}: {error}"),
            Err(error) => {
                tracing::warn!("UDP to {to}: {error}; going on");
                self.complained = true;
            }
        }
        Ok(())
    }

    fn destination(&self, to: Option<Peer>) -> Option<SocketAddr> {
        to.or(self.default_peer()).and_then(|peer| peer.socket_address())
    }
}

impl Link for UdpLink {
    fn receive(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<(Peer, usize)>> {
        if let Some((sender, length)) = self.arrivals.take(buffer) {
            return Ok(Some((Peer::from(sender), length)));
        }
        let mut errors = 0;
        loop {
            match self.arrivals.receive(&self.socket, buffer) {
                Ok((sender, length)) => return Ok(Some((Peer::from(sender), length))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_ours(&error) => return Err(error),
                Err(error) => {
                    tracing::debug!("UDP: {error}");
                    errors += 1;
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
            let end = if errors < ERRORS_MAX {
                self.waiter.wait(Some((self.socket.as_fd(), Interest::Read)), deadline)?
            } else {
                let pause = Instant::now() + ERROR_PAUSE;
                self.waiter
                    .wait(None, Some(deadline.map_or(pause, |deadline| deadline.min(pause))))?
            };
            match end {
                // After a deadline or a pause: one more look at the socket.
                End::Ready | End::Deadline => {}
                End::Woken => return Ok(None),
            }
        }
    }

    fn send(&mut self, to: Option<Peer>, bytes: &[u8]) -> io::Result<()> {
        let Some(to) = self.destination(to) else { return Ok(()) };
        let sent = self.send_soon(|socket| socket.send_to(bytes, to).map(|_| ()));
        self.judge(to, sent)
    }

    fn send_run(&mut self, to: Option<Peer>, bytes: &[u8], each: usize) -> io::Result<()> {
        let Some(to) = self.destination(to) else { return Ok(()) };
        let each = each.max(1);
        for run in bytes.chunks(each * RUN_DATAGRAMS_MAX) {
            if !self.send_joined(run, each, to)? {
                for datagram in run.chunks(each) {
                    self.send(Some(to.into()), datagram)?;
                }
            }
        }
        Ok(())
    }

    fn default_peer(&self) -> Option<Peer> {
        self.target.map(Peer::from)
    }

    fn waker(&self) -> Waker {
        self.waiter.waker()
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }
}

/// Whether an error is a fault of this program, which repeating cannot mend. Everything else is
/// weather: nobody listens yet, no route, a cable is out, a firewall objects.
fn is_ours(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT))
}

/// As much as the kernel gives: without a privilege at most net.core.rmem_max.
fn widen_receive_buffer(socket: &Socket) {
    let wanted = RECEIVE_BUFFER_BYTES as libc::c_int;
    let forced = runs::set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted);
    if forced.is_err()
        && let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)
    {
        tracing::debug!("the receive buffer stays as it is: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(5))
    }

    fn in_ms(milliseconds: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_listener_hears_everybody_and_answers_each() {
        let mut listener = UdpLink::listen(any()).unwrap();
        let there = listener.local_address().unwrap();
        let mut first = UdpLink::towards(there).unwrap();
        let mut second = UdpLink::towards(there).unwrap();
        let mut buffer = [0; 64];
        for (link, text) in [(&mut first, b"one"), (&mut second, b"two")] {
            link.send(None, text).unwrap();
            let (peer, length) = listener.receive(&mut buffer, soon()).unwrap().unwrap();
            assert_eq!(&buffer[..length], text);
            listener.send(Some(peer), b"ok").unwrap();
            assert_eq!(link.receive(&mut buffer, soon()).unwrap(), Some((there.into(), 2)));
        }
    }

    #[test]
    fn a_stray_datagram_does_not_move_the_target() {
        let mut vehicle = UdpLink::listen(any()).unwrap();
        let mut station = UdpLink::towards(vehicle.local_address().unwrap()).unwrap();
        let port = station.local_address().unwrap().port();
        let stray = UdpSocket::bind(any()).unwrap();
        stray.send_to(b"junk", (Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut buffer = [0; 64];
        let (peer, _) = station.receive(&mut buffer, soon()).unwrap().unwrap();
        assert_eq!(peer, stray.local_addr().unwrap().into());
        station.send(None, b"hello").unwrap();
        assert_eq!(vehicle.receive(&mut buffer, soon()).unwrap().map(|(_, n)| n), Some(5));
    }

    #[test]
    fn nobody_at_the_far_end_is_silence_and_later_somebody_is_heard() {
        let free = UdpSocket::bind(any()).unwrap().local_addr().unwrap();
        let mut station = UdpLink::towards(free).unwrap();
        let port = station.local_address().unwrap().port();
        let mut buffer = [0; 64];
        for _ in 0..20 {
            station.send(None, b"hello").unwrap();
            assert_eq!(station.receive(&mut buffer, in_ms(1)).unwrap(), None);
        }
        let mut vehicle = UdpLink::listen(free).unwrap();
        station.send(None, b"hello").unwrap();
        let (peer, _) = vehicle.receive(&mut buffer, soon()).unwrap().unwrap();
        assert_eq!(peer.socket_address().unwrap().port(), port);
    }

    #[test]
    fn no_route_is_silence() {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let mut link = UdpLink::bind(any(), Some(nowhere)).unwrap();
        // From a loopback address nothing outside can be reached: an error of the network.
        link.send(Some(SocketAddr::from(([192, 0, 2, 1], 9)).into()), b"x").unwrap();
        link.send(Some(SocketAddr::from((Ipv4Addr::BROADCAST, 9)).into()), b"x").unwrap();
        link.send(Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 9)).into()), b"x").unwrap();
        link.send(None, &[0; 70_000]).unwrap();
    }

    #[test]
    fn a_listener_without_a_peer_sends_nothing_and_says_nothing() {
        let mut listener = UdpLink::listen(any()).unwrap();
        listener.send(None, b"x").unwrap();
        listener.send(Some(Peer::LINE), b"x").unwrap();
    }

    #[test]
    fn a_wake_ends_receive_and_data_goes_before_it() {
        let mut link = UdpLink::listen(any()).unwrap();
        let waker = link.waker();
        let mut buffer = [0; 64];
        let other = UdpSocket::bind(any()).unwrap();
        other.send_to(b"x", link.local_address().unwrap()).unwrap();
        waker.wake();
        assert!(link.receive(&mut buffer, None).unwrap().is_some());
        assert_eq!(link.receive(&mut buffer, None).unwrap(), None);
        assert_eq!(link.receive(&mut buffer, in_ms(1)).unwrap(), None);
    }

    #[test]
    fn a_deadline_that_has_passed_still_gives_what_is_there() {
        let mut link = UdpLink::listen(any()).unwrap();
        let other = UdpSocket::bind(any()).unwrap();
        other.send_to(b"x", link.local_address().unwrap()).unwrap();
        let now = Some(Instant::now());
        assert!(link.receive(&mut [0; 64], now).unwrap().is_some());
        assert_eq!(link.receive(&mut [0; 64], now).unwrap(), None);
    }

    /// Receives until it is quiet: who sent, and what.
    fn all(link: &mut UdpLink) -> Vec<Vec<u8>> {
        let mut buffer = [0; 64];
        let mut all = Vec::new();
        while let Some((_, length)) = link.receive(&mut buffer, in_ms(50)).unwrap() {
            all.push(buffer[..length].to_vec());
        }
        all
    }

    #[test]
    fn a_run_arrives_as_the_datagrams_it_is_made_of() {
        let mut listener = UdpLink::listen(any()).unwrap();
        let mut link = UdpLink::towards(listener.local_address().unwrap()).unwrap();
        let bytes: Vec<u8> = (0..10 * 200 + 3).map(|at| (at / 10) as u8).collect();
        let datagrams: Vec<&[u8]> = bytes.chunks(10).collect();
        for cuts_runs in [true, false] {
            link.cuts_runs = cuts_runs;
            link.send(None, b"before").unwrap();
            link.send_run(None, &bytes, 10).unwrap();
            link.send(None, b"after").unwrap();
            let heard = all(&mut listener);
            assert_eq!(heard.first().unwrap(), b"before");
            assert_eq!(heard[1..=201], datagrams);
            assert_eq!(heard[202..], [b"after"]);
        }
    }

    #[test]
    fn a_run_reaches_a_socket_that_knows_nothing_of_runs() {
        let plain = UdpSocket::bind(any()).unwrap();
        plain.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut link = UdpLink::towards(plain.local_addr().unwrap()).unwrap();
        link.send_run(None, b"aaabbbccd", 3).unwrap();
        let mut buffer = [0; 64];
        for expected in [&b"aaa"[..], b"bbb", b"ccd"] {
            let length = plain.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected);
        }
    }

    #[test]
    fn a_run_to_nobody_is_silence() {
        let free = UdpSocket::bind(any()).unwrap().local_addr().unwrap();
        let mut link = UdpLink::towards(free).unwrap();
        for _ in 0..20 {
            link.send_run(None, &[1; 100], 10).unwrap();
            assert_eq!(link.receive(&mut [0; 64], in_ms(1)).unwrap(), None);
        }
        let mut vehicle = UdpLink::listen(free).unwrap();
        link.send_run(None, &[1; 100], 10).unwrap();
        assert_eq!(all(&mut vehicle).len(), 10);
    }

    #[test]
    fn an_empty_datagram_is_nothing_and_ends_nothing() {
        let mut link = UdpLink::listen(any()).unwrap();
        let other = UdpSocket::bind(any()).unwrap();
        let there = link.local_address().unwrap();
        for text in [&b"a"[..], b"", b"b"] {
            other.send_to(text, there).unwrap();
        }
        assert_eq!(all(&mut link), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn what_does_not_fit_of_a_datagram_is_lost_and_no_more() {
        let mut listener = UdpLink::listen(any()).unwrap();
        let mut link = UdpLink::towards(listener.local_address().unwrap()).unwrap();
        link.send_run(None, b"aaabbbccc", 3).unwrap();
        let mut buffer = [0; 2];
        for expected in [b"aa", b"bb", b"cc"] {
            let (_, length) = listener.receive(&mut buffer, soon()).unwrap().unwrap();
            assert_eq!(&buffer[..length], expected);
        }
    }

    #[test]
    fn ipv6_works_as_ipv4_does() {
        let Ok(mut listener) = UdpLink::listen(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) else {
            return; // This machine has no IPv6.
        };
        let mut link = UdpLink::towards(listener.local_address().unwrap()).unwrap();
        link.send(None, b"six").unwrap();
        let (peer, _) = listener.receive(&mut [0; 64], soon()).unwrap().unwrap();
        listener.send(Some(peer), b"ok").unwrap();
        assert!(link.receive(&mut [0; 64], soon()).unwrap().is_some());
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let listener = UdpLink::listen(any()).unwrap();
        let error = UdpLink::listen(listener.local_address().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
