//! Where real servers differ from the specification and from each other, row by row, and what holds
//! the personalities to it: a step of the recordings that they must answer alike, or a test with a
//! client that falls for it or one that does not. What nothing holds says why.

use std::fs;
use std::path::Path;

use crate::compared;

/// What covers a row.
enum Proof {
    /// A step of the recordings, by how it begins.
    Step(&'static str),
    /// A test in this folder's crate, by name.
    Test(&'static str),
    /// Nothing, because.
    Nothing(&'static str),
}

use Proof::{Nothing, Step, Test};

const ROWS: &[(&str, &[Proof])] = &[
    (
        "how many sessions there are, and whose number they bear",
        &[
            Step("a second open while one is open"),
            Test("a_naive_client_locks_itself_out_when_it_opens_again"),
            Test("a_naive_client_with_another_session_id_for_listings_is_refused"),
            Test("a_naive_client_takes_a_new_session_for_each_request_and_is_refused"),
            Test("a_naive_client_that_writes_one_file_ends_the_other_that_it_reads"),
        ],
    ),
    (
        "opening in a session that has a file",
        &[Test("a_naive_client_cannot_open_again_what_it_opened_unless_it_waits_and_only_reads")],
    ),
    (
        "the size of a read",
        &[
            Step("open for reading, read 239, short tail"),
            Step("data size 255"),
            Test("a_naive_client_poisons_its_session_with_the_last_block"),
            Test("a_naive_client_that_asks_for_no_bytes_is_told_the_end_or_given_none"),
            Test("whole_blocks_and_empty_pages_of_an_older_server_do_no_harm"),
        ],
    ),
    (
        "the size of a burst's packets",
        &[
            Step("burst with 80-byte packets"),
            Test("a_naive_client_that_asks_for_small_packets_gets_large_ones"),
            Test("the_size_of_packets_is_honoured"),
            Test("a_naive_client_that_names_no_size_gets_empty_packets_for_ever"),
        ],
    ),
    (
        "how far a burst goes, and how it ends",
        &[
            Step("burst f5000"),
            Step("burst f478"),
            Step("burst f239"),
            Step("burst f0"),
            Test("bursts_bring_the_files_bytes_and_end_as_recorded"),
            Test("a_burst_comes_by_ticks_and_ends_after_the_first_that_has_brought_enough"),
            Test("a_burst_has_its_count_of_packets_at_a_steady_pace"),
            Test("a_naive_client_that_waits_for_the_flag_at_the_end_waits_for_ever"),
            Test("a_naive_client_that_waits_for_a_refusal_at_the_end_waits_for_ever"),
            Test("a_later_server_ends_a_file_with_a_refusal_that_is_marked"),
            Test("a_naive_client_that_takes_the_refusals_offset_for_the_size_cuts_the_file"),
            Test("a_naive_client_that_stops_at_the_first_flag_has_one_packet"),
        ],
    ),
    (
        "how fast a burst goes",
        &[
            Test("a_line_that_does_not_say_when_it_is_full_is_used_by_a_third"),
            Test("a_line_that_says_when_it_is_full_is_waited_for"),
            Test("the_later_one_sends_steady_pieces"),
            Test("the_old_one_sends_the_whole_file_flat_out_and_marks_the_last_packet"),
            Test("a_serial_line_that_is_full_loses_answers_and_holds_bursts"),
        ],
    ),
    (
        "requests during a burst",
        &[
            Test(
                "other_requests_are_answered_between_ticks_and_an_end_of_the_session_is_the_bursts",
            ),
            Test("a_naive_client_that_asks_beside_a_burst_is_not_answered_before_its_end"),
            Test("a_naive_client_that_reads_beside_a_burst_gets_wrong_bytes_at_right_places"),
            Test("a_naive_client_that_only_listens_is_cut_off_in_the_middle"),
        ],
    ),
    ("how a burst is stopped", &[Test("a_new_burst_takes_the_place_of_a_running_one")]),
    (
        "a burst that fails, or has no file",
        &[
            Test("a_burst_that_fails_fails_for_ever_until_the_session_ends"),
            Test("a_burst_wants_an_open_file"),
            Test("a_burst_wants_a_file_that_is_open_to_read"),
        ],
    ),
    (
        "the numbers of a burst's packets, and of what comes next",
        &[
            Step("burst f5000"),
            Test("packets_of_a_burst_are_numbered_from_the_request_on"),
            Test("a_naive_client_that_goes_on_with_its_own_number_leaves_the_file_open"),
            Test("a_burst_asked_for_again_under_its_old_number_runs_again"),
        ],
    ),
    (
        "what of the answers is remembered, and for whom",
        &[
            Step("repeat: mkdir twice with one sequence number"),
            Step("the same again"),
            Step("another request with the number of the last"),
            Test("a_naive_client_sends_the_last_number_again_and_is_heard_twice"),
            Test("a_naive_client_with_the_number_of_another_station_costs_it_its_answer"),
            Test("a_naive_client_that_asks_again_is_refused_what_it_has_done"),
            Test("a_file_whose_opening_the_server_forgets_is_read_in_the_end"),
        ],
    ),
    (
        "too much at once",
        &[
            Test("a_naive_client_that_asks_for_much_at_once_is_not_heard"),
            Test("a_naive_client_overruns_the_buffer_of_a_board"),
        ],
    ),
    (
        "an opcode that is not known",
        &[Step("unknown opcode"), Test("a_naive_client_waits_for_ever_for_what_is_not_known")],
    ),
    (
        "listing with times",
        &[
            Step("list with time"),
            Test("a_later_server_lists_with_times_and_says_what_it_does_not_know"),
        ],
    ),
    (
        "truncation",
        &[
            Step("truncate to 100"),
            Test("a_truncation_is_unsupported"),
            Test("a_truncation_that_nobody_answers_is_given_up_as_unsupported"),
        ],
    ),
    (
        "creating what exists",
        &[Step("create, write 3 blocks in flight"), Test("an_upload_is_whole")],
    ),
    (
        "opening for writing: does it empty, does it create",
        &[
            Step("open for writing"),
            Test("a_naive_client_empties_the_file_it_wants_to_change"),
            Test("a_naive_client_cannot_append_to_what_is_not_there"),
            Test("an_append_is_not_tried_where_it_would_empty_the_file"),
        ],
    ),
    (
        "a hole behind the end",
        &[Test("a_naive_client_that_leaves_a_hole_on_a_fat_card_finds_what_lay_there")],
    ),
    (
        "what the answer to a write tells",
        &[
            Step("create, write 3 blocks in flight"),
            Test("a_naive_client_believes_in_a_write_that_was_cut_short"),
        ],
    ),
    (
        "the offset of a refused write",
        &[Test("a_naive_client_looks_for_a_refused_block_by_its_offset")],
    ),
    (
        "renaming over a file",
        &[
            Step("rename, onto existing"),
            Test("a_naive_client_cannot_save_by_renaming_over_a_file_on_a_fat_card"),
        ],
    ),
    (
        "the size of a rename and of a path",
        &[
            Test("a_naive_client_cannot_give_px4_a_name_of_one_letter"),
            Test("a_naive_client_counts_the_nul_into_the_size_and_is_refused"),
            Test("a_naive_client_with_a_long_path_makes_another_file"),
        ],
    ),
    (
        "removing a directory as a file, and the other way round",
        &[
            Step("remove, remove again, remove a directory"),
            Test("a_naive_client_removes_a_directory_as_a_file_and_a_file_as_a_directory"),
        ],
    ),
    (
        "removing a directory that is not empty",
        &[
            Step("mkdir, mkdir again, rmdir non-empty"),
            Test("a_naive_client_is_told_different_errors_for_a_directory_that_is_not_empty"),
        ],
    ),
    ("opening what is missing", &[Step("open missing")]),
    (
        "listing what is missing, and a file",
        &[
            Step("list: missing"),
            Step("list: a file"),
            Test("a_naive_client_that_lists_a_file_ends_the_server"),
        ],
    ),
    (
        "opening a directory",
        &[
            Step("open a directory"),
            Test("a_directory_that_opens_like_a_file_does_not_keep_the_session"),
            Test("a_file_that_is_a_directory_by_now_keeps_nobody_from_the_session"),
        ],
    ),
    (
        "reading and writing without a session, or in another",
        &[
            Step("read without a session"),
            Test("a_naive_client_takes_a_lost_session_for_a_lost_file"),
            Test("a_naive_client_writes_to_any_session_of_px4s_release"),
            Test("a_naive_client_reads_what_it_opened_to_write"),
            Test("a_naive_client_that_makes_up_a_session_number_loses_its_session"),
        ],
    ),
    ("closing what is not open", &[Step("terminate; terminate again")]),
    (
        "an error number that sticks",
        &[
            Step("after errors: list, read at end"),
            Step("open a directory"),
            Test("a_naive_client_believes_an_error_of_long_ago"),
            Test("an_error_that_sticks_spoils_no_listing_and_no_upload"),
            Test("a_taken_session_is_waited_for_also_when_the_refusal_names_an_old_error"),
        ],
    ),
    (
        "what the root is",
        &[
            Test("a_server_without_a_root_refuses_all_and_is_asked_no_more_than_that"),
            Nothing("where the root lies on the vehicle's own disk is not seen from outside"),
        ],
    ),
    (
        "where files may be changed",
        &[
            Test("a_naive_client_changes_nothing_outside_the_card"),
            Test("a_change_outside_the_card_is_refused_and_no_session_is_lost"),
        ],
    ),
    (
        "a path that climbs",
        &[Step("path with .."), Test("a_path_that_climbs_leads_where_it_led_or_nowhere")],
    ),
    (
        "places that are no directories",
        &[
            Test("a_naive_client_believes_the_sizes_of_what_is_made_when_it_is_opened"),
            Test("a_naive_client_cannot_write_to_what_is_made_at_start"),
            Test("a_naive_client_finds_the_logs_of_px4_main_without_a_slash_only"),
            Test("what_is_made_when_it_is_opened_is_read_to_its_real_end"),
        ],
    ),
    (
        "parameters are read in one size",
        &[Test("a_naive_client_that_clamps_its_last_read_of_the_parameters_is_refused")],
    ),
    (
        "an upload to a place takes effect when it is closed",
        &[Nothing("no server was seen to refuse the closing; the personality takes any upload")],
    ),
    (
        "the root's listing",
        &[Test("a_naive_client_sees_no_files_in_the_root_of_a_simulated_ardupilot")],
    ),
    ("the directory itself and its parent", &[Step("list: the prepared"), Step("list: empty")]),
    (
        "links and special files",
        &[Step("list: the prepared"), Test("sockets_that_are_counted_but_not_sent_hide_nothing")],
    ),
    (
        "names with tabs",
        &[Step("list: the prepared"), Test("a_name_with_a_tab_is_listed_by_everyone")],
    ),
    (
        "names that are too long",
        &[
            Test("a_naive_client_gets_an_empty_page_for_ever_for_a_name_that_px4_cannot_send"),
            Test("a_naive_client_loses_all_behind_a_name_that_is_too_long"),
            Test("names_that_fit_in_no_page_hide_nobody_else"),
        ],
    ),
    ("sizes above 4 GiB", &[Nothing("a tree in memory does not hold such a file")]),
    ("modification times", &[Step("list with time")]),
    (
        "a session left alone",
        &[
            Test("a_naive_client_is_cut_off_when_it_pauses"),
            Test(
                "a_naive_client_that_pauses_loses_its_file_with_five_sessions_and_keeps_it_with_one",
            ),
            Test("a_session_that_a_dead_station_left_open_is_taken_over"),
            Test("a_session_that_a_dead_station_left_open_is_free_again_in_the_end"),
        ],
    ),
    (
        "requests for other systems and components",
        &[Nothing("a personality sees payloads; who is addressed is the hub's and its own tests'")],
    ),
    (
        "FTP switched off, or mute while heartbeats go on",
        &[Test("a_silence_ends_a_read_in_bounded_time_and_the_next_one_works")],
    ),
    (
        "a board judges writes by the last path, and forgets it",
        &[
            Test("a_naive_client_that_looks_around_or_waits_while_it_writes_is_refused_by_a_board"),
            Test("an_upload_to_a_board_outlives_listings_and_a_source_that_pauses"),
        ],
    ),
    (
        "another live station on the only session",
        &[
            Test("a_live_station_at_the_only_session_is_waited_for_and_never_closed"),
            Test("another_stations_session_is_never_closed_by_us"),
        ],
    ),
    (
        "what comes late from an old link, in one go",
        &[Test("what_comes_in_one_go_after_a_silence_is_not_believed")],
    ),
    (
        "a link whose end makes the others mute, and the burst that comes when it is back",
        &[
            Test("a_station_that_goes_in_the_middle_of_its_burst_leaves_a_mute_server_behind"),
            Test("the_server_with_one_file_is_mute_for_all_without_the_link_that_asked_first"),
            Test("packets_of_an_old_burst_are_nobodys_bytes_whatever_their_numbers"),
        ],
    ),
];

/// All of these tests' sources.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else {
            text.push_str(&fs::read_to_string(path).expect("a source"));
        }
    }
}

#[test]
fn every_row_is_held_by_a_test_that_is_there_or_by_a_recorded_step_or_says_why_not() {
    let mut text = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation"), &mut text);
    let steps = compared::steps();
    for (row, proofs) in ROWS {
        assert!(!proofs.is_empty(), "{row}");
        for proof in *proofs {
            match proof {
                Step(name) => {
                    assert!(steps.iter().any(|step| step.starts_with(name)), "{row}: {name}");
                }
                Test(name) => assert!(text.contains(&format!("\nfn {name}(")), "{row}: {name}"),
                Nothing(why) => assert!(!why.is_empty(), "{row}"),
            }
        }
    }
}
