//! How large a block is: some radios lose large frames more often than small ones, or never carry
//! them. A smaller size is tried when much is lost, and kept when it brings more bytes.

use std::time::{Duration, Instant};

use crate::mavftp::wire::DATA_BYTES_MAX;

/// Full, ArduPilot's for telemetry radios, and that of multipoint radios.
const SIZES: [u8; 3] = [DATA_BYTES_MAX as u8, 110, 80];
/// Bytes of a frame around its data.
const FRAME_BYTES: f64 = 27.0;
/// Blocks by which a size is judged.
const STRETCH: u32 = 128;
/// Lost in a row while nothing at all is heard, a size seems not to get through …
const NEVER: u32 = 5;
/// … or so many, when none of that size ever did: what is asked for waits while sizes are tried.
const NEVER_YET: u32 = 2;
/// A trial is over sooner: a longer silence would cast doubt on the open file.
const NEVER_ON_TRIAL: u32 = 2;
/// A smaller size is tried when this share is lost.
const LOSS_HIGH: f64 = 0.6;
/// By so much more has a smaller size to bring, for chance favours one or the other.
const GAIN: f64 = 1.15;
/// A size that was found worse, or a larger one, is tried again after this; then after twice as long.
const PAUSE: Duration = Duration::from_secs(30);
/// One that did get through and was given up in a silence is tried again sooner.
const PAUSE_SHORT: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// The size of blocks, adapted.
#[derive(Debug)]
pub struct BlockSize {
    index: usize,
    delivered: u32,
    lost: u32,
    /// What the size before brought, while this one is on trial: its index and yield.
    before: Option<(usize, f64)>,
    pause: Duration,
    /// How many were lost in a row with nothing heard when this size was turned to.
    silent_from: u32,
    /// The sizes of which a block has arrived.
    proven: [bool; SIZES.len()],
    /// No trial before this.
    quiet_until: Option<Instant>,
}

impl Default for BlockSize {
    fn default() -> BlockSize {
        BlockSize {
            index: 0,
            delivered: 0,
            lost: 0,
            before: None,
            pause: PAUSE,
            silent_from: 0,
            proven: [false; SIZES.len()],
            quiet_until: None,
        }
    }
}

impl BlockSize {
    /// Data bytes of a block.
    pub fn bytes(&self) -> u8 {
        SIZES[self.index.min(SIZES.len() - 1)]
    }

    /// Data bytes of a burst's packets: a size on trial is tried with single blocks, for a burst that
    /// does not come through keeps some servers from hearing anything else.
    pub fn bytes_of_burst(&self) -> u8 {
        self.before.map_or(self.bytes(), |(before, _)| SIZES[before.min(SIZES.len() - 1)])
    }

    /// Whether a block of so many bytes would be another with the next size: in several parts, or
    /// full again where there is no smaller one.
    pub fn splits(&self, bytes: u8) -> bool {
        match SIZES.get(self.index + 1) {
            Some(smaller) => bytes > *smaller,
            None => bytes >= self.bytes(),
        }
    }

    /// Notes that a block of so many bytes arrived; answers by how much smaller blocks are from now
    /// on, if they are.
    pub fn deliver(&mut self, now: Instant, bytes: u8) -> Option<f64> {
        if !self.splits(bytes) {
            return None;
        }
        let before = self.bytes();
        self.delivered += 1;
        self.proven[self.index] = true;
        self.judge(now);
        self.change_from(before)
    }

    /// Notes that a block was lost, the `unheard`th in a row with nothing heard; answers as
    /// [`BlockSize::deliver`].
    pub fn lose(&mut self, now: Instant, unheard: u32) -> Option<f64> {
        let before = self.bytes();
        self.lost += 1;
        let never = match (self.before, self.proven[self.index]) {
            (Some(_), _) => NEVER_ON_TRIAL,
            (None, true) => NEVER,
            (None, false) => NEVER_YET,
        };
        if unheard < self.silent_from {
            self.silent_from = 0;
        }
        let silent = unheard >= self.silent_from + never;
        if silent {
            self.silent_from = unheard;
        }
        match silent {
            true => self.give_up(now),
            false => self.judge(now),
        }
        self.change_from(before)
    }

    fn change_from(&self, before: u8) -> Option<f64> {
        let now = self.bytes();
        (now != before).then(|| f64::from(before) / f64::from(now))
    }

    /// Nothing comes: the size before that was on trial, the next size, or the first again if none does.
    fn give_up(&mut self, now: Instant) {
        let next = (self.index + 1) % SIZES.len();
        let next = self.before.take().map_or(next, |(before, _)| before);
        if std::mem::take(&mut self.proven[self.index]) {
            self.pause = PAUSE_SHORT;
        }
        self.back_off(now);
        self.turn_to(next);
    }

