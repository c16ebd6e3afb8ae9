//! Requests that the network delivers once more, late and out of order: what a client leaves behind
//! is what it would have left without them. And client programs that count from the start again.

use std::collections::BTreeMap;

use super::super::order::LATE_TIME;
use super::*;

fn numbered(sequence: u16, request: Payload) -> Payload {
    Payload { sequence, ..request }
}

fn write(session: u8, sequence: u16, offset: u32, data: &[u8]) -> Payload {
    Payload { sequence, session, offset, ..Payload::request(Opcode::WriteFile) }.with_data(data)
}

fn terminate(session: u8, sequence: u16) -> Payload {
    Payload { sequence, session, ..Payload::request(Opcode::TerminateSession) }
}

/// Uploads a file in one piece, counting from `sequence`.
fn put(desk: &mut Desk, sequence: u16, path: &str, content: &[u8]) {
    accepted(desk.ask_again(1, &numbered(sequence, with_path(Opcode::CreateFile, 5, path))));
    accepted(desk.ask_again(1, &write(5, sequence + 1, 0, content)));
    accepted(desk.ask_again(1, &terminate(5, sequence + 2)));
}

/// > A late CreateFile does not empty the file that was finished meanwhile.
#[test]
fn a_late_create_does_not_empty_the_finished_file() {
    let mut desk = Desk::new();
    put(&mut desk, 20, "/a", b"content");
    desk.wait(LATE_TIME);
    let create = numbered(20, with_path(Opcode::CreateFile, 5, "/a"));
    accepted(desk.ask_again(1, &create));
    assert_eq!(desk.files.content("/a").unwrap(), b"content");
    assert_eq!(desk.server.open_sessions(), 0);
    desk.wait(Duration::from_millis(1));
    accepted(desk.ask_again(1, &create));
    assert_eq!(desk.files.content("/a").unwrap(), b"", "nothing comes as late as that");
}

#[test]
fn a_late_create_and_its_writes_leave_the_file_as_it_is() {
    let mut desk = Desk::new();
    put(&mut desk, 20, "/a", b"content");
    accepted(desk.ask_path(Opcode::Rename, "/a\0/b"));
    accepted(desk.ask_again(1, &numbered(20, with_path(Opcode::CreateFile, 5, "/a"))));
    accepted(desk.ask_again(1, &write(5, 21, 0, b"content")));
    accepted(desk.ask_again(1, &terminate(5, 22)));
    assert_eq!(desk.files.paths(), [b"b"]);
}

#[test]
fn late_requests_of_the_last_file_do_not_concern_the_next_under_its_number() {
    let mut desk = Desk::new();
    put(&mut desk, 20, "/a", b"content");
    accepted(desk.ask_again(1, &numbered(23, with_path(Opcode::CreateFile, 5, "/b"))));
    accepted(desk.ask_again(1, &write(5, 24, 0, b"new")));
    assert_eq!(refused(desk.ask_again(1, &write(5, 21, 0, b"content"))), Nak::InvalidSession);
    accepted(desk.ask_again(1, &terminate(5, 22)));
    accepted(desk.ask_again(1, &numbered(19, Payload::request(Opcode::ResetSessions))));
    accepted(desk.ask_again(1, &write(5, 25, 3, b"er")));
    assert_eq!(desk.files.content("/b").unwrap(), b"newer");
}

#[test]
fn a_late_open_does_not_take_the_file_from_who_asks_with_0() {
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    desk.files.insert("/b", b"b");
    let first = numbered(20, with_path(Opcode::OpenFileRo, 0, "/a"));
    let session = accepted(desk.ask_again(1, &first)).session;
    accepted(desk.ask_again(1, &terminate(session, 21)));
    let second = numbered(22, with_path(Opcode::OpenFileRo, 0, "/b"));
    let session = accepted(desk.ask_again(1, &second)).session;
    accepted(desk.ask_again(1, &first));
    let read = Payload { session, size: 9, ..Payload::request(Opcode::ReadFile) };
    assert_eq!(accepted(desk.ask_again(1, &numbered(23, read))).data(), b"b");
}

#[test]
fn an_old_write_does_not_undo_a_newer_one_however_many_came_between() {
    let mut desk = Desk::new();
    accepted(desk.ask_again(1, &numbered(300, with_path(Opcode::CreateFile, 5, "/a"))));
    accepted(desk.ask_again(1, &write(5, 301, 0, b"old")));
    for at in 0..5000u16 {
        accepted(desk.ask_again(1, &write(5, 302 + at, 3 + u32::from(at), b"x")));
    }
    accepted(desk.ask_again(1, &write(5, 5302, 0, b"new")));
    accepted(desk.ask_again(1, &write(5, 301, 0, b"old")));
    assert_eq!(desk.files.content("/a").unwrap()[..3], *b"new");
}

