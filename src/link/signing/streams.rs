//! The last timestamp of each stream that is heard: a link of a component. Nothing is kept of frames
//! whose signature was not right. Must not know keys, clocks and frames.

use std::collections::BTreeMap;

use super::clock;

/// A stream that is heard for the first time may be so far behind us.
const BEHIND_MAX: u64 = clock::seconds(60);
/// More streams than any fleet has. Only who has the key can make one.
const STREAMS_MAX: usize = 4096;

/// Its link id, system and component.
pub(super) type Stream = (u8, u8, u8);

/// Why a timestamp will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stale {
    /// Not newer than the last of its stream: repeated, or overtaken.
    Repeated,
    /// The first of its stream, and so many units behind our own.
    Behind(u64),
    /// The first of one stream too many.
    Crowded,
}

/// The streams that are heard.
#[derive(Debug, Default)]
pub(super) struct Streams(BTreeMap<Stream, u64>);

impl Streams {
    /// Judges a timestamp, and remembers it when it will do.
    pub(super) fn hear(&mut self, stream: Stream, timestamp: u64, now: u64) -> Result<(), Stale> {
        if let Some(last) = self.0.get_mut(&stream) {
            if timestamp <= *last {
                return Err(Stale::Repeated);
            }
            *last = timestamp;
            return Ok(());
        }
        let behind = now.saturating_sub(timestamp);
        if behind > BEHIND_MAX {
            return Err(Stale::Behind(behind));
        }
        if self.0.len() >= STREAMS_MAX {
            // What these said may be forgotten: repeated, it is too far behind for a new stream.
            self.0.retain(|_, last| now.saturating_sub(*last) <= BEHIND_MAX);
        }
        if self.0.len() >= STREAMS_MAX {
            return Err(Stale::Crowded);
        }
        self.0.insert(stream, timestamp);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = clock::seconds(1000);
    const STREAM: Stream = (0, 1, 1);

    #[test]
    fn a_stream_only_goes_forward() {
        let mut streams = Streams::default();
        assert_eq!(streams.hear(STREAM, NOW, NOW), Ok(()));
        assert_eq!(streams.hear(STREAM, NOW, NOW), Err(Stale::Repeated));
        assert_eq!(streams.hear(STREAM, NOW - 1, NOW), Err(Stale::Repeated));
        assert_eq!(streams.hear(STREAM, NOW + 1, NOW), Ok(()));
        assert_eq!(streams.hear((1, 1, 1), NOW, NOW), Ok(()), "another link of it");
    }

    #[test]
    fn a_new_stream_may_be_a_minute_behind_and_no_more() {
        let mut streams = Streams::default();
        let minute = 6_000_000;
        assert_eq!(streams.hear((0, 1, 1), NOW - minute, NOW), Ok(()));
        let late = streams.hear((0, 1, 2), NOW - minute - 1, NOW);
        assert_eq!(late, Err(Stale::Behind(minute + 1)));
        assert_eq!(streams.hear((0, 1, 1), NOW - minute + 1, NOW + minute), Ok(()), "an old one");
        assert_eq!(streams.hear((0, 1, 2), NOW * 9, NOW), Ok(()), "ahead");
    }

    #[test]
    fn streams_are_bounded_and_the_old_ones_give_way() {
        let mut streams = Streams::default();
        let stream = |n: usize| (0, (n >> 8) as u8, n as u8);
        for n in 0..STREAMS_MAX {
            assert_eq!(streams.hear(stream(n), NOW, NOW), Ok(()));
        }
        assert_eq!(streams.hear(stream(STREAMS_MAX), NOW, NOW), Err(Stale::Crowded));
        assert_eq!(streams.hear(stream(7), NOW + 1, NOW), Ok(()));
        let later = NOW + BEHIND_MAX + 1;
        assert_eq!(streams.hear(stream(STREAMS_MAX), later, later), Ok(()));
        assert_eq!(streams.0.len(), 2, "stream 7, and the new one");
        let again = streams.hear(stream(0), NOW, later);
        assert_eq!(again, Err(Stale::Behind(BEHIND_MAX + 1)), "forgotten, and yet not repeated");
    }
}
