//! docs/SEMANTICS.md and the tests that quote it: every promise (a line that begins with a dash) is
//! quoted by a test, as `/// > …` above it, and nothing is quoted that is not promised.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const TEXT: &str = include_str!("../docs/SEMANTICS.md");
/// What stands before a quoted line in a test's source.
const QUOTE: &str = "/// > ";

#[test]
fn every_promise_is_quoted_by_a_test() {
    let quoted: BTreeSet<String> = quotes().into_iter().map(|quote| quote.text).collect();
    let promises = promises();
    assert!(promises.len() > 50, "only {} promises were found", promises.len());
    let missing: Vec<_> = promises.difference(&quoted).collect();
    assert!(missing.is_empty(), "no test quotes {} of them: {missing:#?}", missing.len());
}

#[test]
fn nothing_is_quoted_that_is_not_promised() {
    let promises = promises();
    let stray: Vec<_> =
        quotes().into_iter().filter(|quote| !promises.contains(&quote.text)).collect();
    assert!(stray.is_empty(), "not in docs/SEMANTICS.md: {stray:#?}");
}

/// A quotation and the file it stands in.
#[derive(Debug)]
struct Quote {
    text: String,
    _file: PathBuf,
}

/// The promises, each in one line.
fn promises() -> BTreeSet<String> {
    let mut promises = Vec::<String>::new();
    let mut open = false;
    for line in TEXT.lines() {
        if let Some(begin) = line.strip_prefix("- ") {
            promises.push(begin.trim().to_owned());
            open = true;
        } else if let (true, Some(last), Some(rest)) =
            (open, promises.last_mut(), line.strip_prefix("  "))
        {
            last.push(' ');
            last.push_str(rest.trim());
        } else {
            open = false;
        }
    }
    promises.into_iter().collect()
}

/// Everything that is quoted right above a `#[test]`.
fn quotes() -> Vec<Quote> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut files);
    }
    files.into_iter().flat_map(|file| quotes_in(&file)).collect()
}

fn quotes_in(file: &Path) -> Vec<Quote> {
    let text = fs::read_to_string(file).unwrap();
    let mut quotes = Vec::new();
    let mut pending: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim) {
        if let Some(part) = line.strip_prefix(QUOTE) {
            match pending.last_mut().filter(|_| goes_on) {
                Some(last) => *last = format!("{last} {}", part.trim()),
                None => pending.push(part.trim().to_owned()),
            }
            goes_on = true;
            continue;
        }
        goes_on = false;
        match line {
            // Another quotation, or more of the test's own comment, may follow.
            _ if line.starts_with("///") => {}
            "#[test]" => {
                let file = file.to_owned();
                quotes.extend(pending.drain(..).map(|text| Quote { text, _file: file.clone() }));
            }
            _ => assert!(
                pending.is_empty(),
                "{}: a quotation without a test: {pending:?}",
                file.display()
            ),
        }
    }
    quotes
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
