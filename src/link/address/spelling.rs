//! The table of spellings: grammar, help text and parser alike.

use super::argument::{device, endpoint, local, login, short_device};
use super::{Address, AddressError, Security};

/// A row: how an address begins, what follows, what that means.
struct Spelling {
    /// Its beginning. One that ends with a colon may be followed by `//`.
    lead: &'static str,
    /// The rest, for people.
    rest: &'static str,
    meaning: &'static str,
    /// Parses the rest; the error says what is wrong with it.
    parse: fn(&str) -> Result<Address, Fault>,
}

/// What is wrong with the rest of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Reason(&'static str),
    Password,
}

/// The meaning of a second spelling, which stands below the first.
const THE_SAME: &str = "the same";

const SPELLINGS: &[Spelling] = &[
    Spelling {
        lead: "udp:",
        rest: "[HOST:]PORT",
        meaning: "listen, as ground stations do",
        parse: |rest| local(rest).map(|(host, port)| Address::UdpListen { host, port }),
    },
    Spelling {
        lead: "udpin:",
        rest: "[HOST:]PORT",
        meaning: THE_SAME,
        parse: |rest| local(rest).map(|(host, port)| Address::UdpListen { host, port }),
    },
    Spelling {
        lead: "udpout:",
        rest: "HOST:PORT",
        meaning: "send first, from one local port",
        parse: |rest| endpoint(rest).map(Address::UdpOut),
    },
    Spelling {
        lead: "udpbcast:",
        rest: "HOST:PORT",
        meaning: "send to everybody on a network, then to who answers",
        parse: |rest| endpoint(rest).map(Address::UdpBroadcast),
    },
    Spelling {
        lead: "tcp:",
        rest: "HOST:PORT",
        meaning: "connect, and again when that breaks",
        parse: |rest| endpoint(rest).map(Address::TcpOut),
    },
    Spelling {
        lead: "tcpout:",
        rest: "HOST:PORT",
        meaning: THE_SAME,
        parse: |rest| endpoint(rest).map(Address::TcpOut),
    },
    Spelling {
        lead: "tcpin:",
        rest: "[HOST:]PORT",
        meaning: "wait for connections, several at a time",
        parse: |rest| local(rest).map(|(host, port)| Address::TcpListen { host, port }),
    },
    Spelling {
        lead: "serial:",
        rest: "DEVICE[:BAUD]",
        meaning: "a serial line or USB, 57600 baud by default",
        parse: device,
    },
    Spelling { lead: "/dev/", rest: "NAME[,BAUD]", meaning: THE_SAME, parse: short_device },
    Spelling {
        lead: "ftp://",
        rest: "[USER@]HOST[:PORT][/PATH]",
        meaning: "an FTP server, unprotected",
        parse: |rest| login(rest, Security::Plain).map(Address::Ftp),
    },
    Spelling {
        lead: "ftps://",
        rest: "[USER@]HOST[:PORT][/PATH]",
        meaning: "FTP, TLS from the start",
        parse: |rest| login(rest, Security::Implicit).map(Address::Ftp),
    },
    Spelling {
        lead: "ftpes://",
        rest: "[USER@]HOST[:PORT][/PATH]",
        meaning: "FTP, TLS after AUTH TLS",
        parse: |rest| login(rest, Security::Explicit).map(Address::Ftp),
    },
];

/// The spellings and their meanings, a line each, for the command line's help.
pub fn help() -> String {
    let width = SPELLINGS.iter().map(|row| form(row).len()).max().unwrap_or(0);
    let lines = SPELLINGS.iter().map(|row| format!("  {:width$}  {}\n", form(row), row.meaning));
    lines.chain([NOTES.to_string()]).collect()
}

const NOTES: &str = "
  Without HOST, udp: listens on all IPv4 addresses. IPv6 addresses stand in
  brackets. What has a colon may be a URL as well: udpin://0.0.0.0:14550.
  SOURCE#/path names a place on the far side.
";

/// Those that people mostly mean, in one line, for errors.
pub(super) fn common() -> String {
    let rows = SPELLINGS.iter().filter(|row| row.meaning != THE_SAME);
    rows.map(form).collect::<Vec<_>>().join(" or ")
}

/// Finds the row and lets it parse the rest.
pub(super) fn parse(text: &str) -> Result<Address, AddressError> {
    let found = SPELLINGS.iter().find_map(|row| Some((row, rest_after(row.lead, text)?)));
    let (row, rest) = found.ok_or(AddressError::Unknown)?;
    (row.parse)(rest).map_err(|fault| match fault {
        Fault::Reason(reason) => AddressError::Argument { form: form(row), reason },
        Fault::Password => AddressError::Password,
    })
}

fn form(row: &Spelling) -> String {
    format!("{}{}", row.lead, row.rest)
}

fn rest_after<'a>(lead: &str, text: &'a str) -> Option<&'a str> {
    let (beginning, rest) = text.split_at_checked(lead.len())?;
    match beginning == lead {
        false => None,
        true if lead.ends_with(':') => Some(rest.strip_prefix("//").unwrap_or(rest)),
        true => Some(rest),
    }
}
