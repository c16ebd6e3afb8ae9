//! The table of inodes: which number stands for which path of which volume, while mounted. Purely
//! a table: knows no cache, no wire and no staged copy.

use std::collections::{BTreeMap, HashMap};

use crate::cache::VolumeId;
use crate::remote::{Entry, Kind, Name, RemotePath};

/// How many inodes that nobody uses keep their number; beyond that, the longest forgotten lose it.
const FORGOTTEN_MAX: usize = 100_000;

/// An inode number. Never used twice while mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The directory that is mounted.
    pub const ROOT: Ino = Ino(1);
}

/// A path on one of the mounted vehicles or servers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which one.
    pub volume: VolumeId,
    /// Where on it.
    pub path: RemotePath,
}

impl Place {
    /// The same volume, another path.
    pub fn at(&self, path: RemotePath) -> Place {
        Place { volume: self.volume, path }
    }
}

/// What an inode is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It stands at this place.
    At(Place),
    /// Its name was removed or given to another.
    Orphaned {
        /// Where it stood.
        was: Place,
        /// What it was last, where no staged copy knows better.
        last: Option<Entry>,
    },
}

/// A modification time that this mount set: it is shown until the vehicle's file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnTime {
    /// Seconds since 1970 UTC.
    pub mtime: i64,
    /// The file's size when it was set, in bytes.
    pub size: u64,
    /// What the vehicle says of the same state.
    pub far: FarTime,
}

/// The vehicle's own modification time of a state that carries an [`OwnTime`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FarTime {
    /// Not seen yet: this mount saved the file, and told the cache this time meanwhile.
    Told(i64),
    /// What its listing said.
    Listed(Option<i64>),
}

impl OwnTime {
    /// This time after a listing said `entry`; `None` when that is another state than the one it
    /// was set for.
    fn after(self, entry: &Entry) -> Option<OwnTime> {
        // A directory's own changes with every name in it, those we put there included. What a program
        // set, after it had filled it, stays; when we made it is shown until the vehicle says.
        if entry.kind == Kind::Directory {
            let is_told = matches!(self.far, FarTime::Told(_)) && entry.mtime.is_some();
            return Some(self).filter(|_| !is_told);
        }
        let far = match self.far {
            FarTime::Told(told) if entry.mtime == Some(told) => self.far,
            FarTime::Listed(listed) if entry.mtime != listed => return None,
            FarTime::Told(_) | FarTime::Listed(_) => FarTime::Listed(entry.mtime),
        };
        (entry.size == self.size).then_some(OwnTime { far, ..self })
    }
}

/// What was found by [`Inodes::all_used`].
pub struct Used {
    /// Its number.
    pub ino: Ino,
    /// A file or a directory.
    pub kind: Kind,
    /// The directory it was in.
    pub parent: Option<Ino>,
    /// Its name there.
    pub name: Option<Name>,
}

/// What a file loses when the far side is another one, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Nothing.
    None,
    /// The time that we gave it and have not seen there: of another's file it would be wrong.
    Time,
    /// Its place.
    Place,
}

/// Inodes by number and by place.
pub struct Inodes {
    nodes: HashMap<Ino, Node>,
    by_place: BTreeMap<Place, Ino>,
    forgotten: BTreeMap<u64, Ino>,
    forgotten_max: usize,
    next_ino: u64,
    next_forgotten: u64,
}

/// A file's attributes as they were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Bytes.
    pub size: u64,
    /// What the vehicle says, seconds since 1970 UTC.
    pub mtime: Option<i64>,
}

struct Node {
    standing: Standing,
    kind: Kind,
    /// Lookups the kernel has not forgotten, and handles.
    uses: u64,
    /// Its key in `forgotten`, while nobody uses it.
    forgotten: Option<u64>,
    own_time: Option<OwnTime>,
    /// What was last told of it.
    shown: Option<Shown>,
    /// Grows with every content of ours that readers must see.
    contents: u64,
}

impl Inodes {
    /// A table that holds the root.
    pub fn new(root: Place) -> Inodes {
        let mut inodes = Inodes {
            nodes: HashMap::new(),
            by_place: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            forgotten_max: FORGOTTEN_MAX,
            next_ino: Ino::ROOT.0,
            next_forgotten: 0,
        };
        let ino = inodes.assign(&root, Kind::Directory);
        inodes.use_once(ino);
        inodes
    }

    /// How many are looked up or open, the root among them.
    pub fn used(&self) -> usize {
        self.nodes.values().filter(|node| node.uses > 0).count()
    }

