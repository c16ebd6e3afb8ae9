//! Files that are saved one soon after another over FTP: what is asked ahead saves round trips, and
//! costs nothing when it goes wrong. Needs /dev/fuse, root, and the servers that scripts/test unpacks.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

mod support;

use support::ftp::FtpScene;
use support::ftp::scripted::{Act, Scripted};
use support::ftp::servers::{Kind, Manners, Security, Server};
use support::mounted::{LINK_TIMEOUT, Mounted, OP_TIMEOUT};
use support::ordinary::{noise, text};
use support::program::{eventually, run_within, shell};
use support::python::{Peer, START_TIME};
use support::relay::example;

/// No program waits longer for a server without progress.
const BOUND: Duration = Duration::from_secs(2 * OP_TIMEOUT.as_secs() + LINK_TIMEOUT.as_secs() + 5);
const RETURN_TIME: Duration = Duration::from_secs(20);
const FOREVER: usize = usize::MAX;
const ONE_WAY: Duration = Duration::from_millis(100);
const KINDS: [Kind; 3] = [Kind::Vsftpd, Kind::Proftpd, Kind::Pyftpdlib];
const ALL: [(Kind, Security); 9] = [
    (Kind::Vsftpd, Security::Plain),
    (Kind::Vsftpd, Security::Explicit),
    (Kind::Vsftpd, Security::Implicit),
    (Kind::Proftpd, Security::Plain),
    (Kind::Proftpd, Security::Explicit),
    (Kind::Proftpd, Security::Implicit),
    (Kind::Pyftpdlib, Security::Plain),
    (Kind::Pyftpdlib, Security::Explicit),
    (Kind::Pyftpdlib, Security::Implicit),
];
/// Passive data connections.
const DATA: [&str; 2] = ["PASV", "EPSV"];

/// A server that does as it is told, and a mount of it in the middle of a series of saves.
struct Series {
    mounted: Mounted,
    server: Scripted,
    saved: u64,
}

impl Series {
    fn begun() -> Series {
        let server = Scripted::start(&[("target", &noise(0, 1000))]);
        let mounted = Mounted::new(&server.source(), &[]);
        let mut series = Series { mounted, server, saved: 0 };
        // The third is sent over a data connection that was there, and tells what this server does
        // with one; from the fourth on, bytes are sent ahead.
        (0..4).for_each(|_| series.saves());
        series
    }

    /// Copies further bytes over the target; what cp said when it failed.
    fn save(&mut self) -> Result<(), String> {
        self.saved += 1;
        let local = tempfile::NamedTempFile::new().unwrap();
        fs::write(local.path(), noise(self.saved, 20_000)).unwrap();
        let target = self.mounted.path().join("target");
        let output = run_within(BOUND, "cp", &[local.path(), &target]);
        output.status.success().then_some(()).ok_or_else(|| text(output.stderr))
    }

    fn saves(&mut self) {
        assert_eq!(self.save(), Ok(()));
        self.holds(self.saved);
    }

    fn holds(&self, number: u64) {
        let held = self.server.file("target").unwrap();
        let length = if number == 0 { 1000 } else { 20_000 };
        assert!(held == noise(number, length), "not the bytes of save {number}");
    }

    /// It can be saved again, whatever was.
    fn recovers(&mut self) {
        self.server.behave();
        eventually("it can be saved again", RETURN_TIME, || self.save().is_ok());
        self.holds(self.saved);
        self.saves();
    }
}

#[test]
fn a_save_in_a_series_asks_for_nothing_twice() {
    let mut series = Series::begun();
    drop(series.server.all_heard());
    (0..2).for_each(|_| series.saves());
    let one = ["STOR", "SIZE", "EPSV", "RNFR", "RNTO"];
    assert_eq!(series.server.all_heard(), [one, one].concat());
}

/// > A save over FTP renames its temporary file only after the server's own SIZE of it, asked when the transfer was over,
/// > was that of what was sent; a data connection that proves dead before that is replaced without an error.
#[test]
fn a_data_connection_that_is_gone_before_it_is_used_is_replaced_unseen() {
    for act in [Act::DropData, Act::RefuseData, Act::Say("425 no more"), Act::Say("500 what?")] {
        let mut series = Series::begun();
        DATA.iter().for_each(|verb| series.server.at(verb, act, 1));
        (0..3).for_each(|_| series.saves());
    }
}

#[test]
fn a_transfer_that_finds_its_data_connection_gone_is_begun_again() {
    for reply in ["425 Can't open data connection.", "426 Failure reading network stream."] {
        let mut series = Series::begun();
        series.server.at("STOR", Act::Say(reply), 1);
        (0..3).for_each(|_| series.saves());
    }
}

#[test]
fn a_connection_that_is_lost_between_the_commands_of_a_flight_loses_nothing() {
    let closes = [Act::Close, Act::SayAndClose("421 Timeout.")];
    for act in closes.into_iter().chain([Act::Say("226 Transfer complete."), Act::FallSilent]) {
        for verb in ["SIZE", "EPSV", "RNFR"] {
            let mut series = Series::begun();
            series.server.at(verb, act, 1);
            series.saves();
            series.recovers();
        }
    }
}

