//! The results that users of MAVSDK know, by its numbers, so that a program written for its `Ftp`
//! plugin can keep its cases. The table in docs/SEMANTICS.md shows them beside errno and NAK.

use std::fmt;

use crate::remote::Error;

/// How an FTP operation ended, as MAVSDK's `Ftp` plugin counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FtpResult {
    /// Cannot be told.
    Unknown = 0,
    /// Done.
    Success = 1,
    /// Intermediate: progress of a transfer.
    Next = 2,
    /// No answer in time.
    Timeout = 3,
    /// The server, or the vehicle, is busy.
    Busy = 4,
    /// A file or disk failed.
    FileIoError = 5,
    /// The name is taken.
    FileExists = 6,
    /// There is no such file or directory.
    FileDoesNotExist = 7,
    /// The file is protected.
    FileProtected = 8,
    /// The request makes no sense.
    InvalidParameter = 9,
    /// The server cannot do this.
    Unsupported = 10,
    /// The far side broke the protocol, or refused without a reason.
    ProtocolError = 11,
    /// No vehicle is heard.
    NoSystem = 12,
}

impl FtpResult {
    /// What an operation's outcome is called there.
    pub fn of<T>(outcome: &Result<T, Error>) -> FtpResult {
        match outcome {
            Ok(_) => FtpResult::Success,
            Err(error) => FtpResult::from(error),
        }
    }
}

impl From<&Error> for FtpResult {
    fn from(error: &Error) -> FtpResult {
        match error {
            Error::NotFound => FtpResult::FileDoesNotExist,
            Error::Exists => FtpResult::FileExists,
            Error::NotADirectory
            | Error::IsADirectory
            | Error::NotEmpty
            | Error::NoSpace
            | Error::Changed => FtpResult::FileIoError,
            Error::Denied | Error::ReadOnly | Error::Login(_) => FtpResult::FileProtected,
            Error::TooLarge | Error::PathTooLong | Error::Invalid => FtpResult::InvalidParameter,
            Error::Unsupported => FtpResult::Unsupported,
            Error::Busy | Error::Armed => FtpResult::Busy,
            Error::LinkDown => FtpResult::NoSystem,
            Error::TimedOut => FtpResult::Timeout,
            Error::Cancelled => FtpResult::Unknown,
            Error::Failed(_) => FtpResult::ProtocolError,
        }
    }
}

impl fmt::Display for FtpResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics;

    #[test]
    fn the_numbers_are_mavsdks() {
        let all = [
            FtpResult::Unknown,
            FtpResult::Success,
            FtpResult::Next,
            FtpResult::Timeout,
            FtpResult::Busy,
            FtpResult::FileIoError,
            FtpResult::FileExists,
            FtpResult::FileDoesNotExist,
            FtpResult::FileProtected,
            FtpResult::InvalidParameter,
            FtpResult::Unsupported,
            FtpResult::ProtocolError,
            FtpResult::NoSystem,
        ];
        assert!(all.iter().enumerate().all(|(number, result)| *result as usize == number));
        assert_eq!(FtpResult::of(&Ok(())), FtpResult::Success);
    }

    #[test]
    fn the_table_of_errors_names_the_result_of_each() {
        for (error, row) in semantics::errors() {
            let result = FtpResult::from(&error);
            assert_eq!(row.result, format!("{result} {}", result as u8), "{error:?}");
        }
    }
}
