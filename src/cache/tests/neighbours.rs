//! Small files that are read one after the other.

use super::*;

fn world(room: bool) -> World {
    let contents: Vec<(String, Vec<u8>)> =
        (0..20).map(|n| (format!("/d/f{n:02}"), content(2_000, n))).collect();
    let mut files: Vec<(&str, &[u8])> =
        contents.iter().map(|(name, bytes)| (&**name, &bytes[..])).collect();
    let large = content(100_000, 99);
    files.push(("/d/f04-large", &large));
    let world = World::new(&files);
    world.remote.change_status(|status| status.has_room = room);
    world.names("/d");
    world.asked();
    world
}

/// Reads a file whole, and says which others were asked for meanwhile.
fn read(world: &World, name: &str) -> Vec<String> {
    let file = world.open(name);
    let size = file.version().unwrap().size as usize;
    assert_eq!(world.read(&file, 0, size).unwrap().len(), size);
    world.settle();
    let asked = world.asked();
    let others = asked.iter().filter(|asked| asked.contains("Read") && !asked.contains(name));
    others.filter_map(|asked| asked.split('"').nth(1).map(str::to_owned)).collect()
}

#[test]
fn who_reads_file_after_file_finds_the_next_ones_here() {
    let world = world(true);
    assert!(read(&world, "/d/f00").is_empty());
    assert!(read(&world, "/d/f01").is_empty());
    let ahead = read(&world, "/d/f02");
    assert_eq!(ahead, ["/d/f03", "/d/f04", "/d/f05", "/d/f06", "/d/f07"], "but no large one");
    assert_eq!(read(&world, "/d/f03"), ["/d/f08"], "and each once");
    let file = world.open("/d/f04");
    assert_eq!(world.read(&file, 0, 2_000).unwrap(), content(2_000, 4));
    assert!(world.asked().iter().all(|asked| !asked.contains("/d/f04")), "it is here");
}

#[test]
fn who_reads_here_and_there_or_without_room_gets_nothing_ahead() {
    let reader = world(true);
    for name in ["/d/f00", "/d/f07", "/d/f03", "/d/f11", "/d/f05"] {
        assert!(read(&reader, name).is_empty(), "{name}");
    }
    let narrow = world(false);
    for name in ["/d/f00", "/d/f01", "/d/f02", "/d/f03"] {
        assert!(read(&narrow, name).is_empty(), "{name}");
    }
}

#[test]
fn what_nobody_came_for_is_not_fetched_on() {
    let world = world(true);
    for name in ["/d/f00", "/d/f01"] {
        read(&world, name);
    }
    let file = world.open("/d/f02");
    world.read(&file, 0, 2_000).unwrap();
    assert!(world.remote.waiting() > 0);
    for directory in 0..4 {
        // Others go elsewhere; the trail grows cold.
        let name = format!("/d/f{}", 10 + directory * 2);
        read(&world, &name);
    }
    assert_eq!(world.remote.waiting(), 0);
}

#[test]
fn what_changed_meanwhile_is_not_shown_from_before() {
    let world = world(true);
    for name in ["/d/f00", "/d/f01", "/d/f02"] {
        read(&world, name);
    }
    world.save("/d/f03", b"another", 7).unwrap();
    let file = world.open("/d/f03");
    assert_eq!(world.read(&file, 0, 100).unwrap(), b"another");
}
