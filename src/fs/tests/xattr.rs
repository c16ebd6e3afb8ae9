//! The vehicle's checksum of a file as an extended attribute.

use super::*;
use crate::fs::{CHECKSUM_BYTES_MAX, CHECKSUM_NAME};
use crate::mavftp::wire::Checksum;

fn checksum(world: &World, path: &str) -> Result<Vec<u8>, FsError> {
    let ino = world.ino(path);
    world.remote.clear_log();
    world.run(world.fs.getxattr(ino, CHECKSUM_NAME, true))
}

/// > `user.mavftp.crc32` of a file of up to 2 MiB is the vehicle's own CRC32 of it, asked each
/// > time; it is never listed.
#[test]
fn the_vehicles_checksum_is_eight_hexadecimal_digits() {
    let world = World::with([("/a", &b"hello"[..])]);
    let expected = format!("{:08x}", Checksum::of(b"hello"));
    assert_eq!(checksum(&world, "/a").unwrap(), expected.as_bytes());
    assert_eq!(world.remote.log(), [r#"Checksum "/a""#]);
}

#[test]
fn its_length_and_any_other_attribute_are_told_without_a_word_to_the_vehicle() {
    let world = World::with([("/a", &b"hello"[..])]);
    let ino = world.ino("/a");
    world.remote.clear_log();
    assert_eq!(world.run(world.fs.getxattr(ino, CHECKSUM_NAME, false)).unwrap().len(), 8);
    world.wait(1000);
    for name in ["security.capability", "system.posix_acl_access", "user.mavftp.crc", "user."] {
        let asked = world.fs.getxattr(ino, name.as_bytes(), true);
        assert_eq!(errno(world.run(asked)), libc::ENODATA);
    }
    let root = world.run(world.fs.getxattr(Ino::ROOT, CHECKSUM_NAME, true));
    assert_eq!(errno(root), libc::ENODATA, "a directory has none");
    assert!(world.remote.log().is_empty());
}

#[test]
fn a_large_file_is_not_summed_up() {
    let large = vec![0; CHECKSUM_BYTES_MAX as usize + 1];
    let world = World::with([("/a", &large[..]), ("/b", &large[1..])]);
    assert_eq!(errno(checksum(&world, "/a")), libc::EFBIG);
    assert!(world.remote.log().is_empty());
    assert!(checksum(&world, "/b").is_ok());
}

#[test]
fn a_server_without_checksums_does_not_support_it() {
    let world = World::with([("/a", &b"hello"[..])]);
    world.remote.fail_next("Checksum", Error::Unsupported);
    assert_eq!(errno(checksum(&world, "/a")), libc::EOPNOTSUPP);
}

#[test]
fn a_file_with_changes_that_were_not_sent_is_busy() {
    let world = World::with([("/a", &b"hello"[..])]);
    let handle = world.open("/a", WRONLY);
    world.write(handle, 0, b"j");
    assert_eq!(errno(checksum(&world, "/a")), libc::EBUSY);
    assert!(world.remote.log().is_empty());
    world.close(handle);
    let expected = format!("{:08x}", Checksum::of(b"jello"));
    assert_eq!(checksum(&world, "/a").unwrap(), expected.as_bytes());
}
