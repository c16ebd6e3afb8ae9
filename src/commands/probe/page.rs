//! What a probe found, as a page for people. Must not know where it is shown.

use std::fmt::Write;

use crate::api::probe::{Found, Listing, Probe, Server};
use crate::link::frames::Counters;
use crate::remote::mavftp::survey::{self, Answer, Heard, Survey};
use crate::remote::survey::{Reading, RoundTrip};

/// As wide as `connections`, the longest label.
const LABEL_WIDTH: usize = 11;
/// As wide as most ids, `255:255`.
const IDS_WIDTH: usize = 7;
/// As wide as most terminals.
const WIDTH: usize = 80;

/// The page, with a line break at its end.
pub fn page(probe: &Probe) -> String {
    let mut page = Page(String::new());
    match &probe.found {
        Found::Mavlink(survey) => page.link(&probe.source, survey),
        Found::Ftp(server) => page.server(&probe.source, server),
    }
    page.0
}

struct Page(String);

impl Page {
    /// A line of its own.
    fn line(&mut self, text: &str) {
        // A string takes everything.
        let _ = writeln!(self.0, "{}", text.trim_end());
    }

    /// A label and what belongs to it, below a component.
    fn fact(&mut self, label: &str, text: &str) {
        let indent = IDS_WIDTH + 1;
        self.wrapped(&format!("{:indent$}{label:LABEL_WIDTH$} ", ""), text);
    }

    /// Words behind a first piece, in lines that fit.
    fn wrapped(&mut self, first: &str, text: &str) {
        let indent = first.chars().count();
        let mut line = first.to_owned();
        for word in text.split_whitespace() {
            let width = line.chars().count();
            if width > indent && width + word.chars().count() > WIDTH {
                self.line(&line);
                line = " ".repeat(indent);
            }
            line.push_str(word);
            line.push(' ');
        }
        self.line(&line);
    }

    fn link(&mut self, source: &str, survey: &Survey) {
        let count = match survey.heard.len() {
            0 => "nobody is heard".into(),
            1 => "one component is heard".into(),
            more => format!("{more} components are heard"),
        };
        self.line(&format!("{source}: {count} ({:.1} s)", survey.seconds));
        for heard in &survey.heard {
            self.line("");
            self.component(heard, survey.heard.len() > 1);
        }
        self.line("");
        self.frames(survey.frames);
        for advice in &survey.advice {
            self.line("");
            self.wrapped("", advice);
        }
    }

    fn component(&mut self, heard: &Heard, several: bool) {
        let autopilot = match &heard.firmware {
            Some(firmware) if heard.autopilot == survey::NO_AUTOPILOT => {
                format!("{}, firmware {firmware}", heard.autopilot_name)
            }
            Some(firmware) => format!("{} {firmware}", heard.autopilot_name),
            None => heard.autopilot_name.to_owned(),
        };
        let armed = if heard.armed { "armed" } else { "not armed" };
        let about =
            format!("{}, {autopilot}, {armed}, from {}", heard.vehicle_type_name, heard.address);
        let ids = format!("{}:{}", heard.system, heard.component);
        self.wrapped(&format!("{ids:IDS_WIDTH$} "), &about);
        if let Some(identity) = &heard.identity {
            self.fact("identity", identity);
        }
        self.fact("FTP", &ftp(heard));
        if let Some(server) = &heard.ftp.server {
            if server.chosen && several {
                self.fact("", "a mount shows these files");
            }
            self.files(server);
        }
    }

    fn files(&mut self, server: &survey::Server) {
        self.fact("server", &family(server));
        let times = yes_no(server.lists_times, "with times", "without times");
        self.fact("listings", &format!("{times}; paths up to {} bytes", server.path_bytes_max));
        self.fact("checksums", yes_no(server.checksums, "yes", "none: files are read for it"));
        self.round_trip(server.round_trip.as_ref(), "requests");
        self.fact("loss", &format!("{} of {} requests unanswered", server.lost, server.requests));
        if let Some(reading) = &server.reading {
            self.reading(reading);
        }
    }

    fn round_trip(&mut self, round_trip: Option<&RoundTrip>, of: &str) {
        let text =
            round_trip.map_or("not measured".into(), |RoundTrip { samples, min_ms, median_ms }| {
                format!(
                    "{} at least, {} in the middle ({samples} {of})",
                    ms(*min_ms),
                    ms(*median_ms)
                )
            });
        self.fact("round trip", &text);
    }

    fn reading(&mut self, reading: &Reading) {
        let text = match reading {
            Reading::Measured(rate) => format!(
                "{}/s ({} of {} in {:.3} s)",
                size(rate.bytes_per_second),
                size(rate.bytes as f64),
                rate.path,
                rate.seconds
            ),
            Reading::LeftOut(reason) => format!("not measured: {reason}"),
        };
        self.fact("read rate", &text);
    }

