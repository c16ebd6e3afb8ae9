//! Takes datagrams from a socket many at a time, with the time at which each came. Must not know
//! what becomes of them.
//!
//! The kernel stamps them: a relay that gets its turn late still knows when each came.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Taken with one call.
const DATAGRAMS_AT_ONCE: usize = 32;
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Room for the kernel's stamp: a header and two words, with some to spare.
const STAMP_WORDS: usize = 8;
/// More than fits any datagram of ours waits in the socket, so that a late turn loses nothing.
const SOCKET_BUFFER_BYTES: libc::c_int = 16 << 20;

/// A datagram, whence it came and how long ago.
pub struct Received<'a> {
    /// What it carries.
    pub data: &'a [u8],
    /// Who sent it.
    pub sender: SocketAddrV4,
    /// Since the kernel had it.
    pub age: Duration,
}

/// A socket of loopback, on `port` or any free one where that is 0, whose datagrams are stamped.
///
/// # Errors
/// Those of the system, such as a port that is taken.
pub fn bind(port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nonblocking(true)?;
    for (forced, plain) in
        [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        // Beyond the system's limit only root may go.
        set_option(&socket, forced, SOCKET_BUFFER_BYTES)
            .or_else(|_| set_option(&socket, plain, SOCKET_BUFFER_BYTES))?;
    }
    set_option(&socket, libc::SO_TIMESTAMPNS, 1)?;
    Ok(socket)
}

/// The memory for many datagrams, used again and again.
pub struct Inbox {
    buffers: Vec<u8>,
    senders: [libc::sockaddr_in; DATAGRAMS_AT_ONCE],
    stamps: [[u64; STAMP_WORDS]; DATAGRAMS_AT_ONCE],
}

impl Inbox {
    /// Empty.
    pub fn new() -> Inbox {
        Inbox {
            buffers: vec![0; DATAGRAMS_AT_ONCE * DATAGRAM_BYTES_MAX],
            // SAFETY: an address of zeros is a valid one.
            senders: unsafe { mem::zeroed() },
            stamps: [[0; STAMP_WORDS]; DATAGRAMS_AT_ONCE],
        }
    }

    /// Hands over what waits in the socket, in order, a batch at most. Nothing when nothing waits.
    pub fn take(&mut self, socket: &UdpSocket, mut take: impl FnMut(Received<'_>)) {
        let pieces = self.buffers.chunks_exact_mut(DATAGRAM_BYTES_MAX);
        let mut vectors: Vec<libc::iovec> = pieces
            .map(|piece| libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() })
            .collect();
        // SAFETY: a header of zeros is a valid, empty one.
        let mut headers: [libc::mmsghdr; DATAGRAMS_AT_ONCE] = unsafe { mem::zeroed() };
        for (at, header) in headers.iter_mut().enumerate() {
            let header = &mut header.msg_hdr;
            header.msg_name = (&raw mut self.senders[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut self.stamps[at]).cast();
            header.msg_controllen = size_of::<[u64; STAMP_WORDS]>();
        }
        let (count, none) = (DATAGRAMS_AT_ONCE as u32, std::ptr::null_mut());
        // SAFETY: the headers, and all memory they point to, outlive the call and are not aliased.
        let taken = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                none,
            )
        };
        let now = wall_clock();
        // An error is that nothing waits, or of no more weight: datagrams get lost.
        let taken = usize::try_from(taken).unwrap_or(0);
        let pieces = self.buffers.chunks_exact(DATAGRAM_BYTES_MAX);
        for ((header, sender), piece) in headers.iter().zip(&self.senders).zip(pieces).take(taken) {
            let address = Ipv4Addr::from(u32::from_be(sender.sin_addr.s_addr));
            take(Received {
                data: &piece[..header.msg_len as usize],
                sender: SocketAddrV4::new(address, u16::from_be(sender.sin_port)),
                age: stamp(&header.msg_hdr).map_or(Duration::ZERO, |at| now.saturating_sub(at)),
            });
        }
    }
}

/// When the kernel had it, by the wall clock.
fn stamp(header: &libc::msghdr) -> Option<Duration> {
    // SAFETY: the kernel has filled the control memory of this header and set its length.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        if control.is_null()
            || (*control).cmsg_level != libc::SOL_SOCKET
            || (*control).cmsg_type != libc::SCM_TIMESTAMPNS
        {
            return None;
        }
        Some(duration(&libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned()))
    }
}

fn wall_clock() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a plain system call that fills the structure.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    duration(&now)
}

fn duration(time: &libc::timespec) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn set_option(socket: &UdpSocket, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as u32;
    // SAFETY: the value outlives the call, and its size is right.
    let failed = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, value, size)
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
