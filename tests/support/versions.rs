//! Contents that say what they are, so that a torn file, or one that is mixed of two, shows. Must not
//! know how they are written.

use std::ops::RangeInclusive;

use super::ordinary::noise;

/// The longest content.
const BYTES_MAX: u64 = 30_000;

/// One version of a file. Its length differs from version to version.
pub fn content(name: &str, version: u64) -> Vec<u8> {
    let seed =
        name.bytes().fold(version << 8, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let length = 40 + (seed.wrapping_mul(0x9E37_79B9) >> 7) % BYTES_MAX;
    let mut bytes = format!("{name} {version}\n").into_bytes();
    bytes.extend(noise(seed, length as usize));
    bytes
}

/// Which version this is, all of it; `None` when it is none.
pub fn version_of(name: &str, bytes: &[u8]) -> Option<u64> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let version = std::str::from_utf8(line).ok()?.strip_prefix(name)?.trim().parse().ok()?;
    (content(name, version) == bytes).then_some(version)
}

/// Which versions follow one another in a file that they were appended to. Each may be torn, but
/// nothing else may be there.
pub fn versions_in(name: &str, bytes: &[u8], known: RangeInclusive<u64>) -> Vec<u64> {
    let contents: Vec<_> = known.map(|version| (version, content(name, version))).collect();
    let common =
        |one: &[u8], other: &[u8]| one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (mut at, mut whole) = (0, Vec::new());
    while at < bytes.len() {
        let best = contents.iter().max_by_key(|(_, content)| common(&bytes[at..], content));
        let (version, content) = best.expect("a version is known");
        let length = common(&bytes[at..], content);
        assert!(
            length > 0,
            "{name}: what stands at {at} of {} belongs to no version, behind {:?}: {}",
            bytes.len(),
            &whole[whole.len().saturating_sub(3)..],
            bytes[at.saturating_sub(30)..(at + 30).min(bytes.len())].escape_ascii()
        );
        if length == content.len() {
            whole.push(*version);
        }
        at += length;
    }
    whole
}

#[test]
fn a_torn_or_mixed_content_is_no_version() {
    let (one, two) = (content("a", 1), content("a", 2));
    assert_eq!(version_of("a", &one), Some(1));
    assert_eq!(version_of("b", &one), None);
    assert_eq!(version_of("a", &one[..one.len() - 1]), None);
    let mixed = [&one[..one.len() / 2], &two[two.len() / 2..]].concat();
    assert_eq!(version_of("a", &mixed), None);
    let torn = [&one[..], &two[..50], &two[..]].concat();
    assert_eq!(versions_in("a", &torn, 1..=2), [1, 2]);
}
