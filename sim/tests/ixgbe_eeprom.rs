//! Writing the EEPROM: words by EEWR, and bit by bit through EEC as Linux does it on an 82599.

use crate::common::{Card, MAC};
use driver_core::host::PciFunction;
use sim::ixgbe::IxgbeOptions;

const EEC: u32 = 0x10010;
const EERD: u32 = 0x10014;
const EEWR: u32 = 0x10018;
const SWSM: u32 = 0x10140;
const SW_FW_SYNC: u32 = 0x10160;

const SK: u32 = 1;
const CS: u32 = 2;
const DI: u32 = 4;
const DO: u32 = 8;
const REQ: u32 = 1 << 6;
const GNT: u32 = 1 << 7;

const WRITE: u8 = 2;
const READ: u8 = 3;
const WRITE_DISABLE: u8 = 4;
const READ_STATUS: u8 = 5;
const WRITE_ENABLE: u8 = 6;

/// A card whose EEPROM software owns (10.5.4).
fn owner() -> Card {
    let card = Card::up();
    assert_eq!(card.r(SWSM) & 1, 0);
    card.w(SWSM, 2);
    card.w(SW_FW_SYNC, 1);
    card.w(SWSM, 0);
    card
}

fn word(card: &Card, at: u32) -> u16 {
    card.w(EERD, at << 2 | 1);
    card.device.step();
    assert_eq!(card.r(EERD) & 2, 2);
    (card.r(EERD) >> 16) as u16
}

fn write_word(card: &Card, at: u32, value: u16) {
    assert_eq!(card.r(EEWR) & 2, 2, "ready");
    card.w(EEWR, u32::from(value) << 16 | at << 2 | 1);
    card.device.advance_us(20);
}

#[test]
fn eewr_writes_a_word_that_lasts() {
    let mut card = owner();
    let before = word(&card, 0x300);
    assert_eq!(card.r(EEWR), 2, "nothing is being written");
    card.w(EEWR, 0x1234 << 16 | 0x300 << 2 | 1);
    assert_eq!(card.r(EEWR) & 3, 0, "it takes a while");
    card.device.advance_us(19);
    assert_eq!(card.r(EEWR) & 3, 0);
    card.device.advance_us(1);
    assert_eq!(card.r(EEWR), 0x1234 << 16 | 0x300 << 2 | 2);
    assert_ne!((before, word(&card, 0x300)), (0x1234, before));
    card.w(EEWR, 0x5678 << 16 | 0x300 << 2);
    card.w(EEWR, 0x5678 << 16 | 0x800 << 2 | 1);
    card.device.advance_us(20);
    assert_eq!([0x300, 0x2FF, 0x301, 0, 0x800].map(|at| word(&card, at)), [0x1234, before, before, 0x0040, 0xFFFF], "without START, beyond the end");
    card.w(0, 1 << 26);
    card.device.advance_us(100);
    assert_eq!((word(&card, 0x300), card.r(EEWR)), (0x1234, 2), "after a software reset");
    card.expect_violations(&[]);
    card.function.reset().unwrap();
    card.device.advance_us(100);
    assert_eq!(word(&card, 0x300), 0x1234, "after a function-level reset");
}

#[test]
fn a_reset_loads_the_address_that_was_written() {
    let card = owner();
    let core = u32::from(word(&card, 9));
    write_word(&card, core + 3, 0xBBAA);
    let address = || [0x5400, 0x5404].map(|register| card.r(register));
    let upper = 1 << 31 | u32::from_le_bytes([MAC[4], MAC[5], 0, 0]);
    assert_eq!(address()[1], upper);
    card.w(0, 1 << 26);
    card.device.advance_us(100);
    assert_eq!(address(), [u32::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3]]), 1 << 31 | 0xBBAA]);
    for pointer in [0xFFFF, 0x7FD] {
        write_word(&card, 9, pointer);
        card.w(0, 1 << 26);
        card.device.advance_us(100);
    }
    assert_eq!(address(), [0xFFFF_FFFF, 1 << 31], "a section that ends too early");
    card.expect_violations(&[]);
}

