//! Our hub among liars, in virtual time: frames whose check is right and whose content is anything,
//! from anywhere. Nothing panics, every request ends once, and only what was asked for is delivered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mavftp_mount::mavftp::client::{Class, Error, Event, Op, Reply, RequestId, Restraint};
use mavftp_mount::mavftp::hub::{
    Frame, Heartbeat, Hub, HubOutput, Identity, Incoming, Options, Target,
};
use mavftp_mount::mavftp::wire::{Opcode, Payload};

use crate::for_seeds;
use crate::network::Random;
use crate::world::{PATIENCE, TARGET};

/// Where the vehicle is; every other address is a stranger's.
const HOME: u8 = 7;
const ROUNDS: u32 = 400;
/// Requests remembered, to be answered wrongly.
const REMEMBERED: usize = 64;
/// Outputs of one moment; a hub that wants more than this at once wants more without end.
const OUTPUTS_MAX: u32 = 50_000;
/// The longest patience there is, a checksum's, and some more.
const ALL_PATIENCE: Duration = Duration::from_secs(70);
/// Until what was open is given up, at the round trips that liars pretend.
const FAREWELLS: Duration = Duration::from_secs(600);

struct Liars {
    now: Instant,
    hub: Hub<u8>,
    random: Random,
    sent: Vec<Payload>,
    ids: u64,
    /// The range asked for, where a request is a read.
    asked: BTreeMap<RequestId, Option<(u32, u32)>>,
    ended: BTreeMap<RequestId, Result<Reply, Error>>,
}

impl Liars {
    fn new(seed: u64) -> Liars {
        let now = Instant::now();
        let link_timeout = Duration::from_secs(5);
        let options = Options {
            own_system: 245,
            own_component: 191,
            link_timeout,
            seed,
            rate_limit: None,
            when_armed: Restraint::Limited,
            loss_patience: Duration::ZERO,
        };
        let mut liars = Liars {
            now,
            hub: Hub::new(now, options),
            random: Random::new(seed),
            sent: Vec::new(),
            ids: 0,
            asked: BTreeMap::new(),
            ended: BTreeMap::new(),
        };
        liars.beat(HOME, TARGET);
        liars
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len() as u64) as usize]
    }

    fn beat(&mut self, from: u8, source: Target) {
        let heartbeat = Heartbeat {
            vehicle_type: self.pick(&[2, 6, 18, 255]),
            autopilot: self.pick(&[3, 8, 12]),
            base_mode: self.pick(&[0, 0, 0, 128]),
        };
        self.hub.receive(self.now, from, source, Incoming::Heartbeat(heartbeat));
    }

    /// Something is asked for.
    fn ask(&mut self) {
        let path = self.pick(&["/a", "/b", "/d/c", "@SYS/x", "/"]).as_bytes().to_vec();
        let (offset, length) = (self.random.next() as u32, self.random.next() as u32);
        let (offset, length) = self.pick(&[(0, 5000), (0, u32::MAX), (offset, length)]);
        let mut range = None;
        let op = match self.random.below(10) {
            0 | 1 => Op::List { path },
            2..=4 => {
                range = Some((offset, length));
                let expected = self.pick(&[None, Some(0), Some(5000), Some(u32::MAX)]);
                Op::Read { path, offset, length, expected }
            }
            5 => Op::Size { path },
            6 => Op::Write { path, append: self.pick(&[None, Some(0), Some(u32::MAX)]) },
            7 => Op::Rename { from: path, to: b"/to".to_vec() },
            8 => Op::Checksum { path },
            _ => Op::Truncate { path, length },
        };
        let class = self.pick(&[Class::Metadata, Class::Demand, Class::Write, Class::ReadAhead]);
        self.ids += 1;
        let id = RequestId(self.ids);
        self.asked.insert(id, range);
        self.hub.request(self.now, TARGET, id, op, class, PATIENCE);
    }

    /// An answer to something that was sent, right but for what is changed in it; or anything.
    fn answer(&mut self) -> Payload {
        let request = match self.sent.is_empty() || self.chance(10) {
            true => Payload::request(self.pick(&Opcode::ALL)),
            false => self.sent[self.random.below(self.sent.len() as u64) as usize],
        };
        let any = self.random.next();
        let data = match self.random.below(5) {
            0 => self.random.bytes((any % 240) as usize),
            1 => (any as u32).to_le_bytes().to_vec(),
            2 => 5000u32.to_le_bytes().to_vec(),
            3 => b"Fa\t1\0D..\0F\t\0\0S\0F../b\t99999999999999999999\0Dd\t1\t2\0".to_vec(),
            _ => vec![(any >> 8) as u8 % 12, (any >> 16) as u8],
        };
        let mut answer = Payload::ack(&request).with_data(&data);
        if request.opcode == Opcode::ReadFile as u8 && self.chance(60) {
            answer = Payload::ack(&request).with_data(&vec![1; usize::from(request.size).max(1)]);
        }
        if self.chance(30) {
            answer.opcode = Opcode::Nak as u8;
        }
        match self.random.below(16) {
            0 => answer.sequence = any as u16,
            1 => answer.session = any as u8,
            2 => answer.offset = any as u32,
            3 => answer.req_opcode = any as u8,
            4 => answer.size = any as u8,
            5 => answer.opcode = any as u8,
            _ => {}
        }
        answer
    }

    /// A frame comes from somewhere.
    fn lie(&mut self) {
        let anybody =
            Target { system: self.random.below(4) as u8, component: self.random.below(4) as u8 };
        let source = if self.chance(90) { TARGET } else { anybody };
        let from = if self.chance(90) { HOME } else { self.random.next() as u8 };
        match self.random.below(20) {
            0 => self.beat(from, source),
            1 => {
                let uid = self.random.below(3);
                let identity = Identity { uid, uid2: [0; 18] };
                self.hub.receive(self.now, from, source, Incoming::Identity(identity));
            }
            2 => self.hub.receive(self.now, from, source, Incoming::Other),
            _ => {
                let payload = self.answer().encode();
                let (target_system, target_component) =
                    self.pick(&[(245, 191), (245, 191), (0, 0), (245, 1), (9, 9)]);
                let ftp = Incoming::Ftp { target_system, target_component, payload };
                self.hub.receive(self.now, from, source, ftp);
            }
        }
    }

    /// Does what the hub wants now; answers when it wants to be asked again.
    fn drain(&mut self) -> Instant {
        for _ in 0..OUTPUTS_MAX {
            match self.hub.poll(self.now) {
                HubOutput::Send(to, Frame::Ftp(_, payload)) => {
                    assert_eq!(to, Some(HOME), "a request was sent to a stranger");
                    self.sent.push(payload);
                    if self.sent.len() > REMEMBERED {
                        self.sent.remove(0);
                    }
                }
                HubOutput::Send(_, Frame::Heartbeat | Frame::AskIdentity(_)) => {}
                HubOutput::Event(event) => self.take(event),
                HubOutput::Wait(Some(at)) => {
                    assert!(at > self.now, "the hub asks to be polled for ever");
                    return at;
                }
                HubOutput::Wait(None) => panic!("the hub would never beat again"),
            }
        }
        panic!("the hub does not come to rest");
    }

    /// Nothing comes any more.
    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.drain();
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Data(id, offset, payload, count) => {
                let (start, length) = self.asked[&id].expect("data for what is no read");
                assert!(count.end <= payload.data().len(), "more data than there is");
                assert!(offset >= start, "data from before the range");
                let end = u64::from(start) + u64::from(length);
                assert!(
                    u64::from(offset) + count.len() as u64 <= end,
                    "data from behind the range"
                );
            }
            Event::Want(id, offset, length) => {
                let bytes = self.random.bytes(length.min(1000) as usize);
                let Some(client) = self.hub.client(id) else { return };
                match offset.is_multiple_of(3) {
                    true => client.supply(id, offset, &bytes),
                    false => client.finish_source(id, offset),
                }
            }
            Event::Done(id, result) => {
                assert!(self.ended.insert(id, result).is_none(), "{id:?} ended twice");
            }
            Event::Opened(..) | Event::Page(..) | Event::Acknowledged(..) => {}
        }
    }
}

