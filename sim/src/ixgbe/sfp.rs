//! What sits in the SFP+ cage: a module, as its management bus sees it (SFF-8472).

use super::options::Cage;

/// The two addresses of a module, as the first byte of a transfer without its direction bit (SFF-8472, chapter 4).
const ADDRESS_ID: u8 = 0xA0;
const ADDRESS_DIAGNOSTICS: u8 = 0xA2;
/// The board's thermal sensor on the same bus: two of its diodes, and their limits, which can be written.
const ADDRESS_SENSOR: u8 = 0xF8;
const SENSOR_DIODES: [usize; 2] = [0x00, 0x01];
const SENSOR_LIMITS: [u8; 4] = [0x20, 0x19, 0x1A, 0x30];
const SENSOR_PAGE: usize = 2;

/// What the module does with the next edges of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It waits for a start condition.
    Idle,
    /// It takes bits: how many it has, and what they are so far.
    Take { bits: u8, byte: u8 },
    /// It holds the data line low for the ninth clock of a byte that it took.
    Acknowledge,
    /// It gives bits: how many are out.
    Give { bits: u8 },
    /// It looks whether the host acknowledges the byte.
    Acknowledged { again: bool },
}

/// What the byte under way means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Address,
    Offset,
    Data,
}

/// A 10GBASE-SR module and its bus.
#[derive(Debug, Clone)]
pub(super) struct Module {
    is_there: bool,
    pages: [[u8; 256]; 3],
    page: usize,
    offset: u8,
    reads: bool,
    phase: Phase,
    meaning: Meaning,
    clock: bool,
    data: bool,
    /// The module pulls the data line low.
    pub(super) pulls: bool,
}

impl Module {
    pub(super) fn new(cage: Cage, celsius: [i8; 2]) -> Self {
        Self {
            is_there: cage != Cage::Empty,
            pages: [identification(cage), diagnostics(), sensor(celsius)],
            page: 0,
            offset: 0,
            reads: false,
            phase: Phase::Idle,
            meaning: Meaning::Address,
            clock: true,
            data: true,
            pulls: false,
        }
    }

    /// Whether light comes in, and whether the card has turned the laser off: what the diagnostics say of it (SFF-8472, tables 9-11 and 9-12, byte 110).
    pub(super) fn sees(&mut self, light: bool, is_dark: bool) {
        let page = &mut self.pages[1];
        page[STATUS_AT] = if light { 0 } else { RX_LOS } | if is_dark { TX_DISABLED } else { 0 };
        put(page, 102, &(if is_dark { 0 } else { HALF_MILLIWATT }).to_be_bytes());
        put(page, 104, &(if light { HALF_MILLIWATT } else { 0 }).to_be_bytes());
    }

    /// The host moves its lines. Between two writes one line moves; where both do, the clock is first.
    pub(super) fn drive(&mut self, clock: bool, data: bool) {
        if self.clock && clock && self.data != data {
            // Data moves while the clock is high: a start or a stop condition.
            self.pulls = false;
            self.meaning = Meaning::Address;
            self.phase = if data { Phase::Idle } else { Phase::Take { bits: 0, byte: 0 } };
        }
        self.data = data;
        if clock && !self.clock {
            self.rise();
        } else if self.clock && !clock {
            self.fall();
        }
        self.clock = clock;
    }

    fn rise(&mut self) {
        match &mut self.phase {
            Phase::Take { bits, byte } => {
                *byte = *byte << 1 | u8::from(self.data);
                *bits += 1;
            }
            Phase::Acknowledged { again } => *again = !self.data,
            Phase::Idle | Phase::Acknowledge | Phase::Give { .. } => {}
        }
    }