    /// The number of a place, a new one if it has none, or if another kind of thing stood there.
    pub fn assign(&mut self, place: &Place, kind: Kind) -> Ino {
        if let Some(ino) = self.find(place) {
            if self.kind(ino) == Some(kind) {
                return ino;
            }
            self.orphan(place, None);
        }
        let ino = Ino(self.next_ino);
        self.next_ino += 1;
        let standing = Standing::At(place.clone());
        let node = Node {
            standing,
            kind,
            uses: 0,
            forgotten: None,
            own_time: None,
            shown: None,
            contents: 0,
        };
        self.nodes.insert(ino, node);
        self.by_place.insert(place.clone(), ino);
        self.put_aside(ino);
        ino
    }

    /// The number of a place that has one.
    pub fn find(&self, place: &Place) -> Option<Ino> {
        self.by_place.get(place).copied()
    }

    /// What an inode is now; `None` for a number that was never given or long forgotten.
    pub fn standing(&self, ino: Ino) -> Option<&Standing> {
        self.nodes.get(&ino).map(|node| &node.standing)
    }

    /// Where an inode stands; `None` when it stands nowhere.
    pub fn place(&self, ino: Ino) -> Option<&Place> {
        match self.standing(ino)? {
            Standing::At(place) => Some(place),
            Standing::Orphaned { .. } => None,
        }
    }

    /// Where an inode stands or stood last: to read what is at hand of it.
    pub fn last_place(&self, ino: Ino) -> Option<&Place> {
        match self.standing(ino)? {
            Standing::At(place) | Standing::Orphaned { was: place, .. } => Some(place),
        }
    }

    /// Whether an inode is a file or a directory.
    pub fn kind(&self, ino: Ino) -> Option<Kind> {
        self.nodes.get(&ino).map(|node| node.kind)
    }

