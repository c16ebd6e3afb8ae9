//! ArduPilot's root as it ought to be listed: with the virtual places that its listing leaves out, and
//! with the files that the simulated vehicle shows under `.` only. Decides what to ask next; asks
//! nothing itself.

use std::collections::{BTreeMap, HashSet};

use crate::mavftp::client::{Error, Op, Reply};
use crate::remote::{Entry, Kind, Name};

/// The virtual places, and what tells whether a vehicle has one: its listing, or a file of it that
/// opens, with what else is in it. Those that cannot be listed hold what is named here.
const PLACES: [(&str, &[&str]); 5] = [
    ("@SYS", &[]),
    ("@ROMFS", &[]),
    ("@MAV_LOG", &[]),
    ("@PARAM", &["param.pck"]),
    ("@MISSION", &["mission.dat", "fence.dat", "rally.dat"]),
];

/// What a file in such a place is said to hold, as the vehicle says of its missions. More than there is,
/// so that a program that believes it misses nothing, and complains.
const UNKNOWN_SIZE: u64 = 1 << 20;

/// Which places a vehicle has, as far as it was asked.
#[derive(Debug, Default)]
pub struct Places {
    /// Of which vehicle, or time, this is known.
    epoch: u64,
    answers: BTreeMap<&'static str, bool>,
}

impl Places {
    /// Forgets what was known of another vehicle.
    pub fn meet(&mut self, epoch: u64) {
        if self.epoch != epoch {
            *self = Places { epoch, answers: BTreeMap::new() };
        }
    }
}

/// What is in a place that no vehicle lists. `path` is the wire's.
pub fn unlisted(path: &[u8]) -> Option<Vec<Entry>> {
    let (_, files) = PLACES.iter().find(|(place, _)| place.as_bytes() == path)?;
    (!files.is_empty()).then(|| files.iter().filter_map(|file| entry(file, Kind::File)).collect())
}

/// The listing of a root, over all that is asked for it.
#[derive(Debug, Default)]
pub struct RootListing {
    /// The names that have been shown.
    names: HashSet<Name>,
    has_files: bool,
    step: Step,
    /// Places not looked at yet.
    rest: std::slice::Iter<'static, (&'static str, &'static [&'static str])>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    Root,
    Dot,
    /// Whether this place is there; whether that is known already.
    Place(&'static str, bool),
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Ask this, under the same name.
    Ask(Op),
    /// It is over.
    Done(Result<Reply, Error>),
}

impl RootListing {
    /// A listing whose first request is that of the root itself.
    pub fn new() -> RootListing {
        RootListing { rest: PLACES.iter(), ..RootListing::default() }
    }

    /// Takes a page; answers what of it is to be shown. Of a place only that there is one counts.
    pub fn page(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        if let Step::Place(place, _) = self.step {
            self.step = Step::Place(place, true);
            return Vec::new();
        }
        self.has_files |= entries.iter().any(|entry| entry.kind == Kind::File);
        entries.into_iter().filter(|entry| self.names.insert(entry.name.clone())).collect()
    }

    /// Whether the request under way has told what it was asked for.
    pub fn has_enough(&self) -> bool {
        matches!(self.step, Step::Place(_, true))
    }

    /// Takes the end of a request; answers the entries to show before the next. `may_ask`: the vehicle
    /// may be asked what nobody waits for.
    pub fn ended(
        &mut self,
        result: Result<Reply, Error>,
        places: &mut Places,
        may_ask: bool,
    ) -> (Vec<Entry>, Next) {
        let mut shown = Vec::new();
        let mut may_ask = may_ask;
        match (self.step, result) {
            (Step::Root, Err(error)) => return (shown, Next::Done(Err(error))),
            // All regular files are missing at the root of the simulated vehicle.
            (Step::Root, Ok(_)) if !self.has_files => {
                self.step = Step::Dot;
                return (shown, Next::Ask(Op::List { path: b".".to_vec() }));
            }
            (Step::Root | Step::Dot, Ok(_)) | (Step::Dot, Err(Error::Refused(_))) => {}
            (Step::Dot, Err(error)) => return (shown, Next::Done(Err(error))),
            (Step::Place(place, true), _) | (Step::Place(place, _), Ok(_)) => {
                places.answers.insert(place, true);
                shown.extend(self.show(place));
            }
            (Step::Place(place, false), Err(Error::Refused(_))) => {
                places.answers.insert(place, false);
            }
            (Step::Place(_, false), Err(Error::Cancelled)) => {
                return (shown, Next::Done(Err(Error::Cancelled)));
            }
            // Another time.
            (Step::Place(_, false), Err(_)) => may_ask = false,
        }
        while let Some((place, files)) = self.rest.next() {
            match places.answers.get(place) {
                _ if self.is_shown(place) => {}
                Some(true) => shown.extend(self.show(place)),
                Some(false) => {}
                None if may_ask => {
                    self.step = Step::Place(place, false);
                    return (shown, Next::Ask(question(place, files)));
                }
                None => {}
            }
        }
        (shown, Next::Done(Ok(Reply::Done)))
    }

    fn is_shown(&self, place: &str) -> bool {
        self.names.iter().any(|name| name.as_bytes() == place.as_bytes())
    }

    fn show(&mut self, place: &str) -> Option<Entry> {
        let entry = entry(place, Kind::Directory)?;
        self.names.insert(entry.name.clone()).then_some(entry)
    }
}

