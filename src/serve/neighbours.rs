//! Who else is on a link: components that may answer what is asked of all, and frames under our own
//! ids. Must not know what is asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::TYPE_GROUND_STATION;
use super::endpoint::AUTOPILOT_INVALID;
use super::root::Client;

/// A component not heard for so long is gone.
const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// Most components remembered; there are no more ids than that in a few systems.
const COMPONENTS_MAX: usize = 256;

/// The components heard on a link, and when.
pub(super) struct Neighbours {
    own: (u8, u8),
    heard: BTreeMap<(u8, u8), Instant>,
    told: bool,
}

impl Neighbours {
    /// Of who has these ids.
    pub(super) fn new(system: u8, component: u8) -> Neighbours {
        Neighbours { own: (system, component), heard: BTreeMap::new(), told: false }
    }

    /// Whether a frame has our own ids; the first time, this is told.
    pub(super) fn has_our_ids(&mut self, (peer, system, component): Client) -> bool {
        let ours = (system, component) == self.own;
        if ours && !self.told {
            self.told = true;
            tracing::warn!(
                "another component uses our ids, system {system} and component {component}, or a \
                 router sends our own frames back ({peer}); clients cannot tell the two apart: \
                 --component-id gives us another"
            );
        }
        ours
    }

    /// A heartbeat was heard.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        (_, system, component): Client,
        vehicle_type: u8,
        autopilot: u8,
    ) {
        let in_our_system = system == self.own.0;
        let a_vehicles = in_our_system || autopilot != AUTOPILOT_INVALID;
        if vehicle_type == TYPE_GROUND_STATION || !a_vehicles {
            return;
        }
        self.heard.insert((system, component), now);
        if self.heard.len() > COMPONENTS_MAX {
            self.heard.retain(|_, heard| now.saturating_duration_since(*heard) <= HEARD_WITHIN);
        }
        if self.heard.len() > COMPONENTS_MAX {
            self.heard.pop_first();
        }
    }

    /// Whether somebody besides us and the client may answer what is asked of `target`, in which 0
    /// is everybody.
    pub(super) fn may_answer(
        &self,
        now: Instant,
        (_, client_system, client_component): Client,
        (system, component): (u8, u8),
    ) -> bool {
        self.heard.iter().any(|(&heard, at)| {
            heard != (client_system, client_component)
                && (system == 0 || system == heard.0)
                && (component == 0 || component == heard.1)
                && now.saturating_duration_since(*at) <= HEARD_WITHIN
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TYPE_CAMERA, TYPE_ONBOARD_CONTROLLER};
    use super::*;
    use crate::link::Peer;

    const ARDUPILOT: u8 = 3;
    const QUADROTOR: u8 = 2;

    fn from(system: u8, component: u8) -> Client {
        (Peer::LINE, system, component)
    }

    #[test]
    fn what_is_asked_of_all_is_left_to_an_autopilot_while_it_is_heard() {
        let (mut neighbours, start) = (Neighbours::new(1, 191), Instant::now());
        neighbours.hear(start, from(255, 190), TYPE_GROUND_STATION, AUTOPILOT_INVALID);
        neighbours.hear(start, from(245, 191), 0, AUTOPILOT_INVALID);
        let client = from(255, 190);
        assert!(!neighbours.may_answer(start, client, (0, 0)), "no server is there but us");
        neighbours.hear(start, from(1, 1), QUADROTOR, ARDUPILOT);
        for target in [(0, 0), (1, 0)] {
            assert!(neighbours.may_answer(start, client, target));
        }
        assert!(!neighbours.may_answer(start, client, (0, 191)), "it is not meant by that");
        let late = start + HEARD_WITHIN + Duration::from_millis(1);
        assert!(!neighbours.may_answer(late, client, (0, 0)));
    }

    #[test]
    fn a_camera_of_our_system_counts_unless_it_asks_itself() {
        let (mut neighbours, now) = (Neighbours::new(1, 191), Instant::now());
        neighbours.hear(now, from(1, 100), TYPE_CAMERA, AUTOPILOT_INVALID);
        assert!(neighbours.may_answer(now, from(255, 190), (1, 0)));
        assert!(!neighbours.may_answer(now, from(1, 100), (1, 0)));
    }

    #[test]
    fn our_own_ids_are_noticed_and_a_crowd_costs_little() {
        let (mut neighbours, now) = (Neighbours::new(1, 191), Instant::now());
        assert!(neighbours.has_our_ids(from(1, 191)) && neighbours.has_our_ids(from(1, 191)));
        assert!(!neighbours.has_our_ids(from(1, 190)) && !neighbours.has_our_ids(from(2, 191)));
        for system in 1..=255 {
            for component in [1, 2] {
                neighbours.hear(now, from(system, component), TYPE_ONBOARD_CONTROLLER, ARDUPILOT);
            }
        }
        assert_eq!(neighbours.heard.len(), COMPONENTS_MAX);
    }
}
