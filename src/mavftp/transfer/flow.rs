//! How many block requests are on their way, and how fast they leave: what the link delivers, times
//! its shortest round trip, found out by asking for a little more now and then (as BBR does).
//!
//! Loss on a radio is not congestion, so a lost frame slows nothing down; asking for more than comes
//! back does. Requests leave evenly: a board's transmit buffer holds a few answers and drops the rest.

use std::time::{Duration, Instant};

/// Requests on their way before anything is known.
const START: usize = 8;
/// Never fewer: below this a link is in lock-step.
const LEAST: usize = 4;
/// Enough to keep a server on the same machine busy, whatever the arithmetic says.
const LEAST_EASY: usize = 64;
/// What leaves together there: one part in so many of what may be on its way.
const TOGETHER_PART: usize = 4;
/// A round trip below this is that of a fast network.
const EASY_TRIP: Duration = Duration::from_millis(2);
/// How much more than rate times round trip may be on its way.
const WINDOW_GAIN: f64 = 2.0;
/// The same where much is lost, for each request that brings an answer.
const LOSSY_GAIN: f64 = 1.5;
/// Of so many rounds …
const STEPS: usize = 4 * STEADY_GAINS.len();
/// … the one of less and the one behind it ask for no more because of what is lost, to see what is lost
/// then: it shows in the round after those.
const PLAIN_STEP: usize = 1;
const JUDGED_STEP: usize = PLAIN_STEP + 2;
/// The round after that shows what asking for more has brought; from this growth on, it is done again.
const PROBED_STEP: usize = 2;
const ROOM: f64 = 1.1;
/// A server or line drops what is too much for it when by this share more is lost of more.
const POLICED: f64 = 0.08;
/// It is asked for a little too much then.
const POLICED_GAIN: f64 = 1.2;
/// The start doubles what is on its way each round trip. It ends when so many answers in a row took
/// half as long again as the shortest, and this …
const LATE_ANSWERS: u32 = 4;
const LATE_LEAST: Duration = Duration::from_millis(4);
/// Empties the queues that the start has filled.
const DRAIN_GAIN: f64 = 1.0;
/// A round of asking for more, one of less, and some of the same.
const STEADY_GAINS: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// … or when so many rounds have not brought a quarter more than the best before.
const GROWTH: f64 = 1.25;
const GROWTH_ROUNDS: u32 = 3;
/// Rounds over which the best rate is remembered.
const RATES: usize = 6;
/// The least a rate is measured over; servers answer on ticks.
const ROUND_LEAST: Duration = Duration::from_millis(20);
/// The least number of blocks a rate is measured over.
const ROUND_BLOCKS: u64 = 8;
/// The shortest round trip is measured anew when for so long none came near it: links change, and
/// queues that stay filled hide it.
const TRIP_MEMORY: Duration = Duration::from_secs(30);
/// A round trip longer by one part in so many is near the shortest.
const NEAR: u32 = 10;
/// Losses beyond this share are not made up for by asking for more.
const LOSS_MAX: f64 = 0.5;
/// Requests may leave so much earlier than evenly, so that a sleepy timer costs nothing.
const SLACK: Duration = Duration::from_micros(300);
/// The same for those that leave together.
const SLACK_MAX: Duration = Duration::from_millis(5);

/// The window and the pace of block requests of one direction.
#[derive(Debug)]
pub struct Flow {
    cap: usize,
    phase: Phase,
    delivered: u64,
    round: Option<Round>,
    rates: [f64; RATES],
    rounds: usize,
    trip: Option<(Duration, Instant)>,
    /// The shortest round trip since the last one was taken.
    trip_next: Option<Duration>,
    /// Share of requests that stay unanswered, whatever is asked for; not what asking for too much costs.
    loss: Option<f64>,
    /// The same where more is asked for than comes back.
    loss_high: Option<f64>,
    /// Of the current round.
    round_lost: u32,
    /// The rate before more was asked for.
    probed_from: f64,
    /// When the next request leaves.
    next_at: Option<Instant>,
    /// There was nothing to ask for; what comes back until then says little of the link.
    starved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Twice as much each round.
    Startup(Growth),
    /// As much as the link holds: queues run empty.
    Drain,
    /// Next to nothing, to see the shortest round trip; whether queues have run empty.
    Settle(bool),
    /// Which of the gains.
    Steady(usize),
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Growth {
    /// The best rate so far, and for how many rounds it has been that.
    best: f64,
    rounds: u32,
    /// How many answers in a row were late.
    late: u32,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    since: Instant,
    delivered: u64,
    starved: bool,
}

impl Flow {
    /// A flow with never more than `cap` requests on their way.
    pub fn new(cap: usize) -> Flow {
        Flow {
            cap: cap.max(1),
            phase: Phase::Startup(Growth::default()),
            delivered: 0,
            round: None,
            rates: [0.0; RATES],
            rounds: 0,
            trip: None,
            trip_next: None,
            loss: None,
            loss_high: None,
            round_lost: 0,
            probed_from: f64::INFINITY,
            next_at: None,
            starved: false,
        }
    }

