//! A program that works in a directory of its own, and holds every answer to what POSIX says. An
//! operation that failed for a reason has left the old state or the new one: `settling` finds out
//! which. Must not know the vehicle.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use mavftp_mount::fs::{Closing, FsError, Handle, Ino, SetAttr};
use mavftp_mount::remote::Kind;

use super::flight::Surroundings;
use super::posix::{Content, Model, Node, Outcome, Path, ROOT};
use super::steps::Step;

/// No operation takes longer, however much is tried again in it.
const LIMIT: Duration = Duration::from_secs(120);

/// What a file holds, as far as one can know.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// What programs see: one of these.
    pub now: Vec<Vec<u8>>,
    /// What the vehicle has under its name: one of these.
    pub far: Vec<Option<Vec<u8>>>,
}

impl Default for Body {
    fn default() -> Body {
        Body { now: vec![Vec::new()], far: vec![None] }
    }
}

impl Content for Body {
    fn clear(&mut self) {
        self.now = vec![Vec::new()];
    }
}

impl Body {
    /// A file that the vehicle has.
    pub fn stored(bytes: Vec<u8>) -> Body {
        Body { far: vec![Some(bytes.clone())], now: vec![bytes] }
    }

    /// Whether nothing is left to send, and nothing to find out.
    pub fn is_settled(&self) -> bool {
        matches!((&self.now[..], &self.far[..]), ([now], [Some(far)]) if now == far)
    }

    /// The vehicle has what is seen.
    fn sent(&mut self) {
        self.far = self.now.iter().cloned().map(Some).collect();
    }

    /// The vehicle may have what is seen.
    pub fn perhaps_sent(&mut self) {
        for now in &self.now {
            if !self.far.contains(&Some(now.clone())) {
                self.far.push(Some(now.clone()));
            }
        }
    }

    fn change(&mut self, change: impl Fn(&mut Vec<u8>)) {
        self.now.iter_mut().for_each(change);
    }

    /// The change was made, or not.
    fn perhaps_change(&mut self, change: impl Fn(&mut Vec<u8>)) {
        let mut changed = self.now.clone();
        changed.iter_mut().for_each(change);
        changed.retain(|bytes| !self.now.contains(bytes));
        self.now.extend(changed);
    }
}

/// A file that is open.
pub struct Open {
    pub handle: Handle,
    pub ino: Ino,
    pub node: usize,
    pub read: bool,
    pub write: bool,
    pub append: bool,
    /// It made the file, whose existence is sent when it is closed.
    pub creates: bool,
}

/// One program and its model.
pub struct Program {
    pub around: Rc<Surroundings>,
    /// The directory it works in.
    pub home: String,
    pub model: Model<Body>,
    pub open: Vec<Open>,
    /// Times that were set, by node.
    pub times: HashMap<usize, i64>,
    /// This vehicle cannot replace a file in one step.
    pub replaces_in_two_steps: bool,
    /// What waits for its repair fails as well.
    pub strict: bool,
    looked_up: Vec<Ino>,
    pub trail: String,
}

impl Program {
    pub fn new(around: Rc<Surroundings>, number: usize, replaces_in_two_steps: bool) -> Program {
        let home = format!("p{number}");
        let mut model = Model { nodes: vec![Node::Directory(BTreeMap::new())] };
        let mut put = |path: Path, node| model.add(&path, node).expect("it has a parent");
        let file = |bytes: &[u8]| Node::File { bytes: Body::stored(bytes.to_vec()), linked: true };
        put(vec!["a"], Node::Directory(BTreeMap::new()));
        put(vec!["a", "b"], file(&[3; 5000]));
        put(vec!["c"], file(b"hello there"));
        around.files.insert(&format!("{home}/a/b"), &[3; 5000]);
        around.files.insert(&format!("{home}/c"), b"hello there");
        let (open, times, looked_up) = Default::default();
        let trail = String::new();
        Program {
            around,
            home,
            model,
            open,
            times,
            replaces_in_two_steps,
            strict: false,
            looked_up,
            trail,
        }
    }

    /// Does all of it, closes what is open, and holds the vehicle to the model.
    pub async fn run(&mut self, steps: &[Step]) {
        for (count, step) in steps.iter().enumerate() {
            self.trail = format!("{} step {count}: {step:?}", self.home);
            if std::env::var_os("MAVFTP_TRAIL").is_some() {
                eprintln!("{:?} {}", self.around.elapsed(), self.trail);
            }
            self.perform(step).await;
            if count % 3 > 0 {
                self.forget();
            }
        }
        self.trail = format!("{} at the end", self.home);
        while !self.open.is_empty() {
            self.close(0).await;
        }
        self.forget();
        self.around.calm().await;
        self.check_far();
    }

