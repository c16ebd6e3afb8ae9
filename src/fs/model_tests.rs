//! Random operations, compared one by one with a directory tree in memory that does what POSIX says,
//! and at the end with what the vehicle holds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{RDONLY, RDWR, WRONLY, World};
use super::{FsError, Handle, Ino, SetAttr};
use crate::remote::Kind;
use posix::{Model, Node, Outcome, Path, ROOT};

mod posix;

/// What a program does. Paths are lists of one or two names.
#[derive(Debug, Clone)]
enum Step {
    Create { path: Path, flags: i32 },
    Open { path: Path, flags: i32 },
    Write { open: usize, offset: u64, bytes: Vec<u8> },
    Read { open: usize, offset: u64, size: usize },
    SetLength { open: usize, length: u64 },
    Truncate { path: Path, length: u64 },
    Flush { open: usize, vehicle_is_full: bool },
    Close { open: usize },
    Rename { from: Path, to: Path, no_replace: bool },
    Unlink { path: Path },
    MakeDirectory { path: Path },
    RemoveDirectory { path: Path },
    List { path: Path },
    Stat { path: Path },
    Wait { seconds: i64 },
}

fn path() -> impl Strategy<Value = Path> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![name().prop_map(|name| vec![name]), (name(), name()).prop_map(|(d, n)| vec![d, n])]
}

