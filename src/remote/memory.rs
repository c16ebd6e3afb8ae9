//! A [`Remote`] in memory for tests of what stands above it: it answers when it is stepped, keeps a
//! log of what it was asked, and fails when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::mavftp::wire::Checksum;

/// How many entries a listing's page holds.
const PAGE_ENTRIES: usize = 3;
/// How many bytes of a read come at once.
const BLOCK_BYTES: usize = 239;

/// A source over bytes that are all there.
pub struct Bytes(pub Vec<u8>);

impl Source for Bytes {
    fn pull(&self, offset: u64, buffer: &mut [u8]) -> Pull {
        let rest = &self.0[(offset as usize).min(self.0.len())..];
        match rest.len().min(buffer.len()) {
            0 => Pull::End,
            count => {
                buffer[..count].copy_from_slice(&rest[..count]);
                Pull::Bytes(count)
            }
        }
    }
}

/// Drives a future, stepping `remote` whenever the future waits.
pub fn run<T>(remote: &MemoryRemote, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        assert!(remote.step(), "the future waits for something that is not the remote");
    }
}

/// Files and directories in memory.
pub struct MemoryRemote(Mutex<State>);

/// An operation as it was submitted, taken out of the queue to be answered by hand.
pub struct Asked {
    /// Its id.
    pub id: OpId,
    /// What was asked.
    pub op: Op,
    /// Its class now.
    pub class: Class,
    /// Who gets the answer.
    pub sink: Arc<dyn Sink>,
}

struct State {
    files: BTreeMap<RemotePath, Node>,
    queue: VecDeque<Asked>,
    raised: Vec<(OpId, Class)>,
    cancelled: Vec<OpId>,
    failures: Vec<(String, Error)>,
    log: Vec<String>,
    status: Status,
    garbled: u32,
    /// Names that differ in case only are the same, as on a FAT card.
    folds: bool,
}

#[derive(Clone)]
enum Node {
    Directory,
    File { bytes: Vec<u8>, mtime: Option<i64> },
}

type Outcome = Result<Reply, Error>;

impl MemoryRemote {
    /// A remote with these files, and the directories that lead to them.
    pub fn with<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Arc<MemoryRemote> {
        let state = State {
            files: BTreeMap::from([(RemotePath::root(), Node::Directory)]),
            queue: VecDeque::new(),
            raised: Vec::new(),
            cancelled: Vec::new(),
            failures: Vec::new(),
            log: Vec::new(),
            status: Status {
                up: true,
                epoch: 0,
                last_other: 0,
                path_bytes_max: 238,
                appends: true,
                streams: true,
                label: "memory".into(),
                identity: Some("memory".into()),
                armed: false,
                has_virtual: false,
                sets_times: false,
                has_room: false,
                saves: false,
                uploads: 1,
            },
            garbled: 0,
            folds: false,
        };
        let remote = Arc::new(MemoryRemote(Mutex::new(state)));
        for (path, bytes) in files {
            remote.put(path, bytes);
        }
        remote
    }

