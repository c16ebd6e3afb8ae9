//! mavftp-mount makes a vehicle's files ordinary files.
//!
//! ```text
//! kernel → fuse.rs → fs/ → cache/ → remote/ ─┬─ mavftp.rs → mavftp/client → link/ → vehicle
//!                                            └─ ftp.rs ──────────────────── suppaftp → FTP server
//! reverse:   ground station → link/ → mavftp/server → mavftp/directory → disk
//! ```
//!
//! The modules stand in the order of a read. Who may know whom is held by `tests/architecture.rs`.

// The program.
pub mod cli;
pub mod commands;
pub mod mount;
pub mod serve;

// What it is made of, in the order of a read.
pub mod api;
pub mod fuse;
// The kernel's requests end here.
pub mod fs;
// Names and bytes.
pub mod cache;
// Far sides.
pub mod remote;
// The protocol.
pub mod mavftp;
// Sockets.
pub mod link;
