//! The SHA-256 sum of a certificate, as people write it. Must not know certificates.

use std::fmt;
use std::str::FromStr;

const BYTES: usize = 32;
/// How it begins; openssl and browsers call the sum by other names, and leave it out.
const LEAD: &str = "sha256:";

/// Tells one certificate from all others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; BYTES]);

/// Not 32 bytes in hexadecimal after `sha256:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a fingerprint, which is written sha256: and 64 hexadecimal digits, with or without colons"
)]
pub struct NoFingerprint;

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// Digits of either case; colons between bytes, everywhere or nowhere.
    fn from_str(text: &str) -> Result<Fingerprint, NoFingerprint> {
        let (lead, digits) = text.split_at_checked(LEAD.len()).ok_or(NoFingerprint)?;
        if !lead.eq_ignore_ascii_case(LEAD) || !digits.is_ascii() {
            return Err(NoFingerprint);
        }
        let pairs: Vec<&str> = match digits.contains(':') {
            true => digits.split(':').collect(),
            false => (0..digits.len()).step_by(2).filter_map(|at| digits.get(at..at + 2)).collect(),
        };
        // An odd digit at the end is in no pair.
        if !digits.contains(':') && digits.len() != BYTES * 2 {
            return Err(NoFingerprint);
        }
        let byte = |pair: &str| {
            let digits = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            u8::from_str_radix(pair, 16).ok().filter(|_| digits).ok_or(NoFingerprint)
        };
        let bytes: Vec<u8> = pairs.into_iter().map(byte).collect::<Result<_, _>>()?;
        bytes.try_into().map(Fingerprint).map_err(|_| NoFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    /// The spelling that parses back to the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LEAD)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons_in_either_case() {
        let sum = Fingerprint(std::array::from_fn(|i| 0xa0 + i as u8));
        let plain = sum.to_string();
        let hex = plain.strip_prefix("sha256:").unwrap();
        let pairs: Vec<&str> = (0..64).step_by(2).map(|at| &hex[at..at + 2]).collect();
        let colons = format!("SHA256:{}", pairs.join(":").to_uppercase());
        assert_eq!((plain.parse(), colons.parse()), (Ok(sum), Ok(sum)));
        assert_eq!(plain.len(), 71);
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let hex = "ab".repeat(32);
        for text in [
            "",
            "sha256:",
            &hex,
            &format!("sha1:{hex}"),
            &format!("sha256:{}", &hex[2..]),
            &format!("sha256:{}", &hex[1..]),
            &format!("sha256:{hex}ab"),
            &format!("sha256:{}:a", &hex[2..]),
            &format!("sha256:+1{}", &hex[2..]),
            &format!("sha256:é{}", &hex[2..]),
            &format!("sha256:{}", ["ab"; 31].join(":")),
            &format!("sha256:{}:+b", ["ab"; 31].join(":")),
            &format!("sha256: {}", &hex[1..]),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NoFingerprint), "{text}");
        }
    }
}
