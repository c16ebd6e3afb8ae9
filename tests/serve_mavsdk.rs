//! `serve`, used by MAVSDK's client, which nobody here wrote; every byte compared, on a clean link and on
//! a damaged one. Needs the Python packages that scripts/test installs.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

mod support;

use support::ordinary::{holds, noise};
use support::relay::Relay;
use support::served::{Client, SIZES, Served, about, uncommon_names};

/// The component ids of an onboard computer and of a camera.
const COMPANION: &str = "191";
const CAMERA: &str = "100";
/// What MAVSDK looks for when it is not told a component.
const AUTOPILOT: [&str; 3] = ["--writable", "--component-id", "1"];

/// Lost, repeated and out of order, at a distance.
const DAMAGE: &str = "--loss 0.03 --duplicate 0.05 --reorder 0.05 --delay 2";
/// MAVSDK waits for half a second when something is lost: these are what it carries in a test's time.
const DAMAGED_SIZES: [usize; 5] = [0, 1, 239, 2 * 239 + 7, 20_000];

fn fill(served: &Served) {
    for size in SIZES {
        served.write(&format!("size-{size}"), &noise(size as u64, size));
    }
    for name in uncommon_names() {
        served.write(&name, name.as_bytes());
    }
}

/// Fetches a file of the root and compares it.
fn gets(client: &mut Client, served: &Served, name: &str, burst: bool) -> Value {
    let local = tempfile::tempdir().unwrap();
    let told = client.does(json!(["get", format!("/{name}"), local.path(), burst]));
    holds(&local.path().join(name), &fs::read(served.path(name)).unwrap());
    told
}

/// Stores a file in a directory and compares it.
fn puts(client: &mut Client, served: &Served, directory: &str, name: &str, bytes: &[u8]) -> Value {
    let local = tempfile::tempdir().unwrap();
    fs::write(local.path().join(name), bytes).unwrap();
    let told = client.does(about("put", local.path().join(name), format!("/{directory}")));
    holds(&served.path(directory).join(name), bytes);
    told
}

/// The progress that was told only grew, and ended with the whole file.
fn is_whole(told: &Value, size: usize) {
    let told = told.as_array().unwrap();
    let bytes = |entry: &Value, at: usize| entry[at].as_u64().unwrap() as usize;
    assert!(told.iter().all(|entry| bytes(entry, 1) == size), "{told:?}");
    assert!(told.is_sorted_by_key(|entry| bytes(entry, 0)), "{told:?}");
    // It tells nothing of an empty file.
    assert_eq!(told.last().map_or(0, |entry| bytes(entry, 0)), size);
}

#[test]
fn mavsdk_lists_names_kinds_sizes_and_times() {
    let served = Served::start(&AUTOPILOT);
    fill(&served);
    fs::create_dir(served.path("folder")).unwrap();
    fs::create_dir(served.path("many")).unwrap();
    for number in 0..100 {
        served.write(&format!("many/log_{number:03}.ulg"), &noise(number, number as usize));
    }
    let mut client = Client::mavsdk(served.port(), &[]);
    for folder in ["", "folder", "many"] {
        let mut expected: Vec<Value> = fs::read_dir(served.path(folder))
            .unwrap()
            .map(|entry| {
                let (entry, kind) = (entry.unwrap(), ["FILE", "DIRECTORY"]);
                let about = entry.metadata().unwrap();
                let size = if about.is_dir() { 0 } else { about.len() };
                let kind = kind[usize::from(about.is_dir())];
                json!([kind, entry.file_name().to_str().unwrap(), size, about.mtime()])
            })
            .collect();
        let listed = client.does(json!(["ls", format!("/{folder}")]));
        let mut listed = listed.as_array().unwrap().clone();
        for entries in [&mut listed, &mut expected] {
            entries.sort_by_key(|entry| entry[1].to_string());
        }
        assert_eq!(listed, expected, "{folder}");
    }
}

