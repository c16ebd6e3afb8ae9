//! `unsent`: what could not be sent to a vehicle, with or without a mount: listed, sent, saved
//! elsewhere, or dropped. Whatever a living mount works on is left to it.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Failure, Place};
use crate::api;
use crate::journal::{Entry, Found, Journal, Listed, Places, copy_with_holes, create_beside};
use crate::remote::save::Policy;

mod list;
mod send;

/// Exit code: nothing is left.
const DONE: u8 = 0;
/// Exit code: something is.
const REMAINS: u8 = 6;

/// What to do with which entries.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to do.
    pub task: Task,
    /// With these only, or their beginnings; with all when there are none.
    pub ids: Vec<String>,
}

/// What to do with unsent changes.
#[derive(Debug, Clone)]
pub enum Task {
    /// Show them.
    List {
        /// For programs.
        json: bool,
    },
    /// Send what belongs to a vehicle or server.
    Send {
        /// The vehicle or server; of its files those at and below the path.
        place: Box<Place>,
        /// How they are saved.
        saving: Policy,
        /// Send also what is refused otherwise.
        force: bool,
    },
    /// Copy their bytes into a directory.
    Export {
        /// The directory, which is made when it is not there.
        directory: PathBuf,
    },
    /// Drop them.
    Discard,
}

/// Does it; returns the exit code, which says whether something is left.
pub fn run(options: &Options) -> Result<u8, Failure> {
    let journals = Places::from_environment().all();
    let all = Unsent::read(&journals)?;
    let chosen = all.choose(&options.ids)?;
    match &options.task {
        Task::List { json: true } => list::for_programs(&chosen)?,
        Task::List { json: false } => list::for_people(&chosen)?,
        Task::Send { place, saving, force } => send::send(&chosen, place, *saving, *force)?,
        Task::Export { directory } => export(&chosen, directory)?,
        Task::Discard => discard(&chosen)?,
    }
    let is_left = match &options.task {
        Task::List { .. } => !all.items.is_empty(),
        Task::Send { .. } | Task::Export { .. } | Task::Discard => {
            !Unsent::read(&journals)?.items.is_empty()
        }
    };
    Ok(if is_left { REMAINS } else { DONE })
}

/// Everything in the journals.
struct Unsent<'a> {
    items: Vec<Item<'a>>,
}

/// Something in a journal.
struct Item<'a> {
    journal: &'a Journal,
    listed: Listed,
}

impl<'a> Unsent<'a> {
    fn read(journals: &'a [Journal]) -> Result<Unsent<'a>, Failure> {
        let mut items = Vec::new();
        for journal in journals {
            let all =
                journal.list().map_err(|error| api::Error::local(journal.directory(), error))?;
            items.extend(all.into_iter().map(|listed| Item { journal, listed }));
        }
        Ok(Unsent { items })
    }

    /// Those that are meant.
    fn choose(&self, ids: &[String]) -> Result<Vec<&Item<'a>>, Failure> {
        if ids.is_empty() {
            return Ok(self.items.iter().collect());
        }
        ids.iter().map(|id| self.named(id)).collect()
    }

    fn named(&self, id: &str) -> Result<&Item<'a>, Failure> {
        let mut fitting = self.items.iter().filter(|item| item.id().starts_with(id));
        let see = "mavftp-mount unsent lists what there is";
        match (fitting.next(), fitting.next()) {
            (Some(item), None) => Ok(item),
            (None, _) => Err(Failure::Refused(format!("nothing is named {id}; {see}"))),
            (Some(_), Some(_)) => {
                Err(Failure::Refused(format!("more than one name begins with {id}; {see}")))
            }
        }
    }
}

impl Item<'_> {
    fn id(&self) -> &str {
        match &self.listed {
            Listed::Entry(found) => &found.meta.id,
            Listed::Unreadable { place, .. } => {
                place.file_name().and_then(|name| name.to_str()).unwrap_or_default()
            }
        }
    }

    /// Takes it over; `Err` says, for people, why it is left alone.
    fn take(&self) -> Result<(&Found, Entry), String> {
        let found = match &self.listed {
            Listed::Entry(found) => found,
            Listed::Unreadable { place, reason } => {
                return Err(format!("{reason}; look at {} yourself", place.display()));
            }
        };
        match self.journal.take(&found.meta.id) {
            Ok(Some(entry)) => Ok((found, entry)),
            Ok(None) => Err("a mount works on it; close the file or unmount first".into()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn export(items: &[&Item<'_>], directory: &Path) -> Result<(), Failure> {
    let failed = |error| api::Error::local(directory, error);
    DirBuilder::new().recursive(true).create(directory).map_err(failed)?;
    for item in items {
        let (found, entry) = match item.take() {
            Ok(taken) => taken,
            Err(reason) => {
                complain(item.id(), "not saved", &reason);
                continue;
            }
        };
        let path = &found.meta.path.0;
        let name = path.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
        let (file, place) = create_beside(directory, name.unwrap_or(b"file")).map_err(failed)?;
        copy_with_holes(entry.data(), &file).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let part = match (found.meta.whole, found.meta.tail) {
            (true, _) => String::new(),
            (false, Some(from)) => format!("; only what follows byte {from} is in it"),
            (false, None) => "; only parts of it were here, the rest reads as zeros".into(),
        };
        say(item.id(), "saved", &format!("as {}{part}", place.display()))?;
    }
    Ok(())
}

fn discard(items: &[&Item<'_>]) -> Result<(), Failure> {
    for item in items {
        match item.take() {
            Ok((found, entry)) => {
                let what = format!("{}, {} bytes", list::shown_path(found), found.meta.length);
                let place = item.journal.directory();
                entry.settle().map_err(|error| api::Error::local(place, error))?;
                say(item.id(), "dropped", &what)?;
            }
            Err(reason) => complain(item.id(), "not dropped", &reason),
        }
    }
    Ok(())
}

/// One line about what was done.
fn say(id: &str, done: &str, more: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{id} {done}: {more}").map_err(Failure::Output)
}

/// One line about what was not.
fn complain(id: &str, not_done: &str, reason: &str) {
    let _ = writeln!(io::stderr(), "{id} {not_done}: {reason}");
}
