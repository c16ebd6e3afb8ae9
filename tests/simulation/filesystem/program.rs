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

/// No operation takes longer, however much is tried again in it: the slowest line carries the largest
/// file in a minute when it has it for itself, and here three programs and a silence share it.
const LIMIT: Duration = Duration::from_secs(180);

/// What a file holds, as far as one can know.
#[derive(Debug, Clone)]
pub struct Body {
    /// What programs see: one of these.
    pub now: Vec<Vec<u8>>,
    /// What the vehicle has under its name: one of these.
    pub far: Vec<Option<Vec<u8>>>,
    /// What the vehicle has was only added to since.
    pub only_added: bool,
    /// What the vehicle had, and what it was to become when the adding of bytes failed.
    pub torn: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Default for Body {
    fn default() -> Body {
        Body { now: vec![Vec::new()], far: vec![None], only_added: false, torn: Vec::new() }
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        (&self.now, &self.far) == (&other.now, &other.far)
    }
}

impl Content for Body {
    fn clear(&mut self) {
        self.now = vec![Vec::new()];
        self.only_added = false;
    }
}

impl Body {
    /// A file that the vehicle has.
    pub fn stored(bytes: Vec<u8>) -> Body {
        let (far, now) = (vec![Some(bytes.clone())], vec![bytes]);
        Body { far, now, only_added: true, torn: Vec::new() }
    }

    /// Whether nothing is left to send, and nothing to find out.
    pub fn is_settled(&self) -> bool {
        matches!((&self.now[..], &self.far[..]), ([now], [Some(far)]) if now == far)
    }

    /// The vehicle has what is seen.
    pub fn sent(&mut self) {
        self.far = self.now.iter().cloned().map(Some).collect();
        self.only_added = true;
        self.torn.clear();
    }

    /// It is changed from an offset on.
    pub fn touch(&mut self, from: u64) {
        let end = self.far.iter().flatten().map(Vec::len).min().unwrap_or_default();
        self.only_added &= from >= end as u64;
    }

    /// The vehicle may have what is seen.
    pub fn perhaps_sent(&mut self) {
        if self.only_added {
            let before = self.far.iter().flatten().filter(|old| !old.is_empty());
            let pairs = before.flat_map(|old| self.now.iter().map(move |new| (old, new)));
            let added = pairs.filter(|(old, new)| new.starts_with(old));
            self.torn.extend(added.map(|(old, new)| (old.clone(), new.clone())));
        }
        for now in &self.now {
            if !self.far.contains(&Some(now.clone())) {
                self.far.push(Some(now.clone()));
            }
        }
    }

    /// Whether the adding of bytes was cut: the vehicle has all that it had, and a part of what was
    /// added, with nothing in between where a later block came and an earlier one did not.
    pub fn may_be_torn(&self, real: &[u8]) -> bool {
        self.torn.iter().any(|(old, _)| {
            let tried = self.torn.iter().filter(|(before, _)| before == old).map(|(_, new)| new);
            let tried: Vec<&Vec<u8>> = tried.collect();
            let longest = tried.iter().map(|new| new.len()).max().unwrap_or_default();
            let was_sent = |at: usize| tried.iter().any(|new| new.get(at) == real.get(at));
            real.starts_with(old)
                && real.len() <= longest
                && (old.len()..real.len()).all(|at| real[at] == 0 || was_sent(at))
        })
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
    /// The far side has been taken for another one since.
    pub is_of_another: bool,
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
    /// This vehicle keeps what a file has when bytes are added to it.
    pub appends: bool,
    pub looked_up: Vec<Ino>,
    pub trail: String,
    /// The far side that all this is about.
    far_side: String,
}

impl Program {
    pub fn new(
        around: Rc<Surroundings>,
        number: usize,
        (replaces_in_two_steps, appends): (bool, bool),
    ) -> Program {
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
        let far_side = around.fs().far_side().session;
        Program {
            around,
            home,
            model,
            open,
            times,
            replaces_in_two_steps,
            appends,
            looked_up,
            trail,
            far_side,
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

    /// A vehicle that does not say who it is may be another one after a silence: what is open is of
    /// the one before, and no time that was set is known of it.
    pub fn meet_far_side(&mut self) {
        let far_side = self.around.fs().far_side().session;
        if far_side != std::mem::replace(&mut self.far_side, far_side.clone()) {
            self.times.clear();
            self.open.iter_mut().for_each(|open| open.is_of_another = true);
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