#[test]
fn mavsdk_downloads_files_of_all_sizes_and_names() {
    let mut served = Served::start(&AUTOPILOT);
    fill(&served);
    let mut client = Client::mavsdk(served.port(), &[]);
    for burst in [true, false] {
        for size in SIZES {
            is_whole(&gets(&mut client, &served, &format!("size-{size}"), burst), size);
        }
        for name in uncommon_names() {
            gets(&mut client, &served, &name, burst);
        }
    }
    served.is_content();
}

#[test]
fn mavsdk_uploads_files_of_all_sizes_and_names() {
    let mut served = Served::start(&AUTOPILOT);
    fs::create_dir(served.path("in here")).unwrap();
    let mut client = Client::mavsdk(served.port(), &[]);
    for size in SIZES {
        let name = format!("size-{size}");
        is_whole(&puts(&mut client, &served, "in here", &name, &noise(size as u64, size)), size);
    }
    for name in uncommon_names() {
        puts(&mut client, &served, "in here", &name, name.as_bytes());
    }
    puts(&mut client, &served, "in here", "size-240", b"shorter than what was there");
    served.is_content();
}

#[test]
fn mavsdk_makes_renames_and_removes() {
    let served = Served::start(&AUTOPILOT);
    fill(&served);
    let mut client = Client::mavsdk(served.port(), &[]);
    let [spaces, foreign, long] = uncommon_names();
    client.does(json!(["mkdir", format!("/{foreign}.d")]));
    assert!(served.path(&format!("{foreign}.d")).is_dir());
    client.does(json!(["mv", format!("/{spaces}"), format!("/{foreign}.d/moved")]));
    holds(&served.path(&format!("{foreign}.d/moved")), spaces.as_bytes());
    assert!(!served.path(&spaces).exists());
    client.does(json!(["mv", format!("/{foreign}.d"), "/folder"]));
    client.does(json!(["rm", "/folder/moved"]));
    assert_eq!(fs::read_dir(served.path("folder")).unwrap().count(), 0);
    client.does(json!(["rmdir", "/folder"]));
    client.does(json!(["rm", format!("/{long}")]));
    assert!(!served.path("folder").exists() && !served.path(&long).exists());
}

#[test]
fn mavsdk_tells_the_same_file_from_another_of_its_size() {
    let served = Served::start(&AUTOPILOT);
    fill(&served);
    let mut client = Client::mavsdk(served.port(), &[]);
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("file");
    for size in SIZES {
        let mut bytes = noise(size as u64, size);
        fs::write(&file, &bytes).unwrap();
        assert_eq!(client.does(about("same", &file, format!("/size-{size}"))), true, "{size}");
        let Some(last) = bytes.last_mut() else { continue };
        *last ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(client.does(about("same", &file, format!("/size-{size}"))), false, "{size}");
    }
}

#[test]
fn mavsdk_is_told_what_is_missing_in_the_way_or_outside() {
    let mut served = Served::start(&AUTOPILOT);
    served.write("file", b"content");
    fs::create_dir(served.path("full")).unwrap();
    served.write("full/file", b"content");
    let mut client = Client::mavsdk(served.port(), &[]);
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("file");
    fs::write(&file, b"content").unwrap();

    for burst in [true, false] {
        client.fails(json!(["get", "/none", local.path(), burst]), "FILE_DOES_NOT_EXIST");
        client.fails(json!(["get", "/full", local.path(), burst]), "PROTOCOL_ERROR");
        client.fails(json!(["get", "/../none", local.path(), burst]), "FILE_PROTECTED");
    }
    for operation in ["ls", "rm", "rmdir"] {
        client.fails(json!([operation, "/none"]), "FILE_DOES_NOT_EXIST");
        client.fails(json!([operation, "/../none"]), "FILE_PROTECTED");
    }
    client.fails(json!(["mv", "/none", "/other"]), "FILE_DOES_NOT_EXIST");
    client.fails(json!(["mv", "/file", "/../file"]), "FILE_PROTECTED");
    client.fails(json!(["mkdir", "/full"]), "FILE_EXISTS");
    client.fails(json!(["mkdir", "/../full"]), "FILE_PROTECTED");
    client.fails(json!(["rmdir", "/full"]), "PROTOCOL_ERROR");
    client.fails(json!(["put", &file, "/none"]), "FILE_DOES_NOT_EXIST");
    client.fails(json!(["put", &file, "/.."]), "FILE_PROTECTED");
    client.fails(json!(["same", &file, "/none"]), "FILE_DOES_NOT_EXIST");
    client.fails(json!(["same", &file, "/../file"]), "FILE_PROTECTED");
    holds(&served.path("file"), b"content");
    holds(&served.path("full/file"), b"content");
    served.is_content();
}

