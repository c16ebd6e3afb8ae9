//! A mount whose link to the vehicle is damaged: `tests/peers/relay.py` between the two. Must not
//! know what a test does with it.

use std::path::Path;
use std::time::Duration;

use super::mounted::{Scene, Server, free_port};
use super::python::{self, Peer};

/// Until the relay has done what it was told.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// A scene behind a damaged link. The mount goes first when this is dropped, the link last.
pub struct DamagedScene {
    /// The vehicle and the mount.
    pub scene: Scene,
    relay: Peer,
}

impl DamagedScene {
    /// As [`Scene::new`], over a link with this damage, in the words of `relay.py`'s options.
    pub fn new(
        server: Server,
        damage: &str,
        options: &[&str],
        fill: impl FnOnce(&Path),
    ) -> DamagedScene {
        let port = free_port();
        let mut arguments = vec!["0".to_owned(), port.to_string()];
        arguments.extend(damage.split_whitespace().map(str::to_owned));
        let mut relay = Peer::start("relay.py", &arguments);
        let ready = relay.line(python::START_TIME);
        let vehicle_port = ready.strip_prefix("ready ").and_then(|port| port.parse().ok()).unwrap();
        let scene = Scene::between(server, (vehicle_port, port), options, fill);
        DamagedScene { scene, relay }
    }

    /// Changes the damage, in the words of `relay.py`'s commands; done when this returns.
    pub fn damage(&mut self, command: &str) {
        self.relay.say(command);
        assert_eq!(self.relay.line(ANSWER_TIME), format!("ok {command}"));
    }
}
