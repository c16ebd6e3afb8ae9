//! What all endpoints share: the served folder, and its exchange for another one. Knows the
//! endpoints' servers; must not know links.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::{Options, identity};
use crate::link::Peer;
use crate::link::address::Address;
use crate::link::node::Message;
use crate::mavftp::directory::{Directory, RootError};
use crate::mavftp::server::Server;

/// Who asks: where it is, and its system and component.
pub(super) type Client = (Peer, u8, u8);

/// What one endpoint answers from. Its thread holds the lock while it takes a request or a packet,
/// never while it waits.
pub(super) struct Desk {
    pub(super) server: Server<Client, Directory>,
    /// Our `AUTOPILOT_VERSION`.
    pub(super) identity: Message,
}

/// Why another folder is not served; the old one still is. The first two are those that MAVSDK
/// documents for its `FtpServer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FtpServerError {
    /// It does not exist, or is not a directory.
    #[error("there is no such directory")]
    DoesNotExist,
    /// A transfer is open: a client has a file open that was used within the last 30 seconds, or
    /// waits for a checksum.
    #[error("a transfer is open")]
    Busy,
    /// It is there and cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::ErrorKind),
}

impl From<RootError> for FtpServerError {
    fn from(error: RootError) -> FtpServerError {
        match error {
            RootError::DoesNotExist | RootError::NotADirectory => FtpServerError::DoesNotExist,
            RootError::Io(error) => FtpServerError::Unreadable(error.kind()),
        }
    }
}

/// The served folder. Clones are handles of the same one.
#[derive(Clone)]
pub struct Root(Arc<Shared>);

struct Shared {
    desks: Vec<Arc<Mutex<Desk>>>,
    options: Options,
    /// With the ports that port 0 became.
    endpoints: Vec<Address>,
    /// Also held by who changes the root, so that two do not mix.
    path: Mutex<PathBuf>,
}

impl Root {
    /// The folder for these endpoints, a desk for each.
    pub(super) fn new(directory: Directory, options: &Options, endpoints: Vec<Address>) -> Root {
        let identity = version(&options.directory, options);
        let desk = |endpoint: &Address| {
            let paced = super::paced(endpoint, options.server);
            let server = Server::with_options(directory.clone(), identity::seed(), paced);
            Arc::new(Mutex::new(Desk { server, identity }))
        };
        Root(Arc::new(Shared {
            desks: endpoints.iter().map(desk).collect(),
            options: options.clone(),
            endpoints,
            path: Mutex::new(options.directory.clone()),
        }))
    }

    pub(super) fn desks(&self) -> &[Arc<Mutex<Desk>>] {
        &self.0.desks
    }

    /// The folder that is served, as it was named.
    pub fn path(&self) -> PathBuf {
        self.0.path.lock().clone()
    }

    /// The endpoints, with the ports that port 0 became.
    pub fn endpoints(&self) -> &[Address] {
        &self.0.endpoints
    }

    /// One line for people: what is served, where and as whom.
    pub fn description(&self) -> String {
        let Options { system_id, component_id, .. } = &self.0.options;
        let access = self.0.options.access();
        let places: Vec<_> = self.endpoints().iter().map(Address::to_string).collect();
        format!(
            "serving {} ({access}) as system {system_id}, component {component_id} on {}",
            self.path().display(),
            places.join(", "),
        )
    }

    /// Whether a transfer is open on any endpoint, so that the root cannot be changed.
    pub fn is_busy(&self) -> bool {
        let now = Instant::now();
        self.0.desks.iter().any(|desk| desk.lock().server.is_busy(now))
    }

    /// Serves another folder from now on, on all endpoints at once. Files that clients left open
    /// and have not used for long are closed.
    ///
    /// # Errors
    /// Why the old one still is served.
    pub fn change(&self, path: &Path) -> Result<(), FtpServerError> {
        let Shared { desks, options, path: served, .. } = &*self.0;
        // Before any lock: a disk may be slow.
        let opened = Directory::open(path, &options.access());
        let directory = opened.map_err(RootError::from)?;
        let identity = version(path, options);
        let mut served = served.lock();
        // While all are held, no transfer begins between the look and the change.
        let mut desks: Vec<MutexGuard<'_, Desk>> = desks.iter().map(|desk| desk.lock()).collect();
        let now = Instant::now();
        if desks.iter().any(|desk| desk.server.is_busy(now)) {
            return Err(FtpServerError::Busy);
        }
        for desk in &mut desks {
            let replaced = desk.server.replace_files(now, directory.clone());
            replaced.map_err(|_| FtpServerError::Busy)?;
            desk.identity = identity;
        }
        path.clone_into(&mut served);
        Ok(())
    }
}

fn version(path: &Path, options: &Options) -> Message {
    identity::version(path, options.system_id, options.component_id)
}
