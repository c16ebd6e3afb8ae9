//! Directories made and removed, files removed.

use std::sync::Arc;

use super::attributes::Attr;
use super::inodes::{FarTime, Ino, OwnTime, Place};
use super::staged::Staged;
use super::{Found, Fs, FsError};
use crate::remote::{Entry, Error, Kind, Name};

impl Fs {
    /// Makes a directory. Counts one lookup.
    pub async fn mkdir(&self, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        let name = Name::parse(name)?;
        let place = self.state.lock().child(parent, &name)?;
        self.check_creatable(&place, &name)?;
        if self.find_spelled(place.clone()).await?.1.is_some() {
            return Err(FsError::Exists);
        }
        self.cache.make_directory(place.volume, &place.path).await?;
        let now = self.now();
        let mut state = self.state.lock();
        // Another station may have removed what stood here before: this is another directory.
        state.inodes.orphan(&place, None);
        let ino = state.inodes.assign(&place, Kind::Directory);
        state.inodes.use_once(ino);
        state.inodes.set_own_time(ino, OwnTime { mtime: now, size: 0, far: FarTime::Told(now) });
        state.name_changed(&place);
        Ok(self.attr_of_directory(&state, ino))
    }

    /// Removes a file's name. Who has it open for writing goes on with the staged copy, which is
    /// dropped at the end.
    pub async fn unlink(&self, parent: Ino, name: &[u8]) -> Result<(), FsError> {
        let place = self.spelled(self.existing(parent, name)?).await?;
        let _moving = self.begin_moving(&[&place]);
        match self.find(&place).await?.ok_or(FsError::NotFound)? {
            Found::Staged(staged) => self.remove_staged(&staged).await,
            Found::Entry(entry) if entry.kind == Kind::Directory => Err(FsError::IsADirectory),
            Found::Entry(entry) => {
                self.cache.remove(place.volume, &place.path).await?;
                // Somebody may have opened it for writing meanwhile.
                let staged = self.note_removed(&place, Some(entry));
                self.write_names_down(&place, staged).await;
                Ok(())
            }
        }
    }

    /// Removes an empty directory.
    pub async fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<(), FsError> {
        let (place, found) = self.find_spelled(self.existing(parent, name)?).await?;
        let found = found.ok_or(FsError::NotFound)?;
        if found.kind() != Kind::Directory {
            return Err(FsError::NotADirectory);
        }
        self.check_empty(&place).await?;
        self.cache.remove_directory(place.volume, &place.path).await?;
        self.note_removed(&place, None);
        Ok(())
    }

    /// The place of a name that is to be changed.
    pub(super) fn existing(&self, parent: Ino, name: &[u8]) -> Result<Place, FsError> {
        let name = Name::parse(name)?;
        let place = self.state.lock().child(parent, &name)?;
        self.check_writable(&place)?;
        if self.is_dropping(&name) {
            return Err(FsError::NotFound);
        }
        Ok(place)
    }

    /// Fails unless a directory is empty here and on the vehicle. Some servers do not care.
    pub(super) async fn check_empty(&self, place: &Place) -> Result<(), FsError> {
        if !self.state.lock().staged_within(place).is_empty() {
            return Err(FsError::NotEmpty);
        }
        let listing = self.cache.listing(place.volume, &place.path);
        let mut hidden = Vec::new();
        while let Some(entry) = listing.at(hidden.len()).await? {
            if !self.is_dropping(&entry.name) {
                return Err(FsError::NotEmpty);
            }
            hidden.push(entry.name);
        }
        if hidden.is_empty() {
            return Ok(());
        }
        tracing::warn!(path = %place.path, ?hidden, "not empty: --no-trash-guard shows these names");
        Err(FsError::NotEmpty)
    }

    async fn remove_staged(&self, staged: &Arc<Staged>) -> Result<(), FsError> {
        // An upload under way would bring the name back.
        let _turn = staged.take_turn().await;
        self.end_streaming(staged).await;
        let place = self.place(staged.ino)?;
        self.end_doubt(staged, &place).await?;
        if staged.is_on_vehicle() {
            match self.cache.remove(place.volume, &place.path).await {
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.note_removed(&place, None);
        let noted = self.write_down(staged).await;
        if !staged.has_writers() {
            self.let_go(staged);
        }
        self.drop_nameless(staged);
        noted
    }

    /// A name is gone. Answers the staged copy of what stood there.
    fn note_removed(&self, place: &Place, last: Option<Entry>) -> Option<Arc<Staged>> {
        let mut state = self.state.lock();
        let staged = state.staged_at(place);
        state.inodes.orphan(place, last);
        state.name_changed(place);
        staged
    }
}

impl Found {
    /// File or directory.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Found::Staged(_) => Kind::File,
            Found::Entry(entry) => entry.kind,
        }
    }

    /// Whether it stands on the vehicle, and is not only staged.
    pub(super) fn is_on_vehicle(&self) -> bool {
        match self {
            Found::Staged(staged) => staged.is_on_vehicle(),
            Found::Entry(_) => true,
        }
    }
}
