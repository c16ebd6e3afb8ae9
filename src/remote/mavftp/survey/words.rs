//! Numbers of the MAVLink dialect `common` in words for people. Must not know where they come from.

/// `MAV_TYPE_GCS`.
pub const GROUND_STATION: u8 = 6;

/// `MAV_AUTOPILOT_INVALID`: a component that is no autopilot.
pub const NO_AUTOPILOT: u8 = 8;

/// What a `MAV_TYPE` is called.
pub fn vehicle_type(number: u8) -> &'static str {
    match number {
        0 => "generic",
        1 => "fixed wing",
        2 => "quadrotor",
        3 => "coaxial helicopter",
        4 => "helicopter",
        5 => "antenna tracker",
        GROUND_STATION => "ground station",
        7 => "airship",
        8 => "balloon",
        9 => "rocket",
        10 => "rover",
        11 => "boat",
        12 => "submarine",
        13 => "hexarotor",
        14 => "octorotor",
        15 => "tricopter",
        16 => "flapping wing",
        17 => "kite",
        18 => "onboard computer",
        19..=25 => "VTOL",
        26 => "gimbal",
        27 => "ADS-B",
        28 => "parafoil",
        29 => "dodecarotor",
        30 => "camera",
        31 => "charging station",
        32 => "FLARM",
        33 => "servo",
        34 => "remote ID",
        35 => "decarotor",
        36 => "battery",
        37 => "parachute",
        38 => "log",
        39 => "on-screen display",
        40 => "IMU",
        41 => "GPS",
        42 => "winch",
        43 => "multirotor",
        44 => "illuminator",
        45 => "spacecraft orbiter",
        46 => "ground quadruped",
        _ => "unknown type",
    }
}

/// What a `MAV_AUTOPILOT` is called.
pub fn autopilot(number: u8) -> &'static str {
    match number {
        0 => "generic autopilot",
        2 => "SLUGS",
        3 => "ArduPilot",
        4 => "OpenPilot",
        5..=7 => "generic autopilot",
        NO_AUTOPILOT => "no autopilot",
        9 => "PPZ",
        10 => "UDB",
        11 => "FlexiPilot",
        12 => "PX4",
        13 => "SMACCMPilot",
        14 => "AutoQuad",
        15 => "Armazila",
        16 => "Aerob",
        17 => "ASLUAV",
        18 => "SmartAP",
        19 => "AirRails",
        20 => "ReflexAPI",
        _ => "unknown autopilot",
    }
}

/// A release as people write it, of AUTOPILOT_VERSION's `flight_sw_version`; `None` for zeros.
pub fn firmware(version: u32) -> Option<String> {
    let [major, minor, patch, kind] = version.to_be_bytes();
    let kind = match kind {
        0 => " dev",
        1..=64 => " alpha",
        65..=128 => " beta",
        129..=192 => " rc",
        193..=255 => "",
    };
    (version != 0).then(|| format!("{major}.{minor}.{patch}{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_as_people_write_them() {
        assert_eq!(firmware(0x0405_07FF).as_deref(), Some("4.5.7"));
        assert_eq!(firmware(0x010F_00C0).as_deref(), Some("1.15.0 rc"));
        assert_eq!(firmware(0), None);
    }
}
