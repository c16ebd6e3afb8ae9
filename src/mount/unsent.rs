//! What of a vehicle's files is still unsent when a mount begins and when it ends: said to the user.
//! Also removes what died uploads left on the vehicle.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::api::Vehicle;
use crate::fs::Fs;
use crate::journal::{self, Before, Durability, Entry, Found, Journal, Meta, State};
use crate::remote::{Remote, RemotePath};

/// How long a vehicle may take to say who it is; waited for only when something is unsent.
const IDENTITY_MAX: Duration = Duration::from_secs(4);
/// How many files are named at the end.
const NAMED_MAX: usize = 10;

/// Says, in a line, what is unsent of this vehicle; begins to remove what died uploads left on it.
pub(super) fn welcome(
    journal: &Journal,
    fs: &Arc<Fs>,
    remote: &Arc<dyn Remote>,
    patience: Duration,
    quiet: bool,
) {
    let waiting = match journal.find(Meta::is_worth_keeping) {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::warn!(place = %journal.directory().display(), %error, "cannot be read");
            return;
        }
    };
    if waiting.iter().all(|found| found.in_use) {
        return;
    }
    let vehicle = Vehicle::over(remote.clone(), patience);
    let _ = vehicle.identity(IDENTITY_MAX);
    let ours = fs.far_side();
    let unsent = waiting.iter().filter(|found| is_unsent(found, &ours) && !found.in_use).count();
    if unsent > 0 && !quiet {
        let changes = counted(unsent, " for this vehicle");
        let _ = writeln!(io::stderr(), "{changes} not sent yet; see: mavftp-mount unsent");
    }
    tidy_up(journal.clone(), ours, vehicle, remote.clone());
}

/// Says what is unsent of this vehicle, and where it is kept; how many files that are.
pub(super) fn farewell(journal: &Journal, fs: &Fs) -> usize {
    let ours = fs.far_side();
    let unsent = journal.find(Meta::is_worth_keeping).unwrap_or_default();
    let unsent: Vec<_> = unsent.iter().filter(|found| is_unsent(found, &ours)).collect();
    for found in unsent.iter().take(NAMED_MAX) {
        let Found { meta, data, .. } = found;
        tracing::error!(path = %meta.path, id = meta.id, kept = %data.display(), "not sent");
    }
    if !unsent.is_empty() {
        let changes = counted(unsent.len(), "");
        tracing::error!("{changes} not sent; mavftp-mount unsent lists, sends and drops them");
    }
    unsent.len()
}

fn counted(count: usize, whose: &str) -> String {
    match count {
        1 => format!("1 change{whose} is"),
        _ => format!("{count} changes{whose} are"),
    }
}

fn is_unsent(found: &Found, vehicle: &journal::Vehicle) -> bool {
    let is_unsent = match found.state() {
        State::Clean | State::Dirty => false,
        State::Failed | State::Partial | State::Interrupted | State::Pending => true,
    };
    is_unsent && found.meta.vehicle.is(vehicle)
}

/// On a thread of its own: nobody waits for it, and the vehicle may be slow.
fn tidy_up(journal: Journal, ours: journal::Vehicle, vehicle: Vehicle, remote: Arc<dyn Remote>) {
    let work = move || {
        // What is promised is taken by who sends it, and tidied then.
        let has_left = |meta: &Meta| {
            let is_promised = meta.state == State::Pending;
            !meta.leftovers.is_empty() && !is_promised && meta.vehicle.is(&ours)
        };
        for entry in journal.take_all(has_left).unwrap_or_default() {
            if let Err(error) = remove_leftovers(&entry, &ours, &vehicle, &remote) {
                tracing::warn!(%error, "the journal could not be written");
            }
            if !entry.meta().is_worth_keeping() {
                let _ = entry.remove();
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("leftovers".into()).spawn(work) {
        tracing::warn!(%error, "unfinished uploads stay on the vehicle");
    }
}

/// Removes an entry's unfinished uploads from the vehicle that it belongs to, while it is disarmed.
fn remove_leftovers(
    entry: &Entry,
    ours: &journal::Vehicle,
    vehicle: &Vehicle,
    remote: &Arc<dyn Remote>,
) -> io::Result<()> {
    let meta = entry.meta();
    // Removed to be replaced, which then failed: what is left is all that the vehicle has of it.
    let was_there = matches!(meta.before, Before::File { .. });
    let target = RemotePath::parse(&meta.path.0).ok().filter(|_| was_there);
    if let Some(target) = target
        && vehicle.find(&target).is_err()
    {
        return Ok(());
    }
    for name in meta.leftovers {
        let status = remote.status();
        if status.armed || status.identity != ours.identity {
            return Ok(());
        }
        let Ok(path) = RemotePath::parse(&name.0) else { continue };
        match vehicle.remove_temporary(&path) {
            Ok(()) => entry.note(Durability::Process, |meta| {
                meta.leftovers.retain(|left| *left != name);
            })?,
            Err(error) => {
                tracing::debug!(%path, %error, "an unfinished upload is still there");
                return Ok(());
            }
        }
    }
    Ok(())
}
