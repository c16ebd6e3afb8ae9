//! The thread around hub and link: takes commands, drains the link, sends what the hub wants sent,
//! and hands events to sinks. Blocks on nothing but the link.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::link::Peer;
use crate::link::node::Node;
use crate::mavftp::client::{self, Event, RequestId, Restraint};
use crate::mavftp::hub::{Hub, HubOutput, Target};
use crate::mavftp::wire::WireEntry;
use crate::remote::{Class, Error, Op, OpId, Pull, Reply, Sink, Source, Status};

use super::places::{self, Next, Places, RootListing};
use super::translate;

/// Frames taken from the link before anything is sent.
pub const DRAIN_FRAMES_MAX: usize = 512;
/// After the last caller has gone, so long is given to closing what is open on the vehicle.
const FAREWELL: Duration = Duration::from_millis(1500);
/// A link that fails is tried again after this.
const LINK_PAUSE: Duration = Duration::from_millis(200);

/// What the thread is told.
pub enum Command {
    /// Begin an operation.
    Submit {
        /// Its name.
        id: OpId,
        /// What to do.
        op: Op,
        /// How urgent.
        class: Class,
        /// The longest time without progress.
        patience: Duration,
        /// Who gets the results.
        sink: Arc<dyn Sink>,
    },
    /// Change an operation's class.
    Raise(OpId, Class),
    /// An upload's source has more.
    More(OpId),
    /// End an operation.
    Cancel(OpId),
    /// End the thread.
    Stop,
}

/// The thread's state.
pub struct Driver {
    pub node: Node,
    pub hub: Hub<Peer>,
    pub target: Target,
    pub status: Arc<Mutex<Status>>,
    pub commands: Receiver<Command>,
    pub running: HashMap<RequestId, Running>,
    /// Which virtual places the vehicle has.
    pub places: Places,
}

/// An operation under way.
pub struct Running {
    sink: Arc<dyn Sink>,
    source: Option<Arc<dyn Source>>,
    /// Entries of a listing that could not be shown.
    left_out: u32,
    /// The listing of a root that leaves things out.
    root: Option<Root>,
}

struct Root {
    listing: RootListing,
    class: Class,
    patience: Duration,
}

impl Driver {
    /// Runs until it is told to stop and what is open is closed.
    pub fn run(mut self) {
        let mut farewell = None;
        loop {
            let now = Instant::now();
            while let Ok(command) = self.commands.try_recv() {
                if self.obey(now, command) {
                    farewell = Some(now + FAREWELL);
                }
            }
            let wait = self.work();
            self.publish();
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

    /// Carries out a command; true when it is the last.
    fn obey(&mut self, now: Instant, command: Command) -> bool {
        match command {
            Command::Submit { id, op, class, patience, sink } => {
                self.submit(now, id, &op, class, patience, sink);
            }
            Command::Raise(id, class) => self.with_client(id, |client, id| {
                client.set_class(id, translate::class(class));
            }),
            Command::More(id) => self.with_client(id, |client, id| client.more(now, id)),
            Command::Cancel(id) => self.with_client(id, |client, id| client.cancel(id)),
            Command::Stop => {
                let all: Vec<RequestId> = self.running.keys().copied().collect();
                for id in all {
                    self.with_client(OpId(id.0), |client, id| client.cancel(id));
                }
                self.hub.leave();
                return true;
            }
        }
        false
    }

    fn submit(
        &mut self,
        now: Instant,
        id: OpId,
        op: &Op,
        class: Class,
        patience: Duration,
        sink: Arc<dyn Sink>,
    ) {
        let wire_op = match translate::op(op) {
            Ok(wire_op) => wire_op,
            Err(error) => return sink.done(Err(error)),
        };
        let source = match op {
            Op::Write { source, .. } => Some(source.clone()),
            _ => None,
        };
        let id = RequestId(id.0);
        let mut running = Running { sink, source, left_out: 0, root: None };
        if let (Op::List { path }, client::Op::List { path: wire_path }) = (op, &wire_op)
            && self.has_virtual()
        {
            if let Some(entries) = places::unlisted(wire_path) {
                running.sink.page(entries);
                return running.sink.done(Ok(Reply::Done));
            }
            let listing = RootListing::new();
            running.root = path.is_root().then_some(Root { listing, class, patience });
        }
        self.running.insert(id, running);
        let class = translate::class(class);
        self.hub.request(now, self.target, id, wire_op, class, patience);
    }

    fn with_client(
        &mut self,
        id: OpId,
        act: impl FnOnce(&mut crate::mavftp::client::Client, RequestId),
    ) {
        let id = RequestId(id.0);
        if let Some(client) = self.hub.client(id) {
            act(client, id);
        }
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
                HubOutput::Event(event) => self.tell(event),
                HubOutput::Wait(at) => {
                    pass_over(self.node.flush());
                    return at;
                }
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Opened(id, size) => self.with_sink(id, |sink| sink.opened(u64::from(size))),
            Event::Data(id, offset, payload, range) => self.with_sink(id, |sink| {
                sink.data(u64::from(offset), payload.data().get(range).unwrap_or_default());
            }),
            Event::Page(id, entries) => self.tell_page(id, entries),
            Event::Acknowledged(id, offset) => {
                self.with_sink(id, |sink| sink.acknowledged(u64::from(offset)));
            }
            Event::Want(id, offset, length) => self.supply(id, offset, length as usize),
            Event::Done(id, result) => {
                let Some(result) = self.go_on(id, result) else { return };
                if let Some(running) = self.running.remove(&id) {
                    if running.left_out > 1 {
                        tracing::warn!(
                            left_out = running.left_out,
                            "entries left out of a listing, in all"
                        );
                    }
                    let result = result.map(translate::reply).map_err(translate::error);
                    running.sink.done(result);
                }
            }
        }
    }

    fn tell_page(&mut self, id: RequestId, entries: Vec<WireEntry>) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let entries = translate::entries(entries, |entry, error| {
            // Once for a listing: a vehicle may have thousands of them.
            if running.left_out == 0 {
                let name = entry.name.escape_ascii();
                tracing::warn!(%name, %error, "left an entry out of a listing, perhaps more");
            }
            running.left_out += 1;
        });
        let Some(root) = &mut running.root else { return running.sink.page(entries) };
        let entries = root.listing.page(entries);
        let enough = root.listing.has_enough();
        if !entries.is_empty() {
            running.sink.page(entries);
        }
        if enough && let Some(client) = self.hub.client(id) {
            client.cancel(id);
        }
    }

