//! The system's log for a mount in the background: datagrams to `/dev/log`, where journald, rsyslog
//! and others listen. Never waits for them, and says nothing where nobody listens. Must not know who
//! logs what.

use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

const SOCKET: &str = "/dev/log";
const NAME: &str = "mavftp-mount";
/// The facility of background programs, as syslog(3) counts.
const DAEMON: u8 = 3;
/// Longer ones are cut off by most who listen, in bytes.
const MESSAGE_MAX: usize = 2048;

/// Whether stderr is nobody's any more.
static IN_BACKGROUND: AtomicBool = AtomicBool::new(false);
static WAY: OnceLock<Option<UnixDatagram>> = OnceLock::new();

/// How serious a message is, as syslog(3) counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something failed.
    Error = 3,
    /// Something may be wrong.
    Warning = 4,
    /// Good to know.
    Information = 6,
    /// For the one who looks for a cause.
    Debug = 7,
}

/// From now on messages go to the system's log.
pub(super) fn begin() {
    IN_BACKGROUND.store(true, Ordering::Relaxed);
}

/// Whether messages go to the system's log.
pub fn is_wanted() -> bool {
    IN_BACKGROUND.load(Ordering::Relaxed)
}

/// Sends a message; it is lost where nobody takes it at once.
pub fn send(severity: Severity, message: &str) {
    let way = WAY.get_or_init(|| {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(socket)
    });
    if let Some(socket) = way {
        // By name each time: who listens may have been started anew.
        let _ = socket.send_to(&datagram(severity, message), SOCKET);
    }
}

/// As syslog(3) writes it, without the time: who listens knows it as well.
fn datagram(severity: Severity, message: &str) -> Vec<u8> {
    let priority = DAEMON << 3 | severity as u8;
    let process = std::process::id();
    let line = message.replace('\n', " ");
    let mut text = format!("<{priority}>{NAME}[{process}]: {line}");
    let whole_letters = |at: &usize| text.is_char_boundary(*at);
    let end = (0..=MESSAGE_MAX.min(text.len())).rev().find(whole_letters).unwrap_or(0);
    text.truncate(end);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_with_its_priority_and_our_name() {
        let process = std::process::id();
        let text = String::from_utf8(datagram(Severity::Warning, "a\nb")).unwrap();
        assert_eq!(text, format!("<28>mavftp-mount[{process}]: a b"));
    }

    #[test]
    fn a_long_message_is_cut_between_letters() {
        let text = datagram(Severity::Error, &"ü".repeat(MESSAGE_MAX));
        assert!((MESSAGE_MAX - 1..=MESSAGE_MAX).contains(&text.len()));
        assert!(String::from_utf8(text).is_ok());
    }
}
