//! A tree of files in memory, for simulation and tests: what [`Directory`] is on the disk. Knows
//! trait [`Files`] and nothing else.
//!
//! [`Directory`]: crate::mavftp::directory::Directory

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{Content, EFBIG, EINVAL, EISDIR, ENOSPC, ENOTDIR, ENOTEMPTY, Files, ServedFile};
use super::path::ServedPath;
use crate::mavftp::wire::{Nak, WireEntry};

/// Longest file held: memory is not sparse, and a client may ask for any length.
pub const MEMORY_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Files in memory. Clones share the tree, so that a test keeps one and the server the other.
#[derive(Clone, Default)]
pub struct MemoryFiles(Arc<Mutex<Tree>>);

/// An open file. It lives on when its name is removed or goes to another file.
#[derive(Clone)]
pub struct MemoryFile {
    tree: MemoryFiles,
    body: Arc<Mutex<Body>>,
}

#[derive(Default)]
struct Tree {
    /// Every node by its whole path; the root is not among them.
    nodes: BTreeMap<ServedPath, Node>,
    read_only: bool,
    /// What is written from now on bears this time, in seconds since 1970.
    time: Option<i64>,
    /// Bytes that all files together may hold.
    space: Option<u64>,
}

enum Node {
    Directory(Option<i64>),
    File(Arc<Mutex<Body>>),
}

#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    mtime: Option<i64>,
}

impl MemoryFiles {
    /// An empty, writable tree.
    pub fn new() -> MemoryFiles {
        MemoryFiles::default()
    }

    /// Puts a file there, or other bytes into it, and the directories above it. A path that is
    /// none is ignored, as is the root.
    pub fn insert(&self, path: &str, bytes: &[u8]) {
        let Ok(path) = ServedPath::parse(path.as_bytes()) else { return };
        let Some((parent, _)) = path.split() else { return };
        let mut tree = self.tree();
        tree.insert_directories(&parent);
        let body = Body { bytes: bytes.to_vec(), mtime: tree.time };
        tree.nodes.insert(path, Node::File(Arc::new(Mutex::new(body))));
    }

    /// Puts a directory there, and those above it.
    pub fn insert_directory(&self, path: &str) {
        if let Ok(path) = ServedPath::parse(path.as_bytes()) {
            self.tree().insert_directories(&path);
        }
    }

    /// A file's bytes; `None` where there is no file.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let path = ServedPath::parse(path.as_bytes()).ok()?;
        match self.tree().nodes.get(&path)? {
            Node::File(body) => Some(lock(body).bytes.clone()),
            Node::Directory(_) => None,
        }
    }

    /// Removes a file, or a directory with all in it.
    pub fn remove(&self, path: &str) {
        if let Ok(path) = ServedPath::parse(path.as_bytes()) {
            self.tree().nodes.retain(|node, _| *node != path && !is_below(node, &path));
        }
    }

    /// All files and directories, by path without a leading `/`, in order.
    pub fn paths(&self) -> Vec<Vec<u8>> {
        self.tree().nodes.keys().map(|path| path.as_bytes().to_vec()).collect()
    }

    /// Whether every change is refused from now on.
    pub fn set_read_only(&self, read_only: bool) {
        self.tree().read_only = read_only;
    }

    /// What is written from now on bears this time, in seconds since 1970; `None`: unknown.
    pub fn set_time(&self, time: Option<i64>) {
        self.tree().time = time;
    }

    /// How many bytes all files together may hold; beyond, writes fail as on a full card.
    pub fn set_space(&self, space: Option<u64>) {
        self.tree().space = space;
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.0)
    }

    fn writable(&self) -> Result<MutexGuard<'_, Tree>, Nak> {
        let tree = self.tree();
        if tree.read_only { Err(Nak::FileProtected) } else { Ok(tree) }
    }

    fn file(&self, body: &Arc<Mutex<Body>>) -> MemoryFile {
        MemoryFile { tree: self.clone(), body: body.clone() }
    }
}

