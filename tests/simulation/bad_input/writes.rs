//! What is wrong with the answers to an upload.

use super::*;

#[test]
fn an_acknowledgement_of_other_bytes_than_were_sent_fails_the_upload() {
    for kind in FAMILIES {
        for more in [-1, 1] {
            let mut world = says(kind, move |answer| {
                let writes = answer.req_opcode == Opcode::WriteFile as u8;
                let count = (239 + more) as u32;
                let wrong = || answer.with_data(&count.to_le_bytes());
                if writes && answer.answer() == Some(Ok(())) { wrong() } else { answer }
            });
            let id = world.upload("/new", &content());
            assert_eq!(end(&mut world, id), Err(Error::ShortWrite), "{kind:?} {more}");
            world.run_for(BOUND);
            assert!(!world.hub.holds_sessions());
        }
    }
}

#[test]
fn late_answers_about_an_earlier_upload_store_nothing_of_this_one() {
    for kind in FAMILIES {
        for_seeds(0..10, |seed| {
            let mut old = None;
            let both = move |to, answer: Payload| {
                let writes = answer.req_opcode == Opcode::WriteFile as u8;
                let old = *old.get_or_insert(answer);
                if writes { vec![(to, old), (to, answer)] } else { vec![(to, answer)] }
            };
            let mut world = bent(kind, seed, |request| Heard::Pass(*request), both);
            for path in ["/one", "/two"] {
                let id = world.upload(path, &content());
                assert_eq!(end(&mut world, id), Ok(Reply::Size(SIZE as u32)));
                assert_eq!(world.files.content(path), Some(content()));
            }
            world.check_quiet();
        });
    }
}

#[test]
fn a_server_silent_on_what_an_upload_needs_is_given_up() {
    for kind in FAMILIES {
        for silent in [Opcode::CreateFile, Opcode::WriteFile, Opcode::TerminateSession] {
            let mut world = hears(kind, move |request| match request.command() == Some(silent) {
                true => Heard::Lost,
                false => Heard::Pass(*request),
            });
            let id = world.upload("/new", &content());
            assert_eq!(end(&mut world, id), Err(Error::TimedOut), "{kind:?} without {silent:?}");
            world.run_for(BOUND);
            assert!(!world.hub.holds_sessions(), "{kind:?} without {silent:?}");
        }
    }
}

#[test]
fn a_second_station_that_is_answered_in_our_place_is_nobody_to_us() {
    let mut world = bent(
        FAMILIES[1],
        1,
        |request| Heard::Pass(*request),
        |to, answer| {
            let to = if answer.req_opcode == Opcode::WriteFile as u8 { OTHER } else { to };
            vec![(to, answer)]
        },
    );
    world.shared = true;
    let id = world.upload("/new", &content());
    assert_eq!(end(&mut world, id), Err(Error::TimedOut));
    assert_ne!(US, OTHER);
}