    /// One more lookup or handle.
    pub fn use_once(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.uses += 1;
            if let Some(key) = node.forgotten.take() {
                self.forgotten.remove(&key);
            }
        }
    }

    /// So many lookups or handles fewer.
    pub fn forget(&mut self, ino: Ino, count: u64) {
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        node.uses = node.uses.saturating_sub(count);
        if node.uses == 0 && node.forgotten.is_none() {
            self.put_aside(ino);
        }
    }

    /// The name of `place` and all below it was removed or given to another.
    pub fn orphan(&mut self, place: &Place, last: Option<Entry>) {
        for (within, ino) in self.within(place) {
            // What lies below keeps what was shown of it: the kernel gives an inode up for good that
            // turns from a file into a directory.
            let last = if within == *place { last.clone() } else { self.shown_entry(ino) };
            self.by_place.remove(&within);
            let Some(node) = self.nodes.get_mut(&ino) else { continue };
            node.standing = Standing::Orphaned { was: within, last };
            if node.uses == 0 {
                self.drop_node(ino);
            }
        }
    }

    /// Every place of a volume that has a number which is in use.
    pub fn all_used(&self, volume: VolumeId) -> Vec<Used> {
        let used = |(place, ino): (Place, Ino)| {
            let node = self.nodes.get(&ino).filter(|node| node.uses > 0)?;
            let parent = place.path.parent().and_then(|parent| self.find(&place.at(parent)));
            Some(Used { ino, kind: node.kind, parent, name: place.path.name() })
        };
        self.within(&Place { volume, path: RemotePath::root() })
            .into_iter()
            .filter_map(used)
            .collect()
    }

    /// Takes from every file of a volume what it loses. Directories have no content of their own, and
    /// stay.
    pub fn part_files(&mut self, volume: VolumeId, parting: impl Fn(Ino) -> Parting) {
        for (place, ino) in self.within(&Place { volume, path: RemotePath::root() }) {
            let Some(node) = self.nodes.get_mut(&ino).filter(|node| node.kind == Kind::File) else {
                continue;
            };
            match parting(ino) {
                Parting::None => {}
                Parting::Time => {
                    node.own_time.take_if(|own| matches!(own.far, FarTime::Told(_)));
                }
                Parting::Place => self.orphan(&place, None),
            }
        }
    }

    /// Everything at and below `from` now stands at `to`; what stood there is orphaned.
    pub fn rename(&mut self, from: &Place, to: &Place, replaced: Option<Entry>) {
        self.orphan(to, replaced);
        for (old, ino) in self.within(from) {
            let Some(path) = old.path.rebase(&from.path, &to.path) else { continue };
            let new = to.at(path);
            self.by_place.remove(&old);
            self.by_place.insert(new.clone(), ino);
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.standing = Standing::At(new);
            }
        }
    }

    /// The length of the longest path that is known at or below a place, in bytes.
    pub fn longest_below(&self, place: &Place) -> usize {
        self.within(place).iter().map(|(at, _)| at.path.as_bytes().len()).max().unwrap_or(0)
    }

    /// The modification time that this mount set, if it did.
    pub fn own_time(&self, ino: Ino) -> Option<OwnTime> {
        self.nodes.get(&ino)?.own_time
    }

    /// From now on `time` is shown.
    pub fn set_own_time(&mut self, ino: Ino, time: OwnTime) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.own_time = Some(time);
        }
    }

    /// The modification time to show for what the vehicle lists: ours while it is about the same
    /// state, else the vehicle's, if it tells one. Seconds since 1970 UTC.
    pub fn shown_time(&mut self, ino: Ino, entry: &Entry) -> Option<i64> {
        let Some(node) = self.nodes.get_mut(&ino) else { return entry.mtime };
        node.shown = Some(Shown { size: entry.size, mtime: entry.mtime });
        node.own_time = node.own_time.and_then(|own| own.after(entry));
        node.own_time.map(|own| own.mtime).or(entry.mtime)
    }

    /// What was last told of an inode, but for staged copies.
    pub fn shown(&self, ino: Ino) -> Option<Shown> {
        self.nodes.get(&ino)?.shown
    }

    /// The same as its line of a listing.
    pub fn shown_entry(&self, ino: Ino) -> Option<Entry> {
        let (shown, place) = (self.shown(ino)?, self.last_place(ino)?);
        let (name, kind) = (place.path.name()?, self.kind(ino)?);
        Some(Entry { name, kind, size: shown.size, mtime: shown.mtime })
    }

    /// How often this mount gave the file another content.
    pub fn contents(&self, ino: Ino) -> u64 {
        self.nodes.get(&ino).map_or(0, |node| node.contents)
    }

    /// This mount gave the file another content: readers must look anew.
    pub fn content_changed(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.contents += 1;
        }
    }

    /// A place and those below it that have numbers.
    fn within(&self, place: &Place) -> Vec<(Place, Ino)> {
        let ancestor = place.path.as_bytes();
        self.by_place
            .range(place.clone()..)
            .take_while(|(at, _)| {
                at.volume == place.volume && at.path.as_bytes().starts_with(ancestor)
            })
            .filter(|(at, _)| at.path.is_within(&place.path))
            .map(|(at, ino)| (at.clone(), *ino))
            .collect()
    }

    fn put_aside(&mut self, ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else { return };
        if matches!(node.standing, Standing::Orphaned { .. }) {
            self.drop_node(ino);
            return;
        }
        node.forgotten = Some(self.next_forgotten);
        self.forgotten.insert(self.next_forgotten, ino);
        self.next_forgotten += 1;
        while self.forgotten.len() > self.forgotten_max {
            let Some((_, oldest)) = self.forgotten.pop_first() else { return };
            self.drop_node(oldest);
        }
    }

    fn drop_node(&mut self, ino: Ino) {
        let Some(node) = self.nodes.remove(&ino) else { return };
        if let Some(key) = node.forgotten {
            self.forgotten.remove(&key);
        }
        if let Standing::At(place) = node.standing {
            self.by_place.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Place {
        Place { volume: VolumeId(0), path: RemotePath::parse(path.as_bytes()).unwrap() }
    }

    fn table() -> Inodes {
        Inodes::new(place("/"))
    }

    #[test]
    fn the_root_is_one_and_a_path_keeps_its_number_after_forget() {
        let mut inodes = table();
        assert_eq!(inodes.find(&place("/")), Some(Ino::ROOT));
        let file = inodes.assign(&place("/a"), Kind::File);
        inodes.use_once(file);
        inodes.forget(file, 1);
        assert_eq!(inodes.assign(&place("/a"), Kind::File), file);
    }

    #[test]
    fn the_longest_forgotten_loses_its_number() {
        let mut inodes = table();
        inodes.forgotten_max = 2;
        let names = ["/a", "/b", "/c"];
        let numbers = names.map(|name| inodes.assign(&place(name), Kind::File));
        assert_eq!(inodes.find(&place("/a")), None);
        assert_eq!(inodes.find(&place("/c")), Some(numbers[2]));
        assert!(inodes.assign(&place("/a"), Kind::File) > numbers[2]);
        assert_eq!(inodes.nodes.len(), 3);
    }

    #[test]
    fn a_renamed_directory_carries_what_is_below_and_no_sibling() {
        let mut inodes = table();
        let directory = inodes.assign(&place("/a"), Kind::Directory);
        let below = inodes.assign(&place("/a/b/c"), Kind::File);
        let sibling = inodes.assign(&place("/a-b"), Kind::File);
        inodes.rename(&place("/a"), &place("/x/y"), None);
        assert_eq!(inodes.place(directory), Some(&place("/x/y")));
        assert_eq!(inodes.place(below), Some(&place("/x/y/b/c")));
        assert_eq!(inodes.place(sibling), Some(&place("/a-b")));
        assert_eq!(inodes.find(&place("/a/b/c")), None);
    }

    #[test]
    fn a_replaced_file_is_orphaned_and_the_newcomer_has_another_number() {
        let mut inodes = table();
        let old = inodes.assign(&place("/a"), Kind::File);
        inodes.use_once(old);
        let new = inodes.assign(&place("/b"), Kind::File);
        inodes.rename(&place("/b"), &place("/a"), None);
        assert_eq!(
            inodes.standing(old),
            Some(&Standing::Orphaned { was: place("/a"), last: None })
        );
        assert_eq!(inodes.find(&place("/a")), Some(new));
        inodes.forget(old, 1);
        assert_eq!(inodes.standing(old), None);
    }

    #[test]
    fn a_file_below_a_directory_that_is_gone_is_still_a_file() {
        let mut inodes = table();
        inodes.assign(&place("/d"), Kind::Directory);
        let file = inodes.assign(&place("/d/f"), Kind::File);
        inodes.use_once(file);
        let last =
            Entry { name: Name::parse(b"d").unwrap(), kind: Kind::Directory, size: 0, mtime: None };
        inodes.orphan(&place("/d"), Some(last));
        let Some(Standing::Orphaned { last, .. }) = inodes.standing(file) else { panic!("gone") };
        assert!(last.as_ref().is_none_or(|last| last.kind == Kind::File), "{last:?}");
    }

    #[test]
    fn our_own_time_is_shown_until_the_vehicles_file_changes() {
        let mut inodes = table();
        let ino = inodes.assign(&place("/a"), Kind::File);
        let name = Name::parse(b"a").unwrap();
        let listed = |size, mtime| Entry { name: name.clone(), kind: Kind::File, size, mtime };
        inodes.set_own_time(ino, OwnTime { mtime: 7, size: 3, far: FarTime::Told(7) });
        assert_eq!(inodes.shown_time(ino, &listed(3, Some(7))), Some(7));
        assert_eq!(inodes.shown_time(ino, &listed(3, Some(100))), Some(7), "its clock, our save");
        assert_eq!(inodes.shown_time(ino, &listed(3, Some(100))), Some(7));
        assert_eq!(inodes.shown_time(ino, &listed(3, Some(101))), Some(101), "another's save");
        assert_eq!(inodes.shown_time(ino, &listed(3, Some(100))), Some(100));
    }

    #[test]
    fn the_time_of_a_directory_stays_whatever_is_put_into_it() {
        let mut inodes = table();
        let ino = inodes.assign(&place("/d"), Kind::Directory);
        let name = Name::parse(b"d").unwrap();
        let listed = |mtime| Entry { name: name.clone(), kind: Kind::Directory, size: 0, mtime };
        inodes.set_own_time(ino, OwnTime { mtime: 7, size: 0, far: FarTime::Listed(None) });
        assert_eq!(inodes.shown_time(ino, &listed(Some(100))), Some(7));
        assert_eq!(inodes.shown_time(ino, &listed(Some(101))), Some(7));
    }

    #[test]
    fn a_directory_that_we_made_has_the_vehicles_time_once_that_is_known() {
        let mut inodes = table();
        let ino = inodes.assign(&place("/d"), Kind::Directory);
        let name = Name::parse(b"d").unwrap();
        let listed = |mtime| Entry { name: name.clone(), kind: Kind::Directory, size: 0, mtime };
        inodes.set_own_time(ino, OwnTime { mtime: 7, size: 0, far: FarTime::Told(7) });
        assert_eq!(inodes.shown_time(ino, &listed(None)), Some(7));
        assert_eq!(inodes.shown_time(ino, &listed(Some(100))), Some(100));
        assert_eq!(inodes.shown_time(ino, &listed(Some(101))), Some(101));
    }

    #[test]
    fn a_file_that_became_a_directory_has_another_number() {
        let mut inodes = table();
        let file = inodes.assign(&place("/a"), Kind::File);
        assert_ne!(inodes.assign(&place("/a"), Kind::Directory), file);
    }
}
