//! Tests of signing: against pymavlink's frames, and against everything that was changed in one.

use super::super::message::tests::any_message;
use super::super::{Link, Peer, Waker, frames, node};
use super::*;
use crate::link::node::{Message, Node};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::MutexGuard;

const KEY: [u8; KEY_BYTES] = *b"The key of these tests, 32 bytes";
/// 2026-01-01, where the clocks of these tests stand.
const NOW: u64 = 34_715_520_000_000;

/// A key in use with a clock that stands and nothing on the disk, apart from the process's own.
pub(in crate::link) fn apart(key: [u8; KEY_BYTES], wall: fn() -> u64) -> Signing {
    let clock = Clock::by(Instant::now(), wall);
    Signing::by(SigningKey::from(key), Arc::new(Keeper { clock, store: Store::at(None) }))
}

fn ours() -> Signing {
    apart(KEY, || NOW)
}

/// A line whose far end is the test.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    to_us: VecDeque<Vec<u8>>,
    from_us: Vec<Vec<u8>>,
}

impl Wire {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap()
    }

    fn sent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.ends().from_us)
    }
}

impl Link for Wire {
    fn receive(
        &mut self,
        buffer: &mut [u8],
        _: Option<Instant>,
    ) -> io::Result<Option<(Peer, usize)>> {
        let Some(piece) = self.ends().to_us.pop_front() else { return Ok(None) };
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(Some((Peer::LINE, piece.len())))
    }
    fn send(&mut self, _: Option<Peer>, bytes: &[u8]) -> io::Result<()> {
        self.ends().from_us.push(bytes.to_vec());
        Ok(())
    }
    fn default_peer(&self) -> Option<Peer> {
        Some(Peer::LINE)
    }
    fn waker(&self) -> Waker {
        super::super::wait::Waiter::new().unwrap().waker()
    }
    fn is_stream(&self) -> bool {
        false
    }
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }
}

/// A node with a key, and the other end of its wire.
struct Bench {
    node: Node,
    wire: Wire,
}

impl Bench {
    fn new(signing: &Signing) -> Bench {
        let wire = Wire::default();
        let node = Node::signed(Box::new(wire.clone()), 1, 191, signing).unwrap();
        Bench { node, wire }
    }

    fn heard(&mut self, datagram: &[u8]) -> Vec<Message> {
        self.wire.ends().to_us.push_back(datagram.to_vec());
        std::iter::from_fn(|| self.node.receive(None).unwrap()).map(|heard| heard.message).collect()
    }

    fn frame(&mut self, message: &Message) -> Vec<u8> {
        self.node.send(None, message).unwrap();
        self.wire.sent().remove(0)
    }
}

fn heartbeat() -> Message {
    Message::Heartbeat { vehicle_type: 2, autopilot: 12, base_mode: 81, system_status: 4 }
}

fn radio() -> Message {
    Message::RadioStatus {
        rssi: 1,
        remrssi: 2,
        txbuf: 3,
        noise: 4,
        remnoise: 5,
        rxerrors: 6,
        fixed: 7,
    }
}

/// Puts another timestamp into a signed frame, and signs it anew.
fn at(signing: &Signing, frame: &[u8], timestamp: u64) -> Vec<u8> {
    let mut frame = frame[..frame.len() - TIMESTAMP_BYTES - HASH_BYTES].to_vec();
    frame.extend_from_slice(&timestamp.to_le_bytes()[..TIMESTAMP_BYTES]);
    let hash = signing.hash(&frame);
    frame.extend_from_slice(&hash);
    frame
}

/// What pymavlink 2.4.50 made with this key: a heartbeat, a COMMAND_ACK and an ATTITUDE (which we
/// cannot read) of system 1, component 1, on link 7, from the timestamp [`NOW`] on.
const BY_PYMAVLINK: [&str; 3] = [
    "fd09010000010100000000000000020c510403fc8c0700e03cd6921f41e320ce0a91",
    "fd0201000101014d00000002dde30701e03cd6921fc23943fa3381",
    "fd1c01000201011e0000010000000000004000004040000080400000a0400000c0400000e040656e0702e03cd6921f317d570a88db",
];

