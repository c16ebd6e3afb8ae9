//! A server's refusal → [`Error`], in one place. Must not know the connection.
//!
//! FTP's codes say little: 550 is a missing file, a directory that is not empty or a right that is
//! lacking. Most servers add the text of the system's error, some (vsftpd) only "failed". So the
//! text decides where it says something known, then the code, then what was asked.

use suppaftp::types::Response;

use crate::remote::{Error, Op};

/// Phrases of system errors, tried in this order: "does not exist" holds "exist", and a phrase
/// about rights may name the file. Unix texts, then those of Windows servers.
const PHRASES: [(&str, Error); 19] = [
    ("no such", Error::NotFound),
    ("not found", Error::NotFound),
    ("not exist", Error::NotFound),
    ("doesn't exist", Error::NotFound),
    ("cannot find", Error::NotFound),
    ("not a directory", Error::NotADirectory),
    ("not empty", Error::NotEmpty),
    ("permission", Error::Denied),
    ("privilege", Error::Denied),
    ("denied", Error::Denied),
    ("read-only", Error::ReadOnly),
    ("is a directory", Error::IsADirectory),
    ("not a regular file", Error::IsADirectory),
    ("not a plain file", Error::IsADirectory),
    ("no space", Error::NoSpace),
    ("disk full", Error::NoSpace),
    ("quota exceeded", Error::NoSpace),
    ("too long", Error::PathTooLong),
    ("exist", Error::Exists),
];

/// The reply's code; the library knows only some of them.
pub fn code(reply: &Response) -> u32 {
    let digits = reply.body.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
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
            by_text(reply).unwrap_or_else(|| by_code_and_op(op, reply))
        }
        452 | 552 => Error::NoSpace,
        500 | 502 | 504 => Error::Unsupported,
        430 | 530 | 532 => Error::Login(said(reply)),
        _ => Error::Failed(said(reply)),
    }
}

/// Why the server did not let us in.
pub fn login_refusal(reply: &Response) -> Error {
    match code(reply) {
        421 => Error::Busy,
        _ => Error::Login(said(reply)),
    }
}

fn by_text(reply: &Response) -> Option<Error> {
    let text = said(reply).to_lowercase();
    PHRASES.iter().find(|(phrase, _)| text.contains(phrase)).map(|(_, error)| error.clone())
}

fn by_code_and_op(op: &Op, reply: &Response) -> Error {
    match (code(reply), op) {
        (450, _) => Error::Busy,
        (501, _) => Error::Invalid,
        // "Failed to open file", "is not retrievable": rights, or a directory, are the rarer reason.
        (550, Op::List { .. } | Op::Read { .. } | Op::Size { .. }) => Error::NotFound,
        (550 | 553, _) => Error::Denied,
        _ => Error::Failed(said(reply)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::RemotePath;
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
        assert_eq!(refusal(&Op::Remove { path }, &failed), Error::Denied);
    }

    #[test]
    fn a_full_server_is_busy_and_not_a_wrong_password() {
        assert_eq!(login_refusal(&reply("421 Too many connections")), Error::Busy);
        let wrong = "530 Authentication failed.";
        assert_eq!(login_refusal(&reply(wrong)), Error::Login(wrong.into()));
    }
}