#[test]
fn who_does_not_own_the_eeprom_is_told() {
    let card = Card::up();
    card.w(EEWR, 0x1234 << 16 | 0x300 << 2 | 1);
    card.expect_violations(&["the EEPROM was used without SW_FW_SYNC.SW_EEP_SM"]);
    card.w(EEC, card.r(EEC) | REQ);
    card.expect_violations(&["the EEPROM was used without SW_FW_SYNC.SW_EEP_SM"]);
    card.w(EEC, card.r(EEC) | CS);
    card.w(EEC, card.r(EEC) & !REQ);
    card.expect_violations(&[]);
}

/// The chip's pins, in software's hands.
struct Bits<'a>(&'a Card);

impl<'a> Bits<'a> {
    fn new(card: &'a Card) -> Self {
        card.w(EEC, card.r(EEC) | REQ);
        assert_eq!(card.r(EEC) & GNT, GNT);
        Self(card)
    }

    fn change(&self, set: u32, clear: u32) {
        self.0.w(EEC, self.0.r(EEC) & !clear | set);
    }

    fn select(&self) {
        self.change(CS, 0);
        self.change(0, CS | SK);
    }

    fn shift_out(&self, byte: u8, bits: u32) {
        for bit in (8 - bits..8).rev() {
            let di = u32::from(byte >> bit & 1) * DI;
            self.change(di, DI & !di);
            self.change(SK, 0);
            self.change(0, SK);
        }
    }

    fn shift_in(&self) -> u8 {
        (0..8).fold(0, |byte, _| {
            self.change(SK, DI);
            let bit = self.0.r(EEC) & DO != 0;
            self.change(0, SK);
            byte << 1 | u8::from(bit)
        })
    }

    /// Sends bytes to the chip, and reads as many from it.
    fn say(&self, bytes: &[u8], count: usize) -> Vec<u8> {
        self.select();
        bytes.iter().for_each(|&byte| self.shift_out(byte, 8));
        let answer = (0..count).map(|_| self.shift_in()).collect();
        self.change(CS, 0);
        answer
    }

    fn read(&self, at: u16, count: usize) -> Vec<u8> {
        let [high, low] = at.to_be_bytes();
        self.say(&[READ, high, low], count)
    }

    fn write(&self, at: u16, bytes: &[u8]) {
        let [high, low] = at.to_be_bytes();
        self.say(&[&[WRITE, high, low], bytes].concat(), 0);
    }

    fn status(&self) -> u8 {
        self.say(&[READ_STATUS], 1)[0]
    }
}

#[test]
fn the_chip_is_read_bit_by_bit() {
    let card = owner();
    let bits = Bits::new(&card);
    for at in 0..0x40 {
        assert_eq!(bits.read(2 * at, 2), word(&card, at.into()).to_le_bytes(), "word {at:#x}");
    }
    let start: Vec<_> = (0..4).flat_map(|at| word(&card, at).to_le_bytes()).collect();
    assert_eq!(bits.read(1, 6), start[1..7], "on and on");
    assert_eq!(bits.read(0xFFE, 4), [&[0xFF, 0xFF], &start[..2]].concat(), "around the end");
    assert_eq!(bits.status(), 0);
    card.expect_violations(&[]);
}

#[test]
fn a_word_is_written_bit_by_bit() {
    let card = owner();
    let bits = Bits::new(&card);
    bits.write(0x600, &[0x34, 0x12]);
    assert_eq!((bits.status(), bits.read(0x600, 2)), (0, vec![0xFF, 0xFF]), "writes are not enabled");
    bits.say(&[WRITE_ENABLE], 0);
    assert_eq!(bits.status(), 2);
    bits.say(&[READ_STATUS], 0);
    assert_eq!(bits.shift_in(), 0, "a chip that is not selected says nothing");
    bits.write(0x600, &[0x34, 0x12]);
    assert_eq!((bits.status(), bits.read(0x600, 2)), (1, vec![0, 0]), "the chip is busy, and writes are no longer enabled");
    bits.say(&[WRITE_ENABLE], 0);
    card.device.advance_us(4_999);
    assert_eq!(bits.status(), 1, "a busy chip hears nothing else");
    card.device.advance_us(1);
    assert_eq!((bits.status(), word(&card, 0x300)), (0, 0x1234));
    bits.say(&[WRITE_ENABLE], 0);
    bits.say(&[WRITE_DISABLE], 0);
    bits.write(0x600, &[0, 0]);
    assert_eq!((bits.status(), word(&card, 0x300)), (0, 0x1234));
    card.expect_violations(&[]);
}

