//! MAVLink 2 message signing: signs what leaves, judges what comes. Must not know sockets, nor what a
//! message means.
//!
//! Source: MAVLink guide, "Message Signing". Thirteen bytes behind the check of a frame: the link id,
//! a timestamp of 48 bits, and the first 48 bits of the SHA-256 over the key and all that stands before.
//! Other than in some implementations, the signature is judged before anything is remembered of a
//! frame, so that nobody without the key leaves a trace.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use ring::digest::{Context, SHA256};

mod clock;
mod key;
mod store;
mod streams;

use clock::Clock;
pub use key::{KEY_BYTES, KeyFileError, SigningKey};
use store::{Lease, Store};
use streams::{Stale, Streams};

/// Bytes of a signature block.
pub const SIGNATURE_BYTES: usize = LINK_ID_BYTES + TIMESTAMP_BYTES + HASH_BYTES;

const LINK_ID_BYTES: usize = 1;
const TIMESTAMP_BYTES: usize = 6;
const HASH_BYTES: usize = 6;

/// A key in use. Clones share what was heard: what came over one link is a repetition on another.
#[derive(Debug, Clone)]
pub struct Signing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    key: SigningKey,
    keeper: Arc<Keeper>,
    streams: Mutex<Streams>,
}

/// Timestamps and link ids, which are the process's: whatever the key, none is used twice.
#[derive(Debug)]
struct Keeper {
    clock: Clock,
    store: Arc<Store>,
}

impl Signing {
    /// With this key. Says what is odd about its file.
    pub fn new(key: SigningKey) -> Signing {
        static KEEPER: OnceLock<Arc<Keeper>> = OnceLock::new();
        if let Some(caution) = key.caution() {
            tracing::warn!("{caution}");
        }
        let keeper = KEEPER.get_or_init(|| {
            let clock = Clock::new(Instant::now());
            Arc::new(Keeper { clock, store: Store::of_environment() })
        });
        Signing::by(key, keeper.clone())
    }

    fn by(key: SigningKey, keeper: Arc<Keeper>) -> Signing {
        Signing(Arc::new(Shared { key, keeper, streams: Mutex::default() }))
    }

    /// For one link, with an id of its own.
    pub(super) fn signer(&self) -> io::Result<Signer> {
        let keeper = &self.0.keeper;
        let lease = keeper.store.lease()?;
        keeper.clock.advance(lease.used());
        Ok(Signer { signing: self.clone(), lease })
    }

    fn hash(&self, signed: &[u8]) -> [u8; HASH_BYTES] {
        let mut context = Context::new(&SHA256);
        context.update(self.0.key.bytes());
        context.update(signed);
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(&context.finish().as_ref()[..HASH_BYTES]);
        hash
    }
}

/// Why a frame is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It carries no signature.
    Unsigned,
    /// Its signature is not one of our key, or it was changed on the way.
    WrongKey,
    /// It, or a later one of its stream, was heard before.
    Repeated,
    /// The first of a stream, and more than a minute behind our own time.
    Behind {
        /// How far, in seconds.
        seconds: u64,
    },
    /// The first of one stream too many.
    Crowded,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unsigned => f.write_str(
                "not signed with our key: they carry no signature; have them signed there, or leave \
                 out --sign-key-file here",
            ),
            Refusal::WrongKey => f.write_str(
                "not signed with our key, but with another; give both sides the same key",
            ),
            Refusal::Repeated => f.write_str("older than what was heard before"),
            Refusal::Behind { seconds } => {
                write!(f, "signed {seconds} s ago by our time; set the clocks of both sides")
            }
            Refusal::Crowded => f.write_str("of too many senders at once"),
        }
    }
}

impl From<Stale> for Refusal {
    fn from(stale: Stale) -> Refusal {
        match stale {
            Stale::Repeated => Refusal::Repeated,
            Stale::Behind(units) => Refusal::Behind { seconds: units / clock::seconds(1) },
            Stale::Crowded => Refusal::Crowded,
        }
    }
}

/// Signs and judges the frames of one link.
#[derive(Debug)]
pub(super) struct Signer {
    signing: Signing,
    lease: Lease,
}

impl Signer {
    /// Signs a frame that is complete but for its signature, its flag set.
    ///
    /// # Errors
    /// There is no later timestamp.
    pub(super) fn sign(&mut self, frame: &mut Vec<u8>) -> io::Result<()> {
        let timestamp = self.signing.0.keeper.clock.next().ok_or_else(|| {
            io::Error::other(
                "no timestamp is left to sign with: somebody with our key has a clock that is far \
                 ahead; change the key",
            )
        })?;
        self.lease.cover(timestamp);
        frame.push(self.lease.id());
        frame.extend_from_slice(&timestamp.to_le_bytes()[..TIMESTAMP_BYTES]);
        let hash = self.signing.hash(frame);
        frame.extend_from_slice(&hash);
        Ok(())
    }

    /// Judges a frame with a signature, whole and its check right: of whom, and its bytes.
    pub(super) fn judge(&self, system: u8, component: u8, frame: &[u8]) -> Result<(), Refusal> {
        let Some((signed, hash)) = frame.split_last_chunk::<HASH_BYTES>() else {
            return Err(Refusal::Unsigned);
        };
        let Some((_, &[link, a, b, c, d, e, g])) = signed.split_last_chunk() else {
            return Err(Refusal::Unsigned);
        };
        if !is_equal(&self.signing.hash(signed), hash) {
            return Err(Refusal::WrongKey);
        }
        let timestamp = u64::from_le_bytes([a, b, c, d, e, g, 0, 0]);
        let Shared { keeper, streams, .. } = &*self.signing.0;
        let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.hear((link, system, component), timestamp, keeper.clock.now())?;
        keeper.clock.advance(timestamp);
        Ok(())
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.lease.settle(self.signing.0.keeper.clock.last());
    }
}

/// Takes as long wherever they differ, so that nobody finds a signature byte by byte.
fn is_equal(one: &[u8; HASH_BYTES], other: &[u8; HASH_BYTES]) -> bool {
    one.iter().zip(other).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

#[cfg(test)]
pub(super) mod tests;