fn flags() -> impl Strategy<Value = i32> {
    let access = prop::sample::select(vec![RDONLY, WRONLY, RDWR, RDWR]);
    let more = prop::sample::select(vec![0, 0, 0, libc::O_APPEND, libc::O_TRUNC, libc::O_EXCL]);
    // What O_TRUNC does without leave to write is not defined.
    (access, more).prop_map(|(access, more)| {
        if access == RDONLY && more == libc::O_TRUNC { access } else { access | more }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let open = || 0usize..6;
    let offset = || prop_oneof![0u64..30, 0u64..9000];
    let length = || prop_oneof![Just(0u64), 0u64..30, 0u64..9000];
    let size = || prop_oneof![1usize..30, 1usize..6000];
    let bytes = (any::<u8>(), size()).prop_map(|(seed, size)| {
        (0..size).map(|at| seed.wrapping_add((at / 7) as u8)).collect::<Vec<u8>>()
    });
    prop_oneof![
        4 => (path(), flags()).prop_map(|(path, flags)| Step::Create { path, flags }),
        2 => (path(), flags()).prop_map(|(path, flags)| Step::Open { path, flags }),
        6 => (open(), offset(), bytes)
            .prop_map(|(open, offset, bytes)| Step::Write { open, offset, bytes }),
        4 => (open(), offset(), size())
            .prop_map(|(open, offset, size)| Step::Read { open, offset, size }),
        1 => (open(), length()).prop_map(|(open, length)| Step::SetLength { open, length }),
        1 => (path(), length()).prop_map(|(path, length)| Step::Truncate { path, length }),
        2 => (open(), any::<bool>())
            .prop_map(|(open, vehicle_is_full)| Step::Flush { open, vehicle_is_full }),
        4 => open().prop_map(|open| Step::Close { open }),
        4 => (path(), path(), prop::bool::weighted(0.2))
            .prop_map(|(from, to, no_replace)| Step::Rename { from, to, no_replace }),
        2 => path().prop_map(|path| Step::Unlink { path }),
        3 => path().prop_map(|path| Step::MakeDirectory { path }),
        1 => path().prop_map(|path| Step::RemoveDirectory { path }),
        2 => prop_oneof![path(), Just(vec![])].prop_map(|path| Step::List { path }),
        2 => path().prop_map(|path| Step::Stat { path }),
        1 => (1i64..20).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// The filesystem and its model, and what is open in both.
struct Pair {
    world: World,
    model: Model<Vec<u8>>,
    open: Vec<OpenPair>,
}

struct OpenPair {
    handle: Handle,
    node: usize,
    read: bool,
    write: bool,
    append: bool,
}

impl Pair {
    fn new() -> Pair {
        let world = World::with([("/a/b", &[3; 5000][..]), ("/c", b"hello")]);
        let mut model = Model { nodes: vec![Node::Directory(BTreeMap::new())] };
        let add = |model: &mut Model<_>, path: Path, node| model.add(&path, node).unwrap();
        add(&mut model, vec!["a"], Node::Directory(BTreeMap::new()));
        add(&mut model, vec!["a", "b"], Node::File { bytes: vec![3; 5000], linked: true });
        add(&mut model, vec!["c"], Node::File { bytes: b"hello".to_vec(), linked: true });
        Pair { world, model, open: Vec::new() }
    }

    /// The kernel's walk: one lookup for each name.
    fn walk(&self, path: &[&str]) -> Outcome<Ino> {
        self.world.try_ino(&path.join("/")).map_err(|error| error.errno())
    }

    fn parent<'a>(&self, path: &'a Path) -> Outcome<(Ino, &'a [u8])> {
        let (name, directory) = path.split_last().ok_or(libc::EINVAL)?;
        let ino = self.walk(directory)?;
        match errno(self.world.run(self.world.fs.getattr(ino, None)))?.kind {
            Kind::Directory => Ok((ino, name.as_bytes())),
            Kind::File => Err(libc::ENOTDIR),
        }
    }

    fn perform(&mut self, step: &Step) {
        match step {
            Step::Create { path, flags } => self.open(path, *flags, true),
            Step::Open { path, flags } => self.open(path, *flags, false),
            Step::Write { open, offset, bytes } => self.write(*open, *offset, bytes),
            Step::Read { open, offset, size } => self.read(*open, *offset, *size),
            Step::SetLength { open, length } => self.set_length(*open, *length),
            Step::Truncate { path, length } => self.truncate(path, *length),
            Step::Flush { open, vehicle_is_full } => self.flush(*open, *vehicle_is_full),
            Step::Close { open } => self.close(*open),
            Step::Rename { from, to, no_replace } => self.rename(from, to, *no_replace),
            Step::Unlink { path } => self.remove(path, false),
            Step::RemoveDirectory { path } => self.remove(path, true),
            Step::MakeDirectory { path } => self.make_directory(path),
            Step::List { path } => self.list(path),
            Step::Stat { path } => self.stat(path),
            Step::Wait { seconds } => self.world.wait(*seconds),
        }
    }

    fn open(&mut self, path: &Path, flags: i32, create: bool) {
        let real = self.open_real(path, flags, create);
        let expected = self.model.open(path, flags, create);
        assert_eq!(real.map(drop), expected.map(drop));
        let (Ok(handle), Ok(node)) = (real, expected) else { return };
        let mode = flags & libc::O_ACCMODE;
        self.open.push(OpenPair {
            handle,
            node,
            read: mode != WRONLY,
            write: mode != RDONLY,
            append: flags & libc::O_APPEND != 0,
        });
    }

    fn open_real(&self, path: &Path, flags: i32, create: bool) -> Outcome<Handle> {
        let fs = &self.world.fs;
        let (parent, name) = self.parent(path)?;
        match self.world.run(fs.lookup(parent, name)) {
            Ok(_) if create && flags & libc::O_EXCL != 0 => Err(libc::EEXIST),
            Ok(attr) => errno(self.world.run(fs.open(attr.ino, flags))).map(|opened| opened.handle),
            Err(FsError::Absent { .. }) if create => {
                errno(self.world.run(fs.create(parent, name, flags)))
                    .map(|(_, opened)| opened.handle)
            }
            Err(error) => Err(error.errno()),
        }
    }

    fn write(&mut self, open: usize, offset: u64, data: &[u8]) {
        let Some(open) = self.open.get(open).filter(|open| open.write) else { return };
        let written = self.world.run(self.world.fs.write(open.handle, offset, data.to_vec()));
        assert_eq!(written.unwrap() as usize, data.len());
        let bytes = self.model.bytes(open.node).unwrap();
        let start = if open.append { bytes.len() } else { offset as usize };
        let end = start + data.len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[start..end].copy_from_slice(data);
    }

    fn read(&mut self, open: usize, offset: u64, size: usize) {
        let Some(open) = self.open.get(open).filter(|open| open.read) else { return };
        let real = errno(self.world.run(self.world.fs.read(open.handle, offset, size)));
        // What was not fetched of a file before its removal is gone.
        if real == Err(libc::ESTALE) && !self.model.is_linked(open.node) {
            return;
        }
        let bytes = self.model.bytes(open.node).unwrap();
        let start = (offset as usize).min(bytes.len());
        let end = (start + size).min(bytes.len());
        assert_eq!(real.as_deref(), Ok(&bytes[start..end]));
    }

    fn set_length(&mut self, open: usize, length: u64) {
        let Some(open) = self.open.get(open).filter(|open| open.write) else { return };
        // The kernel names the inode along with the handle; a removed one still has its number.
        let ino = self.world.fs.state.lock().handles.file(open.handle).unwrap().ino;
        let change = SetAttr { size: Some(length), mtime: None };
        let attr = self.world.run(self.world.fs.setattr(ino, Some(open.handle), change)).unwrap();
        assert_eq!(attr.size, length);
        self.model.bytes(open.node).unwrap().resize(length as usize, 0);
    }

    fn truncate(&mut self, path: &Path, length: u64) {
        let change = SetAttr { size: Some(length), mtime: None };
        let fs = &self.world.fs;
        let real = self.walk(path).and_then(|ino| {
            errno(self.world.run(fs.setattr(ino, None, change))).map(|attr| attr.size)
        });
        let expected = self.model.walk(path).and_then(|node| {
            self.model.bytes(node)?.resize(length as usize, 0);
            Ok(length)
        });
        assert_eq!(real, expected);
    }

    fn flush(&mut self, open: usize, vehicle_is_full: bool) {
        let Some(open) = self.open.get(open) else { return };
        self.world.refuse_uploads(vehicle_is_full);
        let flushed = errno(self.world.flush(open.handle));
        self.world.refuse_uploads(false);
        assert!(
            flushed == Ok(()) || vehicle_is_full && flushed == Err(libc::ENOSPC),
            "{flushed:?}"
        );
    }

    fn close(&mut self, open: usize) {
        if open < self.open.len() {
            self.world.close(self.open.remove(open).handle);
        }
    }

    fn rename(&mut self, from: &Path, to: &Path, no_replace: bool) {
        let real = self.parent(from).and_then(|(parent, name)| {
            let (new_parent, new_name) = self.parent(to)?;
            let fs = &self.world.fs;
            errno(self.world.run(fs.rename(parent, name, new_parent, new_name, no_replace)))
        });
        assert_eq!(real, self.model.rename(from, to, no_replace));
    }

    fn remove(&mut self, path: &Path, directory: bool) {
        let fs = &self.world.fs;
        let real = self.parent(path).and_then(|(parent, name)| {
            errno(match directory {
                true => self.world.run(fs.rmdir(parent, name)),
                false => self.world.run(fs.unlink(parent, name)),
            })
        });
        assert_eq!(real, self.model.remove(path, directory));
    }

    fn make_directory(&mut self, path: &Path) {
        let real = self.parent(path).and_then(|(parent, name)| {
            errno(self.world.run(self.world.fs.mkdir(parent, name))).map(drop)
        });
        let expected = match self.model.walk(path) {
            Ok(_) => Err(libc::EEXIST),
            Err(libc::ENOENT) => self.model.add(path, Node::Directory(BTreeMap::new())).map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(real, expected);
    }

    fn list(&mut self, path: &Path) {
        let fs = &self.world.fs;
        let real = self.walk(path).and_then(|ino| errno(self.world.run(fs.opendir(ino))));
        let expected = self.model.walk(path).and_then(|node| match &self.model.nodes[node] {
            Node::Directory(names) => Ok(names),
            Node::File { .. } => Err(libc::ENOTDIR),
        });
        assert_eq!(real.map(drop), expected.map(drop));
        let (Ok(handle), Ok(expected)) = (real, expected) else { return };
        let mut names = self.world.rest(handle, 2);
        fs.releasedir(handle);
        names.sort();
        assert!(names.iter().eq(expected.keys()), "{names:?} {expected:?}");
    }

    fn stat(&mut self, path: &Path) {
        let fs = &self.world.fs;
        let real = self.walk(path).and_then(|ino| errno(self.world.run(fs.getattr(ino, None))));
        let expected = self.model.walk(path).map(|node| match &self.model.nodes[node] {
            Node::File { bytes, .. } => (Kind::File, bytes.len() as u64),
            Node::Directory(_) => (Kind::Directory, 0),
        });
        assert_eq!(real.map(|attr| (attr.kind, attr.size)), expected);
    }

    /// Closes everything, and holds the vehicle to the model.
    fn finish(mut self) {
        while !self.open.is_empty() {
            self.close(0);
        }
        // What was left of failed uploads is removed in the background.
        while self.world.step() {}
        let (mut expected, mut real) = (BTreeMap::new(), BTreeMap::new());
        self.model.tree(ROOT, "", &mut expected);
        self.far_tree("", &mut real);
        assert_eq!(real, expected);
        assert!(self.world.store.kept().is_empty());
        assert!(self.world.fs.state.lock().staged.is_empty());
        assert_eq!(self.world.remote.waiting(), 0);
    }

    fn far_tree(&self, path: &str, tree: &mut BTreeMap<String, Option<Vec<u8>>>) {
        let content = self.world.remote.content(path);
        if content.is_none() {
            for name in self.world.remote.names(path) {
                self.far_tree(&format!("{path}/{name}"), tree);
            }
        }
        tree.insert(path.into(), content);
    }
}

fn errno<T>(result: Result<T, FsError>) -> Outcome<T> {
    result.map_err(|error| error.errno())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn the_filesystem_does_what_a_posix_tree_does(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.perform(step);
        }
        pair.finish();
    }
}
