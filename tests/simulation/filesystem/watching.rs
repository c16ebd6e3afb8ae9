//! A file that another station replaces while programs read it: what is read is one version, and not
//! an old one for ever.

use std::rc::Rc;
use std::time::Duration;

use mavftp_mount::fs::Ino;

use super::flight::{DIRECTORY_TIME, Surroundings};
use super::program::is_failure;

const NAME: &str = "shared";
/// How often it is replaced.
const EACH: Duration = Duration::from_secs(15);
/// Requests on their way, and a listing that had begun.
const SLACK: Duration = Duration::from_secs(15);

/// What a version holds. Versions differ in size, for some vehicles tell no times; each is smaller
/// than the one before, for a larger one is taken for one that grew.
fn content(version: u64) -> Vec<u8> {
    let size = 9_700 - (version % 70) * 131;
    (0..size).map(|at| (at.wrapping_mul(31) ^ version.wrapping_mul(77) ^ at >> 8) as u8).collect()
}

fn version_at(elapsed: Duration) -> u64 {
    elapsed.as_secs() / EACH.as_secs()
}

/// The other station, for ever.
pub async fn replace(around: Rc<Surroundings>) {
    loop {
        around.files.insert(NAME, &content(version_at(around.elapsed())));
        around.sleep(EACH).await;
    }
}

/// Reads all of it through one handle, in pieces.
pub async fn watch(around: &Surroundings, pieces: usize) {
    let fs = around.fs();
    let oldest = version_at(around.elapsed().saturating_sub(DIRECTORY_TIME + SLACK));
    let Ok(attr) = fs.lookup(Ino::ROOT, NAME.as_bytes()).await else { return };
    if let Ok(opened) = fs.open(attr.ino, libc::O_RDONLY).await {
        let (mut read, mut whole) = (Vec::new(), false);
        let size = 10_000 / pieces;
        loop {
            match fs.read(opened.handle, read.len() as u64, size).await {
                Ok(bytes) if bytes.is_empty() => {
                    whole = true;
                    break;
                }
                Ok(mut bytes) => read.append(&mut bytes),
                Err(error) => {
                    assert!(is_failure(error.errno()), "the watched file: {error}");
                    break;
                }
            }
            around.sleep(Duration::from_millis(900)).await;
        }
        fs.release(opened.handle).await.expect("it closes");
        let newest = version_at(around.elapsed());
        check(around, &read, whole, oldest, newest);
    }
    fs.forget(attr.ino, 1);
}

fn check(around: &Surroundings, read: &[u8], whole: bool, oldest: u64, newest: u64) {
    let oldest = if around.is_troubled() || around.lossy { 0 } else { oldest };
    let is_version = |version: u64| match whole {
        true => content(version) == read,
        false => content(version).starts_with(read),
    };
    let found = (oldest..=newest).any(is_version);
    let older = (0..oldest).rev().find(|version| is_version(*version));
    let pieces = |version: u64| {
        let content = content(version);
        let same = |at: &usize| content.get(*at) == read.get(*at);
        let runs = (0..read.len()).filter(|at| same(at) && (*at == 0 || !same(&(at - 1))));
        runs.map(|at| (at, (at..read.len()).take_while(same).count()))
            .filter(|(_, length)| *length > 8)
            .collect::<Vec<_>>()
    };
    if !found {
        (0..=newest).for_each(|version| eprintln!("version {version}: {:?}", pieces(version)));
    }
    assert!(
        found,
        "{} bytes ({whole}) are of no version in {oldest}..={newest}, but {older:?}",
        read.len()
    );
}
