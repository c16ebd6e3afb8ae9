//! From an address to a far side: the one place that picks the protocol.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{Error, FtpOptions, Login};
use crate::link::Link;
use crate::link::address::{Address, FtpAddress, Security};
use crate::link::node::Node;
use crate::link::signing::Signing;
use crate::remote::ftp::{self, Protection};
use crate::remote::{self, Remote, mavftp};

/// What is missing is told when it has been so for this long.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Told, while a vehicle is looked for, what is still missing. Called from another thread.
pub type Waiting<'a> = &'a mut (dyn FnMut(&str) + Send);

/// How to reach a vehicle or server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ids, target and time limits. The operation timeout holds for FTP servers as well.
    pub mavlink: mavftp::Options,
    /// Who logs in at an FTP server.
    pub login: Login,
    /// How an FTP server is spoken to.
    pub ftp: FtpOptions,
}

/// Opens the link and waits for a vehicle with FTP, or logs in at an FTP server. `waiting` is told
/// what is missing, in a line for people, when that has been so for a second.
///
/// # Errors
/// [`Error::Link`], [`Error::Io`], [`Error::NoVehicle`], [`Error::NoFtp`], [`Error::Login`],
/// [`Error::Server`].
pub fn connect(
    address: &Address,
    options: &Options,
    waiting: Waiting<'_>,
) -> Result<Arc<dyn Remote>, Error> {
    match address {
        Address::Ftp(server) => {
            ftp::connect(&of_a_server(server, options)).map_err(|error| refused(address, error))
        }
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Serial { .. } => {
            let link = address.open()?;
            let node = node(link, &options.mavlink)?;
            find(node, address, &options.mavlink, waiting)
        }
    }
}

/// The link as messages, signed where there is a key.
pub(super) fn node(link: Box<dyn Link>, options: &mavftp::Options) -> Result<Node, Error> {
    let mavftp::Options { own_system, own_component, ref sign_key, .. } = *options;
    match sign_key {
        Some(key) => {
            let signing = Signing::new(key.clone());
            Node::signed(link, own_system, own_component, &signing).map_err(Error::Io)
        }
        None => Ok(Node::new(link, own_system, own_component)),
    }
}

/// Tells only what lasts: a vehicle that answers at once leaves no line.
fn find(
    node: Node,
    address: &Address,
    options: &mavftp::Options,
    waiting: Waiting<'_>,
) -> Result<Arc<dyn Remote>, Error> {
    let (sender, missing) = crossbeam_channel::unbounded::<String>();
    thread::scope(|scope| {
        let teller = move || tell(&missing, waiting);
        thread::Builder::new()
            .name("waiting".into())
            .spawn_scoped(scope, teller)
            .map_err(Error::Io)?;
        // A teller that is gone has panicked, which the scope will say.
        let mut note = move |line: &str| drop(sender.send(line.to_owned()));
        Ok(mavftp::connect(node, address, options, &mut note)?)
    })
}

fn tell(missing: &Receiver<String>, waiting: Waiting<'_>) {
    let mut line = missing.recv();
    while let Ok(now) = line {
        line = match missing.recv_timeout(TELL_AFTER) {
            Ok(next) => Ok(next),
            Err(RecvTimeoutError::Timeout) => {
                waiting(&now);
                missing.recv()
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
    }
}

pub(super) fn of_a_server(server: &FtpAddress, options: &Options) -> ftp::Options {
    let Options { mavlink, login, ftp } = options;
    let user = login.user.as_ref().or(server.user.as_ref());
    ftp::Options {
        user: user.cloned().unwrap_or_else(|| ftp::ANONYMOUS.into()),
        password: login.password.clone().unwrap_or_default(),
        login_advice: login.advice(),
        protection: match server.security {
            Security::Plain => Protection::Plain,
            Security::Implicit => Protection::Implicit,
            Security::Explicit => Protection::Explicit,
        },
        trust: ftp.trust.clone(),
        connections: ftp.connections,
        active: ftp.active,
        encoding: ftp.encoding,
        op_timeout: mavlink.op_timeout,
        ..ftp::Options::new(server.host.as_str(), server.port)
    }
}

pub(super) fn refused(address: &Address, error: remote::Error) -> Error {
    match error {
        remote::Error::Login(_) => Error::Login(format!("{address}: {error}")),
        error => Error::Server { place: address.to_string(), error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_is_told() {
        let (sender, missing) = crossbeam_channel::unbounded();
        let mut told = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| tell(&missing, &mut |line: &str| told.push(line.to_owned())));
            sender.send("nobody is heard".to_owned()).unwrap();
            sender.send("nobody answers".to_owned()).unwrap();
            thread::sleep(TELL_AFTER * 2);
            sender.send("nearly there".to_owned()).unwrap();
            drop(sender);
        });
        assert_eq!(told, ["nobody answers"]);
    }
}
