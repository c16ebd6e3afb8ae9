//! Turns with one system call for many datagrams each way. Must not know what they are for.

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use super::{ANSWER_BYTES, Turn};

const AT_ONCE: usize = 32;

/// The memory for as many datagrams as one call takes.
pub struct Batch {
    buffers: [[u8; ANSWER_BYTES]; AT_ONCE],
    senders: [libc::sockaddr_in; AT_ONCE],
}

impl Batch {
    /// Empty.
    pub fn new() -> Batch {
        // SAFETY: an address of zeros is a valid one.
        Batch { buffers: [[1; ANSWER_BYTES]; AT_ONCE], senders: unsafe { mem::zeroed() } }
    }
}

impl Turn for Batch {
    fn turn(&mut self, socket: &UdpSocket, size: usize) -> io::Result<usize> {
        let mut vectors = self.buffers.each_mut().map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: ANSWER_BYTES,
        });
        // SAFETY: a header of zeros is a valid, empty one.
        let mut headers: [libc::mmsghdr; AT_ONCE] = unsafe { mem::zeroed() };
        for (at, header) in headers.iter_mut().enumerate() {
            header.msg_hdr.msg_name = (&raw mut self.senders[at]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_hdr.msg_iov = &raw mut vectors[at];
            header.msg_hdr.msg_iovlen = 1;
        }
        let (socket, first, none) =
            (socket.as_raw_fd(), headers.as_mut_ptr(), std::ptr::null_mut());
        // SAFETY: the headers, and all memory they point to, outlive the call and are not aliased.
        let taken =
            unsafe { libc::recvmmsg(socket, first, AT_ONCE as u32, libc::MSG_WAITFORONE, none) };
        let taken = counted(taken)?;
        let mut sent = 0;
        while sent < taken {
            vectors.iter_mut().for_each(|vector| vector.iov_len = size);
            // SAFETY: as above; the first `taken` headers have been filled by the kernel.
            let count = unsafe {
                let first = headers.as_mut_ptr().add(sent);
                libc::sendmmsg(socket, first, (taken - sent) as u32, 0)
            };
            sent += counted(count)?;
        }
        Ok(taken)
    }
}

fn counted(count: libc::c_int) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
