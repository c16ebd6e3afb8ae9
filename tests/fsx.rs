//! fsx, which does thousands of random things to one file and knows what must come of each: reads,
//! writes, truncations, shared mappings, syncs, reopenings. Needs /dev/fuse, root, and what
//! scripts/test installs.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

mod support;

use support::mounted::{Scene, Server};
use support::program::{run_within, succeed};
use support::relay::DamagedScene;
use support::tools::tool;

/// Set by scripts/test --full.
const FULL: &str = "MAVFTP_FULL";
const SHORT_STEPS: u32 = 1_500;
const FULL_STEPS: u32 = 20_000;
/// For all steps, over a bad link on a busy machine.
const LIMIT: Duration = Duration::from_secs(3_600);
/// Wi-Fi with some of everything.
const DAMAGE: &str =
    "--loss 0.01 --duplicate 0.01 --reorder 0.01 --delay 1 --rate 4000000 --seed 13";
/// Lost again and again, on a busy machine, a frame needs longer than in other tests.
const PATIENT: [&str; 4] = ["--op-timeout", "10s", "--link-timeout", "5s"];

fn full() -> bool {
    std::env::var_os(FULL).is_some()
}

/// One run with this seed; the far side holds the same bytes afterwards.
fn exercise(scene: &Scene, seed: u64, steps: u32) {
    println!("fsx with seed {seed}, {steps} steps");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fsx.toml");
    let artifacts = tempfile::tempdir().unwrap();
    let file = scene.near("exercised");
    let (seed, steps) = (seed.to_string(), steps.to_string());
    let arguments: [OsString; 9] = [
        "-f".into(),
        config.into(),
        "-S".into(),
        seed.clone().into(),
        "-N".into(),
        steps.into(),
        "-P".into(),
        artifacts.path().into(),
        file.clone().into(),
    ];
    let began = Instant::now();
    let output = run_within(LIMIT, tool("fsx").to_str().unwrap(), &arguments);
    println!("{:.1} s", began.elapsed().as_secs_f32());
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "seed {seed}: {}\n{printed}{stdout}", output.status);
    succeed("cmp", &[file, scene.far("exercised")]);
    let left: Vec<_> = fs::read_dir(scene.far("")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(left.len(), 1, "left behind: {left:?}");
}

fn steps() -> u32 {
    if full() { FULL_STEPS } else { SHORT_STEPS }
}

/// Each step takes longer there.
fn damaged_steps() -> u32 {
    if full() { FULL_STEPS } else { SHORT_STEPS / 5 }
}

/// > A file can be written in any order and by parts, cut, lengthened and mapped, on every server:
/// > all of it happens to a copy on the local disk.
#[test]
fn fsx_finds_nothing_on_our_server() {
    exercise(&Scene::new(Server::Embedded, &PATIENT, |_| ()), 1, steps());
}

/// > A file can be written in any order and by parts, cut, lengthened and mapped, on every server:
/// > all of it happens to a copy on the local disk.
#[test]
fn fsx_finds_nothing_on_mavsdk() {
    exercise(&Scene::new(Server::Mavsdk, &PATIENT, |_| ()), 2, steps());
}

#[test]
fn fsx_finds_nothing_on_our_server_behind_a_damaged_link() {
    let far = DamagedScene::new(Server::Embedded, DAMAGE, &PATIENT, |_| ());
    exercise(&far.scene, 3, damaged_steps());
}

#[test]
fn fsx_finds_nothing_on_mavsdk_behind_a_damaged_link() {
    let far = DamagedScene::new(Server::Mavsdk, DAMAGE, &PATIENT, |_| ());
    exercise(&far.scene, 4, damaged_steps());
}
