//! A TCP socket that others connect to, several at a time. Must not know frames.
//!
//! Each client is a peer of its own. One that does not read loses frames, and holds up nobody.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::stream::{Outbox, earlier};
use super::tcp::WAITING_BYTES_MAX;
use super::wait::{End, Interest, Waiter};
use super::{Link, Peer, QUIET_AFTER, Waker};

/// Most clients at a time; beyond, one that has gone silent gives way, else the new one.
const CLIENTS_MAX: usize = 16;
/// A client not heard for so long may give way: whoever lives sends a heartbeat each second.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(30);
/// When the system cannot take another connection, so long passes before the next attempt.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening TCP socket, and whoever is connected, as a link.
#[derive(Debug)]
pub struct TcpListenLink {
    listener: TcpListener,
    clients: BTreeMap<SocketAddr, Client>,
    /// Who had bytes at the last look.
    ready: VecDeque<SocketAddr>,
    /// Whose end the caller has not been told yet.
    ended: Vec<SocketAddr>,
    /// No new clients before this.
    accepts_from: Instant,
    waiter: Waiter,
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    waiting: Outbox,
    since: Instant,
    heard: Option<Instant>,
}

impl Client {
    fn is_silent(&self, time: Duration) -> bool {
        self.heard.unwrap_or(self.since).elapsed() >= time
    }

    /// Whether it may need to hear us first.
    fn is_quiet(&self) -> bool {
        self.heard.is_none_or(|heard| heard.elapsed() >= QUIET_AFTER)
    }

    fn wanted(&self) -> (BorrowedFd<'_>, Interest) {
        let idle = self.waiting.is_empty();
        (self.stream.as_fd(), if idle { Interest::Read } else { Interest::ReadOrWrite })
    }

    fn send(&mut self, bytes: &[u8], peer: &SocketAddr) {
        if !self.waiting.push(bytes) {
            tracing::debug!(%peer, lost = self.waiting.lost(), "no room for a frame");
        }
        self.waiting.write_to(&mut self.stream);
    }
}

impl TcpListenLink {
    /// Waits for connections at `local`; port 0 becomes a free one.
    /// [`io::ErrorKind::AddrInUse`] when somebody else listens there.
    pub fn listen(local: SocketAddr) -> io::Result<TcpListenLink> {
        let listener = TcpListener::bind(local)?;
        listener.set_nonblocking(true)?;
        Ok(TcpListenLink {
            listener,
            clients: BTreeMap::new(),
            ready: VecDeque::new(),
            ended: Vec::new(),
            accepts_from: Instant::now(),
            waiter: Waiter::new()?,
        })
    }

    /// Waits until somebody has bytes or room, or comes.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<End> {
        let pause = Instant::now() < self.accepts_from;
        let deadline = if pause { Some(earlier(deadline, self.accepts_from)) } else { deadline };
        let mut wanted: Vec<_> = self.clients.values().map(Client::wanted).collect();
        if !pause {
            wanted.push((self.listener.as_fd(), Interest::Read));
        }
        let (end, ready) = self.waiter.wait_any(&wanted, deadline)?;
        let mut somebody_comes = false;
        // Clients come in their order, and the listener after them.
        let peers: Vec<SocketAddr> = self.clients.keys().copied().collect();
        for at in ready {
            let Some(peer) = peers.get(at) else {
                somebody_comes = true;
                continue;
            };
            if let Some(client) = self.clients.get_mut(peer) {
                client.waiting.write_to(&mut client.stream);
                self.ready.push_back(*peer);
            }
        }
        if somebody_comes {
            self.accept();
        }
        Ok(end)
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        tracing::debug!("a connection could not be taken: {error}");
                        self.accepts_from = Instant::now() + ACCEPT_PAUSE;
                        return;
                    }
                },
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        if self.clients.len() >= CLIENTS_MAX {
            self.make_room();
        }
        if self.clients.len() >= CLIENTS_MAX {
            tracing::warn!(%peer, "refused a connection: {CLIENTS_MAX} are there already");
            return;
        }
        // Frames are small and somebody waits for each.
        if let Err(error) = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)) {
            tracing::debug!(%peer, "a connection is of no use: {error}");
            return;
        }
        tracing::info!(%peer, "connected");
        let waiting = Outbox::new(WAITING_BYTES_MAX);
        let client = Client { stream, waiting, since: Instant::now(), heard: None };
        if self.clients.insert(peer, client).is_some() {
            self.ended.push(peer);
        }
    }

    fn make_room(&mut self) {
        let silent = self.clients.iter().find(|(_, client)| client.is_silent(GIVES_WAY_AFTER));
        if let Some(peer) = silent.map(|(peer, _)| *peer) {
            tracing::info!(%peer, "gives way: silent for long");
            self.clients.remove(&peer);
            self.ended.push(peer);
        }
    }

    /// What a client has sent; 0 when it is gone.
    fn read(&mut self, peer: SocketAddr, buffer: &mut [u8]) -> Option<usize> {
        let client = self.clients.get_mut(&peer)?;
        let error = match client.stream.read(buffer) {
            Ok(0) => None,
            Ok(length) => {
                client.heard = Some(Instant::now());
                return Some(length);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return None,
                _ => Some(error),
            },
        };
        tracing::info!(%peer, lost = client.waiting.lost(), ?error, "disconnected");
        self.clients.remove(&peer);
        Some(0)
    }
}

impl Link for TcpListenLink {
    fn receive(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<(Peer, usize)>> {
        loop {
            if let Some(peer) = self.ended.pop() {
                return Ok(Some((peer.into(), 0)));
            }
            while let Some(peer) = self.ready.pop_front() {
                if let Some(length) = self.read(peer, buffer) {
                    return Ok(Some((peer.into(), length)));
                }
            }
            match self.wait(deadline)? {
                End::Ready => {}
                End::Woken => return Ok(None),
                End::Deadline if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                End::Deadline => return Ok(None),
            }
        }
    }

    fn send(&mut self, to: Option<Peer>, bytes: &[u8]) -> io::Result<()> {
        match to.and_then(|peer| peer.socket_address()) {
            Some(peer) => {
                if let Some(client) = self.clients.get_mut(&peer) {
                    client.send(bytes, &peer);
                }
            }
            None => self.clients.iter_mut().for_each(|(peer, client)| client.send(bytes, peer)),
        }
        Ok(())
    }

    fn default_peer(&self) -> Option<Peer> {
        self.clients.values().any(Client::is_quiet).then_some(Peer::LINE)
    }

    fn waker(&self) -> Waker {
        self.waiter.waker()
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

#[cfg(test)]
mod tests;
