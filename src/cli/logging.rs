//! The log as the command line asks for it: `-v`, `-q`, `RUST_LOG`, `--log-file`,
//! `--log-format`; in the background the system's log, below systemd the journal.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::sync::Mutex;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use super::{Log, LogFormat, without_numbers};

mod journal;
mod syslog;

use syslog::ForSyslog;

type AnyLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Levels for all, and for modules by name: `warn,mavftp_mount::link=debug`.
const FILTER_VARIABLE: &str = "RUST_LOG";
/// The FTP library, whose most detailed level has every line of the dialogue: the password too.
const FTP_LIBRARY: &str = "suppaftp";

impl Log {
    /// Starts logging, once in a process. `RUST_LOG` wins over `-v` and `-q`.
    ///
    /// # Errors
    /// What is wrong with `RUST_LOG` or the log file.
    pub fn start(&self) -> Result<(), String> {
        let given = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.is_empty());
        let directives = given.as_deref().unwrap_or(directives(self));
        let filter: Targets = directives
            .parse()
            .map_err(|error| format!("{FILTER_VARIABLE} is not a log filter: {error}"))?;
        let plain = given.is_none() && self.verbose == 0;
        tracing_subscriber::registry()
            .with(self.layer(plain)?)
            .with(ForSyslog)
            .with(filter)
            .with(filter_fn(tells_no_secret))
            .init();
        Ok(())
    }

    /// Where lines go, and what they look like: those that only warn a person need no time, and
    /// those for the journal neither time nor colour.
    fn layer(&self, plain: bool) -> Result<AnyLayer, String> {
        let lines = tracing_subscriber::fmt::layer().with_target(false);
        if let Some(path) = &self.file {
            let opened = OpenOptions::new().create(true).append(true).open(path);
            let file = opened.map_err(|error| {
                format!("cannot write the log file {}: {error}", path.display())
            })?;
            let lines = lines.with_ansi(false).with_writer(Mutex::new(file));
            return Ok(match self.format {
                LogFormat::Text => lines.boxed(),
                LogFormat::Json => lines.json().flatten_event(true).boxed(),
            });
        }
        let lines = lines.with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        Ok(match self.format {
            LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
            LogFormat::Text if journal::is_stderr() => {
                lines.with_ansi(false).event_format(journal::ForJournal).boxed()
            }
            LogFormat::Text if plain => lines.with_ansi(false).event_format(ForPeople).boxed(),
            LogFormat::Text => lines.boxed(),
        })
    }
}

/// fuser speaks of requests that were given up by their programs, and of unmounts from outside, as
/// of errors; it is not asked unless somebody looks for the cause of something. The TLS library prints
/// whole handshakes, which only `RUST_LOG` asks for.
fn directives(log: &Log) -> &'static str {
    match (log.quiet, log.verbose) {
        (true, _) => "error,fuser=off",
        (false, 0) => "warn,fuser=off",
        (false, 1) => "info,fuser=off",
        (false, 2) => "debug,fuser=error,rustls=info",
        (false, _) => "trace,rustls=info",
    }
}

/// Whatever `RUST_LOG` says: no password is ever logged.
fn tells_no_secret(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || !metadata.target().starts_with(FTP_LIBRARY)
}

/// `warning: …`, in the manner of our errors.
struct ForPeople;

impl<S, N> FormatEvent<S, N> for ForPeople
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO | Level::DEBUG | Level::TRACE => "note",
        };
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        writeln!(writer, "{level}: {}", without_numbers(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_numbers_are_left_out() {
        for (text, plain) in [
            ("/a: No such file or directory (os error 2)", "/a: No such file or directory"),
            ("a (os error 1); b (os error 22), c", "a; b, c"),
            ("nothing of the kind", "nothing of the kind"),
            ("cut off (os error 2", "cut off"),
        ] {
            assert_eq!(without_numbers(text), plain);
        }
    }
}
