//! The promises of the journal, one sentence each.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use super::*;

fn vehicle(identity: Option<&str>) -> Vehicle {
    let identity = identity.map(str::to_owned);
    Vehicle { identity, session: "mount.0".into(), source: "udp:14550".into() }
}

fn journal() -> (tempfile::TempDir, Journal) {
    let place = tempfile::tempdir().unwrap();
    let journal = Journal::open(&place.path().join("state/unsent")).unwrap();
    (place, journal)
}

fn entry(journal: &Journal, path: &[u8], state: State, bytes: &[u8]) -> String {
    let meta = Meta::new(vehicle(Some("uid2:1")), path, 7);
    let entry = journal.create(meta).unwrap();
    entry.data().write_all_at(bytes, 0).unwrap();
    entry.note(Durability::Power, |meta| meta.state = state).unwrap();
    entry.meta().id
}

fn found(journal: &Journal) -> Vec<Found> {
    let entries = journal.list().unwrap().into_iter().map(|listed| match listed {
        Listed::Entry(found) => found,
        Listed::Unreadable { place, reason } => panic!("{}: {reason}", place.display()),
    });
    entries.collect()
}

/// > What could not be sent survives our crash, with the identity of the vehicle it was meant for.
#[test]
fn what_a_dead_process_had_changed_is_interrupted_and_as_long_as_its_bytes() {
    let (_place, journal) = journal();
    let id = entry(&journal, b"/a", State::Dirty, b"hello");
    let [found] = &found(&journal)[..] else { panic!("one entry") };
    assert_eq!((&found.meta.id, found.state(), found.meta.length), (&id, State::Interrupted, 5));
    assert_eq!(fs::read(&found.data).unwrap(), b"hello");
}

#[test]
fn an_entry_in_use_is_shown_and_not_taken() {
    let (_place, journal) = journal();
    let id = entry(&journal, b"/a", State::Failed, b"x");
    let held = journal.take(&id).unwrap().unwrap();
    assert!(found(&journal)[0].in_use);
    assert!(journal.take(&id).unwrap().is_none());
    assert!(journal.take_all(|_| true).unwrap().is_empty());
    drop(held);
    assert!(journal.take(&id).unwrap().is_some());
}

#[test]
fn a_start_removes_what_nobody_lacks_and_nothing_else() {
    let (_place, journal) = journal();
    let clean = entry(&journal, b"/clean", State::Clean, b"");
    let kept = entry(&journal, b"/kept", State::Failed, b"x");
    journal.sweep().unwrap();
    assert!(journal.take(&clean).unwrap().is_none());
    assert!(journal.take(&kept).unwrap().is_some());
}

#[test]
fn leftovers_on_the_vehicle_outlive_the_bytes_and_are_not_listed() {
    let (_place, journal) = journal();
    let id = entry(&journal, b"/a", State::Failed, b"x");
    let taken = journal.take(&id).unwrap().unwrap();
    let left = PathBytes(b"/.mavftp-00000001~".to_vec());
    taken.note(Durability::Process, |meta| meta.leftovers.push(left.clone())).unwrap();
    taken.settle().unwrap();
    assert!(found(&journal).is_empty());
    journal.sweep().unwrap();
    let taken = journal.take(&id).unwrap().unwrap();
    assert_eq!(taken.meta().leftovers, [left]);
}

#[test]
fn a_name_that_is_no_text_survives() {
    let (_place, journal) = journal();
    for path in [&b"/gr\xc3\xb6\xc3\x9fe \"quoted\"\n"[..], b"/\xff\xfe", b"/\xed\xa0\x80"] {
        let id = entry(&journal, path, State::Failed, b"");
        assert_eq!(journal.take(&id).unwrap().unwrap().meta().path.0, path);
    }
}

#[test]
fn what_cannot_be_understood_is_shown_and_never_removed() {
    let (_place, journal) = journal();
    let texts: [&[u8]; 6] =
        [b"", b"{", b"{\"format\": 2}", b"{\"format\": 1}", b"[1]", b"\xff\0{\"format\":1"];
    for (number, text) in texts.iter().enumerate() {
        let place = journal.directory().join(format!("bad{number}"));
        fs::create_dir(&place).unwrap();
        fs::write(place.join(DATA), b"bytes").unwrap();
        fs::write(place.join(META), text).unwrap();
    }
    fs::create_dir(journal.directory().join("empty")).unwrap();
    journal.sweep().unwrap();
    let listed = journal.list().unwrap();
    let unreadable = listed.iter().filter(|found| matches!(found, Listed::Unreadable { .. }));
    assert_eq!(unreadable.count(), texts.len() + 1);
    assert!(journal.take_all(|_| true).unwrap().is_empty());
    assert_eq!(fs::read(journal.directory().join("bad0").join(DATA)).unwrap(), b"bytes");
}