#[test]
fn a_copy_of_a_running_bursts_request_does_not_begin_it_again() {
    let mut desk = Desk::with_rate(Some(100_000));
    desk.files.insert("/a", &pattern(100_000));
    let open = numbered(400, with_path(Opcode::OpenFileRo, 5, "/a"));
    accepted(desk.ask_again(1, &open));
    let burst = Payload { session: 5, size: 239, ..Payload::request(Opcode::BurstReadFile) };
    desk.send(1, &numbered(401, burst));
    let (mut sent, mut copied) = (Vec::new(), false);
    loop {
        match desk.server.poll(desk.now) {
            ServerOutput::Send(_, packet) => sent.push(packet.offset),
            ServerOutput::Wait(Some(time)) => desk.now = desk.now.max(time),
            ServerOutput::Wait(None) => break,
        }
        if !copied && sent.len() == 50 {
            desk.send(1, &numbered(401, burst));
            copied = true;
        }
    }
    assert!(sent.is_sorted_by(|one, other| one < other), "{sent:?}");
}

/// pymavlink: a new object resets the sessions and counts from 0, in the same process and at once.
#[test]
fn a_client_that_resets_and_counts_from_0_is_a_new_one_at_once() {
    let mut desk = Desk::new();
    for content in [&b"a long first content"[..], b"another", b"another", b"last"] {
        accepted(desk.ask_again(1, &numbered(0, Payload::request(Opcode::ResetSessions))));
        put(&mut desk, 1, "/a", content);
        assert_eq!(desk.files.content("/a").unwrap(), content);
        desk.files.remove("/a");
    }
}

/// MAVSDK: a program started anew counts from the start, without a reset.
#[test]
fn a_client_that_comes_back_at_once_with_something_new_is_a_new_one() {
    let mut desk = Desk::new();
    put(&mut desk, 1, "/a", b"a long first content");
    put(&mut desk, 1, "/a", b"another");
    assert_eq!(desk.files.content("/a").unwrap(), b"another");
    let mut desk = Desk::new();
    desk.files.insert("/a", b"a");
    for _ in 0..2 {
        accepted(desk.ask_again(1, &numbered(1, with_path(Opcode::OpenFileRo, 5, "/a"))));
        let read = Payload { session: 5, size: 9, ..Payload::request(Opcode::ReadFile) };
        assert_eq!(accepted(desk.ask_again(1, &numbered(2, read))).data(), b"a");
        accepted(desk.ask_again(1, &terminate(5, 3)));
    }
}

/// > A client program that begins anew is taken for a new one: at once where it begins with
/// > ResetSessions or asks for something else, after two seconds whatever it asks for.
#[test]
fn a_client_that_comes_back_later_is_a_new_one_whatever_it_does() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        put(&mut desk, 1, "/a", b"content");
        assert_eq!(desk.files.content("/a").unwrap(), b"content");
        accepted(desk.ask_again(1, &numbered(4, with_path(Opcode::RemoveFile, 0, "/a"))));
        assert_eq!(desk.files.content("/a"), None);
        desk.wait(LATE_TIME + Duration::from_millis(1));
    }
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A client that waits for each answer, asks again when one is lost, and does things at random; and
/// a network that may deliver each of its requests again.
struct Walk {
    desk: Desk,
    script: Dice,
    network: Dice,
    repeats: bool,
    copies: BTreeMap<(Instant, u32), Payload>,
    sent: u32,
    answers: Vec<Told>,
}

/// Paths and what the files among them hold.
type Tree = Vec<(Vec<u8>, Option<Vec<u8>>)>;
/// An answer and its data.
type Told = (Result<(), Nak>, Vec<u8>);

const NAMES: [&str; 4] = ["/a", "/b", "/d/a", "/d"];

impl Walk {
    fn new(seed: u64, repeats: bool) -> Walk {
        let mut desk = Desk::new();
        desk.sequence = [40, 1000, 65_450][seed as usize % 3];
        let (script, network) = (Dice(seed), Dice(seed ^ 0x5DEE_CE66));
        let (copies, answers) = (BTreeMap::new(), Vec::new());
        Walk { desk, script, network, repeats, copies, sent: 0, answers }
    }

