//! Who is behind a request: whether a program closes a file because it was killed, or keeps it open
//! under another descriptor. Must not know what follows from that.

use std::fs;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use blocking::unblock;

use crate::fs::{Closing, Ino};

/// `PF_SIGNALED` of the kernel: killed by a signal.
const SIGNALED: u64 = 0x400;
/// Longest time that the kernel is waited for: no more than an exec(2) may take longer, and enough for a
/// machine with much to do, for a killed program must not be taken for one that has finished.
const READING_MAX: Duration = Duration::from_secs(1);
/// Where the flags stand among the fields behind the name of the program in `/proc/TID/stat`.
const FLAGS_FIELD: usize = 6;
/// Of a program with more descriptors than this nobody looks at all.
const DESCRIPTORS_MAX: usize = 512;

/// The device that our mount is, once it is known. Before that every close is for good.
pub(super) type OwnDevice = Arc<OnceLock<Device>>;

/// A device number as `mountinfo` writes it: `0:53`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device(String);

impl Device {
    /// From `st_dev`.
    pub(super) fn of(number: u64) -> Device {
        Device(format!("{}:{}", libc::major(number), libc::minor(number)))
    }
}

/// How the thread with this id closes a descriptor of this file. One that cannot be read, or of another
/// namespace (0), is taken to close it for good by itself.
///
/// The kernel holds answers back for as long as the thread is within exec(2), which closes descriptors
/// and waits for our answer to that: read by another thread of ours, with a limit.
pub(super) async fn closing(thread: u32, ino: Ino, device: OwnDevice) -> Closing {
    if thread == 0 {
        return Closing::Ordinary;
    }
    let (sender, read) = crossbeam_channel::bounded(1);
    // Begun at once: a program that ends is soon gone, and then nobody can tell how it ended.
    let look = move || {
        // Nobody waits any more when it took too long.
        let _ = sender.send(look(thread, ino, device.get()));
    };
    unblock(look).detach();
    unblock(move || read.recv_timeout(READING_MAX).unwrap_or(Closing::Ordinary)).await
}

fn look(thread: u32, ino: Ino, device: Option<&Device>) -> Closing {
    let stat = fs::read(format!("/proc/{thread}/stat")).ok();
    if stat.and_then(|stat| flags(&stat)).is_some_and(|flags| flags & SIGNALED != 0) {
        return Closing::Killed;
    }
    match device.map(|device| has_another(thread, ino, device)) {
        Some(Ok(true)) => Closing::Duplicate,
        Some(Ok(false) | Err(_)) | None => Closing::Ordinary,
    }
}

/// A thread's flags. Its name, in parentheses, may itself hold spaces and parentheses.
fn flags(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&stat[end + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(FLAGS_FIELD)?.parse().ok()
}

/// Whether a program has a descriptor left that may write this file. The one that is being closed is
/// out of its table already.
fn has_another(thread: u32, ino: Ino, device: &Device) -> io::Result<bool> {
    let mounts = fs::read_to_string(format!("/proc/{thread}/mountinfo"))?;
    for descriptor in fs::read_dir(format!("/proc/{thread}/fdinfo"))?.take(DESCRIPTORS_MAX) {
        // Others may be closed meanwhile.
        let Ok(info) = fs::read_to_string(descriptor?.path()) else { continue };
        if may_write(&info, ino).is_some_and(|mount| is_on(&mounts, mount, device)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The id of the mount that a descriptor of this inode number lies on, if it may write.
fn may_write(info: &str, ino: Ino) -> Option<&str> {
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(':')).map(str::trim)
    };
    let flags = i32::from_str_radix(field("flags")?, 8).ok()?;
    let is_it = field("ino")? == ino.0.to_string();
    (is_it && flags & libc::O_ACCMODE != libc::O_RDONLY).then(|| field("mnt_id"))?
}

/// Whether the mount with this id is one of this device.
fn is_on(mounts: &str, id: &str, device: &Device) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ');
        fields.next() == Some(id) && fields.nth(1) == Some(&device.0)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn flags_are_found_behind_any_name() {
        for name in ["cp", "a b", ") S 1 2 (", "\u{7f}\u{e9}"] {
            let line = format!("12 ({name}) S 1 12 12 0 -1 4195332 150 0 0");
            assert_eq!(flags(line.as_bytes()), Some(4_195_332), "{name}");
        }
        assert_eq!(flags(b"12 (\xff\xfe) S 1 12 12 0 -1 1024 150"), Some(1024));
        for broken in ["", "12 (cp", "12 (cp) S 1", "12 (cp) S 1 2 3 4 5 x 6"] {
            assert_eq!(flags(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn a_thread_that_lives_or_is_unknown_closes_its_files_by_itself() {
        for thread in [std::process::id(), 0, u32::MAX] {
            assert_eq!(block_on(closing(thread, Ino(1), OwnDevice::default())), Closing::Ordinary);
        }
    }

    #[test]
    fn a_file_that_the_program_can_still_write_is_closed_in_one_place_only() {
        let file = tempfile::tempfile().unwrap();
        let there = file.metadata().unwrap();
        let (ino, device) = (Ino(there.ino()), Device::of(there.dev()));
        let us = std::process::id();
        assert_eq!(look(us, ino, Some(&device)), Closing::Duplicate);
        assert_eq!(look(us, ino, None), Closing::Ordinary);
        assert_eq!(look(us, ino, Some(&Device::of(0))), Closing::Ordinary, "another device");
        drop(file);
        assert_eq!(look(us, ino, Some(&device)), Closing::Ordinary);
    }

    #[test]
    fn a_descriptor_that_only_reads_does_not_count() {
        let info = |flags: &str| format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t29\nino:\t7\n");
        assert_eq!(may_write(&info("0100001"), Ino(7)), Some("29"));
        assert_eq!(may_write(&info("0100002"), Ino(7)), Some("29"));
        assert_eq!(may_write(&info("0100000"), Ino(7)), None);
        assert_eq!(may_write(&info("0100001"), Ino(8)), None);
        assert_eq!(may_write("flags:\tx\nino:\t7", Ino(7)), None);
    }
}
