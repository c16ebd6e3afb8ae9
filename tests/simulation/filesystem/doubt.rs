//! A vehicle that does not say who it is comes back from a silence: who reads goes on.

use std::time::Duration;

use mavftp_mount::fs::Ino;

use super::flight::{Flight, Mishap};
use crate::network::Faults;
use crate::personalities::mavsdk::Release;
use crate::vehicles::Kind;

const SIZE: usize = 400_000;

fn bytes() -> Vec<u8> {
    (0..SIZE).map(|at| (at * 7 / 5) as u8).collect()
}

/// Reads a file in pieces, whatever becomes of the link meanwhile; `replace` it in the middle of that.
fn read_through(seed: u64, faults: Faults, mishap: Mishap, replaces: bool) {
    let mishaps = [(Duration::from_secs(4), mishap)];
    let mut flight = Flight::new(Kind::Mavsdk(Release::Four), seed, faults, &mishaps);
    let around = flight.around.clone();
    let reading = async {
        // Without a time nothing could show that it is the same.
        around.files.set_time(Some(1_700_000_000));
        around.files.insert("f", &bytes());
        let fs = around.fs();
        let ino = fs.lookup(Ino::ROOT, b"f").await.expect("it is there").ino;
        let open = fs.open(ino, libc::O_RDONLY).await.expect("it opens").handle;
        let (mut at, mut failed, mut is_replaced) = (0, 0, false);
        while at < SIZE {
            if replaces && !is_replaced && around.elapsed() > Duration::from_secs(6) {
                is_replaced = true;
                around.files.insert("f", &[b'B'; SIZE]);
            }
            match fs.read(open, at as u64, 20_000).await {
                Ok(piece) => {
                    assert_eq!(piece, bytes()[at..(at + 20_000).min(SIZE)], "at {at}");
                    at += piece.len();
                }
                Err(error) if error.errno() == libc::ESTALE && replaces => break,
                Err(error) => {
                    assert_ne!(error.errno(), libc::ESTALE, "at {at}: {error}");
                    failed += 1;
                    assert!(failed < 60, "at {at}: {error}");
                }
            }
            around.sleep(Duration::from_millis(900)).await;
        }
        assert_eq!(at < SIZE, replaces, "seed {seed}");
        let _ = fs.release(open).await;
    };
    flight.run(vec![Box::pin(reading)]);
}

#[test]
fn a_file_is_read_on_through_silences_reboots_and_new_addresses() {
    let lasts = Duration::from_secs(9);
    for mishap in [Mishap::Silence(lasts), Mishap::Reboot(lasts), Mishap::Move(lasts)] {
        crate::for_seeds(0..20, |seed| {
            read_through(seed, Faults::WIFI, mishap, false);
            read_through(seed, Faults::WIFI, mishap, true);
        });
    }
}