#[test]
fn any_torn_description_is_refused_without_a_panic() {
    let meta = Meta::new(vehicle(None), b"/a", 7).to_json().unwrap();
    for end in 0..meta.len() - 2 {
        assert!(Meta::from_json(&meta[..end]).is_err());
    }
    assert!(Meta::from_json(&meta).is_ok());
}

/// > Nobody else on this computer can read what is kept.
#[test]
fn nobody_else_can_read_it() {
    let (_place, journal) = journal();
    let id = entry(&journal, b"/a", State::Failed, b"secret");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let directory = journal.directory().join(id);
    assert_eq!((mode(journal.directory()), mode(&directory)), (0o700, 0o700));
    assert_eq!((mode(&directory.join(DATA)), mode(&directory.join(META))), (0o600, 0o600));
}

#[test]
fn vehicles_without_identity_are_the_same_only_within_a_session() {
    let (first, known) = (vehicle(None), vehicle(Some("uid2:1")));
    let later = Vehicle { session: "mount.1".into(), ..vehicle(None) };
    assert!(first.is(&first) && !first.is(&later) && !first.is(&known));
    assert!(known.is(&Vehicle { session: "mount.1".into(), ..known.clone() }));
    assert!(known.continues(&first), "it has said who it is");
    assert!(!known.continues(&later) && !known.continues(&vehicle(Some("uid2:2"))));
}

#[test]
fn what_stood_there_is_known_again_by_size_and_time() {
    let file = Before::File { size: 3, mtime: Some(7) };
    assert!(file.is_still(Some((3, Some(7)))) && file.is_still(Some((3, None))));
    assert!(!file.is_still(Some((3, Some(8)))) && !file.is_still(Some((4, Some(7)))));
    assert!(!file.is_still(None) && !Before::Unknown.is_still(None));
    assert!(Before::Nothing.is_still(None) && !Before::Nothing.is_still(Some((0, None))));
}

#[test]
fn copied_holes_take_no_room_and_replace_nothing() {
    let (place, journal) = journal();
    let id = entry(&journal, b"/a", State::Failed, b"");
    let taken = journal.take(&id).unwrap().unwrap();
    let length = 64 << 20;
    taken.data().write_all_at(b"x", length - 1).unwrap();
    fs::write(place.path().join("a"), b"older").unwrap();
    let (file, path) = create_beside(place.path(), b"a").unwrap();
    copy_with_holes(taken.data(), &file).unwrap();
    assert_eq!(path, place.path().join("a.1"));
    let kept = path.metadata().unwrap();
    assert_eq!(kept.len(), length);
    assert!(kept.blocks() < 1024, "{} blocks", kept.blocks());
    assert_eq!(fs::read(place.path().join("a")).unwrap(), b"older");
}

#[test]
fn without_a_state_directory_a_private_folder_is_used_and_found_again() {
    let place = tempfile::tempdir().unwrap();
    let places = Places::new(None, place.path().to_owned());
    let journal = places.open().unwrap();
    entry(&journal, b"/a", State::Failed, b"x");
    let all = places.all();
    assert_eq!(all.len(), 1);
    assert_eq!(found(&all[0]).len(), 1);
    let open = fs::Permissions::from_mode(0o777);
    let folder = fs::read_dir(place.path()).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(folder, open).unwrap();
    assert!(places.open().is_err(), "anybody could have put things there");
    assert!(places.all().is_empty());
}

#[test]
fn an_entry_that_somebody_looks_at_is_taken_all_the_same() {
    let (_place, journal) = journal();
    let id = entry(&journal, b"/a", State::Failed, b"x");
    let looking = fs::File::open(journal.directory().join(&id).join("data")).unwrap();
    assert!(super::disk::lock(&looking, super::disk::Lock::Shared).unwrap());
    let looks = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(10));
        drop(looking);
    });
    assert!(journal.take(&id).unwrap().is_some());
    looks.join().unwrap();
}
