//! What a [`Program`] does with names and directories, and what it holds each answer to. Must not know
//! the vehicle.

use std::collections::BTreeMap;

use mavftp_mount::remote::Kind;

use super::posix::{Node, Outcome, Path};
use super::program::{Program, failed};

impl Program {
    pub async fn rename(&mut self, from: &Path, to: &Path, no_replace: bool) {
        let fs = self.around.fs();
        let real = match (self.parent(from).await, self.parent(to).await) {
            (Ok((parent, name)), Ok((new_parent, new_name))) => {
                self.call(fs.rename(parent, name, new_parent, new_name, no_replace)).await
            }
            (Err(errno), _) | (_, Err(errno)) => Err(errno),
        };
        let mut after = self.model.clone();
        let replaced = after.walk(to).ok();
        let expected = after.rename(from, to, no_replace);
        let moved = after.walk(to).ok().filter(|_| expected.is_ok() && from != to);
        if let (Some(moved), Some(replaced)) = (moved, replaced) {
            let far = after.bytes(replaced).ok().map(|body| body.far.clone());
            if let (Ok(body), Some(far)) = (after.bytes(moved), far)
                && body.far.contains(&None)
            {
                // Only its name changed, here; the vehicle still has what it replaced.
                body.far.retain(Option::is_some);
                body.far.extend(far);
            }
        }
        if failed(&real) {
            return self.settle(&[from, to], after, expected.is_ok()).await;
        }
        // An unfinished upload that could not be removed is hidden, and in the way.
        if real == Err(libc::ENOTEMPTY) && self.has_unfinished(to) {
            return;
        }
        assert_eq!(real, expected, "{}", self.trail);
        self.model = after;
    }

    pub async fn remove(&mut self, path: &Path, directory: bool) {
        let fs = self.around.fs();
        let real = match self.parent(path).await {
            Ok((parent, name)) if directory => self.call(fs.rmdir(parent, name)).await,
            Ok((parent, name)) => self.call(fs.unlink(parent, name)).await,
            Err(errno) => Err(errno),
        };
        let mut after = self.model.clone();
        let expected = after.remove(path, directory);
        if failed(&real) {
            return self.settle(&[path], after, expected.is_ok()).await;
        }
        // An unfinished upload that could not be removed is hidden, and in the way.
        if real == Err(libc::ENOTEMPTY) && self.has_unfinished(path) {
            return;
        }
        assert_eq!(real, expected, "{}", self.trail);
        self.model = after;
    }

    pub async fn make_directory(&mut self, path: &Path) {
        let fs = self.around.fs();
        let real = match self.parent(path).await {
            Ok((parent, name)) => self.call(fs.mkdir(parent, name)).await.map(|attr| attr.ino),
            Err(errno) => Err(errno),
        };
        self.looked_up.extend(real.ok());
        let mut after = self.model.clone();
        let expected = match after.walk(path) {
            Ok(_) => Err(libc::EEXIST),
            Err(libc::ENOENT) => after.add(path, Node::Directory(BTreeMap::new())).map(drop),
            Err(errno) => Err(errno),
        };
        if failed(&real) {
            return self.settle(&[path], after, expected.is_ok()).await;
        }
        assert_eq!(real.map(drop), expected, "{}", self.trail);
        self.model = after;
    }

    /// Lists a directory; after its first entries `name` is removed from it, or made in it.
    pub async fn list(&mut self, path: &Path, name: Option<&'static str>) {
        let fs = self.around.fs();
        let real = match self.walk(path).await {
            Ok(ino) => self.call(fs.opendir(ino)).await,
            Err(errno) => Err(errno),
        };
        if failed(&real) {
            return;
        }
        let expected = self.names(path);
        assert_eq!(real.map(drop), expected.as_ref().map(drop).map_err(|e| *e), "{}", self.trail);
        let (Ok(handle), Ok(mut expected)) = (real, expected) else { return };
        let (mut names, mut cookie) = (Vec::new(), 0);
        let mut change = name;
        loop {
            let entries = self.call(fs.readdir(handle, cookie)).await;
            let Ok(entries) = entries else {
                return fs.releasedir(handle);
            };
            let Some(last) = entries.last() else { break };
            cookie = last.cookie;
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            names.extend(entries.iter().map(|entry| text(&entry.name)));
            if let Some(name) = change.take() {
                let child: Path = path.iter().copied().chain([name]).collect();
                match self.model.walk(&child).is_ok_and(|node| !self.model.is_directory(node)) {
                    true => Box::pin(self.remove(&child, false)).await,
                    false => Box::pin(self.make_directory(&child)).await,
                }
            }
        }
        fs.releasedir(handle);
        names.retain(|found| found != "." && found != ".." && Some(&**found) != name);
        names.sort();
        expected.retain(|found| Some(*found) != name);
        assert!(names.iter().eq(expected.iter()), "{}: {names:?} {expected:?}", self.trail);
    }

    fn names(&self, path: &Path) -> Outcome<Vec<&'static str>> {
        match &self.model.nodes[self.model.walk(path)?] {
            Node::Directory(names) => Ok(names.keys().copied().collect()),
            Node::File { .. } => Err(libc::ENOTDIR),
        }
    }

    pub async fn stat(&mut self, path: &Path) {
        let fs = self.around.fs();
        let real = match self.walk(path).await {
            Ok(ino) => self.call(fs.getattr(ino, None)).await,
            Err(errno) => Err(errno),
        };
        if failed(&real) {
            return;
        }
        let node = self.model.walk(path);
        assert_eq!(real.as_ref().map(drop).map_err(|e| *e), node.map(drop), "{}", self.trail);
        let (Ok(attr), Ok(node)) = (real, node) else { return };
        match &self.model.nodes[node] {
            Node::File { bytes, .. } => {
                let sizes: Vec<u64> = bytes.now.iter().map(|now| now.len() as u64).collect();
                assert_eq!(attr.kind, Kind::File, "{}", self.trail);
                assert!(
                    sizes.contains(&attr.size),
                    "{}: {} not of {sizes:?}",
                    self.trail,
                    attr.size
                );
            }
            Node::Directory(_) => assert_eq!(attr.kind, Kind::Directory, "{}", self.trail),
        }
        self.meet_far_side();
        if let Some(time) = self.times.get(&node) {
            assert_eq!(attr.mtime, *time, "{}: the time that was set", self.trail);
        }
    }
}
