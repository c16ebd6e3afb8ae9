//! Who may know whom: every `crate::` path in `src` is held against the table of
//! docs/ARCHITECTURE.md. Also: files and functions stay readable.

use std::fs;
use std::path::{Path, PathBuf};

/// A module, the modules of ours it may name (besides itself), and names it must not contain.
struct Rule {
    module: &'static str,
    may_use: &'static [&'static str],
    must_not_name: &'static [&'static str],
}

const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now"];

/// The first rule whose module is a prefix of a file's module holds for it.
const RULES: &[Rule] = &[
    Rule {
        module: "mavftp::wire",
        may_use: &[],
        must_not_name: &["Instant::now", "SystemTime::now", "std::fs", "std::net", "std::thread"],
    },
    Rule {
        module: "mavftp::directory",
        may_use: &["mavftp::server", "mavftp::wire"],
        must_not_name: &["std::net", "std::thread"],
    },
    Rule {
        module: "mavftp::server",
        may_use: &["mavftp::wire"],
        must_not_name: &["Instant::now", "SystemTime::now", "std::fs", "std::net", "std::thread"],
    },
    Rule {
        module: "mavftp",
        may_use: &[
            "mavftp::wire",
            "mavftp::timers",
            "mavftp::transfer",
            "mavftp::client",
            "mavftp::hub",
        ],
        must_not_name: &[
            "Instant::now",
            "SystemTime::now",
            "std::fs",
            "std::net",
            "std::thread",
            "crossbeam",
        ],
    },
    Rule { module: "link", may_use: &[], must_not_name: &[] },
    Rule {
        module: "remote::mavftp",
        may_use: &["remote", "link", "mavftp::hub", "mavftp::client", "mavftp::wire"],
        must_not_name: &["std::net", "fuser::"],
    },
    Rule { module: "remote::ftp", may_use: &["remote"], must_not_name: &["fuser::"] },
    Rule { module: "semantics", may_use: &["remote"], must_not_name: &[] },
    Rule { module: "remote", may_use: &[], must_not_name: &["std::fs", "std::net", "fuser::"] },
    Rule {
        module: "journal",
        may_use: &[],
        must_not_name: &["Instant::now", "std::net", "thread::spawn", "thread::Builder", "fuser::"],
    },
    Rule {
        module: "cache",
        may_use: &["remote"],
        must_not_name: &["Instant::now", "SystemTime::now", "std::fs", "std::thread", "fuser::"],
    },
    Rule {
        module: "fs::staging",
        may_use: &["fs", "cache", "journal", "remote"],
        must_not_name: &["Instant::now", "fuser::"],
    },
    Rule {
        module: "fs",
        may_use: &["cache", "journal", "remote"],
        must_not_name: &["Instant::now", "SystemTime::now", "std::fs", "fuser::"],
    },
    Rule {
        module: "api",
        may_use: &["remote", "link", "mavftp::server", "serve"],
        must_not_name: &["fuser::"],
    },
    Rule { module: "fuse", may_use: &["fs", "remote::Kind"], must_not_name: &[] },
    Rule { module: "cli", may_use: EVERYTHING, must_not_name: &["fuser::"] },
    Rule { module: "commands", may_use: EVERYTHING, must_not_name: &["fuser::"] },
    Rule { module: "mount", may_use: EVERYTHING, must_not_name: &["fuser::"] },
    Rule {
        module: "serve",
        may_use: &["link", "mavftp::server", "mavftp::directory", "mavftp::wire"],
        must_not_name: &["fuser::", "signal_hook"],
    },
    Rule { module: "main", may_use: EVERYTHING, must_not_name: &["fuser::"] },
    Rule { module: "lib", may_use: EVERYTHING, must_not_name: &["fuser::"] },
];

const EVERYTHING: &[&str] = &[
    "api", "cache", "cli", "commands", "fs", "fuse", "journal", "link", "mavftp", "mount",
    "remote", "serve",
];

/// Nobody but `main` imports the places where layers are joined, and they not one another.
const JOINERS: &[&str] = &["cli", "commands", "mount"];

