//! ArduPilot's bursts: the worker does nothing else until the last packet is said.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::MemoryFile;
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::{ArduPilot, FRAME_BYTES, Sessions};
use crate::personalities::bytes_of;

/// Packets of one burst at most.
const PACKETS_ONE: u32 = 500;
const PACKETS_FIVE: u32 = 2_000;
/// From packet to packet.
const PACE_ONE: Duration = Duration::from_micros(5_600);
const PACE_FIVE: Duration = Duration::from_micros(600);
/// Without flow control a burst takes one part in so many of a line.
const SHARE_OF_LINE: u32 = 3;

/// A running burst.
pub struct Burst {
    to: u8,
    /// The slot it works in.
    at: usize,
    file: MemoryFile,
    chunk: usize,
    left: u32,
    /// The next packet, but for its data.
    next: Payload,
    /// What the refusal at the end of the file will have.
    end_offset: u32,
    end_complete: u8,
    pub next_at: Instant,
}

impl ArduPilot {
    pub fn begin_burst(
        &mut self,
        now: Instant,
        at: usize,
        to: u8,
        request: &Payload,
    ) -> Result<Vec<u8>, Nak> {
        let file = match &self.slots[at].open {
            None => return Err(Nak::FileNotFound),
            Some((_, true)) => return Err(Nak::Fail),
            Some((file, false)) => file.clone(),
        };
        let chunk = match usize::from(request.size) {
            0 => DATA_BYTES_MAX,
            size if size > DATA_BYTES_MAX => return Err(Nak::InvalidDataSize),
            size => size,
        };
        let left = if self.sessions.is_one() { PACKETS_ONE } else { PACKETS_FIVE };
        self.burst = Some(Burst {
            to,
            at,
            file,
            chunk,
            left,
            next: Payload::ack(request),
            end_offset: request.offset,
            end_complete: u8::from(self.later),
            next_at: now,
        });
        Ok(Vec::new())
    }

    /// Says the next packet of the burst.
    pub fn go_on_with_burst(&mut self, now: Instant) {
        let Some(mut burst) = self.burst.take() else { return };
        self.slots[burst.at].used = now;
        let data = bytes_of(&burst.file, &burst.next, burst.chunk).unwrap_or_default();
        if data.is_empty() {
            let end = Payload {
                opcode: Opcode::Nak as u8,
                offset: burst.end_offset,
                burst_complete: burst.end_complete,
                ..burst.next
            };
            self.say(burst.to, end.with_data(&[Nak::Eof.number()]));
            return self.leave_burst(now);
        }
        burst.left -= 1;
        let short = data.len() < burst.chunk;
        let marked = short && self.sessions != Sessions::Old && !self.later;
        let burst_complete = u8::from(burst.left == 0 || marked);
        self.say(burst.to, Payload { burst_complete, ..burst.next.with_data(&data) });
        if burst.left == 0 {
            return self.leave_burst(now);
        }
        let end = burst.next.offset + data.len() as u32;
        // The later servers refuse with what is left of the packet before.
        let exact = !short && !self.later && self.sessions != Sessions::Old;
        burst.end_offset = if exact { burst.next.offset } else { end };
        burst.end_complete = if self.later { 1 } else { burst_complete };
        burst.next.offset = end;
        burst.next.sequence = burst.next.sequence.wrapping_add(1);
        burst.next_at = now + self.pace(burst.chunk);
        self.burst = Some(burst);
    }

    fn pace(&self, chunk: usize) -> Duration {
        let own = if self.sessions.is_one() { PACE_ONE } else { PACE_FIVE };
        let Some(rate) = self.uart_rate else { return own };
        let bytes = FRAME_BYTES - DATA_BYTES_MAX as u32 + chunk as u32;
        let share = Duration::from_secs_f64(f64::from(SHARE_OF_LINE * bytes) / f64::from(rate));
        own.max(share)
    }

    /// Back to the queue, which may be full by now.
    fn leave_burst(&mut self, now: Instant) {
        self.last_tick = Some(now);
        self.tick_at = Some(self.next_tick(now));
    }
}
