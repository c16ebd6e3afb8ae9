//! A burst under way, and the pace of all bursts. Knows the wire, open files and the time it is
//! given. Each packet names its own place in the file, so nothing served in between disturbs it.

use std::time::{Duration, Instant};

use super::files::ServedFile;
use crate::mavftp::wire::{DATA_BYTES_MAX, Nak, Opcode, Payload};

/// Most packets of one burst: the last says that nothing more comes, and the client asks again.
pub(super) const BURST_PACKETS_MAX: u32 = 2000;
/// What a packet costs on the wire besides its data: MAVLink 2 header and checksum, addresses and
/// the FTP header.
const FRAME_BYTES: u32 = 12 + 3 + 12;
/// Bytes that may go at once after a rest: 16 full packets.
const BUCKET_BYTES: u32 = 16 * (FRAME_BYTES + DATA_BYTES_MAX as u32);
/// The longest that direct answers can hold up the bursts.
const DEBT_MAX: Duration = Duration::from_secs(1);

/// One burst: where it stands.
pub(super) struct Burst {
    request: Payload,
    offset: u64,
    sent: u32,
}

impl Burst {
    /// A burst from the request's offset on. Its session must be the one that is read.
    pub(super) fn new(request: Payload) -> Burst {
        Burst { request, offset: u64::from(request.offset), sent: 0 }
    }

    /// The next packet, and whether it was the last.
    pub(super) fn packet(&mut self, file: &impl ServedFile) -> (Payload, bool) {
        let mut buffer = [0; DATA_BYTES_MAX];
        let chunk = match usize::from(self.request.size) {
            wanted @ 1..=DATA_BYTES_MAX => wanted,
            _ => DATA_BYTES_MAX,
        };
        let (packet, over) =
            match (u32::try_from(self.offset), file.read_at(self.offset, &mut buffer[..chunk])) {
                (Ok(offset), Ok(count @ 1..)) => {
                    let over = self.sent + 1 >= BURST_PACKETS_MAX;
                    let ack = Payload { offset, ..Payload::ack(&self.request) };
                    self.offset += count as u64;
                    (ack.with_data(&buffer[..count]), over)
                }
                (_, Ok(_)) => (self.end(file), true),
                (_, Err(nak)) => (Payload::nak(&self.request, nak), true),
            };
        let sequence = self.request.sequence.wrapping_add(1).wrapping_add(self.sent as u16);
        self.sent += 1;
        (Payload { sequence, burst_complete: u8::from(over), ..packet }, over)
    }

    /// The end of the file; the offset tells its length.
    fn end(&self, file: &impl ServedFile) -> Payload {
        let size = file.size().unwrap_or(self.offset);
        let offset = u32::try_from(size).unwrap_or(u32::MAX);
        Payload { offset, ..Payload::nak(&self.request, Nak::Eof) }
    }
}

/// Spaces burst packets out to a byte rate. Direct answers are never held back, but what they take
/// of the link is missing for the bursts.
pub(super) struct Pace {
    bytes_per_second: Option<u32>,
    /// When everything sent so far has gone, at the rate.
    clear_at: Option<Instant>,
}

impl Pace {
    /// A pace in bytes per second of whole frames; `None`: as fast as packets are taken.
    pub(super) fn new(bytes_per_second: Option<u32>) -> Pace {
        Pace { bytes_per_second: bytes_per_second.map(|rate| rate.max(1)), clear_at: None }
    }

    /// When the next burst packet may go: now, or later.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        match (self.bytes_per_second, self.clear_at) {
            (Some(rate), Some(clear_at)) => {
                let ahead = clear_at.saturating_duration_since(now);
                now + ahead.saturating_sub(time_of(BUCKET_BYTES, rate))
            }
            (None, _) | (_, None) => now,
        }
    }

    /// Counts a packet that goes now.
    pub(super) fn charge(&mut self, now: Instant, packet: &Payload) {
        let Some(rate) = self.bytes_per_second else { return };
        let bytes = FRAME_BYTES + packet.data().len() as u32;
        let clear_at = self.clear_at.map_or(now, |time| time.max(now)) + time_of(bytes, rate);
        let limit = now + time_of(BUCKET_BYTES, rate) + DEBT_MAX;
        let bursting = packet.req_opcode == Opcode::BurstReadFile as u8;
        self.clear_at = Some(if bursting { clear_at } else { clear_at.min(limit) });
    }
}

fn time_of(bytes: u32, rate: u32) -> Duration {
    Duration::from_nanos(u64::from(bytes) * 1_000_000_000 / u64::from(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_burst_keeps_its_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(26_600));
        let packet = Payload::request(Opcode::Ack).with_data(&[1; DATA_BYTES_MAX]);
        let mut now = start;
        for _ in 0..116 {
            now = pace.ready_at(now);
            pace.charge(now, &packet);
        }
        let took = now.duration_since(start);
        assert!(
            (Duration::from_millis(980)..Duration::from_millis(1010)).contains(&took),
            "{took:?}"
        );
    }

    #[test]
    fn answers_hold_a_burst_up_for_a_second_at_most() {
        let now = Instant::now();
        let mut pace = Pace::new(Some(100));
        let packet = Payload::request(Opcode::Ack).with_data(&[1; DATA_BYTES_MAX]);
        for _ in 0..1000 {
            pace.charge(now, &packet);
        }
        assert!(pace.ready_at(now) <= now + DEBT_MAX);
    }

    #[test]
    fn without_a_rate_a_packet_may_always_go() {
        let now = Instant::now();
        let mut pace = Pace::new(None);
        for _ in 0..1000 {
            pace.charge(now, &Payload::request(Opcode::Ack));
        }
        assert_eq!(pace.ready_at(now), now);
    }
}
