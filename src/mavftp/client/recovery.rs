//! Which block requests on their way count as lost. Servers answer in order and networks mostly
//! deliver so: a request is lost when one that left later has been answered and its own answer is
//! late as well (as RFC 8985 has it), or when nothing at all comes back. Knows numbers and times only.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::mavftp::timers::RoundTrip;

/// The least time that an overtaken answer may be late; and this part of a round trip:
const LATE_LEAST: Duration = Duration::from_millis(1);
const LATE_DIVISOR: u32 = 4;
/// Proofs of needless repeats make the patience grow so many times at most.
const SPREAD_MAX: u32 = 8;
/// Answers after which one of those steps is taken back.
const SPREAD_MEMORY: u32 = 2000;
/// Numbers of repeated and answered requests that are remembered, to know second answers by.
const SETTLED_MAX: usize = 64;

/// The block requests on their way, in the order in which they left.
#[derive(Debug, Default)]
pub struct Recovery {
    queue: BTreeMap<u64, Departed>,
    /// How many have left.
    departures: u64,
    /// The answered request that left last: its place, and its round trip.
    newest: Option<(u64, Duration)>,
    /// How much later than usual an answer may be, in steps.
    spread: u32,
    calm: u32,
    /// Repeats in a row with nothing heard.
    unheard: u32,
    /// When a block was answered or repeated in silence last.
    activity: Option<Instant>,
    settled: VecDeque<u16>,
}

#[derive(Debug)]
struct Departed {
    number: u16,
    sent: Instant,
    /// What came was no answer to it; it has to leave again at once.
    void: bool,
}

/// Places begin here, so that there is room before the first.
const PLACE_FIRST: u64 = 1 << 32;

impl Recovery {
    /// Notes that a request leaves; answers its place in the order.
    pub fn depart(&mut self, now: Instant, number: u16) -> u64 {
        self.departures += 1;
        let place = PLACE_FIRST + self.departures;
        self.queue.insert(place, Departed { number, sent: now, void: false });
        place
    }

    /// Notes that the request at `place` has to leave again at once, under another number; answers
    /// its new place.
    pub fn renumber(&mut self, place: u64, number: u16) -> u64 {
        let Some(departed) = self.queue.remove(&place) else { return place };
        let first = self.queue.first_key_value().map_or(place, |(first, _)| *first).min(place) - 1;
        self.queue.insert(first, Departed { number, void: true, ..departed });
        first
    }

    /// How many are on their way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Repeats in a row with nothing heard.
    pub fn unheard(&self) -> u32 {
        self.unheard
    }

    /// Forgets a request.
    pub fn forget(&mut self, place: u64) {
        self.queue.remove(&place);
    }

    /// Notes an answer to the request at `place`, sent `tries` times, last at `sent`.
    pub fn answered(
        &mut self,
        now: Instant,
        place: u64,
        tries: u32,
        sent: Instant,
        trips: &RoundTrip,
    ) {
        let Some(Departed { number, .. }) = self.queue.remove(&place) else { return };
        self.unheard = 0;
        self.activity = Some(now);
        let trip = now.saturating_duration_since(sent);
        // An answer that comes at once after a repeat is that to the first copy.
        let certain = tries == 1 || trips.least().is_some_and(|least| trip >= least);
        if certain && self.newest.is_none_or(|(newest, _)| place > newest) {
            self.newest = Some((place, trip));
        }
        if tries > 1 {
            self.settled.push_back(number);
            if self.settled.len() > SETTLED_MAX {
                self.settled.pop_front();
            }
        }
        self.calm += 1;
        if self.calm > SPREAD_MEMORY {
            self.calm = 0;
            self.spread = self.spread.saturating_sub(1);
        }
    }

    /// Notes an answer to nothing that is on its way. A second answer shows that a repeat was needless.
    /// True then.
    pub fn unmatched(&mut self, number: u16) -> bool {
        let Some(at) = self.settled.iter().position(|settled| *settled == number) else {
            return false;
        };
        self.settled.remove(at);
        self.spread = (self.spread + 1).min(SPREAD_MAX);
        self.calm = 0;
        true
    }

