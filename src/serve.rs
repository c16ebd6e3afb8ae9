//! Reverse mode: joins a directory of the disk, MAVLink FTP servers and their links.
//!
//! Each endpoint has a thread and a server of its own (`endpoint`); what they share is the
//! directory (`root`). Must not know who wants it served, nor signals.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::link::address::{Address, OpenError};
use crate::link::node::Node;
use crate::link::signing::{Signing, SigningKey};
use crate::link::{Link, Waker};
use crate::mavftp::directory::{self, Directory, RootError};
use crate::mavftp::server;

mod audience;
mod departures;
mod endpoint;
mod identity;
mod neighbours;
mod root;
mod visitors;

use endpoint::Endpoint;
pub use root::{FtpServerError, Root};

/// `MAV_TYPE_ONBOARD_CONTROLLER`: a companion computer, which ground stations do not fly.
pub const TYPE_ONBOARD_CONTROLLER: u8 = 18;
/// `MAV_TYPE_CAMERA`.
pub const TYPE_CAMERA: u8 = 30;
/// `MAV_TYPE_GCS`, which a server never is: failsafes watch those.
pub const TYPE_GROUND_STATION: u8 = 6;
/// System id unless told otherwise: that of the vehicle this computer most likely rides on.
pub const SYSTEM_ID: u8 = 1;
/// `MAV_COMP_ID_ONBOARD_COMPUTER`, the component id unless told otherwise.
pub const COMPONENT_ID: u8 = 191;
/// `MAV_COMP_ID_CAMERA`, a camera's component id unless told otherwise.
pub const CAMERA_COMPONENT_ID: u8 = 100;

/// Bits on a serial line for a byte.
const SERIAL_BITS_PER_BYTE: u32 = 10;

/// What to serve, where, and as whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients are: listening and outgoing addresses alike, at least one.
    pub endpoints: Vec<Address>,
    /// The folder.
    pub directory: PathBuf,
    /// Whether clients may change it.
    pub writable: bool,
    /// What clients do not see of it.
    pub hide: Vec<directory::Pattern>,
    /// Most bytes of all files in it together.
    pub max_bytes: Option<u64>,
    /// Our system id.
    pub system_id: u8,
    /// Our component id; 1 is what clients ask that know only autopilots.
    pub component_id: u8,
    /// The `MAV_TYPE` in our heartbeat.
    pub vehicle_type: u8,
    /// Frames are signed with this key, and only those signed with it are heard; `None`: nothing is
    /// signed, and no signature is looked at.
    pub sign_key: Option<SigningKey>,
    /// How each endpoint's server behaves.
    pub server: server::Options,
}

impl Options {
    /// On one endpoint, read-only, with the ids and the type of an onboard computer.
    pub fn new(endpoint: Address, directory: PathBuf) -> Options {
        Options {
            endpoints: vec![endpoint],
            directory,
            writable: false,
            hide: Vec::new(),
            max_bytes: None,
            system_id: SYSTEM_ID,
            component_id: COMPONENT_ID,
            vehicle_type: TYPE_ONBOARD_CONTROLLER,
            sign_key: None,
            server: server::Options::default(),
        }
    }

    /// What clients may see and change.
    fn access(&self) -> directory::Options {
        let (writable, max_bytes) = (self.writable, self.max_bytes);
        directory::Options { writable, hide: self.hide.clone(), max_bytes }
    }
}

/// Why nothing is served, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder cannot be served.
    #[error("cannot serve {}: {error}; name a directory that you can read", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        error: RootError,
    },
    /// An endpoint could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// [`Options::endpoints`] is empty.
    #[error("there is no endpoint to serve on; name one, such as udp:14550")]
    NoEndpoint,
    /// An endpoint's link failed for good.
    #[error("the link {endpoint} failed: {error}")]
    Link {
        /// The endpoint.
        endpoint: Address,
        /// What the system said.
        error: io::Error,
    },
    /// Nothing can be signed: all link ids of this user are taken.
    #[error("cannot sign: {0}")]
    Sign(io::Error),
    /// There is no thread for an endpoint.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Ends [`Serving::run`], from any thread.
#[derive(Debug, Clone)]
pub struct Stop {
    stopped: Arc<AtomicBool>,
    wakers: Arc<[Waker]>,
}

impl Stop {
    /// Makes `run` return soon. What clients have been told is done is done.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wakers.iter().for_each(Waker::wake);
    }
}

/// A folder on its links.
pub struct Serving {
    endpoints: Vec<Endpoint>,
    root: Root,
    stop: Stop,
}

impl Serving {
    /// Opens the folder and every link, or none; from now on requests are kept for
    /// [`Serving::run`].
    ///
    /// # Errors
    /// Which of them cannot be opened, and why.
    pub fn open(options: &Options) -> Result<Serving, ServeError> {
        let directory = open_directory(options)?;
        let open = |address: &Address| Ok((address.clone(), address.open()?));
        let links = options.endpoints.iter().map(open).collect::<Result<_, OpenError>>()?;
        Serving::over(links, directory, options)
    }

