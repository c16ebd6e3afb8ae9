//! Renaming, with everything that hangs on a name: inodes, open handles, staged copies.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::inodes::{Ino, Place};
use super::keeping::before_of;
use super::staged::Staged;
use super::turn::Holding;
use super::{Found, Fs, FsError};
use crate::remote::{Entry, Kind, Name};

impl Fs {
    /// Renames a file or directory, replacing a file, or an empty directory, unless `no_replace`.
    ///
    /// A file that was never sent only changes its name here. One that the vehicle has is renamed
    /// there at once, and what is dirty of it follows under the new name.
    pub async fn rename(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        no_replace: bool,
    ) -> Result<(), FsError> {
        let (from, source) = self.find_spelled(self.existing(parent, name)?).await?;
        let source = source.ok_or(FsError::NotFound)?;
        let asked = self.target(new_parent, new_name)?;
        let (to, target) = self.find_spelled(asked.clone()).await?;
        if from == to && asked != to {
            return self.respell(&from, &asked, no_replace).await;
        }
        // In the spelling of what is there.
        let (name, new_name) = (from.path.name(), to.path.name());
        let (Some(name), Some(new_name)) = (&name, &new_name) else { return Err(FsError::Invalid) };
        let _moving = self.begin_moving(&[&from, &to]);
        if no_replace && target.is_some() {
            return Err(FsError::Exists);
        }
        if from == to {
            return Ok(());
        }
        self.check_kinds(&from, source.kind(), &to, target.as_ref()).await?;
        self.check_lengths_below(&from, &to)?;
        let turns = self.take_turns(&[&from, &to]).await;
        self.end_streams(&[&from, &to]).await;
        // The wait may have seen a directory above renamed, and either file sent.
        let from = self.existing(parent, name.as_bytes())?;
        let to = self.target(new_parent, new_name.as_bytes())?;
        for (found, place) in [(Some(&source), &from), (target.as_ref(), &to)] {
            if let Some(staged) = found.and_then(Found::staged) {
                self.end_doubt(&staged, place).await?;
            }
        }
        self.check_still_there(&source, &from)?;
        let target_is_there = target.as_ref().is_some_and(Found::is_on_vehicle);
        let mut was_sent = false;
        if source.is_on_vehicle() {
            self.cache.rename(from.volume, &from.path, &to.path).await?;
        } else if let Found::Staged(staged) = &source {
            match turns.get(&staged.ino).filter(|_| staged.is_local()) {
                Some(turn) => {
                    was_sent = self.send_scratch(staged, turn, &to, target.as_ref()).await?;
                }
                None => staged.set_on_vehicle(target_is_there),
            }
            let before = before_of(target.as_ref());
            staged.bytes().describe(&mut |meta| meta.before = before);
        }
        let mut orphans: Vec<_> = target.as_ref().and_then(Found::staged).into_iter().collect();
        let scratch = [Some(&source).filter(|_| was_sent), target.as_ref()];
        let scratch: Vec<_> = scratch.into_iter().flatten().filter_map(Found::scratch).collect();
        {
            let mut state = self.state.lock();
            // Somebody may have opened it for writing meanwhile.
            orphans.extend(state.staged_at(&to));
            state.inodes.rename(&from, &to, replaced(target));
            state.name_changed(&from);
            state.name_changed(&to);
        }
        scratch.iter().for_each(|staged| self.let_go(staged));
        self.write_names_down(&to, orphans).await;
        Ok(())
    }

    /// Gives what stands at `from` another spelling of its name, where case does not tell names apart.
    async fn respell(&self, from: &Place, to: &Place, no_replace: bool) -> Result<(), FsError> {
        if no_replace {
            return Err(FsError::Exists);
        }
        let _moving = self.begin_moving(&[from, to]);
        let _turns = self.take_turns(&[from, to]).await;
        let found = self.find(from).await?.ok_or(FsError::NotFound)?;
        if let Some(staged) = found.staged() {
            self.end_doubt(&staged, from).await?;
        }
        if found.is_on_vehicle() {
            self.cache.respell(from.volume, &from.path, &to.path).await?;
        }
        let mut state = self.state.lock();
        state.inodes.rename(from, to, None);
        state.name_changed(from);
        state.name_changed(to);
        Ok(())
    }

    /// Fails when a file that only this computer has was dropped meanwhile, because it could not be
    /// sent.
    fn check_still_there(&self, source: &Found, from: &Place) -> Result<(), FsError> {
        match source {
            Found::Staged(staged) if !staged.is_on_vehicle() => match self.place(staged.ino) {
                Ok(place) if place == *from => Ok(()),
                Ok(_) | Err(_) => Err(FsError::NotFound),
            },
            Found::Staged(_) | Found::Entry(_) => Ok(()),
        }
    }

    fn target(&self, parent: Ino, name: &[u8]) -> Result<Place, FsError> {
        let name = Name::parse(name)?;
        let place = self.state.lock().child(parent, &name)?;
        self.check_creatable(&place, &name)?;
        Ok(place)
    }

    async fn check_kinds(
        &self,
        from: &Place,
        kind: Kind,
        to: &Place,
        target: Option<&Found>,
    ) -> Result<(), FsError> {
        if to.path.is_within(&from.path) {
            return Err(FsError::Invalid);
        }
        if from.path.is_within(&to.path) {
            return Err(FsError::NotEmpty);
        }
        match (kind, target.map(Found::kind)) {
            (_, None) | (Kind::File, Some(Kind::File)) => Ok(()),
            (Kind::File, Some(Kind::Directory)) => Err(FsError::IsADirectory),
            (Kind::Directory, Some(Kind::File)) => Err(FsError::NotADirectory),
            (Kind::Directory, Some(Kind::Directory)) => self.check_empty(to).await,
        }
    }

    /// Ends the uploads of files that are being written at or below these places: their temporary
    /// names must be gone before a directory above has another. The caller has their turns.
    async fn end_streams(&self, places: &[&Place]) {
        let staged: Vec<_> = {
            let state = self.state.lock();
            places.iter().flat_map(|place| state.staged_within(place)).collect()
        };
        for staged in staged {
            self.end_streaming(&staged).await;
        }
    }

    /// Waits until no staged copy at or below these places is being changed or sent. Turns are
    /// taken in the order of inode numbers, so that two renames never wait for each other.
    async fn take_turns(&self, places: &[&Place]) -> BTreeMap<Ino, Holding> {
        let staged: BTreeMap<Ino, Arc<Staged>> = {
            let state = self.state.lock();
            let all = places.iter().flat_map(|place| state.staged_within(place));
            all.map(|staged| (staged.ino, staged)).collect()
        };
        let mut turns = BTreeMap::new();
        for (ino, staged) in staged {
            turns.insert(ino, staged.take_turn().await);
        }
        turns
    }
}

impl Found {
    /// An editor's scratch file.
    fn scratch(&self) -> Option<Arc<Staged>> {
        self.staged().filter(|staged| staged.is_local())
    }

    fn staged(&self) -> Option<Arc<Staged>> {
        match self {
            Found::Staged(staged) => Some(staged.clone()),
            Found::Entry(_) => None,
        }
    }
}

/// What a replaced file was last, for handles that still have it open.
fn replaced(target: Option<Found>) -> Option<Entry> {
    match target? {
        Found::Staged(_) => None,
        Found::Entry(entry) => Some(entry),
    }
}
