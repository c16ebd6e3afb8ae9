//! Waiting for a descriptor, a deadline or a [`Waker`], whichever comes first. Must not know what
//! is waited for.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ends another thread's wait in [`super::Link::receive`]. Clones wake the same link.
///
/// A wake while nobody waits ends the next wait; several before that are one.
#[derive(Clone, Debug)]
pub struct Waker(Arc<File>);

impl Waker {
    /// Makes the link's `receive` return `Ok(None)`, once.
    pub fn wake(&self) {
        // Can only fail when 2^64 wakes are pending, and then the wait ends anyway.
        let _ = (&*self.0).write(&1u64.to_ne_bytes());
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The descriptor is ready, or has an error to report.
    Ready,
    /// A [`Waker`] called.
    Woken,
    /// The deadline passed.
    Deadline,
}

/// What is awaited of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Bytes to read.
    Read,
    /// Room to write.
    Write,
    /// Either.
    ReadOrWrite,
}

/// Waits on behalf of one link.
#[derive(Debug)]
pub(super) struct Waiter {
    waker: Waker,
}

impl Waiter {
    /// Fails when the process has no descriptor left.
    pub(super) fn new() -> io::Result<Waiter> {
        // SAFETY: eventfd takes no pointer.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, valid and owned by nobody else.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Waiter { waker: Waker(Arc::new(File::from(descriptor))) })
    }

    /// A handle that ends waits.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits until `descriptor`, if any, is ready, a wake comes, or `deadline` passes. A ready
    /// descriptor goes first and leaves a wake for the next wait.
    pub(super) fn wait(
        &self,
        descriptor: Option<(BorrowedFd<'_>, Interest)>,
        deadline: Option<Instant>,
    ) -> io::Result<End> {
        let (number, events) = match descriptor {
            Some((descriptor, interest)) => (descriptor.as_raw_fd(), events_of(interest)),
            // poll(2) ignores negative descriptors.
            None => (-1, 0),
        };
        let mut entries = [
            libc::pollfd { fd: number, events, revents: 0 },
            libc::pollfd { fd: self.waker.0.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        ];
        while !poll(&mut entries, deadline)? {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(End::Deadline);
            }
        }
        if entries[0].revents != 0 {
            return Ok(End::Ready);
        }
        let _ = (&*self.waker.0).read(&mut [0; 8]);
        Ok(End::Woken)
    }

    /// [`Waiter::wait`] for several descriptors; with [`End::Ready`], also which of them are.
    pub(super) fn wait_any(
        &self,
        descriptors: &[(BorrowedFd<'_>, Interest)],
        deadline: Option<Instant>,
    ) -> io::Result<(End, Vec<usize>)> {
        let entry = |fd, events| libc::pollfd { fd, events, revents: 0 };
        let mut entries: Vec<libc::pollfd> = descriptors
            .iter()
            .map(|(descriptor, interest)| entry(descriptor.as_raw_fd(), events_of(*interest)))
            .collect();
        entries.push(entry(self.waker.0.as_raw_fd(), libc::POLLIN));
        while !poll(&mut entries, deadline)? {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok((End::Deadline, Vec::new()));
            }
        }
        let ready: Vec<usize> =
            (0..descriptors.len()).filter(|at| entries[*at].revents != 0).collect();
        if !ready.is_empty() {
            return Ok((End::Ready, ready));
        }
        let _ = (&*self.waker.0).read(&mut [0; 8]);
        Ok((End::Woken, ready))
    }

    /// Waits for the descriptor alone, and leaves a wake for the next [`Waiter::wait`]. False when
    /// the deadline passed first.
    pub(super) fn wait_only(
        &self,
        (descriptor, interest): (BorrowedFd<'_>, Interest),
        deadline: Instant,
    ) -> io::Result<bool> {
        let events = events_of(interest);
        let mut entries = [libc::pollfd { fd: descriptor.as_raw_fd(), events, revents: 0 }];
        while !poll(&mut entries, Some(deadline))? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn events_of(interest: Interest) -> libc::c_short {
    match interest {
        Interest::Read => libc::POLLIN,
        Interest::Write => libc::POLLOUT,
        Interest::ReadOrWrite => libc::POLLIN | libc::POLLOUT,
    }
}

/// Whether an entry became ready; false after the deadline, or a signal.
fn poll(entries: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<bool> {
    let rest =
        deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
    let rest = rest.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `entries` is a valid slice of the length given, `rest` null or a live timespec, and
    // a null signal mask leaves the thread's mask alone.
    let count = unsafe {
        libc::ppoll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, rest, std::ptr::null())
    };
    match count {
        0 => Ok(false),
        1.. => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(duration.subsec_nanos().cast_signed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_wait_ends_it_once() {
        let waiter = Waiter::new().unwrap();
        waiter.waker().wake();
        waiter.waker().wake();
        assert_eq!(waiter.wait(None, None).unwrap(), End::Woken);
        let deadline = Instant::now() + Duration::from_millis(5);
        assert_eq!(waiter.wait(None, Some(deadline)).unwrap(), End::Deadline);
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn a_wake_from_another_thread_ends_an_endless_wait() {
        let waiter = Waiter::new().unwrap();
        let waker = waiter.waker();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            waker.wake();
        });
        assert_eq!(waiter.wait(None, None).unwrap(), End::Woken);
        thread.join().unwrap();
    }
}
