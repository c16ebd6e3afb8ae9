//! Which request works in which slot: one for the whole vehicle, or five by station and number.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::{ArduPilot, Sessions, Slot};

/// Left alone for so long, a session can be taken by another id.
const LEFT_ALONE: Duration = Duration::from_secs(3);
/// With five of them, a session is closed after this.
pub const FORGOTTEN: Duration = Duration::from_secs(20);

impl ArduPilot {
    /// The slot that a request works in.
    pub fn admit(&mut self, now: Instant, from: u8, request: &Payload) -> Result<usize, Nak> {
        match self.sessions {
            Sessions::Old | Sessions::One => self.admit_to_the_one(now, request),
            Sessions::Five => self.admit_to_five(now, (from, request.session)),
        }
    }

    fn admit_to_the_one(&mut self, now: Instant, request: &Payload) -> Result<usize, Nak> {
        let id = request.session;
        let Some(slot) = self.slots.first_mut() else {
            self.slots.push(Slot { key: (0, id), used: now, alone: false, open: None });
            return Ok(0);
        };
        let alone = now.duration_since(slot.used) > LEFT_ALONE;
        (slot.used, slot.alone) = (now, alone);
        if slot.open.is_some() && slot.key.1 != id {
            let ends = [Opcode::TerminateSession as u8, Opcode::ResetSessions as u8];
            if !alone && !ends.contains(&request.opcode) {
                return Err(Nak::InvalidSession);
            }
            if alone {
                *slot = Slot { key: (0, id), used: now, alone: false, open: None };
            }
        }
        if slot.open.is_none() {
            slot.key.1 = id;
        }
        Ok(0)
    }

    fn admit_to_five(&mut self, now: Instant, key: (u8, u8)) -> Result<usize, Nak> {
        let age = |slot: &Slot| now.duration_since(slot.used);
        self.slots.retain(|slot| match slot.open {
            Some(_) => age(slot) < FORGOTTEN,
            None => age(slot) < LEFT_ALONE,
        });
        if let Some(at) = self.slots.iter().position(|slot| slot.key == key) {
            let alone = age(&self.slots[at]) > LEFT_ALONE;
            (self.slots[at].used, self.slots[at].alone) = (now, alone);
            return Ok(at);
        }
        if self.slots.len() == 5 {
            let alone = self.slots.iter().position(|slot| age(slot) > LEFT_ALONE);
            self.slots.remove(alone.ok_or(Nak::NoSessionsAvailable)?);
        }
        self.slots.push(Slot { key, used: now, alone: false, open: None });
        Ok(self.slots.len() - 1)
    }
}
