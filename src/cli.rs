//! The command line: arguments become plain option structs, once, at the door. A contract: what is
//! here is not renamed.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::api;
use crate::commands::{Place, get, ls, probe, put, serve, unsent};
use crate::fuse::Access;
use crate::link::address::{Address, Source};
use crate::mount;
use crate::remote::RemotePath;
use crate::remote::ftp::Trust;
use crate::remote::mavftp;
use crate::remote::save::Policy;

mod arguments;
mod changes;
mod credentials;
mod helper;
mod logging;
pub mod manual;
mod mount_options;
mod serving;
mod sources;
#[cfg(test)]
mod tests;
mod transfers;
mod usage;
mod values;

pub use crate::commands::without_numbers;
pub use arguments::Shell;
use arguments::{FarArguments, LogArguments, MountArguments, UploadArguments, Verb};
use mount_options::Unknown;

/// How long `get` and `put` wait for a vehicle that is not heard: longer than one takes to reboot.
const LOSS_PATIENCE: Duration = Duration::from_secs(60);

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
    /// What a line looks like.
    pub format: LogFormat,
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object, for programs.
    Json,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Command {
    /// Mount.
    Mount(Box<mount::Options>),
    /// Serve a directory.
    Serve(serve::Options),
    /// Look who is there.
    Probe(probe::Options),
    /// List a directory.
    List(ls::Options),
    /// Print a file.
    Cat {
        /// The file.
        place: Place,
    },
    /// Copy files here.
    Get(get::Options),
    /// Copy files there.
    Put(put::Options),
    /// Remove files.
    Remove {
        /// The first.
        place: Place,
        /// The others.
        more: Vec<RemotePath>,
        /// Directories too.
        recursive: bool,
    },
    /// Rename, or move.
    Rename {
        /// What.
        place: Place,
        /// Its new path, or a directory.
        to: RemotePath,
        /// Whether that was written as a directory, with a slash at its end.
        to_directory: bool,
    },
    /// Make directories.
    MakeDirectory {
        /// The first.
        place: Place,
        /// The others.
        more: Vec<RemotePath>,
        /// Those above as well.
        parents: bool,
    },
    /// Remove empty directories.
    RemoveDirectory {
        /// The first.
        place: Place,
        /// The others.
        more: Vec<RemotePath>,
    },
    /// Print checksums.
    Checksum {
        /// The first file.
        place: Place,
        /// The others.
        more: Vec<RemotePath>,
    },
    /// Compare a file here with one there.
    Compare {
        /// The local file.
        local: PathBuf,
        /// The file there, or its directory.
        place: Place,
    },
    /// What could not be sent.
    Unsent(unsent::Options),
    /// Print the completions for a shell.
    Completions(Shell),
    /// Write the manual pages into a directory.
    Manual(PathBuf),
}

impl Invocation {
    /// What must not go unseen, whatever is said of the log.
    pub fn warning(&self) -> Option<&'static str> {
        let (address, options) = match &self.command {
            Command::Mount(options) => (&options.address, &options.connection),
            Command::Probe(probe::Options { place, .. })
            | Command::List(ls::Options { place, .. })
            | Command::Cat { place }
            | Command::Get(get::Options { place, .. })
            | Command::Put(put::Options { place, .. })
            | Command::Remove { place, .. }
            | Command::Rename { place, .. }
            | Command::MakeDirectory { place, .. }
            | Command::RemoveDirectory { place, .. }
            | Command::Checksum { place, .. }
            | Command::Compare { place, .. } => (&place.address, &place.options),
            Command::Unsent(options) => match &options.task {
                unsent::Task::Send { place, .. } => (&place.address, &place.options),
                unsent::Task::List { .. } | unsent::Task::Export { .. } | unsent::Task::Discard => {
                    return None;
                }
            },
            Command::Serve(_) | Command::Completions(_) | Command::Manual(_) => return None,
        };
        let insecure = matches!(address, Address::Ftp(_)) && options.ftp.trust == Trust::Anything;
        insecure.then_some(
            "--insecure: whoever is between here and the server can read the password and all \
             files, and change them; --tls-fingerprint believes one certificate",
        )
    }
}

