//! Manual pages and completions, from the grammar that parses. The help of a command has all that
//! its page says, so that nothing is written twice. Must not know what the arguments mean.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::aot;
use clap_mangen::Man;
use clap_mangen::roff::Roff;

use super::Shell;
use super::arguments;

mod helper;
mod text;

/// Programs, as manuals are divided.
const PROGRAMS: &str = "1";
const MANUAL: &str = "User Commands";

/// Prints the completions for a shell.
///
/// # Errors
/// Standard output takes nothing.
pub fn print_completions(shell: Shell) -> io::Result<()> {
    let mut grammar = arguments::command();
    let name = grammar.get_name().to_owned();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => aot::generate(aot::Bash, &mut grammar, name, &mut script),
        Shell::Zsh => aot::generate(aot::Zsh, &mut grammar, name, &mut script),
        Shell::Fish => aot::generate(aot::Fish, &mut grammar, name, &mut script),
    }
    if shell == Shell::Bash {
        script = in_agreement(&String::from_utf8_lossy(&script), grammar.get_name()).into_bytes();
    }
    io::stdout().write_all(&script)
}

/// Bash's script with the one spelling of our name: where the generator looks for a verb's options, it
/// takes the hyphen in the program's name for the beginning of a verb's, and finds none.
fn in_agreement(script: &str, name: &str) -> String {
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

/// Writes all pages into a directory, which is made: the program's, one for each verb, and the one
/// of the helper of mount(8).
///
/// # Errors
/// The directory or a file in it cannot be written.
pub fn write_pages(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory).map_err(|error| naming(directory, error))?;
    for (name, page) in pages()? {
        let file = directory.join(name);
        fs::write(&file, page).map_err(|error| naming(&file, error))?;
    }
    Ok(())
}

fn naming(file: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", file.display()))
}

/// File names and contents.
fn pages() -> io::Result<Vec<(String, String)>> {
    let mut grammar = arguments::command();
    grammar.build();
    let mut all = vec![
        (format!("{}.{PROGRAMS}", grammar.get_name()), page(&grammar, None)?),
        helper::page(&grammar),
    ];
    for verb in grammar.get_subcommands() {
        let name = format!("{}-{}", grammar.get_name(), verb.get_name());
        all.push((format!("{name}.{PROGRAMS}"), page(verb, Some(&grammar))?));
    }
    Ok(all)
}

/// The page of the program, or of a verb of it.
fn page(command: &Command, program: Option<&Command>) -> io::Result<String> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let usage = command.get_overridden_usage().map(ToString::to_string).unwrap_or_default();
    // What stands below the usage in the help has a section of its own here.
    let (usage, below_usage) = usage.split_once("\n\n").unwrap_or((&usage, ""));
    let end = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (prose, sections) = text::divided(&end);

    let man = Man::new(command.clone().override_usage(usage.to_owned()));
    let mut out = Vec::new();
    text::title(name, PROGRAMS, MANUAL).to_writer(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    let mut middle = Roff::new();
    text::paragraphs(&mut middle, &prose);
    text::sections(&mut middle, &text::divided(below_usage).1);
    middle.to_writer(&mut out)?;
    man.render_options_section(&mut out)?;
    if program.is_none() {
        man.render_subcommands_section(&mut out)?;
    }
    let mut last = Roff::new();
    text::sections(&mut last, &sections);
    text::see_also(&mut last, &others(command, program));
    last.to_writer(&mut out)?;
    Ok(text::portable(&String::from_utf8_lossy(&out)))
}

/// The pages that one points to.
fn others(command: &Command, program: Option<&Command>) -> Vec<String> {
    let of_verb = |name: &str, verb: &Command| format!("{name}-{}({PROGRAMS})", verb.get_name());
    match program {
        Some(program) => vec![format!("{}({PROGRAMS})", program.get_name())],
        None => {
            let name = command.get_name();
            let verbs = command.get_subcommands().map(|verb| of_verb(name, verb));
            let system = [helper::NAME, "umount(8)", "fusermount3(1)"].map(str::to_owned);
            verbs.chain(system).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(name: &str) -> String {
        let found = pages().unwrap().into_iter().find(|(file, _)| file == name);
        found.unwrap_or_else(|| panic!("no page {name}")).1
    }

    #[test]
    fn every_verb_has_a_page_and_every_option_is_on_it() {
        let mut grammar = arguments::command();
        grammar.build();
        assert!(grammar.get_subcommands().count() >= 12);
        let main = ("mavftp-mount.1".to_owned(), &grammar);
        let verbs = grammar
            .get_subcommands()
            .map(|verb| (format!("mavftp-mount-{}.1", verb.get_name()), verb));
        for (name, command) in [main].into_iter().chain(verbs) {
            let page = page_of(&name);
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                let long = option.get_long().unwrap_or_default().replace('-', "\\-");
                assert!(page.contains(&long), "{name} lacks {long}");
            }
        }
    }

    #[test]
    fn the_helps_sections_are_the_pages() {
        let main = page_of("mavftp-mount.1");
        for heading in ["SYNOPSIS", "ARGUMENTS", "LINK", "ADDRESSES", "EXAMPLES", "SEE ALSO"] {
            assert!(
                main.contains(&format!(".SH {heading}\n"))
                    || main.contains(&format!(".SH \"{heading}\"\n")),
                "{heading}"
            );
        }
        assert!(main.contains(".SH \"EXIT CODES\"\n"));
        let get = page_of("mavftp-mount-get.1");
        assert!(get.contains("under its name once every byte is there"));
        assert!(get.contains(".TH MAVFTP-MOUNT-GET 1 "));
    }

    #[test]
    fn pages_are_of_characters_that_every_terminal_has() {
        for (name, page) in pages().unwrap() {
            assert!(page.is_ascii(), "{name}");
        }
        assert!(page_of("mavftp-mount-get.1").contains("[#/PATH]... [LOCAL]"));
    }

    #[test]
    fn the_helpers_page_has_the_mounts_options_and_those_alone() {
        let page = page_of("mount.mavftp.8");
        assert!(page.contains("\\fBrate\\-limit=\\fR\\fIRATE\\fR"));
        assert!(page.contains("\\fBnonempty\\fR"));
        for other in ["\\fBhelp", "\\fBman", "\\fBcompletions", "\\fBforeground"] {
            assert!(!page.contains(other), "{other}");
        }
    }

    #[test]
    fn what_makes_files_stands_alone() {
        let parse = |line: &str| super::super::parse(line.split(' ').map(Into::into));
        for (line, right) in [
            ("mavftp-mount --completions zsh", true),
            ("mavftp-mount --man pages", true),
            ("mavftp-mount --completions tcsh", false),
            ("mavftp-mount --man", false),
            ("mavftp-mount --man pages udp:14550 /mnt", false),
            ("mavftp-mount -o man=pages udp:14550 /mnt", false),
        ] {
            assert_eq!(parse(line).is_ok(), right, "{line}");
        }
    }
}
