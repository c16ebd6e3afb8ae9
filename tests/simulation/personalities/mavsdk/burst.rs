//! MAVSDK's bursts: to the end of the file and flat out before release 4, which shares one place in
//! the file between a burst and all reads; in steady pieces since.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::server::ServedFile;
use mavftp_mount::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

use super::{Mavsdk, Release};

/// From packet to packet: 2.3 MB/s, and 112 KiB/s.
const PACE_OLD: Duration = Duration::from_micros(100);
const PACE_FOUR: Duration = Duration::from_micros(2_084);
/// Packets of one burst at most.
const PACKETS_FOUR: u32 = 150;
/// Where the server would go on for ever, it stops here, that tests end.
const FOR_EVER: u32 = 2_000;

/// A running burst.
pub struct Burst {
    to: u8,
    /// The next packet, but for its data.
    next: Payload,
    chunk: u64,
    sent: u32,
    /// Packets that brought nothing on.
    vain: u32,
    pub next_at: Instant,
}

impl Mavsdk {
    /// A new burst takes the place of a running one. An answer is a refusal.
    pub fn begin_burst(
        &mut self,
        now: Instant,
        to: u8,
        request: &Payload,
    ) -> Option<Result<Vec<u8>, Nak>> {
        let Some(reader) = self.reader.as_mut() else { return Some(Err(Nak::Fail)) };
        if u64::from(request.offset) >= self.size {
            return Some(Err(Nak::Eof));
        }
        reader.position = u64::from(request.offset);
        let next = Payload { session: 0, ..Payload::ack(request) };
        let chunk = u64::from(request.size).min(DATA_BYTES_MAX as u64);
        let next_at = now + self.pace();
        self.burst = Some(Burst { to, next, chunk, sent: 0, vain: 0, next_at });
        None
    }

    pub fn run_burst(&mut self, now: Instant) {
        if let Some(mut burst) = self.burst.take_if(|burst| burst.next_at <= now) {
            let packet = self.packet(&mut burst);
            self.out.put(now, burst.to, packet);
            burst.next.sequence = burst.next.sequence.wrapping_add(1);
            burst.next_at = now + self.pace();
            let over = packet.burst_complete == 1 || burst.vain >= FOR_EVER;
            self.burst = (!over).then_some(burst);
        }
    }

    fn packet(&mut self, burst: &mut Burst) -> Payload {
        let refusal =
            Payload { opcode: Opcode::Nak as u8, ..burst.next }.with_data(&[Nak::Fail.number()]);
        let Some(reader) = self.reader.as_mut().filter(|reader| !reader.poisoned) else {
            burst.vain += 1;
            return refusal;
        };
        let left = self.size.saturating_sub(u64::from(burst.next.offset));
        let count = left.min(burst.chunk);
        let from = match self.release {
            Release::Old => reader.position,
            Release::Four => u64::from(burst.next.offset),
        };
        let mut data = vec![0; count as usize];
        if reader.file.read_at(from, &mut data).unwrap_or(0) < data.len() {
            // Its place had been moved so far that the file ended before the burst did.
            reader.poisoned = true;
            burst.vain += 1;
            return refusal;
        }
        reader.position = from + count;
        burst.sent += 1;
        burst.vain += u32::from(count == 0);
        let ends = self.release == Release::Four && burst.sent == PACKETS_FOUR;
        let burst_complete = u8::from(count == left || ends);
        let packet = Payload { burst_complete, ..burst.next.with_data(&data) };
        burst.next.offset += count as u32;
        packet
    }

    fn pace(&self) -> Duration {
        match self.release {
            Release::Old => PACE_OLD,
            Release::Four => PACE_FOUR,
        }
    }
}