/// Parses the arguments, the program's name first.
///
/// # Errors
/// A usage error, or the text of `--help` and `--version`; `exit()` prints it and leaves with the
/// right code.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut given: Vec<OsString> = arguments.into_iter().collect();
    if is_helper(given.first()) {
        return helper_invocation(given.get(1..).unwrap_or_default());
    }
    let first = arguments::parse(&given)?;
    let expanded = match first.verb {
        Some(_) => Vec::new(),
        None => {
            mount_options::expand(&first.mount.options, Unknown::Refused).map_err(usage::error)?
        }
    };
    let parsed = if expanded.is_empty() {
        first
    } else {
        // Before everything else, so that an option given by its own name wins.
        given.splice(1..1, expanded);
        arguments::parse(&given)?
    };
    let offline = parsed.offline;
    let offline =
        offline.completions.map(Command::Completions).or(offline.man.map(Command::Manual));
    match (parsed.verb, offline) {
        (None, Some(command)) => Ok(Invocation { log: log_of(parsed.mount.log), command }),
        (None, None) => mount_invocation(parsed.mount),
        (Some(verb), _) => verb_invocation(verb),
    }
}

/// Whether mount(8) calls, by the program's name: then its exit codes are those of mount(8).
pub fn is_helper(program: Option<&OsString>) -> bool {
    helper::is_name(program)
}

/// A mount as mount(8) asks for it.
fn helper_invocation(arguments: &[OsString]) -> Result<Invocation, clap::Error> {
    let asked = ["-h", "--help", "-V", "--version"];
    if let [word] = arguments
        && asked.iter().any(|one| word == one)
    {
        return arguments::parse(&["mavftp-mount".into(), word.clone()])
            .and_then(|parsed| mount_invocation(parsed.mount));
    }
    let request = helper::parse(arguments).map_err(usage::error)?;
    let unknown = if request.sloppy { Unknown::LeftOut } else { Unknown::Refused };
    let mut given: Vec<OsString> = vec!["mavftp-mount".into()];
    given.extend(mount_options::expand(&request.lists, unknown).map_err(usage::error)?);
    given.extend((0..request.verbose).map(|_| "-v".into()));
    given.push("--".into());
    given.extend(request.places.iter().cloned());
    let mut invocation = mount_invocation(arguments::parse(&given)?.mount)?;
    if let Command::Mount(options) = &mut invocation.command {
        // Like any other mount: no news is good news.
        options.quiet |= request.verbose == 0;
        options.helper = Some(mount::Helper {
            source: request
                .places
                .first()
                .map(|place| place.display().to_string())
                .unwrap_or_default(),
            fake: request.fake,
            may_be_missing: mount_options::has_nofail(&request.lists),
            namespace: request.namespace,
        });
    }
    Ok(invocation)
}

fn mount_invocation(arguments: MountArguments) -> Result<Invocation, clap::Error> {
    let log = log_of(arguments.log);
    let (source, mountpoint) =
        sources::of_a_mount(arguments.source, arguments.mountpoint, &arguments.surplus)
            .map_err(usage::error)?;
    let place = place(source, arguments.far, &log)?;
    let options = mount::Options {
        address: place.address,
        path: place.path,
        mountpoint,
        helper: None,
        connection: place.options,
        foreground: arguments.foreground,
        quiet: log.quiet,
        log_file: log.file.clone(),
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
        attribute_time: arguments.attr_timeout,
        negative_time: arguments.negative_time,
        write_back: arguments.write_back,
        append: arguments.append,
        saving: saving(&arguments.upload),
        max_edit_bytes: arguments.max_edit,
        scratch_guard: !arguments.no_scratch_guard,
        trash_guard: !arguments.no_trash_guard,
    };
    Ok(Invocation { log, command: Command::Mount(Box::new(options)) })
}

