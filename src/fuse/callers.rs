//! Who is behind a request: whether a program closes a file because it was killed, keeps it open under
//! another descriptor, or only inherited it. Must not know what follows from that.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use blocking::unblock;
use parking_lot::Mutex;

use crate::fs::{Closing, Handle, Ino};

/// `PF_SIGNALED` of the kernel: killed by a signal.
const SIGNALED: u64 = 0x400;
/// Longest time that the kernel is waited for: no more than an exec(2) may take longer, and enough for a
/// machine with much to do, for a killed program must not be taken for one that has finished.
const READING_MAX: Duration = Duration::from_secs(1);
/// Where the flags stand among the fields behind the name of the program in `/proc/TID/stat`.
const FLAGS_FIELD: usize = 6;
/// Of a program with more descriptors than this nobody looks at all.
const DESCRIPTORS_MAX: usize = 512;

/// Of a handle that more threads than this use nobody says who they are.
const THREADS_MAX: usize = 64;

/// The device that our mount is, once it is known. Before that every close is for good.
pub(super) type OwnDevice = Arc<OnceLock<Device>>;

/// A device number as `mountinfo` writes it: `0:53`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device(String);

impl Device {
    /// From `st_dev`.
    pub(super) fn of(number: u64) -> Device {
        Device(format!("{}:{}", libc::major(number), libc::minor(number)))
    }
}

/// Who uses the handles that may write. A descriptor is inherited by every program that the one who
/// opened it starts, also by those that know nothing of it: only who opened or wrote through a handle
/// has something to say by closing it.
#[derive(Clone, Default)]
pub(super) struct Users(Arc<Mutex<HashMap<Handle, Threads>>>);

/// The threads that used a handle, and the programs that they belong to.
#[derive(Default, Clone)]
struct Threads {
    threads: Vec<u32>,
    programs: Vec<u32>,
    /// Somebody of them is not known.
    is_open: bool,
}

impl Users {
    /// A thread opens a handle, or writes through it; 0 is one that nobody knows. Costs a look at /proc
    /// when it is new.
    pub(super) fn add(&self, handle: Handle, thread: u32) {
        let mut users = self.0.lock();
        let users = users.entry(handle).or_default();
        if users.is_open || users.threads.contains(&thread) {
            return;
        }
        match program_of(thread).filter(|_| users.threads.len() < THREADS_MAX) {
            Some(program) => {
                users.threads.push(thread);
                if !users.programs.contains(&program) {
                    users.programs.push(program);
                }
            }
            None => users.is_open = true,
        }
    }

    /// A handle is gone.
    pub(super) fn remove(&self, handle: Handle) {
        self.0.lock().remove(&handle);
    }

    /// Whether a thread belongs to none of the programs that opened a handle or wrote through it.
    fn is_stranger(&self, handle: Handle, thread: u32) -> bool {
        let users = self.0.lock().get(&handle).cloned().unwrap_or_default();
        // Only names are looked up: whatever reads more waits for a thread that is within exec(2).
        let is_of = |program: &u32| Path::new(&format!("/proc/{program}/task/{thread}")).exists();
        let is_known = users.threads.contains(&thread) || users.programs.iter().any(is_of);
        !users.is_open && !users.programs.is_empty() && !is_known
    }
}

