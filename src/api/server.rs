//! A directory served over MAVLink FTP, in the background of a program. The facade of
//! [`crate::serve`]; must not know signals, nor the command line.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use crossbeam_channel::Receiver;

use crate::link::address::Address;
use crate::serve::{Root, Serving, Stop};

pub use crate::serve::{FtpServerError, Options as ServeOptions, ServeError};

/// A MAVLink FTP server that runs until it is stopped or dropped.
///
/// ```
/// use mavftp_mount::api::{FtpServer, FtpServerError, ServeOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (logs, maps) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// # let (logs, maps) = (logs.path(), maps.path());
/// // Port 0 becomes a free one; a ground station is reached by udpout:HOST:14550.
/// let endpoint = "udp:127.0.0.1:0".parse()?;
/// let server = FtpServer::start(&ServeOptions::new(endpoint, logs.to_path_buf()))?;
/// println!("clients find it at {}", server.endpoints()[0]);
///
/// // Another directory, unless a client has a file open.
/// server.set_root_dir(maps)?;
/// let missing = server.set_root_dir("/no/such/directory");
/// assert_eq!(missing, Err(FtpServerError::DoesNotExist));
/// assert_eq!(server.root_dir(), maps);
/// server.stop()?;
/// # Ok(())
/// # }
/// ```
pub struct FtpServer {
    root: Root,
    stop: Stop,
    ended: Receiver<()>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl FtpServer {
    /// Opens the directory and all endpoints, and serves in the background from then on.
    ///
    /// # Errors
    /// Which of them cannot be opened, and why; then nothing is served.
    pub fn start(options: &ServeOptions) -> Result<FtpServer, ServeError> {
        let mut serving = Serving::open(options)?;
        let (root, stop) = (serving.root(), serving.stop_handle());
        let (running, ended) = crossbeam_channel::bounded(0);
        let run = move || {
            // Dropped at the end, whatever that is like.
            let _running = running;
            serving.run()
        };
        let thread =
            thread::Builder::new().name("serving".into()).spawn(run).map_err(ServeError::Thread)?;
        Ok(FtpServer { root, stop, ended, thread: Some(thread) })
    }

    /// Serves another directory from now on, on all endpoints at once; clients may stay connected.
    ///
    /// A transfer is open while a client has a file open, until it closes it (`TerminateSession`,
    /// `ResetSessions`) or has not used it for 30 seconds, and while a checksum is made. So this
    /// succeeds right after a client has ended its download, and at the latest 30 seconds after the
    /// last sign of one that went away in the middle. Listings do not count: each page is of the
    /// directory that is served then.
    ///
    /// # Errors
    /// The old directory is served on: [`FtpServerError::DoesNotExist`] when there is nothing or
    /// something else than a directory, [`FtpServerError::Busy`] while a transfer is open,
    /// [`FtpServerError::Unreadable`] when it is there and this program may not read it.
    pub fn set_root_dir(&self, path: impl AsRef<Path>) -> Result<(), FtpServerError> {
        self.root.change(path.as_ref())
    }

    /// The directory that is served, as it was named.
    pub fn root_dir(&self) -> PathBuf {
        self.root.path()
    }

    /// Whether a transfer is open, so that [`FtpServer::set_root_dir`] would be refused.
    pub fn is_busy(&self) -> bool {
        self.root.is_busy()
    }

    /// The endpoints, with the ports that port 0 became.
    pub fn endpoints(&self) -> &[Address] {
        self.root.endpoints()
    }

    /// One line for people: what is served, where and as whom.
    pub fn description(&self) -> String {
        self.root.description()
    }

    /// Whether it serves still: not when the links of all its endpoints have failed, which
    /// [`FtpServer::stop`] tells the reason of.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends with the server, which may have failed by itself.
    pub(crate) fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Ends it, and frees its ports. What clients have been told is done is done.
    ///
    /// # Errors
    /// Why it had ended already, when all its endpoints had failed.
    pub fn stop(mut self) -> Result<(), ServeError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ServeError> {
        self.stop.stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        self.stop.stop();
        // Its end, bad or not, is of no interest to who drops it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// How a call of [`FtpServer`] ended, as MAVSDK's `FtpServer` plugin counts it, so that a program
/// written for that one can keep its cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FtpServerResult {
    /// Cannot be told.
    Unknown = 0,
    /// Done.
    Success = 1,
    /// There is no such directory.
    DoesNotExist = 2,
    /// A transfer is open.
    Busy = 3,
}

impl From<FtpServerError> for FtpServerResult {
    fn from(error: FtpServerError) -> FtpServerResult {
        match error {
            FtpServerError::DoesNotExist => FtpServerResult::DoesNotExist,
            FtpServerError::Busy => FtpServerResult::Busy,
            FtpServerError::Unreadable(_) => FtpServerResult::Unknown,
        }
    }
}

impl From<Result<(), FtpServerError>> for FtpServerResult {
    fn from(outcome: Result<(), FtpServerError>) -> FtpServerResult {
        outcome.map_or_else(FtpServerResult::from, |()| FtpServerResult::Success)
    }
}

#[cfg(test)]
mod tests;
