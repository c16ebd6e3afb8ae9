//! The quota: nobody gets past it, and what is freed can be used again.

use super::*;
use crate::mavftp::server::files::ENOSPC;

const FULL: Nak = Nak::FailErrno(ENOSPC);

fn limited(max: u64) -> Options {
    Options { writable: true, hide: Vec::new(), max_bytes: Some(max) }
}

/// Bytes counted, after seeing that a fresh count is the same.
fn counted(place: &Place, directory: &Directory) -> u64 {
    let bytes = directory.shared.quota.as_ref().unwrap().bytes();
    let fresh = Directory::open(&place.served(), &limited(0)).unwrap();
    assert_eq!(bytes, fresh.shared.quota.as_ref().unwrap().bytes());
    bytes
}

fn create(directory: &Directory, at: &str) -> OpenFile {
    directory.open_to_write(&path(at), Content::Empty).unwrap()
}

/// > A write, or a new length, with which the files below the root would hold more than `--max-bytes`
/// > together is refused with ENOSPC before a byte is stored.
#[test]
fn a_write_beyond_the_quota_is_refused_whole() {
    for way in 0..2 {
        let place = Place::new();
        fs::create_dir(place.served().join("d")).unwrap();
        place.write("d/there", &[1; 60]);
        fs::hard_link(place.served().join("d/there"), place.served().join("again")).unwrap();
        symlink("d/there", place.served().join("link")).unwrap();
        let directory = &place.served_as(&limited(100))[way];
        assert_eq!(counted(&place, directory), 60, "a file with two names counts once");
        let file = create(directory, "new");
        assert_eq!(file.write_at(0, &[2; 41]), Err(FULL));
        assert_eq!(file.size(), Ok(0), "nothing of it was stored");
        file.write_at(0, &[2; 40]).unwrap();
        assert_eq!(file.write_at(40, &[2; 1]), Err(FULL));
        assert_eq!(file.write_at(u64::from(u32::MAX), &[2; 1]), Err(FULL), "nor far behind it");
        assert_eq!(file.write_at(u64::MAX, &[2; 1]), Err(Nak::FailErrno(27)));
        assert_eq!(directory.truncate(&path("new"), 41), Err(FULL));
        file.write_at(u64::MAX, &[]).unwrap();
        file.write_at(0, &[3; 40]).unwrap();
        directory.truncate(&path("again"), 10).unwrap();
        assert_eq!(counted(&place, directory), 50);
        directory.truncate(&path("new"), 90).unwrap();
        assert_eq!(counted(&place, directory), 100);
        drop(create(directory, "new"));
        assert_eq!(counted(&place, directory), 10);
    }
}

#[test]
fn what_is_removed_or_replaced_makes_room() {
    let place = Place::new();
    for directory in place.served_as(&limited(100)) {
        create(&directory, "old").write_at(0, &[1; 50]).unwrap();
        let new = create(&directory, "new");
        assert_eq!(new.write_at(0, &[1; 51]), Err(FULL), "both are there until the rename");
        new.write_at(0, &[1; 50]).unwrap();
        drop(new);
        directory.rename(&path("new"), &path("old")).unwrap();
        assert_eq!(counted(&place, &directory), 50);
        fs::hard_link(place.served().join("old"), place.served().join("twin")).unwrap();
        directory.rename(&path("twin"), &path("old")).unwrap();
        assert_eq!(counted(&place, &directory), 50, "two names of one file: nothing happens");
        directory.remove_file(&path("old")).unwrap();
        assert_eq!(counted(&place, &directory), 50);
        directory.remove_file(&path("twin")).unwrap();
        assert_eq!(counted(&place, &directory), 0);
    }
}

