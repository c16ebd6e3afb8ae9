//! What a [`Program`] does with files that it opens, and what it holds each answer to. Must not know
//! the vehicle.

use mavftp_mount::fs::{Closing, Handle, Ino, SetAttr};

use super::posix::{Outcome, Path};
use super::program::{Open, Program, failed, is_failure};

impl Program {
    pub async fn open(&mut self, path: &Path, flags: i32, create: bool) {
        let real = self.open_real(path, flags, create).await;
        if failed(&real) {
            return;
        }
        let creates = self.model.walk(path).is_err();
        let expected = self.model.open(path, flags, create);
        assert_eq!(real.map(drop), expected.map(drop), "{}", self.trail);
        let (Ok((ino, handle)), Ok(node)) = (real, expected) else { return };
        if flags & libc::O_TRUNC != 0 {
            self.times.remove(&node);
        }
        let mode = flags & libc::O_ACCMODE;
        let (read, write) = (mode != libc::O_WRONLY, mode != libc::O_RDONLY);
        let append = flags & libc::O_APPEND != 0;
        let is_of_another = false;
        self.open.push(Open { handle, ino, node, read, write, append, creates, is_of_another });
    }

    async fn open_real(&mut self, path: &Path, flags: i32, create: bool) -> Outcome<(Ino, Handle)> {
        let fs = self.around.fs();
        let (parent, name) = self.parent(path).await?;
        match self.call(fs.lookup(parent, name)).await {
            Ok(attr) => {
                self.looked_up.push(attr.ino);
                if create && flags & libc::O_EXCL != 0 {
                    return Err(libc::EEXIST);
                }
                let opened = self.call(fs.open(attr.ino, flags)).await?;
                Ok((attr.ino, opened.handle))
            }
            Err(libc::ENOENT) if create => {
                let (attr, opened) = self.call(fs.create(parent, name, flags)).await?;
                self.looked_up.push(attr.ino);
                Ok((attr.ino, opened.handle))
            }
            Err(errno) => Err(errno),
        }
    }

    pub async fn write(&mut self, open: usize, offset: u64, data: Vec<u8>) {
        let Some(open) = self.open.get(open).filter(|open| open.write) else { return };
        let (handle, node, append) = (open.handle, open.node, open.append);
        let fs = self.around.fs();
        let written = self.call(fs.write(handle, offset, data.clone())).await;
        let put = |bytes: &mut Vec<u8>| {
            let start = if append { bytes.len() } else { offset as usize };
            bytes.resize(bytes.len().max(start + data.len()), 0);
            bytes[start..start + data.len()].copy_from_slice(&data);
        };
        self.times.remove(&node);
        let body = self.model.bytes(node).expect("it is a file");
        if !append {
            body.touch(offset);
        }
        match written {
            Ok(count) => {
                assert_eq!(count as usize, data.len());
                body.change(put);
            }
            Err(errno) => {
                assert!(is_failure(errno), "{}: {errno}", self.trail);
                body.perhaps_change(put);
            }
        }
    }

    pub async fn read(&mut self, open: usize, offset: u64, size: usize) {
        let at = open;
        let Some(open) = self.open.get(at).filter(|open| open.read) else { return };
        let (handle, node) = (open.handle, open.node);
        let fs = self.around.fs();
        let real = fs.read(handle, offset, size);
        // What was not fetched of a file before its removal is gone.
        let real = match self.model.is_linked(node) {
            true => self.call(real).await,
            false => real.await.map_err(|error| error.errno()),
        };
        self.meet_far_side();
        // It is read on of the vehicle before, whatever has been done to this one.
        if failed(&real) || self.open[at].is_of_another {
            return;
        }
        let real = real.unwrap_or_else(|errno| panic!("{}: errno {errno}", self.trail));
        let body = self.model.bytes(node).expect("it is a file");
        let before = body.now.clone();
        body.now.retain(|bytes| piece(bytes, offset, size) == real);
        if body.now.is_empty() {
            let expected = piece(&before[0], offset, size);
            panic!("{}: {}", self.trail, difference(&real, expected));
        }
    }

    pub async fn set_length(&mut self, open: usize, length: u64) {
        let Some(open) = self.open.get(open).filter(|open| open.write) else { return };
        let (handle, ino, node) = (open.handle, open.ino, open.node);
        let change = SetAttr { size: Some(length), mtime: None };
        let fs = self.around.fs();
        let real = self.call(fs.setattr(ino, Some(handle), change)).await;
        self.times.remove(&node);
        let body = self.model.bytes(node).expect("it is a file");
        body.touch(length);
        match real {
            Ok(attr) => {
                assert_eq!(attr.size, length, "{}", self.trail);
                body.change(|bytes| bytes.resize(length as usize, 0));
            }
            Err(errno) => {
                assert!(is_failure(errno), "{}: {errno}", self.trail);
                body.perhaps_change(|bytes| bytes.resize(length as usize, 0));
            }
        }
    }

