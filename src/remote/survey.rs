//! What a short look at a far side measures, whichever protocol it speaks: round trips, and the rate
//! of a read. Must not know how either was measured, nor who reads it.

use std::time::Duration;

use serde::Serialize;

/// Most bytes that are read to measure a rate.
pub const READ_BYTES_MAX: u32 = 256 << 10;
/// So long is read at most.
pub const READ_TIME_MAX: Duration = Duration::from_secs(2);
/// How many cheap requests measure a round trip.
pub const PINGS: usize = 5;
/// Directories that are looked into for a file to read.
pub const DIRECTORIES_MAX: usize = 8;
/// A file of so many bytes will do; no larger one is looked for.
pub const ENOUGH_BYTES: u64 = 64 << 10;

/// Round trips of single requests, while nothing else was under way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoundTrip {
    /// How many were measured.
    pub samples: usize,
    /// The shortest, in milliseconds.
    pub min_ms: f64,
    /// The one in the middle, in milliseconds.
    pub median_ms: f64,
}

impl RoundTrip {
    /// Of these; `None` where there is none.
    pub fn of(samples: &[Duration]) -> Option<RoundTrip> {
        let mut sorted = samples.to_vec();
        sorted.sort();
        let in_ms = |at: usize| sorted.get(at).map(|sample| sample.as_secs_f64() * 1e3);
        let (min_ms, median_ms) = (in_ms(0)?, in_ms(sorted.len() / 2)?);
        Some(RoundTrip { samples: sorted.len(), min_ms, median_ms })
    }
}

/// How fast bytes of a file came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadRate {
    /// The file. What is not UTF-8 has U+FFFD in its place.
    pub path: String,
    /// How many bytes were read.
    pub bytes: u64,
    /// From the open file to the last byte.
    pub seconds: f64,
    /// Bytes per second.
    pub bytes_per_second: f64,
}

impl ReadRate {
    /// So many bytes in this time; `None` where no time passed that could be told.
    pub fn of(path: String, bytes: u64, time: Duration) -> Option<ReadRate> {
        let seconds = time.as_secs_f64();
        let bytes_per_second = bytes as f64 / seconds;
        let is_one = bytes > 0 && bytes_per_second.is_finite();
        is_one.then_some(ReadRate { path, bytes, seconds, bytes_per_second })
    }
}

/// A measured rate, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Measured.
    Measured(ReadRate),
    /// Left out, for this reason.
    LeftOut(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_and_the_middle_round_trip_are_told() {
        let samples = [30, 10, 20].map(Duration::from_millis);
        let round_trip = RoundTrip::of(&samples).unwrap();
        let told = (round_trip.samples, round_trip.min_ms.round(), round_trip.median_ms.round());
        assert_eq!(told, (3, 10.0, 20.0));
        assert_eq!(RoundTrip::of(&[]), None);
    }

    #[test]
    fn a_rate_needs_bytes_and_time() {
        let rate = |bytes, seconds| ReadRate::of("/f".into(), bytes, Duration::from_secs(seconds));
        assert_eq!(rate(100, 2).unwrap().bytes_per_second, 50.0);
        assert_eq!(rate(0, 2), None);
        assert_eq!(rate(100, 0), None);
    }
}
