//! Who asks, for the log: a client's first request at info, each one at debug. Must not know what
//! becomes of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::root::Client;
use crate::mavftp::wire::{Opcode, Payload};

/// A client that was silent for so long is a new one.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
/// Most clients remembered; the one seen longest ago gives way.
const VISITORS_MAX: usize = 64;

/// The clients, and when each was seen last.
#[derive(Debug, Default)]
pub(super) struct Visitors(BTreeMap<Client, Instant>);

impl Visitors {
    /// Logs a request.
    pub(super) fn greet(&mut self, now: Instant, client: Client, request: &Payload) {
        let (peer, system, component) = client;
        if self.see(now, client) {
            tracing::info!(
                "system {system}, component {component} at {peer} asks: {}",
                described(request)
            );
        } else if tracing::enabled!(tracing::Level::DEBUG) {
            tracing::debug!(
                sequence = request.sequence,
                session = request.session,
                offset = request.offset,
                "system {system}, component {component} at {peer}: {}",
                described(request)
            );
        }
    }

    /// Whether a client is new.
    fn see(&mut self, now: Instant, client: Client) -> bool {
        let before = self.0.insert(client, now);
        if self.0.len() > VISITORS_MAX
            && let Some((longest, _)) = self.0.iter().min_by_key(|(_, seen)| **seen)
        {
            let longest = *longest;
            self.0.remove(&longest);
        }
        before.is_none_or(|before| now.saturating_duration_since(before) > SEEN_WITHIN)
    }
}

/// The opcode, and the path where there is one.
fn described(request: &Payload) -> String {
    let opcode = match request.command() {
        Some(opcode) => Cow::Owned(format!("{opcode:?}")),
        None => Cow::Borrowed("an unknown request"),
    };
    let data = request.data();
    let path = data.split(|byte| *byte == 0).next().unwrap_or_default();
    if path.is_empty() || request.command() == Some(Opcode::WriteFile) {
        return opcode.into_owned();
    }
    // Quoted, so that no control character of a client's reaches the terminal.
    format!("{opcode} {:?}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Peer;

    #[test]
    fn a_client_is_new_once_and_again_after_a_long_silence() {
        let (mut visitors, start) = (Visitors::default(), Instant::now());
        let client = (Peer::LINE, 255, 190);
        assert!(visitors.see(start, client));
        assert!(!visitors.see(start + SEEN_WITHIN, client));
        assert!(visitors.see(start + SEEN_WITHIN, (Peer::LINE, 255, 191)));
        assert!(visitors.see(start + SEEN_WITHIN * 3, client));
        for component in 0..=255 {
            visitors.see(start, (Peer::LINE, 1, component));
        }
        assert_eq!(visitors.0.len(), VISITORS_MAX);
    }

    #[test]
    fn a_request_is_described_by_its_opcode_and_a_harmless_path() {
        let request = |opcode, data: &'static [u8]| Payload::request(opcode).with_data(data);
        for (request, text) in [
            (request(Opcode::OpenFileRo, b"/a\x1b[2J\0"), r#"OpenFileRo "/a\u{1b}[2J""#),
            (request(Opcode::Rename, b"/a\0/b\0"), r#"Rename "/a""#),
            (request(Opcode::ResetSessions, b""), "ResetSessions"),
            (request(Opcode::WriteFile, b"bytes"), "WriteFile"),
            (Payload { opcode: 99, ..Payload::request(Opcode::None) }, "an unknown request"),
        ] {
            assert_eq!(described(&request), text);
        }
    }
}
