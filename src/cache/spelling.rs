//! Names that differ in case only: whether the far side tells them apart, and which it means. FAT cards
//! do not, Linux does. It is asked only where such a pair occurs, and remembered for the volume.

use super::{Cache, VolumeId};
use crate::remote::ask::ask;
use crate::remote::{Class, Error, Kind, Name, Op, RemotePath};

impl Cache {
    /// What stands at `path` under another spelling, where the caller knows that nothing has this one;
    /// `None` where nothing does, or where the far side tells upper from lower case.
    ///
    /// # Errors
    /// When the far side could not be asked.
    pub async fn other_spelling(
        &self,
        volume: VolumeId,
        path: &RemotePath,
    ) -> Result<Option<RemotePath>, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(None) };
        if !has_case(&name) {
            return Ok(None);
        }
        let Some(alike) = self.listing(volume, &parent).find_alike(&name).await? else {
            return Ok(None);
        };
        let folds = self.asks_whether_it_folds(volume, path, alike.kind).await?;
        Ok(folds.then(|| parent.join(&alike.name)))
    }

    /// Whether the volume is known to take names that differ in case only for the same; `None` while it
    /// was not asked.
    pub fn folds_case(&self, volume: VolumeId) -> Option<bool> {
        self.meet(volume).ok()?;
        self.with(|known| known.folds.get(&volume).copied())
    }

    /// Whether it does, asked where that is not known: by what answers to `other`, which is listed in
    /// another spelling only.
    async fn asks_whether_it_folds(
        &self,
        volume: VolumeId,
        other: &RemotePath,
        kind: Kind,
    ) -> Result<bool, Error> {
        if let Some(folds) = self.folds_case(volume) {
            return Ok(folds);
        }
        let (far, _) = self.meet(volume)?;
        let path = other.below(&far.root);
        let question = match kind {
            Kind::File => Op::Size { path },
            Kind::Directory => Op::List { path },
        };
        let folds = match ask(&far.remote, question, Class::Metadata, self.options.patience).await {
            Ok(_) => true,
            // An FTP server without SIZE cannot say; most run where case counts.
            Err(Error::NotFound | Error::Unsupported) => false,
            Err(error) => return Err(error),
        };
        tracing::debug!(%other, folds, "asked whether names are told apart by case");
        self.with(|known| known.folds.insert(volume, folds));
        Ok(folds)
    }
}

/// Whether two names differ in the case of ASCII letters at most.
pub(super) fn are_alike(one: &Name, other: &Name) -> bool {
    one.as_bytes().eq_ignore_ascii_case(other.as_bytes())
}

fn has_case(name: &Name) -> bool {
    name.as_bytes().iter().any(u8::is_ascii_alphabetic)
}
