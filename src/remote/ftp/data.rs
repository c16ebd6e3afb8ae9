//! Data connections: who connects to whom, and what bounds them. Blocks. Must not know what is
//! transferred.
//!
//! Passive is the rule. The server is asked for a port only (EPSV; PASV where that is refused): the
//! data connection goes to the address of the control connection, whatever address PASV names. Behind a
//! router that address is the server's private one, or 0.0.0.0; and a server that is not honest could
//! lead us to a third computer by it.
//!
//! `--active` lets the server connect to us, for servers whose passive ports nobody reaches. Only the
//! address of the control connection is let in. The library looks every tenth of a second whether the
//! server has come, which is what each transfer may cost then.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use suppaftp::types::{ActivePeerCheck, FtpError, Response};
use suppaftp::{FtpResult, Mode, Status, TlsStream, TransferStream};

use super::login::Ftp;
use super::pool::Seat;
use super::session::set_timeouts;

/// What the socket of an upload may hold back. Bytes in it count as sent, so it bounds how far
/// progress runs ahead of the server.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// How a server is asked where it waits for a data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passive {
    /// EPSV (RFC 2428).
    Extended,
    /// PASV.
    Old,
}

impl Passive {
    /// The question.
    pub fn command(self) -> &'static str {
        match self {
            Passive::Extended => "EPSV",
            Passive::Old => "PASV",
        }
    }

    /// The code of its answer.
    pub fn code(self) -> u32 {
        match self {
            Passive::Extended => 229,
            Passive::Old => 227,
        }
    }

    /// The port in its answer.
    pub fn port(self, reply: &Response) -> Option<u16> {
        let text = String::from_utf8_lossy(reply.body.get(3..)?);
        let port = match self {
            Passive::Extended => {
                let inside = text.split_once('(')?.1;
                inside.split(inside.chars().next()?).nth(3)?.parse().ok()?
            }
            Passive::Old => {
                let parts = text.split(|char: char| !char.is_ascii_digit() && char != ',');
                let numbers = |part: &str| {
                    let numbers: Result<Vec<u8>, _> = part.split(',').map(str::parse).collect();
                    numbers.ok().filter(|numbers| numbers.len() == 6)
                };
                let numbers = parts.into_iter().find_map(numbers)?;
                u16::from_be_bytes([numbers[4], numbers[5]])
            }
        };
        (port != 0).then_some(port)
    }
}

/// Prepares a connection for transfers, before it is logged in. In active mode the server has
/// `patience` to come.
pub fn prepare(ftp: Ftp, active: bool, patience: Duration, seat: &Arc<Seat>) -> Ftp {
    let seat = seat.clone();
    let mut ftp = ftp.passive_stream_builder(move |address| dial(&seat, address));
    ftp.set_passive_nat_workaround(true);
    ftp.set_active_peer_check(ActivePeerCheck::ControlPeer);
    if active { ftp.active_mode(patience) } else { ftp }
}

/// Finds out, after the login, which way passive connections are opened; the answer holds as long as
/// the connection. PASV knows no IPv6.
pub fn choose_mode(ftp: &mut Ftp, active: bool) -> FtpResult<Option<Passive>> {
    if active {
        return Ok(None);
    }
    let is_ipv6 = ftp.get_ref().peer_addr().is_ok_and(|peer| peer.is_ipv6());
    let extended = is_ipv6 || offers_extended(ftp)?;
    let (mode, passive) = match extended {
        true => (Mode::ExtendedPassive, Passive::Extended),
        false => (Mode::Passive, Passive::Old),
    };
    ftp.set_mode(mode);
    Ok(Some(passive))
}

/// Takes a data connection that was opened under the bounds of the running operation. One that we have
/// dialled is there already.
pub fn take_up<T: TlsStream>(
    data: &TransferStream<T>,
    active: bool,
    seat: &Seat,
) -> io::Result<()> {
    if !active {
        return Ok(());
    }
    bound(data.get_ref().get_ref(), seat)
}

/// Connects for the running operation.
pub fn dial(seat: &Seat, address: SocketAddr) -> FtpResult<TcpStream> {
    let open = || {
        let data = TcpStream::connect_timeout(&address, seat.patience())?;
        match bound(&data, seat) {
            // Nobody wants it any more. Given up here, the connection would be out of step; a transfer
            // that ends before it begins is ended in order. But STOR would empty the file.
            Err(error) if is_given_up(&error) && !seat.is_uploading() => {
                data.shutdown(Shutdown::Both)?
            }
            bounded => bounded?,
        }
        Ok(data)
    };
    open().map_err(FtpError::ConnectionError)
}

fn is_given_up(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionAborted
}

/// From now on its waits end with the operation's patience, and its cancelling ends it.
pub fn bound(data: &TcpStream, seat: &Seat) -> io::Result<()> {
    set_timeouts(data, seat.patience())?;
    SockRef::from(data).set_send_buffer_size(SEND_BUFFER_BYTES)?;
    seat.adopt(data.try_clone()?)
}

fn offers_extended(ftp: &mut Ftp) -> FtpResult<bool> {
    match ftp.custom_command("EPSV", &[Status::ExtendedPassiveMode]) {
        Ok(_) => Ok(true),
        Err(FtpError::UnexpectedResponse(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(passive: Passive, text: &str) -> Option<u16> {
        passive.port(&Response::new(Status::Unknown, format!("{text}\r\n").into_bytes()))
    }

    #[test]
    fn the_port_of_an_answer_is_found_whatever_words_are_around_it() {
        for (text, expected) in [
            ("227 Entering Passive Mode (127,0,0,1,4,1).", Some(1025)),
            ("227 =127,0,0,1,4,1", Some(1025)),
            ("227 Entering Passive Mode (127,0,0,1,4,256).", None),
            ("227 Entering Passive Mode (127,0,0,1,0,0).", None),
            ("227 ok", None),
        ] {
            assert_eq!(port(Passive::Old, text), expected, "{text}");
        }
        for (text, expected) in [
            ("229 Entering Extended Passive Mode (|||1025|)", Some(1025)),
            ("229 there (!!!1025!)", Some(1025)),
            ("229 there (|||0|)", None),
            ("229 there (|||66000|)", None),
            ("229 there ()", None),
            ("229 there", None),
        ] {
            assert_eq!(port(Passive::Extended, text), expected, "{text}");
        }
    }
}
