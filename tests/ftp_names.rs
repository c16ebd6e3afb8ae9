//! Names, times and data connections of FTP servers of many kinds: what a scripted server answers, and
//! what pyftpdlib does. The kernel mount needs /dev/fuse, root and rsync.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, thread};

use mavftp_mount::remote::ask::{ask, ask_with, list};
use mavftp_mount::remote::ftp::{NameEncoding, Options, connect};
use mavftp_mount::remote::{
    Class, Entry, Error, Kind, Op, OpId, Remote, RemotePath, Reply, WriteMode,
};
use socket2::{Domain, Socket, Type};
use support::mounted::Mounted;
use support::program::{our_program, shell, succeed};
use support::python::{Peer, START_TIME};
use support::remotes::{AtFirstBytes, Data, LIMIT, Whole, end, path, pattern};

mod support;

const PATIENCE: Duration = Duration::from_secs(5);

/// What a scripted server says to a command.
enum Answer {
    /// A reply.
    Says(&'static str),
    /// These bytes on a data connection.
    Sends(&'static [u8]),
}

/// A server that answers by a script, and notes what it was asked. It has no features but those that
/// `answer` gives to FEAT.
struct Scripted {
    remote: Arc<dyn Remote>,
    asked: Arc<Mutex<VecDeque<String>>>,
}

type Script = fn(&str) -> Option<Answer>;

impl Scripted {
    fn new(script: Script, change: impl FnOnce(&mut Options)) -> Scripted {
        let (port, asked) = scripted_server(script);
        let mut options = Options { op_timeout: PATIENCE, ..Options::new("127.0.0.1", port) };
        change(&mut options);
        Scripted { remote: connect(&options).unwrap(), asked }
    }

    fn list(&self, at: &str) -> Result<Vec<Entry>, Error> {
        end(list(&self.remote, &path(at), PATIENCE))
    }

    fn names(&self, at: &str) -> Vec<String> {
        self.list(at).unwrap().into_iter().map(|entry| entry.name.to_string()).collect()
    }

    fn run(&self, op: Op) -> Result<Reply, Error> {
        end(ask(&self.remote, op, Class::Demand, PATIENCE))
    }

    /// How often a command that begins so was asked.
    fn asked(&self, command: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(command)).count()
    }
}

fn scripted_server(script: Script) -> (u16, Arc<Mutex<VecDeque<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(VecDeque::new()));
    let notes = asked.clone();
    thread::spawn(move || {
        for control in listener.incoming().map_while(Result::ok) {
            let notes = notes.clone();
            thread::spawn(move || serve(control, script, &notes));
        }
    });
    (port, asked)
}

fn serve(mut control: TcpStream, script: Script, notes: &Mutex<VecDeque<String>>) {
    let mut lines = BufReader::new(control.try_clone().unwrap());
    let (mut passive, mut active): (Option<TcpListener>, Option<SocketAddr>) = (None, None);
    let _ = control.write_all(b"220 scripted\r\n");
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let command: String = line.trim_ascii_end().iter().map(|&b| char::from(b)).collect();
        line.clear();
        notes.lock().unwrap().push_back(command.clone());
        let word = command.split(' ').next().unwrap();
        let reply = match (script(&command), word) {
            (Some(Answer::Says(text)), _) => text.into(),
            (Some(Answer::Sends(bytes)), _) => {
                let _ = control.write_all(b"150 here it comes\r\n");
                let mut data = match active.take() {
                    Some(address) => after_a_stranger(address),
                    None => passive.take().unwrap().accept().unwrap().0,
                };
                data.write_all(bytes).unwrap();
                "226 done".into()
            }
            (None, "USER") => "331 password".into(),
            (None, "PASS") => "230 in".into(),
            (None, "TYPE" | "NOOP" | "OPTS") => "200 ok".into(),
            (None, "CWD") => "250 ok".into(),
            (None, "EPSV" | "PASV") => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let port = listener.local_addr().unwrap().port();
                passive = Some(listener);
                match word {
                    "EPSV" => format!("229 extended (|||{port}|)"),
                    // Not where it is.
                    _ => format!("227 passive (10,9,8,7,{},{})", port / 256, port % 256),
                }
            }
            (None, "PORT") => {
                let numbers = command.strip_prefix("PORT ").unwrap().split(',');
                let numbers: Vec<u16> = numbers.map(|number| number.parse().unwrap()).collect();
                active = Some(([127, 0, 0, 1], numbers[4] * 256 + numbers[5]).into());
                "200 ok".into()
            }
            (None, "QUIT") => "221 bye".into(),
            (None, _) => "502 what?".into(),
        };
        let _ = control.write_all(format!("{reply}\r\n").as_bytes());
    }
}