#[test]
fn modules_know_only_whom_they_may() {
    let mut wrong = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        let rule = rule_of(&module);
        for (number, line) in code_lines(&file) {
            for path in paths_in(&line, &module) {
                if !allowed(rule, &module, &path) {
                    wrong.push(format!("{module} line {number} names {path}"));
                }
            }
            for name in rule.must_not_name.iter().filter(|name| line.contains(**name)) {
                wrong.push(format!("{module} line {number} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_test_would_notice() {
    let cache = rule_of("cache::blocks");
    assert!(allowed(cache, "cache::blocks", "remote::Op"));
    assert!(allowed(cache, "cache::blocks", "cache::listings"));
    assert!(!allowed(cache, "cache::blocks", "fs::inodes"));
    assert!(!allowed(rule_of("mavftp::client"), "mavftp::client", "mavftp::server"));
    assert!(!allowed(rule_of("remote"), "remote::save", "remote::ftp"));
    assert_eq!(CLOCKS.iter().filter(|clock| cache.must_not_name.contains(clock)).count(), 2);
    let line = "use crate::{cache::Cache, fs};";
    assert_eq!(paths_in(line, "fuse"), ["cache::Cache", "fs"]);
    assert_eq!(paths_in("use super::blocks;", "cache::fetch"), ["cache::blocks"]);
}

#[test]
fn no_file_outgrows_its_reader() {
    let lines_max = 430;
    let long: Vec<String> = sources()
        .into_iter()
        .map(|file| (code_lines(&file).len(), file))
        .filter(|(lines, _)| *lines > lines_max)
        .map(|(lines, file)| format!("{} has {lines} lines of code", file.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

fn allowed(rule: &Rule, module: &str, path: &str) -> bool {
    let within = |place: &str| path == place || path.starts_with(&format!("{place}::"));
    let own = rule.module;
    // A trait does not know its implementations.
    if own == "remote" {
        let own = within("remote") && !within("remote::ftp") && !within("remote::mavftp");
        return own || within("mavftp::wire::Checksum");
    }
    if JOINERS.iter().any(|joiner| within(joiner)) {
        let top = module.split("::").next().unwrap_or(module);
        return module == "main"
            || within(top)
            || (top == "commands" && within("cli"))
            || (top == "mount" && within("cli"))
            || (top == "cli" && !within("main"));
    }
    // `mavftp` is a list of modules, not a module that may be known as a whole.
    let itself = own != "mavftp" && within(own);
    itself || rule.may_use.iter().any(|place| within(place))
}

fn rule_of(module: &str) -> &'static Rule {
    let holds =
        |rule: &&Rule| module == rule.module || module.starts_with(&format!("{}::", rule.module));
    RULES.iter().find(holds).unwrap_or_else(|| panic!("no rule for {module}; add one"))
}

/// Paths of ours in a line, from the crate's root. `use crate::{a, b::c}` counts as two.
fn paths_in(line: &str, module: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let (before, rest) = (&line[..at], &line[at + "crate::".len()..]);
        // A visibility, `pub(in crate::…)`, uses nothing.
        if before.ends_with("(in ") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split('}').next().unwrap_or(group);
                found.extend(group.split(',').map(path_at).filter(|path| !path.is_empty()));
            }
            None => found.push(path_at(rest)),
        }
    }
    let supers = line.trim_start().strip_prefix("use ").unwrap_or("");
    if supers.starts_with("super::") {
        let mut parent: Vec<&str> = module.split("::").collect();
        let mut rest = supers;
        while let Some(next) = rest.strip_prefix("super::") {
            parent.pop();
            rest = next;
        }
        let path = path_at(rest);
        let joined = parent.into_iter().chain((!path.is_empty()).then_some(path.as_str()));
        let joined = joined.collect::<Vec<_>>().join("::");
        found.extend((!joined.is_empty()).then_some(joined));
    }
    found
}

fn path_at(text: &str) -> String {
    let text = text.trim_start();
    let end =
        text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    text[..end].trim().trim_end_matches(':').to_owned()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => found.push(path),
                Some(_) => {}
                None => folders.push(path),
            }
        }
    }
    found.retain(|file| !is_test(file));
    found.sort();
    found
}

/// Files of tests and of what only tests use are not held to the arrows.
fn is_test(file: &Path) -> bool {
    let text = file.to_string_lossy().into_owned();
    text.contains("/tests/") || text.ends_with("tests.rs") || text.ends_with("remote/memory.rs")
}

fn module_of(file: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let inside = file.strip_prefix(source).expect("inside src").with_extension("");
    let mut parts: Vec<String> =
        inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts.join("::")
}

/// Lines before the tests of a file, without comments.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).expect("a source can be read");
    let lines: Vec<&str> = text.lines().collect();
    let opens_tests = |at: usize| {
        lines[at].starts_with("#[cfg(test)]")
            && lines.get(at + 1).is_some_and(|next| next.ends_with('{'))
    };
    let end = (0..lines.len()).find(|at| opens_tests(*at)).unwrap_or(lines.len());
    let numbered = lines[..end].iter().enumerate();
    numbered
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, (*line).to_owned()))
        .collect()
}
