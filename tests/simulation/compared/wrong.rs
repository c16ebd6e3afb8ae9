//! The comparison can fail: a personality that answers wrongly once, or is another one, is found out.

use std::time::Instant;

use mavftp_mount::mavftp::wire::{Opcode, Payload};

use super::{PAIRS, differences, prepared, recording, replay};
use crate::personalities::{FarSide, Said};

/// What is done to one answer.
#[derive(Debug, Clone, Copy)]
enum Mistake {
    Number,
    Session,
    Code,
    AnsweredCode,
    Offset,
    Byte,
    Length,
    Complete,
    Lost,
}

const MISTAKES: [Mistake; 9] = [
    Mistake::Number,
    Mistake::Session,
    Mistake::Code,
    Mistake::AnsweredCode,
    Mistake::Offset,
    Mistake::Byte,
    Mistake::Length,
    Mistake::Complete,
    Mistake::Lost,
];

/// So many answers from one that is spoiled to the next.
const EVERY: usize = 5;

/// A personality whose answer number `at` is wrong.
struct Wrong {
    inner: Box<dyn FarSide>,
    mistake: Mistake,
    at: usize,
}

impl Wrong {
    fn spoil(&self, mut answer: Payload) -> Option<Payload> {
        match self.mistake {
            Mistake::Number => answer.sequence = answer.sequence.wrapping_add(1),
            Mistake::Session => answer.session ^= 1,
            Mistake::Code => answer.opcode ^= 1,
            Mistake::AnsweredCode => answer.req_opcode ^= 1,
            Mistake::Offset => answer.offset += 1,
            Mistake::Byte => {
                answer.size = answer.size.max(1);
                answer.bytes[usize::from(answer.size) - 1] ^= 1;
            }
            // In a refusal it may be chance.
            Mistake::Complete if answer.opcode == Opcode::Nak as u8 => return None,
            Mistake::Complete => answer.burst_complete ^= 1,
            Mistake::Length => answer.size ^= 1,
            Mistake::Lost => return None,
        }
        Some(answer)
    }
}

impl FarSide for Wrong {
    fn receive(&mut self, now: Instant, from: u8, request: &Payload) {
        self.inner.receive(now, from, request);
    }

    fn poll(&mut self, now: Instant) -> Said {
        loop {
            let (to, answer) = match self.inner.poll(now) {
                Said::To(to, answer) => (to, answer),
                said @ Said::Nothing(_) => return said,
            };
            self.at = self.at.wrapping_sub(1);
            if self.at != 0 {
                return Said::To(to, answer);
            }
            if let Some(answer) = self.spoil(*answer) {
                return Said::To(to, Box::new(answer));
            }
        }
    }

    fn open_files(&self, now: Instant) -> usize {
        self.inner.open_files(now)
    }

    fn restart(&mut self) {
        self.inner.restart();
    }

    fn changes(&self) -> &[Opcode] {
        self.inner.changes()
    }
}

#[test]
fn one_wrong_answer_among_all_is_found() {
    for (server, kind) in PAIRS {
        let flights = recording::read(server);
        let played = replay::play(&flights, kind.far(prepared(server, &flights), 1).as_mut());
        let count: usize = played.iter().map(Vec::len).sum();
        for mistake in MISTAKES {
            for at in (1..=count).step_by(EVERY) {
                let inner = kind.far(prepared(server, &flights), 1);
                let mut wrong = Wrong { inner, mistake, at };
                let found = differences(server, kind, &mut wrong);
                assert!(!found.is_empty(), "{server}: {mistake:?} in answer {at}");
            }
        }
    }
}

#[test]
fn a_personality_is_not_taken_for_another() {
    for (server, own) in PAIRS {
        for (_, kind) in PAIRS {
            // Listing a file, which the others were asked for, would end this server.
            let ends = matches!(kind, crate::vehicles::Kind::Mavsdk(_));
            if kind == own || ends {
                continue;
            }
            let mut far = kind.far(prepared(server, &recording::read(server)), 1);
            let found = differences(server, kind, far.as_mut());
            assert!(!found.is_empty(), "{kind:?} answers like {server}");
        }
    }
}
