//! `serve ENDPOINT DIRECTORY`: a MAVLink FTP server until SIGINT or SIGTERM.

use std::io::{self, Write};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Failure;
use crate::serve::{self, Options};

/// Serves until told to stop; says in one line that and where it does.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::Signals)?;
    serve::run(options, |line, stop| {
        // Somebody who does not listen to the line may still want the server.
        let _ = writeln!(io::stdout(), "{line}");
        thread::spawn(move || signals.forever().take(1).for_each(|_| stop.stop()));
    })?;
    Ok(())
}
