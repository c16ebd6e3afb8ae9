//! How long a path may be, and what its size says.

use mavftp_mount::mavftp::client::{Op, Reply};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Nak, Opcode};

use super::Kind;
use crate::network::Faults;
use crate::personalities::ardupilot::Sessions;
use crate::personalities::naive::Naive;
use crate::personalities::px4::Firmware;

const ONE: Kind = Kind::ArduPilot(Sessions::One);
const FIVE: Kind = Kind::ArduPilot(Sessions::Five);
const BOARD: Kind = Kind::Px4(Firmware::Board);
const EINVAL: u8 = 22;

fn naive(kind: Kind, files: &MemoryFiles) -> Naive {
    Naive::new(kind.far(files.clone(), 1))
}

#[test]
fn a_naive_client_counts_the_nul_into_the_size_and_is_refused() {
    let files = MemoryFiles::new();
    files.insert("/f", b"x");
    let opened = |kind| naive(kind, &files).on(Opcode::CalcFileCrc32, "/f\0");
    assert_eq!(opened(Kind::ArduPilot(Sessions::Old)), Some(Err(Nak::InvalidDataSize)));
    assert!(matches!(opened(ONE), Some(Ok(_))));
    assert!(matches!(opened(FIVE), Some(Ok(_))));
    for kind in [ONE, FIVE] {
        let listed = naive(kind, &files).on(Opcode::ListDirectory, "");
        assert_eq!(listed, Some(Err(Nak::InvalidDataSize)), "no path is no root");
        let renamed = naive(kind, &files).on(Opcode::Rename, "/f\0/g\0\0");
        assert_eq!(renamed, Some(Err(Nak::InvalidDataSize)));
    }
}

#[test]
fn a_naive_client_cannot_give_px4_a_name_of_one_letter() {
    let files = MemoryFiles::new();
    files.insert("/f", b"x");
    let mut naive = naive(Kind::Px4(Firmware::Release), &files);
    assert_eq!(naive.on(Opcode::Rename, "f\0g"), Some(Err(Nak::FailErrno(EINVAL))));
    assert_eq!(naive.on(Opcode::Rename, "f\0g\0"), Some(Ok(Vec::new())));
    let mut world = BOARD.world(1, Faults::NONE);
    world.files.insert("/f", b"x");
    let rename = Op::Rename { from: b"/f".to_vec(), to: b"/g".to_vec() };
    assert_eq!(world.perform(rename), Ok(Reply::Done), "the slash is a letter");
}

/// A path of so many bytes, its leading `/` among them.
fn long_path(bytes: usize) -> String {
    format!("/{}", "p".repeat(bytes - 1))
}

#[test]
fn a_naive_client_with_a_long_path_makes_another_file() {
    for (kind, most) in [(Kind::Px4(Firmware::Release), 237), (FIVE, 238)] {
        let files = MemoryFiles::new();
        let made = naive(kind, &files).on(Opcode::CreateFile, &long_path(most + 1));
        assert!(matches!(made, Some(Ok(_))), "{kind:?}");
        assert_eq!(files.paths(), [long_path(most).as_bytes()[1..].to_vec()], "{kind:?}");
    }
}

/// A directory of a path of so many bytes is made with its own name, or not at all.
fn check_long_path(kind: Kind, bytes: usize) {
    let mut world = kind.world(1, Faults::NONE);
    let path = long_path(bytes);
    let made = world.perform(Op::MakeDirectory { path: path.clone().into() });
    let there = world.files.paths();
    match made {
        Ok(_) => assert_eq!(there, [path.as_bytes()[1..].to_vec()], "{kind:?} {bytes}"),
        Err(_) => assert!(there.is_empty(), "{kind:?} {bytes}"),
    }
}

#[test]
fn a_long_path_is_made_as_it_is_or_not_at_all() {
    for kind in super::ALL {
        for bytes in [235, 236, 237, 239] {
            check_long_path(kind, bytes);
        }
    }
}

#[test]
fn a_path_that_px4_would_cut_is_not_sent() {
    for kind in super::ALL {
        check_long_path(kind, 238);
    }
}