/// Connects to who waits for the server, but not before somebody else has.
fn after_a_stranger(address: SocketAddr) -> TcpStream {
    let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    stranger.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    stranger.connect(&address.into()).unwrap();
    let _ = (&stranger).write_all(b"-rw-r--r-- 1 me us 3 Nov 05 12:00 stranger\r\n");
    TcpStream::connect(address).unwrap()
}

const ONE_FILE: &[u8] = b"-rw-r--r-- 1 me us 3 Nov 05 12:00 a\r\n";

#[test]
fn a_server_without_epsv_is_reached_by_pasv_wherever_it_says_it_is() {
    let server = Scripted::new(
        |command| match command {
            "EPSV" => Some(Answer::Says("500 never heard of it")),
            "LIST" => Some(Answer::Sends(ONE_FILE)),
            _ => None,
        },
        |_| {},
    );
    assert_eq!(server.names("/"), ["a"]);
    assert_eq!(server.names("/"), ["a"]);
    assert_eq!(server.asked("EPSV"), 1, "it was refused once and for all");
    assert!(server.asked("PASV") >= 2);
}

/// > Where an FTP server has no machine listing (MLSD), times are known to the minute: one file's own time tells the
/// > server's time zone.
#[test]
fn one_question_tells_the_time_zone_of_every_listing() {
    let server = Scripted::new(
        |command| match command {
            "LIST" => Some(Answer::Sends(
                b"-rw-r--r-- 1 me us 3 Nov 05 12:00 a\r\n\
                  -rw-r--r-- 1 me us 3 Jan 01 2020 old\r\n\
                  drwxr-xr-x 1 me us 3 Nov 04 12:00 d\r\n",
            )),
            "MDTM /a" => Some(Answer::Says(two_hours_before_noon())),
            _ => None,
        },
        |_| {},
    );
    let entries = server.list("/").unwrap();
    let seconds = |name: &str| {
        let found = entries.iter().find(|entry| entry.name.to_string() == name);
        found.unwrap().mtime.unwrap()
    };
    assert_eq!(seconds("a") % 86_400, 10 * 3600);
    assert_eq!(seconds("a") - seconds("d"), 86_400);
    assert_eq!(seconds("old"), 1_577_836_800 - 2 * 3600);
    assert_eq!(server.list("/").unwrap(), entries);
    assert_eq!(server.asked("MDTM"), 1);
}

/// The last 5th of November, 10:00:17; that of tomorrow counts, for a server may be ahead of us.
fn two_hours_before_noon() -> &'static str {
    let listed = succeed("date", &["-u", "-d", "+1 day", "+%Y %m%d%H%M"]);
    let text = String::from_utf8(listed).unwrap();
    let (year, day) = text.trim().split_once(' ').unwrap();
    let passed = i32::from(day < "11051200");
    let year = year.parse::<i32>().unwrap() - passed;
    Box::leak(format!("213 {year}1105100017").into_boxed_str())
}

#[test]
fn without_a_files_own_time_a_listing_has_none() {
    let server =
        Scripted::new(|command| (command == "LIST").then_some(Answer::Sends(ONE_FILE)), |_| {});
    assert_eq!(server.list("/").unwrap()[0].mtime, None);
    assert_eq!(server.list("/").unwrap()[0].mtime, None);
    assert_eq!(server.asked("MDTM"), 1);
}

