//! `probe SOURCE`: who is out there, what can be done with their files, how far and how fast; a page
//! for people, or `--json` for programs.

use std::io::{self, IsTerminal, Write};

use super::{Failure, Place, end_by_signal};
use crate::api::{self, Interrupt};

mod page;

/// What is looked at, and how it is shown.
#[derive(Debug, Clone)]
pub struct Options {
    /// The vehicle, link or server.
    pub place: Place,
    /// For programs.
    pub json: bool,
}

/// Looks, and shows what was found. Fails where a mount would: 3 when nobody is heard, 4 when nobody
/// has files.
pub fn run(options: &Options) -> Result<(), Failure> {
    let Options { place, json } = options;
    let interrupt = Interrupt::default();
    end_by_signal(interrupt.clone()).map_err(api::Error::Io)?;
    if !place.quiet && io::stderr().is_terminal() {
        let _ = writeln!(io::stderr(), "looking at {}; this takes a few seconds", place.address);
    }
    let probe = api::probe(&place.address, &place.path, &place.options, &interrupt)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if *json {
        let text = serde_json::to_string_pretty(&probe).map_err(io::Error::from);
        text.and_then(|text| writeln!(out, "{text}"))
    } else {
        // Terminals obey control characters, and names come from the far side.
        let shown = page::page(&probe);
        let harmless = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
        write!(out, "{}", shown.chars().map(harmless).collect::<String>())
    };
    written.and_then(|()| out.flush()).map_err(Failure::Output)?;
    drop(out);
    probe.error().map_or(Ok(()), |error| Err(error.into()))
}