fn bytes(digits: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(pair).collect()
}

#[test]
fn frames_that_pymavlink_signed_are_believed() {
    let mut bench = Bench::new(&ours());
    let datagram = BY_PYMAVLINK.map(bytes).concat();
    let ack =
        Message::CommandAck { command: 512, result: 0, target_system: 0, target_component: 0 };
    assert_eq!(bench.heard(&datagram), [heartbeat(), ack, Message::Other(30)]);
    assert_eq!(bench.heard(&datagram), [], "they were heard before");
    let counters = bench.node.counters();
    assert_eq!((counters.stale, counters.unsigned, counters.wrong_key), (3, 0, 0));
}

#[test]
fn our_frames_are_those_that_pymavlink_signs() {
    let signing = ours();
    let wanted = bytes(BY_PYMAVLINK[0]);
    let wire = Wire::default();
    let mut node = Node::signed(Box::new(wire.clone()), 1, 1, &signing).unwrap();
    node.send(None, &heartbeat()).unwrap();
    let ours = wire.sent().remove(0);
    let (head, block) = wanted.split_at(ours.len() - SIGNATURE_BYTES);
    assert_eq!(&ours[..head.len()], head);
    // The same but for the link and the time.
    let unsigned = [head, &[block[0]], &[0; SIGNATURE_BYTES - 1]].concat();
    assert_eq!(at(&signing, &unsigned, NOW), wanted);
}

#[test]
fn everything_that_is_sent_is_signed_and_later_than_what_was_sent_before() {
    let signing = ours();
    let (mut one, mut other) = (Bench::new(&signing), Bench::new(&signing));
    let mut last = 0;
    for _ in 0..100 {
        for bench in [&mut one, &mut other] {
            let frame = bench.frame(&heartbeat());
            let (_, block) = frame.split_last_chunk::<SIGNATURE_BYTES>().unwrap();
            let [_, a, b, c, d, e, f, ..] = *block;
            let timestamp = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
            assert_eq!(frame[2], 1, "the flag");
            assert!(timestamp > last && timestamp - NOW < clock::seconds(60));
            last = timestamp;
        }
    }
}

#[test]
fn links_have_ids_of_their_own_as_long_as_they_live() {
    let signing = ours();
    let id = |frame: Vec<u8>| frame[frame.len() - SIGNATURE_BYTES];
    let (mut one, mut other) = (Bench::new(&signing), Bench::new(&signing));
    assert_eq!((id(one.frame(&heartbeat())), id(other.frame(&heartbeat()))), (0, 1));
    drop(one);
    assert_eq!(id(Bench::new(&signing).frame(&heartbeat())), 0);
}

#[test]
fn a_run_of_queued_frames_is_signed_one_by_one() {
    let signing = ours();
    let mut bench = Bench::new(&signing);
    for _ in 0..5 {
        bench.node.queue(None, &heartbeat()).unwrap();
    }
    bench.node.flush().unwrap();
    let frames = bench.wire.sent();
    let mut listener = Bench::new(&apart(KEY, || NOW));
    let heard: usize = frames.iter().map(|frame| listener.heard(frame).len()).sum();
    assert_eq!((frames.len(), heard), (5, 5));
}

#[test]
fn what_is_not_signed_or_with_another_key_is_not_heard() {
    let mut bench = Bench::new(&ours());
    let mut stranger = Bench::new(&apart([7; KEY_BYTES], || NOW));
    let unsigned = frames::encode(&heartbeat(), 1, 1, 0).unwrap();
    assert_eq!(bench.heard(&unsigned), []);
    assert_eq!(bench.heard(&stranger.frame(&heartbeat())), []);
    let mut first_version = vec![0xFE, 9, 0, 5, 6, 0, 0, 0, 0, 0, 2, 3, 81, 4, 3];
    let check = mavlink::calculate_crc(&first_version[1..], 50);
    first_version.extend_from_slice(&check.to_le_bytes());
    assert_eq!(bench.heard(&first_version), []);
    let counters = bench.node.counters();
    assert_eq!((counters.unsigned, counters.wrong_key, counters.frames), (2, 1, 3));
}