    fn fall(&mut self) {
        self.pulls = false;
        match self.phase {
            Phase::Take { bits: 8, byte } => self.took(byte),
            Phase::Acknowledge if self.reads => self.give(0),
            Phase::Acknowledge => self.phase = Phase::Take { bits: 0, byte: 0 },
            Phase::Give { bits: 8 } => {
                self.offset = self.offset.wrapping_add(1);
                self.phase = Phase::Acknowledged { again: false };
            }
            Phase::Give { bits } => self.give(bits),
            Phase::Acknowledged { again: true } => self.give(0),
            Phase::Acknowledged { again: false } => self.phase = Phase::Idle,
            Phase::Idle | Phase::Take { .. } => {}
        }
    }

    fn took(&mut self, byte: u8) {
        let known = match self.meaning {
            Meaning::Address => {
                self.reads = byte & 1 != 0;
                self.meaning = if self.reads { Meaning::Data } else { Meaning::Offset };
                self.page = match byte & !1 {
                    ADDRESS_SENSOR => SENSOR_PAGE,
                    address => usize::from(address == ADDRESS_DIAGNOSTICS),
                };
                byte & !1 == ADDRESS_SENSOR || self.is_there && matches!(byte & !1, ADDRESS_ID | ADDRESS_DIAGNOSTICS)
            }
            Meaning::Offset => {
                self.offset = byte;
                self.meaning = Meaning::Data;
                true
            }
            // The module's memory is protected: it takes the byte and keeps its own. The sensor's limits are there to be written.
            Meaning::Data => {
                if self.page == SENSOR_PAGE && SENSOR_LIMITS.contains(&self.offset) {
                    self.pages[SENSOR_PAGE][usize::from(self.offset)] = byte;
                }
                self.offset = self.offset.wrapping_add(1);
                true
            }
        };
        self.pulls = known;
        self.phase = if known { Phase::Acknowledge } else { Phase::Idle };
    }

    /// Puts out bit `bits` of the byte, counted from its top.
    fn give(&mut self, bits: u8) {
        let byte = self.pages[self.page][usize::from(self.offset)];
        self.pulls = byte >> (7 - bits) & 1 == 0;
        self.phase = Phase::Give { bits: bits + 1 };
    }
}

/// Status of the diagnostics: no light comes in; the laser is off.
const STATUS_AT: usize = 110;
const RX_LOS: u8 = 1 << 1;
const TX_DISABLED: u8 = 1 << 7;
/// 0.5 mW in steps of 0.1 uW.
const HALF_MILLIWATT: u16 = 5_000;

