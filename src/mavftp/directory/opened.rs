//! A file of the disk as a client has it open. Knows the quota, if there is one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::nak;
use super::quota::{Held, Quota};
use crate::mavftp::server::ServedFile;
use crate::mavftp::server::files::EFBIG;
use crate::mavftp::wire::Nak;

/// An open file of a [`Directory`](super::Directory).
pub struct OpenFile {
    file: Arc<File>,
    counted: Option<(Arc<Quota>, Held)>,
}

impl OpenFile {
    pub(super) fn new(file: File, quota: Option<&Arc<Quota>>) -> io::Result<OpenFile> {
        let file = Arc::new(file);
        let counted = match quota {
            Some(quota) => Some((quota.clone(), quota.hold(&file)?)),
            None => None,
        };
        Ok(OpenFile { file, counted })
    }

    /// Sets the length, in bytes.
    pub(super) fn resize(&self, length: u64) -> Result<(), Nak> {
        self.lengthen(length, || self.file.set_len(length).map_err(nak))
    }

    fn lengthen(&self, length: u64, change: impl FnOnce() -> Result<(), Nak>) -> Result<(), Nak> {
        match &self.counted {
            Some((quota, _)) => quota.lengthen(&self.file, length, change),
            None => change(),
        }
    }
}

impl ServedFile for OpenFile {
    fn size(&self) -> Result<u64, Nak> {
        Ok(self.file.metadata().map_err(nak)?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Nak> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(nak(error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Nak> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(data.len() as u64).ok_or(Nak::FailErrno(EFBIG))?;
        self.lengthen(end, || self.file.write_all_at(data, offset).map_err(nak))
    }
}
