//! The command line: arguments become plain option structs, once, at the door. A contract: what is
//! here is not renamed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;

use crate::api::{self, Login};
use crate::commands::Place;
use crate::fuse::Access;
use crate::link::address::{Address, Source};
use crate::mount;
use crate::remote::RemotePath;
use crate::remote::mavftp;
use crate::serve;

mod arguments;
mod logging;
mod mount_options;
#[cfg(test)]
mod tests;
mod values;

use arguments::{FarArguments, LogArguments, MountArguments, Verb};

/// Holds the FTP password where no file is named.
const PASSWORD_VARIABLE: &str = "MAVFTP_PASSWORD";

/// What the user wants.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// How much is logged, and where.
    pub log: Log,
    /// What is to be done.
    pub command: Command,
}

/// How much is logged, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// Each `-v` counts one.
    pub verbose: u8,
    /// `-q`: errors only.
    pub quiet: bool,
    /// Instead of stderr.
    pub file: Option<PathBuf>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Command {
    /// Mount.
    Mount(Box<mount::Options>),
    /// Serve a directory.
    Serve(serve::Options),
    /// List a directory.
    List {
        /// The directory, or a file.
        place: Place,
        /// Sizes and times too.
        long: bool,
    },
    /// Print a file.
    Cat {
        /// The file.
        place: Place,
    },
    /// Copy a file here.
    Get {
        /// The file.
        place: Place,
        /// The local name or directory.
        local: Option<PathBuf>,
    },
    /// Copy a file there.
    Put {
        /// The local file.
        local: PathBuf,
        /// The name or directory there.
        place: Place,
    },
}

/// Parses the arguments, the program's name first.
///
/// # Errors
/// A usage error, or the text of `--help` and `--version`; `exit()` prints it and leaves with the
/// right code.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut given: Vec<OsString> = arguments.into_iter().collect();
    let first = arguments::parse(&given)?;
    let expanded = match first.verb {
        Some(_) => Vec::new(),
        None => mount_options::expand(&first.mount.options).map_err(usage)?,
    };
    let parsed = if expanded.is_empty() {
        first
    } else {
        // Before everything else, so that an option given by its own name wins.
        given.splice(1..1, expanded);
        arguments::parse(&given)?
    };
    match parsed.verb {
        None => mount_invocation(parsed.mount),
        Some(verb) => verb_invocation(verb),
    }
}

fn mount_invocation(arguments: MountArguments) -> Result<Invocation, clap::Error> {
    let log = log(&arguments.log, arguments.log_file.clone());
    // Both are there: clap requires them where there is no verb.
    let source = arguments.source.unwrap_or_default();
    let mountpoint = arguments.mountpoint.unwrap_or_default();
    let place = place(&source, arguments.far)?;
    let options = mount::Options {
        address: place.address,
        path: place.path,
        mountpoint,
        connection: place.options,
        foreground: arguments.foreground,
        log_file: arguments.log_file,
        read_only: arguments.read_only,
        access: match (arguments.allow_other, arguments.allow_root) {
            (true, _) => Access::Everyone,
            (false, true) => Access::OwnerAndRoot,
            (false, false) => Access::Owner,
        },
        nonempty: arguments.nonempty,
        uid: arguments.uid,
        gid: arguments.gid,
        umask: arguments.umask,
        cache_bytes: arguments.cache_size,
        directory_time: arguments.dir_cache_time,
    };
    Ok(Invocation { log, command: Command::Mount(Box::new(options)) })
}

fn verb_invocation(verb: Verb) -> Result<Invocation, clap::Error> {
    let (logging, command) = match verb {
        Verb::Serve { endpoint, directory, writable, system_id, component_id, log } => {
            let source = source(&endpoint)?;
            if !source.path.is_empty() {
                return Err(usage("an endpoint has no #/path; name the directory instead".into()));
            }
            let options = serve::Options {
                writable,
                system_id,
                component_id,
                ..serve::Options::new(source.address, directory)
            };
            (log, Command::Serve(options))
        }
        Verb::Ls { place: at, long, far, log } => {
            (log, Command::List { place: place(&at.place, far)?, long })
        }
        Verb::Cat { place: at, far, log } => (log, Command::Cat { place: place(&at.place, far)? }),
        Verb::Get { place: at, local, far, log } => {
            (log, Command::Get { place: place(&at.place, far)?, local })
        }
        Verb::Put { local, place: at, far, log } => {
            (log, Command::Put { local, place: place(&at.place, far)? })
        }
    };
    Ok(Invocation { log: log(&logging, None), command })
}

fn log(arguments: &LogArguments, file: Option<PathBuf>) -> Log {
    Log { verbose: arguments.verbose, quiet: arguments.quiet, file }
}

fn place(text: &OsStr, far: FarArguments) -> Result<Place, clap::Error> {
    let source = source(text)?;
    let path = RemotePath::parse(&source.path)
        .map_err(|error| usage(format!("the path after # will not do: {error}")))?;
    let mavlink = mavftp::Options {
        own_system: far.own_system_id,
        own_component: far.own_component_id,
        target: far.target,
        link_timeout: far.link_timeout,
        mount_timeout: far.mount_timeout,
        op_timeout: far.op_timeout,
    };
    let password = match &source.address {
        Address::Ftp(_) => password(far.password_file.as_deref())?,
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Serial { .. } => None,
    };
    let login = Login { user: far.user, password };
    Ok(Place { address: source.address, path, options: api::Options { mavlink, login } })
}

fn source(text: &OsStr) -> Result<Source, clap::Error> {
    let shown = text.display();
    if arguments::command().get_subcommands().any(|verb| text == verb.get_name()) {
        return Err(usage(format!("a command comes first: mavftp-mount {shown} [OPTIONS] …")));
    }
    Source::parse(text.as_bytes()).map_err(|error| {
        // What has a user's name in it may have a password in it too.
        let secret = text.as_bytes().contains(&b'@');
        usage(if secret { format!("SOURCE: {error}") } else { format!("{shown}: {error}") })
    })
}

fn password(file: Option<&Path>) -> Result<Option<String>, clap::Error> {
    let Some(file) = file else { return Ok(std::env::var(PASSWORD_VARIABLE).ok()) };
    let text = std::fs::read_to_string(file).map_err(|error| {
        usage(format!("cannot read the password file {}: {error}", file.display()))
    })?;
    Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
}

/// One line, as our other errors.
fn usage(message: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, message + "\n")
}
