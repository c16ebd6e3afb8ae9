//! Showing what is unsent.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Item;
use crate::commands::{Failure, ls};
use crate::journal::{Found, Listed, State};

/// Shows entries to a person, and what can be done with them.
pub(super) fn for_people(items: &[&Item<'_>]) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    items
        .iter()
        .try_for_each(|item| match &item.listed {
            Listed::Entry(found) => write_entry(&mut out, found),
            Listed::Unreadable { place, reason } => {
                writeln!(out, "{}  unreadable: {reason}\n    {}", item.id(), place.display())
            }
        })
        .and_then(|()| if items.is_empty() { Ok(()) } else { write_advice(&mut out, items.len()) })
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// Shows entries as JSON.
pub(super) fn for_programs(items: &[&Item<'_>]) -> Result<(), Failure> {
    let all: Vec<Value> = items.iter().map(|item| described(item)).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", Value::Array(all)).map_err(Failure::Output)
}

/// A path that does not steer a terminal.
pub(super) fn shown_path(found: &Found) -> String {
    let harmless = |c: char| if c.is_control() { '?' } else { c };
    found.meta.path.to_string().chars().map(harmless).collect()
}

/// What became of an entry, in a word.
pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Clean => "sent",
        State::Dirty => "open",
        State::Failed => "failed",
        State::Partial => "partial",
        State::Interrupted => "interrupted",
        State::Pending => "pending",
    }
}

fn write_entry(out: &mut dyn Write, found: &Found) -> io::Result<()> {
    let meta = &found.meta;
    let when = ls::shown(meta.when).unwrap_or_else(|| "-".into());
    let in_use = if found.in_use { ", in use" } else { "" };
    let (state, path) = (word(found.state()), shown_path(found));
    writeln!(out, "{}  {when}  {state}{in_use}  {path}  {} bytes", meta.id, meta.length)?;
    let identity = meta.vehicle.identity.as_deref().unwrap_or("an unknown vehicle");
    writeln!(out, "    for {identity}, at {}", meta.vehicle.source)?;
    let reason = reason(found);
    if !reason.is_empty() {
        writeln!(out, "    {reason}")?;
    }
    let part = if meta.whole { "" } else { " (not the whole file)" };
    writeln!(out, "    {}{part}", found.data.display())
}

/// Why it is here.
fn reason(found: &Found) -> String {
    match (found.state(), found.meta.reason.is_empty()) {
        (State::Interrupted, _) => "the mount ended while the file was being written".into(),
        (State::Partial, true) => "its program was killed while it wrote".into(),
        (State::Pending, true) => "will be sent when the vehicle is mounted".into(),
        (State::Clean | State::Dirty | State::Failed, true) => String::new(),
        (State::Clean | State::Dirty | State::Failed | State::Partial | State::Pending, false) => {
            found.meta.reason.clone()
        }
    }
}

fn write_advice(out: &mut dyn Write, count: usize) -> io::Result<()> {
    let what = if count == 1 {
        "1 change is not sent".into()
    } else {
        format!("{count} changes are not sent")
    };
    writeln!(
        out,
        "{what}; send: mavftp-mount unsent --send SOURCE, copy here: --export DIR, drop: --discard"
    )
}

fn described(item: &Item<'_>) -> Value {
    let found = match &item.listed {
        Listed::Entry(found) => found,
        Listed::Unreadable { place, reason } => {
            return json!({
                "id": item.id(), "state": "unreadable", "reason": reason,
                "place": place.to_string_lossy(),
            });
        }
    };
    let meta = &found.meta;
    let path_bytes = std::str::from_utf8(&meta.path.0).is_err().then_some(&meta.path.0);
    json!({
        "id": meta.id,
        "when": meta.when,
        "identity": meta.vehicle.identity,
        "source": meta.vehicle.source,
        "path": meta.path.to_string(),
        "path_bytes": path_bytes,
        "length": meta.length,
        "mtime": meta.mtime,
        "state": word(found.state()),
        "in_use": found.in_use,
        "reason": reason(found),
        "whole": meta.whole,
        "tail": meta.tail,
        "data": found.data.to_string_lossy(),
    })
}
