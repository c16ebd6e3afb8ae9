//! Values with units and limits: sizes, times, ids, permission bits. What is nonsense is refused
//! with a sentence that shows the right form.

use std::time::Duration;

use crate::remote::ftp::{Fingerprint, NameEncoding};
use crate::serve;

/// Longest time that any option takes; more is a slip of the unit.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Least cache: two megabytes, some read-ahead for a handful of files.
const CACHE_BYTES_MIN: u64 = 2 << 20;
/// Most control connections to one FTP server; each is a login there, and servers count them.
const CONNECTIONS_MAX: usize = 8;
/// What a server may call itself, as `MAV_TYPE` numbers it.
const TYPES: [(&str, u8); 6] = [
    ("onboard-controller", serve::TYPE_ONBOARD_CONTROLLER),
    ("camera", serve::TYPE_CAMERA),
    ("gimbal", 26),
    ("generic", 0),
    ("quadrotor", 2),
    ("gcs", serve::TYPE_GROUND_STATION),
];

/// A size in bytes: `65536`, `64K`, `256M`, `1G`, `64KiB`; units are powers of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let form = || format!("`{text}` is not a size; write 65536, 64K, 256M or 1G");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| form())?;
    let shift = match unit {
        "" | "B" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(form()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is too large"))
}

/// The cache's size, which must be able to work and to exist.
pub(super) fn cache_size(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    if bytes < CACHE_BYTES_MIN {
        return Err(format!("`{text}` is too small; the least is {}M", CACHE_BYTES_MIN >> 20));
    }
    usize::try_from(bytes).map_err(|_| format!("`{text}` is too large"))
}

/// Bytes per second: a size, and more than nothing.
pub(super) fn rate(text: &str) -> Result<u32, String> {
    let wrong =
        |why: &str| format!("`{text}` {why}; write the most bytes in a second, as 10k or 2M");
    match size(text).map(u32::try_from) {
        Ok(Ok(0)) => Err(wrong("would move nothing")),
        Ok(Ok(rate)) => Ok(rate),
        Ok(Err(_)) => Err(wrong("is faster than any link")),
        Err(_) => Err(wrong("is not a rate")),
    }
}

/// A time: `500ms`, `10s`, `2m`; 0 needs no unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let form = || format!("`{text}` is not a time; write it with its unit: 500ms, 10s, 2m");
    let time = humantime::parse_duration(text).map_err(|_| form())?;
    if time > TIME_MAX { Err(format!("`{text}` is longer than a day")) } else { Ok(time) }
}

/// A time limit: a time, and more than nothing.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a time limit of 0 would fail everything; write 500ms, 10s".into()),
        time => Ok(time),
    }
}

/// What becomes of operations while the vehicle is not heard: `fail`, or `wait=` and a time.
pub(super) fn link_loss(text: &str) -> Result<Duration, String> {
    match text.split_once('=') {
        None if text == "fail" => Ok(Duration::ZERO),
        Some(("wait", time)) => limit(time),
        None | Some(_) => Err(format!("`{text}` will not do; write fail, or wait=60s")),
    }
}

/// A MAVLink id; 0 means everybody and nobody is that.
pub(super) fn id(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("`{text}` is not a MAVLink id; they go from 1 to 255")),
        Ok(id) => Ok(id),
    }
}

/// A `MAV_TYPE` by its name or number. Never a ground station's: failsafes watch those.
pub(super) fn vehicle_type(text: &str) -> Result<u8, String> {
    let named = TYPES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    match named.map_or_else(|| text.parse().ok(), |(_, number)| Some(*number)) {
        Some(serve::TYPE_GROUND_STATION) => {
            Err(format!("`{text}` is a ground station, whose silence would start a failsafe"))
        }
        Some(number) => Ok(number),
        None => {
            let others = TYPES.iter().filter(|(_, number)| *number != serve::TYPE_GROUND_STATION);
            let names: Vec<_> = others.map(|(name, _)| *name).collect();
            Err(format!("`{text}` is not a type; write {} or a number", names.join(", ")))
        }
    }
}

/// A number of a user or group.
pub(super) fn owner(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is not the number of a user or group, as 1000 is"))
}

/// `SYS` or `SYS:COMP`.
pub(super) fn target(text: &str) -> Result<(u8, Option<u8>), String> {
    match text.split_once(':') {
        None => Ok((id(text)?, None)),
        Some((system, component)) => Ok((id(system)?, Some(id(component)?))),
    }
}

