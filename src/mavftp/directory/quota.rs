//! How much may lie in a served folder. Knows open files and the tree below the root, not requests;
//! all that clients change and that has a length goes through here when there is a quota.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::system::{self, FileId, Kind, Stat};
use super::{nak, tree};
use crate::mavftp::server::files::ENOSPC;
use crate::mavftp::wire::Nak;

/// A write that would be refused has all counted again, but not more often than this.
const COUNT_PERIOD: Duration = Duration::from_secs(3);
/// A count is believed for so long where a write fits in.
const COUNT_TRUST: Duration = Duration::from_secs(30);
/// Counting takes at most this part of the time.
const COUNT_SHARE: u32 = 20;

/// A limit of the bytes in all regular files below a root, and what there is. A file with several
/// names counts once; one that is removed counts while a client has it open.
pub(super) struct Quota {
    max: u64,
    root: OwnedFd,
    usage: Mutex<Usage>,
}

struct Usage {
    bytes: u64,
    counted: Instant,
    /// How long that took.
    took: Duration,
    held: BTreeMap<FileId, Holding>,
}

/// A file that clients have open.
struct Holding {
    file: Arc<File>,
    handles: usize,
}

/// One opening of a file; dropping it ends it.
pub(super) struct Held {
    quota: Arc<Quota>,
    id: FileId,
}

impl Quota {
    /// Counts what is there.
    pub(super) fn new(root: &OwnedFd, max: u64) -> io::Result<Quota> {
        let root = root.try_clone()?;
        let began = Instant::now();
        let bytes = count(&root)?;
        let counted = Instant::now();
        let usage = Usage { bytes, counted, took: counted - began, held: BTreeMap::new() };
        Ok(Quota { max, root, usage: Mutex::new(usage) })
    }

    /// Bytes that are there, as far as is known.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.usage.lock().bytes
    }

    /// Makes the last count look as if it was made so long ago.
    #[cfg(test)]
    pub(super) fn age(&self, time: Duration) {
        let mut usage = self.usage.lock();
        usage.counted = usage.counted.checked_sub(time).unwrap();
    }

    /// Notes that a client has opened a file.
    pub(super) fn hold(self: &Arc<Quota>, file: &Arc<File>) -> io::Result<Held> {
        let usage = &mut *self.usage.lock();
        let stat = system::stat(&**file)?;
        let held = Held { quota: self.clone(), id: stat.id };
        if let Some(holding) = usage.held.get_mut(&stat.id) {
            holding.handles += 1;
            return Ok(held);
        }
        if stat.names == 0 {
            // It was removed before anybody knew that it was open.
            usage.bytes = usage.bytes.saturating_add(stat.size);
        }
        usage.held.insert(stat.id, Holding { file: file.clone(), handles: 1 });
        Ok(held)
    }

    /// Does what makes a file at least `length` bytes long, if there is room. Nobody else's change
    /// comes in between.
    pub(super) fn lengthen<T>(
        &self,
        file: &File,
        length: u64,
        change: impl FnOnce() -> Result<T, Nak>,
    ) -> Result<T, Nak> {
        let usage = &mut *self.usage.lock();
        let before = system::stat(file).map_err(nak)?.size;
        if length > before {
            self.make_room(usage, length - before)?;
        }
        let changed = change();
        let after = system::stat(file).map_or(before.max(length), |stat| stat.size);
        usage.bytes = usage.bytes.saturating_add(after).saturating_sub(before);
        changed
    }

    /// Does what takes a name from what stands at it: removing it, or renaming another to it.
    pub(super) fn release<T>(
        &self,
        folder: &OwnedFd,
        name: &[u8],
        change: impl FnOnce() -> Result<T, Nak>,
    ) -> Result<T, Nak> {
        let usage = &mut *self.usage.lock();
        let there = system::stat_at(folder, name);
        let changed = change()?;
        if let Ok(Stat { kind: Kind::File, names: 1, size, id, .. }) = there
            && !usage.held.contains_key(&id)
            && system::stat_at(folder, name).map_or(true, |stat| stat.id != id)
        {
            usage.bytes = usage.bytes.saturating_sub(size);
        }
        Ok(changed)
    }

    fn make_room(&self, usage: &mut Usage, more: u64) -> Result<(), Nak> {
        let fits =
            |usage: &Usage| usage.bytes.checked_add(more).is_some_and(|bytes| bytes <= self.max);
        let trust = if fits(usage) { COUNT_TRUST } else { COUNT_PERIOD };
        if usage.counted.elapsed() >= trust.max(usage.took * COUNT_SHARE) {
            self.count_again(usage).map_err(nak)?;
        }
        if fits(usage) { Ok(()) } else { Err(Nak::FailErrno(ENOSPC)) }
    }

    fn count_again(&self, usage: &mut Usage) -> io::Result<()> {
        let began = Instant::now();
        let mut bytes = count(&self.root)?;
        for holding in usage.held.values() {
            let stat = system::stat(&*holding.file)?;
            if stat.names == 0 {
                bytes = bytes.saturating_add(stat.size);
            }
        }
        usage.bytes = bytes;
        usage.counted = Instant::now();
        usage.took = usage.counted - began;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let usage = &mut *self.quota.usage.lock();
        let Some(holding) = usage.held.get_mut(&self.id) else { return };
        holding.handles -= 1;
        if holding.handles > 0 {
            return;
        }
        if let Ok(Stat { names: 0, size, .. }) = system::stat(&*holding.file) {
            usage.bytes = usage.bytes.saturating_sub(size);
        }
        usage.held.remove(&self.id);
    }
}

/// The bytes of all regular files below a folder.
fn count(root: &OwnedFd) -> io::Result<u64> {
    let mut bytes = 0u64;
    let mut seen = BTreeSet::new();
    tree::visit(root, b"", |_, _, stat| {
        // Only what has several names can come twice.
        if stat.kind == Kind::File && (stat.names < 2 || seen.insert(stat.id)) {
            bytes = bytes.saturating_add(stat.size);
        }
    })?;
    Ok(bytes)
}