    /// Requests that may be on their way.
    pub fn limit(&self) -> usize {
        let Some((trip, _)) = self.trip else { return START.min(self.cap) };
        let product = self.rate() * trip.as_secs_f64();
        let wanted = match self.phase {
            Phase::Startup(..) => START + self.delivered as usize,
            Phase::Drain => (product * DRAIN_GAIN) as usize + 2,
            Phase::Settle(_) => LEAST,
            Phase::Steady(_) => {
                (product * WINDOW_GAIN.max(LOSSY_GAIN * self.surplus())) as usize + 2
            }
        };
        let least = if trip < EASY_TRIP { LEAST_EASY } else { LEAST };
        wanted.max(least).min(self.cap)
    }

    /// How few requests are on their way when the next leave, once there were as many as may be. On a
    /// fast network several leave together: a datagram that comes alone costs its reader as much as a
    /// dozen that come at once.
    pub fn low_mark(&self) -> usize {
        let limit = self.limit();
        match self.trip() {
            Some(trip) if trip < EASY_TRIP => limit - limit / TOGETHER_PART,
            Some(_) | None => limit,
        }
    }

    /// Whether the rate is known, and not only growing.
    pub fn is_steady(&self) -> bool {
        self.rate() > 0.0 && !matches!(self.phase, Phase::Startup(_))
    }

    /// Whether the server's own limit is what holds this flow back.
    pub fn is_capped(&self) -> bool {
        self.limit() == self.cap && self.is_steady()
    }

    /// When the next request may leave; `None`: at once.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        self.next_at.filter(|at| *at > now)
    }

    /// Notes that a request leaves.
    pub fn depart(&mut self, now: Instant) {
        self.starved = false;
        let rate = self.pace();
        // What the server takes at once needs no pace; before the first rate there is none.
        if rate <= 0.0 || self.limit() == self.cap {
            self.next_at = None;
            return;
        }
        let together = (self.limit() - self.low_mark()) as f64 / rate;
        let slack = SLACK.max(Duration::from_secs_f64(together.min(SLACK_MAX.as_secs_f64())));
        let from = self.next_at.map_or(now, |at| at.max(now - slack));
        // Whatever was measured, one in a round trip is never too much.
        let slowest = self.trip().unwrap_or(ROUND_LEAST).as_secs_f64();
        self.next_at = Some(from + Duration::from_secs_f64((1.0 / rate).min(slowest)));
    }

    /// Notes an answer; `trip` is its round trip, where that is certain.
    pub fn arrive(&mut self, now: Instant, trip: Option<Duration>) {
        self.delivered += 1;
        if let Some(trip) = trip {
            self.note_trip(now, trip.max(Duration::from_micros(1)));
        }
        match self.round {
            None => self.begin_round(now),
            Some(round) => self.end_round(now, round),
        }
    }

    /// Notes that a request went unanswered.
    pub fn lose(&mut self) {
        self.round_lost += 1;
    }

    /// Takes a loss back: the answer was only late.
    pub fn lose_less(&mut self) {
        self.round_lost = self.round_lost.saturating_sub(1);
    }

    /// Notes that there is nothing to ask for, though more could be on its way.
    pub fn starve(&mut self) {
        self.starved = true;
        if let Some(round) = &mut self.round {
            round.starved = true;
        }
    }

    /// Notes that nothing is on its way: the next answer begins a round.
    pub fn rest(&mut self) {
        self.round = None;
        self.next_at = None;
    }

    /// Blocks per second that come back, the best of the last rounds; 0 before the first.
    pub fn rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// The shortest round trip of late.
    pub fn trip(&self) -> Option<Duration> {
        self.trip.map(|(trip, _)| trip)
    }

