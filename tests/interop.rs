//! Kernel mounts of MAVSDK's FtpServer, which nobody here wrote, driven by ordinary programs.
//! Needs /dev/fuse, root, and the Python packages that scripts/test installs.

use std::path::Path;
use std::time::{Duration, Instant};

mod support;

use support::mounted::{Scene, Server};
use support::ordinary;
use support::program::succeed;

fn mavsdk(fill: impl FnOnce(&Path)) -> Scene {
    Scene::new(Server::Mavsdk, &[], fill)
}

#[test]
fn a_copy_out_of_mavsdk_is_the_same_file() {
    ordinary::copies_out(&mavsdk(ordinary::fill_with_sizes));
}

#[test]
fn a_copy_into_mavsdk_is_the_same_file() {
    ordinary::copies_in(&mavsdk(|_| ()));
}

#[test]
fn any_piece_of_a_file_on_mavsdk_can_be_read() {
    ordinary::reads_at_odd_offsets(&mavsdk(ordinary::fill_with_sizes));
}

#[test]
fn any_piece_of_a_file_on_mavsdk_can_be_written() {
    ordinary::writes_at_odd_offsets(&mavsdk(ordinary::fill_with_sizes));
}

#[test]
fn a_shell_appends_and_an_editor_replaces_on_mavsdk() {
    ordinary::appends_and_edits(&mavsdk(ordinary::fill_with_sizes));
}

#[test]
fn files_and_directories_are_moved_on_mavsdk() {
    ordinary::moves(&mavsdk(ordinary::fill_with_sizes));
}

#[test]
fn directories_are_made_and_things_are_removed_on_mavsdk() {
    ordinary::makes_and_removes(&mavsdk(ordinary::fill_with_sizes));
}

#[test]
fn files_are_truncated_on_mavsdk_which_has_no_truncate() {
    ordinary::truncates(&mavsdk(ordinary::fill_with_sizes));
}

#[test]
fn a_listing_of_mavsdk_shows_names_kinds_sizes_and_times() {
    ordinary::lists(&mavsdk(ordinary::fill_with_names));
}

#[test]
fn a_thousand_files_of_mavsdk_are_listed() {
    ordinary::lists_a_thousand(&mavsdk(ordinary::fill_with_a_thousand));
}

#[test]
fn a_killed_mavsdk_ends_a_read_in_time_and_its_return_is_noticed() {
    ordinary::survives_a_killed_server(&mut mavsdk(ordinary::fill_for_a_killed_server));
}

#[test]
fn a_dead_mavsdk_does_not_hold_up_what_needs_no_wire() {
    let fill = ordinary::fill_for_waiting;
    let mut scene = Scene::new(Server::Mavsdk, &ordinary::PATIENT, fill);
    ordinary::answers_while_others_wait(&mut scene);
}

#[test]
fn a_companion_with_ftp_is_mounted_where_there_is_no_autopilot() {
    let fill = ordinary::fill_with_sizes;
    ordinary::copies_out(&Scene::new(Server::MavsdkCompanion, &[], fill));
}

#[test]
fn a_component_that_refuses_everything_is_passed_over_for_one_that_serves() {
    let fill = ordinary::fill_with_sizes;
    let scene = Scene::new(Server::MavsdkTwin, &[], fill);
    succeed("cmp", &[scene.near("size-239"), scene.far("size-239")]);
}

/// MAVSDK's server sends its own bursts at 112 KiB/s, whatever the link.
const MAVSDK_BURST_BYTES_PER_SECOND: usize = 112 << 10;
const TEN_MIB: usize = 10 << 20;

#[test]
#[ignore = "measures time, which a busy machine distorts; scripts/test --full runs it"]
fn ten_mebibytes_come_ten_times_as_fast_as_mavsdks_own_burst() {
    let fill = |directory: &Path| {
        std::fs::write(directory.join("ten"), ordinary::noise(10, TEN_MIB)).unwrap();
    };
    let scene = mavsdk(fill);
    let local = tempfile::tempdir().unwrap();
    let began = Instant::now();
    succeed("cp", &[scene.near("ten").as_path(), local.path()]);
    let took = began.elapsed();
    succeed("cmp", &[local.path().join("ten"), scene.far("ten")]);
    let tenth = TEN_MIB / (10 * MAVSDK_BURST_BYTES_PER_SECOND);
    assert!(took < Duration::from_secs(tenth as u64), "cp took {took:?}, limit {tenth} s");
}
