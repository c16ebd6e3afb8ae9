//! Finds MAVLink frames in datagrams and streams, and makes frames. Must not know sockets, nor
//! what a message means.
//!
//! Not the reader of the `mavlink` crate: that one stalls after a message it does not know, and
//! carries half a frame from one datagram to the next. Source: MAVLink guide, "Serialization".

use super::check::check;
use super::message::{Message, PAYLOAD_BYTES_MAX, check_byte};
use super::signing::SIGNATURE_BYTES;

/// Most bytes in a frame: a signed one of MAVLink 2.
pub const FRAME_BYTES_MAX: usize =
    V2_HEADER_BYTES + PAYLOAD_BYTES_MAX + CHECK_BYTES + SIGNATURE_BYTES;

const V1_START: u8 = 0xFE;
const V2_START: u8 = 0xFD;
const V1_HEADER_BYTES: usize = 6;
const V2_HEADER_BYTES: usize = 10;
const CHECK_BYTES: usize = 2;
/// The incompatibility flag of a signed frame.
const SIGNED: u8 = 1;

/// Zeros taken off a payload at once.
const ZEROS_STEP: usize = 16;

/// Starts with a wrong check in one datagram after which the rest of it is garbage: each costs the
/// check of a whole frame, and a large datagram can be made of nothing else.
const WRONG_STARTS_MAX: u32 = 64;

/// Bytes a stream's splitter holds at most: a frame, the byte after it, and one large piece.
const HELD_BYTES_MAX: usize = 4 * super::DATAGRAM_BYTES_MAX;

/// A frame that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Sender.
    pub system: u8,
    /// Sender's component.
    pub component: u8,
    /// What it says.
    pub message: Message,
    /// Whether it carries a signature, which is not checked here.
    pub signed: bool,
}

/// What has been seen, for `status` and for diagnosing a bad line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Frames of messages this program reads, their check right.
    pub frames: u64,
    /// Of these and the foreign ones, frames in MAVLink 1.
    pub version_1: u64,
    /// Of these and the foreign ones, signed frames, whoever signed them.
    pub signed: u64,
    /// Frames of other messages; their check cannot be computed.
    pub foreign: u64,
    /// Frames with flags that change the format in a way not known here.
    pub incompatible: u64,
    /// Starts of frames whose check was wrong: damage, or no frame at all.
    pub bad_check: u64,
    /// Starts of frames that went on past the end of their datagram.
    pub truncated: u64,
    /// Bytes that belong to no frame.
    pub garbage_bytes: u64,
    /// Where only signed frames are believed: frames without a signature.
    pub unsigned: u64,
    /// The same: frames with a signature that is not of our key.
    pub wrong_key: u64,
    /// The same: signed with our key, but heard before, or too old for a new sender.
    pub stale: u64,
}

impl Counters {
    /// The sum of two.
    pub fn plus(self, other: Counters) -> Counters {
        Counters {
            frames: self.frames + other.frames,
            version_1: self.version_1 + other.version_1,
            signed: self.signed + other.signed,
            foreign: self.foreign + other.foreign,
            incompatible: self.incompatible + other.incompatible,
            bad_check: self.bad_check + other.bad_check,
            truncated: self.truncated + other.truncated,
            garbage_bytes: self.garbage_bytes + other.garbage_bytes,
            unsigned: self.unsigned + other.unsigned,
            wrong_key: self.wrong_key + other.wrong_key,
            stale: self.stale + other.stale,
        }
    }
}

/// Takes bytes, gives frames.
#[derive(Debug)]
pub struct Splitter {
    /// Whether frames may cross pieces.
    stream: bool,
    bytes: Vec<u8>,
    at: usize,
    /// Bytes before `at` that the last frame had.
    given: usize,
    /// Starts with a wrong check in this piece.
    wrong_starts: u32,
    counters: Counters,
}

