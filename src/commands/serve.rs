//! `serve`: a directory as a MAVLink FTP server, until SIGINT or SIGTERM; with `--root-file`, SIGHUP
//! has another directory served. Must not know links, nor what clients ask for.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Failure;
use crate::api::{FtpServer, FtpServerError, ServeOptions};

/// A directory that has to wait for a transfer is tried again so often.
const RETRY_PERIOD: Duration = Duration::from_millis(500);
/// Longest path that the system takes, its end included.
const PATH_BYTES_MAX: u64 = libc::PATH_MAX as u64;

/// What to serve, and what is said of it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where, as whom, and how. The directory counts only without a root file.
    pub serving: ServeOptions,
    /// The directory is this file's first line, read again at SIGHUP.
    pub root_file: Option<PathBuf>,
    /// Whether nothing is said on standard output.
    pub quiet: bool,
}

/// What the program is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Stop,
    Reread,
}

/// Serves until a signal.
///
/// # Errors
/// What cannot be served, or opened, or that the last endpoint's link failed.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut serving = options.serving.clone();
    if let Some(file) = &options.root_file {
        serving.directory = directory_named_in(file).map_err(Failure::Refused)?;
    }
    // Before anybody can know that there is somebody to signal to.
    let signals = watch_signals(options.root_file.is_some()).map_err(refused)?;
    let server = FtpServer::start(&serving).map_err(refused)?;
    let verb = Verb { server, options };
    verb.tell();
    let ended = verb.wait(&signals);
    tracing::info!("stopped");
    ended
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(error.to_string())
}

/// SIGHUP is left alone, and so ends the program, where it has no meaning.
fn watch_signals(with_reread: bool) -> io::Result<Receiver<Signal>> {
    let numbers = [SIGINT, SIGTERM].into_iter().chain(with_reread.then_some(SIGHUP));
    let mut signals = signal_hook::iterator::Signals::new(numbers)?;
    let (sender, receiver) = crossbeam_channel::unbounded();
    let forward = move || {
        for number in signals.forever() {
            let signal = if number == SIGHUP { Signal::Reread } else { Signal::Stop };
            if sender.send(signal).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward)?;
    Ok(receiver)
}

struct Verb<'a> {
    server: FtpServer,
    options: &'a Options,
}

impl Verb<'_> {
    /// Says what is served.
    fn tell(&self) {
        let line = self.server.description();
        if !self.options.quiet {
            // Somebody who does not listen to the line may still want the server.
            let _ = writeln!(io::stdout(), "{line}");
        }
        tracing::info!("{line}");
    }

    /// Until a signal says stop, or the server ends by itself.
    fn wait(self, signals: &Receiver<Signal>) -> Result<(), Failure> {
        let mut waiting: Option<PathBuf> = None;
        loop {
            let retry = match waiting {
                Some(_) => crossbeam_channel::after(RETRY_PERIOD),
                None => crossbeam_channel::never(),
            };
            select! {
                recv(self.server.ended()) -> _ => break,
                recv(retry) -> _ => waiting = waiting.and_then(|path| self.change(path)),
                recv(signals) -> signal => match signal {
                    Ok(Signal::Reread) => waiting = self.reread(),
                    // The signal thread never ends before us; if it did, nobody could stop us.
                    Ok(Signal::Stop) | Err(_) => break,
                },
            }
        }
        self.server.stop().map_err(refused)
    }

    /// Serves what the root file names now; a directory that has to wait for a transfer is handed
    /// back.
    fn reread(&self) -> Option<PathBuf> {
        let file = self.options.root_file.as_ref()?;
        match directory_named_in(file) {
            Ok(path) => {
                let waiting = self.change(path)?;
                tracing::error!(
                    "cannot serve {} yet: a transfer is open; {} is served until it ends",
                    waiting.display(),
                    self.server.root_dir().display()
                );
                Some(waiting)
            }
            Err(why) => {
                tracing::error!("{why}; {} is served on", self.server.root_dir().display());
                None
            }
        }
    }

    /// Serves another directory, which is handed back when it has to wait.
    fn change(&self, path: PathBuf) -> Option<PathBuf> {
        match self.server.set_root_dir(&path) {
            Ok(()) => self.tell(),
            Err(FtpServerError::Busy) => return Some(path),
            Err(error @ (FtpServerError::DoesNotExist | FtpServerError::Unreadable(_))) => {
                let (path, old) = (path.display(), self.server.root_dir());
                tracing::error!("cannot serve {path}: {error}; {} is served on", old.display());
            }
        }
        None
    }
}

/// The first line of a root file.
fn directory_named_in(file: &Path) -> Result<PathBuf, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("--root-file {}: {why}", file.display());
    let mut line = Vec::new();
    let opened = File::open(file).map_err(|error| cannot(&error))?;
    let mut limited = BufReader::new(opened.take(PATH_BYTES_MAX));
    limited.read_until(b'\n', &mut line).map_err(|error| cannot(&error))?;
    while line.pop_if(|last| matches!(last, b'\n' | b'\r')).is_some() {}
    match line.is_empty() {
        true => Err(cannot(&"its first line is empty; write the directory there")),
        false => Ok(OsString::from_vec(line).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_root_file_names_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root");
        for (text, path) in [
            ("/srv", "/srv"),
            ("/a b \n/other\n", "/a b "),
            ("logs\r\n", "logs"),
            ("/\u{e9}", "/é"),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(directory_named_in(&file).unwrap(), Path::new(path));
        }
        for text in ["", "\n/srv"] {
            std::fs::write(&file, text).unwrap();
            assert!(directory_named_in(&file).unwrap_err().contains("first line is empty"));
        }
        let missing = directory_named_in(&folder.path().join("none")).unwrap_err();
        assert!(missing.starts_with("--root-file ") && missing.contains("No such file"));
    }
}
