//! Random readers, failures and changes against the true content: whatever a read returns is a part
//! of one single version of the file, and in the end everybody gets the present one.
//!
//! What no server can show is left out: another station that replaces content by content of the
//! same size, or by a longer one, between two listings.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::remote::Op;

/// Enough for a second; sixty thousand, of which every one passed, take half a minute.
const CASES: u32 = 1000;
const SEED: u64 = 1;
const MTIME: i64 = 1_700_000_000;

#[derive(Debug, Clone)]
enum Step {
    Open,
    Close(usize),
    BeginRead {
        handle: usize,
        offset: usize,
        length: usize,
    },
    Continue {
        handle: usize,
        length: usize,
    },
    Poll(usize),
    /// The far side answers the oldest question.
    Answer,
    /// It begins to answer a read, or fails half way through it.
    AnswerPartly {
        share: usize,
        fails: bool,
    },
    FinishPartly,
    Fail,
    Append(usize),
    /// Another station shortens the file to other content; no listing tells.
    Shorten(usize),
    /// Another station writes other content; the listing is renewed.
    Rewrite(usize),
    Save(usize),
    ReplaceByRename(usize),
    Rename,
    Wait,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Open),
        1 => any::<usize>().prop_map(Step::Close),
        6 => (any::<usize>(), 0..60_000usize, 1..30_000usize)
            .prop_map(|(handle, offset, length)| Step::BeginRead { handle, offset, length }),
        6 => (any::<usize>(), 1..20_000usize)
            .prop_map(|(handle, length)| Step::Continue { handle, length }),
        8 => any::<usize>().prop_map(Step::Poll),
        8 => Just(Step::Answer),
        4 => (0..100usize, any::<bool>())
            .prop_map(|(share, fails)| Step::AnswerPartly { share, fails }),
        4 => Just(Step::FinishPartly),
        1 => Just(Step::Fail),
        2 => (1..9000usize).prop_map(Step::Append),
        1 => (0..100usize).prop_map(Step::Shorten),
        1 => (0..100usize).prop_map(Step::Rewrite),
        1 => (0..50_000usize).prop_map(Step::Save),
        1 => (1..50_000usize).prop_map(Step::ReplaceByRename),
        1 => Just(Step::Rename),
        1 => Just(Step::Wait),
        2 => Just(Step::Look),
    ]
}

/// A read that was begun, with what it has to match.
struct Begun {
    read: ByHand<'static>,
    offset: usize,
    length: usize,
}

struct Model {
    world: World,
    /// Where the file is now.
    at: &'static str,
    /// Every content it ever had, the present one last.
    versions: Vec<Vec<u8>>,
    /// Open files, and where each reader stands.
    handles: Vec<(Arc<OpenFile>, usize)>,
    reads: Vec<Begun>,
    /// Reads the far side has begun to answer, with the content it opened.
    held: Vec<(Asked, Vec<u8>)>,
    seed: u64,
}

impl Model {
    fn new() -> Model {
        let first = content(20_000, 1);
        let options =
            Options { bytes_max: 40_000, read_ahead_bytes: 256 << 10, ..Options::default() };
        let world = World::with(&[("/a", &first), ("/t", b"")], options);
        let versions = Vec::from([first]);
        let (handles, reads, held) = Default::default();
        Model { world, at: "/a", versions, handles, reads, held, seed: 1 }
    }

    fn present(&self) -> &Vec<u8> {
        self.versions.last().unwrap()
    }

    fn fresh(&mut self, length: usize) -> Vec<u8> {
        self.seed += 1;
        content(length, self.seed)
    }

    /// The size that the cache believes now.
    fn known_size(&self) -> Option<usize> {
        let (volume, at) = (self.world.volume, path(self.at));
        self.world.cache.with(|known| {
            let id = known.files.at(volume, &at)?;
            Some(known.files.get(id)?.version.size as usize)
        })
    }

