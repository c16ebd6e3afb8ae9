//! From arguments to commands, for the verbs that change or check what is on the far side.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::arguments::{
    CompareArguments, MkdirArguments, MvArguments, ProbeArguments, RmArguments, SeveralArguments,
};
use super::{Command, Log, log_of, place, source, usage};
use crate::commands::{Place, probe};
use crate::link::address::Address;
use crate::remote::RemotePath;

type Parsed = Result<(Log, Command), clap::Error>;

pub(super) fn rm(arguments: RmArguments) -> Parsed {
    let RmArguments { recursive, places } = arguments;
    let (log, place, more) = several(places)?;
    Ok((log, Command::Remove { place, more, recursive }))
}

pub(super) fn rmdir(arguments: SeveralArguments) -> Parsed {
    let (log, place, more) = several(arguments)?;
    Ok((log, Command::RemoveDirectory { place, more }))
}

pub(super) fn mkdir(arguments: MkdirArguments) -> Parsed {
    let MkdirArguments { parents, places } = arguments;
    let (log, place, more) = several(places)?;
    Ok((log, Command::MakeDirectory { place, more, parents }))
}

pub(super) fn crc(arguments: SeveralArguments) -> Parsed {
    let (log, place, more) = several(arguments)?;
    Ok((log, Command::Checksum { place, more }))
}

pub(super) fn mv(arguments: MvArguments) -> Parsed {
    let MvArguments { place: old, to, far, log } = arguments;
    let log = log_of(log);
    let new = further(&old, &to)?;
    let place = place(source(&old)?, far, &log)?;
    let to_directory = to.as_bytes().ends_with(b"/");
    Ok((log, Command::Rename { place, to: new, to_directory }))
}

pub(super) fn compare(arguments: CompareArguments) -> Parsed {
    let CompareArguments { local, place: there, far, log } = arguments;
    let log = log_of(log);
    let place = place(source(&there)?, far, &log)?;
    Ok((log, Command::Compare { local, place }))
}

pub(super) fn probe(arguments: ProbeArguments) -> Parsed {
    let ProbeArguments { source: given, json, far, log } = arguments;
    let log = log_of(log);
    let place = place(source(&given)?, far, &log)?;
    if !place.path.is_root() && !matches!(place.address, Address::Ftp(_)) {
        let address = &place.address;
        return Err(usage::error(format!(
            "probe looks at all that is there, not at a place; write: mavftp-mount probe {address}"
        )));
    }
    Ok((log, Command::Probe(probe::Options { place, json })))
}

/// Places on one far side, each named.
fn several(arguments: SeveralArguments) -> Result<(Log, Place, Vec<RemotePath>), clap::Error> {
    let SeveralArguments { place: first, more, far, log } = arguments;
    let log = log_of(log);
    let more: Result<Vec<RemotePath>, _> = more.iter().map(|text| further(&first, text)).collect();
    let place = place(source(&first)?, far, &log)?;
    let more = more?;
    if place.path.is_root() {
        return Err(usage::error(format!("name the place as well: {}#/path", place.address)));
    }
    Ok((log, place, more))
}

/// A place on the far side that `first` names: `/path`, `#/path`, or the whole once more.
pub(super) fn further(first: &OsStr, text: &OsString) -> Result<RemotePath, clap::Error> {
    let bytes = text.as_bytes();
    let source = first.as_bytes().split(|byte| *byte == b'#').next().unwrap_or_default();
    let path = match bytes.strip_prefix(source).filter(|rest| rest.starts_with(b"#")) {
        Some(rest) => &rest[1..],
        None => bytes.strip_prefix(b"#").unwrap_or(bytes),
    };
    let shown = text.display();
    if !path.starts_with(b"/") {
        return Err(usage::error(format!(
            "{shown} is not a place on the same vehicle; write it as /path"
        )));
    }
    RemotePath::parse(path).map_err(|error| usage::error(format!("{shown}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_place_is_a_path_with_or_without_its_source() {
        let first = OsStr::new("udp:14550#/a");
        for spelled in ["/b/c", "#/b/c", "udp:14550#/b/c"] {
            let path = further(first, &spelled.into()).unwrap();
            assert_eq!(path.as_bytes(), b"/b/c");
        }
        for wrong in ["b", "udp:14551#/b", "", "/../b"] {
            assert!(further(first, &wrong.into()).is_err(), "{wrong}");
        }
    }
}
