//! The control connection beside the library, which asks one thing at a time: several commands in one
//! flight, and their replies. Blocks. Must not know what is asked, nor when the library is at rest.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use suppaftp::types::Response;
use suppaftp::{FtpError, FtpResult, Status};

use super::charset::bytes;
use super::{replies, tls};

/// Longest reply.
const REPLY_BYTES_MAX: usize = 64 << 10;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 10;
/// What stands twice where it is meant once (RFC 854).
const TELNET_COMMAND: u8 = 0xFF;

/// The bytes of a control connection. What was read of it belongs to the replies that are owed, so
/// that the library finds nothing missing when there is none.
pub struct Control {
    line: Line,
    unread: Vec<u8>,
}

/// What carries them.
pub enum Line {
    /// A plain connection.
    Plain(TcpStream),
    /// A protected one.
    Protected(tls::Tls),
}

impl Control {
    /// The side door of a connection.
    pub fn new(line: Line) -> Control {
        Control { line, unread: Vec::new() }
    }

    /// Sends these commands at once. A path in them comes from
    /// [`Charset::command_text`](super::charset::Charset::command_text), which lets no line break pass.
    pub fn send(&mut self, commands: &[String]) -> io::Result<()> {
        let mut flight = Vec::new();
        for command in commands {
            for byte in bytes(command) {
                flight.push(byte);
                if byte == TELNET_COMMAND {
                    flight.push(byte);
                }
            }
            flight.extend_from_slice(b"\r\n");
        }
        match &mut self.line {
            Line::Plain(socket) => socket.write_all(&flight),
            Line::Protected(tls) => tls.write_all(&flight).and_then(|()| tls.flush()),
        }
    }

    /// The next reply, whatever it is.
    pub fn reply(&mut self) -> FtpResult<Response> {
        let (mut body, mut is_first) = (Vec::new(), true);
        loop {
            let line = self.next_line(body.len())?;
            body.extend_from_slice(&line);
            let is_coded = line.len() >= 4 && line[..3].iter().all(u8::is_ascii_digit);
            if is_first && !is_coded {
                return Err(FtpError::BadResponse);
            }
            is_first = false;
            // The last line of several begins with a code and a space.
            if is_coded && line[3] != b'-' {
                let reply = Response::new(Status::Unknown, body);
                return Ok(reply);
            }
        }
    }

    /// The next reply, which is to be one of these.
    pub fn expect(&mut self, codes: &[u32]) -> FtpResult<Response> {
        let reply = self.reply()?;
        match codes.contains(&replies::code(&reply)) {
            true => Ok(reply),
            false => Err(FtpError::UnexpectedResponse(reply)),
        }
    }

    /// What protects it, if anything: a version of TLS and a cipher suite.
    pub fn protection(&self) -> Option<(String, String)> {
        match &self.line {
            Line::Plain(_) => None,
            Line::Protected(tls) => tls.protection(),
        }
    }

    /// Whether nothing came that nobody has asked for.
    pub fn is_drained(&self) -> bool {
        self.unread.is_empty()
    }

    fn next_line(&mut self, before: usize) -> FtpResult<Vec<u8>> {
        let mut piece = [0; PIECE_BYTES];
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                return Ok(self.unread.drain(..=end).collect());
            }
            if before + self.unread.len() > REPLY_BYTES_MAX {
                return Err(FtpError::BadResponse);
            }
            let read = match &mut self.line {
                Line::Plain(socket) => socket.read(&mut piece),
                Line::Protected(tls) => tls.read(&mut piece),
            };
            match read {
                Ok(0) => {
                    return Err(FtpError::ConnectionError(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(count) => self.unread.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FtpError::ConnectionError(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Control, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        (Control::new(Line::Plain(near)), far)
    }

    #[test]
    fn replies_of_one_flight_are_taken_one_by_one() {
        let (mut control, mut far) = pair();
        far.write_all(b"213 5\r\n227-one\r\n 227 inside\r\n227 end\r\n350 go on\r\n").unwrap();
        assert_eq!(replies::code(&control.reply().unwrap()), 213);
        assert_eq!(control.expect(&[227]).unwrap().body.len(), 31);
        assert!(!control.is_drained());
        assert!(matches!(control.expect(&[250]), Err(FtpError::UnexpectedResponse(_))));
        assert!(control.is_drained());
    }

    #[test]
    fn what_is_no_reply_and_the_end_of_the_connection_are_errors() {
        let (mut control, mut far) = pair();
        far.write_all(b"hello\r\n226").unwrap();
        drop(far);
        assert!(matches!(control.reply(), Err(FtpError::BadResponse)));
        assert!(matches!(control.reply(), Err(FtpError::ConnectionError(_))));
    }

    #[test]
    fn a_reply_without_an_end_is_not_read_for_ever() {
        let (mut control, mut far) = pair();
        let writer = std::thread::spawn(move || while far.write_all(&[b'2'; 4096]).is_ok() {});
        assert!(matches!(control.reply(), Err(FtpError::BadResponse)));
        drop(control);
        writer.join().unwrap();
    }
}
