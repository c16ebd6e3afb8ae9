//! The ports for data connections that a server announces in its replies (RFC 959, RFC 2428). Knows no
//! connection.

use std::io;
use std::time::Duration;

use crate::await_data;

/// Takes the whole lines off `pending`, each as the client shall see it: with ports of ours that are as
/// far away as the rest.
pub fn replaced(pending: &mut Vec<u8>, delay: Duration) -> io::Result<Vec<u8>> {
    let whole = pending.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let lines: Vec<u8> = pending.drain(..whole).collect();
    let mut out = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        if let Some(port) = passive(&text) {
            let [high, low] = await_data(port, delay)?.to_be_bytes();
            out.extend(format!("227 Passive (127,0,0,1,{high},{low}).\r\n").bytes());
        } else if let Some(port) = extended(&text) {
            out.extend(format!("229 Passive (|||{}|)\r\n", await_data(port, delay)?).bytes());
        } else {
            out.extend_from_slice(line);
        }
    }
    Ok(out)
}

/// Of `227 … (h1,h2,h3,h4,p1,p2)`; the server's address is known.
fn passive(line: &str) -> Option<u16> {
    let (_, rest) = line.strip_prefix("227 ")?.split_once('(')?;
    let (numbers, _) = rest.split_once(')')?;
    let numbers: Vec<u8> = numbers.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [_, _, _, _, high, low] = numbers[..] else { return None };
    Some(u16::from_be_bytes([high, low]))
}

/// Of `229 … (|||port|)`.
fn extended(line: &str) -> Option<u16> {
    let (_, rest) = line.strip_prefix("229 ")?.split_once("(|||")?;
    rest.split_once('|')?.0.parse().ok()
}
