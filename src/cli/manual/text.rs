//! The texts of the help as parts of a manual page. Must not know whose help it is.

use clap_mangen::roff::{Roff, bold, roman};

/// No date: a page is of a version, and the same version is the same page.
const NO_DATE: &str = "\"\"";

/// A part of the help below a heading, line for line.
pub(super) struct Section<'a> {
    heading: &'a str,
    lines: Vec<&'a str>,
}

/// The page's head.
pub(super) fn title(name: &str, section: &str, manual: &str) -> Roff {
    let source = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let mut roff = Roff::new();
    roff.control("TH", [&*name.to_uppercase(), section, NO_DATE, source, manual]);
    roff
}

/// What stands before the first heading, and the parts that have one. A heading is a line of its own
/// that ends with a colon, at the beginning of a block; blocks are set apart by empty lines.
pub(super) fn divided(help: &str) -> (Vec<&str>, Vec<Section<'_>>) {
    let mut prose = Vec::new();
    let mut sections: Vec<Section<'_>> = Vec::new();
    for block in help.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let block = block.trim_matches('\n');
        let headed = block.split_once(":\n").filter(|(heading, _)| !heading.contains('\n'));
        match (headed, sections.last_mut()) {
            (Some((heading, body)), _) => {
                sections.push(Section { heading, lines: body.lines().collect() });
            }
            (None, Some(section)) => {
                section.lines.push("");
                section.lines.extend(block.lines());
            }
            (None, None) => prose.push(block),
        }
    }
    (prose, sections)
}

/// Text that may be broken into lines anew.
pub(super) fn paragraphs(roff: &mut Roff, blocks: &[&str]) {
    for block in blocks {
        roff.control("PP", []);
        roff.text([roman(*block)]);
    }
}

/// Each with its lines as they are: they are tables and commands.
pub(super) fn sections(roff: &mut Roff, sections: &[Section<'_>]) {
    for section in sections {
        roff.control("SH", [&*section.heading.to_uppercase()]);
        roff.control("nf", []);
        for line in &section.lines {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []);
    }
}

/// Pages as `name(1)`, the name in bold.
pub(super) fn see_also(roff: &mut Roff, pages: &[String]) {
    roff.control("SH", ["SEE ALSO"]);
    for (number, page) in pages.iter().enumerate() {
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        let comma = if number + 1 < pages.len() { "," } else { "" };
        roff.text([bold(name), roman(format!("({section}{comma}"))]);
    }
}

/// The same page in ASCII: with what prints as it is written on every terminal, in every locale.
pub(super) fn portable(page: &str) -> String {
    page.chars().fold(String::with_capacity(page.len()), |mut done, character| {
        match character {
            '…' => done.push_str("..."),
            '~' => done.push_str("\\(ti"),
            '^' => done.push_str("\\(ha"),
            '`' => done.push_str("\\(ga"),
            _ if character.is_ascii() => done.push(character),
            _ => done.push_str(&format!("\\[u{:04X}]", u32::from(character))),
        }
        done
    })
}