impl Files for MemoryFiles {
    type File = MemoryFile;

    fn open_to_read(&self, path: &ServedPath) -> Result<MemoryFile, Nak> {
        let tree = self.tree();
        tree.body(path).map(|body| self.file(body))
    }

    fn open_to_write(&self, path: &ServedPath, content: Content) -> Result<MemoryFile, Nak> {
        let mut tree = self.writable()?;
        tree.check_parent(path)?;
        let time = tree.time;
        if !tree.exists(path) {
            let body = Body { bytes: Vec::new(), mtime: time };
            tree.nodes.insert(path.clone(), Node::File(Arc::new(Mutex::new(body))));
        }
        let body = tree.body(path)?;
        if content == Content::Empty {
            *lock(body) = Body { bytes: Vec::new(), mtime: time };
        }
        Ok(self.file(body))
    }

    fn list(&self, path: &ServedPath) -> Result<Vec<WireEntry>, Nak> {
        let tree = self.tree();
        match tree.nodes.get(path) {
            Some(Node::File(_)) => return Err(Nak::FailErrno(ENOTDIR)),
            None if !path.is_root() => return Err(Nak::FileNotFound),
            Some(Node::Directory(_)) | None => {}
        }
        let children = tree.nodes.iter().filter_map(|(node, content)| {
            let (parent, name) = node.split()?;
            (parent == *path).then(|| content.entry(name))
        });
        Ok(children.collect())
    }

    fn remove_file(&self, path: &ServedPath) -> Result<(), Nak> {
        let mut tree = self.writable()?;
        tree.body(path)?;
        tree.nodes.remove(path);
        Ok(())
    }

    fn remove_directory(&self, path: &ServedPath) -> Result<(), Nak> {
        let mut tree = self.writable()?;
        tree.check_directory(path)?;
        if path.is_root() {
            return Err(Nak::FileProtected);
        }
        if tree.nodes.keys().any(|node| is_below(node, path)) {
            return Err(Nak::FailErrno(ENOTEMPTY));
        }
        tree.nodes.remove(path);
        Ok(())
    }

    fn make_directory(&self, path: &ServedPath) -> Result<(), Nak> {
        let mut tree = self.writable()?;
        if tree.exists(path) {
            return Err(Nak::FileExists);
        }
        tree.check_parent(path)?;
        tree.insert_directories(path);
        Ok(())
    }

    fn rename(&self, old: &ServedPath, new: &ServedPath) -> Result<(), Nak> {
        let mut tree = self.writable()?;
        if old.is_root() || new.is_root() {
            return Err(Nak::FileProtected);
        }
        let moves_directory = match tree.nodes.get(old) {
            None => return Err(Nak::FileNotFound),
            Some(Node::Directory(_)) => true,
            Some(Node::File(_)) => false,
        };
        tree.check_parent(new)?;
        match tree.nodes.get(new) {
            _ if old == new => return Ok(()),
            Some(Node::Directory(_)) => return Err(Nak::FileExists),
            Some(Node::File(_)) if moves_directory => return Err(Nak::FailErrno(ENOTDIR)),
            Some(Node::File(_)) | None => {}
        }
        if is_below(new, old) {
            return Err(Nak::FailErrno(EINVAL));
        }
        tree.move_all(old, new);
        Ok(())
    }

    fn truncate(&self, path: &ServedPath, length: u64) -> Result<(), Nak> {
        let file = {
            let tree = self.writable()?;
            self.file(tree.body(path)?)
        };
        file.resize(length)
    }
}