#[test]
fn no_lie_stops_the_hub_and_every_request_ends() {
    for_seeds(0..300, |seed| {
        let mut liars = Liars::new(seed);
        for _ in 0..ROUNDS {
            if liars.chance(8) {
                liars.ask();
            }
            for _ in 0..liars.random.below(6) {
                liars.lie();
            }
            let wake = liars.drain();
            let pause = Duration::from_millis(liars.random.below(300));
            liars.now = wake.min(liars.now + pause).max(liars.now);
        }
        liars.run_for(ALL_PATIENCE);
        for id in liars.asked.keys() {
            assert!(liars.ended.contains_key(id), "{id:?} never ended");
        }
        liars.run_for(FAREWELLS);
        assert!(!liars.hub.holds_sessions(), "a session is left open");
    });
}

/// A server that never says a word about opening `/mute`, and serves any other file of five bytes.
fn answer_all_but_mute(liars: &mut Liars) {
    for request in std::mem::take(&mut liars.sent) {
        let answer = Payload::ack(&request);
        let payload = match request.command() {
            Some(Opcode::OpenFileRo) if request.data() == b"/mute" => continue,
            Some(Opcode::OpenFileRo) => answer.with_data(&5u32.to_le_bytes()),
            Some(Opcode::ReadFile) => answer.with_data(b"bytes"),
            _ => answer,
        };
        let payload = payload.encode();
        let ftp = Incoming::Ftp { target_system: 245, target_component: 191, payload };
        liars.hub.receive(liars.now, HOME, TARGET, ftp);
    }
}

#[test]
fn a_file_whose_opening_is_never_answered_does_not_keep_others_from_theirs() {
    let mut liars = Liars::new(1);
    for (number, path) in [(1, &b"/mute"[..]), (2, b"/good")] {
        let (id, path) = (RequestId(number), path.to_vec());
        liars.asked.insert(id, Some((0, 5)));
        let read = Op::Read { path, offset: 0, length: 5, expected: None };
        liars.hub.request(liars.now, TARGET, id, read, Class::Demand, PATIENCE);
    }
    let end = liars.now + ALL_PATIENCE;
    while liars.now < end {
        liars.now = liars.drain();
        answer_all_but_mute(&mut liars);
    }
    assert_eq!(liars.ended[&RequestId(2)], Ok(Reply::Size(5)));
    assert_eq!(liars.ended[&RequestId(1)], Err(Error::TimedOut));
    assert!(!liars.hub.holds_sessions(), "the opening is repeated for ever");
}
