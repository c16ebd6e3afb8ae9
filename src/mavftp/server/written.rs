//! Which writes of a session were done, so that a late copy of one does not undo a later one. Knows
//! the wire only.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::mavftp::wire::Payload;

/// Writes remembered at first, and at most: what 2 MB a second bring within the time that a network
/// may hold a copy back. They lie at their number, modulo this.
const PLACES_MIN: usize = 64;
const PLACES_MAX: usize = 16_384;

/// The latest writes of one session.
#[derive(Debug, Default)]
pub(super) struct Written {
    places: Vec<Option<Write>>,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Write {
    sequence: u16,
    content: u32,
}

impl Written {
    /// Whether this very write was done.
    pub(super) fn knows(&self, request: &Payload) -> bool {
        let place = self.places.get(usize::from(request.sequence) % self.places.len().max(1));
        place.copied().flatten().is_some_and(|write| {
            write.sequence == request.sequence && write.content == content(request)
        })
    }

    /// Remembers a write that was done.
    pub(super) fn add(&mut self, request: &Payload) {
        if self.count >= self.places.len() && self.places.len() < PLACES_MAX {
            self.grow();
        }
        self.count += 1;
        self.put(Write { sequence: request.sequence, content: content(request) });
    }

    fn grow(&mut self) {
        let places = (2 * self.places.len()).max(PLACES_MIN);
        let known = std::mem::replace(&mut self.places, vec![None; places]);
        for write in known.into_iter().flatten() {
            self.put(write);
        }
    }

    fn put(&mut self, write: Write) {
        let places = self.places.len().max(1);
        if let Some(place) = self.places.get_mut(usize::from(write.sequence) % places) {
            *place = Some(write);
        }
    }
}

fn content(request: &Payload) -> u32 {
    let mut hasher = DefaultHasher::new();
    (request.offset, request.data()).hash(&mut hasher);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mavftp::wire::Opcode;

    fn write(sequence: u16, offset: u32) -> Payload {
        Payload { sequence, offset, ..Payload::request(Opcode::WriteFile) }.with_data(b"x")
    }

    #[test]
    fn the_latest_writes_are_known_and_no_others() {
        let mut written = Written::default();
        assert!(!written.knows(&write(0, 0)));
        for at in 0..40_000u32 {
            written.add(&write(at as u16, at));
        }
        assert_eq!(written.places.len(), PLACES_MAX);
        for at in 40_000 - PLACES_MAX as u32..40_000 {
            assert!(written.knows(&write(at as u16, at)));
        }
        assert!(!written.knows(&write(1, 1)));
        assert!(!written.knows(&write(39_999, 1)));
    }
}