    /// Share of requests that stay unanswered, 0 to 1.
    fn loss(&self) -> f64 {
        self.loss.unwrap_or_default()
    }

    /// Blocks have another size from now on: so many times as many make the same bytes.
    pub fn rescale(&mut self, factor: f64) {
        self.rates.iter_mut().for_each(|rate| *rate *= factor);
        self.round = None;
    }

    fn pace(&self) -> f64 {
        let gain = match self.phase {
            Phase::Startup(_) => return 0.0,
            Phase::Drain | Phase::Settle(_) => DRAIN_GAIN,
            Phase::Steady(step) if step > JUDGED_STEP && self.is_policed() => POLICED_GAIN,
            Phase::Steady(step) => STEADY_GAINS[step % STEADY_GAINS.len()],
        };
        let plain = matches!(self.phase, Phase::Drain | Phase::Steady(PLAIN_STEP..JUDGED_STEP));
        self.rate() * gain * if plain { 1.0 } else { self.surplus() }
    }

    /// How many requests bring one answer.
    fn surplus(&self) -> f64 {
        1.0 / (1.0 - self.loss().min(LOSS_MAX))
    }

    fn note_trip(&mut self, now: Instant, trip: Duration) {
        self.trip_next = Some(self.trip_next.map_or(trip, |next| next.min(trip)));
        match &mut self.trip {
            Some((known, since)) if trip <= *known => (*known, *since) = (trip, now),
            Some((known, since)) if trip <= *known + *known / NEAR => *since = now,
            Some(_) => {}
            None => self.trip = Some((trip, now)),
        }
        let late = self.trip.is_some_and(|(least, _)| trip > least + least / 2 + LATE_LEAST);
        if let Phase::Startup(growth) = &mut self.phase {
            growth.late = if late { growth.late + 1 } else { 0 };
            if growth.late >= LATE_ANSWERS {
                self.phase = Phase::Drain;
            }
        }
    }

    /// Takes the shortest round trip of late for the shortest.
    fn renew_trip(&mut self, now: Instant) {
        if let Some(trip) = self.trip_next.take() {
            self.trip = Some((trip, now));
        }
    }

    fn begin_round(&mut self, now: Instant) {
        let starved = self.starved;
        self.round = Some(Round { since: now, delivered: self.delivered, starved });
    }

    fn end_round(&mut self, now: Instant, round: Round) {
        let took = now.saturating_duration_since(round.since);
        let count = self.delivered - round.delivered;
        let least = self.trip().unwrap_or_default().max(ROUND_LEAST);
        if took < least || count < ROUND_BLOCKS.min(self.limit() as u64) {
            return;
        }
        let rate = count as f64 / took.as_secs_f64();
        let lost = self.judge_loss(count);
        if !round.starved || rate > self.rate() {
            self.rounds += 1;
            self.rates[self.rounds % RATES] = rate;
        }
        if !round.starved {
            self.advance(now, lost);
        }
        self.begin_round(now);
    }

    /// Whether what is too much is dropped, and does not wait: then less in one round is not made up for
    /// by what more in another has left in a queue.
    fn is_policed(&self) -> bool {
        match (self.loss, self.loss_high) {
            (Some(low), Some(high)) => high > low + POLICED,
            (Some(_) | None, _) => false,
        }
    }

    /// What is asked for in the round of less is found lost in the one behind it: a server that drops
    /// what is too much for it has answered all of that.
    fn judge_loss(&mut self, count: u64) -> f64 {
        let lost = f64::from(std::mem::take(&mut self.round_lost));
        let share = lost / (lost + count as f64);
        match self.phase {
            Phase::Steady(JUDGED_STEP) => average(&mut self.loss, share),
            Phase::Steady(step) if step % STEADY_GAINS.len() == 1 => {
                average(&mut self.loss_high, share);
            }
            Phase::Startup(_) | Phase::Steady(_) | Phase::Drain | Phase::Settle(_) => {}
        }
        share
    }

