//! CRC32c, the checksum of SCTP (RFC 9260, section 6.8 and appendix A): the Castagnoli polynomial, eight bytes at a time by tables.

/// The polynomial 0x1EDC6F41, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// Bytes that are taken together, and tables.
const SLICE: usize = 8;

/// `TABLES[k][byte]` is what `byte` makes of a remainder of zero with `k` bytes of zero behind it.
static TABLES: [[u32; 256]; SLICE] = tables();

const fn tables() -> [[u32; 256]; SLICE] {
    let mut tables = [[0; 256]; SLICE];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut at = 1;
    while at < SLICE {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[at - 1][byte];
            tables[at][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        at += 1;
    }
    tables
}

/// A CRC32c under way, of pieces one behind the other.
///
/// ```
/// use driver_core::offload::Crc32c;
///
/// let mut crc = Crc32c::new();
/// crc.add(b"1234");
/// crc.add(b"56789");
/// assert_eq!(crc.value(), 0xe306_9283);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc32c {
    /// Of nothing.
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Goes on with `bytes`.
    pub fn add(&mut self, bytes: &[u8]) {
        let (slices, rest) = bytes.as_chunks::<SLICE>();
        let mut crc = self.0;
        for slice in slices {
            let word = u64::from_le_bytes(*slice) ^ u64::from(crc);
            crc = word.to_le_bytes().iter().zip(TABLES.iter().rev()).fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)]);
        }
        self.0 = rest.iter().fold(crc, |crc, byte| crc >> 8 ^ TABLES[0][usize::from(crc as u8 ^ byte)]);
    }

    /// The checksum. A packet has its low byte first.
    pub const fn value(&self) -> u32 {
        !self.0
    }
}
