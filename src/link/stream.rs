//! What streams have in common: frames that wait for room, and what ends a wait. Must not know
//! which kind of stream it is.

use std::io::{self, Write};
use std::time::Instant;

use super::wait::End;

/// Frames for which a stream had no room yet: whole ones, and the rest of one. Bounded, so that who
/// does not read holds up nobody.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Vec<u8>,
    bytes_max: usize,
    lost: u64,
}

impl Outbox {
    /// Holds so many bytes at most.
    pub(super) fn new(bytes_max: usize) -> Outbox {
        Outbox { waiting: Vec::new(), bytes_max, lost: 0 }
    }

    /// Takes a frame, whole. One that does not fit is lost whole and counted: false.
    pub(super) fn push(&mut self, frame: &[u8]) -> bool {
        if self.waiting.len() + frame.len() > self.bytes_max {
            self.lost += 1;
            return false;
        }
        self.waiting.extend_from_slice(frame);
        true
    }

    /// Writes as far as there is room. An error of the stream is met again by the next read, which
    /// deals with it.
    pub(super) fn write_to(&mut self, stream: &mut impl Write) {
        while !self.waiting.is_empty() {
            match stream.write(&self.waiting) {
                Ok(0) => return,
                Ok(length) => drop(self.waiting.drain(..length.min(self.waiting.len()))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Forgets what waits: the stream it was for is gone.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Frames that did not fit, so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

/// What `receive` answers.
pub(super) enum Turn {
    Bytes(usize),
    Nothing,
}

/// The caller's deadline or our own, whichever comes first.
pub(super) fn earlier(deadline: Option<Instant>, until: Instant) -> Instant {
    deadline.map_or(until, |deadline| deadline.min(until))
}

/// `None`: it was not the caller's deadline.
pub(super) fn turn_after(end: End, deadline: Option<Instant>) -> Option<Turn> {
    match end {
        End::Woken => Some(Turn::Nothing),
        End::Deadline if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
            Some(Turn::Nothing)
        }
        End::Ready | End::Deadline => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and no more.
    struct Narrow(Vec<u8>, usize);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = (self.1 - self.0.len()).min(bytes.len());
            self.0.extend_from_slice(&bytes[..room]);
            if room == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(room) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_does_not_fit_is_lost_whole_and_counted() {
        let (mut outbox, mut stream) = (Outbox::new(10), Narrow(Vec::new(), 6));
        assert!(outbox.push(b"1234") && outbox.push(b"5678"));
        assert!(!outbox.push(b"abc"));
        outbox.write_to(&mut stream);
        assert_eq!((&stream.0[..], outbox.is_empty(), outbox.lost()), (&b"123456"[..], false, 1));
        assert!(outbox.push(b"abc"));
        stream.1 = 100;
        outbox.write_to(&mut stream);
        assert_eq!((&stream.0[..], outbox.is_empty()), (&b"12345678abc"[..], true));
    }
}
