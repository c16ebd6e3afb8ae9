//! `serve`, used by pymavlink's client, which nobody here wrote; every byte compared, on a clean link and
//! on a damaged one. Its paths are ASCII. Needs the Python packages that scripts/test installs.

use std::fs;

use serde_json::{Value, json};

mod support;

use support::ordinary::{holds, noise};
use support::relay::Relay;
use support::served::{Client, SIZES, Served, about, uncommon_names};

/// Lost, repeated and out of order, at a distance.
const DAMAGE: &str = "--loss 0.03 --duplicate 0.05 --reorder 0.05 --delay 2";
/// pymavlink fills the holes of a burst one after the other: what it carries in a test's time.
const DAMAGED_SIZES: [usize; 5] = [0, 1, 239, 2 * 239 + 7, 64 << 10];

fn fill(served: &Served) {
    for size in SIZES {
        served.write(&format!("size-{size}"), &noise(size as u64, size));
    }
    for name in names() {
        served.write(&name, name.as_bytes());
    }
}

/// Those uncommon names that it can say.
fn names() -> impl Iterator<Item = String> {
    uncommon_names().into_iter().filter(|name| name.is_ascii())
}

/// Fetches a file and compares it.
fn gets(client: &mut Client, served: &Served, name: &str) {
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("file");
    client.does(about("get", format!("/{name}"), &file));
    holds(&file, &fs::read(served.path(name)).unwrap());
}

/// Stores a file and compares it.
fn puts(client: &mut Client, served: &Served, name: &str, bytes: &[u8]) {
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("file");
    fs::write(&file, bytes).unwrap();
    client.does(about("put", &file, format!("/{name}")));
    holds(&served.path(name), bytes);
}

/// The checksum of MAVLink FTP, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let shift = |sum: u32, _| (sum >> 1) ^ (0xEDB8_8320 * (sum & 1));
    bytes.iter().fold(0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), shift))
}

#[test]
fn pymavlink_lists_names_kinds_and_sizes() {
    let served = Served::start(&[]);
    fill(&served);
    fs::create_dir(served.path("folder")).unwrap();
    fs::create_dir(served.path("many")).unwrap();
    for number in 0..100 {
        served.write(&format!("many/log_{number:03}.ulg"), &noise(number, number as usize));
    }
    let mut client = Client::pymavlink(served.port(), &["--wait"]);
    for folder in ["", "folder", "many"] {
        let mut expected: Vec<Value> = fs::read_dir(served.path(folder))
            .unwrap()
            .filter_map(|entry| {
                let (entry, name) = entry.map(|e| (e.metadata().unwrap(), e.file_name())).unwrap();
                let size = if entry.is_dir() { 0 } else { entry.len() };
                let name = name.into_string().unwrap();
                name.is_ascii().then(|| json!([name, entry.is_dir(), size]))
            })
            .collect();
        let listed = client.does(json!(["ls", format!("/{folder}")]));
        let mut listed = listed.as_array().unwrap().clone();
        for entries in [&mut listed, &mut expected] {
            entries.sort_by_key(|entry| entry[0].to_string());
        }
        assert_eq!(listed, expected, "{folder}");
    }
}

#[test]
fn pymavlink_downloads_files_of_all_sizes_and_knows_their_checksums() {
    let mut served = Served::start(&[]);
    fill(&served);
    let mut client = Client::pymavlink(served.port(), &["--wait"]);
    for name in SIZES.map(|size| format!("size-{size}")).into_iter().chain(names()) {
        gets(&mut client, &served, &name);
        let expected = checksum(&fs::read(served.path(&name)).unwrap());
        assert_eq!(client.does(json!(["crc", format!("/{name}")])), expected, "{name}");
    }
    served.is_content();
}

#[test]
fn pymavlink_uploads_files_of_all_sizes_and_names() {
    let mut served = Served::start(&["--writable"]);
    let mut client = Client::pymavlink(served.port(), &["--wait"]);
    for size in SIZES {
        puts(&mut client, &served, &format!("size-{size}"), &noise(size as u64, size));
    }
    for name in names() {
        puts(&mut client, &served, &name, name.as_bytes());
    }
    puts(&mut client, &served, "size-240", b"shorter than what was there");
    served.is_content();
}

#[test]
fn pymavlink_uploads_first_of_all_and_before_it_knows_its_session() {
    for size in [1, 2 * 239 + 7] {
        let served = Served::start(&["--writable"]);
        // As it comes: the data leave before the answer to CreateFile has arrived, for session 0.
        let mut client = Client::pymavlink(served.port(), &[]);
        puts(&mut client, &served, "first", &noise(1, size));
        puts(&mut client, &served, "second", &noise(2, size));
        gets(&mut client, &served, "first");
    }
}