#[test]
fn a_write_wraps_around_in_its_page() {
    let card = owner();
    let bits = Bits::new(&card);
    let enable_and_write = |at: u16, bytes: &[u8]| {
        bits.say(&[WRITE_ENABLE], 0);
        bits.write(at, bytes);
        card.device.advance_us(5_000);
    };
    enable_and_write(0x61E, &[1, 2, 3]);
    assert_eq!((bits.read(0x61E, 3), bits.read(0x600, 2)), (vec![1, 2, 0xFF], vec![3, 0xFF]));
    // As Linux finds out how long a page is: of 128 words in a row the last 16 stay.
    let marching: Vec<_> = (0..128u16).flat_map(u16::to_le_bytes).collect();
    enable_and_write(0x600, &marching);
    assert_eq!(word(&card, 0x300), 112);
    enable_and_write(0x644, &[7]);
    assert_eq!(bits.read(0x640, 6), [0xFF, 0xFF, 0xFF, 0xFF, 7, 0xFF], "nothing is left of the write before");
    // Beyond the end lies the beginning.
    enable_and_write(0x1000 + 0x604, &[9]);
    assert_eq!(bits.read(0x604, 1), [9]);
    card.expect_violations(&[]);
}

#[test]
fn a_chip_that_is_let_go_in_the_middle_does_nothing() {
    let card = owner();
    let bits = Bits::new(&card);
    bits.say(&[WRITE_ENABLE], 0);
    bits.select();
    [WRITE, 6, 0, 0x34].iter().for_each(|&byte| bits.shift_out(byte, 8));
    bits.shift_out(0x80, 4);
    bits.change(CS, 0);
    assert_eq!((bits.status(), word(&card, 0x300)), (2, 0xFFFF), "half a byte");
    bits.write(0x600, &[]);
    assert_eq!(bits.status(), 2, "no byte");
    // Without the grant the chip is not selected, whatever the pins say.
    bits.change(0, CS);
    bits.change(0, REQ);
    assert_eq!(card.r(EEC) & (REQ | GNT), 0);
    [WRITE, 6, 0, 0x34].iter().for_each(|&byte| bits.shift_out(byte, 8));
    card.w(EEC, card.r(EEC) | CS);
    card.device.advance_us(5_000);
    assert_eq!(word(&card, 0x300), 0xFFFF);
    card.expect_violations(&[]);
}

#[test]
fn a_reset_lets_the_chip_go() {
    let card = owner();
    let bits = Bits::new(&card);
    bits.say(&[WRITE_ENABLE], 0);
    bits.select();
    [WRITE, 6, 0, 0x34].iter().for_each(|&byte| bits.shift_out(byte, 8));
    card.w(0, 1 << 26);
    card.device.advance_us(5_100);
    assert_eq!((card.r(EEC) & (REQ | GNT), word(&card, 0x300)), (0, 0xFF34));
    let bits = Bits::new(&card);
    assert_eq!(bits.status(), 0);
    card.expect_violations(&[]);
}

#[test]
fn the_flash_of_an_x540_is_up_to_date() {
    let card = Card::with(IxgbeOptions::new().device(0x1528));
    card.w(EEC, card.r(EEC) | 1 << 23);
    assert_eq!(card.r(EEC) & (1 << 23 | 1 << 26), 1 << 26, "the update is done, FLUP clears itself");
    assert_eq!(Card::new().r(EEC) & 1 << 26, 0);
}