    async fn perform(&mut self, step: &Step) {
        match step {
            Step::Create { path, flags } => self.open(path, *flags, true).await,
            Step::Open { path, flags } => self.open(path, *flags, false).await,
            Step::Write { open, offset, length, seed } => {
                let bytes = (0..*length).map(|at| seed.wrapping_add((at / 7) as u8)).collect();
                self.write(*open, *offset, bytes).await;
            }
            Step::Read { open, offset, size } => self.read(*open, *offset, *size).await,
            Step::SetLength { open, length } => self.set_length(*open, *length).await,
            Step::Truncate { path, length } => self.truncate(path, *length).await,
            Step::SetTime { path, time } => self.set_time(path, *time).await,
            Step::Flush { open } => self.flush(*open, false).await,
            Step::Sync { open } => self.flush(*open, true).await,
            Step::Close { open } if *open < self.open.len() => self.close(*open).await,
            Step::Close { .. } => {}
            Step::Rename { from, to, no_replace } => self.rename(from, to, *no_replace).await,
            Step::Unlink { path } => self.remove(path, false).await,
            Step::RemoveDirectory { path } => self.remove(path, true).await,
            Step::MakeDirectory { path } => self.make_directory(path).await,
            Step::List { path } => self.list(path, None).await,
            Step::ListWhileChanging { path, name } => self.list(path, Some(name)).await,
            Step::Stat { path } => self.stat(path).await,
            Step::Watch { pieces } => super::watching::watch(&self.around, *pieces).await,
            Step::Wait { millis } => self.around.sleep(Duration::from_millis(*millis)).await,
        }
    }

    /// Waits for an operation, and holds it to its time and its errors to their causes.
    pub async fn call<T>(&self, future: impl Future<Output = Result<T, FsError>>) -> Outcome<T> {
        let begun = self.around.now();
        let result = future.await;
        let took = self.around.now() - begun;
        if took > self.around.longest.borrow().0 {
            *self.around.longest.borrow_mut() = (took, self.trail.clone());
        }
        assert!(took <= LIMIT, "{}: took {took:?}", self.trail);
        let result = result.map_err(|error| (error.errno(), error.to_string()));
        if let Err((errno, text)) = &result
            && is_failure(*errno)
        {
            *self.around.failures.borrow_mut().entry(*errno).or_default() += 1;
            // What was open when another vehicle may have come in its place is stale from then on.
            let ever = *errno == libc::ESTALE && self.around.was_troubled();
            let explained = self.around.lossy || self.around.is_troubled() || ever;
            assert!(explained, "{}: failed without a cause: {text}", self.trail);
        }
        result.map_err(|(errno, _)| errno)
    }

    /// The kernel's walk: one lookup for each name.
    async fn walk(&mut self, path: &[&str]) -> Outcome<Ino> {
        let mut ino = Ino::ROOT;
        let home = self.home.clone();
        for name in std::iter::once(&*home).chain(path.iter().copied()) {
            let fs = self.around.fs();
            ino = self.call(fs.lookup(ino, name.as_bytes())).await?.ino;
            self.looked_up.push(ino);
        }
        Ok(ino)
    }