/// > Only an unsigned RADIO_STATUS is taken, because telemetry radios have no key; it changes how fast is
/// > sent, and nothing else.
#[test]
fn an_unsigned_radio_is_heard_and_one_with_a_wrong_signature_is_not() {
    let mut bench = Bench::new(&ours());
    let unsigned = frames::encode(&radio(), 51, 68, 0).unwrap();
    assert_eq!(bench.heard(&unsigned), [radio()]);
    let mut stranger = Bench::new(&apart([7; KEY_BYTES], || NOW));
    assert_eq!(bench.heard(&stranger.frame(&radio())), []);
}

#[test]
fn an_older_time_is_refused_and_a_new_stream_may_be_a_minute_behind() {
    let signing = ours();
    let frame = Bench::new(&ours()).frame(&heartbeat());
    let mut bench = Bench::new(&signing);
    let late = at(&signing, &frame, NOW - clock::seconds(61));
    assert_eq!(bench.heard(&late), []);
    let in_time = at(&signing, &frame, NOW - clock::seconds(59));
    assert_eq!(bench.heard(&in_time), [heartbeat()]);
    assert_eq!(bench.heard(&in_time), []);
    assert_eq!(bench.heard(&at(&signing, &frame, NOW - clock::seconds(58))), [heartbeat()]);
    assert_eq!(bench.node.counters().stale, 2);
}

#[test]
fn whoever_is_behind_is_told_our_time_once_a_second() {
    let signing = ours();
    let mut bench = Bench::new(&signing);
    let frame = Bench::new(&ours()).frame(&heartbeat());
    let late = at(&signing, &frame, NOW - clock::seconds(3600));
    assert_eq!(bench.heard(&late), []);
    assert_eq!(bench.wire.sent().len(), 0, "nothing to say yet");
    bench.node.greet_with(radio());
    for _ in 0..10 {
        assert_eq!(bench.heard(&late), []);
    }
    let told = bench.wire.sent();
    assert_eq!(told.len(), 1);
    let mut vehicle = Bench::new(&apart(KEY, || NOW - clock::seconds(3600)));
    assert_eq!(vehicle.heard(&told[0]), [radio()]);
    assert_eq!(bench.heard(&vehicle.frame(&heartbeat())), [heartbeat()]);
    let stranger = Bench::new(&apart([7; KEY_BYTES], || NOW)).frame(&heartbeat());
    bench.heard(&stranger);
    assert_eq!(bench.wire.sent().len(), 0);
}

#[test]
fn whoever_is_ahead_of_us_is_followed() {
    let signing = ours();
    let mut bench = Bench::new(&signing);
    let ahead = at(&signing, &Bench::new(&ours()).frame(&heartbeat()), NOW * 2);
    assert_eq!(bench.heard(&ahead), [heartbeat()]);
    let answer = bench.frame(&heartbeat());
    let mut there = Bench::new(&apart(KEY, || NOW * 2));
    assert_eq!(there.heard(&answer), [heartbeat()]);
}

/// > A frame that is recorded and sent again is ignored, on this link and on every other link of the same
/// > server.
#[test]
fn what_was_heard_on_one_link_is_a_repetition_on_another() {
    let signing = ours();
    let frame = Bench::new(&ours()).frame(&heartbeat());
    let (mut one, mut other) = (Bench::new(&signing), Bench::new(&signing));
    assert_eq!(one.heard(&frame), [heartbeat()]);
    assert_eq!(other.heard(&frame), []);
}

