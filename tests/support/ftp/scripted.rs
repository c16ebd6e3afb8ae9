//! A small FTP server that misbehaves when it is told to: it answers what it should not, is silent,
//! closes, refuses data, or sends half a file. One folder, in memory. Must not know who connects.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a client may take to open its data connection.
const DATA_TIME: Duration = Duration::from_secs(5);
/// How often the end of the test is looked for.
const GLANCE: Duration = Duration::from_millis(5);

/// What the server does instead of what a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Answers this line.
    Say(&'static str),
    /// Answers this line and closes the connection.
    SayAndClose(&'static str),
    /// Closes the connection without a word.
    Close,
    /// Says nothing more on this connection, and keeps it open.
    FallSilent,
    /// Names a port at which nobody listens. For PASV and EPSV.
    RefuseData,
    /// Names a port, and closes what comes there before it is used. For PASV and EPSV.
    DropData,
    /// Moves half the bytes, and says that this was the file.
    HalfAndDone,
    /// Moves half the bytes, closes the data connection and says that it broke off.
    HalfAndBroken,
    /// Moves half the bytes and closes both connections.
    HalfAndClose,
    /// Moves half the bytes, and falls silent with both connections open.
    HalfAndSilent,
}

/// The running server. Gone when dropped, with its connections.
pub struct Scripted {
    port: u16,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    rules: Mutex<Vec<Rule>>,
    heard: Mutex<Vec<String>>,
    sockets: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

struct Rule {
    verb: &'static str,
    act: Act,
    times: usize,
}

impl Scripted {
    /// Serves these files.
    pub fn start(files: &[(&str, &[u8])]) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let named = files.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec()));
        shared.files.lock().unwrap().extend(named);
        let served = shared.clone();
        let listening = std::thread::spawn(move || {
            let mut sessions = Vec::new();
            for socket in listener.incoming().map_while(Result::ok) {
                if served.ended.load(Ordering::SeqCst) {
                    break;
                }
                let shared = served.clone();
                sessions.push(std::thread::spawn(move || Session::serve(socket, shared)));
            }
            sessions.into_iter().for_each(|session| session.join().unwrap());
        });
        Scripted { port, shared, listening: Some(listening) }
    }

    /// SOURCE for our program.
    pub fn source(&self) -> String {
        format!("ftp://127.0.0.1:{}", self.port)
    }

    /// From now on, does this at a command, so many times. The verb `` is the greeting.
    pub fn at(&self, verb: &'static str, act: Act, times: usize) {
        self.shared.rules.lock().unwrap().push(Rule { verb, act, times });
    }

    /// Behaves again.
    pub fn behave(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// A file's bytes; `None` when it is not there.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.shared.files.lock().unwrap().get(name).cloned()
    }

    /// The commands that were heard since the last time this was asked, in order.
    pub fn all_heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.heard.lock().unwrap())
    }

    /// How often a command was heard since the last time this was asked for it.
    pub fn heard(&self, verb: &str) -> usize {
        let mut heard = self.shared.heard.lock().unwrap();
        let before = heard.len();
        heard.retain(|word| word != verb);
        before - heard.len()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for socket in self.shared.sockets.lock().unwrap().iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

/// One control connection.
struct Session {
    shared: Arc<Shared>,
    control: TcpStream,
    data: Option<TcpListener>,
    from: usize,
    renamed: Option<String>,
}

/// Whether a connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Command,
    End,
}

impl Session {
    fn serve(control: TcpStream, shared: Arc<Shared>) {
        let own = |socket: &TcpStream| socket.try_clone().unwrap();
        shared.sockets.lock().unwrap().push(own(&control));
        let lines = BufReader::new(own(&control)).lines();
        let mut session = Session { shared, control, data: None, from: 0, renamed: None };
        if session.obey("", "") == Next::Command {
            for line in lines.map_while(Result::ok) {
                let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
                let verb = verb.to_uppercase();
                session.shared.heard.lock().unwrap().push(verb.clone());
                if session.obey(&verb, rest) == Next::End {
                    break;
                }
            }
        }
        // A clone of it stays in the list: only this closes the connection.
        let _ = session.control.shutdown(Shutdown::Both);
    }

    fn obey(&mut self, verb: &str, rest: &str) -> Next {
        match self.shared.told(verb) {
            None => self.behave(verb, rest, None),
            Some(Act::Say(line)) => self.say(line),
            Some(Act::SayAndClose(line)) => {
                self.say(line);
                Next::End
            }
            Some(Act::Close) => Next::End,
            Some(Act::FallSilent) => self.fall_silent(),
            Some(Act::RefuseData) => self.refuse_data(verb),
            Some(Act::DropData) => self.drop_data(verb),
            Some(
                act @ (Act::HalfAndDone
                | Act::HalfAndBroken
                | Act::HalfAndClose
                | Act::HalfAndSilent),
            ) => self.behave(verb, rest, Some(act)),
        }
    }

