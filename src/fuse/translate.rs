//! Between our words and the kernel's: capabilities, attributes, times, open answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, FopenFlags, INodeNo, InitFlags, KernelConfig, TimeOrNow};

use crate::fs::{Attr, Opened};
use crate::remote::Kind;

/// What st_blocks counts in, on every system.
const STAT_BLOCK_BYTES: u64 = 512;
/// What programs are told to read and write at once (st_blksize).
const PREFERRED_BYTES: u32 = 4096;
/// Times farther from 1970 than this, some 30,000 years, are a vehicle's mistake; arithmetic on
/// them could overflow.
const SECONDS_MAX: i64 = 1 << 40;

/// Asks the kernel for what we need of it; an old one may lack some.
pub(super) fn add_capabilities(config: &mut KernelConfig) {
    let wanted = [
        // Without it one slow lookup holds up its whole directory.
        InitFlags::FUSE_PARALLEL_DIROPS,
        InitFlags::FUSE_ATOMIC_O_TRUNC,
        InitFlags::FUSE_DO_READDIRPLUS,
        InitFlags::FUSE_READDIRPLUS_AUTO,
        InitFlags::FUSE_AUTO_INVAL_DATA,
    ];
    for capability in wanted {
        if let Err(missing) = config.add_capabilities(capability) {
            tracing::warn!(?missing, "this kernel lacks a capability");
        }
    }
}

/// An entry's attributes as the kernel wants them.
pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    let time = system_time(attr.mtime);
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.size.div_ceil(STAT_BLOCK_BYTES),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: PREFERRED_BYTES,
        flags: 0,
    }
}

/// "There is no such name", in the form that the kernel remembers: an entry without an inode.
pub(super) fn no_entry() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: PREFERRED_BYTES,
        flags: 0,
    }
}

/// What a name stands for.
pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
    }
}

/// How the kernel shall treat a file just opened.
pub(super) fn open_flags(opened: &Opened) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    flags.set(FopenFlags::FOPEN_DIRECT_IO, opened.direct_io);
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keep_cache);
    flags
}

/// Seconds since 1970 UTC of a time that a program sets.
pub(super) fn seconds(time: TimeOrNow) -> i64 {
    let time = match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    };
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            // The second that a time lies in begins before it, also before 1970.
            (-whole).saturating_sub(i64::from(before.subsec_nanos() > 0))
        }
    }
}

fn system_time(seconds: i64) -> SystemTime {
    let seconds = seconds.clamp(-SECONDS_MAX, SECONDS_MAX);
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_way_there_and_back_also_before_1970() {
        for time in [0, 1, -1, 1_700_000_000, -86_400] {
            assert_eq!(seconds(TimeOrNow::SpecificTime(system_time(time))), time);
        }
        let half_before = UNIX_EPOCH - Duration::from_millis(500);
        assert_eq!(seconds(TimeOrNow::SpecificTime(half_before)), -1);
    }

    #[test]
    fn a_time_that_no_clock_can_hold_is_cut_and_does_not_panic() {
        for time in [i64::MIN, i64::MAX] {
            let cut = seconds(TimeOrNow::SpecificTime(system_time(time)));
            assert_eq!(cut, time.signum() * SECONDS_MAX);
        }
    }
}
