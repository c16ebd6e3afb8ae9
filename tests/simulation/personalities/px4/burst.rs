//! PX4's bursts: packets from a tick, as many as the transmit buffer has room for.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::{EBADF, EISDIR, Firmware, Px4, Session};
use crate::personalities::bytes_of;

/// Bursts go on, and a board's buffer is emptied, once in this time.
pub const TICK: Duration = Duration::from_millis(10);
/// A full packet, as the server reckons.
pub const FRAME_BYTES: u32 = 267;
/// After more than this a burst ends, and wants to be asked for again.
const BURST_BYTES: u32 = 35_000;
/// Transmit buffers: of a simulated vehicle's UDP, …
const UDP_BYTES: u32 = 15_000;
/// … of a board, …
pub const BOARD_BYTES: u32 = 1_500;
/// … and what a burst leaves to wait for a serial line.
const SERIAL_BYTES: u32 = 2 * FRAME_BYTES;
/// What was seen in `burst_complete` where nothing was written to it.
const GARBAGE: [u8; 8] = [20, 52, 84, 132, 20, 52, 84, 1];

/// A running burst.
pub struct Burst {
    to: u8,
    /// The next packet, but for its data.
    next: Payload,
    sent_bytes: u32,
    pub tick_at: Instant,
}

impl Px4 {
    /// Whether a burst can be asked for. The size asked for counts for nothing.
    pub fn admit_burst(&mut self, request: &Payload) -> Result<Vec<u8>, Nak> {
        let strict = self.firmware == Firmware::Main;
        match &self.session {
            None if strict => Err(Nak::InvalidSession),
            None => Err(Nak::FailErrno(0)),
            Some(_) if strict && request.session != 0 => Err(Nak::InvalidSession),
            Some(Session::Reading(..)) => Ok(Vec::new()),
            Some(Session::Writing(_)) => Err(self.fail(EBADF)),
            Some(Session::Directory) => Err(self.fail(EISDIR)),
        }
    }

    /// A new burst takes the place of a running one.
    pub fn begin_burst(&mut self, now: Instant, to: u8, request: &Payload) {
        let tick_at = self.next_tick(now);
        self.burst = Some(Burst { to, next: Payload::ack(request), sent_bytes: 0, tick_at });
    }

    pub fn run_burst(&mut self, now: Instant) {
        if self.is_idle(now) {
            // Packets of a burst keep nobody awake.
            (self.session, self.burst) = (None, None);
        }
        if let Some(burst) = self.burst.take_if(|burst| burst.tick_at <= now) {
            self.burst = self.send_packets(now, burst);
        }
    }

    /// The packets of one tick. `None`: it was the last one.
    fn send_packets(&mut self, now: Instant, mut burst: Burst) -> Option<Burst> {
        let Some(Session::Reading(file, size)) = &self.session else { return None };
        let (file, size) = (file.clone(), *size);
        let room = self.room_frames();
        for n in 1..=room {
            let left = size.saturating_sub(u64::from(burst.next.offset));
            let count = left.min(DATA_BYTES_MAX as u64) as usize;
            let data = bytes_of(&file, &burst.next, count).unwrap_or_default();
            if data.is_empty() {
                self.send_end_of_file(now, &burst);
                return None;
            }
            burst.sent_bytes += data.len() as u32;
            let last = n == room && burst.sent_bytes > BURST_BYTES;
            let burst_complete = if last { 1 } else { self.garbage_in_data() };
            let packet = Payload { burst_complete, ..burst.next.with_data(&data) };
            self.remember(burst.to, packet);
            self.out.put(now, burst.to, packet);
            burst.next.offset += data.len() as u32;
            burst.next.sequence = burst.next.sequence.wrapping_add(1);
            if last {
                return None;
            }
        }
        burst.tick_at = self.next_tick(now);
        Some(burst)
    }

    fn send_end_of_file(&mut self, now: Instant, burst: &Burst) {
        let burst_complete = match self.firmware {
            Firmware::Main => 0,
            Firmware::Release | Firmware::Board | Firmware::Serial => self.garbage(),
        };
        let end = Payload { burst_complete, opcode: Opcode::Nak as u8, ..burst.next };
        let end = end.with_data(&[Nak::Eof.number()]);
        self.remember(burst.to, end);
        self.out.put(now, burst.to, end);
    }

    fn room_frames(&self) -> u32 {
        let room = match self.firmware {
            Firmware::Release | Firmware::Main => UDP_BYTES,
            Firmware::Board => BOARD_BYTES,
            Firmware::Serial => SERIAL_BYTES.saturating_sub(self.waiting_bytes),
        };
        room / FRAME_BYTES
    }

    /// Where the buffer is small, each packet has some.
    fn garbage_in_data(&mut self) -> u8 {
        match self.firmware {
            Firmware::Release | Firmware::Main => 0,
            Firmware::Board | Firmware::Serial => self.garbage(),
        }
    }

    fn garbage(&mut self) -> u8 {
        GARBAGE[self.random.below(GARBAGE.len() as u64) as usize]
    }

    /// The first tick after `now`.
    fn next_tick(&self, now: Instant) -> Instant {
        let begun = self.begun.unwrap_or(now);
        let ticks = now.duration_since(begun).as_micros() / TICK.as_micros();
        begun + TICK * (ticks as u32 + 1)
    }
}
