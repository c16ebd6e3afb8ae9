//! The most that two UDP sockets of loopback carry on this machine: one asks, with so many questions
//! under way, the other answers each with a frame as large as one of MAVLink with 239 bytes of a file.
//! Once with a system call per datagram, once with a call for many. Knows no MAVLink.
//!
//! Usage: `bare [FRAMES [WINDOW]]`. Prints `plain SECONDS FRAMES`, then `batched SECONDS FRAMES`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

mod batch;

use batch::Batch;

/// A request for a part of a file, without trailing zeros, and its answer.
const REQUEST_BYTES: usize = 26;
const ANSWER_BYTES: usize = 266;
const FRAMES: usize = 100_000;
const WINDOW: usize = 64;
/// A window of any size fits.
const SOCKET_BUFFER_BYTES: libc::c_int = 16 << 20;
/// Nothing comes any more: a datagram was lost, which loopback does only with a window too large.
const STALL: Duration = Duration::from_secs(5);

/// Takes some datagrams, and sends as many of `size` bytes to where they came from; how many.
trait Turn {
    fn turn(&mut self, socket: &UdpSocket, size: usize) -> io::Result<usize>;
}

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (Ok(frames), Ok(window)) = (next(FRAMES), next(WINDOW)) else {
        eprintln!("usage: bare [FRAMES [WINDOW]]");
        return ExitCode::from(2);
    };
    let plain = exchange(frames, window, || Plain);
    let batched = exchange(frames, window, Batch::new);
    for (name, seconds) in [("plain", plain), ("batched", batched)] {
        match seconds {
            Ok(seconds) => println!("{name} {seconds:.6} {frames}"),
            Err(error) => {
                eprintln!("bare: {name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Seconds until all frames are there.
fn exchange<T: Turn>(
    frames: usize,
    window: usize,
    turns: impl Fn() -> T + Sync,
) -> io::Result<f64> {
    let (asks, answers) = (socket()?, socket()?);
    let to = answers.local_addr()?;
    thread::scope(|threads| {
        let server = threads.spawn(|| serve(&answers, frames, turns()));
        let began = Instant::now();
        ask(&asks, to, frames, window, turns())?;
        let seconds = began.elapsed().as_secs_f64();
        server.join().unwrap_or_else(|_| Err(io::Error::other("the server panicked")))?;
        Ok(seconds)
    })
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(STALL))?;
    let size = SOCKET_BUFFER_BYTES;
    // SAFETY: the value outlives the call, and its size is right. Without root nothing happens.
    unsafe {
        let (value, length) = ((&raw const size).cast(), size_of::<libc::c_int>() as u32);
        let descriptor = socket.as_raw_fd();
        libc::setsockopt(descriptor, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value, length);
    }
    Ok(socket)
}

fn serve(socket: &UdpSocket, frames: usize, mut turns: impl Turn) -> io::Result<()> {
    let mut left = frames;
    while left > 0 {
        left = left.saturating_sub(turns.turn(socket, ANSWER_BYTES)?);
    }
    Ok(())
}

fn ask(
    socket: &UdpSocket,
    to: SocketAddr,
    frames: usize,
    window: usize,
    mut turns: impl Turn,
) -> io::Result<()> {
    for _ in 0..window.min(frames) {
        socket.send_to(&[1; REQUEST_BYTES], to)?;
    }
    let mut received = 0;
    while received + window < frames {
        received += turns.turn(socket, REQUEST_BYTES)?;
    }
    let mut answer = [0; ANSWER_BYTES];
    for _ in received..frames {
        socket.recv_from(&mut answer)?;
    }
    Ok(())
}

/// A call for each datagram.
struct Plain;

impl Turn for Plain {
    fn turn(&mut self, socket: &UdpSocket, size: usize) -> io::Result<usize> {
        let mut buffer = [1; ANSWER_BYTES];
        let (_, sender) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..size], sender)?;
        Ok(1)
    }
}