fn question(place: &str, files: &[&str]) -> Op {
    match files.first() {
        Some(file) => Op::Size { path: format!("{place}/{file}").into_bytes() },
        None => Op::List { path: place.as_bytes().to_vec() },
    }
}

fn entry(name: &str, kind: Kind) -> Option<Entry> {
    let name = Name::parse(name.as_bytes()).ok()?;
    let size = if kind == Kind::File { UNKNOWN_SIZE } else { 0 };
    Some(Entry { name, kind, size, mtime: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mavftp::wire::Nak;

    const DONE: Result<Reply, Error> = Ok(Reply::Done);
    const MISSING: Result<Reply, Error> = Err(Error::Refused(Nak::FileNotFound));

    fn named(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| entry.name.to_string()).collect()
    }

    fn page(names: &[(&str, Kind)]) -> Vec<Entry> {
        names.iter().filter_map(|(name, kind)| entry(name, *kind)).collect()
    }

    fn list(path: &str) -> Next {
        Next::Ask(Op::List { path: path.into() })
    }

    fn size(path: &str) -> Next {
        Next::Ask(Op::Size { path: path.into() })
    }

    #[test]
    fn places_that_the_root_leaves_out_are_asked_for_once() {
        let mut places = Places::default();
        let mut root = RootListing::new();
        let first = page(&[("log", Kind::File), ("@SYS", Kind::Directory)]);
        assert_eq!(root.page(first.clone()).len(), 2);
        assert_eq!(root.ended(DONE, &mut places, true).1, list("@ROMFS"));
        assert!(root.page(page(&[("x", Kind::File)])).is_empty(), "that is not in the root");
        assert!(root.has_enough());
        let (shown, next) = root.ended(Err(Error::Cancelled), &mut places, true);
        assert_eq!((named(&shown), next), (vec!["@ROMFS".to_owned()], list("@MAV_LOG")));
        assert_eq!(root.ended(MISSING, &mut places, true).1, size("@PARAM/param.pck"));
        let (shown, next) = root.ended(Ok(Reply::Size(7)), &mut places, true);
        assert_eq!(
            (named(&shown), next),
            (vec!["@PARAM".to_owned()], size("@MISSION/mission.dat"))
        );
        assert_eq!(root.ended(MISSING, &mut places, true), (vec![], Next::Done(DONE)));

        let mut again = RootListing::new();
        again.page(first);
        let (shown, next) = again.ended(DONE, &mut places, true);
        assert_eq!(
            (named(&shown), next),
            (vec!["@ROMFS".into(), "@PARAM".into()], Next::Done(DONE))
        );
        places.meet(1);
        let mut another = RootListing::new();
        another.page(page(&[("log", Kind::File)]));
        assert_eq!(another.ended(DONE, &mut places, true).1, list("@SYS"));
    }

    #[test]
    fn a_root_without_files_is_looked_at_once_more() {
        let mut places = Places::default();
        let mut root = RootListing::new();
        root.page(page(&[("d", Kind::Directory)]));
        assert_eq!(root.ended(DONE, &mut places, false).1, list("."));
        let more = root.page(page(&[("d", Kind::Directory), ("log", Kind::File)]));
        assert_eq!(named(&more), ["log"], "no name twice");
        assert_eq!(root.ended(DONE, &mut places, false), (vec![], Next::Done(DONE)));
    }

    #[test]
    fn an_armed_vehicle_and_a_lost_one_are_not_asked() {
        let mut places = Places::default();
        let mut root = RootListing::new();
        root.page(page(&[("log", Kind::File)]));
        assert_eq!(root.ended(DONE, &mut places, false), (vec![], Next::Done(DONE)));
        let mut root = RootListing::new();
        root.page(page(&[("log", Kind::File)]));
        assert_eq!(root.ended(DONE, &mut places, true).1, list("@SYS"));
        let lost = root.ended(Err(Error::TimedOut), &mut places, true);
        assert_eq!(lost, (vec![], Next::Done(DONE)), "what was listed is listed");
        assert!(places.answers.is_empty(), "and the rest is asked for another time");
    }

    #[test]
    fn a_caller_who_cancels_is_told_so_at_every_step() {
        let mut places = Places::default();
        let cancelled = Next::Done(Err(Error::Cancelled));
        let mut root = RootListing::new();
        assert_eq!(root.ended(Err(Error::Cancelled), &mut places, true).1, cancelled);
        let mut root = RootListing::new();
        root.ended(DONE, &mut places, true);
        assert_eq!(root.ended(Err(Error::Cancelled), &mut places, true).1, cancelled);
        let mut root = RootListing::new();
        root.page(page(&[("log", Kind::File)]));
        root.ended(DONE, &mut places, true);
        assert_eq!(root.ended(Err(Error::Cancelled), &mut places, true).1, cancelled);
    }

    #[test]
    fn what_cannot_be_listed_holds_what_is_known_of_it() {
        let named = |path: &[u8]| unlisted(path).map(|entries| named(&entries));
        assert_eq!(named(b"@PARAM"), Some(vec!["param.pck".to_owned()]));
        assert_eq!(named(b"@MISSION").map(|names| names.len()), Some(3));
        assert_eq!(named(b"@SYS"), None);
        assert_eq!(named(b"/"), None);
    }
}