/// > Names that begin with a dot are shown also where an FTP server hides them.
#[test]
fn names_with_a_dot_are_shown_where_the_server_hides_them() {
    let server = Scripted::new(
        |command| match command {
            "LIST" => Some(Answer::Sends(ONE_FILE)),
            "LIST -a" => Some(Answer::Sends(
                b"drwxr-xr-x 2 me us 9 Nov 05 12:00 .\r\n\
                  drwxr-xr-x 2 me us 9 Nov 05 12:00 ..\r\n\
                  -rw-r--r-- 1 me us 3 Nov 05 12:00 .hidden\r\n",
            )),
            _ => None,
        },
        |_| {},
    );
    assert_eq!(server.names("/"), [".hidden"]);
    assert_eq!(server.names("/"), [".hidden"]);
    assert_eq!(server.asked("LIST"), 2);
}

#[test]
fn a_server_that_takes_options_for_names_is_asked_without_them() {
    let server = Scripted::new(
        |command| match command {
            "LIST" => Some(Answer::Sends(ONE_FILE)),
            "LIST -a" => Some(Answer::Sends(b"")),
            _ => None,
        },
        |_| {},
    );
    assert_eq!(server.names("/"), ["a"]);
    assert_eq!(server.names("/"), ["a"]);
    assert_eq!(server.asked("LIST -a"), 1);
}

/// > A symbolic link on an FTP server is shown as what it leads to.
#[test]
fn links_are_what_they_lead_to() {
    let server = Scripted::new(
        |command| match command {
            "FEAT" => Some(Answer::Says("211-These\r\n MLST type*;size*;\r\n211 End")),
            "MLSD /" => Some(Answer::Sends(
                b"type=cdir; /\r\n\
                  type=OS.unix=slink:/else; file\r\n\
                  type=OS.unix=symlink; directory\r\n\
                  type=OS.unix=slink:; nowhere\r\n",
            )),
            "SIZE /file" => Some(Answer::Says("213 42")),
            "SIZE /directory" | "SIZE /nowhere" => Some(Answer::Says("550 not a regular file")),
            "CWD /nowhere" => Some(Answer::Says("550 no such directory")),
            _ => None,
        },
        |_| {},
    );
    let entries = server.list("/").unwrap();
    let shown: Vec<_> = entries.iter().map(|e| (e.name.to_string(), e.kind, e.size)).collect();
    let expected = [("file".into(), Kind::File, 42), ("directory".into(), Kind::Directory, 0)];
    assert_eq!(shown, expected);
}

/// > A directory that an FTP server does not have is ENOENT and a file is ENOTDIR, also where it answers with an empty
/// > listing.
#[test]
fn a_listing_of_nothing_is_not_taken_for_an_empty_directory() {
    let server = Scripted::new(
        |command| match command {
            "FEAT" => Some(Answer::Says("211-These\r\n MLST type*;size*;\r\n211 End")),
            "MLSD /missing" | "MLSD /empty" => Some(Answer::Sends(b"")),
            "MLSD /file" => Some(Answer::Sends(b"type=file;size=3; file\r\n")),
            "MLSD /refused" => Some(Answer::Says("550 failed")),
            "CWD /missing" | "CWD /file" => Some(Answer::Says("550 failed")),
            "SIZE /file" | "SIZE /refused" => Some(Answer::Says("213 3")),
            "SIZE /missing" => Some(Answer::Says("550 failed")),
            _ => None,
        },
        |_| {},
    );
    assert_eq!(server.list("/missing"), Err(Error::NotFound));
    assert_eq!(server.list("/file"), Err(Error::NotADirectory));
    assert_eq!(server.list("/refused"), Err(Error::NotADirectory));
    assert_eq!(server.list("/empty"), Ok(vec![]));
}

/// > With `--encoding latin1` names are ISO 8859-1 on the server and UTF-8 here; one that ISO 8859-1 does not have is
/// > EINVAL.
#[test]
fn latin_1_names_are_utf_8_here() {
    let server = Scripted::new(
        |command| match command {
            "FEAT" => Some(Answer::Says("211-These\r\n UTF8\r\n211 End")),
            "LIST" => Some(Answer::Sends(b"-rw-r--r-- 1 me us 3 Nov 05 12:00 \xFCbung\r\n")),
            "SIZE /\u{FC}bung" => Some(Answer::Says("213 3")),
            _ => None,
        },
        |options| options.encoding = Some(NameEncoding::Latin1),
    );
    assert_eq!(server.names("/"), ["übung"]);
    assert_eq!(server.run(Op::Size { path: path("/übung") }), Ok(Reply::Size(3)));
    assert_eq!(server.run(Op::Size { path: path("/Ω") }), Err(Error::Invalid));
    assert_eq!(server.asked("OPTS UTF8 OFF"), 1);
}