/// The program that a thread belongs to.
fn program_of(thread: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{thread}/status")).ok()?;
    // The name of the program before it has its line breaks escaped.
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

/// How the thread with this id closes a descriptor of this file. One that cannot be read, or of another
/// namespace (0), is taken to close it for good by itself.
///
/// The kernel holds answers back for as long as the thread is within exec(2), which closes descriptors
/// and waits for our answer to that: read by another thread of ours, with a limit.
pub(super) async fn closing(
    thread: u32,
    (ino, handle): (Ino, Handle),
    users: Users,
    device: OwnDevice,
) -> Closing {
    if thread == 0 {
        return Closing::Ordinary;
    }
    if users.is_stranger(handle, thread) {
        tracing::debug!(thread, ino = ino.0, "closes what it inherited");
        return Closing::Inherited;
    }
    let (sender, read) = crossbeam_channel::bounded(1);
    // Begun at once: a program that ends is soon gone, and then nobody can tell how it ended.
    let look = move || {
        // Nobody waits any more when it took too long.
        let _ = sender.send(look(thread, ino, device.get()));
    };
    unblock(look).detach();
    let closing = unblock(move || read.recv_timeout(READING_MAX)).await;
    tracing::debug!(thread, ino = ino.0, ?closing, "closes");
    closing.unwrap_or(Closing::Ordinary)
}

fn look(thread: u32, ino: Ino, device: Option<&Device>) -> Closing {
    let stat = fs::read(format!("/proc/{thread}/stat")).ok();
    if stat.and_then(|stat| flags(&stat)).is_some_and(|flags| flags & SIGNALED != 0) {
        return Closing::Killed;
    }
    match device.map(|device| has_another(thread, ino, device)) {
        Some(Ok(true)) => Closing::Duplicate,
        Some(Ok(false) | Err(_)) | None => Closing::Ordinary,
    }
}

/// A thread's flags. Its name, in parentheses, may itself hold spaces and parentheses.
fn flags(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&stat[end + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(FLAGS_FIELD)?.parse().ok()
}

/// Whether a program has a descriptor left that may write this file. The one that is being closed is
/// out of its table already.
fn has_another(thread: u32, ino: Ino, device: &Device) -> io::Result<bool> {
    let mounts = fs::read_to_string(format!("/proc/{thread}/mountinfo"))?;
    for descriptor in fs::read_dir(format!("/proc/{thread}/fdinfo"))?.take(DESCRIPTORS_MAX) {
        // Others may be closed meanwhile.
        let Ok(info) = fs::read_to_string(descriptor?.path()) else { continue };
        if may_write(&info, ino).is_some_and(|mount| is_on(&mounts, mount, device)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The id of the mount that a descriptor of this inode number lies on, if it may write.
fn may_write(info: &str, ino: Ino) -> Option<&str> {
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(':')).map(str::trim)
    };
    let flags = i32::from_str_radix(field("flags")?, 8).ok()?;
    let is_it = field("ino")? == ino.0.to_string();
    (is_it && flags & libc::O_ACCMODE != libc::O_RDONLY).then(|| field("mnt_id"))?
}

/// Whether the mount with this id is one of this device.
fn is_on(mounts: &str, id: &str, device: &Device) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ');
        fields.next() == Some(id) && fields.nth(1) == Some(&device.0)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn flags_are_found_behind_any_name() {
        for name in ["cp", "a b", ") S 1 2 (", "\u{7f}\u{e9}"] {
            let line = format!("12 ({name}) S 1 12 12 0 -1 4195332 150 0 0");
            assert_eq!(flags(line.as_bytes()), Some(4_195_332), "{name}");
        }
        assert_eq!(flags(b"12 (\xff\xfe) S 1 12 12 0 -1 1024 150"), Some(1024));
        for broken in ["", "12 (cp", "12 (cp) S 1", "12 (cp) S 1 2 3 4 5 x 6"] {
            assert_eq!(flags(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn a_thread_that_lives_or_is_unknown_closes_its_files_by_itself() {
        for thread in [std::process::id(), 0, u32::MAX] {
            let there = (Ino(1), Handle(1));
            let closing = closing(thread, there, Users::default(), OwnDevice::default());
            assert_eq!(block_on(closing), Closing::Ordinary);
        }
    }

    /// The number of this thread.
    fn own_thread() -> u32 {
        // SAFETY: a plain system call without arguments.
        u32::try_from(unsafe { libc::gettid() }).unwrap()
    }

    #[test]
    fn only_programs_that_opened_or_wrote_are_no_strangers() {
        let users = Users::default();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (handle, us) = (Handle(7), own_thread());
        assert!(!users.is_stranger(handle, child.id()), "nobody is known to use it");
        users.add(handle, us);
        assert!(users.is_stranger(handle, child.id()));
        assert!(!users.is_stranger(handle, us));
        let another = std::thread::spawn(own_thread_after_a_look(users.clone(), handle));
        assert!(!another.join().unwrap(), "a thread of the same program");
        assert!(!users.is_stranger(Handle(8), child.id()), "another handle");
        let there = (Ino(1), handle);
        let closing = closing(child.id(), there, users.clone(), OwnDevice::default());
        assert_eq!(block_on(closing), Closing::Inherited);
        users.add(handle, child.id());
        assert!(!users.is_stranger(handle, child.id()), "it has written");
        users.remove(handle);
        users.add(handle, us);
        users.add(handle, 0);
        assert!(!users.is_stranger(handle, child.id()), "somebody unknown may be anybody");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn own_thread_after_a_look(users: Users, handle: Handle) -> impl FnOnce() -> bool {
        move || users.is_stranger(handle, own_thread())
    }

    #[test]
    fn a_file_that_the_program_can_still_write_is_closed_in_one_place_only() {
        let file = tempfile::tempfile().unwrap();
        let there = file.metadata().unwrap();
        let (ino, device) = (Ino(there.ino()), Device::of(there.dev()));
        let us = std::process::id();
        assert_eq!(look(us, ino, Some(&device)), Closing::Duplicate);
        assert_eq!(look(us, ino, None), Closing::Ordinary);
        assert_eq!(look(us, ino, Some(&Device::of(0))), Closing::Ordinary, "another device");
        drop(file);
        assert_eq!(look(us, ino, Some(&device)), Closing::Ordinary);
    }

    #[test]
    fn a_descriptor_that_only_reads_does_not_count() {
        let info = |flags: &str| format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t29\nino:\t7\n");
        assert_eq!(may_write(&info("0100001"), Ino(7)), Some("29"));
        assert_eq!(may_write(&info("0100002"), Ino(7)), Some("29"));
        assert_eq!(may_write(&info("0100000"), Ino(7)), None);
        assert_eq!(may_write(&info("0100001"), Ino(8)), None);
        assert_eq!(may_write("flags:\tx\nino:\t7", Ino(7)), None);
    }
}
