//! The pace of all bursts of a server. Knows the wire and the time it is given.
//!
//! A burst takes what the link has left. Direct answers are never held back; what they take of the
//! link is missing for the bursts, up to half of the rate, so that who reads block by block does not
//! stop who asked for a burst. A radio that tells how full it is slows bursts down.

use std::time::{Duration, Instant};

use super::radio::Radio;
use crate::mavftp::wire::{DATA_BYTES_MAX, Opcode, Payload};

/// What a packet costs on the wire besides its data: MAVLink 2 header and checksum, addresses and
/// the FTP header.
const FRAME_BYTES: u32 = 12 + 3 + 12;
/// A frame with a full packet.
pub(super) const FULL_FRAME_BYTES: u32 = FRAME_BYTES + DATA_BYTES_MAX as u32;
/// Bytes that may go at once after a rest: 16 full packets …
const BUCKET_BYTES: u32 = 16 * FULL_FRAME_BYTES;
/// … and one to a radio, whose buffer is short.
const RADIO_BUCKET_BYTES: u32 = FULL_FRAME_BYTES;
/// The longest that direct answers can hold up the bursts.
const DEBT_MAX: Duration = Duration::from_secs(1);

/// Spaces burst packets out to a byte rate.
pub(super) struct Pace {
    bytes_per_second: Option<u32>,
    radio: Radio,
    /// When everything sent so far has gone, at the rate.
    clear_at: Option<Instant>,
    /// Until when answers have had their half.
    answered_until: Option<Instant>,
}

impl Pace {
    /// A pace in bytes per second of whole frames; `None`: as fast as packets are taken.
    pub(super) fn new(bytes_per_second: Option<u32>) -> Pace {
        Pace {
            bytes_per_second: bytes_per_second.map(|rate| rate.max(1)),
            radio: Radio::default(),
            clear_at: None,
            answered_until: None,
        }
    }

    /// The radio on this link has so much of its buffer free, in percent.
    pub(super) fn radio(&mut self, now: Instant, free_percent: u8) {
        self.radio.hear(now, free_percent, self.bytes_per_second);
        // What was counted at another rate would hold everything up at this one.
        let limit = now + DEBT_MAX;
        self.clear_at = self.clear_at.map(|clear_at| clear_at.min(limit));
    }

    /// The rate now, and the bytes that may go at once.
    fn rate(&self, now: Instant) -> Option<(u32, u32)> {
        match self.radio.rate(now) {
            Some(rate) => Some((rate, RADIO_BUCKET_BYTES)),
            None => self.bytes_per_second.map(|rate| (rate, BUCKET_BYTES)),
        }
    }

    /// When the next burst packet may go: now, or later.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        let ready = match (self.rate(now), self.clear_at) {
            (Some((rate, bucket)), Some(clear_at)) => {
                let ahead = clear_at.saturating_duration_since(now);
                now + ahead.saturating_sub(time_of(bucket, rate))
            }
            (None, _) | (_, None) => now,
        };
        ready.max(self.radio.ready_at(now))
    }

    /// Counts a packet that goes now.
    pub(super) fn charge(&mut self, now: Instant, packet: &Payload) {
        let Some((rate, bucket)) = self.rate(now) else { return };
        let bytes = FRAME_BYTES + packet.data().len() as u32;
        let clear_at = self.clear_at.map_or(now, |time| time.max(now)) + time_of(bytes, rate);
        if packet.req_opcode == Opcode::BurstReadFile as u8 {
            self.radio.sent(bytes);
            self.clear_at = Some(clear_at);
        } else if self.answered_until.is_none_or(|until| until <= now) {
            self.answered_until = Some(now + 2 * time_of(bytes, rate));
            self.clear_at = Some(clear_at.min(now + time_of(bucket, rate) + DEBT_MAX));
        }
    }
}

fn time_of(bytes: u32, rate: u32) -> Duration {
    Duration::from_nanos(u64::from(bytes) * 1_000_000_000 / u64::from(rate.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(req_opcode: Opcode) -> Payload {
        let packet = Payload::request(Opcode::Ack).with_data(&[1; DATA_BYTES_MAX]);
        Payload { req_opcode: req_opcode as u8, ..packet }
    }

    /// How long so many burst packets take, with so many answers before each.
    fn time_for(pace: &mut Pace, start: Instant, packets: u32, answers: u32) -> Duration {
        let mut now = start;
        for _ in 0..packets {
            now = pace.ready_at(now);
            (0..answers).for_each(|_| pace.charge(now, &full(Opcode::ReadFile)));
            pace.charge(now, &full(Opcode::BurstReadFile));
        }
        now.duration_since(start)
    }

    #[test]
    fn a_paced_burst_keeps_its_rate() {
        let took = time_for(&mut Pace::new(Some(26_600)), Instant::now(), 116, 0);
        assert!(
            (Duration::from_millis(980)..Duration::from_millis(1010)).contains(&took),
            "{took:?}"
        );
    }

    #[test]
    fn answers_leave_a_burst_half_of_the_rate() {
        for answers in [1, 10, 1000] {
            let took = time_for(&mut Pace::new(Some(26_600)), Instant::now(), 116, answers);
            assert!(
                (Duration::from_millis(1500)..Duration::from_millis(2100)).contains(&took),
                "{answers} answers before each packet: {took:?}"
            );
        }
    }

    #[test]
    fn answers_hold_a_burst_up_for_a_second_at_most() {
        let now = Instant::now();
        let mut pace = Pace::new(Some(100));
        for _ in 0..1000 {
            pace.charge(now, &full(Opcode::ReadFile));
        }
        assert!(pace.ready_at(now) <= now + DEBT_MAX);
    }

    #[test]
    fn without_a_rate_a_packet_may_always_go() {
        let now = Instant::now();
        let mut pace = Pace::new(None);
        for _ in 0..1000 {
            pace.charge(now, &full(Opcode::BurstReadFile));
        }
        assert_eq!(pace.ready_at(now), now);
    }
}
