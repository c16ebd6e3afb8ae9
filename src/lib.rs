//! mavftp-mount makes a vehicle's files ordinary files: it mounts what a drone offers over MAVLink
//! FTP, or an FTP server, and serves a directory over MAVLink FTP. This is the library under the
//! program of that name.
//!
//! # Files without a mount
//!
//! [`api::Vehicle`] has the verbs. Every call blocks until its end, which comes at the latest one
//! operation timeout after the last progress; [`api::Vehicle::interrupt`] ends it earlier.
//!
//! ```no_run
//! use std::fs::File;
//!
//! use mavftp_mount::api::{Options, Vehicle};
//! use mavftp_mount::remote::RemotePath;
//! use mavftp_mount::remote::save::Policy;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Listens where ground stations do; says what is missing while nobody is heard.
//!     let address = "udp:14550".parse()?;
//!     let vehicle = Vehicle::connect(&address, &Options::default(), &mut |missing| {
//!         eprintln!("{missing}");
//!     })?;
//!     for entry in vehicle.list(&RemotePath::parse(b"/fs/microsd/log")?)? {
//!         println!("{:>10} {}", entry.size, entry.name);
//!     }
//!     let log = RemotePath::parse(b"/fs/microsd/log/flight.ulg")?;
//!     vehicle.fetch(&log, &File::create("flight.ulg")?, &mut |done, size| {
//!         eprintln!("{done} of {size:?} bytes");
//!     })?;
//!     let note = RemotePath::parse(b"/etc/note")?;
//!     vehicle.store(&note, File::open("note")?, Policy::default(), &mut |_, _| {})?;
//!     Ok(())
//! }
//! ```
//!
//! The same works on an FTP server: `"ftp://pilot@localhost".parse()?`, with the password in
//! [`api::Options::login`]. A mount is [`mount::run`], and the other direction, a directory that is
//! served over MAVLink FTP, [`api::FtpServer`].
//!
//! # How it is built
//!
//! ```text
//! kernel → fuse.rs → fs/ → cache/ → remote/ ─┬─ mavftp.rs → mavftp/client → link/ → vehicle
//!                                            └─ ftp.rs ──────────────────── suppaftp → FTP server
//! reverse:   ground station → link/ → mavftp/server → mavftp/directory → disk
//! ```
//!
//! The modules stand in the order of a read. `docs/ARCHITECTURE.md` says who may know whom, and
//! `tests/architecture.rs` holds them to it.

// The program.
pub mod cli;
pub mod commands;
pub mod mount;

// What it is made of, in the order of a read.
pub mod api;
pub mod fuse;
// The kernel's requests end here.
pub mod fs;
// What is not on a vehicle yet, on the local disk.
pub mod journal;
// Names and bytes.
pub mod cache;
// Far sides.
pub mod remote;
#[cfg(test)]
mod semantics;
// The protocol.
pub mod mavftp;
// The other direction: a directory for who asks.
pub mod serve;
// Sockets.
pub mod link;