#[test]
fn a_server_that_is_full_is_busy() {
    let (port, _) = scripted_server(|command| {
        let full = "530 Sorry, the maximum number of clients are already connected.";
        command.starts_with("USER").then_some(Answer::Says(full))
    });
    let options = Options { op_timeout: PATIENCE, ..Options::new("127.0.0.1", port) };
    assert_eq!(connect(&options).err(), Some(Error::Busy));
}

/// pyftpdlib on a directory.
struct Served {
    directory: tempfile::TempDir,
    port: u16,
    _server: Peer,
}

impl Served {
    fn new(arguments: &[&str]) -> Served {
        let directory = tempfile::tempdir().unwrap();
        let all = [&[directory.path().to_str().unwrap()], arguments].concat();
        let mut server = Peer::start("pyftpdlib_server.py", &all);
        let port = server.line(START_TIME).parse().unwrap();
        Served { directory, port, _server: server }
    }

    fn remote(&self, change: impl FnOnce(&mut Options)) -> Arc<dyn Remote> {
        let (user, password) = ("pilot".into(), "secret".into());
        let near = Options::new("127.0.0.1", self.port);
        let mut options = Options { user, password, op_timeout: PATIENCE, ..near };
        change(&mut options);
        connect(&options).unwrap()
    }
}

fn read(remote: &Arc<dyn Remote>, at: &str) -> Vec<u8> {
    let sink = Arc::new(Data::default());
    let op = Op::Read { path: path(at), offset: 0, length: u64::MAX, expected: None };
    end(ask_with(remote, op, Class::Demand, PATIENCE, sink.clone())).unwrap();
    sink.from(0)
}

fn write(remote: &Arc<dyn Remote>, at: RemotePath, bytes: Vec<u8>) -> Result<Reply, Error> {
    let op = Op::Write { path: at, mode: WriteMode::Replace, source: Arc::new(Whole(bytes)) };
    end(ask(remote, op, Class::Write, PATIENCE))
}

/// > With `--active` the server connects to us for data, and nobody else is let in.
#[test]
fn a_stranger_who_connects_in_the_place_of_the_server_is_not_heard() {
    let server = Scripted::new(
        |command| (command == "LIST").then_some(Answer::Sends(ONE_FILE)),
        |options| options.active = true,
    );
    assert_eq!(server.names("/"), ["a"]);
}

#[test]
fn a_server_that_connects_to_us_is_read_written_and_cancelled() {
    let served = Served::new(&[]);
    let remote = served.remote(|options| options.active = true);
    let bytes = pattern(300_000);
    assert_eq!(write(&remote, path("/a"), bytes.clone()), Ok(Reply::Size(300_000)));
    assert!(read(&remote, "/a") == bytes);
    assert_eq!(end(list(&remote, &path("/"), PATIENCE)).unwrap().len(), 1);
    fs::File::create(served.directory.path().join("large")).unwrap().set_len(256 << 20).unwrap();
    let (id, ended) = (OpId::fresh(), remote.clone());
    let (sink, done) = AtFirstBytes::new(move || ended.cancel(id));
    let started = Instant::now();
    let op = Op::Read { path: path("/large"), offset: 0, length: u64::MAX, expected: None };
    remote.submit(id, op, Class::Demand, PATIENCE, sink);
    assert_eq!(done.recv_timeout(LIMIT).unwrap(), Err(Error::Cancelled));
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert!(read(&remote, "/a") == bytes);
}

