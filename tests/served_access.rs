//! What clients of a served directory can do and see, through the program itself at both ends.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use support::ordinary::noise;
use support::program::{Program, ended, our_program};

/// Starting, on a busy machine.
const START: Duration = Duration::from_secs(20);
/// A verb's work.
const WORK: Duration = Duration::from_secs(60);

/// A directory served with these options, and a secret beside it.
struct Served {
    around: tempfile::TempDir,
    _server: Program,
    port: String,
}

impl Served {
    fn start(options: &[&str], fill: impl FnOnce(&std::path::Path)) -> Served {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("card");
        fs::create_dir(&folder).unwrap();
        fill(&folder);
        let text = folder.to_str().unwrap();
        let mut server = Program::start(&[&["serve", "udp:127.0.0.1:0", text], options].concat());
        server.wait_until(START, |server| server.printed().contains("serving "));
        let printed = server.printed();
        let (_, after) = printed.split_once("udp:127.0.0.1:").unwrap();
        let port = after.chars().take_while(char::is_ascii_digit).collect();
        Served { around, _server: server, port }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.around.path().join("card").join(name)
    }

    /// A verb with a place on the served side; `@` in front of an argument stands for it.
    fn verb(&self, arguments: &[&str]) -> (i32, String) {
        let address = format!("udpout:127.0.0.1:{}#", self.port);
        let arguments: Vec<String> = arguments
            .iter()
            .map(|text| text.strip_prefix('@').map_or(text.to_string(), |at| address.clone() + at))
            .chain(["--target", "1:191"].map(String::from))
            .collect();
        our_program(&arguments, WORK)
    }
}

#[test]
fn a_client_sees_and_gets_nothing_of_what_is_hidden_or_outside() {
    let options = ["--hide", "*.key", "--hide", "/private", "--writable"];
    let served = Served::start(&options, |folder| {
        fs::create_dir_all(folder.join("private/d")).unwrap();
        fs::write(folder.join("private/d/f"), "hidden").unwrap();
        fs::write(folder.join("a.key"), "hidden").unwrap();
        fs::write(folder.join("log"), "seen").unwrap();
        fs::write(folder.parent().unwrap().join("secret"), "outside").unwrap();
        symlink("a.key", folder.join("link")).unwrap();
        symlink("private/d", folder.join("way")).unwrap();
        symlink("../secret", folder.join("out")).unwrap();
    });
    assert_eq!(served.verb(&["ls", "@/"]), (0, "log\n".to_owned()));
    assert_eq!(served.verb(&["cat", "@/log"]), (0, "seen".to_owned()));
    for at in ["@/a.key", "@/A.KEY", "@/link", "@/private/d/f", "@/way/f", "@/out", "@/../secret"] {
        let (code, printed) = served.verb(&["cat", at]);
        assert_ne!(code, 0, "{at}: {printed}");
        assert!(!printed.contains("hidden") && !printed.contains("outside"), "{at}: {printed}");
    }
    for at in ["@/a.key", "@/b.key", "@/private/new"] {
        assert_ne!(served.verb(&["put", "Cargo.toml", at]).0, 0, "{at}");
    }
    assert_eq!(fs::read(served.file("a.key")).unwrap(), b"hidden");
    assert_eq!(fs::read_dir(served.file("")).unwrap().count(), 6);
    assert_eq!(fs::read_dir(served.file("private")).unwrap().count(), 1);
}

#[test]
fn a_client_fills_the_quota_and_not_more() {
    let served = Served::start(&["--writable", "--max-bytes", "100k"], |folder| {
        fs::write(folder.join("there"), noise(1, 20 << 10)).unwrap();
    });
    let local = |name: &str, size: usize| {
        let path = served.around.path().join(name);
        fs::write(&path, noise(2, size)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (fits, large) = (local("fits", 60 << 10), local("large", 90 << 10));
    assert_eq!(served.verb(&["put", &fits, "@/a"]).0, 0);
    let (code, printed) = served.verb(&["put", &large, "@/b"]);
    assert!(code == 1 && printed.contains("no space left"), "{code}: {printed}");
    assert!(!served.file("b").exists(), "nor is a part of it left");
    let (code, printed) = served.verb(&["put", &fits, "@/a"]);
    assert!(code == 1 && printed.contains("no space left"), "old and new: {code}: {printed}");
    let total: u64 = fs::read_dir(served.file(""))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(total, 80 << 10);
    fs::remove_file(served.file("there")).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(served.verb(&["put", &local("small", 30 << 10), "@/c"]).0, 0, "it is noticed");
}

#[test]
fn what_is_wrong_with_the_options_is_said_before_anything_is_served() {
    let refused = |options: &[&str]| {
        let arguments = [&["serve", "udp:127.0.0.1:0", "."], options].concat();
        ended(Program::start(&arguments), WORK)
    };
    let (code, said) = refused(&["--hide", "[a"]);
    assert!(code == 2 && said.contains("`[a` is no pattern"), "{code}: {said}");
    let (code, said) = refused(&["--hide", "*.{key,pem}"]);
    assert!(code == 2 && said.contains("once for each"), "{code}: {said}");
    let (code, said) = refused(&["--max-bytes", "1M"]);
    assert!(code == 2 && said.contains("--writable"), "{code}: {said}");
}