#[test]
fn mavsdk_reads_but_changes_nothing_where_serving_is_read_only() {
    let served = Served::start(&["--component-id", "1"]);
    served.write("file", b"content");
    fs::create_dir(served.path("folder")).unwrap();
    let mut client = Client::mavsdk(served.port(), &[]);
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("other");
    fs::write(&file, b"other").unwrap();
    gets(&mut client, &served, "file", true);
    for request in [
        json!(["put", &file, "/"]),
        json!(["mkdir", "/new"]),
        json!(["rmdir", "/folder"]),
        json!(["rm", "/file"]),
        json!(["mv", "/file", "/moved"]),
    ] {
        client.fails(request, "FILE_PROTECTED");
    }
    holds(&served.path("file"), b"content");
    assert_eq!(fs::read_dir(served.path("")).unwrap().count(), 2);
}

#[test]
fn mavsdk_reaches_a_companion_and_a_camera_by_their_component_ids() {
    for component in [COMPANION, CAMERA] {
        let served = Served::start(&["--writable", "--component-id", component]);
        served.write("definition.xml", b"<camera/>");
        let mut client = Client::mavsdk(served.port(), &["--component", component]);
        gets(&mut client, &served, "definition.xml", true);
        puts(&mut client, &served, "", "new", &noise(1, 1000));
    }
}

/// All that it can do, over a link that damages; whatever is lost, it is done once and whole.
fn works_over_a_damaged_link(seed: u32) {
    let mut served = Served::start(&AUTOPILOT);
    let relay = Relay::start(served.port(), &format!("{DAMAGE} --seed {seed}"));
    let mut client = Client::mavsdk(relay.port(), &[]);
    client.does(json!(["mkdir", "/folder"]));
    for size in DAMAGED_SIZES {
        let name = format!("size-{size}");
        is_whole(&puts(&mut client, &served, "folder", &name, &noise(size as u64, size)), size);
        client.does(json!(["mv", format!("/folder/{name}"), format!("/{name}")]));
        let same = about("same", served.path(&name), format!("/{name}"));
        assert_eq!(client.does(same), true);
        for burst in [true, false] {
            is_whole(&gets(&mut client, &served, &name, burst), size);
        }
    }
    assert_eq!(client.does(json!(["ls", "/"])).as_array().unwrap().len(), DAMAGED_SIZES.len() + 1);
    for size in DAMAGED_SIZES {
        client.does(json!(["rm", format!("/size-{size}")]));
    }
    client.does(json!(["rmdir", "/folder"]));
    assert_eq!(fs::read_dir(served.path("")).unwrap().count(), 0);
    served.is_content();
}

#[test]
fn mavsdk_works_over_a_damaged_link_at_seed_1() {
    works_over_a_damaged_link(1);
}

#[test]
fn mavsdk_works_over_a_damaged_link_at_seed_2() {
    works_over_a_damaged_link(2);
}

#[test]
fn mavsdk_works_over_a_damaged_link_at_seed_3() {
    works_over_a_damaged_link(3);
}
