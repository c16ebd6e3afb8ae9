//! A server's refusal → [`Error`], in one place. Must not know the connection.
//!
//! FTP's codes say little: 550 is a missing file, a directory that is not empty or a right that is
//! lacking. Most servers add the text of the system's error, some (vsftpd) only "failed". So the
//! text decides where it says something known, then the code, then what was asked.

use suppaftp::types::{FtpError, Response};

use crate::remote::{Error, Op, RemotePath};

/// Phrases of system errors, tried in this order: "does not exist" holds "exist". Unix texts, then
/// those of Windows servers, then what vsftpd says where it can have but one reason.
const PHRASES: [(&str, Error); 29] = [
    ("no such", Error::NotFound),
    ("not found", Error::NotFound),
    ("not exist", Error::NotFound),
    ("doesn't exist", Error::NotFound),
    ("cannot find", Error::NotFound),
    ("rnfr command failed", Error::NotFound),
    ("not a directory", Error::NotADirectory),
    ("directory name is invalid", Error::NotADirectory),
    ("not empty", Error::NotEmpty),
    ("not enough space", Error::NoSpace),
    ("no space", Error::NoSpace),
    ("disk full", Error::NoSpace),
    ("quota exceeded", Error::NoSpace),
    ("permission", Error::Denied),
    ("not permitted", Error::Denied),
    ("privilege", Error::Denied),
    ("denied", Error::Denied),
    ("read-only", Error::ReadOnly),
    ("write protected", Error::ReadOnly),
    ("is a directory", Error::IsADirectory),
    ("not a regular file", Error::IsADirectory),
    ("not a plain file", Error::IsADirectory),
    ("only retrieve regular files", Error::IsADirectory),
    ("too long", Error::PathTooLong),
    ("being used by another", Error::Busy),
    ("syntax is incorrect", Error::Invalid),
    ("name not allowed", Error::Invalid),
    ("invalid argument", Error::Invalid),
    ("exist", Error::Exists),
];
/// How servers say that no more connections are let in, whatever the code.
const FULL: [&str; 6] =
    ["too many", "maximum", "limit", "already connected", "already logged in", "server is busy"];
/// The same words, but about a password that was tried too often.
const TRIED: [&str; 3] = ["attempt", "tries", "failure"];