/// `sha256:` and 64 hexadecimal digits.
pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse().map_err(|wrong| format!("`{text}` is {wrong}"))
}

/// How many control connections there may be.
pub(super) fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=CONNECTIONS_MAX).contains(number));
    number
        .ok_or_else(|| format!("`{text}` will not do; write a number from 1 to {CONNECTIONS_MAX}"))
}

/// A charset of names.
pub(super) fn encoding(text: &str) -> Result<NameEncoding, String> {
    match text.to_ascii_lowercase().as_str() {
        "utf8" | "utf-8" => Ok(NameEncoding::Utf8),
        "latin1" | "iso-8859-1" => Ok(NameEncoding::Latin1),
        _ => Err(format!("`{text}` is no charset known here; write utf8 or latin1")),
    }
}

/// Octal permission bits.
pub(super) fn umask(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text, 8)
        .ok()
        .filter(|bits| *bits <= 0o777 && !text.starts_with('+'))
        .ok_or_else(|| format!("`{text}` is not a umask; write it in octal, 000 to 777: 022"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("64K", 65536),
            ("64KiB", 65536),
            ("3B", 3),
            ("1G", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_that_are_nonsense_are_refused_with_the_right_form() {
        for text in
            ["", "K", "-1", "1.5M", "64 K", "64KB", "10T", "1e3", "+5", "99999999999999999999"]
        {
            assert!(size(text).unwrap_err().contains("64K"), "{text}");
        }
        assert!(size("99999999999G").unwrap_err().contains("too large"));
    }

    #[test]
    fn a_cache_too_small_to_work_is_refused() {
        assert_eq!(cache_size("256M"), Ok(256 << 20));
        assert!(cache_size("64K").is_err());
        assert!(cache_size("0").is_err());
    }

    #[test]
    fn a_rate_is_a_size_and_not_nothing() {
        assert_eq!(rate("10k"), Ok(10 << 10));
        assert_eq!(rate("2M"), Ok(2 << 20));
        assert_eq!(rate("5760"), Ok(5760));
        for text in ["", "0", "0k", "fast", "-1", "4G", "2M/s"] {
            assert!(rate(text).unwrap_err().contains("10k or 2M"), "{text}");
        }
    }

    #[test]
    fn times_take_units_and_nothing_else() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for text in ["", "10", "-1s", "10 parsecs", "s"] {
            assert!(duration(text).unwrap_err().contains("unit"), "{text}");
        }
        assert!(duration("3days").unwrap_err().contains("longer than a day"));
        assert!(limit("0s").is_err());
    }

    #[test]
    fn a_lost_link_is_waited_for_or_not() {
        assert_eq!(link_loss("fail"), Ok(Duration::ZERO));
        assert_eq!(link_loss("wait=90s"), Ok(Duration::from_secs(90)));
        for text in ["", "wait", "wait=", "wait=60", "wait=0s", "fail=1s"] {
            assert!(link_loss(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ids_go_from_1_to_255() {
        assert_eq!(target("1"), Ok((1, None)));
        assert_eq!(target("255:100"), Ok((255, Some(100))));
        for text in ["0", "256", "x", "1:", ":1", "1:0", "1:2:3", ""] {
            assert!(target(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_gets_one_to_eight_connections() {
        assert_eq!((connections("1"), connections("8")), (Ok(1), Ok(8)));
        for text in ["0", "9", "-1", "", "two"] {
            assert!(connections(text).unwrap_err().contains("1 to 8"), "{text}");
        }
    }

    #[test]
    fn a_type_is_a_name_or_a_number_and_never_a_ground_station() {
        assert_eq!(vehicle_type("camera"), Ok(30));
        assert_eq!(vehicle_type("Onboard-Controller"), Ok(18));
        assert_eq!(vehicle_type("27"), Ok(27));
        for text in ["gcs", "6"] {
            assert!(vehicle_type(text).unwrap_err().contains("failsafe"), "{text}");
        }
        for text in ["", "256", "-1", "plane"] {
            assert!(vehicle_type(text).unwrap_err().contains("camera"), "{text}");
        }
    }

    #[test]
    fn a_umask_is_octal() {
        assert_eq!(umask("022"), Ok(0o022));
        assert_eq!(umask("777"), Ok(0o777));
        for text in ["", "8", "1777", "-1", "+22", "0x12"] {
            assert!(umask(text).is_err(), "{text}");
        }
    }
}
