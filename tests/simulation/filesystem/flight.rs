//! A mounted vehicle in virtual time: the real filesystem and cache over the real hub, a server by
//! rule, a network, and what goes wrong meanwhile. Runs programs as an executor thread would. Must
//! not know what the programs do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mavftp_mount::cache::{self, Cache};
use mavftp_mount::fs::{Background, Fs, FsOptions, Work};
use mavftp_mount::mavftp::server::MemoryFiles;
use mavftp_mount::mavftp::wire::{Opcode, Payload};
use mavftp_mount::remote::mavftp::desk::{Command, Desk};
use mavftp_mount::remote::{Class, Op, OpId, Remote, RemotePath, Sink, Status};

use super::store::CountingStore;
use crate::network::Faults;
use crate::personalities::OTHER;
use crate::vehicles::Kind;
use crate::world::{Counter, TARGET, World};

/// How long a listing is believed.
pub const DIRECTORY_TIME: Duration = Duration::from_secs(10);
/// Shown where nobody knows better, and the vehicle's clock at the start.
pub const EPOCH: i64 = 1_700_000_000;
/// No program waits longer for one thing.
const HANG: Duration = Duration::from_secs(900);
/// After trouble is over, so long it explains what fails.
const AFTERMATH: Duration = Duration::from_secs(45);
/// The session id of the other station, where sessions have numbers.
const THEIRS: u8 = 77;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mishap {
    /// Nothing gets through.
    Silence(Duration),
    /// The vehicle loses all it remembers, and is away for so long.
    Reboot(Duration),
    /// Nothing gets through, and then the vehicle is at another address.
    Move(Duration),
    /// Another station resets all sessions.
    Reset,
    /// The vehicle is armed.
    Armed(Duration),
    /// The vehicle's disk has no room.
    Full(Duration),
}

impl Mishap {
    fn lasts(self) -> Duration {
        match self {
            Mishap::Silence(lasts)
            | Mishap::Reboot(lasts)
            | Mishap::Move(lasts)
            | Mishap::Armed(lasts)
            | Mishap::Full(lasts) => lasts,
            Mishap::Reset => Duration::ZERO,
        }
    }
}

/// What programs see of the world, and ask of it.
pub struct Surroundings {
    pub fs: RefCell<Option<Arc<Fs>>>,
    pub files: MemoryFiles,
    pub store: CountingStore,
    start: Instant,
    clock: Arc<AtomicU64>,
    alarms: RefCell<BTreeMap<(Instant, u64), Waker>>,
    alarm_count: Cell<u64>,
    trouble_until: Cell<Option<Instant>>,
    /// The link itself is bad enough to fail operations.
    pub lossy: bool,
    /// What failed, by errno.
    pub failures: RefCell<BTreeMap<i32, usize>>,
    /// The longest operation.
    pub longest: RefCell<(Duration, String)>,
}

impl Surroundings {
    /// The filesystem.
    pub fn fs(&self) -> Arc<Fs> {
        self.fs.borrow().clone().expect("it is mounted")
    }

    pub fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.clock.load(Ordering::Relaxed))
    }

    /// Time since it was mounted first.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.clock.load(Ordering::Relaxed))
    }

    /// Whether something is wrong now, or was a moment ago.
    pub fn is_troubled(&self) -> bool {
        self.trouble_until.get().is_some_and(|until| self.now() < until + AFTERMATH)
    }

    /// Whether something has ever been wrong.
    pub fn was_troubled(&self) -> bool {
        self.trouble_until.get().is_some()
    }

    /// Whether something is wrong at this moment.
    fn is_in_trouble(&self) -> bool {
        self.trouble_until.get().is_some_and(|until| self.now() < until)
    }

    /// Virtual time passes.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + '_ {
        let end = self.now() + time;
        std::future::poll_fn(move |context| {
            if self.now() >= end {
                return Poll::Ready(());
            }
            self.alarm_count.set(self.alarm_count.get() + 1);
            let key = (end, self.alarm_count.get());
            self.alarms.borrow_mut().insert(key, context.waker().clone());
            Poll::Pending
        })
    }

    /// Waits until nothing has been wrong for longer than anything is cached.
    pub async fn calm(&self) {
        loop {
            while self.is_in_trouble() {
                self.sleep(Duration::from_secs(1)).await;
            }
            self.sleep(DIRECTORY_TIME + Duration::from_secs(3)).await;
            if !self.is_in_trouble() {
                return;
            }
        }
    }

    fn ring(&self) {
        let now = self.now();
        let mut alarms = self.alarms.borrow_mut();
        while alarms.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
            if let Some((_, waker)) = alarms.pop_first() {
                waker.wake();
            }
        }
    }
}

