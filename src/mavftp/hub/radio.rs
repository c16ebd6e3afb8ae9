//! What the radio of a link says of itself. Must not know who flies behind it.

use std::time::{Duration, Instant};

/// A report not repeated for so long is forgotten; radios send one or more in a second.
const RADIO_FRESH: Duration = Duration::from_secs(5);

/// What RADIO_STATUS says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RadioStatus {
    /// Strength of the signal here, in units of the radio; 255 is unknown.
    pub rssi: u8,
    /// Strength of the signal at the far radio; 255 is unknown.
    pub remrssi: u8,
    /// Free part of the radio's buffer for sending, in percent.
    pub txbuf: u8,
    /// Background noise here, in units of the radio; 255 is unknown.
    pub noise: u8,
    /// Background noise at the far radio; 255 is unknown.
    pub remnoise: u8,
    /// Packets received with errors, since the radio started.
    pub rxerrors: u16,
    /// Of these, corrected ones.
    pub fixed: u16,
}

/// The latest report.
#[derive(Debug, Default)]
pub(super) struct Radio(Option<(Instant, RadioStatus)>);

impl Radio {
    /// Notes a report.
    pub(super) fn report(&mut self, now: Instant, status: RadioStatus) {
        self.0 = Some((now, status));
    }

    /// The latest report, while it is fresh.
    pub(super) fn status(&self, now: Instant) -> Option<RadioStatus> {
        let (at, status) = self.0?;
        (now.saturating_duration_since(at) < RADIO_FRESH).then_some(status)
    }
}
