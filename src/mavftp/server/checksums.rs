//! Checksums under way. Knows the wire and open files. A file is read in steps, so that nobody else
//! waits for a long one.

use std::collections::VecDeque;

use super::files::{EBUSY, ServedFile};
use super::order::Mark;
use super::path::ServedPath;
use crate::mavftp::wire::{Checksum, Nak, Payload};

/// Bytes read in one step.
const STEP_BYTES: usize = 256 * 1024;
/// Most checksums under way for one client.
const CLIENT_CHECKSUMS_MAX: usize = 4;
/// Most checksums under way for all.
const CHECKSUMS_MAX: usize = 16;

/// All checksums under way, the next to step first.
pub(super) struct Checksums<C, H> {
    running: VecDeque<Running<C, H>>,
}

struct Running<C, H> {
    client: C,
    request: Payload,
    path: ServedPath,
    file: H,
    size: u64,
    offset: u64,
    checksum: Checksum,
    begun: Mark,
}

impl<C: Copy + Ord, H: ServedFile> Checksums<C, H> {
    /// None yet.
    pub(super) fn new() -> Checksums<C, H> {
        Checksums { running: VecDeque::new() }
    }

    /// Whether this client's question about this file is being worked on; then its latest request
    /// is the one that will be answered, however often it asked.
    pub(super) fn is_asked_again(
        &mut self,
        client: C,
        path: &ServedPath,
        request: &Payload,
    ) -> bool {
        let same = |running: &&mut Running<C, H>| running.client == client && running.path == *path;
        match self.running.iter_mut().find(same) {
            Some(running) => {
                running.request = *request;
                true
            }
            None => false,
        }
    }

    /// Begins one. The answer comes from [`Checksums::step`].
    pub(super) fn begin(
        &mut self,
        client: C,
        request: &Payload,
        path: ServedPath,
        file: H,
        begun: Mark,
    ) -> Result<(), Nak> {
        let of_client = self.running.iter().filter(|running| running.client == client).count();
        if of_client >= CLIENT_CHECKSUMS_MAX || self.running.len() >= CHECKSUMS_MAX {
            return Err(Nak::FailErrno(EBUSY));
        }
        let size = file.size()?;
        let checksum = Checksum::new();
        self.running.push_back(Running {
            client,
            request: *request,
            path,
            file,
            size,
            offset: 0,
            checksum,
            begun,
        });
        Ok(())
    }

    /// Reads the next piece of one file; the answer when that was its last.
    pub(super) fn step(&mut self) -> Option<(C, Payload)> {
        let mut running = self.running.pop_front()?;
        let left = running.size - running.offset;
        let mut buffer = vec![0; usize::try_from(left).unwrap_or(STEP_BYTES).min(STEP_BYTES)];
        let count = match running.file.read_at(running.offset, &mut buffer) {
            Ok(count) => count,
            Err(nak) => return Some((running.client, Payload::nak(&running.request, nak))),
        };
        running.checksum.update(&buffer[..count]);
        running.offset += count as u64;
        // A file that became shorter ends here; one that grows is not followed.
        if running.offset < running.size && count > 0 {
            self.running.push_back(running);
            return None;
        }
        let value = running.checksum.value().to_le_bytes();
        Some((running.client, Payload::ack(&running.request).with_data(&value)))
    }

    /// Whether there is something to step.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Drops a client's, of those begun at such a moment.
    pub(super) fn forget(&mut self, client: C, which: impl Fn(&Mark) -> bool) {
        self.running.retain(|running| running.client != client || !which(&running.begun));
    }
}
