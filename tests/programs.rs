//! Real programs on kernel mounts: the scripts of `tests/programs`, on both servers, clean and
//! behind a damaged link, as root and as an ordinary user. Needs /dev/fuse, root, and what
//! scripts/test installs.

mod support;

use support::mounted::{Scene, Server, free_port};
use support::relay::DamagedScene;
use support::scripts::{self, ALL, SEEN_SOON};
use support::user::User;

/// Wi-Fi with some of everything.
const DAMAGE: &str =
    "--loss 0.02 --duplicate 0.02 --reorder 0.02 --delay 3 --rate 2000000 --seed 11";
/// Lost again and again, on a busy machine, a frame needs longer than in other tests.
const PATIENT: [&str; 4] = ["--op-timeout", "10s", "--link-timeout", "5s"];
/// Root's mount, given to an ordinary user.
const GIVEN: [&str; 5] = ["--allow-other", "--uid", "65534", "--gid", "65534"];

/// Small files on a good link.
const MANY: usize = 300;
/// Small files where each takes a while.
const SOME: usize = 40;
/// Behind a damaged link each server gets a part in the short form, for time.
const SHORT_OURS: [&str; 6] = ["append", "cp", "git", "sed", "tar", "vim"];
/// The other part.
const SHORT_MAVSDK: [&str; 7] = ["append", "dd", "empty", "mkdir", "mv", "small", "zip"];

/// Who mounts, and who works there.
#[derive(Debug, Clone, Copy)]
enum People {
    /// Root for itself.
    Root,
    /// Root for a user.
    Guest,
    /// A user, through fusermount3.
    Owner,
}

const EVERYBODY: [People; 3] = [People::Root, People::Guest, People::Owner];

impl People {
    fn mounts(self) -> User {
        match self {
            People::Root | People::Guest => User::Root,
            People::Owner => User::Nobody,
        }
    }

    fn works(self) -> User {
        match self {
            People::Root => User::Root,
            People::Guest | People::Owner => User::Nobody,
        }
    }

    fn options(self) -> Vec<&'static str> {
        let given: &[_] = if matches!(self, People::Guest) { &GIVEN } else { &[] };
        [&PATIENT, &SEEN_SOON as &[_], given].concat()
    }
}

fn clean(server: Server, people: People, scripts: &[&str]) {
    let port = free_port();
    let options = people.options();
    let scene = Scene::by(people.mounts(), server, (port, port), &options, scripts::fill);
    scripts::run(&scene, people.works(), scripts, MANY);
}

fn damaged(server: Server, people: People, scripts: &[&str], small_files: usize) {
    let options = people.options();
    let far = DamagedScene::by(people.mounts(), server, DAMAGE, &options, scripts::fill);
    scripts::run(&far.scene, people.works(), scripts, small_files);
}

#[test]
fn root_works_on_our_server() {
    clean(Server::Embedded, People::Root, &ALL);
}

#[test]
fn a_user_works_on_a_mount_of_mavsdk_made_as_that_user() {
    clean(Server::Mavsdk, People::Owner, &ALL);
}

#[test]
fn a_user_works_on_roots_mount_behind_a_damaged_link() {
    damaged(Server::Embedded, People::Guest, &SHORT_OURS, SOME);
}

#[test]
fn root_works_on_mavsdk_behind_a_damaged_link() {
    damaged(Server::Mavsdk, People::Root, &SHORT_MAVSDK, SOME);
}

#[test]
#[ignore = "minutes; scripts/test --full runs it"]
fn everybody_works_on_our_server() {
    EVERYBODY.into_iter().for_each(|people| clean(Server::Embedded, people, &ALL));
}

#[test]
#[ignore = "minutes; scripts/test --full runs it"]
fn everybody_works_on_mavsdk() {
    EVERYBODY.into_iter().for_each(|people| clean(Server::Mavsdk, people, &ALL));
}

#[test]
#[ignore = "minutes; scripts/test --full runs it"]
fn everybody_works_on_our_server_behind_a_damaged_link() {
    EVERYBODY.into_iter().for_each(|people| damaged(Server::Embedded, people, &ALL, MANY));
}

#[test]
#[ignore = "minutes; scripts/test --full runs it"]
fn everybody_works_on_mavsdk_behind_a_damaged_link() {
    EVERYBODY.into_iter().for_each(|people| damaged(Server::Mavsdk, people, &ALL, MANY));
}
