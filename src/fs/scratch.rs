//! Scratch files of editors: locks and swap files that nobody misses on a vehicle, and that would
//! hold up every keystroke over a radio. They live in their staged copies only, until they are renamed
//! to another name or the mount ends.

use std::sync::Arc;

use super::inodes::Place;
use super::staged::Staged;
use super::turn::Holding;
use super::{Found, Fs, FsError};
use crate::remote::Name;

impl Fs {
    /// Whether a new file of this name stays here.
    pub(super) fn stays_here(&self, name: &Name) -> bool {
        self.options.scratch_guard && is_scratch(name.as_bytes())
    }

    /// A new file is an editor's. Its number stays while nobody has it open or looks at it, because
    /// only by that its bytes are found again.
    pub(super) fn keep_here(&self, state: &mut super::State, staged: &Staged) {
        staged.set_local(true);
        state.inodes.use_once(staged.ino);
    }

    /// A scratch file gets this name. When it is no scratch name, or a file stands there on the vehicle,
    /// it is sent there now; the real error. Whether it was. The caller has its turn.
    pub(super) async fn send_scratch(
        &self,
        staged: &Staged,
        turn: &Holding,
        to: &Place,
        target: Option<&Found>,
    ) -> Result<bool, FsError> {
        let stays = to.path.name().is_some_and(|name| self.stays_here(&name));
        if stays && !target.is_some_and(Found::is_on_vehicle) {
            return Ok(false);
        }
        if let Some(sending) = staged.begin_sending(turn) {
            self.send_whole(staged, turn, to, sending).await.inspect_err(|_| staged.doubt())?;
            self.settle(staged, to, sending.length).await;
        }
        Ok(true)
    }

    /// A scratch file is none any more, or is gone.
    pub(super) fn let_go(&self, staged: &Arc<Staged>) {
        if !staged.is_local() {
            return;
        }
        staged.set_local(false);
        self.drop_staged(staged);
        self.state.lock().inodes.forget(staged.ino, 1);
    }
}

/// Whether a name is one that vim, emacs or an office program gives to a lock or a swap file.
fn is_scratch(name: &[u8]) -> bool {
    let is_swap = || {
        let mut parts = name.rsplitn(2, |byte| *byte == b'.');
        let (last, before) = (parts.next().unwrap_or_default(), parts.next());
        let is_hidden = before.is_some_and(|before| before.starts_with(b".") && before.len() > 1);
        // `.name.swp`, `.name.swo` … and `.name.swpx`, with which vim tries what a disk can do.
        is_hidden && last.starts_with(b"sw") && (last.len() == 3 || last == b"swpx")
    };
    let is_within = |start: &[u8], end: &[u8]| {
        name.len() > start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    name == b"4913"
        || is_swap()
        || is_within(b".#", b"")
        || is_within(b"#", b"#")
        || is_within(b".~lock.", b"#")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// > Editors' scratch files (`4913`, `.*.sw?`, `.*.swpx`, `.#*`, `#*#`, `.~lock.*#`) stay here
    /// > until they are renamed to another name (`--no-scratch-guard` sends them).
    #[test]
    fn only_what_editors_leave_is_scratch() {
        for name in ["4913", ".a.swp", ".a.lua.swo", ".a.swpx", ".#a", "#a#", ".~lock.a.odt#"] {
            assert!(is_scratch(name.as_bytes()), "{name}");
        }
        for name in ["a.swp", ".swp", "4914", ".a", "#a", "##", ".#", ".~lock.#", ".a.swap", "a#"] {
            assert!(!is_scratch(name.as_bytes()), "{name}");
        }
    }
}
