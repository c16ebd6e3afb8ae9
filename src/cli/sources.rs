//! SOURCE and its company among the arguments: what people write there instead, and what they are
//! told.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::arguments::{self, MOUNT_FORM};
use crate::link::address::{Address, AddressError, Source};

/// Commands that are not built yet; a mount does what most of them are for.
const NOT_BUILT: [&str; 1] = ["status"];

/// The arguments of a mount, both there and nothing else.
pub(super) fn of_a_mount(
    source: Option<OsString>,
    mountpoint: Option<OsString>,
    surplus: &[OsString],
) -> Result<(Source, PathBuf), String> {
    let Some(source) = source else {
        return Err(format!(
            "SOURCE and MOUNTPOINT are missing; write: {MOUNT_FORM}, or see mavftp-mount --help"
        ));
    };
    // What is wrong with the first is of more use than what is wrong with the rest.
    let parsed = match (parse(&source), &mountpoint) {
        (Err(_), Some(other)) if Source::parse(other.as_bytes()).is_ok() && is_path(&source) => {
            let (first, second) = (source.display(), other.display());
            Err(format!("the source comes first; write: mavftp-mount {second} {first}"))
        }
        (parsed, _) => parsed,
    }?;
    let Some(mountpoint) = mountpoint else {
        return Err(format!("MOUNTPOINT is missing; write: {MOUNT_FORM}"));
    };
    match surplus.first() {
        None => Ok((parsed, mountpoint.into())),
        Some(surplus) => {
            Err(format!("{} is one argument too many; write: {MOUNT_FORM}", surplus.display()))
        }
    }
}

/// Where a server is reached, which is no place on a far side.
pub(super) fn endpoint(text: &OsStr) -> Result<Address, String> {
    let Source { address, path } = parse(text)?;
    if matches!(address, Address::Ftp(_)) {
        return Err(
            "ENDPOINT is a MAVLink link, such as udp:14550; nothing is served over FTP".into()
        );
    }
    if !path.is_empty() {
        return Err("an endpoint has no #/path; name the directory instead".into());
    }
    Ok(address)
}

/// A vehicle or server, and perhaps a place there.
pub(super) fn parse(text: &OsStr) -> Result<Source, String> {
    Source::parse(text.as_bytes()).map_err(|error| refusal(text, &error))
}

fn refusal(text: &OsStr, error: &AddressError) -> String {
    let shown = text.display();
    // What has a user's name in it may have a password in it too.
    if text.as_bytes().contains(&b'@') {
        return format!("SOURCE: {error}");
    }
    let word = text.to_str().unwrap_or_default();
    if arguments::command().get_subcommands().any(|verb| word == verb.get_name()) {
        return format!("a command comes first: mavftp-mount {shown} [OPTIONS] …");
    }
    match word {
        "help" => "write: mavftp-mount --help".into(),
        "umount" | "unmount" => "write: umount MOUNTPOINT".into(),
        _ if NOT_BUILT.contains(&word) => {
            format!(
                "the command {shown} is not built yet; mavftp-mount --help shows those that are"
            )
        }
        _ if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            format!("{shown} is neither a command nor an address; mavftp-mount --help shows both")
        }
        _ if *error == AddressError::Unknown => {
            format!("{shown}: {error}; mavftp-mount --help shows all kinds")
        }
        _ => format!("{shown}: {error}"),
    }
}

/// Whether it looks like a file of this machine, and like nothing else.
fn is_path(text: &OsStr) -> bool {
    let bytes = text.as_bytes();
    bytes.contains(&b'/') && !bytes.contains(&b':')
}
