//! Messages of a mount in the background that has no log file, for the system's log.

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::Context;

use super::without_numbers;
use crate::mount::syslog::{self, Severity};

/// Silent as long as somebody reads stderr.
pub(super) struct ForSyslog;

impl<S: Subscriber> Layer<S> for ForSyslog {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if !syslog::is_wanted() {
            return;
        }
        let mut text = String::new();
        if DefaultFields::new().format_fields(Writer::new(&mut text), event).is_ok() {
            syslog::send(severity(*event.metadata().level()), &without_numbers(&text));
        }
    }
}

pub(super) fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Information,
        Level::DEBUG | Level::TRACE => Severity::Debug,
    }
}
