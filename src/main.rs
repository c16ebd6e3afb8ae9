//! The program: one match on the command.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use mavftp_mount::cli::{self, Command};
use mavftp_mount::commands::{
    Failure, cat, compare, crc, get, ls, mkdir, mv, probe, put, rm, rmdir, serve, unsent,
};
use mavftp_mount::mount::{self, Helper};

/// Exit code: wrong usage.
const USAGE: u8 = 2;

/// By how much the heap grows at a time.
#[cfg(target_env = "gnu")]
const HEAP_STEP_BYTES: libc::c_int = 4 << 20;

/// One heap for all threads, in large steps. glibc gives each thread a heap that grows by a page at a
/// time, a system call each: blocks of a file that are cached cost a third of a fast download so.
#[cfg(target_env = "gnu")]
fn prepare_heap() {
    // SAFETY: plain calls with constants, before there is another thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, HEAP_STEP_BYTES);
    }
}

#[cfg(not(target_env = "gnu"))]
fn prepare_heap() {}

fn main() -> ExitCode {
    prepare_heap();
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => return misused(&error),
    };
    if let Err(error) = invocation.log.start() {
        return failed(&error, 1);
    }
    if let Some(warning) = invocation.warning() {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    match &invocation.command {
        Command::Mount(options) => mounted(options),
        Command::Serve(options) => finished(serve::run(options)),
        Command::Probe(options) => finished(probe::run(options)),
        Command::List(options) => finished(ls::run(options)),
        Command::Cat { place } => finished(cat::run(place)),
        Command::Get(options) => finished(get::run(options)),
        Command::Put(options) => finished(put::run(options)),
        Command::Remove { place, more, recursive } => finished(rm::run(place, more, *recursive)),
        Command::Rename { place, to, to_directory } => finished(mv::run(place, to, *to_directory)),
        Command::MakeDirectory { place, more, parents } => {
            finished(mkdir::run(place, more, *parents))
        }
        Command::RemoveDirectory { place, more } => finished(rmdir::run(place, more)),
        Command::Checksum { place, more } => finished(crc::run(place, more)),
        Command::Compare { local, place } => answered(compare::run(local, place, place.quiet)),
        Command::Unsent(options) => answered(unsent::run(options)),
        Command::Completions(shell) => written(&cli::manual::print_completions(*shell)),
        Command::Manual(directory) => written(&cli::manual::write_pages(directory)),
    }
}

/// A usage error, or the text that was asked for. The codes of mount(8) are others than ours.
fn misused(error: &clap::Error) -> ExitCode {
    // Nobody may be there to read it.
    let _ = error.print();
    let code = match error.use_stderr() {
        true if cli::is_helper(std::env::args_os().next().as_ref()) => Helper::USAGE,
        true => USAGE,
        false => 0,
    };
    ExitCode::from(code)
}

fn mounted(options: &mount::Options) -> ExitCode {
    let ended = mount::run(options);
    let code = match (&options.helper, &ended) {
        (Some(helper), ended) => helper.exit_code(ended),
        (None, Ok(code)) => *code,
        (None, Err(error)) => error.exit_code(),
    };
    match &ended {
        Ok(_) => ExitCode::from(code),
        Err(error) => failed(error, code),
    }
}

fn written(done: &io::Result<()>) -> ExitCode {
    done.as_ref().map_or_else(|error| failed(error, 1), |()| ExitCode::SUCCESS)
}

/// The exit code is the answer.
fn answered(answer: Result<u8, Failure>) -> ExitCode {
    answer.map_or_else(|failure| finished(Err(failure)), ExitCode::from)
}

fn finished(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_told() => ExitCode::from(failure.exit_code()),
        Err(failure) => failed(&failure, failure.exit_code()),
    }
}

/// Says why, unless nobody can hear it.
fn failed(why: &dyn Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {}", cli::without_numbers(&why.to_string()));
    ExitCode::from(code)
}
