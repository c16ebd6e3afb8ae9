//! The sockets of the relay, what is under way between them, and its commands. Must not know what a
//! datagram means, nor how a link damages it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::inbox::{self, Inbox, Received};
use super::link::{Direction, Link};

/// Nobody is woken for less: what is due within half of it is sent, and what comes meanwhile waits
/// for the end of it, stamped with its time. It saves most of the turns a processor would give us.
const GRAIN: Duration = Duration::from_micros(400);
/// Of a link's delay, so that a short one is kept as well.
const GRAIN_PER_DELAY: f64 = 1.0 / 25.0;

/// The relay.
pub struct Relay {
    link: Link,
    began: Instant,
    mount: SocketAddrV4,
    /// The first is where servers send; the others are those servers, as the mount sees them.
    sides: Vec<Side>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    number: u64,
    inbox: Inbox,
    late: Late,
}

/// A socket, and where what it receives goes.
struct Side {
    socket: UdpSocket,
    server: Option<SocketAddrV4>,
}

/// A datagram between two sockets, in the order of its arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    arrival: u64,
    number: u64,
    direction: Direction,
    side: usize,
    to: SocketAddrV4,
    data: Vec<u8>,
}

/// How late datagrams were sent, against the link's own schedule.
#[derive(Default)]
struct Late {
    sent: u64,
    refused: u64,
    sum: u64,
    most: u64,
}

impl Relay {
    /// Listens on `server_port`, or any free one where that is 0, for servers.
    ///
    /// # Errors
    /// Those of the system, such as a port that is taken.
    pub fn new(link: Link, server_port: u16, mount_port: u16) -> io::Result<Relay> {
        let first = Side { socket: inbox::bind(server_port)?, server: None };
        Ok(Relay {
            link,
            began: Instant::now(),
            mount: SocketAddrV4::new(Ipv4Addr::LOCALHOST, mount_port),
            sides: vec![first],
            under_way: BinaryHeap::new(),
            number: 0,
            inbox: Inbox::new(),
            late: Late::default(),
        })
    }

    /// Relays until standard input ends.
    ///
    /// # Errors
    /// Those of the system, and commands that are none.
    pub fn run(&mut self) -> io::Result<()> {
        print(&format!("ready {}", self.sides[0].socket.local_addr()?.port()))?;
        let mut typed = Vec::new();
        let mut flowing = false;
        loop {
            let grain = self.grain();
            let due = self.deliver(grain / 2);
            // While datagrams flow, those of a grain are taken together, and none is woken for.
            let pause = if flowing { Some(grain) } else { due.map(|due| due.max(grain)) };
            if self.wait(pause, !flowing)? && !self.read_commands(&mut typed)? {
                return self.print_statistics();
            }
            flowing = self.drain()? && !grain.is_zero();
        }
    }

    fn grain(&self) -> Duration {
        let delays = Direction::BOTH.map(|(direction, _)| self.link.damage(direction).delay);
        let share = delays[0].min(delays[1]) * GRAIN_PER_DELAY / 1000.0;
        GRAIN.min(Duration::try_from_secs_f64(share).unwrap_or(GRAIN))
    }

