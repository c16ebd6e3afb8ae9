//! The one extended attribute that files have: the vehicle's own checksum of them.

use super::inodes::{Ino, Place};
use super::{Fs, FsError};
use crate::remote::Kind;

/// CRC32 of a file as the vehicle computes it, in [`CHECKSUM_DIGITS`] hexadecimal digits.
pub const CHECKSUM_NAME: &[u8] = b"user.mavftp.crc32";
/// How long its value is.
pub const CHECKSUM_DIGITS: usize = 8;
/// A larger file would keep the vehicle busy for too long, in bytes.
pub const CHECKSUM_BYTES_MAX: u64 = 2 << 20;

impl Fs {
    /// The value of an extended attribute. Only [`CHECKSUM_NAME`] is asked of the vehicle, and only
    /// when its value is wanted (`with_value`) and not just its length: a file larger than
    /// [`CHECKSUM_BYTES_MAX`] is `EFBIG`, one with changes that the vehicle lacks `EBUSY`, and a
    /// server that has no checksums `EOPNOTSUPP`. Any other name is `ENODATA` without a word.
    pub async fn getxattr(
        &self,
        ino: Ino,
        name: &[u8],
        with_value: bool,
    ) -> Result<Vec<u8>, FsError> {
        if name != CHECKSUM_NAME {
            return Err(FsError::NoAttribute);
        }
        let place = self.place_to_check(ino)?;
        let size = self.getattr(ino, None).await?.size;
        if size > CHECKSUM_BYTES_MAX {
            return Err(FsError::TooLarge);
        }
        if !with_value {
            return Ok(vec![b'0'; CHECKSUM_DIGITS]);
        }
        let checksum = self.cache.checksum(place.volume, &place.path).await?;
        Ok(format!("{checksum:08x}").into_bytes())
    }

    fn place_to_check(&self, ino: Ino) -> Result<Place, FsError> {
        let state = self.synced();
        if state.inodes.kind(ino) == Some(Kind::Directory) {
            return Err(FsError::NoAttribute);
        }
        if state.staged.get(&ino).is_some_and(|staged| staged.is_dirty()) {
            return Err(FsError::Unsent);
        }
        let place = state.inodes.place(ino).cloned().ok_or(FsError::Stale)?;
        // Made while they are read: no two checksums of them need agree.
        if self.is_made_up(&place) { Err(FsError::NoAttribute) } else { Ok(place) }
    }
}
