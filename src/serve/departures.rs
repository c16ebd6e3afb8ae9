//! Answers on their way out, gathered by who gets them: what goes to one peer leaves with one system
//! call, however the requests of several came in. Must not know what they say.

use std::io;

use super::root::Client;
use crate::link::node::{Message, Node};
use crate::mavftp::wire::Payload;

/// Answers in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Departures(Vec<(Client, Payload)>);

impl Departures {
    /// One more.
    pub(super) fn add(&mut self, to: Client, answer: Payload) {
        self.0.push((to, answer));
    }

    /// Sends them all, those of each peer in their order.
    pub(super) fn leave(&mut self, node: &mut Node) -> io::Result<()> {
        self.gather();
        for ((peer, target_system, target_component), answer) in self.0.drain(..) {
            let payload = answer.encode();
            let message = Message::Ftp { target_system, target_component, payload };
            node.queue(Some(peer), &message)?;
        }
        node.flush()
    }

    fn gather(&mut self) {
        if !self.0.is_sorted_by_key(|((peer, ..), _)| *peer) {
            self.0.sort_by_key(|((peer, ..), _)| *peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Peer;
    use crate::mavftp::wire::Opcode;
    use std::net::SocketAddr;

    #[test]
    fn what_goes_to_one_peer_leaves_together_and_in_order() {
        let peer = |port: u16| Peer::from(SocketAddr::from(([127, 0, 0, 1], port)));
        let mut departures = Departures::default();
        for sequence in 0..6 {
            let answer = Payload { sequence, ..Payload::request(Opcode::Ack) };
            departures.add((peer(sequence % 2), 1, 1), answer);
        }
        departures.gather();
        let order: Vec<u16> = departures.0.iter().map(|(_, answer)| answer.sequence).collect();
        assert_eq!(order, [0, 2, 4, 1, 3, 5]);
    }
}