    /// Waits for commands, and if asked also for datagrams, but not longer than `limit`; whether there
    /// are commands.
    fn wait(&self, limit: Option<Duration>, datagrams: bool) -> io::Result<bool> {
        let watched = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut polled = vec![watched(libc::STDIN_FILENO)];
        if datagrams {
            polled.extend(self.sides.iter().map(|side| watched(side.socket.as_raw_fd())));
        }
        let limit = limit.map(|limit| libc::timespec {
            tv_sec: limit.as_secs() as libc::time_t,
            tv_nsec: limit.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let count = polled.len() as libc::nfds_t;
        // SAFETY: the descriptors and the time limit outlive the call.
        let ready = unsafe { libc::ppoll(polled.as_mut_ptr(), count, limit, std::ptr::null()) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            let interrupted = error.kind() == io::ErrorKind::Interrupted;
            return if interrupted { Ok(false) } else { Err(error) };
        }
        Ok(polled[0].revents != 0)
    }

    /// Takes a batch from each socket; whether there was anything.
    fn drain(&mut self) -> io::Result<bool> {
        let mut any = false;
        for at in 0..self.sides.len() {
            let mut came = Vec::new();
            let now = self.now();
            self.inbox.take(&self.sides[at].socket, |Received { data, sender, age }| {
                came.push((now.saturating_sub(age.as_nanos() as u64), sender, data.to_vec()));
            });
            any |= !came.is_empty();
            for (time, sender, data) in came {
                match self.sides[at].server {
                    Some(server) => self.send(Direction::Down, time, 0, server, data),
                    None => {
                        let side = self.side_of(sender)?;
                        self.send(Direction::Up, time, side, self.mount, data);
                    }
                }
            }
        }
        Ok(any)
    }

    /// Each server gets a socket of its own towards the mount.
    fn side_of(&mut self, server: SocketAddrV4) -> io::Result<usize> {
        if let Some(at) = self.sides.iter().position(|side| side.server == Some(server)) {
            return Ok(at);
        }
        self.sides.push(Side { socket: inbox::bind(0)?, server: Some(server) });
        Ok(self.sides.len() - 1)
    }

    fn send(
        &mut self,
        direction: Direction,
        time: u64,
        side: usize,
        to: SocketAddrV4,
        data: Vec<u8>,
    ) {
        let arrivals = self.link.enter(direction, time, data.len());
        for arrival in arrivals.into_iter().flatten() {
            self.number += 1;
            let (number, data) = (self.number, data.clone());
            self.under_way.push(Reverse(UnderWay { arrival, number, direction, side, to, data }));
        }
    }

    /// Sends what is due within `early`; the time until more is due.
    fn deliver(&mut self, early: Duration) -> Option<Duration> {
        let early = early.as_nanos() as u64;
        let mut now = self.now();
        while let Some(Reverse(next)) = self.under_way.peek() {
            if next.arrival > now + early {
                now = self.now();
                if next.arrival > now + early {
                    return Some(Duration::from_nanos(next.arrival - now));
                }
            }
            if let Some(Reverse(due)) = self.under_way.pop() {
                let sent = self.sides[due.side].socket.send_to(&due.data, due.to);
                // Lost, as datagrams are; but the statistics tell.
                self.late.refused += u64::from(sent.is_err());
                self.late.note(now.saturating_sub(due.arrival));
            }
        }
        None
    }

    /// Reads what was typed and obeys whole lines; false when nothing more can come.
    fn read_commands(&mut self, typed: &mut Vec<u8>) -> io::Result<bool> {
        let mut input = io::stdin().lock();
        let piece = input.fill_buf()?;
        let count = piece.len();
        typed.extend(piece);
        input.consume(count);
        while let Some(end) = typed.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = typed.drain(..=end).collect();
            self.obey(String::from_utf8_lossy(&line).trim())?;
        }
        Ok(count > 0)
    }

    fn obey(&mut self, line: &str) -> io::Result<()> {
        let wrong = || io::Error::other(format!("unknown command {line:?}"));
        let (word, value) = line.split_once(' ').ok_or_else(wrong)?;
        let value: f64 = value.trim().parse().map_err(|_| wrong())?;
        if word == "silence" {
            let length = Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX);
            let until = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
            self.link.silence(self.now().saturating_add(until));
            self.under_way.clear();
        } else if !self.link.set(word, value) {
            return Err(wrong());
        }
        let link = &self.link;
        self.under_way.retain(|Reverse(sent)| link.damage(sent.direction).cut == 0.0);
        print(&format!("ok {line}"))
    }

    fn print_statistics(&self) -> io::Result<()> {
        let seconds = |ns: u64| ns as f64 / 1e9;
        for (direction, name) in Direction::BOTH {
            let counts = self.link.counts(direction);
            let (first, last) = counts.span.unwrap_or_default();
            print(&format!(
                "{name} passed={} lost={} overflowed={} bytes={} busy={:.6} span={:.6}",
                counts.passed,
                counts.lost,
                counts.overflowed,
                counts.bytes,
                seconds(counts.busy),
                seconds(last - first),
            ))?;
        }
        let Late { sent, refused, sum, most } = self.late;
        let mean = sum as f64 / 1e9 / sent.max(1) as f64;
        print(&format!("sent={sent} refused={refused} late={mean:.6} most={:.6}", seconds(most)))
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}

impl Late {
    fn note(&mut self, late: u64) {
        self.sent += 1;
        self.sum += late;
        self.most = self.most.max(late);
    }
}

fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