/// > A file that was removed or replaced counts towards `--max-bytes` for as long as a client has it
/// > open.
#[test]
fn an_open_file_counts_until_it_is_closed() {
    let place = Place::new();
    for directory in place.served_as(&limited(100)) {
        let quota = directory.shared.quota.clone().unwrap();
        for take_away in [0, 1] {
            let writer = create(&directory, "a");
            writer.write_at(0, &[1; 60]).unwrap();
            let reader = directory.open_to_read(&path("a")).unwrap();
            drop(create(&directory, "b"));
            match take_away {
                0 => directory.remove_file(&path("a")).unwrap(),
                _ => directory.rename(&path("b"), &path("a")).unwrap(),
            }
            writer.write_at(60, &[1; 30]).unwrap();
            let other = create(&directory, "b");
            assert_eq!(other.write_at(0, &[1; 11]), Err(FULL));
            drop(writer);
            quota.age(Duration::from_secs(60));
            assert_eq!(other.write_at(0, &[1; 11]), Err(FULL), "also when it is counted again");
            drop(reader);
            other.write_at(0, &[1; 100]).unwrap();
            drop(other);
            for name in names(&directory, "/") {
                directory.remove_file(&path(&name)).unwrap();
            }
            assert_eq!(counted(&place, &directory), 0);
        }
    }
}

#[test]
fn what_others_change_is_noticed() {
    let place = Place::new();
    for directory in place.served_as(&limited(100)) {
        let quota = directory.shared.quota.clone().unwrap();
        let file = create(&directory, "a");
        file.write_at(0, &[1; 50]).unwrap();
        place.write("local", &[1; 40]);
        quota.age(Duration::from_secs(60));
        assert_eq!(file.write_at(50, &[1; 11]), Err(FULL), "somebody else needed the room");
        fs::remove_file(place.served().join("local")).unwrap();
        assert_eq!(file.write_at(50, &[1; 11]), Err(FULL), "counting too often helps nobody");
        quota.age(Duration::from_secs(4));
        file.write_at(50, &[1; 11]).unwrap();
        drop(file);
        directory.remove_file(&path("a")).unwrap();
    }
}

/// > However many clients write at once, on however many endpoints, they stay within `--max-bytes`.
#[test]
fn clients_that_write_at_once_do_not_pass_the_quota() {
    const MAX: u64 = 100_000;
    let place = Place::new();
    let [directory, _] = place.served_as(&limited(MAX));
    let refused: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let directory = directory.clone();
                scope.spawn(move || {
                    // Two of them write to one file.
                    let file = directory
                        .open_to_write(&path(&format!("f{}", client / 2)), Content::Keep)
                        .or_else(|_| {
                            directory
                                .open_to_write(&path(&format!("f{}", client / 2)), Content::Keep)
                        })
                        .unwrap();
                    let write = |at: u64| file.write_at(at * 239 + client % 2, &[1; 239]);
                    (0..1000).filter(|at| write(*at) == Err(FULL)).count()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(refused > 0);
    let bytes = counted(&place, &directory);
    assert!(bytes <= MAX && bytes > MAX - 239, "{bytes}");
}

#[test]
fn a_folder_that_holds_too_much_already_can_still_be_emptied() {
    let place = Place::new();
    place.write("a", &[1; 500]);
    for directory in place.served_as(&limited(100)) {
        let file = directory.open_to_write(&path("a"), Content::Keep).unwrap();
        file.write_at(0, &[2; 239]).unwrap();
        assert_eq!(file.write_at(499, &[2; 2]), Err(FULL));
        assert_eq!(content(&directory, "a").unwrap().len(), 500);
    }
    let [directory, _] = place.served_as(&limited(100));
    directory.truncate(&path("a"), 100).unwrap();
    assert_eq!(counted(&place, &directory), 100);
}

#[test]
fn a_tree_too_deep_to_count_is_not_served_with_a_quota() {
    let place = Place::new();
    fs::create_dir_all(place.served().join(vec!["d"; 210].join("/"))).unwrap();
    let error = Directory::open(&place.served(), &limited(100)).err().unwrap();
    assert!(RootError::from(error).to_string().contains("deep"));
    assert!(Directory::open(&place.served(), &Options::default()).is_ok());
}
