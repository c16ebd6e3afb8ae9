//! FTP servers for a test, and a mount of one. Must not know what a test does with them.

use std::path::{Path, PathBuf};

use super::mounted::Mounted;
use super::ordinary;
use servers::{Kind, Manners, Security, Server};

pub mod daemons;
pub mod scripted;
pub mod servers;

/// A server and a mount of the folder it serves. The mount goes first.
pub struct FtpScene {
    /// The near side.
    pub mounted: Mounted,
    /// The far side.
    pub server: Server,
}

impl FtpScene {
    /// Serves what `fill` puts into the folder, and mounts it with these further options.
    pub fn new(
        (kind, security, manners): (Kind, Security, Manners),
        options: &[&str],
        fill: impl FnOnce(&Path),
    ) -> FtpScene {
        let server = Server::start(kind, security, manners);
        fill(&server.far(""));
        server.own();
        let login = server.options();
        let all: Vec<&str> =
            login.iter().map(String::as_str).chain(options.iter().copied()).collect();
        FtpScene { mounted: Mounted::new(&server.source(), &all), server }
    }

    /// The path of `name` as programs see it, through the mount.
    pub fn near(&self, name: &str) -> PathBuf {
        self.mounted.path().join(name)
    }

    /// The path of `name` on the server's disk.
    pub fn far(&self, name: &str) -> PathBuf {
        self.server.far(name)
    }

    /// The file on the server's disk holds these bytes and no others.
    pub fn holds(&self, name: &str, expected: &[u8]) {
        ordinary::holds(&self.far(name), expected);
    }
}