#[test]
fn odd_names_are_listed_read_and_written_with_and_without_machine_listings() {
    let names =
        [" leading", "-l", "-a", "100%", "%41", "a;b=c", "a -> b", "*?[x]", "übung", ".dot"];
    for arguments in [&[][..], &["--no-mlsd"]] {
        let served = Served::new(arguments);
        let remote = served.remote(|_| {});
        for name in names {
            let there = path(&format!("/{name}"));
            let bytes = name.as_bytes().to_vec();
            assert_eq!(write(&remote, there, bytes.clone()), Ok(Reply::Size(bytes.len() as u64)));
            assert_eq!(fs::read(served.directory.path().join(name)).unwrap(), bytes, "{name}");
            assert_eq!(read(&remote, &format!("/{name}")), bytes, "{name}");
        }
        let mut listed: Vec<String> = end(list(&remote, &path("/"), PATIENCE))
            .unwrap()
            .into_iter()
            .map(|entry| entry.name.to_string())
            .collect();
        listed.sort();
        let mut expected = names.map(String::from);
        expected.sort();
        assert_eq!(listed, expected, "{arguments:?}");
    }
}

#[test]
fn a_listing_without_machine_times_has_them_to_the_minute() {
    let served = Served::new(&["--no-mlsd"]);
    fs::write(served.directory.path().join("a"), b"1").unwrap();
    let remote = served.remote(|_| {});
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    let mtime = end(list(&remote, &path("/"), PATIENCE)).unwrap()[0].mtime.unwrap();
    assert!((now - 70..=now).contains(&mtime), "{mtime} {now}");
}

#[test]
fn a_time_is_set_where_the_server_takes_it() {
    let served = Served::new(&[]);
    let remote = served.remote(|_| {});
    assert!(remote.status().sets_times);
    fs::write(served.directory.path().join("a"), b"1").unwrap();
    let op = Op::SetTime { path: path("/a"), mtime: 1_234_567_890 };
    assert_eq!(end(ask(&remote, op, Class::Metadata, PATIENCE)), Ok(Reply::Done));
    let entries = end(list(&remote, &path("/"), PATIENCE)).unwrap();
    assert_eq!(entries[0].mtime, Some(1_234_567_890));
}

/// > Where an FTP server takes times, `cp -p`, `rsync -t` and `put` keep them, and a second `rsync -t` copies nothing.
#[test]
fn a_second_rsync_copies_nothing_in_this_mount_and_the_next() {
    let served = Served::new(&[]);
    let local = tempfile::tempdir().unwrap();
    shell(local.path(), "mkdir -p from/d && echo secret > password && chmod 600 password");
    shell(local.path(), "head -c 200000 /dev/urandom > from/large; echo x > from/d/small");
    shell(local.path(), "touch -d '2020-02-29 12:34:56 UTC' from/large from/d/small");
    let source = format!("ftp://pilot@127.0.0.1:{}/", served.port);
    let password = local.path().join("password").display().to_string();
    let options = ["--password-file", &password];
    let from = format!("{}/", local.path().join("from").display());
    let first = Mounted::new(&source, &options);
    let rsync = |mounted: &Mounted| {
        let to = mounted.path().join("to").display().to_string();
        let sent = succeed("rsync", &["-a", "--no-o", "--no-g", "--no-p", "-i", &from, &to]);
        let sent = String::from_utf8(sent).unwrap();
        sent.lines().filter(|line| line.starts_with("<f") || line.starts_with(">f")).count()
    };
    assert_eq!(rsync(&first), 2);
    assert_eq!(rsync(&first), 0);
    let kept = fs::metadata(served.directory.path().join("to/d/small")).unwrap();
    let kept = kept.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(kept.as_secs(), 1_582_979_696);
    drop(first);
    let second = Mounted::new(&source, &options);
    assert_eq!(rsync(&second), 0);
    let there = second.path().join("copy");
    succeed("cp", &["-p", &format!("{from}large"), &there.display().to_string()]);
    let kept = fs::metadata(served.directory.path().join("copy")).unwrap().modified().unwrap();
    let local_time = fs::metadata(local.path().join("from/large")).unwrap().modified().unwrap();
    assert_eq!(kept, local_time);
    let put =
        ["put", "--password-file", &password, &format!("{from}large"), &format!("{source}put")];
    let (code, printed) = our_program(&put, LIMIT);
    assert_eq!(code, 0, "{printed}");
    let kept = fs::metadata(served.directory.path().join("put")).unwrap().modified().unwrap();
    assert_eq!(kept, local_time);
}
