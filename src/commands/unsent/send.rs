//! Sending what could not be sent before: only to the vehicle that it was made for, only what is
//! complete, and only over what it was made from.

use std::time::{Duration, UNIX_EPOCH};

use super::{Item, complain, say};
use crate::api::{self, Vehicle};
use crate::commands::{Failure, Place};
use crate::journal::{Durability, Entry, Meta, State};
use crate::remote::save::Policy;
use crate::remote::{self, RemotePath};

/// How long a vehicle may take to say who it is; it is asked three times within three seconds.
const IDENTITY_MAX: Duration = Duration::from_secs(4);

/// Sends entries of this vehicle, and removes each that has arrived. Says of every other why not.
pub(super) fn send(
    items: &[&Item<'_>],
    place: &Place,
    saving: Policy,
    force: bool,
) -> Result<(), Failure> {
    if items.is_empty() {
        return Ok(());
    }
    let vehicle = place.connect()?;
    let identity = vehicle.identity(IDENTITY_MAX)?;
    let sending = Sending { vehicle, identity, within: &place.path, saving, force };
    for item in items {
        let (_, entry) = match item.take() {
            Ok(taken) => taken,
            Err(reason) => {
                complain(item.id(), "not sent", &reason);
                continue;
            }
        };
        let meta = entry.meta();
        match sending.settle(entry) {
            Ok(()) => say(item.id(), "sent", &format!("{}, {} bytes", meta.path, meta.length))?,
            Err(Refusal::Interrupted) => return Err(api::Error::Interrupted.into()),
            Err(Refusal::Because(reason)) => complain(item.id(), "not sent", &reason),
        }
    }
    Ok(())
}

/// Why an entry is not sent.
enum Refusal {
    Because(String),
    Interrupted,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal::Because(reason)
    }
}

impl From<api::Error> for Refusal {
    fn from(error: api::Error) -> Refusal {
        match error {
            api::Error::Interrupted => Refusal::Interrupted,
            error => Refusal::Because(error.to_string()),
        }
    }
}

struct Sending<'a> {
    vehicle: Vehicle,
    identity: Option<String>,
    within: &'a RemotePath,
    saving: Policy,
    force: bool,
}

impl Sending<'_> {
    fn settle(&self, entry: Entry) -> Result<(), Refusal> {
        let meta = entry.meta();
        let path = RemotePath::parse(&meta.path.0)
            .map_err(|error| Refusal::Because(format!("its path will not do: {error}")))?;
        self.check(&meta, &path)?;
        self.check_target(&meta, &path)?;
        let file = entry.data().try_clone().map_err(|error| error.to_string())?;
        // It is stored with its time, which is to be the one that its program saw.
        let mtime = UNIX_EPOCH + Duration::from_secs(u64::try_from(meta.mtime).unwrap_or(0));
        if let Err(error) = file.set_modified(mtime) {
            tracing::debug!(%path, %error, "sent with another time");
        }
        if let Err(error) = self.vehicle.store(&path, file, self.saving, &mut |_, _| {}) {
            let reason = error.to_string();
            let noted = entry.note(Durability::Power, |meta| {
                meta.state = State::Failed;
                meta.reason = reason;
            });
            noted.map_err(|error| error.to_string())?;
            return Err(error.into());
        }
        self.remove_leftovers(&meta);
        entry.remove().map_err(|error| {
            Refusal::Because(format!("it was sent, but cannot be removed here: {error}"))
        })
    }

    /// Whether it may go to this vehicle at all.
    fn check(&self, meta: &Meta, path: &RemotePath) -> Result<(), String> {
        if !path.is_within(self.within) {
            return Err(format!("{path} is not below {}", self.within));
        }
        match (&meta.vehicle.identity, &self.identity) {
            (Some(meant), Some(there)) if meant == there => {}
            (Some(meant), Some(there)) => {
                return Err(format!("it belongs to {meant}, and {there} answers"));
            }
            (None, _) | (_, None) if self.force => {}
            (None, _) => {
                return Err("nobody knows to which vehicle it belongs; --force sends it".into());
            }
            (Some(meant), None) => {
                return Err(format!(
                    "it belongs to {meant}, and this vehicle does not say who it is; --force \
                     sends it"
                ));
            }
        }
        if !meta.whole {
            return Err("only a part of the file is here; --export saves that".into());
        }
        match meta.state {
            State::Partial if !self.force => Err("its program has not written all of it; look at \
                                                  it first (--export), --force sends it"
                .into()),
            State::Dirty | State::Interrupted if !self.force => {
                Err("the mount ended while it was being written; look at it first (--export), \
                     --force sends it"
                    .into())
            }
            State::Clean
            | State::Dirty
            | State::Failed
            | State::Partial
            | State::Interrupted
            | State::Pending => Ok(()),
        }
    }

    /// Whether the file there is still the one that this was made from.
    fn check_target(&self, meta: &Meta, path: &RemotePath) -> Result<(), Refusal> {
        if self.force {
            return Ok(());
        }
        let there = match self.vehicle.find(path) {
            Ok(api::Found::File(entry)) => Some((entry.size, entry.mtime)),
            Ok(api::Found::Directory) => {
                return Err(Refusal::Because(format!("{path} is a directory there")));
            }
            Err(api::Error::Remote { error: remote::Error::NotFound, .. }) => None,
            Err(error) => return Err(error.into()),
        };
        match meta.before.is_still(there) {
            true => Ok(()),
            false => Err(Refusal::Because(format!(
                "{path} has changed there since; --force replaces it"
            ))),
        }
    }

    fn remove_leftovers(&self, meta: &Meta) {
        for name in &meta.leftovers {
            let Ok(path) = RemotePath::parse(&name.0) else { continue };
            if let Err(error) = self.vehicle.remove_temporary(&path) {
                tracing::debug!(%path, %error, "an unfinished upload is still there");
            }
        }
    }
}
