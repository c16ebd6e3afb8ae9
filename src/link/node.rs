//! A place in a MAVLink network: a link, frames, own ids. Must not know what an FTP payload means,
//! nor who is out there; that is for its users to remember.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::frames::{self, Frame, Signature, Splitter};
use super::guard::{Guard, Verdict};
use super::signing::Signing;
use super::{DATAGRAM_BYTES_MAX, Link, Peer, Waker};

pub use super::frames::Counters;
pub use super::message::Message;

/// Pieces without a frame after which [`Node::receive`] gives way to its caller.
const FRAMELESS_PIECES_MAX: u32 = 64;

/// Most frames that leave together: what the kernel takes as one run, and less than a far end that
/// works while we do should wait for.
const RUN_FRAMES_MAX: usize = 64;

/// A link seen as messages.
pub struct Node {
    link: Box<dyn Link>,
    own_system: u8,
    own_component: u8,
    sequence: u8,
    /// The frame that is being made.
    frame: Vec<u8>,
    outgoing: Run,
    buffer: Vec<u8>,
    datagrams: Splitter,
    streams: BTreeMap<Peer, Splitter>,
    /// What broken-off streams had counted.
    past: Counters,
    /// Who sent the piece that is being split.
    speaker: Peer,
    /// Where frames are signed, and only signed ones believed.
    guard: Option<Guard>,
}

/// A message and its sender.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Received {
    /// Where it came from, and where an answer goes.
    pub peer: Peer,
    /// The sender's system, as the frame says.
    pub system: u8,
    /// The sender's component, as the frame says.
    pub component: u8,
    /// What it says.
    pub message: Message,
}

