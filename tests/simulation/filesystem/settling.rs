//! What becomes of operations that failed: the vehicle has the old state or the new one, and after
//! a while the mount shows which.

use std::collections::BTreeMap;
use std::time::Duration;

use mavftp_mount::fs::Ino;

use super::content::difference;
use super::posix::{Model, Node, Path, ROOT};
use super::program::{Body, Program};

/// What may be under a path on the vehicle.
type Allowed = BTreeMap<String, Body>;

impl Program {
    /// An operation on `tops` failed, which would have led to `after`, unless it was to fail anyway.
    pub async fn settle(&mut self, tops: &[&Path], after: Model<Body>, would_change: bool) {
        if !would_change {
            return;
        }
        let mut allowed = Allowed::new();
        let before = files_below(&self.model, tops);
        let after = files_below(&after, tops);
        for (path, body) in before.iter().chain(&after) {
            let known = allowed.entry(path.clone()).or_insert_with(|| body.clone());
            known.far.extend(body.far.iter().cloned());
            known.torn.extend(body.torn.iter().cloned());
        }
        for (path, body) in &mut allowed {
            let in_both = before.contains_key(path) && after.contains_key(path);
            if !in_both || self.replaces_in_two_steps {
                body.far.push(None);
            }
        }
        self.close_below(tops).await;
        self.around.calm().await;
        self.check_and_adopt(tops, &allowed);
    }

    async fn close_below(&mut self, tops: &[&Path]) {
        loop {
            let is_below = |node| {
                self.path_of(node).is_some_and(|path| tops.iter().any(|top| path.starts_with(top)))
            };
            let Some(at) = self.open.iter().position(|open| is_below(open.node)) else { return };
            self.release(at).await;
        }
    }

    /// Holds the vehicle to what is allowed; from now on what it has is the truth.
    fn check_and_adopt(&mut self, tops: &[&Path], allowed: &Allowed) {
        for (path, body) in allowed {
            let real = self.around.files.content(&format!("{}/{path}", self.home));
            let is_torn = |real: &Vec<u8>| self.appends && body.may_be_torn(real);
            if !body.far.contains(&real) && !real.as_ref().is_some_and(is_torn) {
                let sizes: Vec<_> = body.far.iter().map(|c| c.as_ref().map(Vec::len)).collect();
                let real_size = real.as_ref().map(Vec::len);
                panic!("{}: {path} is neither old nor new: {real_size:?} of {sizes:?}", self.trail);
            }
        }
        for top in tops {
            self.adopt(top, allowed);
        }
    }

    fn adopt(&mut self, top: &Path, allowed: &Allowed) {
        let (name, _) = top.split_last().expect("the root is never in doubt");
        let node = self.model.walk(top);
        if let Ok(names) = self.model.parent(top) {
            names.remove(name);
        }
        if let Ok(node) = node {
            self.model.unlink_node(node);
            self.times.remove(&node);
        }
        let (files, whole) = (self.around.files.clone(), top.join("/"));
        for found in self.far_paths() {
            if found != whole && !found.starts_with(&format!("{whole}/")) {
                continue;
            }
            let path: Path = found.split('/').map(static_name).collect();
            match files.content(&format!("{}/{found}", self.home)) {
                Some(bytes) => {
                    assert!(allowed.contains_key(&found), "{}: {found} came to be", self.trail);
                    let node = Node::File { bytes: Body::stored(bytes), linked: true };
                    self.model.add(&path, node).expect("its parent is there");
                }
                None => {
                    let node = Node::Directory(BTreeMap::new());
                    self.model.add(&path, node).expect("its parent is there");
                }
            }
        }
    }

    /// Whether the vehicle has unfinished uploads below a path.
    pub fn has_unfinished(&self, path: &Path) -> bool {
        let place = format!("{}/{}/.mavftp-", self.home, path.join("/")).into_bytes();
        self.around.files.paths().iter().any(|path| path.starts_with(&place))
    }