    /// Changes a file as another station would, unseen by whoever caches.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.put_at(path, bytes, Some(1_700_000_000));
    }

    /// [`MemoryRemote::put`] with an mtime.
    pub fn put_at(&self, path: &str, bytes: &[u8], mtime: Option<i64>) {
        let path = parse(path);
        let mut state = self.0.lock().unwrap();
        let mut parent = path.parent();
        while let Some(directory) = parent {
            parent = directory.parent();
            state.files.entry(directory).or_insert(Node::Directory);
        }
        state.files.insert(path, Node::File { bytes: bytes.to_vec(), mtime });
    }

    /// Removes a file or a directory with all in it, as another station would.
    pub fn take_away(&self, path: &str) {
        let path = parse(path);
        self.0.lock().unwrap().files.retain(|found, _| !found.is_within(&path));
    }

    /// Creates a directory, as another station would.
    pub fn put_directory(&self, path: &str) {
        self.0.lock().unwrap().files.insert(parse(path), Node::Directory);
    }

    /// A file's bytes.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        match self.0.lock().unwrap().files.get(&parse(path)) {
            Some(Node::File { bytes, .. }) => Some(bytes.clone()),
            Some(Node::Directory) | None => None,
        }
    }

    /// A file's modification time.
    pub fn mtime(&self, path: &str) -> Option<i64> {
        match self.0.lock().unwrap().files.get(&parse(path)) {
            Some(Node::File { mtime, .. }) => *mtime,
            Some(Node::Directory) | None => None,
        }
    }

    /// The names in a directory.
    pub fn names(&self, path: &str) -> Vec<String> {
        let path = parse(path);
        self.0.lock().unwrap().children(&path).map(|(name, _)| name.to_string()).collect()
    }

    /// What has been asked, in order, one line each.
    pub fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.clone()
    }

    /// The next so many writes store other bytes than they were given.
    pub fn garble_writes(&self, count: u32) {
        self.0.lock().unwrap().garbled = count;
    }

    /// From now on names that differ in case only are the same, and a renaming removes what stands at
    /// the new name first, as on a FAT card in a PX4 board.
    pub fn fold_case(&self) {
        self.0.lock().unwrap().folds = true;
    }

    /// Forgets the log.
    pub fn clear_log(&self) {
        self.0.lock().unwrap().log.clear();
    }

    /// The next operation whose log line begins with `operation` fails.
    pub fn fail_next(&self, operation: &str, error: Error) {
        self.0.lock().unwrap().failures.push((operation.into(), error));
    }

    /// Changes what [`Remote::status`] answers.
    pub fn change_status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap().status);
    }

    /// Another far side answers from now on, and says so.
    pub fn be_another(&self) {
        self.change_status(|status| {
            status.epoch += 1;
            status.last_other = status.epoch;
        });
    }

    /// After a silence somebody answers who does not say who it is.
    pub fn return_unknown(&self) {
        self.change_status(|status| status.epoch += 1);
    }

    /// Operations submitted and not answered yet.
    pub fn waiting(&self) -> usize {
        self.0.lock().unwrap().queue.len()
    }

    /// Answers the oldest waiting operation; false when there is none.
    pub fn step(&self) -> bool {
        let Some(asked) = self.take() else { return false };
        self.answer(&asked);
        true
    }

    /// Takes the oldest waiting operation, for a test that answers it by hand.
    pub fn take(&self) -> Option<Asked> {
        self.0.lock().unwrap().queue.pop_front()
    }

    /// Answers an operation that was taken.
    pub fn answer(&self, asked: &Asked) {
        let result = self.perform(&asked.op, &*asked.sink);
        asked.sink.done(result);
    }

    /// The classes of the operations that wait, in order.
    pub fn classes(&self) -> Vec<Class> {
        self.0.lock().unwrap().queue.iter().map(|asked| asked.class).collect()
    }

    /// What [`Remote::raise`] was called with.
    pub fn raised(&self) -> Vec<(OpId, Class)> {
        self.0.lock().unwrap().raised.clone()
    }

    /// What [`Remote::cancel`] was called with.
    pub fn cancelled(&self) -> Vec<OpId> {
        self.0.lock().unwrap().cancelled.clone()
    }

    fn write(
        &self,
        path: &RemotePath,
        mode: &WriteMode,
        from: &dyn Source,
        sink: &dyn Sink,
    ) -> Outcome {
        let state = self.0.lock().unwrap();
        state.check_parent(path)?;
        let mut bytes = match mode {
            WriteMode::Replace | WriteMode::Save { .. } => Vec::new(),
            WriteMode::Append { offset } => {
                let mut kept = state.file(path)?.clone();
                kept.truncate(*offset as usize);
                kept
            }
        };
        drop(state);
        let mut buffer = [0; BLOCK_BYTES];
        loop {
            match from.pull(bytes.len() as u64, &mut buffer) {
                Pull::Bytes(count) => bytes.extend_from_slice(&buffer[..count]),
                Pull::End => break,
                Pull::Pending | Pull::Idle => std::thread::yield_now(),
            }
            sink.acknowledged(bytes.len() as u64);
        }
        let size = bytes.len() as u64;
        let mut state = self.0.lock().unwrap();
        if state.garbled > 0 {
            state.garbled -= 1;
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
        }
        let mtime = Some(1_800_000_000 + state.log.len() as i64);
        state.files.insert(path.clone(), Node::File { bytes, mtime });
        Ok(Reply::Size(size))
    }

    fn perform(&self, op: &Op, sink: &dyn Sink) -> Outcome {
        let line = format!("{op:?}");
        let op = &self.0.lock().unwrap().as_meant(op);
        let mut state = self.0.lock().unwrap();
        if let Some(at) = state.failures.iter().position(|(start, _)| line.starts_with(start)) {
            return Err(state.failures.remove(at).1);
        }
        match op {
            Op::List { path } => {
                let entries = state.list(path)?;
                drop(state);
                entries.chunks(PAGE_ENTRIES).for_each(|page| sink.page(page.to_vec()));
                Ok(Reply::Done)
            }
            Op::Read { path, offset, length, .. } => {
                let bytes = state.file(path)?.clone();
                drop(state);
                read(&bytes, *offset as usize, *length as usize, sink)
            }
            Op::Size { path } => Ok(Reply::Size(state.file(path)?.len() as u64)),
            Op::Write { path, mode, source } => {
                drop(state);
                self.write(path, mode, &**source, sink)
            }
            Op::Remove { path } => {
                state.file(path)?;
                state.files.remove(path);
                Ok(Reply::Done)
            }
            Op::MakeDirectory { path } => {
                state.check_parent(path)?;
                if state.files.contains_key(path) {
                    return Err(Error::Exists);
                }
                state.files.insert(path.clone(), Node::Directory);
                Ok(Reply::Done)
            }
            Op::RemoveDirectory { path } => {
                if !state.list(path)?.is_empty() {
                    return Err(Error::NotEmpty);
                }
                state.files.remove(path);
                Ok(Reply::Done)
            }
            Op::Rename { from, to } => state.rename(from, to),
            Op::Truncate { path, length } => {
                let mut bytes = state.file(path)?.clone();
                bytes.resize(*length as usize, 0);
                state.files.insert(path.clone(), Node::File { bytes, mtime: None });
                Ok(Reply::Done)
            }
            Op::SetTime { path, mtime } => match state.files.get_mut(path) {
                Some(Node::File { mtime: shown, .. }) => {
                    *shown = Some(*mtime);
                    Ok(Reply::Done)
                }
                Some(Node::Directory) | None => Err(Error::NotFound),
            },
            Op::Checksum { path } => Ok(Reply::Checksum(Checksum::of(state.file(path)?))),
        }
    }
}

