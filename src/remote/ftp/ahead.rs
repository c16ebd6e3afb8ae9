//! A data connection that is opened before it is needed: passive, to an address that the server has
//! named. Must not know what it will carry.
//!
//! It is opened while the server renames the last upload, and the next upload finds it there. One that
//! the server has closed meanwhile shows that before anything is asked of it; so does one on which the
//! server has said something, which it may not.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// One that was opened so long ago is not used: servers and routers forget idle connections.
const FRESH_TIME: Duration = Duration::from_secs(10);

/// A data connection that is open, or on its way.
pub struct Ahead {
    socket: TcpStream,
    since: Instant,
}

impl Ahead {
    /// Begins to connect, and does not wait for it.
    pub fn begin(address: SocketAddr) -> io::Result<Ahead> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            Ok(()) | Err(_) => Ok(Ahead { socket: socket.into(), since: Instant::now() }),
        }
    }

    /// The connection, if it lives; it waits as long as `patience` for it to be open.
    pub fn take(self, patience: Duration) -> Option<TcpStream> {
        if self.since.elapsed() >= FRESH_TIME {
            return None;
        }
        wait_until_open(&self.socket, patience).ok()?;
        let is_open = self.socket.take_error().is_ok_and(|error| error.is_none());
        let silence = self.socket.peek(&mut [0]).map_err(|error| error.kind());
        if !is_open || silence != Err(ErrorKind::WouldBlock) {
            return None;
        }
        self.socket.set_nonblocking(false).ok()?;
        Some(self.socket)
    }
}

fn wait_until_open(socket: &TcpStream, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one descriptor is asked about, which `socket` keeps open.
        let ready = unsafe { libc::poll(&mut asked, 1, i32::try_from(left).unwrap_or(i32::MAX)) };
        match ready {
            0 => return Err(ErrorKind::TimedOut.into()),
            1.. => return SockRef::from(socket).peer_addr().map(drop),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(50);

    fn ahead() -> (Ahead, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (Ahead::begin(listener.local_addr().unwrap()).unwrap(), listener)
    }

    #[test]
    fn a_connection_is_there_when_it_is_taken_and_blocks_then() {
        let (ahead, listener) = ahead();
        let mut near = ahead.take(PATIENCE).unwrap();
        let mut far = listener.accept().unwrap().0;
        let writer = thread::spawn(move || {
            thread::sleep(SHORT);
            far.write_all(b"a").unwrap();
        });
        near.read_exact(&mut [0]).unwrap();
        writer.join().unwrap();
    }

    #[test]
    fn a_connection_that_the_server_closed_or_spoke_on_is_not_taken() {
        let (closed, listener) = ahead();
        drop(listener.accept().unwrap());
        thread::sleep(SHORT);
        assert!(closed.take(PATIENCE).is_none());
        let (spoken, listener) = ahead();
        listener.accept().unwrap().0.write_all(b"a").unwrap();
        thread::sleep(SHORT);
        assert!(spoken.take(PATIENCE).is_none());
    }

    #[test]
    fn a_connection_that_was_refused_is_not_taken() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let taken = Ahead::begin(address).ok().and_then(|ahead| ahead.take(PATIENCE));
        assert!(taken.is_none());
    }
}