    fn judge(&mut self, now: Instant) {
        if self.delivered + self.lost < STRETCH {
            return;
        }
        let loss = f64::from(self.lost) / f64::from(self.delivered + self.lost);
        let bytes = f64::from(self.bytes());
        let brought = bytes / (bytes + FRAME_BYTES) * (1.0 - loss);
        let (index, trial) = (self.index, self.before.take());
        self.turn_to(index);
        let quiet = self.quiet_until.is_some_and(|until| now < until);
        match trial {
            Some((other, yielded))
                if yielded * if other < index { GAIN } else { 1.0 } >= brought =>
            {
                self.back_off(now);
                self.turn_to(other);
            }
            Some(_) => {
                self.pause = PAUSE;
                self.quiet_until = Some(now + PAUSE);
            }
            None if loss >= LOSS_HIGH && !quiet && index + 1 < SIZES.len() => {
                self.before = Some((index, brought));
                self.turn_to(index + 1);
            }
            None if index > 0 && self.quiet_until.is_none() => {
                self.quiet_until = Some(now + self.pause);
            }
            None if index > 0 && !quiet => {
                self.before = Some((index, brought));
                self.turn_to(index - 1);
            }
            None => {}
        }
    }

    fn turn_to(&mut self, index: usize) {
        self.index = index;
        (self.delivered, self.lost) = (0, 0);
    }

    fn back_off(&mut self, now: Instant) {
        self.quiet_until = Some(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a link that carries of each size this share; answers the sizes at the end of each second.
    fn run(seconds: u64, carries: impl Fn(u8) -> f64) -> Vec<u8> {
        let (mut size, start, mut owed) = (BlockSize::default(), Instant::now(), 0.0);
        let mut unheard = 0;
        let mut seen = Vec::new();
        for second in 0..seconds {
            for n in 0..20 {
                let now = start + Duration::from_millis(second * 1000 + n * 50);
                owed += carries(size.bytes());
                if owed >= 1.0 {
                    (owed, unheard) = (owed - 1.0, 0);
                    size.deliver(now, size.bytes());
                } else {
                    unheard += 1;
                    size.lose(now, if carries(size.bytes()) > 0.0 { 0 } else { unheard });
                }
            }
            seen.push(size.bytes());
        }
        seen
    }

    #[test]
    fn a_link_that_never_carries_large_frames_gets_small_ones() {
        let seen = run(60, |size| if size > 110 { 0.0 } else { 0.98 });
        assert!(seen.iter().filter(|size| **size == 110).count() > 50, "{seen:?}");
        let seen = run(60, |size| if size > 80 { 0.0 } else { 0.98 });
        assert!(seen.iter().filter(|size| **size == 80).count() > 50, "{seen:?}");
    }

    #[test]
    fn loss_that_strikes_all_sizes_alike_changes_nothing_for_long() {
        let seen = run(120, |_| 0.6);
        assert!(seen.iter().filter(|size| **size == 239).count() > 100, "{seen:?}");
        assert_eq!(run(60, |_| 0.8), vec![239; 60]);
    }

    #[test]
    fn smaller_blocks_stay_where_they_bring_more() {
        let seen = run(120, |size| if size > 110 { 0.3 } else { 0.9 });
        assert!(seen.iter().filter(|size| **size == 110).count() > 90, "{seen:?}");
    }

    #[test]
    fn the_only_block_of_a_short_file_is_split_too() {
        let (mut size, now) = (BlockSize::default(), Instant::now());
        for (bytes, splits) in [(239, true), (111, true), (110, false), (20, false)] {
            assert_eq!(size.splits(bytes), splits);
        }
        for unheard in [NEVER_YET, 2 * NEVER_YET] {
            assert!(size.lose(now, unheard).is_some());
        }
        assert_eq!((size.bytes(), size.splits(80), size.splits(79)), (80, true, false));
    }

    #[test]
    fn full_blocks_come_back_when_the_link_has_mended() {
        let (mut size, start) = (BlockSize::default(), Instant::now());
        let changed = [0, 1, 2].map(|unheard| size.lose(start, unheard));
        assert_eq!(changed, [None, None, Some(239.0 / 110.0)]);
        assert_eq!(size.bytes(), 110);
        for n in 0..3000 {
            size.deliver(start + Duration::from_millis(n * 50), size.bytes());
        }
        assert_eq!(size.bytes(), 239);
    }
}