impl ServedFile for MemoryFile {
    fn size(&self) -> Result<u64, Nak> {
        Ok(lock(&self.body).bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Nak> {
        let body = lock(&self.body);
        let start = usize::try_from(offset).map_or(body.bytes.len(), |at| at.min(body.bytes.len()));
        let rest = &body.bytes[start..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Nak> {
        let end = offset.checked_add(data.len() as u64).ok_or(Nak::FailErrno(EFBIG))?;
        if end > self.size()? {
            self.resize(end)?;
        }
        let time = self.tree.tree().time;
        let mut body = lock(&self.body);
        body.mtime = time;
        match body.bytes.get_mut(offset as usize..end as usize) {
            Some(place) => place.copy_from_slice(data),
            None => return Err(Nak::Fail),
        }
        Ok(())
    }
}

impl MemoryFile {
    fn resize(&self, length: u64) -> Result<(), Nak> {
        if length > MEMORY_FILE_BYTES_MAX {
            return Err(Nak::FailErrno(EFBIG));
        }
        let tree = self.tree.tree();
        let time = tree.time;
        let free = tree.space.map(|space| space.saturating_sub(tree.used()));
        drop(tree);
        let mut body = lock(&self.body);
        let more = length.saturating_sub(body.bytes.len() as u64);
        if more > 0 && free.is_some_and(|free| more > free) {
            return Err(Nak::FailErrno(ENOSPC));
        }
        body.bytes.resize(length as usize, 0);
        body.mtime = time;
        Ok(())
    }
}

impl Tree {
    fn exists(&self, path: &ServedPath) -> bool {
        path.is_root() || self.nodes.contains_key(path)
    }

    fn body(&self, path: &ServedPath) -> Result<&Arc<Mutex<Body>>, Nak> {
        match self.nodes.get(path) {
            Some(Node::File(body)) => Ok(body),
            Some(Node::Directory(_)) => Err(Nak::FailErrno(EISDIR)),
            None if path.is_root() => Err(Nak::FailErrno(EISDIR)),
            None => Err(Nak::FileNotFound),
        }
    }

    fn check_directory(&self, path: &ServedPath) -> Result<(), Nak> {
        match self.nodes.get(path) {
            Some(Node::Directory(_)) => Ok(()),
            Some(Node::File(_)) => Err(Nak::FailErrno(ENOTDIR)),
            None if path.is_root() => Ok(()),
            None => Err(Nak::FileNotFound),
        }
    }

    fn check_parent(&self, path: &ServedPath) -> Result<(), Nak> {
        path.split().map_or(Ok(()), |(parent, _)| self.check_directory(&parent))
    }

    fn insert_directories(&mut self, path: &ServedPath) {
        let mut above = ServedPath::root();
        for name in path.names() {
            above = above.join(name);
            let time = self.time;
            self.nodes.entry(above.clone()).or_insert(Node::Directory(time));
        }
    }

    fn move_all(&mut self, old: &ServedPath, new: &ServedPath) {
        let nodes = std::mem::take(&mut self.nodes);
        let moved = |path: ServedPath| match path.as_bytes().strip_prefix(old.as_bytes()) {
            Some([]) => new.clone(),
            Some([b'/', rest @ ..]) => new.join(rest),
            Some(_) | None => path,
        };
        let stays = nodes.into_iter().filter(|(path, _)| path != new);
        self.nodes = stays.map(|(path, node)| (moved(path), node)).collect();
    }

    fn used(&self) -> u64 {
        let length = |node: &Node| match node {
            Node::File(body) => lock(body).bytes.len() as u64,
            Node::Directory(_) => 0,
        };
        self.nodes.values().map(length).sum()
    }
}

impl Node {
    fn entry(&self, name: &[u8]) -> WireEntry {
        let (directory, size, mtime) = match self {
            Node::Directory(mtime) => (true, 0, *mtime),
            Node::File(body) => {
                let body = lock(body);
                (false, body.bytes.len() as u64, body.mtime)
            }
        };
        WireEntry { name: name.to_vec(), directory, size, mtime }
    }
}

fn is_below(path: &ServedPath, directory: &ServedPath) -> bool {
    let rest = path.as_bytes().strip_prefix(directory.as_bytes());
    directory.is_root() || rest.is_some_and(|rest| rest.starts_with(b"/"))
}

/// A test that panicked with the lock held says so itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
