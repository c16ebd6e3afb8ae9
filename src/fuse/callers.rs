//! Who is behind a request: whether a program closes its files because it was killed. Must not know
//! what follows from that.

use std::fs;
use std::time::Duration;

use blocking::unblock;

use crate::fs::Closing;

/// `PF_SIGNALED` of the kernel: killed by a signal.
const SIGNALED: u64 = 0x400;
/// Longest time that the kernel is waited for.
const READING_MAX: Duration = Duration::from_millis(100);
/// Where the flags stand among the fields behind the name of the program in `/proc/TID/stat`.
const FLAGS_FIELD: usize = 6;

/// How the thread with this id closes its files. One that cannot be read, or of another namespace (0),
/// is taken to close them by itself.
pub(super) fn closing(thread: u32) -> Closing {
    if thread == 0 {
        return Closing::Ordinary;
    }
    match stat_of(thread).and_then(|stat| flags(&stat)) {
        Some(flags) if flags & SIGNALED != 0 => Closing::Killed,
        Some(_) | None => Closing::Ordinary,
    }
}

/// A thread's line. The kernel holds it back for as long as the thread is within exec(2), which closes
/// descriptors and waits for our answer to that: read by another thread of ours, with a limit.
fn stat_of(thread: u32) -> Option<Vec<u8>> {
    let (sender, read) = crossbeam_channel::bounded(1);
    let reading = move || {
        // Nobody waits any more when it took too long.
        let _ = sender.send(fs::read(format!("/proc/{thread}/stat")));
    };
    unblock(reading).detach();
    read.recv_timeout(READING_MAX).ok()?.ok()
}

/// A thread's flags. Its name, in parentheses, may itself hold spaces and parentheses.
fn flags(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&stat[end + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(FLAGS_FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests {
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
            assert_eq!(closing(thread), Closing::Ordinary);
        }
    }
}
