//! Our client against servers that behave like real ones: every byte equal, every change made once,
//! nothing left open.

use crate::network::Faults;
use crate::personalities::FarSide;
use crate::personalities::ardupilot::{ArduPilot, Sessions};
use crate::personalities::disk::Disk;
use crate::personalities::mavsdk::{Mavsdk, Release};
use crate::personalities::px4::{Firmware, Px4};
use crate::world::{NO_AUTOPILOT, World};

mod all;
mod ardupilot;
mod bursts;
mod faults;
mod listings;
mod mavsdk;
mod paths;
mod px4;
mod quirks;
mod refusals;
mod stations;

/// Which personality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Mavsdk(Release),
    Px4(Firmware),
    ArduPilot(Sessions),
    /// On a board with a FAT card.
    ArduPilotOnCard(Sessions),
    /// On a line of so many bytes per second without flow control.
    ArduPilotUart(Sessions, u32),
}

pub const ALL: [Kind; 12] = [
    Kind::Mavsdk(Release::Old),
    Kind::Mavsdk(Release::Four),
    Kind::Px4(Firmware::Release),
    Kind::Px4(Firmware::Main),
    Kind::Px4(Firmware::Board),
    Kind::Px4(Firmware::Serial),
    Kind::ArduPilot(Sessions::Old),
    Kind::ArduPilot(Sessions::One),
    Kind::ArduPilot(Sessions::Five),
    Kind::ArduPilotOnCard(Sessions::Five),
    Kind::ArduPilotUart(Sessions::Old, 5_760),
    Kind::ArduPilotUart(Sessions::Five, 5_760),
];

impl Kind {
    pub fn far(self, files: impl Into<Disk>, seed: u64) -> Box<dyn FarSide> {
        match self {
            Kind::Mavsdk(release) => Box::new(Mavsdk::new(files, release)),
            Kind::Px4(firmware) => Box::new(Px4::new(files, firmware, seed)),
            Kind::ArduPilot(sessions) => Box::new(ArduPilot::new(files, sessions, seed)),
            Kind::ArduPilotOnCard(sessions) => {
                let mut far = ArduPilot::new(files, sessions, seed);
                far.card = true;
                Box::new(far)
            }
            Kind::ArduPilotUart(sessions, rate) => {
                Box::new(ArduPilot::on_uart(files, sessions, seed, rate))
            }
        }
    }

    pub fn world(self, seed: u64, faults: Faults) -> World {
        World::with(seed, faults, self.autopilot(), |files| self.far(files, seed))
    }

    /// Whether it lists with times.
    pub fn lists_times(self) -> bool {
        matches!(self, Kind::Mavsdk(Release::Four) | Kind::Px4(Firmware::Main))
    }

    /// Its `MAV_AUTOPILOT`.
    pub fn autopilot(self) -> u8 {
        match self {
            Kind::Mavsdk(_) => NO_AUTOPILOT,
            Kind::Px4(_) => 12,
            Kind::ArduPilot(_) | Kind::ArduPilotOnCard(_) | Kind::ArduPilotUart(..) => 3,
        }
    }
}
