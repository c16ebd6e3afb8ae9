//! Modification times as a server tells and takes them, and the time zone of its listings. Must not
//! know who asks.

use suppaftp::types::{FtpError, Response};
use suppaftp::{FtpResult, Status};

use super::calendar;
use super::lines::Told;
use super::login::Ftp;

/// What servers answer a time that they have set: a file's status (the draft of MFMT), or just done.
const SET: [Status; 3] = [Status::File, Status::RequestedFileActionOk, Status::CommandOk];
/// Time zones differ by multiples of this many seconds.
const ZONE_STEP: i64 = 15 * 60;
/// And by no more than this from UTC, with summer time.
const ZONE_MAX: i64 = 15 * 3600;
/// After so many files whose two times do not fit, LIST's are worth nothing. One that is being
/// written does not fit.
const MISFITS_MAX: u32 = 3;

/// Sets a file's modification time (MFMT), seconds since 1970 UTC.
pub fn set(ftp: &mut Ftp, path: &str, mtime: i64) -> FtpResult<()> {
    let digits = calendar::digits(mtime).ok_or_else(unsayable)?;
    ftp.custom_command(format!("MFMT {digits} {path}"), &SET).map(drop)
}

/// A file's own modification time (MDTM), seconds since 1970 UTC.
pub fn of(ftp: &mut Ftp, path: &str) -> FtpResult<Option<i64>> {
    let reply = ftp.custom_command(format!("MDTM {path}"), &[Status::File])?;
    let digits = reply.body.get(3..).unwrap_or_default().trim_ascii();
    Ok(calendar::parse_digits(digits))
}

/// What is known of the time zone of a server's LIST: it tells the minute, but not where. One file's
/// own time, in UTC, tells how far that is.
///
/// Times of the other half of a year may be wrong by the hour of summer time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Nothing yet, after so many files whose two times did not fit.
    Unknown(u32),
    /// So many seconds ahead of UTC.
    Ahead(i64),
    /// It cannot be learned.
    Never,
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::Unknown(0)
    }
}

impl Zone {
    /// Whether a file's own time would tell more.
    pub fn is_wanted(self) -> bool {
        matches!(self, Zone::Unknown(_))
    }

    /// Takes a file's own time (`None`: the server does not tell) for the minute that LIST shows.
    pub fn learn(&mut self, shown: i64, own: Option<i64>) {
        let Zone::Unknown(misfits) = *self else { return };
        let Some(own) = own else {
            *self = Zone::Never;
            return;
        };
        let ahead = (shown - own).div_euclid(ZONE_STEP);
        // The seconds that LIST leaves out make it look nearer.
        let exact = |step: i64| (0..60).contains(&(step * ZONE_STEP - (shown - own)));
        let ahead = [ahead, ahead + 1].into_iter().find(|step| exact(*step));
        *self = match ahead.map(|step| step * ZONE_STEP).filter(|zone| zone.abs() <= ZONE_MAX) {
            Some(ahead) => Zone::Ahead(ahead),
            None if misfits + 1 < MISFITS_MAX => Zone::Unknown(misfits + 1),
            None => Zone::Never,
        };
    }

    /// Seconds since 1970 UTC of what a line told; of a minute or a day its beginning. `None` where
    /// nobody knows.
    pub fn utc(self, told: Told) -> Option<i64> {
        match (told, self) {
            (Told::Utc(time), _) => Some(time),
            (Told::Minute(time) | Told::Day(time), Zone::Ahead(ahead)) => Some(time - ahead),
            (Told::Minute(_) | Told::Day(_), Zone::Unknown(_) | Zone::Never) => None,
        }
    }
}

/// A time that four digits of a year cannot say is refused as the server would.
fn unsayable() -> FtpError {
    let text = "501 this time cannot be said\r\n";
    FtpError::UnexpectedResponse(Response::new(Status::BadArguments, text.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 1_795_186_800;

    fn learned(shown: i64, own: Option<i64>) -> Zone {
        let mut zone = Zone::default();
        zone.learn(shown, own);
        zone
    }

    #[test]
    fn one_file_tells_the_zone_of_all() {
        for ahead in [0, 3600, -8 * 3600, 5 * 3600 + 1800, 12 * 3600 + 2700, -900] {
            for second in [0, 1, 59] {
                let zone = learned(MINUTE + ahead, Some(MINUTE + second));
                assert_eq!(zone, Zone::Ahead(ahead), "{ahead} {second}");
                assert_eq!(zone.utc(Told::Minute(MINUTE + ahead)), Some(MINUTE));
            }
        }
    }

    #[test]
    fn times_that_do_not_fit_teach_nothing_and_in_the_end_never() {
        let mut zone = Zone::default();
        for own in [MINUTE + 61, MINUTE - 1, MINUTE + 30 * 3600] {
            assert!(zone.is_wanted());
            zone.learn(MINUTE, Some(own));
            assert_eq!(zone.utc(Told::Minute(MINUTE)), None);
        }
        assert_eq!(zone, Zone::Never);
        assert_eq!(learned(MINUTE, None), Zone::Never);
    }

    #[test]
    fn what_is_told_in_utc_needs_no_zone() {
        assert_eq!(Zone::default().utc(Told::Utc(5)), Some(5));
    }
}
