//! What a filesystem holds for those who use it, so that a test can see that nothing is left.

use super::Fs;

/// How many of each are held.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Inodes that are looked up or open, the root among them.
    pub inodes: usize,
    /// Open files and directories.
    pub handles: usize,
    /// Staged copies.
    pub staged: usize,
}

impl Fs {
    /// What is held now.
    #[doc(hidden)]
    pub fn holdings(&self) -> Holdings {
        let state = self.state.lock();
        Holdings {
            inodes: state.inodes.used(),
            handles: state.handles.count(),
            staged: state.staged.len(),
        }
    }
}
