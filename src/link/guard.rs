//! Whose frames a node with a key believes, and what is said of the others. Must not know sockets, nor
//! how a signature is made.

use std::io;
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use super::Peer;
use super::frames::{Counters, Frame};
use super::message::Message;
use super::signing::{Refusal, Signer};

/// Between two greetings.
const GREETING_PERIOD: Duration = Duration::from_secs(1);
/// After so many, somebody who is behind our time will stay there.
const GREETINGS_IN_VAIN: u32 = 3;

/// Keeps out what is not signed with our key, and says so once for each reason.
pub(super) struct Guard {
    signer: Signer,
    refused: Counters,
    said: Vec<Discriminant<Refusal>>,
    /// For those whose time is behind ours.
    greeting: Option<Message>,
    greeted: Option<Instant>,
    greetings: u32,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is believed.
    Heard,
    /// It is as good as not heard.
    Ignored,
    /// The same; but its sender has the key, and believes our time once it hears it.
    Greet,
}

impl Guard {
    pub(super) fn new(signer: Signer) -> Guard {
        Guard {
            signer,
            refused: Counters::default(),
            said: Vec::new(),
            greeting: None,
            greeted: None,
            greetings: 0,
        }
    }

    /// What was kept out.
    pub(super) fn refused(&self) -> Counters {
        self.refused
    }

    /// Signs a frame that is complete but for its signature.
    pub(super) fn sign(&mut self, frame: &mut Vec<u8>) -> io::Result<()> {
        self.signer.sign(frame)
    }

    /// What those are sent whose time is behind ours.
    pub(super) fn greet_with(&mut self, greeting: Message) {
        self.greeting = Some(greeting);
    }

    /// The greeting, unless one was sent just now.
    pub(super) fn greeting(&mut self, now: Instant) -> Option<Message> {
        let due = self.greeted.is_none_or(|last| now.duration_since(last) >= GREETING_PERIOD);
        let greeting = self.greeting.filter(|_| due)?;
        self.greeted = Some(now);
        self.greetings = self.greetings.saturating_add(1);
        Some(greeting)
    }

    /// Judges a frame, whose bytes these are.
    pub(super) fn judge(&mut self, from: Peer, frame: &Frame, bytes: &[u8]) -> Verdict {
        let Frame { system, component, ref message, signed } = *frame;
        let refusal = match (signed, message) {
            (true, _) => self.signer.judge(system, component, bytes).err(),
            (false, Message::RadioStatus { .. }) => None,
            (false, _) => Some(Refusal::Unsigned),
        };
        let Some(refusal) = refusal else { return Verdict::Heard };
        let (verdict, worth_a_word) = match refusal {
            Refusal::Unsigned => {
                self.refused.unsigned += 1;
                (Verdict::Ignored, true)
            }
            Refusal::WrongKey => {
                self.refused.wrong_key += 1;
                (Verdict::Ignored, true)
            }
            Refusal::Repeated => {
                self.refused.stale += 1;
                (Verdict::Ignored, false)
            }
            Refusal::Behind { .. } => {
                self.refused.stale += 1;
                (Verdict::Greet, self.greetings >= GREETINGS_IN_VAIN)
            }
            Refusal::Crowded => {
                self.refused.stale += 1;
                (Verdict::Ignored, true)
            }
        };
        let kind = discriminant(&refusal);
        if worth_a_word && !self.said.contains(&kind) {
            self.said.push(kind);
            tracing::warn!("frames from {from} ({system}:{component}) are ignored: {refusal}");
        }
        verdict
    }
}
