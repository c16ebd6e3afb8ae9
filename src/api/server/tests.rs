//! The server and our own client in one program.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use super::*;
use crate::api::{Options, Vehicle};
use crate::remote::RemotePath;

/// A server of a folder with a file of this size.
fn serving(size: usize) -> (tempfile::TempDir, FtpServer) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("log"), vec![7; size]).unwrap();
    let endpoint = "udp:127.0.0.1:0".parse().unwrap();
    let server = FtpServer::start(&ServeOptions::new(endpoint, folder.path().to_path_buf()));
    (folder, server.unwrap())
}

fn connect(server: &FtpServer, rate_limit: Option<u32>) -> Vehicle {
    let mut options = Options::default();
    options.mavlink.target = Some((1, Some(191)));
    options.mavlink.rate_limit = rate_limit;
    let address = server.endpoints()[0].to_string().replacen("udp:", "udpout:", 1);
    Vehicle::connect(&address.parse().unwrap(), &options, &mut |_| {}).unwrap()
}

fn fetch(vehicle: &Vehicle, progress: crate::api::Progress<'_>) -> u64 {
    let local: File = tempfile::tempfile().unwrap();
    vehicle.fetch(&RemotePath::parse(b"/log").unwrap(), &local, progress).unwrap()
}

#[test]
fn the_root_is_busy_while_our_client_downloads_and_free_when_it_is_done() {
    let (folder, server) = serving(60_000);
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("log"), "short").unwrap();
    let vehicle = connect(&server, Some(60_000));
    let mut refused = 0;
    let fetched = fetch(&vehicle, &mut |_, _| {
        assert_eq!(server.set_root_dir(other.path()), Err(FtpServerError::Busy));
        refused += 1;
    });
    assert_eq!(fetched, 60_000);
    assert!(refused > 0);
    assert_eq!(server.root_dir(), folder.path());
    // Our client keeps a file open for a second in case somebody reads on.
    let began = Instant::now();
    while server.is_busy() {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.set_root_dir(other.path()), Ok(()));
    assert_eq!(server.root_dir(), other.path());
    assert!(server.description().contains(&other.path().display().to_string()));
    drop(vehicle);
    assert_eq!(fetch(&connect(&server, None), &mut |_, _| {}), 5);
    server.stop().unwrap();
}

#[test]
fn what_is_missing_or_a_file_does_not_exist_as_a_root() {
    let (folder, server) = serving(5);
    for path in [folder.path().join("none"), folder.path().join("log")] {
        assert_eq!(server.set_root_dir(path), Err(FtpServerError::DoesNotExist));
    }
    assert_eq!(server.set_root_dir(folder.path()), Ok(()));
}

#[test]
fn the_numbers_are_those_of_mavsdk() {
    let all = [
        (Err(FtpServerError::Unreadable(std::io::ErrorKind::PermissionDenied)), 0),
        (Ok(()), 1),
        (Err(FtpServerError::DoesNotExist), 2),
        (Err(FtpServerError::Busy), 3),
    ];
    for (outcome, number) in all {
        assert_eq!(FtpServerResult::from(outcome) as u8, number);
    }
}

#[test]
fn a_dropped_server_frees_its_port_and_a_second_one_is_refused() {
    let (folder, server) = serving(5);
    let again = ServeOptions::new(server.endpoints()[0].clone(), folder.path().to_path_buf());
    let refused = FtpServer::start(&again).err().unwrap().to_string();
    assert!(refused.contains("in use"), "{refused}");
    assert!(server.is_running());
    drop(server);
    assert!(FtpServer::start(&again).is_ok());
}
