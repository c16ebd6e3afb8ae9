//! Who a served folder is: the same hardware id for the same folder of the same machine under the
//! same ids, so that clients may keep what they cached.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::link::node::Message;

/// `MAV_PROTOCOL_CAPABILITY_FTP | MAV_PROTOCOL_CAPABILITY_MAVLINK2`.
const CAPABILITIES: u64 = 32 | 8192;
/// Tells the machine; a copy of the folder on another one is another folder.
const MACHINE_ID: &str = "/etc/machine-id";

/// A number nobody can guess, for the server's session numbers.
pub(super) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Our `AUTOPILOT_VERSION`.
pub(super) fn version(directory: &Path, system: u8, component: u8) -> Message {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
    let machine = std::fs::read(MACHINE_ID).unwrap_or_default();
    let hash = |salt: u8| {
        let parts = [&machine, directory.as_os_str().as_bytes(), &[system, component, salt]];
        fnv_1a(&parts.join(&0))
    };
    let mut uid2 = [0; 18];
    for (salt, chunk) in (1..).zip(uid2.chunks_mut(size_of::<u64>())) {
        chunk.copy_from_slice(&hash(salt).to_le_bytes()[..chunk.len()]);
    }
    // The lowest bit: zero would mean unknown.
    Message::AutopilotVersion {
        capabilities: CAPABILITIES,
        flight_sw_version: software_version(),
        uid: hash(0) | 1,
        uid2,
    }
}

/// Major, minor and patch, a byte each, above the kind of release, which 255 calls official.
fn software_version() -> u32 {
    let part = |text: &str| text.parse::<u8>().unwrap_or(0);
    u32::from_be_bytes([
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
        255,
    ])
}

/// The 64-bit hash FNV-1a: unlike the standard library's it is the same in every release.
fn fnv_1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_stays_and_differs_by_folder_and_ids() {
        let first = version(Path::new("/"), 1, 191);
        assert_eq!(first, version(Path::new("/."), 1, 191));
        for other in [version(Path::new("/dev"), 1, 191), version(Path::new("/"), 2, 191)] {
            assert_ne!(first, other);
        }
        assert_ne!(first, version(Path::new("/"), 1, 1));
    }

    #[test]
    fn the_hash_is_that_of_its_definition() {
        assert_eq!(fnv_1a(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv_1a(b"a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_F739_67E8);
    }
}