fn put(page: &mut [u8; 256], at: usize, bytes: &[u8]) {
    page[at..at + bytes.len()].copy_from_slice(bytes);
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// Address A0h: what the module is (SFF-8472, table 4-1).
fn identification(cage: Cage) -> [u8; 256] {
    let mut page = [0; 256];
    // SFP+, two-wire interface, LC connector, 10GBASE-SR.
    put(&mut page, 0, &[0x03, 0x04, 0x07, if cage == Cage::Sr { 0x10 } else { 0 }]);
    // 64B/66B; 10.3 Gb/s in units of 100 Mb/s.
    put(&mut page, 11, &[0x06, 103]);
    // Reach in units of 10 m over OM2, OM1, and OM3.
    put(&mut page, 16, &[8, 3, 0, 30]);
    put(&mut page, 20, b"Barewire        ");
    // The vendor's number is Intel's: drivers refuse others unless the EEPROM allows them.
    put(&mut page, 37, &[0x00, 0x1B, 0x21]);
    put(&mut page, 40, b"SIM-10G-SR      ");
    put(&mut page, 56, b"1   ");
    // 850 nm.
    put(&mut page, 60, &850u16.to_be_bytes());
    page[63] = sum(&page[..63]);
    put(&mut page, 64, &[0x00, 0x1A]);
    put(&mut page, 68, b"0000000000000001");
    put(&mut page, 84, b"260101  ");
    // Diagnostics, internally calibrated, average power; revision 11.0 of SFF-8472.
    put(&mut page, 92, &[0x68, 0x00, 0x06]);
    page[95] = sum(&page[64..95]);
    page
}

/// Address A2h: temperature, voltage, current, and power (SFF-8472, table 9-11).
fn diagnostics() -> [u8; 256] {
    let mut page = [0; 256];
    // 35 degrees, 3.3 V in 100 uV, 6 mA in 2 uA, 0.5 mW sent and received in 0.1 uW.
    for (at, value) in [(96, 35 << 8), (98, 33_000u16), (100, 3_000), (102, HALF_MILLIWATT), (104, HALF_MILLIWATT)] {
        put(&mut page, at, &value.to_be_bytes());
    }
    page[95] = sum(&page[..95]);
    page
}

/// The thermal sensor: temperatures in degrees, and limits as they are without power.
fn sensor(celsius: [i8; 2]) -> [u8; 256] {
    let mut page = [0; 256];
    SENSOR_DIODES.into_iter().zip(celsius).for_each(|(at, degrees)| page[at] = degrees as u8);
    SENSOR_LIMITS.iter().for_each(|&at| page[usize::from(at)] = 85);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bus master that moves the lines one at a time.
    struct Master(Module);

    impl Master {
        fn start(&mut self) {
            self.0.drive(self.0.clock, true);
            self.0.drive(true, true);
            self.0.drive(true, false);
            self.0.drive(false, false);
        }

        fn stop(&mut self) {
            self.0.drive(false, false);
            self.0.drive(true, false);
            self.0.drive(true, true);
        }

        fn bit(&mut self, bit: bool) -> bool {
            self.0.drive(false, bit);
            self.0.drive(true, bit);
            let seen = bit && !self.0.pulls;
            self.0.drive(false, bit);
            seen
        }

        /// Returns whether the module acknowledges.
        fn put(&mut self, byte: u8) -> bool {
            for i in (0..8).rev() {
                self.bit(byte >> i & 1 != 0);
            }
            !self.bit(true)
        }

        fn get(&mut self, again: bool) -> u8 {
            let byte = (0..8).fold(0, |byte, _| byte << 1 | u8::from(self.bit(true)));
            self.bit(!again);
            byte
        }

        fn read(&mut self, address: u8, offset: u8, len: usize) -> Vec<u8> {
            self.start();
            assert!(self.put(address) && self.put(offset));
            self.start();
            assert!(self.put(address | 1));
            let bytes = (0..len).map(|i| self.get(i + 1 < len)).collect();
            self.stop();
            bytes
        }
    }

    #[test]
    fn reads_of_both_addresses() {
        let mut master = Master(Module::new(Cage::Sr, [47, 52]));
        assert_eq!(master.read(0xA0, 0, 1), [0x03]);
        assert_eq!(master.read(0xA0, 37, 3), [0x00, 0x1B, 0x21]);
        assert_eq!(master.read(0xA0, 20, 8), b"Barewire");
        assert_eq!(master.read(0xA2, 96, 2), [35, 0]);
    }

    #[test]
    fn checksums_of_the_pages() {
        let mut master = Master(Module::new(Cage::Sr, [47, 52]));
        let page = master.read(0xA0, 0, 96);
        assert_eq!((sum(&page[..63]), sum(&page[64..95])), (page[63], page[95]));
    }

    #[test]
    fn another_address_is_not_acknowledged() {
        let mut master = Master(Module::new(Cage::Sr, [47, 52]));
        master.start();
        assert!(!master.put(0xAC));
        master.stop();
        assert_eq!(master.read(0xA0, 3, 1), [0x10], "the bus works on");
    }

    #[test]
    fn a_write_changes_nothing() {
        let mut master = Master(Module::new(Cage::Sr, [47, 52]));
        master.start();
        assert!(master.put(0xA0) && master.put(0) && master.put(0x55));
        master.stop();
        assert_eq!(master.read(0xA0, 0, 1), [0x03]);
    }
}