    async fn parent<'a>(&mut self, path: &'a Path) -> Outcome<(Ino, &'a [u8])> {
        let (name, directory) = path.split_last().ok_or(libc::EINVAL)?;
        let ino = self.walk(directory).await?;
        let fs = self.around.fs();
        match self.call(fs.getattr(ino, None)).await?.kind {
            Kind::Directory => Ok((ino, name.as_bytes())),
            Kind::File => Err(libc::ENOTDIR),
        }
    }

    /// The kernel drops what it knows of names.
    fn forget(&mut self) {
        let fs = self.around.fs();
        self.looked_up.drain(..).for_each(|ino| fs.forget(ino, 1));
    }

    /// Writers of a node that are open.
    fn writers(&self, node: usize) -> usize {
        self.open.iter().filter(|open| open.node == node && (open.write || open.creates)).count()
    }

    async fn open(&mut self, path: &Path, flags: i32, create: bool) {
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
        self.open.push(Open { handle, ino, node, read, write, append, creates });
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

    async fn write(&mut self, open: usize, offset: u64, data: Vec<u8>) {
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

    async fn read(&mut self, open: usize, offset: u64, size: usize) {
        let Some(open) = self.open.get(open).filter(|open| open.read) else { return };
        let (handle, node) = (open.handle, open.node);
        let fs = self.around.fs();
        let real = fs.read(handle, offset, size);
        // What was not fetched of a file before its removal is gone.
        let real = match self.model.is_linked(node) {
            true => self.call(real).await,
            false => real.await.map_err(|error| error.errno()),
        };
        if failed(&real) {
            return;
        }
        let real = real.unwrap_or_else(|errno| panic!("{}: errno {errno}", self.trail));
        let body = self.model.bytes(node).expect("it is a file");
        let before = body.now.clone();
        body.now.retain(|bytes| piece(bytes, offset, size) == real);
        if body.now.is_empty() {
            // `a_removed_file_is_never_read_as_it_was_before_it_was_written` waits for its repair.
            body.now = before.clone();
            if !self.strict && !self.model.is_linked(node) && self.writers(node) == 0 {
                return;
            }
            let expected = piece(&before[0], offset, size);
            panic!("{}: {}", self.trail, difference(&real, expected));
        }
    }

    async fn set_length(&mut self, open: usize, length: u64) {
        let Some(open) = self.open.get(open).filter(|open| open.write) else { return };
        let (handle, ino, node) = (open.handle, open.ino, open.node);
        let change = SetAttr { size: Some(length), mtime: None };
        let fs = self.around.fs();
        let real = self.call(fs.setattr(ino, Some(handle), change)).await;
        self.times.remove(&node);
        let body = self.model.bytes(node).expect("it is a file");
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

    async fn truncate(&mut self, path: &Path, length: u64) {
        let change = SetAttr { size: Some(length), mtime: None };
        let fs = self.around.fs();
        let real = match self.walk(path).await {
            Ok(ino) => self.call(fs.setattr(ino, None, change)).await.map(|attr| attr.size),
            Err(errno) => Err(errno),
        };
        let mut after = self.model.clone();
        let expected = after.walk(path).and_then(|node| {
            let body = after.bytes(node)?;
            body.change(|bytes| bytes.resize(length as usize, 0));
            body.sent();
            Ok((node, length))
        });
        if let Ok((node, _)) = expected {
            self.times.remove(&node);
        }
        if failed(&real) {
            return self.settle(&[path], after, expected.is_ok()).await;
        }
        assert_eq!(real, expected.map(|(_, length)| length), "{}", self.trail);
        self.model = after;
    }

    async fn set_time(&mut self, path: &Path, time: i64) {
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

    async fn flush(&mut self, open: usize, sync: bool) {
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
    async fn close(&mut self, open: usize) {
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

    async fn rename(&mut self, from: &Path, to: &Path, no_replace: bool) {
        self.remove_doubt(from).await;
        self.remove_doubt(to).await;
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

    async fn remove(&mut self, path: &Path, directory: bool) {
        self.remove_doubt(path).await;
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

    async fn make_directory(&mut self, path: &Path) {
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
    async fn list(&mut self, path: &Path, name: Option<&'static str>) {
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

    async fn stat(&mut self, path: &Path) {
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
        if let Some(time) = self.times.get(&node) {
            assert_eq!(attr.mtime, *time, "{}: the time that was set", self.trail);
        }
    }

    /// Where a node stands.
    pub fn path_of(&self, node: usize) -> Option<Path> {
        let mut all = vec![(ROOT, Vec::new())];
        while let Some((at, path)) = all.pop() {
            if at == node {
                return Some(path);
            }
            if let Node::Directory(names) = &self.model.nodes[at] {
                for (name, child) in names {
                    all.push((*child, [&path[..], &[*name]].concat()));
                }
            }
        }
        None
    }
}

/// Whether this is what a link, or a vehicle in some state, does to any operation.
pub fn is_failure(errno: i32) -> bool {
    [libc::ETIMEDOUT, libc::EHOSTDOWN, libc::EBUSY, libc::ENOSPC, libc::EIO, libc::ESTALE]
        .contains(&errno)
}

fn failed<T>(result: &Outcome<T>) -> bool {
    result.as_ref().is_err_and(|errno| is_failure(*errno))
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
