//! Changes on the far side: removing, making and renaming. What does not fit is refused before
//! anything is sent, because servers differ: some remove a directory when told to remove a file, and
//! NuttX moves a directory into the one that it should replace.

use super::{Error, Found, Vehicle};
use crate::remote::ask::{self, ask};
use crate::remote::{self, Class, Entry, Kind, Op, RemotePath, respell, save};

impl Vehicle {
    /// Removes a file.
    ///
    /// # Errors
    /// As [`Vehicle::find`]; a directory is [`remote::Error::IsADirectory`].
    pub fn remove_file(&self, path: &RemotePath) -> Result<(), Error> {
        match self.find(path)? {
            Found::Directory => Err(Error::remote(path, remote::Error::IsADirectory)),
            Found::File(_) => self.change(path, Op::Remove { path: path.clone() }),
        }
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As [`Vehicle::find`]; [`remote::Error::NotADirectory`], [`remote::Error::NotEmpty`], and
    /// [`remote::Error::Busy`] for the root.
    pub fn remove_directory(&self, path: &RemotePath) -> Result<(), Error> {
        if path.is_root() {
            return Err(Error::remote(path, remote::Error::Busy));
        }
        match self.find(path)? {
            Found::File(_) => return Err(Error::remote(path, remote::Error::NotADirectory)),
            Found::Directory => {}
        }
        if !self.is_empty(path)? {
            return Err(Error::remote(path, remote::Error::NotEmpty));
        }
        self.change(path, Op::RemoveDirectory { path: path.clone() })
    }

    /// Removes a file, or a directory with all that is in it, unfinished uploads of ours included; what
    /// lies deepest goes first. `each` is told how every removal ended, and ends the whole by an error:
    /// else what is left is tried all the same, and a directory that keeps something stays.
    ///
    /// # Errors
    /// What `each` answers.
    pub fn remove_tree<E>(
        &self,
        path: &RemotePath,
        each: &mut dyn FnMut(Result<(), Error>) -> Result<(), E>,
    ) -> Result<(), E> {
        if path.is_root() {
            return each(Err(Error::remote(path, remote::Error::Busy)));
        }
        match self.find(path) {
            Ok(Found::File(_)) => self.remove_below(path, Kind::File, each).map(drop),
            Ok(Found::Directory) => self.remove_below(path, Kind::Directory, each).map(drop),
            Err(error) => each(Err(error)),
        }
    }

    /// Whether it is gone. Kinds are those that the listing above told, so that each directory is
    /// listed once.
    fn remove_below<E>(
        &self,
        path: &RemotePath,
        kind: Kind,
        each: &mut dyn FnMut(Result<(), Error>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let path = path.clone();
        if kind == Kind::Directory {
            // An FTP server's symbolic link looks like the directory that it leads to: it must go, and
            // not what is there. A directory is refused, or goes here when it is empty.
            if self.change(&path, Op::Remove { path: path.clone() }).is_ok() {
                return each(Ok(())).map(|()| true);
            }
            let entries = match self.entries(&path) {
                Ok(entries) => entries,
                Err(error) => return each(Err(error)).map(|()| false),
            };
            let mut empty = true;
            for entry in entries {
                empty &= self.remove_below(&path.join(&entry.name), entry.kind, each)?;
            }
            if !empty {
                return Ok(false);
            }
        }
        let removed = match kind {
            Kind::File => self.change(&path, Op::Remove { path: path.clone() }),
            Kind::Directory => self.change(&path, Op::RemoveDirectory { path: path.clone() }),
        };
        let gone = removed.is_ok();
        each(removed).map(|()| gone)
    }

    /// Makes a directory in one that is there.
    ///
    /// # Errors
    /// As [`Vehicle::find`] for the directory above; [`remote::Error::Exists`] when the name is taken.
    pub fn make_directory(&self, path: &RemotePath) -> Result<(), Error> {
        match self.find(path) {
            Ok(_) => return Err(Error::remote(path, remote::Error::Exists)),
            Err(Error::Remote { error: remote::Error::NotFound, .. }) => {}
            Err(error) => return Err(error),
        }
        match self.change(path, Op::MakeDirectory { path: path.clone() }) {
            // Some servers refuse the second copy of a request that the network repeated.
            Err(Error::Remote { error: remote::Error::Exists, .. })
                if matches!(self.find(path), Ok(Found::Directory)) && self.is_empty(path)? =>
            {
                Ok(())
            }
            made => made,
        }
    }

    /// Renames a file or directory. A file at `to` is replaced, in one step where the server does
    /// that; an empty directory is replaced by a directory.
    ///
    /// # Errors
    /// As [`Vehicle::find`]; [`remote::Error::IsADirectory`] and [`remote::Error::NotADirectory`] when
    /// what stands at `to` is of the other kind, [`remote::Error::NotEmpty`],
    /// [`remote::Error::Invalid`] for a directory that would come to lie in itself, and
    /// [`remote::Error::Busy`] for the root.
    pub fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Error> {
        let of_from = |error| Error::remote(from, error);
        let of_to = |error| Error::remote(to, error);
        if from.is_root() || to.is_root() {
            return Err(of_from(remote::Error::Busy));
        }
        let source = self.find(from)?;
        if from == to {
            return Ok(());
        }
        if source == Found::Directory && to.is_within(from) {
            return Err(of_to(remote::Error::Invalid));
        }
        let target = match self.find(to) {
            Ok(found) => Some(found),
            Err(Error::Remote { error: remote::Error::NotFound, .. }) => None,
            Err(error) => return Err(error),
        };
        match (&source, &target) {
            (Found::File(_), Some(Found::Directory)) => Err(of_to(remote::Error::IsADirectory)),
            (Found::Directory, Some(Found::File(_))) => Err(of_to(remote::Error::NotADirectory)),
            (Found::File(_), Some(Found::File(_))) => self.replace(from, to),
            (Found::Directory, Some(Found::Directory)) => {
                self.remove_directory(to)?;
                self.rename_free(from, to)
            }
            (Found::File(_) | Found::Directory, None) => self.rename_free(from, to),
        }
    }

    fn replace(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Error> {
        let replaced = save::replace(&self.remote, from, to, self.patience);
        self.interrupt.block_on(replaced)?.map_err(|error| Error::remote(from, error))
    }

    /// To a name that no listing shows.
    fn rename_free(&self, from: &RemotePath, to: &RemotePath) -> Result<(), Error> {
        if from.as_bytes().eq_ignore_ascii_case(to.as_bytes()) {
            // A disk that does not tell case apart may take the new name for the old file.
            let respelled = respell::respell(&self.remote, from, to, self.patience);
            return self.interrupt.block_on(respelled)?.map_err(|error| Error::remote(from, error));
        }
        self.change(from, Op::Rename { from: from.clone(), to: to.clone() })
    }

    fn is_empty(&self, path: &RemotePath) -> Result<bool, Error> {
        let entries = self.entries(path)?;
        if !entries.is_empty() && entries.iter().all(|entry| save::is_temporary(&entry.name)) {
            tracing::warn!(%path, "unfinished uploads are in it, which are not shown");
        }
        Ok(entries.is_empty())
    }

    /// Everything in a directory, which it must be known to be.
    pub(super) fn entries(&self, path: &RemotePath) -> Result<Vec<Entry>, Error> {
        // Directories that hold themselves end somewhere, whatever a server says.
        if path.as_bytes().len() > self.remote.status().path_bytes_max {
            return Err(Error::remote(path, remote::Error::PathTooLong));
        }
        let listed = ask::list(&self.remote, path, self.patience);
        self.interrupt.block_on(listed)?.map_err(|error| Error::remote(path, error))
    }

    fn change(&self, path: &RemotePath, op: Op) -> Result<(), Error> {
        let changed = ask(&self.remote, op, Class::Metadata, self.patience);
        let changed = self.interrupt.block_on(changed)?;
        changed.map(drop).map_err(|error| Error::remote(path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{Bench, kind, path};
    use remote::Error::*;

    fn sent(bench: &Bench, what: &str) -> usize {
        bench.memory.log().iter().filter(|op| op.starts_with(what)).count()
    }

    #[test]
    fn what_is_of_the_other_kind_is_not_touched() {
        let bench = Bench::with(&[("/d/f", b"1"), ("/g", b"2")]);
        let vehicle = &bench.vehicle;
        assert_eq!(kind(vehicle.remove_file(&path("/d")).unwrap_err()), IsADirectory);
        assert_eq!(kind(vehicle.remove_directory(&path("/g")).unwrap_err()), NotADirectory);
        assert_eq!(kind(vehicle.remove_directory(&path("/d")).unwrap_err()), NotEmpty);
        assert_eq!(kind(vehicle.remove_directory(&path("/")).unwrap_err()), Busy);
        assert_eq!(kind(vehicle.make_directory(&path("/g")).unwrap_err()), Exists);
        assert_eq!(kind(vehicle.rename(&path("/g"), &path("/d")).unwrap_err()), IsADirectory);
        assert_eq!(kind(vehicle.rename(&path("/d"), &path("/g")).unwrap_err()), NotADirectory);
        assert_eq!(kind(vehicle.rename(&path("/d"), &path("/d/e")).unwrap_err()), Invalid);
        assert_eq!(kind(vehicle.rename(&path("/no"), &path("/d/e")).unwrap_err()), NotFound);
        assert_eq!(sent(&bench, "Rem") + sent(&bench, "Make") + sent(&bench, "Ren"), 0);
    }

    #[test]
    fn directories_are_made_and_things_removed_and_renamed() {
        let bench = Bench::with(&[("/a", b"1"), ("/b", b"2")]);
        let vehicle = &bench.vehicle;
        vehicle.make_directory(&path("/d")).unwrap();
        vehicle.rename(&path("/a"), &path("/d/a")).unwrap();
        vehicle.rename(&path("/b"), &path("/d/a")).unwrap();
        assert_eq!(bench.memory.content("/d/a").unwrap(), b"2");
        vehicle.rename(&path("/d"), &path("/e")).unwrap();
        vehicle.remove_file(&path("/e/a")).unwrap();
        vehicle.remove_directory(&path("/e")).unwrap();
        assert!(bench.memory.names("/").is_empty());
    }

    #[test]
    fn another_spelling_of_a_name_never_removes_the_file() {
        let bench = Bench::with(&[("/a", b"1")]);
        bench.memory.fold_case();
        bench.vehicle.rename(&path("/a"), &path("/A")).unwrap();
        assert_eq!(bench.memory.names("/"), ["A"]);
    }

    #[test]
    fn a_taken_name_that_is_no_empty_directory_is_told() {
        let bench = Bench::with(&[]);
        bench.memory.fail_next("MakeDirectory", Exists);
        assert_eq!(kind(bench.vehicle.make_directory(&path("/d")).unwrap_err()), Exists);
    }

    #[test]
    fn a_tree_goes_from_its_leaves_and_keeps_the_way_to_what_stays() {
        let bench = Bench::with(&[("/t/a", b"1"), ("/t/u/b", b"2"), ("/t/u/c", b"3")]);
        // The first is for the directory itself, which could be a link.
        bench.memory.fail_next("Remove", IsADirectory);
        bench.memory.fail_next("Remove", Denied);
        let mut failed = Vec::new();
        let mut note = |removed: Result<(), Error>| -> Result<(), ()> {
            failed.extend(removed.err().map(kind));
            Ok(())
        };
        bench.vehicle.remove_tree(&path("/t"), &mut note).unwrap();
        assert_eq!(failed, [Denied]);
        assert_eq!(bench.memory.names("/t"), ["a"]);
        bench.vehicle.remove_tree(&path("/t"), &mut |removed| removed).unwrap();
        assert!(bench.memory.names("/").is_empty());
        let root = bench.vehicle.remove_tree(&path("/"), &mut |removed| removed);
        assert_eq!(kind(root.unwrap_err()), Busy);
    }
}
