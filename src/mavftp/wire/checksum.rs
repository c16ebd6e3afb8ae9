//! CRC32 as MAVLink has it: the polynomial of zlib, but starting at 0 and without the final
//! exclusive or (section "CRC32"), so not what `crc32fast::hash` computes.

/// A checksum under way.
#[derive(Clone)]
pub struct Checksum(crc32fast::Hasher);

impl Checksum {
    /// The checksum of no bytes.
    pub fn new() -> Checksum {
        Checksum(crc32fast::Hasher::new_with_initial(u32::MAX))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes so far.
    pub fn value(&self) -> u32 {
        !self.0.clone().finalize()
    }

    /// The checksum of these bytes.
    pub fn of(bytes: &[u8]) -> u32 {
        let mut checksum = Checksum::new();
        checksum.update(bytes);
        checksum.value()
    }
}

impl Default for Checksum {
    fn default() -> Checksum {
        Checksum::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn the_checksum_is_mavlinks_and_not_zlibs() {
        assert_eq!(Checksum::of(b""), 0);
        assert_eq!(Checksum::of(&[0; 4]), 0);
        assert_eq!(Checksum::of(b"a"), 0x3AB5_51CE);
        assert_eq!(Checksum::of(b"123456789"), 0x2DFD_2D88);
        assert_eq!(Checksum::of(b"The quick brown fox jumps over the lazy dog"), 0xB9C6_0808);
        assert_eq!(Checksum::of(&[0xFF; 4]), 0xDEBB_20E3);
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(Checksum::of(&every), 0x2493_092B);
    }

    #[test]
    fn pieces_add_up_to_the_whole() {
        let mut checksum = Checksum::new();
        checksum.update(b"1234");
        checksum.update(b"56789");
        assert_eq!(checksum.value(), 0x2DFD_2D88);
    }
}
