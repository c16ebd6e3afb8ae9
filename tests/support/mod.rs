//! What the integration tests share. Must not know what any of them tests.

// Each test program takes what it needs; the rest looks dead to it.
#![allow(dead_code)]

pub mod certificates;
pub mod ftp;
pub mod hub;
pub mod mounted;
pub mod namespace;
pub mod ordinary;
pub mod program;
pub mod pty;
pub mod python;
pub mod relay;
pub mod remotes;
pub mod scripts;
pub mod served;
pub mod tap;
pub mod tools;
pub mod user;
pub mod versions;
