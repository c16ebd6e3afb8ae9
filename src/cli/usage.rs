//! Usage errors as one line that says what is right, like every other error of ours. Must not know
//! what the arguments mean.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// An error of our own about the arguments.
pub(super) fn error(message: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, message + "\n")
}

/// The same error in one line. Help and version stay as they are.
pub(super) fn in_one_line(found: clap::Error) -> clap::Error {
    match found.use_stderr() {
        true => error(text(&found)),
        false => found,
    }
}

fn text(error: &clap::Error) -> String {
    let argument = context(error, ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            let plural = if argument.contains(" and ") { "are" } else { "is" };
            format!("{argument} {plural} missing; {}", right(error))
        }
        ErrorKind::UnknownArgument => unknown(error, &argument),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => value(error, &argument),
        _ => one_line(&error.to_string()),
    }
}

fn unknown(error: &clap::Error, argument: &str) -> String {
    if !argument.starts_with('-') {
        return format!("{argument} is one argument too many; {}", right(error));
    }
    if let Some(similar) = context(error, ContextKind::SuggestedArg) {
        return format!("there is no option {argument}; did you mean {similar}?");
    }
    let help = help_command(error);
    match argument.starts_with("--") {
        true => format!("there is no option {argument}; {help} shows all of them"),
        false => format!(
            "there is no option {argument}; {help} shows all of them, and a file of that name is \
             written ./{argument}"
        ),
    }
}

fn value(error: &clap::Error, argument: &str) -> String {
    let option = argument.split(' ').next().unwrap_or(argument);
    match std::error::Error::source(error) {
        Some(reason) => format!("{option}: {reason}"),
        None if context(error, ContextKind::InvalidValue).is_none_or(|value| value.is_empty()) => {
            format!("{option} needs a value: {argument}")
        }
        None => one_line(&error.to_string()),
    }
}

/// `write: mavftp-mount …`
fn right(error: &clap::Error) -> String {
    format!("write: {}", usage(error))
}

/// The command whose help lists its options.
fn help_command(error: &clap::Error) -> String {
    let usage = usage(error);
    let words = usage.split(' ').take_while(|word| word.starts_with(|c: char| c.is_lowercase()));
    words.chain(["--help"]).collect::<Vec<_>>().join(" ")
}

fn usage(error: &clap::Error) -> String {
    let usage = context(error, ContextKind::Usage).unwrap_or_default();
    let first = usage.lines().next().unwrap_or_default();
    first.strip_prefix("Usage: ").unwrap_or(first).to_owned()
}

/// An argument's name without what marks it as one: `<SOURCE>`, `--send <SOURCE>`.
fn plain(text: &str) -> &str {
    match text.split_once(' ') {
        Some((option, _)) if option.starts_with('-') => option,
        Some(_) | None => text.trim_matches(['<', '>']),
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => {
            let names: Vec<_> = texts.iter().map(|text| plain(text)).collect();
            Some(names.join(" and "))
        }
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}

/// What stands before the first empty line, on one.
fn one_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}