    fn deliver_until(&mut self, time: Instant) {
        while let Some(copy) = self.copies.first_entry().filter(|copy| copy.key().0 <= time) {
            self.desk.now = self.desk.now.max(copy.key().0);
            let request = copy.remove();
            self.desk.send(1, &request);
            self.desk.drain();
        }
        self.desk.now = time;
    }

    /// One delivery, and its copy.
    fn deliver(&mut self, request: &Payload) -> Payload {
        let pause = Duration::from_millis(40 + self.script.below(80));
        self.deliver_until(self.desk.now + pause);
        if self.repeats && self.network.below(4) > 0 {
            self.sent += 1;
            let delay = Duration::from_millis(self.network.below(2000));
            self.copies.insert((self.desk.now + delay, self.sent), *request);
        }
        self.desk.send(1, request);
        let wanted = request.sequence.wrapping_add(1);
        let sent = self.desk.drain();
        let answer = sent.iter().find(|(_, answer)| answer.sequence == wanted);
        answer.expect("every request is answered").1
    }

    fn ask(&mut self, request: Payload) -> Payload {
        self.desk.sequence = self.desk.sequence.wrapping_add(1);
        let request = Payload { sequence: self.desk.sequence, ..request };
        let mut answer = self.deliver(&request);
        while self.script.below(8) == 0 {
            self.deliver_until(self.desk.now + Duration::from_millis(500));
            answer = self.deliver(&request);
        }
        let result = answer.answer().expect("an answer");
        self.answers.push((result, answer.data().to_vec()));
        answer
    }

    fn put(&mut self, path: &str) {
        let opcode = [Opcode::CreateFile, Opcode::OpenFileWo][self.script.below(2) as usize];
        let session = [0, 3, 4][self.script.below(3) as usize];
        let opened = self.ask(with_path(opcode, session, path));
        if opened.answer() != Some(Ok(())) {
            return;
        }
        for _ in 0..self.script.below(5) {
            let data = vec![self.script.below(256) as u8; 1 + self.script.below(9) as usize];
            let offset = self.script.below(12) as u32;
            self.ask(write(opened.session, 0, offset, &data));
        }
        self.ask(terminate(opened.session, 0));
    }

    fn get(&mut self, path: &str) {
        let session = [0, 3, 4][self.script.below(3) as usize];
        let opened = self.ask(with_path(Opcode::OpenFileRo, session, path));
        if opened.answer() != Some(Ok(())) {
            return;
        }
        let read = Payload { size: 239, ..Payload::request(Opcode::ReadFile) };
        self.ask(Payload { session: opened.session, ..read });
        self.ask(terminate(opened.session, 0));
    }

    fn act(&mut self) {
        let path = NAMES[self.script.below(4) as usize];
        let other = NAMES[self.script.below(4) as usize];
        match self.script.below(12) {
            0..=3 => self.put(path),
            4..=5 => self.get(path),
            6 => drop(self.ask(with_path(Opcode::RemoveFile, 0, path))),
            7 => drop(self.ask(with_path(Opcode::Rename, 0, &format!("{path}\0{other}")))),
            8 => drop(self.ask(with_path(Opcode::CreateDirectory, 0, path))),
            9 => drop(self.ask(with_path(Opcode::RemoveDirectory, 0, path))),
            10 => {
                let offset = self.script.below(10) as u32;
                self.ask(Payload { offset, ..with_path(Opcode::TruncateFile, 0, path) });
            }
            // With one of the very first numbers it is how a program started anew begins.
            _ if self.desk.sequence.wrapping_add(1) <= 1 => {}
            _ => drop(self.ask(Payload::request(Opcode::ResetSessions))),
        }
    }

    /// What is left in the end, and what the client was told.
    fn run(mut self) -> (Tree, Vec<Told>) {
        for _ in 0..40 {
            self.act();
        }
        self.deliver_until(self.desk.now + Duration::from_secs(3));
        let content = |path: &Vec<u8>| self.desk.files.content(std::str::from_utf8(path).unwrap());
        let paths = self.desk.files.paths();
        (paths.iter().map(|path| (path.clone(), content(path))).collect(), self.answers)
    }
}

/// > A request that arrives twice is done once: copies that come late change nothing, and nobody
/// > is told otherwise.
#[test]
fn copies_that_come_late_change_nothing_and_nobody_is_told_otherwise() {
    for seed in 0..1000 {
        let (tree, told) = Walk::new(seed, false).run();
        let (tree_with_copies, told_with_copies) = Walk::new(seed, true).run();
        assert_eq!(told_with_copies, told, "seed {seed}");
        assert_eq!(tree_with_copies, tree, "seed {seed}");
    }
}