/// The world, with all that is mounted on it.
pub struct Flight {
    pub world: World,
    pub around: Rc<Surroundings>,
    kind: Kind,
    remote: Arc<dyn Remote>,
    mishaps: Vec<(Instant, Begun, Mishap)>,
    beside: Arc<Beside>,
    /// Work that no request waits for.
    background: Vec<Task<'static>>,
}

/// Takes work that no request waits for.
struct Beside {
    begun: Mutex<Vec<Work>>,
    clock: Arc<AtomicU64>,
    alarms: Arc<Mutex<Vec<(Duration, Waker)>>>,
}

impl Beside {
    fn next_alarm(&self) -> Option<Duration> {
        self.alarms.lock().unwrap().iter().map(|(at, _)| *at).min()
    }

    fn ring(&self) {
        let now = elapsed(&self.clock);
        let due = |alarm: &mut (Duration, Waker)| alarm.0 <= now;
        let due: Vec<_> = self.alarms.lock().unwrap().extract_if(.., due).collect();
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Background for Beside {
    fn spawn(&self, work: Work) {
        self.begun.lock().unwrap().push(work);
    }

    fn pause(&self, time: Duration) -> Work {
        let (clock, alarms) = (self.clock.clone(), self.alarms.clone());
        let end = elapsed(&clock) + time;
        Box::pin(std::future::poll_fn(move |context| {
            if elapsed(&clock) >= end {
                return Poll::Ready(());
            }
            alarms.lock().unwrap().push((end, context.waker().clone()));
            Poll::Pending
        }))
    }
}

/// Virtual time since the first mount.
fn elapsed(clock: &AtomicU64) -> Duration {
    Duration::from_nanos(clock.load(Ordering::Relaxed))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Begun {
    Begins,
    Ends,
}

impl Flight {
    pub fn new(kind: Kind, seed: u64, faults: Faults, mishaps: &[(Duration, Mishap)]) -> Flight {
        let mut world = kind.world(seed, faults);
        let known = world.hub.look(world.now, TARGET).expect("it was heard");
        let desk = Desk::new(&known, "simulated".into());
        let (sender, commands) = crossbeam_channel::unbounded();
        let remote = Arc::new(Wire { commands: sender, status: desk.status() });
        world.counter = Some(Counter { desk, commands });
        let around = Rc::new(Surroundings {
            fs: RefCell::default(),
            files: world.files.clone(),
            store: CountingStore::default(),
            start: world.now,
            clock: Arc::default(),
            alarms: RefCell::default(),
            alarm_count: Cell::default(),
            trouble_until: Cell::default(),
            // PX4 forgets some of its answers, and then its session is taken for another's.
            lossy: faults.loss >= 0.04
                || matches!(kind, Kind::Px4(_)) && faults.loss > 0.0
                || matches!(kind, Kind::ArduPilotUart(..)),
            failures: RefCell::default(),
            longest: RefCell::default(),
        });
        let start = world.now;
        let mut moments = Vec::new();
        for (at, mishap) in mishaps {
            moments.push((start + *at, Begun::Begins, *mishap));
            moments.push((start + *at + mishap.lasts(), Begun::Ends, *mishap));
        }
        moments.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        let clock = around.clock.clone();
        let beside = Arc::new(Beside { begun: Mutex::default(), clock, alarms: Arc::default() });
        let background = Vec::new();
        let mut flight =
            Flight { world, around, kind, remote, mishaps: moments, beside, background };
        flight.mount();
        flight
    }

    /// Mounts anew: nothing is cached any more.
    pub fn mount(&mut self) {
        let clock = Arc::new(VirtualClock(self.around.clock.clone()));
        let options =
            cache::Options { directory_time: DIRECTORY_TIME, ..cache::Options::default() };
        let cache = Cache::new(clock, options);
        let volume = cache.add_volume(self.remote.clone(), RemotePath::root());
        let time = self.around.clock.clone();
        let wall =
            move || EPOCH + Duration::from_nanos(time.load(Ordering::Relaxed)).as_secs() as i64;
        let options = FsOptions { mount_time: EPOCH, ..FsOptions::default() };
        let store = Arc::new(self.around.store.clone());
        let fs = Fs::new(cache, volume, store, self.beside.clone(), options, Box::new(wall));
        *self.around.fs.borrow_mut() = Some(fs);
    }

    /// Runs programs to their ends, all at once.
    pub fn run(&mut self, programs: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) {
        let mut tasks: Vec<Task> = programs.into_iter().map(Task::new).collect();
        let mut moved = self.world.now;
        loop {
            let mut polled = false;
            for task in &mut tasks {
                polled |= task.poll_if_woken();
            }
            polled |= self.poll_background();
            tasks.retain(|task| !task.is_done);
            if tasks.is_empty() {
                return;
            }
            if polled {
                moved = self.world.now;
                continue;
            }
            assert!(self.world.now < moved + HANG, "nothing has been woken for {HANG:?}");
            self.step();
        }
    }

    fn poll_background(&mut self) -> bool {
        let begun = std::mem::take(&mut *self.beside.begun.lock().unwrap());
        self.background.extend(begun.into_iter().map(|work| Task::new(work)));
        let mut polled = false;
        for task in &mut self.background {
            polled |= task.poll_if_woken();
        }
        self.background.retain(|task| !task.is_done);
        polled
    }

    /// Lets virtual time pass.
    pub fn pass(&mut self, time: Duration) {
        let around = self.around.clone();
        self.run(vec![Box::pin(async move { around.sleep(time).await })]);
    }

    fn step(&mut self) {
        let alarm = self.around.alarms.borrow().first_key_value().map(|((at, _), _)| *at);
        let mishap = self.mishaps.last().map(|(at, ..)| *at);
        let beside = self.beside.next_alarm().map(|at| self.around.start + at);
        self.world.alarm = [alarm, mishap, beside].into_iter().flatten().min();
        self.world.step();
        let elapsed = self.world.elapsed();
        self.around
            .clock
            .store((self.world.now - self.around.start).as_nanos() as u64, Ordering::Relaxed);
        self.world.files.set_time(Some(EPOCH + elapsed.as_secs() as i64));
        self.around.ring();
        self.beside.ring();
        while let Some((_, begun, mishap)) = self.mishaps.pop_if(|(at, ..)| *at <= self.world.now) {
            self.befall(begun, mishap);
        }
    }

    fn befall(&mut self, begun: Begun, mishap: Mishap) {
        let begins = begun == Begun::Begins;
        let until = self.world.now + if begins { mishap.lasts() } else { Duration::ZERO };
        let before = self.around.trouble_until.get();
        self.around.trouble_until.set(Some(before.map_or(until, |before| before.max(until))));
        match mishap {
            Mishap::Silence(_) => self.world.network.silent = begins,
            Mishap::Reboot(_) => {
                self.world.network.silent = begins;
                self.world.reboot();
            }
            Mishap::Move(_) => {
                self.world.network.silent = begins;
                self.world.address += u8::from(!begins);
            }
            Mishap::Reset if begins => {
                let session = if matches!(self.kind, Kind::Px4(_)) { 0 } else { THEIRS };
                let reset = Payload { session, ..Payload::request(Opcode::ResetSessions) };
                self.world.intrude(OTHER, &reset);
            }
            Mishap::Reset => {}
            Mishap::Armed(_) => self.world.armed = begins,
            Mishap::Full(_) => self.world.files.set_space(begins.then_some(0)),
        }
    }
}

/// A program, and whether it can go on.
struct Task<'a> {
    future: Pin<Box<dyn Future<Output = ()> + 'a>>,
    woken: Arc<Flag>,
    is_done: bool,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a> Task<'a> {
    fn new(future: Pin<Box<dyn Future<Output = ()> + 'a>>) -> Task<'a> {
        Task { future, woken: Arc::new(Flag(AtomicBool::new(true))), is_done: false }
    }

    fn poll_if_woken(&mut self) -> bool {
        if self.is_done || !self.woken.0.swap(false, Ordering::Relaxed) {
            return false;
        }
        let waker = Waker::from(self.woken.clone());
        self.is_done = self.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        true
    }
}

struct VirtualClock(Arc<AtomicU64>);

impl cache::Clock for VirtualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// The remote of a world: what the program has, without its thread.
struct Wire {
    commands: Sender<Command>,
    status: Arc<Mutex<Status>>,
}

impl Wire {
    fn send(&self, command: Command) {
        // At the very end the world is gone before the filesystem.
        let _ = self.commands.send(command);
    }
}

impl Remote for Wire {
    fn submit(&self, id: OpId, op: Op, class: Class, patience: Duration, sink: Arc<dyn Sink>) {
        self.send(Command::Submit { id, op, class, patience, sink });
    }
    fn raise(&self, id: OpId, class: Class) {
        self.send(Command::Raise(id, class));
    }
    fn more(&self, id: OpId) {
        self.send(Command::More(id));
    }
    fn cancel(&self, id: OpId) {
        self.send(Command::Cancel(id));
    }
    fn status(&self) -> Status {
        self.status.lock().unwrap().clone()
    }
}
