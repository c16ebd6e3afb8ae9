//! Reads or bursts: what each has delivered from this server over this link, and what a burst that
//! cannot be stopped would cost at worst. Knows no requests; the client acts on what it says.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::{Burst, Flow};
use crate::mavftp::client::Bursts;

/// Packets after which an ArduPilot of 2025 and later ends a burst; older ones end it sooner.
const PACKETS_MAX: u32 = 2000;
/// A burst that is to show how fast packets come begins so many before the end of the file, so that
/// it is short on every server.
const PROBE_PACKETS: u32 = 20;
/// One that is to show where the server ends bursts: a little more than the 500 of older ArduPilots.
const LIMIT_PROBE_PACKETS: u32 = 600;
/// A burst is worth its request from so many packets on.
const WORTH_PACKETS: u32 = 16;
/// Below this many bytes per second our own requests may be what holds a link back: radios carry
/// both ways on one channel.
const SLOW: f64 = 30_000.0;
/// So much more than reads have bursts to deliver.
const BETTER: f64 = 1.05;
/// What lost is tried again after this, then after twice as long each time.
const PAUSE: Duration = Duration::from_secs(120);
const PAUSE_MAX: Duration = Duration::from_secs(960);

/// What is known of bursts and reads from one server.
#[derive(Debug)]
pub struct Choice {
    kind: Bursts,
    /// Bytes per second that reads delivered when bursts were tried.
    reads: f64,
    /// The time of one packet, once measured.
    packet: Option<Duration>,
    /// Packets after which the server ends a burst, once seen.
    limit: Option<u32>,
    /// Whether a burst was begun to see that.
    limit_asked: bool,
    /// Bursts deliver more.
    bursts: bool,
    probing: bool,
    quiet_until: Option<Instant>,
    pause: Duration,
    /// When the last packet of the last burst of a series came.
    last: Option<Instant>,
}

/// What is wanted of a file that is open.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Bytes wanted in one piece.
    pub bytes: Range<u32>,
    /// The file's size.
    pub size: u32,
    /// Data bytes of a block.
    pub block: u8,
    /// How long others may be kept waiting.
    pub allowed: Duration,
    /// Nobody else waits for this server.
    pub alone: bool,
}

impl Choice {
    /// Nothing is known yet of a server whose bursts behave so.
    pub fn new(kind: Bursts) -> Choice {
        Choice {
            kind,
            reads: 0.0,
            packet: None,
            limit: None,
            limit_asked: false,
            bursts: false,
            probing: false,
            quiet_until: None,
            pause: PAUSE,
            last: None,
        }
    }

    /// Whether a burst may be the better choice now: they are, or reads do not fill the link.
    pub fn is_due(&self, now: Instant, flow: &Flow, block: u8) -> bool {
        let quiet = self.quiet_until.is_some_and(|until| now < until);
        let reads = flow.rate() * f64::from(block);
        let slow = flow.is_steady() && reads < SLOW;
        match self.kind {
            Bursts::Unused => false,
            Bursts::Replaced => self.bursts || (!quiet && (slow || flow.is_capped())),
            Bursts::Queued => self.bursts || (!quiet && flow.is_capped()),
        }
    }

    /// Where a burst should begin now, if one is due; `None`: reads are the better choice.
    pub fn burst_from(&mut self, flow: &Flow, wanted: &Wanted) -> Option<u32> {
        let worth = u32::from(wanted.block) * WORTH_PACKETS;
        if (wanted.bytes.len() as u32) < worth {
            return None;
        }
        let start = wanted.bytes.start;
        if self.bursts && self.permitted(start, wanted, self.packet) {
            return Some(start);
        }
        if self.bursts && (self.limit.is_some() || self.limit_asked) {
            return None;
        }
        self.reads = flow.rate() * f64::from(wanted.block);
        self.trial(flow, wanted)
    }

    /// Where a burst should begin that brings what others have lost, of which so many blocks are
    /// missing; `None`: to ask for them one by one takes less time.
    pub fn sweep_from(&self, wanted: &Wanted, missing: u32) -> Option<u32> {
        let Range { start, end } = wanted.bytes;
        let packets = (end - start).div_ceil(u32::from(wanted.block.max(1)));
        let burst = self.packet?.as_secs_f64() * f64::from(packets);
        let reads = f64::from(missing) * f64::from(wanted.block) / self.reads.max(1.0);
        let better = self.bursts && missing >= WORTH_PACKETS && burst < reads;
        (better && self.permitted(start, wanted, self.packet)).then_some(start)
    }

