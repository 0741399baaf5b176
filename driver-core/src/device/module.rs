//! What sits in a port's cage: an SFP or SFP+ module, as it describes itself (SFF-8472).

use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of each of a module's two pages.
const PAGE_BYTES: usize = 256;

/// A pluggable module: [`NetDevice::module`](crate::device::NetDevice::module). What it says of itself is its vendor's word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Module {
    /// Address A0h: what it is.
    pub identity: Vec<u8>,
    /// Address A2h: how it is, where it measures that.
    pub diagnostics: Option<Vec<u8>>,
}

/// What a module measures of itself (SFF-8472, table 9-11), internally calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: the five values that every such module has")]
pub struct Diagnostics {
    /// Temperature, in thousandths of a degree Celsius.
    pub millicelsius: i32,
    /// Supply voltage, in microvolts.
    pub microvolts: u32,
    /// The laser's bias current, in microamperes.
    pub bias_microamperes: u32,
    /// Power sent, in nanowatts.
    pub tx_nanowatts: u32,
    /// Power received, in nanowatts.
    pub rx_nanowatts: u32,
}

impl Module {
    /// The [`kind`](Module::kind) of one that is for no Ethernet that is known.
    pub const UNKNOWN_KIND: &str = "of no kind that is known";

    /// Address A0h as it was read; of what is beyond a page nothing is kept, and what is missing is 0.
    pub fn new(identity: Vec<u8>, diagnostics: Option<Vec<u8>>) -> Self {
        let page = |mut bytes: Vec<u8>| {
            bytes.resize(PAGE_BYTES, 0);
            bytes
        };
        Self { identity: page(identity), diagnostics: diagnostics.map(page) }
    }

    /// Whether the page `identity` says that the module has diagnostics at address A2h which need no further calibration or switching of addresses (byte 92: bits
    /// 6, 5 and 2).
    pub fn has_diagnostics(identity: &[u8]) -> bool {
        identity.get(92).is_some_and(|kind| kind & (1 << 6 | 1 << 5 | 1 << 2) == 1 << 6 | 1 << 5)
    }

    /// Whether both of its checksums over what it is are right (CC_BASE, CC_EXT).
    pub fn is_identity_good(&self) -> bool {
        let sum = |bytes: &[u8]| bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte));
        let page = &self.identity;
        sum(&page[..63]) == page[63] && sum(&page[64..95]) == page[95]
    }

    /// The kind of Ethernet that it is for (byte 3, and byte 8 for cables), or what it is not.
    pub fn kind(&self) -> &'static str {
        let (ten_gigabit, cable, gigabit) = (self.identity[3], self.identity[8], self.identity[6]);
        match () {
            () if ten_gigabit & 1 << 4 != 0 => "10GBASE-SR",
            () if ten_gigabit & 1 << 5 != 0 => "10GBASE-LR",
            () if ten_gigabit & 1 << 6 != 0 => "10GBASE-LRM",
            () if ten_gigabit & 1 << 7 != 0 => "10GBASE-ER",
            () if cable & 1 << 2 != 0 => "passive copper cable",
            () if cable & 1 << 3 != 0 => "active cable",
            () if gigabit & 1 != 0 => "1000BASE-SX",
            () if gigabit & 1 << 1 != 0 => "1000BASE-LX",
            () if gigabit & 1 << 3 != 0 => "1000BASE-T",
            () => Self::UNKNOWN_KIND,
        }
    }

    /// The vendor's name.
    pub fn vendor(&self) -> String {
        self.text(20, 16)
    }

    /// The vendor's part number.
    pub fn part_number(&self) -> String {
        self.text(40, 16)
    }

    /// The vendor's serial number.
    pub fn serial_number(&self) -> String {
        self.text(68, 16)
    }

    /// ASCII, filled up with spaces on the right. What is no printable character is a question mark.
    fn text(&self, at: usize, len: usize) -> String {
        let printable = |&byte: &u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
        let text: String = self.identity[at..at + len].iter().map(printable).collect();
        text.trim_end().into()
    }

    /// What it measures of itself now, where it does.
    pub fn measures(&self) -> Option<Diagnostics> {
        let page = self.diagnostics.as_ref()?;
        let word = |at: usize| u16::from_be_bytes([page[at], page[at + 1]]);
        Some(Diagnostics {
            // 1/256 of a degree, signed.
            millicelsius: i32::from(word(96) as i16) * 1000 / 256,
            microvolts: u32::from(word(98)) * 100,
            bias_microamperes: u32::from(word(100)) * 2,
            tx_nanowatts: u32::from(word(102)) * 100,
            rx_nanowatts: u32::from(word(104)) * 100,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_what_its_bytes_say() {
        let mut identity = alloc::vec![0; 96];
        identity[20..36].copy_from_slice(b"Vendor \x07 & Co   ");
        identity[40..44].copy_from_slice(b"PN-1");
        identity[44..56].fill(b' ');
        (identity[8], identity[92]) = (1 << 2, 0x68);
        let mut diagnostics = alloc::vec![0; 106];
        // Half a degree below 0, 3.3 V, 6 mA, half a milliwatt sent, and a tenth of a microwatt received.
        diagnostics[96..106].copy_from_slice(&[0xff, 0x80, 0x80, 0xe8, 0x0b, 0xb8, 0x13, 0x88, 0, 1]);
        assert!(Module::has_diagnostics(&identity));
        let mut module = Module::new(identity, Some(diagnostics));
        assert_eq!((module.vendor().as_str(), module.part_number().as_str(), module.kind()), ("Vendor ? & Co", "PN-1", "passive copper cable"));
        assert_eq!(
            module.measures(),
            Some(Diagnostics { millicelsius: -500, microvolts: 3_300_000, bias_microamperes: 6000, tx_nanowatts: 500_000, rx_nanowatts: 100 })
        );
        assert!(!module.is_identity_good());
        let sum = |bytes: &[u8]| bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte));
        (module.identity[63], module.identity[95]) = (sum(&module.identity[..63]), sum(&module.identity[64..95]));
        assert!(module.is_identity_good());
        module.identity[70] ^= 1;
        assert!(!module.is_identity_good(), "the second sum covers it");
        assert!(![0, 0x40, 0x50, 0x6c].iter().any(|&kind| Module::has_diagnostics(&[alloc::vec![0; 92], alloc::vec![kind]].concat())));
    }
}
