//! Listens in on the link between a vehicle and a mount: passes every datagram on, and keeps the
//! opcodes of the mount's MAVLink FTP requests. Must not know what a test wants of them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Opcodes of listings, without times and with them.
pub const LISTINGS: [u8; 2] = [3, 16];
/// The opcode of opening a file for reading.
pub const OPEN: u8 = 4;
/// The opcode of a checksum.
pub const CHECKSUM: u8 = 14;

/// The first byte of a MAVLink 2 frame, where its length and its message's number stand, and what
/// stands before its payload and behind.
const MAGIC: u8 = 0xFD;
const LENGTH_AT: usize = 1;
const MESSAGE_AT: usize = 7;
const HEADER_BYTES: usize = 10;
const CRC_BYTES: usize = 2;
/// The message FILE_TRANSFER_PROTOCOL, and where in its payload the opcode stands.
const FTP_MESSAGE: [u8; 3] = [110, 0, 0];
const OPCODE_AT: usize = 3 + 3;
/// Until the end of the test is noticed.
const GLANCE: Duration = Duration::from_millis(50);

/// A tapped link. Gone when dropped.
pub struct Tap {
    /// Where the vehicle sends.
    pub vehicle_port: u16,
    opcodes: Arc<Mutex<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Tap {
    /// Passes on to a mount that listens on `port`.
    pub fn start(port: u16) -> Tap {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (vehicle_side, mount_side) = (bind(), bind());
        mount_side.connect(("127.0.0.1", port)).unwrap();
        let vehicle_port = vehicle_side.local_addr().unwrap().port();
        let (opcodes, stop) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let vehicle: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        for socket in [&vehicle_side, &mount_side] {
            socket.set_read_timeout(Some(GLANCE)).unwrap();
        }
        let mut threads = Vec::new();
        let (from, to) = (vehicle_side.try_clone().unwrap(), mount_side.try_clone().unwrap());
        let (stopped, seen) = (stop.clone(), vehicle.clone());
        threads.push(std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((count, sender)) = from.recv_from(&mut buffer) else { continue };
                *seen.lock().unwrap() = Some(sender);
                // Refused until the mount listens.
                let _ = to.send(&buffer[..count]);
            }
        }));
        let (stopped, kept) = (stop.clone(), opcodes.clone());
        threads.push(std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                let Ok(count) = mount_side.recv(&mut buffer) else { continue };
                kept.lock().unwrap().extend(opcodes_in(&buffer[..count]));
                if let Some(vehicle) = *vehicle.lock().unwrap() {
                    let _ = vehicle_side.send_to(&buffer[..count], vehicle);
                }
            }
        }));
        Tap { vehicle_port, opcodes, stop, threads }
    }

    /// The opcodes of what the mount has requested since the last time, repetitions included.
    pub fn requests(&self) -> Vec<u8> {
        std::mem::take(&mut self.opcodes.lock().unwrap())
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn opcodes_in(mut frames: &[u8]) -> Vec<u8> {
    let mut opcodes = Vec::new();
    while frames.first() == Some(&MAGIC) && frames.len() > HEADER_BYTES {
        let length = usize::from(frames[LENGTH_AT]);
        let payload = &frames[HEADER_BYTES..];
        if frames[MESSAGE_AT..HEADER_BYTES] == FTP_MESSAGE {
            opcodes.extend(payload.get(OPCODE_AT));
        }
        frames = payload.get(length + CRC_BYTES..).unwrap_or_default();
    }
    opcodes
}
