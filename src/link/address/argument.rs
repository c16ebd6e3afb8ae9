//! What follows the beginning of an address: endpoints, devices, logins.

use std::fmt;
use std::net::Ipv6Addr;

use super::spelling::Fault;
use super::{Address, BAUD_DEFAULT, Endpoint, FtpAddress, Host, Security};

/// `[HOST:]PORT` of this machine; port 0 is a free one.
pub(super) fn local(text: &str) -> Result<(Option<Host>, u16), Fault> {
    match split_port(text)? {
        ("", port) => Ok((None, port)),
        (host, port) => Ok((Some(parse_host(host)?), port)),
    }
}

/// `HOST:PORT` of another.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, Fault> {
    let (host, port) = split_port(text)?;
    if port == 0 {
        return Err(Fault::Reason("port 0 cannot be reached"));
    }
    Ok(Endpoint { host: parse_host(host)?, port })
}

/// `DEVICE[:BAUD]` or `DEVICE[,BAUD]`.
pub(super) fn device(text: &str) -> Result<Address, Fault> {
    // Device names may hold colons (/dev/serial/by-path/…-usb-0:2:1.0): only digits are a speed.
    let (device, baud) = match text.rsplit_once([':', ',']) {
        Some((device, baud)) if is_number(baud) => match baud.parse() {
            Ok(baud @ 1..) => (device, baud),
            Ok(0) | Err(_) => return Err(Fault::Reason("that is no speed")),
        },
        Some(_) | None => (text, BAUD_DEFAULT),
    };
    let name = device.trim_start_matches('/');
    if name.len() == device.len() || name.is_empty() {
        return Err(Fault::Reason("the device begins with a slash, as /dev/ttyUSB0"));
    }
    if device.contains(['#', ',', '\0']) {
        return Err(Fault::Reason("a number follows the comma, as /dev/ttyACM0,115200"));
    }
    // One slash: with two, it would look like the beginning of a URL.
    Ok(Address::Serial { device: format!("/{name}"), baud })
}

/// What follows `/dev/`.
pub(super) fn short_device(text: &str) -> Result<Address, Fault> {
    device(&format!("/dev/{text}"))
}

/// `[USER@]HOST[:PORT][/PATH]`.
pub(super) fn login(text: &str, security: Security) -> Result<FtpAddress, Fault> {
    let slash = text.find('/').unwrap_or(text.len());
    let (authority, path) = text.split_at(slash);
    let (user, server) = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => return Err(Fault::Password),
        Some((user, server)) => (Some(parse_user(user)?), server),
        // A password with a slash in it: user:pass/word@host.
        None if path.contains('@') && has_port(authority) && split_port(authority).is_err() => {
            return Err(Fault::Password);
        }
        None => (None, authority),
    };
    let (host, port) = match has_port(server) {
        true => split_port(server)?,
        false => (server, security.default_port()),
    };
    if port == 0 {
        return Err(Fault::Reason("port 0 cannot be reached"));
    }
    if path.contains('#') {
        return Err(Fault::Reason("write a # in a path as %23"));
    }
    let path = percent_decoded(path)?;
    Ok(FtpAddress { security, user, host: parse_host(host)?, port, path })
}

/// Writes bytes with everything escaped that is not plain in a URL, or in `plain`.
pub(super) fn write_percent(f: &mut fmt::Formatter<'_>, bytes: &[u8], plain: &[u8]) -> fmt::Result {
    for &byte in bytes {
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if unreserved || plain.contains(&byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

/// Splits at the last colon; a text without one is a port alone.
fn split_port(text: &str) -> Result<(&str, u16), Fault> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    if !is_number(port) {
        return Err(Fault::Reason("the port is missing or no number"));
    }
    let port = port.parse().map_err(|_| Fault::Reason("ports end at 65535"))?;
    Ok((host, port))
}

fn has_port(server: &str) -> bool {
    server.rfind(':') > server.rfind(']')
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn parse_host(text: &str) -> Result<Host, Fault> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(Fault::Reason("a bracket is not closed"))?;
        let (address, zone) = inner.split_once('%').unwrap_or((inner, "lo"));
        let known = address.parse::<Ipv6Addr>().is_ok() && is_plain(zone);
        return match known {
            true => Ok(Host(inner.to_string())),
            false => Err(Fault::Reason("what stands in brackets is no IPv6 address")),
        };
    }
    match text {
        "" => Err(Fault::Reason("the host is missing")),
        _ if text.contains(':') => Err(Fault::Reason("IPv6 addresses stand in brackets")),
        _ if is_plain(text) => Ok(Host(text.to_string())),
        _ => Err(Fault::Reason("that is no host name")),
    }
}

fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

/// Digits only: `parse` alone would take `+1`.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_user(text: &str) -> Result<String, Fault> {
    let user = String::from_utf8(percent_decoded(text)?)
        .map_err(|_| Fault::Reason("the user's name is not UTF-8"))?;
    match user.as_str() {
        "" => Err(Fault::Reason("the user's name is missing")),
        // It becomes part of a line that the server reads as a command.
        _ if user.contains(char::is_control) => Err(Fault::Reason("that is no user's name")),
        _ => Ok(user),
    }
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or(ESCAPE)?;
        let digits = std::str::from_utf8(digits).map_err(|_| ESCAPE)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(ESCAPE);
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| ESCAPE)?);
        rest = tail;
    }
    Ok(bytes)
}

const ESCAPE: Fault = Fault::Reason("two hexadecimal digits follow a %");