    /// Whether another station shortened the file and the cache does not know it yet.
    fn is_shortened_unseen(&self) -> bool {
        self.known_size().is_some_and(|known| known > self.present().len())
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Open => self.open(),
            Step::Close(which) => self.close(which),
            Step::BeginRead { handle, offset, length } => {
                self.begin(handle, Some(offset), length);
            }
            Step::Continue { handle, length } => self.begin(handle, None, length),
            Step::Poll(which) => self.poll(which),
            Step::Answer => drop(self.world.remote.step()),
            Step::AnswerPartly { share, fails } => self.answer_partly(share, fails),
            Step::FinishPartly => self.finish_partly(),
            Step::Fail => self.world.remote.fail_next("", Error::Busy),
            Step::Append(length) => self.append(length),
            Step::Shorten(share) => self.shorten(share),
            Step::Rewrite(share) => self.rewrite(share),
            Step::Save(length) => self.save(length),
            Step::ReplaceByRename(length) => self.replace_by_rename(length),
            Step::Rename => self.rename(),
            Step::Wait => self.world.wait(11),
            Step::Look => drop(self.world.entry(self.at)),
        }
    }

    fn open(&mut self) {
        if let Ok(entry) = self.world.entry(self.at) {
            let (volume, at) = (self.world.volume, path(self.at));
            self.handles.push((self.world.cache.open(volume, &at, &entry), 0));
        }
    }

    fn close(&mut self, which: usize) {
        if !self.handles.is_empty() {
            self.handles.swap_remove(which % self.handles.len());
        }
    }

    fn begin(&mut self, handle: usize, offset: Option<usize>, length: usize) {
        let count = self.handles.len();
        let Some((file, stands)) = self.handles.get_mut(handle % count.max(1)) else { return };
        let offset = offset.unwrap_or(*stands);
        *stands = offset + length;
        let (cache, file) = (self.world.cache.clone(), file.clone());
        let read = async move { cache.read(&file, &path("/unused"), offset as u64, length).await };
        self.reads.push(Begun { read: ByHand(Box::pin(read)), offset, length });
        self.poll(self.reads.len() - 1);
    }

    fn poll(&mut self, which: usize) {
        if self.reads.is_empty() {
            return;
        }
        let which = which % self.reads.len();
        if let Some(result) = self.reads[which].read.poll() {
            let Begun { offset, length, .. } = self.reads.swap_remove(which);
            if let Ok(bytes) = result {
                self.check(&bytes, offset, length);
            }
        }
    }

    fn check(&self, bytes: &[u8], offset: usize, length: usize) {
        let right = self.versions.iter().any(|version| {
            let end = (offset + length).min(version.len());
            version.get(offset.min(end)..end) == Some(bytes)
        });
        assert!(right, "{} bytes at {offset}+{length} are of no version", bytes.len());
    }

    fn answer_partly(&mut self, share: usize, fails: bool) {
        let Some(asked) = self.world.remote.take() else { return };
        let Op::Read { offset, length, .. } = asked.op else {
            return self.world.remote.answer(&asked);
        };
        let all = self.present().clone();
        let start = (offset as usize).min(all.len());
        let end = (offset + length).min(all.len() as u64) as usize;
        asked.sink.opened(all.len() as u64);
        deliver(&asked, &all, start, start + (end - start) * share / 100);
        match fails {
            true => asked.sink.done(Err(Error::TimedOut)),
            false => self.held.push((asked, all)),
        }
    }

    fn finish_partly(&mut self) {
        let Some((asked, all)) = self.held.pop() else { return };
        let Op::Read { offset, length, .. } = asked.op else { return };
        let end = (offset + length).min(all.len() as u64) as usize;
        deliver(&asked, &all, (offset as usize).min(end), end);
        asked.sink.done(Ok(Reply::Size(all.len() as u64)));
    }

    fn append(&mut self, length: usize) {
        if self.is_shortened_unseen() || self.present().len() + length > 60_000 {
            return;
        }
        let tail = self.fresh(length);
        let all = [&self.present()[..], &tail].concat();
        self.world.remote.put_at(self.at, &all, Some(MTIME + self.seed as i64));
        self.versions.push(all);
    }

    fn shorten(&mut self, share: usize) {
        let Some(known) = self.known_size() else { return };
        let length = known.min(self.present().len()) * share / 100;
        let all = self.fresh(length);
        if length < known.min(self.present().len()) {
            self.world.remote.put_at(self.at, &all, Some(MTIME + self.seed as i64));
            self.versions.push(all);
        }
    }

    fn rewrite(&mut self, share: usize) {
        self.world.settle();
        let length = self.known_size().map_or(20_000, |known| known.min(self.present().len()));
        let all = self.fresh(length * share / 100);
        self.world.remote.put_at(self.at, &all, Some(MTIME + self.seed as i64));
        self.versions.push(all);
        self.look_until_seen();
    }

    fn look_until_seen(&mut self) {
        for _ in 0..10 {
            self.world.wait(11);
            if self.world.entry(self.at).is_ok() {
                return;
            }
        }
        panic!("the listing cannot be renewed");
    }

    fn save(&mut self, length: usize) {
        let all = self.fresh(length);
        let at = self.at;
        // Known before it is done: a reader may see it as soon as it is there.
        self.versions.push(all.clone());
        let old = self.versions.len().checked_sub(2).map(|at| self.versions[at].clone());
        if self.world.save(at, &all, self.seed as i64).is_err() {
            self.forget_failed(old);
        }
    }

    fn replace_by_rename(&mut self, length: usize) {
        let all = self.fresh(length);
        if self.world.save("/t", &all, self.seed as i64).is_err() {
            return;
        }
        let old = self.present().clone();
        self.versions.push(all);
        let (volume, from, to) = (self.world.volume, path("/t"), path(self.at));
        if self.world.run(self.world.cache.rename(volume, &from, &to)).is_err() {
            self.forget_failed(Some(old));
        }
    }

    /// After a failure the file is the old one or the new.
    fn forget_failed(&mut self, old: Option<Vec<u8>>) {
        let there = self.world.remote.content(self.at);
        if there.is_some() && there == old {
            self.versions.extend(old);
        }
    }

    fn rename(&mut self) {
        let other = if self.at == "/a" { "/b" } else { "/a" };
        let (volume, from, to) = (self.world.volume, path(self.at), path(other));
        if self.world.run(self.world.cache.rename(volume, &from, &to)).is_ok() {
            self.at = other;
        }
    }

    /// Nothing is left waiting, and a new reader gets the present content.
    fn finish(mut self) {
        for _ in 0..200 {
            self.finish_partly();
            self.world.settle();
            (0..self.reads.len()).rev().for_each(|which| self.poll(which));
        }
        assert!(self.reads.is_empty(), "a reader waits for ever");
        self.world.cache.with(|known| assert!(known.blocks.bytes() <= 40_000));
        self.handles.clear();
        self.look_until_seen();
        let all = (0..10).find_map(|_| {
            let file = self.world.open(self.at);
            self.world.read(&file, 0, 100_000).ok()
        });
        assert!(all.as_ref() == Some(self.present()), "a new reader gets the present content");
        self.world.settle();
        assert!(self.world.cache.with(|known| known.running.is_empty()), "nothing is left running");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..Default::default()
    })]

    /// > A read gives bytes of one content of the file, as far as sizes and times tell contents
    /// > apart: who has a file open that shrank or was replaced gets ESTALE, or bytes of the old
    /// > content that were fetched before, never a mixture.
    #[test]
    fn every_read_is_a_part_of_one_version(steps in prop::collection::vec(step(), 1..200)) {
        let mut model = Model::new();
        model.open();
        for step in steps {
            model.perform(step);
        }
        model.finish();
    }
}
