//! `serve`, used by six clients of three makes at once: none gets, closes or mixes up what is another's.
//! Every byte compared. Needs the Python packages that scripts/test installs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

mod support;

use support::ordinary::{holds, noise};
use support::program::Program;
use support::relay::Relay;
use support::served::{Client, Served, about};

/// Many blocks, and a rest.
const CLEAN_BYTES: usize = 500_003;
/// As many blocks as MAVSDK gets there, which waits for half a second when something is lost.
const DAMAGED_BYTES: usize = 20_007;
/// Lost, repeated and out of order, at a distance.
const DAMAGE: &str = "--loss 0.02 --duplicate 0.05 --reorder 0.05 --delay 2 --seed";
/// For a transfer of our own client, on a busy machine and a damaged link.
const OWN_TIME: Duration = Duration::from_secs(60);
const CLIENTS: usize = 6;

/// Every client fetches a file of its own and one of all, and then stores its own, all at the same time.
fn nothing_is_mixed_up(served: &mut Served, port: u16, bytes: usize) {
    served.write("all", &noise(99, bytes));
    for number in 0..CLIENTS {
        served.write(&format!("own-{number}"), &noise(number as u64, bytes + number));
    }
    let mut foreign = vec![
        Client::mavsdk(port, &[]),
        Client::mavsdk(port, &[]),
        Client::pymavlink(port, &["--wait", "--repeat"]),
        Client::pymavlink(port, &["--wait", "--repeat"]),
    ];
    let local = tempfile::tempdir().unwrap();
    let place = |number: usize| local.path().join(number.to_string());
    (0..CLIENTS).for_each(|number| fs::create_dir(place(number)).unwrap());
    let own_name = |number: usize| format!("own-{number}");
    for name in [&own_name, &|_| "all".into()] as [&dyn Fn(usize) -> String; 2] {
        let get = |number: usize| {
            let (far, near) = (format!("/{}", name(number)), place(number));
            if number < 2 {
                json!(["get", far, near, number == 0])
            } else {
                about("get", far, near.join(name(number)))
            }
        };
        let own = |number| {
            let far = format!("{}#/{}", source(port), name(number));
            own_client(&["get", &far, path(&place(number))])
        };
        all_at_once(&mut foreign, &get, &own);
        for number in 0..CLIENTS {
            let name = name(number);
            holds(&place(number).join(&name), &fs::read(served.path(&name)).unwrap());
        }
    }
    (0..CLIENTS).for_each(|number| fs::create_dir(served.path(&format!("to-{number}"))).unwrap());
    let put = |number: usize| {
        let far = format!("/to-{number}");
        let far = if number < 2 { far } else { format!("{far}/{}", own_name(number)) };
        about("put", place(number).join(own_name(number)), far)
    };
    let own = |number| {
        let far = format!("{}#/to-{number}", source(port));
        own_client(&["put", path(&place(number).join(own_name(number))), &far])
    };
    all_at_once(&mut foreign, &put, &own);
    for number in 0..CLIENTS {
        let stored = served.path(&format!("to-{number}"));
        holds(&stored.join(own_name(number)), &noise(number as u64, bytes + number));
        assert_eq!(fs::read_dir(stored).unwrap().count(), 1, "something else was left there");
    }
    served.is_content();
}

fn all_at_once(
    foreign: &mut [Client],
    request: &dyn Fn(usize) -> serde_json::Value,
    own: &dyn Fn(usize) -> Program,
) {
    let mut ours: Vec<Program> = (foreign.len()..CLIENTS).map(own).collect();
    for (number, client) in foreign.iter_mut().enumerate() {
        client.begin(request(number));
    }
    for (number, client) in foreign.iter_mut().enumerate() {
        client.done(&request(number));
    }
    for program in &mut ours {
        let status = program.wait(OWN_TIME);
        assert!(status.success(), "{status}: {}", program.printed());
    }
}

fn own_client(arguments: &[&str]) -> Program {
    Program::start(&[arguments, &["--target", "1:1", "-q"]].concat())
}

fn source(port: u16) -> String {
    format!("udpout:127.0.0.1:{port}")
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn six_clients_at_once_get_and_store_what_is_theirs() {
    let mut served = Served::start(&["--writable", "--component-id", "1"]);
    let port = served.port();
    nothing_is_mixed_up(&mut served, port, CLEAN_BYTES);
}

#[test]
fn six_clients_at_once_get_and_store_what_is_theirs_over_a_damaged_link() {
    for seed in [1, 2] {
        let mut served = Served::start(&["--writable", "--component-id", "1"]);
        let relay = Relay::start(served.port(), &format!("{DAMAGE} {seed}"));
        nothing_is_mixed_up(&mut served, relay.port(), DAMAGED_BYTES);
    }
}