    fn over(
        links: Vec<(Address, Box<dyn Link>)>,
        directory: Directory,
        options: &Options,
    ) -> Result<Serving, ServeError> {
        if links.is_empty() {
            return Err(ServeError::NoEndpoint);
        }
        let places = links.iter().map(|(address, link)| local(address, link.local_address()));
        let root = Root::new(directory, options, places.collect());
        // One for all: what was heard on one endpoint is not believed again on another.
        let signing = options.sign_key.clone().map(Signing::new);
        let endpoints = links.into_iter().zip(root.desks()).map(|((_, link), desk)| {
            let node = node(link, options, signing.as_ref())?;
            Ok(Endpoint::new(node, desk.clone(), options))
        });
        let endpoints = endpoints.collect::<io::Result<Vec<_>>>().map_err(ServeError::Sign)?;
        let wakers = endpoints.iter().map(Endpoint::waker).collect();
        let stop = Stop { stopped: Arc::new(AtomicBool::new(false)), wakers };
        Ok(Serving { endpoints, root, stop })
    }

    /// One line for people: what is served, and where, with the ports that port 0 became.
    pub fn description(&self) -> String {
        self.root.description()
    }

    /// The endpoints, with the ports that port 0 became.
    pub fn endpoints(&self) -> &[Address] {
        self.root.endpoints()
    }

    /// The address clients reach each endpoint at, where its link has one.
    pub fn local_addresses(&self) -> Vec<Option<SocketAddr>> {
        self.endpoints.iter().map(Endpoint::local_address).collect()
    }

    /// The handle that ends [`Serving::run`].
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// The handle by which another folder is served.
    pub fn root(&self) -> Root {
        self.root.clone()
    }

    /// Serves until stopped. An endpoint whose link fails for good is told in the log, and the
    /// others go on.
    ///
    /// # Errors
    /// Why the last endpoint failed, when none is left.
    pub fn run(&mut self) -> Result<(), ServeError> {
        let left = AtomicUsize::new(self.endpoints.len());
        let stop = &self.stop;
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for (endpoint, address) in self.endpoints.iter_mut().zip(self.root.endpoints()) {
                let serve = || serve(endpoint, address, &stop.stopped, &left);
                match thread::Builder::new().name("endpoint".into()).spawn_scoped(scope, serve) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        stop.stop();
                        return Err(ServeError::Thread(error));
                    }
                }
            }
            let ends = threads.into_iter().map(|thread| match thread.join() {
                Ok(end) => end,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            let ends: Vec<_> = ends.collect();
            let failed = ends.into_iter().collect::<Result<Vec<()>, _>>().err();
            failed.filter(|_| !stop.stopped.load(Ordering::Acquire)).map_or(Ok(()), Err)
        })
    }
}

/// Serves on one endpoint until stopped, or until its link fails. `left` counts those that work.
fn serve(
    endpoint: &mut Endpoint,
    address: &Address,
    stopped: &AtomicBool,
    left: &AtomicUsize,
) -> Result<(), ServeError> {
    let ended = endpoint.run(stopped);
    let others = left.fetch_sub(1, Ordering::AcqRel) - 1;
    ended.map_err(|error| {
        let error = ServeError::Link { endpoint: address.clone(), error };
        if others > 0 {
            tracing::error!("{error}; {others} of the endpoints go on");
        }
        error
    })
}

/// An endpoint with the port that port 0 became.
fn local(endpoint: &Address, local: Option<SocketAddr>) -> Address {
    match (endpoint, local) {
        (Address::UdpListen { host, port: 0 }, Some(local)) => {
            Address::UdpListen { host: host.clone(), port: local.port() }
        }
        (Address::TcpListen { host, port: 0 }, Some(local)) => {
            Address::TcpListen { host: host.clone(), port: local.port() }
        }
        (endpoint, _) => endpoint.clone(),
    }
}

fn open_directory(options: &Options) -> Result<Directory, ServeError> {
    let path = &options.directory;
    Directory::open(path, &options.access())
        .map_err(|error| ServeError::Directory { path: path.clone(), error: error.into() })
}

/// The link as messages, signed where there is a key.
fn node(link: Box<dyn Link>, options: &Options, signing: Option<&Signing>) -> io::Result<Node> {
    let Options { system_id, component_id, .. } = *options;
    match signing {
        Some(signing) => Node::signed(link, system_id, component_id, signing),
        None => Ok(Node::new(link, system_id, component_id)),
    }
}

/// The server's options, its bursts no faster than half of a serial line: they would crowd out the
/// answers to others, and what does not fit is lost.
fn paced(endpoint: &Address, mut server: server::Options) -> server::Options {
    match endpoint {
        Address::Serial { baud, .. } => {
            let half = (baud / SERIAL_BITS_PER_BYTE / 2).max(1);
            server.max_rate = Some(server.max_rate.map_or(half, |rate| rate.min(half)));
        }
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Ftp(_) => {}
    }
    server
}

#[cfg(test)]
mod tests;
