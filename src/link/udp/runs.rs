//! Several datagrams with one system call, where the kernel can: `UDP_SEGMENT` cuts what is sent,
//! `UDP_GRO` joins what arrives (Linux, udp(7)). Must not know frames, nor what is a link.
//!
//! On loopback nearly all that a datagram costs is its way through the kernel, which a run goes but
//! once. `sendmmsg` and `recvmmsg` save a twentieth of it, and are not used.

use std::io::{self, IoSlice};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{MaybeUninitSlice, MsgHdr, MsgHdrMut, SockAddr, SockRef};

use crate::link::DATAGRAM_BYTES_MAX;

/// Most datagrams the kernel cuts a run into; newer ones take more.
pub(super) const RUN_DATAGRAMS_MAX: usize = 64;

/// Bytes of a control message before its data: its length, level and type.
const CONTROL_HEADER_BYTES: usize = size_of::<usize>() + 2 * size_of::<i32>();
/// Room for the one control message that is expected, and one more.
const CONTROL_BYTES_MAX: usize = 64;

/// Asks the kernel to join what arrives. One that cannot hands out each datagram by itself.
pub(super) fn join_arrivals(socket: &impl AsRawFd) {
    if let Err(error) = set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1) {
        tracing::debug!("datagrams arrive one by one: {error}");
    }
}

/// Sends datagrams of `each` bytes, the last perhaps shorter, at once: all or none.
pub(super) fn send(socket: &UdpSocket, bytes: &[u8], each: u16, to: SocketAddr) -> io::Result<()> {
    let (to, buffers, control) = (SockAddr::from(to), [IoSlice::new(bytes)], cut_into(each));
    let message = MsgHdr::new().with_addr(&to).with_buffers(&buffers).with_control(&control);
    SockRef::from(socket).sendmsg(&message, 0).map(|_| ())
}

/// Whether an error of [`send`] says that runs cannot be cut here: an old kernel or an unusual one.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP)
    )
}

/// `setsockopt(2)` with a number.
pub(super) fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option's value is a c_int that lives through the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams of one sender that arrived together and wait to be taken one by one.
#[derive(Debug)]
pub(super) struct Arrivals {
    bytes: Vec<u8>,
    control: Vec<u8>,
    at: usize,
    /// Bytes of each, but for the last, which may be shorter.
    each: usize,
    sender: SocketAddr,
}

impl Arrivals {
    pub(super) fn new() -> Arrivals {
        Arrivals {
            bytes: Vec::with_capacity(DATAGRAM_BYTES_MAX),
            control: Vec::with_capacity(CONTROL_BYTES_MAX),
            at: 0,
            each: 0,
            sender: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        }
    }

    /// The next datagram, as far as it fits into `buffer`; its sender and its length there.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        (self.at < self.bytes.len()).then(|| self.cut_off(buffer))
    }

    /// Receives from the socket, and takes the first datagram; it may be empty. What was not taken
    /// before is lost.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        buffer: &mut [u8],
    ) -> io::Result<(SocketAddr, usize)> {
        self.bytes.clear();
        self.control.clear();
        self.at = 0;
        // Room for either family.
        let mut sender = SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
        let mut buffers = [MaybeUninitSlice::new(self.bytes.spare_capacity_mut())];
        let mut message = MsgHdrMut::new()
            .with_addr(&mut sender)
            .with_buffers(&mut buffers)
            .with_control(self.control.spare_capacity_mut());
        let length = SockRef::from(socket).recvmsg(&mut message, 0)?;
        let control_length = message.control_len();
        // SAFETY: the kernel wrote that many bytes to the beginning of each, and no more than the
        // room it was told of.
        unsafe {
            self.bytes.set_len(length);
            self.control.set_len(control_length);
        }
        self.each = joined_from(&self.control).unwrap_or(length);
        self.sender = sender.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok(self.cut_off(buffer))
    }

    fn cut_off(&mut self, buffer: &mut [u8]) -> (SocketAddr, usize) {
        let rest = &self.bytes[self.at..];
        let datagram = &rest[..rest.len().min(self.each)];
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        self.at += datagram.len();
        (self.sender, length)
    }
}

/// The control message that has a run cut into datagrams of `each` bytes.
fn cut_into(each: u16) -> [u8; CONTROL_HEADER_BYTES + size_of::<usize>()] {
    // Padded, as all of them are, to a multiple of the length's size.
    let mut control = [0; CONTROL_HEADER_BYTES + size_of::<usize>()];
    let length = CONTROL_HEADER_BYTES + size_of_val(&each);
    let (level, kind) = (libc::SOL_UDP.to_ne_bytes(), libc::UDP_SEGMENT.to_ne_bytes());
    let fields = [&length.to_ne_bytes()[..], &level, &kind, &each.to_ne_bytes()];
    let fields = fields.into_iter().flatten();
    control.iter_mut().zip(fields).for_each(|(place, byte)| *place = *byte);
    control
}

/// The size of the datagrams that what arrived was joined from, where it was.
fn joined_from(control: &[u8]) -> Option<usize> {
    let number_at = |offset: usize| {
        let bytes = control.get(offset..)?.first_chunk()?;
        Some(i32::from_ne_bytes(*bytes))
    };
    let level = number_at(size_of::<usize>())?;
    let kind = number_at(size_of::<usize>() + size_of::<i32>())?;
    let each = usize::try_from(number_at(CONTROL_HEADER_BYTES)?).ok()?;
    (level == libc::SOL_UDP && kind == libc::UDP_GRO && each > 0).then_some(each)
}
