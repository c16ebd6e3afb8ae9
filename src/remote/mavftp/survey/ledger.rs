//! What the requests to one component and its answers tell: round trips, loss, and which requests its
//! server knows. Sees every frame, and must not know why it is sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::mavftp::wire::{Nak, Opcode, Payload};

/// A request that waits for so long is on its way still, and not lost.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// The requests to one component.
#[derive(Debug, Default)]
pub struct Ledger {
    waiting: BTreeMap<u16, Waiting>,
    /// Frames sent that want an answer of their own.
    pub sent: u64,
    /// Frames that were answered.
    pub answered: u64,
    /// Round trips of requests that were alone under way.
    pub round_trips: Vec<Duration>,
    /// Whether listings with times are known; `None`: it was not asked, or did not say.
    pub lists_times: Option<bool>,
    /// The same of checksums.
    pub sums: Option<bool>,
}

#[derive(Debug)]
struct Waiting {
    at: Instant,
    opcode: u8,
    times: u64,
    alone: bool,
}

impl Ledger {
    /// Notes a request that leaves now.
    pub fn asked(&mut self, now: Instant, request: &Payload) {
        // Its answers are many, and numbered on.
        if request.opcode == Opcode::BurstReadFile as u8 {
            return;
        }
        self.sent += 1;
        // A block takes as long as its bytes, and says less of the way.
        let alone = self.waiting.is_empty() && !request.moves_block();
        let waiting = Waiting { at: now, opcode: request.opcode, times: 0, alone };
        self.waiting.entry(request.sequence).or_insert(waiting).times += 1;
    }

    /// Notes an answer that came now.
    pub fn heard(&mut self, now: Instant, answer: &Payload) {
        let sequence = answer.sequence.wrapping_sub(1);
        let fits = |waiting: &mut Waiting| waiting.opcode == answer.req_opcode;
        if !self.waiting.get_mut(&sequence).is_some_and(fits) {
            return;
        }
        let Some(waiting) = self.waiting.remove(&sequence) else { return };
        self.answered += 1;
        // Of a request that was sent twice nobody knows which one was answered.
        if waiting.alone && waiting.times == 1 {
            self.round_trips.push(now.saturating_duration_since(waiting.at));
        }
        let refusal = (answer.opcode == Opcode::Nak as u8).then(|| Nak::parse(answer.data()));
        match Opcode::from_number(waiting.opcode) {
            Some(Opcode::ListDirectoryWithTime) => self.lists_times = Some(knows(refusal)),
            Some(Opcode::CalcFileCrc32) if refusal != Some(Nak::Fail) => {
                self.sums = Some(knows(refusal));
            }
            // Fail says nothing: some servers say it of every file that is not there.
            Some(_) | None => {}
        }
    }

    /// What is under way no longer matters: it counts as if it had not been sent, unless it has
    /// waited for long. What the server may not know is not lost either: some pass it over in silence.
    pub fn forgive(&mut self, now: Instant) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            let passed_over = match Opcode::from_number(waiting.opcode) {
                Some(Opcode::ListDirectoryWithTime) => self.lists_times != Some(true),
                Some(Opcode::CalcFileCrc32) => self.sums != Some(true),
                Some(_) | None => false,
            };
            if passed_over || now.saturating_duration_since(waiting.at) < ON_ITS_WAY {
                self.sent -= waiting.times.min(self.sent);
            }
        }
    }

    /// Frames that brought no answer, of those sent.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.answered)
    }
}

/// Whether a server knows a request, by its refusal if it refused. ArduPilot says Fail to one that it
/// does not know, and PX4 may name an old error.
fn knows(refusal: Option<Nak>) -> bool {
    !matches!(refusal, Some(Nak::UnknownCommand | Nak::Fail | Nak::FileExists))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sequence: u16, opcode: Opcode) -> Payload {
        Payload { sequence, ..Payload::request(opcode) }
    }

    #[test]
    fn a_request_that_is_alone_and_sent_once_is_a_round_trip() {
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let [first, second, twice] = [1, 3, 5].map(|n| request(n, Opcode::CalcFileCrc32));
        ledger.asked(at(0), &first);
        ledger.asked(at(1), &second);
        ledger.heard(at(10), &Payload::nak(&first, Nak::FileNotFound));
        ledger.heard(at(11), &Payload::nak(&second, Nak::FileNotFound));
        ledger.asked(at(20), &twice);
        ledger.asked(at(30), &twice);
        ledger.heard(at(35), &Payload::ack(&twice));
        assert_eq!(ledger.round_trips, [Duration::from_millis(10)]);
        assert_eq!((ledger.sent, ledger.lost(), ledger.sums), (4, 1, Some(true)));
    }

    #[test]
    fn what_was_under_way_at_the_end_is_not_lost() {
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        ledger.asked(start, &request(1, Opcode::ReadFile));
        ledger.asked(start + ON_ITS_WAY, &request(3, Opcode::ReadFile));
        ledger.asked(start, &request(5, Opcode::ListDirectoryWithTime));
        ledger.forgive(start + ON_ITS_WAY);
        assert_eq!((ledger.sent, ledger.lost()), (1, 1));
    }

    #[test]
    fn refusals_tell_what_a_server_does_not_know() {
        let told = |opcode, nak| {
            let (mut ledger, asked) = (Ledger::default(), request(7, opcode));
            ledger.asked(Instant::now(), &asked);
            ledger.heard(Instant::now(), &Payload::nak(&asked, nak));
            (ledger.lists_times, ledger.sums)
        };
        assert_eq!(told(Opcode::ListDirectoryWithTime, Nak::Fail), (Some(false), None));
        assert_eq!(told(Opcode::ListDirectoryWithTime, Nak::Eof), (Some(true), None));
        assert_eq!(told(Opcode::CalcFileCrc32, Nak::UnknownCommand), (None, Some(false)));
        assert_eq!(told(Opcode::CalcFileCrc32, Nak::FailErrno(2)), (None, Some(true)));
        assert_eq!(told(Opcode::CalcFileCrc32, Nak::Fail), (None, None));
    }
}