impl Splitter {
    /// For datagrams: each stands alone, so that a damaged one costs nothing but itself.
    pub fn of_datagrams() -> Splitter {
        let counters = Counters::default();
        Splitter { stream: false, bytes: Vec::new(), at: 0, given: 0, wrong_starts: 0, counters }
    }

    /// For one stream, cut anywhere.
    pub fn of_stream() -> Splitter {
        Splitter { stream: true, ..Splitter::of_datagrams() }
    }

    /// Takes the next piece. What [`Splitter::next_frame`] has not given of a datagram is dropped.
    pub fn push(&mut self, piece: &[u8]) {
        let done = if self.stream { self.at } else { self.bytes.len() };
        self.bytes.drain(..done);
        (self.at, self.given) = (0, 0);
        self.wrong_starts = 0;
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > HELD_BYTES_MAX {
            // Only a caller that does not take its frames gets here.
            self.skip_garbage(self.bytes.len() - HELD_BYTES_MAX);
        }
    }

    /// The next frame; `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.given = 0;
        while self.at < self.bytes.len() {
            match self.step() {
                Step::Found(header) => return Some(self.take(&header)),
                Step::Skip(length) => self.skip_garbage(length),
                Step::Drop(length) => self.at += length,
                Step::Wait => return None,
            }
        }
        None
    }

    /// The bytes of the frame that [`Splitter::next_frame`] gave last, until it is called again.
    pub fn frame_bytes(&self) -> &[u8] {
        &self.bytes[self.at - self.given..self.at]
    }

    /// What has been seen so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn skip_garbage(&mut self, length: usize) {
        self.counters.garbage_bytes += length as u64;
        self.at += length;
    }

    /// Judges what stands at `self.at`, which is inside.
    fn step(&mut self) -> Step {
        let bytes = &self.bytes[self.at..];
        let start = bytes.iter().position(|byte| matches!(*byte, V1_START | V2_START));
        match start {
            Some(0) => {}
            Some(garbage) => return Step::Skip(garbage),
            None => return Step::Skip(bytes.len()),
        }
        let Some(header) = Header::read(bytes) else { return self.too_short() };
        let Some(whole) = bytes.get(..header.frame_bytes()) else { return self.too_short() };
        match check_byte(header.id) {
            _ if header.incompatible => self.pass(header),
            None => self.pass(header),
            Some(extra) if header.check_is_right(whole, extra) => {
                self.counters.frames += 1;
                Step::Found(header)
            }
            Some(_) => {
                self.counters.bad_check += 1;
                self.wrong_starts += 1;
                let hopeless = !self.stream && self.wrong_starts >= WRONG_STARTS_MAX;
                Step::Skip(if hopeless { self.bytes.len() - self.at } else { 1 })
            }
        }
    }

    /// The bytes end inside a frame: on a stream more may come, in a datagram not.
    fn too_short(&mut self) -> Step {
        if self.stream {
            return Step::Wait;
        }
        self.counters.truncated += 1;
        Step::Skip(1)
    }

    /// A whole frame that cannot be checked is believed when another one, or the end of the
    /// datagram, follows it; else its start was none. A stream waits for the byte that follows, so
    /// that the result does not depend on where it was cut.
    fn pass(&mut self, header: Header) -> Step {
        match self.bytes.get(self.at + header.frame_bytes()) {
            Some(&(V1_START | V2_START)) => {}
            Some(_) => return Step::Skip(1),
            None if self.stream => return Step::Wait,
            None => {}
        }
        if header.incompatible {
            self.counters.incompatible += 1;
            return Step::Drop(header.frame_bytes());
        }
        self.counters.foreign += 1;
        Step::Found(header)
    }

    /// Reads the frame at `self.at`, which is whole.
    fn take(&mut self, header: &Header) -> Frame {
        self.counters.version_1 += u64::from(header.version_1);
        self.counters.signed += u64::from(header.signed);
        let message = Message::decode(header.id, header.payload(&self.bytes[self.at..]));
        self.given = header.frame_bytes();
        self.at += self.given;
        let Header { system, component, signed, .. } = *header;
        Frame { system, component, message, signed }
    }
}

