//! The page of mount.mavftp(8), which mount(8) calls. Its options are those of the grammar.

use clap::{Arg, Command};
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::text;
use crate::cli::arguments::OFFLINE_NAMES;

/// As other pages point to it.
pub(super) const NAME: &str = "mount.mavftp(8)";

const FILE: &str = "mount.mavftp.8";
const TITLE: &str = "mount.mavftp";
const SECTION: &str = "8";
const MANUAL: &str = "System Administration";

/// What only makes sense on a command line.
const NO_OPTIONS: [&str; 3] = ["help", "version", "foreground"];

const DESCRIPTION: &str = "\
mount.mavftp is mavftp-mount under the name that mount(8) looks for. SOURCE is an address as \
mavftp-mount(1) lists them, such as udp:14550, and may name a place there, as \
udp:14550#/fs/microsd; DIR is a local directory. It returns when the mount is there, or cannot be; \
what serves the mount stays in the background until umount(8).";

const OPTIONS: &str = "\
The list of -o has the long options of mavftp-mount(1) by their names, and what mount(8) and \
systemd know: ro, rw, nofail, _netdev, noauto, user, x-* and others.";

const EXAMPLES: &str = "\
Examples:
  mount -t mavftp udp:14550 /mnt/drone
  mount -t mavftp udp:14550#/fs/microsd /mnt/sd -o ro,target=1:1
  umount /mnt/drone

  A line of /etc/fstab, mounted when somebody looks there:

  udp:14550  /mnt/drone  mavftp  noauto,_netdev,x-systemd.automount  0 0

Exit codes:
  0   mounted
  1   wrong usage, or not permitted
  2   a fault of the system
  32  the mount failed; the message says why";

/// The file's name and content.
pub(super) fn page(mount: &Command) -> (String, String) {
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{TITLE} - mounts a vehicle's files for mount(8)"))]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([
        bold("mount -t mavftp "),
        italic("SOURCE DIR"),
        roman(" ["),
        bold("-o "),
        italic("OPTION"),
        roman("[,"),
        italic("OPTION"),
        roman("]...]"),
    ]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(DESCRIPTION)]);
    roff.control("SH", ["OPTIONS"]);
    roff.text([roman(OPTIONS)]);
    for option in mount.get_arguments().filter(|option| !option.is_hide_set()) {
        one_option(&mut roff, option);
    }
    text::sections(&mut roff, &text::divided(EXAMPLES).1);
    let others = ["mavftp-mount(1)", "mount(8)", "umount(8)", "fstab(5)", "systemd.mount(5)"];
    text::see_also(&mut roff, &others.map(str::to_owned));
    // The head first, and the definitions that every rendering begins with only once.
    let title = text::title(TITLE, SECTION, MANUAL).to_roff();
    (FILE.to_owned(), text::portable(&format!("{title}{}", roff.render())))
}

fn one_option(roff: &mut Roff, option: &Arg) {
    let Some(name) = option.get_long() else { return };
    if NO_OPTIONS.contains(&name) || OFFLINE_NAMES.contains(&name) {
        return;
    }
    let value = option.get_value_names().filter(|_| option.get_action().takes_values());
    roff.control("TP", []);
    match value.and_then(<[_]>::first) {
        Some(value) => roff.text([bold(format!("{name}=")), italic(value.to_string())]),
        None => roff.text([bold(name)]),
    };
    let defaults: Vec<_> =
        option.get_default_values().iter().map(|one| one.to_string_lossy()).collect();
    let default = match defaults.is_empty() || !option.get_action().takes_values() {
        true => String::new(),
        false => format!(" [default: {}]", defaults.join(",")),
    };
    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
    roff.text([roman(format!("{help}{default}"))]);
}
