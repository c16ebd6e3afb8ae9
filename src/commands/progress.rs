//! How far a transfer is: a bar on a terminal, a line now and then in a log, nothing when told to be
//! quiet. All of it goes to stderr.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

/// Bars are drawn for what lasts longer.
const DRAW_AFTER: Duration = Duration::from_millis(500);
/// In a log, so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows the transfers of a command, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bar,
    Lines,
    Nothing,
}

/// One transfer, until it is dropped.
pub struct Transfer {
    name: String,
    begun: Instant,
    at_first: Option<u64>,
    state: State,
}

enum State {
    Bar(Option<ProgressBar>),
    Lines { told: Instant },
    Nothing,
}

impl Shown {
    /// On stderr, as it is made for.
    pub fn on_stderr(quiet: bool) -> Shown {
        let way = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Way::Nothing,
            (false, true) => Way::Bar,
            (false, false) => Way::Lines,
        };
        Shown { way }
    }

    /// Begins to show one, under this name.
    pub fn transfer(&self, name: &str) -> Transfer {
        let begun = Instant::now();
        let state = match self.way {
            Way::Bar => State::Bar(None),
            Way::Lines => State::Lines { told: begun },
            Way::Nothing => State::Nothing,
        };
        let name = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        Transfer { name, begun, at_first: None, state }
    }
}

impl Transfer {
    /// So many bytes are there, of so many.
    pub fn at(&mut self, bytes: u64, of: Option<u64>) {
        let first = *self.at_first.get_or_insert(bytes);
        let passed = self.begun.elapsed();
        match &mut self.state {
            State::Nothing => {}
            State::Bar(bar) => {
                if bar.is_none() && passed < DRAW_AFTER {
                    return;
                }
                let bar = bar.get_or_insert_with(|| new_bar(&self.name, first, self.begun));
                if let Some(of) = of {
                    bar.set_length(of);
                }
                bar.set_position(bytes);
            }
            State::Lines { told } => {
                if told.elapsed() >= LINE_EVERY {
                    *told = Instant::now();
                    let line = line(&self.name, (first, bytes, of), passed);
                    let _ = writeln!(io::stderr(), "{line}");
                }
            }
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let State::Bar(Some(bar)) = &self.state {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(name: &str, first: u64, begun: Instant) -> ProgressBar {
    let style = "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, \
                 {decimal_bytes_per_sec}, {eta} left";
    let bar = ProgressBar::new(first).with_message(name.to_owned());
    // The template is a constant; a bar without style would still be one.
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_position(first).with_elapsed(begun.elapsed())
}

/// `log.ulg: 1.20 MB of 4.00 MB, 60.00 kB/s, 47 s left`
fn line(name: &str, (first, bytes, of): (u64, u64, Option<u64>), passed: Duration) -> String {
    let rate = bytes.saturating_sub(first) as f64 / passed.as_secs_f64().max(f64::MIN_POSITIVE);
    let so_far = DecimalBytes(bytes);
    let per_second = DecimalBytes(rate as u64);
    match of {
        Some(of) if rate >= 1.0 => {
            let left = of.saturating_sub(bytes) as f64 / rate;
            let of = DecimalBytes(of);
            format!("{name}: {so_far} of {of}, {per_second}/s, {left:.0} s left")
        }
        Some(of) => format!("{name}: {so_far} of {}, {per_second}/s", DecimalBytes(of)),
        None => format!("{name}: {so_far}, {per_second}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_how_fast_and_how_long_still() {
        let passed = Duration::from_secs(10);
        let text = line("a.ulg", (0, 1_200_000, Some(4_000_000)), passed);
        assert_eq!(text, "a.ulg: 1.20 MB of 4.00 MB, 120.00 kB/s, 23 s left");
        let resumed = line("a.ulg", (1_000_000, 1_200_000, None), passed);
        assert_eq!(resumed, "a.ulg: 1.20 MB, 20.00 kB/s");
        let stalled = line("a.ulg", (7, 7, Some(9)), passed);
        assert_eq!(stalled, "a.ulg: 7 B of 9 B, 0 B/s");
    }

    #[test]
    fn a_name_cannot_steer_a_terminal() {
        let shown = Shown { way: Way::Lines };
        assert_eq!(shown.transfer("\x1b[2Jx").name, "?[2Jx");
    }
}