    fn frames(&mut self, frames: Counters) {
        let Counters { frames: read, foreign, signed, version_1, bad_check, .. } = frames;
        let mut text = format!(
            "{read} read, {foreign} of other messages; {signed} signed, {version_1} MAVLink 1, \
             {bad_check} with a wrong check"
        );
        let refused = frames.unsigned + frames.wrong_key + frames.stale;
        for (count, what) in [
            (refused, "not believed for their signature"),
            (frames.incompatible, "in a format not known here"),
            (frames.truncated, "cut short"),
            (frames.garbage_bytes, "bytes of no frame"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        self.wrapped("frames  ", &text);
    }

    fn server(&mut self, source: &str, server: &Server) {
        let offers = &server.offers;
        self.line(&format!("{source}: FTP server"));
        self.line("");
        self.fact("login", &format!("ok as {}, {:.0} ms", offers.user, offers.login_ms));
        match &offers.tls {
            Some(tls) => self.fact("TLS", &format!("{}, {}", tls.version, tls.cipher)),
            None => self.fact("TLS", "none: the password and all files are sent in the clear"),
        }
        let features = [
            (offers.mlsd, "MLSD (exact listings)"),
            (offers.mfmt, "MFMT (times are kept)"),
            (offers.rest, "REST (reads from anywhere)"),
            (offers.utf8, "UTF8"),
        ];
        let named = |has: bool| {
            let names = features.iter().filter(|(offered, _)| *offered == has);
            names.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
        };
        for (label, names) in [("offers", named(true)), ("lacks", named(false))] {
            if !names.is_empty() {
                self.fact(label, &names);
            }
        }
        let (usable, tried) = (offers.connections, offers.connections_tried);
        let mut connections = format!("{usable} of {tried} tried at the same time");
        if let Some(why) = &offers.connection_refused {
            let _ = write!(connections, "; refused: {why}");
        }
        self.fact("connections", &connections);
        self.round_trip(offers.round_trip.as_ref(), "times NOOP");
        match &server.listing {
            Listing::Entries(count) => self.fact("listing", &format!("ok, {}", entries(*count))),
            Listing::Refused(why) => self.fact("listing", why),
        }
        self.reading(&server.reading);
    }
}

fn ftp(heard: &Heard) -> String {
    let says = match heard.ftp_capability {
        Some(true) => "; it says that it has FTP",
        Some(false) => "; it does not say that it has FTP",
        None => "",
    };
    let reason = heard.ftp.reason.as_deref();
    match (heard.ftp.answer, reason) {
        (Answer::Lists, _) => format!("ok, / has {}{says}", entries(heard.ftp.root_entries)),
        (Answer::Refuses, reason) => format!("refuses: {}{says}", reason.unwrap_or("no reason")),
        (Answer::Silent, _) => format!("no answer{says}"),
        (Answer::NotAsked, reason) => format!("not asked: {}{says}", reason.unwrap_or("-")),
    }
}

fn family(server: &survey::Server) -> String {
    let mut text = server.family.unwrap_or("of no autopilot we know").to_owned();
    if server.one_session {
        text += "; one session for all stations";
    }
    if let Some(count) = server.requests_at_once {
        let _ = write!(text, "; {count} requests at a time");
    }
    text += if server.appends { "; adds to files" } else { "; changed files are sent whole" };
    if server.virtual_files {
        text += "; virtual files (@SYS)";
    }
    text
}

fn yes_no(answer: Option<bool>, yes: &'static str, no: &'static str) -> &'static str {
    match answer {
        Some(true) => yes,
        Some(false) => no,
        None => "not known",
    }
}

fn entries(count: usize) -> String {
    match count {
        1 => "one entry".into(),
        count => format!("{count} entries"),
    }
}

/// Milliseconds, short ones finer.
fn ms(milliseconds: f64) -> String {
    if milliseconds < 10.0 {
        format!("{milliseconds:.2} ms")
    } else {
        format!("{milliseconds:.0} ms")
    }
}

/// Bytes as people read them: `38.9 kB`.
fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        bytes if bytes >= 1e3 => format!("{:.1} kB", bytes / 1e3),
        bytes => format!("{bytes:.0} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_facts_go_on_below_their_beginning() {
        let mut page = Page(String::new());
        page.fact("server", &"word ".repeat(20));
        let lines: Vec<&str> = page.0.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
        assert_eq!(lines[0].find("word"), lines[1].find("word"));
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([12.0, 38_912.0, 1_250_000.0].map(size), ["12 bytes", "38.9 kB", "1.2 MB"]);
    }
}
