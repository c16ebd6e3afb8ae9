//! What the random runs have found, each reduced to what it needs.

use std::time::Duration;

use mavftp_mount::fs::Ino;

use super::Scenario;
use super::flight::{DIRECTORY_TIME, Flight, Mishap};
use super::steps::Step;
use crate::network::Faults;
use crate::personalities::ardupilot::Sessions;
use crate::personalities::mavsdk::Release;
use crate::vehicles::Kind;

/// Read and write, with [`libc::O_TRUNC`].
const OVER: i32 = libc::O_RDWR | libc::O_TRUNC;
/// Of which as many answers are lost as come through.
const LOSSY: Faults = Faults { loss: 0.4, ..Faults::WIFI };

fn write(open: usize, length: usize) -> Step {
    Step::Write { open, offset: 0, length, seed: 7 }
}

fn rename(from: &'static str, to: &'static str) -> Step {
    Step::Rename { from: vec![from], to: vec![to], no_replace: false }
}

fn create(name: &'static str, flags: i32) -> Step {
    Step::Create { path: vec![name], flags }
}

/// Runs these steps on a vehicle from many seeds.
fn run(kind: Kind, faults: Faults, steps: &[Step], mishaps: &[(Duration, Mishap)]) {
    crate::for_seeds(0..30, |seed| {
        let programs = vec![steps.to_vec()];
        Scenario { seed, kind, faults, programs, mishaps: mishaps.to_vec() }.run();
    });
}

/// Its answer was lost, and the repetition was refused because the new name was there: what had just
/// been renamed was removed, to make room for it.
#[test]
fn a_file_whose_renaming_is_asked_for_twice_is_not_lost_where_nothing_is_replaced() {
    let steps = [create("c", OVER), write(0, 3_000), Step::Close { open: 0 }, rename("c", "b")];
    run(Kind::ArduPilotOnCard(Sessions::Five), LOSSY, &steps, &[]);
}

/// A program writes, another removes the name, the first closes; who has it open for reading reads
/// what the vehicle had before it was written.
#[test]
fn a_removed_file_is_never_read_as_it_was_before_it_was_written() {
    let steps = [
        create("c", libc::O_RDONLY),
        create("c", libc::O_WRONLY),
        write(1, 4_000),
        Step::Read { open: 0, offset: 100, size: 100 },
        Step::Unlink { path: vec!["c"] },
        Step::Close { open: 1 },
        Step::Read { open: 0, offset: 100, size: 100 },
    ];
    run(Kind::ArduPilot(Sessions::Five), Faults::NONE, &steps, &[]);
}

/// A save that failed had arrived after all; the name was removed here only.
#[test]
fn a_file_whose_upload_may_have_arrived_is_removed_with_its_name() {
    let steps = [
        create("b", libc::O_RDWR),
        Step::Wait { millis: 900 },
        Step::Flush { open: 0 },
        Step::Wait { millis: 20_000 },
        Step::Unlink { path: vec!["b"] },
        Step::Close { open: 0 },
    ];
    // The request gets through, the answer does not.
    for late in 0..40 {
        let silence = Mishap::Silence(Duration::from_secs(12));
        let at = Duration::from_millis(900 + 10 * late);
        let link = Faults::line(5_760, 20, 20_000);
        run(Kind::Mavsdk(Release::Four), link, &steps, &[(at, silence)]);
    }
}

/// A name that was saved while a listing was under way was not in it.
#[test]
fn a_file_that_is_saved_while_a_listing_comes_is_listed() {
    let path = |path: &[&'static str]| path.to_vec();
    let list = |name| Step::ListWhileChanging { path: vec![], name };
    let add = |open, offset, length, seed| Step::Write { open, offset, length, seed };
    let others = [
        vec![
            Step::Wait { millis: 2_859 },
            create("b", libc::O_APPEND),
            Step::Open { path: path(&["c"]), flags: libc::O_WRONLY | libc::O_EXCL },
            add(1, 29, 19_132, 252),
        ],
        vec![
            create("b", libc::O_RDWR | libc::O_APPEND),
            rename("b", "c"),
            list("b"),
            Step::Create { path: path(&["a", "c"]), flags: OVER },
            Step::Rename { from: path(&["c"]), to: path(&["b", "a"]), no_replace: true },
            Step::Unlink { path: path(&["a", "c"]) },
            Step::MakeDirectory { path: path(&["b", "b"]) },
        ],
    ];
    let steps = vec![
        create("b", libc::O_RDWR),
        Step::Open { path: path(&["b"]), flags: libc::O_RDWR },
        Step::Create { path: path(&["a", "c"]), flags: libc::O_WRONLY },
        Step::Watch { pieces: 2 },
        Step::Watch { pieces: 4 },
        create("c", libc::O_RDWR),
        Step::Wait { millis: 4_404 },
        create("b", libc::O_RDWR | libc::O_APPEND),
        add(0, 18, 4_877, 255),
        list("c"),
        Step::Flush { open: 0 },
        add(4, 25, 20, 159),
        Step::Open { path: path(&["a", "a"]), flags: libc::O_RDWR },
        Step::Close { open: 0 },
        list("a"),
    ];
    let [first, last] = others;
    let armed = Mishap::Armed(Duration::from_millis(4_805));
    Scenario {
        seed: 37_202,
        kind: Kind::ArduPilotOnCard(Sessions::Five),
        faults: Faults::RADIO,
        programs: vec![first, steps, last],
        mishaps: vec![(Duration::from_millis(41_834), armed)],
    }
    .run();
}

/// Another station replaces a file by a larger one while it is open. What is known of its beginning
/// shows that it did not grow.
#[test]
fn a_file_that_is_replaced_by_a_larger_one_is_never_a_mixture() {
    let mut flight = Flight::new(Kind::Mavsdk(Release::Four), 1, Faults::NONE, &[]);
    let around = flight.around.clone();
    let reading = async {
        around.files.insert("f", &[b'A'; 3_000]);
        let fs = around.fs();
        let ino = fs.lookup(Ino::ROOT, b"f").await.expect("it is there").ino;
        let old = fs.open(ino, libc::O_RDONLY).await.expect("it opens").handle;
        assert_eq!(fs.read(old, 0, 2_000).await.expect("it is read"), [b'A'; 2_000]);
        around.sleep(Duration::from_secs(2)).await;
        around.files.insert("f", &[b'B'; 5_000]);
        around.sleep(DIRECTORY_TIME * 2).await;
        // As the kernel does: what is stale when it is opened is looked up again.
        let mut again = fs.lookup(Ino::ROOT, b"f").await.expect("it is there").ino;
        let mut new = fs.open(again, libc::O_RDONLY).await;
        if new.as_ref().is_err_and(|error| error.errno() == libc::ESTALE) {
            again = fs.lookup(Ino::ROOT, b"f").await.expect("it is there").ino;
            new = fs.open(again, libc::O_RDONLY).await;
        }
        let new = new.expect("it opens").handle;
        assert_eq!(fs.read(new, 0, 9_000).await.expect("it is read"), [b'B'; 5_000]);
        match fs.read(old, 2_000, 9_000).await {
            Ok(rest) => assert!(rest.iter().all(|byte| *byte == b'A'), "a mixture"),
            Err(error) => assert_eq!(error.errno(), libc::ESTALE),
        }
    };
    flight.run(vec![Box::pin(reading)]);
}
