//! The check of a MAVLink frame: CRC-16/MCRF4XX over what follows the start byte, and then over the
//! message's own byte (MAVLink guide, "Serialization"). Must not know frames.
//!
//! Eight bytes a step, by tables: byte by byte it was the largest cost of a frame after the system
//! calls, on both sides.

/// The polynomial 0x1021, its bits reversed.
const POLYNOMIAL: u16 = 0x8408;
const START: u16 = 0xFFFF;
/// Bytes of a step.
const STEP: usize = 8;

/// `TABLES[n][byte]`: what a byte adds that `n` further ones follow.
static TABLES: [[u16; 256]; STEP] = tables();

/// The check of these bytes followed by `extra`.
pub(super) fn check(bytes: &[u8], extra: u8) -> u16 {
    let (steps, rest) = bytes.as_chunks::<STEP>();
    let mut crc = START;
    for step in steps {
        let [low, high] = crc.to_le_bytes();
        let [a, b, c, d, e, f, g, h] = step.map(usize::from);
        crc = TABLES[7][a ^ usize::from(low)]
            ^ TABLES[6][b ^ usize::from(high)]
            ^ TABLES[5][c]
            ^ TABLES[4][d]
            ^ TABLES[3][e]
            ^ TABLES[2][f]
            ^ TABLES[1][g]
            ^ TABLES[0][h];
    }
    let crc = rest.iter().fold(crc, |crc, byte| add(crc, *byte));
    add(crc, extra)
}

fn add(crc: u16, byte: u8) -> u16 {
    (crc >> 8) ^ TABLES[0][(crc as u8 ^ byte) as usize]
}

const fn tables() -> [[u16; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u16;
        let mut bit = 0;
        while bit < u8::BITS {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut followers = 1;
    while followers < STEP {
        byte = 0;
        while byte < 256 {
            let crc = tables[followers - 1][byte];
            tables[followers][byte] = (crc >> 8) ^ tables[0][(crc & 0xFF) as usize];
            byte += 1;
        }
        followers += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::check;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_check_is_that_of_the_mavlink_crate(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), extra: u8,
        ) {
            prop_assert_eq!(check(&bytes, extra), mavlink::calculate_crc(&bytes, extra));
        }
    }
}
