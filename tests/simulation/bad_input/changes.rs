//! Files that become others while they are read.

use super::*;

/// Reads a file over a slow link and lets it become another one in the middle.
fn changed_while_read(kind: Kind, later: &[u8]) -> (World, RequestId, Result<Reply, Error>) {
    let mut world = kind.world(1, Faults::WIFI);
    world.files.insert("/f", &content());
    let id = world.read("/f", 0, u32::MAX);
    world.run_until(|world| world.outcomes[&id].bytes.len() > 20);
    world.files.insert("/f", later);
    let result = end(&mut world, id);
    (world, id, result)
}

#[test]
fn a_file_that_grows_while_it_is_read_ends_where_it_ended_when_opened() {
    for kind in ALL {
        let (mut world, id, result) =
            changed_while_read(kind, &[content(), vec![9; 5_000]].concat());
        assert_eq!(result, Ok(Reply::Size(SIZE as u32)), "{kind:?}");
        assert!(world.outcomes[&id].joined(0) == content());
        world.check_quiet();
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_whole_or_has_changed() {
    for kind in ALL {
        let (mut world, id, result) = changed_while_read(kind, &content()[..8_000]);
        match result {
            Ok(_) => assert!(world.outcomes[&id].joined(0) == content()),
            Err(error) => assert_eq!(error, Error::Changed, "{kind:?}"),
        }
        world.check_quiet();
    }
}

/// With another file of the same size nothing tells but a checksum, which is the caller's to ask for;
/// no block is anything but one of the two files'.
#[test]
fn a_file_that_is_replaced_by_one_of_the_same_size_yields_blocks_of_one_or_the_other() {
    for kind in ALL {
        let (mut world, id, result) = changed_while_read(kind, &[9; SIZE]);
        assert_eq!(result, Ok(Reply::Size(SIZE as u32)), "{kind:?}");
        for (at, bytes) in &world.outcomes[&id].bytes {
            let old = content()[*at as usize..][..bytes.len()] == bytes[..];
            assert!(old || bytes.iter().all(|byte| *byte == 9));
        }
        world.check_quiet();
    }
}