    fn behave(&mut self, verb: &str, rest: &str, act: Option<Act>) -> Next {
        let name = rest.trim_start_matches('/').to_string();
        match verb {
            "" => self.say("220 ready"),
            "USER" => self.say("331 and the password"),
            "PASS" => self.say("230 in"),
            "TYPE" | "OPTS" | "NOOP" => self.say("200 ok"),
            "PWD" => self.say("257 \"/\""),
            "CWD" if name.is_empty() => self.say("250 here"),
            "FEAT" => {
                self.say("211-\r\n MLST type*;size*;modify*;\r\n SIZE\r\n REST STREAM\r\n211 end")
            }
            "PASV" | "EPSV" => self.open_data(verb),
            "REST" => {
                self.from = rest.parse().unwrap();
                self.say("350 from there")
            }
            "SIZE" => match self.shared.file(&name) {
                Some(bytes) => self.say(&format!("213 {}", bytes.len())),
                None => self.say("550 No such file"),
            },
            "MLSD" => self.list(act),
            "RETR" => self.send_file(&name, act),
            "STOR" => self.take_file(name, act),
            "RNFR" => {
                self.renamed = Some(name);
                self.say("350 to what")
            }
            "RNTO" => self.rename(name),
            "DELE" => {
                let gone = self.shared.files.lock().unwrap().remove(&name).is_some();
                self.say(if gone { "250 gone" } else { "550 No such file" })
            }
            "QUIT" => {
                self.say("221 bye");
                Next::End
            }
            _ => self.say("502 not here"),
        }
    }

    fn say(&mut self, line: &str) -> Next {
        match write!(self.control, "{line}\r\n") {
            Ok(()) => Next::Command,
            Err(_) => Next::End,
        }
    }

    /// Until the client closes, or the test ends.
    fn fall_silent(&mut self) -> Next {
        let mut thrown_away = [0; 256];
        while self.control.read(&mut thrown_away).is_ok_and(|count| count > 0) {}
        Next::End
    }

    fn open_data(&mut self, verb: &str) -> Next {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        self.data = Some(listener);
        self.say_port(verb, port)
    }

    fn refuse_data(&mut self, verb: &str) -> Next {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.data = None;
        self.say_port(verb, port)
    }

    fn drop_data(&mut self, verb: &str) -> Next {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        self.data = None;
        std::thread::spawn(move || drop(listener.accept()));
        self.say_port(verb, port)
    }

    fn say_port(&mut self, verb: &str, port: u16) -> Next {
        match verb {
            "EPSV" => self.say(&format!("229 there (|||{port}|)")),
            _ => self.say(&format!("227 there (127,0,0,1,{},{})", port >> 8, port & 0xFF)),
        }
    }

    fn list(&mut self, act: Option<Act>) -> Next {
        let files = self.shared.files.lock().unwrap().clone();
        let line = |(name, bytes): (&String, &Vec<u8>)| {
            format!("type=file;size={};modify=20230506070809; {name}\r\n", bytes.len())
        };
        let text: String = files.iter().map(line).collect();
        let end = if act.is_some() { text.len() / 2 } else { text.len() };
        self.send(&text.as_bytes()[..end], act)
    }

    fn send_file(&mut self, name: &str, act: Option<Act>) -> Next {
        let from = std::mem::take(&mut self.from);
        match self.shared.file(name) {
            Some(bytes) => {
                // Nothing of the second half, however often it is asked for.
                let end = if act.is_some() { bytes.len() / 2 } else { bytes.len() };
                self.send(bytes.get(from..end).unwrap_or_default(), act)
            }
            None => self.say("550 No such file"),
        }
    }

    fn send(&mut self, bytes: &[u8], act: Option<Act>) -> Next {
        let Some(mut data) = self.accept_data() else { return self.say("425 no data connection") };
        self.say("150 here it comes");
        // Fails when the client has what it wants.
        let sent = data.0.write_all(bytes);
        match (act, sent) {
            (None, Err(_)) => self.say("426 you closed it"),
            (act, _) => self.end_data(data, act),
        }
    }

    fn take_file(&mut self, name: String, act: Option<Act>) -> Next {
        let Some(mut data) = self.accept_data() else { return self.say("425 no data connection") };
        self.say("150 let it come");
        let mut bytes = Vec::new();
        let whole = match act {
            None => data.0.read_to_end(&mut bytes).is_ok(),
            Some(_) => {
                bytes.resize(1024, 0);
                let count = data.0.read(&mut bytes).unwrap_or(0);
                bytes.truncate(count / 2);
                true
            }
        };
        self.shared.files.lock().unwrap().insert(name, bytes);
        match whole {
            true => self.end_data(data, act),
            false => self.say("426 you closed it"),
        }
    }

    fn end_data(&mut self, data: Data, act: Option<Act>) -> Next {
        match act {
            Some(Act::HalfAndSilent) => {
                let next = self.fall_silent();
                drop(data);
                next
            }
            Some(Act::HalfAndClose) => Next::End,
            Some(Act::HalfAndBroken) => {
                drop(data);
                self.say("426 it broke off")
            }
            _ => {
                drop(data);
                self.say("226 done")
            }
        }
    }

    fn rename(&mut self, to: String) -> Next {
        let from = self.renamed.take().unwrap_or_default();
        let mut files = self.shared.files.lock().unwrap();
        let moved = files.remove(&from).map(|bytes| files.insert(to, bytes)).is_some();
        drop(files);
        self.say(if moved { "250 moved" } else { "550 No such file" })
    }

    fn accept_data(&mut self) -> Option<Data> {
        let listener = self.data.take()?;
        listener.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + DATA_TIME;
        while Instant::now() < deadline && !self.shared.ended.load(Ordering::SeqCst) {
            if let Ok((socket, _)) = listener.accept() {
                socket.set_nonblocking(false).unwrap();
                self.shared.sockets.lock().unwrap().push(socket.try_clone().unwrap());
                return Some(Data(socket));
            }
            std::thread::sleep(GLANCE);
        }
        None
    }
}

/// A data connection. A clone of it stays in the list: only this closes it.
struct Data(TcpStream);

impl Drop for Data {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Shared {
    fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.files.lock().unwrap().get(name).cloned()
    }

    /// What it was told to do at this command, once less from now on.
    fn told(&self, verb: &str) -> Option<Act> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.verb == verb && rule.times > 0)?;
        rule.times -= 1;
        Some(rule.act)
    }
}
