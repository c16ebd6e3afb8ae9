//! What is in a directory: MLSD, else CWD and LIST; what a listing leaves open (whether it is a
//! directory, the time zone, where links lead) is asked after it. Must not know who asks.

use std::io::BufReader;

use suppaftp::{FtpError, FtpResult, Status};

use super::Session;
use crate::remote::ftp::job::Job;
use crate::remote::ftp::lines::What;
use crate::remote::ftp::listing::{Reading, Seen, Style};
use crate::remote::ftp::login::{Data, Ftp};
use crate::remote::ftp::replies;
use crate::remote::ftp::storing::Manners;
use crate::remote::ftp::times::{self, Zone};
use crate::remote::{Entry, Error, RemotePath, Reply};

/// So many links of a listing are looked up, one or two questions each; the rest are not shown.
const LINKS_MAX: usize = 50;
/// Answers that open a transfer.
const OPENED: [Status; 2] = [Status::AboutToSend, Status::AlreadyOpen];

/// What is known of how a server lists.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// The time zone of its LIST.
    zone: Zone,
    /// Whether `LIST -a` shows names with a dot in front, which some servers hide otherwise.
    hidden: Hidden,
    /// How it takes saves.
    pub(in crate::remote::ftp) manners: Manners,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Hidden {
    /// It has not been tried.
    #[default]
    Untried,
    /// It does.
    Shown,
    /// It takes the option for a name, or does not care.
    NoSuchOption,
}

impl Session {
    /// The entries of a directory, page by page.
    pub(super) fn list(&mut self, job: &Job, path: &RemotePath) -> Result<Reply, Error> {
        let style = self.features.style();
        // Servers take LIST's argument for options or a pattern.
        if style == Style::List {
            self.enter(job, path)?;
        }
        let hidden = self.habits.lock().hidden;
        let command = match (style, hidden) {
            (Style::List, Hidden::Untried) => match self.try_hidden(job, path)? {
                true => return Ok(Reply::Done),
                false => "LIST",
            },
            (Style::List, Hidden::Shown) => "LIST -a",
            (Style::List, Hidden::NoSuchOption) => "LIST",
            (Style::Mlsd, _) => "MLSD",
        };
        let listing = self.read_listing(job, path, command);
        let (reading, early) = match listing {
            Ok(listing) => listing,
            Err(error) => return Err(self.no_directory(job, path, error)),
        };
        if reading.is_doubtful(path.name().as_ref()) {
            self.enter(job, path)?;
        }
        self.complete(job, path, reading, early)?;
        Ok(Reply::Done)
    }

    /// Lists with `-a`. A server that knows the option lists the directory itself as well: whether it
    /// did, and all is handed out.
    fn try_hidden(&mut self, job: &Job, path: &RemotePath) -> Result<bool, Error> {
        match self.read_listing(job, path, "LIST -a") {
            Ok((reading, early)) if reading.is_directory => {
                self.habits.lock().hidden = Hidden::Shown;
                self.complete(job, path, reading, early)?;
                return Ok(true);
            }
            Err(error) if !self.in_step || self.seat.is_cancelled() => return Err(error),
            // It will be tried again another time.
            Err(Error::Busy | Error::Failed(_) | Error::Cancelled) => {}
            Ok(_) | Err(_) => self.habits.lock().hidden = Hidden::NoSuchOption,
        }
        Ok(false)
    }

    /// Reads a listing, and hands out what can be handed out yet. Answers the rest.
    fn read_listing(
        &mut self,
        job: &Job,
        path: &RemotePath,
        command: &str,
    ) -> Result<(Reading, Vec<Seen>), Error> {
        let style = self.features.style();
        let (mut reading, mut early) = (Reading::new(style, self.features.charset), Vec::new());
        let data = self.command(job, path, |ftp, path| match style {
            Style::Mlsd => open(ftp, &format!("{command} {path}")),
            Style::List => open(ftp, command).or_else(none_if_empty),
        })?;
        let Some(data) = data else { return Ok((reading, early)) };
        self.take_up(&data)?;
        // Nothing is handed out before it is known what it means.
        let habits = *self.habits.lock();
        let is_known = !habits.zone.is_wanted() && habits.hidden != Hidden::Untried;
        let at_once = style == Style::Mlsd || is_known;
        let mut lines = BufReader::new(data);
        let moved = reading.read(&mut lines, &mut |page| match at_once {
            true => hand_out(job, page, habits.zone),
            false => early.extend(page),
        });
        let word = self.finish(lines.into_inner(), &moved);
        // What was cut off looks like an end.
        if self.seat.is_cancelled() {
            return self.judge(job, moved, word).and(Err(Error::Cancelled));
        }
        self.judge(job, moved, word)?;
        early.extend(reading.rest());
        Ok((reading, early))
    }

