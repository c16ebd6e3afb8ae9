//! The program: one match on the command.

use std::process::ExitCode;

use mavftp_mount::cli::{self, Command};
use mavftp_mount::commands::{Failure, cat, get, ls, put, serve};
use mavftp_mount::mount;

mod logging;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => error.exit(),
    };
    if let Err(error) = logging::start(&invocation.log) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let done = match &invocation.command {
        Command::Mount(options) => return mounted(mount::run(options)),
        Command::Serve(options) => serve::run(options),
        Command::List { place, long } => ls::run(place, *long),
        Command::Cat { place } => cat::run(place),
        Command::Get { place, local } => get::run(place, local.as_deref()),
        Command::Put { local, place } => put::run(local, place),
    };
    finished(done)
}

fn mounted(ended: Result<u8, mount::Error>) -> ExitCode {
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn finished(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_broken_pipe() {
                eprintln!("error: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
