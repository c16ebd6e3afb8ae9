//! The model: a directory tree in memory that does what POSIX says.

use std::collections::BTreeMap;

/// A result, or the errno.
pub type Outcome<T> = Result<T, i32>;

/// The names that lead from the root to a file.
pub type Path = Vec<&'static str>;

/// What a file holds.
pub trait Content: Default + Clone {
    /// The file is emptied.
    fn clear(&mut self);
}

impl Content for Vec<u8> {
    fn clear(&mut self) {
        Vec::clear(self);
    }
}

/// A tree in memory that does what POSIX says. Nodes are never given back.
#[derive(Clone)]
pub struct Model<C> {
    pub nodes: Vec<Node<C>>,
}

#[derive(Debug, Clone)]
pub enum Node<C> {
    File { bytes: C, linked: bool },
    Directory(BTreeMap<&'static str, usize>),
}

pub const ROOT: usize = 0;

impl<C: Content> Model<C> {
    pub fn walk(&self, path: &[&str]) -> Outcome<usize> {
        path.iter().try_fold(ROOT, |at, name| match &self.nodes[at] {
            Node::Directory(names) => names.get(name).copied().ok_or(libc::ENOENT),
            Node::File { .. } => Err(libc::ENOTDIR),
        })
    }

    pub fn parent(&mut self, path: &[&str]) -> Outcome<&mut BTreeMap<&'static str, usize>> {
        let at = self.walk(&path[..path.len() - 1])?;
        match &mut self.nodes[at] {
            Node::Directory(names) => Ok(names),
            Node::File { .. } => Err(libc::ENOTDIR),
        }
    }

    pub fn add(&mut self, path: &Path, node: Node<C>) -> Outcome<usize> {
        let fresh = self.nodes.len();
        self.parent(path)?.insert(path[path.len() - 1], fresh);
        self.nodes.push(node);
        Ok(fresh)
    }

    pub fn bytes(&mut self, node: usize) -> Outcome<&mut C> {
        match &mut self.nodes[node] {
            Node::File { bytes, .. } => Ok(bytes),
            Node::Directory(_) => Err(libc::EISDIR),
        }
    }

    pub fn is_directory(&self, node: usize) -> bool {
        matches!(self.nodes[node], Node::Directory(_))
    }

    pub fn is_empty(&self, node: usize) -> bool {
        matches!(&self.nodes[node], Node::Directory(names) if names.is_empty())
    }

    pub fn is_linked(&self, node: usize) -> bool {
        matches!(self.nodes[node], Node::File { linked: true, .. })
    }

    pub fn open(&mut self, path: &Path, flags: i32, create: bool) -> Outcome<usize> {
        let node = match self.walk(path) {
            Ok(_) if create && flags & libc::O_EXCL != 0 => return Err(libc::EEXIST),
            Err(libc::ENOENT) if create => {
                return self.add(path, Node::File { bytes: C::default(), linked: true });
            }
            found => found?,
        };
        let bytes = self.bytes(node)?;
        if flags & libc::O_TRUNC != 0 {
            bytes.clear();
        }
        Ok(node)
    }

    pub fn remove(&mut self, path: &Path, directory: bool) -> Outcome<()> {
        let node = self.walk(path)?;
        match (directory, self.is_directory(node)) {
            (true, false) => return Err(libc::ENOTDIR),
            (false, true) => return Err(libc::EISDIR),
            (true, true) if !self.is_empty(node) => return Err(libc::ENOTEMPTY),
            (true, true) | (false, false) => {}
        }
        self.unlink_node(node);
        self.parent(path)?.remove(path[path.len() - 1]);
        Ok(())
    }

    pub fn unlink_node(&mut self, node: usize) {
        if let Node::File { linked, .. } = &mut self.nodes[node] {
            *linked = false;
        }
    }

    pub fn rename(&mut self, from: &Path, to: &Path, no_replace: bool) -> Outcome<()> {
        self.parent(from)?;
        self.parent(to)?;
        let source = self.walk(from)?;
        let target = self.walk(to).ok();
        if no_replace && target.is_some() {
            return Err(libc::EEXIST);
        }
        if from == to {
            return Ok(());
        }
        if to.starts_with(from) {
            return Err(libc::EINVAL);
        }
        if from.starts_with(to) {
            return Err(libc::ENOTEMPTY);
        }
        if let Some(target) = target {
            match (self.is_directory(source), self.is_directory(target)) {
                (true, false) => return Err(libc::ENOTDIR),
                (false, true) => return Err(libc::EISDIR),
                (true, true) if !self.is_empty(target) => return Err(libc::ENOTEMPTY),
                (true, true) | (false, false) => self.unlink_node(target),
            }
        }
        self.parent(from)?.remove(from[from.len() - 1]);
        self.parent(to)?.insert(to[to.len() - 1], source);
        Ok(())
    }

    /// Every file with its bytes, every directory with nothing.
    pub fn tree(&self, node: usize, path: &str, tree: &mut BTreeMap<String, Option<C>>) {
        match &self.nodes[node] {
            Node::File { bytes, .. } => {
                tree.insert(path.into(), Some(bytes.clone()));
            }
            Node::Directory(names) => {
                tree.insert(path.into(), None);
                for (name, child) in names {
                    self.tree(*child, &format!("{path}/{name}"), tree);
                }
            }
        }
    }
}