#[test]
fn a_server_that_never_takes_several_commands_at_once_is_asked_one_by_one() {
    let mut series = Series::begun();
    for _ in 0..2 {
        series.server.at("SIZE", Act::Say("226 what was before?"), 1);
        series.saves();
    }
    drop(series.server.all_heard());
    (0..2).for_each(|_| series.saves());
    let one = ["EPSV", "STOR", "SIZE", "RNFR", "RNTO"];
    assert_eq!(series.server.all_heard(), [one, one].concat());
}

#[test]
fn what_is_lost_at_the_renaming_is_an_error_and_the_old_file_or_the_new() {
    for act in [Act::Close, Act::SayAndClose("421 Timeout."), Act::FallSilent] {
        let mut series = Series::begun();
        series.server.at("RNTO", act, FOREVER);
        assert!(series.save().is_err(), "{act:?}");
        series.holds(series.saved - 1);
        series.recovers();
    }
}

#[test]
fn a_renaming_that_is_refused_says_why() {
    let mut series = Series::begun();
    series.server.at("RNTO", Act::Say("553 Permission denied."), FOREVER);
    let complaint = series.save().unwrap_err();
    assert!(complaint.contains("Permission denied"), "{complaint}");
    series.holds(series.saved - 1);
    series.recovers();
}

#[test]
fn bytes_that_were_sent_before_a_refusal_are_an_error_and_no_file() {
    for (reply, reason) in [
        ("550 Permission denied.", "Permission denied"),
        ("552 No space left.", "No space left"),
        ("553 Could not create file.", "Permission denied"),
    ] {
        let mut series = Series::begun();
        series.server.at("STOR", Act::Say(reply), 1);
        let complaint = series.save().unwrap_err();
        assert!(complaint.contains(reason), "{complaint}");
        series.holds(series.saved - 1);
        (0..2).for_each(|_| series.saves());
    }
}

/// > A save over FTP renames its temporary file only after the server's own SIZE of it, asked when the transfer was over,
/// > was that of what was sent; a data connection that proves dead before that is replaced without an error.
#[test]
fn a_size_that_differs_renames_nothing() {
    let mut series = Series::begun();
    series.server.at("SIZE", Act::Say("213 19999"), FOREVER);
    series.server.heard("RNTO");
    let complaint = series.save().unwrap_err();
    assert!(complaint.contains("Input/output error"), "{complaint}");
    assert_eq!(series.server.heard("RNTO"), 0);
    series.holds(series.saved - 1);
    assert!(series.server.heard("DELE") > 0, "the temporary file stays");
    series.recovers();
}

#[test]
fn half_a_file_is_never_renamed() {
    for act in [Act::HalfAndDone, Act::HalfAndBroken, Act::HalfAndClose, Act::HalfAndSilent] {
        let mut series = Series::begun();
        series.server.heard("RNTO");
        series.server.at("STOR", act, FOREVER);
        assert!(series.save().is_err(), "{act:?}");
        assert_eq!(series.server.heard("RNTO"), 0, "{act:?}");
        series.holds(series.saved - 1);
        series.recovers();
        let mut series = Series::begun();
        series.server.at("STOR", act, 1);
        let number = if series.save().is_ok() { series.saved } else { series.saved - 1 };
        series.holds(number);
        series.recovers();
    }
}

fn saves_one(scene: &FtpScene, number: u64) {
    let local = tempfile::NamedTempFile::new().unwrap();
    fs::write(local.path(), noise(number, 9_000)).unwrap();
    let name = format!("file {number}");
    let output = run_within(BOUND, "cp", &[local.path(), &scene.near(&name)]);
    assert!(output.status.success(), "{number}: {}", text(output.stderr));
    scene.holds(&name, &noise(number, 9_000));
}

