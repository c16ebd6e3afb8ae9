//! The end of a mount: signals, what is still to be sent, unmounting.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, select};
use futures_lite::future::block_on;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{mountpoint, unsent};
use crate::fs::Fs;
use crate::fuse::Mounted;
use crate::journal::Journal;

/// Longest time that changes are sent before a mount ends. A vehicle that takes them slowly gets
/// what a service manager grants by default before it kills (90 s), less some for the rest.
const SENDING_MAX: Duration = Duration::from_secs(75);
/// How long programs may keep files open after the mount was taken away from the tree.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// Exit code: done.
const DONE: u8 = 0;
/// Exit code: changes were not sent.
const UNSENT: u8 = 6;

/// What a mount is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Go.
    Stop,
    /// The terminal is gone, or an administrator wants a fresh start; a mount has nothing to do.
    HangUp,
}

/// Signals as they come.
pub(super) type Signals = Receiver<Signal>;

/// Starts the thread that takes signals.
pub(super) fn watch_signals() -> io::Result<Signals> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (sender, receiver) = crossbeam_channel::unbounded();
    let forward = move || {
        for number in signals.forever() {
            let signal = if number == SIGHUP { Signal::HangUp } else { Signal::Stop };
            if sender.send(signal).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward)?;
    Ok(receiver)
}

/// Stays until a signal or an unmount from outside; says `ending`, sends what is to be sent; returns
/// the exit code.
pub(super) fn wait(
    mounted: Mounted,
    fs: &Arc<Fs>,
    journal: &Journal,
    mountpoint: &Path,
    signals: &Signals,
    ending: &dyn Fn(),
) -> u8 {
    loop {
        select! {
            recv(mounted.ended()) -> _ => {
                ending();
                let code = send_changes(fs, journal, signals);
                if let Err(error) = mounted.join() {
                    tracing::warn!(%error, "the mount ended oddly");
                }
                return code;
            }
            recv(signals) -> signal => match signal {
                Ok(Signal::HangUp) => tracing::debug!("SIGHUP is ignored"),
                // The signal thread never ends before us; if it did, nobody could stop us.
                Ok(Signal::Stop) | Err(_) => {
                    ending();
                    let code = send_changes(fs, journal, signals);
                    unmount(mounted, mountpoint, signals);
                    return code;
                }
            },
        }
    }
}

/// Takes the mount away and waits a little, unless a signal says not to, for programs to let go.
pub(super) fn unmount(mounted: Mounted, mountpoint: &Path, signals: &Signals) {
    if let Err(error) = mountpoint::detach(mountpoint) {
        tracing::error!(%error, place = %mountpoint.display(), "cannot unmount");
    }
    let limit = crossbeam_channel::after(CLOSING_MAX);
    loop {
        select! {
            recv(mounted.ended()) -> _ => {
                if let Err(error) = mounted.join() {
                    tracing::debug!(%error, "the mount ended oddly");
                }
                return;
            }
            recv(limit) -> _ => break,
            recv(signals) -> signal => match signal {
                Ok(Signal::HangUp) => {}
                Ok(Signal::Stop) | Err(_) => break,
            },
        }
    }
    tracing::warn!("a program still holds a file of the mount open; leaving all the same");
    mounted.abandon();
}

/// Sends every change that a program has not flushed yet; says what could not be sent, now or before,
/// and where it is kept.
fn send_changes(fs: &Arc<Fs>, journal: &Journal, signals: &Signals) -> u8 {
    let all_sent = finish(fs, signals);
    if unsent::farewell(journal, fs) == 0 && all_sent { DONE } else { UNSENT }
}

/// Whether the vehicle has every change that was left.
fn finish(fs: &Arc<Fs>, signals: &Signals) -> bool {
    let (sender, finished) = crossbeam_channel::bounded(1);
    let hurried = fs.clone();
    let fs = fs.clone();
    let work = move || {
        // A receiver that is gone has waited long enough.
        let _ = sender.send(block_on(fs.finish()));
    };
    if let Err(error) = thread::Builder::new().name("finish".into()).spawn(work) {
        tracing::error!(%error, "changes that were not flushed are lost");
        return false;
    }
    let limit = crossbeam_channel::after(SENDING_MAX);
    loop {
        select! {
            recv(finished) -> failed => return failed.is_ok_and(|failed| failed.is_empty()),
            recv(limit) -> _ => return give_up(&hurried, "sending the last changes took too long"),
            recv(signals) -> signal => match signal {
                Ok(Signal::HangUp) => {}
                Ok(Signal::Stop) | Err(_) => return give_up(&hurried, "a second signal came"),
            },
        }
    }
}

fn give_up(fs: &Fs, reason: &str) -> bool {
    tracing::error!("{reason}; what was not sent is kept here");
    block_on(fs.keep_all_unsent()) == 0
}
