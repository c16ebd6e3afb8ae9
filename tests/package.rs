//! The Debian package: made from the program under test, installed, used and removed. It goes into a
//! tree of its own, so that what the system has installed is not touched. Must not know what the
//! program does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

mod support;

use support::tools;

const PACKAGE: &str = "mavftp-mount";
/// A page has to look right on a terminal of any locale.
const LOCALES: [&str; 2] = ["C", "C.UTF-8"];

/// The package in a file system tree, with the record of packages that dpkg keeps.
struct Installed {
    tree: TempDir,
    package: PathBuf,
    _made: TempDir,
}

impl Installed {
    /// Makes the package, and installs it.
    fn new() -> Installed {
        let made = tempfile::tempdir().unwrap();
        let package = made_package(made.path());
        let tree = tempfile::tempdir().unwrap();
        for directory in ["info", "updates", "triggers"] {
            fs::create_dir_all(tree.path().join("var/lib/dpkg").join(directory)).unwrap();
        }
        for file in ["status", "available"] {
            fs::write(tree.path().join("var/lib/dpkg").join(file), "").unwrap();
        }
        let installed = Installed { tree, package, _made: made };
        // What it depends on is not in the tree.
        let package = installed.package.to_str().unwrap();
        installed.dpkg(&["--force-depends", "--install", package]);
        installed
    }

    fn dpkg(&self, arguments: &[&str]) {
        let root = format!("--root={}", self.tree.path().display());
        let mut command = Command::new("dpkg");
        command.arg(root).args(["--no-triggers", "--log=/dev/null"]).args(arguments);
        succeed(&mut command);
    }

    fn path(&self, path: &str) -> PathBuf {
        self.tree.path().join(path)
    }

    /// All files, without dpkg's own.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.tree.path().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let path = entry.path();
                match entry.file_type().unwrap().is_dir() {
                    true if path == self.path("var/lib/dpkg") => {}
                    true => open.push(path),
                    false => found.push(path),
                }
            }
        }
        found
    }
}

/// The package's file, of the program under test.
fn made_package(into: &Path) -> PathBuf {
    // Says what is missing.
    let tool = tools::tool("cargo-deb");
    let output = succeed(
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/package"))
            .args(["--binary", env!("CARGO_BIN_EXE_mavftp-mount"), "--output"])
            .arg(into)
            .env("MAVFTP_TOOLS", tool.parent().unwrap()),
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let package = PathBuf::from(printed.trim_end().lines().last().unwrap());
    assert!(package.starts_with(into) && package.is_file(), "{}", package.display());
    package
}

/// Runs a program that must be there and succeed.
fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; scripts/test installs what is missing")
    });
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed, {}: {complaint}", output.status);
    output
}

fn printed(command: &mut Command) -> String {
    String::from_utf8(succeed(command).stdout).unwrap()
}

#[test]
fn the_package_installs_works_and_leaves_nothing() {
    let installed = Installed::new();
    the_control_data_names_what_it_needs(&installed.package);
    the_programs_run(&installed);
    the_pages_render(&installed);
    bash_completes(&installed);
    zsh_completes(&installed);
    fish_completes(&installed);
    units_and_documents_are_there(&installed);

    installed.dpkg(&["--purge", PACKAGE]);
    assert_eq!(installed.files(), Vec::<PathBuf>::new());
    assert!(!installed.path("usr").exists());
}

fn the_control_data_names_what_it_needs(package: &Path) {
    let field = |name: &str| printed(Command::new("dpkg-deb").arg("-f").arg(package).arg(name));
    assert_eq!(field("Package").trim(), PACKAGE);
    assert_eq!(field("Version").trim(), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    let depends = field("Depends");
    assert!(depends.contains("fuse3") && depends.contains("libc6 (>="), "{depends}");
}

fn the_programs_run(installed: &Installed) {
    let expected = concat!("mavftp-mount ", env!("CARGO_PKG_VERSION"));
    let version = printed(Command::new(installed.path("usr/bin/mavftp-mount")).arg("--version"));
    assert_eq!(version.trim(), expected);
    let link = fs::read_link(installed.path("usr/sbin/mount.mavftp")).unwrap();
    assert_eq!(link, Path::new("../bin/mavftp-mount"));
    assert!(installed.path("usr/sbin/mount.mavftp").is_file());
    for file in installed.files() {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o6022, 0, "{}", file.display());
    }
}

