//! One BurstReadFile under way (protocol section "Burst read"): which packets belong to it, how far
//! it has come, and whether it is over. Sends nothing and knows no session.
//!
//! A packet is known by its number and its offset together: both count on from the request's. That
//! keeps out what is left of an earlier file under the same session, however late it comes.

use std::time::{Duration, Instant};

use crate::mavftp::wire::{DATA_BYTES_MAX, Nak, Payload};

/// What is swapped on the way comes within so many packets; a hole that is older is one.
const SWAPPED_MAX: usize = 3;
/// A server that marks packets as the last ones that are not (PX4 before August 2026) goes on within
/// two of its ticks.
const TICKS: Duration = Duration::from_millis(30);
/// A stream pauses for so many times its usual gap before it is over.
const GAPS: u32 = 6;
/// Packets from which the usual gap is known.
const GAP_PACKETS: u32 = 8;

/// A burst under way, or just over.
#[derive(Debug, Clone)]
pub struct Burst {
    number: u16,
    start: u32,
    /// Data bytes of a packet: what was asked for, or what the server sends instead.
    chunk: u32,
    /// The file's end.
    end: u32,
    asked: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    packets: u32,
    /// Behind the last byte that came, now and some packets ago.
    high: u32,
    highs: [u32; SWAPPED_MAX],
    /// The last packet was marked as the last one, in a way that some servers mark others.
    hinted: bool,
    /// A packet was marked as the last one.
    marked: bool,
    ended: bool,
    /// Nothing came for too long; more may come all the same.
    stalled: bool,
    refusal: Option<Nak>,
}

/// What a packet brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Data bytes that belong to the file.
    pub bytes: usize,
    /// Packets before it that have not come.
    pub skipped: u32,
}

impl Burst {
    /// A burst asked for under `number`, from `start` on, in packets of `chunk` bytes, of a file that
    /// ends at `end`.
    pub fn new(now: Instant, number: u16, start: u32, chunk: u8, end: u32) -> Burst {
        Burst {
            number,
            start,
            chunk: u32::from(chunk.max(1)),
            end,
            asked: now,
            first: None,
            last: None,
            packets: 0,
            high: start,
            highs: [start; SWAPPED_MAX],
            hinted: false,
            marked: false,
            ended: false,
            stalled: false,
            refusal: None,
        }
    }

    /// Takes in a packet; `None` when it is not of this burst or brings nothing.
    pub fn take(&mut self, now: Instant, payload: &Payload) -> Option<Taken> {
        match payload.answer()? {
            Ok(()) => self.take_data(now, payload),
            Err(nak) => {
                let place = u32::from(payload.sequence.wrapping_sub(self.number));
                // One server gives the end the number of the packet behind the last, another may
                // have sent many that were lost.
                if place >= 1 && place <= self.span() {
                    self.end_with(nak);
                }
                None
            }
        }
    }