    /// Whether bursts deliver more than reads.
    pub fn prefers_bursts(&self) -> bool {
        self.bursts
    }

    /// Whether a burst is unstoppable and so has everybody else wait.
    pub fn holds_others(&self) -> bool {
        self.kind == Bursts::Queued
    }

    /// Whether holes may be asked for while a burst runs.
    pub fn repairs(&self) -> bool {
        self.kind == Bursts::Replaced
    }

    /// Packets after which the server ends a burst, once seen.
    pub fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// Notes a burst that is over.
    pub fn finished(&mut self, now: Instant, burst: &Burst) {
        if let Some(gap) = burst.gap() {
            self.packet = Some(gap);
        }
        if let Some(limit) = burst.limit().filter(|limit| *limit >= WORTH_PACKETS) {
            self.limit = Some(self.limit.map_or(limit, |known| known.max(limit)));
        }
        let (asked, last) = burst.times();
        let probing = std::mem::take(&mut self.probing);
        let from = self.last.map_or(asked, |before| before.max(asked));
        let delivered = f64::from(burst.packets() * burst.chunk());
        // What was lost has to be asked for; a burst that overruns the link brings it no gain.
        let arrived = f64::from(burst.packets()) / f64::from(burst.sent().max(1));
        let took = match (probing, burst.gap()) {
            (true, Some(gap)) => gap.as_secs_f64() * f64::from(burst.sent()),
            (true, None) | (false, _) => {
                last.map_or(0.0, |last| last.saturating_duration_since(from).as_secs_f64())
            }
        };
        self.last = last;
        let rate = if took > 0.0 { delivered / took * arrived } else { 0.0 };
        tracing::debug!(rate, reads = self.reads, packets = burst.packets(), "a burst is over");
        // A short one shows little, except that it came at all.
        let short = burst.packets() >= WORTH_PACKETS / 2 && burst.sent() < PROBE_PACKETS;
        match rate > self.reads * BETTER {
            true => {
                self.bursts = true;
                self.pause = PAUSE;
            }
            false if short && self.bursts => {}
            false => self.give_up(now),
        }
    }

