//! An outgoing TCP stream that comes back by itself. Must not know frames.
//!
//! While it is down, there is silence: nothing is received, and what is sent is lost.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::stream::{Outbox, Turn, earlier, turn_after};
use super::wait::{End, Interest, Waiter};
use super::{Link, Peer, Waker};

/// First pause between two attempts to connect; each failed one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest time for one attempt.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes kept for a stream that takes no more at present. A frame that does not fit is lost whole.
pub(super) const WAITING_BYTES_MAX: usize = 16 * 1024;

/// A TCP connection as a link.
#[derive(Debug)]
pub struct TcpLink {
    /// The host's addresses, tried in turns; never empty.
    addresses: Vec<SocketAddr>,
    attempts: usize,
    state: State,
    pause: Duration,
    waiting: Outbox,
    waiter: Waiter,
    /// That it is down has been said.
    complained: bool,
}

#[derive(Debug)]
enum State {
    Down { until: Instant },
    Connecting { stream: TcpStream, until: Instant },
    Up { stream: TcpStream },
}

impl TcpLink {
    /// Connects as soon as somebody receives; that nobody answers is no error. The error is
    /// [`io::ErrorKind::InvalidInput`] when there is no address.
    pub fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpLink> {
        if addresses.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(TcpLink {
            addresses,
            attempts: 0,
            state: State::Down { until: Instant::now() },
            pause: PAUSE_MIN,
            waiting: Outbox::new(WAITING_BYTES_MAX),
            waiter: Waiter::new()?,
            complained: false,
        })
    }

