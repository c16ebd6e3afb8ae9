//! From an address to a far side: the one place that picks the protocol.

use std::sync::Arc;

use super::Error;
use crate::link::address::{Address, FtpAddress, OpenError};
use crate::link::node::Node;
use crate::remote::{self, Remote, ftp, mavftp};

/// Who logs in where nobody is named.
const ANONYMOUS: &str = "anonymous";

/// How to reach a vehicle or server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ids, target and time limits. The operation timeout holds for FTP servers as well.
    pub mavlink: mavftp::Options,
    /// For FTP servers.
    pub login: Login,
}

/// Who logs in at an FTP server.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// The user; else the one in the URL, else anonymous.
    pub user: Option<String>,
    /// The password; none is empty.
    pub password: Option<String>,
}

// Written by hand, so that no log ever shows a password.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Opens the link and waits for a vehicle with FTP, or logs in at an FTP server. `waiting` is told
/// what is missing each time that changes.
///
/// # Errors
/// [`Error::Link`], [`Error::Io`], [`Error::NoVehicle`], [`Error::NoFtp`], [`Error::Login`],
/// [`Error::Server`].
pub fn connect(
    address: &Address,
    options: &Options,
    waiting: &mut dyn FnMut(&str),
) -> Result<Arc<dyn Remote>, Error> {
    match address {
        Address::Ftp(server) => {
            if let Some(missing) = address.not_built() {
                return Err(OpenError::NotBuilt(missing).into());
            }
            log_in(server, options).map_err(|error| refused(address, error))
        }
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Serial { .. } => {
            let link = address.open()?;
            let node = Node::new(link, options.mavlink.own_system, options.mavlink.own_component);
            Ok(mavftp::connect(node, address, &options.mavlink, waiting)?)
        }
    }
}

fn log_in(server: &FtpAddress, options: &Options) -> Result<Arc<dyn Remote>, remote::Error> {
    let user = options.login.user.as_ref().or(server.user.as_ref());
    ftp::connect(&ftp::Options {
        host: server.host.as_str().into(),
        port: server.port,
        user: user.cloned().unwrap_or_else(|| ANONYMOUS.into()),
        password: options.login.password.clone().unwrap_or_default(),
        op_timeout: options.mavlink.op_timeout,
    })
}

fn refused(address: &Address, error: remote::Error) -> Error {
    match error {
        remote::Error::Login(_) => Error::Login(error.to_string()),
        // Worded for vehicles; this is a server that nothing has been heard of yet.
        remote::Error::LinkDown => Error::Server {
            place: address.to_string(),
            error: remote::Error::Failed("the server cannot be reached".into()),
        },
        error => Error::Server { place: address.to_string(), error },
    }
}
