//! A client as one writes it first, without a network between: one request after another, each
//! answer believed. What it gets wrong on a personality shows that the personality is worth testing.

use std::time::{Duration, Instant};

use mavftp_mount::mavftp::wire::{Nak, Opcode, Payload};

use super::{FarSide, Said, US};

/// So long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(1);

pub struct Naive {
    pub far: Box<dyn FarSide>,
    pub now: Instant,
    sequence: u16,
}

impl Naive {
    pub fn new(far: Box<dyn FarSide>) -> Naive {
        Naive { far, now: Instant::now(), sequence: 0 }
    }

    /// Asks and waits; `None`: no answer.
    pub fn ask(&mut self, request: Payload) -> Option<(Payload, Result<Vec<u8>, Nak>)> {
        self.sequence += 1;
        let sequence = self.sequence;
        self.far.receive(self.now, US, &Payload { sequence, ..request });
        let end = self.now + TIMEOUT;
        while self.now < end {
            match self.far.poll(self.now) {
                Said::To(_, answer) if answer.sequence == self.sequence + 1 => {
                    let result = answer.answer()?.map(|()| answer.data().to_vec());
                    return Some((*answer, result));
                }
                Said::To(..) => {}
                Said::Nothing(at) => self.now = at.unwrap_or(end).max(self.now).min(end),
            }
        }
        None
    }

    /// The result of a request on a path; `None`: no answer.
    pub fn on(&mut self, opcode: Opcode, path: &str) -> Option<Result<Vec<u8>, Nak>> {
        let request = Payload::request(opcode).with_data(path.as_bytes());
        self.ask(request).map(|(_, result)| result)
    }

    /// Asks, loses the answer, and asks again under a new number.
    pub fn on_twice(&mut self, opcode: Opcode, path: &str) -> Option<Result<Vec<u8>, Nak>> {
        self.on(opcode, path);
        self.on(opcode, path)
    }

    /// Opens a file and reads full blocks until there is none.
    pub fn download(&mut self, path: &str) -> Result<Vec<u8>, Option<Nak>> {
        self.on(Opcode::OpenFileRo, path).ok_or(None)?.map_err(Some)?;
        let mut content = Vec::new();
        loop {
            let offset = content.len() as u32;
            let read = Payload { offset, size: 239, ..Payload::request(Opcode::ReadFile) };
            match self.ask(read).ok_or(None)?.1 {
                Ok(data) => content.extend_from_slice(&data),
                Err(Nak::Eof) => return Ok(content),
                Err(nak) => return Err(Some(nak)),
            }
        }
    }

    /// Asks for a burst and hears all that comes, until nothing has come for a second.
    pub fn burst(&mut self, offset: u32, size: u8) -> Vec<(Instant, Payload)> {
        self.ask_burst(offset, size);
        let mut heard = Vec::new();
        while let Some(packet) = self.hear() {
            heard.push((self.now, packet));
        }
        heard
    }

    /// Opens a file and reads it by bursts. Each packet is put behind the one before, each end of a
    /// burst is believed, and what is missing is asked for at once. Also tells how often it asked.
    pub fn download_by_bursts(&mut self, path: &str) -> Result<(Vec<u8>, u32), Option<Nak>> {
        self.on(Opcode::OpenFileRo, path).ok_or(None)?.map_err(Some)?;
        let (mut content, mut asked) = (Vec::new(), 0);
        loop {
            self.ask_burst(content.len() as u32, 239);
            asked += 1;
            loop {
                let packet = self.hear().ok_or(None)?;
                match packet.answer() {
                    Some(Err(Nak::Eof)) => return Ok((content, asked)),
                    Some(Err(nak)) => return Err(Some(nak)),
                    Some(Ok(())) | None => content.extend_from_slice(packet.data()),
                }
                if packet.burst_complete != 0 {
                    break;
                }
            }
        }
    }

    /// Asks for a burst and does not wait.
    pub fn ask_burst(&mut self, offset: u32, size: u8) {
        self.sequence += 1;
        let burst = Payload { offset, size, ..Payload::request(Opcode::BurstReadFile) };
        self.far.receive(self.now, US, &Payload { sequence: self.sequence, ..burst });
    }

    /// Whatever comes next within a second.
    pub fn hear(&mut self) -> Option<Payload> {
        let end = self.now + TIMEOUT;
        loop {
            match self.far.poll(self.now) {
                Said::To(_, answer) => return Some(*answer),
                Said::Nothing(_) if self.now >= end => return None,
                Said::Nothing(at) => self.now = at.unwrap_or(end).max(self.now).min(end),
            }
        }
    }

    /// Reads with so many requests on their way at a time, and tells how long it took.
    pub fn read_with_window(&mut self, size: u32, window: usize) -> Option<Duration> {
        let start = self.now;
        let offsets: Vec<u32> = (0..size).step_by(239).collect();
        let (mut asked, mut heard) = (0, 0);
        while heard < offsets.len() {
            while asked < offsets.len() && asked - heard < window {
                self.sequence += 1;
                let offset = offsets[asked];
                let read = Payload { offset, size: 239, ..Payload::request(Opcode::ReadFile) };
                self.far.receive(self.now, US, &Payload { sequence: self.sequence, ..read });
                asked += 1;
            }
            self.hear()?;
            heard += 1;
        }
        Some(self.now - start)
    }
}
