//! The real filesystem and cache over the real client, against every kind of vehicle, over links that
//! damage, with all that goes wrong in the field, from seeds: what succeeded is there, what failed
//! left the old state or the new one, nothing hangs and nothing is left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::for_seeds;
use crate::network::Faults;
use crate::personalities::px4::Firmware;
use crate::vehicles::Kind;
use flight::Flight;
use program::Program;
use steps::Scenario;

mod content;
mod doubt;
mod flight;
mod names;
#[path = "../../src/fs/model_tests/posix.rs"]
#[allow(dead_code)]
mod posix;
mod program;
mod regressions;
mod settling;
mod steps;
mod store;
mod watching;

/// Operations of a run.
const STEPS: usize = 120;
/// Seeds of an ordinary run, and of a long one.
const FEW: u64 = 1_000;
const MANY: u64 = 20_000;

impl Scenario {
    fn run(&self) {
        let mut flight = Flight::new(self.kind, self.seed, self.faults, &self.mishaps);
        let in_two_steps = matches!(
            self.kind,
            Kind::ArduPilotOnCard(_) | Kind::Px4(Firmware::Board | Firmware::Serial)
        );
        let appends = !matches!(self.kind, Kind::Mavsdk(_));
        let around = flight.around.clone();
        let count = self.programs.len();
        let mut programs: Vec<Program> =
            (0..count).map(|n| Program::new(around.clone(), n, (in_two_steps, appends))).collect();
        let station = watching::replace(around.clone());
        let work = async {
            let works: Vec<_> = programs
                .iter_mut()
                .zip(&self.programs)
                .map(|(program, steps)| Box::pin(program.run(steps)))
                .collect();
            for_all(works).await;
        };
        flight.run(vec![Box::pin(futures_lite::future::or(work, station))]);
        flight.world.network.faults = Faults::NONE;
        flight.pass(Duration::from_secs(60));
        self.check_nothing_is_left(&mut flight);
        flight.mount();
        for program in &programs {
            flight.run(vec![Box::pin(program.compare())]);
        }
        if std::env::var_os("MAVFTP_TALLY").is_some() {
            let (failures, longest) = (around.failures.borrow(), around.longest.borrow());
            eprintln!("seed {} {:?}: {failures:?} {longest:?}", self.seed, self.kind);
        }
    }

    fn check_nothing_is_left(&self, flight: &mut Flight) {
        let held = flight.around.fs().holdings();
        assert_eq!((held.inodes, held.handles, held.staged), (1, 0, 0), "{held:?}");
        assert_eq!(flight.around.store.alive(), 0, "staged copies are left");
        assert_eq!(flight.world.counter.as_ref().map(|counter| counter.desk.running()), Some(0));
        assert!(!flight.world.hub.holds_sessions(), "a session is left open");
        // A closing that is never heard leaves a file open there until somebody resets.
        if self.mishaps.is_empty() && !flight.around.lossy {
            assert_eq!(flight.world.open_files(), 0, "the vehicle has a file open");
        }
    }
}

/// Runs futures to their ends, beside one another.
async fn for_all<F: Future<Output = ()> + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| std::pin::Pin::new(future).poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Leaves out what a failure does not need.
fn shrink(scenario: Scenario) -> Scenario {
    let fails = |scenario: &Scenario| catch_unwind(AssertUnwindSafe(|| scenario.run())).is_err();
    let mut least = scenario;
    loop {
        let before = format!("{least:?}").len();
        for at in (0..least.mishaps.len()).rev() {
            let mut less = least.clone();
            less.mishaps.remove(at);
            if fails(&less) {
                least = less;
            }
        }
        for program in 0..least.programs.len() {
            let mut size = least.programs[program].len();
            while size > 0 {
                let mut at = 0;
                while at < least.programs[program].len() {
                    let mut less = least.clone();
                    let steps = &mut less.programs[program];
                    steps.drain(at..(at + size).min(steps.len()));
                    match fails(&less) {
                        true => least = less,
                        false => at += size,
                    }
                }
                size /= 2;
            }
        }
        if format!("{least:?}").len() == before {
            return least;
        }
    }
}

#[test]
fn what_programs_do_is_what_posix_says_whatever_goes_wrong() {
    for_seeds(0..FEW, |seed| Scenario::new(seed, STEPS).run());
}

#[test]
#[ignore = "takes a minute; `scripts/test --full` runs it"]
fn millions_of_operations_do_what_posix_says_whatever_goes_wrong() {
    for_seeds(FEW..FEW + MANY, |seed| Scenario::new(seed, STEPS).run());
}

/// MAVFTP_SEED=N: the least of this seed's steps that still fails. MAVFTP_SEEDS=A..B: which fail.
#[test]
#[ignore = "a tool for whoever looks for the cause of a failure"]
fn a_seed_that_fails_is_shrunk() {
    if let Some(range) = std::env::var_os("MAVFTP_SEEDS") {
        let range = range.into_string().unwrap();
        let (from, to) = range.split_once("..").unwrap();
        for seed in from.parse::<u64>().unwrap()..to.parse().unwrap() {
            let scenario = Scenario::new(seed, STEPS);
            if catch_unwind(AssertUnwindSafe(|| scenario.run())).is_err() {
                eprintln!("FAILS {seed} {:?}", scenario.kind);
            }
        }
        return;
    }
    let Some(seed) = std::env::var_os("MAVFTP_SEED") else { return };
    let seed = seed.into_string().unwrap().parse().unwrap();
    let least = shrink(Scenario::new(seed, STEPS));
    eprintln!("LEAST {least:#?}");
}
