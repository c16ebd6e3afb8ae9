//! pjdfstest, which asks what POSIX asks of each system call: the cases of `tests/posix/allowed.txt`
//! hold on a mount. Which others do not, and why, is in docs/SEMANTICS.md. Needs /dev/fuse, root,
//! and what scripts/test installs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod support;

use support::mounted::{Scene, Server};
use support::program::run_within;
use support::tools::tool;

/// The tests work as two other users as well.
const FOR_ALL: [&str; 1] = ["--allow-other"];
/// Some cases wait for a clock that counts seconds.
const LIMIT: Duration = Duration::from_secs(120);
/// What precedes a case's name where it must be exact.
const CASES: &str = "pjdfstest::tests::";

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/posix").join(name)
}

/// The names of the allow-list, in its order.
fn allowed() -> Vec<String> {
    let list = fs::read_to_string(place("allowed.txt")).unwrap();
    let lines = list.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(String::from).collect()
}

fn holds(scene: &Scene) {
    let allowed = allowed();
    let mut arguments: Vec<OsString> = vec!["-c".into(), place("pjdfstest.toml").into()];
    arguments.extend(["-p".into(), scene.near("").into(), "-e".into()]);
    arguments.extend(allowed.iter().map(|case| format!("{CASES}{case}").into()));
    let output = run_within(LIMIT, tool("pjdfstest").to_str().unwrap(), &arguments);
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    // It also succeeds when it has skipped all, or found none of the names.
    let all = format!("0 failed, 0 skipped, {} passed", allowed.len());
    assert!(output.status.success() && printed.contains(&all), "{}\n{printed}", output.status);
}

#[test]
fn the_allowed_cases_hold_on_our_server() {
    holds(&Scene::new(Server::Embedded, &FOR_ALL, |_| ()));
}

#[test]
fn the_allowed_cases_hold_on_mavsdk() {
    holds(&Scene::new(Server::Mavsdk, &FOR_ALL, |_| ()));
}

#[test]
fn the_list_is_sorted_and_names_no_case_twice() {
    let (list, mut sorted) = (allowed(), allowed());
    sorted.sort();
    sorted.dedup();
    assert_eq!(list, sorted);
}
