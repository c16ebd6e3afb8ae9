//! From arguments to commands, for `get` and `put`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::arguments::{FarArguments, GetArguments, PutArguments};
use super::changes::further;
use super::{Command, LOSS_PATIENCE, Log, log_of, place, saving, source, usage};
use crate::commands::{Place, get, put};
use crate::remote::RemotePath;

type Parsed = Result<(Log, Command), clap::Error>;

pub(super) fn get(arguments: GetArguments) -> Parsed {
    let GetArguments { place, more, recursive, resume, far, log } = arguments;
    let log = log_of(log);
    let (more, local) = apart(&place, &more)?;
    let place = patient(&place, far, &log)?;
    if place.path.is_root() && !recursive {
        return Err(usage::error(format!(
            "name the file as well: {0}#/path; mavftp-mount ls {0} shows what is there",
            place.address
        )));
    }
    Ok((log, Command::Get(get::Options { place, more, local, recursive, resume })))
}

pub(super) fn put(arguments: PutArguments) -> Parsed {
    let PutArguments { locals, place, recursive, resume, upload, far, log } = arguments;
    let log = log_of(log);
    let place = patient(&place, far, &log)?;
    let saving = saving(&upload);
    Ok((log, Command::Put(put::Options { locals, place, saving, recursive, resume })))
}

/// The place of a verb that lives through a reboot of the vehicle, unless it is told not to.
fn patient(text: &OsStr, mut far: FarArguments, log: &Log) -> Result<Place, clap::Error> {
    far.on_link_loss.get_or_insert(LOSS_PATIENCE);
    place(source(text)?, far, log)
}

/// What follows the first place: further ones, which have a `#`, and at the end what has none.
fn apart(
    first: &OsStr,
    rest: &[OsString],
) -> Result<(Vec<RemotePath>, Option<PathBuf>), clap::Error> {
    let is_place = |text: &OsString| {
        let bytes = text.as_bytes();
        let source = first.as_bytes().split(|byte| *byte == b'#').next().unwrap_or_default();
        let beyond = bytes.strip_prefix(source).unwrap_or(bytes);
        bytes.starts_with(b"#/") || beyond.starts_with(b"#")
    };
    let (local, places) = match rest.split_last() {
        Some((last, before)) if !is_place(last) => (Some(PathBuf::from(last)), before),
        Some(_) | None => (None, rest),
    };
    if let Some(wrong) = places.iter().find(|text| !is_place(text)) {
        return Err(usage::error(format!(
            "{} is one argument too many; a further file on the vehicle is written as #/path",
            wrong.display()
        )));
    }
    let more: Result<Vec<RemotePath>, _> = places.iter().map(|text| further(first, text)).collect();
    Ok((more?, local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_the_local_name_are_told_apart() {
        let first = OsStr::new("udp:14550#/a");
        let split = |rest: &[&str]| {
            let rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
            apart(first, &rest).map(|(more, local)| {
                let more: Vec<_> = more.iter().map(RemotePath::to_string).collect();
                (more.join(" "), local.map(|local| local.display().to_string()))
            })
        };
        assert_eq!(split(&[]).unwrap(), (String::new(), None));
        assert_eq!(split(&["."]).unwrap(), (String::new(), Some(".".into())));
        assert_eq!(
            split(&["#/b", "udp:14550#/c", "/tmp"]).unwrap(),
            ("/b /c".into(), Some("/tmp".into()))
        );
        assert_eq!(split(&["#/b"]).unwrap(), ("/b".into(), None));
        assert!(split(&["here", "there"]).is_err());
    }
}