impl Node {
    /// Speaks on `link` with these ids.
    pub fn new(link: Box<dyn Link>, own_system: u8, own_component: u8) -> Node {
        Node {
            link,
            own_system,
            own_component,
            sequence: 0,
            frame: Vec::with_capacity(frames::FRAME_BYTES_MAX),
            outgoing: Run::default(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            datagrams: Splitter::of_datagrams(),
            streams: BTreeMap::new(),
            past: Counters::default(),
            speaker: Peer::LINE,
            guard: None,
        }
    }

    /// The same with a key: every frame is signed, and those that are not signed with it are as good
    /// as not heard, but for an unsigned [`Message::RadioStatus`], because a telemetry radio has no key.
    ///
    /// # Errors
    /// All link ids are taken.
    pub fn signed(
        link: Box<dyn Link>,
        own_system: u8,
        own_component: u8,
        signing: &Signing,
    ) -> io::Result<Node> {
        let guard = Some(Guard::new(signing.signer()?));
        Ok(Node { guard, ..Node::new(link, own_system, own_component) })
    }

    /// What is sent to those who sign with our key and are behind our time, as one is that has no clock
    /// and was just started: a heartbeat takes their time along. Before that they cannot be heard, and
    /// somebody who is not heard would otherwise be told nothing.
    pub fn greet_with(&mut self, greeting: Message) {
        if let Some(guard) = &mut self.guard {
            guard.greet_with(greeting);
        }
    }

    /// The next message. `None`: the deadline passed, somebody woke this, or nothing but noise
    /// comes. With a deadline that has passed, only what is there already.
    pub fn receive(&mut self, deadline: Option<Instant>) -> io::Result<Option<Received>> {
        if let Some(received) = self.next_received() {
            return Ok(Some(received));
        }
        for _ in 0..FRAMELESS_PIECES_MAX {
            let Some((peer, length)) = self.link.receive(&mut self.buffer, deadline)? else {
                return Ok(None);
            };
            self.push(peer, length);
            if let Some(received) = self.next_received() {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// Sends to one peer, or to wherever the link goes by default ([`Link::send`]).
    /// [`Message::Other`] cannot be sent: [`io::ErrorKind::InvalidInput`].
    pub fn send(&mut self, to: Option<Peer>, message: &Message) -> io::Result<()> {
        self.queue(to, message)?;
        self.flush()
    }

    /// Like [`Node::send`], for who has more to send: the frame leaves with others, in order, and at
    /// the latest with the next [`Node::flush`].
    pub fn queue(&mut self, to: Option<Peer>, message: &Message) -> io::Result<()> {
        let from = [self.sequence, self.own_system, self.own_component];
        let signature = if self.guard.is_some() { Signature::Follows } else { Signature::None };
        self.frame.clear();
        frames::append(message, from, signature, &mut self.frame)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if let Some(guard) = &mut self.guard {
            guard.sign(&mut self.frame)?;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let fits = self.outgoing.has_room(to, self.frame.len());
        let flushed = if fits { Ok(()) } else { self.flush() };
        self.outgoing.push(to, &self.frame);
        flushed
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> io::Result<()> {
        let Run { to, bytes, each, .. } = &self.outgoing;
        if bytes.is_empty() {
            return Ok(());
        }
        let sent = self.link.send_run(*to, bytes, *each);
        self.outgoing.clear();
        sent
    }

    /// Makes [`Node::receive`] return from another thread.
    pub fn waker(&self) -> Waker {
        self.link.waker()
    }

    /// What has been seen on this link.
    pub fn counters(&self) -> Counters {
        let refused = self.guard.as_ref().map(Guard::refused).unwrap_or_default();
        let ended = self.past.plus(self.datagrams.counters()).plus(refused);
        self.streams.values().fold(ended, |sum, stream| sum.plus(stream.counters()))
    }

    /// Whether it has a key.
    pub fn is_signed(&self) -> bool {
        self.guard.is_some()
    }

    /// Where [`Node::send`] goes by default, if anywhere.
    pub fn default_peer(&self) -> Option<Peer> {
        self.link.default_peer()
    }

    /// The address others reach this at, where the link has one.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.link.local_address()
    }

    fn push(&mut self, peer: Peer, length: usize) {
        let piece = &self.buffer[..length.min(self.buffer.len())];
        self.speaker = peer;
        if !self.link.is_stream() {
            self.datagrams.push(piece);
        } else if piece.is_empty() {
            let ended = self.streams.remove(&peer);
            let counted = ended.map(|stream| stream.counters()).unwrap_or_default();
            self.past = self.past.plus(counted);
        } else {
            self.streams.entry(peer).or_insert_with(Splitter::of_stream).push(piece);
        }
    }

    fn next_received(&mut self) -> Option<Received> {
        loop {
            let splitter = if self.link.is_stream() {
                self.streams.get_mut(&self.speaker)?
            } else {
                &mut self.datagrams
            };
            let frame = splitter.next_frame()?;
            let verdict = match &mut self.guard {
                Some(guard) => guard.judge(self.speaker, &frame, splitter.frame_bytes()),
                None => Verdict::Heard,
            };
            match verdict {
                Verdict::Heard => {
                    let Frame { system, component, message, .. } = frame;
                    return Some(Received { peer: self.speaker, system, component, message });
                }
                Verdict::Ignored => {}
                Verdict::Greet => self.greet(),
            }
        }
    }

    /// Lets the one who speaks know our time.
    fn greet(&mut self) {
        let greeting = self.guard.as_mut().and_then(|guard| guard.greeting(Instant::now()));
        if let Some(greeting) = greeting
            && let Err(error) = self.send(Some(self.speaker), &greeting)
        {
            tracing::debug!(%error, "a frame could not be sent");
        }
    }
}

/// Frames to one peer that leave together: all of one length, but for the last, which may be
/// shorter.
#[derive(Default)]
struct Run {
    to: Option<Peer>,
    bytes: Vec<u8>,
    each: usize,
    frames: usize,
}

impl Run {
    /// Whether a frame may be added.
    fn has_room(&self, to: Option<Peer>, length: usize) -> bool {
        let ends_whole = self.bytes.len() == self.each * self.frames;
        let alike = self.to == to && length <= self.each && ends_whole;
        self.frames == 0 || (alike && self.frames < RUN_FRAMES_MAX)
    }

    fn push(&mut self, to: Option<Peer>, frame: &[u8]) {
        if self.frames == 0 {
            (self.to, self.each) = (to, frame.len());
        }
        self.bytes.extend_from_slice(frame);
        self.frames += 1;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.frames = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::udp::UdpLink;
    use super::*;
    use std::time::Duration;

    fn heartbeat() -> Message {
        Message::Heartbeat { vehicle_type: 0, autopilot: 8, base_mode: 0, system_status: 4 }
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(5))
    }

    /// Pieces handed out one by one; what is sent is kept.
    struct Script {
        pieces: Vec<Vec<u8>>,
        stream: bool,
    }

    impl Link for Script {
        fn receive(
            &mut self,
            buffer: &mut [u8],
            _: Option<Instant>,
        ) -> io::Result<Option<(Peer, usize)>> {
            if self.pieces.is_empty() {
                return Ok(None);
            }
            let piece = self.pieces.remove(0);
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(Some((Peer::LINE, piece.len())))
        }
        fn send(&mut self, _: Option<Peer>, bytes: &[u8]) -> io::Result<()> {
            self.pieces.push(bytes.to_vec());
            Ok(())
        }
        fn default_peer(&self) -> Option<Peer> {
            Some(Peer::LINE)
        }
        fn waker(&self) -> Waker {
            super::super::wait::Waiter::new().unwrap().waker()
        }
        fn is_stream(&self) -> bool {
            self.stream
        }
        fn local_address(&self) -> Option<SocketAddr> {
            None
        }
    }

    fn node(pieces: Vec<Vec<u8>>, stream: bool) -> Node {
        Node::new(Box::new(Script { pieces, stream }), 245, 191)
    }

    #[test]
    fn the_sequence_runs_on_and_our_ids_are_in_every_frame() {
        let mut node = node(Vec::new(), false);
        for sequence in 0..=256u16 {
            node.send(None, &heartbeat()).unwrap();
            node.link.receive(&mut node.buffer, None).unwrap();
            assert_eq!(node.buffer[4..7], [sequence as u8, 245, 191]);
        }
        assert!(node.send(None, &Message::Other(30)).is_err());
    }

    #[test]
    fn queued_frames_leave_in_order_whatever_their_length_and_peer() {
        let mut node = node(Vec::new(), false);
        let ack = |target_component| Message::CommandAck {
            command: 1,
            result: 0,
            target_system: 0,
            target_component,
        };
        // The second is shorter and so ends its run, the third is longer than that.
        let messages = [ack(1), ack(0), ack(1), heartbeat(), ack(1), ack(1)];
        for (at, message) in messages.iter().enumerate() {
            let to = (at == 5).then_some(Peer::LINE);
            node.queue(to, message).unwrap();
        }
        node.flush().unwrap();
        node.flush().unwrap();
        for message in messages {
            assert_eq!(node.receive(None).unwrap().unwrap().message, message);
        }
        assert_eq!(node.receive(None).unwrap(), None);
    }

    #[test]
    fn a_long_queue_leaves_by_itself() {
        let mut node = node(Vec::new(), false);
        for _ in 0..=RUN_FRAMES_MAX {
            node.queue(None, &heartbeat()).unwrap();
        }
        let heard = std::iter::from_fn(|| node.receive(None).unwrap()).count();
        assert_eq!(heard, RUN_FRAMES_MAX);
    }

    #[test]
    fn a_frame_may_cross_the_pieces_of_a_stream_but_not_a_break() {
        let frame = frames::encode(&heartbeat(), 1, 1, 0).unwrap();
        let (head, tail) = frame.split_at(9);
        let whole = vec![head.to_vec(), tail.to_vec()];
        assert_eq!(node(whole, true).receive(None).unwrap().unwrap().message, heartbeat());

        let broken = vec![head.to_vec(), Vec::new(), frame.clone(), frame.clone()];
        let mut broken = node(broken, true);
        assert!(broken.receive(None).unwrap().is_some());
        assert!(broken.receive(None).unwrap().is_some());
        assert_eq!((broken.counters().frames, broken.counters().garbage_bytes), (2, 0));
    }

    #[test]
    fn endless_noise_gives_way_to_the_caller() {
        let mut node = node(vec![b"noise".to_vec(); 200], false);
        assert_eq!(node.receive(None).unwrap(), None);
        assert!(node.counters().garbage_bytes > 0);
    }

    #[test]
    fn an_answer_goes_to_the_peer_that_asked() {
        let any = "127.0.0.1:0".parse().unwrap();
        let mut vehicle = Node::new(Box::new(UdpLink::listen(any).unwrap()), 1, 1);
        let there = vehicle.local_address().unwrap();
        let mut station = Node::new(Box::new(UdpLink::towards(there).unwrap()), 245, 191);
        station.send(None, &heartbeat()).unwrap();
        let heard = vehicle.receive(soon()).unwrap().unwrap();
        assert_eq!((heard.system, heard.component, heard.message), (245, 191, heartbeat()));
        vehicle.send(Some(heard.peer), &heartbeat()).unwrap();
        let answer = station.receive(soon()).unwrap().unwrap();
        assert_eq!((answer.peer, answer.system), (Peer::from(there), 1));
    }
}
