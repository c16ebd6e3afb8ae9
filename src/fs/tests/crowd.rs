//! Many programs at once: futures that are polled in any order while the remote answers.

use std::future::Future;
use std::pin::Pin;

use proptest::prelude::*;

use super::*;
use crate::fs::SetAttr;

type Doing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What one program does with one of three files.
#[derive(Debug, Clone)]
enum Program {
    Save { file: usize, size: usize },
    Append { file: usize, size: usize },
    Read { file: usize },
    Cut { file: usize, size: u64 },
    Move { file: usize, to: usize },
    Remove { file: usize },
}

const NAMES: [&[u8]; 3] = [b"a", b"b", b"c"];

fn program() -> impl Strategy<Value = Program> {
    let file = || 0..NAMES.len();
    prop_oneof![
        (file(), 0usize..12_000).prop_map(|(file, size)| Program::Save { file, size }),
        (file(), 1usize..4000).prop_map(|(file, size)| Program::Append { file, size }),
        file().prop_map(|file| Program::Read { file }),
        (file(), 0u64..4000).prop_map(|(file, size)| Program::Cut { file, size }),
        (file(), file()).prop_map(|(file, to)| Program::Move { file, to }),
        file().prop_map(|file| Program::Remove { file }),
    ]
}

/// What a program may meet when others remove and replace the files it works on.
fn bear<T>(result: Result<T, FsError>) -> Option<T> {
    match result.map_err(|error| error.errno()) {
        Ok(value) => Some(value),
        Err(libc::ENOENT | libc::ESTALE) => None,
        Err(other) => panic!("errno {other}"),
    }
}

impl Program {
    /// The kernel lets one at a time change the names in a directory.
    fn changes_names(&self) -> bool {
        match self {
            Program::Save { .. } | Program::Move { .. } | Program::Remove { .. } => true,
            Program::Append { .. } | Program::Read { .. } | Program::Cut { .. } => false,
        }
    }

    async fn run(self, fs: &Arc<Fs>) {
        match self {
            Program::Save { file, size } => {
                let (_, opened) = fs.create(Ino::ROOT, NAMES[file], RDWR).await.unwrap();
                let half = size / 2;
                bear(fs.write(opened.handle, 0, vec![size as u8; half]).await);
                bear(fs.write(opened.handle, half as u64, vec![size as u8; size - half]).await);
                close(fs, opened.handle).await;
            }
            Program::Append { file, size } => {
                let flags = WRONLY | libc::O_APPEND;
                let Some(handle) = open(fs, file, flags).await else { return };
                bear(fs.write(handle, 0, vec![size as u8; size]).await);
                close(fs, handle).await;
            }
            Program::Read { file } => {
                let Some(handle) = open(fs, file, RDONLY).await else { return };
                bear(fs.read(handle, 0, 10_000).await);
                close(fs, handle).await;
            }
            Program::Cut { file, size } => {
                let Some(attr) = bear(fs.lookup(Ino::ROOT, NAMES[file]).await) else { return };
                let change = SetAttr { size: Some(size), mtime: None };
                bear(fs.setattr(attr.ino, None, change).await);
            }
            Program::Move { file, to } => {
                bear(fs.rename(Ino::ROOT, NAMES[file], Ino::ROOT, NAMES[to], false).await);
            }
            Program::Remove { file } => {
                bear(fs.unlink(Ino::ROOT, NAMES[file]).await);
            }
        }
    }
}

async fn open(fs: &Arc<Fs>, file: usize, flags: i32) -> Option<Handle> {
    let attr = bear(fs.lookup(Ino::ROOT, NAMES[file]).await)?;
    bear(fs.open(attr.ino, flags).await).map(|opened| opened.handle)
}

async fn close(fs: &Arc<Fs>, handle: Handle) {
    bear(fs.flush(handle, Closing::Ordinary).await);
    fs.release(handle).await.unwrap();
}

/// Lets every program go on in turn, as `order` says, until all are done.
fn run_all(world: &World, programs: Vec<Program>, order: &[u8]) {
    let mut waiting = programs;
    let mut naming: Option<Doing> = None;
    let mut others: Vec<Doing> = Vec::new();
    // After the random turns, regular ones that leave nobody out.
    let mut turns = order.iter().copied().chain((0..=u8::MAX).cycle());
    for _ in 0..100_000 {
        if let Some(program) = waiting.pop() {
            let changes_names = program.changes_names();
            match (changes_names, naming.is_some()) {
                (true, true) => waiting.push(program),
                (true, false) => naming = Some(Box::pin(program.run(&world.fs))),
                (false, _) => others.push(Box::pin(program.run(&world.fs))),
            }
        }
        let turn = usize::from(turns.next().unwrap());
        match others.len() {
            0 => {}
            count if poll(&mut others[turn % count]).is_some() => drop(others.remove(turn % count)),
            _ => {}
        }
        if turn % 2 == 0 && naming.as_mut().is_some_and(|doing| poll(doing).is_some()) {
            naming = None;
        }
        if turn % 3 == 0 {
            world.step();
        }
        if waiting.is_empty() && naming.is_none() && others.is_empty() {
            return;
        }
    }
    panic!("somebody waits for ever");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn in_a_crowd_nobody_waits_for_ever_and_what_is_shown_is_what_is_there(
        programs in prop::collection::vec(program(), 1..12),
        order in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let world = World::with([("/a", &[1; 3000][..]), ("/b", &[2; 200])]);
        run_all(&world, programs, &order);
        let mut names = world.names("/");
        names.sort();
        assert_eq!(names, world.remote.names("/"));
        for name in names {
            let path = format!("/{name}");
            assert!(world.content(&path) == world.remote.content(&path).unwrap(), "{path}");
        }
        assert!(world.fs.state.lock().staged.is_empty());
        let kept: Vec<_> = world.store.kept().into_iter().map(|(name, _)| name).collect();
        assert!(kept.is_empty(), "{kept:?}");
    }
}
