//! One direction of a connection: what is read is written so much later, however much it is. Knows no
//! connections but the two ends it is given.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::announced;

const PIECE_BYTES: usize = 64 * 1024;

/// What passes.
pub enum Passage {
    /// Anything, unchanged.
    Data,
    /// A server's replies: the ports they announce are replaced by ports that are as far away.
    Control(Duration),
}

/// What came, and when. No bytes: the end of the stream.
type Piece = (Instant, Vec<u8>);

/// Takes what comes until it ends, and hands it on with the time. Nothing but memory bounds how much.
pub fn read(mut from: TcpStream, sender: &Sender<Piece>, passage: Passage) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut lines = Vec::new();
    loop {
        let count = match from.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A connection that was reset ends here, too.
            read => read.unwrap_or(0),
        };
        let came = Instant::now();
        let piece = match passage {
            Passage::Control(delay) if count > 0 => {
                lines.extend_from_slice(&buffer[..count]);
                announced::replaced(&mut lines, delay)?
            }
            // A last line without an end.
            Passage::Control(_) if !lines.is_empty() => std::mem::take(&mut lines),
            Passage::Control(_) | Passage::Data => buffer[..count].to_vec(),
        };
        if sender.send((came, piece)).is_err() || count == 0 {
            return Ok(());
        }
    }
}

/// Writes each piece when its delay is over, and ends the stream after the last.
pub fn write(mut to: TcpStream, receiver: Receiver<Piece>, delay: Duration) -> io::Result<()> {
    for (came, piece) in receiver {
        sleep_until(came + delay);
        to.write_all(&piece)?;
    }
    to.shutdown(Shutdown::Write)
}

/// Sleeps until then, if that is to come.
pub fn sleep_until(then: Instant) {
    thread::sleep(then.saturating_duration_since(Instant::now()));
}