fn names(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_series_goes_on_after_its_server_was_killed() {
    for (kind, security) in ALL {
        let mut scene = FtpScene::new((kind, security, Manners::default()), &[], |_| {});
        (0..4).for_each(|number| saves_one(&scene, number));
        scene.server.kill();
        scene.server.restart();
        (4..7).for_each(|number| saves_one(&scene, number));
        assert_eq!(names(&scene.far("")), 7, "{kind:?}, {security:?}");
    }
}

#[test]
fn a_series_goes_on_after_its_server_closed_what_was_idle() {
    let manners = Manners { idle_seconds: Some(1), ..Manners::default() };
    for kind in KINDS {
        let scene = FtpScene::new((kind, Security::Plain, manners), &[], |_| {});
        (0..4).for_each(|number| saves_one(&scene, number));
        std::thread::sleep(Duration::from_millis(2500));
        (4..7).for_each(|number| saves_one(&scene, number));
        assert_eq!(names(&scene.far("")), 7, "{kind:?}");
    }
}

#[test]
fn reading_listing_and_large_files_go_well_between_the_saves_of_a_series() {
    for (kind, security) in ALL {
        let scene = FtpScene::new((kind, security, Manners::default()), &[], |_| {});
        (0..4).for_each(|number| saves_one(&scene, number));
        for number in 0..4 {
            let name = format!("file {number}");
            assert!(shell(scene.mounted.path(), &format!("cat '{name}'")) == noise(number, 9_000));
            saves_one(&scene, 4 + number);
            shell(scene.mounted.path(), "ls -l > /dev/null; : > empty; mkdir folder; rmdir folder");
        }
        let large = noise(99, 3 << 20);
        fs::write(scene.mounted.path().join("large"), &large).unwrap();
        scene.holds("large", &large);
        saves_one(&scene, 8);
        assert_eq!(names(&scene.far("")), 11, "{kind:?}, {security:?}");
    }
}

/// > A save in a series takes three round trips, four where the server takes up a data connection before it is told what
/// > for.
#[test]
fn a_save_in_a_series_takes_three_round_trips() {
    for (kind, trips) in [(Kind::Vsftpd, 3), (Kind::Proftpd, 3), (Kind::Pyftpdlib, 4)] {
        let server = Server::start(kind, Security::Plain, Manners::default());
        let (_distance, port) = away(server.port());
        let source = server.source().replace(&format!(":{}", server.port()), &format!(":{port}"));
        let options = server.options();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let mounted = Mounted::new(&source, &options);
        let took = |number: u64| {
            let bytes = noise(number, 3_000);
            let path = mounted.path().join(format!("file {number}"));
            let began = Instant::now();
            fs::write(path, &bytes).unwrap();
            let took = began.elapsed();
            assert!(fs::read(server.far(&format!("file {number}"))).unwrap() == bytes);
            took
        };
        // MFMT is in the flight of SIZE; a busy machine makes some slower.
        let quickest = (0..8).map(took).min().unwrap();
        let limit = 2 * ONE_WAY * trips;
        assert!(quickest >= limit && quickest < limit + ONE_WAY, "{kind:?}: {quickest:?}");
    }
}

const LATER: [&str; 4] = ["--write-back", "async", "--connections", "4"];

fn options_of<'a>(own: &'a [String], further: &[&'a str]) -> Vec<&'a str> {
    own.iter().map(String::as_str).chain(further.iter().copied()).collect()
}

/// What one name after another was given, renamed and removed while others were sent.
#[test]
fn files_that_are_sent_beside_one_another_end_as_they_were_left() {
    const SCRIPT: &str = "for n in 1 2 3 4 5 6 7 8; do
        for f in a b c d e; do echo $f $n > $f; done
        mv a g; mv b a; echo again $n > b; mv c d; rm e; echo $n >> g; cp g h; mv h i
    done; for n in $(seq 30); do head -c 20000 /dev/zero > z$n; echo $n >> z$n; done";
    for (kind, security) in ALL {
        let scene = FtpScene::new((kind, security, Manners::default()), &LATER, |_| {});
        let local = tempfile::tempdir().unwrap();
        shell(local.path(), SCRIPT);
        shell(scene.mounted.path(), SCRIPT);
        let same = || {
            let arguments = [Path::new("-r"), local.path(), &scene.far("")];
            run_within(BOUND, "diff", &arguments).status.success()
        };
        eventually(&format!("{kind:?}, {security:?}: all is sent"), BOUND, same);
    }
}

#[test]
fn promised_files_are_sent_beside_one_another() {
    const FILES: u32 = 30;
    let server = Server::start(Kind::Vsftpd, Security::Plain, Manners::default());
    let (_distance, port) = away(server.port());
    let source = server.source().replace(&format!(":{}", server.port()), &format!(":{port}"));
    let own = server.options();
    let mounted = Mounted::new(&source, &options_of(&own, &LATER));
    shell(mounted.path(), "ls");
    let began = Instant::now();
    shell(mounted.path(), &format!("for n in $(seq {FILES}); do echo $n > file$n; done"));
    let sent = |number| fs::read_to_string(server.far(&format!("file{number}")));
    let all =
        || (1..=FILES).all(|number| sent(number).is_ok_and(|text| text == format!("{number}\n")));
    eventually("all is sent", BOUND + RETURN_TIME, all);
    // Three at a time; one after the other would take three round trips each.
    let took = began.elapsed();
    assert!(took < 2 * ONE_WAY * 3 * FILES * 3 / 4, "{took:?}");
}

fn away(port: u16) -> (Peer, u16) {
    let mut command = Command::new(example("distance"));
    command.args([port.to_string(), ONE_WAY.as_millis().to_string()]);
    let mut peer = Peer::run("distance", command);
    let ready = peer.line(START_TIME);
    let port = ready.strip_prefix("ready ").and_then(|port| port.parse().ok()).unwrap();
    (peer, port)
}