fn the_pages_render(installed: &Installed) {
    let pages: Vec<PathBuf> = installed
        .files()
        .into_iter()
        .filter(|file| file.starts_with(installed.path("usr/share/man")))
        .collect();
    let help = printed(Command::new(installed.path("usr/bin/mavftp-mount")).arg("--help"));
    let commands = help.split("Commands:\n").nth(1).unwrap().lines();
    let verbs: Vec<&str> = commands.map_while(|line| line.split_whitespace().next()).collect();
    assert!(verbs.contains(&"get") && verbs.contains(&"serve"), "{verbs:?}");
    for verb in &verbs {
        let page = format!("usr/share/man/man1/mavftp-mount-{verb}.1.gz");
        assert!(installed.path(&page).is_file(), "no {page}");
    }
    assert!(installed.path("usr/share/man/man8/mount.mavftp.8.gz").is_file());
    assert_eq!(pages.len(), verbs.len() + 2, "{pages:?}");
    for page in &pages {
        for locale in LOCALES {
            let mut man = Command::new("man");
            man.args(["--warnings=w", "-l"]).arg(page).env("LC_ALL", locale);
            let output = succeed(man.env("MANWIDTH", "80").env("MANPAGER", "cat"));
            let warnings = String::from_utf8_lossy(&output.stderr);
            assert_eq!(warnings, "", "{}", page.display());
            let text = String::from_utf8_lossy(&output.stdout);
            for part in ["NAME\n", "SYNOPSIS\n", "OPTIONS\n", "EXAMPLES\n", "SEE ALSO\n"] {
                let example = part == "EXAMPLES\n" && text.contains("EXAMPLE\n");
                assert!(example || text.contains(part), "{} lacks {part}", page.display());
            }
        }
    }
}

/// Asks bash's function as a Tab would: for the rest of `--rec`.
const BASH_TAB: &str = r#"
source "$1"
how=$(complete -p mavftp-mount) && echo "$how"
function=${how#*-F } function=${function%% *}
COMP_WORDS=(mavftp-mount get --rec) COMP_CWORD=2 COMP_LINE='mavftp-mount get --rec'
"$function" mavftp-mount --rec get
printf 'found %s\n' "${COMPREPLY[@]}"
"#;

fn bash_completes(installed: &Installed) {
    let file = installed.path("usr/share/bash-completion/completions/mavftp-mount");
    let mut bash = Command::new("bash");
    let output = succeed(bash.args(["--norc", "-c", BASH_TAB, "bash"]).arg(file));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("-F _mavftp"), "{text}");
    assert!(text.contains("found --recursive\n"), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// The file is found by its name and its first line, and is read whole.
const ZSH_LOAD: &str = r#"
fpath=("$1" $fpath)
autoload -Uz compinit && compinit -u -D || exit 1
print "for us: $_comps[mavftp-mount]"
autoload +X _mavftp-mount && whence -v _mavftp-mount
"#;

fn zsh_completes(installed: &Installed) {
    let directory = installed.path("usr/share/zsh/vendor-completions");
    let mut zsh = Command::new("zsh");
    let output = succeed(zsh.args(["-f", "-c", ZSH_LOAD, "zsh"]).arg(&directory));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("for us: _mavftp-mount\n"), "{text}");
    assert!(text.contains("_mavftp-mount is a shell function"), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    succeed(Command::new("zsh").arg("-n").arg(directory.join("_mavftp-mount")));
}

fn fish_completes(installed: &Installed) {
    let file = installed.path("usr/share/fish/vendor_completions.d/mavftp-mount.fish");
    let home = tempfile::tempdir().unwrap();
    let script = format!(
        "source '{}'; complete -C 'mavftp-mount get --rec'; complete -C 'mavftp-mount uns'",
        file.display()
    );
    let mut fish = Command::new("fish");
    let output = succeed(fish.args(["--no-config", "-c", &script]).env("HOME", home.path()));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("--recursive\t") && text.contains("unsent\t"), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

fn units_and_documents_are_there(installed: &Installed) {
    let documents = "usr/share/doc/mavftp-mount";
    for file in ["copyright", "changelog.gz", "changelog.Debian.gz", "README.md"] {
        let path = installed.path(documents).join(file);
        assert!(path.is_file(), "no {}", path.display());
    }
    let copyright = fs::read_to_string(installed.path(documents).join("copyright")).unwrap();
    assert!(copyright.contains("License: Expat or Apache-2.0"), "{copyright}");
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    for entry in fs::read_dir(packaging).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let place = match name.rsplit_once('.') {
            Some((_, "service")) => "usr/lib/systemd/system".to_owned(),
            Some((_, "mount" | "automount" | "rules")) => format!("{documents}/examples"),
            _ => continue,
        };
        let path = installed.path(&place).join(name);
        assert!(path.is_file(), "no {}", path.display());
    }
}

#[test]
fn a_missing_tool_is_an_error_that_names_it() {
    let nothing = tempfile::tempdir().unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/package"))
        .args(["--binary", env!("CARGO_BIN_EXE_mavftp-mount"), "--output"])
        .arg(nothing.path())
        .env("MAVFTP_TOOLS", nothing.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("lacks cargo-deb"), "{complaint}");
}
