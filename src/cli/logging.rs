//! The log as the command line asks for it: `-v`, `-q`, `RUST_LOG`, `--log-file`.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::Log;

impl Log {
    /// Starts logging, once in a process. `RUST_LOG` wins over `-v` and `-q`.
    ///
    /// # Errors
    /// What is wrong with `RUST_LOG` or the log file.
    pub fn start(&self) -> Result<(), String> {
        let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
            Ok(directives) => EnvFilter::try_new(&directives)
                .map_err(|error| format!("RUST_LOG is not a log filter: {error}"))?,
            Err(_) => EnvFilter::new(directives(self)),
        };
        let builder = fmt().with_env_filter(filter).with_target(false);
        match &self.file {
            None => builder.with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).init(),
            Some(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                let file = opened.map_err(|error| {
                    format!("cannot write the log file {}: {error}", path.display())
                })?;
                builder.with_ansi(false).with_writer(Mutex::new(file)).init();
            }
        }
        Ok(())
    }
}

/// fuser speaks of requests that were given up by their programs as of errors; it is not asked
/// unless somebody looks for the cause of something.
fn directives(log: &Log) -> &'static str {
    match (log.quiet, log.verbose) {
        (true, _) => "error,fuser=off",
        (false, 0) => "warn,fuser=off",
        (false, 1) => "info,fuser=error",
        (false, 2) => "debug,fuser=warn",
        (false, _) => "trace",
    }
}
