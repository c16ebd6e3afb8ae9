//! What a service manager is told by sd_notify(3)'s protocol: a datagram to the socket that
//! `$NOTIFY_SOCKET` names. Must not know what is mounted.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the socket: a path, or `@` and a name that lies in no directory.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The way to the service manager, if there is one. Its silence is no reason not to mount.
pub(super) struct Notifier {
    way: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// To nobody.
    pub(super) fn none() -> Notifier {
        Notifier { way: None }
    }

    /// To the one who started us.
    pub(super) fn from_environment() -> Notifier {
        let Some(name) = std::env::var_os(SOCKET) else { return Notifier::none() };
        match way(&name) {
            Ok(way) => Notifier { way: Some(way) },
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                Notifier::none()
            }
        }
    }

    /// The mount answers; `status` is what `systemctl status` shows.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// What is being waited for.
    pub(super) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// The mount ends; changes may still be sent.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Sending what is left, and unmounting");
    }

    fn send(&self, state: &str) {
        let Some((socket, address)) = &self.way else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

fn way(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that is busy must not hold up a mount.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_socket_is_reached_by_its_path_and_by_its_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("mavftp-mount-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into()),
        ] {
            let notifier = Notifier { way: Some(way(&name).unwrap()) };
            notifier.ready("udp:1\nmounted");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=udp:1 mounted");
            notifier.stopping();
            assert!(heard(&socket).starts_with("STOPPING=1\n"));
        }
    }

    #[test]
    fn a_socket_that_is_gone_hurts_nobody() {
        let notifier = Notifier { way: Some(way(OsStr::new("/none/socket")).unwrap()) };
        notifier.ready("here");
        Notifier::none().ready("here");
    }
}
