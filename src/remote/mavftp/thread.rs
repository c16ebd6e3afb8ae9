//! The thread around hub and link: takes commands, drains the link and sends what the hub wants
//! sent. Blocks on nothing but the link. What becomes of commands and events is the desk's business.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::link::Peer;
use crate::link::node::Node;
use crate::mavftp::hub::{Hub, HubOutput};

use super::desk::{Command, Desk};
use super::translate;

/// Frames taken from the link before anything is sent.
pub const DRAIN_FRAMES_MAX: usize = 512;
/// After the last caller has gone, so long is given to closing what is open on the vehicle.
const FAREWELL: Duration = Duration::from_millis(1500);
/// A link that fails is tried again after this.
const LINK_PAUSE: Duration = Duration::from_millis(200);

/// The thread's state.
pub struct Driver {
    pub node: Node,
    pub hub: Hub<Peer>,
    pub desk: Desk,
    pub commands: Receiver<Command>,
}

impl Driver {
    /// Runs until it is told to stop and what is open is closed.
    pub fn run(mut self) {
        let mut farewell = None;
        loop {
            let now = Instant::now();
            while let Ok(command) = self.commands.try_recv() {
                if self.desk.obey(now, &mut self.hub, command) {
                    farewell = Some(now + FAREWELL);
                }
            }
            // Before the results, for who gets them looks at whose they are.
            self.desk.publish(now, &self.hub);
            let wait = self.work();
            self.desk.publish(Instant::now(), &self.hub);
            match farewell {
                Some(end) if now >= end || !self.hub.holds_sessions() => break,
                Some(end) => self.listen(Some(wait.map_or(end, |wait| wait.min(end)))),
                None => self.listen(wait),
            }
        }
        let (strangers, unmatched) = (self.hub.strangers(), self.hub.unmatched());
        let counters = self.node.counters();
        tracing::debug!(?counters, strangers, unmatched, "the link is closed");
    }

    /// Waits for a frame until the deadline, then takes what else is there.
    fn listen(&mut self, deadline: Option<Instant>) {
        let mut deadline = deadline;
        for _ in 0..DRAIN_FRAMES_MAX {
            match self.node.receive(deadline) {
                Ok(Some(received)) => {
                    let now = Instant::now();
                    let (source, incoming) = translate::incoming(&received);
                    self.hub.receive(now, received.peer, source, incoming);
                    deadline = Some(now);
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the link fails");
                    std::thread::sleep(LINK_PAUSE);
                    return;
                }
            }
        }
    }

    /// Does what the hub wants done now; answers when to look again.
    fn work(&mut self) -> Option<Instant> {
        loop {
            match self.hub.poll(Instant::now()) {
                HubOutput::Send(to, frame) => {
                    let queued = self.node.queue(to, &translate::message(&frame));
                    pass_over(queued);
                }
                HubOutput::Event(event) => self.desk.tell(Instant::now(), &mut self.hub, event),
                HubOutput::Wait(at) => {
                    pass_over(self.node.flush());
                    return at;
                }
            }
        }
    }
}

/// What could not be sent is lost like any datagram; the hub asks again.
fn pass_over(sent: io::Result<()>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "a frame could not be sent");
    }
}

impl Drop for Driver {
    /// Nobody waits for ever, even if this thread panics.
    fn drop(&mut self) {
        self.desk.close();
        while let Ok(command) = self.commands.try_recv() {
            super::refuse(command);
        }
    }
}
