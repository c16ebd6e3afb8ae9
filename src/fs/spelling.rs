//! Which file a name means, and which names the far side can hold. Where it does not tell upper from
//! lower case, both spellings are one thing, as on a FAT card in a Linux computer.

use std::sync::Arc;

use super::inodes::Place;
use super::staged::Staged;
use super::{Found, Fs, FsError, State};
use crate::remote::Name;

/// What no name on a FAT card holds.
const NEVER_ON_FAT: &[u8] = b"\\:*?\"<>|";

impl Fs {
    /// What a name stands for, in whichever spelling, and where that is; the place itself when nothing
    /// is there.
    pub(super) async fn find_spelled(
        &self,
        asked: Place,
    ) -> Result<(Place, Option<Found>), FsError> {
        if let Some(found) = self.find(&asked).await? {
            return Ok((asked, Some(found)));
        }
        match self.other_spelling(&asked).await? {
            Some(place) => {
                let found = self.find(&place).await?;
                Ok((place, found))
            }
            None => Ok((asked, None)),
        }
    }

    /// The place of what a name stands for.
    pub(super) async fn spelled(&self, asked: Place) -> Result<Place, FsError> {
        Ok(self.find_spelled(asked).await?.0)
    }

    /// Where something stands under another spelling of this name; `None` where names are told apart
    /// by case.
    pub(super) async fn other_spelling(&self, asked: &Place) -> Result<Option<Place>, FsError> {
        if let Some(path) = self.cache.other_spelling(asked.volume, &asked.path).await? {
            return Ok(Some(asked.at(path)));
        }
        // What is only staged cannot be asked for.
        if self.cache.folds_case(asked.volume) != Some(true) {
            return Ok(None);
        }
        Ok(self.state.lock().staged_alike(asked))
    }

    /// Fails for a name that the far side could not hold, or not list.
    pub(super) fn check_name(&self, place: &Place, name: &Name) -> Result<(), FsError> {
        let bytes = name.as_bytes();
        if bytes.iter().any(u8::is_ascii_control) {
            return Err(FsError::Invalid);
        }
        let on_fat = bytes.iter().any(|byte| NEVER_ON_FAT.contains(byte))
            || matches!(bytes.last(), Some(b'.' | b' '));
        if on_fat && self.cache.folds_case(place.volume) == Some(true) {
            return Err(FsError::Invalid);
        }
        Ok(())
    }

    /// Fails when something that is known below `from` would have too long a path below `to`.
    pub(super) fn check_lengths_below(&self, from: &Place, to: &Place) -> Result<(), FsError> {
        let longest = self.state.lock().inodes.longest_below(from);
        let grown = to.path.as_bytes().len().saturating_sub(from.path.as_bytes().len());
        match longest + grown > self.cache.path_bytes_max(from.volume) {
            true => Err(FsError::NameTooLong),
            false => Ok(()),
        }
    }
}

impl State {
    fn staged_alike(&self, asked: &Place) -> Option<Place> {
        let (parent, name) = (asked.path.parent()?, asked.path.name()?);
        let is_alike = |staged: &Arc<Staged>| {
            let at = self.inodes.place(staged.ino)?;
            let alike = at.path.name()?.as_bytes().eq_ignore_ascii_case(name.as_bytes());
            let here = at.volume == asked.volume && at.path.parent()? == parent;
            (alike && here).then(|| at.clone())
        };
        self.staged.values().find_map(is_alike)
    }
}
