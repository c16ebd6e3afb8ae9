//! What is known of sessions that we do not hold: that all are taken, and one of ours whose closing
//! was never acknowledged. Must not know why a file is wanted.

use std::time::{Duration, Instant};

/// A server whose sessions are all taken is asked again after this …
const RETRY: Duration = Duration::from_secs(1);
/// … and so often, because whoever has one may give it back. Then it is left alone:
const RETRIES: u32 = 4;
/// PX4 closes a file for which it has heard no request for 10.1 s, and asking for a session is one.
/// A station that is gone, or we ourselves after a lost answer, would keep it for ever otherwise.
const LEFT_ALONE: Duration = Duration::from_millis(10_300);

/// Sessions that we do not hold.
#[derive(Debug, Default)]
pub struct Taken {
    refusals: u32,
    until: Option<Instant>,
    unclosed: Option<(u8, Instant)>,
    /// One that others did not wait for; it is closed when nobody needs a file.
    abandoned: Option<u8>,
    /// An opening was refused without a reason, and what may have been in its way was closed.
    cleared: bool,
}

impl Taken {
    /// When a file may be opened again.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether nothing is to be opened now.
    pub fn waits(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Notes that all sessions are taken.
    pub fn refused(&mut self, now: Instant) {
        let leave_alone = self.refusals >= RETRIES;
        self.refusals = if leave_alone { 0 } else { self.refusals + 1 };
        self.until = Some(now + if leave_alone { LEFT_ALONE } else { RETRY });
    }

    /// Notes that a file was opened, by us or under our eyes by another station.
    pub fn opened(&mut self) {
        *self = Taken { abandoned: self.abandoned, ..Taken::default() };
    }

    /// Notes that our session may still be open because others waited for their file.
    pub fn abandon(&mut self, session: u8) {
        self.abandoned = Some(session);
    }

    /// The session that was abandoned, told once.
    pub fn take_abandoned(&mut self) -> Option<u8> {
        self.abandoned.take()
    }

    /// Whether what may be in the way of an opening is to be closed: once in a row of refusals. The
    /// network may have brought an earlier opening twice, the second time to a server that had lost
    /// the first.
    pub fn clears(&mut self) -> bool {
        !std::mem::replace(&mut self.cleared, true)
    }

    /// Notes that our session may still be open.
    pub fn left_open(&mut self, now: Instant, session: u8) {
        self.unclosed = Some((session, now));
    }

    /// The session of ours that may be what is in the way, told once. An id that all stations share
    /// is no longer ours when the server has had the time to close it.
    pub fn reclaim(&mut self, now: Instant, shared: bool) -> Option<u8> {
        let (session, since) = self.unclosed.take()?;
        let old = now.saturating_duration_since(since) >= LEFT_ALONE;
        (!shared || !old).then_some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_session_is_asked_for_often_and_then_left_alone() {
        let mut taken = Taken::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..RETRIES + 2 {
            taken.refused(now);
            let until = taken.until().unwrap();
            pauses.push(until - now);
            assert!(taken.waits(now) && !taken.waits(until));
            now = until;
        }
        assert_eq!(pauses[..4], [RETRY; 4]);
        assert_eq!(pauses[4..], [LEFT_ALONE, RETRY]);
    }

    #[test]
    fn a_session_left_open_is_reclaimed_once_and_a_shared_one_only_for_a_while() {
        let mut taken = Taken::default();
        let now = Instant::now();
        taken.left_open(now, 7);
        assert_eq!(taken.reclaim(now + LEFT_ALONE, false), Some(7));
        assert_eq!(taken.reclaim(now, false), None);
        taken.left_open(now, 0);
        assert_eq!(taken.reclaim(now + LEFT_ALONE, true), None);
    }
}