fn read(bytes: &[u8], offset: usize, length: usize, sink: &dyn Sink) -> Outcome {
    sink.opened(bytes.len() as u64);
    let start = offset.min(bytes.len());
    let end = start.saturating_add(length).min(bytes.len());
    let mut at = start;
    for block in bytes[start..end].chunks(BLOCK_BYTES) {
        sink.data(at as u64, block);
        at += block.len();
    }
    Ok(Reply::Size(bytes.len() as u64))
}

impl State {
    fn children(&self, path: &RemotePath) -> impl Iterator<Item = (Name, &Node)> {
        let path = path.clone();
        self.files
            .iter()
            .filter(move |(child, _)| child.parent().as_ref() == Some(&path))
            .filter_map(|(child, node)| Some((child.name()?, node)))
    }

    fn list(&self, path: &RemotePath) -> Result<Vec<Entry>, Error> {
        match self.files.get(path) {
            Some(Node::Directory) => {}
            Some(Node::File { .. }) => {
                panic!("a file was listed: {path}; MAVSDK's server ends at that")
            }
            None => return Err(Error::NotFound),
        }
        let entry = |(name, node): (Name, &Node)| match node {
            Node::Directory => Entry { name, kind: Kind::Directory, size: 0, mtime: None },
            Node::File { bytes, mtime } => {
                Entry { name, kind: Kind::File, size: bytes.len() as u64, mtime: *mtime }
            }
        };
        Ok(self.children(path).map(entry).collect())
    }