#[test]
fn after_a_restart_with_a_clock_that_went_back_nothing_old_is_believed_or_sent() {
    let directory = tempfile::tempdir().unwrap();
    let run = |wall: fn() -> u64| {
        let clock = Clock::by(Instant::now(), wall);
        let store = Store::at(Some(directory.path().to_owned()));
        Signing::by(SigningKey::from(KEY), Arc::new(Keeper { clock, store }))
    };
    let mut peer = Bench::new(&apart(KEY, || NOW));
    let recorded = peer.frame(&heartbeat());
    let mut first = Bench::new(&run(|| NOW + clock::seconds(3600)));
    let sent = first.frame(&heartbeat());
    assert_eq!(Bench::new(&apart(KEY, || NOW)).heard(&sent), [heartbeat()]);
    drop(first);
    let mut second = Bench::new(&run(|| NOW));
    assert_eq!(second.heard(&recorded), []);
    let mut listener = Bench::new(&apart(KEY, || NOW));
    assert_eq!(listener.heard(&sent), [heartbeat()]);
    assert_eq!(listener.heard(&second.frame(&heartbeat())), [heartbeat()], "the same stream");
}

/// > Without a key nothing is signed; signed frames are read, and their signatures not looked at.
#[test]
fn without_a_key_signatures_are_not_looked_at() {
    let wire = Wire::default();
    let mut node = Node::new(Box::new(wire.clone()), 1, 191);
    let mut stranger = Bench::new(&apart([7; KEY_BYTES], || NOW));
    let frame = stranger.frame(&heartbeat());
    wire.ends().to_us.extend([frame.clone(), frame]);
    let heard = std::iter::from_fn(|| node.receive(None).unwrap()).count();
    node.send(None, &heartbeat()).unwrap();
    assert_eq!(wire.sent(), [frames::encode(&heartbeat(), 1, 191, 0).unwrap()]);
    assert_eq!(
        (heard, node.counters()),
        (2, node::Counters { frames: 2, signed: 2, ..Default::default() })
    );
}

#[test]
fn strangers_leave_no_stream_behind() {
    let signing = ours();
    let mut bench = Bench::new(&signing);
    let frame = Bench::new(&apart([7; KEY_BYTES], || NOW)).frame(&heartbeat());
    for n in 0..=u8::MAX {
        let mut frame = frame.clone();
        (frame[5], frame[6]) = (n, n);
        let end = frame.len() - SIGNATURE_BYTES - 2;
        let check = mavlink::calculate_crc(&frame[1..end], 50);
        frame[end..end + 2].copy_from_slice(&check.to_le_bytes());
        assert_eq!(bench.heard(&frame), []);
    }
    assert_eq!(bench.node.counters().wrong_key, 256);
    assert_eq!(format!("{:?}", signing.0.streams.lock().unwrap()), "Streams({})");
}

proptest! {
    #[test]
    fn what_is_signed_arrives(messages in proptest::collection::vec(any_message(), 1..5)) {
        let (mut sender, mut listener) = (Bench::new(&ours()), Bench::new(&ours()));
        let datagram: Vec<u8> =
            messages.iter().flat_map(|message| sender.frame(message)).collect();
        prop_assert!(listener.heard(&datagram) == messages);
    }

    #[test]
    fn no_bit_of_a_signed_frame_can_be_changed(message in any_message(), at: proptest::sample::Index) {
        // A radio needs no signature: without the flag it is heard.
        prop_assume!(!matches!(message, Message::RadioStatus { .. }));
        let (mut sender, mut listener) = (Bench::new(&ours()), Bench::new(&ours()));
        let mut frame = sender.frame(&message);
        let bit = at.index(frame.len() * 8);
        frame[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(listener.heard(&frame), []);
        frame[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(listener.heard(&frame).len(), 1);
    }

    #[test]
    fn no_signed_frame_can_be_cut(message in any_message(), at: proptest::sample::Index) {
        let (mut sender, mut listener) = (Bench::new(&ours()), Bench::new(&ours()));
        let frame = sender.frame(&message);
        prop_assert_eq!(listener.heard(&frame[..at.index(frame.len())]), []);
    }

    #[test]
    fn arbitrary_bytes_behind_a_frame_sign_nothing(
        message in any_message(), block in any::<[u8; SIGNATURE_BYTES]>(),
    ) {
        let (mut sender, mut listener) = (Bench::new(&ours()), Bench::new(&ours()));
        let mut frame = sender.frame(&message);
        let start = frame.len() - SIGNATURE_BYTES;
        frame[start..].copy_from_slice(&block);
        prop_assert_eq!(listener.heard(&frame), []);
    }
}