    /// The number of a request that is lost by now. It has to be sent again or forgotten.
    pub fn lost(&self, now: Instant, trips: &RoundTrip) -> Option<(u64, u16)> {
        let (place, departed) = self.queue.first_key_value()?;
        (self.due(trips)? <= now).then_some((*place, departed.number))
    }

    /// Notes that the request at `place` leaves again; answers its new place.
    pub fn repeat(&mut self, now: Instant, place: u64) -> u64 {
        let Some(departed) = self.queue.remove(&place) else { return place };
        let overtaken = self.newest.is_some_and(|(newest, _)| place < newest);
        if !overtaken && !departed.void {
            self.unheard += 1;
            self.activity = Some(now);
        }
        self.depart(now, departed.number)
    }

    /// When the next request counts as lost, if nothing comes.
    pub fn due(&self, trips: &RoundTrip) -> Option<Instant> {
        let (place, Departed { sent, void, .. }) = self.queue.first_key_value()?;
        if *void {
            return Some(*sent);
        }
        let silent = self.activity.map_or(*sent, |activity| activity.max(*sent))
            + trips.block_timeout(self.unheard + 1, self.newest.map(|(_, trip)| trip));
        Some(match self.newest {
            Some((newest, trip)) if *place < newest => {
                silent.min(*sent + trip + self.lateness(trips))
            }
            Some(_) | None => silent,
        })
    }

    fn lateness(&self, trips: &RoundTrip) -> Duration {
        let usual = trips.least().unwrap_or_default() / LATE_DIVISOR;
        let most = trips.smoothed().unwrap_or_default().max(LATE_LEAST);
        (usual.max(LATE_LEAST) * (self.spread + 1)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(20);

    fn trips() -> RoundTrip {
        let mut trips = RoundTrip::default();
        (0..20).for_each(|_| trips.sample(TRIP));
        trips
    }

    #[test]
    fn a_request_that_a_later_one_overtook_is_lost_when_it_is_late() {
        let (trips, start) = (trips(), Instant::now());
        let mut recovery = Recovery::default();
        recovery.depart(start, 7);
        let second = recovery.depart(start, 8);
        let now = start + TRIP;
        assert_eq!(recovery.lost(now, &trips), None);
        recovery.answered(now, second, 1, start, &trips);
        assert_eq!(recovery.lost(now, &trips), None, "it may still be on its way");
        let late = recovery.due(&trips).unwrap();
        assert_eq!(late, now + TRIP / 4);
        let (place, number) = recovery.lost(late, &trips).unwrap();
        assert_eq!(number, 7);
        recovery.repeat(late, place);
        assert_eq!(recovery.lost(late, &trips), None);
    }

    #[test]
    fn in_silence_one_request_is_sent_again_and_ever_more_rarely() {
        let (trips, start) = (trips(), Instant::now());
        let mut recovery = Recovery::default();
        (0..50).for_each(|number| assert!(recovery.depart(start, number) > 0));
        let (mut now, mut waits) = (start, Vec::new());
        for _ in 0..4 {
            let due = recovery.due(&trips).unwrap();
            waits.push(due - now);
            now = due;
            let (place, _) = recovery.lost(now, &trips).unwrap();
            recovery.repeat(now, place);
            assert_eq!(recovery.lost(now, &trips), None, "one at a time");
        }
        assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]), "{waits:?}");
    }

    #[test]
    fn a_network_that_swaps_frames_earns_patience() {
        let (trips, start) = (trips(), Instant::now());
        let mut recovery = Recovery::default();
        let before = recovery.lateness(&trips);
        let place = recovery.depart(start, 7);
        let again = recovery.repeat(start + TRIP, place);
        recovery.answered(start + TRIP * 2, again, 2, start + TRIP, &trips);
        assert!(!recovery.unmatched(9));
        assert_eq!(recovery.lateness(&trips), before);
        assert!(recovery.unmatched(7));
        assert!(recovery.lateness(&trips) > before);
    }
}
