//! Where operations are handed in and their events handed out: between a [`Remote`]'s words and
//! the hub's. Has no thread, no link and no clock, so that the thread of a link and a simulation in
//! virtual time work alike.
//!
//! [`Remote`]: crate::remote::Remote

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::mavftp::client::{self, Client, Event, RequestId, Restraint};
use crate::mavftp::hub::{Hub, Known, Target};
use crate::mavftp::wire::{PATH_BYTES_MAX, WireEntry};
use crate::remote::{Class, Error, Op, OpId, Pull, Reply, Sink, Source, Status};

use super::places::{self, Next, Places, RootListing};
use super::translate;

/// What a [`Desk`] is told.
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
    /// End all operations and close what is open.
    Stop,
}

/// The operations under way on one vehicle.
pub struct Desk {
    target: Target,
    status: Arc<Mutex<Status>>,
    running: HashMap<RequestId, Running>,
    /// Which virtual places the vehicle has.
    places: Places,
}

/// An operation under way.
struct Running {
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

impl Desk {
    /// For a vehicle that has been found.
    pub fn new(known: &Known, label: String) -> Desk {
        let status = Status {
            up: true,
            epoch: known.epoch,
            last_other: known.last_other,
            path_bytes_max: PATH_BYTES_MAX,
            appends: known.family.traits().keeps_content,
            streams: true,
            label,
            identity: known.identity.map(|identity| identity.to_string()),
            armed: known.restraint != Restraint::Free,
            has_virtual: known.family.has_virtual_places(),
            sets_times: false,
            has_room: false,
            saves: false,
            uploads: 1,
        };
        let status = Arc::new(Mutex::new(status));
        Desk { target: known.target, status, running: HashMap::new(), places: Places::default() }
    }

    /// What is known of the vehicle, as of the last [`Desk::publish`].
    pub fn status(&self) -> Arc<Mutex<Status>> {
        self.status.clone()
    }

    /// How many operations are under way.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Ends what is under way: nobody waits for ever.
    pub fn close(&mut self) {
        for (_, running) in self.running.drain() {
            running.sink.done(Err(Error::Cancelled));
        }
    }

    /// Carries out a command; true when it is the last.
    pub fn obey<P: Copy + Ord + fmt::Debug>(
        &mut self,
        now: Instant,
        hub: &mut Hub<P>,
        command: Command,
    ) -> bool {
        match command {
            Command::Submit { id, op, class, patience, sink } => {
                self.submit(now, hub, (id, &op), class, patience, sink);
            }
            Command::Raise(id, class) => with_client(hub, id, |client, id| {
                client.set_class(id, translate::class(class));
            }),
            Command::More(id) => with_client(hub, id, |client, id| client.more(now, id)),
            Command::Cancel(id) => with_client(hub, id, |client, id| client.cancel(id)),
            Command::Stop => {
                let all: Vec<RequestId> = self.running.keys().copied().collect();
                for id in all {
                    with_client(hub, OpId(id.0), |client, id| client.cancel(id));
                }
                hub.leave();
                return true;
            }
        }
        false
    }

    fn submit<P: Copy + Ord + fmt::Debug>(
        &mut self,
        now: Instant,
        hub: &mut Hub<P>,
        (id, op): (OpId, &Op),
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
        hub.request(now, self.target, id, wire_op, class, patience);
    }

    /// Hands an event of the hub to whom it belongs.
    pub fn tell<P: Copy + Ord + fmt::Debug>(
        &mut self,
        now: Instant,
        hub: &mut Hub<P>,
        event: Event,
    ) {
        match event {
            Event::Opened(id, size) => self.with_sink(id, |sink| sink.opened(u64::from(size))),
            Event::Data(id, offset, payload, range) => self.with_sink(id, |sink| {
                sink.data(u64::from(offset), payload.data().get(range).unwrap_or_default());
            }),
            Event::Page(id, entries) => self.tell_page(hub, id, entries),
            Event::Acknowledged(id, offset) => {
                self.with_sink(id, |sink| sink.acknowledged(u64::from(offset)));
            }
            Event::Want(id, offset, length) => self.supply(now, hub, id, offset, length as usize),
            Event::Done(id, result) => {
                // Whoever learns of an end learns no later whose it was.
                self.publish(now, hub);
                let Some(result) = self.go_on(now, hub, id, result) else { return };
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

    fn tell_page<P: Copy + Ord + fmt::Debug>(
        &mut self,
        hub: &mut Hub<P>,
        id: RequestId,
        entries: Vec<WireEntry>,
    ) {
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
        if enough && let Some(client) = hub.client(id) {
            client.cancel(id);
        }
    }

    /// Goes on with the listing of a root; else answers how the operation ended.
    fn go_on<P: Copy + Ord + fmt::Debug>(
        &mut self,
        now: Instant,
        hub: &mut Hub<P>,
        id: RequestId,
        result: Result<client::Reply, client::Error>,
    ) -> Option<Result<client::Reply, client::Error>> {
        let Some(running) = self.running.get_mut(&id) else { return Some(result) };
        let Some(root) = &mut running.root else { return Some(result) };
        let known = hub.look(now, self.target);
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
                hub.request(now, self.target, id, op, class, patience);
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

    fn supply<P: Copy + Ord + fmt::Debug>(
        &mut self,
        now: Instant,
        hub: &mut Hub<P>,
        id: RequestId,
        offset: u32,
        length: usize,
    ) {
        let source = self.running.get(&id).and_then(|running| running.source.clone());
        let Some(source) = source else { return };
        let mut buffer = vec![0; length];
        let pulled = source.pull(u64::from(offset), &mut buffer);
        let Some(client) = hub.client(id) else { return };
        match pulled {
            Pull::Bytes(count) => client.supply(id, offset, &buffer[..count.min(length)]),
            Pull::Pending => client.starve(id),
            Pull::Idle => client.idle(now, id),
            Pull::End => client.finish_source(id, offset),
        }
    }

    /// Says what is known of the vehicle now.
    pub fn publish<P: Copy + Ord + fmt::Debug>(&self, now: Instant, hub: &Hub<P>) {
        let Some(known) = hub.look(now, self.target) else { return };
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        // Another epoch is perhaps another vehicle's: who was there before is no longer believed.
        let anew = status.epoch != known.epoch;
        if anew || status.identity.is_none() || known.identity.is_some() {
            status.identity = known.identity.map(|identity| identity.to_string());
        }
        match (status.up, known.up) {
            (true, false) => {
                tracing::warn!(target = %self.target, "nothing is heard of it any more");
            }
            (false, true) => tracing::warn!(target = %self.target, "it is heard again"),
            (true, true) | (false, false) => {}
        }
        status.up = known.up;
        status.epoch = known.epoch;
        status.last_other = known.last_other;
        status.armed = known.restraint != Restraint::Free;
    }
}

fn with_client<P: Copy + Ord + fmt::Debug>(
    hub: &mut Hub<P>,
    id: OpId,
    act: impl FnOnce(&mut Client, RequestId),
) {
    let id = RequestId(id.0);
    if let Some(client) = hub.client(id) {
        act(client, id);
    }
}
