//! Pseudoterminals in the place of serial lines. Must not know what is said over them.

// Each test program takes what it needs.
#![allow(dead_code)]

use std::ffi::{CStr, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One pseudoterminal. Dropped, it is unplugged: whoever has its device open is hung up on.
pub struct Pty {
    /// The end of the line that is no device; never waits.
    pub far: File,
    /// The name of the device.
    pub device: PathBuf,
    /// So that the line lives while no program has it open.
    _near: File,
}

impl Pty {
    /// A new one, raw from the start: else what comes before a program opens it is sent back.
    pub fn new() -> Pty {
        let mut name = [0; 64];
        // SAFETY: plain system calls on a descriptor of our own, and a buffer of the given length.
        let far = unsafe {
            let far = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK);
            assert!(far >= 0 && libc::grantpt(far) == 0 && libc::unlockpt(far) == 0);
            assert_eq!(libc::ptsname_r(far, name.as_mut_ptr(), name.len()), 0);
            libc::fcntl(far, libc::F_SETFD, libc::FD_CLOEXEC);
            File::from_raw_fd(far)
        };
        // SAFETY: the call above ended the name with a zero.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) };
        let device = Path::new(OsStr::from_bytes(name.to_bytes())).to_path_buf();
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let near = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&device);
        let near = near.unwrap();
        // SAFETY: the settings are numbers only, and live through the calls.
        unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(near.as_raw_fd(), &mut settings), 0);
            libc::cfmakeraw(&mut settings);
            assert_eq!(libc::tcsetattr(near.as_raw_fd(), libc::TCSANOW, &settings), 0);
        }
        Pty { far, device, _near: near }
    }

    /// The name of the device as text.
    pub fn name(&self) -> &str {
        self.device.to_str().unwrap()
    }

    /// Exactly so many bytes from the line; panics after 5 s.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let (mut taken, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(5));
        while taken.len() < count {
            let mut piece = vec![0; count - taken.len()];
            match self.far.read(&mut piece) {
                Ok(length) => taken.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "only {} of {count} bytes", taken.len());
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
        taken
    }
}

/// Two devices joined by a line: what one program writes, the other reads.
pub struct Line {
    /// The name of one end's device.
    pub one: String,
    /// The name of the other's.
    pub other: String,
    cut: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// A line that carries as fast as it is read.
    pub fn new() -> Line {
        let (mut a, mut b) = (Pty::new(), Pty::new());
        let (one, other) = (a.name().to_owned(), b.name().to_owned());
        let cut = Arc::new(AtomicBool::new(false));
        let ended = cut.clone();
        let thread = std::thread::spawn(move || {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            while !ended.load(Ordering::Relaxed) {
                let moved = carry(&mut a.far, &mut there, &mut b.far)
                    | carry(&mut b.far, &mut back, &mut a.far);
                if !moved {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        Line { one, other, cut, thread: Some(thread) }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves what is there, and keeps what does not fit; whether anything moved.
fn carry(from: &mut File, held: &mut Vec<u8>, to: &mut File) -> bool {
    if held.is_empty() {
        let mut piece = [0; 4096];
        if let Ok(length) = from.read(&mut piece) {
            held.extend_from_slice(&piece[..length]);
        }
    }
    match to.write(held) {
        Ok(length) => held.drain(..length).len() > 0,
        Err(_) => false,
    }
}
