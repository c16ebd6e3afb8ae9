//! Who gets our heartbeats: everybody heard lately. Must not know what they said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::link::Peer;

/// A peer not heard for so long gets no more heartbeats.
const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// Most peers remembered; beyond, the one heard longest ago gives way.
const PEERS_MAX: usize = 64;

/// The peers and when each was heard last.
#[derive(Debug, Default)]
pub(super) struct Audience(BTreeMap<Peer, Instant>);

impl Audience {
    /// Remembers a peer; whether it is a new one.
    pub(super) fn hear(&mut self, now: Instant, peer: Peer) -> bool {
        let new = self.0.insert(peer, now).is_none();
        if self.0.len() > PEERS_MAX
            && let Some(longest) = self.0.iter().min_by_key(|(_, heard)| **heard)
        {
            let longest = *longest.0;
            self.0.remove(&longest);
        }
        new
    }

    /// Whoever was heard lately, and `default`, each once.
    pub(super) fn peers(&mut self, now: Instant, default: Option<Peer>) -> BTreeSet<Peer> {
        self.0.retain(|_, heard| now.saturating_duration_since(*heard) <= HEARD_WITHIN);
        self.0.keys().copied().chain(default).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn peer(port: u16) -> Peer {
        SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    #[test]
    fn a_silent_peer_is_forgotten_and_the_default_never() {
        let (mut audience, start) = (Audience::default(), Instant::now());
        assert!(audience.hear(start, peer(1)));
        assert!(!audience.hear(start, peer(1)));
        audience.hear(start + Duration::from_secs(20), peer(2));
        let both = audience.peers(start + Duration::from_secs(30), Some(peer(2)));
        assert_eq!(both, [peer(1), peer(2)].into());
        let one = audience.peers(start + Duration::from_secs(31), None);
        assert_eq!(one, [peer(2)].into());
        let none = audience.peers(start + Duration::from_secs(60), Some(peer(3)));
        assert_eq!(none, [peer(3)].into());
    }

    #[test]
    fn the_peer_heard_longest_ago_gives_way_to_a_new_one() {
        let (mut audience, start) = (Audience::default(), Instant::now());
        for port in 0..PEERS_MAX as u16 + 1 {
            audience.hear(start + Duration::from_millis(port.into()), peer(port));
        }
        let peers = audience.peers(start, None);
        assert_eq!(peers.len(), PEERS_MAX);
        assert!(!peers.contains(&peer(0)));
    }
}