    fn take_data(&mut self, now: Instant, payload: &Payload) -> Option<Taken> {
        let count = payload.data().len();
        let place = u32::from(payload.sequence.wrapping_sub(self.number).wrapping_sub(1));
        let at = |chunk: u32| self.start.checked_add(place.checked_mul(chunk)?);
        let full = DATA_BYTES_MAX as u32;
        let fits = |chunk: u32| at(chunk) == Some(payload.offset) && count as u32 <= chunk;
        if count == 0 || place >= self.span() || payload.offset >= self.end {
            return None;
        }
        match (fits(self.chunk), fits(full)) {
            // The first packet fits either; a longer one shows that the size asked for is ignored.
            (true, _) => {}
            (false, true) if self.packets == 0 => self.chunk = full,
            (false, _) => return None,
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.packets += 1;
        self.stalled = false;
        let skipped = payload.offset.saturating_sub(self.high) / self.chunk;
        let end = payload.offset.saturating_add(count as u32).min(self.end);
        if end > self.high {
            self.highs.rotate_right(1);
            self.highs[0] = self.high;
            self.high = end;
            self.hinted = payload.burst_complete > 1;
            self.marked |= payload.burst_complete == 1;
            self.ended |= self.marked || self.high >= self.end;
        }
        Some(Taken { bytes: (end - payload.offset) as usize, skipped })
    }

    /// Numbers that its packets may have, counted from the request's.
    fn span(&self) -> u32 {
        (self.end.saturating_sub(self.start) / self.chunk)
            .saturating_add(2)
            .min(u32::from(u16::MAX))
    }

    fn end_with(&mut self, nak: Nak) {
        if nak != Nak::Eof && self.packets == 0 {
            self.refusal = Some(nak);
        }
        self.ended = true;
    }

    /// Where it began.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// Data bytes of a packet.
    pub fn chunk(&self) -> u32 {
        self.chunk
    }

    /// Behind the last byte that came.
    pub fn high(&self) -> u32 {
        self.high
    }

    /// What is missing before this is lost, and not only swapped.
    pub fn settled(&self) -> u32 {
        if self.is_over() { self.high } else { self.highs[SWAPPED_MAX - 1] }
    }

    /// Behind the last byte of so many packets.
    pub fn reaches(&self, packets: u32) -> u32 {
        self.start.saturating_add(packets.saturating_mul(self.chunk)).min(self.end)
    }

    /// Packets that came.
    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// Packets that were sent, as far as those that came tell.
    pub fn sent(&self) -> u32 {
        (self.high - self.start).div_ceil(self.chunk)
    }

    /// Why the server refused it.
    pub fn refusal(&self) -> Option<Nak> {
        self.refusal
    }

    /// When it was asked for, and when its last packet came.
    pub fn times(&self) -> (Instant, Option<Instant>) {
        (self.asked, self.last)
    }

    /// The mean time between two packets, once known.
    pub fn gap(&self) -> Option<Duration> {
        let took = self.last?.saturating_duration_since(self.first?);
        (self.sent() >= GAP_PACKETS).then(|| took / (self.sent() - 1).max(1))
    }

    /// After how many packets the server ended it though the file goes on.
    pub fn limit(&self) -> Option<u32> {
        (self.marked && self.high < self.end).then(|| self.sent())
    }

    /// Whether it is over, as far as one can tell.
    pub fn is_over(&self) -> bool {
        self.ended || self.stalled
    }

    /// Nothing came for too long.
    pub fn stall(&mut self) {
        self.stalled = true;
    }

    /// A later one has begun.
    pub fn supersede(&mut self) {
        self.ended = true;
    }

    /// When it counts as over if nothing more comes; `patience`: how long the first packet may take.
    pub fn stalls_at(&self, patience: Duration) -> Instant {
        let Some(last) = self.last else { return self.asked + patience };
        let gaps = self.gap().unwrap_or_default() * GAPS;
        match self.hinted {
            true => last + gaps.max(TICKS),
            false => last + gaps.max(patience),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mavftp::wire::Opcode;

    const NUMBER: u16 = 65_530;

    fn packet(place: u16, offset: u32, count: usize, complete: u8) -> Payload {
        Payload {
            sequence: NUMBER.wrapping_add(1 + place),
            offset,
            req_opcode: Opcode::BurstReadFile as u8,
            burst_complete: complete,
            ..Payload::request(Opcode::Ack).with_data(&vec![7; count])
        }
    }

    fn bytes(skipped: u32) -> Option<Taken> {
        Some(Taken { bytes: 239, skipped })
    }

    fn burst() -> (Burst, Instant) {
        let now = Instant::now();
        (Burst::new(now, NUMBER, 1000, 239, 10_000), now)
    }

    #[test]
    fn packets_are_taken_by_number_and_offset_in_any_order() {
        let (mut burst, now) = burst();
        assert_eq!(burst.take(now, &packet(0, 1000, 239, 0)), bytes(0));
        assert_eq!(burst.take(now, &packet(9, 1000 + 9 * 239, 239, 0)), bytes(8));
        assert_eq!(burst.take(now, &packet(4, 1000 + 4 * 239, 239, 0)), bytes(0));
        assert_eq!((burst.high(), burst.packets(), burst.sent()), (1000 + 10 * 239, 3, 10));
        assert_eq!(burst.take(now, &packet(5, 1000, 239, 0)), None, "an older burst's");
        assert_eq!(burst.take(now, &packet(4, 1000 + 4 * 239 + 1, 239, 0)), None);
        assert_eq!(burst.take(now, &packet(2, 1000 + 2 * 239, 0, 0)), None);
    }

    #[test]
    fn a_server_that_ignores_the_size_is_followed() {
        let now = Instant::now();
        let mut burst = Burst::new(now, NUMBER, 0, 80, 10_000);
        assert_eq!(burst.take(now, &packet(3, 3 * 239, 239, 0)), bytes(3));
        assert_eq!(burst.take(now, &packet(4, 4 * 239, 239, 0)), bytes(0));
        assert_eq!(burst.chunk(), 239);
    }

    #[test]
    fn it_ends_with_the_file_with_the_mark_and_with_a_refusal() {
        let (mut marked, now) = burst();
        marked.take(now, &packet(0, 1000, 239, 1));
        assert!(marked.is_over());
        let mut whole = Burst::new(now, NUMBER, 1000, 239, 1100);
        assert_eq!(
            whole.take(now, &packet(0, 1000, 100, 0)),
            Some(Taken { bytes: 100, skipped: 0 })
        );
        assert!(whole.is_over());
        let (mut refused, now) = burst();
        let nak = Payload { req_opcode: 15, ..packet(0, 0, 0, 0) };
        let nak = Payload { opcode: Opcode::Nak as u8, ..nak.with_data(&[4]) };
        assert_eq!(refused.take(now, &nak), None);
        assert_eq!(refused.refusal(), Some(Nak::InvalidSession));
    }

    #[test]
    fn garbage_in_the_mark_ends_it_only_when_nothing_follows() {
        let (mut burst, start) = burst();
        let patience = Duration::from_millis(500);
        for place in 0..10 {
            let now = start + Duration::from_millis(10 * u64::from(place));
            burst.take(now, &packet(place, 1000 + u32::from(place) * 239, 239, 52));
            assert!(!burst.is_over());
        }
        let last = start + Duration::from_millis(90);
        assert_eq!(burst.stalls_at(patience), last + Duration::from_millis(60));
    }

    #[test]
    fn a_hole_counts_once_it_is_not_only_swapped() {
        let (mut burst, now) = burst();
        for place in [0u16, 2, 3] {
            burst.take(now, &packet(place, 1000 + u32::from(place) * 239, 239, 0));
        }
        assert_eq!(burst.settled(), 1000);
        burst.take(now, &packet(4, 1000 + 4 * 239, 239, 0));
        assert_eq!(burst.settled(), 1239);
        burst.take(now, &packet(5, 1000 + 5 * 239, 239, 1));
        assert_eq!(burst.settled(), burst.high());
    }
}
