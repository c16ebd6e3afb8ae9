//! What is wrong with listings, and with servers that refuse everything.

use super::*;

/// Lists, and answers with the result how many entries there were, and how many pages were asked for.
fn list(world: &mut World) -> (Result<Reply, Error>, usize, u64) {
    let sent = world.sent;
    let id = world.ask(Op::List { path: b"/d".to_vec() }, Class::Metadata);
    let result = end(world, id);
    (result, world.outcomes[&id].entries.len(), world.sent - sent)
}

/// A server whose every page is this one.
fn pages_of(kind: Kind, page: &'static [u8]) -> World {
    hears(kind, move |request| match request.command() {
        Some(Opcode::ListDirectory | Opcode::ListDirectoryWithTime) => {
            Heard::Answered(Payload::ack(request).with_data(page))
        }
        Some(_) | None => Heard::Pass(*request),
    })
}

#[test]
fn endless_empty_pages_are_the_end_of_a_listing() {
    for kind in FAMILIES {
        let (result, entries, pages) = list(&mut pages_of(kind, b""));
        assert_eq!((result, entries), (Ok(Reply::Done), 0), "{kind:?}");
        assert!(pages < 40, "{pages} pages");
    }
}

#[test]
fn a_listing_that_repeats_for_ever_is_given_up() {
    for kind in FAMILIES {
        let (result, entries, _) = list(&mut pages_of(kind, b"Fa\t1\0Fb\t2\0"));
        assert!(matches!(result, Err(Error::Endless | Error::TimedOut)), "{kind:?} {result:?}");
        assert_eq!(entries, 2);
    }
}

#[test]
fn a_page_of_anything_ends_in_bounded_time() {
    for page in [&b"\0\0\0\0"[..], b"no end", b"\xff\xff\0\xff", b"F\t\t\t\0", b"Fa\0", b"D"] {
        let (result, _, _) = list(&mut pages_of(FAMILIES[0], page));
        assert!(matches!(result, Ok(_) | Err(Error::Endless | Error::TimedOut)), "{result:?}");
    }
}

#[test]
fn a_server_silent_on_listings_with_times_is_asked_for_plain_ones() {
    for kind in FAMILIES {
        let mut world = hears(kind, |request| match request.command() {
            Some(Opcode::ListDirectoryWithTime) => Heard::Lost,
            Some(_) | None => Heard::Pass(*request),
        });
        world.files.insert("/d/f", b"x");
        let (result, entries, _) = list(&mut world);
        assert_eq!(result, Ok(Reply::Done), "{kind:?}");
        assert!((1..=3).contains(&entries));
    }
}

const EVERY_NAK: [Nak; 11] = [
    Nak::Fail,
    Nak::FailErrno(17),
    Nak::InvalidDataSize,
    Nak::InvalidSession,
    Nak::NoSessionsAvailable,
    Nak::Eof,
    Nak::UnknownCommand,
    Nak::FileExists,
    Nak::FileProtected,
    Nak::FileNotFound,
    Nak::Other(77),
];

#[test]
fn a_server_with_one_stale_error_for_everything_gets_clear_errors_out_of_it() {
    for kind in FAMILIES {
        for nak in EVERY_NAK {
            let mut world = hears(kind, move |request| Heard::Answered(Payload::nak(request, nak)));
            let path = || b"/d/f".to_vec();
            for op in [
                Op::Read { path: path(), offset: 0, length: 100, expected: None },
                Op::Size { path: path() },
                Op::Write { path: path(), append: None },
                Op::MakeDirectory { path: path() },
                Op::Remove { path: path() },
                Op::RemoveDirectory { path: path() },
                Op::Rename { from: path(), to: b"/d/g".to_vec() },
                Op::Truncate { path: path(), length: 1 },
                Op::Checksum { path: path() },
            ] {
                let id = world.ask(op.clone(), Class::Metadata);
                let result = end(&mut world, id);
                assert!(result.is_err(), "{kind:?} {nak:?} {op:?}: {result:?}");
            }
            // The end of a listing is a refusal, and PX4 may name an old error in it.
            let (result, entries, _) = list(&mut world);
            let ends = matches!(nak, Nak::Eof | Nak::FileExists);
            assert_eq!((result.is_ok(), entries), (ends, 0), "{kind:?} {nak:?}: {result:?}");
            world.run_for(BOUND);
            assert!(!world.hub.holds_sessions());
        }
    }
}