    /// The operation on what its paths mean.
    fn as_meant(&self, op: &Op) -> Op {
        let mut op = op.clone();
        if self.folds {
            match &mut op {
                Op::List { path }
                | Op::Read { path, .. }
                | Op::Size { path }
                | Op::Write { path, .. }
                | Op::Remove { path }
                | Op::MakeDirectory { path }
                | Op::RemoveDirectory { path }
                | Op::Truncate { path, .. }
                | Op::SetTime { path, .. }
                | Op::Checksum { path } => *path = self.meant(path),
                Op::Rename { from, .. } => *from = self.meant(from),
            }
        }
        op
    }

    /// What stands at a path in whichever spelling.
    fn meant(&self, path: &RemotePath) -> RemotePath {
        let is_meant = |there: &&RemotePath| there.as_bytes().eq_ignore_ascii_case(path.as_bytes());
        self.files.keys().find(is_meant).unwrap_or(path).clone()
    }

    fn file(&self, path: &RemotePath) -> Result<&Vec<u8>, Error> {
        match self.files.get(path) {
            Some(Node::File { bytes, .. }) => Ok(bytes),
            Some(Node::Directory) => Err(Error::IsADirectory),
            None => Err(Error::NotFound),
        }
    }

    fn check_parent(&self, path: &RemotePath) -> Result<(), Error> {
        match path.parent().and_then(|parent| self.files.get(&parent)) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File { .. }) => Err(Error::NotADirectory),
            None => Err(Error::NotFound),
        }
    }

    fn rename(&mut self, from: &RemotePath, to: &RemotePath) -> Outcome {
        self.check_parent(to)?;
        if self.folds {
            let replaced = self.meant(to);
            self.files.remove(&replaced);
        }
        if !self.files.contains_key(from) {
            return Err(Error::NotFound);
        }
        let moved: Vec<_> =
            self.files.keys().filter(|path| path.is_within(from)).cloned().collect();
        for path in moved {
            if let (Some(node), Some(new)) = (self.files.remove(&path), path.rebase(from, to)) {
                self.files.insert(new, node);
            }
        }
        Ok(Reply::Done)
    }
}

impl Remote for MemoryRemote {
    fn submit(&self, id: OpId, op: Op, class: Class, _: Duration, sink: Arc<dyn Sink>) {
        let mut state = self.0.lock().unwrap();
        state.log.push(format!("{op:?}"));
        state.queue.push_back(Asked { id, op, class, sink });
    }
    fn raise(&self, id: OpId, class: Class) {
        let mut state = self.0.lock().unwrap();
        state.raised.push((id, class));
        if let Some(asked) = state.queue.iter_mut().find(|asked| asked.id == id) {
            asked.class = class;
        }
    }
    fn more(&self, _: OpId) {}
    fn cancel(&self, id: OpId) {
        let mut state = self.0.lock().unwrap();
        state.cancelled.push(id);
        let at = state.queue.iter().position(|asked| asked.id == id);
        let cancelled = at.and_then(|at| state.queue.remove(at));
        drop(state);
        if let Some(asked) = cancelled {
            asked.sink.done(Err(Error::Cancelled));
        }
    }
    fn status(&self) -> Status {
        self.0.lock().unwrap().status.clone()
    }
}

fn parse(path: &str) -> RemotePath {
    RemotePath::parse(path.as_bytes()).unwrap()
}
