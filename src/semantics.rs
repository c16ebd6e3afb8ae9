//! docs/SEMANTICS.md as tests read it: its table of errors, row by row.

use crate::remote::Error;

const TEXT: &str = include_str!("../docs/SEMANTICS.md");

/// A row of the table of errors.
pub struct Row {
    /// MAVSDK's result and its number.
    pub result: String,
    /// The NAK codes that lead here.
    pub naks: Vec<String>,
    /// The errno's name.
    pub errno: String,
}

/// Every error with its row. A program that reads texts reads the message.
pub fn errors() -> Vec<(Error, Row)> {
    all().into_iter().map(|error| (error.clone(), row_of(&error))).collect()
}

/// One of each kind. The match below breaks when a kind is added, so that it is added here as well.
fn all() -> Vec<Error> {
    let login = Error::Login("…".into());
    let failed = Error::Failed("…".into());
    let next = |error: &Error| match error {
        Error::NotFound => Some(Error::Exists),
        Error::Exists => Some(Error::NotADirectory),
        Error::NotADirectory => Some(Error::IsADirectory),
        Error::IsADirectory => Some(Error::NotEmpty),
        Error::NotEmpty => Some(Error::Denied),
        Error::Denied => Some(Error::ReadOnly),
        Error::ReadOnly => Some(Error::NoSpace),
        Error::NoSpace => Some(Error::TooLarge),
        Error::TooLarge => Some(Error::PathTooLong),
        Error::PathTooLong => Some(Error::Invalid),
        Error::Invalid => Some(Error::Unsupported),
        Error::Unsupported => Some(Error::Busy),
        Error::Busy => Some(Error::Armed),
        Error::Armed => Some(Error::LinkDown),
        Error::LinkDown => Some(Error::TimedOut),
        Error::TimedOut => Some(Error::Changed),
        Error::Changed => Some(Error::Cancelled),
        Error::Cancelled => Some(login.clone()),
        Error::Login(_) => Some(failed.clone()),
        Error::Failed(_) => None,
    };
    std::iter::successors(Some(Error::NotFound), next).collect()
}

fn row_of(error: &Error) -> Row {
    let message = format!("`{error}`");
    let line = TEXT.lines().find(|line| line.starts_with('|') && line.contains(&message));
    let line = line.unwrap_or_else(|| panic!("no row of docs/SEMANTICS.md has {message}"));
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [result, naks, errno, _] = cells[..] else { panic!("not four cells: {line}") };
    Row {
        result: result.into(),
        naks: naks.split(", ").filter(|nak| *nak != "–").map(str::to_owned).collect(),
        errno: errno.into(),
    }
}