fn verb_invocation(verb: Verb) -> Result<Invocation, clap::Error> {
    let anywhere = |text: OsString, far, log: &Log| place(source(&text)?, far, log);
    let (log, command) = match verb {
        Verb::Serve(arguments) => {
            let log = log_of(arguments.log.clone());
            let options = serving::options(arguments, log.quiet)?;
            (log, Command::Serve(options))
        }
        Verb::Probe(arguments) => changes::probe(arguments)?,
        Verb::Ls { place, long, recursive, json, far, log } => {
            let log = log_of(log);
            let place = anywhere(place, far, &log)?;
            (log, Command::List(ls::Options { place, long, recursive, json }))
        }
        Verb::Cat { place, far, log } => {
            let log = log_of(log);
            let place = of_a_file(anywhere(place, far, &log)?)?;
            (log, Command::Cat { place })
        }
        Verb::Get(arguments) => transfers::get(arguments)?,
        Verb::Put(arguments) => transfers::put(arguments)?,
        Verb::Rm(arguments) => changes::rm(arguments)?,
        Verb::Mv(arguments) => changes::mv(arguments)?,
        Verb::Mkdir(arguments) => changes::mkdir(arguments)?,
        Verb::Rmdir(arguments) => changes::rmdir(arguments)?,
        Verb::Crc(arguments) => changes::crc(arguments)?,
        Verb::Compare(arguments) => changes::compare(arguments)?,
        Verb::Unsent { ids, send, export, discard, force, json, upload, far, log } => {
            let log = log_of(log);
            let task = match (send, export, discard) {
                (Some(source), _, _) => {
                    let place = Box::new(anywhere(source, far, &log)?);
                    unsent::Task::Send { place, saving: saving(&upload), force }
                }
                (None, Some(directory), _) => unsent::Task::Export { directory },
                (None, None, true) => unsent::Task::Discard,
                (None, None, false) => unsent::Task::List { json },
            };
            (log, Command::Unsent(unsent::Options { task, ids }))
        }
    };
    Ok(Invocation { log, command })
}

fn saving(upload: &UploadArguments) -> Policy {
    Policy { mode: upload.upload_mode, verify: upload.verify }
}

fn log_of(arguments: LogArguments) -> Log {
    let LogArguments { verbose, quiet, log_file: file, log_format: format } = arguments;
    Log { verbose, quiet, file, format }
}

fn source(text: &OsStr) -> Result<Source, clap::Error> {
    sources::parse(text).map_err(usage::error)
}

fn place(source: Source, far: FarArguments, log: &Log) -> Result<Place, clap::Error> {
    let path = RemotePath::parse(&source.path)
        .map_err(|error| usage::error(format!("the path after # will not do: {error}")))?;
    if far.sign.sign_key_file.is_some() && matches!(source.address, Address::Ftp(_)) {
        return Err(usage::error(
            "FTP servers know no signing; ftpes:// and ftps:// are protected by TLS".into(),
        ));
    }
    let mavlink = mavftp::Options {
        own_system: far.own_system_id,
        own_component: far.own_component_id,
        target: far.target,
        link_timeout: far.link_timeout,
        mount_timeout: far.mount_timeout,
        op_timeout: far.op_timeout,
        rate_limit: far.rate_limit,
        when_armed: far.when_armed,
        loss_patience: far.on_link_loss.unwrap_or_default(),
        sign_key: far.sign.key()?,
    };
    let (login, ftp) = match &source.address {
        Address::Ftp(server) => {
            (credentials::login(&far.ftp, server)?, credentials::options(&far.ftp, server)?)
        }
        Address::UdpListen { .. }
        | Address::UdpOut(_)
        | Address::UdpBroadcast(_)
        | Address::TcpOut(_)
        | Address::TcpListen { .. }
        | Address::Serial { .. } => Default::default(),
    };
    Ok(Place {
        directory: source.path.ends_with(b"/"),
        address: source.address,
        path,
        options: api::Options { mavlink, login, ftp },
        quiet: log.quiet,
    })
}

/// What is read must be named.
fn of_a_file(place: Place) -> Result<Place, clap::Error> {
    match place.path.is_root() {
        false => Ok(place),
        true => Err(usage::error(format!(
            "name the file as well: {0}#/path; mavftp-mount ls {0} shows what is there",
            place.address
        ))),
    }
}