    /// Waits in whatever state this is. `None`: something happened, look again.
    fn advance(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<Turn>> {
        match &mut self.state {
            State::Down { until } => {
                let until = *until;
                if Instant::now() < until {
                    let end = self.waiter.wait(None, Some(earlier(deadline, until)))?;
                    return Ok(turn_after(end, deadline));
                }
                self.begin_to_connect();
            }
            State::Connecting { stream, until } => {
                let until = *until;
                let wanted = (stream.as_fd(), Interest::Write);
                let end = self.waiter.wait(Some(wanted), Some(earlier(deadline, until)))?;
                match end {
                    End::Ready => self.finish_to_connect(),
                    End::Deadline if Instant::now() >= until => {
                        self.go_down(&io::ErrorKind::TimedOut.into());
                    }
                    End::Deadline | End::Woken => return Ok(turn_after(end, deadline)),
                }
            }
            State::Up { .. } => return self.advance_up(buffer, deadline),
        }
        Ok(None)
    }

    fn advance_up(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<Turn>> {
        let State::Up { stream } = &mut self.state else { return Ok(None) };
        match stream.read(buffer) {
            Ok(0) => Ok(Some(self.break_off(&io::ErrorKind::UnexpectedEof.into()))),
            Ok(length) => {
                self.pause = PAUSE_MIN;
                Ok(Some(Turn::Bytes(length)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let idle = self.waiting.is_empty();
                let interest = if idle { Interest::Read } else { Interest::ReadOrWrite };
                let end = self.waiter.wait(Some((stream.as_fd(), interest)), deadline)?;
                self.write_waiting();
                Ok(turn_after(end, deadline))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Ok(Some(self.break_off(&error))),
        }
    }

    fn begin_to_connect(&mut self) {
        let address = self.addresses[self.attempts % self.addresses.len()];
        self.attempts = self.attempts.wrapping_add(1);
        match start(address) {
            Ok(stream) => {
                self.state = State::Connecting { stream, until: Instant::now() + CONNECT_TIME_MAX };
            }
            Err(error) => self.go_down(&error),
        }
    }

    fn finish_to_connect(&mut self) {
        let down = State::Down { until: Instant::now() };
        match std::mem::replace(&mut self.state, down) {
            State::Connecting { stream, .. } => match connected(&stream) {
                Ok(()) => {
                    tracing::info!("connected to {}", self.name());
                    self.complained = false;
                    self.state = State::Up { stream };
                }
                Err(error) => self.go_down(&error),
            },
            other @ (State::Down { .. } | State::Up { .. }) => self.state = other,
        }
    }

    /// The stream ended: says so to the caller, and tries again after a pause.
    fn break_off(&mut self, error: &io::Error) -> Turn {
        self.go_down(error);
        Turn::Bytes(0)
    }

    fn go_down(&mut self, error: &io::Error) {
        if !self.complained {
            tracing::warn!("{}: {error}; trying again", self.name());
            self.complained = true;
        }
        self.waiting.clear();
        self.state = State::Down { until: Instant::now() + self.pause };
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Writes what waits, as far as there is room.
    fn write_waiting(&mut self) {
        if let State::Up { stream } = &mut self.state {
            self.waiting.write_to(stream);
        }
    }

    fn name(&self) -> String {
        format!("tcp:{}", self.addresses[self.attempts.wrapping_sub(1) % self.addresses.len()])
    }
}

impl Link for TcpLink {
    fn receive(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<(Peer, usize)>> {
        loop {
            match self.advance(buffer, deadline)? {
                Some(Turn::Bytes(length)) => return Ok(Some((Peer::LINE, length))),
                Some(Turn::Nothing) => return Ok(None),
                None => {}
            }
        }
    }

    fn send(&mut self, _: Option<Peer>, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.state, State::Up { .. }) && !self.waiting.push(bytes) {
            tracing::debug!(lost = self.waiting.lost(), "{}: no room for a frame", self.name());
        }
        self.write_waiting();
        Ok(())
    }

    fn default_peer(&self) -> Option<Peer> {
        Some(Peer::LINE)
    }

    fn waker(&self) -> Waker {
        self.waiter.waker()
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn local_address(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Up { stream } => stream.local_addr().ok(),
            State::Down { .. } | State::Connecting { .. } => None,
        }
    }
}

/// Begins a connection without waiting for it.
fn start(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Frames are small and somebody waits for each.
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => Ok(socket.into()),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error),
    }
}

/// Whether a begun connection came about.
fn connected(stream: &TcpStream) -> io::Result<()> {
    match stream.take_error()? {
        Some(error) => Err(error),
        // Where nobody listens, a local attempt may meet itself, and would talk to itself for ever.
        None if stream.peer_addr()? == stream.local_addr()? => {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    fn server() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn in_ms(milliseconds: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(milliseconds))
    }

    /// Receives until something comes; panics after 10 s.
    fn next(link: &mut TcpLink) -> Vec<u8> {
        let mut buffer = [0; 4096];
        let (peer, length) = link.receive(&mut buffer, in_ms(10_000)).unwrap().unwrap();
        assert_eq!(peer, Peer::LINE);
        buffer[..length].to_vec()
    }

    /// Both ends of a connection.
    fn accept(listener: &TcpListener, link: &mut TcpLink) -> TcpStream {
        while link.local_address().is_none() {
            assert_eq!(link.receive(&mut [0; 16], in_ms(20)).unwrap(), None);
        }
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    #[test]
    fn bytes_go_both_ways() {
        let (listener, address) = server();
        let mut link = TcpLink::connect(vec![address]).unwrap();
        link.send(None, b"lost while down").unwrap();
        let mut far = accept(&listener, &mut link);
        far.write_all(b"hello").unwrap();
        assert_eq!(next(&mut link), b"hello");
        link.send(Some(Peer::LINE), b"answer").unwrap();
        let mut answer = [0; 6];
        far.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    }

    #[test]
    fn a_closed_stream_is_told_once_and_comes_back() {
        let (listener, address) = server();
        let mut link = TcpLink::connect(vec![address]).unwrap();
        for round in 0..2u8 {
            let mut far = accept(&listener, &mut link);
            far.write_all(&[b'0' + round]).unwrap();
            assert_eq!(next(&mut link), [b'0' + round]);
            drop(far);
            assert_eq!(next(&mut link), b"", "the break");
            link.send(None, b"lost").unwrap();
        }
    }

    #[test]
    fn a_refused_connection_is_silence_within_the_deadline() {
        let (listener, address) = server();
        drop(listener);
        let mut link = TcpLink::connect(vec![address]).unwrap();
        let begin = Instant::now();
        assert_eq!(link.receive(&mut [0; 16], in_ms(50)).unwrap(), None);
        assert!(begin.elapsed() >= Duration::from_millis(50));
        assert!(begin.elapsed() < Duration::from_secs(2));
        let listener = TcpListener::bind(address).unwrap();
        accept(&listener, &mut link);
    }

    #[test]
    fn the_next_address_is_tried_when_one_refuses() {
        let (closed, refusing) = server();
        drop(closed);
        let (listener, address) = server();
        let mut link = TcpLink::connect(vec![refusing, address]).unwrap();
        accept(&listener, &mut link);
    }

    #[test]
    fn a_wake_ends_receive_up_and_down() {
        let (listener, address) = server();
        let mut link = TcpLink::connect(vec![address]).unwrap();
        let far = accept(&listener, &mut link);
        link.waker().wake();
        assert_eq!(link.receive(&mut [0; 16], None).unwrap(), None);
        drop((far, listener));
        assert_eq!(next(&mut link), b"");
        link.waker().wake();
        assert_eq!(link.receive(&mut [0; 16], None).unwrap(), None);
    }

    #[test]
    fn a_far_end_that_does_not_read_loses_whole_frames_and_holds_up_nobody() {
        let (listener, address) = server();
        let mut link = TcpLink::connect(vec![address]).unwrap();
        let mut far = accept(&listener, &mut link);
        const FRAME: usize = 280;
        for number in 0..200_000u32 {
            let mut frame = [0; FRAME];
            frame[..4].copy_from_slice(&number.to_le_bytes());
            link.send(None, &frame).unwrap();
        }
        assert!(!link.waiting.is_empty() && link.waiting.lost() > 0);
        let reader = std::thread::spawn(move || {
            let (mut last, mut frame) = (None, [0; FRAME]);
            while far.read_exact(&mut frame).is_ok() {
                let number = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]);
                assert!(last.is_none_or(|last| number > last) && frame[4..] == [0; FRAME - 4]);
                last = Some(number);
            }
        });
        while !link.waiting.is_empty() {
            assert_eq!(link.receive(&mut [0; 16], in_ms(20)).unwrap(), None);
        }
        drop(link);
        reader.join().unwrap();
    }
}
