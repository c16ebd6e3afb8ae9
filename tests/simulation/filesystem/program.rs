//! A program that works in a directory of its own, and holds every answer to what POSIX says. An
//! operation that failed for a reason has left the old state or the new one: `settling` finds out
//! which. Must not know the vehicle.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use mavftp_mount::fs::{FsError, Handle, Ino};
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
    pub fn sent(&mut self) {
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

    pub fn change(&mut self, change: impl Fn(&mut Vec<u8>)) {
        self.now.iter_mut().for_each(change);
    }

    /// The change was made, or not.
    pub fn perhaps_change(&mut self, change: impl Fn(&mut Vec<u8>)) {
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
    pub looked_up: Vec<Ino>,
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
    pub async fn walk(&mut self, path: &[&str]) -> Outcome<Ino> {
        let mut ino = Ino::ROOT;
        let home = self.home.clone();
        for name in std::iter::once(&*home).chain(path.iter().copied()) {
            let fs = self.around.fs();
            ino = self.call(fs.lookup(ino, name.as_bytes())).await?.ino;
            self.looked_up.push(ino);
        }
        Ok(ino)
    }

    pub async fn parent<'a>(&mut self, path: &'a Path) -> Outcome<(Ino, &'a [u8])> {
        let (name, directory) = path.split_last().ok_or(libc::EINVAL)?;
        let ino = self.walk(directory).await?;
        let fs = self.around.fs();
        match self.call(fs.getattr(ino, None)).await?.kind {
            Kind::Directory => Ok((ino, name.as_bytes())),
            Kind::File => Err(libc::ENOTDIR),
        }
    }

    /// The kernel drops what it knows of names.
    pub fn forget(&mut self) {
        let fs = self.around.fs();
        self.looked_up.drain(..).for_each(|ino| fs.forget(ino, 1));
    }

    /// Writers of a node that are open.
    pub fn writers(&self, node: usize) -> usize {
        self.open.iter().filter(|open| open.node == node && (open.write || open.creates)).count()
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

/// Whether it failed so.
pub fn failed<T>(result: &Outcome<T>) -> bool {
    result.as_ref().is_err_and(|errno| is_failure(*errno))
}
