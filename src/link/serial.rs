//! A serial line, and its return after it was unplugged. Must not know frames.
//!
//! By termios and poll(2) instead of a library, because those wait in `write` and in `read`, and
//! here one thread waits for the line, its timers and a [`Waker`] at once. Raw, 8 bits, no parity,
//! 1 stop bit, no flow control.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use super::stream::{Outbox, Turn, earlier, turn_after};
use super::wait::{Interest, Waiter};
use super::{Link, Peer, Waker};

/// An unplugged device is looked for so often.
const REOPEN_PERIOD: Duration = Duration::from_secs(1);
/// Bits on the line for a byte.
const BITS_PER_BYTE: u32 = 10;
/// Least and most bytes kept for a line that takes no more at present; between, what it carries in
/// a second. Later a frame is of no use: it was asked for again.
const WAITING_BYTES_MIN: usize = 2 * 1024;
const WAITING_BYTES_MAX: usize = 64 * 1024;
/// A device that runs so many percent beside the speed asked for is not understood.
const SPEED_ERROR_PERCENT: u32 = 3;
/// Major device numbers of pseudoterminals, the side that programs open.
const PSEUDOTERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

/// A serial device as a link.
#[derive(Debug)]
pub struct SerialLink {
    device: String,
    baud: u32,
    state: State,
    waiting: Outbox,
    waiter: Waiter,
}

#[derive(Debug)]
enum State {
    Up(File),
    /// Unplugged; looked for at this time.
    Down(Instant),
}

impl SerialLink {
    /// Opens a device at so many baud, any number that its driver can, for this program alone.
    ///
    /// # Errors
    /// Those of open(2); `EBUSY` when another program has the line, `ENOTTY` when it is none.
    pub fn open(device: &str, baud: u32) -> io::Result<SerialLink> {
        let a_second = usize::try_from(baud / BITS_PER_BYTE).unwrap_or(WAITING_BYTES_MAX);
        let bytes_max = a_second.clamp(WAITING_BYTES_MIN, WAITING_BYTES_MAX);
        Ok(SerialLink {
            device: device.to_owned(),
            baud,
            state: State::Up(open_line(device, baud)?),
            waiting: Outbox::new(bytes_max),
            waiter: Waiter::new()?,
        })
    }

    /// Waits in whatever state this is. `None`: something happened, look again.
    fn advance(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<Turn>> {
        let line = match &mut self.state {
            State::Up(line) => line,
            State::Down(until) => {
                let until = *until;
                if Instant::now() < until {
                    let end = self.waiter.wait(None, Some(earlier(deadline, until)))?;
                    return Ok(turn_after(end, deadline));
                }
                self.look_for_it();
                return Ok(None);
            }
        };
        match line.read(buffer) {
            Ok(0) => Ok(Some(self.break_off(None))),
            Ok(length) => Ok(Some(Turn::Bytes(length))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let idle = self.waiting.is_empty();
                let interest = if idle { Interest::Read } else { Interest::ReadOrWrite };
                let end = self.waiter.wait(Some((line.as_fd(), interest)), deadline)?;
                self.waiting.write_to(line);
                Ok(turn_after(end, deadline))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Ok(Some(self.break_off(Some(error)))),
        }
    }

    /// The device is gone: says so to the caller, and lets go of it, else it would get another name
    /// when it is plugged in again.
    fn break_off(&mut self, error: Option<io::Error>) -> Turn {
        let reason = error.map_or_else(|| "hung up".to_owned(), |error| error.to_string());
        tracing::warn!("{} is gone ({reason}); looking for it every second", self.device);
        self.waiting.clear();
        self.state = State::Down(Instant::now() + REOPEN_PERIOD);
        Turn::Bytes(0)
    }

    fn look_for_it(&mut self) {
        match open_line(&self.device, self.baud) {
            Ok(line) => {
                tracing::warn!("{} is back", self.device);
                self.state = State::Up(line);
            }
            Err(error) => {
                tracing::debug!("{}: {error}", self.device);
                self.state = State::Down(Instant::now() + REOPEN_PERIOD);
            }
        }
    }
}

impl Link for SerialLink {
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
        if let State::Up(line) = &mut self.state {
            if !self.waiting.push(bytes) {
                let lost = self.waiting.lost();
                tracing::debug!(lost, "{}: no room for a frame", self.device);
            }
            self.waiting.write_to(line);
        }
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
        None
    }
}

/// Opens without waiting for a carrier, and never waits afterwards.
fn open_line(device: &str, baud: u32) -> io::Result<File> {
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
    let line = OpenOptions::new().read(true).write(true).custom_flags(flags).open(device)?;
    claim(&line)?;
    make_raw(&line, baud)?;
    let actual = settings_of(&line)?.c_ospeed;
    if actual.abs_diff(baud) > baud / 100 * SPEED_ERROR_PERCENT {
        tracing::warn!("{device} runs at {actual} baud, for its driver cannot do {baud}");
    }
    Ok(line)
}

/// Two programs would take each other's bytes. The lock keeps out those that ask for it, root's
/// too; the mark keeps out the others.
fn claim(line: &File) -> io::Result<()> {
    let busy = || io::Error::from_raw_os_error(libc::EBUSY);
    // SAFETY: this call takes no pointer.
    let locked = unsafe { libc::flock(line.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    succeeded(locked).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => busy(),
        _ => error,
    })?;
    // On a pseudoterminal the mark would outlive us, for as long as its other end is open.
    if PSEUDOTERMINALS.contains(&libc::major(line.metadata()?.rdev())) {
        return Ok(());
    }
    let mut marked: libc::c_int = 0;
    // SAFETY: this request writes one c_int, to one that lives through the call.
    let asked =
        unsafe { libc::ioctl(line.as_raw_fd(), libc::TIOCGEXCL, std::ptr::from_mut(&mut marked)) };
    // Root gets past the mark of another program, and must not.
    if asked == 0 && marked != 0 {
        return Err(busy());
    }
    // SAFETY: this request takes no argument.
    succeeded(unsafe { libc::ioctl(line.as_raw_fd(), libc::TIOCEXCL) })
}

fn make_raw(line: &File, baud: u32) -> io::Result<()> {
    let mut settings = settings_of(line)?;
    settings.c_iflag = 0;
    settings.c_oflag = 0;
    settings.c_lflag = 0;
    // Whether closing drops DTR stays as it was: some boards take that for a reset.
    let kept = settings.c_cflag & libc::HUPCL;
    settings.c_cflag = kept | libc::CS8 | libc::CREAD | libc::CLOCAL | libc::BOTHER;
    settings.c_ispeed = baud;
    settings.c_ospeed = baud;
    // With 0, no bytes would look like a hang-up.
    settings.c_cc[libc::VMIN] = 1;
    settings.c_cc[libc::VTIME] = 0;
    // SAFETY: this request reads one termios2, which lives through the call.
    succeeded(unsafe {
        libc::ioctl(line.as_raw_fd(), libc::TCSETS2, std::ptr::from_ref(&settings))
    })
}

fn settings_of(line: &File) -> io::Result<libc::termios2> {
    let mut settings = MaybeUninit::<libc::termios2>::zeroed();
    // SAFETY: this request writes one termios2, to one that lives through the call.
    succeeded(unsafe { libc::ioctl(line.as_raw_fd(), libc::TCGETS2, settings.as_mut_ptr()) })?;
    // SAFETY: numbers only, all of them initialised.
    Ok(unsafe { settings.assume_init() })
}

fn succeeded(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
