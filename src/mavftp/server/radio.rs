//! What a telemetry radio on the link says of its buffer (RADIO_STATUS), and what bursts make of it.
//! Knows nothing but numbers and the time it is given.
//!
//! ArduPilot slows its streams down below 50 % free and more below 20 %, speeds them up above 90 %,
//! and sends nothing of a burst below 33 %. So do we; but we do not stop for ever, in case a radio
//! always says the same.

use std::time::{Duration, Instant};

use super::pace::FULL_FRAME_BYTES;

/// A radio not heard for so long is gone; `mavftp::hub` believes it for as long.
pub(super) const RADIO_TIME: Duration = Duration::from_secs(5);
/// Bytes per second when a radio is first heard: half of a line of 57,600 baud.
const RATE_FIRST: u32 = 2_880;
/// Never less than a full packet a second.
const RATE_MIN: u32 = FULL_FRAME_BYTES;
/// Free percent at which nothing of a burst is sent for a moment …
const SHORT: u8 = 33;
/// … at which the rate is halved, and at which it is lowered …
const VERY_SHORT: u8 = 20;
const SHORTISH: u8 = 50;
/// … and above which it is raised.
const AMPLE: u8 = 90;
/// How long a burst waits for the next word from a radio that has no room.
const PAUSE: Duration = Duration::from_secs(1);
/// The rate is changed so often at most, however often a radio speaks.
const STEP_TIME: Duration = Duration::from_millis(500);

/// The radio on a link, if there is one.
#[derive(Debug, Default)]
pub(super) struct Radio {
    heard: Option<Heard>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    rate: u32,
    stepped: Instant,
    /// Bytes of bursts since then.
    sent: u32,
    paused_until: Instant,
}

impl Radio {
    /// It has so much of its buffer free, in percent. `limit`: the rate without a radio.
    pub(super) fn hear(&mut self, now: Instant, free_percent: u8, limit: Option<u32>) {
        let limit = limit.unwrap_or(u32::MAX);
        let first = Heard {
            at: now,
            rate: RATE_FIRST.min(limit),
            stepped: now,
            sent: 0,
            paused_until: now,
        };
        let mut heard = self.heard.take().filter(|heard| heard.is_fresh(now)).unwrap_or(first);
        heard.at = now;
        heard.paused_until = if free_percent <= SHORT { now + PAUSE } else { now };
        let elapsed = now.saturating_duration_since(heard.stepped);
        if elapsed >= STEP_TIME {
            // A rate that was not made use of has not been tried.
            let used = 2.0 * f64::from(heard.sent) >= f64::from(heard.rate) * elapsed.as_secs_f64();
            heard.rate = stepped(heard.rate, free_percent, used).max(RATE_MIN).min(limit);
            (heard.stepped, heard.sent) = (now, 0);
        }
        self.heard = Some(heard);
    }

    /// Bytes per second that it takes; `None`: no radio is heard.
    pub(super) fn rate(&self, now: Instant) -> Option<u32> {
        self.fresh(now).map(|heard| heard.rate)
    }

    /// When it may be sent something of a burst.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        self.fresh(now).map_or(now, |heard| heard.paused_until.max(now))
    }

    /// So many bytes of a burst go out.
    pub(super) fn sent(&mut self, bytes: u32) {
        if let Some(heard) = &mut self.heard {
            heard.sent = heard.sent.saturating_add(bytes);
        }
    }

    fn fresh(&self, now: Instant) -> Option<&Heard> {
        self.heard.as_ref().filter(|heard| heard.is_fresh(now))
    }
}

impl Heard {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < RADIO_TIME
    }
}

fn stepped(rate: u32, free_percent: u8, used: bool) -> u32 {
    if free_percent <= VERY_SHORT {
        rate / 2
    } else if free_percent <= SHORTISH {
        rate / 4 * 3
    } else if free_percent > AMPLE && used {
        rate.saturating_add(rate / 4)
    } else {
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The rate after a status a second, while bursts take all they may.
    fn after(radio: &mut Radio, start: Instant, statuses: &[u8]) -> (Instant, u32) {
        let mut now = start;
        for free in statuses {
            radio.hear(now, *free, Some(100_000));
            radio.sent(radio.rate(now).unwrap());
            now += SECOND;
        }
        (now, radio.rate(now).unwrap())
    }

    #[test]
    fn a_short_buffer_slows_bursts_and_an_ample_one_speeds_them_up() {
        let start = Instant::now();
        let rate = |statuses: &[u8]| after(&mut Radio::default(), start, statuses).1;
        assert_eq!(rate(&[80]), RATE_FIRST);
        assert_eq!(rate(&[80, 10]), RATE_FIRST / 2);
        assert_eq!(rate(&[80, 40]), RATE_FIRST / 4 * 3);
        assert_eq!(rate(&[80, 60]), RATE_FIRST);
        assert_eq!(rate(&[80, 95]), RATE_FIRST + RATE_FIRST / 4);
        assert_eq!(rate(&[0; 30]), RATE_MIN);
        assert_eq!(rate(&[100; 60]), 100_000, "never more than is allowed");
    }

    #[test]
    fn a_rate_that_nobody_used_is_not_raised() {
        let mut now = Instant::now();
        let mut radio = Radio::default();
        for _ in 0..20 {
            radio.hear(now, 100, None);
            now += SECOND;
        }
        assert_eq!(radio.rate(now), Some(RATE_FIRST));
    }

    #[test]
    fn without_room_a_burst_waits_but_not_for_ever() {
        let now = Instant::now();
        let mut radio = Radio::default();
        radio.hear(now, 33, None);
        assert_eq!(radio.ready_at(now), now + PAUSE);
        radio.hear(now, 34, None);
        assert_eq!(radio.ready_at(now), now);
    }

    #[test]
    fn a_radio_that_falls_silent_is_forgotten() {
        let now = Instant::now();
        let mut radio = Radio::default();
        radio.hear(now, 0, None);
        assert!(radio.rate(now + RADIO_TIME - SECOND).is_some());
        assert_eq!(radio.rate(now + RADIO_TIME), None);
        assert_eq!(radio.ready_at(now + RADIO_TIME), now + RADIO_TIME);
    }

    #[test]
    fn a_radio_that_speaks_often_does_not_slow_bursts_down_faster() {
        let now = Instant::now();
        let mut radio = Radio::default();
        for millisecond in 0..500 {
            radio.hear(now + Duration::from_millis(millisecond), 10, None);
        }
        assert_eq!(radio.rate(now + STEP_TIME), Some(RATE_FIRST));
    }
}
