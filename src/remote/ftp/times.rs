//! Modification times as a server tells and takes them. Must not know who asks.

use suppaftp::types::{FtpError, Response};
use suppaftp::{FtpResult, Status};

use super::calendar;
use super::login::Ftp;

/// What servers answer a time that they have set: a file's status (the draft of MFMT), or just done.
const SET: [Status; 3] = [Status::File, Status::RequestedFileActionOk, Status::CommandOk];

/// Sets a file's modification time (MFMT), seconds since 1970 UTC.
pub fn set(ftp: &mut Ftp, path: &str, mtime: i64) -> FtpResult<()> {
    let digits = calendar::digits(mtime).ok_or_else(unsayable)?;
    ftp.custom_command(format!("MFMT {digits} {path}"), &SET).map(drop)
}

/// A time that four digits of a year cannot say is refused as the server would.
fn unsayable() -> FtpError {
    let text = "501 this time cannot be said\r\n";
    FtpError::UnexpectedResponse(Response::new(Status::BadArguments, text.as_bytes().to_vec()))
}