    /// Bursts bring nothing: reads, for some time.
    pub fn give_up(&mut self, now: Instant) {
        self.bursts = false;
        // The next trial begins with a short one again.
        (self.packet, self.last) = (None, None);
        self.quiet_until = Some(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// The file is another, or read no more.
    pub fn rest(&mut self) {
        self.last = None;
    }

    fn trial(&mut self, flow: &Flow, wanted: &Wanted) -> Option<u32> {
        let start = wanted.bytes.start;
        if self.packet.is_some() && self.permitted(start, wanted, self.packet) {
            return Some(start);
        }
        let from = self.probe_from(flow, wanted)?;
        (self.probing, self.limit_asked) = (true, self.packet.is_some());
        Some(from)
    }

    /// Where a burst would be close enough before the end of the file to be short.
    fn probe_from(&self, flow: &Flow, wanted: &Wanted) -> Option<u32> {
        // Before any packet was timed, those of a burst are believed to come as slowly as reads.
        let reads = || Duration::from_secs_f64(1.0 / flow.rate().max(0.1));
        let packet = self.packet.unwrap_or_else(reads);
        let unknown = self.packet.is_some() && self.limit.is_none() && self.holds_others();
        let most = if unknown { LIMIT_PROBE_PACKETS } else { PROBE_PACKETS };
        let before_end = |packets: u32| {
            wanted.size.saturating_sub(packets * u32::from(wanted.block)).max(wanted.bytes.start)
        };
        let mut places = [most, PROBE_PACKETS].into_iter().map(before_end);
        places.find(|from| self.permitted(*from, wanted, Some(packet)))
    }

    /// Whether a burst from there may be begun: it can be stopped, or at worst it is soon over, or
    /// everybody who would have to wait for its end wants all of it.
    fn permitted(&self, from: u32, wanted: &Wanted, packet: Option<Duration>) -> bool {
        if self.kind != Bursts::Queued {
            return true;
        }
        let rest = wanted.size.saturating_sub(from).div_ceil(u32::from(wanted.block.max(1)));
        let packets = rest.min(self.limit.unwrap_or(PACKETS_MAX));
        let worst = packet.unwrap_or(Duration::MAX).saturating_mul(packets);
        let all = from.saturating_add(packets.saturating_mul(u32::from(wanted.block)));
        let whole = wanted.bytes.start <= from && all.min(wanted.size) <= wanted.bytes.end;
        worst <= wanted.allowed || (wanted.alone && whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mavftp::wire::{Opcode, Payload};

    const SIZE: u32 = 8 << 20;
    const BLOCK: u32 = 239;

    /// A flow that five requests at a time hold back, with so many blocks per second.
    fn capped(rate: u64) -> Flow {
        let (mut flow, start) = (Flow::new(5), Instant::now());
        for n in 0..2000 {
            let now = start + Duration::from_micros(n * 1_000_000 / rate);
            flow.depart(now);
            flow.arrive(now, Some(Duration::from_micros(5_000_000 / rate)));
        }
        assert!(flow.is_capped(), "{flow:?}");
        flow
    }

    fn wanted(start: u32, alone: bool) -> Wanted {
        Wanted {
            bytes: start..SIZE,
            size: SIZE,
            block: BLOCK as u8,
            allowed: Duration::from_secs(5),
            alone,
        }
    }

    /// A burst of so many packets, one each `gap`, that ends with the file or with the mark.
    fn burst(from: u32, packets: u32, gap: Duration) -> (Burst, Instant) {
        let start = Instant::now();
        let mut burst = Burst::new(start, 0, from, BLOCK as u8, SIZE);
        let mut now = start;
        for n in 0..packets {
            now += gap;
            let offset = from + n * BLOCK;
            let count = BLOCK.min(SIZE - offset) as usize;
            let packet = Payload {
                sequence: n as u16 + 1,
                offset,
                req_opcode: Opcode::BurstReadFile as u8,
                burst_complete: u8::from(n + 1 == packets),
                ..Payload::request(Opcode::Ack).with_data(&vec![0; count])
            };
            burst.take(now, &packet);
        }
        (burst, now)
    }

    #[test]
    fn a_server_whose_bursts_cannot_be_stopped_is_tried_near_the_end_of_the_file() {
        let mut choice = Choice::new(Bursts::Queued);
        let flow = capped(60);
        assert!(choice.is_due(Instant::now(), &flow, BLOCK as u8));
        let from = choice.burst_from(&flow, &wanted(0, true)).unwrap();
        assert_eq!(from, SIZE - PROBE_PACKETS * BLOCK);
    }

    #[test]
    fn what_is_faster_than_reads_is_used_and_what_is_slower_rests() {
        for (gap, faster) in [(1, true), (100, false)] {
            let mut choice = Choice::new(Bursts::Queued);
            let flow = capped(60);
            let from = choice.burst_from(&flow, &wanted(0, false)).unwrap();
            let (probe, now) = burst(from, PROBE_PACKETS, Duration::from_millis(gap));
            choice.finished(now, &probe);
            assert_eq!(choice.prefers_bursts(), faster);
            assert_eq!(choice.is_due(now, &flow, BLOCK as u8), faster);
            assert!(choice.is_due(now + PAUSE, &flow, BLOCK as u8), "it is tried again");
        }
    }

    #[test]
    fn an_unstoppable_burst_is_begun_only_when_nobody_waits_long_for_its_end() {
        let mut choice = Choice::new(Bursts::Queued);
        let flow = capped(60);
        let from = choice.burst_from(&flow, &wanted(0, false)).unwrap();
        let (probe, now) = burst(from, PROBE_PACKETS, Duration::from_millis(8));
        choice.finished(now, &probe);
        // 2,000 packets of 8 ms take 16 s: too long for others, unless all of it is wanted and there
        // are none.
        assert_eq!(choice.burst_from(&flow, &wanted(0, true)), Some(0));
        let shown = choice.burst_from(&flow, &wanted(0, false));
        assert_eq!(shown, Some(SIZE - LIMIT_PROBE_PACKETS * BLOCK), "where does it end bursts?");
        let (limited, now) =
            burst(SIZE - LIMIT_PROBE_PACKETS * BLOCK, 500, Duration::from_millis(8));
        choice.finished(now, &limited);
        assert_eq!(choice.limit(), Some(500));
        assert_eq!(choice.burst_from(&flow, &wanted(0, false)), Some(0), "4 s are not too long");
    }

    #[test]
    fn reads_that_nothing_holds_back_are_left_alone() {
        let flow = Flow::new(768);
        for kind in [Bursts::Unused, Bursts::Replaced, Bursts::Queued] {
            assert!(!Choice::new(kind).is_due(Instant::now(), &flow, BLOCK as u8));
        }
    }
}