    pub async fn truncate(&mut self, path: &Path, length: u64) {
        let change = SetAttr { size: Some(length), mtime: None };
        let fs = self.around.fs();
        let real = match self.walk(path).await {
            Ok(ino) => self.call(fs.setattr(ino, None, change)).await.map(|attr| attr.size),
            Err(errno) => Err(errno),
        };
        let mut after = self.model.clone();
        let expected = after.walk(path).and_then(|node| {
            let body = after.bytes(node)?;
            body.touch(length);
            body.change(|bytes| bytes.resize(length as usize, 0));
            // A file is lengthened by adding zeros, which may be cut.
            body.perhaps_sent();
            Ok((node, length))
        });
        if let Ok((node, _)) = expected {
            self.times.remove(&node);
        }
        if failed(&real) {
            return self.settle(&[path], after, expected.is_ok()).await;
        }
        assert_eq!(real, expected.map(|(_, length)| length), "{}", self.trail);
        if let Ok((node, _)) = expected {
            after.bytes(node).expect("it is a file").sent();
        }
        self.model = after;
    }

    pub async fn set_time(&mut self, path: &Path, time: i64) {
        let fs = self.around.fs();
        let change = SetAttr { size: None, mtime: Some(time) };
        let Ok(ino) = self.walk(path).await else { return };
        let real = self.call(fs.setattr(ino, None, change)).await;
        if failed(&real) {
            return;
        }
        let node = self.model.walk(path);
        assert_eq!(
            real.as_ref().map(drop).map_err(|errno| *errno),
            node.map(drop),
            "{}",
            self.trail
        );
        if let (Ok(attr), Ok(node)) = (real, node) {
            assert_eq!(attr.mtime, time, "{}", self.trail);
            // A directory's changes with what is in it.
            if !self.model.is_directory(node) {
                self.times.insert(node, time);
            }
        }
    }

    pub async fn flush(&mut self, open: usize, sync: bool) {
        let Some(open) = self.open.get(open) else { return };
        let (handle, node, write) = (open.handle, open.node, open.write || open.creates);
        let fs = self.around.fs();
        let flushed = match sync {
            true => self.call(fs.fsync(handle)).await,
            false => self.call(fs.flush(handle, Closing::Ordinary)).await,
        };
        self.flushed(node, write || sync, flushed);
    }

    fn flushed(&mut self, node: usize, write: bool, result: Outcome<()>) {
        let linked = self.model.is_linked(node);
        let troubled = self.around.was_troubled();
        let body = self.model.bytes(node).expect("it is a file");
        match result {
            Ok(()) if write && linked => body.sent(),
            Ok(()) => {}
            Err(errno) => {
                // A directory above may have been renamed after all; and PX4 gives the number of
                // the failure before for that of a full disk.
                let odd = [libc::ENOENT, libc::EEXIST].contains(&errno) && troubled;
                assert!(is_failure(errno) || odd, "{}: {errno}", self.trail);
                body.perhaps_sent();
                self.times.remove(&node);
            }
        }
    }

    /// What `close(2)` does to the only descriptor.
    pub async fn close(&mut self, open: usize) {
        let node = self.open[open].node;
        let body = self.model.bytes(node).expect("it is a file");
        let new = (body.far == [None]).then(|| body.now.clone());
        self.release(open).await;
        if self.writers(node) > 0 || !self.model.is_linked(node) {
            return;
        }
        let settled = self.model.bytes(node).expect("it is a file").is_settled();
        if let Some(path) = self.path_of(node).filter(|_| !settled) {
            self.settle(&[&path], self.model.clone(), true).await;
            let far = self.around.files.content(&format!("{}/{}", self.home, path.join("/")));
            let is_kept = |bytes: &Vec<u8>| self.around.store.has_kept(bytes);
            // Of what was fetched in part, only a part is kept.
            if let Some(new) = new.filter(|_| far.is_none()) {
                assert!(new.iter().any(is_kept), "{}: it is nowhere", self.trail);
            }
        }
    }

    /// Flushes and releases a handle; of which node.
    pub async fn release(&mut self, open: usize) -> usize {
        let Open { handle, node, write, creates, .. } = self.open.remove(open);
        let fs = self.around.fs();
        let flushed = self.call(fs.flush(handle, Closing::Ordinary)).await;
        self.flushed(node, write || creates, flushed);
        self.call(fs.release(handle)).await.expect("a handle that is open is released");
        node
    }
}

fn piece(bytes: &[u8], offset: u64, size: usize) -> &[u8] {
    let start = (offset as usize).min(bytes.len());
    &bytes[start..(start + size).min(bytes.len())]
}

/// Where two contents differ.
pub fn difference(real: &[u8], expected: &[u8]) -> String {
    let at = real.iter().zip(expected).position(|(one, other)| one != other);
    format!("{} bytes, not {}; they differ at {at:?}", real.len(), expected.len())
}