/// The reply's code; the library knows only some of them.
pub fn code(reply: &Response) -> u32 {
    let digits = reply.body.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Whether a command was refused, by a server that goes on listening.
pub fn is_refusal(reply: &Response) -> bool {
    let code = code(reply);
    code >= 400 && code != 421
}

/// What the server said, for people: one line, control characters escaped.
pub fn said(reply: &Response) -> String {
    let line = reply.body.trim_ascii_end();
    String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Why the server refused `op`.
pub fn refusal(op: &Op, reply: &Response) -> Error {
    match code(reply) {
        450 | 451 | 501 | 550 | 553 | 554 => {
            by_text(op, reply).unwrap_or_else(|| by_code_and_op(op, reply))
        }
        452 | 552 => Error::NoSpace,
        500 | 502 | 504 => Error::Unsupported,
        430 | 530 | 532 => Error::Login(said(reply)),
        _ => Error::Failed(said(reply)),
    }
}

/// Why the server did not let us in.
pub fn login_refusal(reply: &Response) -> Error {
    let text = said(reply).to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    match code(reply) {
        421 => Error::Busy,
        _ if says(&FULL) && !says(&TRIED) => Error::Busy,
        _ => Error::Login(said(reply)),
    }
}

/// Whether a listing was refused because there is nothing to list.
pub fn is_empty_directory(error: &FtpError) -> bool {
    let FtpError::UnexpectedResponse(reply) = error else { return false };
    let text = said(reply).to_lowercase();
    matches!(code(reply), 450 | 550) && (text.contains("no files") || text.contains("is empty"))
}

fn by_text(op: &Op, reply: &Response) -> Option<Error> {
    let mut text = said(reply).to_lowercase();
    // A file may be called "permission" or "exist".
    for path in paths(op).into_iter().flatten().filter(|path| !path.is_root()) {
        text = text.replace(&path.to_string().to_lowercase(), "");
        if let Some(name) = path.name() {
            text = text.replace(&format!(" {}: ", name.to_string().to_lowercase()), " ");
        }
    }
    PHRASES.iter().find(|(phrase, _)| text.contains(phrase)).map(|(_, error)| error.clone())
}

fn paths(op: &Op) -> [Option<&RemotePath>; 2] {
    match op {
        Op::List { path }
        | Op::Read { path, .. }
        | Op::Size { path }
        | Op::Write { path, .. }
        | Op::Remove { path }
        | Op::MakeDirectory { path }
        | Op::RemoveDirectory { path }
        | Op::Truncate { path, .. }
        | Op::SetTime { path, .. }
        | Op::Checksum { path } => [Some(path), None],
        Op::Rename { from, to } => [Some(from), Some(to)],
    }
}

fn by_code_and_op(op: &Op, reply: &Response) -> Error {
    match (code(reply), op) {
        (450, _) => Error::Busy,
        (501, _) => Error::Invalid,
        // "Failed to open file", "is not retrievable": rights, or a directory, are the rarer reason.
        (550, Op::List { .. } | Op::Read { .. } | Op::Size { .. }) => Error::NotFound,
        // It was listed as empty: what is in it is hidden from listings.
        (550, Op::RemoveDirectory { .. }) => Error::NotEmpty,
        (550 | 553, _) => Error::Denied,
        _ => Error::Failed(said(reply)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suppaftp::Status;

    fn reply(text: &str) -> Response {
        Response::new(Status::Unknown, format!("{text}\r\n").into_bytes())
    }

    #[test]
    fn the_text_of_a_refusal_counts_before_its_code() {
        let op = Op::Remove { path: RemotePath::root() };
        for (text, error) in [
            ("550 No such file or directory.", Error::NotFound),
            ("450 /a: No such file or directory", Error::NotFound),
            ("501 No such directory.", Error::NotFound),
            ("550 The system cannot find the file specified.", Error::NotFound),
            ("550 File does not exist", Error::NotFound),
            ("550 File exists.", Error::Exists),
            ("550 Directory not empty.", Error::NotEmpty),
            ("550 Not enough privileges.", Error::Denied),
            ("550 The directory name is invalid. ", Error::NotADirectory),
            ("550 Cannot create a file when that file already exists. ", Error::Exists),
            ("550 There is not enough space on the disk. ", Error::NoSpace),
            ("550 Access is denied. ", Error::Denied),
            ("550 CWD failed. \"/x\": directory not found.", Error::NotFound),
            ("550 x: Operation not permitted", Error::Denied),
            ("550 x: Read-only file system", Error::ReadOnly),
            ("550 I can only retrieve regular files", Error::IsADirectory),
            ("550 RNFR command failed.", Error::NotFound),
            ("550 Delete operation failed.", Error::Denied),
            ("553 Could not create file.", Error::Denied),
            ("553 Permission denied.", Error::Denied),
            ("552 Quota", Error::NoSpace),
            ("502 Command not implemented", Error::Unsupported),
            ("530 Please login", Error::Login("530 Please login".into())),
            ("522 Session reuse required", Error::Failed("522 Session reuse required".into())),
        ] {
            assert_eq!(refusal(&op, &reply(text)), error, "{text}");
        }
    }

    #[test]
    fn a_refusal_without_a_reason_is_judged_by_what_was_asked() {
        let path = RemotePath::root();
        let failed = reply("550 Failed to open file.");
        let vague = reply("550 /a is not retrievable.");
        assert_eq!(refusal(&Op::Size { path: path.clone() }, &failed), Error::NotFound);
        assert_eq!(refusal(&Op::Size { path: path.clone() }, &vague), Error::NotFound);
        assert_eq!(refusal(&Op::Remove { path: path.clone() }, &failed), Error::Denied);
        for (op, text, error) in [
            (Op::List { path: path.clone() }, "550 Failed to change directory.", Error::NotFound),
            (Op::Size { path: path.clone() }, "550 Could not get file size.", Error::NotFound),
            (
                Op::MakeDirectory { path: path.clone() },
                "550 Create directory operation failed.",
                Error::Denied,
            ),
            (
                Op::RemoveDirectory { path: path.clone() },
                "550 Remove directory operation failed.",
                Error::NotEmpty,
            ),
            (Op::Rename { from: path.clone(), to: path }, "550 Rename failed.", Error::Denied),
        ] {
            assert_eq!(refusal(&op, &reply(text)), error, "{text}");
        }
    }

    #[test]
    fn a_name_in_a_refusal_is_no_reason() {
        let path = RemotePath::parse(b"/d/permission denied").unwrap();
        for text in
            ["550 permission denied: No such file", "550 /d/permission denied: Is a directory"]
        {
            let told = refusal(&Op::Remove { path: path.clone() }, &reply(text));
            assert_ne!(told, Error::Denied, "{text}");
        }
    }

    #[test]
    fn an_empty_directory_is_no_failure() {
        let empty = |text| is_empty_directory(&FtpError::UnexpectedResponse(reply(text)));
        assert!(empty("450 No files found"));
        assert!(!empty("550 No such directory"));
    }

    #[test]
    fn a_full_server_is_busy_and_not_a_wrong_password() {
        assert_eq!(login_refusal(&reply("421 Too many connections")), Error::Busy);
        for full in [
            "421 There are too many connected users, please try later.",
            "530 Sorry, the maximum number of clients (2) from your host are already connected.",
            "530 Maximum session limit exceeded.",
            "421 3 users (the maximum) are already logged in, sorry",
        ] {
            assert_eq!(login_refusal(&reply(full)), Error::Busy, "{full}");
        }
        for wrong in ["530 Authentication failed.", "530 Too many failed login attempts"] {
            assert_eq!(login_refusal(&reply(wrong)), Error::Login(wrong.into()));
        }
    }
}
