//! A burst under way. Knows the wire, open files and the time it is given. Each packet names its own
//! place in the file, so nothing served in between disturbs it.

use std::time::{Duration, Instant};

use super::files::ServedFile;
use super::order::{Counting, LATE_TIME, Mark};
use crate::mavftp::wire::{DATA_BYTES_MAX, Nak, Payload};

/// Most packets of one burst: the last says that nothing more comes, and the client asks again.
pub(super) const BURST_PACKETS_MAX: u32 = 2000;
/// Longest burst; its last packet says that nothing more comes. pymavlink gives up a file when it has
/// had nothing to ask for 3.7 seconds, and a slow line takes longer for that many packets.
pub(super) const BURST_TIME_MAX: Duration = Duration::from_secs(3);
/// One burst: where it stands.
pub(super) struct Burst {
    request: Payload,
    begun: Instant,
    asked: Mark,
    offset: u64,
    sent: u32,
}

impl Burst {
    /// A burst from the request's offset on. Its session must be the one that is read.
    pub(super) fn new(now: Instant, request: Payload, asked: Mark) -> Burst {
        Burst { request, begun: now, asked, offset: u64::from(request.offset), sent: 0 }
    }

    /// Whether this burst goes on although another is asked for: by a copy of its own request, or
    /// of an older one. A client that got nothing for longer asks for it anew.
    pub(super) fn outlasts(&self, now: Instant, request: &Payload, counting: &Counting) -> bool {
        let young = now.saturating_duration_since(self.begun) <= LATE_TIME;
        (young && self.request == *request) || counting.is_late(now, request.sequence, &self.asked)
    }

    /// The next packet, and whether it was the last.
    pub(super) fn packet(&mut self, now: Instant, file: &impl ServedFile) -> (Payload, bool) {
        let mut buffer = [0; DATA_BYTES_MAX];
        let chunk = match usize::from(self.request.size) {
            wanted @ 1..=DATA_BYTES_MAX => wanted,
            _ => DATA_BYTES_MAX,
        };
        let (packet, over) =
            match (u32::try_from(self.offset), file.read_at(self.offset, &mut buffer[..chunk])) {
                (Ok(offset), Ok(count @ 1..)) => {
                    let took = now.saturating_duration_since(self.begun);
                    let over = self.sent + 1 >= BURST_PACKETS_MAX || took >= BURST_TIME_MAX;
                    let ack = Payload { offset, ..Payload::ack(&self.request) };
                    self.offset += count as u64;
                    (ack.with_data(&buffer[..count]), over)
                }
                (_, Ok(_)) => (self.end(file), true),
                (_, Err(nak)) => (Payload::nak(&self.request, nak), true),
            };
        let sequence = self.request.sequence.wrapping_add(1).wrapping_add(self.sent as u16);
        self.sent += 1;
        (Payload { sequence, burst_complete: u8::from(over), ..packet }, over)
    }

    /// The end of the file; the offset tells its length.
    fn end(&self, file: &impl ServedFile) -> Payload {
        let size = file.size().unwrap_or(self.offset);
        let offset = u32::try_from(size).unwrap_or(u32::MAX);
        Payload { offset, ..Payload::nak(&self.request, Nak::Eof) }
    }
}
