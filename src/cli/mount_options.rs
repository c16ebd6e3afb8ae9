//! `-o a,b=c`, as mount(8) and /etc/fstab write options: each is one of our own options by its
//! name, or a word of mount(8) that changes nothing here.

use std::ffi::OsString;

use super::arguments;

/// Words of mount(8) and systemd that are not for us, or that hold for every mount of ours.
/// `suid`, `dev` and `exec` are among them: mount.fuse(8) adds some unasked, and none is granted.
const WITHOUT_EFFECT: [&str; 33] = [
    "defaults",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "diratime",
    "nodiratime",
    "sync",
    "async",
    "dirsync",
    "silent",
    "loud",
    "mand",
    "nomand",
    "auto",
    "noauto",
    "nofail",
    "users",
    "nouser",
    "owner",
    "group",
    "_netdev",
    "default_permissions",
];
/// Beginnings of such words.
const WITHOUT_EFFECT_PREFIXES: [&str; 3] = ["x-", "comment=", "X-"];

/// What is done about an option that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Refused,
    /// As mount(8)'s `-s` asks.
    LeftOut,
}

/// The same in the form of long options.
///
/// # Errors
/// A text that names the option which is unknown.
pub(super) fn expand(lists: &[String], unknown: Unknown) -> Result<Vec<OsString>, String> {
    let grammar = arguments::command();
    let names: Vec<&str> = grammar.get_arguments().filter_map(|one| one.get_long()).collect();
    words(lists).filter_map(|word| expand_word(word, &names, unknown).transpose()).collect()
}

/// Whether mount(8) is to succeed although nothing is there.
pub(super) fn has_nofail(lists: &[String]) -> bool {
    words(lists).any(|word| word == "nofail")
}

fn words(lists: &[String]) -> impl Iterator<Item = &str> {
    lists.iter().flat_map(|list| list.split(',')).filter(|word| !word.is_empty())
}

fn expand_word(word: &str, names: &[&str], unknown: Unknown) -> Result<Option<OsString>, String> {
    match word {
        "ro" => return Ok(Some("--read-only".into())),
        "rw" => return Ok(Some("--read-write".into())),
        // Without a value it is mount(8)'s; with one, the FTP user.
        "user" => return Ok(None),
        "remount" => {
            return Err("a mount of ours cannot be remounted; umount it and mount again".into());
        }
        _ => {}
    }
    let foreign = WITHOUT_EFFECT_PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    if foreign || WITHOUT_EFFECT.contains(&word) {
        return Ok(None);
    }
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let long = name.replace('_', "-");
    let offline = arguments::OFFLINE_NAMES.contains(&&*long);
    if !names.contains(&&*long) || offline || ["help", "version"].contains(&&*long) {
        return match unknown {
            Unknown::LeftOut => Ok(None),
            Unknown::Refused => {
                Err(format!("unknown mount option `{name}` in -o; --help shows all of them"))
            }
        };
    }
    Ok(Some(match value {
        Some(value) => format!("--{long}={value}").into(),
        None => format!("--{long}").into(),
    }))
}
