//! A hub for MAVLink over UDP: every datagram goes to everybody else who was heard, and, if told so,
//! back to its sender too. The least that a router does, and more than a good one: it looks at no
//! address. Must not know what is in a datagram.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How soon it notices that it is to end.
const GLANCE: Duration = Duration::from_millis(20);

/// A running hub; ends when dropped.
pub struct Hub {
    pub port: u16,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    /// Starts on a port of the loopback; `echoes` sends frames back to who sent them as well.
    pub fn start(echoes: bool) -> Hub {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(GLANCE)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let ending = over.clone();
        let thread = std::thread::spawn(move || {
            let (mut heard, mut buffer) = (BTreeSet::<SocketAddr>::new(), [0; 2048]);
            while !ending.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                heard.insert(from);
                for to in heard.iter().filter(|to| echoes || **to != from) {
                    // Who is gone is gone.
                    let _ = socket.send_to(&buffer[..length], to);
                }
            }
        });
        Hub { port, over, thread: Some(thread) }
    }

    /// The address that all who meet here are given.
    pub fn endpoint(&self) -> String {
        format!("udpout:127.0.0.1:{}", self.port)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
