//! Requests of a survey: begun, waited for, ended in time. Must not know why they are made.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use crate::mavftp::client::{Class, Error, Event, Op, Reply, RequestId};
use crate::mavftp::hub::{Frame, HubOutput, Target};
use crate::mavftp::wire::{PAYLOAD_BYTES, Payload};
use crate::remote::{Entry, OpId};

use super::super::thread::DRAIN_FRAMES_MAX;
use super::super::translate;
use super::Look;

/// A file that nobody has.
const ABSENT: &[u8] = b"/.mavftp-mount-probe";
/// How soon somebody is heard who wants an end.
const TICK: Duration = Duration::from_millis(100);
/// After this the end of a request that was cancelled is no longer waited for.
const CANCELLING: Duration = Duration::from_millis(500);

/// How long is waited.
#[derive(Clone, Copy)]
pub struct Asking {
    /// Without progress.
    pub patience: Duration,
    /// In all.
    pub until: Instant,
}

/// How requests ended.
pub type Ended = Vec<(Target, Result<Reply, Error>)>;

/// Told of what comes before the end; true: it is enough.
pub type Takes<'a> = &'a mut dyn FnMut(Target, &Event) -> bool;

impl Look<'_> {
    /// Makes one request to each of these and waits for all of them.
    pub(super) fn ask(
        &mut self,
        ops: Vec<(Target, Op)>,
        asking: Asking,
        takes: Takes<'_>,
    ) -> io::Result<Ended> {
        let mut open = BTreeMap::new();
        for (target, op) in ops {
            let id = RequestId(OpId::fresh().0);
            open.insert(id, target);
            let (now, class) = (Instant::now(), Class::Metadata);
            let class = if matches!(op, Op::Read { .. }) { Class::Demand } else { class };
            self.hub.request(now, target, id, op, class, asking.patience);
        }
        let mut ended = Vec::new();
        let mut cancelled = false;
        while !open.is_empty() && Instant::now() < asking.until + CANCELLING {
            if !cancelled && (Instant::now() >= asking.until || (self.stopped)()) {
                cancelled = true;
                open.keys().for_each(|id| self.cancel(*id));
            }
            let deadline = if cancelled { asking.until + CANCELLING } else { asking.until };
            for event in self.turn(deadline)? {
                let id = id_of(&event);
                let Some(target) = open.get(&id).copied() else { continue };
                if let Event::Done(_, result) = event {
                    open.remove(&id);
                    ended.push((target, result));
                } else if takes(target, &event) {
                    self.cancel(id);
                }
            }
        }
        let now = Instant::now();
        self.ledgers.values_mut().for_each(|ledger| ledger.forgive(now));
        ended.extend(open.into_values().map(|target| (target, Err(Error::TimedOut))));
        Ok(ended)
    }

    fn cancel(&mut self, id: RequestId) {
        if let Some(client) = self.hub.client(id) {
            client.cancel(id);
        }
    }

    /// Sends what is due and waits, not for long, for what comes.
    pub(super) fn turn(&mut self, deadline: Instant) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let wake = loop {
            let now = Instant::now();
            match self.hub.poll(now) {
                HubOutput::Send(to, frame) => {
                    if let Frame::Ftp(target, payload) = &frame {
                        self.ledgers.entry(*target).or_default().asked(now, payload);
                    }
                    if let Err(error) = self.node.queue(to, &translate::message(&frame)) {
                        tracing::debug!(%error, "a frame could not be sent");
                    }
                }
                HubOutput::Event(event) => events.push(event),
                HubOutput::Wait(at) => break at,
            }
        };
        if let Err(error) = self.node.flush() {
            tracing::debug!(%error, "a frame could not be sent");
        }
        if !events.is_empty() {
            return Ok(events);
        }
        let tick = Instant::now() + TICK;
        let mut deadline = wake.map_or(deadline, |wake| wake.min(deadline)).min(tick);
        for _ in 0..DRAIN_FRAMES_MAX {
            let Some(received) = self.node.receive(Some(deadline))? else { break };
            deadline = Instant::now();
            self.note(deadline, &received);
            let (source, incoming) = translate::incoming(&received);
            self.hub.receive(deadline, received.peer, source, incoming);
        }
        Ok(events)
    }
}

/// The request for a directory.
pub fn list(path: &[u8]) -> Op {
    Op::List { path: path.to_vec() }
}

/// The request for the checksum of a file that is not there.
pub fn absent_sum() -> Op {
    Op::Checksum { path: ABSENT.to_vec() }
}

/// The entries that came with an event.
pub fn entries(event: &Event) -> Vec<Entry> {
    match event {
        Event::Page(_, page) => translate::entries(page.clone(), |_, _| {}),
        Event::Opened(..)
        | Event::Data(..)
        | Event::Want(..)
        | Event::Acknowledged(..)
        | Event::Done(..) => Vec::new(),
    }
}

/// What an answer says, if that can be read.
pub fn answer(payload: &[u8; PAYLOAD_BYTES]) -> Option<Payload> {
    Payload::decode(payload).ok()
}

fn id_of(event: &Event) -> RequestId {
    match event {
        Event::Opened(id, _)
        | Event::Data(id, ..)
        | Event::Page(id, _)
        | Event::Want(id, ..)
        | Event::Acknowledged(id, _)
        | Event::Done(id, _) => *id,
    }
}