#[test]
fn pymavlink_makes_renames_and_removes() {
    let served = Served::start(&["--writable"]);
    fill(&served);
    let mut client = Client::pymavlink(served.port(), &["--wait"]);
    client.does(json!(["mkdir", "/a folder"]));
    assert!(served.path("a folder").is_dir());
    client.does(json!(["mv", "/size-240", "/a folder/moved"]));
    holds(&served.path("a folder/moved"), &noise(240, 240));
    assert!(!served.path("size-240").exists());
    client.does(json!(["mv", "/a folder", "/folder"]));
    client.does(json!(["rm", "/folder/moved"]));
    assert_eq!(fs::read_dir(served.path("folder")).unwrap().count(), 0);
    client.does(json!(["rmdir", "/folder"]));
    assert!(!served.path("folder").exists());
}

#[test]
fn pymavlink_is_told_what_is_missing_in_the_way_or_outside() {
    let mut served = Served::start(&["--writable"]);
    fs::create_dir(served.path("full")).unwrap();
    served.write("full/file", b"content");
    let mut client = Client::pymavlink(served.port(), &["--wait"]);
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("file");
    fs::write(&file, b"content").unwrap();

    let none = local.path().join("none");
    for (place, result) in [("/none", "FileNotFound"), ("/../none", "FileProtected")] {
        client.fails(about("get", place, &none), result);
        client.fails(json!(["ls", place]), result);
        client.fails(json!(["crc", place]), result);
        client.fails(json!(["rm", place]), result);
        client.fails(json!(["rmdir", place]), result);
        client.fails(json!(["mv", place, "/other"]), result);
        client.fails(about("put", &file, format!("{place}/file")), result);
    }
    assert!(!none.exists(), "it left what it did not get");
    client.fails(json!(["mkdir", "/full"]), "FileExists");
    client.fails(json!(["mkdir", "/../full"]), "FileProtected");
    client.fails(json!(["rmdir", "/full"]), "FailErrno");
    holds(&served.path("full/file"), b"content");
    served.is_content();
}

#[test]
fn pymavlink_reads_but_changes_nothing_where_serving_is_read_only() {
    let served = Served::start(&[]);
    served.write("file", b"content");
    fs::create_dir(served.path("folder")).unwrap();
    let mut client = Client::pymavlink(served.port(), &["--wait"]);
    gets(&mut client, &served, "file");
    for request in [
        json!(["put", served.path("file"), "/new"]),
        json!(["mkdir", "/new"]),
        json!(["rmdir", "/folder"]),
        json!(["rm", "/file"]),
        json!(["mv", "/file", "/moved"]),
    ] {
        client.fails(request, "FileProtected");
    }
    holds(&served.path("file"), b"content");
    assert_eq!(fs::read_dir(served.path("")).unwrap().count(), 2);
}

/// A change of which only the answer was lost has been made, when its user asks for it again.
fn changes(client: &mut Client, request: Value, already: &str) {
    let (result, _) = client.ask(request.clone());
    assert!(result == "Success" || result == already, "{request}: {result}");
}

/// All that it can do, over a link that damages.
fn works_over_a_damaged_link(seed: u32) {
    let mut served = Served::start(&["--writable"]);
    let relay = Relay::start(served.port(), &format!("{DAMAGE} --seed {seed}"));
    let mut client = Client::pymavlink(relay.port(), &["--wait", "--repeat"]);
    changes(&mut client, json!(["mkdir", "/folder"]), "FileExists");
    assert!(served.path("folder").is_dir());
    for size in DAMAGED_SIZES {
        let name = format!("size-{size}");
        let bytes = noise(size as u64, size);
        puts(&mut client, &served, &format!("folder/{name}"), &bytes);
        let moved = json!(["mv", format!("/folder/{name}"), format!("/{name}")]);
        changes(&mut client, moved, "FileNotFound");
        gets(&mut client, &served, &name);
        assert_eq!(client.does(json!(["crc", format!("/{name}")])), checksum(&bytes), "{name}");
    }
    assert_eq!(client.does(json!(["ls", "/"])).as_array().unwrap().len(), DAMAGED_SIZES.len() + 1);
    for size in DAMAGED_SIZES {
        changes(&mut client, json!(["rm", format!("/size-{size}")]), "FileNotFound");
    }
    changes(&mut client, json!(["rmdir", "/folder"]), "FileNotFound");
    assert_eq!(fs::read_dir(served.path("")).unwrap().count(), 0);
    served.is_content();
}

#[test]
fn pymavlink_works_over_a_damaged_link_at_seed_1() {
    works_over_a_damaged_link(1);
}

#[test]
fn pymavlink_works_over_a_damaged_link_at_seed_2() {
    works_over_a_damaged_link(2);
}

#[test]
fn pymavlink_works_over_a_damaged_link_at_seed_3() {
    works_over_a_damaged_link(3);
}