    /// Hands out what is left of a listing.
    fn complete(
        &mut self,
        job: &Job,
        path: &RemotePath,
        reading: Reading,
        left: Vec<Seen>,
    ) -> Result<(), Error> {
        if self.features.style() == Style::List && self.habits.lock().zone.is_wanted() {
            self.learn_zone(job, path, &left)?;
        }
        hand_out(job, left, self.zone());
        let links = self.follow_links(job, path, &reading.links)?;
        let lines = reading.left_out;
        if lines + links > 0 {
            tracing::warn!(%path, lines, links, "a listing is shown without what is not understood");
        }
        Ok(())
    }

    /// Makes a directory the current one, which proves that it is one.
    fn enter(&mut self, job: &Job, path: &RemotePath) -> Result<(), Error> {
        let entered = self.command(job, path, |ftp, path| ftp.cwd(path));
        entered.map_err(|error| self.no_directory(job, path, error))
    }

    /// Why something cannot be listed, from a refusal that may not say whether it is a file.
    fn no_directory(&mut self, job: &Job, path: &RemotePath, error: Error) -> Error {
        let is_vague = matches!(error, Error::NotFound | Error::Denied | Error::Failed(_));
        if !is_vague || !self.in_step {
            return error;
        }
        match self.size(job, path) {
            Ok(_) => Error::NotADirectory,
            Err(_) => error,
        }
    }

    fn zone(&self) -> Zone {
        self.habits.lock().zone
    }

    /// Asks the latest of these files for its own time.
    fn learn_zone(&mut self, job: &Job, path: &RemotePath, seen: &[Seen]) -> Result<(), Error> {
        let minutes = seen.iter().filter_map(|seen| Some((seen.minute()?, seen)));
        let Some((minute, latest)) = minutes.max_by_key(|(minute, _)| *minute) else {
            return Ok(());
        };
        match self.command(job, &path.join(&latest.name), times::of) {
            Ok(own) => self.habits.lock().zone.learn(minute, own),
            Err(error) if !self.in_step => return Err(error),
            // It may be gone.
            Err(Error::NotFound) => {}
            Err(_) => self.habits.lock().zone.learn(minute, None),
        }
        Ok(())
    }

    /// Hands out what links lead to, as if it were here. Answers how many are not.
    fn follow_links(
        &mut self,
        job: &Job,
        path: &RemotePath,
        links: &[Seen],
    ) -> Result<usize, Error> {
        let mut found = Vec::new();
        for link in links.iter().take(LINKS_MAX) {
            if self.seat.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let there = path.join(&link.name);
            let what = match self.size(job, &there) {
                Ok(size) => Some(What::File(size)),
                Err(_) if self.in_step => {
                    let entered = self.command(job, &there, |ftp, path| ftp.cwd(path));
                    entered.is_ok().then_some(What::Directory)
                }
                Err(error) => return Err(error),
            };
            if !self.in_step {
                return Err(Error::LinkDown);
            }
            match what {
                Some(what) => found.push(Seen { what, ..link.clone() }),
                None => tracing::debug!(path = %there, "a link that leads nowhere is not shown"),
            }
        }
        let unfollowed = links.len().saturating_sub(LINKS_MAX);
        hand_out(job, found, self.zone());
        Ok(unfollowed)
    }
}

fn open(ftp: &mut Ftp, command: &str) -> FtpResult<Option<Data>> {
    ftp.custom_data_command(command, &OPENED).map(|(_, data)| Some(data))
}

/// Some servers call it a failure that there is nothing to list.
fn none_if_empty<T>(error: FtpError) -> FtpResult<Option<T>> {
    if replies::is_empty_directory(&error) { Ok(None) } else { Err(error) }
}

fn hand_out(job: &Job, seen: Vec<Seen>, zone: Zone) {
    let entries: Vec<Entry> = seen.into_iter().filter_map(|seen| seen.entry(zone)).collect();
    if !entries.is_empty() {
        job.page(entries);
    }
}