    /// All paths in this program's directory on the vehicle, but those of unfinished uploads.
    fn far_paths(&self) -> Vec<String> {
        let home = format!("{}/", self.home);
        let paths = self.around.files.paths().into_iter();
        let paths = paths.map(|path| String::from_utf8(path).expect("it is text"));
        let inside = paths.filter_map(|path| path.strip_prefix(&home).map(str::to_owned));
        inside.filter(|path| !path.contains(".mavftp-")).collect()
    }

    /// The vehicle has what the model has, no more and no less.
    pub fn check_far(&self) {
        let mut model = BTreeMap::new();
        self.model.tree(ROOT, "", &mut model);
        model.remove("");
        let known: Vec<&str> = model.keys().map(|path| &path[1..]).collect();
        assert_eq!(self.far_paths(), known, "{}", self.trail);
        for (path, body) in &model {
            let Some(body) = body else { continue };
            let real = self.around.files.content(&format!("{}{path}", self.home));
            let real = real.unwrap_or_else(|| panic!("{}: {path} is a directory", self.trail));
            let same = body.now == [real.clone()];
            assert!(same, "{}: {path}: {}", self.trail, difference(&real, &body.now[0]));
        }
    }

    /// What the mount shows, without anything in its caches, is what the model has.
    pub async fn compare(&self) {
        let fs = self.around.fs();
        let home = fs.lookup(Ino::ROOT, self.home.as_bytes()).await.expect("it is there").ino;
        let (mut shown, mut all) = (BTreeMap::new(), vec![(home, String::new())]);
        while let Some((ino, path)) = all.pop() {
            let Ok(handle) = fs.opendir(ino).await else {
                let handle = fs.open(ino, libc::O_RDONLY).await.expect("it opens").handle;
                // PX4 forgets some of its answers, and is busy until it closes its session.
                let mut tries = 0;
                let bytes = loop {
                    match fs.read(handle, 0, 1 << 20).await {
                        Ok(bytes) => break bytes,
                        Err(error) => assert!(tries < 6, "it is not readable: {error}"),
                    }
                    tries += 1;
                    self.around.sleep(Duration::from_secs(15)).await;
                };
                fs.release(handle).await.expect("it closes");
                shown.insert(path, Some(Body::stored(bytes)));
                fs.forget(ino, 1);
                continue;
            };
            let mut cookie = 2;
            loop {
                let entries = fs.readdir(handle, cookie).await.expect("it lists");
                let Some(last) = entries.last() else { break };
                cookie = last.cookie;
                for entry in entries {
                    let child = fs.lookup(ino, &entry.name).await.expect("it was listed").ino;
                    all.push((child, format!("{path}/{}", String::from_utf8_lossy(&entry.name))));
                }
            }
            fs.releasedir(handle);
            fs.forget(ino, 1);
            shown.insert(path, None);
        }
        let mut model = BTreeMap::new();
        self.model.tree(ROOT, "", &mut model);
        assert!(shown == model, "{}: {:?} {:?}", self.trail, shown.keys(), model.keys());
    }
}

/// Files and their contents below these, as they may be on the vehicle.
fn files_below(model: &Model<Body>, tops: &[&Path]) -> Allowed {
    let mut tree = BTreeMap::new();
    model.tree(ROOT, "", &mut tree);
    let tops: Vec<String> = tops.iter().map(|top| format!("/{}", top.join("/"))).collect();
    let is_below =
        |path: &String| tops.iter().any(|top| path == top || path.starts_with(&format!("{top}/")));
    let files = tree.into_iter().filter(|(path, _)| is_below(path));
    files
        .filter_map(|(path, body)| {
            let mut body = body?;
            body.perhaps_sent();
            Some((path[1..].to_owned(), body))
        })
        .collect()
}

fn static_name(name: &str) -> &'static str {
    ["a", "b", "c"].into_iter().find(|known| *known == name).expect("no other name was used")
}