/// A frame of MAVLink 2, unsigned, trailing zeros cut off; `None` for [`Message::Other`].
pub fn encode(message: &Message, system: u8, component: u8, sequence: u8) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    append(message, [sequence, system, component], Signature::None, &mut frame)?;
    Some(frame)
}

/// What follows a frame's check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// Nothing.
    None,
    /// A signature, which the caller appends: it covers the rest.
    Follows,
}

/// Appends what [`encode`] makes to bytes that are there, from this sequence number, system and
/// component; returns its length.
pub fn append(
    message: &Message,
    from: [u8; 3],
    signature: Signature,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let (payload, length) = message.encode()?;
    let check_byte = check_byte(message.id())?;
    let length = without_trailing_zeros(&payload[..length]);
    let start = out.len();
    let [id_low, id_middle, id_high, _] = message.id().to_le_bytes();
    // At most PAYLOAD_BYTES_MAX, which a byte holds.
    let flags = match signature {
        Signature::None => 0,
        Signature::Follows => SIGNED,
    };
    out.extend_from_slice(&[V2_START, length as u8, flags, 0]);
    out.extend_from_slice(&from);
    out.extend_from_slice(&[id_low, id_middle, id_high]);
    out.extend_from_slice(&payload[..length]);
    let check = check(&out[start + 1..], check_byte);
    out.extend_from_slice(&check.to_le_bytes());
    Some(out.len() - start)
}

/// The length without trailing zeros; of nothing but zeros one stays. A request is mostly zeros, so
/// they go in large steps first.
fn without_trailing_zeros(payload: &[u8]) -> usize {
    let mut rest = payload;
    while let Some((before, last)) = rest.split_last_chunk()
        && *last == [0; ZEROS_STEP]
    {
        rest = before;
    }
    mavlink::utils::remove_trailing_zeroes(rest).max(1)
}

/// What to do with the bytes at hand.
enum Step {
    /// A whole frame that begins so.
    Found(Header),
    /// So many bytes are no frame.
    Skip(usize),
    /// So many bytes are a frame that nobody can read.
    Drop(usize),
    /// More bytes are needed.
    Wait,
}

/// The beginning of a frame, unchecked.
struct Header {
    version_1: bool,
    payload_bytes: usize,
    incompatible: bool,
    signed: bool,
    system: u8,
    component: u8,
    id: u32,
}

impl Header {
    /// `None` when the bytes end inside it. The first byte is one of the two starts.
    fn read(bytes: &[u8]) -> Option<Header> {
        match *bytes {
            [V1_START, length, _, system, component, id, ..] => Some(Header {
                version_1: true,
                payload_bytes: length.into(),
                incompatible: false,
                signed: false,
                system,
                component,
                id: id.into(),
            }),
            [V2_START, length, flags, _, _, system, component, low, middle, high, ..] => {
                Some(Header {
                    version_1: false,
                    payload_bytes: length.into(),
                    incompatible: flags & !SIGNED != 0,
                    signed: flags & SIGNED != 0,
                    system,
                    component,
                    id: u32::from_le_bytes([low, middle, high, 0]),
                })
            }
            _ => None,
        }
    }

    fn header_bytes(&self) -> usize {
        if self.version_1 { V1_HEADER_BYTES } else { V2_HEADER_BYTES }
    }

    fn frame_bytes(&self) -> usize {
        let signature = if self.signed { SIGNATURE_BYTES } else { 0 };
        self.header_bytes() + self.payload_bytes + CHECK_BYTES + signature
    }

    /// `frame` holds `frame_bytes()` bytes here and below.
    fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[self.header_bytes()..self.header_bytes() + self.payload_bytes]
    }

    fn check_is_right(&self, frame: &[u8], check_byte: u8) -> bool {
        let end = self.header_bytes() + self.payload_bytes;
        let computed = check(&frame[1..end], check_byte);
        frame[end..end + CHECK_BYTES] == computed.to_le_bytes()
    }
}

#[cfg(test)]
mod tests;