    fn advance(&mut self, now: Instant, lost: f64) {
        let stale =
            self.trip.is_some_and(|(_, since)| now.saturating_duration_since(since) > TRIP_MEMORY);
        self.phase = match self.phase {
            Phase::Startup(growth) if self.rate() >= growth.best * GROWTH => {
                Phase::Startup(Growth { best: self.rate(), rounds: 0, ..growth })
            }
            Phase::Startup(growth) if growth.rounds + 1 < GROWTH_ROUNDS && lost < LOSS_MAX => {
                Phase::Startup(Growth { rounds: growth.rounds + 1, ..growth })
            }
            Phase::Startup(_) => Phase::Drain,
            // With a round of less, to see what is lost of it.
            Phase::Drain => Phase::Steady(PLAIN_STEP),
            Phase::Settle(true) => {
                self.renew_trip(now);
                Phase::Steady(2)
            }
            Phase::Settle(false) => {
                self.trip_next = None;
                Phase::Settle(true)
            }
            // More brought more: there is room yet.
            Phase::Steady(PROBED_STEP) if self.rate() >= self.probed_from * ROOM => {
                Phase::Steady(0)
            }
            Phase::Steady(_) if stale => Phase::Settle(false),
            Phase::Steady(step) => Phase::Steady((step + 1) % STEPS),
        };
        if self.phase == Phase::Steady(0) {
            self.probed_from = self.rate();
        }
    }
}

/// Takes a new value into an average that remembers some four of them.
fn average(known: &mut Option<f64>, new: f64) {
    let before = known.unwrap_or(new);
    *known = Some(before + (new - before) / 4.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Runs a link that delivers one block each `gap` after `trip`, and returns the flow and the
    /// share of the link that it used in the second half.
    fn run(cap: usize, gap: Duration, trip: Duration, lose_each: usize) -> (Flow, f64) {
        let mut flow = Flow::new(cap);
        let start = Instant::now();
        let (mut now, mut free) = (start, start);
        let mut flying: VecDeque<(Instant, Instant)> = VecDeque::new();
        let (mut count, mut half) = (0usize, start);
        while count < 20_000 {
            while flying.len() < flow.limit() && flow.next_at(now).is_none() {
                flow.depart(now);
                free = free.max(now) + gap;
                flying.push_back((now, free + trip));
            }
            let pace = flow.next_at(now).filter(|_| flying.len() < flow.limit());
            let arrival = flying.front().map(|(_, at)| *at);
            now = [pace, arrival].into_iter().flatten().min().unwrap();
            if arrival.is_some_and(|at| at <= now) {
                let (sent, _) = flying.pop_front().unwrap();
                count += 1;
                if count == 10_000 {
                    half = now;
                }
                match lose_each {
                    0 => flow.arrive(now, Some(now - sent)),
                    each if count % each == 0 => flow.lose(),
                    _ => flow.arrive(now, Some(now - sent)),
                }
            }
        }
        let share = gap.as_secs_f64() * 10_000.0 / (now - half).as_secs_f64();
        (flow, share)
    }

    #[test]
    fn a_link_is_filled_and_its_queue_kept_short() {
        for (gap, trip) in [(133, 20_000), (532, 80_000), (46_000, 400_000), (2660, 600_000)] {
            let (gap, trip) = (Duration::from_micros(gap), Duration::from_micros(trip));
            let (flow, share) = run(1000, gap, trip, 0);
            assert!(share > 0.95, "{share} of {gap:?}, {trip:?}: {flow:?}");
            let product = trip.as_secs_f64() / gap.as_secs_f64();
            assert!(flow.limit() as f64 <= product * 2.6 + 6.0, "{flow:?}");
        }
    }

    #[test]
    fn lost_frames_do_not_slow_it_down() {
        for each in [100, 5, 3] {
            let (gap, trip) = (Duration::from_micros(133), Duration::from_millis(20));
            let (flow, share) = run(1000, gap, trip, each);
            assert!(share > 0.95, "{share} with each {each}th lost: {flow:?}");
        }
    }

    #[test]
    fn a_server_that_takes_five_gets_five() {
        let (flow, _) = run(5, Duration::from_micros(133), Duration::from_millis(20), 0);
        assert_eq!(flow.limit(), 5);
        assert!(flow.is_capped());
    }

    #[test]
    fn requests_leave_evenly_once_the_rate_is_known() {
        let (mut flow, _) = run(1000, Duration::from_millis(2), Duration::from_millis(20), 0);
        let now = Instant::now() + Duration::from_secs(1000);
        flow.rest();
        flow.depart(now);
        let wait = flow.next_at(now).unwrap() - now;
        assert!((1.4..3.0).contains(&(wait.as_secs_f64() * 1000.0)), "{wait:?}");
    }
}
