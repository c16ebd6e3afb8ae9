//! A UDP relay that damages the link between a server and a mount, for tests and benchmarks. Knows
//! datagrams, not MAVLink; [`USAGE`] says the rest.

use std::process::ExitCode;

mod inbox;
mod link;
mod relay;

use link::Link;
use relay::Relay;

const USAGE: &str = "\
usage: relay SERVER_PORT MOUNT_PORT [--NAME VALUE]...

The server sends to SERVER_PORT (0: any free one), the mount listens on MOUNT_PORT, all on 127.0.0.1.
Datagrams pass unchanged. Each address that a server sends from gets a port of its own towards the
mount, so that a server that comes back from another port does so here, too.

  --loss SHARE        of datagrams, 0 to 1; lost behind the line, where they have had their time
  --run NUMBER        mean number lost in a row (0: each for itself)
  --duplicate SHARE   comes twice
  --reorder SHARE     later ones overtake it
  --delay MS          each way
  --jitter MS         more of it at most, at random
  --rate BYTES        a second (0: any)
  --queue BYTES       wait for the line at most (0: a second's)
  --cut 1             nothing passes, and what is under way is lost; 0: as before
  --up-NAME VALUE     the same for one way alone: from the server
  --down-NAME VALUE   the same for the other way
  --half-duplex 1     both ways share one line
  --seed NUMBER       the same seed draws the same chances, datagram by datagram

Prints `ready PORT` once it relays, then takes commands on standard input, a line each, and answers
each with `ok LINE` when it has taken effect: `NAME VALUE` as in the options, or

  silence SECONDS     nothing passes either way for so long; what is under way is lost

Ends when its standard input ends, and prints what it did: for each way the datagrams and bytes, the
seconds during which the line was busy, and the seconds from the first datagram onto it to the last
one off it; and how late it sent, in seconds, against its own schedule.";

/// Sleeps end this much late at most, where the kernel can.
const TIMER_SLACK_NS: libc::c_ulong = 1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((link, server_port, mount_port)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    come_in_time();
    match Relay::new(link, server_port, mount_port).and_then(|mut relay| relay.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A link does not wait for a processor: so this goes before ordinary programs, where it may, and
/// sleeps no longer than it asked to.
fn come_in_time() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: plain system calls; the structure outlives its call.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NS);
        libc::sched_setscheduler(0, libc::SCHED_RR, &raw const priority);
    }
}

fn parse(arguments: &[String]) -> Option<(Link, u16, u16)> {
    let [server_port, mount_port, options @ ..] = arguments else { return None };
    let mut pairs = Vec::new();
    let mut seed = 1;
    for pair in options.chunks(2) {
        let [name, value] = pair else { return None };
        match name.strip_prefix("--")? {
            "seed" => seed = value.parse().ok()?,
            name => pairs.push((name, value.parse().ok()?)),
        }
    }
    let mut link = Link::new(seed);
    let known = pairs.into_iter().all(|(name, value)| link.set(name, value));
    known.then_some(())?;
    Some((link, server_port.parse().ok()?, mount_port.parse().ok()?))
}