    /// Goes on with the listing of a root; else answers how the operation ended.
    fn go_on(
        &mut self,
        id: RequestId,
        result: Result<client::Reply, client::Error>,
    ) -> Option<Result<client::Reply, client::Error>> {
        let now = Instant::now();
        let Some(running) = self.running.get_mut(&id) else { return Some(result) };
        let Some(root) = &mut running.root else { return Some(result) };
        let known = self.hub.look(now, self.target);
        self.places.meet(known.as_ref().map_or(0, |known| known.epoch));
        let may_ask = known.is_some_and(|known| known.restraint == Restraint::Free);
        let (shown, next) = root.listing.ended(result, &mut self.places, may_ask);
        let (class, patience) = (translate::class(root.class), root.patience);
        if !shown.is_empty() {
            running.sink.page(shown);
        }
        match next {
            Next::Done(result) => Some(result),
            Next::Ask(op) => {
                self.hub.request(now, self.target, id, op, class, patience);
                None
            }
        }
    }

    fn has_virtual(&self) -> bool {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).has_virtual
    }

    fn with_sink(&self, id: RequestId, tell: impl FnOnce(&dyn Sink)) {
        if let Some(running) = self.running.get(&id) {
            tell(&*running.sink);
        }
    }

    fn supply(&mut self, id: RequestId, offset: u32, length: usize) {
        let source = self.running.get(&id).and_then(|running| running.source.clone());
        let Some(source) = source else { return };
        let mut buffer = vec![0; length];
        let pulled = source.pull(u64::from(offset), &mut buffer);
        let Some(client) = self.hub.client(id) else { return };
        match pulled {
            Pull::Bytes(count) => client.supply(id, offset, &buffer[..count.min(length)]),
            Pull::Pending => client.starve(id),
            Pull::End => client.finish_source(id, offset),
        }
    }

    fn publish(&self) {
        let Some(known) = self.hub.look(Instant::now(), self.target) else { return };
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.up = known.up;
        status.epoch = known.epoch;
        status.armed = known.restraint != Restraint::Free;
        if status.identity.is_none() || known.identity.is_some() {
            status.identity = known.identity.map(|identity| identity.to_string());
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
        for (_, running) in self.running.drain() {
            running.sink.done(Err(Error::Cancelled));
        }
        while let Ok(command) = self.commands.try_recv() {
            super::refuse(command);
        }
    }
}
