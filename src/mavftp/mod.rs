//! MAVLink FTP itself, without a socket, a thread or a clock: time is an argument, what is to be
//! sent is a result, and random numbers come from a seed, so that a seed is a run. The exception is
//! `directory`, which serves a folder of the disk.

pub mod client;
pub mod directory;
pub mod hub;
pub mod server;
pub mod timers;
pub mod transfer;
pub mod wire;
