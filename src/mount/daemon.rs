//! Into the background: the parent waits until the child's mount answers, and leaves with the
//! child's exit code. Must not know what is mounted.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use super::{Error, syslog};

/// Added to the number of the signal that ended the child, as shells do.
const SIGNALLED: i32 = 128;

/// None, for `end_with_parent`.
const NO_SIGNAL: libc::c_int = 0;

/// Who we are after the fork.
pub(super) enum Side {
    /// The process that was started, which waits.
    Parent(Child),
    /// The process that stays.
    Child(Parent),
}

/// The other process, for the parent.
pub(super) struct Child {
    process: libc::pid_t,
    pipe: File,
}

/// The other process, for the child.
pub(super) struct Parent {
    pipe: File,
}

/// Makes a second process. Must be called before there are threads: only the calling one goes on
/// in the child, and what others had locked stays locked.
pub(super) fn fork() -> io::Result<Side> {
    let (reader, writer) = pipe()?;
    // SAFETY: there is one thread, so the child's copy of this process is complete and consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            end_with_parent(libc::SIGTERM)?;
            Ok(Side::Child(Parent { pipe: writer }))
        }
        process => Ok(Side::Parent(Child { process, pipe: reader })),
    }
}

impl Child {
    /// Waits until the child says that it is ready, or ends; returns the exit code to leave with.
    /// An error was printed by the child already, on the stderr that both have.
    pub(super) fn wait(mut self) -> io::Result<u8> {
        let mut ready = [0];
        loop {
            match self.pipe.read(&mut ready) {
                Ok(0) => return self.exit_code(),
                Ok(_) => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn exit_code(&self) -> io::Result<u8> {
        let mut status = 0;
        // SAFETY: waitpid writes one int through a pointer to one.
        while unsafe { libc::waitpid(self.process, &mut status, 0) } == -1 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let code = if libc::WIFSIGNALED(status) {
            SIGNALLED + libc::WTERMSIG(status)
        } else {
            libc::WEXITSTATUS(status)
        };
        Ok(u8::try_from(code).unwrap_or(1))
    }
}

impl Parent {
    /// Leaves terminal, session and working directory, and lets the parent go. From then on stderr
    /// goes to `log`, if there is one; else messages go to the system's log.
    ///
    /// # Errors
    /// When the parent is gone already: whoever started us gave up.
    pub(super) fn detach(mut self, log: Option<File>) -> io::Result<()> {
        std::env::set_current_dir("/")?;
        // SAFETY: setsid takes nothing; it fails only in a group leader, which a forked child is not.
        if unsafe { libc::setsid() } == -1 {
            return Err(io::Error::last_os_error());
        }
        let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        redirect(&nowhere, libc::STDIN_FILENO)?;
        redirect(&nowhere, libc::STDOUT_FILENO)?;
        redirect(log.as_ref().unwrap_or(&nowhere), libc::STDERR_FILENO)?;
        if log.is_none() {
            syslog::begin();
        }
        end_with_parent(NO_SIGNAL)?;
        self.pipe.write_all(&[1])
    }
}

/// The signal this process gets when the one that started it ends: nobody waits any more then.
fn end_with_parent(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: prctl takes a number here and touches no memory of ours.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Opens the log file while errors can still be shown and paths still mean what the user meant.
pub(super) fn open_log(path: Option<&Path>) -> Result<Option<File>, Error> {
    let Some(path) = path else { return Ok(None) };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map(Some).map_err(|error| Error::LogFile { path: path.to_owned(), error })
}

fn redirect(to: &File, descriptor: libc::c_int) -> io::Result<()> {
    // SAFETY: both are open descriptors; what Rust's stdio holds are the numbers 0 to 2, which stay.
    match unsafe { libc::dup2(to.as_raw_fd(), descriptor) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn pipe() -> io::Result<(File, File)> {
    let mut ends = [-1; 2];
    // SAFETY: pipe2 fills an array of two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were made just now and belong to nobody else.
    Ok(unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) })
}
