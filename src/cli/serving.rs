//! From the arguments of the verb serve to what is served, where and as whom.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::arguments::{SERVE_FORM, ServeArguments, ServedArguments};
use super::{sources, usage};
use crate::commands::serve::Options;
use crate::link::address::{Address, Source};
use crate::serve;

/// The options, or what is wrong with the arguments.
pub(super) fn options(arguments: ServeArguments, quiet: bool) -> Result<Options, clap::Error> {
    let ServeArguments { places, root_file, served, system_id, .. } = arguments;
    let ServedArguments { writable, hide, max_bytes } = served.checked()?;
    let (endpoints, directory) = places_of(&places, root_file.as_deref()).map_err(usage::error)?;
    let usual = match arguments.vehicle_type {
        serve::TYPE_CAMERA => serve::CAMERA_COMPONENT_ID,
        _ => serve::COMPONENT_ID,
    };
    let mut server = crate::mavftp::server::Options::default();
    if arguments.max_rate.is_some() {
        server.max_rate = arguments.max_rate;
    }
    let serving = serve::Options {
        endpoints,
        directory,
        writable,
        hide,
        max_bytes,
        system_id,
        component_id: arguments.component_id.unwrap_or(usual),
        vehicle_type: arguments.vehicle_type,
        sign_key: arguments.sign.key()?,
        server,
    };
    Ok(Options { serving, root_file, quiet })
}

/// The endpoints and the directory, which with a root file is not named here.
fn places_of(
    places: &[OsString],
    root_file: Option<&Path>,
) -> Result<(Vec<Address>, PathBuf), String> {
    let (endpoints, directory) = match (places.split_last(), root_file) {
        (None, None) => {
            return Err(format!("ENDPOINT and DIRECTORY are missing; write: {SERVE_FORM}"));
        }
        (None, Some(_)) => {
            return Err(format!("ENDPOINT is missing; write: {SERVE_FORM}"));
        }
        (Some((last, [])), None) if is_path(last) => {
            return Err(format!("ENDPOINT is missing; write: {SERVE_FORM}"));
        }
        (Some((last, [first])), None) if is_endpoint(last) && is_path(first) => {
            let (first, last) = (first.display(), last.display());
            return Err(format!(
                "the directory comes last; write: mavftp-mount serve {last} {first}"
            ));
        }
        (Some((last, _)), None) if is_endpoint(last) => {
            return Err(format!("DIRECTORY is missing; write: {SERVE_FORM}"));
        }
        (Some((last, endpoints)), None) => (endpoints, PathBuf::from(last)),
        (Some((last, _)), Some(_)) if is_path(last) => {
            let last = last.display();
            return Err(format!(
                "the directory is named twice, by {last} and by --root-file; leave one out"
            ));
        }
        (Some(_), Some(file)) => (places, file.to_path_buf()),
    };
    let mut parsed: Vec<Address> = Vec::new();
    for endpoint in endpoints {
        let address = sources::endpoint(endpoint)?;
        // Each port 0 becomes another one.
        let any_port = matches!(
            address,
            Address::UdpListen { port: 0, .. } | Address::TcpListen { port: 0, .. }
        );
        if !any_port && parsed.contains(&address) {
            return Err(format!("the endpoint {address} is named twice"));
        }
        parsed.push(address);
    }
    Ok((parsed, directory))
}

/// Whether it is an address and looks like no path.
fn is_endpoint(text: &OsStr) -> bool {
    !text.as_bytes().starts_with(b"/") && Source::parse(text.as_bytes()).is_ok()
}

/// Whether it is no address, and so a directory.
fn is_path(text: &OsStr) -> bool {
    Source::parse(text.as_bytes()).is_err() && !text.as_bytes().contains(&b':')
}
