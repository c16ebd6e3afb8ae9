//! Lines for a stderr that is systemd's journal: it notes the time itself, and takes the severity from
//! a number in front, as sd-daemon(3) has it.

use std::fmt;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{syslog, without_numbers};

/// Device and inode of the stream that leads to the journal, as systemd gives them.
const STREAM: &str = "JOURNAL_STREAM";
const STDERR: &str = "/proc/self/fd/2";

/// Whether the journal reads our stderr; a redirection may have taken it away.
pub(super) fn is_stderr() -> bool {
    let (Ok(stream), Ok(stderr)) = (std::env::var(STREAM), std::fs::metadata(STDERR)) else {
        return false;
    };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// `<4>…`
pub(super) struct ForJournal;

impl<S, N> FormatEvent<S, N> for ForJournal
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
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        // A line of its own would have another severity.
        let line = without_numbers(&text).replace('\n', " ");
        let severity = syslog::severity(*event.metadata().level());
        writeln!(writer, "<{}>{line}", severity as u8)
    }
}
